"""A batch of samples as readings, each with the device's time and its own cursor. Pure."""

from __future__ import annotations

from edge_agent.links.bridge_cursor import pack
from edge_agent.sources.bridge_fields import BridgeFields
from edge_agent.types import Quality, Reading, Stamp, Value
from firmware_bridge.events import Batch


def readings_of(batch: Batch, fields: BridgeFields, stream: str, now: Stamp, last_ns: int) -> list[Reading]:
    """One for each sample: nothing of a batch is left out, or its numbers would not add up.

    A sample of a stream that cannot be used is a reading without a field. The order of samples is certain, their
    times only within an error: within it, none is earlier than the one before it, which was at `last_ns`.
    """
    boot, following = batch.cursor.boot, batch.first + 1
    lead_ns = now.wall_ns - now.mono_ns
    names, known = fields.names, len(fields.names)
    readings = []
    for i, index in enumerate(batch.streams):
        mono_ns = batch.received_ns
        if batch.offset_ns is not None:
            mono_ns = min(mono_ns, batch.device_us[i] * 1000 + batch.offset_ns)
        if mono_ns < last_ns <= mono_ns + 2 * batch.error_ns:
            mono_ns = last_ns
        last_ns = mono_ns
        stamp = Stamp(mono_ns, mono_ns + lead_ns, now.quality, now.boot)
        name = names[index] if index < known else ""
        values: dict[str, Value | None] = {name: batch.values[i]} if name else {}
        bad = name and (batch.quality[i] or name in fields.disputed)
        quality = {name: Quality.BAD} if bad else None
        readings.append(Reading(stream, stamp, values, quality, pack(boot, following + i)))
    return readings
