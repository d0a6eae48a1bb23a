"""Does the box that was cut off hold what it had promised? Asked of the real start, on the image of its disk."""

import copy
import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_agent.contract import decode, messages
from edge_agent.decisions import Remembered
from edge_agent.memory import Memory
from edge_agent.store.identity import IDENTITY, read_identity
from edge_agent.store.opening import asides
from edge_agent.store.ranges import Ranges
from tests.powercut.elsewhere import Received, missing, on_medium
from tests.store.accounting import Account, account
from tests.store.box import Box


class Mark(msgspec.Struct, omit_defaults=True):
    """What the workload says of itself. `what`: see Truth.learn."""

    what: str
    epoch: str = ""
    number: int = 0
    cursor: int = 0
    bodies: list[bytes] = []
    highest: dict[str, int] = {}
    last: dict[str, int] = {}
    rows: list[tuple[int, int]] = []
    messages: list[bytes] = []


def digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=12).digest()


def phases(version: int) -> dict[str, str]:
    """A memory of rules that says which version it is."""
    return {f"rule-{version}": "raised", "x" * (version % 700): "latched"}


def version_of(remembered: Remembered) -> int:
    """0 for none; -1 for one that nobody wrote."""
    if not remembered.phases:
        return 0
    version = int(next(iter(remembered.phases)).removeprefix("rule-"))
    return version if remembered.phases == phases(version) else -1


class Truth:
    """What was promised up to a moment, and what was on its way to be."""

    def __init__(self) -> None:
        self.starts: dict[str, int] = {}
        self.last: dict[str, dict[str, int]] = {}
        self.given: set[bytes] = set()
        self.highest: dict[str, dict[str, int]] = {}
        """By epoch and stream: the highest number that was handed out."""
        self.cursors = {0}
        """The place of the device that is committed, and the one that may be."""
        self.versions = {0}
        """Of the memory of rules, likewise."""
        self.backend = Received()
        self.sent_ids: set[tuple[int, int]] = set()
        self.carried = Received()
        self.ledger: dict[tuple[str, int], bytes] = {}
        """By epoch and number: ledger entries that somebody was given."""

    def copy(self) -> "Truth":
        return copy.deepcopy(self)

    def learn(self, mark: Mark) -> None:
        match mark.what:
            case "open":
                self.starts[mark.epoch] = mark.number
                self.last.setdefault(mark.epoch, {})
                self.cursors = {mark.cursor}
            case "give":
                self.given.update(mark.bodies)
                self.highest[mark.epoch] = mark.highest
                self.cursors.add(mark.cursor)
            case "done":
                self.last[mark.epoch] = mark.last
                self.cursors = {mark.cursor}
            case "sent" | "carried":
                self.sent_ids.update(map(tuple, mark.rows))
                self._take(self.backend if mark.what == "sent" else self.carried, mark.messages)
            case "remember":
                self.versions.add(mark.number)
            case "remembered":
                self.versions = {mark.number}

    def _take(self, by: Received, bodies: list[bytes]) -> None:
        for body in bodies:
            message = decode.decode_row(body)
            by.add_message(message)
            if not isinstance(message, messages.Tele) and message.stream == "ledger":
                self.ledger[message.epoch, message.seq] = digest(body)


class Judge:
    """Looks at images one after the other."""

    def __init__(self) -> None:
        self._files: dict[str, list[messages.RowMessage]] = {}
        """By digest: what a file on the medium says."""
        self.seen: Counter[str] = Counter()

    def faults(self, box: Path, truth: Truth, rng: random.Random) -> list[str]:
        """Everything that is wrong, each beginning with its kind and a colon. `box` is used up."""
        found = list(self._before_start(box, truth))
        elsewhere = self._received(box / "medium", truth, found)
        starts = _Starts(box / "data" / "store", truth, elsewhere, rng, self.seen)
        try:
            found += starts.faults()
        except Exception as error:  # every way to fail is a fault
            kind = "corrupt" if starts.started else "unopenable"
            found.append(f"{kind}: {type(error).__name__}: {error}")
        return found

    def _before_start(self, box: Path, truth: Truth) -> Iterator[str]:
        version = version_of(Memory(box / "data" / "rules.json").read())
        if version not in truth.versions:
            yield f"memory: version {version} of the rules' memory, where {truth.versions} were promised"
        identity = read_identity(box / "data" / "store" / IDENTITY)
        if truth.starts and (identity is None or identity.start_no < max(truth.starts.values())):
            yield f"identity: {identity} after {len(truth.starts)} starts"

    def _received(self, medium: Path, truth: Truth, found: list[str]) -> Received:
        """What is not the store's any more: at the backend, and on the medium as its manifest names it."""
        carried = on_medium(medium, self._files)
        found += [f"medium: {hole} was confirmed" for hole in missing(truth.carried, carried)]
        carried.take(truth.backend)
        return carried


