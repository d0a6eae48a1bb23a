"""Programs in JavaScript, with the packages that `scripts/node` has installed."""

import shutil
from pathlib import Path

import pytest

PACKAGES = Path(__file__).resolve().parents[2] / ".node" / "node_modules"


def beside_packages(script, folder):
    """A copy of the script in `folder`, from where it finds its packages: argv to run it."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: sudo apt-get install nodejs npm, then scripts/node")
    if not (PACKAGES.parent / ".made-from").exists():  # written last
        pytest.skip("the packages from npm are not here: scripts/node")
    copy = folder / script.name
    shutil.copy(script, copy)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(PACKAGES)
    return [node, str(copy)]
