"""A device on a pseudo-terminal that talks without end."""

import threading
from contextlib import contextmanager, suppress

from doubles.pty_device import PtyDevice

_device = None


@contextmanager
def working(folder):
    global _device  # noqa: PLW0603 - `lose` pulls out what `working` plugged in
    _device = device = PtyDevice(folder)
    stop = threading.Event()

    def talk():
        n = 0
        while not stop.wait(0.02):
            with suppress(OSError):
                device.send(b'{"temp":20.5,"n":%d}\n' % n)
            n += 1

    with device:
        talker = threading.Thread(target=talk)
        talker.start()
        try:
            yield {"device": device.path}
        finally:
            stop.set()
            talker.join(5.0)


def lose():
    _device.unplug()
