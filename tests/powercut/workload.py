"""One life of a box, run under the recorder: the real store, memory of rules and file uplink, and what they promised.

    python -m tests.powercut.workload ROOT SEED COMMITS SYNCHRONOUS ONLINE|OFFLINE

Offline nothing is ever delivered, and decisions fill the quota. It starts on whatever lies in ROOT/box. Before and
after each thing that it is promised, a mark goes into the recorder's log: verdict.py reads the marks up to the cut.
"""

import random
import sys
from pathlib import Path

import msgspec

from edge_agent.contract import topics
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.decisions import Remembered
from edge_agent.memory import Memory
from edge_agent.ports import Acked
from edge_agent.store import database
from edge_agent.types import Reading, Record
from edge_agent.uplink.file import FileUplink
from tests.powercut.recorder import Inside
from tests.powercut.verdict import Mark, digest, phases, version_of
from tests.store import effects
from tests.store.box import Box

GATEWAY = topics.Gateway("t", "s", "gw1")
_STREAMS = ("press", "motor", "tank")


class Life(Box):
    """A box whose every promise is marked."""

    def __init__(self, root: Path, seed: int, inside: Inside, *, online: bool) -> None:
        self._inside = inside
        self._online = online
        self._root = root
        self._memory = Memory(root / "box" / "data" / "rules.json")
        self._cursor = 0
        self._noise = random.Random(seed).choice((600, 2500, 8000))
        super().__init__(root / "box" / "data" / "store", seed=seed)
        self._version = version_of(self._memory.read())

    def open(self) -> None:
        super().open()
        self._cursor = self.writer.cursors.get("board", 0)
        self._mark(Mark("open", epoch=self.epoch, number=self.writer.start_no, cursor=self._cursor))
        self._seconds = 0.0
        self._medium = FileUplink(
            str(self._root / "box" / "medium"), GATEWAY, self.epoch, monotonic=lambda: self._seconds
        )
        self._medium.poll(0)

    def commit(self, drafts=(), lost=()):
        self._mark(
            Mark(
                "give",
                epoch=self.epoch,
                bodies=[digest(draft.body) for draft in drafts],
                highest={stream: n for (stream, epoch), n in self.given.items() if epoch == self.epoch},
                cursor=self._cursor,
            )
        )
        committed = super().commit(drafts, lost)
        self._mark(Mark("done", epoch=self.epoch, last=self.writer.last, cursor=self._cursor))
        return committed

    def close(self) -> None:
        self._medium.close()
        super().close()

    def board(self):
        """Readings of a device that forgets them after the commit."""
        rows = TeleBuilder("gw1", self.epoch, describe=lambda _: StreamSpec("board"), limit_bytes=96 * 1024)
        for i in range(self.rng.randint(1, 5)):
            self._cursor += 1
            seq = self.number("board")
            rows.append(Record(seq, Reading("board", effects.at(i), {"v": float(seq)}, cursor=self._cursor)))
        return rows.close()[0]

    def something(self):
        """The rows of one commit."""
        kind, noise = self.rng.random(), self.rng.randint(0, self._noise)
        if not self._online and kind < 0.6:
            return [self.decision(self.rng.randint(0, 16_000))]
        if kind < 0.7:
            return self.telemetry(self.rng.sample(_STREAMS, 2), self.rng.randint(1, 3), noise, self._group)
        if kind < 0.8:
            return self.board()
        if kind < 0.9:
            return [self.prediction(noise)]
        return [self.decision(noise // 4), *self.telemetry(["press"], 1, noise, self._group)]

    def shed(self):
        first = self.number("press")
        for _ in range(self.rng.randint(0, 3)):
            self.number("press")
        return [("press", first, self.given["press", self.epoch], "overload")]

    def send(self) -> None:
        """What a broker and a backend took: the oldest, or the newest before the backlog."""
        prio = self.rng.randrange(3)
        after = 0 if self.rng.random() < 0.7 else max(self.outbox.newest(prio) - 2, 0)
        rows = self.outbox.unacked(prio, after, self.rng.randint(1, 12))
        if rows:
            self._mark(Mark("sent", rows=[(r.prio, r.id) for r in rows], messages=[r.body for r in rows]))
            self.deliver(rows)

    def refuse(self) -> None:
        prio = self.rng.choice((1, 2))
        if rows := self.outbox.unacked(prio, 0, 1):
            self.outbox.refused((prio, rows[0].id), "payload")

    def carry(self) -> None:
        """What the medium took."""
        rows = self.outbox.unacked(self.rng.randrange(3), 0, self.rng.randint(1, 6))
        for row in rows:
            self._medium.send(row)
        self._seconds += 100.0
        while rows:
            for event in self._medium.poll(0):
                if isinstance(event, Acked):
                    self._mark(Mark("carried", rows=list(event.rows), messages=[r.body for r in rows]))
                    self.outbox.delivered(event.rows)
                    rows = []

    def remember(self) -> None:
        self._version += 1
        self._mark(Mark("remember", number=self._version))
        self._memory.write(Remembered(phases=phases(self._version)))
        self._mark(Mark("remembered", number=self._version))

    def live(self, commits: int) -> None:
        sending = self.rng.choice((0.1, 0.3, 0.6))
        for _ in range(commits):
            self.commit(self.something(), self.shed() if self.rng.random() < (0.1 if self._online else 0.7) else ())
            if self._online:
                self._be_online(sending)
            if self.rng.random() < 0.08:
                self.remember()
            if self.rng.random() < 0.02:
                self.writer.reopen()
            if self.rng.random() < 0.02:
                self.restart()

    def _be_online(self, sending: float) -> None:
        if self.rng.random() < sending:
            self.send()
        if self.rng.random() < 0.06:
            self.carry()
        if self.rng.random() < 0.05:
            self.refuse()

    def _group(self, stream: str) -> str:
        return "slow" if stream == "tank" else "all"

    def _mark(self, mark: Mark) -> None:
        self._inside.mark(msgspec.msgpack.encode(mark))


def less_careful(synchronous: str) -> None:
    """The controls: the same store with a setting that must lose rows, or the file."""
    careful = database.open_writer

    def open_writer(path, limits):
        db = careful(path, limits)
        db.execute(f"PRAGMA synchronous={synchronous}")
        return db

    database.open_writer = open_writer


def main(root: Path, seed: int, commits: int, synchronous: str, link: str) -> None:
    if synchronous != "FULL":
        less_careful(synchronous)
    life = Life(root, seed, Inside(), online=link == "ONLINE")
    life.live(commits)
    if seed % 2:
        life.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
