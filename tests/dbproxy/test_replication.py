"""Real replicas: a standby made by pg_basebackup, a MariaDB replica. The writer dies, the replica is promoted, clients only wait."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from db_servers import (
    ADMIN_PASSWORD,
    PASSWORD,
    USER,
    Postgres,
    Server,
    binary,
    new_folder,
    postgres_folders,
    unprivileged,
    until,
)

from forebay.errors import CommitUnknown, ConnectionLost, DatabaseError, DBProxyError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Replicated:
    """A writer and its replica."""

    primary: Server
    replica: Server

    @property
    def url(self) -> str:
        password = PASSWORD.replace("!", "%21")
        replica, primary = self.replica.address, self.primary.address
        return f"{self.primary.engine}://{USER}:{password}@{replica},{primary}/app"  # the replica is named first

    def promote(self) -> None:
        if self.primary.engine == "postgresql":
            self.replica.sql("SELECT pg_promote()")
        else:
            self.replica.sql("STOP SLAVE; SET GLOBAL read_only = 0")


def standby_of(primary: Server) -> Server:
    folder = new_folder()
    subprocess.run(
        [
            binary("pg_basebackup", "postgresql", *postgres_folders()),
            *("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"),
            *("-D", str(folder / "data"), "-R", "-X", "stream", "--checkpoint=fast"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PGPASSWORD": ADMIN_PASSWORD},
        **unprivileged(),
    )
    return Postgres("postgresql", folder)


@pytest.fixture(params=["postgresql", "mysql"])
def replicated(request, templates) -> Iterator[Replicated]:
    primary = templates(request.param).clone()
    if request.param == "postgresql":
        options = ("-cwal_level=replica", "-cmax_wal_senders=4", "-chot_standby=on")
        primary.start(*options)
        replica = standby_of(primary)
        replica.start(*options)
    else:
        primary.start("--log-bin", "--server-id=1")
        replica = templates("mysql").clone()
        replica.start("--log-bin", "--server-id=2", "--read-only")
        replica.sql(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='root', "
            f"MASTER_PASSWORD='{ADMIN_PASSWORD}', MASTER_USE_GTID=slave_pos; START SLAVE"
        )
    yield Replicated(primary, replica)
    for server in (replica, primary):
        server.remove()


def settings():
    return {
        "role_check_interval": 0.05,
        "connect_timeout": 1,
        "connection_borrow_timeout": 30,
        "maximum_connections": 3,
    }


async def arrived(reader, rows):
    """Wait until the replica has what the writer was told."""
    async with asyncio.timeout(20):
        while True:
            try:
                if await reader.fetch_value("SELECT count(*) FROM log") >= rows:
                    return
            except DatabaseError:  # the table has not arrived yet
                pass
            await asyncio.sleep(0.02)


async def test_clients_of_a_dead_writer_wait_for_the_promoted_replica(replicated, proxies):
    proxy = proxies(replicated.url, **settings())
    port = "SELECT @@port" if proxy.engine == "mysql" else "SELECT inet_server_port()"
    written, acknowledged, stop = 0, [], False

    async def writes(number):
        nonlocal written
        async with proxy.connect() as client:
            while not stop:
                written += 1
                tag = number * 1_000_000 + written
                try:
                    await client.execute(f"INSERT INTO log VALUES ({tag})")
                except CommitUnknown:
                    continue
                acknowledged.append((tag, replicated.primary.process.poll() is None))

    async with proxy.connect() as client, proxy.connect() as inside, proxy.connect(read_only=True) as reader:
        assert await client.fetch_value(port) == replicated.primary.port, "the writer was found by asking"
        assert await reader.fetch_value(port) == replicated.replica.port
        await client.execute("CREATE TABLE log (a BIGINT)")
        with pytest.raises(DatabaseError):
            await reader.execute("BEGIN" if proxy.engine == "postgresql" else "CREATE TABLE other.nothing (a BIGINT)")
            await reader.execute("INSERT INTO log VALUES (0)")
            if proxy.engine == "mysql":  # this account may write to a read-only server
                raise DatabaseError("", "")
        if reader.in_transaction:
            await reader.execute("ROLLBACK")
        writers = [asyncio.create_task(writes(number)) for number in range(5)]
        await until(lambda: len(acknowledged) > 100)
        await inside.execute("BEGIN")
        assert await inside.fetch_value("SELECT count(*) FROM log") > 0
        await arrived(reader, 100)
        await asyncio.to_thread(replicated.primary.kill)
        with pytest.raises(ConnectionLost):
            await inside.fetch_value("SELECT 1")
        await inside.execute("ROLLBACK")
        reading = [asyncio.create_task(client.fetch_value(port))]
        await until(lambda: proxy.statistics()["DatabaseConnectionsSetupFailed"] > 0)
        assert not any(task.done() for task in (*reading, *writers)), "everybody waits"
        before = len(acknowledged)
        await asyncio.to_thread(replicated.promote)
        assert await reading[0] == replicated.replica.port
        await until(lambda: len(acknowledged) > before + 100, 20)
        stop = True
        await asyncio.gather(*writers)
        assert await inside.fetch_value(port) == replicated.replica.port
        rows = [row[0] for row in await client.fetch_all("SELECT a FROM log")]
        assert len(rows) == len(set(rows)), "no write was repeated"
        after = {tag for tag, alive in acknowledged[before:] if not alive}
        assert after <= set(rows), "what the new writer acknowledged is there"


async def test_a_replica_that_is_too_far_behind_is_lent_to_no_reader(replicated, proxies, caplog):
    proxy = proxies(replicated.url, **settings() | {"maximum_replica_lag": 0.5, "connection_borrow_timeout": 0.5})
    is_postgres = proxy.engine == "postgresql"
    port = "SELECT inet_server_port()" if is_postgres else "SELECT @@port"

    async def is_lent():
        try:
            return await reader.fetch_value(port) == replicated.replica.port
        except DBProxyError:
            return False

    async def becomes(lent):
        async with asyncio.timeout(30):
            while await is_lent() is not lent:
                await asyncio.sleep(0.05)

    async with proxy.connect() as client, proxy.connect(read_only=True) as reader:
        await client.execute("CREATE TABLE log (a BIGINT)")
        await becomes(lent=True)
        # One that is slow to come up may have been told of before.
        told = caplog.text.count("no reader for now")
        replicated.replica.sql("SELECT pg_wal_replay_pause()" if is_postgres else "STOP SLAVE SQL_THREAD")
        await client.execute("INSERT INTO log VALUES (1)")
        await becomes(lent=False)
        assert await client.fetch_value(port) == replicated.primary.port
        asked = proxy.counters.probes
        await until(lambda: proxy.counters.probes >= asked + 4)
        assert caplog.text.count("no reader for now") == told + 1, "it is told once, not with every question"
        replicated.replica.sql("SELECT pg_wal_replay_resume()" if is_postgres else "START SLAVE")
        await becomes(lent=True)
