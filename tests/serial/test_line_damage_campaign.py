"""What gets through when bytes are flipped, lost or added on the way: with CRC-32 nothing, in a million lines."""

import random

import pytest

from edge_agent.errors import Rejected
from edge_agent.links.lines import LineSplitter, append_check, checker
from edge_agent.sources.ndjson import decode_object


def damaged(rng, line):
    """One to four bytes flipped, lost or added anywhere, the line end included."""
    line = bytearray(line)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(line))
        kind = rng.random()
        if kind < 0.5:
            line[at] ^= 1 << rng.randrange(8)
        elif kind < 0.75:
            del line[at]
        else:
            line.insert(at, rng.randrange(256))
    return bytes(line)


def false_readings(lines, check, seed):
    """Of so many lines, every second one damaged: accepted objects that were never sent, and good lines accepted."""
    rng = random.Random(seed)
    splitter, body_of = LineSplitter(4096), checker(check)
    sent, false, good = set(), 0, 0
    for n in range(lines):
        body = b'{"n":%d,"temp":%.2f,"rpm":%d}' % (n, rng.random() * 50, rng.randrange(3000))
        line = append_check(body, check) + b"\n"
        sent.add(body)
        for got in splitter.feed(damaged(rng, line) if n % 2 else line):
            try:
                accepted = body_of(got)
                decode_object(accepted)
            except Rejected:
                continue
            good += accepted in sent
            false += accepted not in sent
        if len(sent) > 100:
            sent.clear()
    return false, good


def test_crc32_lets_no_damaged_line_through():
    false, good = false_readings(20_000, "crc32", seed=1)
    assert false == 0
    assert good > 8_000


def test_without_a_check_damage_gets_through_so_the_campaign_can_tell():
    assert false_readings(20_000, "none", seed=1)[0] > 500


@pytest.mark.long
def test_crc32_lets_none_of_a_million_damaged_lines_through():
    false, good = false_readings(2_000_000, "crc32", seed=2)
    assert false == 0
    assert good > 800_000
