"""Inputs 47 to 60 of the security facts, as far as one message decides; and whatever else may come."""

from __future__ import annotations

import base64
import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.commands.envelope import seal, split
from edge_agent.commands.verdict import MAX_BYTES, Accepted, Refused, Repeated, judge
from tests.commands.signing import (
    KEYS,
    NOW_MS,
    OPERATOR,
    STRANGER,
    VIEWER,
    arrived,
    fields,
    known,
    signed,
    text_of,
    ulid,
)

CODES = {
    "size", "retained", "unauthorised", "malformed", "wrong_target", "replay", "clock_unsynced", "expired",
    "not_yet_valid",
}  # fmt: skip


def good(n=1, name="rule.hold", **other):
    return signed(n, name, now_ms=NOW_MS, **other)


def code(body, **what):
    """Of the refusal; the id is answered to."""
    verdict = judge(arrived(body, **{k: v for k, v in what.items() if k in ("topic", "retained")}),
                    known(**{k: v for k, v in what.items() if k not in ("topic", "retained")}))  # fmt: skip
    return verdict.code if isinstance(verdict, Refused) else type(verdict).__name__


def test_a_signed_command_in_its_time_is_accepted_with_the_key_that_signed_it():
    verdict = judge(arrived(good()), known())
    assert isinstance(verdict, Accepted)
    assert verdict.key == KEYS[0]
    assert verdict.command.args == {"rule": "hot", "for_s": 600, "why": "cleaning"}


def test_47_retained_is_refused_and_answered_also_when_it_is_signed():
    assert judge(arrived(good(), retained=True), known()) == Refused("retained", ulid(1))


def test_48_a_known_id_is_a_repeat_and_an_old_counter_a_replay():
    assert judge(arrived(good()), known(seen={ulid(1)})) == Repeated(ulid(1))
    floors = {KEYS[0].fingerprint: 5}
    assert [code(good(n), floors=floors) for n in (4, 5, 6)] == ["replay", "replay", "Accepted"]
    assert code(good(4, by=VIEWER, name="alert.ack", role="viewer"), floors=floors,
                topic="edge/v1/t/s/gw1/down/cmd/alert-ack") == "Accepted"  # fmt: skip


def test_48_a_repeat_after_its_time_still_gets_its_answer():
    assert judge(arrived(good()), known(seen={ulid(1)}, now_ms=NOW_MS + 10**9)) == Repeated(ulid(1))


@pytest.mark.parametrize(
    ("now_ms", "synced", "answer"),
    [
        (NOW_MS + 59_999, True, "Accepted"),
        (NOW_MS + 60_000, True, "expired"),
        (NOW_MS - 31_000, True, "Accepted"),
        (NOW_MS - 31_001, True, "not_yet_valid"),
        (NOW_MS, False, "clock_unsynced"),
    ],
)
def test_49_expired_not_yet_valid_clock_unsynced(now_ms, synced, answer):
    assert code(good(), now_ms=now_ms, synced=synced) == answer


def test_49_a_command_cannot_live_longer_than_five_minutes():
    assert code(good(issued=NOW_MS, expires=NOW_MS + 300_001)) == "malformed"
    assert code(good(issued=NOW_MS, expires=NOW_MS)) == "malformed"


@pytest.mark.parametrize("other", [{"gw": "gw2"}, {"tenant": "u"}, {"site": "x"}])
def test_50_another_gateways_command_is_refused(other):
    assert code(good(**other)) == "wrong_target"


def test_50_a_command_on_another_commands_topic_is_refused():
    assert code(good(), topic="edge/v1/t/s/gw1/down/cmd/rule-release") == "wrong_target"


def _with_signature(signature):
    body = good()
    at = body.index(b',"sig":')
    return body[:at] + b',"sig":"' + signature + b'"}'


@pytest.mark.parametrize(
    "body",
    [
        text_of(1, now_ms=NOW_MS),
        _with_signature(b"none:"),
        _with_signature(b""),
        _with_signature(b"ed25519:" + base64.b64encode(bytes(64))),
        _with_signature(b"ed25519:" + b"*" * 88),
        good(by=STRANGER),
        good(by=VIEWER),
        good(role="viewer"),
        good(name="agent.shell"),
        good().replace(b'"for_s": 600', b'"for_s": 601'),
    ],
    ids=["unsigned", "alg none", "empty", "zeros", "no base64", "stranger", "other role's key", "other role",
         "not allowed", "changed"],
)  # fmt: skip
def test_51_unauthorised(body):
    assert judge(arrived(body), known()).code == "unauthorised"
    assert judge(arrived(body), known()).id == ulid(1)


def test_51_arguments_of_the_unauthorised_are_not_looked_at():
    body = text_of(1, now_ms=NOW_MS).replace(b'"for_s": 600', b'"for_s": 1e999')
    assert judge(arrived(body), known()) == Refused("unauthorised", ulid(1))


@pytest.mark.parametrize("size", [0, MAX_BYTES + 1, 256 * 1024, 5_000_000])
def test_52_size_is_looked_at_before_anything_else(size):
    began = time.process_time()
    assert judge(arrived(b"[" * size), known()).code == "size"
    assert time.process_time() - began < 0.1


