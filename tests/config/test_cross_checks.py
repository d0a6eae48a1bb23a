"""What the parts of a site say about one another, and keys that belong together."""

from __future__ import annotations

import pytest

from config.sites import GOOD, FakeDrivers, examine, only, write
from edge_agent.config.load import examine_site, load_site
from edge_agent.config.site import SourceConfig
from edge_agent.ports import FieldSpec

SIGNAL = '[[signal]]\nname = "{}"\nof = "{}"\nfn = "mean"\nwindow = "5m"\n'
MODEL = '[[model]]\nname = "{}"\npackage = "."\ninput = {}\n'


def line_of(text: str, key: str, nth: int = 0) -> int:
    return [i for i, line in enumerate(text.splitlines(), 1) if line.startswith(key)][nth]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('[[source]]\nname = "motor"\nkind = "camera"\nurl = "x"\n', 'two sources are named "motor"'),
        (SIGNAL.format("motor.temp_5m", "motor.temp"), 'two signals are named "motor.temp_5m"'),
        (MODEL.format("motor", '"meter"'), 'source and model are named "motor"'),
        ('[[rule]]\nid = "overheat"\nwhen = "a"\n', 'two rules are named "overheat"'),
        ('[[actuator]]\nname = "press"\nkind = "log"\n', 'two actuators are named "press"'),
        ('[[actuator]]\nname = "motor"\nkind = "log"\n', 'source and actuator are named "motor"'),
    ],
)
def test_a_name_given_twice_is_refused_with_both_lines(tmp_path, more, reason):
    text = GOOD + more
    problem = only(examine(tmp_path, text))
    name = reason.rsplit(" ", 1)[1]
    lines = [i for i, line in enumerate(text.splitlines(), 1) if line in (f"name = {name}", f"id = {name}")]
    assert problem.reason == f"{reason}, on line {lines[0]} and on line {lines[1]}"
    assert problem.line == lines[1]


def test_the_agents_own_names_are_not_for_sources(tmp_path):
    text = GOOD + '[[source]]\nname = "health"\nkind = "camera"\nurl = "x"\n'
    assert only(examine(tmp_path, text)).reason == '"health" is the agent\'s own name'


@pytest.mark.parametrize(
    ("of", "hint"),
    [
        ("motr.temp", 'did you mean "motor.temp"?'),
        ("motor.temp_5n", None),
        ("pump.pressure", 'known before the dot: "motor"'),
    ],
)
def test_a_window_over_nothing_is_refused_with_the_nearest_name(tmp_path, of, hint):
    """Without the drivers' own fields any field of a source may exist, but not of no source, nor of a camera."""
    text = GOOD + SIGNAL.format("motor.other", of)
    examined = examine(tmp_path, text)
    if hint is None:
        assert examined.problems == ()
        return
    problem = only(examined)
    assert (problem.reason, problem.hint) == (f'names nothing: "{of}"', hint)
    assert problem.line == line_of(text, "of = ", 1)


def test_a_window_over_a_camera_is_refused(tmp_path):
    problem = only(examine(tmp_path, GOOD + SIGNAL.format("motor.other", "meter.digits")))
    assert problem.reason == 'source "meter" gives frames, not readings'


def test_with_the_drivers_own_fields_a_misspelt_field_is_refused_too(tmp_path):
    def fields_of(source: SourceConfig) -> dict[str, FieldSpec]:
        return {"vibration": FieldSpec(), "gear.teeth": FieldSpec()} if source.name == "motor" else {}

    def problems(of: str) -> list[tuple[str, str]]:
        path = write(tmp_path, GOOD + SIGNAL.format("motor.other", of))
        return [(p.reason, p.hint) for p in examine_site(path, FakeDrivers(), fields_of=fields_of).problems]

    assert problems("motor.vibration") == problems("motor.rpm") == problems("gear.teeth") == []
    assert problems("motor.vibratoin") == [('names nothing: "motor.vibratoin"', 'did you mean "motor.vibration"?')]


def test_windows_may_look_at_windows_models_and_health(tmp_path):
    text = GOOD + MODEL.format("digits", '"meter"')
    for i, of in enumerate(("motor.temp_5m", "digits.score", "health.motor")):
        text += SIGNAL.format(f"motor.s{i}", of)
    assert examine(tmp_path, text).problems == ()


def test_windows_in_a_circle_are_refused_once_with_the_circle(tmp_path):
    text = GOOD + SIGNAL.format("a.a", "a.b") + SIGNAL.format("a.b", "a.c") + SIGNAL.format("a.c", "a.a")
    text += SIGNAL.format("a.d", "a.a") + SIGNAL.format("b.b", "b.b")
    first, second = examine(tmp_path, text).problems
    assert first.reason == 'depends on itself: "a.a" → "a.b" → "a.c" → "a.a"'
    assert first.line == line_of(text, "of = ", 1)
    assert second.reason == 'depends on itself: "b.b" → "b.b"'


