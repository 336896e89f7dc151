"""COPY of PostgreSQL: rows that travel beside the statement, in both directions; and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import io
import os
from datetime import date
from pathlib import Path

import pytest
from db_chaos import Chaos
from db_servers import PASSWORD, USER

from forebay.errors import CommitUnknown, ConnectionLost, DatabaseError, InvalidParameterValue

IN = "COPY rows (id, name) FROM STDIN WITH (FORMAT csv)"
OUT = "COPY (SELECT id, name FROM rows ORDER BY id) TO STDOUT WITH (FORMAT csv)"
DATA = b"1,one\n2,two\n"


@pytest.fixture
async def client(postgres, proxies):
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as found:
        await found.execute("DROP TABLE IF EXISTS rows")
        await found.execute("CREATE TABLE rows (id INT PRIMARY KEY, name TEXT, day DATE)")
        yield found
        assert await found.fetch_value("SELECT 1") == 1
        assert proxy.statistics()["InterruptedConnections"] == 0, "a connection was thrown away"


async def pieces():
    for byte in DATA:
        yield bytes([byte])


@pytest.mark.parametrize("kind", ["bytes", "path", "file", "pieces", "async pieces"])
async def test_rows_from_all_that_gives_bytes(client, tmp_path, kind):
    path = tmp_path / "rows.csv"
    path.write_bytes(DATA)
    source = {
        "bytes": DATA,
        "path": path,
        "file": io.BytesIO(DATA),
        "pieces": [DATA[:3], DATA[3:]],
        "async pieces": pieces(),
    }[kind]
    result = await client.copy_from(IN, source)
    assert (result.row_count, result.status) == (2, "COPY 2")
    assert await client.fetch_all("SELECT id, name FROM rows ORDER BY id") == [(1, "one"), (2, "two")]


@pytest.mark.parametrize("kind", ["path", "file", "function", "async function"])
async def test_rows_to_all_that_takes_bytes(client, tmp_path, kind):
    await client.copy_from(IN, DATA)
    path, file, taken = tmp_path / "rows.csv", io.BytesIO(), []

    async def take(data):
        await asyncio.sleep(0)
        taken.append(data)

    sink = {"path": path, "file": file, "function": taken.append, "async function": take}[kind]
    assert (await client.copy_to(OUT, sink)).row_count == 2
    assert {"path": path.read_bytes, "file": file.getvalue}.get(kind, lambda: b"".join(taken))() == DATA


async def test_rows_of_python_values(client):
    rows = [(number, f"n{number}", date(2026, 1, 1)) for number in range(5000)]
    assert (await client.copy_rows("rows", rows, columns=["id", "name", "day"], schema="public")).row_count == 5000
    assert tuple(await client.fetch_one("SELECT count(*), max(name), min(day) FROM rows")) == (
        5000,
        "n999",
        date(2026, 1, 1),
    )
    for wrong in ([(5001, "x", "no date")], [(5001,)], [("x", "y", None)]):
        with pytest.raises(
            InvalidParameterValue, match=r"rows: row 1 (does not fit its table \(|has 1 values for 3 columns)"
        ):
            await client.copy_rows("rows", wrong)
    with pytest.raises(DatabaseError, match="duplicate key"):
        await client.copy_rows("rows", [(1, "again", None)])
    assert await client.fetch_value("SELECT count(*) FROM rows") == 5000


async def test_a_large_copy_in_a_transaction_is_undone_with_it(client):
    async with client.transaction():
        await client.copy_from(IN, (b"%d,%s\n" % (number, b"x" * 100) for number in range(100_000)))
        assert await client.fetch_value("SELECT count(*) FROM rows") == 100_000
        taken = []
        await client.copy_to(OUT, lambda data: taken.append(len(data)))
        assert sum(taken) > 10_000_000
        assert len(taken) > 10
        await client.execute("ROLLBACK")
        await client.execute("BEGIN")
    assert await client.fetch_value("SELECT count(*) FROM rows") == 0


async def test_what_a_source_raises_ends_the_copy_and_is_raised(client):
    def broken():
        yield DATA
        raise ZeroDivisionError("the source broke")

    with pytest.raises(ZeroDivisionError, match="the source broke"):
        await client.copy_from(IN, broken())
    with pytest.raises(ZeroDivisionError):
        await client.copy_rows("rows", ((number, str(1 // (3 - number)), None) for number in range(10)))
    with pytest.raises(FileNotFoundError):
        await client.copy_from(IN, Path("/nowhere/at/all"))
    for text in (io.StringIO("1,one\n"), ["1,one\n"]):  # it was said that the server went away
        with pytest.raises(InvalidParameterValue, match="it gave str, and COPY takes bytes"):
            await client.copy_from(IN, text)
    assert await client.fetch_value("SELECT count(*) FROM rows") == 0


@pytest.mark.parametrize("rows", [1, 100_000])
async def test_what_a_sink_raises_is_raised(postgres, proxies, rows):
    async with proxies(postgres, maximum_connections=1).connect() as client:
        out = f"COPY (SELECT repeat('x', 1000) FROM generate_series(1, {rows})) TO STDOUT"

        def refuses(data):
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space left"):
            await client.copy_to(out, refuses)
        assert await client.fetch_value("SELECT 1") == 1
        await client.execute("BEGIN")
        with pytest.raises(OSError, match="No space left"):
            await client.copy_to(out, refuses)
        assert client.in_transaction
        with pytest.raises(ConnectionLost):
            await client.execute("SELECT 1")
        await client.execute("ROLLBACK")
        assert await client.fetch_value("SELECT 1") == 1


async def test_a_source_that_raises_after_the_server_has_refused_it(client):
    async def late():
        yield b"no number,x\n"
        await asyncio.sleep(0.2)
        raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, DatabaseError)):
        await client.copy_from(IN, late())
    client._proxy.counters.interrupted = 0  # that connection could not be told from one that is out of step


async def test_a_copy_that_is_refused_leaves_its_file_as_it_was(client, tmp_path):
    file = tmp_path / "out.csv"
    file.write_text("of before\n")
    with pytest.raises(DatabaseError, match="nothing"):
        await client.copy_to("COPY nothing TO STDOUT", file)
    assert file.read_text() == "of before\n"
    await client.copy_to("COPY (SELECT 1 WHERE false) TO STDOUT", file)
    assert file.read_text() == ""
    await client.copy_to(OUT, Path(os.devnull))


async def test_only_the_right_copy_is_taken(client):
    for wrong in ("SELECT 1", OUT, f"{IN}; SELECT 1", "COPY rows FROM '/etc/passwd'"):
        with pytest.raises(InvalidParameterValue, match="COPY ... FROM STDIN"):
            await client.copy_from(wrong, DATA)
    for wrong in ("SELECT 1", IN):
        with pytest.raises(InvalidParameterValue, match="COPY ... TO STDOUT"):
            await client.copy_to(wrong, print)
    with pytest.raises(InvalidParameterValue, match="source=int"):
        await client.copy_from(IN, 7)
    with pytest.raises(InvalidParameterValue, match="sink=int"):
        await client.copy_to(OUT, 7)
    with pytest.raises(DatabaseError, match="nothing"):
        await client.copy_from("COPY nothing FROM STDIN", DATA)


async def test_mysql_has_no_copy(mariadb, proxies):
    async with proxies(mariadb).connect() as client:
        with pytest.raises(InvalidParameterValue, match="only PostgreSQL"):
            await client.copy_from(IN, DATA)


async def test_a_copy_whose_connection_is_lost_is_not_repeated(postgres, proxies):
    async with Chaos(postgres.port) as chaos:
        proxy = proxies(
            f"postgresql://{USER}:{PASSWORD.replace('!', '%21')}@127.0.0.1:{chaos.port}/app", maximum_connections=1
        )
        async with proxy.connect() as client:
            await client.execute("DROP TABLE IF EXISTS rows")
            await client.execute("CREATE TABLE rows (id INT, name TEXT)")
            asked = []

            async def cut():
                asked.append(1)
                yield DATA
                chaos.cut_all()
                await asyncio.sleep(0.05)
                yield DATA

            with pytest.raises((CommitUnknown, ConnectionLost)):
                await client.copy_from(IN, cut())
            assert asked == [1]
            assert await client.fetch_value("SELECT count(*) FROM rows") == 0
            await client.copy_from(IN, DATA)
            taken = []

            def take(data):
                taken.append(data)
                chaos.cut_all()

            with pytest.raises((CommitUnknown, ConnectionLost)):
                await client.copy_to("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT", take)
            assert taken
