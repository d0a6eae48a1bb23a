"""Lines come out whole and in order, however they were cut on the way; memory stays bounded."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.links.lines import LineSplitter

LINE = st.binary(min_size=1, max_size=60).map(lambda b: b.replace(b"\n", b"x").rstrip() or b"x")
CHUNK = st.one_of(st.binary(max_size=300), st.sampled_from([b"\n", b"\r", b"x" * 15, b"x" * 16]))


def cut(data, at):
    bounds = [0, *sorted(at), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


@given(st.lists(LINE, max_size=20), st.lists(st.integers(0, 1300), max_size=30), st.sampled_from([b"\n", b"\r\n"]))
def test_every_cut_gives_the_same_lines(lines, at, end):
    data = b"".join(line + end for line in lines)
    splitter = LineSplitter(64)
    out = [line for chunk in cut(data, at) for line in splitter.feed(chunk)]
    assert out == lines
    assert splitter.overlong == 0


@given(st.lists(CHUNK, max_size=40))
def test_any_bytes_give_the_lines_that_fit_and_count_the_others(chunks):
    splitter = LineSplitter(16)
    out = [line for chunk in chunks for line in splitter.feed(chunk)]
    *complete, partial = b"".join(chunks).split(b"\n")
    assert out == [line.rstrip() for line in complete if line.rstrip() and len(line) <= 16]
    assert splitter.overlong == sum(len(line) > 16 for line in (*complete, partial))
    assert splitter.dropped_bytes == sum(len(line) for line in (*complete, partial) if len(line) > 16)
    assert len(splitter._pending) <= 16


def test_two_glued_lines_are_two_and_a_line_in_single_bytes_is_one():
    splitter = LineSplitter(64)
    assert splitter.feed(b"a=1\nb=2\n") == [b"a=1", b"b=2"]
    out = [line for byte in b'{"a":1}\n' for line in splitter.feed(bytes([byte]))]
    assert out == [b'{"a":1}']


def test_overlong_line_is_dropped_to_its_end_and_counted_once():
    splitter = LineSplitter(16)
    assert splitter.feed(b"x" * 40) == []
    assert splitter.feed(b"x" * 40) == []
    assert splitter.feed(b"x\nnext\n" + b"y" * 17 + b"\nlast\n") == [b"next", b"last"]
    assert splitter.overlong == 2
