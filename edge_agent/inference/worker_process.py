"""The lane's side of a worker process: start it, ask it, and kill it when it is late, too fat, or dead already.

Several lanes may share one; each holds `lock` while it loads or asks. Who asks bears the blame: a failure is raised
to the lane whose question it was, the others find the worker empty and load again.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from edge_agent.children import Child
from edge_agent.errors import Rejected, Retryable
from edge_agent.inference.wire import (
    HEADER_LIMIT,
    PREFIX,
    Answer,
    Ask,
    FromWorker,
    Load,
    Ready,
    Refusal,
    decode_from_worker,
    head,
)
from edge_agent.ports import Spawner

_WATCH_MS = 250
"""How often memory and stderr are looked at while an answer is awaited."""
_DEATH_S = 1.0


class WorkerFailed(Retryable):
    """The worker was killed or died. `kind` is `deadline`, `crash`, `memory` or `cancelled`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class ModelRefused(Rejected):
    """The worker is well, but it cannot load this model, now or later."""


class WorkerProcess:
    """`turn` is called about four times a second while something is awaited; it returns True to give up."""

    def __init__(
        self, *, spawner: Spawner, memory_mb: int, mono_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.lock = threading.Lock()
        self.rss_bytes = 0
        self._spawner = spawner
        self._memory_mb = memory_mb
        self._mono_ns = mono_ns
        self._child: Child | None = None
        self._poll = select.poll()
        self._loaded: set[int] = set()
        self._slots = 0
        self._watched_ns = 0
        self._asked_ns: deque[int] = deque()
        self._answered_ns = 0
        self._received = b""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def new_slot(self) -> int:
        """A number for one more model."""
        self._slots += 1
        return self._slots

    def holds(self, slot: int) -> bool:
        return slot in self._loaded

    @property
    def owes(self) -> bool:
        """An answer."""
        return bool(self._asked_ns)

    @property
    def shared(self) -> bool:
        return self._slots > 1

    def load(self, message: Load, timeout_s: float, turn: Callable[[], bool]) -> Ready:
        """Starts the process if there is none. Raises ModelRefused or WorkerFailed."""
        if self._child is None:
            self._start(message)
        with self._judged(timeout_s):
            end_ns = self._end(timeout_s)
            self._write(head(message), b"", end_ns, turn)
            reply = self._read(end_ns, turn)
        if isinstance(reply, Refusal):
            raise ModelRefused(reply.reason, hint=reply.hint)
        if not isinstance(reply, Ready) or reply.slot != message.slot:
            raise self._fail("crash", "the worker gave a wrong answer")
        self._loaded.add(message.slot)
        return reply

    def ask(self, ask: Ask, payload: bytes, timeout_s: float, turn: Callable[[], bool]) -> Answer:
        """`send` and `receive`."""
        self.send(ask, payload, timeout_s, turn)
        return self.receive(ask.slot, timeout_s, turn)

    def send(self, ask: Ask, payload: bytes, timeout_s: float, turn: Callable[[], bool]) -> None:
        """Also while an answer is owed: the worker finds it as soon as it has answered. Raises WorkerFailed."""
        now_ns = self._mono_ns()
        with self._judged(timeout_s):
            self._write(head(ask, len(payload)), payload, self._end(timeout_s), turn)
        self._asked_ns.append(now_ns)

    def receive(self, slot: int, timeout_s: float, turn: Callable[[], bool]) -> Answer:
        """The answer to the oldest question, due `timeout_s` after it was sent or the one before was answered.

        Raises WorkerFailed.
        """
        began_ns = max(self._asked_ns.popleft(), self._answered_ns)
        with self._judged(timeout_s):
            reply = self._read(began_ns + round(timeout_s * 1e9), turn)
        self._answered_ns = self._mono_ns()
        if not isinstance(reply, Answer) or reply.slot != slot:
            raise self._fail("crash", "the worker gave a wrong answer")
        return reply

    def watch(self) -> None:
        """Raises WorkerFailed when the process is gone or over its ceiling; looks at most every 250 ms."""
        child, now_ns = self._child, self._mono_ns()
        if child is None or now_ns - self._watched_ns < _WATCH_MS * 1_000_000:
            return
        self._watched_ns = now_ns
        if not child.alive:
            raise self._lost()
        child.drain()
        self.rss_bytes = child.rss_bytes()
        if self.rss_bytes > self._memory_mb * 10**6:
            found = f"{self.rss_bytes / 1e6:.0f} MB of memory, more than memory_mb = {self._memory_mb}"
            raise self._fail("memory", f"the worker took {found}")

    def release(self) -> None:
        """Ends a process that holds no model."""
        if not self._loaded:
            self.close()

    def close(self) -> None:
        """Kills the process."""
        if self._child is not None:
            self._gone(self._child.kill)

    def _start(self, first: Load) -> None:
        # a GPU maps far more memory than it uses: only its residence can be bounded
        on_cpu = not first.providers and first.delegate in ("", "none")
        ceiling = self._memory_mb if on_cpu else 0
        self._child = child = Child(self._spawner, "edge_agent.inference.worker", (str(ceiling),))
        child.socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(child.socket, select.POLLIN)

    def _end(self, timeout_s: float) -> int:
        return self._mono_ns() + round(timeout_s * 1e9)

    @contextlib.contextmanager
    def _judged(self, timeout_s: float) -> Iterator[None]:
        """What goes wrong in an exchange, as WorkerFailed; the worker does not outlive it."""
        try:
            yield
        except TimeoutError:
            raise self._fail("deadline", f"no answer within {timeout_s * 1e3:.0f} ms") from None
        except (OSError, EOFError):
            raise self._lost() from None
        except msgspec.DecodeError:
            raise self._fail("crash", "the worker gave an answer that is none") from None

    def _write(self, header: bytes, payload: bytes, end_ns: int, turn: Callable[[], bool]) -> None:
        assert self._child is not None
        connection = self._child.socket
        left = memoryview(header + payload) if len(payload) < 65536 else None
        if left is None:
            sent = connection.sendmsg((header, payload))
            left = memoryview(payload)[sent - len(header) :]
        while left:
            try:
                left = left[connection.send(left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, end_ns, turn)

    def _read(self, end_ns: int, turn: Callable[[], bool]) -> FromWorker:
        assert self._child is not None
        while (wanted := _message_bytes(self._received)) > len(self._received):
            self._wait(select.POLLIN, end_ns, turn)
            data = self._child.socket.recv(65536)
            if not data:
                raise EOFError
            self._received += data
        reply: FromWorker = decode_from_worker(memoryview(self._received)[PREFIX.size : wanted])
        self._received = self._received[wanted:]
        return reply

    def _wait(self, event: int, end_ns: int, turn: Callable[[], bool]) -> None:
        """Until the socket is ready. Raises TimeoutError at the end, WorkerFailed when `turn` or memory says so."""
        assert self._child is not None
        self._poll.modify(self._child.socket, event)
        while (left_ns := end_ns - self._mono_ns()) > 0:
            if self._poll.poll(min(left_ns / 1e6, _WATCH_MS)):
                return
            if turn():
                raise self._fail("cancelled", "the lane was stopped")
            self.watch()
        raise TimeoutError

    def _fail(self, kind: str, reason: str) -> WorkerFailed:
        assert self._child is not None
        self._gone(self._child.kill)
        return WorkerFailed(kind, reason)

    def _lost(self) -> WorkerFailed:
        child = self._child
        assert child is not None
        how = self._gone(lambda: child.ended(_DEATH_S))
        return WorkerFailed("crash", f"the worker is gone: {how}")

    def _gone(self, end: Callable[[], str]) -> str:
        self._child = None
        self._loaded.clear()
        self._asked_ns.clear()
        self._received = b""
        self.rss_bytes = 0
        return end()


def _message_bytes(received: bytes) -> int:
    """How many bytes the first message needs, as far as its prefix has come."""
    if len(received) < PREFIX.size:
        return PREFIX.size
    header_bytes: int = PREFIX.unpack_from(received)[0]
    if header_bytes > HEADER_LIMIT:
        raise msgspec.DecodeError
    return PREFIX.size + header_bytes
