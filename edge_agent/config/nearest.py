"""The known name that somebody probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from edge_agent.config.problems import shown

_LONGEST = 100
_MOST = 200


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, where one is close. Bounded: names of more than 100 characters are not
    compared, and of many known ones only 200 of about the same length."""
    if len(name) > _LONGEST:
        return None
    folded = {candidate.lower(): candidate for candidate in known}
    candidates = sorted(folded, key=lambda candidate: (abs(len(candidate) - len(name)), candidate))[:_MOST]
    close = difflib.get_close_matches(name.lower(), candidates, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint with the nearest known name, or `otherwise`."""
    close = nearest(name, known)
    return f"did you mean {shown(close)}?" if close else otherwise
