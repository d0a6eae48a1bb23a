"""Sites with microcontrollers whose samples come as JSON lines."""

from __future__ import annotations

from pathlib import Path


def site(folder: Path, public: Path, *names: str, window: str = "2s", health: str = "samples", more: str = "") -> str:
    """Devices `names` of the group press, each with its source on `folder/NAME/by-id-device`."""
    text = f"""
[agent]
gateway = "gw1"
data_dir = "{folder}/data"
run_dir = "{folder}/run"
event_log_mb = 4
{more}
"""
    for name in names:
        text += f"""
[[source]]
name = "{name}"
kind = "serial_lines"
device = "{folder}/{name}/by-id-device"
[source.fields]
temp = {{ unit = "Cel" }}

[[mcu]]
name = "{name}"
source = "{name}"
key = "{public}"
board = "press-v2"
group = "press"
health = "{health}"
window = "{window}"
"""
    return text
