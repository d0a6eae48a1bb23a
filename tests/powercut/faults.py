"""The Nth call fails, N = 1, 2, 3 …: a short life of the real store, begun near its quota, under the library.

    python -m tests.powercut.faults ROOT FAULT EVERY

Starts, group commits, trimming, a checkpoint, deliveries, the rules' memory and the end are all in that life. Prints
one line of JSON: how many calls were made to fail, and what went wrong.
"""

import errno
import json
import os
import random
import shutil
import sys
from pathlib import Path

import msgspec

from edge_agent.clock import FakeClock
from edge_agent.contract.decode import decode_row
from edge_agent.contract.telemetry import StreamSpec
from edge_agent.decisions import Remembered
from edge_agent.errors import Retryable
from edge_agent.memory import Memory
from edge_agent.ports import Acked
from edge_agent.store.body import Options, StoreBody
from edge_agent.store.identity import IDENTITY, read_identity
from edge_agent.store.opening import open_store
from edge_agent.store.ranges import Ranges
from edge_agent.types import Gap, Reading, Record
from edge_agent.uplink.file import FileUplink
from tests.powercut.elsewhere import Received, missing, on_medium
from tests.powercut.recorder import FILLS_UP, KILL, Calls, Inside
from tests.powercut.verdict import phases, version_of
from tests.powercut.workload import GATEWAY
from tests.store import effects
from tests.store.accounting import account
from tests.store.box import MIN_QUOTA, Box

EVERY_CALL = Calls.OPEN | Calls.WRITE | Calls.SYNC | Calls.NAME | Calls.SIZE
ONCE, LASTING = 1, 1 << 40
FAULTS = {
    "disk fills up": (Calls.WRITE | Calls.SIZE, FILLS_UP, LASTING),
    "one write is cut short": (Calls.WRITE, FILLS_UP, ONCE),
    "one write finds no room": (Calls.WRITE, errno.ENOSPC, ONCE),
    "one write fails": (Calls.WRITE, errno.EIO, ONCE),
    "all writes fail": (Calls.WRITE, errno.EIO, LASTING),
    "read-only from now on": (Calls.WRITE | Calls.SIZE | Calls.NAME, errno.EROFS, LASTING),
    "one sync fails": (Calls.SYNC, errno.EIO, ONCE),
    "all syncs fail": (Calls.SYNC, errno.EIO, LASTING),
    "one open fails": (Calls.OPEN, errno.EIO, ONCE),
    "one name cannot be changed": (Calls.NAME, errno.EIO, ONCE),
    "killed": (EVERY_CALL, KILL, ONCE),
}
_TURNS, _LIFTED_AFTER = 7, 3


class Life:
    """One life of the store, its thread turned by hand. `told` is called with what is promised, once it is."""

    def __init__(self, data: Path, seed: int, told) -> None:
        self._store = data / "store"
        self._folder = str(data / "medium")
        self._seconds = 0.0
        self._memory = Memory(data / "rules.json")
        self._version = version_of(self._memory.read())
        self._clock = FakeClock(wall_ns=effects.WALL0 + seed * 1_000_000_000)
        self._rng = random.Random(seed)
        self._told = told
        self.given: dict[tuple[str, str], int] = {}
        self.faults: list[str] = []
        self.failed = 0
        """Turns, and starts, in which the disk refused."""

    def run(self, lift) -> None:
        """`lift` ends the fault; it is called once the life has seen enough of it."""
        self._open(lift)
        for _ in range(_TURNS):
            self._turn()
            if self.failed >= _LIFTED_AFTER:
                lift()
        lift()
        for _ in range(2):
            self._turn()
        if self._body.failing or len(self._body._ring):
            self.faults.append(f"does not come back: {self._body.failing}")
        self._writer.close()
        self._outbox.close()
        self._medium.close()

    def _open(self, lift) -> None:
        while True:
            try:
                self._writer = open_store(
                    self._store, gateway="gw1", quota_bytes=MIN_QUOTA, clock=self._clock, entropy=self._rng.randbytes
                )
                break
            except Retryable:
                self.failed += 1
                if self.failed >= _LIFTED_AFTER:
                    lift()
                if self.failed > 2 * _LIFTED_AFTER:
                    raise
        self._told({"epoch": self._writer.epoch})
        self._body = StoreBody(
            self._writer, clock=self._clock, describe=lambda _: StreamSpec(), options=Options(commit_interval_ns=1)
        )
        self._body.on_commit.append(lambda _: self._told({"epoch": self._writer.epoch, "last": self._writer.last}))
        self._outbox = self._body.outbox()
        self._medium = FileUplink(self._folder, GATEWAY, self._writer.epoch, monotonic=lambda: self._seconds)

    def _turn(self) -> None:
        self._body.put(list(self._effects()))
        self._clock.advance(1)
        self._body._turn(self._body._intake.take(0.0))
        self.failed += bool(self._body.failing)
        self._deliver()
        self._version += 1
        self._memory.write(Remembered(phases=phases(self._version)))

    def _effects(self):
        for _ in range(3):
            noise = self._rng.randbytes(1500).hex()
            yield Record(self._number("press"), Reading("press", effects.at(), {"noise": noise}))
        yield effects.decision(self._number("decision"))
        first = self._number("press")
        yield Gap("press", self._writer.epoch, first, first, "overload", effects.at())

    def _number(self, stream: str) -> int:
        key = stream, self._writer.epoch
        self.given[key] = self.given.get(key, -1) + 1
        return self.given[key]

    def _deliver(self) -> None:
        """As the uplink does: a disk that refuses is tried again later."""
        try:
            rows = self._outbox.unacked(self._rng.randrange(3), 0, 3)
        except Retryable:
            self.failed += 1
            return
        if self._rng.random() < 0.5:
            self._told({"sent": [row.body.hex() for row in rows]})
            self._outbox.delivered([(row.prio, row.id) for row in rows])
        else:
            self._carry(rows)

    def _carry(self, rows) -> None:
        """Onto the medium; what it does not take stays in the outbox."""
        self._seconds += 100
        self._medium.poll(0)
        for row in rows:
            self._medium.send(row)
        self._seconds += 100
        for event in self._medium.poll(0) if rows else ():
            if isinstance(event, Acked):
                self._told({"carried": [row.body.hex() for row in rows]})
                self._outbox.delivered(event.rows)


