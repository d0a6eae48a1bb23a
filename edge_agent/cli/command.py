"""`edge-agent command`: keys for commands, and a command signed by hand, for a first try."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli import show
from edge_agent.cli.extras import needs_extra
from edge_agent.errors import EdgeError, ExitCode, Fatal

if TYPE_CHECKING:
    from pathlib import Path


@click.group("command", cls=show.Group)
def command() -> None:
    """Make keys for commands from the backend, and sign a command.

    Needs no agent. What is signed goes to the topic that `sign --json` names, over any MQTT client.

    Exit codes: 0 done; 1 a file could not be written; 2 wrong usage, or a key that cannot be used.
    """


@command.command("keygen")
@click.argument("name", type=show.PATH)
@show.json_option
def keygen(name: Path, as_json: bool) -> None:
    """Write a new Ed25519 key to NAME.key (mode 0600) and NAME.pub.

    NAME.key stays with who commands; NAME.pub goes to gateways, into [[commands.key]]. Files are never overwritten.

    Exit codes: 0 written; 1 a file is there already or cannot be written; 2 wrong usage.
    """
    private, public = _envelope().new_pair()
    written = [name.with_name(name.name + end) for end in (".key", ".pub")]
    for path in written:
        if path.exists():
            raise EdgeError(f"{path} is there already", hint="choose another name: a key is never overwritten")
    for path, content, mode in zip(written, (private, public), (0o600, 0o644), strict=True):
        _write_new(path, content, mode)
    if as_json:
        show.echo_json({"private": str(written[0]), "public": str(written[1])})
    else:
        click.echo(f"{show.safe(written[0])}: the private key, for who commands\n"
                   f"{show.safe(written[1])}: the public key, for the gateways' [[commands.key]]")  # fmt: skip


@command.command("sign")
@click.argument("name")
@click.argument("arguments", nargs=-1)
@click.option("--key", required=True, type=show.PATH, help="The private key.")
@click.option("--role", required=True, help="As the site file says of this key.")
@click.option("--gateway", required=True, help="TENANT/SITE/GATEWAY.")
@click.option("--valid-s", default=60, show_default=True, type=click.IntRange(1, 300), help="How long it is valid.")
@show.json_option
def sign(
    name: str, arguments: tuple[str, ...], key: Path, role: str, gateway: str, valid_s: int, as_json: bool
) -> None:
    """Print the command NAME with its ARGUMENTS (KEY=VALUE), signed: rule.hold, rule.release, rule.reset, alert.ack.

    \b
    edge-agent command sign rule.hold rule=overheat for_s=600 why=cleaning \\
      --key ops.key --role operator --gateway acme/plant-7/gw1 |
      mosquitto_pub -q 1 -s -t edge/v1/acme/plant-7/gw1/down/cmd/rule-hold

    Exit codes: 0 signed; 2 wrong usage, or a key that cannot be used.
    """
    import secrets

    from edge_agent.contract import topics
    from edge_agent.contract.messages import Cmd
    from edge_agent.contract.ulid import new_ulid

    target = topics.parse_topic(f"edge/{topics.VERSION}/{gateway}/down/ack")
    if target is None:
        raise _usage("--gateway is not TENANT/SITE/GATEWAY", "such as acme/plant-7/gw1")
    now_ms = time.time_ns() // 1_000_000
    cmd = Cmd(
        id=new_ulid(now_ms * 1_000_000, secrets.token_bytes), gw=target.gateway, tenant=target.tenant,
        site=target.site, name=name, args=dict(_argument(a) for a in arguments), issued=now_ms,
        expires=now_ms + valid_s * 1000, counter=now_ms, role=role, reply="up/cmd", sig="",
    )  # fmt: skip
    envelope = _envelope()
    signed = envelope.seal(_without_signature(cmd), envelope.read_private(key)).decode()
    topic = topics.Gateway(target.tenant, target.site, target.gateway).down(topics.CMD, name.replace(".", "-"))
    show.echo_json({"topic": topic, "body": signed}) if as_json else click.echo(signed, nl=False)


def _argument(text: str) -> tuple[str, Any]:
    """`for_s=600` is a number, `why=cleaning` a text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise _usage(f"{show.safe(text)} is not KEY=VALUE", "such as rule=overheat")
    try:
        return name, int(value)
    except ValueError:
        return name, value


def _without_signature(cmd: Any) -> bytes:
    import json

    import msgspec

    document = json.loads(msgspec.json.encode(cmd))
    del document["sig"]
    return msgspec.json.encode(document)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError as e:
        raise EdgeError(f"{path}: {e.strerror}", hint="check the folder") from e


def _envelope() -> Any:
    needs_extra("cryptography", "commands")
    from edge_agent.commands import envelope

    return envelope


def _usage(reason: str, hint: str) -> Fatal:
    return Fatal(reason, hint=hint, exit_code=ExitCode.CONFIGURATION)
