"""What a statement hides from who reads it: its next client sees nothing of it, and its own client keeps it.

Each case was a leak. The questions are the same for all of them: work_mem on PostgreSQL, @x on MariaDB.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from forebay._core import StatementJudge
from forebay.dbproxy.effect import Effect
from forebay.errors import BorrowTimeout, ConnectionLost, DatabaseError, DatabaseUnavailable

SETS = "set_config('work_mem', '7MB', false)"
QUOTED = SETS.replace("'", "''")
FUNCTION = f"CREATE FUNCTION evil() RETURNS text LANGUAGE sql VOLATILE AS $$SELECT {SETS}$$"
TRIGGER = f"CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM {SETS}; RETURN NEW; END$$"
CHECK = f"CREATE FUNCTION evil({{}}) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$BEGIN PERFORM {SETS}; RETURN true; END$$"
DOMAIN = [CHECK.format("int"), "CREATE DOMAIN evil_domain AS int CHECK (evil(VALUE))"]
OPERATOR = "CREATE OPERATOR {} (LEFTARG = evil_pair, RIGHTARG = evil_pair, FUNCTION = evil)"
OPERATORS = [
    "CREATE TYPE evil_pair AS (a int, b int)",
    CHECK.format("evil_pair, evil_pair"),
    *[OPERATOR.format(sign) for sign in ("=", "<=", ">=", "~~")],
    "CREATE TABLE evil_table (p evil_pair)",
    "INSERT INTO evil_table VALUES ('(1,2)')",
]
FOREIGN = [FUNCTION, "CREATE TABLE evil_table (a text)"]
SWEEP = {
    "postgresql": [
        "DROP TABLE IF EXISTS evil_table CASCADE",
        "DROP TYPE IF EXISTS evil_pair CASCADE",
        "DROP DOMAIN IF EXISTS evil_domain CASCADE",
        "DROP ROUTINE IF EXISTS evil CASCADE",
        "DROP ROUTINE IF EXISTS evil_stable CASCADE",
    ],
    "mysql": [
        "DROP VIEW IF EXISTS `text`",
        "DROP TABLE IF EXISTS evil_table, `date`",
        *[f"DROP FUNCTION IF EXISTS {name}" for name in ("evil", "any_value", "rollup", "inet4")],
        "DROP SEQUENCE IF EXISTS evil_numbers",
    ],
}


class Case(NamedTuple):
    """What makes a session another one, in one statement or several, after what somebody else has made."""

    statements: list[str]
    setup: list[str] = []


POSTGRES = {
    "a function that its own text makes": Case([f"{FUNCTION}; SELECT evil()"]),
    "a function that its own text makes in a transaction": Case([f"BEGIN; {FUNCTION}; SELECT evil(); COMMIT"]),
    "a table that its own text makes of it": Case([f"{FUNCTION}; CREATE TABLE evil_table AS SELECT evil()"]),
    "a trigger that its own text makes": Case(
        [
            (
                "CREATE TRIGGER evil BEFORE INSERT ON evil_table FOR EACH ROW EXECUTE FUNCTION evil();"
                " INSERT INTO evil_table VALUES (1)"
            )
        ],
        [TRIGGER, "CREATE TABLE evil_table (a int)"],
    ),
    **{
        f"an operator behind {name}": Case([statement], OPERATORS)
        for name, statement in {
            "IN": "SELECT p IN ('(1,2)'::evil_pair) FROM evil_table",
            "IN (SELECT": "SELECT p IN (SELECT p FROM evil_table) FROM evil_table",
            "NULLIF": "SELECT NULLIF(p, p) FROM evil_table",
            "CASE": "SELECT CASE p WHEN p THEN 1 END FROM evil_table",
            "DISTINCT FROM": "SELECT p IS DISTINCT FROM p FROM evil_table",
            "USING": "SELECT 1 FROM evil_table a JOIN evil_table b USING (p)",
            "NATURAL": "SELECT 1 FROM evil_table a NATURAL JOIN evil_table b",
            "BETWEEN": "SELECT p BETWEEN p AND p FROM evil_table",
            "LIKE": "SELECT p LIKE p FROM evil_table",
        }.items()
    },
    "a check that is made valid": Case(
        ["ALTER TABLE evil_table VALIDATE CONSTRAINT evil"],
        [
            CHECK.format("int"),
            "CREATE TABLE evil_table (a int)",
            "INSERT INTO evil_table VALUES (1)",
            "ALTER TABLE evil_table ADD CONSTRAINT evil CHECK (evil(a)) NOT VALID",
        ],
    ),
    "a domain among a function's arguments": Case(
        ["SELECT evil_stable(1)"],
        [
            *DOMAIN,
            "CREATE FUNCTION evil_stable(evil_domain) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END'",
        ],
    ),
    "an array of a domain among a function's arguments": Case(
        ["SELECT evil_stable('{1}')"],
        [
            *DOMAIN,
            "CREATE FUNCTION evil_stable(evil_domain[]) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END'",
        ],
    ),
    "a domain that a function gives": Case(
        ["SELECT evil_stable()"],
        [*DOMAIN, "CREATE FUNCTION evil_stable() RETURNS evil_domain LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END'"],
    ),
    "a domain in a table that a function gives": Case(
        ["SELECT * FROM evil_stable()"],
        [
            *DOMAIN,
            (
                "CREATE FUNCTION evil_stable() RETURNS TABLE (a evil_domain) LANGUAGE plpgsql STABLE"
                " AS 'BEGIN RETURN QUERY SELECT 1::evil_domain; END'"
            ),
        ],
    ),
    "a cross table of another text": Case(
        [f"SELECT * FROM crosstab('SELECT 1::text, ''a''::text, {QUOTED}') AS c(r text, v text)"]
    ),
    "a tree of another text": Case(
        [
            (
                f"SELECT * FROM connectby('(SELECT 1::text AS k, {QUOTED} AS p) x', 'k', 'p', '1', 0)"
                " AS t(k text, p text, level int)"
            )
        ]
    ),
    "the default of a view's column": Case(
        ["INSERT INTO evil_view DEFAULT VALUES"],
        [
            *FOREIGN,
            "CREATE VIEW evil_view AS SELECT a FROM evil_table",
            "ALTER VIEW evil_view ALTER a SET DEFAULT evil()",
        ],
    ),
    "a trigger of the table that it is a part of": Case(
        ["INSERT INTO evil_part VALUES (1)"],
        [
            TRIGGER,
            "CREATE TABLE evil_table (a int) PARTITION BY LIST (a)",
            "CREATE TABLE evil_part PARTITION OF evil_table FOR VALUES IN (1)",
            "CREATE TRIGGER evil BEFORE INSERT ON evil_table FOR EACH ROW EXECUTE FUNCTION evil()",
        ],
    ),
    "a trigger that waits for COMMIT": Case(
        ["BEGIN", "INSERT INTO evil_table VALUES (1)", "COMMIT"],
        [
            TRIGGER,
            "CREATE TABLE evil_table (a int)",
            (
                "CREATE CONSTRAINT TRIGGER evil AFTER INSERT ON evil_table DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION evil()"
            ),
        ],
    ),
    "a table made of a prepared statement": Case(
        ["PREPARE p AS SELECT evil()", "CREATE TABLE evil_table AS EXECUTE p", "DEALLOCATE p"], [FUNCTION]
    ),
    "a cursor": Case(["BEGIN", "DECLARE c CURSOR FOR SELECT evil()", "FETCH c", "COMMIT"], [FUNCTION]),
    "a sample": Case(["SELECT * FROM pg_class TABLESAMPLE system (length(evil()))"], [FUNCTION]),
    "functions side by side": Case(["SELECT * FROM ROWS FROM (evil(), generate_series(1, 2)) x"], [FUNCTION]),
    "a limit": Case([f"SELECT 1 LIMIT length({SETS})"]),
    "an element of an array": Case([f"SELECT (ARRAY[{SETS}])[1]"]),
    "comments within comments": Case(["/*/**/x*/--\r SET work_mem TO '7MB'"]),
}
STORED = "CREATE FUNCTION {}(a INT) RETURNS INT BEGIN SET @x = 5; RETURN 1; END"
OF_TABLE = "CREATE TRIGGER evil_{0} BEFORE INSERT ON `{0}` FOR EACH ROW SET @x = 5"
WITH_TRIGGER = ["CREATE TABLE evil_table (a INT)", OF_TABLE.format("evil_table")]
MARIADB = {
    "a table whose name is a word of SQL": Case(
        ["INSERT INTO date VALUES (1)"], ["CREATE TABLE `date` (a INT)", OF_TABLE.format("date")]
    ),
    "a view whose name is a word of SQL": Case(
        ["SELECT * FROM text"], [STORED.format("evil"), "CREATE VIEW `text` AS SELECT evil(1) AS a"]
    ),
    "a function that another server has": Case(["SELECT any_value(1)"], [STORED.format("any_value")]),
    "a function whose name is a word of SQL": Case(["SELECT rollup(1)"], [STORED.format("rollup")]),
    "a function whose name is a type's": Case(["SELECT inet4(1)"], [STORED.format("inet4")]),
    "a table behind a point": Case(["INSERT INTO .evil_table VALUES (1)"], WITH_TRIGGER),
    "a table behind comments": Case(["INSERT/**/IGNORE#\nINTO--\t\n/**/evil_table VALUES (1)"], WITH_TRIGGER),
    "a table without INTO": Case(["INSERT evil_table SET a = 1"], WITH_TRIGGER),
    "a default that fills a variable": Case(
        ["INSERT INTO evil_table () VALUES ()"], ["CREATE TABLE evil_table (a INT DEFAULT (@x := 5))"]
    ),
    "a call as ODBC writes it": Case(["SELECT {fn evil(1)}"], [STORED.format("evil")]),
    "a call by its database": Case(["SELECT app . evil ( 1 )"], [STORED.format("evil")]),
    "a call among values": Case(["VALUES (evil(1))"], [STORED.format("evil")]),
    "a call that tells what came in": Case(
        ["INSERT INTO evil_table VALUES (1) RETURNING evil(1)"],
        [STORED.format("evil"), "CREATE TABLE evil_table (a INT)"],
    ),
    "a call that is to be explained": Case(["EXPLAIN SELECT * FROM (SELECT evil(1)) d"], [STORED.format("evil")]),
    "an aggregate of one's own": Case(
        ["SELECT evil(1)"],
        [
            (
                "CREATE AGGREGATE FUNCTION evil(a INT) RETURNS INT BEGIN"
                " DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN 1; SET @x = 5; LOOP FETCH GROUP NEXT ROW; END LOOP; END"
            )
        ],
    ),
    "a variable in quotes": Case(["SELECT @'x' := 5"]),
    "a variable in a table made of it": Case(["CREATE TABLE evil_table AS SELECT @x := 5 AS a"]),
    "a variable beside another setting": Case(["SET @@session.time_zone = '+01:00', @x = 5"]),
    "a variable after a comment of one line": Case(["SELECT 1 --\x01 , 2\n, @x := 5"]),
}
CASES = [
    *[pytest.param("postgresql", case, id=f"postgresql: {name}") for name, case in POSTGRES.items()],
    *[pytest.param("mysql", case, id=f"mysql: {name}") for name, case in MARIADB.items()],
]
PROBES = {"postgresql": ("SHOW work_mem", "4MB", "7MB"), "mysql": ("SELECT @x", None, 5)}


async def asked(client, probe):
    """Ask until a connection that was closed is there again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await client.fetch_value(probe)
            except DatabaseUnavailable:
                continue


