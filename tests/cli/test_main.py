"""The command line as a whole: quick, documented, the same exit codes everywhere, quiet where nobody listens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.command import ROOT, SITE, argv, edge_agent, environment, quickest, write_site
from cli.terminal import Terminal
from edge_agent.cli.main import COMMANDS, cli


def leaves(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = dict(leaves())
WITHOUT_JSON = {("run",), ("fleet", "ingest")}
"""A daemon has no result; its log is JSON with --log json."""


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_documents_its_exit_codes_and_has_json(words: tuple[str, ...]) -> None:
    command = LEAVES[words]
    assert "Exit code" in (command.help or "")
    options = {option for parameter in command.params for option in parameter.opts}
    assert ("--json" in options) == (words not in WITHOUT_JSON)


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Commands\n")[2].partition("\n## ")[0]
    missing = [" ".join(words) for words in LEAVES if f"`edge-agent {' '.join(words)}" not in section]
    assert not missing, f"README.md, section Commands, lacks {missing}"


@pytest.mark.parametrize("words", [(), *LEAVES], ids=" ".join)
def test_help_fits_80_columns_and_imports_nothing_but_the_command_line(words: tuple[str, ...]) -> None:
    code = (
        "import sys; before = set(sys.modules)\nfrom edge_agent.cli.main import cli\n"
        "try: cli(sys.argv[1:])\nfinally: print(*sys.modules.keys() - before)"
    )
    call = [sys.executable, "-c", code, *words, "--help"]
    done = subprocess.run(call, capture_output=True, text=True, env=environment(), check=False)
    *page, imported = done.stdout.splitlines()
    assert 0 < max(map(len, page)) <= 80
    modules = set(imported.split())
    assert {"click", "edge_agent.cli.main"} <= modules
    assert not modules & {"msgspec", "numpy", "cv2", "rich", "sqlite3", "json", "pathlib", "tomllib"}
    assert not modules & {"edge_agent.types", "edge_agent.config.site"}


@pytest.mark.parametrize("group", sorted({words[0] for words in LEAVES if len(words) > 1}))
def test_help_of_a_group_has_the_whole_summary_of_each_command(group: str) -> None:
    page = " ".join(edge_agent(group, "--help").out.split())
    for words, command in LEAVES.items():
        if words[0] == group:
            assert f"{words[1]} {command.get_short_help_str(1000)}" in page


@pytest.mark.parametrize("words", [(), ("status",)], ids=["edge-agent", "status"])
def test_help_takes_at_most_150_ms(words: tuple[str, ...]) -> None:
    assert quickest(5, [*words, "--help"]).cpu_s <= 0.15


def test_summary_of_each_command_is_the_one_of_its_help() -> None:
    context = click.Context(cli)
    assert set(COMMANDS) == set(cli.list_commands(context))
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",), ("config",), ("check",), ("check", "not/there.toml"), ("run", "not/there.toml"),
        ("status", "--nonsense"), ("status", "not/there.toml"), ("infer", "no-package", __file__),
        ("infer", "x", "no-file"), ("replay", "no-log", "--site", "x"), ("rules", "test", "no-site", "no-cases"),
        ("rule", "hold", "x", "--for", "soon"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_exit_code_2_said_within_a_second(arguments: tuple[str, ...]) -> None:
    done = edge_agent(*arguments)
    assert done.code == 2
    assert done.cpu_s < 1.0
    assert done.err or "problem" in done.out or "error" in done.out
    assert "Traceback" not in done.err


def test_site_file_that_cannot_run_is_refused_before_the_agent_is_loaded() -> None:
    code = "import sys; from edge_agent.cli.main import run\nrun(['run', 'not/there.toml']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )  # fmt: skip
    assert "does not exist" in done.stderr
    modules = set(done.stdout.split())
    assert "edge_agent.assembly" in modules
    assert not modules & {"edge_agent.agent", "edge_agent.store.writer", "paho", "serial"}


@pytest.mark.parametrize("columns", [80, 40])
def test_on_a_terminal_an_error_and_its_hint_are_in_lines_of_its_width(tmp_path: Path, columns: int) -> None:
    terminal = Terminal("status", "not/there.toml", columns=columns)
    assert terminal.end() == 2
    lines = terminal.seen.splitlines()
    error = "not/there.toml: No such file or directory"
    hint = "give the path of the site file, or --socket and --data-dir"
    assert " ".join(terminal.seen.split()) == f"{error} {hint}"
    assert any(line.startswith("  give the path") for line in lines)
    assert max(map(len, lines)) <= columns
    assert edge_agent("status", "not/there.toml").err == f"{error}; {hint}\n"


def test_on_a_terminal_problems_of_a_site_file_are_in_lines_of_its_width(tmp_path: Path) -> None:
    site = write_site(tmp_path, SITE.replace("press.relay", "pres.relay").replace("motor.temp", "motor.tmp"))
    terminal = Terminal("check", site)
    assert terminal.end() == 2
    whole = " ".join(terminal.seen.split())
    assert all(problem in whole for problem in edge_agent("check", site).out.splitlines()[1:])
    assert max(len(line) for line in terminal.seen.splitlines() if str(site) not in line) <= 80


def test_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    for words in (["config", "schema"], ["--help"], ["version"], ["status", str(write_site(tmp_path))]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(argv(*words), stdout=write, stderr=subprocess.PIPE, env=environment(), check=False)
        os.close(write)
        assert done.stderr == b"", words
        assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_said_in_a_line() -> None:
    with Path("/dev/full").open("wb") as full:
        call = argv("config", "schema")
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, env=environment(), check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == "output: No space left on device\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (b"status", b"\xff\xfe.toml"), (b"check", b"\xff.toml"), (b"check", b"--json", b"\xff.toml"), (b"\xff",),
        (b"infer", b"\xff", b"\xff"), (b"replay", b"\xff", b"--site", b"\xff"), (b"rules", b"test", b"\xff", b"\xff"),
    ],
    ids=lambda arguments: " ".join(map(repr, arguments)),
)  # fmt: skip
def test_name_that_is_no_utf8_is_an_ordinary_wrong_name(arguments: tuple[bytes, ...]) -> None:
    done = edge_agent(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", [["check"], ["status"], ["infer", "x"], ["rules", "test", "x"]], ids=" ".join)
def test_name_with_control_characters_steers_no_terminal(tmp_path: Path, words: list[str]) -> None:
    done = edge_agent(*words, str(tmp_path / "\x1b[31mred\x07.toml"))
    assert done.code == 2
    assert not {"\x1b", "\x07"} & set(done.out + done.err)


def test_bug_is_exit_code_70_with_its_traceback(tmp_path: Path) -> None:
    broken = "import edge_agent.cli.version as v; v.show = None; from edge_agent.cli.main import main; main()"
    call = [*argv()[:1], "-c", broken, "version", "--json"]
    done = subprocess.run(call, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False)
    assert done.returncode == 70
    assert "Traceback" in done.stderr
    assert "this is a bug" in done.stderr


def test_version_names_what_matters_in_a_report() -> None:
    done = edge_agent("version", "--json")
    assert done.code == 0
    assert {"edge-agent", "python", "sqlite", "msgspec", "onnxruntime"} <= done.document.keys()
    assert edge_agent("--version").out.split()[-1] == done.document["edge-agent"]


def test_schema_is_json_schema_and_knows_the_drivers() -> None:
    done = edge_agent("config", "schema")
    assert done.document["$schema"].endswith("2020-12/schema")
    assert {"SourceConfig.simulated", "ActuatorConfig.log"} <= done.document["$defs"].keys()
    assert edge_agent("config", "schema", "--json").document == done.document
