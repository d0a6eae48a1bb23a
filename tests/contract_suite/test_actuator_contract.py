"""ports.Actuator, for every actuator there is: with its device and without it."""

import time

import pytest
from driver_contract import OPEN_S, DriverUnderTest, Leaks, kinds

from edge_agent.errors import Rejected, Retryable
from edge_agent.types import Act, Receipt

SLACK_S = 0.4


@pytest.fixture(params=kinds("actuator"))
def actuator_kind(request):
    return DriverUnderTest("actuator", request.param)


def act(context, number=7, value=1):
    return Act(number, context.name, "relay", value, "rule", context.clock.now())


def test_a_missing_device_is_retryable_and_said_soon(actuator_kind, context, tmp_path):
    leaks = Leaks()
    start = time.monotonic()
    with pytest.raises(Retryable) as e:
        _open_apply_close(actuator_kind, actuator_kind.missing(tmp_path), context)
    assert e.value.message
    assert time.monotonic() - start < OPEN_S + SLACK_S
    assert not leaks.threads()
    assert not leaks.descriptors()


def _open_apply_close(actuator_kind, keys, context):
    actuator = actuator_kind.module.open(actuator_kind.config(keys), context)
    try:
        return actuator.apply(act(context), 0.2)
    finally:
        actuator.close()


def test_a_receipt_says_which_action_is_done(actuator_kind, context, tmp_path):
    with actuator_kind.working(tmp_path) as keys:
        actuator = actuator_kind.module.open(actuator_kind.config(keys), context)
        for number, value in enumerate(getattr(actuator_kind.case, "VALUES", (1, 0, True, 0.5, "ON"))):
            receipt = actuator.apply(act(context, number, value), 5.0)
            assert isinstance(receipt, Receipt)
            assert (receipt.action_id, receipt.actuator, receipt.done) == (number, context.name, True)
            assert receipt.read_back in (None, value)
            assert receipt.stamp.boot == context.clock.boot
        actuator.close()


def test_a_device_that_does_not_answer_takes_no_longer_than_its_time(actuator_kind, context, tmp_path):
    if not hasattr(actuator_kind.case, "mute"):
        pytest.skip("its case has no `mute`: it waits for nobody")
    with actuator_kind.case.mute(tmp_path) as keys:
        actuator = actuator_kind.module.open(actuator_kind.config(keys), context)
        for timeout_s in (0.1, 0.4):
            start = time.monotonic()
            with pytest.raises((Retryable, Rejected)):
                actuator.apply(act(context), timeout_s)
            assert time.monotonic() - start < timeout_s + SLACK_S
        actuator.close()


def test_it_starts_no_thread_and_close_leaves_nothing_open(actuator_kind, context, tmp_path):
    with actuator_kind.working(tmp_path) as keys:
        _open_apply_close(actuator_kind, keys, context)
        leaks = Leaks()
        actuator = actuator_kind.module.open(actuator_kind.config(keys), context)
        actuator.apply(act(context), 5.0)
        assert not leaks.threads(), "drivers never start threads"
        actuator.close()
        assert not leaks.descriptors()
