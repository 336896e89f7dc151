"""Several servers: the writer is found by asking, a failover is waited for, old and new writer are never mixed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from db_servers import PASSWORD, USER, until

from forebay.errors import CommitUnknown, ConnectionLost, DatabaseError, DatabaseUnavailable, DBProxyError

if TYPE_CHECKING:
    from db_servers import Server


@dataclass
class Pair:
    """Two servers with the same accounts. ``one`` begins as the writer; each answers its own name."""

    one: Server
    two: Server

    @property
    def url(self):
        engine = self.one.engine
        return (
            f"{engine}://{USER}:{PASSWORD.replace('!', '%21')}@127.0.0.1:{self.one.port},127.0.0.1:{self.two.port}/app"
        )


def demote(server):
    if server.engine == "mysql":
        server.sql("SET GLOBAL read_only = 1")
    else:
        server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        server.sql("SELECT pg_reload_conf()")


def promote(server):
    if server.engine == "mysql":
        server.sql("SET GLOBAL read_only = 0")
    else:
        server.sql("ALTER SYSTEM SET default_transaction_read_only = off", "postgres")
        server.sql("SELECT pg_reload_conf()")


def show_name(server):
    """Tables that tell the servers apart."""
    server.sql("CREATE TABLE who (name VARCHAR(20))")
    server.sql(f"INSERT INTO who VALUES ('{server.port}')")
    if server.engine == "postgresql":
        server.sql(f"GRANT ALL ON who TO {USER}")
    else:  # an account without the right to write to a read-only server
        server.sql(f"REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM {USER}@'%'")


@pytest.fixture(params=["postgresql", "mysql"])
def pair(request, templates):
    servers = [templates(request.param).clone() for _ in range(2)]
    for server in servers:
        server.start()
        show_name(server)
    demote(servers[1])
    yield Pair(*servers)
    for server in servers:
        server.remove()


def settings(**changes):
    return {
        "role_check_interval": 0.05,
        "connect_timeout": 1,
        "connection_borrow_timeout": 20,
        "maximum_connections": 3,
        **changes,
    }


NAME = "SELECT name FROM who"


async def test_the_writer_is_found_and_readers_get_the_rest(pair, proxies):
    proxy = proxies(pair.url, **settings())
    async with proxy.connect() as client, proxy.connect(read_only=True) as reader:
        assert await client.fetch_value(NAME) == str(pair.one.port)
        assert await reader.fetch_value(NAME) == str(pair.two.port)
        await client.execute("INSERT INTO who VALUES ('x')")
        with pytest.raises(DatabaseError):
            await reader.execute("INSERT INTO who VALUES ('x')")


async def test_a_switchover_is_followed_by_everybody_outside_of_a_transaction(pair, proxies):
    proxy, told = proxies(pair.url, **settings()), []
    proxy.on_failover = lambda former, writer: told.append((former, writer))
    async with proxy.connect() as client, proxy.connect() as inside:
        assert await client.fetch_value(NAME) == str(pair.one.port)
        await inside.execute("BEGIN")
        assert await inside.fetch_value(NAME) == str(pair.one.port)
        demote(pair.one)
        promote(pair.two)
        async with asyncio.timeout(20):
            while await client.fetch_value(NAME) != str(pair.two.port):
                await asyncio.sleep(0.01)
        with pytest.raises(ConnectionLost):
            await inside.fetch_value(NAME)
        await inside.execute("ROLLBACK")
        assert await inside.fetch_value(NAME) == str(pair.two.port)
        async with proxy.connect(read_only=True) as reader:
            assert await reader.fetch_value(NAME) == str(pair.one.port)
    [(former, writer)] = told
    assert (str(pair.one.port) in former, str(pair.two.port) in writer) == (True, True)


async def test_a_dead_writer_is_replaced_when_another_is_promoted(pair, proxies):
    proxy = proxies(pair.url, **settings())
    clients = [await proxy.connect().__aenter__() for _ in range(10)]
    for client in clients:
        assert await client.fetch_value(NAME) == str(pair.one.port)
    pair.one.kill()
    waiting = [asyncio.create_task(client.fetch_value(NAME)) for client in clients]
    await until(lambda: proxy.statistics()["DatabaseConnectionsSetupFailed"] > 0)
    assert not any(task.done() for task in waiting)
    promote(pair.two)
    assert set(await asyncio.gather(*waiting)) == {str(pair.two.port)}
    for client in clients:
        await client.close()


async def test_a_stopped_writer_loses_its_clients_to_the_new_one(pair, proxies):
    proxy = proxies(pair.url, **settings(query_timeout=30))
    async with proxy.connect() as client, proxy.connect() as other:
        assert await client.fetch_value(NAME) == str(pair.one.port)
        pair.one.pause()
        try:
            stuck = asyncio.create_task(other.fetch_value(NAME))
            await asyncio.sleep(0.05)
            promote(pair.two)
            assert await client.fetch_value(NAME) == str(pair.two.port)
            assert await stuck == str(pair.two.port), "a read outside of a transaction is asked again"
        finally:
            pair.one.resume()


async def test_old_and_new_writer_are_never_mixed(pair, proxies):
    """Both accept writes after the old one comes back: whoever was chosen stays, and every write is in one place."""
    proxy = proxies(pair.url, **settings(maximum_connections=4))
    written: list[tuple[int, str]] = []
    stop = False

    async def writer(number):
        async with proxy.connect() as client:
            while not stop:
                try:
                    async with client.transaction():
                        name = await client.fetch_value(NAME)
                        await client.execute("INSERT INTO log VALUES (1)")
                    written.append((number, name))
                except (ConnectionLost, CommitUnknown, DatabaseError):
                    await asyncio.sleep(0)

    for server in (pair.one, pair.two):
        promote(server)
        server.sql("CREATE TABLE log (a INT)")
        if server.engine == "postgresql":
            server.sql(f"GRANT ALL ON log TO {USER}")
    demote(pair.two)
    tasks = [asyncio.create_task(writer(number)) for number in range(8)]
    await until(lambda: len(written) > 50)
    demote(pair.one)
    promote(pair.two)
    await until(lambda: written[-1][1] == str(pair.two.port), 20)
    promote(pair.one)  # it is back, and thinks that it is the writer
    mark = len(written)
    await until(lambda: len(written) > mark + 200)
    stop = True
    await asyncio.gather(*tasks)
    names = [name for _, name in written]
    first_new = names.index(str(pair.two.port))
    assert set(names[first_new + 8 :]) == {str(pair.two.port)}
    assert set(names[:first_new]) == {str(pair.one.port)}


async def test_a_second_writer_is_asked_no_more_often_than_servers_are(pair, proxies, caplog):
    """It was connected to again and again, with a line in the log each time."""
    caplog.set_level(logging.WARNING, logger="forebay.dbproxy")
    proxy = proxies(pair.url, **settings(role_check_interval=0.5))
    async with proxy.connect() as client:
        assert await client.fetch_value(NAME) == str(pair.one.port)
    promote(pair.two)

    def told():
        return [record for record in caplog.records if "both accept writes" in record.getMessage()]

    async def works(seconds):
        until_then = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until_then:
            async with proxy.connect() as client, proxy.connect() as other:
                await asyncio.gather(client.fetch_value(NAME), other.fetch_value(NAME))
            await asyncio.sleep(0.01)

    async with asyncio.timeout(10):
        while not told():
            await works(0.1)
    before = proxy.counters.connections_requested
    await works(2)
    assert len(told()) == 1
    assert proxy.counters.connections_requested - before <= 8, "one for each question, of which there are four"
    demote(pair.two)
    await works(1.5)  # it is asked
    promote(pair.two)
    async with asyncio.timeout(10):
        while len(told()) < 2:
            await works(0.1)
    demote(pair.one)  # who was refused is the writer now
    async with asyncio.timeout(20):
        while True:
            async with proxy.connect() as client:
                if await client.fetch_value(NAME) == str(pair.two.port):
                    break
            await asyncio.sleep(0.05)


async def test_who_is_to_be_refused_as_writer_takes_over_when_the_writer_is_lost_meanwhile(pair, proxies):
    """It was refused for a writer that was no more: no connection to it was opened until servers were asked again."""
    proxy = proxies(pair.url, **settings(role_check_interval=3600))
    async with proxy.connect() as client:
        assert await client.fetch_value(NAME) == str(pair.one.port)
        cluster = proxy._cluster
        one, two = cluster.pools
        ask, asked = cluster._ask, []

        async def lost_once_it_has_answered(pool):
            answer = await ask(pool)
            if pool is one:
                asked.append(answer)
                cluster._lose_writer(one, "it cannot be reached")
                await until(lambda: two not in cluster._checking)
            return answer

        cluster._ask = lost_once_it_has_answered
        promote(pair.two)
        await cluster._settle(one, two)
        cluster._ask = ask
        assert [confirmed for confirmed, _ in asked] == [True]
        assert not two.refused_as_writer
        two.refused_as_writer = True
        cluster._lose_writer(cluster.writer, "it cannot be reached")
        assert not two.refused_as_writer, "nobody else is the writer now"


async def test_without_any_writer_everybody_waits_and_then_is_told(pair, proxies):
    """Whoever waited for long was closed as older than `client_lifetime`, on a machine that had been up for longer than that."""
    demote(pair.one)
    proxy = proxies(pair.url, **settings(connection_borrow_timeout=2, client_lifetime=60))
    with pytest.raises(DatabaseUnavailable, match="no server is the writer"):
        async with proxy.connect():
            pass
    async with proxy.connect(read_only=True) as reader:
        assert await reader.fetch_value(NAME) in {str(pair.one.port), str(pair.two.port)}
    promote(pair.two)
    async with asyncio.timeout(10):
        while True:
            try:
                async with proxy.connect() as client:
                    assert await client.fetch_value(NAME) == str(pair.two.port)
                    return
            except DatabaseUnavailable:
                continue


async def test_a_reader_that_dies_is_waited_for(pair, proxies):
    proxy = proxies(pair.url, **settings(connection_borrow_timeout=0.5))
    async with proxy.connect(read_only=True) as reader, proxy.connect() as client:
        assert await reader.fetch_value(NAME) == str(pair.two.port)
        pair.two.kill()
        with pytest.raises(DatabaseUnavailable):
            await reader.fetch_value(NAME)
        assert await client.fetch_value(NAME) == str(pair.one.port)
        await asyncio.to_thread(pair.two.start)
        if pair.two.engine == "mysql":
            demote(pair.two)
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await reader.fetch_value(NAME) == str(pair.two.port)
                    break
                except DatabaseUnavailable:
                    continue


async def test_a_reader_is_refused_when_there_can_be_none(server, proxies):
    with pytest.raises(DatabaseUnavailable, match="one address"):
        async with proxies(server).connect(read_only=True):
            pass


async def test_one_dead_address_does_not_keep_the_proxy_from_opening(pair, proxies):
    pair.two.stop()
    proxy = proxies(pair.url, **settings())
    async with proxy.connect() as client:
        assert await client.fetch_value(NAME) == str(pair.one.port)
    await asyncio.to_thread(pair.one.stop)
    fresh = proxies(pair.url, **settings())
    with pytest.raises(DBProxyError) as caught:
        async with fresh.connect():
            pass
    assert str(pair.one.port) in str(caught.value)
    assert str(pair.two.port) in str(caught.value)
