"""Registers become fields and back; one bad slave does not stop the bus."""

from __future__ import annotations

import math
import time
from pathlib import Path

import msgspec
import pytest

from edge_agent.actuators import modbus as modbus_actuator
from edge_agent.errors import Rejected, Retryable
from edge_agent.links.modbus_values import Register, decode, encode
from edge_agent.sources import modbus as modbus_source
from edge_agent.sources.modbus import spans
from edge_agent.types import Act, HealthChange, Reading, Stamp
from tests.doubles.context import DriverContext
from tests.modbus.servers import Slaves, rtu_server, tcp_server

MAP = {
    "temp": {"address": 0, "type": "i16", "scale": 0.1, "unit": "Cel"},
    "below": {"address": 1, "type": "i16", "scale": 0.1},
    "big": {"address": 2, "type": "u32"},
    "little": {"address": 4, "type": "i32", "word_order": "little"},
    "pi": {"address": 6, "type": "f32"},
    "ip": {"address": 8, "type": "f32", "word_order": "little"},
    "fault": {"address": 10, "type": "bool", "bit": 15},
    "ready": {"address": 10, "type": "bool", "bit": 1},
    "raw": {"address": 0, "table": "input"},
    "on": {"address": 0, "table": "coil", "type": "bool"},
    "off": {"address": 1, "table": "discrete", "type": "bool"},
}
OUTPUTS = {
    "speed": {"slave": 1, "address": 11, "type": "i16", "scale": 0.5},
    "level": {"slave": 1, "address": 12, "type": "f32", "word_order": "little"},
    "pump": {"slave": 1, "address": 3, "table": "coil", "type": "bool"},
}


def source(context, **keys):
    config = msgspec.convert(keys, modbus_source.Config)
    return modbus_source.open(config, context)


def actuator(context, **keys):
    return modbus_actuator.open(msgspec.convert(keys, modbus_actuator.Config), context)


def act(target, value):
    return Act(1, "out", target, value, "rule", Stamp(0, 0))


def items(source, wanted, timeout_s=5.0):
    out = []
    end = time.monotonic() + timeout_s
    while len(out) < wanted:
        assert time.monotonic() < end, out
        out += source.read(0.1)
    return out


@pytest.fixture(params=["tcp", "rtu"])
def bus(request, tmp_path):
    """The keys of a bus with slaves 1 and 3."""
    if request.param == "tcp":
        with tcp_server() as port:
            yield {"host": "127.0.0.1", "port": port}
    else:
        with rtu_server(tmp_path) as path:
            yield {"device": path, "baud": 115_200}


def test_every_type_scale_and_word_order_is_read(bus):
    s = source(DriverContext("drive"), poll=[{"slave": 1, "registers": MAP}], **bus)
    reading = next(item for item in items(s, 1) if isinstance(item, Reading))
    s.close()
    values = reading.values
    assert values["temp"] == pytest.approx(21.5)
    assert values["below"] == pytest.approx(-5.0)
    assert values["big"] == values["little"] == 100_000
    assert values["pi"] == values["ip"] == pytest.approx(math.pi, rel=1e-7)
    assert values["raw"] == 215
    assert [values[name] for name in ("fault", "ready", "on", "off")] == [True, False, True, False]
    assert reading.quality is None


def test_what_is_written_is_read_back_on_the_bus_that_a_source_shares(bus):
    context = DriverContext("drive")
    s = source(context, poll=[{"slave": 1, "registers": {"v": {"address": 11, "type": "i16", "scale": 0.5}}}], **bus)
    out = actuator(context, registers=OUTPUTS, **bus)
    assert out.apply(act("speed", -7.5), 1.0).read_back == -7.5
    assert out.apply(act("level", 2.25), 1.0).read_back == 2.25
    assert out.apply(act("pump", 1), 1.0).read_back is True
    assert next(item for item in items(s, 1) if isinstance(item, Reading)).values == {"v": -7.5}
    with pytest.raises(Rejected, match="does not fit"):
        out.apply(act("speed", 1e6), 1.0)
    with pytest.raises(Rejected, match="no register"):
        out.apply(act("spede", 1), 1.0)
    out.close()
    s.close()


def test_a_silent_slave_is_left_alone_and_its_neighbours_are_asked_in_time(tmp_path):
    polls = [{"slave": n, "every": "50ms", "stream": f"s{n}", "registers": {"v": {"address": 0}}} for n in (1, 2, 3)]
    context = DriverContext("line")
    with Slaves(tmp_path) as slaves:
        slaves.silent.add(2)
        s = source(context, device=slaves.path, baud=115_200, timeout="100ms", poll=polls)
        came = []
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            came += s.read(0.05)
        readings = [item for item in came if isinstance(item, Reading)]
        assert min(sum(r.stream == f"s{n}" for r in readings) for n in (1, 3)) >= 30
        assert {r.values["v"] for r in readings} == {100, 300}
        # asked at 0, 1 s after, and then no more within the time
        assert slaves.asked.count(2) <= 3
        (down,) = [item for item in came if isinstance(item, HealthChange) and not item.up]
        assert (down.part, down.alert) == ("line.slave2", True)
        slaves.silent.clear()
        back = []
        while not any(isinstance(i, HealthChange) for i in back):
            back += items(s, 1)
        assert next(i for i in back if isinstance(i, HealthChange)).up
        s.close()


