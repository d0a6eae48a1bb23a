"""The service unit: hardened, restarted when that helps, and not so tight that the agent cannot work under it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.unit import UNIT, allowed_calls, call_numbers, directives, systemd_analyze
from edge_agent.config.site import AgentConfig
from edge_agent.errors import ExitCode

ROOT = UNIT.parents[1]
DATA = ROOT.parent / "shared" / "data"


def test_exposure_is_at_most_2_0():
    result = systemd_analyze("security", "--offline=true", "--no-pager", str(UNIT))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout)
    assert found, result.stdout + result.stderr
    assert float(found[1]) <= 2.0


def test_systemd_knows_every_directive(tmp_path):
    """`verify` needs the programs to exist, so they are replaced; what it says of the rest counts."""
    copy = tmp_path / "edge-agent.service"
    copy.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    result = systemd_analyze("verify", "--man=no", str(copy))
    assert [line for line in result.stderr.splitlines() if "edge-agent.service" in line] == []


def test_the_watchdog_is_fed_by_the_main_process_alone():
    unit = directives()
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert 10 <= int(unit["WatchdogSec"][0]) <= 60


def test_a_failed_agent_comes_back_for_ever_but_not_with_a_wrong_site_file():
    unit = directives()
    assert unit["Restart"] == ["on-failure"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert unit["RestartPreventExitStatus"] == [str(int(ExitCode.CONFIGURATION))]


def test_a_worker_that_eats_the_memory_does_not_take_the_agent_with_it():
    unit = directives()
    assert unit["OOMPolicy"] == ["continue"]
    assert unit["KillMode"] == ["mixed"]
    assert "MemoryMax" in unit


def test_the_agent_starts_without_a_network():
    assert "network-online.target" not in " ".join(directives()["After"])
    assert "Requires" not in directives()


def test_its_directories_are_the_defaults_of_the_site_file():
    unit = directives()
    assert f"/var/lib/{unit['StateDirectory'][0]}" == AgentConfig(gateway="gw").data_dir
    assert f"/run/{unit['RuntimeDirectory'][0]}" == AgentConfig(gateway="gw").run_dir
    assert unit["RuntimeDirectoryPreserve"] == ["restart"], "what outlives a kill is there"


def test_what_the_facts_say_the_agent_and_its_workers_need_is_left_to_them():
    """facts/security.md, section 6, the table of catches."""
    unit = directives()
    calls = allowed_calls()
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"} <= calls
    assert "setpriority" in calls, "workers run at nice 10"
    assert "prlimit64" in calls, "workers have limits"
    assert "adjtimex" in calls, "whether the wall clock is right"
    assert "ProtectClock" not in unit, "it refuses adjtimex, reading included"
    assert unit["CapabilityBoundingSet"] == [""], "which leaves no way to set the clock"
    assert "ProcSubset" not in unit, "health reads /proc/meminfo, the clock reads the boot id"
    assert "PrivateDevices" not in unit, "serial ports and cameras"
    assert {"dialout", "video"} <= set(unit["SupplementaryGroups"][0].split())
    devices = {value.split()[0] for value in unit["DeviceAllow"]}
    assert {"char-ttyUSB", "char-ttyACM", "char-video4linux"} <= devices
    assert "IPAddressDeny" not in unit, "a broker or a camera elsewhere could not be reached"
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} == set(unit["RestrictAddressFamilies"][0].split())


def test_what_it_must_not_do_stays_refused():
    assert allowed_calls().isdisjoint({"mount", "ptrace", "init_module", "bpf", "reboot", "setuid", "chroot"})
    assert directives()["RestrictNamespaces"] == ["yes"]


def confined_argv(*arguments: str) -> list[str]:
    """To run a Python program under the unit's system call filter and without writable code."""
    numbers = call_numbers()
    calls = sorted(numbers[name] for name in allowed_calls() - {"socket"} if name in numbers)
    given = json.dumps({"calls": calls, "socket": numbers["socket"]})
    return [sys.executable, str(Path(__file__).with_name("confine.py")), given, *arguments]


