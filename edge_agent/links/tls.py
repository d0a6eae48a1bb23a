"""The TLS context of one connection: verified always, TLS 1.2 or newer, files read anew each time."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from edge_agent.config.site import TlsConfig
from edge_agent.errors import Retryable


class RecordingSocket(ssl.SSLSocket):
    """Keeps the error that ended it: TLS 1.3 refuses a client's certificate only after the handshake, in `recv`,
    where a library above may see no more than a lost connection."""

    last_error: ssl.SSLError | None = None

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        try:
            return super().recv(*args, **kwargs)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as e:
            self.last_error = e
            raise


class _Context(ssl.SSLContext):
    """Checks the certificate against `server_name` where the host in the settings is only an address."""

    server_name: str | None = None

    def wrap_socket(  # type: ignore[override]  # the library below passes keywords only
        self, sock: socket.socket, *, server_hostname: str | None = None, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        name = self.server_name or server_hostname
        return super().wrap_socket(sock, do_handshake_on_connect=do_handshake_on_connect, server_hostname=name)


def client_context(tls: TlsConfig) -> ssl.SSLContext:
    """Raises Retryable for a file that is missing or is not PEM: a certificate may be on its way."""
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = RecordingSocket
    context.server_name = tls.server_name
    try:
        if tls.ca:
            context.load_verify_locations(tls.ca)
        else:
            context.load_default_certs()
    except OSError as e:
        raise _unusable("tls.ca", str(tls.ca), e) from e
    if tls.cert:
        try:
            context.load_cert_chain(tls.cert, tls.key, password="")  # an encrypted key must not prompt
        except OSError as e:
            raise _unusable("tls.cert or tls.key", f"{tls.cert}, {tls.key or 'no key'}", e) from e
    return context


def _unusable(key: str, files: str, error: OSError) -> Retryable:
    why = "not PEM, or the two do not belong together" if isinstance(error, ssl.SSLError) else error.strerror
    return Retryable(f"cannot use {key} ({files}): {why}", hint="openssl x509 -in FILE -noout -subject -dates")
