"""The broker's connection from options of the command line."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from edge_agent.config.site import TlsConfig
from edge_agent.errors import ExitCode, Fatal
from edge_agent.fleet.ingest import broker_settings
from edge_agent.links.mqtt_types import Settings

_PORTS = {"mqtt": 1883, "mqtts": 8883}


def broker_of(
    url: str, *, name: str, username: str | None, password_file: str | None, ca: str | None, cert: str | None,
    key: str | None, server_name: str | None, version: Literal["5", "3.1.1"], expiry_s: int,
) -> Settings:  # fmt: skip
    """Raises Fatal for a URL that is none, and for a secret in it."""
    scheme, host, port = _taken_apart(url)
    tls = TlsConfig(ca=ca, cert=cert, key=key, server_name=server_name) if scheme == "mqtts" else None
    if tls is None and (ca or cert or key or server_name):
        raise _wrong("--ca, --cert, --key and --server-name are for TLS", f"mqtts://{host}:8883")
    if not name or len(name) > 64 or not all(c.isalnum() or c in "-_" for c in name) or not name.isascii():
        raise _wrong(f"--name {name!r}", "letters, digits, - and _, at most 64")
    settings = Settings(
        host=host, port=port, client_id=name, version=version, username=username, password_file=password_file,
        tls=tls, session_expiry_s=expiry_s,
    )  # fmt: skip
    return broker_settings(msgspec.structs.replace(settings))


def _taken_apart(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url if "//" in url else f"mqtt://{url}")
        usual = _PORTS[parts.scheme]
        port = usual if parts.port is None else parts.port
    except (ValueError, KeyError):
        raise _wrong(f"--broker {url}", "mqtt://HOST:PORT, or mqtts:// for TLS") from None
    if parts.password is not None or parts.username is not None:
        raise _wrong("--broker has a user in it", "give --username and --password-file")
    host = parts.hostname or ""
    rest = parts.path.strip("/") or parts.query or parts.fragment
    if not port or rest or not host or not host.isprintable() or set(host) & set(" ,\\\"'"):
        raise _wrong(f"--broker {url}", "mqtt://HOST:PORT, or mqtts:// for TLS")
    return parts.scheme, host, port


def _wrong(message: str, hint: str) -> Fatal:
    return Fatal(message, hint=hint, exit_code=ExitCode.CONFIGURATION)
