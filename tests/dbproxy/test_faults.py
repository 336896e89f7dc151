"""Servers and networks on a bad day: nobody hangs longer than the time-outs say, nothing is repeated that must not be."""

from __future__ import annotations

import asyncio

import pytest
from db_chaos import Chaos
from db_servers import PASSWORD, USER, View, until

from forebay.errors import (
    BorrowTimeout,
    CommitUnknown,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    DBProxyError,
    QueryTimeout,
)


def url(server, port):
    return f"{server.engine}://{USER}:{PASSWORD.replace('!', '%21')}@127.0.0.1:{port}/app"


async def fresh_table(client):
    await client.execute("DROP TABLE IF EXISTS plain")
    await client.execute("CREATE TABLE plain (a INT)")


async def test_a_killed_server_is_waited_for_and_found_again(own_server, proxies):
    proxy = proxies(own_server, maximum_connections=3, connection_borrow_timeout=60)
    async with proxy.connect() as client, proxy.connect() as inside:
        await fresh_table(client)
        await inside.execute("BEGIN")
        await inside.execute("INSERT INTO plain VALUES (1)")
        own_server.kill()
        waiting = asyncio.create_task(client.fetch_value("SELECT count(*) FROM plain"))
        with pytest.raises(ConnectionLost):
            await inside.execute("INSERT INTO plain VALUES (2)")
        await until(lambda: proxy.statistics()["DatabaseConnectionsSetupFailed"] > 0)
        assert not waiting.done()
        await asyncio.to_thread(own_server.start)
        assert await waiting == 0
        await inside.execute("ROLLBACK")
        async with inside.transaction():
            await inside.execute("INSERT INTO plain VALUES (3)")
        assert await client.fetch_value("SELECT count(*) FROM plain") == 1


async def test_a_lost_transaction_has_no_next_one(server, proxies):
    """ROLLBACK AND CHAIN was skipped as ROLLBACK is, and what followed ran in no transaction at all."""
    async with Chaos(server.port) as chaos, proxies(url(server, chaos.port)).connect() as client:
        await client.execute("BEGIN")
        chaos.cut_all()
        for statement in ("SELECT 1", "ROLLBACK AND CHAIN", "SELECT 1"):
            with pytest.raises(ConnectionLost):
                await client.execute(statement)
            assert client.in_transaction
        await client.execute("ROLLBACK")
        assert await client.fetch_value("SELECT 1") == 1


async def test_a_transaction_whose_end_is_lost_is_over(server, proxies):
    """ROLLBACK found that the connection was gone: the client was held for one in a transaction for ever, by `transaction()` too."""
    async with Chaos(server.port) as chaos, proxies(url(server, chaos.port)).connect() as client:
        with pytest.raises(ZeroDivisionError):
            async with client.transaction():
                await client.fetch_value("SELECT 1")
                chaos.cut_all()
                await asyncio.sleep(0.05)
                raise ZeroDivisionError
        async with client.transaction():
            assert await client.fetch_value("SELECT 1") == 1
        for end in ("COMMIT", "ROLLBACK"):
            await client.execute("BEGIN")
            chaos.freeze()
            ends = asyncio.create_task(client.execute(end))
            await asyncio.sleep(0.05)
            ends.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ends
            chaos.thaw()
            assert not client.in_transaction
            assert await client.fetch_value("SELECT 2") == 2
        await client.execute("BEGIN")
        chaos.cut_all()
        with pytest.raises(CommitUnknown):
            await client.execute("COMMIT AND CHAIN")
        with pytest.raises(ConnectionLost):  # not outside of the next transaction
            await client.fetch_value("SELECT 3")
        await client.execute("ROLLBACK")


async def test_clients_outside_of_a_transaction_do_not_notice_a_restart(own_server, proxies):
    proxy = proxies(own_server, maximum_connections=4, connection_borrow_timeout=60)
    answers = 0
    stop = False

    async def reader():
        nonlocal answers
        async with proxy.connect() as client:
            while not stop:
                assert await client.fetch_value("SELECT 42") == 42
                answers += 1

    readers = [asyncio.create_task(reader()) for _ in range(20)]
    await until(lambda: answers > 200)
    await asyncio.to_thread(own_server.stop)
    await until(lambda: proxy.statistics()["DatabaseConnectionsSetupFailed"] > 0)
    before = answers
    await asyncio.to_thread(own_server.start)
    await until(lambda: answers > before + 200, seconds=30)
    stop = True
    await asyncio.gather(*readers)


