"""Pseudo-terminals with a device on them."""

from __future__ import annotations

import os
import subprocess
import sys
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WRITER = Path(__file__).with_name("line_writer.py")


@contextmanager
def terminal(link: Path) -> Iterator[int]:
    """The device's end; the agent opens `link`."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    link.symlink_to(os.ttyname(theirs))
    try:
        yield ours
    finally:
        os.close(ours)
        os.close(theirs)


@contextmanager
def device(link: Path, lines: list[bytes], hz: float) -> Iterator[subprocess.Popen[bytes]]:
    """Offers these lines over and over at this rate, as far as the terminal takes them, from its own process."""
    with terminal(link) as fd:
        argv = [sys.executable, str(_WRITER), str(fd), str(hz)]
        child = subprocess.Popen(argv, pass_fds=(fd,), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(b"".join(lines))
        child.stdin.close()
        try:
            yield child
        finally:
            child.kill()
            child.wait()


@contextmanager
def echo(link: Path) -> Iterator[int]:
    """One end of a terminal whose other end is read and written by `cat`."""
    with terminal(link) as fd, link.open("rb+", buffering=0) as theirs:
        child = subprocess.Popen(["cat"], stdin=theirs, stdout=theirs)
        try:
            yield fd
        finally:
            child.kill()
            child.wait()
