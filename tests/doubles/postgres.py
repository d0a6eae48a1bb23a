"""A real PostgreSQL of the test's own: in a temporary folder, on loopback and a socket there, ended by its pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.doubles.mosquitto import free_port

MISSING = "PostgreSQL 14 or newer is not installed: sudo apt-get install postgresql"
PASSWORD = "s3cret of the test"


def programs() -> Path | None:
    """The folder of the newest `initdb` and `postgres`."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name)):
        if int(folder.parent.name) >= 14 and (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    found = shutil.which("initdb")
    return Path(found).parent if found else None


class Postgres:
    """A cluster: `kill` and `start` again keep folder, port and data. Its superuser is `edge`, which needs a password
    over TCP and none over the socket."""

    def __init__(self, *, fsync: bool = False) -> None:
        folder = programs()
        if folder is None:
            pytest.skip(MISSING)
        self._programs = folder
        self._user = _unprivileged()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="edge-pg-"))
        if self._user is not None:
            os.chown(self.folder, *self._user)
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._initdb()

    def start(self) -> Postgres:
        argv: list[str | Path] = [
            self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder,
            "-c", "listen_addresses=127.0.0.1", "-c", f"fsync={'on' if self._fsync else 'off'}",
        ]  # fmt: skip
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.folder, **self._as_user())
        ready = [self._programs / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)]
        for _ in range(600):
            if subprocess.run(ready, check=False).returncode == 0:
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self, number: int = signal.SIGINT) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    def crash(self) -> None:
        """Every process of it at once, nothing written any more; `start` recovers."""
        self.stop(signal.SIGQUIT)

    def database(self) -> str:
        """A new, empty database: its name."""
        self._made += 1
        name = f"t{self._made}"
        self.sql(f"create database {name}", "postgres")
        return name

    def url(self, database: str, *, user: str = "edge", tcp: bool = False) -> str:
        host = "127.0.0.1" if tcp else str(self.folder)
        return f"host={host} port={self.port} dbname={database} user={user}"

    def sql(self, statement: str, database: str) -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self.crash()  # what it would write first is thrown away
        shutil.rmtree(self.folder)

    def _initdb(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        argv: list[str | Path] = [
            self._programs / "initdb", "-D", self.folder / "data", "-U", "edge", "-E", "UTF8", "--locale=C",
            "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, cwd=self.folder, check=False, **self._as_user())
        secret.unlink()
        if done.returncode:
            raise RuntimeError(done.stderr.decode())

    def _as_user(self) -> dict[str, int | list[int]]:
        if self._user is None:
            return {}
        return {"user": self._user[0], "group": self._user[1], "extra_groups": []}


def _unprivileged() -> tuple[int, int] | None:
    """PostgreSQL does not run as root: who it runs as instead; None where this process may be it."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    pytest.skip("no user to run PostgreSQL as")
