"""SQLAlchemy over the proxy, on both engines: its own pool stays out of it, and nothing leaks from one of its connections to the next."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from db_servers import View, until
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from forebay.dbproxy.sqlalchemy import create_async_engine
from forebay.errors import BorrowTimeout, CommitUnknown, InvalidParameterValue


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "alchemy"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str] = mapped_column(sa.String(100))
    extra: Mapped[dict] = mapped_column(sa.JSON, default=dict)


async def emptied(engine):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)


def nap(proxy, seconds):
    return sa.text(f"SELECT SLEEP({seconds})" if proxy.engine == "mysql" else f"SELECT pg_sleep({seconds})")


async def test_a_hundred_sessions_share_three_connections(server, view: View, proxies):
    proxy = proxies(server, maximum_connections=3)
    engine = create_async_engine(proxy)
    await emptied(engine)
    watcher = asyncio.create_task(view.watch())

    async def one(number):
        async with AsyncSession(engine) as session, session.begin():
            session.add(Thing(note=f"n{number}", extra={"number": number, "list": [1, "é", None]}))
        async with AsyncSession(engine) as session:
            thing = (await session.scalars(sa.select(Thing).where(Thing.note == f"n{number}"))).one()
            assert thing.extra == {"number": number, "list": [1, "é", None]}

    await asyncio.gather(*(one(number) for number in range(100)))
    watcher.cancel()
    assert 1 <= view.peak <= 3
    figures = proxy.statistics()
    assert (
        figures["DatabaseConnectionsCurrentlyBorrowed"]
        == figures["ClientConnections"]
        == figures["ClientsWaiting"]
        == 0
    )
    assert figures["SessionResets"] <= 2, "plain work needs no reset; what SQLAlchemy asks of its first connection may"


async def test_a_transaction_commits_or_rolls_back(server, proxies):
    engine = create_async_engine(proxies(server, maximum_connections=1))
    await emptied(engine)
    async with engine.begin() as connection:
        await connection.execute(sa.insert(Thing), [{"note": "kept", "extra": {}}, {"note": "kept too", "extra": {}}])
    with pytest.raises(RuntimeError, match="mine"):
        async with engine.begin() as connection:
            await connection.execute(sa.insert(Thing), {"note": "undone", "extra": {}})
            raise RuntimeError("mine")
    async with engine.connect() as connection:  # never committed
        await connection.execute(sa.insert(Thing), {"note": "forgotten", "extra": {}})
    async with engine.connect() as connection, connection.begin():
        async with connection.begin_nested() as savepoint:
            await connection.execute(sa.insert(Thing), {"note": "undone as well", "extra": {}})
            await savepoint.rollback()
        assert (await connection.scalars(sa.select(Thing.note).order_by(Thing.id))).all() == ["kept", "kept too"]


async def test_an_update_counts_the_rows_it_finds(server, proxies):
    """MySQL's own count leaves out rows that had the value already; the ORM would take them for deleted."""
    engine = create_async_engine(proxies(server))
    await emptied(engine)
    async with engine.begin() as connection:
        result = await connection.execute(sa.insert(Thing), {"note": "same", "extra": {}})
        assert result.inserted_primary_key[0] == 1
        result = await connection.execute(sa.update(Thing).values(note="same"))
        assert result.rowcount == 1


async def test_an_isolation_level_is_the_connections_own(server, proxies):
    engine = create_async_engine(proxies(server, maximum_connections=1))
    level = sa.text("SELECT @@session.tx_isolation" if server.engine == "mysql" else "SHOW transaction_isolation")
    async with engine.connect() as connection:
        default = await connection.scalar(level)
    async with engine.connect() as connection:
        strict = await connection.execution_options(isolation_level="SERIALIZABLE")
        assert (await strict.scalar(level)).upper() == "SERIALIZABLE"
    async with engine.connect() as connection:
        assert await connection.scalar(level) == default
    async with engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(sa.text("CREATE TABLE IF NOT EXISTS by_itself (a INT)"))
        await plain.execute(sa.text("INSERT INTO by_itself VALUES (1)"))
    async with engine.begin() as connection:
        assert await connection.scalar(sa.text("SELECT count(*) FROM by_itself")) == 1
        await connection.execute(sa.text("DROP TABLE by_itself"))


