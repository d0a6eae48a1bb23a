"""The site that the demo runs: a motor on a serial port, a meter before a camera, two models, rules, a broker."""

from __future__ import annotations

from pathlib import Path

SITE = """\
[agent]
gateway = "demo"
tenant = "acme"
site = "plant"
data_dir = "{folder}/data"
run_dir = "{folder}/run"

[[source]]                       # the motor's controller, on a real pseudo-terminal
name = "motor"
kind = "serial_lines"
device = "{port}"
format = "ndjson"
stale_after = "2s"
[source.fields]
seq = {{ type = "int" }}
load = {{ unit = "1", min = -0.5, max = 2 }}
speed = {{ unit = "{{rpm}}", min = -100, max = 5000 }}
temp = {{ unit = "Cel", min = -40, max = 250 }}
vibration = {{ unit = "mm/s", min = 0, max = 200 }}
current = {{ unit = "A", min = -5, max = 200 }}
relay = {{ type = "int" }}

[[source]]                       # a camera that looks at a meter
name = "meter"
kind = "camera"
file = "{video}"
loop = true

[[model]]
name = "digits"
package = "meter-digits/1.0.0"
input = "meter"
max_rate_hz = 8
stale_after = "3s"

[[model]]
name = "bearing"
package = "motor-anomaly/1.0.0"
input = [{bearing_input}]
stale_after = "10s"

[[signal]]
name = "motor.temp_3s"
of = "motor.temp"
fn = "mean"
window = "3s"

[[signal]]
name = "digits.value_2s"
of = "digits.value"
fn = "max"
window = "2s"

[[rule]]                         # decides with or without a model
id = "overheat"
when = "motor.temp_3s > 85 || (bearing.over && motor.temp_3s > 80)"
for = "500ms"
clear = "motor.temp_3s < 70"
otherwise = "motor.temp > 85"
severity = "critical"
text = "motor too hot: press stopped"
actions = [{{ set = "press.relay", value = 0, else_value = 1 }}]

[[rule]]                         # needs the model; without it the load decides
id = "meter-high"
when = "digits.value_2s >= 8"
otherwise = "motor.load > 0.95"
for = "300ms"
clear = "digits.value < 5"
text = "meter reads 8 or more"

[[rule]]
id = "motor-silent"
when = 'absent(motor.temp, "3s")'
severity = "critical"

[[actuator]]
name = "press"
kind = "serial"
device = "{port}"

[store]
quota = "64MB"

[uplink]
kind = "mqtt"
host = "127.0.0.1"
port = {broker}
reconnect_max = "4s"

[delivery]
ack = "backend"
resend_after = "3s"
"""


def write_site(folder: Path, *, port: str, video: Path, broker: int, bearing_input: list[str]) -> Path:
    """`site.toml` in the folder."""
    path = folder / "site.toml"
    fields = ", ".join(f'"{name}"' for name in bearing_input)
    path.write_text(
        SITE.format(folder=folder, port=port, video=video, broker=broker, bearing_input=fields), encoding="utf-8"
    )
    return path
