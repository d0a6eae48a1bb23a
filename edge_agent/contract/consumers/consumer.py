"""Keeps everything that gateways number, each once, in an SQLite file, and acknowledges it after the commit.

python consumer.py HOST PORT FILE
"""

import json
import sqlite3
import sys
import zlib

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5
from paho.mqtt.properties import PacketTypes, Properties

db = sqlite3.connect(sys.argv[3])
db.execute("CREATE TABLE IF NOT EXISTS entry (gw, epoch, stream, seq, t, body, PRIMARY KEY (gw, epoch, stream, seq))")


def entries(m):
    """(stream, seq, UTC in ms, content) of everything in a message that has a number."""
    if "seg" not in m:
        yield m["stream"], m["seq"], m.get("t"), m
    for s in m.get("seg", ()):
        t = m["t0"]
        for i in range(s["n"]):
            t = None if t is None else t + s["dt"][i]
            values = {name: (c["x"][i], c["q"][i] if "q" in c else 0) for name, c in s["ch"].items()}
            yield s["stream"], s["seq0"] + i, t, values


def on_message(client, _, packet):
    place, _, kind = packet.topic.partition("/up/")
    if kind.split("/")[0] in ("tele", "infer", "decision", "alert", "ledger"):  # the others have no numbers
        m = json.loads(zlib.decompress(packet.payload))
        found = [(m["gw"], m["epoch"], stream, seq, t, json.dumps(content)) for stream, seq, t, content in entries(m)]
        with db:  # one transaction; what comes again is there already
            db.executemany("INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?, ?, ?)", found)
        have = {}
        for s in m.get("seg") or [{"stream": m["stream"], "seq0": m["seq"], "n": 1}]:
            have.setdefault(s["stream"], []).append((s["seq0"], s["seq0"] + s["n"] - 1))
        client.publish(f"{place}/down/ack", json.dumps({"schema": "ack/1", "epoch": m["epoch"], "have": have}), qos=1)
    client.ack(packet.mid, packet.qos)  # the broker's copy may go, and only now


session = Properties(PacketTypes.CONNECT)
session.SessionExpiryInterval = 86_400
consumer = Client(CallbackAPIVersion.VERSION2, "consumer", protocol=MQTTv5, manual_ack=True)
consumer.on_connect = lambda client, *_: client.subscribe("edge/v1/+/+/+/up/#", qos=1)
consumer.on_message = on_message
consumer.connect(sys.argv[1], int(sys.argv[2]), clean_start=False, properties=session)
consumer.loop_forever()
