"""ports.Source, for every source there is: with its device, without it, and after it went."""

import math
import re
import time
from contextlib import suppress

import pytest
from driver_contract import OPEN_S, DriverUnderTest, Leaks, kinds

from edge_agent.errors import EndOfInput, Retryable
from edge_agent.types import Frame, HealthChange, Lost, Reading

NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
SLACK_S = 0.4
"""For a busy machine."""


@pytest.fixture(params=kinds("source"))
def source_kind(request):
    return DriverUnderTest("source", request.param)


@pytest.fixture
def opened(source_kind, context, tmp_path):
    with source_kind.working(tmp_path) as keys:
        source = source_kind.module.open(source_kind.config(keys), context)
        yield source
        source.close()


def some_items(source, timeout_s=20.0):
    """The first that come."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        items = source.read(0.25)
        if items:
            return items
    pytest.fail(f"nothing came within {timeout_s} s")


def test_a_missing_device_is_retryable_and_said_soon(source_kind, context, tmp_path):
    """`open` finds it within a second or leaves it to `read`; what needs no device gives readings instead."""
    leaks = Leaks()
    config = source_kind.config(source_kind.missing(tmp_path))
    source = None
    start = time.monotonic()
    with suppress(Retryable):
        source = source_kind.module.open(config, context)
    assert time.monotonic() - start < OPEN_S + SLACK_S
    if source is not None:
        with suppress(Retryable):
            some_items(source)
        source.close()
    assert not leaks.threads()
    assert not leaks.descriptors()


def test_what_it_gives_is_what_the_engine_takes(opened, context):
    for item in some_items(opened):
        assert isinstance(item, (Reading, Frame, Lost, HealthChange))
        assert item.stamp.boot == context.clock.boot
        if isinstance(item, (Lost, HealthChange)):
            continue
        if isinstance(item, Frame):
            assert len(item.images) == len(context.views)
            assert all(len(i.pixels) % (i.height * i.width) == 0 for i in item.images)
            continue
        assert NAME.fullmatch(item.stream)
        assert all(NAME.fullmatch(name) for name in item.values)
        assert all(isinstance(value, (int, float, str, type(None))) for value in item.values.values())
        assert all(math.isfinite(value) for value in item.values.values() if isinstance(value, (int, float)))


def test_time_goes_forward(opened):
    came = [item for _ in range(3) for item in _again(opened)]
    stamps = [item.stamp.mono_ns for item in came if isinstance(item, (Reading, Frame))]
    assert stamps == sorted(stamps)


def _again(source):
    try:
        return source.read(0.5)
    except EndOfInput:
        return ()


def test_read_honours_its_timeout(opened):
    some_items(opened)
    for timeout_s in (0.0, 0.05, 0.3):
        start = time.monotonic()
        try:
            opened.read(timeout_s)
        except EndOfInput:
            return
        assert time.monotonic() - start < timeout_s + SLACK_S


def test_it_starts_no_thread_and_close_leaves_nothing_open(source_kind, context, tmp_path):
    with source_kind.working(tmp_path) as keys:
        config = source_kind.config(keys)
        _open_read_close(source_kind, config, context)  # what a first use loads stays
        leaks = Leaks()
        source = source_kind.module.open(config, context)
        some_items(source)
        assert not leaks.threads(), "drivers never start threads"
        source.close()
        assert not leaks.descriptors()


def test_it_can_be_opened_again_after_close(source_kind, context, tmp_path):
    with source_kind.working(tmp_path) as keys:
        config = source_kind.config(keys)
        for _ in range(2):
            _open_read_close(source_kind, config, context)


def _open_read_close(source_kind, config, context):
    source = source_kind.module.open(config, context)
    some_items(source)
    source.close()


def test_losing_the_device_is_retryable_and_close_does_not_raise(source_kind, context, tmp_path):
    if not hasattr(source_kind.case, "lose"):
        pytest.skip("its case has no `lose`: nothing to pull out")
    with source_kind.working(tmp_path) as keys:
        source = source_kind.module.open(source_kind.config(keys), context)
        some_items(source)
        source_kind.case.lose()
        with pytest.raises(Retryable):
            _read_for(source, 5.0)
        source.close()


def _read_for(source, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        source.read(0.25)