async def run_all(proxy, statements):
    async with proxy.connect() as client:
        for statement in statements:
            await client.execute(statement)


@pytest.mark.parametrize(("engine", "case"), CASES)
async def test_nobody_else_sees_it_and_its_client_keeps_it(engine, case, request, proxies):
    server = request.getfixturevalue("postgres" if engine == "postgresql" else "mariadb")
    if "crosstab" in case.statements[0] or "connectby" in case.statements[0]:
        if server.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'tablefunc'") == "0":
            pytest.skip("tablefunc is not installed: sudo apt-get install postgresql-contrib")
        server.sql("CREATE EXTENSION IF NOT EXISTS tablefunc")
    probe, fresh, made = PROBES[engine]
    sweeper = proxies(server, maximum_connections=1)
    await run_all(sweeper, [*SWEEP[engine], *case.setup])
    proxy = proxies(server, maximum_connections=1, connection_borrow_timeout=0.2)
    try:
        async with proxy.connect() as client, proxy.connect() as other:
            for statement in case.statements:
                await client.execute(statement)
            try:
                assert await asked(other, probe) == fresh
            except BorrowTimeout:
                assert client.pins
            assert await asked(client, probe) == made
        async with proxy.connect() as other:
            assert await asked(other, probe) == fresh
    finally:
        await run_all(sweeper, SWEEP[engine])


