"""A program that writes JPEGs to its standard output, as rpicam-vid does on a Raspberry Pi."""

import sys
import textwrap
from contextlib import contextmanager

import pytest

_PROGRAM = """
    import sys, time, cv2, numpy as np
    for n in range(100_000):
        image = np.full((48, 64, 3), n % 250, np.uint8)
        sys.stdout.buffer.write(cv2.imencode(".jpg", image)[1].tobytes())
        sys.stdout.buffer.flush()
        time.sleep(0.05)
"""


def missing(folder):
    return {"device": str(folder / "video-that-is-not-there")}


@contextmanager
def working(folder):
    pytest.importorskip("cv2")
    program = folder / "camera.py"
    program.write_text(textwrap.dedent(_PROGRAM))
    yield {"command": [sys.executable, str(program)]}
