"""A slave of our own on a pseudo-terminal, that obeys or is silent."""

from contextlib import contextmanager

from modbus.servers import Slaves

VALUES = (1, 0, True, 65_535)
"""What a register can hold."""
REGISTERS = {name: {"slave": 1, "address": i} for i, name in enumerate(("relay", "lamp", "valve", "x"))}


@contextmanager
def working(folder):
    with Slaves(folder) as slaves:
        yield {"device": slaves.path, "baud": 115_200, "registers": REGISTERS}


@contextmanager
def mute(folder):
    with Slaves(folder) as slaves:
        slaves.silent.add(1)
        yield {"device": slaves.path, "baud": 115_200, "registers": REGISTERS}
