"""How commands print: JSON for programs, words and ages for people, nothing raw on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def echo_json(document: object) -> None:
    click.echo(msgspec.json.encode(document).decode())


def safe(text: object) -> str:
    """Control characters are escaped: what a sensor or a broker said may not steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def age(seconds: float | None) -> str:
    """`3 s`, `4 min`, `2 h`, `5 d`: an age as people say it."""
    if seconds is None:
        return "never"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def size(n: float) -> str:
    """`3.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def count(n: int) -> str:
    return f"{n:,}"


def mark(good: bool | None) -> str:
    """A word, coloured where there are colours: never a colour alone."""
    word, colour = {True: ("OK", "green"), False: ("FAIL", "red"), None: ("—", "yellow")}[good]
    return click.style(f"{word:4}", fg=colour)
