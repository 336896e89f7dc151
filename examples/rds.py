"""The first problem of every Lambda with a database: 1,000 handlers at once, and a MariaDB that allows 100 connections.

Without a proxy each handler connects for itself, and most are turned away. With one they share ten connections, wait a moment,
and all of them are served. It needs mariadb-server (one is started, in a temporary directory) and pip install '.[mysql]'.

    python examples/rds.py [--handlers 1000] [--connections 10]
"""

import argparse
import asyncio
import collections
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncmy
import uvloop
from asyncmy.errors import OperationalError

import forebay

ALLOWED = 100
TOO_MANY_CONNECTIONS = 1040  # MariaDB's number for it
HANDLER_SECONDS_MAX = 15
PASSWORD = "handlers-only"  # noqa: S105  of a server that lives as long as this program


def start_mariadb(folder: Path) -> tuple[subprocess.Popen, int]:
    """Start a server of our own on a free port; as root it runs as nobody, for it refuses to run as root."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.chmod(0o777)
    path = f"/usr/sbin:/usr/local/sbin:{Path(sys.executable).parent}"
    user = ["--user=nobody"] if Path("/proc/self").owner() == "root" else []
    install, server = (
        shutil.which(name) or shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd")
    )
    if not install or not server:
        sys.exit("mariadb-server is not installed: sudo apt-get install mariadb-server")
    common = ["--no-defaults", f"--datadir={folder / 'data'}", f"--tmpdir={folder}", *user]
    subprocess.run(
        [install, *common, "--skip-test-db", "--auth-root-authentication-method=normal"],
        check=True,
        capture_output=True,
    )
    setup = folder / "setup.sql"
    setup.write_text(
        "CREATE DATABASE shop;\n"
        "CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, handler INT NOT NULL);\n"
        f"CREATE USER app@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
        "GRANT ALL ON shop.* TO app@'127.0.0.1';\n"
    )
    network = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}", "--skip-name-resolve"]
    options = [f"--max-connections={ALLOWED}", f"--init-file={setup}", f"--pid-file={folder / 'pid'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([server, *common, *network, *options], stdout=log, stderr=log)
    while b"ready for connections" not in (folder / "log").read_bytes():
        if process.poll() is not None:
            sys.exit((folder / "log").read_text())
        time.sleep(0.05)
    return process, port


class TurnedAwayError(Exception):
    """The server has as many connections as it allows."""

    def __str__(self) -> str:
        return f"turned away by the server: Too many connections ({TOO_MANY_CONNECTIONS})"


class Handlers:
    """A thousand handlers that are started at the same moment, and what became of them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.waits: list[float] = []
        self.errors: collections.Counter[str] = collections.Counter()

    async def run(self, handler: Callable[[int], Awaitable[None]]) -> None:
        """Start them all, and wait for the last."""

        async def one(number: int) -> None:
            began = time.perf_counter()
            try:
                async with asyncio.timeout(HANDLER_SECONDS_MAX):
                    await handler(number)
                self.waits.append(time.perf_counter() - began)
            except Exception as error:  # noqa: BLE001  whatever it is, it is counted and shown
                self.errors[words(error)] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                group.create_task(one(number))

    def show(self, title: str, peak: int) -> None:
        """Print how they fared."""
        print(f"{title}: {len(self.waits):,} of {self.count:,} handlers were served; the server saw {peak} connections")
        if self.waits:
            print(f"    slowest {max(self.waits):.2f} s, median {statistics.median(self.waits):.2f} s")
        for error, times in self.errors.most_common(3):
            print(f"    {times:,} {'time' if times == 1 else 'times'} {error}")


def words(error: Exception) -> str:
    """Say what became of a handler that failed."""
    if isinstance(error, TurnedAwayError):
        return str(error)
    return f"{type(error).__name__}: {str(error) or f'not done after {HANDLER_SECONDS_MAX} s'}"


async def connect_alone(login: dict) -> asyncmy.Connection:
    """Connect as a handler without a proxy does.

    A server that is full says so and hangs up at once. uvloop then mostly closes the socket before the driver has read what was
    said, and the driver, which wants to set an option of that socket, raises a RuntimeError of its own instead of error 1040.
    """
    try:
        return await asyncmy.connect(**login, autocommit=True)
    except (OperationalError, RuntimeError) as error:
        if TOO_MANY_CONNECTIONS in error.args or "socket instance" in str(error):
            raise TurnedAwayError from error
        raise


async def peak_of(login: dict) -> int:
    """Ask the server how many connections it has had at once since it was asked last."""
    connection = await asyncmy.connect(**login)
    async with connection.cursor() as cursor:
        await cursor.execute("SHOW GLOBAL STATUS LIKE 'Max_used_connections'")
        (_, used) = await cursor.fetchone()
    await connection.ensure_closed()
    return int(used)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handlers", type=int, default=1000, help="handlers at once (1000)")
    parser.add_argument("--connections", type=int, default=10, help="DB connections of the proxy (10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forebay-rds-", ignore_cleanup_errors=True) as folder:
        process, port = await asyncio.to_thread(start_mariadb, Path(folder))
        try:
            await compare(port, options.handlers, options.connections)
        finally:
            process.terminate()
            process.wait(20)


async def compare(port: int, handlers: int, connections: int) -> None:
    login = {"host": "127.0.0.1", "port": port, "user": "app", "password": PASSWORD, "db": "shop"}

    proxy = forebay.DBProxy(f"mysql://app:{PASSWORD}@127.0.0.1:{port}/shop", maximum_connections=connections)

    async def through_the_proxy(number: int) -> None:
        async with proxy.connect() as client:
            await client.execute("INSERT INTO orders (handler) VALUES (%s)", (number,))
            await client.fetch_value("SELECT SLEEP(0.005)")  # the work of a query

    async with proxy:
        shared = Handlers(handlers)
        await shared.run(through_the_proxy)
        async with proxy.connect() as client:
            stored = await client.fetch_value("SELECT count(DISTINCT handler) FROM orders")
    peak = await peak_of(login)

    async def on_its_own(number: int) -> None:
        connection = await connect_alone(login)
        try:
            async with connection.cursor() as cursor:
                await cursor.execute("INSERT INTO orders (handler) VALUES (%s)", (number,))
                await cursor.execute("SELECT SLEEP(0.005)")
        finally:
            connection.close()

    alone = Handlers(handlers)
    await alone.run(on_its_own)

    shared.show(f"with the proxy, {connections} connections", peak)
    alone.show("without", await peak_of(login))
    if stored < len(shared.waits) or peak > connections + 1:
        sys.exit(f"WRONG: {stored} of {handlers} orders are in the database, {peak} connections at the peak")
    if shared.errors:
        sys.exit(
            f"{sum(shared.errors.values())} handlers were not served through the proxy, for the reasons above: "
            f"on a busy machine they may need longer than {HANDLER_SECONDS_MAX} s; try again with --handlers 200"
        )


if __name__ == "__main__":
    uvloop.run(main())
