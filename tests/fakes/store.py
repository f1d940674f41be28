"""Stores to test with: a file of SQLite that costs a copy, and databases of a real PostgreSQL server.

    @pytest.fixture
    async def store(tmp_path):
        opened = fresh_store(tmp_path)
        yield opened
        await opened.close()

`postgres` is a fixture of `tests/conftest.py`: the settings of a new database with all tables.
"""

import asyncio
import atexit
import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import asyncpg

from proxy_cli.store.base import Store
from proxy_cli.store.opening import open_store
from proxy_cli.store.schema import migrate
from proxy_cli.store.settings import StoreSettings, settings_of

PASSWORD = "p@ss/w:rd#1"
PASSWORD_IN_URL = "p%40ss%2Fw%3Ard%231"
_DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


@cache
def _template() -> Path:
    """A database with all tables and no rows, made once in each process."""
    folder = Path(tempfile.mkdtemp(prefix="llmproxy-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "template.db"
    migrate(StoreSettings(path=path))
    return path


def fresh_file(folder: Path) -> Path:
    """A new, empty database in a folder."""
    path = folder / "llmproxy.db"
    shutil.copyfile(_template(), path)
    return path


def fresh_settings(folder: Path) -> StoreSettings:
    """The settings of one."""
    return StoreSettings(path=fresh_file(folder))


def fresh_store(folder: Path) -> Store:
    """A new, empty store in a folder; whoever asks for it closes it."""
    return open_store(fresh_settings(folder))


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's own programs; Debian has them off the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "postgres").exists()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGQUIT)


class PostgresServer:
    """A real server on a port of its own, which may be stopped, frozen and started again."""

    def __init__(self, programs: Path, *, connections: int = 60) -> None:
        self._programs = programs
        self._connections = connections
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="llmproxy-pg-"))
        atexit.register(self.remove)
        if self._user:
            shutil.chown(self.folder, self._user)
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._make()
        self.start()

    def _make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self._user:
            shutil.chown(secret, self._user)
        words = ("-U", "tester", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C")
        subprocess.run(
            [self._programs / "initdb", "-D", self.folder / "data", "--pwfile", secret, *words],
            user=self._user,
            cwd=self.folder,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start it, and come back when it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": self._connections,
            "superuser_reserved_connections": 0,
            "shared_buffers": "16MB",
            "autovacuum": "off",
            "deadlock_timeout": "50ms",
        }
        options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data", *options],
                user=self._user,
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads hold locks when a server is started
                start_new_session=True,
            )
        until = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, "PostgreSQL does not come up"
            time.sleep(0.05)

    def _answers(self) -> bool:
        check = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(check).returncode == 0

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: quickly and in order, or as told."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        """End it and take its folder away."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def freeze(self, number: signal.Signals = signal.SIGSTOP) -> None:
        """Stop the server and all its sessions where they are; SIGCONT lets them go on."""
        assert self.process is not None, "it runs"
        os.kill(self.process.pid, number)
        for children in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for child in children.read_text().split():
                # A session may end at any moment.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), number)

    def url(self, database: str, parameters: str = "") -> str:
        """The address of a database."""
        return f"postgresql://tester:{PASSWORD_IN_URL}@127.0.0.1:{self.port}/{database}{parameters}"

    def new(self, *, has_tables: bool = True) -> str:
        """The name of a new database, with our tables or without any."""
        name = f"test_{next(self._numbers)}"
        template = self._with_tables if has_tables else "template1"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    @property
    def _with_tables(self) -> str:
        if not self.has("ours"):
            self.sql("CREATE DATABASE ours")
            migrate(settings_of(self.url("ours"), {}, self.folder))
        return "ours"

    def has(self, database: str) -> bool:
        """Whether there is such a database."""
        return bool(self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{database}'"))

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Ask the server something, beside what is tested."""
        found: list[tuple[object, ...]] = []

        async def ask() -> None:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user="tester", password=PASSWORD, database=database
            )
            found.extend(tuple(row) for row in await connection.fetch(statement))
            await connection.close()

        _in_thread(ask)
        return found


def _in_thread(work: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run a coroutine also where an event loop is running already."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(work())).result()


@cache
def postgres_server() -> PostgresServer | None:
    """The server that tests of one process share; None where PostgreSQL is not installed."""
    programs = postgres_programs()
    return PostgresServer(programs) if programs else None
