"""A command on a real terminal: a pseudo-terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

from cli.command import ROOT, argv, environment


class Terminal:
    """Starts the command; `until` reads what it writes, `interrupt` is Ctrl-C, `end` waits for its exit code."""

    def __init__(self, *arguments: str | Path, columns: int = 80, **env: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, columns, 0, 0))
        self._child = subprocess.Popen(
            argv(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True,
            env=environment(**{"TERM": "xterm", **env}),
        )  # fmt: skip
        os.close(theirs)
        self._fd = ours
        os.set_blocking(ours, False)
        self.seen = ""

    def until(self, text: str, times: int = 1, timeout_s: float = 20.0) -> str:
        end = time.monotonic() + timeout_s
        while self.seen.count(text) < times:
            assert time.monotonic() < end, f"no {text!r} in {self.seen!r}"
            self._read()
        return self.seen

    def interrupt(self) -> None:
        self._child.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Its exit code, once it has ended; all it wrote is in `seen`."""
        while self._child.poll() is None:
            self._read()
        self._read()
        os.close(self._fd)
        return self._child.returncode

    def _read(self) -> None:
        try:
            self.seen += os.read(self._fd, 65536).decode()
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # the other side is closed
            return
