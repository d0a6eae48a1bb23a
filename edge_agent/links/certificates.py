"""When the certificates of a PEM file expire: the one date of X.509 (RFC 5280) that the agent has to know.

The `ssl` module tells it of a CA alone, and of a client's own certificate only through a private name.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from datetime import UTC, datetime

_LABEL = "(?:TRUSTED |X509 )?CERTIFICATE-----"
_PEM = re.compile(f"-----BEGIN {_LABEL}([^-]*)-----END {_LABEL}")
_MARK = re.compile(f"-----(?:BEGIN|END) {_LABEL}")
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


def expiries_ms(pem: str) -> list[int]:
    """UTC in ms, of each certificate in its order. Raises ValueError where one cannot be read, or there is none."""
    texts = _PEM.findall(pem)
    marks = len(_MARK.findall(pem))
    if not marks:
        raise ValueError("no certificate is in it")
    if marks != 2 * len(texts):
        raise ValueError("a certificate in it is cut off")
    return [_not_after_ms(a2b_base64(text)) for text in texts]


def _not_after_ms(der: bytes) -> int:
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)  # what is signed of it
    tag, _, after = _element(rest)
    if tag == _VERSION:
        rest = after
    for _ in ("serial number", "signature algorithm", "issuer"):
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    if tag != _SEQUENCE:
        raise ValueError("not a certificate")
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    return round(_time(tag, text.decode("ascii")).timestamp() * 1000)


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element of DER, and what follows it."""
    if len(der) < 2:
        raise ValueError("cut off")
    length, begin = der[1], 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(der[2:begin], "big")
    return der[0], der[begin : begin + length], der[begin + length :]
