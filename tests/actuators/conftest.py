import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from doubles.context import DriverContext
from doubles.pty_device import PtyDevice


@pytest.fixture
def device(tmp_path):
    """Not plugged in yet."""
    device = PtyDevice(tmp_path)
    yield device
    device.unplug()


@pytest.fixture
def context():
    return DriverContext()
