"""A serial port with several users: a source that reads, actuators that write and wait for the answer.

A `SerialPort` is good for one connection. When that is lost, everyone's port raises Retryable; each closes its own
and asks `Links.serial` for the next. The port is closed when the last user has left.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic

from edge_agent.errors import Rejected, Retryable
from edge_agent.links.answers import Answer, Answers, SetCommand, encode_command, parse_answer
from edge_agent.links.lines import Check, LineSplitter, append_check, checker
from edge_agent.links.serial import SerialConnection, SerialSettings

_TURN_S = 0.05
_MAX_ANSWER = 1024


class _Line:
    """A connection and who uses it."""

    def __init__(self, settings: SerialSettings) -> None:
        self.settings = settings
        self.connection = SerialConnection(settings)
        self.answers = Answers()
        self.users = 0
        self.reader: SerialPort | None = None


class SerialLink:
    """The one owner of a device, across its connections. Any thread."""

    def __init__(self) -> None:
        self._line: _Line | None = None
        self._lent = ""
        self._lock = Lock()

    def join(self, settings: SerialSettings, *, reading: bool) -> SerialPort:
        """Opens the port, or shares the open one. Raises Retryable, or Rejected for users who cannot agree."""
        with self._lock:
            if self._lent:
                raise Retryable(f"{settings.device}: {self._lent}")
            line = self._line
            if line is None or line.connection.gone:
                line = self._line = _Line(settings)
            else:
                _agree(line, settings, reading=reading)
                if reading:
                    line.connection.discard_input()
            port = SerialPort(self, line)
            line.users += 1
            if reading:
                line.reader = port
            return port

    def lend(self, why: str) -> None:
        """Closes the port and keeps it closed, for this reason; empty: it may be opened again."""
        with self._lock:
            self._lent = why
            line = self._line
        if why and line is not None:
            line.connection.drop()

    @property
    def lent(self) -> str:
        """Why the port is closed to its users; empty while it is theirs."""
        return self._lent

    def leave(self, port: SerialPort, line: _Line) -> None:
        with self._lock:
            line.users -= 1
            if line.reader is port:
                line.reader = None
            if line.users == 0:
                line.connection.drop()


def _agree(line: _Line, settings: SerialSettings, *, reading: bool) -> None:
    old = line.settings
    if (old.baud, old.framing) != (settings.baud, settings.framing):
        raise Rejected(
            f"{settings.device} is open with {old.baud} {old.framing}, not {settings.baud} {settings.framing}",
            hint="give the source and the actuator of one port the same baud and framing",
        )
    if reading and line.reader is not None:
        raise Rejected(f"{settings.device} already has a source that reads it", hint="one source for each port")


class SerialPort:
    """One user's share of an open port. `close` may be called more than once and does not raise."""

    def __init__(self, link: SerialLink, line: _Line) -> None:
        self._link = link
        self._line = line
        self._open = True

    def read(self, timeout_s: float, idle_s: float = 0.0) -> bytes:
        """As `SerialConnection.read`; for the one user who joined with `reading`."""
        try:
            return self._line.connection.read(timeout_s, idle_s)
        except Retryable as e:
            if self._link.lent:
                raise Retryable(f"{self._line.settings.device}: {self._link.lent}") from e
            raise

    def write(self, line: bytes, timeout_s: float) -> None:
        """As `SerialConnection.write`."""
        self._line.connection.write(line, timeout_s)

    def answered(self, answer: Answer) -> bool:
        """The reader saw an answer among the lines; False when nobody waits for it."""
        return self._line.answers.put(answer)

    def ask(self, command: SetCommand, check: Check, timeout_s: float) -> Answer | None:
        """Sends a command and waits for its answer, None after the timeout. Raises Retryable as `write` does.

        Where a source reads the port, it brings the answer; otherwise what comes is read here.
        """
        end = monotonic() + timeout_s
        ears = _Ears(check)
        with self._line.answers.expected(command.id):
            self.write(append_check(encode_command(command), check) + b"\n", timeout_s)
            while True:
                turn_s = min(max(end - monotonic(), 0.0), _TURN_S)
                answer = self._hear(ears, command.id, turn_s)
                if answer is not None or monotonic() >= end:
                    return answer

    def close(self) -> None:
        if self._open:
            self._open = False
            self._link.leave(self, self._line)

    def _hear(self, ears: _Ears, answer_id: int, turn_s: float) -> Answer | None:
        """One turn: a source may come or go, or lose the connection, while we wait."""
        line = self._line
        if line.reader is not None and not line.connection.gone:
            return line.answers.wait(answer_id, turn_s)
        for answer in ears.hear(line.connection.read(turn_s)):
            line.answers.put(answer)
        return line.answers.wait(answer_id, 0.0)


class _Ears:
    """Hears the answers on a port that no source reads; everything else passes by."""

    def __init__(self, check: Check) -> None:
        self._splitter = LineSplitter(_MAX_ANSWER)
        self._body_of = checker(check)

    def hear(self, chunk: bytes) -> list[Answer]:
        answers = map(self._answer, self._splitter.feed(chunk))
        return [answer for answer in answers if answer is not None]

    def _answer(self, line: bytes) -> Answer | None:
        try:
            return parse_answer(self._body_of(line))
        except Rejected:
            return None
