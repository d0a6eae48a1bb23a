"""Commands to a device that speaks in lines, and its answers, which come back between its readings.

    agent:   {"set":"relay","value":0,"id":7}
    device:  {"ack":7,"set":"relay","value":0}            what it has done, with the value read back
         or  {"ack":7,"set":"relay","error":"interlock"}  why it will not
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import msgspec

from edge_agent.types import Value


class SetCommand(msgspec.Struct, frozen=True):
    """One line to the device. `id` comes back as `ack`."""

    set: str
    value: Value
    id: int


class Answer(msgspec.Struct, frozen=True):
    """One line from the device. `value` is what it reads back, None where it cannot."""

    ack: int
    set: str = ""
    value: Value | None = None
    error: str = ""


_decode = msgspec.json.Decoder(Answer).decode


def encode_command(command: SetCommand) -> bytes:
    """JSON without a line end."""
    return msgspec.json.encode(command)


def parse_answer(body: bytes) -> Answer | None:
    """The answer in a line, None when it is none."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Answers:
    """Hands answers from whoever reads a link to whoever asked. Any thread; holds no answer nobody asked for."""

    def __init__(self) -> None:
        self._waiting: dict[int, Answer | None] = {}
        self._arrived = Condition()

    @contextmanager
    def expected(self, answer_id: int) -> Iterator[None]:
        """While it lasts, an answer with this id is kept."""
        with self._arrived:
            self._waiting[answer_id] = None
        try:
            yield
        finally:
            with self._arrived:
                del self._waiting[answer_id]

    def put(self, answer: Answer) -> bool:
        """False when nobody waits for it."""
        with self._arrived:
            if answer.ack not in self._waiting:
                return False
            self._waiting[answer.ack] = answer
            self._arrived.notify_all()
            return True

    def wait(self, answer_id: int, timeout_s: float) -> Answer | None:
        """The answer, None after the timeout."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._waiting[answer_id] is not None, timeout_s)
            return self._waiting[answer_id]
