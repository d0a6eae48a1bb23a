"""Three-valued logic, every row of every table."""

from itertools import product

import pytest

from edge_agent.rules import UNKNOWN, Scope, Type, compile_expression

T, F, U = True, False, UNKNOWN
VALUES = (T, F, U)


@pytest.fixture
def evaluate():
    scope = Scope()
    for name in "abcd":
        scope.define(name, Type.BOOL)
    for name in "xyz":
        scope.define(name, Type.INT)
    scope.define("s", Type.STRING)
    scope.define("l", Type.list_of(Type.INT))

    def evaluate(text, *values, want=Type.BOOL):
        row = [*values, *[U] * (scope.size - len(values))]
        return compile_expression(text, scope, want).evaluate(row)

    return evaluate


def kleene_and(values):
    return F if F in [v for v in values if v is not U] else U if any(v is U for v in values) else T


def kleene_or(values):
    return T if T in [v for v in values if v is not U] else U if any(v is U for v in values) else F


@pytest.mark.parametrize("width", [2, 3, 4])
def test_and_and_or_absorb_unknown_where_the_other_side_decides(evaluate, width):
    names = "abcd"[:width]
    for values in product(VALUES, repeat=width):
        assert evaluate(" && ".join(names), *values) is kleene_and(values), values
        assert evaluate(" || ".join(names), *values) is kleene_or(values), values


def test_the_tables_of_two_in_words(evaluate):
    assert evaluate("a || b", U, T) is T
    assert evaluate("a || b", T, U) is T
    assert evaluate("a || b", U, F) is U
    assert evaluate("a && b", U, F) is F
    assert evaluate("a && b", F, U) is F
    assert evaluate("a && b", U, T) is U


def test_not_keeps_unknown(evaluate):
    assert [evaluate("!a", v) for v in VALUES] == [F, T, U]
    assert [evaluate("!!a", v) for v in VALUES] == [T, F, U]


def test_a_choice_by_an_unknown_condition_is_unknown_even_if_both_sides_agree(evaluate):
    for condition, then, otherwise in product(VALUES, repeat=3):
        wanted = U if condition is U else then if condition else otherwise
        assert evaluate("a ? b : c", condition, then, otherwise) is wanted
    assert evaluate("a ? true : true", U) is U


@pytest.mark.parametrize(
    "text",
    [
        "x == 1", "1 == x", "x == y", "x != x", "x < 1", "x <= y", "x > 1", "x >= 1", "x + 1 > 0", "1 - x > 0",
        "x * 0 == 0", "x / 2 == 0", "x % 2 == 0", "-x < 0", "x in [1, 2]", "1 in [x, 1]", "1 in l", "l[0] == 1",
        "[1, 2][x] == 1", "l == l", "size(l) == 0", "size(s) == 0", 's == "a"', 's.contains("")',
        'string(x) == "1"', "double(x) > 0.0", "max(x, 1) >= 1", "min(l) == 1", "abs(x) >= 0", "[x] == [x]",
        "math.bitAnd(x, 0) == 0",
    ],
)  # fmt: skip
def test_every_other_operation_on_unknown_is_unknown(evaluate, text):
    assert evaluate(text) is U


def test_has_tells_known_from_unknown_and_is_never_unknown(evaluate):
    assert evaluate("has(a)", F) is T
    assert evaluate("has(a)", U) is F


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0", "1 % 0", "1u / 0u", "1u % 0u", "1.0 / 0.0", "0.0 / 0.0", "1e308 * 10.0", "-1e308 - 1e308",
        "9223372036854775807 + 1", "-9223372036854775808 - 1", "9223372036854775807 * 2", "-(-9223372036854775808)",
        "-9223372036854775808 / -1", "-9223372036854775808 % -1", "0u - 1u", "18446744073709551615u + 1u",
        "[1][1]", "[1][-1]", 'int("x")', 'int("1.5")', 'int("9223372036854775808")', "int(1e19)", 'uint("-1")',
        "uint(-1)", 'double("nan")', 'double("inf")', 'double("1e999")', 'double("1_0")', 'double(" 1")',
        'bool("yes")', "abs(-9223372036854775808)", "math.sqrt(-1.0)", "math.bitShiftLeft(1, -1)",
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_unknown(evaluate, text):
    assert evaluate(text, want=None) is U


def test_unknown_refuses_to_be_taken_for_a_truth_value():
    with pytest.raises(TypeError):
        bool(UNKNOWN)
    assert repr(UNKNOWN) == "unknown"
    assert type(UNKNOWN)() is UNKNOWN
