"""Edge Agent: an edge inference runtime that treats the model as the part that will fail."""

__version__ = "0.1.0"
RELEASED_S = 1795824000
"""UTC of the day of this version, 2026-11-28: a clock that shows less is wrong."""
