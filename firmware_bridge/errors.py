"""Errors of the bridge; each says who erred: the caller, the device, or the line."""


class BridgeError(Exception):
    """Anything this package raises. `hint` is what a technician tries next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class FrameTooLong(BridgeError):
    """The caller wants to send more than one frame holds."""


class BadMessage(BridgeError):
    """The device sent a frame with a good CRC whose payload breaks PROTOCOL.md. Drop and count it."""


class UnknownType(BadMessage):
    """The frame's type is not assigned in this version. Drop and count it by type."""


class CommandRefused(BridgeError):
    """The caller's command cannot be sent at all: nothing was put on the wire."""


class LinkDown(BridgeError):
    """The port is gone or not there. Open again after a pause."""


class PortBusy(LinkDown):
    """Another process holds the port; the message names it where it can be known."""