@pytest.mark.parametrize("how", ["refusing", "damaging"])
def test_a_slave_that_refuses_or_garbles_does_not_stop_the_bus(tmp_path, how):
    context = DriverContext("line")
    polls = [{"slave": n, "every": "50ms", "registers": {f"v{n}": {"address": 0}}} for n in (1, 2)]
    with Slaves(tmp_path) as slaves:
        getattr(slaves, how).add(1)
        s = source(context, device=slaves.path, baud=115_200, timeout="100ms", poll=polls)
        came = items(s, 12)
        s.close()
    assert all(item.values == {"v2": 200} for item in came if isinstance(item, Reading))
    assert [item.part for item in came if isinstance(item, HealthChange) and not item.up] == ["line.slave1"]


def test_a_bus_on_which_nobody_answers_is_down_and_says_so(tmp_path):
    with Slaves(tmp_path) as slaves:
        slaves.silent.add(1)
        polls = [{"slave": 1, "registers": {"v": {"address": 0}}}]
        s = source(DriverContext("line"), device=slaves.path, baud=115_200, timeout="50ms", poll=polls)
        with pytest.raises(Retryable, match="no slave answers"):
            s.read(0.1)
        s.close()


def test_an_output_that_does_not_move_is_no_success(tmp_path):
    with Slaves(tmp_path) as slaves:
        slaves.stuck.add(1)
        registers = {"v": {"slave": 1, "address": 5}}
        out = actuator(DriverContext("out"), device=slaves.path, baud=115_200, registers=registers)
        with pytest.raises(Retryable, match="reads back 105, not 7"):
            out.apply(act("v", 7), 1.0)
        slaves.stuck.clear()
        assert out.apply(act("v", 7), 1.0).done
        out.close()


def test_a_missing_port_and_a_host_that_is_not_there_are_retryable(tmp_path):
    polls = [{"slave": 1, "registers": {"v": {"address": 0}}}]
    with pytest.raises(Retryable, match="no such device"):
        source(DriverContext(), device=str(tmp_path / "none"), poll=polls)
    with pytest.raises(Retryable, match="no connection"):
        source(DriverContext(), host="127.0.0.1", port=1, poll=polls)


def test_a_hang_up_is_retryable_and_the_bus_opens_again(tmp_path):
    polls = [{"slave": 1, "every": "10ms", "registers": {"v": {"address": 0}}}]
    context = DriverContext("line")
    with Slaves(tmp_path) as slaves:
        s = source(context, device=slaves.path, baud=115_200, poll=polls)
        items(s, 1)
    with pytest.raises(Retryable):
        items(s, 1000)
    s.close()
    Path(slaves.path).unlink()
    with Slaves(tmp_path) as slaves:
        s = source(context, device=slaves.path, baud=115_200, poll=polls)
        items(s, 1)
        s.close()


def test_users_of_one_bus_must_agree_on_how_it_is_opened(tmp_path):
    context = DriverContext("line")
    with Slaves(tmp_path) as slaves:
        s = source(context, device=slaves.path, baud=115_200, poll=[{"slave": 1, "registers": {"v": {"address": 0}}}])
        with pytest.raises(Rejected, match="other settings"):
            actuator(context, device=slaves.path, baud=9600, registers={"v": {"slave": 1, "address": 0}})
        s.close()


def test_registers_that_touch_are_asked_together_within_the_standards_limit():
    made = {f"r{i}": Register(address=i, type="u32" if i % 2 else "u16") for i in range(300)}
    asked = spans(made)
    assert [sum(1 for _ in span) > 0 for _, span in asked]
    for _, span in asked:
        assert max(r.address + r.size for _, r in span) - span[0][1].address <= 125
    apart = spans({"a": Register(address=0), "b": Register(address=2), "c": Register(address=1, table="input")})
    assert len(apart) == 3


@pytest.mark.parametrize("kind", ["u16", "i16", "u32", "i32", "f32"])
@pytest.mark.parametrize("order", ["big", "little"])
def test_what_is_encoded_is_decoded(kind, order):
    register = Register(address=0, type=kind, word_order=order, scale=0.25, offset=-3)
    for value in (-3.0, 0.25, 100.5):
        assert decode(register, encode(register, value)) == value


@pytest.mark.parametrize(
    "bad",
    [
        {"address": 0, "table": "coil"}, {"address": 0, "type": "bool"}, {"address": 0, "bit": 3},
        {"address": 0, "scale": 0}, {"address": 70_000}, {"address": 0, "type": "f64"},
    ],
)  # fmt: skip
def test_a_map_that_cannot_be_is_refused(bad):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Register)
