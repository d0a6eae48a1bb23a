"""Outbox rows, encoded once: what is stored is what is sent. Here the rows that carry a single message."""

from __future__ import annotations

import zlib

import msgspec

from edge_agent.contract import messages, topics
from edge_agent.types import Alert, ClockQuality, Decision, ModelRef, RecordPrediction, SeqRange, Stamp

LEDGER_STREAM, DECISION_STREAM, ALERT_STREAM = "ledger", "decision", "alert"
_INFER = "infer-"

PRIORITY = {topics.ALERT: 0, topics.DECISION: 0, topics.LEDGER: 0, topics.INFER: 1, topics.TELE: 2}
"""By kind: 0 goes first and is dropped last."""
PRIORITIES = (0, 1, 2)

_TQ = {ClockQuality.GUESSED: "guessed", ClockQuality.SYNCED: "synced"}
_encode = msgspec.json.Encoder().encode


class Draft(msgspec.Struct, frozen=True):
    """A row that is encoded and not yet committed.

    `segments` are (stream, first, last) of the writing epoch, `cursors` the devices' own numbers to acknowledge
    after the commit, `guessed` that its wall time may be set right later.
    """

    kind: str
    key: str
    n: int
    segments: tuple[tuple[str, int, int], ...]
    body: bytes
    guessed: bool = False
    cursors: dict[str, int] | None = None

    @property
    def prio(self) -> int:
        return PRIORITY[self.kind]


def infer_stream(lane: str) -> str:
    """The stream that a lane's predictions are numbered in."""
    return f"{_INFER}{lane}"


def priority_of(stream: str) -> int:
    """Of the rows that a stream's numbers stand in."""
    if stream in (LEDGER_STREAM, DECISION_STREAM, ALERT_STREAM):
        return PRIORITY[topics.LEDGER]
    return PRIORITY[topics.INFER] if stream.startswith(_INFER) else PRIORITY[topics.TELE]


def time_quality(quality: ClockQuality) -> str:
    """The word for it on the wire."""
    return _TQ[quality]


def deflate(text: bytes) -> bytes:
    """zlib, level 6: on columns it is smaller than zstd."""
    return zlib.compress(text, 6)


def milliseconds(ns: int) -> int:
    return ns // 1_000_000


class RowEncoder:
    """Encodes the messages of one gateway in one epoch. Raises UnicodeEncodeError for a text that is no Unicode."""

    def __init__(self, gateway: str, epoch: str) -> None:
        self.gateway = gateway
        self.epoch = epoch

    def prediction(self, record: RecordPrediction, *, detail: bool = True) -> Draft:
        """`detail` False leaves out what only people look at, where the whole is too large."""
        p = record.prediction
        message = messages.Infer(
            gw=self.gateway,
            stream=infer_stream(p.lane),
            epoch=self.epoch,
            seq=record.seq,
            t=milliseconds(p.stamp.wall_ns),
            m=milliseconds(p.stamp.mono_ns),
            tq=_TQ[p.stamp.quality],
            boot=p.stamp.boot,
            model=_model(p.model),
            inputs=messages.Inputs(
                digest=p.digest,
                refs=[_ref(r) for r in p.refs],
                number=p.number,
                t=milliseconds(p.input_stamp.wall_ns),
                m=milliseconds(p.input_stamp.mono_ns),
            ),
            outputs=p.outputs,
            valid=p.valid,
            trust=record.trust,
            latency_ms=round(p.latency_ms, 3),
            error=p.error,
            detail=p.detail if detail else None,
        )
        return _single(topics.INFER, p.lane, message, p.stamp)

    def decision(self, d: Decision) -> Draft:
        message = messages.Decided(
            gw=self.gateway,
            stream=DECISION_STREAM,
            epoch=self.epoch,
            seq=d.seq,
            t=milliseconds(d.stamp.wall_ns),
            tq=_TQ[d.stamp.quality],
            rule=messages.RuleRef(id=d.rule, sha256=d.rule_sha256),
            inputs=d.inputs,
            unknown=list(d.unknown),
            outcome=d.outcome,
            action=d.action,
            overrides=list(d.overrides),
            m=milliseconds(d.stamp.mono_ns),
            boot=d.stamp.boot,
            branch=d.branch,
            severity=d.severity,
            rung=d.rung,
            models=[_model(m) for m in d.models],
        )
        return _single(topics.DECISION, d.rule, message, d.stamp)

    def alert(self, a: Alert) -> Draft:
        message = messages.Alerted(
            gw=self.gateway,
            stream=ALERT_STREAM,
            epoch=self.epoch,
            seq=a.seq,
            t=milliseconds(a.stamp.wall_ns),
            tq=_TQ[a.stamp.quality],
            alert_id=a.alert_id,
            dedupe_key=a.dedupe_key,
            state=a.state,
            severity=a.severity,
            text=a.text,
            m=milliseconds(a.stamp.mono_ns),
            boot=a.stamp.boot,
        )
        return _single(topics.ALERT, "", message, a.stamp)

    def gap(self, seq: int, gap: messages.GapRange | messages.GapRanges) -> Draft:
        """The ledger's entry `seq`: numbers that will not come."""
        one = gap if isinstance(gap, messages.GapRange) else None
        many = gap if isinstance(gap, messages.GapRanges) else None
        return self._ledger(
            messages.GapMessage(
                gw=self.gateway, stream=LEDGER_STREAM, epoch=self.epoch, seq=seq, gap=one, gaps=many
            )
        )

    def close(self, seq: int, *, closed: str, last: dict[str, int], lost: str = "") -> Draft:
        """The ledger's entry `seq`: where the streams of the epoch `closed` ended."""
        return self._ledger(
            messages.Close(
                gw=self.gateway,
                stream=LEDGER_STREAM,
                epoch=self.epoch,
                seq=seq,
                closed=closed,
                last=last,
                lost=lost,
            )
        )

    def time_fix(self, seq: int, *, boot: str, offset_ms: int, uncertainty_ms: int) -> Draft:
        """The ledger's entry `seq`: what the wall clock of that boot should have said."""
        return self._ledger(
            messages.TimeFix(
                gw=self.gateway,
                stream=LEDGER_STREAM,
                epoch=self.epoch,
                seq=seq,
                boot=boot,
                offset_ms=offset_ms,
                uncertainty_ms=uncertainty_ms,
            )
        )

    def _ledger(self, message: messages.LedgerMessage) -> Draft:
        return _single(topics.LEDGER, "", message, None)


def _single(
    kind: str,
    key: str,
    message: messages.Infer | messages.Decided | messages.Alerted | messages.LedgerMessage,
    stamp: Stamp | None,
) -> Draft:
    guessed = stamp is not None and stamp.quality is ClockQuality.GUESSED
    segments = ((message.stream, message.seq, message.seq),)
    return Draft(kind, key, 1, segments, deflate(_encode(message)), guessed)


def _model(model: ModelRef) -> messages.Model:
    return messages.Model(name=model.name, version=model.version, sha256=model.sha256)


def _ref(r: SeqRange) -> messages.Ref:
    return messages.Ref(stream=r.stream, epoch=r.epoch, from_=r.first, to=r.last)
