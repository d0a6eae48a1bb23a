"""Child processes that run heavy libraries beside the agent: how they are started, how they end with it, and what
they said last.

A child ends with its parent twice over: by the parent-death signal (`die_with`, in the child) and by the end of the
socket pair that connects the two. `Child` is the parent's side.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from edge_agent.ports import Spawner

_PR_SET_PDEATHSIG = 1
_KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_KEPT_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "ORT_", "TF_", "XNNPACK_")
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A pool of threads that nobody asked for costs memory, and cores that sensors and rules need."""
_TAIL_BYTES = 2000
_SOCKET_BUFFER_BYTES = 2**20
_REAP_S = 5.0


class Child:
    """A module of the agent running as `python -m module FD PARENT ARGUMENTS…`, with one end of a socket pair.

    Raises Retryable from the spawner when the system refuses.
    """

    def __init__(
        self, spawner: Spawner, module: str, arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.socket, theirs = socket.socketpair()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        argv = (sys.executable, "-m", module, str(theirs.fileno()), str(os.getpid()), *arguments)
        try:
            self._process = spawner.spawn(
                argv, pass_fds=(theirs.fileno(),), env=child_environment(environment or {}),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        except BaseException:
            self.socket.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._tail = b""
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def rss_bytes(self) -> int:
        """Resident memory; 0 when it is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0

    def drain(self) -> None:
        """Takes what it wrote to stderr, so that it never waits for a reader; the newest is kept."""
        if self._process.stderr is None or self._process.stderr.closed:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._process.stderr.fileno(), 65536):
                self._tail = (self._tail + data)[-_TAIL_BYTES:]

    def kill(self) -> str:
        """SIGKILL, reaped, closed; returns how it ended. May be called again."""
        self._process.kill()
        return self._end(_REAP_S)

    def ended(self, grace_s: float) -> str:
        """How it ended by itself, or, past the grace, that it had to be killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self._process.kill()
        return self._end(_REAP_S)

    def _end(self, patience_s: float) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        self.drain()
        self.socket.close()
        if self._process.stderr is not None:
            self._process.stderr.close()
        return ending(self._process.returncode, self._tail)


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a child may know: no credentials, no sockets of the service; and where this package lies."""
    kept = {k: v for k, v in os.environ.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}
    return {**kept, **_SINGLE, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), **more}


def die_with(parent: int) -> None:
    """In the child: SIGKILL when the thread that made this process ends; at once when it has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def yield_to_others(*, nice: int, oom_score: int) -> None:
    """In the child: behind the agent for the processor, before it when the kernel is short of memory, and no core
    dumps of pictures."""
    os.nice(nice)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(oom_score))


def ending(returncode: int | None, stderr: bytes) -> str:
    """How a process ended, and the last line that it said about it."""
    return _outcome(returncode) + _last_words(stderr)


def _outcome(returncode: int | None) -> str:
    if returncode is None:
        return "it does not end, not even by SIGKILL"
    if returncode >= 0:
        return f"it ended with exit code {returncode}"
    try:
        return f"it died of {signal.Signals(-returncode).name}"
    except ValueError:
        return f"it died of signal {-returncode}"


def _last_words(tail: bytes) -> str:
    lines = [line.strip() for line in tail.decode("utf-8", "replace").splitlines()]
    told = [line for line in lines if line and not line.startswith(("INFO:", "WARNING:"))]
    return f", last words: {ascii(told[-1][:200])[1:-1]}" if told else ""
