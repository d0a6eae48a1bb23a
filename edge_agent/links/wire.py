"""What a TCP connection costs, as the kernel counts it, and by which interface it leaves."""

from __future__ import annotations

import fcntl
import socket
import struct
from ipaddress import ip_address
from pathlib import Path

_IPV4_BYTES, _IPV6_BYTES = 52, 72
"""IP and TCP headers of a segment, with the timestamps that Linux sends."""
_SEGS = struct.Struct("=II")
_SEGS_AT = 136
_RECEIVED_AT = 128
_SENT_AT = 200
_U64 = struct.Struct("=Q")
_SIOCGIFADDR = 0x8915


def bytes_of(sock: socket.socket) -> int:
    """Both ways, resent ones and headers included, TLS too; 0 where the kernel (older than 4.19) does not say."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return 0
    if len(info) < _SENT_AT + _U64.size:
        return 0
    (received,), (sent,) = _U64.unpack_from(info, _RECEIVED_AT), _U64.unpack_from(info, _SENT_AT)
    headers = _IPV6_BYTES if sock.family == socket.AF_INET6 else _IPV4_BYTES
    return int(received + sent + headers * sum(_SEGS.unpack_from(info, _SEGS_AT)))


def interface_of(sock: socket.socket) -> str:
    """The name of the interface that has the connection's own address; empty where none has."""
    try:
        address = sock.getsockname()[0]
        return _of_ipv6(address) if sock.family == socket.AF_INET6 else _of_ipv4(address)
    except OSError:
        return ""


def _of_ipv4(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has no such address
            if told[20:24] == socket.inet_aton(address):
                return name
    return ""


def _of_ipv6(address: str) -> str:
    wanted = ip_address(address.partition("%")[0]).packed.hex()
    for line in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if fields[0] == wanted:
            return fields[-1]
    return ""
