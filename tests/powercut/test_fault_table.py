"""Every known failure has a test that names it, or says that it has none and why."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROW = re.compile(r"^\| ([0-9]+) \| (.+?) \|(.*)\|(.*)\|$", re.MULTILINE)
NAMED = re.compile(r"([\w/]+\.py)::(test_\w+)")


def rows():
    return {int(number): (tests, missing) for number, _, tests, missing in ROW.findall(text())}


def text():
    return (TESTS / "FAULTS.md").read_text(encoding="utf-8")


def test_each_of_the_thirty_failures_has_a_test_or_says_why_not():
    assert list(rows()) == list(range(1, 31))
    silent = [number for number, (tests, _) in rows().items() if not NAMED.search(tests)]
    assert [number for number in silent if not rows()[number][1].strip()] == []


def test_every_test_that_the_table_names_exists():
    gone = [
        f"{path}::{name}"
        for path, name in NAMED.findall(text())
        if not (TESTS / path).is_file() or f"def {name}(" not in (TESTS / path).read_text(encoding="utf-8")
    ]
    assert gone == []
