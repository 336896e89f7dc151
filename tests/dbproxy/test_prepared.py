"""What PostgreSQL has prepared on a connection is shared by all who mean the same by its text, and by nobody else."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa
from db_chaos import Chaos

from forebay.dbproxy.sqlalchemy import create_async_engine
from forebay.errors import DatabaseError


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


async def at_the_server(proxy, question):
    """Ask over the one connection there is, beside the proxy: a client that asks this is shown nothing of what others prepared."""
    (db,) = proxy._cluster.pools[0].connections
    return await db.wire.raw.fetch(question)


async def prepared_at(proxy):
    """Count what is prepared at the server over the one connection there is."""
    ((count,),) = await at_the_server(proxy, "SELECT count(*) FROM pg_prepared_statements")
    return count


@pytest.fixture(params=["sqlalchemy", "client"])
def transaction(request, postgres, proxies):
    """Begin a transaction on the one connection there is, in either way to it."""
    proxy = proxies(postgres, maximum_connections=1, clean_functions=("prepared_names",))
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
    proxy = proxies(postgres, maximum_connections=1)
    engine = create_async_engine(proxy)
    prepared = "SELECT name, prepare_time FROM pg_prepared_statements WHERE statement LIKE '%AS number'"
    found = []
    for number in range(3):
        async with engine.connect() as connection:
            asked = sa.select(sa.literal(number).label("number"))
            assert await connection.scalar(asked) == number
        found.append(await at_the_server(proxy, prepared))
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
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_a_chained_transaction_has_none_of_the_local_settings_of_the_one_before(
    change, end, tenants, transaction
):
    """AND CHAIN: they were held for settings of the next one."""
    stays = end == "COMMIT" and change.startswith("SET search_path")
    for _ in range(2):
        async with transaction() as one:
            await one.do(change.format("int"))
            assert await one.value("SELECT * FROM staging") == 1
            await one.do(f"{end} AND CHAIN")
            found = await one.value("SELECT * FROM staging")
            assert (type(found), found) == ((int, 1) if stays else (float, 1.0))


UNDONE = [
    ["ROLLBACK", "BEGIN"],
    ["COMMIT", "BEGIN"],
    ["ROLLBACK AND CHAIN"],
    ["ROLLBACK TO before"],
    ["DROP TABLE staging"],
]


@pytest.mark.parametrize("adapter", [True, False], ids=["sqlalchemy", "client"])
@pytest.mark.parametrize("undone", UNDONE)
async def test_what_was_prepared_beside_a_temporary_table_goes_with_it(undone, adapter, tenants, postgres, proxies):
    """The table of the same name that was there before was "cached plan must not change result type"."""
    proxy = proxies(postgres, maximum_connections=1)
    made = ["SAVEPOINT before", "CREATE TEMP TABLE staging ON COMMIT DROP AS SELECT 1 AS a"]
    async with create_async_engine(proxy).connect() if adapter else proxy.connect() as connection:
        one = Alchemy(connection) if adapter else Own(connection)
        for _ in range(2):
            for statement in made if adapter else ["BEGIN", *made]:
                await one.do(statement)
            assert await one.value("SELECT * FROM staging") == 1
            for statement in undone:
                if not adapter or statement not in {"BEGIN", "COMMIT", "ROLLBACK"}:
                    await one.do(statement)
                elif statement != "BEGIN":
                    await getattr(connection, statement.lower())()
            found = await one.value("SELECT * FROM staging")
            assert (type(found), found) == (float, 1.0)
            await (connection.rollback() if adapter else connection.execute("ROLLBACK"))


async def test_each_change_that_cannot_be_compared_has_statements_of_its_own(transaction):
    """A second one was taken for the first, and a literal read by the time zone before."""
    asked = "SELECT extract(epoch FROM '1970-01-01 00:00'::timestamptz)::int / 3600"
    async with transaction() as one:
        for zone, hour in (("UTC", 0), ("Asia/Tokyo", -9), ("UTC", 0)):
            await one.do(f"SELECT set_config('TimeZone', '{zone}', false)")
            assert await one.value(asked) == hour


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


@pytest.mark.parametrize("change", ["SET LOCAL work_mem TO '7MB'", "SELECT set_config('work_mem', '7MB', true)"])
async def test_a_setting_for_a_transaction_ends_with_it_and_shares_if_it_can_be_read(change, transaction, postgres):
    """Each transaction under the same role prepared its statements anew. It is not a cause for a reset."""
    names = "SELECT string_agg(name, ' ' ORDER BY prepare_time) FROM pg_prepared_statements WHERE statement LIKE '%AS again'"
    # To ask without it would be a cause: the view has the texts of others. So somebody vouches for the function.
    postgres.sql(f"CREATE OR REPLACE FUNCTION prepared_names() RETURNS text STABLE LANGUAGE sql AS $${names}$$")
    prepared = "SELECT prepared_names()"
    owns = set()
    shared = ""
    for _ in range(3):
        async with transaction() as one:
            assert await one.value("SELECT 1 AS again") == 1
            shared = shared or await one.value(prepared)
        async with transaction() as one:
            await one.do(change)
            assert await one.value("SELECT 1 AS again") == 1
            first, *_, own = (await one.value(prepared)).split()
            assert first == shared != own
            owns.add(own)
    assert len(owns) == (1 if change.startswith("SET LOCAL") else 3)
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
        counts.append(await prepared_at(transaction.proxy))
    assert max(counts) < 20
    assert counts[10:] == [counts[10]] * 30


async def test_the_statement_used_longest_ago_is_closed_when_there_are_too_many(transaction):
    async with transaction() as one:
        for number in range(300):
            assert await one.value(f"SELECT {number}") == number
        assert await prepared_at(transaction.proxy) <= 225


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
    for _ in range(3):
        with pytest.raises(sa.exc.DBAPIError if isinstance(one, Alchemy) else DatabaseError, match="invalid input for"):
            async with transaction() as one:
                await one.value("SELECT $1::int", 99_999_999_999)
    assert await prepared_at(transaction.proxy) >= 30
    async with transaction() as one:
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


LONG = f"/* {'x' * 20_000} */"  # asyncpg keeps no text above 15 KiB


async def test_a_refused_argument_of_a_text_too_long_to_be_kept_drops_nothing(transaction):
    """It dropped the statement before it, which was somebody else's."""
    asked = "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT 42'"
    async with transaction() as one:
        assert await one.value("SELECT 42") == 42
    before = await at_the_server(transaction.proxy, asked)
    assert len(before) == 1
    with pytest.raises(sa.exc.DBAPIError if isinstance(one, Alchemy) else DatabaseError, match="invalid input for"):
        async with transaction() as one:
            await one.value(f"SELECT $1::int {LONG}", 99_999_999_999)
    async with transaction() as one:
        assert await one.value("SELECT 42") == 42
    assert await at_the_server(transaction.proxy, asked) == before