@pytest.mark.parametrize(
    ("keys", "key", "reason"),
    [
        ('fn = "mean"', "window", "is missing"),
        ('fn = "mean"\nwindow = "5m"\nlast = 20', "last", "window and last exclude one another"),
        ('fn = "absent"\nlast = 20', "last", "absent looks at a time, not at a count"),
        ('fn = "percentile"\nlast = 20', "p", "is missing"),
        ('fn = "mean"\nlast = 20\np = 50', "p", "is for percentile only, not for mean"),
    ],
)
def test_the_keys_of_a_window_fit_one_another(tmp_path, keys, key, reason):
    problem = only(examine(tmp_path, GOOD + f'[[signal]]\nname = "motor.a"\nof = "motor.temp"\n{keys}\n'))
    assert (problem.key, problem.reason) == (f'signal "motor.a": {key}', reason)
    assert problem.hint


@pytest.mark.parametrize(
    ("given", "reason", "hint"),
    [
        ('"metre"', 'there is no source "metre"', 'did you mean "meter"?'),
        ('"motor"', 'source "motor" gives readings, not frames', 'for a window write input = ["motor.rpm"]'),
        ('["meter.frame"]', 'source "meter" gives frames, not readings', 'write input = "meter"'),
        ('["motor.temp", "pump.rpm"]', 'names nothing: "pump.rpm"', 'known before the dot: "motor"'),
        ('["motor.temp", "motor.temp"]', '"motor.temp" is named twice', "name each field once"),
        ('["motor.temp_5m"]', '"motor.temp_5m" is no field of a source', "a window is made of readings"),
        ("[]", "is empty", "name at least one field, or a camera"),
    ],
)
def test_a_models_input_is_a_camera_or_fields(tmp_path, given, reason, hint):
    problems = examine(tmp_path, GOOD + MODEL.format("m", given)).problems
    assert (reason, hint) in [(problem.reason, problem.hint) for problem in problems]
    assert all(problem.key.startswith('model "m": input') for problem in problems)


def test_a_window_is_of_one_stream(tmp_path):
    text = GOOD.replace("[[signal]]", '[[source]]\nname = "pump"\nkind = "serial_lines"\ndevice = "/p"\n\n[[signal]]')
    problem = only(examine(tmp_path, text + MODEL.format("m", '["motor.temp", "pump.temp"]')))
    assert problem.reason == 'takes fields of several streams: "motor", "pump"'


@pytest.mark.parametrize(
    ("target", "reason", "hint"),
    [
        ("pres.relay", 'there is no actuator "pres"', 'did you mean "press"?'),
        ("horn.relay", 'there is no actuator "horn"', 'known: "press"'),
        ("relay", 'must be a text: "<actuator>.<target>", such as "press.relay", found "relay"', ""),
    ],
)
def test_an_action_names_an_actuator_and_what_it_sets(tmp_path, target, reason, hint):
    problem = only(examine(tmp_path, GOOD.replace("press.relay", target)))
    assert (problem.reason, problem.hint) == (reason, hint)
    assert problem.key == 'rule "overheat": actions #1.set'


def test_an_actuator_with_a_mistake_of_its_own_is_still_known(tmp_path):
    text = GOOD.replace('name = "press"\nkind = "log"', 'name = "press"\nkind = "log"\nlevel = "loud"')
    assert only(examine(tmp_path, text)).key == 'actuator "press": level'


@pytest.mark.parametrize(
    ("text", "key", "reason", "severity"),
    [
        ('[uplink]\nkind = "file"', "uplink.dir", "is missing", "error"),
        ('[uplink]\nkind = "file"\ndir = "out"', "uplink.dir", "must be an absolute path", "error"),
        ('[uplink]\nkind = "mqtt"\npassword_file = "/x"', "uplink.username", "is missing beside", "error"),
        ('[uplink]\nport = 8883\n[uplink.tls]\ncert = "/c"\n', "uplink.tls.key", "is missing beside cert", "error"),
        ('[uplink]\nport = 1\n[uplink.tls]\nkey = "/c"\n', "uplink.tls.cert", "is missing beside key", "error"),
        ('[uplink]\nkind = "mqtt"\ntls = {}', "uplink.port", "is the port without TLS", "warning"),
        (
            '[uplink]\nkind = "mqtt"\nhost = "b.example"\nusername = "u"\npassword_file = "credential:mqtt"',
            "uplink.password_file", "crosses the network in clear", "warning",
        ),
        (
            '[uplink]\nkind = "mqtt"\n[uplink.budget]\nper_day = "1MB"',
            "uplink.keepalive_s", "the idle connection alone costs about 0.9 MB a day", "warning",
        ),
        ('[uplink]\n[uplink.budget]\nper_day = "1kB"', "uplink.budget.per_day", "is too small", "error"),
        (
            '[uplink]\n[uplink.budget]\nper_day = "9MB"\nreserve = "10MB"',
            "uplink.budget.reserve", "is more than per_day", "error",
        ),
        ('[store]\nquota = "10kB"', "store.quota", "is too small", "error"),
        ('[store]\nrow_limit = "2MB"', "store.row_limit", "is out of range", "error"),
        ('[store]\ncommit_interval = "1ms"', "store.commit_interval", "is out of range", "error"),
        ('[[rule]]\nid = "r"\nwhen = "a"\nalert = false', 'rule "r": alert', "nobody notices", "warning"),
    ],
)  # fmt: skip
def test_keys_that_belong_together(tmp_path, text, key, reason, severity):
    problem = only(examine(tmp_path, f'[agent]\ngateway = "gw"\n{text}\n'))
    assert (problem.key, problem.severity) == (key, severity)
    assert reason in problem.reason
    assert problem.hint


