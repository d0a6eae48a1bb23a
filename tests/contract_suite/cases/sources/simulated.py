"""Needs no device."""

from contextlib import contextmanager


@contextmanager
def working(folder):
    yield {"rate_hz": 50.0}
