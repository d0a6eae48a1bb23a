"""NMEA 0183 sentences through pynmea2: named attributes of the sentences the site asks for. Pure.

`DPT.depth` is the attribute `depth` of the sentence DPT, from any talker; `SDDPT.depth` is that of the talker SD
alone; `PGRMZ.altitude` is of a proprietary sentence. `XDR.PTCH` is the transducer named PTCH. `latitude` and
`longitude` are signed degrees. Times are ISO 8601 texts. What a sentence itself calls void is not a number.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pynmea2

from edge_agent.errors import Rejected

_PLACE = re.compile(r"([A-Z][A-Z0-9]{2,5})\.([A-Za-z0-9_#]{1,32})")
_DEGREES = {"latitude": "lat", "longitude": "lon"}


class Nmea:
    """Decodes sentences into the fields that `places` (field: place) asks for."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._wanted: dict[str, list[tuple[str, str]]] = {}
        for field, place in places.items():
            sentence, _, attribute = place.partition(".")
            self._wanted.setdefault(sentence, []).append((field, attribute))

    def decode(self, body: bytes) -> dict[str, Any] | None:
        """`body` starts with `$` and has no checksum any more. None for a sentence nobody asked for.

        Raises Rejected `sentence` for what is none.
        """
        if body[:1] not in (b"$", b"!"):
            raise Rejected("sentence", item=body)
        name = body[1:].partition(b",")[0].decode("ascii", "replace")
        wanted = self._wanted.get(name, []) + self._wanted.get(name[2:], [])
        if not wanted:
            return None
        try:
            sentence = pynmea2.parse(body.decode("ascii"))
        except (ValueError, IndexError, TypeError):
            raise Rejected("sentence", item=body) from None
        values = {field: _value(sentence, attribute) for field, attribute in wanted}
        return {field: value for field, value in values.items() if value is not _ABSENT}


_ABSENT = object()


def place_problem(place: str) -> str:
    """Why this is not an attribute of a known sentence; empty when it is one."""
    match = _PLACE.fullmatch(place)
    if match is None:
        return f"{place!a} is not a place in a sentence; write it as DPT.depth"
    if _is_free(match[1]):
        return ""
    sentence = _sentence_class(match[1])
    if sentence is None:
        return f"{place!a}: pynmea2 knows no sentence {match[1]}"
    if match[2] not in sentence.name_to_idx and not hasattr(sentence, match[2]):
        return f"{place!a}: {match[1]} has no {match[2]}; it has {', '.join(sentence.name_to_idx)}"
    return ""


def places_of(name: str) -> list[str]:
    """All places in a sentence with this name and talker (`SDDPT`); none where pynmea2 does not know it."""
    known = None if _is_free(name) else _sentence_class(name)
    return [f"{name[-3:]}.{attribute}" for attribute in known.name_to_idx] if known else []


def kind_of(place: str) -> str:
    """The type of a field taken from there: double, int, bool or string."""
    sentence, _, attribute = place.partition(".")
    if attribute in _DEGREES or sentence.endswith("XDR"):
        return "double"
    known = _sentence_class(sentence)
    index = known.name_to_idx.get(attribute) if known else None
    if known is None or index is None:
        return "bool" if attribute == "is_valid" else "string"
    converter = known.fields[index][2] if len(known.fields[index]) > 2 else str
    return {Decimal: "double", float: "double", int: "int"}.get(converter, "string")


def _is_free(sentence: str) -> bool:
    """Proprietary sentences and transducers: their attributes are known only when one comes."""
    return sentence.endswith("XDR") or (sentence.startswith("P") and len(sentence) > 3)


def _sentence_class(sentence: str) -> Any:
    return pynmea2.TalkerSentence.sentence_types.get(sentence[-3:])


def _value(sentence: Any, attribute: str) -> Any:
    if sentence.data and type(sentence).__name__ == "XDR":
        return _transducer(sentence, attribute)
    if attribute in _DEGREES and not getattr(sentence, _DEGREES[attribute], ""):
        return None  # pynmea2 would say 0.0
    try:
        value = getattr(sentence, attribute)
    except (AttributeError, ValueError, TypeError, IndexError):
        return math.nan
    return _plain(value, sentence, attribute)


def _plain(value: Any, sentence: Any, attribute: str) -> Any:
    if isinstance(value, (Decimal, float)):
        return math.nan if _is_void(sentence) else float(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, str) and _has_converter(sentence, attribute):
        return math.nan  # pynmea2 hands out the text when it cannot be converted
    return None if value == "" else value


def _has_converter(sentence: Any, attribute: str) -> bool:
    index = sentence.name_to_idx.get(attribute)
    return index is not None and len(sentence.fields[index]) > 2


def _is_void(sentence: Any) -> bool:
    try:
        return not getattr(sentence, "is_valid", True)
    except (ValueError, TypeError, IndexError):
        return True


def _transducer(sentence: Any, name: str) -> Any:
    """XDR carries groups of type, value, unit, name."""
    data = sentence.data
    for at in range(0, len(data) - 3, 4):
        if data[at + 3] == name:
            try:
                return float(data[at + 1]) if data[at + 1] else None
            except ValueError:
                return math.nan
    return _ABSENT
