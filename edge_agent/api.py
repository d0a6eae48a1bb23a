"""Local control: one JSON request and one JSON answer a line, over a unix socket; the peer's uid is its role.

A client that sends nothing, half a line or too much is cut off alone; the others are served.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.errors import EdgeError, Fatal
from edge_agent.ports import Clock

MAX_REQUEST_BYTES = 64 * 1024
_MAX_CLIENTS = 32
_IDLE_NS = 30_000_000_000
_PEER = struct.Struct("3i")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`verb` names what to do; `args` is the verb's own business."""

    verb: str
    args: dict[str, str | int | float | bool] = {}


class Answer(msgspec.Struct, frozen=True):
    """`code` and `error` where it is not ok."""

    ok: bool
    result: Any = None
    code: str = ""
    error: str = ""


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as the kernel says. `operator`: root, the agent's own user, or a member of the socket's group."""

    uid: int
    gid: int
    operator: bool


class Refusal(EdgeError):
    """The answer is no: `code` is stable, the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Verb = Callable[[Caller, Mapping[str, Any]], object]


class _Client:
    def __init__(self, sock: socket.socket, caller: Caller, now_ns: int) -> None:
        self.sock = sock
        self.caller = caller
        self.heard_ns = now_ns
        self.pending = bytearray()
        self.out = bytearray()


class ApiBody:
    """ports.Body of the control socket at `path`; `verbs` are served in this thread, so they must be quick."""

    name = "api"

    def __init__(self, path: Path, verbs: Mapping[str, Verb], clock: Clock) -> None:
        self.progress_ns = 0
        self._path = path
        self._verbs = verbs
        self._clock = clock
        self._wake_r, self._wake_w = os.pipe()
        self._stopping = False
        self._decode = msgspec.json.Decoder(Request).decode

    def stop(self) -> None:
        self._stopping = True
        with suppress(OSError):
            os.write(self._wake_w, b"x")

    def run(self) -> None:
        listener = self._listen()
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_r, selectors.EVENT_READ)
            selector.register(listener, selectors.EVENT_READ)
            try:
                while not self._stopping:
                    self.progress_ns = self._clock.mono_ns()
                    self._turn(selector, listener)
            finally:
                for client in self._clients(selector):
                    self._drop(selector, client)
                listener.close()
                self._path.unlink(missing_ok=True)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        self._path.unlink(missing_ok=True)
        try:
            listener.bind(str(self._path))
        except OSError as e:
            listener.close()
            raise Fatal(
                f"control socket {self._path}: {e.strerror}", hint="set agent.run_dir to a short, writable path"
            ) from e
        self._path.chmod(0o660)
        listener.listen(16)
        return listener

    def _turn(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        for key, _ in selector.select(timeout=1.0):
            if key.fileobj is listener:
                self._accept(selector, listener)
            elif isinstance(key.data, _Client):
                self._serve(selector, key.data)
        now = self._clock.mono_ns()
        for client in self._clients(selector):
            if now - client.heard_ns > _IDLE_NS:
                self._drop(selector, client)

    @staticmethod
    def _clients(selector: selectors.BaseSelector) -> list[_Client]:
        return [k.data for k in selector.get_map().values() if isinstance(k.data, _Client)]

    def _accept(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        sock, _ = listener.accept()
        clients = self._clients(selector)
        if len(clients) >= _MAX_CLIENTS:
            self._drop(selector, min(clients, key=lambda c: c.heard_ns))
        sock.setblocking(False)
        client = _Client(sock, self._caller(sock), self._clock.mono_ns())
        selector.register(sock, selectors.EVENT_READ, client)

    def _caller(self, sock: socket.socket) -> Caller:
        _, uid, gid = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        group = self._path.stat().st_gid
        return Caller(uid, gid, uid in (0, os.geteuid()) or gid == group)

    def _serve(self, selector: selectors.BaseSelector, client: _Client) -> None:
        client.heard_ns = self._clock.mono_ns()
        try:
            if client.out:
                self._send(selector, client)
                return
            chunk = client.sock.recv(65536)
        except OSError:
            chunk = b""
        client.pending += chunk
        if not chunk or len(client.pending) > MAX_REQUEST_BYTES:
            self._drop(selector, client)
            return
        while b"\n" in client.pending:
            line, _, rest = client.pending.partition(b"\n")
            client.pending = bytearray(rest)
            client.out += msgspec.json.encode(self._answer(client.caller, bytes(line))) + b"\n"
        if client.out:
            self._send(selector, client)

    def _send(self, selector: selectors.BaseSelector, client: _Client) -> None:
        try:
            sent = client.sock.send(client.out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(selector, client)
            return
        del client.out[:sent]
        selector.modify(client.sock, selectors.EVENT_WRITE if client.out else selectors.EVENT_READ, client)

    def _drop(self, selector: selectors.BaseSelector, client: _Client) -> None:
        selector.unregister(client.sock)
        client.sock.close()

    def _answer(self, caller: Caller, line: bytes) -> dict[str, object]:
        try:
            request = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            return {"ok": False, "code": "malformed", "error": str(e)}
        verb = self._verbs.get(request.verb)
        if verb is None:
            known = ", ".join(sorted(self._verbs))
            return {"ok": False, "code": "unknown_verb", "error": f"{request.verb!r} is none of {known}"}
        try:
            return {"ok": True, "result": verb(caller, request.args)}
        except Refusal as e:
            return {"ok": False, "code": e.code, "error": str(e)}


def ask(path: Path, verb: str, args: Mapping[str, Any] | None = None, *, timeout_s: float = 3.0) -> Any:
    """The client's side: one request to the agent at `path`, its result.

    Raises Refusal where the agent says no, an OSError where none answers, msgspec.DecodeError for what is no
    answer of an agent; refuses to talk to a socket that belongs to neither root, this user, nor the folder's owner.
    """
    owner = path.lstat()
    if owner.st_uid not in (0, os.geteuid(), path.parent.stat().st_uid):
        raise Refusal("foreign_socket", f"{path} belongs to uid {owner.st_uid}; this may not be the agent")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(timeout_s)
        s.connect(str(path))
        s.sendall(msgspec.json.encode({"verb": verb, "args": dict(args or {})}) + b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n"):
            chunk = s.recv(65536)
            if not chunk:
                raise ConnectionResetError("the agent closed the connection")
            answer += chunk
    told = msgspec.json.decode(answer, type=Answer)
    if not told.ok:
        raise Refusal(told.code, told.error)
    return told.result
