"""What one asks a microcontroller over SMP: which images it has, what it takes, to boot one, to keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firmware_bridge import smp
from firmware_bridge.errors import BridgeError
from firmware_bridge.smp_link import SmpLink

_DEFAULT_BUFFER = 384
"""Of Zephyr's MCUmgr over a serial line, for a device that does not say."""
_MOST_BUFFER = 4096
"""More than that gains nothing on a serial line, and a wrong answer must not make one chunk of the whole image."""
_MOST_VERSION = 40


class DeviceRefused(BridgeError):
    """The device answers no."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot with an image in it, as the device lists it. Slot 0 runs; `active` and not `confirmed`: on trial."""

    slot: int
    version: str
    hash: bytes
    active: bool
    confirmed: bool
    pending: bool
    bootable: bool


class Mcu:
    """Questions to one device, over an open link. Raises DeviceRefused, and what the link raises."""

    def __init__(self, link: SmpLink) -> None:
        self.link = link

    def buffer_bytes(self) -> int:
        """The longest message it takes."""
        found = self._optional(smp.READ, smp.OS, smp.PARAMETERS).get("buf_size")
        return min(found, _MOST_BUFFER) if isinstance(found, int) and found >= 64 else _DEFAULT_BUFFER

    def bootloader(self) -> str:
        """Its name, empty where the device does not say."""
        return str(self._optional(smp.READ, smp.OS, smp.BOOTLOADER).get("bootloader", ""))

    def slot_bytes(self) -> int | None:
        """The size of the slot that an upload goes into; None where the device does not say."""
        images = self._optional(smp.READ, smp.IMAGE, smp.SLOTS).get("images")
        for image in images if isinstance(images, list) else ():
            slots = image.get("slots") if isinstance(image, dict) and image.get("image", 0) == 0 else None
            for slot in slots if isinstance(slots, list) else ():
                size = slot.get("size") if isinstance(slot, dict) and slot.get("slot") == 1 else None
                if isinstance(size, int) and size > 0:
                    return size
        return None

    def slots(self) -> list[Slot]:
        """All images, by slot."""
        return _slots(self._ask(smp.READ, smp.IMAGE, smp.STATE, {}))

    def test(self, digest: bytes) -> list[Slot]:
        """Marks the image for one boot on trial."""
        return _slots(self._ask(smp.WRITE, smp.IMAGE, smp.STATE, {"hash": digest, "confirm": False}))

    def confirm(self, digest: bytes) -> list[Slot]:
        """Keeps the image."""
        return _slots(self._ask(smp.WRITE, smp.IMAGE, smp.STATE, {"hash": digest, "confirm": True}))

    def reset(self) -> None:
        """It may be gone before it answers."""
        self.link.tell(smp.WRITE, smp.OS, smp.RESET)

    def _optional(self, op: int, group: int, command: int) -> Mapping[str, Any]:
        """Of a question that a device need not know."""
        answer = self.link.ask(op, group, command)
        return {} if answer.rc else answer.body

    def _ask(self, op: int, group: int, command: int, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self.link.ask(op, group, command, body, timeout_s=1.0)
        if answer.rc:
            hint = "is it built with MCUmgr's image group and MCUboot?" if group == smp.IMAGE else "see its log"
            raise DeviceRefused(f"the device answers code {answer.rc}", hint)
        return answer.body


def active(slots: list[Slot]) -> Slot | None:
    """The one that runs."""
    return next((s for s in slots if s.active), None)


def waiting(slots: list[Slot]) -> str:
    """Why no update may begin now; empty when one may."""
    if any(s.pending for s in slots):
        return "an image waits for its first boot"
    running = active(slots)
    if running is not None and not running.confirmed:
        return f"version {running.version} is on trial"
    return ""


def _slots(body: Mapping[str, Any]) -> list[Slot]:
    images = body.get("images")
    found = [_slot(i) for i in (images if isinstance(images, list) else ()) if isinstance(i, dict)]
    return sorted((s for s in found if s is not None), key=lambda s: s.slot)


def _slot(image: Mapping[str, Any]) -> Slot | None:
    number, digest = image.get("slot"), image.get("hash", b"")
    if not isinstance(number, int) or image.get("image", 0) != 0 or not isinstance(digest, bytes):
        return None
    flags = {name: bool(image.get(name)) for name in ("active", "confirmed", "pending", "bootable")}
    return Slot(number, str(image.get("version", "?"))[:_MOST_VERSION], digest, **flags)
