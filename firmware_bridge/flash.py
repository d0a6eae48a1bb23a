"""One device's update from its check to its end: upload, boot on trial, health window, confirm, or back.

Nothing is sent before the image has passed every check. After the boot on trial nothing but a passed health window
confirms; whatever else happens (a failed window, a killed host, a pulled cable, a device that crashes) leaves the
image unconfirmed, and MCUboot goes back at the next reset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from firmware_bridge.errors import BridgeError
from firmware_bridge.image import Image, check_fits
from firmware_bridge.mcu import Mcu, Slot, active, waiting
from firmware_bridge.smp_link import SmpLink
from firmware_bridge.update import Progress, UpdateFailed, Upload

_BOOT_S = 60.0


class Access(Protocol):
    """Who lends the port: opens it for us, and takes it back."""

    def take(self) -> SmpLink:
        """The port, ours until `give_back`. The same one while it is ours."""
        ...

    def give_back(self) -> None:
        """The owner may use it again."""
        ...


class Stage(StrEnum):
    """Where an update stands."""

    CHECK = "check"
    UPLOAD = "upload"
    BOOT = "boot"
    WATCH = "watch"
    CONFIRM = "confirm"
    REVERT = "revert"


class End(StrEnum):
    """How it ended. After anything but `confirmed` the version of before runs, or will after the next reset."""

    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    CRASHED = "crashed"
    NOT_BOOTED = "not_booted"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` says why it is not confirmed."""

    end: End
    version: str
    was: str
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What the site says of the device. `slot_bytes` None: the device is asked."""

    name: str
    board: str
    slot_bytes: int | None
    window_s: float


class Pending(BridgeError):
    """No update may begin: one is under way on the device."""


Tell = Callable[[Stage, Progress | None], None]
Watch = Callable[[float], str]
"""Looks at the device for so many seconds; why it is not well, or empty. May give the port back."""


class Flash:
    """One update of one device."""

    def __init__(self, target: Target, image: Image, name: str, access: Access, tell: Tell, watch: Watch) -> None:
        self._target = target
        self._image = image
        self._name = name
        self._access = access
        self._tell = tell
        self._watch = watch
        self.was = "?"

    def run(self) -> Outcome:
        """Raises ImageRefused, Pending, UpdateFailed, DeviceRefused or LinkDown before the boot on trial."""
        self._tell(Stage.CHECK, None)
        mcu = Mcu(self._access.take())
        slots = mcu.slots()
        running = active(slots)
        self.was = running.version if running else "none"
        self._check(mcu, slots, running)
        if not _holds(slots, 1, self._image.hash):
            self._upload(mcu)
        return self._try(mcu)

    def _check(self, mcu: Mcu, slots: list[Slot], running: Slot | None) -> None:
        why = waiting(slots)
        if why:
            name = self._target.name
            raise Pending(f"{name}: {why}", f"edge-agent mcu confirm {name}, or edge-agent mcu rollback {name}")
        check_fits(
            self._image, board=self._target.board, running=running.version if running else "0.0.0",
            slot_bytes=self._target.slot_bytes or mcu.slot_bytes(), name=self._name,
        )  # fmt: skip

    def _upload(self, mcu: Mcu) -> None:
        upload = Upload(self._image.data, buffer_bytes=mcu.buffer_bytes())

        def arrived() -> bool:
            return _holds(mcu.slots(), 1, self._image.hash)

        mcu.link.upload(upload, lambda progress: self._tell(Stage.UPLOAD, progress), arrived)
        if not arrived():
            raise UpdateFailed(
                f"{self._target.name}: what arrived in slot 1 is not the image that was sent", "flash it again"
            )

    def _try(self, mcu: Mcu) -> Outcome:
        self._tell(Stage.BOOT, None)
        mcu.test(self._image.hash)
        mcu.reset()
        if not mcu.link.wait_back(_BOOT_S):
            reason = f"it does not answer {_BOOT_S:.0f} s after the reset"
            return self._outcome(End.UNCERTAIN, reason, "a power cycle brings the version of before back")
        if early := self._not_running(mcu):
            return early
        self._tell(Stage.WATCH, None)
        why = self._watch(self._target.window_s)
        mcu = Mcu(self._access.take())
        if early := self._not_running(mcu):
            return early
        return self._revert(mcu, why) if why else self._confirm(mcu)

    def _not_running(self, mcu: Mcu) -> Outcome | None:
        slots = mcu.slots()
        if _holds(slots, 0, self._image.hash):
            return None
        if _holds(slots, 1, self._image.hash):
            return self._outcome(End.CRASHED, "it started, and went back by itself", "read the device's log")
        hint = "does the boot loader have the public key that belongs to the image?"
        return self._outcome(End.NOT_BOOTED, "the boot loader did not take the image", hint)

    def _confirm(self, mcu: Mcu) -> Outcome:
        self._tell(Stage.CONFIRM, None)
        mcu.confirm(self._image.hash)
        running = active(mcu.slots())
        if running is None or not running.confirmed or running.hash != self._image.hash:
            return self._outcome(End.UNCERTAIN, "it does not show as confirmed", "see edge-agent mcu info")
        return self._outcome(End.CONFIRMED)

    def _revert(self, mcu: Mcu, why: str) -> Outcome:
        self._tell(Stage.REVERT, None)
        mcu.reset()
        if not mcu.link.wait_back(_BOOT_S) or _holds(mcu.slots(), 0, self._image.hash):
            return self._outcome(End.UNCERTAIN, f"{why}; and it has not gone back", "cycle its power")
        return self._outcome(End.REVERTED, why, "see the device's log, and build a newer version")

    def _outcome(self, end: End, reason: str = "", hint: str = "") -> Outcome:
        return Outcome(end, self._image.version_text, self.was, reason, hint)


def answers(access: Access, window_s: float, sleep: Callable[[float], None], now_s: Callable[[], float]) -> str:
    """A Watch for devices of which nobody reads samples: it answers an echo, all through the window."""
    mcu, end_s = Mcu(access.take()), now_s() + window_s
    while now_s() < end_s:
        if not mcu.link.wait_back(max(min(end_s - now_s(), 5.0), 0.5)):
            return "it stopped answering over SMP"
        sleep(min(0.5, max(end_s - now_s(), 0.0)))
    return ""


def roll_back(access: Access) -> Outcome:
    """Ends a trial: the version of before runs again. Raises Pending where there is none."""
    mcu = Mcu(access.take())
    slots = mcu.slots()
    running = active(slots)
    if running is None or not waiting(slots):
        said = f"version {running.version} is confirmed" if running else "no image is active"
        raise Pending(
            f"nothing to roll back: {said}", "to go back, sign the old code as a newer version and flash that"
        )
    on_trial = next((s for s in slots if s.pending), running)
    # an image that waits for its first boot cannot be called off: it boots once, and the next reset undoes it
    for _ in range(2 if on_trial.pending else 1):
        mcu.reset()
        if not mcu.link.wait_back(_BOOT_S):
            return Outcome(End.UNCERTAIN, on_trial.version, on_trial.version, "it does not answer", "cycle its power")
    now = active(mcu.slots())
    if now is None or now.hash == on_trial.hash:
        return Outcome(End.UNCERTAIN, on_trial.version, on_trial.version, "it has not gone back", "cycle its power")
    return Outcome(End.REVERTED, on_trial.version, now.version)


def keep(access: Access) -> Outcome:
    """Confirms what runs on trial. Raises Pending where nothing does."""
    mcu = Mcu(access.take())
    running = active(mcu.slots())
    if running is None or running.confirmed:
        said = f"version {running.version} is confirmed already" if running else "no image is active"
        raise Pending(f"nothing to confirm: {said}", "see edge-agent mcu info")
    mcu.confirm(running.hash)
    now = active(mcu.slots())
    if now is None or not now.confirmed:
        return Outcome(End.UNCERTAIN, running.version, running.version, "it does not show as confirmed")
    return Outcome(End.CONFIRMED, running.version, running.version)


def _holds(slots: list[Slot], number: int, digest: bytes) -> bool:
    return any(s.slot == number and s.hash == digest for s in slots)
