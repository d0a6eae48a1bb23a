"""A slave of our own on a pseudo-terminal."""

from contextlib import contextmanager

from modbus.servers import Slaves

_slaves = None


@contextmanager
def working(folder):
    global _slaves  # noqa: PLW0603 - `lose` pulls what `working` plugged in
    with Slaves(folder) as slaves:
        _slaves = slaves
        polls = [{"slave": 1, "every": "10ms", "registers": {"v": {"address": 0}}}]
        yield {"device": slaves.path, "baud": 115_200, "poll": polls}


def lose():
    _slaves.silent.add(1)
