"""A figure beside its bare limit, and where the bare limits come from."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BARE = Path(__file__).resolve().parents[3] / "shared" / "bench" / "bare"


@dataclass(frozen=True)
class Figure:
    """`limit` is what the bare loop reached in the same run, a text where it could not; `ratio` is value to limit.

    `budget` is a bound on the value, or where `of_ratio` on the ratio; `least` says that it is a lower bound.
    `value` is None where it could not be measured here; `limit` then says why.
    """

    name: str
    value: float | None
    unit: str
    limit: float | str | None = None
    budget: float | None = None
    least: bool = False
    of_ratio: bool = False

    @property
    def ratio(self) -> float | None:
        if self.value is None or not isinstance(self.limit, int | float) or not self.limit:
            return None
        return round(self.value / self.limit, 3)

    @property
    def ok(self) -> bool | None:
        judged = self.ratio if self.of_ratio else self.value
        if self.budget is None or judged is None:
            return None
        return judged >= self.budget if self.least else judged <= self.budget

    def to_dict(self) -> dict[str, Any]:
        out = {k: v for k, v in asdict(self).items() if k not in ("least", "of_ratio")}
        value = None if self.value is None else round(self.value, 4)
        return {**out, "value": value, "ratio": self.ratio, "ok": self.ok}


def bare(loop: str, *args: Any, nice: int = 0, **arguments: Any) -> tuple[float | str, dict[str, Any]]:
    """The limit that a neutral loop reaches now in a process of its own, and its detail.

    A text instead of a number says why there is none. `nice` is the priority that our own side has.
    """
    script = BARE / f"{loop}.py"
    if not script.exists():
        return f"no limit: {BARE.name}/{loop}.py is not there", {}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
    argv = ["nice", "-n", str(nice), sys.executable, str(script), *map(str, args), *options]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    if result["value"] is None:
        return f"no limit: {result['detail'].get('skipped')}", {}
    return result["value"], result["detail"]


def table(figures: list[Figure]) -> str:
    rows = [("figure", "value", "limit", "ratio", "budget", "")]
    for f in figures:
        budget = "" if f.budget is None else f"{'≥' if f.least else '≤'} {f.budget:g}{' x' if f.of_ratio else ''}"
        limit = f"{f.limit:.4g}" if isinstance(f.limit, int | float) else (f.limit or "—")
        ok = {True: "ok", False: "MISSED", None: ""}[f.ok]
        value = "—" if f.value is None else f"{f.value:.4g} {f.unit}"
        rows.append((f.name, value, limit, str(f.ratio or "—"), budget, ok))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
