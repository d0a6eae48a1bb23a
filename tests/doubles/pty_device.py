"""A device on a real pseudo-terminal behind a stable name, as udev's by-id links are: plug, unplug, renumber."""

import json
import os
import select
import threading
import tty
from contextlib import suppress
from pathlib import Path


class PtyDevice:
    """`path` is the stable name. Unplugged until `plug`."""

    def __init__(self, folder):
        self.path = str(folder / "usb-ACME_Press_0042-if00-port0")
        self.master = self.slave = -1

    def plug(self):
        """A new tty appears and the name points to it."""
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        new = Path(self.path + ".new")
        new.symlink_to(os.ttyname(self.slave))
        new.replace(self.path)
        return self

    def unplug(self):
        """The kernel hangs up, and the name goes away."""
        Path(self.path).unlink(missing_ok=True)
        self.hang_up()

    def hang_up(self):
        for fd in (self.master, self.slave):
            if fd >= 0:
                os.close(fd)
        self.master = self.slave = -1

    def send(self, data):
        """All of `data`, as fast as the reader takes it."""
        while data:
            data = data[os.write(self.master, data) :]

    def receive(self, timeout_s=2.0):
        """What the agent wrote, b"" when nothing came."""
        ready, _, _ = select.select([self.master], [], [], timeout_s)
        return os.read(self.master, 65536) if ready else b""

    def __enter__(self):
        return self.plug()

    def __exit__(self, *_):
        self.unplug()


class Relays(threading.Thread):
    """The firmware behind a PtyDevice: obeys commands and reads back; `refuse` maps targets to its reasons.

    `broken` holds targets whose relay sticks at its old value, `mute` those that are never answered.
    """

    def __init__(self, device, refuse=None, broken=(), mute=()):
        super().__init__(daemon=True)
        self.state = {}
        self.commands = []
        self._device = device
        self._refuse = refuse or {}
        self.broken = set(broken)
        self.mute = set(mute)

    def run(self):
        pending = b""
        while True:
            try:
                chunk = os.read(self._device.master, 4096)
            except OSError:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in filter(None, lines):
                self._obey(json.loads(line))

    def _obey(self, command):
        self.commands.append(command)
        target = command["set"]
        if target in self.mute:
            return
        answer = {"ack": command["id"], "set": target}
        if target in self._refuse:
            answer["error"] = self._refuse[target]
        else:
            if target not in self.broken:
                self.state[target] = command["value"]
            answer["value"] = self.state.get(target)
        with suppress(OSError):
            self._device.send(json.dumps(answer).encode() + b"\n")
