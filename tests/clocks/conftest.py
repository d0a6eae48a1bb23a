import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
for folder in (_ROOT / "tests", _ROOT / "tests" / "uplink", _ROOT / "scripts"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
