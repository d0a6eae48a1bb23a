"""What cannot be done is said with exit code 2 and a hint before anything is opened, made or lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import AS_NOBODY, ROOT, as_nobody, edge_agent, public_folder

SITE = """
[agent]
gateway = "gw1"
data_dir = "{folder}/data"
run_dir = "{folder}/run"

[[source]]
name = "motor"
kind = "simulated"
"""


@pytest.mark.parametrize("record", ["is-there", "no/folder", "folder"])
def test_record_that_cannot_be_made_is_refused_before_the_store_is_opened(record: str, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE.replace("{folder}", str(tmp_path)))
    (tmp_path / "is-there").write_text("kept")
    (tmp_path / "folder").mkdir()
    done = edge_agent("run", site, "--record", tmp_path / record)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert "give the name of a new file" in done.err
    assert not (tmp_path / "data").exists()
    assert (tmp_path / "is-there").read_text() == "kept"


@pytest.mark.parametrize("length", ["30d", "169h", "0s", "1e30", "9" * 15 + "d"])
def test_hold_out_of_range_is_refused_without_an_agent(length: str) -> None:
    done = edge_agent("rule", "hold", "overheat", "--for", length)
    assert done.code == 2
    assert "at most 7d" in done.err


@AS_NOBODY
def test_store_that_may_not_be_read_has_a_hint() -> None:
    with public_folder() as folder:
        (folder / "store.db").touch(mode=0o600)
        done = as_nobody("store", "stats", "--file", folder / "store.db")
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert "permission denied; read it as root, or as the agent's user" in done.err


@AS_NOBODY
def test_store_in_a_folder_that_may_not_be_entered_has_the_same_hint(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = as_nobody("store", "stats", "--file", tmp_path / "store.db")
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert "permission denied; read it as root, or as the agent's user" in done.err


def test_a_start_that_was_refused_is_no_crash(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE.replace("{folder}", str(tmp_path)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events").write_text("no folder")
    done = edge_agent("run", site)
    assert (done.code, "run/events" in done.err) == (1, True), done.err
    assert (tmp_path / "data" / "store").is_dir()
    assert not (tmp_path / "data" / "starts.json").exists()


def test_an_end_without_an_uplink_promises_no_delivery(tmp_path: Path) -> None:
    (tmp_path / "lines.ndjson").write_text('{"temp": 1}\n{"temp": 2}\n')
    keys = 'path = "{folder}/lines.ndjson"\nformat = "ndjson"\ninterval = "1s"\nfields = { temp = {} }\n'
    replay = f'[[source]]\nname = "motor"\nkind = "replay"\n{keys}'
    site = tmp_path / "site.toml"
    head = SITE.partition("[[source]]")[0]
    site.write_text((head + replay + '[uplink]\nkind = "none"\n').replace("{folder}", str(tmp_path)))
    done = edge_agent("run", site, "--end-with-input")
    assert done.code == 0, done.err
    assert "this site has no uplink that delivers them" in done.err + done.out


def test_demo_says_where_it_cannot_keep() -> None:
    argv = [sys.executable, "scripts/demo_main.py", "--keep", "/proc/x"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("the demo's own libraries are not installed")
    assert done.returncode == 2, done.stderr
    assert "--keep: /proc/x: " in done.stderr
    assert "Traceback" not in done.stderr
