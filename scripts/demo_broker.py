"""The demo's MQTT 5 broker: iotcore in a child process on a loopback port, to be taken away and brought back.

It keeps nothing: what it had acknowledged is gone with it, so the demo runs with `delivery.ack = "backend"`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MOST_PAYLOAD = 262_144
_START_S = 20.0
_CONFIG = """
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[{version}.1]
name = "{version}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[{version}.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = 200
dynamic_filters = true
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class DemoBroker:
    """One listener: MQTT 5, or 3.1.1 with `version="3.1.1"` (mixing both on one rumqttd crashes the older one)."""

    def __init__(self, port: int | None = None, *, version: str = "5", most_payload: int = MOST_PAYLOAD) -> None:
        self.port = port or free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="demo-broker-")
        self._config = Path(self._folder.name) / "broker.toml"
        listener = "v5" if version == "5" else "v4"
        self._config.write_text(_CONFIG.format(version=listener, port=self.port, payload=most_payload))
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Returns when it takes connections. Raises RuntimeError when it does not within 20 s."""
        if self.running:
            return
        self._child = subprocess.Popen(
            [sys.executable, __file__, str(self._config)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self.running:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the demo broker does not listen on 127.0.0.1:{self.port}; is iotcore installed?")

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
        self._end()

    def kill(self) -> None:
        """As a power cut does: nothing is flushed, nobody is told."""
        if self._child is not None:
            self._child.kill()
        self._end()

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()

    def __enter__(self) -> DemoBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.wait(10.0)
        if child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()


def _serve(config: str) -> None:
    """In the child: runs until it is ended, or until whoever started it is gone."""
    import iotcore

    def follow_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    logging.disable(logging.CRITICAL)
    threading.Thread(target=follow_parent, daemon=True).start()
    iotcore.IotCoreBroker(config_path=config).run_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="rumqttd configuration")
    _serve(parser.parse_args().config)
