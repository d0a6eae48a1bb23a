"""All rows of a store, read beside a running agent: by slices, each a read transaction of its own.

A reader that stayed in one would keep the writer's checkpoints from ending, and the -wal would grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edge_agent.store.database import Damaged, Database

_SLICE = 64
"""Rows; with bodies of at most about 100 kB they bound the memory that a walk takes."""

Told = Callable[[int], None]
"""Is given how many rows were read since it was called last."""


def tell_nobody(_rows: int) -> None:
    """Where nobody wants to see the progress."""


def walk(
    db: Database,
    table: str,
    columns: str,
    until: int,
    *,
    after: int = 0,
    told: Told = tell_nobody,
    unreadable: Callable[[int], None] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """(id, *columns) of the rows above `after` and up to `until`, ascending.

    Ids that the file cannot give are told to `unreadable`; without it, Damaged is raised.
    """
    question = f"SELECT id, {columns} FROM {table} WHERE id > ? AND id <= ? ORDER BY id LIMIT {_SLICE}"  # noqa: S608
    while after < until:
        try:
            rows = db.query(question, (after, until))
            ended = len(rows) < _SLICE
        except Damaged:
            if unreadable is None:
                raise
            end = min(after + _SLICE, until)
            rows = list(_one_by_one(db, question, after, end, unreadable))
            ended, after = end == until, end
        else:
            after = rows[-1][0] if rows else until
        yield from rows
        told(len(rows))
        if ended:
            return


def _one_by_one(
    db: Database, question: str, after: int, until: int, unreadable: Callable[[int], None]
) -> Iterator[tuple[Any, ...]]:
    """Steps over what cannot be read."""
    for row_id in range(after + 1, until + 1):
        try:
            yield from db.query(question, (row_id - 1, row_id))
        except Damaged:
            unreadable(row_id)
