"""The generated files of the contract, as they are shipped: schemas, the AsyncAPI document, examples."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "published"
SCHEMAS, EXAMPLES, ASYNCAPI = FOLDER / "schemas", FOLDER / "examples", FOLDER / "asyncapi.json"
_END = ".schema.json"


def schema_hashes() -> dict[str, str]:
    """By shape, `tele/1`: `sha256:` and the hash of its schema file, as told at birth."""
    files = sorted(SCHEMAS.glob(f"*{_END}"))
    return {_shape(file.name): f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files}


def _shape(name: str) -> str:
    return "/".join(name.removesuffix(_END).rsplit("-", 1))