# Names that mean one thing here and another there

QUIET = "CREATE OR REPLACE FUNCTION evil() RETURNS text LANGUAGE sql STABLE AS $$SELECT 'x'::text$$"
LOUD = FUNCTION.replace("CREATE", "CREATE OR REPLACE")


@pytest.fixture
async def two(postgres, proxies):
    """A proxy of two connections, and a function that comes and goes."""
    sweeper = proxies(postgres, maximum_connections=1)
    await run_all(sweeper, SWEEP["postgresql"])
    yield proxies(postgres, maximum_connections=2)
    await run_all(sweeper, SWEEP["postgresql"])


async def test_what_others_see_does_not_tell_what_a_transaction_calls(two):
    """It had made the function volatile; others, who did not see that yet, had it looked up as harmless."""
    async with two.connect() as client, two.connect() as other:
        await client.execute(QUIET)
        await client.execute("BEGIN")
        await client.execute(LOUD)
        assert await other.fetch_value("SELECT evil()") == "x"
        assert await client.fetch_value("SELECT evil()") == "7MB"
        assert client.pins
        await client.execute("COMMIT")
        assert await other.fetch_value("SELECT evil()") == "7MB"
        assert other.pins


async def test_what_a_transaction_sees_does_not_tell_what_others_call(two):
    """It had made the function harmless; others, who called what there was before, were believed to have called that."""
    async with two.connect() as client, two.connect() as other:
        await client.execute(LOUD)
        await client.execute("BEGIN")
        await client.execute(QUIET)
        assert await client.fetch_value("SELECT evil()") == "x"
        assert await other.fetch_value("SELECT evil()") == "7MB"
        assert other.pins
        await client.execute("ROLLBACK")
        assert await client.fetch_value("SELECT evil()") == "7MB"
        assert client.pins


