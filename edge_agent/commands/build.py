"""From the site file to who takes commands."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from edge_agent.commands.intake import Executor, Intake
from edge_agent.commands.log import CommandLog
from edge_agent.commands.verdict import Key
from edge_agent.config.site import CommandKeyConfig, SiteConfig
from edge_agent.contract import topics
from edge_agent.errors import ExitCode, Fatal
from edge_agent.health import PartHealth
from edge_agent.ports import Clock
from edge_agent.store.identity import IDENTITY, read_identity
from edge_agent.types import Stamp


def make_intake(
    site: SiteConfig, *, clock: Clock, utc_ms: Callable[[Stamp], int | None], execute: Executor, health: PartHealth,
    tell_desired: Callable[[str], None], report: Callable[[bool, str], None], store: Callable[[], str],
    unkept: Callable[[], str],
) -> Intake:  # fmt: skip
    """After the store is open. Raises Fatal for a key that cannot be used."""
    data_dir = Path(site.agent.data_dir)
    identity = read_identity(data_dir / "store" / IDENTITY)
    before = [job.store for job in identity.jobs] if identity else []
    book = CommandLog(data_dir, data_dir / "store", identity.store if identity else "", before)
    gateway = topics.Gateway(site.agent.tenant, site.agent.site, site.agent.gateway)
    return Intake(
        gateway, _signers(site.commands.key), book, clock=clock, utc_ms=utc_ms, execute=execute, health=health,
        tell_desired=tell_desired, report=report, store=store, unkept=unkept,
    )  # fmt: skip


def _signers(keys: tuple[CommandKeyConfig, ...]) -> Callable[[bytes], Key | None]:
    if not keys:
        return _nobody
    try:
        envelope = importlib.import_module("edge_agent.commands.envelope")
    except ImportError as e:
        hint = 'pip install "edge-agent[commands]"'
        reason = "signed commands need the library cryptography"
        raise Fatal(reason, hint=hint, exit_code=ExitCode.CONFIGURATION) from e
    trusted = [Key(k.name, k.role, frozenset(k.allow), envelope.read_public(Path(k.file))) for k in keys]
    signer_of: Callable[[bytes], Key | None] = envelope.Keyring(trusted)
    return signer_of


def _nobody(_: bytes) -> None:
    """Without a key in the site file nobody may command."""
