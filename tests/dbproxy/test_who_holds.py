"""Who holds a connection, and what is said when time limits, settings and secrets are to blame."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from sqlalchemy import text

from forebay.dbproxy import DBProxy, EnvSecret
from forebay.dbproxy.sqlalchemy import create_async_engine
from forebay.errors import (
    BorrowTimeout,
    ClientClosed,
    ConnectionLost,
    DatabaseError,
    DBProxyError,
    InvalidParameterValue,
)


def number(proxy):
    return "SELECT CONNECTION_ID()" if proxy.engine == "mysql" else "SELECT pg_backend_pid()"


def nap(proxy, seconds):
    return f"SELECT SLEEP({seconds})" if proxy.engine == "mysql" else f"SELECT pg_sleep({seconds})"


async def test_who_has_a_connection_is_listed(server, proxies):
    """Open transactions, connections of SQLAlchemy and long statements were a number without a name."""
    proxy = proxies(server, maximum_connections=4)
    assert proxy.borrowed() == []
    engine = create_async_engine(proxy)
    async with proxy.connect() as inside, proxy.connect() as pinned, proxy.connect() as naps, proxy.connect() as idle:
        await idle.fetch_value("SELECT 1")
        await inside.execute("BEGIN")
        held = await inside.fetch_value(number(proxy))
        await pinned.execute("CREATE TEMPORARY TABLE mine (a INT)")
        sleeping = asyncio.create_task(naps.fetch_value(nap(proxy, 1)))
        async with engine.connect() as lent:
            lent_number = await lent.scalar(text(number(proxy)))
            await asyncio.sleep(0.2)
            found = proxy.borrowed()
            by_client = {each.client: each for each in found}
            assert len(found) == 4
            mine = by_client[inside.number]
            assert (mine.connection, mine.is_running, mine.pins, mine.is_lent) == (held, False, (), False)
            assert 0.1 < mine.transaction_seconds < 60
            assert 0.1 < mine.idle_seconds <= mine.transaction_seconds
            assert by_client[pinned.number].pins[0].startswith("temporary table")
            assert by_client[pinned.number].transaction_seconds is None
            assert by_client[naps.number].is_running
            assert by_client[naps.number].idle_seconds == 0
            assert [each.connection for each in found if each.is_lent] == [lent_number]
            assert found[-1].transaction_seconds is None
        await sleeping
        await inside.execute("ROLLBACK")
        assert {each.client for each in proxy.borrowed()} == {pinned.number}
    assert proxy.borrowed() == []


async def test_who_has_a_connection_can_be_ended(server, proxies):
    proxy = proxies(server, maximum_connections=2, connection_borrow_timeout=5)
    async with proxy.connect() as inside, proxy.connect() as naps, proxy.connect() as waits:
        await waits.execute("DROP TABLE IF EXISTS ended")
        await waits.execute("CREATE TABLE ended (a INT)")
        await inside.execute("BEGIN")
        await inside.execute("INSERT INTO ended VALUES (1)")
        sleeping = asyncio.create_task(naps.fetch_value(nap(proxy, 60)))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(waits.fetch_value("SELECT count(*) FROM ended"))
        await asyncio.sleep(0.1)
        assert not proxy.disconnect(999)
        assert all(proxy.disconnect(each.client) for each in proxy.borrowed())
        for ask in (sleeping, inside.fetch_value("SELECT 1")):
            with pytest.raises(ClientClosed, match=r"it was ended by proxy.disconnect\(\)"):
                await ask
        assert await waiting == 0
        assert proxy.borrowed() == []
        engine = create_async_engine(proxy)
        async with engine.connect() as lent:
            await lent.scalar(text("SELECT 1"))
            (found,) = proxy.borrowed()
            assert proxy.disconnect(found.client)
            with pytest.raises(ClientClosed):
                await lent.scalar(text("SELECT 1"))
        async with engine.connect() as lent:
            sleeping = asyncio.create_task(lent.scalar(text(nap(proxy, 60))))
            await asyncio.sleep(0.1)
            (found,) = proxy.borrowed()
            assert proxy.disconnect(found.client)
            with pytest.raises(ClientClosed, match=r"it was ended by proxy.disconnect\(\)"):
                await sleeping
        async with engine.connect() as lent:
            assert await lent.scalar(text("SELECT 1")) == 1


async def test_connections_that_sqlalchemy_has_are_told_to_who_waits(server, proxies):
    """An engine's `connect()` borrows at once; who waited read `0 pinned, 0 in a transaction`."""
    proxy = proxies(server, maximum_connections=1, connection_borrow_timeout=0.2, connect_timeout=0.3)
    engine = create_async_engine(proxy)
    async with engine.connect(), proxy.connect() as client:
        with pytest.raises(
            BorrowTimeout, match=r"0 pinned, 0 in a transaction, 1 lent to SQLAlchemy, .*proxy.borrowed\(\)"
        ):
            await client.fetch_value("SELECT 1")


