"""The page for backend developers is true: its table, its examples and its programs are those of the contract."""

import json
import re
from pathlib import Path

import pytest
from doubles.schemas import problems

from edge_agent.contract import published
from edge_agent.contract.channels import CHANNELS, shape_of

CONTRACT = published.FOLDER.parent
PAGE = (CONTRACT / "BACKEND.md").read_text("utf-8")
LASTS = {None: "never", 60: "60 s", 300: "5 min", 3600: "1 h"}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize(("language", "name"), [("python", "consumer.py"), ("js", "consumer.mjs")])
def test_page_shows_the_consumer_that_is_tested(language, name):
    assert blocks(language) == [(CONTRACT / "consumers" / name).read_text("utf-8")]


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda c: c.suffix)
def test_table_has_every_topic_as_it_is(channel):
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{channel.suffix}` |")]
    _, _, shapes, retained, expires, _, _ = map(str.strip, row.split("|"))
    assert shapes.split() == [f"`{shape_of(message)}`" for message in channel.carries]
    assert retained.startswith("yes") == channel.retain
    assert expires == LASTS[channel.expiry_s]


def test_json_on_the_page_holds_to_its_schema():
    shown = [json.loads(block) for block in blocks("json")]
    assert shown
    for message in shown:
        assert problems(message) == []


def test_files_that_the_page_names_are_there():
    named = set(re.findall(r"`((?:published|consumers)/[\w./]+|\w+\.py)`", PAGE))
    assert named >= {"published/schemas/", "consumers/consumer.py", "messages.py"}
    for name in named:
        assert Path(CONTRACT / name).exists(), name
