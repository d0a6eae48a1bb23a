"""A plain installation: commands say which extra they need, and those that need none work without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import ROOT, environment

_WITHOUT = """
import sys
for module in ("smp", "imgtool", "cryptography", "psycopg", "pymodbus"):
    sys.modules[module] = None
from edge_agent.cli.main import run
sys.exit(run(sys.argv[1:]))
"""

SITE = """
[agent]
gateway = "gw1"
data_dir = "{folder}/data"
run_dir = "{folder}/run"

[[source]]
name = "board"
kind = "serial_bridge"
device = "{folder}/device"

[[mcu]]
name = "board"
source = "board"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE.replace("{folder}", str(tmp_path)))
    return path


def without_extras(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT, *map(str, words)], capture_output=True, text=True, timeout=60, check=False,
        cwd=ROOT, env=environment(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("mcu", ("mcu", "ping", "--site", "SITE")),
        ("mcu", ("mcu", "info", "--site", "SITE")),
        ("mcu", ("mcu", "flash", "image.bin", "--site", "SITE")),
        ("mcu", ("mcu", "confirm", "--site", "SITE")),
        ("mcu", ("mcu", "rollback", "--site", "SITE")),
        ("commands", ("command", "keygen", "boss")),
        ("fleet", ("fleet", "holes", "--database", "postgresql://edge@db/edge")),
    ],
)
def test_command_without_its_extra_says_in_a_line_what_to_install(extra: str, words, site: Path, tmp_path) -> None:
    done = without_extras(*(str(site) if word == "SITE" else word for word in words))
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert " is not installed; " in done.stderr
    assert f"pip install 'edge-agent[{extra}]'" in done.stderr


def test_microcontrollers_are_listed_watched_and_set_without_smp(site: Path) -> None:
    listed = without_extras("mcu", "list", "--site", site)
    assert (listed.returncode, listed.stdout.split()[0]) == (0, "board"), listed.stderr
    watched = without_extras("mcu", "watch", "--for", "0.2", "--site", site)
    assert watched.returncode == 1
    assert "check cable, path" in watched.stderr
    put = without_extras("mcu", "set", "valve", "1", "--site", site)
    assert put.returncode == 3, put.stderr


def test_schema_is_the_same_without_the_library_of_modbus() -> None:
    done = without_extras("config", "schema")
    assert done.returncode == 0, done.stderr
    assert "SourceConfig.modbus" in json.loads(done.stdout)["$defs"]


def test_modbus_in_a_site_names_its_extra(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    rule = '[[rule]]\nid = "hot"\nwhen = "drive.temp > 1"\nalert = true\n'
    poll = "poll = [{ slave = 1, registers = { temp = { address = 0 } } }]"
    table = f'[[source]]\nname = "drive"\nkind = "modbus"\nhost = "h"\n{poll}\n'
    path.write_text('[agent]\ngateway = "gw1"\n' + table + rule)
    done = without_extras("check", path)
    assert done.returncode == 2, done.stderr
    assert "1 error" in done.stdout
    hint = "pip install 'edge-agent[modbus]'"
    assert f'kind "modbus" cannot be used here: pymodbus is not installed; {hint}' in done.stdout


def test_scan_says_that_modbus_was_not_asked() -> None:
    master, slave = os.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    done = without_extras("ports", "scan", name, "--seconds", "0.5")
    os.close(master)
    assert done.returncode == 0, done.stderr
    assert "nothing known answers; Modbus not asked: pip install 'edge-agent[modbus]'" in done.stdout
