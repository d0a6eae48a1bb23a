"""Lanes, the worker process, and what a model package says of itself."""
