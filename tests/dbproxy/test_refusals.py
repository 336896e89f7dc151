"""What cannot be sent is refused before anything is: with its reason, and the connection is kept."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from forebay.errors import DatabaseError, InvalidParameterValue


@pytest.fixture
async def client(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    async with proxy.connect() as found:
        await found.execute("DROP TABLE IF EXISTS plain")
        await found.execute(f"CREATE TABLE plain (a TEXT, b DOUBLE {'' if found.engine == 'mysql' else 'PRECISION'})")
        yield found
        assert proxy.statistics()["InterruptedConnections"] == 0, "a connection was thrown away"
        assert await found.fetch_value("SELECT count(*) FROM plain") == 0


def insert(client, column="a"):
    return f"INSERT INTO plain ({column}) VALUES ({'%s' if client.engine == 'mysql' else '$1'})"


@pytest.mark.parametrize("text", ["\ud800", "a\udc80b"])
async def test_a_lone_surrogate(client, text):
    """It was said that the server went away, or that the answer to a write was lost."""
    for ask in (
        client.execute(insert(client), [text]),
        client.executemany(insert(client), [["first"], [text]]),
        client.execute(f"INSERT INTO plain (a) VALUES ('{text}')"),
        client.fetch_all(f"SELECT '{text}'"),
    ):
        with pytest.raises((InvalidParameterValue, DatabaseError), match="surrogate"):
            await ask


async def test_a_surrogate_beside_bytes(mariadb, proxies):
    """Bytes are written into the text as surrogates: a text's own must not pass with them."""
    async with proxies(mariadb).connect() as client:
        assert await client.fetch_value("SELECT HEX(%s)", [b"\xff\x00'\\"]) == "FF00275C"
        with pytest.raises(InvalidParameterValue, match="surrogates not allowed"):
            await client.fetch_one("SELECT %s, %s", [b"\xff", "\udcff"])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("-Infinity")])
async def test_a_number_that_mysql_does_not_have(mariadb, proxies, number):
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a TEXT, b DOUBLE)")
        for ask in (
            client.execute(insert(client, "b"), [number]),
            client.executemany(insert(client, "b"), [[1.0], [number]]),
            client.executemany("UPDATE plain SET b = %s", [[1.0], [number]]),
        ):
            with pytest.raises(InvalidParameterValue, match="MySQL has no number"):
                await ask
        assert await client.fetch_value("SELECT count(*) FROM plain") == 0
        assert proxy.statistics()["InterruptedConnections"] == 0


@pytest.mark.parametrize("value", [["x", "y"], {"x"}, {"x": 1}])
async def test_a_list_a_set_or_a_dict_as_an_argument_of_postgresql(postgres, proxies, value):
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client:
        for ask in (
            client.fetch_value("SELECT $1::text", [value]),
            client.executemany("SELECT $1::text", [["first"], [value]]),
        ):
            with pytest.raises(DatabaseError, match="expected str"):
                await ask
        assert proxy.statistics()["InterruptedConnections"] == 0


async def test_named_arguments_of_postgresql(postgres, proxies):
    """The names were sent as the arguments."""
    async with proxies(postgres, maximum_connections=1).connect() as client:
        for ask in (
            lambda: client.fetch_value("SELECT $1::text", {"name": "ada"}),
            lambda: client.stream("SELECT $1::text", {"name": "ada"}),
            lambda: client.executemany("SELECT $1::text", [{"name": "ada"}]),
        ):
            with pytest.raises(InvalidParameterValue, match=r"numbers, \$1 and \$2"):
                await ask()


async def test_a_channel_without_a_name(postgres, proxies):
    async with proxies(postgres).connect() as client:
        for channel in (5, "", None):
            with pytest.raises(InvalidParameterValue, match="must be the name of a channel"):
                client.listen(channel)


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES"])
async def test_arguments_of_mysql_are_written_as_its_mode_reads_them(mariadb, proxies, mode):
    """Under NO_BACKSLASH_ESCAPES a backslash is a character: what follows it in bytes or in a list was read as SQL."""
    hard = ["it's", "\\", "\\' OR 1=1 -- ", 'a"b', "\n\x00\x1a"]
    async with proxies(mariadb).connect() as client:
        await client.execute(f"SET sql_mode = '{mode}'")
        for text in hard:
            assert await client.fetch_value("SELECT %s", [text]) == text
            assert await client.fetch_value("SELECT HEX(%s)", [text.encode()]) == text.encode().hex().upper()
            assert await client.fetch_value("SELECT %s IN %s", [text, ("none", text)]) == 1
            assert await client.fetch_value("SELECT %s IN %s", [text, ["none", text.encode()]]) == 1
            assert await client.fetch_value("SELECT %s IN (%s)", [text, {text}]) == 1
        with pytest.raises(InvalidParameterValue, match="a dict cannot be one argument"):
            await client.fetch_value("SELECT %s", [{"a": 1}])


