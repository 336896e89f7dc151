"""A block of `client.transaction()` whose transaction ends inside: nothing runs outside of a transaction unnoticed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from db_chaos import Chaos
from test_faults import url

from forebay.errors import ConnectionLost, DatabaseError, DBProxyError, InvalidParameterValue, QueryTimeout


async def begin_with_none(client, columns="a INT PRIMARY KEY"):
    await client.execute("DROP TABLE IF EXISTS kept")
    await client.execute(f"CREATE TABLE kept ({columns})")


@pytest.fixture
async def client(server, proxies):
    proxy = proxies(server, maximum_connections=3)
    async with proxy.connect() as found:
        await begin_with_none(found)
        yield found
        assert not found.in_transaction
        await found.execute("INSERT INTO kept VALUES (999)")  # it is free for whatever comes next


async def kept(client):
    return [row[0] for row in await client.fetch_all("SELECT a FROM kept ORDER BY a")]


async def insert(client, number):
    await client.execute(f"INSERT INTO kept VALUES ({number})")


async def test_nothing_runs_after_a_commit_in_the_block(client):
    """What followed was committed by itself, and the exception that ended the block rolled nothing back."""
    with pytest.raises(ValueError, match="mine") as caught:
        async with client.transaction():
            await insert(client, 1)
            await client.execute("COMMIT")
            assert not client.in_transaction
            for ask in (client.execute, client.fetch_all, client.fetch_one, client.fetch_value):
                with pytest.raises(DBProxyError, match=r"is over: `COMMIT` ended it"):
                    await ask("INSERT INTO kept VALUES (2)")
            with pytest.raises(DBProxyError, match="is over"):
                await anext(client.stream("SELECT 1"))
            with pytest.raises(DBProxyError, match="is over"):
                await client.executemany(
                    f"INSERT INTO kept VALUES ({'%s' if client.engine == 'mysql' else '$1'})", [(3,)]
                )
            with pytest.raises(DBProxyError, match="is over"):
                await client.execute("COMMIT")
            with pytest.raises(DBProxyError, match="is over"):
                async with client.transaction():
                    pass
            raise ValueError("mine")
    assert "was not rolled back" in caught.value.__notes__[0]
    assert await kept(client) == [1]


async def test_nothing_runs_after_a_rollback_in_the_block(client):
    async with client.transaction():
        await insert(client, 3)
        await client.execute("ROLLBACK")
        with pytest.raises(DBProxyError, match=r"is over: `ROLLBACK` ended it"):
            await insert(client, 4)
        await client.execute("ROLLBACK")  # there is nothing to roll back, and nothing is written
    assert await kept(client) == []
    with pytest.raises(ValueError, match="mine") as caught:
        async with client.transaction():
            await client.execute("ROLLBACK")
            raise ValueError("mine")
    assert not hasattr(caught.value, "__notes__")


async def test_a_rollback_after_a_commit_in_the_block_undoes_nothing_and_does_not_say_so(client):
    """The exception had no note: what is committed passed for rolled back."""
    with pytest.raises(ValueError, match="mine") as caught:
        async with client.transaction():
            await insert(client, 5)
            await client.execute("COMMIT")
            await client.execute("ROLLBACK")
            raise ValueError("mine")
    assert "was not rolled back" in caught.value.__notes__[0]
    assert await kept(client) == [5]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_a_block_that_ends_with_its_own_end_is_no_mistake(client, end):
    async with client.transaction():
        await insert(client, 1)
        await client.execute(end)
    assert await kept(client) == ([1] if end == "COMMIT" else [])


@pytest.mark.parametrize("next_one", ["COMMIT AND CHAIN", "COMMIT, BEGIN"])
async def test_a_block_goes_on_in_the_next_transaction(client, next_one):
    with pytest.raises(ValueError, match="mine"):
        async with client.transaction():
            await insert(client, 1)
            for statement in next_one.split(", "):
                await client.execute(statement)
            assert client.in_transaction
            await insert(client, 2)
            raise ValueError("mine")
    assert await kept(client) == [1]
    async with client.transaction():
        for statement in next_one.split(", "):
            await client.execute(statement)
        await insert(client, 3)
    assert await kept(client) == [1, 3]


async def test_ddl_in_a_block(client):
    """On MariaDB it commits what was before, and what came after it was committed by itself: migrations look like this."""
    is_mysql = client.engine == "mysql"
    with pytest.raises((ValueError, DBProxyError)) as caught:
        async with client.transaction():
            await insert(client, 7)
            await client.execute("CREATE TABLE IF NOT EXISTS kept (b INT)")
            await insert(client, 8)
            raise ValueError("mine")
    if is_mysql:
        assert "`CREATE TABLE IF NOT EXISTS kept (b INT)` ended it: MySQL and MariaDB commit" in str(caught.value)
        assert "What was committed then stays" in caught.value.__notes__[0]
    assert await kept(client) == ([7] if is_mysql else [])


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE kept (b INT)", "ALTER TABLE nowhere ADD b INT", "LOCK TABLES kept WRITE", "ANALYZE TABLE kept"],
)
async def test_what_commits_on_mysql_is_seen_also_when_it_fails(mariadb, proxies, statement):
    """An error's answer does not tell that the transaction is over: what followed was written outside of one."""
    async with proxies(mariadb).connect() as client:
        await begin_with_none(client)
        with pytest.raises(DBProxyError, match="is over"):
            async with client.transaction():
                await insert(client, 7)
                with contextlib.suppress(DatabaseError):
                    await client.execute(statement)
                await insert(client, 8)
        await client.execute("UNLOCK TABLES")
        assert await kept(client) == [7]


