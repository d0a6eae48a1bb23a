"""The serial_lines source on real pseudo-terminals: unplugging, noise, floods and real devices' logs."""

import random
import threading
import time
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from doubles.context import DriverContext
from doubles.pty_device import Relays

from edge_agent.clock import FakeClock
from edge_agent.errors import Rejected, Retryable
from edge_agent.links.answers import SetCommand
from edge_agent.links.lines import append_check
from edge_agent.links.serial import SerialSettings
from edge_agent.ports import FieldSpec
from edge_agent.sources import serial_lines
from edge_agent.types import Quality

OPEN = Path("/proc/self/fd")
LOGS = Path(__file__).parents[2] / "../shared/data/serial"


def config(device, **keys):
    return msgspec.convert({"device": device.path, **keys}, serial_lines.Config)


def read_all(source, quiet_s=0.3):
    """Until no reading came for `quiet_s`."""
    readings, end = [], time.monotonic() + quiet_s
    while time.monotonic() < end:
        got = source.read(0.05)
        if got:
            readings += got
            end = time.monotonic() + quiet_s
    return readings


def read_sent(source, device, data):
    """What the source makes of `data` written as fast as the pty takes it."""
    readings = []
    writer = threading.Thread(target=device.send, args=[data], daemon=True)
    writer.start()
    while writer.is_alive():
        readings += source.read(0.05)
    return readings + read_all(source, 0.2)


def through(device, context, data, **keys):
    """The same with a source of its own."""
    with device:
        source = serial_lines.open(config(device, **keys), context)
        readings = read_sent(source, device, data)
        source.close()
    return readings


def log_of(name):
    path = LOGS / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path.read_bytes()


# -- unplug and replug ----------------------------------------------------------------------------------------


def test_twenty_unplugs_lose_only_the_partial_line(device, context):
    """As the framework drives it: read until Retryable, close, back off, open again."""
    cycles, lines = 20, 50
    numbers, gaps, connected = [], [], threading.Semaphore(0)
    done = threading.Event()

    def framework():
        down = time.monotonic()
        while not done.is_set():
            try:
                source = serial_lines.open(config(device), context)
            except Retryable:
                done.wait(0.01)
                continue
            gaps.append(time.monotonic() - down)
            connected.release()
            try:
                while not done.is_set():
                    numbers.extend(r.values["n"] for r in source.read(0.1))
            except Retryable:
                down = time.monotonic()
            source.close()

    agent = threading.Thread(target=framework, daemon=True)
    agent.start()
    for cycle in range(cycles):
        device.plug()
        assert connected.acquire(timeout=5.0)
        for n in range(lines):
            device.send(b'{"n":%d}\n' % (cycle * lines + n))
        device.send(b'{"n":99999')
        wait_for(lambda want=(cycle + 1) * lines: len(numbers) >= want)
        device.unplug()
    done.set()
    agent.join(5.0)
    assert numbers == list(range(cycles * lines))
    assert context.counters.to_dict(0)["counts"] == {}, "no line was glued to a stale partial one"
    assert max(gaps[1:]) < 2.0


