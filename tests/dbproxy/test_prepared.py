"""What PostgreSQL has prepared on a connection is shared by all who mean the same by its text, and by nobody else."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa

from forebay.dbproxy.sqlalchemy import create_async_engine
from forebay.errors import DatabaseError

PREPARED = "SELECT count(*) FROM pg_prepared_statements"


class Own:
    """A transaction of one of the proxy's own clients."""

    def __init__(self, client):
        self.value = self.do = lambda text, *values: client.fetch_value(text, values)
        self.many = lambda text, *values: client.executemany(text, [[value] for value in values])


class Alchemy:
    """A transaction of SQLAlchemy's."""

    def __init__(self, connection):
        self.connection = connection

    async def value(self, text, *values):
        return await self.connection.scalar(*self.asked(text, *values))

    async def do(self, text, *values):
        await self.connection.execute(*self.asked(text, *values))

    async def many(self, text, *values):
        await self.connection.execute(sa.text(text.replace("$1", ":a")), [{"a": value} for value in values])

    @staticmethod
    def asked(text, *values):
        return sa.text(text.replace("$1", ":a").replace("::", r"\:\:")), *[{"a": value} for value in values]


@pytest.fixture(params=["sqlalchemy", "client"])
def transaction(request, postgres, proxies):
    """Begin a transaction on the one connection there is, in either way to it."""
    proxy = proxies(postgres, maximum_connections=1)
    engine = create_async_engine(proxy)

    @contextlib.asynccontextmanager
    async def begun():
        if request.param == "sqlalchemy":
            async with engine.begin() as connection:
                yield Alchemy(connection)
        else:
            async with proxy.connect() as client, client.transaction():
                yield Own(client)

    begun.proxy = proxy
    return begun


@pytest.fixture
def tenants(postgres):
    """Schemas in which one name is another table, with a type of its own."""
    for schema, kind in (("public", "float"), ("tenant_int", "int"), ("tenant_text", "text")):
        postgres.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}; CREATE TABLE {schema}.staging AS SELECT '1'::{kind} AS a")
        postgres.sql(f"CREATE TYPE {schema}.state AS ENUM ('on'); CREATE TABLE {schema}.states (a {schema}.state)")
        postgres.sql(f"GRANT ALL ON SCHEMA {schema} TO app; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO app")
    yield
    postgres.sql("DROP SCHEMA tenant_int, tenant_text CASCADE; DROP TABLE staging, states; DROP TYPE state")


async def test_a_statement_is_prepared_once_for_all_who_share_a_connection(postgres, proxies):
    """Each loan prepared its statements anew, and closed them at the next: five round trips where three do."""
    engine = create_async_engine(proxies(postgres, maximum_connections=1))
    prepared = sa.text("SELECT name, prepare_time FROM pg_prepared_statements WHERE statement LIKE '%AS number'")
    found = []
    for number in range(3):
        async with engine.connect() as connection:
            asked = sa.select(sa.literal(number).label("number"))
            assert await connection.scalar(asked) == number
            found.append((await connection.execute(prepared)).all())
    assert [len(rows) for rows in found] == [1, 1, 1]
    assert found[0] == found[2]


async def test_a_statement_that_went_stale_is_prepared_anew_on_every_connection(postgres, proxies):
    """A table was altered by somebody else: one is told, and then no connection uses what it had prepared before."""
    engine = create_async_engine(proxies(postgres, maximum_connections=2))
    postgres.sql("CREATE TABLE aging (a INT); INSERT INTO aging VALUES (1); GRANT ALL ON aging TO app")
    asked = sa.text("SELECT a FROM aging")
    async with engine.connect() as one, engine.connect() as two:
        assert [await one.scalar(asked), await two.scalar(asked)] == [1, 1]
    postgres.sql("ALTER TABLE aging ALTER a TYPE TEXT")
    async with engine.connect() as one:
        with pytest.raises(sa.exc.NotSupportedError, match="cached statement plan is invalid"):
            await one.scalar(asked)
    async with engine.connect() as one, engine.connect() as two:
        assert [await one.scalar(asked), await two.scalar(asked)] == ["1", "1"]
    async with engine.connect() as one, engine.connect() as two:
        assert [await one.scalar(asked), await two.scalar(asked)] == ["1", "1"]
    postgres.sql("DROP TABLE aging")


TENANTS = [
    "SET search_path TO tenant_{}",
    "SET LOCAL search_path TO tenant_{}",
    "SELECT set_config('search_path', 'tenant_{}', true)",
]
TEMPORARY = "CREATE TEMP TABLE staging AS SELECT '1'::{} AS a"
CHANGES = [*TENANTS, TEMPORARY]
SESSIONS = [
    *zip(CHANGES, CHANGES, strict=True),
    (TENANTS[0], TENANTS[1]),
    *[pair for change in CHANGES for pair in (("", change), (change, ""))],
]


