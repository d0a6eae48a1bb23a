"""The parent's side of a salvage: starts the child, hands over its pieces, starts it again where the store stands."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.children import Child
from edge_agent.store.takeover import Piece, Taken, cut_piece

_ATTEMPTS = 3
_READ_BYTES = 1024 * 1024
_END_S = 1.0
_CHILD = "edge_agent.store.salvage_child"


class _Here:
    """The child is to end with the store's thread, so that is the one that starts it."""

    def spawn(self, argv: Sequence[str], *, pass_fds: Sequence[int] = (), **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, pass_fds=tuple(pass_fds), **options)


class Salvaging:
    """Used from the store's thread. Never waits for the child."""

    def __init__(self, directory: Path, module: str = _CHILD) -> None:
        self._directory = directory
        self._module = module
        self._child: Child | None = None
        self._received = bytearray()
        self._failures: dict[str, int] = {}
        self._piece: Piece | None = None
        self.given_up: dict[str, str] = {}
        """Databases whose salvage failed again and again, with how it ended last; the next start tries anew."""

    def due(self, names: Sequence[str]) -> bool:
        return any(name not in self.given_up for name in names)

    def next_piece(self, names: Sequence[str], taken: Taken) -> Piece | None:
        """Of the first of the databases `names` that is not given up; None while the child is not so far.

        The same piece again until `taken_over`.
        """
        if self._piece is not None:
            return self._piece
        name = next((name for name in names if name not in self.given_up), None)
        if name is None:
            return None
        if self._child is None:
            self._start(name, taken if taken.name == name else Taken(name))
            return None
        self._piece = self._read(name)
        return self._piece

    def taken_over(self) -> None:
        """The piece is committed."""
        finished = self._piece is not None and self._piece.taken.finished
        self._piece = None
        if finished:
            self.close()

    def close(self) -> None:
        """Ends the child; the next `next_piece` starts another one."""
        if self._child is not None:
            self._child.kill()
        self._child = None
        self._piece = None
        self._received.clear()

    def _start(self, name: str, taken: Taken) -> None:
        place = (str(self._directory), name, str(taken.prio), str(taken.id))
        try:
            self._child = Child(_Here(), self._module, place)
        except OSError as error:  # no memory or no processes left
            self._failed(name, f"it cannot be started: {error.strerror}")
            return
        self._child.socket.setblocking(False)

    def _read(self, name: str) -> Piece | None:
        child = self._child
        assert child is not None
        child.drain()
        ended = False
        try:
            while len(self._received) < _READ_BYTES and not ended:
                part = child.socket.recv(_READ_BYTES)
                self._received += part
                ended = not part
        except BlockingIOError:
            pass
        except OSError:  # it died with something unread
            ended = True
        try:
            piece = cut_piece(self._received)
        except msgspec.DecodeError:
            self._failed(name, "it said what is no piece of a salvage")
            return None
        if piece is None and ended:
            self._failed(name, child.ended(_END_S))
        return piece

    def _failed(self, name: str, how: str) -> None:
        self.close()
        self._failures[name] = self._failures.get(name, 0) + 1
        if self._failures[name] >= _ATTEMPTS:
            self.given_up[name] = how
