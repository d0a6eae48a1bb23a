"""load_site: frozen configuration, or every problem at once with file, line, reason and hint."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from config.sites import GOOD, Camera, FakeDrivers, Log, Serial, examine, only, write
from edge_agent.config.load import load_site
from edge_agent.config.problems import ConfigError, as_json, describe
from edge_agent.config.site import SiteConfig
from edge_agent.drivers import DriverConfigs
from edge_agent.errors import ExitCode, Fatal

AGENT = '[agent]\ngateway = "gw"\n'


def test_a_good_file_becomes_frozen_configuration(tmp_path):
    site = load_site(write(tmp_path, GOOD), FakeDrivers())
    assert isinstance(site.config, SiteConfig)
    assert site.warnings == ()
    motor, meter = site.config.source
    assert motor.driver == Serial(device="/dev/ttyUSB0")
    assert meter.driver == Camera(url="http://camera.example/mjpeg")
    assert motor.fields["temp"].min == -40.0
    assert isinstance(motor.fields["temp"].min, float)
    assert site.config.rule[0].for_ == "10s"
    assert site.config.actuator[0].driver == Log()
    with pytest.raises(AttributeError):
        site.config.agent.gateway = "other"


def test_what_the_walk_builds_is_what_msgspec_would_decode(tmp_path):
    """The walk constructs structs itself: compare with the decoder on a file without drivers."""
    text = GOOD.split("[[source]]")[0] + '[store]\nquota = "64MB"\n[uplink]\nport = 8883\n[uplink.tls]\nca = "/ca"\n'
    site = load_site(write(tmp_path, text), FakeDrivers())
    assert site.config == msgspec.convert(tomllib.loads(text), SiteConfig)


def test_all_problems_come_in_one_go_in_the_order_of_the_file(tmp_path):
    text = """\
