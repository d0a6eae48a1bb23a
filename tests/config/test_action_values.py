"""An action's value reaches the actuator as it was written: 0, 0.0 and false are not the same to a device."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.sites import FakeDrivers
from edge_agent.config.load import load_site

SITE = """
[agent]
gateway = "gw1"

[[source]]
name = "motor"
kind = "serial_lines"
device = "/dev/ttyUSB0"
fields.temp = {{ unit = "Cel" }}

[[actuator]]
name = "press"
kind = "log"

[[rule]]
id = "hot"
when = "motor.temp > 90"
for = "5s"
actions = [{{ set = "press.relay", value = {value} }}]
"""


@pytest.mark.parametrize(
    ("written", "kept"),
    [("0", 0), ("-7", -7), ("0.0", 0.0), ("1e3", 1000.0), ("true", True), ("false", False), ('"off"', "off")],
)
def test_value_of_an_action_keeps_its_type(tmp_path: Path, written: str, kept: object) -> None:
    file = tmp_path / "site.toml"
    file.write_text(SITE.format(value=written))
    value = load_site(file, FakeDrivers()).config.rule[0].actions[0].value
    assert (type(value), value) == (type(kept), kept)
