"""A device that is told by a line what to set and says what it then reads back, on a port it may share with a source.

    [[actuator]]
    name = "press"
    kind = "serial"
    device = "/dev/serial/by-id/usb-ACME_Press_0042-if00-port0"

`press.relay = 0` goes out as `{"set":"relay","value":0,"id":7}`; the device answers
`{"ack":7,"set":"relay","value":0}` or `{"ack":7,"error":"interlock"}` (links/answers.py).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from edge_agent.actuators.read_back import same
from edge_agent.errors import Rejected, Retryable
from edge_agent.links.answers import Answer, SetCommand, encode_command
from edge_agent.links.lines import Check, append_check
from edge_agent.links.serial import Baud, Framing, SerialSettings
from edge_agent.links.serial_link import SerialPort
from edge_agent.ports import Clock, Context
from edge_agent.types import Act, Receipt


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `serial` actuator; the port's own must equal those of a source on the same port."""

    device: str
    """The port; a stable name such as `/dev/serial/by-id/…` survives renumbering."""
    baud: Baud = 115_200
    """Bits per second."""
    framing: Framing = "8N1"
    """Data bits, parity, stop bits."""
    check: Literal["none", "xor", "crc16", "crc32"] = "none"
    """What ends each line after a `*`, both ways (links/lines.py)."""
    read_back: bool = True
    """False for a device that never answers: done means written."""


def open(config: Config, context: Context) -> SerialActuator:  # noqa: A001 - the seam's name
    """Opens or joins the port. Raises Retryable, or Rejected when the port's users disagree."""
    settings = SerialSettings(config.device, config.baud, config.framing)
    return SerialActuator(config, context.clock, context.links.serial(settings))


class SerialActuator:
    """ports.Actuator. A receipt means that the device read back the value that was set."""

    def __init__(self, config: Config, clock: Clock, port: SerialPort) -> None:
        self._device = config.device
        self._check: Check = config.check
        self._read_back = config.read_back
        self._clock = clock
        self._port = port

    def apply(self, action: Act, timeout_s: float) -> Receipt:
        command = SetCommand(set=action.target, value=action.value, id=action.id)
        if not self._read_back:
            self._port.write(append_check(encode_command(command), self._check) + b"\n", timeout_s)
            return Receipt(action.id, action.actuator, True, self._clock.now(), detail="written")
        answer = self._port.ask(command, self._check, timeout_s)
        if answer is None:
            raise Retryable(
                f"{self._device}: no answer to set {action.target} within {timeout_s:.2g} s",
                hint="does the device answer commands? otherwise set read_back = false",
            )
        self._judge(answer, action)
        return Receipt(action.id, action.actuator, True, self._clock.now(), read_back=answer.value)

    def close(self) -> None:
        self._port.close()

    def _judge(self, answer: Answer, action: Act) -> None:
        if answer.error:
            raise Rejected(f"{self._device}: {action.target} refused: {answer.error[:80]!a}", hint="see the device")
        if not same(answer.value, action.value):
            # a valve on its way reads the old value: another try may help
            raise Retryable(
                f"{self._device}: {action.target} reads back {answer.value!a:.80}, not {action.value!a:.80}",
                hint="is the output blocked, or held by hand?",
            )
