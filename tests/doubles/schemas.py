"""The published schemas, asked: does a message hold to the one that it names?"""

import json
from collections import Counter
from functools import cache

import pytest

from edge_agent.contract import published
from edge_agent.contract.decode import inflate


@cache
def validator(shape, folder=published.SCHEMAS):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((folder / f"{shape.replace('/', '-')}.schema.json").read_text("utf-8"))
    return jsonschema.Draft202012Validator(schema)


def problems(message, folder=published.SCHEMAS):
    """What is wrong with a message (of plain JSON), with the place; empty where it holds to its schema."""
    return [f"{e.json_path}: {e.message}" for e in validator(message["schema"], folder).iter_errors(message)]


def message_in(body):
    """Of a row's deflated body, or of a document's plain one."""
    return json.loads(body if body.startswith(b"{") else inflate(body))


def assert_valid(body):
    """Returns the message."""
    message = message_in(body)
    assert problems(message) == [], message
    return message


@pytest.fixture(autouse=True)
def held_to_the_schemas(monkeypatch):
    """What gateways send to the demo's backend in a test holds to the schemas: the first hundred of each shape."""
    from backend_tally import BackendTally

    seen, wrong = Counter(), []
    take = BackendTally.take

    def checked(tally, topic, body):
        row = take(tally, topic, body)
        if row is not None and seen[type(row)] < 100:
            seen[type(row)] += 1
            wrong.extend(problems(message_in(body)))
        return row

    monkeypatch.setattr(BackendTally, "take", checked)
    yield
    assert wrong == []
