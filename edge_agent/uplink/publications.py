"""Rows and documents as MQTT publications. What routers may want to know without parsing the body goes along in
properties of MQTT 5: content type, expiry, and the user properties `schema`, `epoch` and `seq0`. All of it but the
expiry is in the body too."""

from __future__ import annotations

import zlib

from edge_agent.contract import topics
from edge_agent.contract.channels import DOCUMENT_TYPE, ROW_TYPE, UP_EXPIRY_S
from edge_agent.links.mqtt_types import Publication
from edge_agent.ports import Row

_OPENING = b'{"schema":"'


def of_row(gateway: topics.Gateway, row: Row) -> Publication:
    """What must not be lost never expires at the broker."""
    seq0 = (("seq0", str(row.segments[0].first)),) if row.segments else ()
    return Publication(
        gateway.up(row.kind, row.key),
        row.body,
        content_type=ROW_TYPE,
        expiry_s=UP_EXPIRY_S.get(row.kind),
        user=(("schema", _schema(_start(row.body))), ("epoch", row.epoch), *seq0),
    )


def of_document(
    gateway: topics.Gateway, epoch: str, suffix: str, body: bytes, correlation: bytes = b""
) -> Publication:  # fmt: skip
    """`suffix` is the topic below `up/`: plain JSON, retained where the kind is state."""
    kind, _, key = suffix.partition("/")
    return Publication(
        gateway.up(kind, key),
        body,
        retain=kind in topics.RETAINED,
        content_type=DOCUMENT_TYPE,
        expiry_s=UP_EXPIRY_S.get(kind),
        user=(("schema", _schema(body)), ("epoch", epoch)),
        correlation=correlation,
    )


def _start(body: bytes) -> bytes:
    """The first bytes of a deflated text; none of what is not deflated."""
    try:
        return zlib.decompressobj().decompress(body, 64)
    except zlib.error:
        return b""


def _schema(text: bytes) -> str:
    """`tele/1` of `{"schema":"tele/1",…`; empty where the text starts otherwise."""
    opening, _, rest = text[:64].partition(_OPENING)
    name, quote, _ = rest.partition(b'"')
    return name.decode("ascii", "replace") if not opening and quote else ""
