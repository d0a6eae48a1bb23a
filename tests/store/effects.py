"""What an engine gives a store, made by the number."""

from edge_agent.types import (
    Alert,
    ClockQuality,
    Decision,
    ModelRef,
    Prediction,
    Reading,
    Record,
    RecordPrediction,
    Stamp,
)

WALL0 = 1_767_225_600_000_000_000
MONO0 = 5_123_456_000_000


def at(ms=0, quality=ClockQuality.SYNCED, boot="8f14e45f"):
    return Stamp(MONO0 + ms * 1_000_000, WALL0 + ms * 1_000_000, quality, boot)


def record(seq, stream="press", cursor=None, stamp=None):
    values = {"temp": 20 + (seq * 37 % 100) / 100}
    return Record(seq, Reading(stream, stamp or at(seq * 100), values, cursor=cursor))


def records(first, last, stream="press"):
    return [record(seq, stream) for seq in range(first, last + 1)]


def prediction(seq, detail=None):
    model = ModelRef("bearing", "1.4.0", "5e" * 32)
    p = Prediction("bearing", seq, at(), at(20), model, True, {"score": seq / 7}, detail=detail)
    return RecordPrediction(seq, p, "trusted")


def decision(seq, rule="overheat", text=""):
    inputs = {"motor.temp": 91.0 + seq, "a.b": text}
    return Decision(seq, rule, "c0" * 32, "raised", "when", inputs, (), "critical", at())


def alert(seq):
    return Alert(seq, f"a-{seq}", "overheat/motor", "raised", "critical", "too hot", at())