@pytest.mark.parametrize("changes", SESSIONS)
async def test_a_statement_that_means_another_table_in_the_next_session_is_prepared_anew(changes, tenants, transaction):
    """Nobody had changed a schema, and it was "cached statement plan is invalid", with the transaction aborted."""
    for _ in range(2):
        for change, kind, value in zip(changes, ("int", "text"), (1, "1"), strict=True):
            async with transaction() as one:
                if change:
                    await one.do(change.format(kind))
                found = await one.value("SELECT * FROM staging")
            assert (type(found), found) == ((type(value), value) if change else (float, 1.0))


@pytest.mark.parametrize("change", TENANTS)
async def test_a_statement_may_mean_one_table_after_the_other_in_one_transaction(change, tenants, transaction):
    """For each tenant in turn: the second one's statement failed, and took the transaction along."""
    async with transaction() as one:
        assert await one.value("SELECT * FROM staging") == 1.0
        await one.do("SAVEPOINT before")
        for kind, value in (("int", 1), ("text", "1"), ("int", 1)):
            await one.do(change.format(kind))
            assert await one.value("SELECT * FROM staging") == value
            await one.many("INSERT INTO states VALUES ($1)", "on")
        await one.do("ROLLBACK TO before")
        found = await one.value("SELECT * FROM staging")
        assert (type(found), found) == (float, 1.0)


@pytest.mark.parametrize("change", TENANTS)
async def test_many_rows_go_where_the_session_means(change, tenants, transaction):
    """A type of the schema before it was expected in each turn, for nothing dropped the statement."""
    for _ in range(3):
        for kind in ("int", "text"):
            async with transaction() as one:
                await one.do(change.format(kind))
                await one.many("INSERT INTO states VALUES ($1)", "on", "on")
                await one.do("INSERT INTO states VALUES ($1)", "on")
    async with transaction() as one:
        for schema, rows in (("tenant_int", 9), ("tenant_text", 9), ("public", 0)):
            assert await one.value(f"SELECT count(*) FROM {schema}.states") == rows


async def test_a_setting_for_a_transaction_ends_with_it_and_so_does_what_was_prepared_under_it(transaction):
    """It is no cause for a reset, and the next transaction shares again."""
    prepared = "SELECT string_agg(name, ' ' ORDER BY prepare_time) FROM pg_prepared_statements WHERE statement LIKE '%AS again'"
    shared = ""
    for _ in range(3):
        async with transaction() as one:
            assert await one.value("SELECT 1 AS again") == 1
            shared = shared or await one.value(prepared)
        async with transaction() as one:
            await one.do("SET LOCAL work_mem TO '7MB'")
            assert await one.value("SELECT 1 AS again") == 1
            first, own = (await one.value(prepared)).split()
            assert first == shared != own
    assert transaction.proxy.counters.resets == 0