[agent]
gateway = "gw 1"
[[source]]
name = "motor"
kind = "serial_lines"
baud = 9
formt = "csv"
[[rule]]
when = "motor.temp > 1"
severity = "critcal"
[uplink]
port = 0
"""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        load_site(path, FakeDrivers())
    found = [(problem.line, problem.key) for problem in raised.value.problems]
    assert found == [
        (2, "agent.gateway"),
        (3, 'source "motor": device'),
        (6, 'source "motor": baud'),
        (7, 'source "motor": formt'),
        (8, "rule #1: id"),
        (10, "rule #1: severity"),
        (12, "uplink.port"),
    ]
    assert isinstance(raised.value, Fatal)
    assert raised.value.exit_code == ExitCode.CONFIGURATION == 2
    assert str(raised.value) == "\n".join(describe(raised.value.problems))


def test_a_message_names_place_thing_key_reason_and_hint(tmp_path):
    problem = only(examine(tmp_path, GOOD.replace('"motor.temp"', '"motr.temp"')))
    line = GOOD.splitlines().index('of = "motor.temp"') + 1
    place = f"{tmp_path}/site.toml:{line}:1"
    assert str(problem) == (
        f'{place} signal "motor.temp_5m": of: names nothing: "motr.temp"; did you mean "motor.temp"?'
    )


def test_problems_as_json_are_plain_values_in_the_order_of_the_file(tmp_path):
    problems = examine(tmp_path, AGENT + "[uplink]\nport = 0\nhots = 1\n").problems
    rows = json.loads(json.dumps(as_json(reversed(problems))))
    assert [row["line"] for row in rows] == [4, 5]
    assert set(rows[0]) == {"file", "line", "column", "key", "reason", "hint", "severity"}
    assert rows[1]["hint"] == 'did you mean "host"?'


def test_a_problem_of_a_later_layer_gets_its_place_inside_the_text_of_the_file(tmp_path):
    text = GOOD.replace('when = "motor.temp_5m > 85"', 'when = """\nmotor.rpm > 5 &&\n  motor.tmp > 3"""')
    site = load_site(write(tmp_path, text), FakeDrivers())
    first = next(i for i, line in enumerate(text.splitlines(), 1) if line.startswith("when"))
    problem = site.problem(("rule", 0, "when"), "unknown signal", 'did you mean "motor.temp"?', at=(2, 3))
    assert (problem.line, problem.column) == (first + 2, 3)
    assert str(problem).endswith(' rule "overheat": when: unknown signal; did you mean "motor.temp"?')
    assert text.splitlines()[problem.line - 1][problem.column - 1 :].startswith("motor.tmp")


def test_only_the_drivers_that_a_site_names_are_looked_up(tmp_path):
    drivers = FakeDrivers()
    text = AGENT + '[[source]]\nname = "motor"\nkind = "serial_lines"\ndevice = "/dev/ttyS0"\n'
    load_site(write(tmp_path, text), drivers)
    assert set(drivers.looked_up) == {("source", "serial_lines")}


@pytest.mark.parametrize(
    ("kind", "reason", "hint"),
    [
        ("serial_line", 'unknown source kind "serial_line"', 'did you mean "serial_lines"?'),
        ("opcua", 'unknown source kind "opcua"', 'known kinds: "broken", "camera", "extra", "serial_lines"'),
        ("log", 'unknown source kind "log"', ""),
        ("broken", 'kind "broken" cannot be used here: no such chip', "buy one"),
        ("extra", 'kind "extra" cannot be used here: pymodbus cannot be imported', "install the extra"),
    ],
)
def test_a_kind_that_is_unknown_or_unusable_is_named_with_a_way_out(tmp_path, kind, reason, hint):
    text = AGENT + f'[[source]]\nname = "a"\nkind = "{kind}"\nany_key = "of a driver nobody knows"\n'
    problem = only(examine(tmp_path, text))
    assert (problem.line, problem.reason) == (5, reason)
    assert hint in problem.hint


def test_shared_keys_are_checked_even_where_the_driver_is_unknown(tmp_path):
    text = AGENT + '[[source]]\nname = "A"\nkind = "nope"\nmax_rate = 0\n'
    assert [problem.line for problem in examine(tmp_path, text).problems] == [4, 5, 6]


def test_what_a_drivers_own_check_refuses_is_reported_at_its_table(tmp_path):
    text = AGENT + '[[source]]\nname = "gps"\nkind = "serial_lines"\ndevice = "/dev/ttyS0"\nformat = "nmea"\n'
    problem = only(examine(tmp_path, text))
    assert (problem.line, problem.key, problem.reason) == (3, 'source "gps"', "nmea needs values")


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ('[agent]\ngateway = "gw"\n[source]\nname = "a"\n', "must be a list, found a table", "write [[source]]"),
        ('[agent]\ngateway = "gw"\n[[uplink]]\nport = 1\n', "must be a table, found a list", "write [uplink]"),
        ('[[agent]]\ngateway = "gw"\n', "must be a table, found a list", "write [agent]"),
        ("[uplink]\nport = 1\n", "is missing", "add [agent]"),
        ("agent = 3\n", "must be a table, found 3", ""),
    ],
)
def test_tables_of_the_wrong_shape_are_named_with_the_brackets_to_write(tmp_path, text, reason, hint):
    problem = only(examine(tmp_path, text))
    assert problem.reason == reason
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("p = nan", "must be a finite number, found nan"),
        ("p = -inf", "must be a finite number, found -inf"),
        ("p = 1e999", "must be a finite number, found inf"),
        ("p = 101", "must be a number from 0 to 100, found 101"),
        ("last = 1.0", "must be a whole number from 1 to 1000000, found 1.0"),
        ("last = true", "must be a whole number from 1 to 1000000, found true"),
        ("last = 9223372036854775808", "must be a whole number from 1 to 1000000, found 9223372036854775808"),
        ('of = "motor.temp\\n"', "must be a text of at most 96 characters"),
        ('of = "motor.te\\u0000mp"', "holds a NUL character"),
        ("of = 1979-05-27", "found a date or time"),
        ('fn = "avg"', 'must be one of "absent", "count", "max"'),
        ('window = "5 m"', 'found "5 m"'),
        ('window = "0s"', '"0s" is out of range'),
        ('window = "31d"', '"31d" is out of range'),
        ('window = "999999999d"', "is too long"),
    ],
)
def test_values_outside_their_type_are_refused(tmp_path, line, reason):
    signal = {"name": '"motor.a"', "of": '"motor.temp"', "fn": '"percentile"', "window": '"5m"', "p": "50"}
    key, _, value = line.partition(" = ")
    signal[key] = value
    text = GOOD + "[[signal]]\n" + "".join(f"{key} = {value}\n" for key, value in signal.items())
    problems = examine(tmp_path, text).problems
    assert len(problems) == 1
    assert reason in problems[0].reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('level = "silent"\nevery = "max"', None),
        ('level = "warning"\nevery = 3', None),
        ('level = "silnt"', 'must be one of "info", "warning", "silent", found "silnt"'),
        ("every = 0", "must be a number at least 1, found 0"),
        ('every = "min"', 'must be one of "max", found "min"'),
        ("every = []", 'must be one of "max" or a number at least 1, found a list'),
    ],
)
def test_a_key_may_take_one_of_several_types(tmp_path, line, reason):
    examined = examine(tmp_path, f'{AGENT}[[actuator]]\nname = "a"\nkind = "log"\n{line}\n')
    assert [problem.reason for problem in examined.problems] == ([] if reason is None else [reason])


def test_a_syntax_error_does_not_hide_the_next_one_nor_what_is_wrong_elsewhere(tmp_path):
    text = """\