async def test_an_old_snapshot_tells_nobody_what_is_called_now(two):
    """A transaction of one snapshot sees the catalogue as it was; what it calls is what there is now."""
    async with two.connect() as client, two.connect() as other, two.connect() as third:
        await client.execute(QUIET)
        async with client.transaction(isolation="repeatable read"):
            assert await client.fetch_value("SELECT 1") == 1
            await other.execute(LOUD)
            assert await client.fetch_value("SELECT evil()") == "7MB"
            assert client.pins
        assert await third.fetch_value("SELECT evil()") == "7MB"
        assert third.pins


async def test_a_transaction_that_reads_what_is_committed_is_believed(two):
    async with two.connect() as client, two.connect() as other:
        await client.execute("CREATE TABLE evil_table (a int)")
        async with client.transaction():
            assert await client.fetch_value("SELECT 1") == 1
            await other.execute("ALTER TABLE evil_table ADD b int")
            assert await client.fetch_value("SELECT count(*) FROM evil_table") == 0
        assert not client.pins


@pytest.mark.parametrize("end", ["COMMIT", "COMMIT AND CHAIN", "COMMIT; BEGIN"])
async def test_what_a_transaction_has_changed_is_looked_up_when_it_ends(end, two):
    """One that began the next at once was not seen to end: others went on with what they had seen before."""
    async with two.connect() as client, two.connect() as other:
        await client.execute(QUIET)
        await client.execute("BEGIN")
        await client.execute(LOUD)
        assert await other.fetch_value("SELECT evil()") == "x"
        await client.execute(end)
        assert await other.fetch_value("SELECT evil()") == "7MB"
        assert other.pins


