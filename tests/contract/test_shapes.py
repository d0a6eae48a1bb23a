"""The shapes are those of the contract: every example of every released version is read, and written unchanged."""

import json
from pathlib import Path

import msgspec
import pytest
from doubles.schemas import problems

from edge_agent.contract import decode, messages, published
from edge_agent.contract.channels import Message, all_shapes, shape_of

RELEASED = sorted((Path(__file__).parent / "released").glob("*"))
OLD = [path for release in RELEASED for path in sorted((release / "examples").glob("*.json"))]
ROWS = {shape_of(row) for row in messages.RowMessage.__args__}
OLD_ROWS = [path for path in OLD if json.loads(path.read_text("utf-8"))["schema"] in ROWS]
NEW = sorted(published.EXAMPLES.glob("*.json"))


HINT = "; a release that is still to come may change: scripts/contract --freeze"


def called(path):
    return path.stem


def read(text):
    return msgspec.json.decode(text, type=Message)


@pytest.mark.parametrize("path", OLD, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_released_example_is_read_and_written_unchanged(path):
    text = path.read_text("utf-8").strip()
    assert msgspec.json.encode(read(text)).decode() == text


@pytest.mark.parametrize("path", OLD_ROWS, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_released_row_in_an_old_database_is_still_sent(path):
    """Read, dated anew, and its hashes hold."""
    body = decode.deflate(path.read_text("utf-8").strip().encode())
    row = decode.decode_row(decode.restamp(body, 1_767_220_476_544, "synced"))
    assert not isinstance(row, messages.Tele) or decode.hashes_hold(body)


@pytest.mark.parametrize("path", OLD, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_released_example_holds_to_todays_schema(path):
    assert problems(json.loads(path.read_text("utf-8"))) == [], f"an old message is refused{HINT}"


@pytest.mark.parametrize("release", RELEASED, ids=called)
@pytest.mark.parametrize("path", NEW, ids=called)
def test_todays_example_holds_to_every_released_schema(path, release):
    """A backend that validates with the schemas of an older release must not refuse a newer gateway."""
    message = json.loads(path.read_text("utf-8"))
    folder = release / "schemas"
    if not (folder / f"{message['schema'].replace('/', '-')}.schema.json").exists():
        pytest.skip(f"{message['schema']} is newer than {release.name}")
    assert problems(message, folder) == [], f"refused by the readers of {release.name}{HINT}"


def test_every_shape_has_an_example():
    assert {json.loads(path.read_text("utf-8"))["schema"] for path in NEW} == set(all_shapes())


FREE = (
    "ch", "last", "lost", "have", "outputs", "schemas", "dropped", "counts", "sources", "actuators", "models",
    "rules", "args", "action", "parts",
)  # fmt: skip
"""Fields whose keys are names that the sender chose, or whose content is for people and kept as it came."""


def _with_later_fields(value, free):
    """The same with a field that nobody knows in every object of fixed fields."""
    if isinstance(value, list):
        return [_with_later_fields(v, free) for v in value]
    if not isinstance(value, dict):
        return value
    out = {name: v if name in free else _with_later_fields(v, free) for name, v in value.items()}
    return {**out, "a_later_field": {"x": 1}}


@pytest.mark.parametrize("path", NEW, ids=called)
def test_field_of_a_later_version_is_ignored(path):
    message = json.loads(path.read_text("utf-8"))
    free = (*FREE, "inputs") if message["schema"] == "decision/1" else FREE
    later = _with_later_fields(message, free)
    assert read(json.dumps(later)) == read(json.dumps(message))
    assert problems(later) == []


def test_word_of_a_later_version_is_still_read():
    """A newer gateway sends `other`; should one not, a reader still takes the row and no number is lost."""
    text = (published.EXAMPLES / "gap-1.json").read_text("utf-8").replace("quota", "a_later_reason")
    assert read(text).gap.reason == "a_later_reason"


def test_examples_are_those_of_the_contract_page():
    page = Path(__file__).parents[3] / "shared" / "facts" / "contract.md"
    if not page.exists():
        pytest.skip("the contract's fact page is not beside this checkout")
    shown = [json.loads(line) for line in page.read_text("utf-8").splitlines() if line.startswith('{"schema"')]
    assert {example["schema"] for example in shown} <= set(all_shapes())
    for example in shown:
        message = read(msgspec.json.encode(example))
        assert json.loads(msgspec.json.encode(message)) == example


def _parts(schema):
    """The objects of a schema, by name: the message itself is the empty one."""
    return {"": schema, **schema.get("$defs", {})}


@pytest.mark.parametrize("release", RELEASED, ids=called)
def test_within_a_major_only_optional_fields_are_added(release):
    for path in sorted((release / "schemas").glob("*.json")):
        old, new = (_parts(json.loads(p.read_text("utf-8"))) for p in (path, published.SCHEMAS / path.name))
        for part, was in old.items():
            place = f"{release.name} {path.name} {part}"
            assert part in new, f"{place} is gone{HINT}"
            assert new[part].get("required", []) == was.get("required", []), f"{place} requires other fields{HINT}"
            for name, field in was.get("properties", {}).items():
                assert name in new[part]["properties"], f"{place}: {name} is gone{HINT}"
                is_now = _constraints(new[part]["properties"][name])
                assert is_now == _constraints(field), f"{place}: {name} changed{HINT}"


def _constraints(schema):
    """A schema without its prose."""
    if isinstance(schema, list):
        return [_constraints(s) for s in schema]
    if isinstance(schema, dict):
        return {key: _constraints(value) for key, value in schema.items() if key not in ("description", "title")}
    return schema
