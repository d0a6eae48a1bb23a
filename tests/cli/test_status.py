"""Status of a real agent, of one that is in trouble, that hangs, that was killed, and of a box without any."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.harness import RunningAgent, wait_until

from cli.command import (
    AS_NOBODY,
    ROOT,
    SITE,
    Done,
    argv,
    as_nobody,
    edge_agent,
    environment,
    public_folder,
    write_site,
)
from cli.terminal import Terminal
from edge_agent.cli import whereabouts
from edge_agent.config.site import AgentConfig
from edge_agent.store.reader import view_store

UNPLUGGED = SITE + '[[source]]\nname = "meter"\nkind = "serial_lines"\ndevice = "/dev/serial/by-id/not-here"\n'


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with public_folder() as folder, RunningAgent(folder, SITE) as running:
        running.wait_for(lambda s: s["alerts"] and s["actuators"][0]["up"], 30, "the motor is hot")
        yield running
        running.stop()


def test_defaults_are_those_of_a_site_file() -> None:
    agent = AgentConfig(gateway="gw")
    assert (agent.run_dir, agent.data_dir) == (whereabouts.RUN_DIR, whereabouts.DATA_DIR)


def test_verdict_of_a_healthy_agent_comes_first_and_exits_0(agent: RunningAgent) -> None:
    done = edge_agent("status", agent.site)
    assert done.code == 0, done
    lines = done.out.splitlines()
    assert lines[0].startswith("OK        gw1: all parts work, rung full, 1 alert")
    page = done.out
    assert "CRITICAL, " in page
    assert "the motor is hot (a-" in page
    assert "motor  up, last heard 0." in page
    assert "press  works, 1 done" in page
    assert "results stay on this box" in page
    assert max(map(len, lines)) <= 80


def test_json_is_one_document_with_the_stable_keys(agent: RunningAgent) -> None:
    done = edge_agent("status", "--socket", agent.folder / "run" / "agent.sock", "--json")
    status = done.document
    assert done.code == 0
    assert status["agent"] == "up"
    assert keys_documented("status") >= status.keys()
    for inner in ("store", "alerts", "sources", "engine"):
        first = status[inner][0] if isinstance(status[inner], list) else status[inner]
        assert keys_documented("status") >= first.keys(), inner
    motor = status["sources"][0]
    assert motor["age_s"] < 5
    assert 30 < motor["rate_hz"] < 70
    assert {"rows", "oldest_s", "gone_in_s"} == status["store"]["backlog"].keys()


def keys_documented(command: str) -> set[str]:
    """All that JSON.md writes as code under the heading of a command."""
    page = (ROOT / "edge_agent" / "cli" / "JSON.md").read_text(encoding="utf-8")
    return set(re.findall(r"`([^`]+)`", page.partition(f"\n## {command}\n")[2].partition("\n## ")[0]))


def test_20_columns_lose_nothing(agent: RunningAgent) -> None:
    narrow, wide = edge_agent("status", agent.site, COLUMNS="20"), edge_agent("status", agent.site)
    assert max(map(len, narrow.out.splitlines())) <= 20
    assert "the motor is hot" in " ".join(narrow.out.split())
    assert len(narrow.out.split()) > 0.8 * len(wide.out.split())


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_only_on_a_terminal_that_wants_them(
    agent: RunningAgent, env: dict[str, str], coloured: bool
) -> None:
    terminal = Terminal("status", agent.site, **env)
    assert terminal.end() == 0
    assert ("\x1b[" in terminal.seen) == coloured
    assert terminal.seen.replace("\x1b[32m", "").startswith("OK")


def test_watch_on_a_terminal_is_live_and_ends_with_ctrl_c(agent: RunningAgent) -> None:
    terminal = Terminal("status", agent.site, "--watch", "--every", "0.2")
    terminal.until("all parts work", times=3)
    terminal.interrupt()
    assert terminal.end() == 0
    assert "Traceback" not in terminal.seen


def test_watch_without_a_terminal_prints_page_after_page(agent: RunningAgent) -> None:
    call = argv("status", agent.site, "--watch", "--every", "0.2", "--json")
    child = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert child.stdout is not None
    documents = [json.loads(child.stdout.readline()) for _ in range(3)]
    child.stdout.close()
    child.send_signal(2)
    _, err = child.communicate(timeout=20)
    assert [d["agent"] for d in documents] == ["up"] * 3
    assert documents[0]["uptime_s"] < documents[2]["uptime_s"]
    assert b"Traceback" not in err


@AS_NOBODY
def test_user_without_rights_is_told_what_to_do(agent: RunningAgent) -> None:
    (agent.folder / "run").chmod(0o755)
    done = as_nobody("status", "--socket", agent.folder / "run" / "agent.sock")
    assert done.code == 1
    assert "you may not talk to the agent; sudo" in done.err


def test_source_that_is_gone_is_trouble_and_exits_1(tmp_path: Path) -> None:
    with RunningAgent(tmp_path, UNPLUGGED) as agent:
        agent.wait_for(lambda s: s["trouble"], 20, "trouble")
        done = edge_agent("status", agent.site)
        assert done.code == 1
        assert done.out.splitlines()[0].startswith("TROUBLE   gw1: 1 thing is wrong")
        assert "meter  DOWN, for " in done.out
        assert "/dev/serial/by-id/not-here" in done.out


def test_agent_that_was_killed_is_down_and_its_store_is_read(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, SITE)
    agent.start()
    agent.wait_for(lambda s: s["store"]["readings"] > 30 and s["alerts"], 30, "readings and an alert")
    # an alert is told a moment before it is on the disk, and a slow disk makes that long
    wait_until(lambda: view_store(tmp_path / "data" / "store").alerts, 30, "the alert in the store")
    agent.kill()
    done = edge_agent("status", agent.site)
    assert done.code == 1
    words = " ".join(done.out.split())
    assert words.startswith("DOWN no agent at ")
    assert "nobody listens, so it was killed" in words
    assert "systemctl start edge-agent" in words
    assert "read-only beside whatever else has it open (mode=ro)" in words
    assert "critical, the motor is hot" in words
    stored = edge_agent("status", agent.site, "--json").document
    assert (stored["agent"], stored["ok"]) == ("down", False)
    assert stored["store"]["opened"] == "read-only"
    assert stored["store"]["priorities"][2]["readings"] > 30


@AS_NOBODY
def test_store_that_may_only_be_read_is_opened_as_immutable_and_says_so(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, SITE)
    agent.start()
    agent.wait_for(lambda s: s["store"]["readings"], 30, "readings")
    agent.stop()
    with public_folder() as folder:
        data = shutil.copytree(tmp_path / "data", folder / "data")
        for path in [data, *data.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        done = as_nobody("status", "--socket", folder / "none", "--data-dir", data)
    assert done.code == 1, done.err
    assert "as a file that nobody writes (immutable=1)" in " ".join(done.out.split())


def test_neither_agent_nor_store_is_exit_code_3(tmp_path: Path) -> None:
    site = write_site(tmp_path)
    done = edge_agent("status", site)
    assert done.code == 3
    words = " ".join(done.out.split())
    assert "there is no socket" in words
    assert "there is no store at" in words
    document = edge_agent("status", site, "--json").document
    assert (document["agent"], document["ok"], document["store"]) == ("none", False, None)


def test_agent_that_hangs_is_said_within_5_seconds(tmp_path: Path) -> None:
    site = write_site(tmp_path)
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "run" / "agent.sock"))
        listener.listen()
        done = edge_agent("status", site, timeout_s=8)
    assert done.code == 3
    assert "did not answer within 3 s" in " ".join(done.out.split())


@pytest.mark.parametrize(
    "answer", [b"", b"hello\n", b"\xff\xfe\n", b'{"ok": true}\n', b"[]\n", b'{"ok": true, "result": 7}\n']
)
def test_socket_of_somebody_else_is_no_agent(tmp_path: Path, answer: bytes) -> None:
    done = against(tmp_path, answer)
    assert done.code == 3, done
    assert "Traceback" not in done.err


def against(folder: Path, answer: bytes) -> Done:
    """Status of a socket that answers this to the first question."""
    site = write_site(folder)
    (folder / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "run" / "agent.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        done = edge_agent("status", site)
        thread.join()
    return done


def test_agent_of_another_version_is_named(tmp_path: Path) -> None:
    done = against(tmp_path, b'{"ok": true, "result": {"version": "9.9", "ok": true}}\n')
    assert done.code == 1
    assert "the agent is of version 9.9" in done.err
