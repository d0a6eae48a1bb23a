"""`fleet ingest` with an option that no waiting can put right: refused at once, before anything connects."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command import edge_agent

pytest.importorskip("psycopg", reason="the extra fleet is not installed")

NOWHERE = ("--database", "postgresql://edge@127.0.0.1:1/edge")


@pytest.mark.parametrize(
    "broker", ["http://b:1883", "mqtt://b:0", "mqtt://a b", "mqtt://b?x=1", "b:1883:2", "mqtt://b:99999", "mqtt://"]
)
def test_malformed_broker_is_refused(broker: str) -> None:
    done = edge_agent("fleet", "ingest", "--broker", broker, *NOWHERE)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert "mqtt://HOST:PORT" in done.err


@pytest.mark.parametrize("option", ["--password-file", "--database-password-file", "--ca"])
def test_file_that_cannot_be_read_is_refused_with_its_option(option: str, tmp_path: Path) -> None:
    words = ("--broker", "mqtts://b", *NOWHERE, option, str(tmp_path / "none"))
    done = edge_agent("fleet", "ingest", *words)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert done.err.startswith(f"{option}: ")
