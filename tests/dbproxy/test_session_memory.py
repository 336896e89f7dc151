"""What a session remembers of the statements before, such as the last key: no client is told what others did."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from forebay.dbproxy.sqlalchemy import create_async_engine
from forebay.errors import DatabaseError, DBProxyError


async def answer(client, sql):
    """Give what a question shows: a value, the server's error, or that the proxy refuses it."""
    try:
        return await client.fetch_value(sql)
    except DatabaseError as error:
        return f"error {error.code}"
    except DBProxyError as error:
        return type(error).__name__


MARIADB = {
    "the last key": ("INSERT INTO {} (n) VALUES (2)", "SELECT LAST_INSERT_ID()", 0),
    "a warning": ("SELECT CAST('s3cret' AS SIGNED)", "SHOW WARNINGS", None),
    "an error": ("SELECT * FROM s3cret", "SHOW WARNINGS", None),
}


@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION READ ONLY", "SET autocommit = 0", "SET @mine = 1"])
@pytest.mark.parametrize("kind", MARIADB)
async def test_a_client_of_mariadb_that_keeps_its_connection_is_told_nothing_of_others(kind, begin, mariadb, proxies):
    """A transaction began on whatever connection was free: its LAST_INSERT_ID() was another client's key."""
    left, asked, nothing = MARIADB[kind]
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute("CREATE OR REPLACE TABLE remembered (id INT AUTO_INCREMENT PRIMARY KEY, n INT)")
        assert await two.fetch_value("SELECT 1") == 1
        await answer(one, left.format("remembered"))
        await two.execute(begin)
        assert await answer(two, asked) == nothing
        await two.execute("ROLLBACK")


async def test_a_key_is_the_transactions_own(mariadb, proxies):
    """Whoever asks in the transaction that made it is told; an INSERT that made none does not show another's."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute("CREATE OR REPLACE TABLE kept (id INT AUTO_INCREMENT PRIMARY KEY, n INT UNIQUE)")
        await two.execute("INSERT INTO kept (n) VALUES (1)")
        await one.execute("INSERT INTO kept (n) VALUES (2)")
        async with two.transaction():
            await two.execute("INSERT IGNORE INTO kept (n) VALUES (1)")
            assert await two.fetch_value("SELECT LAST_INSERT_ID()") == 0
            made = await two.execute("INSERT INTO kept (n) VALUES (3)")
            assert await two.fetch_value("SELECT LAST_INSERT_ID()") == made.last_insert_id


POSTGRES = {
    "the last value": ("SELECT nextval('remembered')", "SELECT lastval()"),
    "a sequence's value": ("SELECT nextval('remembered')", "SELECT currval('remembered')"),
    "a key": ("INSERT INTO keys DEFAULT VALUES", "SELECT lastval()"),
}


@pytest.mark.parametrize(
    "begin", ["BEGIN", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE", "CREATE TEMP TABLE own ()"]
)
@pytest.mark.parametrize("kind", POSTGRES)
async def test_a_client_of_postgresql_that_keeps_its_connection_is_told_nothing_of_others(
    kind, begin, postgres, proxies
):
    """A transaction began on whatever connection was free: its lastval() was another client's."""
    left, asked = POSTGRES[kind]
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        for made in ("SEQUENCE remembered", "TABLE keys (id serial)"):
            await one.execute(f"DROP {made.partition(' (')[0].replace(' ', ' IF EXISTS ', 1)}")
            await one.execute(f"CREATE {made}")
        assert one.pins == ()
        assert await two.fetch_value("SELECT 1") == 1
        await answer(one, left)
        await two.execute(begin)
        assert await answer(two, asked) == "error 55000"


BELIEVED = {
    "plpgsql": 'plpgsql STABLE AS $$DECLARE told bigint; BEGIN SELECT pg_catalog."lastval"() INTO told; RETURN told; END$$',
    "sql": "sql IMMUTABLE AS 'SELECT LASTVAL()'",
    "a body": "sql STABLE BEGIN ATOMIC SELECT lastval(); END",
    "a view": "sql STABLE AS 'SELECT a FROM believed_view'",
    "another function": """sql STABLE AS 'SELECT "Gläubig" /**/ + 0 FROM (SELECT believed_bälow() AS "Gläubig") AS t'""",
}