async def test_a_server_that_is_down_is_not_stormed(own_server, proxies):
    proxy = proxies(own_server, maximum_connections=10, connection_borrow_timeout=1.5)
    async with proxy.connect() as client:
        await client.fetch_value("SELECT 1")
    await asyncio.to_thread(own_server.stop)
    asked = proxy.counters.connections_requested

    async def one():
        async with proxy.connect() as client:
            await client.fetch_value("SELECT 1")

    errors = await asyncio.gather(*(one() for _ in range(100)), return_exceptions=True)
    assert {type(error) for error in errors} == {DatabaseUnavailable}
    assert "cannot be reached" in str(errors[0])
    assert proxy.counters.connections_requested - asked <= 15


async def test_a_stopped_server_holds_nobody_longer_than_the_time_outs(own_server, proxies):
    proxy = proxies(own_server, maximum_connections=2, connection_borrow_timeout=0.5, connect_timeout=0.5)
    loop = asyncio.get_running_loop()
    async with View(own_server) as view, proxy.connect() as one, proxy.connect() as two, proxy.connect() as three:
        assert await one.fetch_value("SELECT 1") == 1
        own_server.pause()
        try:
            began = loop.time()
            errors = await asyncio.gather(
                *(client.fetch_value("SELECT 1", timeout=0.5) for client in (one, two, three)), return_exceptions=True
            )
            assert all(isinstance(e, QueryTimeout | BorrowTimeout | DatabaseUnavailable) for e in errors), errors
            assert loop.time() - began < 4
        finally:
            own_server.resume()
        watcher = asyncio.create_task(view.watch())
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await one.fetch_value("SELECT 2") == 2
                    break
                except (BorrowTimeout, DatabaseUnavailable):
                    continue
        watcher.cancel()
        assert view.peak <= 2, "connections of before the stop count until the server has closed them"


async def test_a_reply_cut_at_any_byte_is_never_taken_for_an_answer(server, proxies):
    """COMMIT's answer is lost: unknown, and never silently repeated. A read's answer is lost: it is asked again."""
    async with Chaos(server.port) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=1)
        async with proxy.connect() as client:
            await fresh_table(client)
            await client.execute("BEGIN")
            await client.execute("INSERT INTO plain VALUES (0)")
            before = chaos.replied
            await client.execute("COMMIT")
            size = chaos.replied - before
            unknown = 0
            for cut in range(size):
                await client.execute("BEGIN")
                await client.execute(f"INSERT INTO plain VALUES ({cut + 1})")
                chaos.cut_after = cut
                with pytest.raises(CommitUnknown):
                    await client.execute("COMMIT")
                unknown += 1
                chaos.cut_after = None
            rows = [row[0] for row in await client.fetch_all("SELECT a FROM plain")]
            assert sorted(rows) == sorted(set(rows)), "a commit was repeated"
            assert set(rows) <= set(range(size + 1))
            assert unknown == size > 0

            question = "SELECT a, 'text of some length' AS t FROM plain WHERE a <= 2 ORDER BY a"
            expected = await client.fetch_all(question)
            before = chaos.replied
            await client.fetch_all(question)
            size = chaos.replied - before
            for cut in range(size):
                chaos.cut_after = cut
                asking = asyncio.create_task(client.fetch_all(question))
                await until(lambda: proxy.counters.interrupted > 0)
                proxy.counters.interrupted = 0
                chaos.cut_after = None
                assert await asking == expected, f"cut after {cut} bytes"


async def test_a_handshake_cut_at_any_byte_ends_in_a_clear_error(server, proxies):
    async with Chaos(server.port) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=1)
        async with proxy.connect() as client:
            before = chaos.replied
            await client.fetch_value("SELECT 1")
        await proxy.close()
        size = before
        for cut in range(0, size, 1 if size < 600 else 3):
            chaos.cut_after = cut
            proxy = proxies(url(server, chaos.port), maximum_connections=1, connect_timeout=2)
            with pytest.raises(DBProxyError) as caught:
                async with proxy.connect() as client:
                    await client.fetch_value("SELECT 1")
            assert PASSWORD not in str(caught.value)
            await proxy.close()
        chaos.cut_after = None


