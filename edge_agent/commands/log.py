"""What was commanded: on the disk before it is carried out, and what came of it, so that nothing is done twice.

Two files. The floors (by key, the highest counter that was taken) stand outside the store: a database that was wiped
or restored cannot make an old command a new one. The log has a line for each step of a command, stands beside the
database and belongs to it: with another database it begins anew, and what was answered before is then refused as a
replay. A database that was damaged and left, whose rows the next one takes over, is no other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import msgspec

from edge_agent.contract.messages import Cmd, CmdResult
from edge_agent.errors import Retryable
from edge_agent.store.identity import make_folder, replace_file

log = logging.getLogger("edge_agent")

FLOORS, LOG = "commands.json", "commands.log"
FINAL = frozenset({"done", "failed", "refused"})
_KEPT = 1000
"""Commands whose answers are known."""
_LINES = 4 * _KEPT


class _Floors(msgspec.Struct, frozen=True):
    floors: dict[str, Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]]


class _Head(msgspec.Struct, frozen=True):
    store: str


class CommandLog:
    """Used from one thread. What it cannot write it raises as Retryable, and has then not taken."""

    def __init__(self, data_dir: Path, folder: Path, store: str, before: Collection[str] = ()) -> None:
        """`store`: the database's id; `before`: those of the ones that it takes over."""
        self._floors_path = data_dir / FLOORS
        self._path = folder / LOG
        self._store = store
        self.floors, self.damage = _read_floors(self._floors_path)
        """`damage` is why they are not known, empty where they are: nothing may be taken before `begin_anew`."""
        self.results = self._read({store, *before})
        self._lines = _LINES
        """More than are allowed: the first step writes the file anew."""

    def follow(self, store: str) -> None:
        """The store went on in another file: what was answered still holds. On the disk when it returns."""
        if store != self._store:
            self._begin_file(store, self.results)
            self._store = store

    def interrupted(self) -> list[CmdResult]:
        """Those that were taken and not brought to an end."""
        return [result for result in self.results.values() if result.state not in FINAL]

    def begin_anew(self) -> None:
        """Floors of nobody, once every command that may have been taken has expired."""
        self._keep_floors({})
        self.damage = ""

    def take(self, command: Cmd, fingerprint: str, t: int | None) -> CmdResult:
        """On the disk when it returns: the counter is used up, and the id known."""
        self._keep_floors(self.floors | {fingerprint: command.counter})
        return self.step(CmdResult(id=command.id, state="accepted", code="", t=t))

    def step(self, result: CmdResult) -> CmdResult:
        """The newest of this id; on the disk when it returns."""
        results = {**self.results, result.id: result}
        if self._lines >= _LINES:
            self._begin_file(self._store, results)
            return result
        try:
            _append(self._path, _text(result))
        except OSError as e:
            self._lines = _LINES  # half a line may stand there
            raise _unwritten(self._path, e) from e
        self._lines += 1
        self.results = results
        return result

    def _begin_file(self, store: str, results: dict[str, CmdResult]) -> None:
        newest = dict(list(results.items())[-_KEPT:])
        try:
            replace_file(self._path, _text(_Head(store), *newest.values()))
        except OSError as e:
            raise _unwritten(self._path, e) from e
        self.results, self._lines = newest, len(newest)

    def _keep_floors(self, floors: dict[str, int]) -> None:
        try:
            make_folder(self._floors_path.parent)
            replace_file(self._floors_path, msgspec.json.encode(_Floors(floors)))
        except OSError as e:
            raise _unwritten(self._floors_path, e) from e
        self.floors = floors

    def _read(self, stores: Collection[str]) -> dict[str, CmdResult]:
        """Up to the first line that is not whole: a power cut leaves at most the last one so."""
        try:
            head, *lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as e:
            log.warning("%s: %s: answers of before are not known, repeats are refused", self._path, e.strerror)
            return {}
        found: dict[str, CmdResult] = {}
        try:
            if msgspec.json.decode(head, type=_Head).store not in stores:
                return {}
            for line in filter(None, lines):
                result = msgspec.json.decode(line, type=CmdResult)
                found[result.id] = result
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        return found


def _read_floors(path: Path) -> tuple[dict[str, int], str]:
    """And why they are not known, which stops commands and nothing else: an old one would be a new one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Floors).floors, ""
    except FileNotFoundError:
        return {}, ""
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        return {}, f"{path} cannot be read ({e})"


def _text(*entries: msgspec.Struct) -> bytes:
    return b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)


def _append(path: Path, text: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    with os.fdopen(handle, "ab") as file:
        file.write(text)
        file.flush()
        os.fsync(handle)


def _unwritten(path: Path, error: OSError) -> Retryable:
    return Retryable(f"{path}: {error.strerror}", hint="check the volume: room, mount, permissions")
