"""What is committed is committed once, compared when it comes again, and never silently replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.contract.decode import inflate
from edge_agent.contract.rows import deflate
from edge_agent.fleet.commit import Outcome, Writer
from edge_agent.fleet.database import Connection, DatabaseSettings, connected
from edge_agent.fleet.intake import Delivery, read_message
from edge_agent.fleet.schema import migrate
from tests.doubles.postgres import Postgres
from tests.fleet.rows import EPOCH, GATEWAY, NEXT, T0, close, gap, raw, state, tele, time_fix

pytestmark = pytest.mark.timeout(60)


class Box:
    """A database with the tables, and one writer."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.writer = Writer()

    def commit(self, *batch: Delivery) -> Outcome:
        return self.writer.commit(self.connection, batch)

    def rows(self, query: str, *arguments: object) -> list[Any]:
        return self.connection.execute(query.encode(), arguments or None).fetchall()

    def one(self, query: str) -> Any:
        ((value,),) = self.rows(query)
        return value

    def view(self, stream: str = "press", epoch: str = EPOCH) -> dict[str, Any]:
        names = "received, declared, missing, holes::text, last_known, closed, proved_complete, start_no"
        query = f"select {names} from edge.completeness where stream = %s and epoch = %s"
        (row,) = self.rows(query, stream, epoch)
        return dict(zip([n.split(":")[0].strip() for n in names.split(",")], row, strict=True))


@pytest.fixture
def box(cluster: Postgres, database: str) -> Iterator[Box]:
    with connected(DatabaseSettings(cluster.url(database))) as connection:
        migrate(connection)
        yield Box(connection)


def test_row_that_comes_again_changes_nothing_and_is_confirmed_again(box: Box) -> None:
    first = box.commit(tele(0, 100), tele(100, 50))
    assert first.counts.readings == 150
    again = box.commit(tele(0, 100), tele(0, 100))
    assert (again.counts.readings, again.counts.duplicates) == (0, 200)
    assert len(again.held) == 2
    assert not again.rejected
    assert box.one("select count(*) from edge.reading") == 150


def test_row_twice_in_one_batch_is_held_once(box: Box) -> None:
    out = box.commit(tele(0, 10), tele(0, 10))
    assert (out.counts.readings, out.counts.duplicates, out.counts.conflicts) == (10, 10, 0)
    assert box.one("select count(*) from edge.reading") == 10


def test_same_numbers_with_other_values_are_a_conflict_that_is_kept_and_told(box: Box) -> None:
    box.commit(tele(0, 10))
    out = box.commit(tele(0, 10, offset=1.0), tele(10, 10))
    assert out.counts.conflicts == 1
    assert [(s.stream, seq, code) for s, seq, code in out.rejected] == [("press", 0, "conflict")]
    assert [s.seq0 for s in out.held] == [10]
    assert out.loud
    assert box.one("select fields ->> 'temp' from edge.reading where seq = 0") == "20.0"
    ((body, times),) = box.rows("select body, times from edge.conflict")
    assert read_message(GATEWAY.up("tele", "all"), body).segments[0].readings[0].fields == '{"temp":21.0}'
    box.commit(tele(0, 10, offset=1.0))
    assert (times, box.one("select times from edge.conflict")) == (1, 2)


def test_conflict_within_one_batch_is_seen(box: Box) -> None:
    out = box.commit(tele(0, 10), tele(0, 10, offset=1.0))
    assert (out.counts.readings, out.counts.conflicts) == (10, 1)


def test_range_that_cuts_across_one_that_is_held_is_a_conflict_and_the_rest_of_its_batch_is_not(box: Box) -> None:
    box.commit(tele(0, 100))
    out = box.commit(tele(50, 100), tele(200, 10))
    assert (out.counts.conflicts, out.counts.readings) == (1, 10)
    assert box.view()["received"] == 110
    assert box.one("select count(*) from edge.reading") == 110


def test_row_stamped_anew_is_the_same_row(box: Box) -> None:
    box.commit(tele(0, 10))
    out = box.commit(tele(0, 10, ahead_ms=3_600_000))
    assert (out.counts.duplicates, out.counts.conflicts) == (10, 0)


def test_hole_is_what_is_neither_received_nor_declared(box: Box) -> None:
    box.commit(tele(0, 100), tele(110, 10), tele(200, 10), gap(0, 120, 159))
    view = box.view()
    assert (view["received"], view["declared"], view["missing"]) == (120, 40, 50)
    assert view["holes"] == "{[100,110),[160,200)}"
    assert (view["last_known"], view["closed"], view["proved_complete"]) == (209, False, False)
    box.commit(tele(100, 10), gap(1, 160, 199))
    assert box.view()["missing"] == 0


def test_last_row_of_an_epoch_is_missed_once_the_epoch_is_closed(box: Box) -> None:
    box.commit(tele(0, 100))
    assert box.view()["missing"] == 0  # nothing can be said of what follows
    box.commit(close(0, {"press": 149, "pump": 4}))
    view = box.view()
    assert (view["holes"], view["closed"], view["proved_complete"]) == ("{[100,150)}", True, False)
    assert box.view("pump")["holes"] == "{[0,5)}"
    box.commit(tele(100, 50))
    assert box.view()["proved_complete"] is True


def test_closing_of_a_store_that_was_lost_proves_no_tail(box: Box) -> None:
    box.commit(tele(0, 100), close(0, {"press": 119}, lost="corrupt"))
    view = box.view()
    assert (view["closed"], view["proved_complete"], view["holes"]) == (False, False, "{[100,120)}")