@pytest.mark.parametrize("kind", BELIEVED)
async def test_a_function_that_is_called_stable_is_looked_into(kind, postgres, proxies):
    """It was believed, and told another client's last value."""
    postgres.sql("DROP FUNCTION IF EXISTS believed, believed_bälow; DROP SEQUENCE IF EXISTS told; CREATE SEQUENCE told")
    postgres.sql("GRANT ALL ON SEQUENCE told TO app")
    postgres.sql("CREATE FUNCTION believed_bälow() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT lastval()'")
    postgres.sql("CREATE OR REPLACE VIEW believed_view AS SELECT lastval() AS a; GRANT ALL ON believed_view TO app")
    postgres.sql(f"CREATE FUNCTION believed() RETURNS bigint LANGUAGE {BELIEVED[kind]}")
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        assert await two.fetch_value("SELECT 1") == 1
        await one.fetch_value("SELECT nextval('told')")
        assert await answer(two, "SELECT believed()") == "error 55000"
        assert two.pins


LYING = "STABLE AS $$BEGIN PERFORM set_config('work_mem', '7MB', false); {end} END$$"
RETURNS = {"a trigger": ("() RETURNS trigger", "RETURN NEW;"), "a cast": ("(lying_pair) RETURNS int", "RETURN 1;")}
OPERATOR = "CREATE OPERATOR ~~~~ (LEFTARG = int, RIGHTARG = int, FUNCTION = lying)"
TRIGGER = "CREATE TRIGGER lies BEFORE INSERT ON lying_rows FOR EACH ROW"
QUIET = "CREATE FUNCTION lying_quiet() RETURNS trigger LANGUAGE plpgsql STABLE AS 'BEGIN RETURN NEW; END'"
BEHIND = {
    "an operator": (OPERATOR, "SELECT 1 ~~~~ 2"),
    "an operator in a function": (
        f"{OPERATOR}; CREATE FUNCTION lying_caller() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1 ~~~~ 2'",
        "SELECT lying_caller()",
    ),
    "a cast": ("CREATE CAST (lying_pair AS int) WITH FUNCTION lying(lying_pair)", "SELECT ROW(1, 2)::lying_pair::int"),
    "an aggregate": ("CREATE AGGREGATE lying_sum(int) (SFUNC = lying, STYPE = int)", "SELECT lying_sum(1)"),
    "a trigger": (
        f"{TRIGGER} EXECUTE FUNCTION lying()",
        "INSERT INTO lying_rows VALUES (1)",
    ),
    "the condition of a trigger": (
        f"{QUIET}; {TRIGGER} WHEN (lying(1, 2) > 0) EXECUTE FUNCTION lying_quiet()",
        "INSERT INTO lying_rows VALUES (1)",
    ),
    "an index": ("CREATE INDEX ON lying_rows (lying(a, a))", "INSERT INTO lying_rows VALUES (1)"),
    "a part of an index": ("CREATE INDEX ON lying_rows (a) WHERE lying(a, a) > 0", "INSERT INTO lying_rows VALUES (1)"),
    "the server's own code": (
        "CREATE FUNCTION lying_code(text, text, bool) RETURNS text LANGUAGE internal STABLE AS 'set_config_by_name'",
        "SELECT lying_code('work_mem', '7MB', false)",
    ),
}


@pytest.mark.parametrize("kind", BEHIND)
async def test_a_function_that_no_word_calls_is_looked_into(kind, postgres, proxies):
    """One that was called stable was believed there, and what it set was another client's setting."""
    made, run = BEHIND[kind]
    takes, end = RETURNS.get(kind, ("(int, int) RETURNS int", "RETURN 1;"))
    body = LYING.format(end=end).replace("STABLE", "IMMUTABLE" if "index" in kind else "STABLE")
    postgres.sql(f"CREATE TYPE lying_pair AS (a int, b int); CREATE FUNCTION lying{takes} LANGUAGE plpgsql {body}")
    postgres.sql(f"CREATE TABLE lying_rows (a int); GRANT ALL ON lying_rows TO app; {made}")
    proxy = proxies(postgres, maximum_connections=1)
    try:
        async with proxy.connect() as one, proxy.connect() as two:
            default = await two.fetch_value("SHOW work_mem")
            await one.fetch_value(run)
            assert one.pins
            await one.close()
            assert await two.fetch_value("SHOW work_mem") == default
    finally:
        postgres.sql("DROP TABLE lying_rows; DROP FUNCTION lying CASCADE; DROP TYPE lying_pair CASCADE")
        postgres.sql("DROP FUNCTION IF EXISTS lying_caller, lying_code, lying_quiet")


