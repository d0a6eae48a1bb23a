"""The store's thread: takes what the engine gives, encodes, commits in groups, and tells who waits for it.

A group is committed every interval, when a row is full, and at once for decisions and alerts; readings then stay
for their interval, so that alerts do not cut rows short. The first readings after a start hardly wait. While the
disk refuses, encoded rows wait in memory, up to a bound; beyond it they go by priority and their loss is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from edge_agent.contract.rows import Draft
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.errors import Retryable
from edge_agent.ports import Clock
from edge_agent.store.database import PAGE_BYTES, Damaged, Full
from edge_agent.store.gaps import GapSet
from edge_agent.store.intake import Batch, Intake, number_of
from edge_agent.store.outbox import Outbox
from edge_agent.store.ring import Ring
from edge_agent.store.salvaging import Salvaging
from edge_agent.store.writer import Committed, TimeFix, Writer
from edge_agent.types import Alert, Decision, Effect, Gap, Record, RecordPrediction

_PIECE = 512
"""Effects between two looks at whether the row is full."""
_GROUP_BYTES = 1024 * 1024
"""Of bodies in one transaction."""
_SALVAGE_TURN_NS = 50_000_000


class Options(msgspec.Struct, frozen=True):
    """`inbox` is in effects; `ring_bytes` bounds the encoded rows that a refusing disk leaves in memory.

    `first_interval_ns` counts until there was a reading: a sign of life is soon on the disk, and soon delivered.
    """

    commit_interval_ns: int = 1_000_000_000
    first_interval_ns: int = 50_000_000
    row_limit_bytes: int = 96 * 1024
    inbox: int = 20_000
    ring_bytes: int = 16 * 1024 * 1024


DEFAULTS = Options()


class StoreBody:
    """Implements `ports.Body`. `put`, `flush` and `stop` may be called from any thread."""

    name = "store"

    def __init__(
        self,
        writer: Writer,
        *,
        clock: Clock,
        describe: Callable[[str], StreamSpec],
        options: Options = DEFAULTS,
        on_health: Callable[[bool, str], None] | None = None,
    ) -> None:
        """`describe(stream)` is asked once per stream and row; `on_health(up, reason)` is told of each change."""
        self.progress_ns = clock.mono_ns()
        self.on_commit: list[Callable[[Committed], None]] = []
        """Called on the store's thread after each COMMIT of rows returned; they are quick and do not raise."""
        self.on_interval: list[Callable[[], None]] = []
        """Called on the store's thread once an interval, whether anything was committed or not; as `on_commit`."""
        self.failing = ""
        """Why nothing can be committed now; empty while all is well."""
        self._writer = writer
        self._clock = clock
        self._options = options
        self._on_health = on_health
        self._intake = Intake(writer.epoch, limit=options.inbox)
        self._ring = Ring(options.ring_bytes)
        self._builder = TeleBuilder(
            writer.encoder.gateway, writer.epoch, describe=describe, limit_bytes=options.row_limit_bytes
        )
        self._lost = GapSet()
        """Numbers that come after some that are still in the builder."""
        self._interval_ns = min(options.first_interval_ns, options.commit_interval_ns)
        self._due_ns = 0
        self._salvaging = Salvaging(writer.directory)
        self._reopen = bool(writer.offline)
        self._attempted = 0
        self._pressed = False
        """The reserve was given once: it is taken again when there is room."""
        # what an attempt may have put on the disk is not shed: it must not be all that there is room for
        self._group_bytes = min(_GROUP_BYTES, writer.limits.max_pages * PAGE_BYTES // 8, options.ring_bytes // 2)

    def put(self, effects: Sequence[Effect | TimeFix]) -> None:
        """Everything the engine gave; `Act` and `Infer` are passed over. Never waits: overflow becomes a gap."""
        self._intake.put(effects)

    def flush(self, timeout_s: float) -> bool:
        """Waits until everything put or delivered before is on the disk; False when it is not after `timeout_s`."""
        return self._intake.wait_done(timeout_s)

    def wait_room(self, timeout_s: float) -> bool:
        """For a replay, which may be held back instead of losing readings."""
        return self._intake.wait_room(timeout_s)

    def outbox(self, *, offset_ms: Callable[[str], int | None] | None = None, floor_ms: int = 0) -> Outbox:
        """For the uplink's thread, which closes it."""
        return Outbox(self._writer.path, self._writer.outgoing, offset_ms=offset_ms, floor_ms=floor_ms)

    @property
    def given_up(self) -> dict[str, str]:
        """Databases that were moved aside and whose rows could not be taken over in this run, and why not."""
        return dict(self._salvaging.given_up)

    def run(self) -> None:
        stopping = False
        self._due_ns = self._clock.mono_ns() + self._interval_ns
        while not stopping:
            now_ns = self.progress_ns = self._clock.mono_ns()
            wait_ns = max(self._due_ns - now_ns, 0)
            batch = self._intake.take(min(wait_ns, _SALVAGE_TURN_NS) / 1e9 if self._salvage_due() else wait_ns / 1e9)
            stopping = batch.stopping
            self._turn(batch)
            if self._salvage_due() and not stopping:
                self._take_over()
        self._salvaging.close()

    def stop(self) -> None:
        """Everything put before is committed, if the disk takes it, before `run` returns."""
        self._intake.stop()

    def _turn(self, batch: Batch) -> None:
        full = self._absorb(batch)
        now_ns = self._clock.mono_ns()
        due = now_ns >= self._due_ns
        if due:
            if not self._builder.empty:
                self._interval_ns = self._options.commit_interval_ns
            self._due_ns = now_ns + self._interval_ns
        if due or batch.asked or batch.stopping:
            self._close_rows()
            if self._commit():
                self._intake.done(batch.ticket)
        elif (full or batch.urgent) and not self.failing:
            self._commit()
        for tell in self.on_interval if due else ():
            tell()

    def _absorb(self, batch: Batch) -> bool:
        """True when that filled a row."""
        full = False
        append = self._builder.append
        for start in range(0, len(batch.effects), _PIECE):
            for effect in batch.effects[start : start + _PIECE]:
                if isinstance(effect, Record):
                    append(effect)
                else:
                    self._absorb_single(effect)
            if self._builder.full:
                self._close_rows()
                full = True
        self._lost.update(batch.shed)
        return full

    def _absorb_single(self, effect: RecordPrediction | Decision | Alert | Gap | TimeFix) -> None:
        match effect:
            case Gap():
                self._lost.take(effect)
            case TimeFix():
                self._writer.fix_time(effect)
            case _:
                self._keep(effect)

    def _keep(self, effect: RecordPrediction | Decision | Alert) -> None:
        """What no row can carry is declared instead."""
        limit_bytes = self._options.row_limit_bytes
        try:
            draft = self._encode(effect)
        except UnicodeEncodeError:
            draft = None
        if draft is not None and len(draft.body) <= limit_bytes:
            self._ring.add((draft,))
        else:
            self._refuse(*number_of(effect))

    def _encode(self, effect: RecordPrediction | Decision | Alert) -> Draft:
        encoder = self._writer.encoder
        match effect:
            case Decision():
                return encoder.decision(effect)
            case Alert():
                return encoder.alert(effect)
        draft = encoder.prediction(effect)
        if len(draft.body) > self._options.row_limit_bytes:
            draft = encoder.prediction(effect, detail=False)
        return draft

    def _refuse(self, stream: str, seq: int) -> None:
        self._lost.add(stream, self._writer.epoch, seq, seq, "rejected")

    def _close_rows(self) -> None:
        drafts, refused = self._builder.close()
        for stream, seq in refused:
            self._refuse(stream, seq)
        self._ring.add(drafts)
        self._ring.lose(self._lost)
        self._lost = GapSet()

    def _commit(self) -> bool:
        """Everything in the ring; False when the disk refused."""
        if self._lost:
            self._close_rows()
        try:
            self._recover()
            if self._writer.pending or len(self._ring):
                self._commit_group()
            while len(self._ring):
                self._commit_group()
        except Retryable as error:
            self._failed(error)
            return False
        if self.failing:
            self._turned(True, "")
        if self._pressed:
            self._writer.relieve()
        return True

    def _commit_group(self) -> None:
        group = self._ring.group(self._group_bytes)
        self._attempted = group.entries
        self._succeeded(self._writer.commit(group.drafts, group.lost))

    def _recover(self) -> None:
        if damage := self._writer.outgoing.damage:
            self._leave(damage)
        if self._reopen:
            landed = self._writer.reopen()
            self._reopen = False
            if landed is not None:
                self._succeeded(landed)

    def _salvage_due(self) -> bool:
        return not self.failing and self._salvaging.due(self._writer.salvaging)

    def _take_over(self) -> None:
        """Rows of a database that was moved aside, in turns that are short beside the interval."""
        writer = self._writer
        until_ns = self._clock.mono_ns() + _SALVAGE_TURN_NS
        try:
            while self._clock.mono_ns() < until_ns:
                piece = self._salvaging.next_piece(writer.salvaging, writer.taken)
                if piece is None:
                    return
                if piece.taken != writer.taken:
                    self._attempted = 0
                    self._succeeded(writer.take_over(piece))
                if piece.taken.finished:
                    writer.finished(piece.taken.name)
                self._salvaging.taken_over()
        except Retryable as error:
            self._failed(error)

    def _succeeded(self, committed: Committed) -> None:
        self._ring.committed(self._attempted)
        self._attempted = 0
        for tell in self.on_commit if committed.rows else ():
            tell(committed)

    def _failed(self, error: Retryable) -> None:
        """Nothing is lost yet: the next interval tries again, over a fresh connection unless it was only full."""
        self._reopen = self._reopen or not isinstance(error, Full)
        if isinstance(error, Full):
            self._writer.press()
            self._pressed = True
        if isinstance(error, Damaged):
            self._leave(error.message)
        self._ring.shed(self._writer.epoch, spare=self._attempted)
        self._turned(False, str(error))

    def _leave(self, damage: str) -> None:
        self._writer.give_up_file(damage)
        self._salvaging.close()  # what it gave stands in the file that is left
        self._reopen = True

    def _turned(self, up: bool, reason: str) -> None:
        changed = reason != self.failing
        self.failing = reason
        if changed and self._on_health is not None:
            self._on_health(up, reason)