async def test_a_savepoint_takes_a_function_back(two):
    """The books had the function that was undone."""
    async with two.connect() as client:
        await client.execute(LOUD)
        await client.execute("BEGIN")
        await client.execute("SAVEPOINT s")
        await client.execute(QUIET)
        assert await client.fetch_value("SELECT evil()") == "x"
        await client.execute("ROLLBACK TO s")
        assert await client.fetch_value("SELECT evil()") == "7MB"
        assert client.pins
        await client.execute("COMMIT")
        assert client.pins


async def test_who_waits_is_judged_by_what_there_is_in_the_end(postgres, proxies):
    """The verdict was from before the wait: whoever had the connection meanwhile could make the function another one."""
    sweeper = proxies(postgres, maximum_connections=1)
    await run_all(sweeper, SWEEP["postgresql"])
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other, proxy.connect() as third:
        await client.execute(QUIET)
        assert await other.fetch_value("SELECT evil()") == "x"
        await client.execute("BEGIN")
        waits = asyncio.create_task(other.fetch_value("SELECT evil()"))
        streams = asyncio.create_task(rows_of(third.stream("SELECT evil()")))
        await asyncio.sleep(0)
        await client.execute(LOUD)
        await client.execute("COMMIT")
        assert await waits == "7MB"
        assert other.pins
        await other.close()
        assert await streams == ["7MB"]
        assert third.pins
    await run_all(sweeper, SWEEP["postgresql"])


async def test_an_adapter_s_change_of_the_schema_is_its_own_until_it_gives_back(two):
    pytest.importorskip("sqlalchemy")
    from sqlalchemy import text

    from forebay.dbproxy.sqlalchemy import create_async_engine

    engine = create_async_engine(two)
    async with two.connect() as other:
        await other.execute(LOUD)
        async with engine.connect() as connection:
            await connection.execute(text(QUIET))
            assert (await connection.execute(text("SELECT evil()"))).scalar() == "x"
            assert await other.fetch_value("SELECT evil()") == "7MB"
            assert other.pins
            await connection.rollback()
            await other.close()
        async with two.connect() as third:
            for isolation in ("AUTOCOMMIT", "READ COMMITTED"):
                await third.execute(QUIET)
                assert await third.fetch_value("SELECT evil()") == "x"
                async with engine.connect() as connection:
                    await connection.execution_options(isolation_level=isolation)
                    await connection.execute(text(LOUD))
                    await connection.commit()
                    assert await third.fetch_value("SELECT evil()") == "7MB"
                assert third.pins
                await third.execute("DISCARD ALL")
    await engine.dispose()


# What a session remembers


async def test_the_texts_of_others_are_not_among_the_prepared_statements(postgres, proxies):
    proxy = proxies(postgres, maximum_connections=1)
    asked_for = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%' || $1 || '%'"
    async with proxy.connect() as client, proxy.connect() as other:
        assert await other.fetch_value("SELECT 'of another'::text") == "of another"
        assert await client.fetch_value(asked_for, ("of another",)) == 0
        assert client.pins
        await client.close()
        assert await other.fetch_value("SELECT 'of another'::text") == "of another"