def _malformed():
    text = text_of(1, now_ms=NOW_MS)

    def with_length(value):
        return text.replace(b'"for_s": 600', b'"for_s": ' + value)

    return {
        "duplicate key": text.replace(b'"gw": "gw1"', b'"gw": "gw2", "gw": "gw1"'),
        "duplicate argument": text.replace(b'"for_s": 600', b'"for_s": 600, "for_s": 5'),
        "second signature": text.replace(b'"gw": "gw1"', b'"sig": "ed25519:", "gw": "gw1"'),
        "NaN": with_length(b"NaN"),
        "lone surrogate": text.replace(b"cleaning", b"\\ud800"),
        "surrogate in UTF-8": text.replace(b"cleaning", b"\xed\xa0\x80"),
        "not UTF-8": text.replace(b"cleaning", b"\xff"),
        "depth": with_length(b"[" * 32_000 + b"]" * 32_000),
        "beyond 64 bits": with_length(b"9223372036854775808"),
        "counter beyond 64 bits": text.replace(b'"counter": 1', b'"counter": 18446744073709551616'),
        "1e999": with_length(b"1e999"),
        "negative counter": text.replace(b'"counter": 1', b'"counter": -1'),
        "no JSON": b"rule.hold please}",
        "a list": b'["cmd/1"}',
        "other shape": text.replace(b"cmd/1", b"cmd/2"),
        "id": text.replace(ulid(1).encode(), b"../../up/state"),
        "null arguments": b"{" + text[1:].replace(b'"args": {', b'"args": null, "x": {'),
    }


@pytest.mark.parametrize("what", list(_malformed()))
def test_53_malformed_is_refused_with_its_place_also_when_signed(what):
    verdict = judge(arrived(seal(_malformed()[what], OPERATOR)), known())
    assert isinstance(verdict, Refused)
    assert verdict.code == "malformed"
    assert verdict.why


def test_53_what_nobody_signed_and_is_no_json_is_malformed_too():
    assert [code(b) for b in (b"[" * 65_536, b"{", b"\xff\xff", b'{"a":"\\ud800"}')] == ["malformed"] * 4


def test_54_numbers_are_exact_within_64_bits_and_minus_zero_is_zero():
    body = text_of(1, now_ms=NOW_MS).replace(b": 600,", b": 9007199254740993,").replace(b'"cleaning"', b"-0.0")
    args = judge(arrived(seal(body, OPERATOR)), known()).command.args
    assert args["for_s"] == 2**53 + 1
    assert isinstance(args["for_s"], int)
    assert str(args["why"]) == "0.0"


def test_signature_covers_every_byte_before_it():
    body = good()
    for at in range(0, len(body), 7):
        spoiled = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        assert isinstance(judge(arrived(spoiled), known()), Refused)


def test_what_is_signed_is_the_text_before_the_signature():
    signed_bytes, signature = split(good())
    assert signed_bytes + b"}" == text_of(1, now_ms=NOW_MS)
    OPERATOR.public_key().verify(signature, signed_bytes)


# fuzz: row 15 of the durability facts

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@st.composite
def bodies(draw):
    """Bytes; JSON; a good command with fields replaced, with bytes spoiled; signed or not."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        text = draw(st.binary(max_size=200))
    elif kind == 1:
        text = json.dumps(draw(_json)).encode("utf-8", "surrogatepass")
    else:
        changed = draw(st.dictionaries(st.sampled_from(list(fields(1))), _json, max_size=3))
        text = json.dumps(fields(1, now_ms=NOW_MS) | changed).encode("utf-8", "surrogatepass")
        if kind == 3:
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.binary(max_size=4)) + text[at + draw(st.integers(0, 4)) :]
    return seal(text, OPERATOR) if draw(st.booleans()) else text


def _held(body, retained=False):
    verdict = judge(arrived(body, retained=retained), known())
    if isinstance(verdict, Refused):
        assert verdict.code in CODES
        assert verdict.id == "" or len(verdict.id) == 26
    else:
        assert verdict.key == KEYS[0]
        assert not retained


@settings(max_examples=200, deadline=None)
@given(bodies(), st.booleans())
def test_no_message_crashes_the_verifier(body, retained):
    _held(body, retained)


PIECES = (b'"', b"{", b"[" * 50, b"\\ud800", b"NaN", b"1e999", b"-0", b"null", b"}")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cases", [5_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_spoiled_commands_crash_nothing(cases):
    """From a fixed seed: hypothesis alone would need hours for a million."""
    rng = random.Random(20261128)
    for i in range(cases):
        text = bytearray(text_of(i % 1000 + 1, now_ms=NOW_MS))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(text))
            text[at : at + rng.randrange(6)] = rng.choice((rng.randbytes(rng.randrange(4)), *PIECES))
        body = bytes(text) if i % 2 else seal(bytes(text), OPERATOR)
        _held(body, retained=i % 17 == 0)
