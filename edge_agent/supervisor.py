"""Runs the agent's threads: starts bodies and children, restarts what broke, feeds the watchdog, stops in order.

This file alone catches everything: an error that a body did not class is a bug in that body. It is restarted; three
bugs in ten minutes park it and raise an alert, the others go on. The engine is the exception: its crash is fatal.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from edge_agent.errors import EndOfInput, Fatal, Retryable
from edge_agent.health import Health
from edge_agent.ports import Body, Clock
from edge_agent.types import Event, HealthChange

log = logging.getLogger(__name__)

_BUGS = 3
_BUG_WINDOW_S = 600.0
_STALE_S = 10.0


class MainSpawner:
    """Starts children in the main thread: a parent-death signal fires when the *thread* that forked ends."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._main = threading.current_thread()

    def spawn(self, argv: Sequence[str], *, pass_fds: Sequence[int] = (), **options: Any) -> subprocess.Popen[bytes]:
        if threading.current_thread() is self._main:
            return _popen(argv, pass_fds, options)
        outcome: SimpleQueue[subprocess.Popen[bytes] | Retryable] = SimpleQueue()

        def start() -> None:
            try:
                outcome.put(_popen(argv, pass_fds, options))
            except Retryable as e:
                outcome.put(e)

        self._requests.put(start)
        child = outcome.get(timeout=30.0)
        if isinstance(child, Retryable):
            raise child
        return child

    def serve(self, timeout_s: float) -> None:
        """Main thread: starts what was asked for within this time; returns early after `wake`."""
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            try:
                request = self._requests.get(timeout=left)
            except Empty:
                return
            if request is None:
                return
            request()

    def wake(self) -> None:
        self._requests.put(None)


def _popen(argv: Sequence[str], pass_fds: Sequence[int], options: dict[str, Any]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(list(argv), pass_fds=tuple(pass_fds), **options)
    except OSError as e:
        raise Retryable(f"cannot start {argv[0]}: {e.strerror}", hint="is it installed and executable?") from e


def notify_systemd(message: str) -> None:
    """sd_notify: `READY=1`, `WATCHDOG=1`, `STATUS=…`; nothing where there is no systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        try:
            s.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as e:
            log.warning("systemd was not notified: %s", e.strerror)


class _Thread:
    """One body on its thread, started again after a bug."""

    def __init__(self, supervisor: Supervisor, body: Body, *, fatal: bool) -> None:
        self.body = body
        self.fatal = fatal
        self._supervisor = supervisor
        self._bugs: deque[float] = deque(maxlen=_BUGS)
        self.parked = False
        self.thread = threading.Thread(target=self._run, name=body.name, daemon=True)

    def _run(self) -> None:
        while True:
            try:
                self.body.run()
            except EndOfInput:
                return
            except Fatal as e:
                self._supervisor.fail(e)
                return
            except Exception as e:
                if not self._restart_after(e):
                    return
                continue
            return

    def _restart_after(self, error: Exception) -> bool:
        log.error("%s: %s\n%s", self.body.name, error, traceback.format_exc())
        if self.fatal:
            reason = f"{self.body.name} crashed: {type(error).__name__}: {error}"
            self._supervisor.fail(Fatal(reason, hint="report this with the log; the state is on disk", exit_code=70))
            return False
        now = time.monotonic()
        self._bugs.append(now)
        parked = len(self._bugs) == _BUGS and now - self._bugs[0] < _BUG_WINDOW_S
        self._supervisor.report(self.body.name, False, f"bug: {type(error).__name__}: {error}")
        self.parked = parked  # last: whoever sees that it is parked sees why
        return not self.parked and not self._supervisor.stopping


class Supervisor:
    """Owns all threads of the process. Used from the main thread, apart from `fail` and `report`."""

    def __init__(self, clock: Clock, health: Health, post: Callable[[list[Event]], None]) -> None:
        self.spawner = MainSpawner()
        self.stopping = False
        self.fatal: Fatal | None = None
        self._clock = clock
        self._health = health
        self._post = post
        self._threads: list[_Thread] = []
        self._stop_asked = threading.Event()

    def start(self, body: Body, *, fatal: bool = False) -> None:
        """`fatal`: a crash of this body ends the process (the engine)."""
        body.progress_ns = self._clock.mono_ns()
        thread = _Thread(self, body, fatal=fatal)
        self._threads.append(thread)
        thread.thread.start()

    def report(self, part: str, up: bool, reason: str, *, alert: bool = False) -> None:
        """Tells health and the rules, and with `alert` people; any thread."""
        stamp = self._clock.now()
        if self._health.part(part).turn(up, stamp, reason):
            self._post([HealthChange(part, up, stamp, reason, alert)])

    def fail(self, error: Fatal) -> None:
        self.fatal = self.fatal or error
        self.ask_stop()

    def ask_stop(self) -> None:
        """Any thread, or a signal handler."""
        self._stop_asked.set()
        self.spawner.wake()

    def serve(self, turn_s: float, on_turn: Callable[[], None]) -> None:
        """Main loop until somebody asks to stop: spawn, watch, notify, and `on_turn` each time."""
        while not self._stop_asked.is_set():
            self.spawner.serve(turn_s)
            self._watch()
            on_turn()

    def _watch(self) -> None:
        """Only the engine gates the watchdog (main is this thread); any other silent loop is a health signal."""
        now = self._clock.mono_ns()
        alive = True
        for t in self._threads:
            age_s = (now - t.body.progress_ns) / 1e9
            stuck = t.thread.is_alive() and age_s > _STALE_S
            if t.fatal:
                alive = alive and not stuck
            elif stuck:
                self.report(t.body.name, False, f"no progress for {age_s:.0f} s")
        if alive:
            notify_systemd("WATCHDOG=1")

    def stop(self, names: Sequence[str] | None = None, timeout_s: float = 5.0) -> list[str]:
        """Stops these bodies (all of them by default) in the order they were started; returns who did not end."""
        self.stopping = True
        chosen = [t for t in self._threads if names is None or t.body.name in names]
        for t in chosen:
            t.body.stop()
        end = time.monotonic() + timeout_s
        for t in chosen:
            while t.thread.is_alive() and time.monotonic() < end:
                self.spawner.serve(0.01)
                t.thread.join(0.01)
        self._threads = [t for t in self._threads if t not in chosen]
        return [t.body.name for t in chosen if t.thread.is_alive()]

    def names(self) -> list[str]:
        return [t.body.name for t in self._threads]

    def parked(self) -> list[str]:
        return [t.body.name for t in self._threads if t.parked]
