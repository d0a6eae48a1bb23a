"""Words for why there is no connection or no delivery: the cause by code, never by message text."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from edge_agent.links.mqtt_types import Lost

PUBLISH_CODES = {
    0x80: "unspecified", 0x83: "implementation_specific", 0x87: "not_authorized", 0x90: "topic_name_invalid",
    0x91: "packet_id_in_use", 0x95: "packet_too_large", 0x97: "quota_exceeded", 0x99: "payload_format_invalid",
}  # fmt: skip
NO_SUBSCRIBERS = 0x10
_LATER = frozenset({0x80, 0x83, 0x87, 0x91, 0x97})
"""Refusals that do not come from the message itself."""

_REFUSED = {
    0x81: ("malformed packet", "report this with the broker's name and version"),
    0x82: ("protocol error", "report this with the broker's name and version"),
    0x84: ("it does not speak this MQTT version", 'try version = "3.1.1" (or "5")'),
    0x85: ("it does not accept this client id", "set client_id to what the broker expects"),
    0x86: ("wrong user name or password", "check username and password_file"),
    0x87: ("not authorized", "check username, password_file, the client certificate and the broker's ACL"),
    0x88: ("it is not available", ""),
    0x89: ("it is busy", ""),
    0x8A: ("this client is banned", "ask the broker's operator"),
    0x8B: ("it is shutting down", ""),
    0x8C: ("wrong authentication method", "check username and password_file"),
    0x8D: ("it heard nothing within the keepalive time", "is the network slow or one-way?"),
    0x8E: ("another client took over this client id", "two gateways share a name, or two agents run: stop one"),
    0x93: ("it got more messages than its Receive Maximum", "report this with the broker's name and version"),
    0x95: ("a packet was too large for it", "lower store.row_limit, or raise the broker's packet size limit"),
    0x96: ("the message rate is too high", "set backlog_rate"),
    0x97: ("a quota is used up", "ask the broker's operator"),
    0x98: ("its operator disconnected this client", "ask the broker's operator"),
    0x9C: ("it moved to another server", "ask the broker's operator for the new host"),
    0x9D: ("it moved to another server for good", "set host to the new server"),
    0x9F: ("too many connections a minute", ""),
}
_PATIENCE = frozenset({0x84, 0x85, 0x86, 0x87, 0x89, 0x8A, 0x8C, 0x97, 0x98, 0x9C, 0x9D, 0x9F})
"""Not worth asking again within seconds."""

_CERTIFICATE = {
    9: ("it is not valid yet", "is the clock right? timedatectl"),
    10: ("it has expired", "renew the broker's certificate; is the clock right? timedatectl"),
    18: ("it is self-signed", "give its certificate as tls.ca"),
    19: ("its issuer is not known here", "give the issuer as tls.ca; a network that intercepts TLS looks the same"),
    20: ("its issuer is not known here", "give the issuer as tls.ca; a network that intercepts TLS looks the same"),
    23: ("it is revoked", "renew the broker's certificate"),
    62: ("it was issued for another name", "set host, or tls.server_name, to the name in the certificate"),
    64: ("it was issued for another address", "set tls.server_name to the name in the certificate"),
}
_NETWORK = {
    errno.ETIMEDOUT: ("{where} does not answer", "is the network up, and does a firewall let the port through?"),
    errno.ECONNREFUSED: ("nothing listens at {where}", "is the broker running, and is the port right?"),
    errno.ECONNRESET: ("{where} cut the connection", "is the port right, and is it the one for TLS or without?"),
}
_PLAIN_TEXT = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
_WANTS_CERTIFICATE = frozenset({
    "TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE", "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN", "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_CERTIFICATE_REVOKED", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
})  # fmt: skip
"""OpenSSL's names of the alerts by which a server refuses a client's certificate."""


def publish_code(code: int) -> str:
    """The name of a PUBACK's reason code, `code_0x…` for one that MQTT 5 does not define."""
    return PUBLISH_CODES.get(code, f"code_0x{code:02x}")


def may_retry(code: int) -> bool:
    """Whether the same publication may be accepted later."""
    return code in _LATER


def refused(where: str, code: int) -> Lost:
    """The broker said no, in CONNACK or DISCONNECT."""
    words, hint = _REFUSED.get(code, (f"reason code 0x{code:02x}", "see the broker's log"))
    return Lost(f"the broker at {where} refuses: {words}", hint, code in _PATIENCE)


def not_a_broker(where: str, greeting: bytes) -> Lost:
    """Something answered the CONNECT with these first bytes, which are not MQTT."""
    if greeting.startswith((b"HTTP/", b"<")):
        hint = "a captive portal of this network, or a web server: sign in on the network, or check host and port"
        return Lost(f"a web page answers at {where} instead of a broker", hint, busy=True)
    hint = "check host and port; a port for TLS needs [tls]"
    return Lost(f"what answers at {where} is not an MQTT broker", hint, busy=True)


def closed_early(where: str, version: str, *, tls: bool, certificate: bool) -> Lost:
    """`certificate`: this client showed one, and the alert that refused it may have gone down with the connection."""
    other = "3.1.1" if version == "5" else "5"
    if certificate:
        also = "does it refuse this client's certificate (tls.cert)?"
    else:
        also = "does it ask for a client certificate (tls.cert, tls.key)?" if tls else "a port for TLS needs [tls]"
    hint = f'does it speak MQTT {version}? try version = "{other}"; {also}'
    return Lost(f"{where} closed the connection without an answer", hint, busy=certificate)


def failed(where: str, error: OSError, *, worked: bool = False) -> Lost:
    """Resolving, connecting, the TLS handshake or the connection itself failed with `error`; `worked`: the broker had
    accepted before."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words, hint = _CERTIFICATE.get(error.verify_code, ("it does not verify", "openssl s_client shows the chain"))
        return Lost(f"the certificate of {where} is refused: {words}", hint, busy=True)
    if isinstance(error, ssl.SSLError):
        return _tls_failed(where, error)
    if isinstance(error, socket.gaierror):
        host = where.rpartition(":")[0]
        return Lost(f"the name {host} is not known", "check host, and the network's DNS: getent hosts " + host)
    code = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
    if code in _NETWORK:
        words, hint = _NETWORK[code]
        if worked and code == errno.ECONNRESET:
            hint = "see the broker's log; does a firewall or a bad line on the way cut it?"
        return Lost(words.format(where=where), hint)
    words = os.strerror(code) if code else type(error).__name__
    return Lost(f"no connection to {where}: {words.lower()}", "is the network up? ip route")


def _tls_failed(where: str, error: ssl.SSLError) -> Lost:
    if error.reason in _PLAIN_TEXT:
        hint = "a captive portal of this network, or a port without TLS: sign in on the network, or check the port"
        return Lost(f"what answers at {where} does not speak TLS", hint, busy=True)
    if error.reason in _WANTS_CERTIFICATE:
        hint = "give tls.cert and tls.key that the broker's CA issued and that have not expired"
        return Lost(f"the broker at {where} refuses this client's certificate", hint, busy=True)
    hint = f"openssl s_client -connect {where} shows more"
    return Lost(f"the TLS handshake with {where} failed: {error.reason or 'closed'}", hint)
