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

pytestmark = pytest.mark.slow


def judged(folder, document):
    argv = [*beside_packages(SCRIPT, folder), str(document)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_asyncapi_document_is_valid(tmp_path):
    found = judged(tmp_path, published.ASYNCAPI)
    assert found["errors"] == []
    assert sorted(action for _, action in found["operations"]) == ["receive"] * 2 + ["send"] * 9
    assert len(found["operations"]) == len(CHANNELS)
    assert all(properties > 3 for properties in found["payloads"]), "payloads are read from the schema files"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d["operations"]["send_up_tele"].update(action="shout"), "operations.send_up_tele.action"),
        (lambda d: d["components"]["messages"]["tele_1"]["payload"].update({"$ref": "./none.json"}), "tele_1"),
        (lambda d: d["channels"]["up_tele"]["parameters"].pop("group"), "channels.up_tele"),
    ],
)
def test_judge_refuses_a_spoilt_document(tmp_path, spoil, said):
    shutil.copytree(published.FOLDER, tmp_path / "published")
    document = json.loads(published.ASYNCAPI.read_text("utf-8"))
    spoil(document)
    (tmp_path / "published" / "asyncapi.json").write_text(json.dumps(document), "utf-8")
    errors = judged(tmp_path, tmp_path / "published" / "asyncapi.json")["errors"]
    assert any(said in error for error in errors), errors
