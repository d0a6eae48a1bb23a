"""What rules remember over a restart: what cannot be read or kept is said, and nothing damaged is thrown away."""

import json

import pytest

from edge_agent.decisions import NOTHING, Remembered
from edge_agent.memory import Memory

LATCHED = Remembered(phases={"hot": "latched"})


@pytest.fixture
def told():
    return []


@pytest.fixture
def memory(tmp_path, told):
    return Memory(tmp_path / "rules.json", lambda up, why: told.append((up, why)))


def test_what_cannot_be_kept_is_told_and_taken_back_when_it_is(memory, told, tmp_path):
    memory.write(NOTHING)
    assert not told
    (tmp_path / "rules.part").mkdir()
    memory.write(LATCHED)
    ((up, why),) = told
    assert not up
    assert "rules.json cannot be written (Is a directory): holds and latched rules would not outlive" in why
    (tmp_path / "rules.part").rmdir()
    memory.write(LATCHED)
    memory.write(NOTHING)
    assert told[1:] == [(True, "")]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff", b"[]", b'{"phases":{"hot":1}}', b'{"phases":{"hot":"raisee"}}', b'{"z":' + b"[" * 100_000, None,
    ],
    ids=["empty", "no UTF-8", "a list", "a number", "a phase that is none", "deep", "a folder"],
)  # fmt: skip
def test_what_cannot_be_read_is_kept_beside_and_told_all_through_the_run(memory, told, tmp_path, content):
    path = tmp_path / "rules.json"
    path.mkdir() if content is None else path.write_bytes(content)
    assert memory.read() == NOTHING
    memory.write(LATCHED)
    ((up, why),) = told
    assert not up
    assert "rules started as normal, latched and held ones too" in why
    assert "kept as rules.json.damaged-1" in why
    if content is not None:
        assert (tmp_path / "rules.json.damaged-1").read_bytes() == content
    assert json.loads(path.read_bytes().splitlines()[0])["phases"] == {"hot": "latched"}
    assert Memory(path).read() == LATCHED


def test_any_bit_that_turns_is_noticed(memory, told, tmp_path):
    path = tmp_path / "rules.json"
    memory.write(LATCHED)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert memory.read() == NOTHING
    assert len(told) == 8 * len(whole)


def test_a_card_that_damages_it_at_each_start_is_not_filled(tmp_path):
    for n in range(9):
        (tmp_path / "rules.json").write_bytes(b"%d" % n)
        assert Memory(tmp_path / "rules.json").read() == NOTHING
    assert len(list(tmp_path.glob("*.damaged-*"))) == 4
