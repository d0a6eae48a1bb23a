"""Writes a model package: its files are there already, the manifest lists them and is checked as the agent does."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge_agent.inference.package import MANIFEST, Package, load_package


def write_package(directory: Path, manifest: str) -> Package:
    """`manifest` without `[[files]]`. Raises ManifestError for what no agent would take."""
    files = sorted(path for path in directory.iterdir() if path.name != MANIFEST)
    listed = "".join(_entry(path) for path in files)
    head, tables = manifest.split("\n[", 1)
    (directory / MANIFEST).write_text(f"{head}{listed}\n[{tables}", encoding="utf-8")
    return load_package(directory)


def _entry(path: Path) -> str:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f'\n[[files]]\npath = "{path.name}"\nsize = {len(content)}\nsha256 = "{digest}"\n'
