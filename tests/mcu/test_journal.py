"""The journal of firmware updates: whole lines, also where the disk fills; what cannot be read is said."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from edge_agent.cli import mcu_journal
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
    mcu_journal.write(tmp_path, {"mcu": "press", "end": "began"})
    path = tmp_path / "mcu/journal.jsonl"
    small_disk(path.stat().st_size + 10)
    with pytest.raises(OSError, match=r"journal\.jsonl"):
        mcu_journal.write(tmp_path, {"mcu": "press", "end": "failed"})
    small_disk(resource.RLIM_INFINITY)
    mcu_journal.write(tmp_path, {"mcu": "press", "end": "confirmed"})
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["end"] for line in (lines[0], lines[-1])] == ["began", "confirmed"]
    assert mcu_journal.last(tmp_path)["press"]["end"] == "confirmed"
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_journal_that_cannot_be_read_is_said_and_none_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(site(tmp_path, tmp_path / "key.pem", "press"))
    assert in_process("mcu", "list", "--site", path).code == 0
    (tmp_path / "data/mcu/journal.jsonl").mkdir(parents=True)
    done = in_process("mcu", "list", "--site", path)
    assert done.code == 1
    assert "journal.jsonl: Is a directory" in done.err


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
