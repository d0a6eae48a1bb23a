"""Where a value stands in a JSON document: JSON Pointer (RFC 6901), and a step that picks from a list by a key. Pure.

    temperature                     the same as /temperature
    /values/0/v                     the first element's `v`
    /values/id=Line1.Press.Temp/v   the `v` of the element whose `id` is that
    (empty)                         the whole document, for payloads such as 21.3
"""

from __future__ import annotations

from typing import Any

MISSING = object()

Steps = tuple[str, ...]


def parse(path: str) -> Steps:
    """The steps of a path; `~1` is a slash and `~0` a tilde inside a step."""
    if not path:
        return ()
    if not path.startswith("/"):
        path = "/" + path
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/"))


def find(document: Any, steps: Steps) -> Any:
    """The value there, or MISSING."""
    for step in steps:
        if isinstance(document, dict):
            document = document.get(step, MISSING)
        elif isinstance(document, list):
            document = _element(document, step)
        else:
            return MISSING
        if document is MISSING:
            return MISSING
    return document


def _element(items: list[Any], step: str) -> Any:
    key, picked, wanted = step.partition("=")
    if picked:
        return next((i for i in items if isinstance(i, dict) and str(i.get(key, MISSING)) == wanted), MISSING)
    if step.isascii() and step.isdigit() and len(step) < 6 and int(step) < len(items):
        return items[int(step)]
    return MISSING
