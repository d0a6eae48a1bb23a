"""The AsyncAPI document is one by the judgement of the AsyncAPI project's own parser, and so is what it refers to."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from doubles.node import beside_packages

from edge_agent.contract import published
from edge_agent.contract.channels import CHANNELS

SCRIPT = Path(__file__).with_name("asyncapi_check.mjs")


def judged(folder, *documents):
    argv = [*beside_packages(SCRIPT, folder), *map(str, documents)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def spoilt(folder, name, spoil):
    shutil.copytree(published.FOLDER, folder / name)
    document = json.loads(published.ASYNCAPI.read_text("utf-8"))
    spoil(document)
    path = folder / name / "asyncapi.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


@pytest.mark.slow
def test_asyncapi_document_is_valid_and_a_spoilt_one_is_not(tmp_path):
    shouts = spoilt(tmp_path, "shouts", lambda d: d["operations"]["send_up_tele"].update(action="shout"))
    no_file = {"$ref": "./none.json"}
    lost = spoilt(tmp_path, "lost", lambda d: d["components"]["messages"]["tele_1"]["payload"].update(no_file))
    unnamed = spoilt(tmp_path, "unnamed", lambda d: d["channels"]["up_tele"]["parameters"].pop("group"))

    found, *bad = judged(tmp_path, published.ASYNCAPI, shouts, lost, unnamed)

    assert found["errors"] == []
    assert sorted(action for _, action in found["operations"]) == ["receive"] * 2 + ["send"] * 9
    assert len(found["operations"]) == len(CHANNELS)
    assert all(properties > 3 for properties in found["payloads"]), "payloads are read from the schema files"
    for place, judgement in zip(("operations.send_up_tele.action", "tele_1", "channels.up_tele"), bad, strict=True):
        assert any(place in error for error in judgement["errors"]), judgement["errors"]
