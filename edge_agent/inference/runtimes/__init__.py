"""Model runtimes, one file each, imported in the worker only."""