async def test_a_literal_is_read_by_the_clients_own_settings(postgres, proxies):
    """A prepared statement has read its literals: one client was told the hour of another one's time zone."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        await two.execute("SET TimeZone TO 'Asia/Tokyo'")
        for _ in range(2):
            for client, hour in ((one, 0), (two, -9)):
                asked = "SELECT extract(epoch FROM '1970-01-01 00:00'::timestamptz)::int / 3600"
                assert await client.fetch_value(asked) == hour


@pytest.mark.parametrize("change", ["SET TimeZone TO 'Asia/Tokyo'", "SET LOCAL search_path TO public", "SELECT 1"])
async def test_no_statement_is_left_at_the_server(change, transaction):
    """One of each text was, for each loan that had changed its session, as long as the connection lived."""
    async with transaction() as one:
        await one.value("SELECT 42")
    counts = []
    for _ in range(40):
        async with transaction() as one:
            await one.do(change)
            assert await one.value("SELECT 42") == 42
        async with transaction() as one:
            counts.append(await one.value(PREPARED))
    assert max(counts) < 20
    assert counts[10:] == [counts[10]] * 30


async def test_the_statement_used_longest_ago_is_closed_when_there_are_too_many(transaction):
    async with transaction() as one:
        for number in range(300):
            assert await one.value(f"SELECT {number}") == number
        assert await one.value(PREPARED) <= 202


async def test_a_setting_does_not_take_the_statement_out_of_the_hands_of_who_uses_it(postgres, proxies):
    """SQLAlchemy keeps what it has prepared for as long as it keeps the connection."""
    engine = create_async_engine(proxies(postgres, maximum_connections=1))
    for _ in range(2):
        async with engine.begin() as connection:
            assert await connection.scalar(sa.text("SELECT 42")) == 42
            await connection.execute(sa.text("SET TimeZone TO 'Asia/Tokyo'"))
            assert await connection.scalar(sa.text("SELECT 42")) == 42


@pytest.mark.parametrize("adapter", [True, False], ids=["sqlalchemy", "client"])
async def test_a_parameter_whose_column_was_altered_is_refused_once(adapter, postgres, proxies):
    """asyncpg refused every argument of the new type, without asking the server, for as long as the connection lived."""
    proxy = proxies(postgres, maximum_connections=1)
    engine = create_async_engine(proxy)
    postgres.sql("CREATE TABLE altered (a INT); GRANT ALL ON altered TO app")

    async def insert(value):
        if adapter:
            async with engine.begin() as connection:
                await connection.execute(sa.text("INSERT INTO altered VALUES (:a)"), {"a": value})
        else:
            async with proxy.connect() as client:
                await client.execute("INSERT INTO altered VALUES ($1)", [value])

    await insert(1)
    postgres.sql("ALTER TABLE altered ALTER a TYPE TEXT")
    with pytest.raises(sa.exc.DBAPIError if adapter else DatabaseError, match="invalid input for query"):
        await insert("one")
    await insert("two")
    async with proxy.connect() as client:
        assert await client.fetch_value("SELECT array_agg(a) FROM altered") == ["1", "two"]
        assert proxy.statistics()["DatabaseConnectionsSetupSucceeded"] == 1
    postgres.sql("DROP TABLE altered")


async def test_a_wrong_argument_drops_no_statement_but_its_own(transaction):
    """An endpoint that was fed with numbers too large cost every other client what the connection had prepared."""
    async with transaction() as one:
        for number in range(30):
            assert await one.value(f"SELECT {number}") == number
        assert await one.value("SELECT $1::int", 5) == 5
    before = "SELECT count(*) FROM pg_prepared_statements WHERE prepare_time < now()"
    for _ in range(3):
        with pytest.raises(sa.exc.DBAPIError if isinstance(one, Alchemy) else DatabaseError, match="invalid input for"):
            async with transaction() as one:
                await one.value("SELECT $1::int", 99_999_999_999)
    async with transaction() as one:
        assert await one.value(before) >= 30
        assert await one.value("SELECT $1::int", 5) == 5


async def test_a_refused_argument_is_taken_when_it_is_tried_again_in_the_same_transaction(postgres, transaction):
    """SQLAlchemy held on to the old statement for as long as it held the connection."""
    postgres.sql("CREATE TABLE altered (a INT); GRANT ALL ON altered TO app")
    async with transaction() as one:
        await one.do("INSERT INTO altered VALUES ($1)", 1)
    postgres.sql("ALTER TABLE altered ALTER a TYPE TEXT")
    async with transaction() as one:
        with pytest.raises(sa.exc.DBAPIError if isinstance(one, Alchemy) else DatabaseError, match="invalid input for"):
            await one.do("INSERT INTO altered VALUES ($1)", "one")
        await one.do("INSERT INTO altered VALUES ($1)", "two")
    async with transaction() as one:
        with pytest.raises(sa.exc.DBAPIError if isinstance(one, Alchemy) else DatabaseError, match="invalid input for"):
            await one.many("INSERT INTO altered VALUES ($1)", 3)
        await one.many("INSERT INTO altered VALUES ($1)", "three")
        assert await one.value("SELECT string_agg(a, ' ') FROM altered") == "1 two three"
    postgres.sql("DROP TABLE altered")


async def test_a_composite_type_that_was_altered_is_asked_for_again(postgres, transaction):
    postgres.sql("CREATE TYPE pair AS (a INT, b INT); CREATE TABLE pairs (a pair); GRANT ALL ON pairs TO app")
    async with transaction() as one:
        await one.do("INSERT INTO pairs VALUES ($1)", (1, 2))
    postgres.sql("ALTER TYPE pair ADD ATTRIBUTE c INT")
    with pytest.raises(sa.exc.DBAPIError if isinstance(one, Alchemy) else DatabaseError, match="invalid input for"):
        async with transaction() as one:
            await one.do("INSERT INTO pairs VALUES ($1)", (1, 2, 3))
    async with transaction() as one:
        await one.do("INSERT INTO pairs VALUES ($1)", (1, 2, 3))
    postgres.sql("DROP TABLE pairs; DROP TYPE pair")
