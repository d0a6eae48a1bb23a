"""Secrets in the site file, and ways to those of others: refused wherever they stand, and never repeated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_agent.config.folders import belongs_to_system
from edge_agent.config.problems import KeyPath, bare, shown
from edge_agent.config.redact import has_url_password, is_secret_key
from edge_agent.config.report import Report
from edge_agent.config.secrets import is_reference, mode_open_to_all

_PRIVATE_KEY = "PRIVATE KEY-----"


def check_secrets(tables: Mapping[str, object], report: Report) -> None:
    """A password in a URL passes with a warning, since cameras take it nowhere else; no output shows it."""
    waiting: list[tuple[KeyPath, object]] = [((), tables)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, i), item) for i, item in enumerate(value)]
        else:
            _check_value(path, value, report)


def _check_value(path: KeyPath, value: object, report: Report) -> None:
    key = next(part for part in reversed(path) if isinstance(part, str))
    if isinstance(value, str) and key.endswith("password_file"):
        _check_reference(path, value, report)
    if is_secret_key(key):
        hint = f'write it to a file (mode 0600) and give its path: {bare(key)}_file = "/etc/edge-agent/{bare(key)}"'
        report.add(path, "secrets do not belong into the site file", hint)
    elif isinstance(value, str) and _PRIVATE_KEY in value:
        report.add(path, "a private key does not belong into the site file", "give the path of a file (mode 0600)")
    elif isinstance(value, str) and belongs_to_system(value):
        report.add(path, "is a file of the operating system", "give a file of the agent's own")
    elif isinstance(value, str) and has_url_password(value):
        hint = "whoever reads the site file reads the password: chmod 0640, or an account that may only watch"
        report.add(path, "holds a password in a URL", hint, "warning")


def _check_reference(path: KeyPath, reference: str, report: Report) -> None:
    if not is_reference(reference):
        # not shown: somebody may have taken it for the password itself
        report.add(path, "must be an absolute path or credential:NAME", "it names a file, mode 0600")
    elif (mode := mode_open_to_all(Path(reference))) is not None and not belongs_to_system(reference):
        report.add(path, f"{shown(reference)} is open to everyone (mode {mode:04o})", f"chmod 0600 {reference}")