def wait_for(condition, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


# -- real devices ---------------------------------------------------------------------------------------------

HUMMINBIRD = {
    "format": "nmea", "baud": 4800,
    "values": {"depth": "DPT.depth", "water_temp": "MTW.temperature", "lat": "GGA.latitude"},
}  # fmt: skip


def test_humminbird_gives_its_depth_and_water_temperature(device, context):
    log = log_of("humminbird-M37.log")
    readings = through(device, context, log, **HUMMINBIRD)
    sentences = [line for line in log.splitlines() if line.startswith(b"$")]
    depths = [float(line.split(b",")[1]) for line in sentences if line.startswith(b"$INDPT")]
    temps = [float(line.split(b",")[1]) for line in sentences if line.startswith(b"$INMTW")]
    assert [r.values["depth"] for r in readings if "depth" in r.values] == depths
    assert [r.values["water_temp"] for r in readings if "water_temp" in r.values] == temps
    assert (len(depths), len(temps)) == (33, 16)
    counts = context.counters.to_dict(0)["counts"]
    assert counts == {"notes": 11, "other_lines": len(sentences) - len(readings)}


def test_exactly_the_damaged_sentences_are_refused_and_counted(device, context):
    """One bit of one body byte in one line of ten, over and over with other bits."""
    rng = random.Random(1)
    lines, damaged = [], 0
    for i, whole in enumerate(log_of("humminbird-M37.log").splitlines() * 20):
        line = bytearray(whole)
        if i % 10 == 0 and line.startswith(b"$"):
            at, bit = rng.randrange(1, line.rfind(b"*")), 1 << rng.randrange(8)
            if line[at] ^ bit != 0x0A:  # a new line end would make two bad lines of one
                line[at] ^= bit
                damaged += 1
        lines.append(line)
    readings = through(device, context, b"\r\n".join(lines) + b"\r\n", **HUMMINBIRD)
    assert damaged > 150
    assert context.counters.value("check_failed") == damaged
    assert not {"sentence", "check_missing", "too_long"} & set(context.counters.to_dict(0)["counts"])
    depths = {r.values["depth"] for r in readings if "depth" in r.values}
    assert depths <= {round(0.1 * n, 1) for n in range(15, 35)}


@pytest.mark.parametrize(
    ("log", "values", "unchecked"),
    [
        ("pypilot.log", {"pitch": "XDR.PTCH", "roll": "XDR.ROLL", "heading": "HDM.heading"}, 0),
        ("bu353s4.log", {"lat": "GGA.latitude", "lon": "GGA.longitude", "speed": "RMC.spd_over_grnd"}, 0),
        # after a restart this one sends three sentences that end in `$` in place of a checksum
        ("mtk-3301.log", {"lat": "GGA.latitude", "fix": "GGA.gps_qual", "sats": "GGA.num_sats"}, 3),
    ],
)
def test_other_real_devices_give_all_that_was_asked_for(device, context, log, values, unchecked):
    readings = through(device, context, log_of(log), format="nmea", values=values)
    assert {name for r in readings for name, value in r.values.items() if value is not None} == set(values)
    assert context.counters.value("check_missing") == unchecked
    assert set(context.counters.to_dict(0)["counts"]) <= {"notes", "other_lines", "check_missing"}


# -- hostile input --------------------------------------------------------------------------------------------


def noise_of(kind, size):
    rng = random.Random(kind)
    if kind == "bytes":
        return rng.randbytes(size)
    if kind == "no_line_end":
        return rng.randbytes(size).replace(b"\n", b"x")
    text = b'0123456789.,-+eE{}[]":$*\r\n nullatefsuri'
    return bytes(rng.choices(text, k=size))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bytes", "no_line_end", "line_like"])
@pytest.mark.parametrize(
    "keys",
    [
        {"format": "ndjson"},
        {"format": "csv", "columns": ["a", "b", "c"], "check": "crc16"},
        {"format": "nmea", "values": {"depth": "DPT.depth"}},
    ],
    ids=lambda keys: keys["format"],
)
def test_ten_megabytes_of_noise_give_no_reading_in_bounded_memory(device, context, kind, keys):
    noise = noise_of(kind, 10_000_000 if kind != "line_like" else 2_000_000)
    with device:
        source = serial_lines.open(config(device, **keys), context)
        tracemalloc.start()
        readings = read_sent(source, device, noise)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert readings == []
        assert peak < 3_000_000
        assert context.counters.to_dict(0)["notes"] == {"noisy": True}
        # and a good line after all that is taken
        body = {"ndjson": b'{"a":1.5}', "csv": b"1.5,2,3", "nmea": b"$INDPT,1.5,0.0"}[keys["format"]]
        check = {"ndjson": "none", "csv": "crc16", "nmea": "xor"}[keys["format"]]
        device.send(b"\n" + append_check(body, check) + b"\n")
        assert [1.5 in r.values.values() for r in read_all(source)] == [True]
        source.close()


def test_single_bytes_and_glued_lines_are_the_same_readings(device, context):
    with device:
        source = serial_lines.open(config(device), context)
        for byte in b'{"a":1}\n':
            device.send(bytes([byte]))
            time.sleep(0.002)
        device.send(b'{"a":2}\n{"a":3}\r\n\n{"a":')
        assert [r.values["a"] for r in read_all(source)] == [1, 2, 3]
        device.send(b"4}\n")
        assert [r.values["a"] for r in read_all(source, 0.1)] == [4]
        source.close()


def test_a_flood_comes_whole_and_in_order(device, context):
    n = 100_000
    data = b"".join(b'{"n":%d,"temp":20.5}\n' % i for i in range(n))
    readings = through(device, context, data)
    assert [r.values["n"] for r in readings] == list(range(n))
    assert context.counters.to_dict(0)["counts"] == {}


def test_readings_of_one_read_share_the_stamp_of_the_read(device, context):
    context.clock = FakeClock()
    with device:
        source = serial_lines.open(config(device), context)
        device.send(b'{"a":1}\n{"a":2}\n')
        first = read_all(source, 0.1)
        context.clock.advance(5.0)
        device.send(b'{"a":3}\n')
        second = read_all(source, 0.1)
        source.close()
    assert first[0].stamp is first[1].stamp
    assert second[0].stamp.mono_ns - first[0].stamp.mono_ns == 5_000_000_000
    assert {r.stream for r in first} == {"press"}


def test_bad_lines_are_kept_for_a_person_to_look_at(device, context):
    readings = through(device, context, b'{"a":1}\n\x1b[31mgarbage\n{"a":nan}\n' + b"x" * 5000 + b'\n{"a":3}\n')
    assert [r.values["a"] for r in readings] == [1, None, 3]
    assert readings[1].quality == {"a": Quality.BAD}
    shown = context.counters.to_dict(0)
    assert shown["counts"] == {"json": 1, "too_long": 1}
    assert shown["quarantine"] == [{"reason": "json", "item": "\\x1b[31mgarbage"}]


# -- formats end to end ---------------------------------------------------------------------------------------


def test_csv_takes_names_from_the_header_and_types_from_the_site(device, context):
    context.fields = {"count": FieldSpec(type="int"), "state": FieldSpec(type="string")}
    data = b"Temp (C),count,state\n20.5,7,run\n,8,\n"
    names = {"temp": "Temp (C)", "count": "count", "state": "state"}
    readings = through(device, context, data, format="csv", values=names)
    assert [r.values for r in readings] == [
        {"temp": 20.5, "count": 7, "state": "run"},
        {"temp": None, "count": 8, "state": None},
    ]


def test_a_check_value_protects_any_format(device, context):
    good = append_check(b'{"a":1}', "crc32")
    readings = through(device, context, good + b"\n" + good.replace(b"1", b"2", 1) + b'\n{"a":3}\n', check="crc32")
    assert [r.values for r in readings] == [{"a": 1}]
    assert context.counters.to_dict(0)["counts"] == {"check_failed": 1, "check_missing": 1}


def test_answers_go_to_who_asked_and_are_no_readings(device, context):
    with device:
        Relays(device).start()
        source = serial_lines.open(config(device), context)
        actuator = context.links.serial(SerialSettings(device.path))
        device.send(b'{"temp":1}\n')
        answers, readings = [], []
        asking = threading.Thread(
            target=lambda: answers.append(actuator.ask(SetCommand(set="relay", value=1, id=7), "none", 2.0)),
            daemon=True,
        )
        asking.start()
        readings += read_all(source)
        asking.join(2.0)
        device.send(b'{"temp":2}\n{"ack":99}\n{"ack":true}\n')
        readings += read_all(source, 0.1)
        source.close()
        actuator.close()
    assert answers[0].value == 1
    assert [r.values for r in readings] == [{"temp": 1}, {"temp": 2}, {"ack": True}]
    assert context.counters.to_dict(0)["counts"] == {"answers": 1, "answers_unasked": 1}


def test_the_configuration_is_checked_before_the_port_is_opened():
    def problem(**keys):
        with pytest.raises(msgspec.ValidationError) as e:
            msgspec.convert({"device": "/dev/x", **keys}, serial_lines.Config)
        return str(e.value)

    assert "nmea needs `values`" in problem(format="nmea")
    assert "has no deep" in problem(format="nmea", values={"depth": "DPT.deep"})
    assert "baud" in problem(baud=0)
    assert "idle" in problem(idle="soon")
    nmea = msgspec.convert({"device": "x", **HUMMINBIRD}, serial_lines.Config)
    assert serial_lines.fields(nmea)["depth"] == FieldSpec(type="double")
    assert serial_lines.fields(msgspec.convert({"device": "x"}, serial_lines.Config)) == {}


def test_silence_opens_the_port_again_where_the_site_asks_for_it(device, context):
    with device:
        source = serial_lines.open(config(device, idle="300ms"), context)
        assert source.read(0.2) == ()
        with pytest.raises(Retryable, match="silent for"):
            source.read(0.5)
        source.close()


def test_two_sources_on_one_port_are_refused(device, context):
    with device:
        source = serial_lines.open(config(device), context)
        with pytest.raises(Rejected):
            serial_lines.open(config(device), DriverContext("other", links=context.links))
        source.close()


def test_nothing_is_left_open(device, context):
    with device:
        serial_lines.open(config(device), context).close()
        before = len(list(OPEN.iterdir()))
        for _ in range(5):
            serial_lines.open(config(device), context).close()
        assert len(list(OPEN.iterdir())) == before