async def test_a_stable_function_that_leaves_nothing_does_not_pin(postgres, proxies):
    """What it reads is looked up once, and what somebody vouches for is not looked into."""
    postgres.sql("DROP FUNCTION IF EXISTS honest, vouched_for, volatile_one")
    postgres.sql("CREATE FUNCTION volatile_one() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'")
    postgres.sql(
        "CREATE FUNCTION honest(a int) RETURNS int LANGUAGE plpgsql STABLE AS $$DECLARE b int; BEGIN "
        "SELECT count(*) INTO b FROM pg_class AS volatile_one WHERE random() < 2; -- the setseed\n RETURN a + b; END$$"
    )
    postgres.sql(
        "CREATE FUNCTION vouched_for() RETURNS text LANGUAGE sql STABLE AS 'SELECT set_config(''a.b'', ''c'', true)'"
    )
    proxy = proxies(postgres, maximum_connections=1, clean_functions=("public.vouched_for",))
    async with proxy.connect() as one:
        assert await one.fetch_value("SELECT honest(1)") > 1
        assert await one.fetch_value("SELECT vouched_for()") == "c"
        assert one.pins == ()


async def test_a_range_over_a_domain_does_not_pin_what_does_not_use_it(postgres, proxies):
    """The cast that comes with a range type was taken for one that checks the domain: every statement pinned."""
    check = "LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN a > 0; END'"
    postgres.sql(f"CREATE FUNCTION ranged_check(a int) RETURNS boolean {check}")
    postgres.sql(
        "CREATE DOMAIN ranged AS int CHECK (ranged_check(VALUE)); CREATE TYPE ranges AS RANGE (subtype = ranged)"
    )
    try:
        async with proxies(postgres, maximum_connections=1).connect() as one:
            assert await one.fetch_value("SELECT length('four') + 1") == 5
            assert one.pins == ()
            assert await one.fetch_value("SELECT '[1,2]'::ranges::text") == "[1,2]"
            assert one.pins
    finally:
        postgres.sql("DROP TYPE ranges; DROP DOMAIN ranged; DROP FUNCTION ranged_check")


async def test_the_texts_of_others_are_not_shown_in_a_transaction(postgres, proxies):
    """`pg_prepared_statements` has the texts that the driver has prepared, with the values that stand in them."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        for _ in range(2):
            assert await one.fetch_value("SELECT 's3cret of one'::text") == "s3cret of one"
        async with two.transaction():
            shown = await two.fetch_all("SELECT statement FROM pg_prepared_statements")
            assert not [row for row in shown if "s3cret" in row["statement"]]


async def test_a_pinned_client_is_not_told_the_sequence_values_of_others(mariadb, proxies):
    """What took a value was not noted, and whoever kept the connection next was told the value."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute("CREATE OR REPLACE SEQUENCE told_values")
        assert await one.fetch_value("SELECT NEXTVAL(told_values)") == 1
        await two.execute("CREATE TEMPORARY TABLE told_rows (a INT)")
        assert await two.fetch_value("SELECT LASTVAL(told_values)") is None


async def test_an_adapters_connection_remembers_nothing_of_others(mariadb, proxies):
    """SQLAlchemy borrows for each transaction: what it asked of the session was another client's."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as one:
        await one.execute("CREATE OR REPLACE TABLE lent (id INT AUTO_INCREMENT PRIMARY KEY, n INT)")
        engine = create_async_engine(proxy)
        async with engine.connect() as two:
            assert await two.scalar(sa.text("SELECT 1")) == 1
        await one.execute("INSERT INTO lent (n) VALUES (5)")
        async with engine.connect() as two:
            assert await two.scalar(sa.text("SELECT LAST_INSERT_ID()")) == 0
        await engine.dispose()
