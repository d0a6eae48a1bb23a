"""Rows 53 and 54 of the bad inputs: JSON with one meaning or none."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import Rejected
from edge_agent.links.strict_json import loads


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}', '{"x":{"a":1,"b":2,"a":3}}', "NaN", "[Infinity]", "-Infinity", "1e999", "-1e999",
        "9223372036854775808", "-9223372036854775809", "1" * 5000, '"\\ud800"', '"\\uDFFF x"', "", " ", "{", "[1,]",
        "{'a':1}", "01", "+1", ".5", "1.", '"\t"', "tru", "nan", '{"a" 1}', "[1] 2", "/**/1",
    ],
)  # fmt: skip
def test_refused(text):
    with pytest.raises(Rejected, match="malformed"):
        loads(text.encode())


@pytest.mark.parametrize("depth", [20_000, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_ends_in_an_error_and_not_in_a_crash(depth, opening):
    with pytest.raises(Rejected, match="nested too deeply"):
        loads(opening * depth)


@pytest.mark.parametrize("data", [b"\xff", b'"\xc3"', b"\xef\xbb\xbf1", b"\x00", '"é"'.encode("utf-16")])
def test_what_is_not_utf_8_is_refused(data):
    with pytest.raises(Rejected):
        loads(data)


def test_numbers_are_exact_or_refused():
    assert loads(b"9007199254740993") == 2**53 + 1
    assert loads(b"[-9223372036854775808,9223372036854775807]") == [-(2**63), 2**63 - 1]
    assert math.copysign(1.0, loads(b"-0.0")) == 1.0
    assert loads(b"-0") == 0
    assert loads(b"5e-324") == 5e-324, "denormal numbers are kept"


def test_escaped_pairs_are_characters():
    assert loads(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_non_finite_numbers_may_be_allowed():
    assert loads(b"1e999", non_finite=True) == math.inf
    assert math.isnan(loads(b'{"a":NaN}', non_finite=True)["a"])
    with pytest.raises(Rejected):
        loads(b"9223372036854775808", non_finite=True)


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN, st.booleans())
def test_everything_else_is_what_the_standard_decoder_says(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert loads(text.encode()) == value


@given(st.binary(max_size=200), st.booleans())
def test_bytes_raise_nothing_but_rejected(data, non_finite):
    with suppress(Rejected):
        json.dumps(loads(data, non_finite=non_finite))
