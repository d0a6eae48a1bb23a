"""Comma-separated lines, whose names come from a header line or from the site file. Pure.

Numbers are doubles unless the site declares the field's type; a cell that is no number makes the line bad, because
without a check value it is more likely noise than a message. `nan`, `inf` and `ovf` are numbers that are not finite.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from typing import Any

from edge_agent.errors import Rejected
from edge_agent.sources.scalars import scalar

_NOT_GIVEN = frozenset({"", "-", "na", "n/a", "null", "none"})
_HEADER_CELL = re.compile(r"[^\W\d_][^\x00-\x1f]{0,63}")


class CsvLines:
    """Remembers the names of one stream of lines. `kind_of(column)` is its type: double, int, bool or string.

    `midway`: the first line may be the tail of one, and is taken only if it is a header.
    """

    def __init__(
        self, columns: Sequence[str], delimiter: str, kind_of: Callable[[str], str], *, midway: bool
    ) -> None:
        self._maybe_tail = midway
        self._fixed = bool(columns)
        self._delimiter = delimiter
        self._kind_of = kind_of
        self._columns: list[tuple[str, str]] = []
        self._adopt(columns)

    def decode(self, body: bytes) -> dict[str, Any] | None:
        """Cells by column name, None for a header or a first line that may be a tail.

        Raises Rejected `encoding`, `no_header`, `cell_count`, `cell`, `no_value`.
        """
        maybe_tail, self._maybe_tail = self._maybe_tail, False
        cells = self._cells(body)
        try:
            said = self._values(cells)
        except Rejected:
            if not self._is_header(cells):
                raise
            if not self._fixed:
                self._adopt(cells)
            return None
        return None if maybe_tail else said

    def _values(self, cells: list[str]) -> dict[str, Any]:
        if not self._columns:
            raise Rejected("no_header")
        if len(cells) != len(self._columns):
            raise Rejected("cell_count")
        try:
            said = {name: _value(cell, kind) for (name, kind), cell in zip(self._columns, cells, strict=True)}
        except ValueError:
            raise Rejected("cell") from None
        if all(value is None for value in said.values()):
            raise Rejected("no_value")
        return said

    def _cells(self, body: bytes) -> list[str]:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise Rejected("encoding", item=body) from None
        if '"' not in text:
            return text.split(self._delimiter)
        try:
            return next(csv.reader([text], delimiter=self._delimiter), [])
        except csv.Error:  # such as a CR inside the line
            raise Rejected("cell", item=body) from None

    def _adopt(self, columns: Sequence[str]) -> None:
        names = [column.strip() for column in columns]
        self._columns = [(name, self._kind_of(name)) for name in names]

    def _is_header(self, cells: list[str]) -> bool:
        """A single name is no header: one line of noise would do."""
        names = [cell.strip() for cell in cells]
        return len(names) > 1 and len(set(names)) == len(names) and all(map(_HEADER_CELL.fullmatch, names))


def _value(cell: str, kind: str) -> Any:
    return None if cell.strip().lower() in _NOT_GIVEN else scalar(cell, kind)
