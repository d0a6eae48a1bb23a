"""Places: every key of a TOML text has the line and column where it stands, whatever the text looks like."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.sites import GOOD
from config.toml_writer import documents
from edge_agent.config.document import parse_document
from edge_agent.config.places import Places
from edge_agent.config.site_file import Unreadable, read_site_file
from edge_agent.config.statements import MAX_DEPTH, MAX_PARTS, MAX_THINGS


def paths_of(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every path that tomllib sees: an oracle that knows nothing of lines."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {found for key, item in items for found in ({(*path, key)} | paths_of(item, (*path, key)))}


@settings(max_examples=150, deadline=None)
@given(documents())
def test_every_key_has_the_line_and_column_where_it_was_written(document):
    text, expected = document
    parsed = parse_document(text)
    assert parsed.faults == []
    assert parsed.places.paths() == paths_of(tomllib.loads(text)) == set(expected)
    for path, place in expected.items():
        assert parsed.places.line_column(path) == place, path


@settings(max_examples=150, deadline=None)
@given(documents(), st.data())
@example((GOOD, {}), None)
def test_a_text_is_faulty_exactly_when_tomllib_says_so(document, data):
    """Cut, repeat and replace anything: nothing raises, nothing wrong passes, nothing right is refused."""
    text, _ = document
    if data is not None:
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 8)))
        text = text[:at] + data.draw(st.text(st.sampled_from("a=.[]{}\"'#,\n1 "), max_size=5)) + text[until:]
    parsed = parse_document(text)
    try:
        tables = tomllib.loads(text)
    except ValueError:
        assert parsed.faults, text
        assert all(1 <= fault.line <= text.count("\n") + 1 for fault in parsed.faults)
    else:
        assert parsed.faults == [], text
        # repr, since NaN does not equal itself
        assert repr(parsed.tables) == repr(tables)


@settings(max_examples=100, deadline=None)
@given(documents())
def test_one_broken_statement_leaves_the_rest_of_the_file_readable(document):
    text, _ = document
    first = parse_document(f"broken = no\n{text}")
    last = parse_document(f"{text}\nbroken = 012 # x\n")
    assert [fault.line for fault in first.faults] == [1]
    assert [fault.line for fault in last.faults] == [text.count("\n") + 2]
    assert repr(first.tables) == repr(last.tables) == repr(tomllib.loads(text))
    assert first.whole
    assert last.whole


def test_a_path_that_is_not_in_the_text_has_the_line_of_what_is_around_it():
    places = parse_document('[a]\nb = { c = 1 }\n\n[[d]]\n[[d]]\ne = "x"\n').places
    assert places.line("a", "b", "nope", "deeper") == 2
    assert places.line_column(("d", 1, "nope")) == (5, None)
    assert places.line("d", 7) == 4
    assert places.line("nope") == 0


@pytest.mark.parametrize(
    ("written", "at", "place"),
    [
        ('when = "abc def"', (1, 5), (3, 13)),
        ("when   =  'abc def'", (1, 5), (3, 16)),
        ('when = """abc\n def"""', (1, 1), (3, 11)),
        ('when = """abc\n def"""', (2, 2), (4, 2)),
        ('when = """\nabc\n def"""', (1, 3), (4, 3)),
        ("when = '''\nabc\n\\def'''", (2, 2), (5, 2)),
        ('when = "a\\tb c"', (1, 5), (3, None)),
    ],
)
def test_a_place_inside_a_text_is_the_place_in_the_file(written, at, place):
    places = parse_document(f"\n[rule]\n{written}\nfor = 1\n").places
    assert places.inside(("rule", "when"), *at) == place


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("a = 1\nb = 2\na = 3\n", ("a",), (1, 3)),
        ("[t]\na = 1\n[u]\n[t]\n", ("t",), (1, 4)),
        ("[[t]]\na = 1\na = 2\n", ("t", 0, "a"), (2, 3)),
        ("[t]\n[[t]]\n", ("t",), (1, 2)),
        ("[[t]]\n[t]\n", ("t",), (1, 2)),
        ("t = 1\n[t]\n", ("t",), (1, 2)),
        ("a.b = 1\na.c = 2\na.b = 3\n", ("a", "b"), (1, 3)),
        ("a = { b = 1, b = 2 }\n", ("a", "b"), (1, 1)),
        ('a = 1\n"a" = 2\n', ("a",), (1, 2)),
    ],
)
def test_what_is_given_twice_is_refused_with_both_lines(text, key, lines):
    (fault,) = parse_document(text).faults
    assert fault.path == key
    assert fault.reason == f"given twice, on line {lines[0]} and on line {lines[1]}"
    assert fault.line == lines[1]


def test_limits_are_found_where_they_are_passed_before_tomllib_sees_the_text(monkeypatch):
    monkeypatch.setattr(tomllib, "loads", None)
    for text, line, reason in (
        ("x = 1\n" + "a." * MAX_PARTS + "a = 1", 2, "a key of 17 parts"),
        ("[" + "a." * MAX_PARTS + "a]", 1, "a key of 17 parts"),
        ("\n\na = " + "[" * (MAX_DEPTH + 1), 3, "more than 32 deep"),
        ("a = " + "{a=" * (MAX_DEPTH + 1), 1, "more than 32 deep"),
        ("a = [\n" + "1,\n" * MAX_THINGS + "]", MAX_THINGS, "more than 10000 keys and values"),
    ):
        (fault,) = parse_document(text).faults
        assert reason in fault.reason
        assert fault.line == line


def test_carriage_returns_do_not_move_a_line(tmp_path):
    path = tmp_path / "site.toml"
    path.write_bytes(b"[a]\r\nb = '''x\r\ny'''\r\nc = 1\r\n")
    places = parse_document(read_site_file(path)).places
    assert places.line("a", "c") == 4
    path.write_bytes(b"[a]\rb = 1\n")
    with pytest.raises(Unreadable, match=r"U\+000D"):
        read_site_file(path)


def test_line_and_column_of_any_offset_of_a_long_text():
    text = "".join("x" * (i % 97) + "\n" for i in range(300))
    places = Places(text)
    offsets = [*range(0, len(text), 13), len(text)]
    assert len(text) > 12_000
    assert [places.at(o) for o in offsets] == [
        (text.count("\n", 0, o) + 1, len(text[:o].rpartition("\n")[2]) + 1) for o in offsets
    ]
