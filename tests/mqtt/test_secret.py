"""Secrets come from files, never from the site file."""

import os

import pytest

from edge_agent.errors import Retryable
from edge_agent.links.secret import read_secret


def test_the_last_newline_is_not_part_of_it(tmp_path):
    (tmp_path / "s").write_bytes(b" pass word \r\n")
    assert read_secret(str(tmp_path / "s")) == " pass word "


def test_a_systemd_credential(tmp_path, monkeypatch):
    (tmp_path / "mqtt").write_text("hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret("credential:mqtt") == "hunter2"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(Retryable, match="LoadCredential=mqtt"):
        read_secret("credential:mqtt")


def test_a_credential_stays_in_its_folder(tmp_path, monkeypatch):
    (tmp_path / "outside").write_text("x")
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    with pytest.raises(Retryable, match="cannot read"):
        read_secret("credential:../outside")


@pytest.mark.timeout(10)
def test_what_is_no_small_text_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * 5000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("fifo", "large", "binary", "missing", "."):
        with pytest.raises(Retryable):
            read_secret(str(tmp_path / name))
    with pytest.raises(Retryable):
        read_secret("/dev/zero")
