"""A device on a pseudo-terminal that obeys, or does not answer."""

from contextlib import contextmanager

from doubles.pty_device import PtyDevice, Relays


@contextmanager
def working(folder):
    with PtyDevice(folder) as device:
        Relays(device).start()
        yield {"device": device.path}


@contextmanager
def mute(folder):
    with PtyDevice(folder) as device:
        yield {"device": device.path}
