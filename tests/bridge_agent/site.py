"""A site with a bridge device on `{folder}/by-id-device` and a panel on another port that asks for things."""

SITE = """
[[source]]
name = "board"
kind = "serial_bridge"
device = "{folder}/by-id-device"

[[source]]
name = "panel"
kind = "serial_lines"
device = "{folder}/usb-ACME_Press_0042-if00-port0"
[source.fields]
reset = { type = "int" }
valve = { type = "int" }
halt = { type = "int" }

[[actuator]]
name = "ctl"
kind = "bridge"
device = "{folder}/by-id-device"
deadline = "20s"

[[rule]]
id = "go"
when = "health.board"
for = "0s"
alert = false
actions = [{ set = "ctl.rate", value = RATE }]

[[rule]]
id = "halt"
when = "panel.halt > 0"
for = "0s"
alert = false
actions = [{ set = "ctl.rate", value = 0 }]

[[rule]]
id = "reset"
when = "panel.reset > 0"
for = "0s"
alert = false
actions = [{ set = "ctl.reset", value = true }]

[[rule]]
id = "valve"
when = "panel.valve > 0"
for = "0s"
alert = false
actions = [{ set = "ctl.valve", value = 80, else_value = 10 }]

[store]
commit_interval = "200ms"
"""