async def test_begin_in_a_block_of_mysql_is_refused_before_it_is_sent(mariadb, proxies):
    """It commits there: half of the block stayed when the other half was rolled back."""
    async with proxies(mariadb).connect() as client:
        await begin_with_none(client)
        for begin in ("BEGIN", "START TRANSACTION READ ONLY", "/* more */ begin work"):
            with pytest.raises(ValueError, match="mine"):
                async with client.transaction():
                    await insert(client, 1)
                    with pytest.raises(DBProxyError, match="would commit what the block has done so far"):
                        await client.execute(begin)
                    await insert(client, 2)
                    raise ValueError("mine")
            assert await kept(client) == []
        await client.execute("BEGIN")  # it is the user's own, in no block
        await client.execute("BEGIN")
        await client.execute("ROLLBACK")


async def test_a_deadlock_ends_the_block(server, proxies):
    """MariaDB rolls the whole transaction of the victim back. What followed was committed by itself, and the block said nothing."""
    proxy = proxies(server, maximum_connections=3)
    async with proxy.connect() as one, proxy.connect() as two:
        await begin_with_none(one)
        await one.execute("INSERT INTO kept VALUES (1), (2)")
        failed, codes = [], set()

        async def locks(client, first, second, row):
            async with client.transaction():
                await client.execute(f"INSERT INTO kept VALUES ({row})")
                await client.execute(f"SELECT a FROM kept WHERE a = {first} FOR UPDATE")
                both.append(client)
                while len(both) < 2:
                    await asyncio.sleep(0.005)
                try:
                    await client.execute(f"SELECT a FROM kept WHERE a = {second} FOR UPDATE")
                except DatabaseError as error:
                    failed.append(row)
                    codes.add(error.code)
                    if server.engine == "mysql":
                        with pytest.raises(DBProxyError, match=r"is over: `SELECT .* failed with 1213"):
                            await client.execute(f"INSERT INTO kept VALUES ({row + 100})")

        for is_last in (False, True):
            both: list[object] = []
            done = await asyncio.gather(locks(one, 1, 2, 10), locks(two, 2, 1, 20), return_exceptions=True)
            (error,) = [each for each in done if each is not None]
            assert isinstance(error, DBProxyError)  # its insert is gone, and the block does not look like a success
            (row,) = failed
            assert await kept(one) == [1, 2, 30 - row]
            if not is_last:
                await one.execute("DELETE FROM kept WHERE a > 2")
                failed.clear()
        assert codes == {"1213" if server.engine == "mysql" else "40P01"}


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "DDL"])
async def test_a_savepoint_whose_transaction_has_ended(client, end):
    commits = "CREATE TABLE IF NOT EXISTS kept (b INT)" if client.engine == "mysql" else "COMMIT WORK"
    statement = commits if end == "DDL" else end
    with pytest.raises(DBProxyError, match="is over"):
        async with client.transaction():
            await insert(client, 1)
            async with client.transaction():
                await insert(client, 2)
                await client.execute(statement)
    assert await kept(client) == ([] if end == "ROLLBACK" else [1, 2])
    with pytest.raises(ValueError, match="mine"):
        async with client.transaction():
            await insert(client, 3)
            with pytest.raises(ValueError, match="inner"):
                async with client.transaction():
                    await client.execute(statement)
                    raise ValueError("inner")
            with pytest.raises(DBProxyError, match="is over"):
                await insert(client, 4)
            raise ValueError("mine")
    assert 4 not in await kept(client)


