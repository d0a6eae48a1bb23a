"""How commands print: JSON for programs, words and ages for people, nothing raw on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

import click


class _Path(click.Path):
    """As click has it, a pathlib.Path in the end; `--help` needs none."""

    def coerce_path_result(self, value: Any) -> Any:
        from pathlib import Path

        return Path(value)


class Group(click.Group):
    """Lists its commands with whole summaries, where click cuts what is longer than a line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            parts = sorted(self.commands.items())
            formatter.write_dl([(name, part.get_short_help_str(1000)) for name, part in parts])


PATH = _Path(readable=False)
"""A path as it is given: who opens it says what is wrong with it, and what to do."""
FILE = _Path(exists=True, dir_okay=False)
json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")

_WIDEST = 100
"""Longer lines are hard to read."""
_COLOURS = {"good": "green", "bad": "red", "odd": "yellow"}


def echo_json(document: object) -> None:
    """Builtin types only; in ASCII, so that it passes every pipe and steers no terminal."""
    import json

    click.echo(json.dumps(document))


def safe(text: object) -> str:
    """Control characters are escaped: what a sensor or a broker said may not steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def folded(text: str, stream: TextIO) -> str:
    """For programs every line as it is; on a terminal in lines of its width, broken between words alone."""
    lines = [safe(line) for line in text.split("\n")]
    if stream.isatty():
        import textwrap

        fold = partial(textwrap.wrap, width=width(), break_long_words=False, break_on_hyphens=False)
        lines = [row for line in lines for row in fold(line, subsequent_indent="  ")]
    return "\n".join(lines)


def width() -> int:
    """Columns to print in: the terminal's, or COLUMNS, 80 where there is neither."""
    import shutil

    return min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)


def in_colour() -> bool:
    """On a terminal that can, and nobody has set NO_COLOR (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(word: str, tone: str, colour: bool) -> str:
    """The word, coloured by its tone: `good`, `bad` or `odd`."""
    return click.style(word, fg=_COLOURS[tone]) if colour and tone in _COLOURS else word


def mark(good: bool) -> str:
    """A word, coloured where there are colours: never a colour alone."""
    return paint("OK  ", "good", in_colour()) if good else paint("FAIL", "bad", in_colour())


def age(seconds: float | None) -> str:
    """`3 s`, `4 min`, `2 h`, `5 d`: an age as people say it."""
    if seconds is None:
        return "never"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0):.1f} s"


def ago(seconds: float | None) -> str:
    """`3 s ago`; `never`; what a clock that went back makes of it."""
    if seconds is None:
        return "never"
    return "in the future, so a clock was wrong" if seconds < -1 else f"{age(seconds)} ago"


def size(n: float) -> str:
    """`3.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def counted(n: int, what: str, plural: str = "") -> str:
    """`1 row`, `1,234 rows`, `2 alerts`."""
    return f"{n:,} {what if n == 1 else plural or what + 's'}"