def test_a_password_file_that_everyone_may_read_is_found_before_the_agent_runs(tmp_path):
    password = tmp_path / "password"
    password.write_text("hunter2\n")
    text = f'[agent]\ngateway = "gw"\n[uplink]\nusername = "u"\npassword_file = "{password}"\n'
    password.chmod(0o644)
    problem = only(examine(tmp_path, text))
    assert "is open to everyone (mode 0644)" in problem.reason
    assert problem.hint == f"chmod 0600 {password}"
    password.chmod(0o640)
    assert examine(tmp_path, text).problems == ()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('data_dir = "data"', "must be an absolute path"),
        ('data_dir = "/"', "is a system folder"),
        ('run_dir = "/run"', "is a system folder"),
        (f'run_dir = "/run/{"x" * 90}"', "too long for a socket"),
    ],
)
def test_the_agents_folders_are_its_own(tmp_path, line, reason):
    assert reason in only(examine(tmp_path, f'[agent]\ngateway = "gw"\n{line}\n')).reason


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ('{ type = "float" }', "must be a text: double, int, bool or string"),
        ("{ min = 3, max = 3 }", "is not below max"),
        ('{ type = "string", min = 3 }', "a string has no range"),
        ("{ mim = 3 }", "unknown key"),
        ("3", "must be a table"),
    ],
)
def test_fields_are_declared_with_sense(tmp_path, spec, reason):
    text = GOOD.replace("fields.rpm = {}", f"fields.rpm = {spec}")
    problem = only(examine(tmp_path, text))
    assert reason in problem.reason
    assert problem.key.startswith('source "motor": fields.rpm')


def test_a_fields_name_is_one_that_rules_can_say(tmp_path):
    text = GOOD.replace("fields.rpm = {}", "fields.RPM = {}")
    assert only(examine(tmp_path, text)).key == 'source "motor": fields.RPM'


def test_a_package_is_found_beside_the_site_or_in_the_projects_models(tmp_path):
    models, folder = tmp_path / "models", tmp_path / "site"
    for directory in (models / "digits" / "1.0.0", folder / "own", folder):
        directory.mkdir(parents=True, exist_ok=True)
    text = GOOD + MODEL.format("a", '"meter"').replace('"."', '"digits/1.0.0"')
    text += MODEL.format("b", '"meter"').replace('"."', '"own"')
    site = load_site(write(folder, text), FakeDrivers(), models_dir=models)
    a, b = site.config.model
    assert site.package_directory(a) == models / "digits" / "1.0.0"
    assert site.package_directory(b) == folder / "own"
    assert site.warnings == ()


def test_a_package_that_is_not_there_is_a_warning_since_rules_go_on_without_a_model(tmp_path):
    text = GOOD + MODEL.format("m", '"meter"').replace('"."', '"digits/1.0.0"')
    (warning,) = load_site(write(tmp_path, text), FakeDrivers()).warnings
    assert warning.severity == "warning"
    assert str(tmp_path / "digits/1.0.0") in warning.hint


@pytest.mark.parametrize(
    ("version", "ack", "warned"), [("3.1.1", "broker", 1), ("3.1.1", "backend", 0), ("5", "broker", 0)]
)
def test_refusals_that_nobody_would_see_are_a_warning(tmp_path, version, ack, warned):
    head = GOOD.split("[uplink]")[0].split("[delivery]")[0]
    text = f'{head}\n[uplink]\nkind = "mqtt"\nversion = "{version}"\n[delivery]\nack = "{ack}"\n'
    found = [p for p in examine(tmp_path, text).problems if "3.1.1" in p.reason]
    assert [p.severity for p in found] == ["warning"] * warned


@pytest.mark.parametrize(
    ("owner", "key", "reason", "remedy"),
    [
        ('source = "meter"', "source", "source meter, a camera, has no serial port to lend", "kind serial_lines"),
        ('port = "ttyUSB1"', "port", "must be an absolute path", "where the agent is started"),
        ('port = ""', "port", "must be an absolute path", "where the agent is started"),
    ],
)
def test_a_microcontroller_without_a_port_to_lend_is_refused(tmp_path, owner, key, reason, remedy):
    problem = only(examine(tmp_path, f'{GOOD}[[mcu]]\nname = "board"\n{owner}\n'))
    assert (problem.key, problem.reason) == (f'mcu "board": {key}', reason)
    assert remedy in problem.hint


def test_a_microcontrollers_key_may_stand_beside_the_site_file(tmp_path):
    text = f'{GOOD}[[mcu]]\nname = "board"\nsource = "motor"\nkey = "firmware.pub.pem"\n'
    assert load_site(write(tmp_path, text), FakeDrivers()).config.mcu[0].key == str(tmp_path / "firmware.pub.pem")