async def test_rows_can_be_streamed_and_left(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    engine = create_async_engine(proxy)
    numbers = sa.text(
        "SELECT seq FROM seq_1_to_5000" if server.engine == "mysql" else "SELECT generate_series(1, 5000)"
    )
    async with engine.connect() as connection:
        assert [row[0] async for row in await connection.stream(numbers)] == list(range(1, 5001))
        rows = await connection.stream(numbers)
        assert len(await rows.fetchmany(10)) == 10
        await rows.close()
        rows = await connection.stream(numbers)
        assert len(await rows.fetchmany(10)) == 10  # and the rest is never read
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT 42")) == 42


@pytest.mark.parametrize("how", ["rows", "a stream", "an error"])
async def test_no_transaction_is_left_open_on_a_connection_that_goes_back(server, view: View, proxies, how):
    """With autocommit off each statement may begin one, and not every answer says so."""
    proxy = proxies(server, maximum_connections=1)
    engine = create_async_engine(proxy)
    await emptied(engine)
    opened = (
        "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> CONNECTION_ID()"
        if server.engine == "mysql"
        else "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state LIKE 'idle in%'"
    )
    async with engine.begin() as connection:
        await connection.execute(sa.insert(Thing), {"id": 1, "note": "kept", "extra": {}})
    async with engine.connect() as connection:
        if how == "rows":
            assert (await connection.scalars(sa.select(Thing.id).with_for_update())).all() == [1]
        elif how == "a stream":
            assert [row[0] async for row in await connection.stream(sa.select(Thing.id).with_for_update())] == [1]
        else:
            with pytest.raises(sa.exc.IntegrityError):
                await connection.execute(sa.insert(Thing), {"id": 1, "note": "again", "extra": {}})
        await asyncio.sleep(0.2)  # MariaDB's list is up to 0.1 s old
        assert await view.value(opened) == 1
    await asyncio.sleep(0.2)
    assert await view.value(opened) == 0
    assert proxy.statistics()["InterruptedConnections"] == 0


async def test_it_shares_connections_with_clients_without_a_reset(mariadb, proxies):
    proxy = proxies(mariadb, maximum_connections=1)
    engine = create_async_engine(proxy)
    await emptied(engine)
    resets = proxy.statistics()["SessionResets"]
    async with proxy.connect() as client:
        for number in range(3):
            async with engine.begin() as connection:
                await connection.execute(sa.insert(Thing), {"note": f"n{number}", "extra": {}})
            assert await client.fetch_value("SELECT @@autocommit") == 1
            assert await client.fetch_value("SELECT count(*) FROM alchemy") == number + 1
    assert proxy.statistics()["SessionResets"] == resets


async def test_who_listens_for_connections_hears_of_each_loan(server, proxies):
    """What is kept of a connection is used again, but the DB connection may be another one."""
    engine = create_async_engine(proxies(server, maximum_connections=2))
    heard = {"connect": 0, "close": 0}
    for name in heard:

        def hear(*_, name=name):
            heard[name] += 1

        sa.event.listen(engine.sync_engine, name, hear)
    for _ in range(3):
        async with engine.connect() as connection:
            await connection.scalar(sa.text("SELECT 1"))
    assert heard["connect"] >= 3
    assert heard["close"] >= 3


async def test_a_cancelled_statement_takes_its_connection_along(server, view: View, proxies):
    proxy = proxies(server, maximum_connections=1)
    engine = create_async_engine(proxy)
    await emptied(engine)

    async def work():
        async with engine.begin() as connection:
            await connection.execute(sa.insert(Thing), {"note": "lost", "extra": {}})
            await connection.execute(nap(proxy, 30))

    task = asyncio.create_task(work())
    await until(lambda: proxy.statistics()["DatabaseConnectionsCurrentlyInTransaction"] == 1)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(Thing)) == 0
    assert proxy.statistics()["InterruptedConnections"] == 1
    assert proxy.statistics()["DatabaseConnectionsCurrentlyBorrowed"] == 0
    assert await view.connections() <= 1 + (server.engine == "mysql")


