"""Writes, checks or freezes the generated files of the contract; `scripts/contract` runs it.

A version is released once CHANGELOG.md does not call it unreleased; then its frozen folder is what old readers know.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from edge_agent import __version__
from edge_agent.contract import published
from edge_agent.contract.asyncapi import asyncapi_document
from edge_agent.contract.schema import all_schemas, file_name

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "tests" / "contract" / "released"
CHANGELOG = ROOT / "CHANGELOG.md"
FROZEN = (published.SCHEMAS, published.EXAMPLES)


def wanted() -> dict[Path, str]:
    files: dict[Path, object] = {published.SCHEMAS / file_name(shape): s for shape, s in all_schemas().items()}
    files[published.ASYNCAPI] = asyncapi_document()
    return {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in files.items()}


def stale(files: dict[Path, str]) -> list[Path]:
    """Those that are missing, different, or of no shape any more."""
    found = {*published.SCHEMAS.glob("*"), published.ASYNCAPI}
    return sorted(
        path
        for path in found | files.keys()
        if path not in files or not path.exists() or path.read_text("utf-8") != files[path]
    )


def write(files: dict[Path, str]) -> None:
    published.SCHEMAS.mkdir(parents=True, exist_ok=True)
    for path in stale(files):
        if path in files:
            path.write_text(files[path], "utf-8")
        else:
            path.unlink()
        print(path.relative_to(Path.cwd()))


def freeze() -> int:
    """The exit code: 1 where a version that is released would be changed; one that is not may be frozen again."""
    folder = RELEASED / __version__
    changed = [part.name for part in FROZEN if _files(part) != _files(folder / part.name)]
    if changed and folder.exists() and not _still_to_come():
        differ = " and ".join(changed)
        print(f"{__version__} is released, and its {differ} differ: raise __version__", file=sys.stderr)
        return 1
    for part in FROZEN:
        shutil.rmtree(folder / part.name, ignore_errors=True)
        shutil.copytree(part, folder / part.name)
    print(folder)
    return 0


def _still_to_come() -> bool:
    return f"\n## {__version__} (unreleased)\n" in CHANGELOG.read_text("utf-8")


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def main(arguments: list[str]) -> int:
    files = wanted()
    if arguments == ["--check"]:
        for path in stale(files):
            print(f"{path}: not what the message types say; run scripts/contract", file=sys.stderr)
        return 1 if stale(files) else 0
    if arguments not in ([], ["--freeze"]):
        print(__doc__, file=sys.stderr)
        return 2
    write(files)
    return freeze() if arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
