"""A PostgreSQL server for tests: on loopback, in a folder of its own, run by a user without rights.

``postgres`` is a server for the whole session. ``database_url`` is a new database, once in SQLite and once in PostgreSQL.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PATIENCE = 60  # seconds until a server must answer
USERS = ("postgres", "nobody")  # who runs it where the tests run as root, which PostgreSQL refuses


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None, key=lambda path: int(path.parent.name))


class Server:
    """A server; it is started, killed and started again on the same data."""

    def __init__(self, folder: Path, installed: Path) -> None:
        self.folder, self.installed = folder, installed
        self.port, self.password = free_port(), secrets.token_hex(16)
        self.user = next(user for user in USERS if _has(user)) if os.getuid() == 0 else None
        self.process: subprocess.Popen[bytes] | None = None
        secret = folder / "password"
        secret.write_text(self.password)
        if self.user is not None:
            for path in (folder, secret):
                shutil.chown(path, self.user)
        self._run("initdb", "-D", self.data, "-U", "tests", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync",
                  "-E", "UTF8", "--locale", "C")  # fmt: skip

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str) -> str:
        """As SQLAlchemy and DBOS take it."""
        return f"postgresql+psycopg://tests:{self.password}@127.0.0.1:{self.port}/{database}"

    def new(self) -> str:
        """Make a database and return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        with self._connected() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
                   "max_connections": 200}  # fmt: skip
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:  # one that was killed leaves its memory a while
                with (self.folder / "log").open("ab") as log:
                    self.process = subprocess.Popen(
                        [self.installed / "postgres", "-D", self.data, *words], stdout=log, stderr=log, cwd="/",
                        user=self.user, group=self._group, extra_groups=self._groups, start_new_session=True,
                    )  # fmt: skip
            if self._answers():
                return
            time.sleep(0.1)
        raise RuntimeError(f"PostgreSQL does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Kill it and its children at once, as a crash does."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop it; connections that are open are broken off."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(PATIENCE)

    @property
    def _group(self) -> int | None:
        return None if self.user is None else pwd.getpwnam(self.user).pw_gid

    @property
    def _groups(self) -> list[int] | None:
        return None if self.user is None else []

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self.installed / program, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, cwd="/",
            user=self.user, group=self._group, extra_groups=self._groups,
        )  # fmt: skip

    def _connected(self):
        import psycopg

        return psycopg.connect(self.url("postgres").replace("+psycopg", ""), autocommit=True, connect_timeout=5)

    def _answers(self) -> bool:
        import psycopg

        try:
            self._connected().close()
        except psycopg.OperationalError:
            return False
        return True


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _has(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server, which all tests of a process share; each takes ``postgres.new()`` for itself."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra service)")
    installed = programs()
    if installed is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not pytest's, which only its owner may enter
    server = Server(folder, installed)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of a new database; the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'database.sqlite'}"
    return request.getfixturevalue("postgres").new()