async def test_a_transaction_of_sqlalchemy_that_lasts_too_long_is_told_so(server, proxies):
    """The driver's own words sent one to the network, or to whoever had cancelled a statement."""
    proxy = proxies(server, transaction_timeout=0.4)
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS lasted")
        await client.execute("CREATE TABLE lasted (a INT)")
        engine = create_async_engine(proxy)
        async with engine.connect() as connection:
            await connection.execute(text("INSERT INTO lasted VALUES (1)"))
            with pytest.raises(ConnectionLost, match=r"it lasted longer than 0.4 s \(transaction_timeout\)"):
                await connection.execute(text(nap(proxy, 5)))
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO lasted VALUES (2)"))
        async with engine.connect() as connection:
            await connection.execute(text("INSERT INTO lasted VALUES (3)"))
            await asyncio.sleep(0.6)
            with pytest.raises(ConnectionLost, match=r"it lasted longer than 0.4 s \(transaction_timeout\)"):
                await connection.commit()  # nothing is sent: it is known what became of it
        assert [row[0] for row in await client.fetch_all("SELECT a FROM lasted")] == [2]


async def test_the_log_names_what_pins(server, proxies, caplog):
    caplog.set_level(logging.INFO, logger="forebay.dbproxy")
    proxy = proxies(server)
    async with proxy.connect() as client:
        if server.engine == "mysql":
            await client.execute("CREATE TEMPORARY TABLE cart (a INT)")
            told = "Reason: temporary table (cart)"
        else:
            await client.execute("DROP FUNCTION IF EXISTS pins_me")
            await client.execute("CREATE FUNCTION pins_me() RETURNS INT VOLATILE LANGUAGE sql AS 'SELECT 1'")
            await client.execute("SELECT pins_me()")
            told = "Reason: function (pins_me)"
        (pin,) = proxy.pinned()
        assert f"({pin.detail})" in told
    assert told in caplog.text


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"session_pinning_filters": 5}, "session_pinning_filters=5: must be a sequence"),
        ({"clean_functions": None}, "clean_functions=None: must be a sequence"),
    ],
)
def test_a_setting_that_is_no_sequence_is_refused_by_name(settings, told):
    with pytest.raises(InvalidParameterValue, match=told):
        DBProxy("mysql://app:x@db.example/shop", **settings)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql:///shop", "has no host, or port 0; a server's socket file"),
        ("postgresql://app:x@%2Ftmp/shop", "is no host name; a server's socket file"),
        ("postgresql://app:x@a,a/shop", "'a,a' names a server twice"),
        ("oracle://app:x@a/shop", "scheme 'oracle' is not one of mysql"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused(url, told):
    with pytest.raises(InvalidParameterValue, match=told):
        DBProxy(url)


@pytest.mark.parametrize("url", ["u:Secret1@h/db", "mysql:u:Secret1@h/db", "mysql//u:Secret1@h/db"])
def test_a_url_without_its_scheme_shows_no_password(url):
    with pytest.raises(InvalidParameterValue, match="is not one of mysql, mariadb") as caught:
        DBProxy(url)
    assert "Secret1" not in str(caught.value)


def test_the_zone_of_an_ipv6_address_may_be_written_either_way():
    for zone in ("%eth0", "%25eth0"):
        (address,) = DBProxy(f"postgresql://u:x@[fe80::1{zone}]:5432/d").settings.target.addresses
        assert (address.host, address.port) == ("fe80::1%eth0", 5432)


def test_a_maximum_below_another_number_says_that_both_are_changed():
    proxy = DBProxy("mysql://app:x@db.example/shop", maximum_connections=10, maximum_idle_connections=4)
    with pytest.raises(InvalidParameterValue, match="maximum_idle_connections is 4, which is more; change both"):
        proxy.change(maximum_connections=3)
    proxy.change(maximum_connections=3, maximum_idle_connections=2)
    assert proxy.settings.maximum_connections == 3


async def test_a_secret_says_that_its_user_name_may_be_the_urls(monkeypatch):
    monkeypatch.setenv("TOLD", '{"word": "x"}')
    with pytest.raises(DBProxyError, match='with "password", and with "username" if the URL has no user'):
        await EnvSecret("TOLD").get()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pins_me()",
        "selec 1",
        "SELECT set_config('app.x', '1', false)",
        "CREATE TEMPORARY TABLE mine (a INT)",
        "savepoint",
    ],
)
async def test_discard_all_ends_what_pins_on_postgresql(postgres, proxies, statement):
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("CREATE OR REPLACE FUNCTION pins_me() RETURNS INT VOLATILE LANGUAGE sql AS 'SELECT 1'")
        if statement == "savepoint":
            async with client.transaction():
                await client.execute("SET work_mem = '8MB'")
                with pytest.raises(ZeroDivisionError):
                    async with client.transaction():
                        raise ZeroDivisionError
            assert client.pins == ("setting:what a savepoint has undone",)
        else:
            with contextlib.suppress(DatabaseError):
                await client.execute(statement)
            assert client.pins
        await client.execute("DISCARD ALL")
        assert client.pins == ()
        assert await other.fetch_value("SELECT 1") == 1


async def test_a_memory_that_is_asked_for_too_late_is_empty(server, proxies):
    proxy = proxies(server, maximum_connections=2)
    async with proxy.connect() as client:
        with contextlib.suppress(DatabaseError):
            assert (
                await client.fetch_value("SELECT LAST_INSERT_ID()" if server.engine == "mysql" else "SELECT lastval()")
                == 0
            )
        assert client.pins