async def test_a_value_longer_than_a_packet_of_mysql(mariadb, proxies):
    """It was said that the server went away, or that the answer to a write was lost, though nothing was sent."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        most = await client.fetch_value("SELECT @@max_allowed_packet")
        room = most - len("SELECT LENGTH('')") - 2
        assert await client.fetch_value("SELECT LENGTH(%s)", ["x" * room]) == room
        for ask in (
            client.fetch_value("SELECT LENGTH(%s)", ["x" * (room + 1)]),
            client.execute(f"SELECT '{'x' * most}'"),
            client.executemany("INSERT INTO plain (a) VALUES (%s)", [["x"], ["x" * most]]),
        ):
            with pytest.raises(InvalidParameterValue, match="max_allowed_packet"):
                await ask
        assert proxy.statistics()["InterruptedConnections"] == 0


async def test_many_rows_are_sent_in_statements_that_fit(mariadb, proxies):
    async with proxies(mariadb).connect() as client:
        await client.execute("DROP TABLE IF EXISTS wide")
        await client.execute("CREATE TABLE wide (a INT, t LONGTEXT)")
        result = await client.executemany(
            "INSERT INTO wide (a, t) VALUES (%s, %s) ON DUPLICATE KEY UPDATE t = VALUES(t)",
            [(number, "x" * 100_000) for number in range(35)],
        )
        assert result.row_count == 35
        assert await client.fetch_one("SELECT count(*), sum(a), sum(LENGTH(t)) FROM wide") == (35, 595, 3_500_000)
        result = await client.executemany(
            "UPDATE wide SET t = %(t)s WHERE a = %(a)s", [{"a": 1, "t": "%"}, {"a": 2, "t": "'"}]
        )
        assert result.row_count == 2
        assert await client.fetch_all("SELECT t FROM wide WHERE a IN (1, 2) ORDER BY a") == [("%",), ("'",)]


@pytest.mark.parametrize("sql", ["", "  \n", ";", "-- nothing", "/* nothing */ ; ;"])
async def test_a_text_without_a_statement(postgres, proxies, sql):
    """It was CommitUnknown: 'NoneType' object has no attribute 'decode'."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client:
        for args in ((), None):
            with pytest.raises(InvalidParameterValue, match="no statement"):
                await client.execute(sql, args)
        with pytest.raises(InvalidParameterValue, match="no statement"):
            await client.fetch_all(sql)
        assert proxy.statistics()["InterruptedConnections"] == 0


async def test_a_character_that_postgresql_does_not_have(postgres, proxies):
    async with proxies(postgres).connect() as client:
        with pytest.raises(InvalidParameterValue, match=r"no character 0 \(at character 8\)"):
            await client.fetch_value("SELECT '\0'")
        with pytest.raises(DatabaseError, match="0x00"):
            await client.fetch_value("SELECT $1::text", ["\0"])


@pytest.mark.parametrize("value", ["'0044-03-15 BC'::date", "'20000-01-01'::timestamp", "'100000000 years'::interval"])
async def test_a_value_that_python_does_not_have(postgres, proxies, value):
    """It was said that the server went away; the connection was thrown away, and a read was repeated three times."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a INT)")
        for sql in (f"SELECT {value}", f"INSERT INTO plain VALUES (1) RETURNING {value}"):
            with pytest.raises(DatabaseError, match="the statement has run, but Python has no value"):
                await client.fetch_all(sql)
        assert await client.fetch_value("SELECT count(*) FROM plain") == 1
        assert await client.fetch_value(f"SELECT ({value})::text")
        assert proxy.statistics()["InterruptedConnections"] == 0


@pytest.mark.parametrize(
    "sql",
    [
        "COPY plain FROM STDIN",
        " /* rows */ copy plain from stdin with (format csv)",
        "COPY plain TO STDOUT",
        "-- all of it\nCOPY (SELECT 1) TO STDOUT",
        "/* rows /* of */ a table */ COPY plain FROM STDIN",
        "COPY plain FROM STDOUT",  # to the server it is the same word
        "COPY plain (a) TO STDIN",
    ],
)
async def test_a_copy_whose_rows_travel_beside_it(postgres, proxies, sql):
    """It hung for 18 s, and its connection was lost."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a TEXT)")
        for ask in (client.execute(sql), client.fetch_all(sql), client.execute(f"SELECT 1; {sql}")):
            with pytest.raises(InvalidParameterValue, match="copy_from and client.copy_to"):
                await ask
        assert await client.execute("INSERT INTO plain VALUES ('; COPY plain FROM STDIN')")
        assert proxy.statistics()["InterruptedConnections"] == 0
