"""How `edge-agent mcu` gets at a device's port: lent by the running agent, which owns it, or opened by itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.cli import agent_socket
from edge_agent.cli.mcu_devices import Device
from edge_agent.errors import ExitCode, Fatal
from firmware_bridge.errors import BridgeError, PortBusy
from firmware_bridge.smp_link import SmpLink

_HAND_OVER_S = 5.0
_BEAT_S = 2.0


class Lease:
    """flash.Access over one command's run. Tells the agent, where one answers, what goes on."""

    def __init__(self, device: Device, *, update: bool = False, version: str = "") -> None:
        self._device = device
        self._args = {"mcu": device.name, "token": secrets.token_hex(6)}
        self._asked = {"update": update, "version": version}
        self._link: SmpLink | None = None
        self.agent = device.socket is not None and _answers(device.socket)
        self._lent = False
        self._stage = "asked"
        self._told_s = 0.0

    def take(self) -> SmpLink:
        """The port. Raises Fatal where the agent refuses, BridgeError where it cannot be opened."""
        if self._link is None:
            if self.agent:
                self._ask("mcu_lend", self._asked)
                self._lent = True
            self._link = self._open()
        return self._link

    def give_back(self) -> None:
        self._close()
        if self._lent:
            self._ask("mcu_back", {})

    def report(self, stage: str, offset: int = 0, size: int = 0) -> None:
        """How far it is; the agent takes the port back from who says nothing."""
        self._stage, self._told_s = stage, time.monotonic()
        if self._lent:
            self._ask("mcu_report", {"stage": stage, **({"offset": offset, "size": size} if size else {})})

    def end(self, end: str, reason: str = "") -> None:
        """It is over; the port is the agent's again. An agent that has gone meanwhile need not be told."""
        self._close()
        if self._lent:
            self._lent = False
            try:
                self._ask("mcu_end", {"end": end, "reason": reason})
            except (Fatal, agent_socket.NoAnswer):
                return

    def status(self) -> dict[str, Any]:
        """The agent's. Raises NoAnswer."""
        assert self._device.socket is not None
        return agent_socket.ask_agent(self._device.socket, "status")

    def _alive(self) -> None:
        """Also while a cable is out, or a device boots."""
        if time.monotonic() - self._told_s >= _BEAT_S:
            self.report(self._stage)

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _open(self) -> SmpLink:
        """An agent needs a moment to let go."""
        end_s = time.monotonic() + (_HAND_OVER_S if self._lent else 0.0)
        while True:
            try:
                return SmpLink(self._device.port, self._device.baud, alive=self._alive)
            except PortBusy:
                if time.monotonic() >= end_s:
                    raise
                time.sleep(0.05)

    def _ask(self, verb: str, more: Mapping[str, Any]) -> None:
        assert self._device.socket is not None
        try:
            agent_socket.ask_agent(self._device.socket, verb, {**self._args, **more})
        except agent_socket.NoAnswer:
            # it was stopped or killed: then nobody owns the port, and an update need not end for that
            self._lent = self.agent = False


def _answers(socket: Path) -> bool:
    try:
        agent_socket.ask_agent(socket, "ping")
    except agent_socket.NoAnswer:
        return False
    return True


def failure(error: BridgeError) -> Fatal:
    """An error of the device or its line, as the command line says it."""
    return Fatal(str(error), hint=error.hint, exit_code=ExitCode.FAILURE)