async def test_the_driver_s_statements_can_be_closed_by_their_names(postgres, proxies):
    """The next client that asked the same was told that there is no such statement."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        assert await other.fetch_value("SELECT 41 + 1") == 42
        (db,) = proxy._pools()[0].connections
        (statement,) = [each for each in db.wire.raw._stmt_cache.iter_statements() if each.query == "SELECT 41 + 1"]
        await client.execute(f'DEALLOCATE "{statement.name}"')
        await client.close()
        for _ in range(2):
            assert await asked(other, "SELECT 41 + 1") == 42


@pytest.mark.parametrize("pattern", ["identit_", "last_insert_i_", "_dentity", "LAST_INSERT_ID", "l%d", "insert\\_id"])
async def test_a_pattern_shows_nobody_another_s_last_key(pattern, mariadb, proxies):
    """`_` stands for any character."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("CREATE OR REPLACE TABLE keyed (id INT AUTO_INCREMENT PRIMARY KEY)")
        await client.execute("INSERT INTO keyed VALUES (77)")
        await client.execute("INSERT INTO keyed VALUES (NULL)")
        assert "78" not in str(await other.fetch_all(f"SHOW VARIABLES LIKE '{pattern}'"))
        assert other.pins
        await other.execute("DROP TABLE keyed")


@pytest.mark.parametrize("name", ["currval", "`CURRVAL`"])
async def test_the_last_number_of_a_sequence_under_oracle_s_mode(name, mariadb, proxies):
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("CREATE OR REPLACE SEQUENCE evil_numbers")
        for who in (client, other):
            await who.execute("SET sql_mode = 'ORACLE'")
        assert await client.fetch_value("SELECT evil_numbers.nextval") == 1
        assert await other.fetch_value(f"SELECT evil_numbers.{name}") is None
        assert other.pins
        await other.execute("DROP SEQUENCE evil_numbers")


async def test_a_scope_holds_for_the_settings_after_it(mariadb, proxies):
    """They were carried as the client's own."""
    proxy = proxies(mariadb, maximum_connections=1)
    asked_for = "SELECT CONCAT(@@global.div_precision_increment, @@session.div_precision_increment)"
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("SET GLOBAL max_statement_time = 0, div_precision_increment = 7")
        try:
            assert await client.fetch_value(asked_for) == "74"
            assert await other.fetch_value("SELECT 1") == 1
            assert await client.fetch_value(asked_for) == "74"
            await client.execute("SET GLOBAL max_statement_time = 0, @@div_precision_increment = 6")
            assert await other.fetch_value(asked_for) == "77"  # as on a new connection
            assert await client.fetch_value(asked_for) == "76"
        finally:
            await client.execute("SET GLOBAL div_precision_increment = DEFAULT")


async def test_over_a_thousand_temporary_tables_none_is_lost(mariadb, proxies):
    """The causes above a thousand were forgotten, and the last of the others ended the pin."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        for number in range(1002):
            await client.execute(f"CREATE TEMPORARY TABLE many{number} (a INT) ENGINE=MEMORY")
        await client.execute(f"DROP TABLE {', '.join(f'many{number}' for number in range(1001))}")
        assert client.pins
        assert await client.fetch_value("SELECT count(*) FROM many1001") == 0


@pytest.mark.parametrize("value", ["1", "ON", "'on'", "TRUE"])
async def test_autocommit_that_is_on_pins_nobody(value, mariadb, proxies):
    """Every write of a client that had said so pinned it, as if it had begun a transaction."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("CREATE OR REPLACE TABLE plain (a INT)")
        await client.execute(f"SET autocommit = {value}")
        await client.execute("INSERT INTO plain VALUES (1)")
        assert not client.pins


