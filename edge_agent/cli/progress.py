"""How far a long command is: a line on stderr, only on a terminal, gone when it has ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Bar(NamedTuple):
    """`began(total)` once or again, `went(more)` again and again."""

    began: Callable[[int], None]
    went: Callable[[int], None]


def _nothing(_count: int) -> None:
    """Nobody looks."""


@contextmanager
def shown(what: str) -> Iterator[Bar]:
    """A bar named `what`."""
    if not sys.stderr.isatty():
        yield Bar(_nothing, _nothing)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)

        def began(total: int) -> None:
            progress.update(task, total=total)

        def went(more: int) -> None:
            progress.advance(task, more)

        yield Bar(began, went)