async def test_savepoints_of_a_block_that_is_not_over_go_on(client):
    async with client.transaction():
        await insert(client, 1)
        with pytest.raises(ValueError, match="inner"):
            async with client.transaction():
                await insert(client, 2)
                raise ValueError("inner")
        async with client.transaction():
            await insert(client, 3)
        await client.execute("SAVEPOINT mine")
        await insert(client, 4)
        await client.execute("ROLLBACK TO SAVEPOINT mine")
    assert await kept(client) == [1, 3]


async def test_a_savepoint_in_a_transaction_that_was_begun_by_hand(client):
    await client.execute("BEGIN")
    with pytest.raises(DBProxyError, match="is over"):
        async with client.transaction():
            await insert(client, 1)
            await client.execute("COMMIT")
            await insert(client, 2)
    assert not client.in_transaction
    await insert(client, 3)
    assert await kept(client) == [1, 3]


async def test_a_lost_block_that_is_rolled_back_by_hand_is_over(server, proxies):
    """After ROLLBACK what followed in the block ran outside of a transaction."""
    async with Chaos(server.port) as chaos, proxies(url(server, chaos.port)).connect() as client:
        await begin_with_none(client)
        async with client.transaction():
            await insert(client, 1)
            chaos.cut_all()
            with pytest.raises(ConnectionLost):
                await insert(client, 2)
            await client.execute("ROLLBACK")
            with pytest.raises(DBProxyError, match="is over: ROLLBACK ended it"):
                await insert(client, 3)
        assert await kept(client) == []
        with pytest.raises(DBProxyError, match="is over"):
            async with client.transaction():
                await insert(client, 1)
                chaos.freeze()
                ends = asyncio.create_task(client.execute("COMMIT"))
                await asyncio.sleep(0.05)
                ends.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await ends
                chaos.thaw()
                await insert(client, 4)
        assert 4 not in await kept(client)


async def test_a_begin_that_fails_in_a_block_leaves_it_over(client):
    async with client.transaction():
        await client.execute("COMMIT")
        with pytest.raises((DatabaseError, InvalidParameterValue)):
            await client.execute("BEGIN", ("too many",))
        with pytest.raises(DBProxyError, match="is over"):
            await insert(client, 1)
    assert await kept(client) == []


async def test_a_stream_that_is_left_says_what_it_has_cost(mariadb, proxies):
    """It was said that the connection was lost, and not that leaving the stream had closed it."""
    async with proxies(mariadb).connect() as client:
        with pytest.raises(ConnectionLost, match="a stream was left before its last row"):
            async with client.transaction():
                async for _ in client.stream("SELECT seq FROM seq_1_to_50000", prefetch=10):
                    break
                await client.execute("SELECT 1")
        with pytest.raises(ConnectionLost, match="a statement was cancelled"):
            async with client.transaction():
                sleeps = asyncio.create_task(client.execute("SELECT SLEEP(30)"))
                await asyncio.sleep(0.05)
                sleeps.cancel()
                await asyncio.wait([sleeps])
                await client.execute("SELECT 1")
        assert await client.fetch_value("SELECT 1") == 1


async def test_an_exception_through_nested_blocks_has_one_note(client):
    with pytest.raises(ValueError, match="mine") as caught:
        async with client.transaction(), client.transaction(), client.transaction():
            await insert(client, 1)
            await client.execute("COMMIT")
            raise ValueError("mine")
    assert len(caught.value.__notes__) == 1