class _Starts:
    """Two starts on one image, and what each finds."""

    def __init__(
        self, store: Path, truth: Truth, elsewhere: Received, rng: random.Random, seen: Counter[str]
    ) -> None:
        self._store = store
        self._truth = truth
        self._elsewhere = elsewhere
        self._rng = rng
        self._seen = seen
        self._found: list[str] = []
        self.started = False
        """Whether the last start that was tried went well."""

    def faults(self) -> list[str]:
        box = Box(self._store, seed=self._rng.getrandbits(32))
        self.started = True
        self._seen[f"found {box.writer.found or 'a store'}"] += 1
        if box.writer.found and self._truth.starts:
            self._found.append(f"moved aside: {box.writer.found}")
        if asides(self._store):
            self._found.append("moved aside: a file")
        first = self._look(box, set(self._truth.starts), max(self._truth.starts.values(), default=0))
        self._settled_is_delivered(box, first)
        self._seen.update(first.reasons.keys())
        self._seen["merged"] += any(stream == "ledger" for stream, _ in first.lost)
        if box.writer.cursors.get("board", 0) not in self._truth.cursors:
            self._found.append(f"cursor: {box.writer.cursors} where {self._truth.cursors} were promised")
        box.commit([*box.telemetry(), box.decision()])
        before = account(self._store)
        used, highest = {*self._truth.starts, *first.epochs}, box.writer.start_no
        self.started = False
        if self._rng.random() < 0.5:
            box.restart()
        else:
            box.crash()
        self.started = True
        second = self._look(box, used, highest)
        self._changed_nothing(before, second, box.epoch)
        box.close()
        return self._found

    def _look(self, box: Box, used: set[str], highest: int) -> Account:
        found = account(self._store)
        if box.epoch in used or box.writer.start_no <= highest:
            self._found.append(f"reused: epoch {box.epoch}, start {box.writer.start_no} after {highest}")
        self._found += [f"reused: {twice}" for twice in found.twice]
        self._found += [f"ghost: declared lost and there: {both}" for both in found.both()]
        self._found += [f"mislabelled: {row}" for row in found.mislabelled]
        self._promised(found)
        self._dense(found)
        self._nothing_extra(found, box.epochs)
        return found

    def _promised(self, found: Account) -> None:
        for epoch, last in self._truth.last.items():
            if epoch not in found.epochs:
                self._found.append(f"lost: the epoch {epoch}")
            for stream, highest in last.items():
                for hole in self._whole(found, stream, epoch).holes(0, highest):
                    self._found.append(f"lost: {stream} {hole} of {epoch}")

    def _dense(self, found: Account) -> None:
        """An epoch ends where its closing says, and everything up to there is accounted for."""
        closed = self._elsewhere.closed | found.closed
        for epoch in found.epochs[:-1]:
            if epoch not in closed:
                self._found.append(f"hole: {epoch} was never closed")
                continue
            last = closed[epoch].last
            if (handed_out := self._truth.highest.get(epoch)) is not None:
                beyond = [(s, n) for s, n in last.items() if s != "ledger" and n > handed_out.get(s, -1)]
                self._found += [f"ghost: {stream} of {epoch} ends at {n}" for stream, n in beyond]
            for stream in found.streams(epoch) | self._elsewhere.streams(epoch) | last.keys():
                whole = list(self._whole(found, stream, epoch))
                if whole != [(0, last.get(stream))]:
                    self._found.append(f"hole: {stream} of {epoch} is {whole}, closed at {last.get(stream)}")

    def _nothing_extra(self, found: Account, mine: list[str]) -> None:
        for body, message in found.stored.values():
            if message.epoch in mine:
                continue
            if isinstance(message, messages.Tele) or message.stream != "ledger":
                if digest(body) not in self._truth.given:
                    self._found.append(f"ghost: a row of {message.epoch} that nobody gave")
            elif self._truth.ledger.get((message.epoch, message.seq), digest(body)) != digest(body):
                self._found.append(f"reused: ledger {message.seq} of {message.epoch} says two things")

    def _settled_is_delivered(self, box: Box, found: Account) -> None:
        """A row that is taken for delivered was."""
        for prio in (0, 1, 2):
            settled = Ranges(box.writer.outgoing.settled(prio))
            for row_id in found.ids[prio]:
                if row_id in settled and (prio, row_id) not in self._truth.sent_ids:
                    self._found.append(f"lost: row {prio}/{row_id} is taken for delivered and was not")

    def _changed_nothing(self, before: Account, after: Account, epoch: str) -> None:
        for key, (body, message) in before.stored.items():
            if key in after.stored:
                if after.stored[key][0] != body:
                    self._found.append(f"second start: row {key} changed")
            elif not self._accounted(message, after):
                self._found.append(f"second start: row {key} is gone")
        for key in after.stored.keys() - before.stored.keys():
            if after.stored[key][1].epoch != epoch:
                self._found.append(f"second start: row {key} of an earlier epoch came up")

    def _accounted(self, message: messages.RowMessage, after: Account) -> bool:
        one = Account()
        one.add_message(message)
        return all(
            not list(self._whole(after, stream, epoch).holes(first, last))
            for (stream, epoch), ranges in one.rows.items()
            for first, last in ranges
        )

    def _whole(self, found: Account, stream: str, epoch: str) -> Ranges:
        return Ranges([*found.whole(stream, epoch), *self._elsewhere.whole(stream, epoch)])
