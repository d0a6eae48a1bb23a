"""What a store holds, read from the disk by the tests' own code: every number as a row or as a declared loss.

Also for tests of the whole agent: `account(data_dir)` after it was killed or stopped.
"""

import sqlite3
from functools import lru_cache
from pathlib import Path

from edge_agent.contract import decode, messages
from edge_agent.contract.rows import infer_stream
from edge_agent.store.ranges import Ranges


class Account:
    """`rows` and `lost` are `Ranges` by (stream, epoch); `closed` is, by epoch, the `close/1` that ends it.

    `stored` has, by (priority, id), the body of each row and the message in it; `mislabelled` are rows whose place
    in the database names another epoch than their message.
    """

    def __init__(self):
        self.rows = {}
        self.lost = {}
        self.reasons = {}
        self.closed = {}
        self.epochs = []
        self.twice = []
        self.ids = {0: [], 1: [], 2: []}
        self.stored = {}
        self.mislabelled = []

    def add_row(self, stream, epoch, first, last):
        ranges = self.rows.setdefault((stream, epoch), Ranges())
        self.twice += [(stream, epoch, n) for n in range(first, last + 1) if n in ranges]
        ranges.add(first, last)

    def add_message(self, message):
        match message:
            case messages.Tele():
                for segment in message.seg:
                    self.add_row(segment.stream, message.epoch, segment.seq0, segment.seq0 + segment.n - 1)
                return
            case messages.GapMessage():
                for stream, epoch, first, last, reason in decode.lost(message):
                    self.lost.setdefault((stream, epoch), Ranges()).add(first, last)
                    self.reasons.setdefault(reason, Ranges()).add(first, last)
            case messages.Close():
                before = self.closed.get(message.closed)
                assert not before or before.lost, "an epoch was closed twice"
                if not before or len(message.last) >= len(before.last):  # a salvage knows more than was said at once
                    self.closed[message.closed] = message
        self.add_row(message.stream, message.epoch, message.seq, message.seq)

    def whole(self, stream, epoch):
        """Everything of a stream that is a row or a declared loss."""
        return Ranges([*self.rows.get((stream, epoch), ()), *self.lost.get((stream, epoch), ())])

    def streams(self, epoch):
        return {stream for stream, of in [*self.rows, *self.lost] if of == epoch}

    def both(self):
        """Numbers that are in a row although they were declared lost."""
        return [
            (stream, epoch, first, last)
            for (stream, epoch), ranges in self.lost.items()
            for a, b in ranges
            for first, last in _overlap(a, b, self.rows.get((stream, epoch), Ranges()))
        ]


def _overlap(first, last, ranges):
    return [(max(a, first), min(b, last)) for a, b in ranges if a <= last and b >= first]


@lru_cache(maxsize=10_000)
def read(body: bytes) -> messages.RowMessage:
    """Kept, since campaigns look at the same rows many times."""
    assert isinstance(body, bytes)
    message = decode.decode_row(body)
    assert not isinstance(message, messages.Tele) or decode.hashes_hold(body)
    return message


def account(directory: Path) -> Account:
    """Through a connection of its own that applies the -wal, as any SQLite program would."""
    out = Account()
    db = sqlite3.connect(directory / "store.db")
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        numbers = dict(db.execute("SELECT no, id FROM epoch ORDER BY no"))
        out.epochs = list(numbers.values())
        for prio in (0, 1, 2):
            for row_id, number, body in db.execute(f"SELECT id, epoch, body FROM row{prio} ORDER BY id"):
                out.ids[prio].append(row_id)
                message = read(body)
                out.add_message(message)
                out.stored[prio, row_id] = body, message
                if numbers.get(number) != message.epoch:
                    out.mislabelled.append((prio, row_id, numbers.get(number), message.epoch))
    finally:
        db.close()
    return out


def assert_epochs_are_dense(found: Account):
    """Nothing is missing up to where an epoch was closed, nothing is there twice, and nothing is beyond it."""
    assert not found.twice
    assert len(set(found.epochs)) == len(found.epochs)
    for epoch in found.epochs[:-1]:
        closing = found.closed[epoch]
        assert closing.last.keys() == found.streams(epoch)
        for stream, last in closing.last.items():
            assert list(found.whole(stream, epoch)) == [(0, last)], (stream, epoch, closing)


PREDICTIONS = infer_stream("bearing")
