"""Rows into a folder, for sites without a network: a medium that somebody carries to the backend.

Each file is gzip of JSON lines, `{"topic":"edge/v1/…/up/tele/all","body":{…}}`, readable with `zcat FILE | jq`. It is
written as a temporary, fsynced, renamed, and then named in `MANIFEST.sha256` (`sha256sum -c MANIFEST.sha256`): only
then are its rows confirmed. A file that the manifest does not name was cut off, or its rows come again in a later
one; the backend drops duplicates by key as it does on any other way.

The folder is never created: a mount point whose medium is missing has no such folder, and the box's own card stays
free of what was meant for the medium.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge_agent.contract import decode, topics
from edge_agent.errors import Rejected, Retryable
from edge_agent.links.waker import Waker
from edge_agent.ports import Acked, Down, Refused, Row, Up, UplinkEvent

WINDOW = 4096
BATCH_BYTES = 500_000
"""A file is closed when its rows' bodies reach this…"""
BATCH_S = 60.0
URGENT_S = 5.0
"""…or when its oldest row waited so long; the shorter time holds once an alert, decision or ledger entry is in it."""
RESERVE_BYTES = 16_000_000
"""Stays free on the medium."""
RETRY_S = 5.0
MANIFEST = "MANIFEST.sha256"


class FileUplink:
    """ports.Uplink into `folder`. Nothing comes back: rows are confirmed when they are on the medium."""

    def __init__(
        self, folder: str, gateway: topics.Gateway, epoch: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = Path(folder)
        self._gateway = gateway
        self._prefix = f"{gateway.gateway}-{epoch}"
        self._monotonic = monotonic
        self._waker = Waker()
        self._up = False
        self._try_at_s = monotonic()
        self._number = 0
        self._rows: list[Row] = []
        self._lines: list[bytes] = []
        self._refused: list[UplinkEvent] = []
        self._bytes = 0
        self._due_s = 0.0
        self._documents: dict[str, bytes] = {}

    def send(self, row: Row) -> None:
        try:
            line = self._line(row)
        except Rejected:
            self._refused.append(Refused((row.prio, row.id), "malformed", retry=False))
            return
        wait_s = URGENT_S if row.prio == 0 else BATCH_S
        due_s = self._monotonic() + wait_s
        self._due_s = min(self._due_s, due_s) if self._rows else due_s
        self._rows.append(row)
        self._lines.append(line)
        self._bytes += len(row.body)

    def answer(self, suffix: str, body: bytes, correlation: bytes) -> None:
        """Nobody commands over a folder, and nobody is answered."""

    def publish_latest(self, suffix: str, body: bytes) -> None:
        """The newest document of each kind lies beside the batches, as `<gateway>-<suffix>.json`."""
        self._documents[suffix] = body

    def poll(self, timeout_s: float) -> Sequence[UplinkEvent]:
        now = self._monotonic()
        if self._refused:
            refused, self._refused = self._refused, []
            return refused
        if not self._up:
            return self._try_medium(now, timeout_s)
        full = self._bytes >= BATCH_BYTES or len(self._rows) >= WINDOW
        if not full and (not self._rows or now < self._due_s) and not self._documents:
            self._wait(min(timeout_s, self._due_s - now) if self._rows else timeout_s)
            return ()
        try:
            self._write_documents()
            if self._rows and (full or now >= self._due_s):
                return [self._write_batch()]
        except (OSError, Retryable) as e:
            return [self._lost(e)]
        return ()

    def wake(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        """What is not written yet stays in the outbox."""
        self._waker.close()

    def _try_medium(self, now: float, timeout_s: float) -> Sequence[UplinkEvent]:
        if now < self._try_at_s:
            self._wait(min(timeout_s, self._try_at_s - now))
            return ()
        try:
            self._check_medium()
            self._number = self._next_number()
        except (OSError, Retryable) as e:
            return [self._lost(e)]
        self._up = True
        return [Up(WINDOW, BATCH_BYTES)]

    def _check_medium(self) -> None:
        if not self._folder.is_dir():
            hint = f"mount the medium, then: mkdir {self._folder}"
            raise Retryable(f"there is no folder {self._folder}", hint=hint)
        free = os.statvfs(self._folder)
        if free.f_bavail * free.f_frsize < RESERVE_BYTES + 2 * BATCH_BYTES:
            raise Retryable(f"the medium of {self._folder} is full", hint="take it to the backend, or clear it")

    def _lost(self, error: Exception) -> Down:
        self._up = False
        self._try_at_s = self._monotonic() + RETRY_S
        self._take_rows()
        if isinstance(error, OSError):
            hint = f"is the medium there and writable? ls -l {self._folder}"
            error = Retryable(f"cannot write to {self._folder}: {error.strerror}", hint=hint)
        return Down(str(error))

    def _write_batch(self) -> Acked:
        self._check_medium()
        name = f"{self._prefix}-{self._number:08d}.jsonl.gz"
        packed = gzip.compress(b"".join(self._lines), 6, mtime=0)
        replace_whole(self._folder / name, packed)
        self._confirm(name, hashlib.sha256(packed).hexdigest())
        self._number += 1
        return Acked(tuple((row.prio, row.id) for row in self._take_rows()))

    def _take_rows(self) -> list[Row]:
        rows, self._rows, self._lines, self._bytes = self._rows, [], [], 0
        return rows

    def _confirm(self, name: str, digest: str) -> None:
        """Appends the manifest's line, after a line end of its own where the last one was cut."""
        fd = os.open(self._folder / MANIFEST, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "ab") as file:  # which goes on after a short write, as a medium that fills up makes it
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            file.write(b"\n" * torn + f"{digest}  {name}\n".encode())
            file.flush()
            os.fsync(fd)
        _sync_folder(self._folder)

    def _write_documents(self) -> None:
        while self._documents:
            suffix = next(iter(self._documents))
            replace_whole(self._folder / f"{self._gateway.gateway}-{suffix}.json", self._documents[suffix])
            del self._documents[suffix]

    def _line(self, row: Row) -> bytes:
        topic = msgspec.json.encode(self._gateway.up(row.kind, row.key))
        return b'{"topic":' + topic + b',"body":' + decode.inflate(row.body) + b"}\n"

    def _next_number(self) -> int:
        """Past every file of this epoch, also one that was cut off."""
        names = (path.name for path in self._folder.glob(f"{self._prefix}-*"))
        numbers = [int(digits) for name in names if (digits := name[len(self._prefix) + 1 :][:8]).isdigit()]
        return max(numbers, default=self._number - 1) + 1

    def _wait(self, timeout_s: float) -> None:
        poller = select.poll()
        poller.register(self._waker.fd, select.POLLIN)
        if poller.poll(max(timeout_s, 0.0) * 1000):
            self._waker.clear()


def replace_whole(path: Path, content: bytes) -> None:
    """Whole or not at all, also across a power cut."""
    temporary = path.with_name(path.name + ".part")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(fd)
    temporary.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
