"""Errors by what the supervisor does about them; every one carries a hint: what the technician types next."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """What the exit status of `edge-agent` says, after sysexits; scripts and the service unit rely on it."""

    OK = 0
    FAILURE = 1
    """It was tried and did not work."""
    CONFIGURATION = 2
    """The site file or the command line is wrong: trying again will not help, a person has to edit."""
    NOT_THERE = 3
    """No agent answers and no database is there."""
    BUG = 70
    """Something nobody planned; the state is on disk."""


class EdgeError(Exception):
    """Base of all errors that the agent raises on purpose."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class Retryable(EdgeError):
    """The thing is gone for now: close, back off, open again."""


class Rejected(EdgeError):
    """This one item is bad: count it, quarantine it, go on with the next."""

    def __init__(self, message: str, *, hint: str = "", item: bytes = b"") -> None:
        super().__init__(message, hint=hint)
        self.item = item


class EndOfInput(EdgeError):
    """A finite source has given all it has: close it, do not open it again."""


class Fatal(EdgeError):
    """The agent cannot go on: stop with `exit_code`."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
