"""The log actuator keeps what it was told, within bounds."""

import json
import logging

import pytest
from acts import act

from edge_agent.actuators import log
from edge_agent.errors import Retryable


def test_each_action_is_a_line_and_the_file_stays_bounded(tmp_path, context):
    path = tmp_path / "actions.jsonl"
    actuator = log.open(log.Config(path=str(path), max_mb=1), context)
    assert actuator.apply(act(1, value=0), 1.0).read_back == 0
    line = json.loads(path.read_text())
    assert (line["id"], line["target"], line["value"]) == (1, "relay", 0)
    path.write_bytes(b"x" * 1_000_000)
    actuator.apply(act(2), 1.0)
    assert path.stat().st_size < 1000
    assert (tmp_path / "actions.jsonl.1").stat().st_size == 1_000_000
    actuator.close()


def test_without_a_path_the_agents_log_has_it(context, caplog):
    with caplog.at_level(logging.INFO):
        log.open(log.Config(), context).apply(act(1), 1.0)
    assert '"target":"relay"' in caplog.text


def test_a_folder_that_is_not_there_may_come_back(tmp_path, context):
    actuator = log.open(log.Config(path=str(tmp_path / "gone" / "x")), context)
    with pytest.raises(Retryable, match="No such file"):
        actuator.apply(act(1), 1.0)
