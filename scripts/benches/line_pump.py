"""A serial line between two file descriptors: DEVICE_FD HOST_FD BYTES_PER_S; the device may send no faster."""

from __future__ import annotations

import os
import select
import sys
import time

_TURN_S = 0.002


def main(device: int, host: int, rate: float) -> None:
    last = time.monotonic()
    allowed = 0.0
    while True:
        time.sleep(_TURN_S)
        now = time.monotonic()
        allowed = min(allowed + (now - last) * rate, rate / 10)
        last = now
        ready, _, _ = select.select([device, host], [], [], 0)
        if host in ready:
            os.write(device, os.read(host, 4096))
        if device in ready and allowed >= 1:
            data = os.read(device, int(allowed))
            allowed -= len(data)
            os.write(host, data)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
