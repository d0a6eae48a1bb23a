"""The POSIX example of the firmware bridge, behind a cable."""

from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from bridge.cable import Cable, Process
from bridge.device import C_DIR, need, run

_cable = None


@cache
def _built():
    need("gcc", "make")
    folder = Path(mkdtemp(prefix="bridge-"))
    run("make", "-C", C_DIR, f"BUILD={folder}", "posix")
    return folder / "posix"


@contextmanager
def working(folder):
    global _cable  # noqa: PLW0603 - `lose` pulls what `working` plugged in
    device = Process(_built(), "-r", "200")
    _cable = cable = Cable(folder, device.fd)
    try:
        yield {"device": str(cable.path)}
    finally:
        cable.close()
        device.close()


def lose():
    _cable.unplug()