[agent]
gateway = gw-1
[store]
quota = "1 GB"
commit_interval = 1s
[uplink]
port = "1883"
"""
    problems = examine(tmp_path, text).problems
    assert [(problem.line, problem.key) for problem in problems] == [
        (2, "agent.gateway"),
        (4, "store.quota"),
        (5, "store.commit_interval"),
        (7, "uplink.port"),
    ]
    assert problems[0].hint == 'write text in quotes: gateway = "gw-1"'
    assert problems[3].hint == "write it without quotes"


def test_after_a_broken_header_nothing_is_called_missing_and_nothing_is_put_into_the_wrong_table(tmp_path):
    text = AGENT + '[[source]\nname = "motor"\nkind = "serial_lines"\n[store]\nquota = 1\n'
    problems = examine(tmp_path, text).problems
    assert [problem.line for problem in problems] == [3, 7]


@pytest.mark.parametrize(
    ("value", "thing", "close"),
    [("[1, 2", "list", "]"), ('"""abc', "text", '"""'), ("'''abc", "text", "'''"), ('[{ a = "b" },', "list", "]")],
)
def test_what_is_never_closed_is_named_where_it_opens(tmp_path, value, thing, close):
    text = AGENT + f"[store]\nquota = {value}\n[uplink]\nport = 1\n"
    problem = only(examine(tmp_path, text))
    assert (problem.line, problem.column) == (4, 9)
    assert problem.reason == f"the {thing} that begins here is never closed"
    assert problem.hint == f"close it with {close}"


def test_no_more_than_200_problems_are_shown_and_the_others_are_counted(tmp_path):
    text = AGENT + "".join(f"a{i} = 1\n" for i in range(250))
    problems = examine(tmp_path, text).problems
    assert len(problems) == 201
    assert problems[-1].reason == "50 more problems are not shown"


def test_what_is_shown_of_a_file_is_bounded_and_safe_on_a_terminal(tmp_path):
    text = AGENT + f'"\\u001b[2Jkey" = 1\n[uplink]\nkind = "\\u001b[31m{"x" * 9000}"\n'
    for line in describe(examine(tmp_path, text).problems):
        assert "\x1b" not in line
        assert len(line) < 600


def test_with_problems_between_tables_the_configuration_is_there_for_the_rules_to_be_checked_too(tmp_path):
    examined = examine(tmp_path, GOOD.replace('"press.relay"', '"pres.relay"'))
    assert only(examined).reason == 'there is no actuator "pres"'
    assert examined.failed
    assert examined.site is not None
    assert examined.site.config.rule[0].id == "overheat"


def test_a_relative_file_of_a_driver_is_beside_the_site_file_wherever_the_agent_was_started(tmp_path, monkeypatch):
    more = AGENT + '[[source]]\nname = "day"\nkind = "replay"\npath = "{}"\ntime = "t"\n'
    monkeypatch.chdir("/")
    for given, meant in (("captured/day.csv", tmp_path / "captured/day.csv"), ("/var/day.csv", Path("/var/day.csv"))):
        site = load_site(write(tmp_path, more.format(given)), DriverConfigs())
        assert site.config.source[0].driver.path == str(meant)
