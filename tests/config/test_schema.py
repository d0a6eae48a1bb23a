"""The JSON Schema of a site file says what the loader says, as far as a schema can."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping

import msgspec
import pytest

from config.sites import GOOD, Camera, FakeDrivers, Log, Serial, examine
from edge_agent.config.schema import DIALECT, site_schema

USABLE: Mapping[tuple[str, str], type[msgspec.Struct]] = {
    ("source", "serial_lines"): Serial,
    ("source", "camera"): Camera,
    ("actuator", "log"): Log,
}


@pytest.fixture
def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (pip install jsonschema)")
    schema = json.loads(json.dumps(site_schema(USABLE)))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_names_its_dialect_and_holds_all_it_refers_to():
    text = json.dumps(site_schema(USABLE))
    schema = json.loads(text)
    assert schema["$schema"] == DIALECT
    references = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert references == set(schema["$defs"])


def test_a_source_has_its_own_keys_and_those_of_its_driver_side_by_side():
    serial = site_schema(USABLE)["$defs"]["SourceConfig.serial_lines"]
    assert {"name", "kind", "max_rate", "device", "baud"} <= set(serial["properties"])
    assert "driver" not in serial["properties"]
    assert serial["properties"]["kind"] == {"const": "serial_lines"}
    assert set(serial["required"]) == {"name", "kind", "device"}
    assert serial["additionalProperties"] is False


def test_a_good_file_is_valid(validator):
    assert [error.message for error in validator.iter_errors(tomllib.loads(GOOD))] == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('gateway = "gw-1"', 'gateway = "gw 1"'),
        ('gateway = "gw-1"', ""),
        ('kind = "camera"', 'kind = "radar"'),
        ('device = "/dev/ttyUSB0"', 'devise = "/dev/ttyUSB0"'),
        ('fn = "mean"', 'fn = "avg"'),
        ('window = "5m"', 'window = "5 m"'),
        ("min = -40", 'min = "-40"'),
        ('set = "press.relay"', 'set = "press"'),
        ("[[actuator]]", "[actuator]"),
    ],
)
def test_what_the_loader_refuses_by_type_the_schema_refuses_too(validator, tmp_path, right, wrong):
    text = GOOD.replace(right, wrong)
    assert text != GOOD
    assert examine(tmp_path, text).failed
    assert not validator.is_valid(tomllib.loads(text))


def test_a_schema_of_drivers_that_cannot_be_used_raises_what_the_look_up_raises():
    with pytest.raises(ModuleNotFoundError):
        site_schema({("source", "extra"): FakeDrivers()["source", "extra"]})
