"""The serial actuator on real pseudo-terminals, alone on its port and beside a source."""

import threading
import time

import msgspec
import pytest
from acts import CLOCK, act
from doubles.pty_device import Relays

from edge_agent.actuators import serial as serial_actuator
from edge_agent.actuators.body import ActuatorBody
from edge_agent.errors import Rejected, Retryable
from edge_agent.health import PartHealth
from edge_agent.sources import serial_lines
from edge_agent.types import Receipt


def opened(device, context, **keys):
    return serial_actuator.open(msgspec.convert({"device": device.path, **keys}, serial_actuator.Config), context)


def test_a_command_is_done_when_the_device_reads_the_value_back(device, context):
    with device:
        relays = Relays(device)
        relays.start()
        actuator = opened(device, context)
        for n, value in enumerate((1, 0, True, 12.3456789, "ON", -1)):
            receipt = actuator.apply(act(n, value=value), 1.0)
            assert (receipt.done, receipt.read_back) == (True, value)
            assert relays.state["relay"] == value
        actuator.close()


def test_a_value_that_only_float32_can_hold_is_the_same(device, context):
    with device:
        relays = Relays(device)
        relays.start()
        relays.broken.add("speed")
        relays.state["speed"] = 0.10000000149011612
        actuator = opened(device, context)
        assert actuator.apply(act(1, target="speed", value=0.1), 1.0).done
        actuator.close()


def test_a_stuck_relay_may_be_tried_again_and_a_refusal_not(device, context):
    with device:
        Relays(device, refuse={"press": "interlock \x1b[31m"}, broken={"relay"}).start()
        actuator = opened(device, context)
        with pytest.raises(Retryable, match="reads back None, not 1"):
            actuator.apply(act(1), 1.0)
        with pytest.raises(Rejected, match=r"press refused: 'interlock \\x1b"):
            actuator.apply(act(2, target="press"), 1.0)
        actuator.close()


def test_no_answer_takes_its_time_and_no_more(device, context):
    with device:
        Relays(device, mute={"relay"}).start()
        actuator = opened(device, context)
        start = time.monotonic()
        with pytest.raises(Retryable, match="no answer to set relay"):
            actuator.apply(act(1), 0.3)
        assert 0.3 <= time.monotonic() - start < 0.6
        actuator.close()


def test_a_device_that_never_answers_is_done_when_written(device, context):
    with device:
        actuator = opened(device, context, read_back=False, check="xor")
        receipt = actuator.apply(act(7, value=0), 1.0)
        assert (receipt.done, receipt.read_back, receipt.detail) == (True, None, "written")
        assert device.receive() == b'{"set":"relay","value":0,"id":7}*5C\n'
        actuator.close()


def test_source_and_actuator_share_the_port_and_lose_nothing(device, context):
    """Readings stream at speed while commands go out and their answers come back between them."""
    with device:
        relays = Relays(device)
        relays.start()
        source = serial_lines.open(msgspec.convert({"device": device.path}, serial_lines.Config), context)
        actuator = opened(device, context)
        numbers, stop = [], threading.Event()

        def read():
            while not stop.is_set():
                numbers.extend(r.values["n"] for r in source.read(0.05))

        def send():
            for n in range(2000):
                device.send(b'{"n":%d}\n' % n)

        threads = [threading.Thread(target=work, daemon=True) for work in (read, send)]
        for thread in threads:
            thread.start()
        for n in range(50):
            assert actuator.apply(act(n, value=n % 2), 2.0).read_back == n % 2
        threads[1].join(10.0)
        time.sleep(0.2)
        stop.set()
        threads[0].join(5.0)
        source.close()
        actuator.close()
    assert numbers == list(range(2000))
    assert context.counters.to_dict(0)["counts"] == {"answers": 50}
    assert len(relays.commands) == 50


def test_an_unplugged_device_is_switched_as_soon_as_it_is_back(device, context):
    """The whole chain with its body: away at the decision, back within the deadline."""
    receipts = []
    body = ActuatorBody(
        "press", opener=lambda: opened(device, context), deadline_s=5.0, post=receipts.extend, clock=CLOCK,
        health=PartHealth("press"),
    )  # fmt: skip
    thread = threading.Thread(target=body.run, daemon=True)
    thread.start()
    body.submit(act(1))
    time.sleep(0.3)
    device.plug()
    relays = Relays(device)
    relays.start()
    end = time.monotonic() + 3.0
    while not any(isinstance(event, Receipt) for event in receipts) and time.monotonic() < end:
        time.sleep(0.01)
    body.stop()
    thread.join(5.0)
    (receipt,) = (event for event in receipts if isinstance(event, Receipt))
    assert (receipt.done, receipt.read_back) == (True, 1)
    assert relays.state == {"relay": 1}