async def test_a_text_too_long_to_be_kept_runs_where_others_are_to_be_closed(tenants, transaction):
    """It has no name at the server, which forgets it over any other text, and there may be a type to be asked for."""
    for _ in range(2):
        async with transaction() as one:
            await one.do("SELECT set_config('work_mem', '7MB', true)")
            for number in range(30):
                assert await one.value(f"SELECT {number}") == number
        async with transaction() as one:
            assert await one.value(f"SELECT $1::state::text {LONG}", "on") == "on"
            assert await one.value(f"SELECT $1::int {LONG}", 5) == 5


async def test_what_was_prepared_of_a_text_too_long_to_be_kept_is_closed(postgres, proxies):
    """SQLAlchemy and a stream give it a name: one of each execution was left, as long as the connection lived."""
    proxy = proxies(postgres, maximum_connections=1)
    engine = create_async_engine(proxy)
    counts = []
    for number in range(40):
        async with engine.begin() as connection:
            assert await connection.scalar(sa.text(f"SELECT {number} {LONG}")) == number
        async with proxy.connect() as client, client.transaction():
            assert [row[0] async for row in client.stream(f"SELECT {number} {LONG}")] == [number]
            assert await client.fetch_value(f"SELECT {number} {LONG}") == number
            counts.append(await prepared_at(proxy))
            left = len(client._borrower.held.wire.raw._stmts_to_close)
    assert max(counts) < 30
    assert left < 30


async def test_a_failed_transaction_goes_back_to_a_savepoint_where_statements_are_to_be_closed(transaction):
    """They cannot be closed before that."""
    for _ in range(2):
        async with transaction() as one:
            await one.do("SAVEPOINT before")
            await one.do("SELECT set_config('work_mem', '7MB', true)")
            for number in range(30):
                assert await one.value(f"SELECT {number}") == number
            with pytest.raises((sa.exc.DBAPIError, DatabaseError), match="division by zero"):
                await one.value("SELECT 1/0")
            await one.do("ROLLBACK TO before")
            assert await one.value("SELECT 42") == 42
            assert await prepared_at(transaction.proxy) < 30


async def test_nobody_waits_for_the_statements_of_another_to_be_closed_one_by_one(postgres, proxies):
    """The next client's first new statement paid a round trip for each of them, and was out of time."""
    async with Chaos(postgres.port) as chaos:
        proxy = proxies(postgres.url.replace(str(postgres.port), str(chaos.port)), maximum_connections=1)
        async with proxy.connect() as one, proxy.connect() as two:
            async with one.transaction():
                await one.execute("SELECT set_config('work_mem', '7MB', true)")
                for number in range(150):
                    assert await one.fetch_value(f"SELECT {number}") == number
            chaos.delay = 0.02
            assert await two.fetch_value("SELECT 'new'", timeout=1.5) == "new"
            assert await prepared_at(proxy) < 20