async def test_a_name_asked_for_in_a_failed_transaction_pins_nobody(postgres, proxies):
    """The catalogue cannot be asked there, but nothing runs there either."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("BEGIN")
        for statement in ("SELECT 1/0", "SELECT * FROM never_seen_before"):
            with pytest.raises(DatabaseError):
                await client.execute(statement)
        await client.execute("ROLLBACK")
        assert not client.pins


async def test_a_session_that_is_lost_leaves_no_way_of_reading(postgres, proxies):
    """The next text was read by a setting that had gone with its connection, and a call in it was taken for a literal."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("SET standard_conforming_strings = off")
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        with pytest.raises(ConnectionLost):
            await client.fetch_value("SELECT 1")
        await client.fetch_all(r"SELECT 'a\', set_config($$work_mem$$, $$7MB$$, false) --'")
        assert client.pins
        await client.close()
        assert await asked(other, "SHOW work_mem") == "4MB"


async def test_a_digest_is_read_as_the_session_reads_its_texts(server, proxies):
    """Under another mode a literal ends elsewhere: a part of it was in the log and in the list of pins."""
    proxy = proxies(server)
    async with proxy.connect() as client:
        if server.engine == "mysql":
            await client.execute("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")
            await client.execute(r"SELECT 'a\', ' s3cret ', 1 /*'*/, @x := 1")
        else:
            await client.execute("SET standard_conforming_strings = off")
            await client.execute(r"SELECT 'x\' s3cret ' /*'*/, pg_advisory_lock(1)")
        assert "s3cret" not in str(proxy.pinned())
        assert len(proxy.pinned()) == 1 + (server.engine == "postgresql")


async def test_what_the_server_runs_on_new_connections_holds_after_a_reset(mariadb, proxies):
    """`init_connect` is run for users without rights of an administrator, and no reset runs it."""
    mariadb.sql("CREATE USER IF NOT EXISTS poor@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON app.* TO poor@'%'", "")
    mariadb.sql("SET GLOBAL init_connect = \"SET time_zone = '+05:00'; SET sql_mode = ''\"", "")
    asked_for = "SELECT CONCAT(@@time_zone, @@sql_mode)"
    try:
        poor = proxies(f"mysql://poor:pw@{mariadb.address}/app", maximum_connections=1, hygiene="always")
        rich = proxies(mariadb, maximum_connections=1, hygiene="always")
        for proxy in (poor, rich):
            async with proxy.connect() as client, proxy.connect() as other:
                first = await client.fetch_value(asked_for)
                assert first.startswith("+05:00" if proxy is poor else "SYSTEM")
                assert await other.fetch_value(asked_for) == first
                assert proxy.counters.resets == 1
    finally:
        mariadb.sql("SET GLOBAL init_connect = ''", "")


async def test_no_word_of_the_server_that_can_be_a_name_is_taken_for_a_keyword(mariadb, proxies):
    """A table, a view or a function with such a name was not looked up, and whatever it did was nobody's."""
    judge = StatementJudge("mysql", Effect, [])
    async with proxies(mariadb, maximum_connections=1).connect() as client:
        words = [word for (word,) in await client.fetch_all("SELECT LOWER(WORD) FROM information_schema.KEYWORDS")]
        words += [
            word for (word,) in await client.fetch_all("SELECT LOWER(`FUNCTION`) FROM information_schema.SQL_FUNCTIONS")
        ]
        names = [word for word in sorted(set(words)) if word.isidentifier()]
        assert len(names) > 700
        unseen = []
        for word in names:
            needs = judge.judge(f"INSERT INTO {word} VALUES (1)").needs
            if word not in needs and await is_accepted(client, f"DROP TABLE IF EXISTS {word}"):
                unseen.append(word)
            called = judge.judge(f"SELECT {word}(1)")
            if not called.needs and not called.pins:
                await client.execute(f"CREATE OR REPLACE FUNCTION `{word}`(a INT) RETURNS INT RETURN 4711")
                if await is_accepted(client, f"SELECT {word}(1)", 4711):
                    unseen.append(f"{word}()")
                await client.execute(f"DROP FUNCTION `{word}`")
        assert not unseen


async def rows_of(stream):
    return [row[0] async for row in stream]


async def is_accepted(client, statement, answer=None):
    try:
        return await client.fetch_value(statement) == answer
    except DatabaseError:
        return False
