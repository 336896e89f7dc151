"""The first clients of a proxy: a server that has less room than the maximum, or that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest
from db_servers import until

from forebay.errors import AuthenticationFailed, BorrowTimeout, DatabaseUnavailable, DBProxyError

ROOM = 15


@pytest.fixture
def small(own_server):
    """A server with room for few connections."""
    own_server.stop()
    (own_server.folder / "log").write_bytes(b"")
    is_postgres = own_server.engine == "postgresql"
    own_server.start(*([f"-cmax_connections={ROOM}"] if is_postgres else [f"--max-connections={ROOM}"]))
    return own_server


async def clients(proxy, number, sql="SELECT 1"):
    async def one():
        async with proxy.connect() as client:
            return await client.fetch_value(sql)

    return await asyncio.gather(*(one() for _ in range(number)), return_exceptions=True)


def nap(server, seconds):
    return f"SELECT SLEEP({seconds})" if server.engine == "mysql" else f"SELECT 0 FROM pg_sleep({seconds})"


async def test_the_first_clients_wait_when_the_maximum_is_above_what_the_server_has(small, proxies):
    """Each of them was refused while the proxy had connections: a deployment's first burst was an outage."""
    proxy = proxies(small, maximum_connections=100, connection_borrow_timeout=30)
    assert set(await clients(proxy, 300)) == {1}
    assert 1 <= proxy.statistics()["DatabaseConnections"] <= ROOM + 1  # MariaDB has one more, for who may kill
    assert proxy.statistics()["DatabaseConnectionsSetupFailed"] < 300, "a server that is full is not stormed"
    assert set(await clients(proxy, 300)) == {1}


async def test_the_first_clients_wait_for_what_others_give_back(small, proxies):
    """Another process has the whole server, as in a rolling deployment, and lets go of it later."""
    old = proxies(small, maximum_connections=ROOM * 2, connection_borrow_timeout=30)
    holding = asyncio.create_task(clients(old, ROOM * 2, nap(small, 1)))
    await until(lambda: old.statistics()["DatabaseConnectionsSetupFailed"] > 0)
    new = proxies(small, maximum_connections=ROOM, connection_borrow_timeout=30)
    waiting = asyncio.create_task(clients(new, 50))
    await until(lambda: new.statistics()["DatabaseConnectionsSetupFailed"] > 0)
    await asyncio.sleep(0.2)
    assert not waiting.done()
    assert set(await holding) == {0}
    await old.close()
    assert set(await waiting) == {1}


async def failures(proxy, least=1):
    """Wait until so many attempts have failed; say how many have."""
    await until(lambda: proxy.statistics()["DatabaseConnectionsSetupFailed"] >= least)
    return proxy.statistics()["DatabaseConnectionsSetupFailed"]


@contextlib.asynccontextmanager
async def holders(proxy, number):
    """So many clients, each with a connection of its own."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(number):
            client = await stack.enter_async_context(proxy.connect())
            await client.execute("BEGIN")
            stack.push_async_callback(client.execute, "ROLLBACK")
        yield


def room(server):
    """PostgreSQL keeps three for who may kill; MariaDB has one more for it."""
    return ROOM + 1 if server.engine == "mysql" else ROOM - 3


async def test_room_is_taken_soon_after_others_gave_it_back_and_without_a_storm(small, proxies, caplog):
    """The first burst counted as a hundred failures in a row: the server was asked again after 5 s, and then for all at once."""
    old = proxies(small, maximum_connections=ROOM * 2)
    new = proxies(small, maximum_connections=100, connection_borrow_timeout=30)
    async with holders(old, room(small)):
        waiting = asyncio.create_task(clients(new, 100, nap(small, 0.05)))
        await failures(new, 100)
        await asyncio.sleep(0.3)
        before = await failures(new)
        assert not waiting.done()
    await old.close()
    began = time.monotonic()
    assert set(await waiting) == {0}
    assert time.monotonic() - began < 2, "it is asked again after 0.4 s at most; the naps take as long"
    assert await failures(new) - before < 3 * ROOM
    assert len([record for record in caplog.records if "no connection to" in record.getMessage()]) == 1


async def test_a_full_writer_is_waited_for_although_the_replica_is_down(small, proxies):
    """Everybody was refused at once when the replica failed after the writer had said that it is full."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        down = closed.getsockname()[1]
    old = proxies(small, maximum_connections=ROOM * 2)
    new = proxies(small.url.replace(small.address, f"{small.address},127.0.0.1:{down}"), connection_borrow_timeout=30)
    async with holders(old, room(small)):
        waiting = asyncio.create_task(clients(new, 10))
        await failures(new)
        await asyncio.sleep(0.3)
        assert not waiting.done()
    await old.close()
    assert set(await waiting) == {1}


async def test_that_a_server_was_full_is_forgotten_when_nobody_waits(small, proxies):
    """Who came when it had room again was refused without a wait, with what it had said at the start."""
    old = proxies(small, maximum_connections=ROOM * 2)
    new = proxies(small, maximum_connections=ROOM * 2)
    async with holders(old, 5):
        assert set(await clients(new, ROOM * 2, nap(small, 0.01))) == {0}
        await failures(new)
    await old.close()
    await asyncio.sleep(1)  # nobody needs a connection of the proxy
    has = int(new.statistics()["DatabaseConnections"])
    new.change(connection_borrow_timeout=0)
    async with holders(new, has):
        first, second = await clients(new, 2)
    assert first == 1, "a connection was opened for it"
    with pytest.raises(
        BorrowTimeout, match=r"proxy.borrowed\(\)"
    ):  # one at a time: it has not said yet that it has room
        raise second
    async with holders(new, has + 1):
        assert await clients(new, 2) == [1, 1]


