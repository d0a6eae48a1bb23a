"""Somebody adds a sensor in one file: the agent finds it, and so does the suite, which tells good from bad."""

import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent

GOOD = '''"""A thermometer that the kernel shows as a file, such as /sys/class/thermal/thermal_zone0/temp.

    [[source]]
    name = "box"
    kind = "thermo"
    path = "/sys/class/thermal/thermal_zone99/temp"
"""

import os
import time

import msgspec

from edge_agent.errors import Retryable
from edge_agent.types import Reading


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of a `thermo` source."""

    path: str
    """The file, in thousandths of a degree."""


def open(config, context):
    if not os.path.exists(config.path):
        raise Retryable(f"{config.path} is not there", hint="ls /sys/class/thermal")
    return Thermo(config.path, context)


class Thermo:
    def __init__(self, path, context):
        self.path, self.context = path, context

    def read(self, timeout_s):
        time.sleep(timeout_s)
        with os.fdopen(os.open(self.path, os.O_RDONLY)) as f:
            milli = int(f.read())
        return [Reading(self.context.name, self.context.clock.now(), {"temp": milli / 1000})]

    def close(self):
        pass
'''

A_THREAD = "threading.Thread(target=time.sleep, args=[9], daemon=True).start()"

RUN = """
import sys
import edge_agent.sources
edge_agent.sources.__path__.append(sys.argv[1])
import pytest
sys.exit(pytest.main([*sys.argv[2:], "-k", "thermo", "-q", "-p", "no:cacheprovider"]))
"""


def run_suite(folder, source):
    (folder / "thermo.py").write_text(source)
    tests = [str(SUITE / name) for name in ("test_every_driver.py", "test_source_contract.py")]
    argv = [sys.executable, "-B", "-c", RUN, str(folder), *tests]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, cwd=SUITE.parents[1], check=False)


def run_ok(folder, source):
    run = run_suite(folder, source)
    return run.returncode == 0, run.stdout + run.stderr


def test_a_new_driver_in_one_file_is_found_and_passes(tmp_path):
    ok, output = run_ok(tmp_path, GOOD)
    assert ok, output
    assert "6 passed" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "by", "complaint"),
    [
        ("    if not os.path.exists(config.path):\n", "    if False:\n", "FileNotFoundError"),
        ("    path: str\n", "    gain: float = 1.0\n    path: str\n", "need a word on what they mean"),
        ("frozen=True, ", "", "a configuration does not change"),
        (", forbid_unknown_fields=True", "", "a misspelt key is an error"),
        ("    [[source]]", "", "needs an example"),
        ('    path = "/sys', '    pfad = "/sys', "ValidationError"),
        ("import msgspec\n", "import msgspec\nimport numpy\n", "['numpy'] 0"),
        ("import msgspec\n", f"import msgspec, threading\n{A_THREAD}\n", "[] 1"),
    ],
)
def test_a_driver_that_breaks_the_contract_is_told_how(tmp_path, broken, by, complaint):
    assert broken in GOOD
    ok, output = run_ok(tmp_path, GOOD.replace(broken, by, 1))
    assert not ok
    assert complaint in output
