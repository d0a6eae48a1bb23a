"""The history of microcontrollers: whole lines, also where the disk fills; what cannot be read is said."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from edge_agent import mcu_history
from tests.cli.command import in_process
from tests.mcu.sites import site


@pytest.fixture
def small_disk():
    """limit(bytes): no file may grow past it; a write is cut short there, as on a disk that fills."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_line_that_does_not_fit_on_the_disk_is_said_and_spoils_no_other(tmp_path: Path, small_disk) -> None:
    mcu_history.write(tmp_path, {"mcu": "press", "end": "began"})
    path = tmp_path / "mcu/history.jsonl"
    small_disk(path.stat().st_size + 10)
    with pytest.raises(OSError, match=r"history\.jsonl"):
        mcu_history.write(tmp_path, {"mcu": "press", "end": "failed"})
    small_disk(resource.RLIM_INFINITY)
    mcu_history.write(tmp_path, {"mcu": "press", "end": "confirmed"})
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["end"] for line in (lines[0], lines[-1])] == ["began", "confirmed"]
    assert mcu_history.last(tmp_path)["press"]["end"] == "confirmed"
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_sets_are_not_the_last_update(tmp_path: Path) -> None:
    mcu_history.write(tmp_path, {"mcu": "press", "do": "flash", "end": "confirmed"})
    mcu_history.write(tmp_path, {"mcu": "press", "do": "set", "end": "done"}, "uid 7")
    assert mcu_history.last(tmp_path)["press"]["end"] == "confirmed"
    assert json.loads((tmp_path / "mcu/history.jsonl").read_bytes().splitlines()[-1])["by"] == "uid 7"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a file for somebody else")
def test_what_root_begins_is_the_agents_and_no_link_is_followed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 12345, 12345)
    mcu_history.write(data, {"mcu": "press", "end": "began"})
    made = [data / "mcu", data / "mcu/history.jsonl"]
    assert [(p.stat().st_uid, p.stat().st_gid) for p in made] == [(12345, 12345)] * 2
    precious = tmp_path / "precious"
    precious.write_text("kept")
    made[1].unlink()
    made[1].symlink_to(precious)
    with pytest.raises(OSError, match=r"history\.jsonl"):
        mcu_history.write(data, {"mcu": "press", "end": "began"})
    assert (precious.read_text(), precious.stat().st_uid) == ("kept", 0)


def test_history_that_cannot_be_read_is_said_and_none_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(site(tmp_path, tmp_path / "key.pem", "press"))
    assert in_process("mcu", "list", "--site", path).code == 0
    (tmp_path / "data/mcu/history.jsonl").mkdir(parents=True)
    done = in_process("mcu", "list", "--site", path)
    assert done.code == 1
    assert "history.jsonl: Is a directory" in done.err


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
