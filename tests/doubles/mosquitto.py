"""A real mosquitto on a free loopback port, ended by its process id; and certificates for it."""

import shutil
import signal
import socket
import subprocess
import time

import pytest

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Mosquitto:
    """`lines` go into its configuration; `kill` and `start` again keep port, configuration and folder.

    `verbose` logs every packet, which costs it more than the packet."""

    def __init__(self, folder, *lines, anonymous=True, port=None, verbose=True):
        if PROGRAM is None:
            pytest.skip("mosquitto is not installed: sudo apt-get install mosquitto")
        self.port = port or free_port()
        self.folder = folder
        self._conf = folder / f"mosquitto-{self.port}.conf"
        own = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {str(anonymous).lower()}"]
        defaults = [] if any(line.startswith("persistence ") for line in lines) else ["persistence false"]
        self._conf.write_text("\n".join([*own, *defaults, "user root", *lines]) + "\n")
        self._options = ("-v",) if verbose else ()
        self._process = None

    def start(self):
        log = (self.folder / f"mosquitto-{self.port}.log").open("ab")
        self._process = subprocess.Popen([PROGRAM, *self._options, "-c", self._conf], stdout=log, stderr=log)
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError((self.folder / f"mosquitto-{self.port}.log").read_text())

    def kill(self):
        self._end(signal.SIGKILL)

    def stop(self):
        self._end(signal.SIGTERM)

    def log(self):
        return (self.folder / f"mosquitto-{self.port}.log").read_text()

    def _end(self, number):
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(10)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def password_file(folder, **users):
    path = folder / "passwords"
    path.touch(mode=0o600)
    for user, password in users.items():
        subprocess.run(["mosquitto_passwd", "-b", path, user, password], check=True, capture_output=True)
    return path


class Authority:
    """A certificate authority in a folder: `ca` is its certificate, `issue` gives (certificate, key)."""

    def __init__(self, folder, name="ca", *, days=2):
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        self.folder = folder
        self.ca, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days), "-subj", f"/CN={name}",
            "-keyout", self._key, "-out", self.ca,
        )  # fmt: skip

    def issue(self, name, *, address=None, days=2):
        cert, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={address or 'DNS:' + name}\n")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial",
            "-days", str(days), "-extfile", extension, "-out", cert,
        )  # fmt: skip
        return cert, key


def _openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)
