"""Real MariaDB and PostgreSQL servers for tests and benchmarks: own directory, free loopback port, unprivileged user."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

USER = "app"
PASSWORD = "app-S3cret!"
DATABASE = "app"
ADMIN_PASSWORD = "root-S3cret!"
START_SECONDS_MAX = 60
FOLDERS = Path("/tmp")  # noqa: S108  only a random folder in it is used
MEMORY = Path("/dev/shm")  # noqa: S108  the same
MEMORY_BYTES_MIN = 4 << 30


def binary(name: str, package: str, *folders: str) -> str:
    """Find a server program, or say how to get it."""
    for folder in (*folders, *os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"):
        candidate = Path(folder) / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise RuntimeError(
        f"{name} is not installed. The database tests need a real server: sudo apt-get install {package}"
    )


def postgres_folders() -> list[str]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    return [str(path) for path in found]


def unprivileged() -> dict[str, object]:
    """Arguments of ``subprocess`` that drop root, which both servers refuse to run as."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@dataclass
class Server(ABC):
    """One server process and its directory."""

    engine: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.engine}://{USER}:{PASSWORD.replace('!', '%21')}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            self._command(*options),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            **unprivileged(),
        )
        log.close()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.engine} did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)  # polling a process outside of our control

    def _answers(self) -> bool:
        """Whether the server speaks: MariaDB greets first, PostgreSQL answers an SSLRequest once it is ready."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                if self.engine == "postgresql":
                    return b"database system is ready" in (self.folder / "log").read_bytes()
                return bool(probe.recv(1))
        except OSError:
            return False

    def kill(self) -> None:
        """Like a crash: SIGKILL, then wait until no process of it is left. It may have ended by itself."""
        assert self.process is not None
        children = self._children()
        self.process.kill()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        if self.engine == "postgresql":
            (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
            (self.folder / "log").write_bytes(b"")

    def pause(self) -> None:
        """Stop the server as a debugger would: alive for the kernel, dumb for everybody else."""
        assert self.process is not None
        self._signal_all(signal.SIGSTOP)
        for pid in (self.process.pid, *self._children()):
            while {
                path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")
            } - {"T", "Z"}:
                time.sleep(
                    0.001
                )  # its threads stop one by one; a child that has just ended is not waited for by its parent

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        assert self.process is not None
        for pid in (self.process.pid, *self._children()):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)

    def _children(self) -> list[int]:
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.resume()
        self.process.send_signal(signal.SIGINT if self.engine == "postgresql" else signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def clone(self, into: Path = FOLDERS) -> Server:
        """A second server from a copy of this one's (stopped) directory, on a port of its own."""
        assert self.process is None or self.process.poll() is not None, "clone a stopped server"
        folder = new_folder(into)
        shutil.copytree(self.folder / "data", folder / "data", ignore=shutil.ignore_patterns("postmaster.pid"))
        give_away(folder)
        return type(self)(self.engine, folder)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _command(self, *options: str) -> list[str]:
        """Give the command that starts it."""


class Postgres(Server):
    def _command(self, *options: str) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 120,
            "fsync": "off",
            "shared_buffers": "64MB",
            "log_min_messages": "log",
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "shared_preload_libraries": "",
        }
        arguments = [f"-c{name}={value}" for name, value in settings.items()]
        return [
            binary("postgres", "postgresql", *postgres_folders()),
            "-D",
            str(self.folder / "data"),
            *arguments,
            *options,
        ]

    def sql(self, text: str, database: str = DATABASE) -> str:
        """Run SQL as superuser with psql (only for setting up)."""
        return run(
            binary("psql", "postgresql", *postgres_folders()),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-d",
            database,
            "-v",
            "ON_ERROR_STOP=1",
            "-Atqc",
            text,
            env={"PGPASSWORD": ADMIN_PASSWORD},
        )


class MariaDB(Server):
    def _command(self, *options: str) -> list[str]:
        return [
            binary("mariadbd", "mariadb-server"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder / 'sock'}",
            f"--pid-file={self.folder / 'pid'}",
            "--skip-name-resolve",
            "--max-connections=120",
            "--back-log=4096",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=8M",
            "--skip-log-bin",
            f"--tmpdir={self.folder}",
            "--character-set-server=utf8mb4",
            *options,
        ]

    def sql(self, text: str, database: str = DATABASE) -> str:
        """Run SQL as root with the command line client (only for setting up)."""
        return run(
            binary("mariadb", "mariadb-client"),
            "--no-defaults",
            "-h",
            "127.0.0.1",
            "-P",
            str(self.port),
            "-u",
            "root",
            f"-p{ADMIN_PASSWORD}",
            "-N",
            "-B",
            "-e",
            text,
            *([database] if database else []),
        )


