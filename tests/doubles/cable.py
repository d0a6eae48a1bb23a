"""A network of two machines with a cable that can be cut: the far one is a network namespace with a broker in it."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

from doubles.mosquitto import PROGRAM

_NOBODY = "02:00:00:00:00:99"
_numbers = itertools.count()
"""The kernel takes a namespace apart in its own time: each cable has names of its own."""


class Cable:
    """`near` and `far` are the two addresses. While it is cut, packets vanish and nobody is told."""

    def __init__(self, folder):
        if PROGRAM is None or shutil.which("ip") is None or os.geteuid() != 0:
            pytest.skip("needs root, mosquitto and iproute2 (sudo apt-get install iproute2 mosquitto)")
        number = (os.getpid() * 8 + next(_numbers)) % 15_000
        self._space, self._link, self._end = (f"ea{kind}{number}" for kind in "nab")
        net, first = f"10.231.{number // 60}", number % 60 * 4
        self.near, self.far = f"{net}.{first + 1}", f"{net}.{first + 2}"
        self.port = 1883
        self._folder = folder
        self._broker = None

    def cut(self):
        _ip("neigh", "replace", self.far, "lladdr", _NOBODY, "dev", self._link, "nud", "permanent")
        there = ("dev", self._end, "nud", "permanent")
        _ip("-n", self._space, "neigh", "replace", self.near, "lladdr", _NOBODY, *there)

    def mend(self):
        _ip("neigh", "del", self.far, "dev", self._link)
        _ip("-n", self._space, "neigh", "del", self.near, "dev", self._end)

    def __enter__(self):
        if _ip("netns", "add", self._space, check=False):
            pytest.skip("this container does not let us make a network namespace")
        try:
            self._connect()
            self._start_broker()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _connect(self):
        _ip("link", "add", self._link, "type", "veth", "peer", "name", self._end, "netns", self._space)
        _ip("addr", "add", f"{self.near}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        _ip("-n", self._space, "addr", "add", f"{self.far}/30", "dev", self._end)
        _ip("-n", self._space, "link", "set", self._end, "up")

    def __exit__(self, *_):
        if self._broker is not None:
            self._broker.send_signal(signal.SIGTERM)
            self._broker.wait(10)
        _ip("link", "del", self._link, check=False)
        _ip("netns", "del", self._space, check=False)

    def _start_broker(self):
        conf = self._folder / "far.conf"
        conf.write_text(f"listener {self.port} {self.far}\nallow_anonymous true\npersistence false\nuser root\n")
        argv = ["ip", "netns", "exec", self._space, PROGRAM, "-c", conf]
        self._broker = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as s:
                s.settimeout(1)
                if s.connect_ex((self.far, self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("the far broker does not answer")


def _ip(*arguments, check=True):
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    assert not (check and done.returncode), (arguments, done.stderr)
    return done.returncode
