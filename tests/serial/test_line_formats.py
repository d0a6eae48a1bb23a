"""What each text format makes of good, odd and hostile lines: the serial rows of the list of bad inputs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import FakeClock
from edge_agent.errors import Rejected
from edge_agent.health import PartHealth
from edge_agent.sources.csv_lines import CsvLines
from edge_agent.sources.device_seq import DeviceSeq
from edge_agent.sources.line_readings import LineReadings
from edge_agent.sources.ndjson import decode_object
from edge_agent.sources.nmea import Nmea, kind_of, place_problem
from edge_agent.types import ClockQuality, Quality

CLOCK = FakeClock()


def ndjson(line, **options):
    readings = LineReadings("press", PartHealth("press"), **options)
    return readings.make(decode_object(line), CLOCK.now())


def refused(call, *args, **options):
    with pytest.raises(Rejected) as e:
        call(*args, **options)
    return e.value.message


# -- NDJSON ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["NaN", "nan", "-nan", "inf", "-inf", "INF", "Infinity", "-Infinity", "1e999", "-1e999", "ovf"]
)
def test_not_finite_is_a_bad_field_and_the_others_count(text):
    reading = ndjson(b'{"temp":%s,"rpm":1480,"note":"nan, inf"}' % text.encode())
    assert reading.values == {"temp": None, "rpm": 1480, "note": "nan, inf"}
    assert reading.quality == {"temp": Quality.BAD}


def test_minus_zero_is_zero_and_denormals_are_kept():
    values = ndjson(b'{"a":-0.0,"b":4.9e-324,"c":-0,"d":-0.5}').values
    assert math.copysign(1, values["a"]) == 1.0
    assert values == {"a": 0.0, "b": 5e-324, "c": 0, "d": -0.5}


def test_integers_are_exact_in_64_bits_or_refused():
    for value in (2**63 - 1, 2**53 + 1, -(2**63)):
        assert ndjson(b'{"n":%d}' % value).values == {"n": value}
    for value in (2**63, -(2**63) - 1, 10**400):
        assert refused(ndjson, b'{"n":%d}' % value) == "int_range"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "json"),
        (b"[1,2]", "json"),
        (b'{"a":1', "json"),
        (b'{"a":1}x', "json"),
        (b'{"a":"\xff\xfe"}', "json"),
        (b"\x00\x01\x02", "json"),
        (b'{"a":' * 800, "json"),
        (b'{"a":' + b"[" * 3000, "json"),
        (b'{"a":' + b'"\\' * 2000, "json"),
        (b"{}", "no_value"),
        (b'{"a":[1]}', "value_type"),
        (b'{"a":{"b":1}}', "value_type"),
        (b'{"../x":1}', "field_name"),
        (b'{"%s":1}' % (b"x" * 256), "field_name"),
        (b'{"Temp":1}', "field_name"),
        (b'{"a\\u0000":1}', "field_name"),
        (b'{"a":"%s"}' % (b"x" * 257), "text_length"),
    ],
)
def test_bad_objects_are_refused_by_reason(line, reason):
    assert refused(ndjson, line) == reason


def test_control_characters_in_a_text_are_escaped():
    reading = ndjson(b'{"a":"\\u001b[31mred\\n","b":"\xc2\xb5m caf\xc3\xa9","c":"\\ud800"}')
    assert reading.values == {"a": "\\x1b[31mred\\n", "b": "µm café", "c": "\\ud800"}


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_rejected(line):
    try:
        reading = ndjson(line)
    except Rejected:
        return
    assert all(value is None or isinstance(value, (int, float, str)) for value in reading.values.values())


def test_noise_cannot_grow_the_names_without_bound():
    readings = LineReadings("press", PartHealth("press"))
    for i in range(256):
        readings.make({f"f{i}": 1}, CLOCK.now())
    assert refused(readings.make, {"one_more": 1}, CLOCK.now()) == "too_many_fields"
    assert readings.make({"f7": 1}, CLOCK.now()) is not None


def test_values_are_taken_by_the_devices_names_and_others_are_left():
    wanted = {"temp": "Temp (C)", "rpm": "n"}
    reading = ndjson(b'{"Temp (C)":71.5,"n":1480,"extra":{"deep":1}}', values=wanted)
    assert reading.values == {"temp": 71.5, "rpm": 1480}
    assert ndjson(b'{"extra":1}', values=wanted) is None


def test_streams_by_key_are_known_names_and_bounded():
    assert ndjson(b'{"id":"pump","a":1}', stream_key="id").stream == "pump"
    for told in (b'"../x"', b'"%s"' % (b"x" * 256), b'"alert"', b"7", b"null", b'"Pump"'):
        assert refused(ndjson, b'{"id":%s,"a":1}' % told, stream_key="id") == "unknown_stream"
    assert ndjson(b'{"id":"28-FF4A","a":1}', stream_key="id", streams={"oven": "28-FF4A"}).stream == "oven"
    assert refused(ndjson, b'{"id":"pump","a":1}', stream_key="id", streams={"oven": "28-FF4A"}) == "unknown_stream"
    readings = LineReadings("press", PartHealth("press"), stream_key="id")
    for i in range(32):
        readings.make({"id": f"s{i}", "a": 1}, CLOCK.now())
    assert refused(readings.make, {"id": "one_more", "a": 1}, CLOCK.now()) == "unknown_stream"


# -- the device's own numbers and time ------------------------------------------------------------------------


def test_wrap_is_no_event_loss_is_counted_and_rollback_is_a_restart():
    seq = DeviceSeq()
    assert [seq.follow(n) for n in (7, 8, 11)] == [(0, False), (0, False), (2, False)]
    assert [seq.follow(n) for n in (65535, 0, 1)] == [(65523, False), (0, False), (0, False)]
    assert seq.follow(0) == (0, True)
    assert seq.follow(0) == (0, True)


def test_a_restarted_devices_readings_are_all_kept():
    counters = PartHealth("press")
    readings = LineReadings("press", counters, seq_field="seq")
    kept = [readings.make({"seq": n, "a": 1.0}, CLOCK.now()) for n in (5, 6, 9, 1, 2, 2)]
    assert [r.values["seq"] for r in kept] == [5, 6, 9, 1, 2, 2]
    assert (counters.value("device_lost"), counters.value("device_restarts")) == (2, 2)


@pytest.mark.parametrize(
    ("time", "marked"), [(0, True), (1_767_225_700, False), (1_767_225_700_000, False), (2**32, True)]
)
def test_device_time_is_a_field_and_uncertain_when_far_from_ours(time, marked):
    reading = ndjson(b'{"ts":%d,"a":1}' % time, time_field="ts")
    assert reading.values["ts"] == time
    assert reading.stamp == CLOCK.now()
    assert reading.quality == ({"ts": Quality.UNCERTAIN} if marked else None)


def test_device_time_is_not_judged_by_a_guessed_clock():
    clock = FakeClock()
    clock.quality = ClockQuality.GUESSED
    readings = LineReadings("press", PartHealth("press"), time_field="ts")
    assert readings.make({"ts": 0}, clock.now()).quality is None


# -- CSV ------------------------------------------------------------------------------------------------------


def csv(*columns, kinds=None, delimiter=",", midway=False):
    return CsvLines(columns, delimiter, lambda column: (kinds or {}).get(column, "double"), midway=midway).decode


def test_a_header_names_the_cells_and_a_new_header_renames_them():
    decode = csv()
    assert refused(decode, b"20.5,1480") == "no_header"
    assert decode(b"temp, rpm") is None
    assert decode(b"20.5,1480") == {"temp": 20.5, "rpm": 1480.0}
    assert refused(decode, b"20.5") == "cell_count"
    assert decode(b"rpm,temp,load") is None
    assert decode(b"1480,20.5,0.5") == {"rpm": 1480.0, "temp": 20.5, "load": 0.5}


def test_configured_columns_win_over_a_header():
    decode = csv("temp", "rpm")
    assert decode(b"Temperature,Speed") is None
    assert decode(b"1,2") == {"temp": 1.0, "rpm": 2.0}


def test_cells_have_their_declared_type_or_the_line_is_refused():
    decode = csv("n", "on", "name", "x", kinds={"n": "int", "on": "bool", "name": "string"}, delimiter=";")
    assert decode(b'7;true;"a;b";1.5') == {"n": 7, "on": True, "name": "a;b", "x": 1.5}
    assert decode(b"7;0;;") == {"n": 7, "on": False, "name": None, "x": None}
    for line in (b"7.5;1;a;1", b"7;yes;a;1", b"7;1;a;1_0", "7;1;a;１".encode(), b"7;1;a;2x"):
        assert refused(decode, line) == "cell"
    assert refused(decode, b"\xff;1;a;1") == "encoding"
    assert refused(decode, b";;;") == "no_value"
    assert math.isnan(decode(b"1;1;a;ovf")["x"])


@given(st.text(max_size=60).map(str.encode) | st.binary(max_size=60))
def test_any_bytes_are_cells_of_the_declared_types_or_rejected(line):
    decode = csv("a", "n", "name", kinds={"n": "int", "name": "string"})
    for body in (line, b"1,2," + line, line + b',2,"a"'):
        try:
            said = decode(body)
        except Rejected:
            continue
        if said is not None:
            assert isinstance(said["a"], (float, type(None)))
            assert isinstance(said["n"], (int, type(None)))
            assert isinstance(said["name"], (str, type(None)))


def test_a_first_line_that_may_be_a_tail_is_left_out():
    decode = csv("temp", "rpm", midway=True)
    assert decode(b"5,1480") is None  # of 20.5,1480
    assert decode(b"20.5,1480") == {"temp": 20.5, "rpm": 1480.0}


# -- NMEA -----------------------------------------------------------------------------------------------------


def nmea(line, **places):
    return Nmea(places).decode(line)


def test_a_place_names_sentence_and_attribute_and_may_name_the_talker():
    assert nmea(b"$INDPT,2.2,0.0", depth="DPT.depth") == {"depth": 2.2}
    assert nmea(b"$SDDPT,2.2,0.0", depth="INDPT.depth", other="SDDPT.depth") == {"other": 2.2}
    assert nmea(b"$INMTW,17.9,C", depth="DPT.depth") is None
    assert nmea(b"$PGRMZ,93,f,3", alt="PGRMZ.altitude") == {"alt": 93.0}


def test_a_transducer_is_found_by_its_name():
    places = {"pitch": "XDR.PTCH", "roll": "XDR.ROLL"}
    assert nmea(b"$APXDR,A,0.135,D,PTCH", **places) == {"pitch": 0.135}
    assert nmea(b"$APXDR,A,0.135,D,PTCH,A,,D,ROLL", **places) == {"pitch": 0.135, "roll": None}
    assert nmea(b"$APXDR,A,0.135,D,OTHER", **places) == {}


def test_what_is_not_known_is_not_a_number():
    rmc = {"speed": "RMC.spd_over_grnd", "lat": "RMC.latitude", "status": "RMC.status", "at": "RMC.timestamp"}
    good = nmea(b"$INRMC,194101,A,4426.1130,N,07140.5596,W,5.2,77.3,160906,15.8,W", **rmc)
    assert good == {"speed": 5.2, "lat": pytest.approx(44.43522), "status": "A", "at": "19:41:01+00:00"}
    void = nmea(b"$INRMC,194101,V,4426.1130,N,07140.5596,W,5.2,77.3,160906,15.8,W", **rmc)
    assert math.isnan(void["speed"])
    assert math.isnan(void["lat"])
    assert void["status"] == "V"
    empty = nmea(b"$INRMC,,V,,,,,,,,,", **rmc)
    assert (empty["speed"], empty["lat"], empty["at"]) == (None, None, None)
    broken = nmea(b"$INRMC,194101,A,x,N,07140.5596,W,5.2.2,77.3,160906,15.8,W", **rmc)
    assert math.isnan(broken["speed"])
    assert math.isnan(broken["lat"])


@given(st.binary(max_size=100))
def test_any_bytes_are_a_sentence_or_rejected(noise):
    places = {"depth": "DPT.depth", "lat": "GGA.latitude", "pitch": "XDR.PTCH", "alt": "PGRMZ.altitude"}
    for head in (b"", b"$INDPT,", b"$GPGGA,", b"$APXDR,", b"$PGRMZ,", b"$PGRM"):
        try:
            values = nmea(head + noise, **places)
        except Rejected:
            continue
        assert all(isinstance(value, (float, type(None))) for value in (values or {}).values())


def test_places_are_checked_before_anything_is_opened():
    assert place_problem("DPT.depth") == place_problem("XDR.PTCH") == place_problem("PGRMZ.altitude") == ""
    assert "has no deep; it has depth" in place_problem("DPT.deep")
    assert "no sentence QQQ" in place_problem("QQQ.depth")
    assert "write it as DPT.depth" in place_problem("depth")
    places = ("DPT.depth", "GGA.gps_qual", "GGA.latitude", "RMC.status", "XDR.PTCH", "RMC.timestamp", "RMC.is_valid")
    assert list(map(kind_of, places)) == ["double", "int", "double", "string", "double", "string", "bool"]