def confined(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = confined_argv(*arguments)
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if "seccomp" in result.stderr and "OSError" in result.stderr:
        pytest.skip("this kernel or container does not let a process filter its own system calls")
    return result


def test_the_confinement_of_the_tests_does_refuse():
    """The control: without it the tests below would prove nothing."""
    code = (
        "import os, socket, sys\n"
        "acts = (lambda: os.chown('.', -1, -1), lambda: os.sched_setaffinity(0, {0}),"
        " lambda: socket.socket(socket.AF_NETLINK))\n"
        "for act in acts:\n"
        "    try: act()\n"
        "    except OSError as e: print(e.errno)\n"
    )
    result = confined("-c", code)
    assert result.stdout.split() == ["1", "1", "97"], result.stderr


def test_a_worker_can_lower_itself_limit_itself_and_infer_under_the_unit():
    pytest.importorskip("onnxruntime")
    model = DATA / "models" / "ae_int8_widecal.onnx"
    if not model.exists():
        pytest.skip("no ../shared/data/models")
    code = (
        "import os, resource, ctypes, numpy, onnxruntime\n"
        "assert os.nice(10) == min(os.getpriority(os.PRIO_PROCESS, os.getppid()) + 10, 19)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "ctypes.CDLL(None).prctl(1, 9)\n"
        "o = onnxruntime.SessionOptions(); o.intra_op_num_threads = 1\n"
        f"s = onnxruntime.InferenceSession({str(model)!r}, o, providers=['CPUExecutionProvider'])\n"
        "i = s.get_inputs()[0]\n"
        "shape = [n if isinstance(n, int) else 1 for n in i.shape]\n"
        "print(len(s.run(None, {i.name: numpy.zeros(shape, numpy.float32)})), os.environ.get('NO_MDWE', 'MDWE'))\n"
    )
    result = confined("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[0] == "1"


def test_a_tflite_worker_infers_under_the_unit():
    pytest.importorskip("ai_edge_litert")
    model = DATA / "models" / "vww_96_int8.tflite"
    if not model.exists():
        pytest.skip("no ../shared/data/models")
    code = (
        "from ai_edge_litert.interpreter import Interpreter\n"
        f"i = Interpreter({str(model)!r}, num_threads=2); i.allocate_tensors(); i.invoke(); print('ok')\n"
    )
    result = confined("-c", code)
    assert result.stdout.split() == ["ok"], result.stderr


def test_the_agent_itself_starts_feeds_the_watchdog_and_stops_under_the_unit(tmp_path, monkeypatch):
    """A site with a simulated motor, a rule and an actuator, on a data directory of its own."""
    confined("-c", "0")  # skips where a process cannot be confined
    site = tmp_path / "site.toml"
    site.write_text(
        f'[agent]\ngateway = "gw"\ndata_dir = "{tmp_path}/data"\nrun_dir = "{tmp_path}/run"\n'
        '[[source]]\nname = "motor"\nkind = "simulated"\n'
        '[[actuator]]\nname = "press"\nkind = "log"\n'
        '[[rule]]\nid = "hot"\nwhen = "motor.temp > -100"\nfor = "100ms"\n'
        'actions = [{ set = "press.relay", value = 0 }]\n'
    )
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind("notify")
        notices.settimeout(30)
        environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        argv = confined_argv("-m", "edge_agent", "run", str(site))
        with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as agent:
            try:
                said = ""
                while "READY=1" not in said or "WATCHDOG=1" not in said:
                    said += notices.recv(4096).decode() + "\n"
                agent.send_signal(signal.SIGTERM)
                output, _ = agent.communicate(timeout=30)
            finally:
                agent.kill()
    assert agent.returncode == 0, output
    assert b"Operation not permitted" not in output
    assert list((tmp_path / "data").iterdir())
