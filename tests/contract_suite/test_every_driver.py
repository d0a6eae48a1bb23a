"""What holds for every source and actuator before it is opened; a new file in `sources/` is found here by itself."""

import inspect
import subprocess
import sys

import msgspec
import pytest
from driver_contract import DriverUnderTest, kinds, undocumented

from edge_agent.ports import FieldSpec

DRIVERS = [(family, kind) for family in ("source", "actuator") for kind in kinds(family)]

IMPORT_ALONE = """
import sys, threading
before = threading.active_count()
import {package}
{package}.__path__[:] = {folders!r}
import {module}
heavy = {{"numpy", "cv2", "onnxruntime", "ai_edge_litert", "tflite_runtime", "sqlite3", "click", "rich"}}
print(sorted(heavy & set(sys.modules)), threading.active_count() - before)
"""


@pytest.fixture(params=DRIVERS, ids="-".join)
def driver(request):
    return DriverUnderTest(*request.param)


def test_the_docstring_says_what_it_is_and_its_example_is_right(driver):
    assert len(driver.module.__doc__.splitlines()[0]) > 20
    config = driver.config(driver.example())
    assert isinstance(config, driver.module.Config)


def test_its_config_is_frozen_strict_and_documented(driver):
    struct = driver.module.Config.__struct_config__
    assert struct.frozen, "a configuration does not change"
    assert struct.forbid_unknown_fields, "a misspelt key is an error, not a default"
    assert undocumented(driver.module) == [], "these keys need a word on what they mean"


def test_its_defaults_are_values_that_it_would_accept(driver):
    config = driver.config(driver.example())
    assert driver.config(msgspec.to_builtins(config)) == config


def test_open_and_fields_are_as_ports_says(driver):
    assert list(inspect.signature(driver.module.open).parameters) == ["config", "context"]
    if hasattr(driver.module, "fields"):
        specs = driver.module.fields(driver.config(driver.example()))
        assert all(isinstance(spec, FieldSpec) for spec in specs.values())


def test_importing_it_starts_no_thread_and_loads_no_heavy_library(driver):
    package = driver.module.__name__.rpartition(".")[0]
    folders = list(sys.modules[package].__path__)
    code = IMPORT_ALONE.format(module=driver.module.__name__, package=package, folders=folders)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout == "[] 0\n", run.stdout + run.stderr
