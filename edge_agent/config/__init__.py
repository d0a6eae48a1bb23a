"""The site file: TOML to frozen configuration, every error at once."""
