"""Commands that need libraries which a plain installation leaves out."""

from __future__ import annotations

from importlib.util import find_spec

from edge_agent.errors import ExitCode, Fatal


def needs_extra(module: str, extra: str) -> None:
    """Call it before the first import of what needs `module`. Raises Fatal where the extra is not installed."""
    if find_spec(module) is None:
        hint = f"pip install 'edge-agent[{extra}]'"
        raise Fatal(f"{module} is not installed", hint=hint, exit_code=ExitCode.CONFIGURATION)
