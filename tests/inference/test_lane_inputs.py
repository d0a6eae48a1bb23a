"""What waits for a lane is bounded, and what will not be inferred is counted."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inference.lane_inputs import FramePace, LaneInputs
from edge_agent.types import Infer, Stamp


def window(number: int) -> Infer:
    return Infer("lane", number, Stamp(number, number), b"", (1, 1))


def taken(inputs: LaneInputs) -> list[int]:
    out = []
    while (item := inputs.take(0.0)) is not None:
        out.append(item.number)
    return out


def test_latest_lets_the_newest_replace_the_older() -> None:
    inputs = LaneInputs(latest=True, limit=64)
    for n in range(5):
        inputs.put(window(n), waiting=False)
    assert taken(inputs) == [4]
    assert inputs.skipped() == 4
    assert inputs.skipped() == 0


def test_every_keeps_the_oldest_and_counts_what_does_not_fit() -> None:
    inputs = LaneInputs(latest=False, limit=3)
    for n in range(5):
        inputs.put(window(n), waiting=False)
    assert taken(inputs) == [0, 1, 2]
    assert inputs.skipped() == 2


def test_next_input_is_taken_early_only_where_none_may_replace_it() -> None:
    every, latest, held_back = (LaneInputs(latest=latest, limit=3) for latest in (False, True, True))
    for inputs in (every, latest, held_back):
        assert inputs.take_early() is None
        inputs.put(window(0), waiting=inputs is held_back)
        inputs.take(0.0)
        inputs.put(window(1), waiting=inputs is held_back)
    assert latest.take_early() is None
    latest.put(window(2), waiting=False)
    assert taken(latest) == [2]
    for inputs in (every, held_back):
        early = inputs.take_early()
        assert isinstance(early, Infer)
        assert early.number == 1
        assert inputs.busy


@given(st.lists(st.sampled_from(["put", "take", "discard"]), max_size=200), st.booleans())
def test_every_input_is_taken_or_counted(steps: list[str], latest: bool) -> None:
    inputs = LaneInputs(latest=latest, limit=3)
    put = got = 0
    for step in steps:
        if step == "put":
            inputs.put(window(put), waiting=False)
            put += 1
        elif step == "take":
            got += inputs.take(0.0) is not None
        else:
            inputs.discard()
    got += len(taken(inputs))
    assert got + inputs.skipped() == put


def test_producer_that_can_be_held_back_waits_for_room() -> None:
    inputs = LaneInputs(latest=False, limit=2)
    producer = threading.Thread(target=lambda: [inputs.put(window(n), waiting=True) for n in range(100)])
    producer.start()
    out = [inputs.take(5.0).number for _ in range(100)]
    producer.join(5.0)
    assert out == list(range(100))
    assert inputs.skipped() == 0


def test_closing_frees_everyone_who_waits() -> None:
    inputs = LaneInputs(latest=False, limit=1)
    inputs.put(window(0), waiting=False)
    producer = threading.Thread(target=inputs.put, args=(window(1),), kwargs={"waiting": True})
    producer.start()
    inputs.close()
    producer.join(5.0)
    assert not producer.is_alive()


def test_it_is_busy_until_what_was_taken_is_dealt_with() -> None:
    inputs = LaneInputs(latest=False, limit=2)
    assert not inputs.busy
    inputs.put(window(0), waiting=False)
    assert inputs.busy
    inputs.take(0.0)
    assert inputs.busy
    inputs.done()
    assert not inputs.busy


def test_pace_lets_so_many_frames_a_second_through() -> None:
    pace = FramePace(8.0)
    passed = [n for n in range(250) if pace.due(n * 40_000_000)]
    assert 78 <= len(passed) <= 82
    assert FramePace(None).due(0)