async def test_a_write_whose_answer_was_lost_is_not_repeated(server, proxies):
    async with Chaos(server.port) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=1)
        async with proxy.connect() as client:
            await fresh_table(client)
            await client.execute(
                "INSERT INTO plain VALUES (1)"
            )  # from now on its names are known: nothing is asked before it
            chaos.cut_after = 0
            with pytest.raises(CommitUnknown):
                await client.execute("INSERT INTO plain VALUES (1)")
            chaos.cut_after = None
            assert await client.fetch_value("SELECT count(*) FROM plain") in (1, 2)


async def test_a_silent_network_ends_with_the_query_time_out(server, proxies):
    async with Chaos(server.port) as chaos:
        proxy = proxies(
            url(server, chaos.port),
            maximum_connections=1,
            query_timeout=0.3,
            connect_timeout=0.3,
            connection_borrow_timeout=0.5,
        )
        async with proxy.connect() as client:
            assert await client.fetch_value("SELECT 1") == 1
            chaos.freeze()
            with pytest.raises(QueryTimeout):
                await client.fetch_value("SELECT 1")
            with pytest.raises(DBProxyError):
                await client.fetch_value("SELECT 1")
            chaos.thaw()
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert await client.fetch_value("SELECT 1") == 1
                        break
                    except DBProxyError:
                        continue


async def test_a_slow_network_only_makes_it_slow(server, proxies):
    async with Chaos(server.port) as chaos:
        chaos.delay = 0.02
        proxy = proxies(url(server, chaos.port), maximum_connections=2)

        async def one(number):
            async with proxy.connect() as client:
                assert await client.fetch_value(f"SELECT {number}") == number

        await asyncio.gather(*(one(number) for number in range(20)))


async def test_connections_cut_while_idle_are_replaced_without_a_word(server, proxies):
    async with Chaos(server.port) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=2)
        async with proxy.connect() as client:
            await fresh_table(client)
            for number in range(5):
                chaos.cut_all()
                await until(lambda: all(db.wire.is_broken() for db in proxy._cluster.writer_queue.idle))
                await client.execute(f"INSERT INTO plain VALUES ({number})")
            assert await client.fetch_value("SELECT count(*) FROM plain") == 5


async def test_a_pinned_session_whose_connection_was_cut_is_told_so(server, proxies):
    async with Chaos(server.port) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=2)
        name = "TEMPORARY" if server.engine == "mysql" else "TEMP"
        async with proxy.connect() as client:
            await client.execute(f"CREATE {name} TABLE mine (a INT)")
            chaos.cut_all()
            with pytest.raises(ConnectionLost, match="pinned session"):
                await client.fetch_value("SELECT count(*) FROM mine")
            assert client.pins == ()
            with pytest.raises(DatabaseError):
                await client.fetch_value("SELECT count(*) FROM mine")


async def hostile(answer):
    """Start a server that says what it is told to, whatever it is asked."""

    async def serve(reader, writer):
        try:
            while await reader.read(65536):
                writer.write(answer)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.transport.abort()

    async def greet(reader, writer):
        writer.write(answer)
        await serve(reader, writer)

    return await asyncio.start_server(greet, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00",
        b"N",
        b"S",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff\xff\xff\x00" + b"\x0a" * 64,
        b"R\xff\xff\xff\xff" + b"\x00" * 64,
        b"R\x00\x00\x00\x00",
        b"R\x00\x00\x00\x08\x00\x00\x00\x63",
        b"E\x7f\xff\xff\xffSFATAL\x00",
        b"E\x00\x00\x00\x06X\x00",
        b"\x01\x00\x00\x00\xff",
        b"\x03\x00\x00\x00\xff\x10\x04",
        b"\x4a\x00\x00\x00\x0a" + b"8" * 73,
        b"\x00" * 4096,
        b"\xff" * 4096,
    ],
)
async def test_a_hostile_server_gets_an_error_and_nothing_else(answer, proxies):
    listener = await hostile(answer)
    port = listener.sockets[0].getsockname()[1]
    for engine in ("mysql", "postgresql"):
        proxy = proxies(
            f"{engine}://app:hush-hush@127.0.0.1:{port}/app", connect_timeout=0.3, connection_borrow_timeout=1
        )
        async with asyncio.timeout(10):
            with pytest.raises(DatabaseUnavailable) as caught:
                async with proxy.connect() as client:
                    await client.fetch_value("SELECT 1")
        assert "hush-hush" not in str(caught.value)
        assert f"127.0.0.1:{port}" in str(caught.value)
        await proxy.close()
    listener.close()
    await listener.wait_closed()
