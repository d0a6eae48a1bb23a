"""Commands from the backend: who may give them, whether each is fresh, and what became of it. COMMANDS.md."""
