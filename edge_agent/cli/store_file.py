"""Which store a command is about: the one of a site, or any file that is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli import show
from edge_agent.cli.whereabouts import whereabouts
from edge_agent.errors import ExitCode, Fatal, Retryable

if TYPE_CHECKING:
    from pathlib import Path

data_dir_option: Callable[[Any], Any] = click.option(
    "--data-dir", type=show.PATH, help="Where the data is; default: as SITE says."
)
file_option: Callable[[Any], Any] = click.option(
    "--file", "file", type=show.PATH, help="Any other store file, such as one that was set aside."
)


def store_file(site: Path | None, data_dir: Path | None, file: Path | None = None) -> Path:
    """Raises Fatal where the site file does not tell."""
    from edge_agent.store.opening import DATABASE

    return file or whereabouts(site, None, data_dir).store / DATABASE


def refuse_among_the_agents(output: Path, store: Path) -> None:
    """Raises Fatal where `output` would be among the files of an agent, or in the folder of any other `store`."""
    own, target = store.absolute(), output.resolve()
    beside = target.parent == store.resolve().parent
    if own.parent.name == "store" and own.name.startswith("store.db"):
        beside = beside or target.is_relative_to(own.parent.parent.resolve())
    if beside:
        hint = "the agent's files live there: give another folder"
        raise Fatal(f"{output} is among the store's own files", hint=hint, exit_code=ExitCode.CONFIGURATION)


@contextmanager
def there(path: Path) -> Iterator[None]:
    """What is not there is an exit code of its own; what may not be read has a hint. Raises Fatal for what is no
    file: a pipe would never end."""
    try:
        if path.exists() and not path.is_file():
            hint = "give a store's file, such as store.db"
            raise Fatal(f"{path} is no regular file", hint=hint, exit_code=ExitCode.CONFIGURATION)
        yield
    except (Retryable, OSError) as e:
        if isinstance(e, PermissionError) or not _readable(path):
            raise Fatal(f"{path}: permission denied", hint="read it as root, or as the agent's user") from e
        if path.exists():
            raise
        hint = e.hint if isinstance(e, Retryable) else ""
        raise Fatal(f"there is no store at {path}", hint=hint, exit_code=ExitCode.NOT_THERE) from e


def _readable(path: Path) -> bool:
    """Also true where nothing is there."""
    try:
        return not path.exists() or os.access(path, os.R_OK)
    except PermissionError:
        return False
