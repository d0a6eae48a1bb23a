"""The service unit as the tests see it: its directives, and its system calls as systemd would allow them."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNIT = DEPLOY / "edge-agent.service"

_HEADERS = (
    Path(f"/usr/include/{platform.machine()}-linux-gnu/asm/unistd_64.h"),  # x86_64 of Debian
    Path("/usr/include/asm/unistd_64.h"),
    Path("/usr/include/asm-generic/unistd.h"),
)


def directives() -> dict[str, list[str]]:
    """Every directive with its values in their order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[", ";")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60, env={"PATH": "/usr/bin:/bin"}
    )


def allowed_calls() -> set[str]:
    """The names of the system calls that the unit lets pass."""
    groups = _groups()
    allowed = _expanded("@default", groups)
    for value in directives()["SystemCallFilter"]:
        names = {call for name in value.removeprefix("~").split() for call in _expanded(name, groups)}
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


def call_numbers() -> dict[str, int]:
    """Name to number on this machine."""
    for header in _HEADERS:
        if header.exists():
            text = header.read_text(encoding="utf-8")
            return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", text)}
    pytest.skip("no header with the numbers of the system calls (apt install linux-libc-dev)")


def _groups() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    group = ""
    for line in systemd_analyze("syscall-filter", "--no-pager").stdout.splitlines():
        if line.startswith("@"):
            group = line.strip()
            groups[group] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            groups[group].append(line.strip())
    return groups


def _expanded(name: str, groups: dict[str, list[str]]) -> set[str]:
    if not name.startswith("@"):
        return {name}
    return {call for member in groups[name] for call in _expanded(member, groups)}
