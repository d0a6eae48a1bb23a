"""A site of one device and one host in virtual time: a line with delay and noise, a host that commits late and dies.

What the host has committed and what it has declared is kept apart from the session, as a database would.
"""

from __future__ import annotations

import random

from firmware_bridge.errors import CommandRefused
from firmware_bridge.events import Batch, Cursor, Event, Gap, Ready
from firmware_bridge.session import Limits, Session, State

from .device import SimDevice

MS = 1_000_000


class World:
    """Times in ns. `produced[life]` is (boot id, how many samples that life of the device made)."""

    def __init__(self, seed: int = 0, *, ring: int = 256, noise: float = 0.0, delay_ms: int = 2) -> None:
        self.dice = random.Random(seed)
        self.noise = noise
        self.now = 10**9
        self.ring = ring
        self.delay = delay_ms * MS
        self.plugged = True
        self.host_up = True
        self.commit_every = 100 * MS
        self.events: list[Event] = []
        self.committed: list[Event] = []
        self.produced: list[tuple[int, int]] = []
        self._uncommitted: list[Event] = []
        self._commit_ns = self.now
        self._cursor: Cursor | None = None
        self.first_cursor: Cursor | None = None
        self._to_host: list[tuple[int, bytes]] = []
        self._to_device: list[tuple[int, bytes]] = []
        self._boot_ns = self.now
        self.device = SimDevice(boot=1, ring=ring)
        self._new_session()

    # ---- time ----

    def run(self, ms: float, sample_every_ms: float = 0) -> list[Event]:
        """Lets time pass in steps of 1 ms; returns what the session said meanwhile."""
        seen = len(self.events)
        due = self.now
        end = self.now + int(ms * MS)
        while self.now < end:
            self.now += MS
            while sample_every_ms and due <= self.now:
                self.device.count()
                due += int(sample_every_ms * MS)
            self._device_turn()
            self._host_turn()
        return self.events[seen:]

    def until_live(self) -> None:
        for _ in range(400):
            self.run(10)
            if self.session.state is State.LIVE and self.session.clock.synced:
                return
        raise AssertionError("no hello within 4 s")

    def device_us(self) -> int:
        return (self.now - self._boot_ns) // 1000

    def _device_turn(self) -> None:
        self.device.at(self.device_us())
        for data in self._arrived(self._to_device):
            self.device.feed(data)
        data = self.device.poll()
        if self.plugged and data:
            self._to_host.append((self.now + self.delay, self._damaged(data)))

    def _host_turn(self) -> None:
        if not self.host_up:
            return
        for data in self._arrived(self._to_host):
            self._keep(self.session.receive(data, self.now))
        self._keep(self.session.tick(self.now))
        if self.now >= self._commit_ns:
            self._commit_ns = self.now + self.commit_every
            self.commit()
        data = self.session.data_to_send()
        if self.plugged and data:
            self._to_device.append((self.now + self.delay, self._damaged(data)))

    def _arrived(self, queue: list[tuple[int, bytes]]) -> list[bytes]:
        ready = [data for when, data in queue if when <= self.now]
        del queue[: len(ready)]
        return ready

    def _damaged(self, data: bytes) -> bytes:
        if not self.noise:
            return data
        out = bytearray()
        for byte in data:
            if self.dice.random() >= self.noise:
                out.append(byte)
                continue
            kind = self.dice.randrange(3)
            out += (b"", bytes((self.dice.randrange(256),)), bytes((byte, self.dice.randrange(256))))[kind]
        return bytes(out)

    # ---- what happens to a site ----

    def reboot(self, *, counter_survives: bool, boot: int | None = None) -> None:
        boot_before, made = self.device.boot, self.device.next
        self.produced.append((boot_before, made))
        self._boot_ns = self.now
        previous = (boot_before, made) if counter_survives else None
        self.device = SimDevice(boot=boot or boot_before + 1, ring=self.ring, previous=previous)

    def unplug(self) -> None:
        self.plugged = False
        # What was on its way is cut anywhere.
        self._to_host = [(t, d[: self.dice.randrange(len(d) + 1)]) for t, d in self._to_host[:1]]
        self._to_device = [(t, d[: self.dice.randrange(len(d) + 1)]) for t, d in self._to_device[:1]]
        if self.host_up:
            self.session.disconnected()

    def plug(self) -> None:
        self.plugged = True
        if self.host_up:
            self.session.connected(self.now)

    def kill_host(self) -> None:
        self.host_up = False
        self._uncommitted.clear()

    def start_host(self) -> None:
        self.host_up = True
        self._to_host.clear()
        self._new_session()

    def _new_session(self) -> None:
        limits = Limits(noise_window_ns=200 * MS)
        self.session = Session(self.dice.randrange(1, 2**32), self._cursor, limits=limits)
        if self.plugged:
            self.session.connected(self.now)

    # ---- the host's database ----

    def _keep(self, events: list[Event]) -> None:
        self.events += events
        self._uncommitted += [event for event in events if isinstance(event, Batch | Gap)]
        for event in ready(events):
            if self._cursor is None:
                self._cursor = self.first_cursor = event.cursor

    def commit(self) -> None:
        if self._uncommitted:
            self._cursor = self._uncommitted[-1].cursor
            self.first_cursor = self.first_cursor or self._cursor
            self.committed += self._uncommitted
            self._uncommitted.clear()
            self.session.commit(self._cursor)

    def command(self, actuator: str, value: float, ttl_ms: int = 500) -> int | None:
        try:
            return self.session.command(actuator, value, ttl_ms * MS, self.now)
        except CommandRefused:
            return None

    def account(self) -> tuple[int, int, int]:
        """(received, declared, unaccountable): every sample once, values right. Needs unique boot ids."""
        produced = dict([*self.produced, (self.device.boot, self.device.next)])
        seen: dict[int, set[int]] = {boot: set() for boot in produced}
        received = declared = 0
        open_from: dict[int, int] = {}
        for event in self.committed:
            if isinstance(event, Batch):
                numbers = range(event.first, event.first + len(event.values))
                assert list(event.values) == list(numbers), "a wrong value was accepted"
                received += len(numbers)
                boot = event.cursor.boot
            elif event.end is None:
                open_from[event.boot] = event.first
                continue
            else:
                numbers, boot = range(event.first, event.end), event.boot
                declared += len(numbers)
            assert not seen[boot].intersection(numbers), "a sample came twice"
            seen[boot].update(numbers)
        open_ended = 0
        assert self.first_cursor is not None
        for boot, made in produced.items():
            if boot < self.first_cursor.boot:
                continue
            missing = set(range(made)) - seen[boot]
            assert seen[boot] <= set(range(made)), "more than was produced"
            # An open end also covers boots after it that nobody ever heard of.
            if not seen[boot] and any(earlier < boot for earlier in open_from):
                open_ended += made
            elif boot in open_from:
                assert all(number >= open_from[boot] for number in missing), "lost before the open gap"
                open_ended += len(missing)
            else:
                assert not missing, f"boot {boot}: lost in silence: {sorted(missing)[:9]}"
        return received, declared, open_ended


def ready(events: list[Event]) -> list[Ready]:
    return [event for event in events if isinstance(event, Ready)]