async def test_the_log_shows_no_data_of_a_statement_that_ended_a_block(mariadb, proxies, caplog):
    """The server's own text has it: `Duplicate entry 'alice@example.com' for key 'email'`."""
    async with proxies(mariadb).connect() as client:
        await begin_with_none(client, "email VARCHAR(99)")
        with pytest.raises(DatabaseError, match="alice") as caught:
            async with client.transaction():
                await client.execute("INSERT INTO kept VALUES (%s)", ("alice@example.com",))
                await client.execute("INSERT INTO kept VALUES (%s)", ("alice@example.com",))
                await client.execute("ALTER TABLE kept ADD UNIQUE (email)")
    assert "failed with 1062, and the server ended it" in caught.value.__notes__[0]
    assert "failed with 1062, and the server ended it" in caplog.text
    assert "alice" not in caplog.text


async def test_a_commit_that_postgresql_refuses_is_not_called_committed(postgres, proxies):
    async with proxies(postgres).connect() as client:
        await begin_with_none(client, "a INT UNIQUE DEFERRABLE INITIALLY DEFERRED")
        with pytest.raises(DatabaseError) as caught:
            async with client.transaction():
                await insert(client, 1)
                await insert(client, 1)
                await client.execute("COMMIT")
        assert caught.value.code == "23505"
        assert not hasattr(caught.value, "__notes__")
        assert await kept(client) == []


async def test_one_text_with_a_whole_transaction_after_the_blocks_own_is_told(postgres, proxies):
    """It was committed, and the exception was said to have rolled everything back."""
    async with proxies(postgres).connect() as client:
        await begin_with_none(client, "a INT")
        with pytest.raises(ValueError, match="mine") as caught:
            async with client.transaction():
                await client.execute("INSERT INTO kept VALUES (0)")
                await client.execute("ROLLBACK")
                await client.execute("BEGIN; INSERT INTO kept VALUES (1); COMMIT")
                raise ValueError("mine")
        assert "was not rolled back" in caught.value.__notes__[0]
        assert await kept(client) == [1]


async def test_ddl_that_waited_in_vain_has_committed_the_block(mariadb, proxies):
    """1205 is a wait for a row's lock, too, which may roll back: DDL has committed before it waits for its own."""
    proxy = proxies(mariadb)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("DROP TABLE IF EXISTS kept, held")
        await client.execute("CREATE TABLE kept (a INT)")
        await client.execute("CREATE TABLE held (a INT)")
        await client.execute("SET lock_wait_timeout = 1")
        async with other.transaction():
            await other.fetch_all("SELECT a FROM held")
            with pytest.raises(DatabaseError) as caught:
                async with client.transaction():
                    await insert(client, 1)
                    await client.execute("ALTER TABLE held ADD b INT")
            assert caught.value.code == "1205"
            assert "was not rolled back" in caught.value.__notes__[0]
            assert await kept(client) == [1]
            with pytest.raises(QueryTimeout) as stopped:
                async with client.transaction():
                    await insert(client, 2)
                    await client.execute("ALTER TABLE held ADD b INT", timeout=0.3)
            assert "may have committed what ran before it" in stopped.value.__notes__[0]
            assert await kept(client) == [1, 2]


async def test_a_text_that_fails_after_its_own_commit_is_not_called_rolled_back(postgres, proxies):
    async with proxies(postgres).connect() as client:
        await begin_with_none(client, "a INT")
        with pytest.raises(DatabaseError) as caught:
            async with client.transaction():
                await insert(client, 1)
                await client.execute("INSERT INTO kept VALUES (2); COMMIT; SELECT 1/0")
        assert "was not rolled back" in caught.value.__notes__[0]
        assert await kept(client) == [1, 2]


