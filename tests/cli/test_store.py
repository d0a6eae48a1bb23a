"""`edge-agent store`: safe beside a running agent, nothing half-done, and an answer to every odd argument."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from cli.command import argv, edge_agent, environment, in_process
from cli.terminal import Terminal
from edge_agent.cli import store_formats
from edge_agent.contract.telemetry import StreamSpec, TeleBuilder
from edge_agent.errors import Fatal
from edge_agent.store.exporting import Record
from edge_agent.types import Reading
from edge_agent.types import Record as Numbered
from tests.store import effects
from tests.store.box import Box
from tests.store.test_reader import filled


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose store was closed."""
    filled(tmp_path / "data" / "store").close()
    return tmp_path / "data"


def store(data: Path, *arguments: str | Path) -> Any:
    return in_process("store", *arguments, "--data-dir", data)


def files(data: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (data / "store").iterdir() if not p.name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize("part", ["stats", "check", "export", "compact"])
def test_no_store_is_exit_code_3_with_a_hint(tmp_path: Path, part: str) -> None:
    done = store(tmp_path, part)
    assert done.code == 3
    assert "there is no store" in done.err
    assert "data_dir" in done.err


@pytest.mark.parametrize("part", ["stats", "check", "export"])
def test_reading_changes_nothing_beside_a_writer_that_goes_on(tmp_path: Path, part: str) -> None:
    box = filled(tmp_path / "store")
    before = files(tmp_path)
    assert store(tmp_path, part).code == 0
    assert files(tmp_path) == before
    box.commit(box.telemetry())
    box.close()


def test_stats_count_rows_readings_bytes_losses_and_what_waits(data: Path) -> None:
    document = json.loads(store(data, "stats", "--json").out)
    assert [p["rows"] for p in document["priorities"]] == [3, 1, 3]
    assert {s["stream"]: s["readings"] for s in document["streams"]} == {
        "press": 15, "tank": 15, "decision": 1, "alert": 1, "ledger": 1, "infer-bearing": 1,
    }  # fmt: skip
    assert document["gaps"] == {"overload": 5}
    assert sum(s["bytes"] for s in document["streams"]) == pytest.approx(sum(document["body_bytes"]), abs=6)
    page = store(data, "stats").out
    assert "30 readings" in page
    assert max(map(len, page.splitlines())) <= 80


def test_stats_name_what_was_set_aside(tmp_path: Path) -> None:
    box = filled(tmp_path / "store")
    box.close()
    (tmp_path / "store" / "store.db").write_bytes(b"garbage" * 1000)
    box.open()
    box.close()
    document = json.loads(store(tmp_path, "stats", "--json").out)
    assert document["aside"] == [{"name": "store.db.corrupt-1", "bytes": 7000}]


def test_check_is_exit_code_1_with_the_row_and_what_to_do(tmp_path: Path) -> None:
    box = filled(tmp_path / "store")
    box.writer._db.execute("UPDATE row2 SET n = 9 WHERE id = 2")
    done = store(tmp_path, "check")
    assert done.code == 1
    assert "row 2 of row2" in done.out
    assert "next" in done.out
    document = json.loads(store(tmp_path, "check", "--json").out)
    assert (document["ok"], document["counts"]) == (False, {"damaged": 1})
    box.close()


def test_csv_and_sqlite_hold_the_same(data: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(store(data, "export", "--stream", "tank").out.splitlines()))
    assert rows[0]["time"] == "2026-01-01T00:00:00.000Z"
    assert [int(row["seq"]) for row in rows] == list(range(15))
    out = tmp_path / "out.db"
    assert store(data, "export", "--stream", "tank", "-o", out).code == 0
    db = sqlite3.connect(out)
    assert db.execute("SELECT seq, temp FROM tank").fetchall() == [(int(r["seq"]), float(r["temp"])) for r in rows]
    db.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--stream", "tnak"], 'the store has no stream "tnak"; did you mean "tank"?'),
        (["--stream", "tank", "--stream", "nosuch", "--limit", "1"],
         'the store has no stream "nosuch"; edge-agent store stats lists the streams'),
        (["--stream", "tank", "--kind", "alerts"], 'the store has no stream "tank" among its alerts; '),
    ],
)  # fmt: skip
def test_stream_that_is_not_there_is_said_and_nothing_is_written(
    data: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    out = tmp_path / "out.csv"
    for more in ([], ["-o", out]):
        done = store(data, "export", *words, *more)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(told)
    assert not out.exists()


def test_stream_without_a_record_in_the_time_that_is_asked_for_is_an_empty_export(data: Path) -> None:
    done = store(data, "export", "--stream", "tank", "--from", "2999-01-01T00:00:00Z")
    assert (done.code, len(done.out.splitlines())) == (0, 1)


def test_file_that_is_there_is_kept_without_force(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    done = store(data, "export", "-o", out)
    assert (done.code, out.read_text()) == (2, "mine")
    assert "--force" in done.err
    assert store(data, "export", "-o", out, "--force").code == 0
    assert out.read_text().startswith("time,")


def test_damaged_row_is_left_out_of_an_export_loudly(tmp_path: Path) -> None:
    box = filled(tmp_path / "store")
    box.writer._db.execute("UPDATE row2 SET n = 9 WHERE id = 2")
    done = store(tmp_path, "export")
    assert done.code == 1
    assert len(done.out.splitlines()) == 21
    assert "1 damaged row left out" in done.err
    box.close()


@pytest.mark.parametrize("since", ["yesterday;rm -rf", "2h; rm -rf /", "$(reboot)", "", "-1h", "999999d"])
def test_input_80_since_that_is_no_duration_is_wrong_usage(data: Path, since: str) -> None:
    before = files(data)
    done = store(data, "export", f"--since={since}")
    assert done.code == 2
    assert "duration" in done.err
    assert files(data) == before


@pytest.mark.parametrize("at", ["yesterday", "2026-11-28", "2026-11-28T08:00:00", "1e9", "0000-00-00T00:00:00Z"])
def test_input_80_instant_that_is_no_rfc_3339_is_wrong_usage(data: Path, at: str) -> None:
    done = store(data, "export", "--from", at)
    assert done.code == 2
    assert "RFC 3339" in done.err


@pytest.mark.parametrize("name", ["../out.csv", "a/../../out.csv", "..", "/etc/../tmp/out.csv"])
def test_input_81_export_name_with_dots_is_refused(data: Path, tmp_path: Path, name: str) -> None:
    done = store(data, "export", "-o", str(tmp_path / "sub" / name) if not name.startswith("/") else name)
    assert done.code == 2
    assert ".." in done.err
    assert not list(tmp_path.rglob("out.csv"))


def test_input_81_export_never_lands_on_a_link_a_device_or_the_store(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("theirs")
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    before = files(data)
    for out in (link, Path("/dev/null"), data / "store" / "store.db", data / "store" / "new.csv", tmp_path):
        assert store(data, "export", "--force", "-o", out).code == 2, out
    assert target.read_text() == "theirs"
    assert files(data) == before


def test_export_replaces_none_of_the_agents_files(data: Path, tmp_path: Path) -> None:
    rules = data / "rules.json"
    rules.write_text("the agent's")
    (data / "sub").mkdir()
    aside = data / "store" / "store.db"
    for out in (rules, data / "new.csv", data / "sub" / "new.csv"):
        assert store(data, "export", "--force", "-o", out).code == 2, out
        assert in_process("store", "export", "--file", aside, "--force", "-o", out).code == 2, out
        assert in_process("store", "salvage", aside, "--force", "-o", out).code == 2, out
    assert rules.read_text() == "the agent's"
    assert store(data, "export", "-o", tmp_path / "new.csv").code == 0


@pytest.mark.parametrize("part", ["check", "stats", "export"])
def test_store_that_is_a_pipe_is_refused_at_once(tmp_path: Path, part: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = edge_agent("store", part, "--file", tmp_path / "pipe", timeout_s=20)
    assert done.code == 2
    assert "no regular file" in done.err


def records_of(*fields: dict[str, Any], stream: str = "press") -> Iterator[Record]:
    return iter([Record(1, "synced", stream, "E", i, f) for i, f in enumerate(fields)])


def rows_of(path: Path, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(f'SELECT * FROM "{table}"')]


def test_field_that_is_called_as_a_column_of_the_record_stands_beside_it(tmp_path: Path) -> None:
    fields = {"seq": 7.0, "Epoch": 8.0, "quality": 9.0, "field:seq": 6.0}
    store_formats.write_sqlite(records_of(fields), tmp_path / "out.db")
    (row,) = rows_of(tmp_path / "out.db", "press")
    assert (row["seq"], row["epoch"], row["quality"]) == (0, "E", "")
    assert [row[f"field:{name}"] for name in fields] == [7.0, 8.0, 9.0, 6.0]
    assert [store_formats.column_of(name, "") for name in fields] == [f"field:{name}" for name in fields]
    assert store_formats.column_of("seq", "Cel") == "seq [Cel]"


def test_csv_holds_a_field_that_is_called_as_a_column_of_the_record(tmp_path: Path) -> None:
    box = Box(tmp_path / "store")
    rows = TeleBuilder("gw1", box.epoch, describe=lambda _: StreamSpec(), limit_bytes=90_000)
    rows.append(Numbered(box.number("press"), Reading("press", effects.at(), {"seq": 7.0, "time": 8.0})))
    box.commit(rows.close()[0])
    box.close()
    (row,) = csv.DictReader(store(tmp_path, "export").out.splitlines())
    assert (row["seq"], row["field:seq"], row["field:time"]) == ("0", "7.0", "8.0")
    assert row["time"].startswith("20")


def test_names_that_sqlite_takes_for_the_same_or_keeps_for_itself_are_told_apart(tmp_path: Path) -> None:
    out = tmp_path / "out.db"
    store_formats.write_sqlite(records_of({"Temp": 1.0}, {"temp": 2.0, "Temp": 3.0}, stream="sqlite_x"), out)
    rows = rows_of(out, "stream:sqlite_x")
    assert [(row["Temp"], row["field:temp"]) for row in rows] == [(1.0, None), (3.0, 2.0)]


def test_integer_beyond_64_bits_is_kept(tmp_path: Path) -> None:
    store_formats.write_sqlite(records_of({"n": 2**64 - 1}), tmp_path / "out.db")
    assert rows_of(tmp_path / "out.db", "press")[0]["n"] == str(2**64 - 1)


def test_what_sqlite_does_not_take_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="press cannot be written"):
        store_formats.write_sqlite(records_of({f"f{i}": 1.0 for i in range(2100)}), tmp_path / "out.db")


def test_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> Database:
        db = Database(path)
        db.execute("PRAGMA max_page_count = 2")
        return db

    monkeypatch.setattr("sqlite_utils.Database", full)
    with pytest.raises(OSError, match="No space left"):
        store_formats.write_sqlite(records_of({"text": "x" * 50_000}), tmp_path / "out.db")


@pytest.mark.parametrize("limit", ["-1", "0", "1000000000", "1e9", "9" * 40])
def test_input_82_limit_out_of_range_is_wrong_usage(data: Path, limit: str) -> None:
    done = store(data, "export", f"--limit={limit}")
    assert done.code == 2
    assert "limit" in done.err


def test_input_82_limit_in_range_holds(data: Path) -> None:
    assert len(store(data, "export", "--limit", "4").out.splitlines()) == 5


@pytest.mark.slow
def test_input_83_arguments_that_are_no_utf8_are_escaped(data: Path) -> None:
    for words, code in (
        ((b"export", b"--stream", b"\xff\x1b[31m"), 2),
        ((b"export", b"--since", b"\xff"), 2),
        ((b"export", b"-o", b"/nowhere/\xff\x1b[31m.csv"), 2),
        ((b"check", b"--file", b"\xff.db"), 3),
    ):
        done = edge_agent(b"store", *words, b"--data-dir", bytes(data))
        assert done.code == code, (words, done.err)
        assert "Traceback" not in done.err
        assert "\x1b" not in done.out + done.err


@pytest.mark.slow
def test_reader_of_an_export_that_goes_away_is_no_error(data: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    call = argv("store", "export", "--data-dir", data)
    done = subprocess.run(call, stdout=write, stderr=subprocess.PIPE, env=environment(), check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.slow
def test_ctrl_c_leaves_no_part_of_a_file(data: Path, tmp_path: Path) -> None:
    box = Box(data / "store", quota_bytes=50_000_000)
    for _ in range(9):
        box.commit(box.telemetry(["press"], 400, noise_bytes=40))
    box.close()
    out = tmp_path / "out"
    out.mkdir()
    stop_soon = (
        "import os, signal, sys; import edge_agent.cli.store_formats as f; plain = f._flat\n"
        "def flat(record):\n"
        "    if record.seq == 2500: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return plain(record)\n"
        "f._flat = flat\n"
        "from edge_agent.cli.main import main; main()"
    )
    call = [sys.executable, "-c", stop_soon, "store", "export", "--data-dir", str(data), "-o"]
    for name in ("all.csv", "all.db"):
        done = subprocess.run([*call, str(out / name)], env=environment(), capture_output=True, check=False)
        assert done.returncode == 130, done.stderr
        assert list(out.iterdir()) == []


@pytest.mark.slow
def test_progress_is_on_a_terminal_alone_and_gone_at_the_end(data: Path) -> None:
    terminal = Terminal("store", "check", "--data-dir", data)
    terminal.until("OK")
    assert terminal.end() == 0
    assert "rows" in terminal.seen
    done = edge_agent("store", "check", "--data-dir", data)
    assert (done.code, done.err) == (0, "")


def test_compact_beside_an_agent_is_refused_with_what_to_do(tmp_path: Path) -> None:
    box = filled(tmp_path / "store")
    done = store(tmp_path, "compact")
    assert done.code == 1
    assert "in use by another agent" in done.err
    assert "systemctl stop edge-agent" in done.err
    box.close()
    assert store(tmp_path, "compact").code == 0


def test_salvage_gives_the_whole_rows_of_a_damaged_file_and_changes_nothing(data: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(data / "store" / "store.db")
    db.execute("UPDATE row2 SET n = 9 WHERE id = 2")
    db.commit()
    db.close()
    aside = (data / "store" / "store.db").rename(data / "store" / "store.db.corrupt-1")
    before, out = aside.read_bytes(), tmp_path / "out.jsonl"
    done = in_process("store", "salvage", aside, "-o", out, "--json")
    assert done.code == 0, done.err
    assert (done.document["records"], done.document["damaged_rows"]) == (24, 1)
    assert len(out.read_text().splitlines()) == 24
    assert aside.read_bytes() == before
    assert in_process("store", "salvage", aside, "-o", out).code == 2
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"garbage" * 1000)
    (tmp_path / "sub").mkdir()
    done = in_process("store", "salvage", garbage, "-o", tmp_path / "sub" / "none.jsonl")
    assert done.code == 1
    assert not (tmp_path / "sub" / "none.jsonl").exists()
