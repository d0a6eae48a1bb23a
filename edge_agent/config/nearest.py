"""The known name that somebody probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from edge_agent.config.problems import shown

_LONGEST = 100


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, where one is close; names longer than 100 characters are not compared."""
    if len(name) > _LONGEST:
        return None
    folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), sorted(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint with the nearest known name, or `otherwise`."""
    close = nearest(name, known)
    return f"did you mean {shown(close)}?" if close else otherwise
