"""`edge-agent version`: the agent, and the libraries that matter when something is reported."""

from __future__ import annotations

import click

from edge_agent import __version__
from edge_agent.cli import show

_LIBRARIES = (
    "msgspec", "pyserial", "paho-mqtt", "numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime",
    "opencv-python-headless",
)  # fmt: skip


@click.command("version")
@show.json_option
def command(as_json: bool) -> None:
    """Show the versions of the agent and of what it runs on. Exit code 0."""
    import platform
    import sqlite3

    document = {
        "edge-agent": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        **{name: _version(name) for name in _LIBRARIES},
    }
    if as_json:
        show.echo_json(document)
        return
    for name, version in document.items():
        click.echo(f"{name:24} {version or 'not installed'}")


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
