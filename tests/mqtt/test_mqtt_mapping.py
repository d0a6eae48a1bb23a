"""From messages as Zigbee2MQTT, Tasmota and PLC bridges send them to readings."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import Rejected
from edge_agent.ports import FieldSpec
from edge_agent.sources import json_paths
from edge_agent.sources.mqtt_mapping import MAX_STREAMS, TopicMap, TopicReader, filter_problem, matches
from edge_agent.sources.scalars import MAX_NAMES
from edge_agent.types import Quality, Stamp

STAMP = Stamp(1, 2)


def reader(specs=None, **keys):
    return TopicReader(msgspec.convert({"filter": "#", **keys}, TopicMap), "hall", specs or {})


def read(body, topic="a/b", **keys):
    return reader(**keys).reading(topic, body, STAMP)


def refused(body, topic="a/b", **keys):
    with pytest.raises(Rejected) as e:
        read(body, topic, **keys)
    return e.value.message


ZIGBEE = (
    b'{"battery":97,"humidity":45.2,"linkquality":120,"temperature":21.35,"contact":true,"power_on_behavior":null,'
    b'"update":{"installed_version":587814449,"state":"idle"},"update_available":false,"Voltage":3000}'
)
KEPWARE = (
    b'{"timestamp":1767225600000,"values":[{"id":"Line1.Press.OilTemp","v":71.3,"q":true,"t":1767225599000},'
    b'{"id":"Line1.Press.Running","v":1,"q":false,"t":1767225599000}]}'
)


def test_zigbee2mqtt_without_a_mapping_gives_its_plain_values():
    reading = read(ZIGBEE, "zigbee2mqtt/kitchen", stream_level=2)
    assert reading.stream == "kitchen"
    assert reading.values == {
        "battery": 97, "humidity": 45.2, "linkquality": 120, "temperature": 21.35, "contact": True,
        "power_on_behavior": None, "update_available": False,
    }  # fmt: skip
    assert reading.quality is None
    assert reading.stamp is STAMP


def test_zigbee2mqtt_names_of_people_are_mapped():
    keys = {"stream_level": 2, "streams": {"kitchen": "Küche oben"}, "fields": {"temp": "temperature"}}
    reading = read(ZIGBEE, "zigbee2mqtt/Küche oben", **keys)
    assert (reading.stream, reading.values) == ("kitchen", {"temp": 21.35})
    assert refused(ZIGBEE, "zigbee2mqtt/garden", **keys) == "unknown_stream"


def test_a_plc_bridge_with_a_list_of_tags():
    keys = {
        "stream": "press",
        "fields": {"oil_temp": "/values/id=Line1.Press.OilTemp/v", "running": "/values/id=Line1.Press.Running/v"},
        "quality": {"oil_temp": "/values/id=Line1.Press.OilTemp/q", "running": "/values/id=Line1.Press.Running/q"},
    }
    reading = read(KEPWARE, **keys)
    assert reading.stream == "press"
    assert reading.values == {"oil_temp": 71.3, "running": 1}
    assert reading.quality == {"running": Quality.BAD}


def test_tasmota_nests_by_sensor():
    body = b'{"Time":"2026-01-01T00:00:00","BME280":{"Temperature":20.5,"Humidity":41.0},"TempUnit":"C"}'
    assert read(body, fields={"temp": "/BME280/Temperature"}).values == {"temp": 20.5}


def test_a_bare_value():
    assert read(b"71.3", fields={"level": ""}).values == {"level": 71.3}
    assert read(b"true", fields={"on": ""}).values == {"on": True}


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [("double", b"71.3", 71.3), ("int", b"-4", -4), ("bool", b"1", True), ("string", b"ON", "ON")],
)
def test_a_text_payload_has_the_type_that_the_site_declares(kind, body, value):
    text = reader({"level": FieldSpec(type=kind)}, payload="text", fields={"level": ""})
    assert text.reading("t", body, STAMP).values == {"level": value}


@pytest.mark.parametrize("body", [b"", b"21,5", b"0x10", b"1_000", b"\xff", b"7" * 5000])
def test_a_text_payload_that_is_no_number_is_refused(body):
    with pytest.raises(Rejected):
        reader({"level": FieldSpec(type="int")}, payload="text", fields={"level": ""}).reading("t", body, STAMP)


@pytest.mark.parametrize(
    ("told", "quality"),
    [
        ("true", None), ('"GOOD"', None), ("192", None), ("216", None), ('"uncertain"', Quality.UNCERTAIN),
        ("64", Quality.UNCERTAIN), ("false", Quality.BAD), ('"Bad"', Quality.BAD), ("0", Quality.BAD),
        ("null", Quality.BAD), ("{}", Quality.BAD),
    ],
)  # fmt: skip
def test_the_plcs_own_quality_counts(told, quality):
    reading = read(b'{"v":1.5,"q":%s}' % told.encode(), fields={"v": "v"}, quality={"v": "q"})
    assert (reading.quality or {}).get("v") == quality


def test_a_quality_that_was_announced_and_is_missing_is_bad():
    assert read(b'{"v":1.5}', fields={"v": "v"}, quality={"v": "q"}).quality == {"v": Quality.BAD}


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_row_41_numbers_that_are_not_finite_are_bad_and_unknown(number):
    reading = read(b'{"temp":%s,"hum":4}' % number)
    assert reading.values == {"temp": None, "hum": 4}
    assert reading.quality == {"temp": Quality.BAD}


def test_row_41_minus_zero_is_zero():
    assert math.copysign(1.0, read(b'{"temp":-0.0}').values["temp"]) == 1.0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a":9223372036854775808}', "malformed"),
        (b'{"a":1,"a":2}', "malformed"),
        (b"[" * 100_000, "malformed"),
        (b"\xff", "malformed"),
        (b"", "malformed"),
        (b"[1,2]", "no_value"),
        (b"{}", "no_value"),
        (b"null", "no_value"),
        (b'{"Temp":1}', "no_value"),
        (b'{"a":"%s"}' % (b"x" * 300), "text_length"),
    ],
)
def test_bad_payloads_are_refused_by_their_reason(body, why):
    assert refused(body) == why


def test_a_path_to_something_that_is_no_value_is_refused():
    assert refused(b'{"a":{"b":1}}', fields={"x": "a"}) == "value_type"


def test_a_mapping_takes_what_is_there():
    assert read(b'{"a":1}', fields={"x": "a", "y": "b"}).values == {"x": 1}
    assert refused(b'{"c":1}', fields={"x": "a", "y": "b"}) == "no_value"


@pytest.mark.parametrize("level", ["", "..", "../x", "a" * 256, "Kitchen", "ledger", "x\x1b[2J", "0"])
def test_row_44_names_from_outside_become_no_streams(level):
    assert refused(b'{"a":1}', f"z/{level}", stream_level=2) == "unknown_stream"


def test_row_44_streams_from_outside_are_bounded():
    many = reader(stream_level=2)
    for n in range(MAX_STREAMS):
        many.reading(f"z/s{n}", b'{"a":1}', STAMP)
    with pytest.raises(Rejected):
        many.reading("z/more", b'{"a":1}', STAMP)
    assert many.reading("z/s7", b'{"a":1}', STAMP).stream == "s7"


def test_row_44_fields_from_outside_are_bounded():
    many = reader()
    for n in range(MAX_NAMES):
        many.reading("t", b'{"f%d":1}' % n, STAMP)
    with pytest.raises(Rejected, match="too_many_fields"):
        many.reading("t", b'{"one_more":1}', STAMP)


@pytest.mark.parametrize(
    ("wanted", "topic", "fits"),
    [
        ("a/b", "a/b", True), ("a/+", "a/b", True), ("a/+", "a/b/c", False), ("a/#", "a/b/c", True),
        ("a/#", "a", True), ("#", "a/b", True), ("#", "$SYS/uptime", False), ("+/b", "$a/b", False),
        ("+", "a/b", False), ("a/b/c", "a/b", False), ("$SYS/#", "$SYS/x", True),
        ("a//b", "a//b", True), ("a/+/b", "a//b", True),
    ],
)  # fmt: skip
def test_filters_match_as_mqtt_says(wanted, topic, fits):
    assert matches(wanted.split("/"), topic) is fits


@pytest.mark.parametrize("bad", ["a/#/b", "a+", "a/b#", "#/a", "a\0b"])
def test_filters_that_are_none_are_refused_in_the_site_file(bad):
    assert filter_problem(bad) is not None
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"filter": bad}, TopicMap)


@pytest.mark.parametrize(
    "keys", [{"stream": "a", "stream_level": 2}, {"payload": "text"}, {"payload": "text", "fields": {"a": "/b"}}]
)
def test_contradictions_are_refused_in_the_site_file(keys):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"filter": "#", **keys}, TopicMap)


def test_paths():
    document = {"a": {"b/c": [10, {"id": 7, "v": 1}, "x"]}, "~": 2, "": 3}
    for path, value in [
        ("a/b~1c/0", 10), ("/a/b~1c/id=7/v", 1), ("/a/b~1c/2", "x"), ("~0", 2), ("/", 3),
        ("/a/b~1c/9", json_paths.MISSING),
        ("/a/b~1c/-1", json_paths.MISSING), ("/a/b~1c/0/x", json_paths.MISSING),
        ("/a/x", json_paths.MISSING),
        ("/a/b~1c/id=8/v", json_paths.MISSING), ("/a/b~1c/²", json_paths.MISSING),
    ]:  # fmt: skip
        assert json_paths.find(document, json_paths.parse(path)) == value, path
    assert json_paths.find(document, json_paths.parse("")) is document


KEYS = st.sampled_from(["a", "b", "id", "é"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@given(JSON, st.text(max_size=12), st.text(max_size=10))
def test_no_document_and_no_topic_raise_anything_but_rejected(document, path, topic):
    for keys in ({}, {"fields": {"x": path}, "quality": {"x": path}}, {"stream_level": 1}):
        try:
            reading = read(json.dumps(document).encode(), topic, **keys)
        except Rejected:
            continue
        for value in reading.values.values():
            assert value is None or isinstance(value, str) or math.isfinite(value)