CHANGES = {
    "mysql": [
        ("SET @mine = 5", "SELECT @mine"),
        ("SET time_zone = '+05:00'", "SELECT @@session.time_zone"),
        ("SET sql_mode = 'ANSI'", "SELECT @@session.sql_mode"),
        ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT @@session.tx_isolation"),
        ("CREATE TEMPORARY TABLE mine (a INT)", "SELECT a FROM mine"),
        ("SELECT GET_LOCK('mine', 0)", "SELECT IS_FREE_LOCK('mine')"),
        ("USE other", "SELECT DATABASE()"),
        ("PREPARE mine FROM 'SELECT 1'", "EXECUTE mine"),
        ("SET autocommit = 0", "SELECT @@session.autocommit"),
    ],
    "postgresql": [
        ("SET TimeZone TO 'Asia/Tokyo'", "SHOW TimeZone"),
        ("SET search_path TO pg_catalog", "SHOW search_path"),
        ("SELECT set_config('work_mem', '7MB', false)", "SHOW work_mem"),
        ("CREATE TEMP TABLE mine (a INT)", "SELECT a FROM mine"),
        ("SELECT pg_advisory_lock(4711)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
        ("LISTEN mine", "SELECT count(*) FROM pg_listening_channels()"),
        ("PREPARE mine AS SELECT 1", "EXECUTE mine"),
        ("DECLARE mine CURSOR WITH HOLD FOR SELECT 1", "FETCH ALL FROM mine"),
        ("SET ROLE pg_monitor", "SELECT current_user"),
    ],
}


async def seen(look):
    """Give what a question shows, or the kind of the error."""
    try:
        return str(await look())
    except Exception as error:  # noqa: BLE001 - whichever error it is, it must be the same one
        return type(error).__name__


@pytest.mark.parametrize(
    ("engine_name", "change", "probe"),
    [pytest.param(name, *case, id=f"{name}-{case[0]}") for name, cases in CHANGES.items() for case in cases],
)
async def test_what_it_leaves_in_a_session_is_seen_by_nobody(engine_name, change, probe, request, proxies):
    server = request.getfixturevalue("postgres" if engine_name == "postgresql" else "mariadb")
    if engine_name == "postgresql":
        server.sql("GRANT pg_monitor TO app", "postgres")
    proxy = proxies(server, maximum_connections=1)
    engine = create_async_engine(proxy)

    async def through_sqlalchemy():
        async with engine.connect() as connection:
            return await connection.scalar(sa.text(probe))

    async def through_a_client():
        async with proxy.connect() as client:  # the probe may pin it
            return await client.fetch_value(probe)

    default = await seen(through_a_client)
    default_through_sqlalchemy = await seen(through_sqlalchemy)
    async with engine.begin() as connection:
        await connection.execute(sa.text(change))
    assert await seen(through_a_client) == default
    async with engine.begin() as connection:
        await connection.execute(sa.text(change))
    assert await seen(through_sqlalchemy) == default_through_sqlalchemy
    figures = proxy.statistics()
    assert figures["SessionResets"] + figures["DatabaseConnectionsSetupSucceeded"] >= 3, (
        "reset, or closed and opened anew"
    )


async def test_what_is_done_with_the_driver_itself_is_reset_as_well(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    engine = create_async_engine(proxy)
    change, probe = (
        ("SET time_zone = '+05:00'", "SELECT @@session.time_zone")
        if server.engine == "mysql"
        else ("SET TimeZone TO 'Asia/Tokyo'", "SHOW TimeZone")
    )
    async with proxy.connect() as client:
        default = await client.fetch_value(probe)
        async with engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            await (raw.query(change) if server.engine == "mysql" else raw.fetch(change))
        assert await client.fetch_value(probe) == default


async def test_a_session_waits_for_its_turn_and_is_told_when_it_is_too_long(server, proxies):
    proxy = proxies(server, maximum_connections=1, connection_borrow_timeout=0.1)
    engine = create_async_engine(proxy)
    async with engine.connect() as one:
        await one.execute(sa.text("SELECT 1"))
        with pytest.raises(BorrowTimeout):
            async with engine.connect() as two:
                await two.execute(sa.text("SELECT 1"))
    async with engine.connect() as two:
        assert await two.scalar(sa.text("SELECT 2")) == 2


async def test_a_commit_whose_answer_is_lost_is_unknown(own_server, proxies):
    proxy = proxies(own_server, maximum_connections=1)
    engine = create_async_engine(proxy)
    await emptied(engine)
    async with engine.connect() as connection:
        await connection.execute(sa.insert(Thing), {"note": "who knows", "extra": {}})
        own_server.pause()
        committing = asyncio.ensure_future(connection.commit())
        await asyncio.sleep(0.1)
        own_server.resume()
        own_server.kill()
        with pytest.raises((CommitUnknown, sa.exc.DBAPIError)) as caught:
            await committing
            await connection.execute(sa.text("SELECT 1"))
        if caught.type is not CommitUnknown:  # the server was fast enough to answer before it died
            assert committing.done()
            assert committing.exception() is None


@pytest.mark.parametrize("seconds", [0, 0.1], ids=["at once", "noticed"])
async def test_a_lost_connection_is_replaced(own_server, proxies, seconds):
    proxy = proxies(own_server, maximum_connections=1)
    engine = create_async_engine(proxy)
    for _ in range(2):  # from now on it is prepared
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))
    async with engine.connect() as connection:
        await connection.execute(sa.text("SELECT 1"))
        own_server.kill()
        await asyncio.sleep(seconds)
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await connection.execute(sa.text("SELECT 1"))
        assert caught.value.connection_invalidated
    await asyncio.to_thread(own_server.start)
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1


def test_a_url_in_place_of_a_proxy_is_refused():
    with pytest.raises(InvalidParameterValue, match=r"must be a forebay.DBProxy"):
        create_async_engine("mysql://app@h/db")


@pytest.mark.parametrize("option", ["pool_size", "pool_pre_ping", "poolclass", "connect_args", "async_creator"])
async def test_settings_of_the_pool_are_refused(option, server, proxies):
    with pytest.raises(InvalidParameterValue, match=option):
        create_async_engine(proxies(server), **{option: 5})