async def test_a_loop_of_blocks_goes_on_with_autocommit_off(mariadb, proxies):
    """Whatever follows begins the next transaction by itself: nothing runs outside of one."""
    async with proxies(mariadb).connect() as client:
        await begin_with_none(client)
        await client.execute("SET autocommit = 0")
        await client.fetch_all("SELECT a FROM kept")
        with pytest.raises(DatabaseError):
            async with client.transaction():
                await client.execute("CREATE TABLE kept (b INT)")
        for number in (1, 2):
            await client.fetch_all("SELECT a FROM kept")
            async with client.transaction():
                await insert(client, number)
        assert await kept(client) == [1, 2]
        await client.execute("ROLLBACK")
        await client.execute("SET autocommit = 1")
        assert await kept(client) == []


@pytest.mark.parametrize("exists", ["", " IF NOT EXISTS"])
@pytest.mark.parametrize("before", ["SELECT 1", "SET autocommit = 1"])
async def test_what_follows_a_block_in_a_transaction_begun_by_hand_that_has_ended_is_refused(
    mariadb, proxies, before, exists
):
    """An item of a loop ended the transaction of all: those after it were committed one by one."""
    async with proxies(mariadb).connect() as client:
        await begin_with_none(client)
        await client.execute(before)
        await client.execute("BEGIN")
        with pytest.raises(DBProxyError):
            async with client.transaction():
                await insert(client, 1)
                await client.execute(f"CREATE TABLE{exists} kept (b INT)")
        with pytest.raises(ConnectionLost, match=r"CREATE TABLE.*roll back, then begin again"):
            await insert(client, 2)
        await client.execute("ROLLBACK")
        await insert(client, 3)
        assert await kept(client) == [1, 3]


@pytest.mark.parametrize("between", [("COMMIT AND CHAIN",), ("COMMIT", "BEGIN")])
@pytest.mark.parametrize("is_nested", [False, True])
async def test_a_block_that_goes_on_in_the_next_transaction_tells_what_stays(client, between, is_nested):
    """Of a nested block the rest was committed on MySQL: its savepoint had gone, and the block around it went on."""

    async def fails():
        async with client.transaction():
            await insert(client, 2)
            for statement in between:
                await client.execute(statement)
            await insert(client, 3)
            raise ValueError("mine")

    if not is_nested:
        with pytest.raises(ValueError, match="mine") as caught:
            await fails()
        assert "what was committed before stays" in caught.value.__notes__[0]
        assert await kept(client) == [2]
        return
    with pytest.raises(DBProxyError, match="is over: a statement in it ended it, and another one began"):
        async with client.transaction():
            await insert(client, 1)
            with pytest.raises(ValueError, match="mine") as caught:
                await fails()
            assert "what was committed before stays" in caught.value.__notes__[0]
            await insert(client, 4)
    assert await kept(client) == [1, 2]


async def test_a_nested_block_that_goes_on_in_the_next_transaction_is_refused_at_its_end(client):
    with pytest.raises(DBProxyError, match="is over: a statement in it ended it, and another one began"):
        async with client.transaction():
            await insert(client, 1)
            async with client.transaction():
                await client.execute("COMMIT AND CHAIN")
                await insert(client, 2)
    assert await kept(client) == [1]
    await client.execute("BEGIN")
    with pytest.raises(ValueError, match="mine"):
        async with client.transaction():
            await client.execute("COMMIT AND CHAIN")
            raise ValueError("mine")
    with pytest.raises(ConnectionLost, match="another one began"):
        await insert(client, 3)
    await client.execute("ROLLBACK")
    assert await kept(client) == [1]


async def test_a_procedure_that_took_a_savepoint_is_seen(mariadb, proxies):
    """`ROLLBACK TO SAVEPOINT` failed without a word, and the block around committed what was to be undone."""
    async with proxies(mariadb).connect() as client:
        await begin_with_none(client)
        await client.execute("DROP PROCEDURE IF EXISTS ends_and_begins")
        await client.execute("CREATE PROCEDURE ends_and_begins() BEGIN COMMIT; START TRANSACTION; END")
        with pytest.raises(DBProxyError, match="another one began"):
            async with client.transaction():
                await insert(client, 1)
                with contextlib.suppress(KeyError):
                    async with client.transaction():
                        await client.execute("CALL ends_and_begins()")
                        await insert(client, 2)
                        raise KeyError
                await insert(client, 3)
        assert await kept(client) == [1]
