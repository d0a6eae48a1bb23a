"""The check value of a line finds damage, and is computed as the documentation says."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import Rejected
from edge_agent.links.lines import append_check, checker

CHECKS = ["xor", "crc16", "crc32"]


def test_known_values():
    assert append_check(b"$INDPT,2.2,0.0", "xor") == b"$INDPT,2.2,0.0*47"  # a real depth sounder
    assert append_check(b"123456789", "crc16") == b"123456789*31C3"  # the catalogue's check of CRC-16/XMODEM
    assert append_check(b"123456789", "crc32") == b"123456789*%08X" % zlib.crc32(b"123456789")
    assert append_check(b"as it is", "none") == b"as it is"


@given(st.binary(max_size=80), st.sampled_from(CHECKS))
def test_a_line_with_its_check_gives_its_body(body, check):
    assert checker(check)(append_check(body, check)) == body
    assert checker("none")(body) == body


@given(st.binary(min_size=2, max_size=80), st.integers(0), st.integers(0, 7), st.sampled_from(CHECKS))
def test_one_flipped_bit_is_refused(body, at, bit, check):
    line = bytearray(append_check(body, check))
    at = 1 + at % (len(body) - 1)  # not a leading $, which the xor of NMEA leaves out
    line[at] ^= 1 << bit
    with pytest.raises(Rejected) as e:
        checker(check)(bytes(line))
    assert e.value.message == "check_failed"


@pytest.mark.parametrize("line", [b"", b"*", b"$INDPT,2.2,0.0", b"$INDPT,2.2,0.0*4", b"$INDPT,2.2,0.0*0x47"])
def test_a_line_without_check_is_refused(line):
    with pytest.raises(Rejected) as e:
        checker("xor")(line)
    assert e.value.message == "check_missing"


def test_digits_may_be_lower_case_but_nothing_else():
    assert checker("xor")(b"$AB*03") == b"$AB"
    assert checker("crc16")(b"123456789*31c3") == b"123456789"
    for line in (b"$AB*+3", b"$AB* 3", b"$AB*_3"):
        with pytest.raises(Rejected):
            checker("xor")(line)
