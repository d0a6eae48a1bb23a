"""What the demo's backend proves: completeness, duplicates, conflicts."""

import random
import zlib

import msgspec
import pytest
from backend_tally import BackendTally, RangeSet
from doubles.outbox import EPOCH
from hypothesis import given
from hypothesis import strategies as st
from running import GATEWAY, tele_body

from edge_agent.contract import messages
from edge_agent.contract.rows import RowEncoder
from edge_agent.types import Alert, Stamp

TELE, LEDGER = GATEWAY.up("tele", "all"), GATEWAY.up("ledger")
PRESS = ("gw1", EPOCH, "press")
NEXT_EPOCH = "01KE0000000000000000000000"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), max_size=30), st.integers(0, 70))
def test_range_set_is_a_set_of_numbers(ranges, last):
    mine, model = RangeSet(), set()
    for first, more in ranges:
        numbers = set(range(first, first + more + 1))
        assert mine.add(first, first + more) == len(numbers - model)
        model |= numbers
    assert len(mine) == len(model)
    assert {n for a, b in mine for n in range(a, b + 1)} == model
    assert all(b + 1 < c for (_, b), (c, _) in zip(mine, list(mine)[1:], strict=False))
    assert {n for a, b in mine.missing(last) for n in range(a, b + 1)} == set(range(last + 1)) - model


def test_any_order_and_any_repetition_give_the_same_tally():
    bodies = [tele_body(("press",), seq0, 10) for seq0 in range(0, 100, 10)] * 3
    random.Random(3).shuffle(bodies)
    tally = BackendTally()
    for body in bodies:
        tally.take(TELE, body)
    verdict = tally.verdict()
    assert (verdict.received, verdict.duplicates, verdict.lost, verdict.conflicts) == (100, 200, 0, 0)


def test_a_hole_is_lost_until_a_gap_declares_it():
    tally = BackendTally()
    tally.take(TELE, tele_body(("press",), 0, 10))
    tally.take(TELE, tele_body(("press",), 30, 10))
    assert tally.verdict().holes == {f"gw1/{EPOCH}/press": [(10, 29)]}
    ledger = RowEncoder("gw1", EPOCH)
    gap = messages.GapRange(stream="press", epoch=EPOCH, from_=10, to=29, reason="quota")
    tally.take(LEDGER, ledger.gap(0, gap).body)
    verdict = tally.verdict()
    assert (verdict.received, verdict.gaps, verdict.lost) == (21, 20, 0)
    assert tally.reasons == {"quota": 20}


def test_a_lost_tail_is_proved_by_the_closing_of_its_epoch():
    tally = BackendTally()
    tally.take(TELE, tele_body(("press",), 0, 10))
    assert tally.verdict().lost == 0
    tally.take(LEDGER, RowEncoder("gw1", NEXT_EPOCH).close(0, closed=EPOCH, last={"press": 14, "oven": 1}).body)
    assert tally.verdict().lost == 5 + 2


def test_what_the_agent_says_it_committed_counts_for_the_running_epoch():
    tally = BackendTally()
    tally.take(TELE, tele_body(("press",), 0, 10))
    assert tally.verdict({PRESS: 19}).lost == 10


def test_the_same_numbers_with_other_content_are_a_conflict():
    tally = BackendTally()
    tally.take(TELE, tele_body(("press",), 0, 10))
    tally.take(TELE, tele_body(("press",), 0, 10, celsius=99.5))
    assert (tally.verdict().conflicts, tally.verdict().received) == (1, 10)


def test_a_body_whose_content_was_changed_on_the_way_is_refused():
    text = zlib.decompress(tele_body(("press",), 0, 10)).replace(b"20.5", b"99.5", 1)
    tally = BackendTally()
    tally.take(TELE, zlib.compress(text))
    assert (tally.verdict().refused, tally.verdict().received) == (1, 0)


@pytest.mark.parametrize("body", [b"", b"x", b"{}", b"\x78\x9c\x03"])
def test_what_is_no_row_is_refused_and_counted(body):
    tally = BackendTally()
    tally.take(TELE, body)
    assert tally.verdict().refused == 1


def test_acknowledgements_name_what_is_held_and_only_of_epochs_with_news():
    tally = BackendTally()
    tally.take(TELE, tele_body(("press",), 0, 10))
    tally.take(TELE, tele_body(("press",), 20, 10))
    tally.take(GATEWAY.up("alert"), RowEncoder("gw1", EPOCH).alert(
        Alert(0, "a", "k", "raised", "critical", "hot", Stamp(1, 1)),
    ).body)  # fmt: skip
    ((gateway, ack),) = tally.acks()
    assert gateway == "gw1"
    assert ack.have == {"press": ((0, 9), (20, 29)), "alert": ((0, 0),)}
    assert list(tally.acks()) == []


def test_birth_and_death_are_kept():
    tally = BackendTally()
    for online in (True, False):
        state = messages.State(gw="gw1", online=online, epoch=EPOCH)
        tally.take(GATEWAY.up("state"), msgspec.json.encode(state))
        assert tally.online == {"gw1": online}
