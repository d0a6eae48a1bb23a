"""Source drivers, one file a kind."""
