"""The public CEL conformance suite: every case is right, or refused when the rule is loaded; never wrong."""

import json
from collections import Counter
from pathlib import Path

import pytest

import edge_agent.rules
from edge_agent.rules import UNKNOWN, ExpressionError, Scope, Type, admit, compile_expression

SUITE = Path(__file__).parents[2] / "../shared/data/cel/conformance.jsonl"
CORE = {"logic", "comparisons", "integer_math", "fp_math", "string", "basic", "lists"}

# LANGUAGE.md, "Where it differs from CEL": inf and NaN are unknown, and so is what is computed from them
DEVIATIONS = {
    "0.0/0.0 == 0.0/0.0",
    "dyn(1) == 0.0/0.0",
    "dyn(1u) == 0.0/0.0",
    "0.0/0.0 != 0.0/0.0",
    "dyn(1u) != 0.0/0.0",
    "15.75 / 0.0",
    "2.0 * -8.988466e+307 ",
}
SCALARS = {"int": int, "uint": int, "double": float, "string": str, "bool": bool}


def type_of(tagged):
    """The type of a tagged value, or None for what the language does not have."""
    ((tag, value),) = tagged.items()
    if tag == "list":
        return Type.list_of(type_of(value[0])) if value else Type.EMPTY_LIST
    return Type(tag) if tag in SCALARS else None


def value_of(tagged):
    ((tag, value),) = tagged.items()
    if tag == "list":
        return tuple(value_of(item) for item in value)
    return SCALARS[tag](value) if tag in SCALARS else (tag, json.dumps(value))


def identical(got, wanted):
    """Equal, and of the same Python type all the way down."""
    if isinstance(wanted, tuple) and isinstance(got, tuple):
        return len(got) == len(wanted) and all(map(identical, got, wanted))
    return type(got) is type(wanted) and got == wanted


def verdict(case):
    scope = Scope()
    values = []
    for name, tagged in case.get("bindings", {}).items():
        of = type_of(tagged)
        if of is not None:
            scope.define(name, of)
            values.append(admit(value_of(tagged), of))
    try:
        program = compile_expression(case["expr"], scope, want=None)
    except ExpressionError as error:
        return "refused" if error.line >= 1 and error.col >= 1 else "wrong: refused without a place"
    got = program.evaluate(values)
    if "error" in case:
        return "right" if got is UNKNOWN else f"wrong: {got!r}"
    same_kind = program.type.kind == next(iter(case["value"]))
    right = same_kind and identical(got, value_of(case["value"]))
    return "right" if right else f"wrong: {got!r}"


@pytest.fixture(scope="module")
def verdicts():
    if not SUITE.exists():
        pytest.skip("the CEL conformance suite is not here: ../shared/data/cel/conformance.jsonl")
    cases = [json.loads(line) for line in SUITE.read_text().splitlines()]
    return [(case, verdict(case)) for case in cases]


def test_no_case_is_wrong_but_the_deviations_that_are_declared(verdicts):
    wrong = {case["expr"]: got for case, got in verdicts if got.startswith("wrong")}
    assert len(verdicts) == 706
    assert set(wrong) == DEVIATIONS
    assert set(wrong.values()) == {"wrong: unknown"}


@pytest.mark.parametrize("text", sorted(DEVIATIONS))
def test_every_deviation_is_documented(text):
    page = Path(edge_agent.rules.__file__).with_name("LANGUAGE.md").read_text()
    assert f"`{text.strip()}`" in page


def test_at_least_300_cases_of_the_core_are_accepted_and_right(verdicts, capsys):
    counts = Counter((case["file"], got.split(":")[0]) for case, got in verdicts)
    with capsys.disabled():
        print("\nCEL conformance, right / refused / wrong by decision:")
        for file in sorted({file for file, _ in counts}):
            print(f"  {file:14}", *(counts[file, kind] for kind in ("right", "refused", "wrong")))
    assert sum(counts[file, "right"] for file in CORE) >= 300