class Told:
    """What was promised, as the life told it."""

    def __init__(self) -> None:
        self.received, self.carried = Received(), Received()
        self.last: dict[str, dict[str, int]] = {}

    def __call__(self, promise: dict) -> None:
        for by, what in ((self.received, "sent"), (self.carried, "carried")):
            for body in promise.get(what, ()):
                by.add_message(decode_row(bytes.fromhex(body)))
        if "epoch" in promise:
            self.last[promise["epoch"]] = promise.get("last", {})


def judge(data: Path, told: Told, given: dict[tuple[str, str], int]) -> list[str]:
    """After one more start: promised numbers are there, `given` ones exactly, and no number is used twice."""
    identity = read_identity(data / "store" / IDENTITY)
    carried = on_medium(data / "medium")
    unlisted = missing(told.carried, carried)
    told.received.take(carried)
    box = Box(data / "store", seed=99)
    found = account(data / "store")
    faults = [f"moved aside: {box.writer.found}"] if box.writer.found else []
    faults += [f"reused: {twice}" for twice in found.twice] + [f"ghost: {both}" for both in found.both()]
    faults += [f"mislabelled: {row}" for row in found.mislabelled]

    def whole(stream, epoch):
        return Ranges([*found.whole(stream, epoch), *told.received.whole(stream, epoch)])

    for epoch, last in told.last.items():
        faults += [
            f"lost: {stream} {hole}" for stream, n in last.items() for hole in whole(stream, epoch).holes(0, n)
        ]
    for (stream, epoch), last in given.items():
        if list(whole(stream, epoch)) != [(0, last)]:
            faults.append(f"{stream} is {list(whole(stream, epoch))} where 0 to {last} were given")
    for epoch in found.epochs[1:-1]:
        if epoch not in found.closed and epoch not in told.received.closed:
            faults.append(f"hole: {epoch} was never closed")
    faults += [f"medium: {hole} was confirmed" for hole in unlisted]
    if identity is None:
        faults.append("identity: unreadable")
    if version_of(Memory(data / "rules.json").read()) < 0:
        faults.append("memory: neither the old one nor the new")
    box.close()
    return faults


def template(data: Path) -> None:
    """A store whose next commits have to make room."""
    (data / "medium").mkdir(parents=True)
    box = Box(data / "store", seed=98)
    while box.database_bytes < MIN_QUOTA * 0.9:
        box.commit([*box.telemetry(["press"], 1, 8000), box.decision(200)])
    for prio in (0, 2):
        box.deliver(box.waiting(prio)[:20])
    box.commit()
    box.close()


def one(data: Path, inside: Inside, fault: str, n: int) -> tuple[int, list[str]]:
    """One life with the Nth call failing: how many such calls it made, and what went wrong."""
    calls, error, count = FAULTS[fault]
    told = Told()
    if error == KILL:
        return _killed(data, inside, calls, n, told)
    life = Life(data, n, told)
    seen = 0

    def lift() -> None:
        nonlocal seen
        seen += inside.disarm()

    inside.arm(calls, error, n, count)
    life.run(lift)
    return seen, life.faults + judge(data, told, life.given)


def _killed(data: Path, inside: Inside, calls: Calls, n: int, told: Told) -> tuple[int, list[str]]:
    """The life is lived, and ends, in a child; what it was promised comes over a pipe."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            inside.arm(calls, KILL, n)
            life = Life(data, n, lambda promise: os.write(write_end, msgspec.json.encode(promise) + b"\n"))
            life.run(lambda: None)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write_end)
    with open(read_end, "rb") as promises:  # noqa: PTH123
        for line in promises:
            told(msgspec.json.decode(line))
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return n - 1, [] if status == 0 else [f"the child ended with {status}"]
    return n, judge(data, told, {})


def main(root: Path, fault: str, every: int) -> None:
    inside = Inside()
    template(root / "template")
    n, wrong = 1, []
    while True:
        data = root / "data"
        shutil.copytree(root / "template", data)
        try:
            seen, faults = one(data, inside, fault, n)
        except Exception as error:  # whatever it is: it came out of a store that has to go on
            seen, faults = n, [f"{type(error).__name__}: {error}"]
        inside.disarm()
        wrong += [f"{fault}, call {n}: {what}" for what in faults[:3]]
        shutil.rmtree(data)
        if seen < n:
            break
        n += every
    print(json.dumps({"fault": fault, "calls": seen, "tried": (n - 1) // every, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
