"""Where a stream of JPEGs comes from: a camera's HTTP address, or a command that writes it to its stdout.

Used in the capture child only. Both raise `CaptureError` with what happened and what to do.
"""

from __future__ import annotations

import http.client
import os
import select
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

_CHUNK = 65536
_TERM_S = 1.0


class CaptureError(Exception):
    """The camera cannot be opened, or it stopped. It is opened again by the framework."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Stream(Protocol):
    def read(self) -> bytes:
        """What has come, at most 64 KiB; waits for the first byte no longer than the timeout."""

    def close(self) -> None: ...


class HttpStream:
    """`multipart/x-mixed-replace` over HTTP; user and password in the address are sent as basic or digest."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        bare, opener = _opener(url)
        try:
            self._response = opener.open(bare, timeout=timeout_s)
        except urllib.error.HTTPError as e:
            raise CaptureError(f"the camera answers HTTP {e.code}", "check address, user and password") from e
        except TimeoutError as e:
            raise self._silence() from e
        except (OSError, http.client.HTTPException, ValueError) as e:
            reason = e.reason if isinstance(e, urllib.error.URLError) else e
            raise CaptureError(f"cannot connect: {reason}", "is the camera on, and the address right?") from e

    def read(self) -> bytes:
        try:
            data: bytes = self._response.read1(_CHUNK)
        except TimeoutError as e:
            raise self._silence() from e
        except (OSError, http.client.HTTPException) as e:
            raise CaptureError(f"connection lost: {e}", "check the camera and its network") from e
        if not data:
            raise CaptureError("the camera closed the connection", "check the camera, and who else watches it")
        return data

    def close(self) -> None:
        self._response.close()

    def _silence(self) -> CaptureError:
        return CaptureError(f"no data for {self._timeout_s:g} s", "is the camera still streaming?")


class CommandStream:
    """What a command writes to its stdout; it dies with us, and its last words are in the error."""

    def __init__(self, argv: Sequence[str], timeout_s: float, die_with_us: Callable[[], None]) -> None:
        self._name = argv[0]
        self._timeout_s = timeout_s
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_us,  # noqa: PLW1509 - one thread
            )  # fmt: skip
        except OSError as e:
            raise CaptureError(f"cannot start {argv[0]}: {e.strerror}", "is it installed?") from e
        assert self._process.stdout is not None
        self._fd = self._process.stdout.fileno()

    def read(self) -> bytes:
        if not select.select((self._fd,), (), (), self._timeout_s)[0]:
            raise CaptureError(f"{self._name} wrote nothing for {self._timeout_s:g} s", "does it see the camera?")
        data = os.read(self._fd, _CHUNK)
        if not data:
            raise CaptureError(f"{self._name} ended: {self._how()}", "run the command by hand to see what it says")
        return data

    def close(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_TERM_S)
        self._process.kill()

    def _how(self) -> str:
        try:
            code = self._process.wait(_TERM_S)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _opener(url: str) -> tuple[str, urllib.request.OpenerDirector]:
    """The address without user and password, and what opens it with them. No proxies: cameras are near."""
    parts = urllib.parse.urlsplit(url)
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if parts.username is not None:
        known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        known.add_password(None, bare, user, password)
        handlers += [urllib.request.HTTPDigestAuthHandler(known), urllib.request.HTTPBasicAuthHandler(known)]
    return bare, urllib.request.build_opener(*handlers)
