"""An actuator of a firmware bridge device, through the port that its source owns.

    [[actuator]]
    name = "press"
    kind = "bridge"
    device = "/dev/serial/by-id/usb-ACME_Press_0042-if00-port0"

`press.valve = 40` commands the device's actuator `valve`; the command carries its deadline on the device's clock and
is carried out at most once. Done means that the device read back what was set. There must be a `serial_bridge` source
with the same `device`: it owns the port, and tells the device that its host lives.
"""

from __future__ import annotations

import msgspec

from edge_agent.actuators.read_back import same
from edge_agent.errors import Retryable
from edge_agent.links.bridge import BridgeLink
from edge_agent.ports import Clock, Context
from edge_agent.types import Act, Receipt
from firmware_bridge.events import CommandEnded, Outcome

_WHY = {
    Outcome.FAILED: "the device could not do it",
    Outcome.EXPIRED: "it reached the device too late",
    Outcome.STALE: "a newer command was there before it",
    Outcome.SAFED: "the device went to its safe state meanwhile",
    Outcome.DEVICE_RESET: "the device started anew meanwhile",
    Outcome.UNKNOWN: "no receipt came: nobody knows whether it was done",
    Outcome.RANGE: "the device says that the value is out of range",
    Outcome.TYPE: "the device says that the value has another type",
    Outcome.NO_ACTUATOR: "the device says that it has no such actuator",
}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `bridge` actuator."""

    device: str
    """The port, written as in its source."""


def open(config: Config, context: Context) -> BridgeActuator:  # noqa: A001 - the seam's name
    """Opens nothing: the port is its source's."""
    return BridgeActuator(config, context.clock, context.links.bridge(config.device))


class BridgeActuator:
    """ports.Actuator. A receipt means that the device read back the value that was set."""

    def __init__(self, config: Config, clock: Clock, link: BridgeLink) -> None:
        self._device = config.device
        self._clock = clock
        self._link = link

    def apply(self, action: Act, timeout_s: float) -> Receipt:
        end = self._link.command(action.id, action.target, action.value, timeout_s)
        if end is None:
            raise Retryable(f"{self._device}: {action.target} is not done within {timeout_s:.2g} s")
        self._judge(end, action)
        return Receipt(action.id, action.actuator, True, self._clock.now(), read_back=end.value)

    def close(self) -> None:
        """The port stays with its source."""

    def _judge(self, end: CommandEnded, action: Act) -> None:
        if end.outcome is not Outcome.DONE:
            raise Retryable(f"{self._device}: {action.target}: {_WHY[end.outcome]}", hint="see the device")
        if not same(end.value, action.value):
            raise Retryable(
                f"{self._device}: {action.target} reads back {end.value!a:.80}, not {action.value!a:.80}",
                hint="is the output blocked, or held by hand?",
            )
