"""Edge Agent: an edge inference runtime that treats the model as the part that will fail."""

__version__ = "0.1.0"