def run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})}, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stderr[-2000:]}{done.stdout[-500:]}")
    return done.stdout.strip()


def initialise(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, **unprivileged())
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def in_memory() -> Path:
    """Where a server's files are in memory, if there is room: what makes and drops tables all the time is twice as fast there."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN
    return MEMORY if has_room else FOLDERS


def new_folder(into: Path = FOLDERS) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="forebay-db-", dir=into))
    give_away(folder)
    return folder


def give_away(folder: Path) -> None:
    ids = unprivileged()
    if ids:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, int(ids["user"]), int(ids["group"]))  # type: ignore[arg-type]


def new_postgres() -> Postgres:
    """Initialise a PostgreSQL directory with role and database ``app`` and start it."""
    folder = new_folder()
    password = folder / "password"
    password.write_text(ADMIN_PASSWORD)
    give_away(folder)
    initialise(
        [
            binary("initdb", "postgresql", *postgres_folders()),
            "-D",
            str(folder / "data"),
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(password),
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ],
        folder,
    )
    password.unlink()
    server = Postgres("postgresql", folder)
    server.start()
    server.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'", "postgres")
    server.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}", "postgres")
    return server


def new_mariadb() -> MariaDB:
    """Initialise a MariaDB directory with user and database ``app`` and start it."""
    folder = new_folder()
    initialise(
        [
            binary("mariadb-install-db", "mariadb-server"),
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            f"--tmpdir={folder}",  # in a common one, each server that starts sweeps away what the others have there
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            "--innodb-log-file-size=8M",
            "--skip-name-resolve",
        ],
        folder,
    )
    server = MariaDB("mysql", folder)
    server.start()
    run(
        binary("mariadb", "mariadb-client"),
        "--no-defaults",
        "-h",
        "127.0.0.1",
        "-P",
        str(server.port),
        "-u",
        "root",
        "-e",
        f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4; CREATE DATABASE other;"
        f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO {USER}@'%';"
        f"CREATE ROLE readers; GRANT readers TO {USER}@'%';"
        f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{ADMIN_PASSWORD}';"
        "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;",
    )
    return server


class View:
    """Looks at a server from outside of the proxy, as its administrator."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.peak = 0

    async def __aenter__(self) -> Self:
        login = {"host": "127.0.0.1", "port": self.server.port, "password": ADMIN_PASSWORD}
        if self.server.engine == "postgresql":
            import asyncpg

            self._raw = await asyncpg.connect(user="postgres", database=DATABASE, **login)
        else:
            import asyncmy

            self._raw = await asyncmy.connect(user="root", db=DATABASE, autocommit=True, **login)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.server.engine == "postgresql":
            self._raw.terminate()
        else:
            self._raw.close()

    async def value(self, sql: str) -> object:
        if self.server.engine == "postgresql":
            return await self._raw.fetchval(sql)
        async with self._raw.cursor() as cursor:
            await cursor.execute(sql)
            row = await cursor.fetchone()
            return row[0] if row else None

    async def connections(self) -> int:
        """Count the server's connections of the user that the proxy logs in as."""
        if self.server.engine == "postgresql":
            count = await self.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")
        else:
            listed = await self._listed()
            if len(listed) > self.peak:
                # MariaDB lists a connection for a moment after it hung up: what is still there after 20 ms counts.
                await asyncio.sleep(0.02)
                listed &= await self._listed()
            count = len(listed)
        self.peak = max(self.peak, int(count))  # type: ignore[call-overload]
        return int(count)  # type: ignore[call-overload]

    async def _listed(self) -> set[int]:
        """Give the ids of MariaDB's connections of that user. One that the server has ended is marked as killed."""
        async with self._raw.cursor() as cursor:
            await cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE user = 'app' AND command <> 'Killed'"
            )
            return {id_ for (id_,) in await cursor.fetchall()}

    async def watch(self) -> None:
        """Count again and again until cancelled; ``peak`` keeps the largest count."""
        while True:
            await self.connections()
            await asyncio.sleep(0.001)


async def until(condition: Callable[[], object], seconds: float = 10.0, what: str = "") -> None:
    """Wait for a condition, looking at it on every turn of the loop."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never came true: {what or condition}"
        await asyncio.sleep(0.002)
