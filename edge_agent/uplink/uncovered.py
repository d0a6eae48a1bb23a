"""Rows that were sent and that the backend has not yet said it holds: which acknowledgement completes which row."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort

from edge_agent.ports import BackendAck, Row

Key = tuple[int, int]
_LATEST_NS = 3_600_000_000_000
_FOREVER = 1 << 62


class _Pending:
    __slots__ = ("code", "due_ns", "left", "since_ns", "wait_ns")

    def __init__(self, left: int, now_ns: int, wait_ns: int) -> None:
        self.left = left
        self.code = ""
        self.since_ns = now_ns
        self.wait_ns = wait_ns
        self.due_ns = now_ns + wait_ns


class Uncovered:
    """A row is complete when the backend holds, or has rejected, every one of its segments.

    An uncovered row is due again after `resend_after_ns`, then after twice that, up to an hour: a backend that is
    away is not flooded.
    """

    def __init__(self, resend_after_ns: int) -> None:
        self._resend_after_ns = resend_after_ns
        self._rows: dict[Key, _Pending] = {}
        self._segments: dict[tuple[str, str], list[tuple[int, int, Key]]] = {}
        self._due: list[tuple[int, Key]] = []
        self._counts = [0, 0, 0]
        self.last_ack_ns: int | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def count(self, prio: int) -> int:
        return self._counts[prio]

    def sent(self, row: Row, now_ns: int) -> None:
        """The row goes out, for the first time or again."""
        key = (row.prio, row.id)
        pending = self._rows.get(key)
        if pending is None:
            pending = self._rows[key] = _Pending(len(row.segments), now_ns, self._resend_after_ns)
            self._counts[row.prio] += 1
            for s in row.segments:
                insort(self._segments.setdefault((s.epoch, s.stream), []), (s.first, s.last, key))
        else:
            pending.wait_ns = min(pending.wait_ns * 2, _LATEST_NS)
            pending.due_ns = now_ns + pending.wait_ns
        heapq.heappush(self._due, (pending.due_ns, key))

    def cover(self, ack: BackendAck, now_ns: int) -> list[tuple[Key, str]]:
        """Rows that this completes, each with the code of a rejection or an empty one. Unknown ranges are fine."""
        silent_ns = now_ns - self.last_ack_ns if self.last_ack_ns is not None else _FOREVER
        self.last_ack_ns = now_ns
        complete: list[tuple[Key, str]] = []
        for stream, ranges in ack.have.items():
            for first, last in ranges:
                self._take((ack.epoch, stream), first, last, complete)
        for stream, seq, code in ack.reject:
            self._reject((ack.epoch, stream), seq, code, complete)
        if silent_ns > self._resend_after_ns:
            self.start_over(now_ns)
        return complete

    def start_over(self, now_ns: int) -> None:
        """The way to the backend is new: what is uncovered is due after the first, short time again."""
        for key, pending in self._rows.items():
            pending.wait_ns = self._resend_after_ns
            if pending.due_ns > now_ns + pending.wait_ns:
                pending.due_ns = now_ns + pending.wait_ns
                heapq.heappush(self._due, (pending.due_ns, key))

    def due(self, now_ns: int) -> Key | None:
        """A row to be sent again now; each is given once and then counts from `sent` or `forget`."""
        while self._due and self._due[0][0] <= now_ns:
            due_ns, key = heapq.heappop(self._due)
            pending = self._rows.get(key)
            if pending is not None and pending.due_ns == due_ns:
                return key
        return None

    def postpone(self, key: Key, now_ns: int) -> None:
        """Not now: it is in flight still."""
        pending = self._rows[key]
        pending.due_ns = now_ns + pending.wait_ns
        heapq.heappush(self._due, (pending.due_ns, key))

    def deadline_ns(self) -> int | None:
        return self._due[0][0] if self._due else None

    def forget(self, key: Key, row: Row | None = None) -> None:
        """The row is gone from the outbox, or refused on its way."""
        if self._rows.pop(key, None) is None:
            return
        self._counts[key[0]] -= 1
        streams = [(s.epoch, s.stream) for s in row.segments] if row else list(self._segments)
        for stream in streams:
            left = [entry for entry in self._segments.get(stream, ()) if entry[2] != key]
            self._keep(stream, left)

    def oldest_ns(self) -> int | None:
        """When the row that waits longest was first sent; any thread."""
        rows = tuple(self._rows.values())
        return rows[0].since_ns if rows else None

    def _take(self, stream: tuple[str, str], first: int, last: int, complete: list[tuple[Key, str]]) -> None:
        entries = self._segments.get(stream)
        if not entries:
            return
        start = bisect_left(entries, (first,))
        end = bisect_right(entries, (last, _FOREVER))
        if end > start and entries[end - 1][1] > last:
            end -= 1  # held only in part
        for _, _, key in entries[start:end]:
            self._complete_one(key, "", complete)
        del entries[start:end]
        self._keep(stream, entries)

    def _reject(self, stream: tuple[str, str], seq: int, code: str, complete: list[tuple[Key, str]]) -> None:
        entries = self._segments.get(stream, [])
        i = bisect_right(entries, (seq, _FOREVER)) - 1
        if i >= 0 and entries[i][0] <= seq <= entries[i][1]:
            _, _, key = entries.pop(i)
            self._complete_one(key, code, complete)
            self._keep(stream, entries)

    def _complete_one(self, key: Key, code: str, complete: list[tuple[Key, str]]) -> None:
        pending = self._rows[key]
        pending.left -= 1
        pending.code = code or pending.code
        if not pending.left:
            del self._rows[key]
            self._counts[key[0]] -= 1
            complete.append((key, pending.code))

    def _keep(self, stream: tuple[str, str], entries: list[tuple[int, int, Key]]) -> None:
        if entries:
            self._segments[stream] = entries
        else:
            self._segments.pop(stream, None)
