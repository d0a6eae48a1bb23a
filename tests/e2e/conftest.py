import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
for folder in (_ROOT / "tests", _ROOT / "scripts"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from doubles.schemas import held_to_the_schemas  # noqa: E402, F401 - every test of this folder uses it
