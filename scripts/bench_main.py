#!/usr/bin/env python3
"""Runs a benchmark and prints its figures, each beside its bare limit from the same run.

    scripts/bench list
    scripts/bench engine [--json] [--quick]

With --json the last line is
{"bench": NAME, "figures": [{"name", "value", "unit", "limit", "ratio", "budget", "ok"}]}.
Exit code 0 whether budgets hold or not: a benchmark is no test.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from benches.figures import Figure, table

BENCHES = Path(__file__).resolve().parent / "benches"


def names() -> dict[str, str]:
    """Benchmark to what it measures: the first line of its file."""
    found = {}
    for path in sorted(BENCHES.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "\ndef measure(" in text:
            found[path.stem] = text.split('"""')[1].split("\n")[0]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["list", *names()])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="shorter, noisier: to see that it runs")
    args = parser.parse_args()
    if args.name == "list":
        for name, what in names().items():
            print(f"{name:10} {what}")
        return 0
    figures: list[Figure] = importlib.import_module(f"benches.{args.name}").measure(quick=args.quick)
    print(table(figures), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps({"bench": args.name, "figures": [f.to_dict() for f in figures]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
