"""Checks the house: who may import whom, and that ARCHITECTURE.md says so; where heavy libraries may stand; and how
large files and functions are.

    python scripts/layers.py

Exit code 1 when a rule is broken. Sizes are reported, not judged.
"""

from __future__ import annotations

import ast
import itertools
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LAYERS: list[list[str]] = [
    ["types errors durations unreadable __init__ __version__ RELEASED_S"],
    ["ports clock clock_watch health metrics children machine flash heat"],
    ["contract", "config"],
    ["links", "signals", "rules", "trust"],
    ["sources", "inference", "actuators", "store", "uplink"],
    ["engine plan decisions alerts lane_state model_input signal_table"],
    ["supervisor api runner inbox source_body event_log"],
    ["drill", "fleet", "packages", "commands"],
    [
        "agent assembly drivers context control narrator expiry mcu_history memory starts updates timekeeping "
        "up_documents"
    ],
    ["cli __main__"],
]
"""Lowest first. Siblings never import each other, but for those of one text: one idea in several files."""
CONSUMERS = "edge_agent/contract/consumers/"
"""Examples to copy into a backend: nothing of the agent imports them, and they import nothing of it."""
CONFINED = {
    "sqlite3": ("edge_agent/store/", "edge_agent/cli/", CONSUMERS),
    "sqlite_utils": ("edge_agent/cli/",),
    "cryptography": ("edge_agent/commands/",),
    "psycopg": ("edge_agent/fleet/",),
    "paho": ("edge_agent/links/", "edge_agent/fleet/", CONSUMERS),
    "serial": ("edge_agent/links/", "firmware_bridge/link.py"),
    "onnxruntime": ("edge_agent/inference/runtimes/",),
    "ai_edge_litert": ("edge_agent/inference/runtimes/",),
    "tflite_runtime": ("edge_agent/inference/runtimes/",),
    "rich": ("edge_agent/cli/",),
    "click": ("edge_agent/cli/",),
}
NUMPY_ONLY_IN = ("edge_agent/inference/",)
MAIN = ["edge_agent.agent"]


def sources() -> Iterator[Path]:
    for top in ("edge_agent", "firmware_bridge"):
        yield from sorted((ROOT / top).rglob("*.py"))


def part_of(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def place_of(part: str) -> tuple[int, str] | None:
    """Layer, and the group within it."""
    return next(((i, group) for i, layer in enumerate(LAYERS) for group in layer if part in group.split()), None)


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            if node.module in ("edge_agent", "firmware_bridge"):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def broken_rules(path: Path, tree: ast.AST) -> Iterator[str]:
    name = path.relative_to(ROOT).as_posix()
    mine = part_of(name.removesuffix(".py").replace("/", "."))
    for line, module in imports(tree):
        top = module.split(".")[0]
        place = f"{name}:{line}"
        if top == "edge_agent" and name.startswith("firmware_bridge/"):
            yield f"{place}: firmware_bridge imports nothing of edge_agent"
        elif top == "edge_agent":
            yield from _wrong_way(place, mine, part_of(module))
        elif top in CONFINED and not name.startswith(CONFINED[top]):
            yield f"{place}: {top} belongs in {', '.join(CONFINED[top])}"
        elif top == "cv2" and not name.endswith("_child.py"):
            yield f"{place}: cv2 belongs in files named *_child.py"
        elif top == "numpy" and not (name.startswith(NUMPY_ONLY_IN) or name.endswith("_child.py")):
            yield f"{place}: numpy belongs in workers"


def _wrong_way(place: str, mine: str, other: str) -> Iterator[str]:
    a, b = place_of(mine), place_of(other)
    if b is None or a is None:
        yield f"{place}: {other if b is None else mine} stands in no layer: add it to scripts/layers.py"
    elif mine != other and (b[0] > a[0] or (a[0] == b[0] and a[1] != b[1])):
        yield f"{place}: {mine} may not import {other}"


def heavy_in_main() -> Iterator[str]:
    """Imports the main process's modules in a fresh interpreter and looks for what must not be there."""
    import subprocess

    heavy = "numpy cv2 onnxruntime ai_edge_litert tflite_runtime rich click sqlite_utils"
    code = f"import sys, {', '.join(MAIN)}; print(*[m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        yield done.stderr
    elif done.stdout.strip():
        yield f"importing {', '.join(MAIN)} brings in {done.stdout.strip()}"


def table_that_lies() -> Iterator[str]:
    """Where the layers of ARCHITECTURE.md are not those above, of what there is."""
    package = ROOT / "edge_agent"
    text = (package / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = text.partition("| layer |")[2].partition("\n\n")[0].splitlines()[2:]
    told = [[set(re.findall("`(.+?)`", group)) for group in row.split("|")[1].split(";")] for row in rows]
    there = {path.stem for path in package.iterdir()} - {"__init__", "__main__"}
    true = [[names for group in layer if (names := set(group.split()) & there)] for layer in reversed(LAYERS)]
    for said, is_so in itertools.zip_longest(told, true, fillvalue=[]):
        if sorted(map(sorted, said)) != sorted(map(sorted, is_so)):
            yield f"edge_agent/ARCHITECTURE.md: a layer is {said}, and it is {is_so}"


def sizes(trees: dict[Path, ast.AST]) -> str:
    files = sorted(path.read_text(encoding="utf-8").count("\n") for path in trees)
    functions = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    shown = [
        f"{what} {len(n)}: median {statistics.median(n):.0f}, 95 % {n[int(len(n) * 0.95)]}, most {n[-1]}"
        for what, n in (("files", files), ("functions", functions))
    ]
    return "; ".join(shown)


def main() -> int:
    trees: dict[Path, ast.AST] = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}
    problems = [problem for path, tree in trees.items() for problem in broken_rules(path, tree)]
    problems += heavy_in_main()
    problems += table_that_lies()
    print("lines:", sizes(trees))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
