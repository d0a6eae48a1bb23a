"""What the suite knows of a driver: its module, the example in its docstring, and, where there is one, its case.

A case is `cases/sources/<kind>.py` or `cases/actuators/<kind>.py` and may define

    working(folder)   a context manager that gives the keys of a driver whose device is there
    missing(folder)   the keys of one whose device is not; without it the docstring's example is taken for that
"""

import ast
import importlib.util
import re
import textwrap
import threading
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from edge_agent.drivers import DriverConfigs, driver

CASES = Path(__file__).parent / "cases"
COMMON = {
    "source": {"name", "kind", "group", "stale_after", "max_rate", "fields"},
    "actuator": {"name", "kind", "deadline"},
}
OPEN_S = 1.0
"""How long `open` may take to find that nothing is there."""


def kinds(family):
    return [kind for f, kind in DriverConfigs() if f == family]


class DriverUnderTest:
    def __init__(self, family, kind):
        self.family = family
        self.kind = kind
        self.module = driver(family, kind)
        path = CASES / f"{family}s" / f"{kind}.py"
        self.case = _load(path) if path.exists() else None

    def config(self, keys):
        return msgspec.convert(keys, self.module.Config)

    def example(self):
        """The keys of the example in the docstring, without those that all drivers share."""
        (section,) = tomllib.loads(example_text(_as_written(self.module), self.family))[self.family]
        assert section["kind"] == self.kind
        return {key: value for key, value in section.items() if key not in COMMON[self.family]}

    def missing(self, folder):
        return self.case.missing(folder) if hasattr(self.case, "missing") else self.example()

    @contextmanager
    def working(self, folder):
        if not hasattr(self.case, "working"):
            pytest.skip(f"no device for it here: cases/{self.family}s/{self.kind}.py has no `working`")
        with self.case.working(folder) as keys:
            yield keys


def _as_written(module):
    """The docstring with its indentation, which Python 3.13 takes away where every line has it."""
    return ast.get_docstring(ast.parse(Path(module.__file__).read_text(encoding="utf-8")), clean=False)


def example_text(doc, family):
    """The indented block of the docstring that begins with `[[source]]` or `[[actuator]]`."""
    lines = doc.splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() == f"[[{family}]]"), None)
    assert start is not None, f"the docstring needs an example: an indented [[{family}]] section"
    block = []
    for line in lines[start:]:
        if line.strip() and not line.startswith("    "):
            break
        block.append(line)
    return textwrap.dedent("\n".join(block))


def undocumented(module):
    """Keys of Config that have no docstring of their own and stand in none above them, as `key` or `key = value`."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    (config,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config")
    above = f"{module.__doc__} {ast.get_docstring(config) or ''}"
    keys = []
    for node, following in zip(config.body, [*config.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign):
            continue
        told = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        key = node.target.id
        if not told and not re.search(rf"`{key}`|^\s*{key} = ", above, re.MULTILINE):
            keys.append(key)
    return keys


class Leaks:
    """Threads and descriptors that were not there before and did not go away."""

    def __init__(self):
        self._threads = set(threading.enumerate())
        self._open = self._descriptors()

    @staticmethod
    def _descriptors():
        found = {}
        for fd in Path("/proc/self/fd").iterdir():
            try:
                found[fd.name] = str(fd.readlink())
            except FileNotFoundError:
                continue
        return found

    def threads(self):
        return settled(lambda: [t.name for t in threading.enumerate() if t not in self._threads])

    def descriptors(self):
        return settled(lambda: {fd: path for fd, path in self._descriptors().items() if self._open.get(fd) != path})


def settled(leak, timeout_s=2.0):
    """What `leak()` still gives after a while: a dialling thread may end, a child's pipe may close."""
    end = time.monotonic() + timeout_s
    while (found := leak()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def _load(path):
    spec = importlib.util.spec_from_file_location(f"case_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
