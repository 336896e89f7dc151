"""What a call is given: rows from anything that can be walked through, and options that are refused before anything is sent."""

from __future__ import annotations

import contextlib
import io
import math
from datetime import timedelta
from fractions import Fraction

import pytest

from forebay.errors import DatabaseError, InvalidParameterValue, QueryTimeout


@contextlib.asynccontextmanager
async def with_a_table(proxy):
    """Give a client of a proxy that keeps its one connection, whatever a call was given."""
    async with proxy.connect() as found:
        await found.execute("DROP TABLE IF EXISTS given")
        await found.execute("CREATE TABLE given (a INT, b INT)")
        yield found
        assert await found.fetch_value("SELECT 1") == 1
        assert proxy.statistics()["InterruptedConnections"] == 0, "a connection was thrown away"


@pytest.fixture
async def client(server, proxies):
    async with with_a_table(proxies(server, maximum_connections=1)) as found:
        yield found


@pytest.fixture
async def postgres_client(postgres, proxies):
    async with with_a_table(proxies(postgres, maximum_connections=1)) as found:
        yield found


def insert(client):
    return f"INSERT INTO given VALUES ({'%s, %s' if client.engine == 'mysql' else '$1, $2'})"


async def given(client):
    return sorted(tuple(row) for row in await client.fetch_all("SELECT a, b FROM given"))


ROWS = [(1, 10), (2, 20), (3, 30)]


@pytest.mark.parametrize(
    "rows",
    [
        lambda: (row for row in ROWS),
        lambda: iter(ROWS),
        lambda: zip((1, 2, 3), (10, 20, 30), strict=True),
        lambda: map(tuple, ROWS),
        lambda: dict(ROWS).items(),
        lambda: set(ROWS),
        lambda: [iter(row) for row in ROWS],
        lambda: [map(int, row) for row in ROWS],
    ],
    ids=["generator", "iterator", "zip", "map", "items", "set", "rows that are iterators", "rows that are maps"],
)
async def test_rows_of_executemany_are_walked_through_once(client, rows):
    """A generator was used up by a check before: nothing was written, and it looked like a success."""
    await client.executemany(insert(client), rows())
    assert await given(client) == ROWS


async def test_what_a_generator_of_rows_raises_is_raised_and_nothing_is_written(client):
    def rows():
        yield (1, 10)
        raise LookupError("no second one")

    with pytest.raises(LookupError, match="no second one"):
        await client.executemany(insert(client), rows())
    assert await given(client) == []
    assert (await client.executemany(insert(client), iter(()))).row_count == 0


@pytest.mark.parametrize("rows", ["ab", b"ab", {"a": 1}, 5, None])
async def test_what_is_no_rows_of_executemany_is_refused(client, rows):
    with pytest.raises(InvalidParameterValue, match="rows: must be a sequence, not"):
        await client.executemany(insert(client), rows)


async def pieces():
    for row in ROWS:
        yield row


@pytest.mark.parametrize("kind", ["list", "generator", "zip", "async generator", "records"])
async def test_rows_of_copy_rows_are_walked_through_once(postgres_client, kind):
    client = postgres_client
    records = await client.fetch_all("SELECT i, i * 10 FROM generate_series(1, 3) AS i")
    rows = {
        "list": ROWS,
        "generator": (list(row) for row in ROWS),
        "zip": zip((1, 2, 3), (10, 20, 30), strict=True),
        "async generator": pieces(),
        "records": records,
    }[kind]
    assert (await client.copy_rows("given", rows)).row_count == 3
    assert await given(client) == ROWS


@pytest.mark.parametrize("columns", [None, ["b", "a"]])
@pytest.mark.parametrize(
    ("row", "told"),
    [
        ((2, 20, "dropped"), "row 2 has 3 values for 2 columns"),
        ((2,), "row 2 has 1 values for 2 columns"),
        ("ab", "row 2 is of str"),
        ({0: 1, 1: 2}, "row 2 is of dict"),
        (5, "row 2 is of int"),
    ],
)
async def test_a_row_of_copy_rows_that_is_too_long_is_refused(postgres_client, columns, row, told):
    """What was too much was dropped without a word: a loader whose columns had moved lost one."""
    client = postgres_client
    with pytest.raises(InvalidParameterValue, match=told):
        await client.copy_rows("given", [(1, 10), row, (3, 30)], columns=columns)
    assert await given(client) == []
    with pytest.raises((InvalidParameterValue, DatabaseError)):
        await client.copy_rows("given", [(1, "no number")], columns=columns)
    async with client.transaction():
        await client.copy_rows("given", [(10, 1)], columns=["b", "a"])
    assert await given(client) == [(1, 10)]


async def test_copy_rows_sees_a_column_that_has_been_added(postgres, postgres_client):
    """A connection kept what it had been told of the table: right rows were refused for as long as it lived."""
    client = postgres_client
    await client.copy_rows("given", [(1, 10)])
    postgres.sql("ALTER TABLE given ADD c INT", "app")
    await client.copy_rows("given", [(2, 20, 200)])
    assert await client.fetch_value("SELECT c FROM given WHERE a = 2") == 200


