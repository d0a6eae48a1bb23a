"""The published files are those of the message types, and valid by the public judges of their formats."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from doubles.schemas import problems

from edge_agent import __version__
from edge_agent.contract import decode, messages, published, topics
from edge_agent.contract.channels import CHANNELS, all_shapes, shape_of
from edge_agent.contract.published import schema_hashes
from edge_agent.types import GAP_REASONS

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = sorted(published.SCHEMAS.glob("*.json"))
EXAMPLES = sorted(published.EXAMPLES.glob("*.json"))
REFUSED = [
    ("tele-1", "$.seg[0].seq0", lambda m: m["seg"][0].update(seq0=-1)),
    ("tele-1", "$.seg[0].h", lambda m: m["seg"][0].update(h="no crc")),
    ("tele-1", "$.seg", lambda m: m.update(seg=[])),
    ("tele-1", "$.t0", lambda m: m.update(t0="yesterday")),
    ("tele-1", "$", lambda m: m.pop("m0")),
    ("gap-1", "$.gap.reason", lambda m: m["gap"].update(reason="dog")),
    ("gap-1", "$", lambda m: m.pop("gap")),
    ("gap-1", "$", lambda m: m.update(gaps={"epoch": m["epoch"], "reason": "quota", "lost": {}})),
    ("close-1", "$.epoch", lambda m: m.update(epoch="the first one")),
    ("infer-1", "$.trust", lambda m: m.update(trust="blind")),
    ("infer-1", "$.model.sha256", lambda m: m["model"].update(sha256="5e88")),
    ("alert-1", "$.severity", lambda m: m.update(severity="catastrophic")),
    ("state-1", "$.gw", lambda m: m.update(gw="gw.1")),
    ("ack-1", "$.have.press[0]", lambda m: m["have"].update(press=[[1, 2, 3]])),
    ("health-1", "$.store.wal_bytes", lambda m: m["store"].update(wal_bytes=-1)),
    ("cmd-1", "$.id", lambda m: m.update(id="1")),
]


def test_files_are_those_of_the_types():
    argv = [sys.executable, ROOT / "scripts" / "contract_files.py", "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("mark", "code"), [("", 1), (" (unreleased)", 0)], ids=["released", "still to come"])
def test_released_version_is_not_frozen_anew_where_it_differs(tmp_path, monkeypatch, capsys, mark, code):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import contract_files

    monkeypatch.setattr(contract_files, "RELEASED", tmp_path)
    monkeypatch.setattr(contract_files, "CHANGELOG", tmp_path / "CHANGELOG.md")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {__version__}{mark}\n\n- new\n")
    assert contract_files.freeze() == 0, "a version that is not there yet"
    assert contract_files.freeze() == 0, "and one that is the same"
    old = tmp_path / __version__ / "schemas" / "ack-1.schema.json"
    shape = old.read_text("utf-8")
    old.write_text("{}")
    assert contract_files.freeze() == code
    assert old.read_text("utf-8") == ("{}" if code else shape)
    assert ("is released, and its schemas differ: raise __version__" in capsys.readouterr().err) == bool(code)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_schema_is_one_of_its_dialect(path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(path.read_text("utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_holds_to_its_schema(path):
    assert problems(json.loads(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(("name", "place", "spoil"), REFUSED)
def test_what_is_wrong_is_refused_with_its_place(name, place, spoil):
    message = json.loads((published.EXAMPLES / f"{name}.json").read_text("utf-8"))
    spoil(message)
    assert place in [problem.partition(": ")[0] for problem in problems(message)]


def test_the_hashes_of_the_segments_in_the_examples_are_true():
    for path in published.EXAMPLES.glob("tele-1*.json"):
        assert decode.hashes_hold(decode.deflate(path.read_text("utf-8").strip().encode())), path.name


def test_every_list_of_words_has_other():
    def words(node):
        if isinstance(node, dict):
            yield from ([node["enum"]] if "enum" in node else [])
            for value in node.values():
                yield from words(value)
        elif isinstance(node, list):
            for value in node:
                yield from words(value)

    found = [w for path in SCHEMAS for w in words(json.loads(path.read_text("utf-8")))]
    assert len(found) > 10
    assert all("other" in w for w in found)


def test_reasons_of_gaps_are_those_that_the_agent_knows():
    schema = json.loads((published.SCHEMAS / "gap-1.schema.json").read_text("utf-8"))
    assert schema["$defs"]["GapRange"]["properties"]["reason"]["enum"] == list(GAP_REASONS)


def test_every_schema_says_who_sends_it_where_and_how():
    for path in SCHEMAS:
        about = json.loads(path.read_text("utf-8"))["description"]
        assert "Sent by the " in about, path.name
        assert "QoS 1" in about, path.name
        assert "Key: " in about, path.name


def test_asyncapi_names_every_channel_and_every_message():
    document = json.loads(published.ASYNCAPI.read_text("utf-8"))
    addresses = {channel["address"] for channel in document["channels"].values()}
    place = "edge/v1/{tenant}/{site}/{gateway}/"
    assert addresses == {place + channel.suffix for channel in CHANNELS}
    assert {m["name"] for m in document["components"]["messages"].values()} == set(all_shapes())
    for message in document["components"]["messages"].values():
        assert (published.FOLDER / message["payload"]["$ref"]).is_file()
    retained = {name for name, o in document["operations"].items() if o["bindings"]["mqtt"]["retain"]}
    assert retained == {"send_up_state", "send_up_health", "send_up_reported"}


def test_every_row_that_can_be_stored_is_in_the_contract():
    shapes = set(all_shapes())
    assert {shape_of(row) for row in messages.RowMessage.__args__} <= shapes
    assert {c.kind for c in CHANNELS if c.retain} <= topics.RETAINED


def test_hashes_told_at_birth_are_those_of_the_files():
    hashes = schema_hashes()
    assert set(hashes) == set(all_shapes())
    assert all(h.startswith("sha256:") and len(h) == 71 for h in hashes.values())
