"""ports.Outbox in memory: an ordinary implementation, for tests of what reads it."""

from edge_agent.ports import Row
from edge_agent.types import SeqRange

EPOCH = "01KDVDNA00Q3N5M7K9P2R4T6W8"
KINDS = {0: ("alert", ""), 1: ("infer", "bearing"), 2: ("tele", "all")}


class MemoryOutbox:
    def __init__(self):
        self.rows = ({}, {}, {})
        self.done = []
        self.dead = {}
        self.thin = []
        self.reads = 0
        self._newest = [0, 0, 0]
        self._next_seq = {}

    def commit(self, prio=2, body=b"", streams=("press",), n=10):
        """One more row; its numbers follow the ones before. Returns it."""
        segments = []
        for stream in streams:
            first = self._next_seq.get(stream, 0)
            self._next_seq[stream] = first + n
            segments.append(SeqRange(stream, EPOCH, first, first + n - 1))
        self._newest[prio] += 1
        row = Row(prio, self._newest[prio], *KINDS[prio], n * len(segments), EPOCH, tuple(segments), body)
        self.rows[prio][row.id] = row
        return row

    def drop(self, row):
        """The quota took it."""
        self.rows[row.prio].pop(row.id, None)

    def waiting(self):
        return sum(map(len, self.rows))

    def unacked(self, prio, after, limit):
        self.reads += 1
        out = []
        for row_id, row in self.rows[prio].items():
            if row_id > after:
                out.append(row)
                if len(out) == limit:
                    break
        return out

    def newest(self, prio):
        return self._newest[prio]

    def unsettled(self, prio):
        return len(self.rows[prio])

    def delivered(self, rows):
        for prio, row_id in rows:
            self.rows[prio].pop(row_id, None)
            self.done.append((prio, row_id))

    def refused(self, row, code):
        self.rows[row[0]].pop(row[1], None)
        self.dead[row] = code

    def thinned(self, rows):
        for prio, row_id in rows:
            del self.rows[prio][row_id]
            self.thin.append((prio, row_id))