async def test_what_is_no_rows_or_columns_of_copy_rows_is_refused(postgres_client):
    """`columns="id"` was taken for the columns "i" and "d"."""
    for rows in (None, 5, "ab", {"a": 1}):
        with pytest.raises(InvalidParameterValue, match="rows="):
            await postgres_client.copy_rows("given", rows)
    for columns in ("ab", 5):
        with pytest.raises(InvalidParameterValue, match=f"columns={columns!r}"):
            await postgres_client.copy_rows("given", ROWS, columns=columns)


async def test_a_file_of_text_or_a_path_as_a_text_is_refused(postgres_client):
    out, into = "COPY given TO STDOUT", "COPY given FROM STDIN"
    for ask, told in (
        (lambda: postgres_client.copy_to(out, io.StringIO()), 'open it with "wb"'),
        (lambda: postgres_client.copy_to(out, "/tmp/o.csv"), "pathlib.Path"),  # noqa: S108  nothing is written
        (lambda: postgres_client.copy_from(into, "/tmp/o.csv"), "pathlib.Path"),  # noqa: S108  nothing is read
    ):
        with pytest.raises(InvalidParameterValue, match=told):
            await ask()


@pytest.mark.parametrize("seconds", ["5", math.nan, 1e10, True, timedelta(days=2), [5], 1j])
async def test_a_timeout_that_cannot_be_one_costs_no_connection(client, seconds):
    """A text or a timedelta looked like a server that went away: the connection was closed, its transaction lost."""
    async with client.transaction():
        await client.execute(insert(client), (1, 10))
        for ask in (client.fetch_all, client.fetch_one, client.fetch_value, client.execute):
            with pytest.raises(InvalidParameterValue, match=r"timeout=.*must be 0.001 to 86,400 seconds"):
                await ask("SELECT 1", timeout=seconds)
        with pytest.raises(InvalidParameterValue, match="timeout="):
            await client.executemany(insert(client), [(2, 20)], timeout=seconds)
        with pytest.raises(InvalidParameterValue, match="timeout="):
            await anext(client.stream("SELECT 1", timeout=seconds))
    assert await given(client) == [(1, 10)]


@pytest.mark.parametrize("seconds", [0, -0.1, timedelta(0), timedelta(seconds=-1), 0.0001, -math.inf, Fraction(0)])
async def test_a_timeout_that_has_passed_is_a_timeout(client, seconds):
    """`timeout=deadline - loop.time()` was refused as a mistake of the caller's, only under load."""
    async with client.transaction():
        for ask in (client.fetch_all, client.execute):
            with pytest.raises(QueryTimeout, match="no time is left for the statement; nothing was sent"):
                await ask(insert(client), (1, 10), timeout=seconds)
        with pytest.raises(QueryTimeout, match="no time is left"):
            await anext(client.stream("SELECT 1", timeout=seconds))
        await client.execute(insert(client), (2, 20), timeout=math.inf)
        await client.execute(insert(client), (3, 30), timeout=Fraction(5))
    assert await given(client) == [(2, 20), (3, 30)]


async def test_a_timeout_may_be_a_timedelta(server, proxies):
    nap = "SELECT SLEEP(30)" if server.engine == "mysql" else "SELECT pg_sleep(30)"
    async with proxies(server).connect() as client:
        assert await client.fetch_value("SELECT 1", timeout=timedelta(seconds=5)) == 1
        assert [row[0] async for row in client.stream("SELECT 1", timeout=timedelta(seconds=5))] == [1]
        with pytest.raises(QueryTimeout, match=r"0\.1 s"):
            await client.fetch_value(nap, timeout=timedelta(seconds=0.1))
        with pytest.raises(QueryTimeout, match=r"0\.1 s"):
            await anext(client.stream(nap, timeout=timedelta(seconds=0.1)))


@pytest.mark.parametrize("prefetch", [0, -1, 10**12, 1.5, "x", True, None])
async def test_a_prefetch_that_cannot_be_one_costs_no_connection(client, prefetch):
    with pytest.raises(InvalidParameterValue, match=r"prefetch=.*must be a whole number from 1 to 2147483647"):
        await anext(client.stream("SELECT 1", prefetch=prefetch))


async def test_other_options_of_calls_are_refused_by_name(client, server, proxies):
    for name in ("read_only", "deferrable"):
        with pytest.raises(InvalidParameterValue, match=f"{name}='x': must be True, False or None"):
            client.transaction(**{name: "x"})
    proxy = proxies(server)
    with pytest.raises(InvalidParameterValue, match="read_only='x': must be True or False"):
        proxy.connect(read_only="x")
    for timeout in ("x", -1, math.nan, True):
        with pytest.raises(InvalidParameterValue, match=r"timeout=.*must be 0 to 86,400 seconds"):
            await proxy.pause(timeout=timeout)
    async with proxy.connect() as other:  # it is not paused
        assert await other.fetch_value("SELECT 1") == 1
    assert await proxy.pause(timeout=timedelta(seconds=5))