async def test_who_waits_in_vain_for_room_is_told_what_the_server_said(small, proxies):
    said = (
        "too many clients already|remaining connection slots"
        if small.engine == "postgresql"
        else "Too many connections"
    )
    old = proxies(small, maximum_connections=ROOM * 2, connection_borrow_timeout=20)
    holding = asyncio.create_task(clients(old, ROOM * 2, nap(small, 3)))
    await until(lambda: old.statistics()["DatabaseConnectionsSetupFailed"] > 0)
    new = proxies(small, maximum_connections=5, connection_borrow_timeout=0.5, connect_timeout=0.5)
    began = time.monotonic()
    errors = await clients(new, 20)
    assert time.monotonic() - began < 2.5
    assert {type(error) for error in errors} == {DatabaseUnavailable}
    for error in errors:
        with pytest.raises(
            DatabaseUnavailable, match=f"connection_borrow_timeout.*has no room for another connection: .*({said})"
        ):
            raise error
    assert set(await holding) == {0}
    await old.close()
    assert set(await clients(new, 20)) == {1}
    # Some of the connections that it wants: those who wait for them are told the same.
    async with contextlib.AsyncExitStack() as stack:
        more = proxies(small, maximum_connections=ROOM * 2, connection_borrow_timeout=1)
        refused: list[BaseException] = []
        for _ in range(ROOM * 2):
            client = await stack.enter_async_context(more.connect())
            try:
                await client.execute("BEGIN")
            except DBProxyError as error:
                refused.append(error)
                break
        with pytest.raises(BorrowTimeout, match=f"No other connection can be opened: .*has no room.*({said})"):
            raise refused[0]


async def test_a_wrong_password_is_still_told_at_once(server, proxies):
    proxy = proxies(server.url.replace("S3cret", "wrong"), maximum_connections=50, connection_borrow_timeout=30)
    began = time.monotonic()
    errors = await clients(proxy, 100)
    assert {type(error) for error in errors} == {AuthenticationFailed}
    assert time.monotonic() - began < 10
    assert proxy.statistics()["ClientConnectionsSetupFailedAuth"] == 100


@pytest.fixture
def silent():
    """Accepts connections and says nothing, as another engine's port does."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as found:
        yield found.getsockname()[1]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
async def test_a_server_that_does_not_answer_is_told_with_its_address(proxies, silent, engine):
    """It was said that none of the connections is open yet, and the wrong setting was named."""
    proxy = proxies(f"{engine}://app:x@127.0.0.1:{silent}/app", connection_borrow_timeout=0.2, connect_timeout=0.7)
    began = time.monotonic()
    for error in await clients(proxy, 3):
        assert type(error) is DatabaseUnavailable
        assert f"127.0.0.1:{silent} cannot be reached: no answer within connect_timeout" in str(error)
    assert time.monotonic() - began < 2


async def test_who_waits_no_longer_is_told_what_is_waited_for(proxies, silent):
    proxy = proxies(
        f"mysql://app:x@127.0.0.1:{silent}/app", maximum_connections=1, connection_borrow_timeout=0.2, connect_timeout=5
    )
    async with asyncio.TaskGroup() as group:
        first = group.create_task(clients(proxy, 1))
        await asyncio.sleep(0.1)
        (error,) = await clients(proxy, 1)
        assert f"(connection_borrow_timeout) for a writer: 127.0.0.1:{silent} has not answered yet" in str(error)
        await proxy.close()
    assert isinstance(first.result()[0], DBProxyError)


async def test_a_secret_that_does_not_answer_is_named(server, proxies):
    class Vault:
        async def get(self):
            await asyncio.sleep(60)

    url = f"{server.engine}://app@127.0.0.1:{server.port}/app"
    proxy = proxies(url, secret=Vault(), connection_borrow_timeout=0.2, connect_timeout=0.3)
    (error,) = await clients(proxy, 1)
    assert type(error) is DatabaseUnavailable
    assert "(connect_timeout) for a writer: secret Vault has not answered yet" in str(error)


async def test_a_database_that_does_not_exist_is_no_server_that_cannot_be_reached(server, proxies):
    proxy = proxies(server.url.replace("/app", "/nowhere"))
    (error,) = await clients(proxy, 1)
    with pytest.raises(DBProxyError, match="refused the (connection|credentials)"):
        raise error


async def test_the_connections_of_other_users_are_told(server, proxies):
    """It was said that they are in other processes of the app."""
    server.sql(
        "CREATE USER IF NOT EXISTS told IDENTIFIED BY 'told'; GRANT ALL ON app.* TO told"
        if server.engine == "mysql"
        else "DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'told') THEN"
        " CREATE ROLE told LOGIN PASSWORD 'told'; END IF; END$$"
    )

    class Told:
        async def get(self):
            return {"password": "told"}

    proxy = proxies(
        server, maximum_connections=1, connection_borrow_timeout=0.3, connect_timeout=0.3, users={"told": Told()}
    )
    async with proxy.connect() as client:
        await client.execute("BEGIN")
        with pytest.raises(
            BorrowTimeout, match="; 0 connections of this user and 1 of other users of the proxy, 0 pinned, 1 in a"
        ):
            async with proxy.connect(user="told") as other:
                await other.fetch_value("SELECT 1")
        await client.execute("ROLLBACK")


async def test_a_minimum_that_the_server_does_not_have_fails_as_a_whole(small, proxies):
    proxy = proxies(
        small,
        maximum_connections=ROOM * 2,
        minimum_connections=ROOM * 2,
        connection_borrow_timeout=1,
        connect_timeout=1,
    )
    with pytest.raises(BorrowTimeout, match="has no room for another connection"):
        await proxy.open()
    assert set(await clients(proxy, 40)) == {1}
