import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from doubles.context import DriverContext

from edge_agent.types import ImageView


@pytest.fixture
def context():
    return DriverContext("unit", views=(ImageView(64, 48),))
