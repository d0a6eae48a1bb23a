"""What is wrong with a site file: every problem with its place, its reason and what to type instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from edge_agent.errors import ExitCode, Fatal

Severity = Literal["error", "warning"]
KeyPath = tuple[str | int, ...]
"""From the top of the file: `("rule", 2, "when")`; whole numbers count the elements of lists from 0."""

_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}")


class Problem(msgspec.Struct, frozen=True):
    """One thing to mend. `line` and `column` count from 1; `line` is 0 where the whole file is meant.

    `key` names the thing as a technician does: `rule "overheat": when`. Nothing here holds a secret, and
    every text is bounded and safe on a terminal.
    """

    file: str
    line: int
    column: int | None
    key: str
    reason: str
    hint: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        """`site.toml:14 rule "overheat": when: unknown signal "motor.tmp"; did you mean "motor.temp"?`"""
        place = self.file
        if self.line:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        thing = f" {self.key}:" if self.key else ":"
        doubt = " warning:" if self.severity == "warning" else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{thing}{doubt} {self.reason}{hint}"


class ConfigError(Fatal):
    """A site file that is refused, with everything that is wrong with it. Nothing of it is in force."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = in_order(problems)
        super().__init__("\n".join(describe(self.problems)), exit_code=ExitCode.CONFIGURATION)


def describe(problems: Iterable[Problem]) -> list[str]:
    """One line for each, in the order of the file."""
    return [str(problem) for problem in in_order(problems)]


def as_json(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """The same for programs: the fields of `Problem`, in the order of the file. Part of the CLI's contract."""
    return [msgspec.structs.asdict(problem) for problem in in_order(problems)]


def plain(text: str, limit: int = 300) -> str:
    """`text` bounded, and with what is not printable escaped: safe on a terminal."""
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in cut)


def shown(text: str, limit: int = 60) -> str:
    """The same in double quotes, for names and values."""
    return f'"{plain(text, limit)}"'


def bare(key: str) -> str:
    """A key as TOML writes it: without quotes where it needs none."""
    return key if _BARE.fullmatch(key) else shown(key)


def listed(names: Sequence[str], limit: int = 12) -> str:
    """`"a", "b", "c"`, and how many more."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shown(name) for name in names[:limit]) + more


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """By line and column; what concerns the whole file last."""
    return tuple(sorted(problems, key=lambda problem: (not problem.line, problem.line, problem.column or 0)))
