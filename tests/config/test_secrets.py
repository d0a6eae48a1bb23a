"""Secrets come by reference, are readable by the agent alone, and show nowhere."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from edge_agent.config.redact import is_secret_key, redact
from edge_agent.config.secrets import MAX_BYTES, Secret, is_reference, read_secret
from edge_agent.errors import Retryable


def secret_file(folder, content: bytes = b"hunter2\n", mode: int = 0o600):
    path = folder / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_a_secret_is_a_files_text_without_its_line_end(tmp_path, content):
    assert read_secret(str(secret_file(tmp_path, content))).reveal() == "hunter2"


def test_spaces_belong_to_a_secret(tmp_path):
    assert read_secret(str(secret_file(tmp_path, b" a b \n\n"))).reveal() == " a b \n"


def test_a_rotated_secret_counts_at_once(tmp_path):
    path = secret_file(tmp_path)
    read_secret(str(path))
    path.write_text("other\n")
    assert read_secret(str(path)).reveal() == "other"


def test_a_credential_of_systemd_is_read_from_its_folder(tmp_path):
    secret_file(tmp_path)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret("credential:password", environ).reveal() == "hunter2"


@pytest.mark.parametrize("name", ["", "../password", "a/b", ".hidden", "a\0b", "a b"])
def test_a_credentials_name_is_no_path(tmp_path, name):
    secret_file(tmp_path)
    with pytest.raises(Retryable, match="letters, digits"):
        read_secret(f"credential:{name}", {"CREDENTIALS_DIRECTORY": str(tmp_path / "sub")})


def test_without_systemd_a_credential_says_how_to_get_one():
    with pytest.raises(Retryable, match="LoadCredential=mqtt:"):
        read_secret("credential:mqtt", {})


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_secret_that_everyone_may_read_or_write_is_refused(tmp_path, mode):
    path = secret_file(tmp_path, mode=mode)
    with pytest.raises(Retryable, match=f"open to everyone \\(mode 0{mode:o}\\); chmod 0600"):
        read_secret(str(path))


def test_a_group_may_read_a_secret(tmp_path):
    assert read_secret(str(secret_file(tmp_path, mode=0o640))).reveal() == "hunter2"


def test_what_is_no_secret_file_is_refused_at_once_and_leaves_no_descriptor_open(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    cases = {
        str(tmp_path / "none"): "cannot read",
        str(tmp_path / "fifo"): "not a regular file",
        str(tmp_path): "not a regular file",
        "/dev/zero": "not a regular file",
    }
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path, reason in cases.items():
        with pytest.raises(Retryable, match=reason):
            read_secret(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"x" * (MAX_BYTES + 1), "longer than"), (b"hunter2\xff", "not UTF-8")],
)
def test_a_bad_secret_is_refused_without_a_trace_of_it(tmp_path, content, reason):
    path = secret_file(tmp_path, content)
    with pytest.raises(Retryable, match=reason) as raised:
        read_secret(str(path))
    assert raised.value.hint
    assert "hunter2" not in repr(raised.value) + str(raised.value)
    assert raised.value.__cause__ is None


def test_a_secret_shows_neither_in_repr_nor_in_text_nor_in_a_format_nor_in_a_pickle():
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} %s" % secret
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize("key", ["password", "mqtt_password", "PASSWD", "token", "api_key", "secret", "pwd"])
def test_keys_that_hold_a_secret(key):
    assert is_secret_key(key)


@pytest.mark.parametrize("key", ["password_file", "key", "tokens", "passport", "username", "keepalive_s"])
def test_keys_that_hold_none(key):
    assert not is_secret_key(key)


def test_redaction_leaves_everything_but_the_secret():
    assert redact("rtsp://me:hunter2@cam.example/1?x=1") == "rtsp://me:***@cam.example/1?x=1"
    assert redact("http://cam.example/v?user=me&token=hunter2&x=1") == "http://cam.example/v?user=me&token=***&x=1"
    assert redact("password: hunter2, then") == "password: ***, then"
    assert redact("http://cam.example:8080/a@b") == "http://cam.example:8080/a@b"
    assert redact("mqtt to broker.example:1883 as me") == "mqtt to broker.example:1883 as me"


def test_references():
    assert is_reference("/etc/edge-agent/password")
    assert is_reference("credential:mqtt.password")
    assert not is_reference("hunter2")
    assert not is_reference("credential:../x")
