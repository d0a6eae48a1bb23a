"""Writes, checks or freezes the generated files of the contract; `scripts/contract` runs it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from edge_agent import __version__
from edge_agent.contract import published
from edge_agent.contract.asyncapi import asyncapi_document
from edge_agent.contract.schema import all_schemas, file_name

RELEASED = Path(__file__).resolve().parents[1] / "tests" / "contract" / "released"


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


def freeze() -> None:
    """Until it is released a version may be frozen again; afterwards its folder is what old readers know, and a
    changed shape needs a new version."""
    folder = RELEASED / __version__
    for part in (published.SCHEMAS, published.EXAMPLES):
        shutil.rmtree(folder / part.name, ignore_errors=True)
        shutil.copytree(part, folder / part.name)
    print(folder.relative_to(Path.cwd()))


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
    if arguments:
        freeze()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
