"""A person can try it: a key, a signed command, and what the gateway makes of it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time

from edge_agent.commands.envelope import Keyring, read_public
from edge_agent.commands.verdict import Accepted, Arrived, Key, judge
from tests.commands.signing import known


def call(folder, *arguments):
    argv = [sys.executable, "-m", "edge_agent", "command", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, cwd=folder, timeout=60, check=False)


def sign(folder, *more, key="ops.key"):
    return call(
        folder, "sign", "rule.hold", "rule=hot", "for_s=600", "--key", key, "--role", "operator",
        "--gateway", "t/s/gw1", "--json", *more,
    )  # fmt: skip


def test_what_is_signed_on_the_command_line_is_accepted(tmp_path):
    made = json.loads(call(tmp_path, "keygen", "ops", "--json").stdout)
    assert stat.S_IMODE((tmp_path / made["private"]).stat().st_mode) == 0o600
    told = json.loads(sign(tmp_path).stdout)
    key = Key("ops", "operator", frozenset({"rule.hold"}), read_public(tmp_path / "ops.pub"))
    now_ms = time.time_ns() // 1_000_000
    arrived = Arrived(told["topic"], told["body"].encode(), False)
    verdict = judge(arrived, known(signer_of=Keyring([key]), now_ms=now_ms))
    assert isinstance(verdict, Accepted), verdict
    assert verdict.command.args == {"rule": "hot", "for_s": 600}


def test_a_key_is_never_overwritten_and_an_open_one_never_used(tmp_path):
    call(tmp_path, "keygen", "ops")
    before = (tmp_path / "ops.key").read_bytes()
    assert call(tmp_path, "keygen", "ops").returncode == 1
    assert (tmp_path / "ops.key").read_bytes() == before
    (tmp_path / "ops.key").chmod(0o644)
    done = sign(tmp_path)
    assert (done.returncode, "chmod 0600" in done.stderr) == (2, True)


def test_what_is_no_private_key_is_named_and_not_shown(tmp_path):
    (tmp_path / "ops.key").write_text("hunter2")
    (tmp_path / "ops.key").chmod(0o600)
    done = sign(tmp_path)
    assert done.returncode == 2
    assert "hunter2" not in done.stderr
    assert sign(tmp_path, key="missing.key").returncode == 2
    assert sign(tmp_path, "--gateway", "only-one").returncode == 2
