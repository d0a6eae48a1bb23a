"""Cuts the power of a recorded box, many times, and judges what is left each time.

    python -m tests.powercut.campaign --cuts 10000 [--seed 1] [--synchronous FULL|NORMAL|OFF]

A box lives several lives, each on what one of the cuts of the life before has left. Every second box is offline.
"""

import argparse
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.powercut.disk import STYLES, Disk, lay, taken
from tests.powercut.recorder import ROOT, Op, Record, build, environment, memory_folder, read_log
from tests.powercut.verdict import Judge, Mark, Truth

FIRST_IMAGE = {"box": None, "box/medium": None}
"""The folder of the medium is there: the agent never makes it."""


class Report(msgspec.Struct):
    """`faulty` is in images; `kinds` counts an image once for each kind of fault in it."""

    cuts: int = 0
    lives: int = 0
    records: int = 0
    faulty: int = 0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[str] = []
    seen: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0

    def share(self, kind: str) -> float:
        return self.kinds[kind] / self.cuts

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(self.kinds.items())) or "none"
        seen = ", ".join(f"{what}: {count}" for what, count in self.seen.most_common())
        return (
            f"{self.cuts} cuts in {self.lives} lives of {self.records} calls, {self.seconds:.0f} s "
            f"({self.cuts / max(self.seconds, 0.001):.0f}/s), {self.faulty} with a fault ({kinds}); {seen}"
        )


class Left(NamedTuple):
    """What lies on the disk when a life begins, and what was promised until then."""

    image: dict[str, bytes | None]
    truth: Truth


class Campaign:
    def __init__(
        self,
        folder: Path,
        library: Path,
        *,
        seed: int,
        synchronous: str = "FULL",
        commits: int = 120,
        cuts_per_life: int = 250,
        lives_per_box: int = 8,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.report = Report()
        self._folder = folder
        self._library = library
        self._seed = seed
        self._rng = random.Random(seed)
        self._synchronous = synchronous
        self._commits = commits
        self._cuts_per_life = cuts_per_life
        self._lives_per_box = lives_per_box
        self._say = say
        self._judge = Judge()

    def run(self, cuts: int) -> Report:
        began = said = time.monotonic()
        left = Left(dict(FIRST_IMAGE), Truth())
        while self.report.cuts < cuts:
            if self.report.lives % self._lives_per_box == 0:
                left = Left(dict(FIRST_IMAGE), Truth())
            left = self._life(left, min(self._cuts_per_life, cuts - self.report.cuts))
            self.report.seen = self._judge.seen
            self.report.seconds = time.monotonic() - began
            if time.monotonic() - said > 5:
                said = time.monotonic()
                self._say(str(self.report))
        return self.report

    def _life(self, left: Left, cuts: int) -> Left:
        """Cuts one life at many moments; returns what one of them has left, for the next life to begin with."""
        records = self._record(left)
        self.report.lives += 1
        self.report.records += len(records)
        moments = sorted(self._moments(records, cuts))
        goes_on = self._rng.randrange(len(moments))
        disks = [Disk(strict=strict, image=left.image) for strict in (False, True)]
        truth, done, after = left.truth, 0, left
        for number, moment in enumerate(moments):
            _go_on(records[done:moment], disks, truth)
            done = moment
            style, strict = STYLES[number % len(STYLES)], number // len(STYLES) % 2
            image = disks[strict].image(style, self._rng)
            if number == goes_on:
                after = Left(image, truth.copy())
            names = ("ordered", "strict")[strict]
            self._cut(image, truth, f"life {self.report.lives} call {moment}, {style}, names {names}")
        return after

    def _record(self, left: Left) -> list[Record]:
        root, log = self._folder / "recorded", self._folder / "log"
        root.mkdir()
        lay(left.image, root)
        seed = self._seed * 1_000_000 + self.report.lives
        link = ("ONLINE", "OFFLINE")[(self.report.lives // self._lives_per_box) % 2]
        how = [str(seed), str(self._commits), self._synchronous, link]
        subprocess.run(
            [sys.executable, "-m", "tests.powercut.workload", root, *how],
            env=environment(self._library, root, log), cwd=ROOT, check=True,
        )  # fmt: skip
        records = read_log(log)
        whole = Disk(strict=False, image=left.image)
        for record in records:
            whole.do(record)
        assert whole.seen() == taken(root), "the recorder missed a call: is SQLite or libc linked statically here?"
        log.unlink()
        shutil.rmtree(root)
        return records

    def _moments(self, records: list[Record], cuts: int) -> Iterator[int]:
        """Half of them anywhere, half of them beside a call that orders others: a sync, a name, a size."""
        ordering = [i for i, r in enumerate(records) if r.op not in {Op.WRITE, Op.MARK}]
        for number in range(cuts):
            if number % 2:
                yield self._rng.randint(1, len(records))
            else:
                yield min(self._rng.choice(ordering) + self._rng.randint(0, 2), len(records))

    def _cut(self, image: dict[str, bytes | None], truth: Truth, where: str) -> None:
        folder = self._folder / "image"
        folder.mkdir()
        lay(image, folder)
        faults = self._judge.faults(folder / "box", truth, self._rng)
        shutil.rmtree(folder)
        self.report.cuts += 1
        self.report.faulty += bool(faults)
        self.report.kinds.update({fault.partition(":")[0] for fault in faults})
        if faults and len(self.report.examples) < 10:
            self.report.examples.append(f"seed {self._seed} {where}: " + "; ".join(faults[:5]))


def _go_on(records: list[Record], disks: list[Disk], truth: Truth) -> None:
    for record in records:
        if record.op == Op.MARK:
            truth.learn(msgspec.msgpack.decode(record.first, type=Mark))
        for disk in disks:
            disk.do(record)


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated power cuts of the store and the files beside it.")
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--synchronous", default="FULL", choices=["FULL", "NORMAL", "OFF"])
    options = parser.parse_args()
    folder = memory_folder("powercut-")
    try:
        campaign = Campaign(
            folder, build(folder), seed=options.seed, synchronous=options.synchronous,
            lives_per_box=8 if options.synchronous == "FULL" else 1,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip
        print(campaign.run(options.cuts), *campaign.report.examples, sep="\n")
    finally:
        shutil.rmtree(folder)
    sys.exit(1 if campaign.report.faulty else 0)


if __name__ == "__main__":
    main()
