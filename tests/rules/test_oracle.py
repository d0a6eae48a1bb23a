"""Random expressions against an independent implementation of CEL."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.rules import UNKNOWN, Scope, Type, admit, compile_expression

cel = pytest.importorskip("cel", reason="the oracle, common-expression-language, is not installed")

SIGNALS = {
    "i": Type.INT, "j": Type.INT, "x": Type.DOUBLE, "y": Type.DOUBLE, "b": Type.BOOL, "c": Type.BOOL,
    "s": Type.STRING, "t": Type.STRING,
}  # fmt: skip
NEAR_LIMIT = [0, 1, -1, 2, 2**31, 2**53, 2**63 - 1, -(2**63)]

ints = st.integers(-100, 100) | st.sampled_from(NEAR_LIMIT)
doubles = st.integers(-400, 400).map(lambda n: n / 8) | st.sampled_from([1e300, -1e300, 1e-300])
# ASCII only: the oracle counts the bytes of a string, CEL its code points
strings = st.sampled_from(["", "a", "ab", "abc", "1", "true"])
VALUES = {"i": ints, "j": ints, "x": doubles, "y": doubles, "b": st.booleans(), "c": st.booleans(),
          "s": strings, "t": strings}  # fmt: skip


def joined(left, ops, right):
    return st.tuples(left, st.sampled_from(ops), right).map(lambda parts: "({} {} {})".format(*parts))


def choice(of):
    return st.tuples(st.deferred(lambda: bool_text), of, of).map(lambda parts: "({} ? {} : {})".format(*parts))


def quoted(text):
    return '"' + text + '"'


int_text = st.deferred(
    lambda: (
        st.sampled_from(["i", "j"])
        | ints.map(str)
        | joined(int_text, ["+", "-", "*", "/", "%"], int_text)
        | choice(int_text)
        | string_text.map(lambda text: f"size({text})")
        | int_lists.flatmap(lambda items: int_text.map(lambda index: f"{items}[{index}]"))
    )
)
double_text = st.deferred(
    lambda: (
        st.sampled_from(["x", "y"])
        | doubles.map(repr)
        | joined(double_text, ["+", "-", "*", "/"], double_text)
        | choice(double_text)
        | int_text.map(lambda text: f"double({text})")
    )
)
string_text = st.deferred(
    lambda: st.sampled_from(["s", "t"]) | strings.map(quoted) | joined(string_text, ["+"], string_text)
)
int_lists = st.lists(int_text, min_size=1, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
bool_text = st.deferred(
    lambda: (
        st.sampled_from(["b", "c", "true", "false"])
        | bool_text.map(lambda text: f"!{text}")
        | joined(bool_text, ["&&", "||", "==", "!="], bool_text)
        | joined(int_text, ["==", "!=", "<", "<=", ">", ">="], int_text)
        | joined(double_text, ["==", "!=", "<", "<=", ">", ">="], double_text)
        | joined(string_text, ["==", "!=", "<", ">"], string_text)
        | joined(int_text, ["in"], int_lists)
        | st.tuples(string_text, st.sampled_from(["contains", "startsWith", "endsWith"]), string_text).map(
            lambda parts: "{}.{}({})".format(*parts)
        )
        | choice(bool_text)
    )
)

DOUBLE = re.compile(r"[xy.]|[0-9]e[+-]|double")
FAILURES = (RuntimeError, TypeError, ValueError, OverflowError, ZeroDivisionError, IndexError, KeyError)


def oracle(text, known):
    try:
        return cel.evaluate(text, known)
    except FAILURES:
        return UNKNOWN


any_of_it = given(
    bool_text | int_text | double_text | string_text,
    st.fixed_dictionaries(
        {name: values | values | values | values | values | st.none() for name, values in VALUES.items()}
    ),
)


@settings(max_examples=60, deadline=None)
@any_of_it
def test_agrees_with_an_independent_cel(text, row):
    agrees(text, row)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@any_of_it
def test_agrees_with_an_independent_cel_ten_times_as_often(text, row):
    agrees(text, row)


def agrees(text, row):
    scope = Scope()
    for name, of in SIGNALS.items():
        scope.define(name, of)
    if len(text) > 1_000:
        return
    try:
        program = compile_expression(text, scope, want=None)
    except ValueError as refused:
        if "nested" in str(refused) or "operations" in str(refused):
            return
        raise
    got = program.evaluate([UNKNOWN if row[name] is None else admit(row[name], SIGNALS[name]) for name in SIGNALS])
    wanted = oracle(text, {name: value for name, value in row.items() if value is not None})
    if got is UNKNOWN:
        # inf and NaN are values there; here they are unknown, and so is what follows from them
        assert wanted is UNKNOWN or DOUBLE.search(text), text
    else:
        assert wanted == got, text
        assert type(wanted) is type(got), text