def test_ledger_entry_counts_like_a_reading_and_its_own_loss_is_seen(box: Box) -> None:
    box.commit(gap(0, 0, 4), gap(2, 5, 9))
    assert box.view("ledger")["holes"] == "{[1,2)}"
    assert box.view("press")["declared"] == 10


def test_what_is_declared_and_comes_all_the_same_counts_once(box: Box) -> None:
    box.commit(gap(0, 0, 9), tele(5, 10))
    view = box.view()
    assert (view["received"], view["declared"], view["missing"]) == (10, 5, 0)


def test_time_fix_sets_guessed_times_right_before_it_and_after_it(box: Box) -> None:
    box.commit(tele(0, 2, synced=False, ahead_ms=-T0), tele(2, 2, synced=True))
    box.commit(time_fix(0, T0 + 500), time_fix(1, T0))
    box.commit(tele(4, 2, synced=False, ahead_ms=-T0))
    rows = box.rows("select seq, round(extract(epoch from t) * 1000), tq from edge.reading_at order by seq")
    assert [int(t) for _, t, _ in rows] == [T0 + 5_000 + i * 10 for i in range(6)]
    assert [tq for *_, tq in rows] == ["fixed", "fixed", "synced", "synced", "fixed", "fixed"]


def test_time_fix_holds_for_every_word_but_synced(box: Box) -> None:
    row = inflate(tele(0, 1, synced=False, ahead_ms=-T0).body).replace(b'"guessed"', b'"other"')
    box.commit(read_message(GATEWAY.up("tele", "all"), deflate(row)), time_fix(0, T0))
    assert box.rows("select round(extract(epoch from t) * 1000), tq from edge.reading_at") == [(T0 + 5_000, "fixed")]


def test_late_death_of_an_old_life_does_not_mark_a_new_one_offline(box: Box) -> None:
    box.commit(state(online=True, epoch=EPOCH, start_no=1))
    box.commit(state(online=True, epoch=NEXT, start_no=2))
    box.commit(state(online=False, epoch=EPOCH, start_no=None))
    assert box.one("select body -> 'online' from edge.document") is True
    box.commit(state(online=False, epoch=NEXT, start_no=None))
    assert box.one("select body -> 'online' from edge.document") is False
    assert box.rows("select epoch, start_no from edge.epoch order by start_no") == [(EPOCH, 1), (NEXT, 2)]


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "schema"), (b"not deflated", "schema"), (b"\x00" * 50, "schema")],
    ids=["empty", "not deflated", "zeros"],
)
def test_message_that_is_none_is_a_dead_letter_and_kept_once(box: Box, body: bytes, code: str) -> None:
    bad = read_message(GATEWAY.up("tele", "all"), body)
    out = box.commit(bad, tele(0, 10))
    assert (out.counts.dead_letters, out.counts.readings, out.rejected) == (1, 10, [])
    box.commit(bad)
    assert box.rows("select code, body, times from edge.dead_letter") == [(code, body, 2)]


def test_message_with_numbers_that_is_refused_is_told_to_its_gateway(box: Box) -> None:
    segment = {"stream": "press", "seq0": 7, "n": 1}
    out = box.commit(raw("tele", {"schema": "tele/1", "gw": "gw1", "epoch": EPOCH, "seg": [segment]}))
    assert [(s.stream, seq, code) for s, seq, code in out.rejected] == [("press", 7, "schema")]


def test_message_that_names_another_gateway_than_its_topic_is_refused(box: Box) -> None:
    own = tele(0, 10)
    forged = read_message(own.topic.replace("gw1", "gw2"), own.body)
    out = box.commit(forged)
    assert (out.counts.dead_letters, out.counts.readings, out.rejected) == (1, 0, [])
    assert box.one("select code from edge.dead_letter") == "gateway"


def test_kind_that_a_later_version_adds_is_kept_whole_and_confirmed(box: Box) -> None:
    out = box.commit(
        raw("drift", {"schema": "drift/1", "gw": "gw1", "stream": "drift-x", "epoch": EPOCH, "seq": 0, "psi": 1}, "x")
    )
    assert [s.series.stream for s in out.held] == ["drift-x"]
    assert box.rows("select kind, body -> 'psi' from edge.event") == [("drift/1", 1)]


def test_text_that_postgresql_does_not_take_is_a_dead_letter_and_stops_no_other_row(box: Box) -> None:
    decision = {
        "schema": "alert/1", "gw": "gw1", "stream": "alert", "epoch": EPOCH, "seq": 0, "t": 1, "tq": "synced",
        "alert_id": "a", "dedupe_key": "k", "state": "raised", "severity": "low", "text": "a\0b",
    }  # fmt: skip
    out = box.commit(tele(0, 10), raw("alert", decision), tele(10, 10))
    assert (out.counts.readings, out.counts.dead_letters) == (20, 1)
    assert [(s.stream, seq, code) for s, seq, code in out.rejected] == [("alert", 0, "unstorable")]


def test_series_of_a_rolled_back_transaction_are_asked_for_again(box: Box) -> None:
    box.commit(tele(0, 100))
    box.commit(tele(50, 100), tele(0, 5, stream="new"))  # its first try is rolled back
    box.commit(tele(5, 5, stream="new"))
    assert box.view("new")["received"] == 10


def test_two_gateways_of_one_name_at_two_sites_are_two(box: Box) -> None:
    from edge_agent.contract.topics import Gateway

    box.commit(tele(0, 10), tele(0, 10, offset=1.0, gateway=Gateway("t", "other", "gw1")))
    assert box.one("select count(*) from edge.reading") == 20
