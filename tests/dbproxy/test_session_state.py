"""Nobody sees what another client left in the session: every way to change a session, on one connection for all clients."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from db_servers import USER

from forebay.errors import BorrowTimeout, DatabaseError, InvalidParameterValue

PINNED = "pinned"  # the client keeps its connection, which is cleaned when it leaves
TRACKED = "tracked"  # the client sees its setting on whatever connection it gets, others never
GONE = "gone"  # nobody sees it later, the client itself neither


@dataclass(frozen=True)
class Case:
    """Statements that change a session, a question that shows it, and what the proxy does about it."""

    name: str
    change: tuple[str, ...]
    probe: str
    fate: str
    reason: str = ""
    changed: object = None  # what the client itself sees afterwards, if it sees anything


def case(name, *change, probe, fate, reason="", changed=None):
    return pytest.param(Case(name, change, probe, fate, reason, changed), id=name)


POSTGRES_SETUP = (
    "DROP TABLE IF EXISTS state CASCADE",
    "CREATE TABLE state (id serial PRIMARY KEY, n int)",
    (
        "CREATE OR REPLACE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS $$BEGIN "
        "PERFORM set_config('work_mem', '9MB', false); CREATE TEMP TABLE IF NOT EXISTS hidden (a int); "
        "PERFORM pg_advisory_lock(77); RETURN 1; END$$"
    ),
    (
        "CREATE OR REPLACE PROCEDURE sneaky_procedure() LANGUAGE plpgsql AS $$BEGIN "
        "PERFORM set_config('work_mem', '9MB', false); END$$"
    ),
)
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
TEMPORARY = "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"
POSTGRES = [
    case("a setting", "SET TimeZone TO 'Asia/Tokyo'", probe="SHOW TimeZone", fate=TRACKED, changed="Asia/Tokyo"),
    case("a time zone", "SET TIME ZONE 'Asia/Tokyo'", probe="SHOW TimeZone", fate=TRACKED, changed="Asia/Tokyo"),
    case(
        "a search path",
        "SET search_path = pg_catalog, public",
        probe="SHOW search_path",
        fate=TRACKED,
        changed="pg_catalog, public",
    ),
    case("a name", "SET application_name = 'mine'", probe="SHOW application_name", fate=TRACKED, changed="mine"),
    case("a session setting", "SET SESSION work_mem = '9MB'", probe="SHOW work_mem", fate=TRACKED, changed="9MB"),
    case(
        "a comment before it", "/* hi */ SET work_mem = '9MB' -- ;", probe="SHOW work_mem", fate=TRACKED, changed="9MB"
    ),
    case("a timeout", "SET statement_timeout = 12345", probe="SHOW statement_timeout", fate=TRACKED, changed="12345ms"),
    case("an encoding", "SET NAMES 'LATIN1'", probe="SHOW client_encoding", fate=TRACKED, changed="LATIN1"),
    case(
        "two settings in one text",
        "SET work_mem = '9MB'; SET application_name = 'x'",
        probe="SHOW work_mem",
        fate=TRACKED,
        changed="9MB",
    ),
    case("a role", "SET ROLE pg_monitor", probe="SELECT current_user", fate=TRACKED, changed="pg_monitor"),
    case(
        "a placeholder",
        "SET app.tenant = '7'",
        probe="SELECT coalesce(nullif(current_setting('app.tenant', true), ''), 'none')",
        fate=TRACKED,
        changed="7",
    ),
    case(
        "characteristics",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        probe="SHOW default_transaction_isolation",
        fate=TRACKED,
        changed="serializable",
    ),
    case(
        "a setting in a transaction",
        "BEGIN",
        "SET work_mem = '9MB'",
        "COMMIT",
        probe="SHOW work_mem",
        fate=TRACKED,
        changed="9MB",
    ),
    case("a setting rolled back", "BEGIN", "SET work_mem = '9MB'", "ROLLBACK", probe="SHOW work_mem", fate=GONE),
    case(
        "a setting before a savepoint",
        "BEGIN",
        "SET work_mem = '9MB'",
        "SAVEPOINT s",
        "SET work_mem = '8MB'",
        "ROLLBACK TO s",
        "COMMIT",
        probe="SHOW work_mem",
        fate=TRACKED,
        changed="9MB",
    ),
    case("a local setting", "BEGIN", "SET LOCAL work_mem = '9MB'", "COMMIT", probe="SHOW work_mem", fate=GONE),
    case("a setting taken back", "SET work_mem = '9MB'", "RESET work_mem", probe="SHOW work_mem", fate=GONE),
    case("all settings taken back", "SET work_mem = '9MB'", "RESET ALL", probe="SHOW work_mem", fate=GONE),
    case("discard all", "SET work_mem = '9MB'", "DISCARD ALL", probe="SHOW work_mem", fate=GONE),
    case(
        "set_config",
        "SELECT set_config('work_mem', '9MB', false)",
        probe="SHOW work_mem",
        fate=PINNED,
        reason="setting",
    ),
    case("set_config, local", "SELECT set_config('work_mem', '9MB', true)", probe="SHOW work_mem", fate=GONE),
    case("a temporary table", "CREATE TEMP TABLE t (a int)", probe=TEMPORARY, fate=PINNED, reason="temporary table"),
    case(
        "a temporary table, long words",
        "CREATE LOCAL TEMPORARY TABLE t (a int)",
        probe=TEMPORARY,
        fate=PINNED,
        reason="temporary table",
    ),
    case(
        "a temporary table from a query",
        "SELECT 1 AS a INTO TEMP t",
        probe=TEMPORARY,
        fate=PINNED,
        reason="temporary table",
    ),
    case("a temporary view", "CREATE TEMP VIEW v AS SELECT 1", probe=TEMPORARY, fate=PINNED, reason="temporary table"),
    case("a temporary sequence", "CREATE TEMPORARY SEQUENCE q", probe=TEMPORARY, fate=PINNED, reason="temporary table"),
    case(
        "a table in pg_temp", "CREATE TABLE pg_temp.t (a int)", probe=TEMPORARY, fate=PINNED, reason="temporary table"
    ),
    case("a lock", "SELECT pg_advisory_lock(5)", probe=LOCKS, fate=PINNED, reason="advisory lock"),
    case("a lock of a transaction", "SELECT pg_advisory_xact_lock(5)", probe=LOCKS, fate=GONE),
    case("LISTEN", "LISTEN news", probe="SELECT count(*) FROM pg_listening_channels()", fate=PINNED, reason="LISTEN"),
    case(
        "PREPARE",
        "PREPARE p AS SELECT 1",
        probe="SELECT count(*) FROM pg_prepared_statements WHERE from_sql",
        fate=PINNED,
        reason="prepared statement",
    ),
    case(
        "a cursor with hold",
        "BEGIN",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "COMMIT",
        probe="SELECT count(*) FROM pg_cursors WHERE name = 'c'",
        fate=PINNED,
        reason="cursor",
    ),
    case(
        "an open transaction",
        "BEGIN",
        "SET work_mem = '9MB'",
        "INSERT INTO state (n) VALUES (1)",
        probe="SHOW work_mem",
        fate=PINNED,
    ),
    case("a function's doing", "SELECT sneaky()", probe="SHOW work_mem", fate=GONE),
    case("a function's temporary table", "SELECT sneaky()", probe=TEMPORARY, fate=GONE),
    case("a function's lock", "SELECT sneaky()", probe=LOCKS, fate=GONE),
    case("a quoted function's doing", 'SELECT "sneaky" ()', probe="SHOW work_mem", fate=GONE),
    case("a procedure's doing", "CALL sneaky_procedure()", probe="SHOW work_mem", fate=GONE),
    case(
        "a block's doing",
        "DO $x$BEGIN PERFORM set_config('work_mem', '9MB', false); END$x$",
        probe="SHOW work_mem",
        fate=GONE,
    ),
    case("a sequence's value", "SELECT nextval('state_id_seq')", probe="SELECT lastval()", fate=GONE),
    case("an insert's key", "INSERT INTO state (n) VALUES (1)", probe="SELECT currval('state_id_seq')", fate=GONE),
]

MYSQL_SETUP = (
    "DROP TABLE IF EXISTS state",
    "CREATE TABLE state (id INT AUTO_INCREMENT PRIMARY KEY, n INT)",
    "DROP FUNCTION IF EXISTS sneaky",
    "CREATE FUNCTION sneaky() RETURNS INT BEGIN SET @hidden = 5; RETURN GET_LOCK('hidden', 0); END",
    "DROP PROCEDURE IF EXISTS sneaky_procedure",
    "CREATE PROCEDURE sneaky_procedure() BEGIN SET SESSION group_concat_max_len = 777; SET @hidden = 5; END",
)
ZONE = "SELECT @@session.time_zone"
MYSQL = [
    case("a time zone", "SET time_zone = '+05:00'", probe=ZONE, fate=TRACKED, changed="+05:00"),
    case("a time zone, long words", "SET @@SESSION.time_zone := '+05:00'", probe=ZONE, fate=TRACKED, changed="+05:00"),
    case(
        "two settings",
        "SET time_zone = '+05:00', SESSION sql_mode = 'ANSI'",
        probe=ZONE,
        fate=TRACKED,
        changed="+05:00",
    ),
    case("an executed comment", "/*!50000 SET time_zone = '+05:00' */", probe=ZONE, fate=TRACKED, changed="+05:00"),
    case("a mode", "SET sql_mode = ''", probe="SELECT @@sql_mode", fate=TRACKED, changed=""),
    case(
        "an expression",
        "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
        probe="SELECT @@sql_mode",
        fate=PINNED,
        reason="setting",
    ),
    case("a character set", "SET NAMES latin1", probe="SELECT @@character_set_client", fate=TRACKED, changed="latin1"),
    case(
        "a collation",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        probe="SELECT @@collation_connection",
        fate=TRACKED,
        changed="utf8mb4_bin",
    ),
    case(
        "a result character set",
        "SET character_set_results = latin1",
        probe="SELECT @@character_set_results",
        fate=TRACKED,
        changed="latin1",
    ),
    case("autocommit", "SET autocommit = 0", probe="SELECT @@autocommit", fate=TRACKED, changed=0),
    case(
        "an isolation level",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        probe="SELECT @@tx_isolation",
        fate=TRACKED,
        changed="SERIALIZABLE",
    ),
    case(
        "an isolation level by name",
        "SET tx_isolation = 'READ-COMMITTED'",
        probe="SELECT @@tx_isolation",
        fate=TRACKED,
        changed="READ-COMMITTED",
    ),
    case("reading only", "SET SESSION TRANSACTION READ ONLY", probe="SELECT @@tx_read_only", fate=TRACKED, changed=1),
    case("a database", "USE other", probe="SELECT DATABASE()", fate=TRACKED, changed="other"),
    case("checks", "SET foreign_key_checks = 0", probe="SELECT @@foreign_key_checks", fate=TRACKED, changed=0),
    case(
        "a limit",
        "SET SESSION group_concat_max_len = 777",
        probe="SELECT @@group_concat_max_len",
        fate=TRACKED,
        changed=777,
    ),
    case(
        "a limit taken back",
        "SET group_concat_max_len = 777",
        "SET group_concat_max_len = DEFAULT",
        probe="SELECT @@group_concat_max_len",
        fate=GONE,
    ),
    case("the time", "SET timestamp = 1000", probe="SELECT UNIX_TIMESTAMP() < 2000", fate=TRACKED, changed=1),
    case(
        "one statement's setting",
        "SET STATEMENT group_concat_max_len = 777 FOR SELECT 1",
        probe="SELECT @@group_concat_max_len",
        fate=GONE,
    ),
    case("a variable", "SET @x = 5", probe="SELECT @x", fate=PINNED, reason="user variable"),
    case("a variable in a query", "SELECT @x := 5", probe="SELECT @x", fate=PINNED, reason="user variable"),
    case("a variable from a query", "SELECT 5 INTO @x", probe="SELECT @x", fate=PINNED, reason="user variable"),
    case("a variable taken back", "SET @x = 5", "SET @x = NULL", probe="SELECT @x", fate=GONE),
    case(
        "a temporary table",
        "CREATE TEMPORARY TABLE tmp_t (a INT)",
        probe="SELECT count(*) FROM tmp_t",
        fate=PINNED,
        reason="temporary table",
    ),
    case(
        "a named lock",
        "SELECT GET_LOCK('matrix', 0)",
        probe="SELECT IS_USED_LOCK('matrix')",
        fate=PINNED,
        reason="lock",
    ),
    case(
        "table locks",
        "LOCK TABLES state WRITE",
        probe="SELECT count(*) FROM information_schema.tables t JOIN mysql.user u LIMIT 0",
        fate=PINNED,
        reason="table locks",
    ),
    case(
        "a global read lock",
        "FLUSH TABLES WITH READ LOCK",
        probe="DELETE FROM state",
        fate=PINNED,
        reason="table locks",
    ),
    case("PREPARE", "PREPARE p FROM 'SELECT 1'", probe="EXECUTE p", fate=PINNED, reason="prepared statement"),
    case("a handler", "HANDLER state OPEN", probe="HANDLER state READ FIRST", fate=PINNED, reason="handler"),
    case("a role", "SET ROLE readers", probe="SELECT CURRENT_ROLE()", fate=PINNED, reason="setting"),
    case(
        "an open transaction",
        "START TRANSACTION",
        "INSERT INTO state (n) VALUES (1)",
        probe="SELECT count(*) FROM state",
        fate=PINNED,
    ),
    case(
        "a distributed transaction",
        "XA START 'x'",
        "INSERT INTO state (n) VALUES (1)",
        "XA END 'x'",
        probe="SELECT count(*) FROM state",
        fate=PINNED,
        reason="XA transaction",
    ),
    case(
        "a transaction's level",
        "SET TRANSACTION READ ONLY",
        probe="DELETE FROM state",
        fate=PINNED,
        reason="next transaction",
    ),
    case("a function's doing", "SELECT sneaky()", probe="SELECT @hidden", fate=GONE),
    case("a function's lock", "SELECT sneaky()", probe="SELECT IS_USED_LOCK('hidden')", fate=GONE),
    case("a quoted function's doing", "SELECT `sneaky`()", probe="SELECT @hidden", fate=GONE),
    case("a procedure's doing", "CALL sneaky_procedure()", probe="SELECT @@group_concat_max_len", fate=GONE),
    case("immediate execution", "EXECUTE IMMEDIATE 'SET time_zone = ''+05:00'''", probe=ZONE, fate=GONE),
    case("a block's doing", "BEGIN NOT ATOMIC SET time_zone = '+05:00'; END", probe=ZONE, fate=GONE),
    case("a generated key", "INSERT INTO state (n) VALUES (1)", probe="SELECT LAST_INSERT_ID()", fate=GONE),
    case(
        "a generated key by its variable",
        "INSERT INTO state (n) VALUES (1)",
        probe="SELECT @@last_insert_id",
        fate=GONE,
    ),
    case(
        "found rows",
        "SELECT SQL_CALC_FOUND_ROWS 1 UNION SELECT 2 LIMIT 1",
        probe="SELECT FOUND_ROWS()",
        fate=PINNED,
        reason="found rows",
    ),
    case("warnings", "SELECT CAST('x' AS INT)", probe="SHOW COUNT(*) WARNINGS", fate=GONE),
]


async def look(client, probe):
    """Give what a question shows: a value, or the server's error."""
    try:
        return await client.fetch_value(probe)
    except DatabaseError as error:
        return f"error {error.code}"


async def nobody_else_sees(proxy, case, setup):
    async with proxy.connect() as client:
        for statement in setup:
            await client.execute(statement)
    fresh = type(proxy)(proxy_url(proxy), maximum_connections=1)
    async with fresh, fresh.connect() as client:
        default = await look(client, case.probe)

    async with proxy.connect() as other:
        async with proxy.connect() as client:
            for statement in case.change:
                await client.execute(statement)
            assert bool(proxy.pinned()) == bool(case.reason), proxy.pinned()
            if case.fate == PINNED:
                assert [pin.reason for pin in proxy.pinned()] == [case.reason] * len(proxy.pinned())
                with pytest.raises(BorrowTimeout):
                    await other.fetch_value("SELECT 1")
            else:
                assert await look(other, case.probe) == default
                again = await look(client, case.probe)
                assert again == (case.changed if case.fate == TRACKED else default)
                assert await look(other, case.probe) == default
        assert await look(other, case.probe) == default
        assert proxy.pinned() == []


def proxy_url(proxy):
    return proxy.settings.target


@pytest.mark.parametrize("case", POSTGRES)
async def test_postgresql_keeps_it_from_the_next_client(postgres, proxies, case):
    postgres.sql(f"GRANT pg_monitor TO {USER}", "postgres")
    await nobody_else_sees(
        proxies(postgres, maximum_connections=1, connection_borrow_timeout=0.2), case, POSTGRES_SETUP
    )


@pytest.mark.parametrize("case", MYSQL)
async def test_mariadb_keeps_it_from_the_next_client(mariadb, proxies, case):
    await nobody_else_sees(proxies(mariadb, maximum_connections=1, connection_borrow_timeout=0.2), case, MYSQL_SETUP)


RELEASES = {
    "postgresql": [
        (("CREATE TEMP TABLE t (a int)",), "DROP TABLE t"),
        (("CREATE TEMP TABLE t (a int)", "CREATE TEMP TABLE u (a int)"), "DISCARD TEMP"),
        (("SELECT pg_advisory_lock(1)",), "SELECT pg_advisory_unlock(1)"),
        (("SELECT pg_advisory_lock(1)", "SELECT pg_advisory_lock(2)"), "SELECT pg_advisory_unlock_all()"),
        (("LISTEN a",), "UNLISTEN a"),
        (("PREPARE p AS SELECT 1",), "DEALLOCATE p"),
        (("BEGIN", "CREATE TEMP TABLE t (a int) ON COMMIT DROP"), "COMMIT"),
        (("BEGIN", "CREATE TEMP TABLE t (a int)"), "ROLLBACK"),
        (("BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "COMMIT"), "CLOSE c"),
        (("SELECT set_config('work_mem', '9MB', false)",), "RESET ALL"),
    ],
    "mysql": [
        (("CREATE TEMPORARY TABLE t (a INT)",), "DROP TEMPORARY TABLE t"),
        (("CREATE TEMPORARY TABLE t (a INT)", "CREATE TEMPORARY TABLE u (a INT)"), "DROP TABLE t, u"),
        (("SELECT GET_LOCK('a', 0)",), "SELECT RELEASE_LOCK('a')"),
        (("SELECT GET_LOCK('a', 0)", "SELECT GET_LOCK('b', 0)"), "SELECT RELEASE_ALL_LOCKS()"),
        (("SET @x = 1",), "SET @x = NULL"),
        (("LOCK TABLES state READ",), "UNLOCK TABLES"),
        (("PREPARE p FROM 'SELECT 1'",), "DEALLOCATE PREPARE p"),
        (("HANDLER state OPEN",), "HANDLER state CLOSE"),
        (("SET sql_mode = CONCAT(@@sql_mode, '')",), "SET sql_mode = DEFAULT"),
        (("SELECT SQL_CALC_FOUND_ROWS 1",), "SELECT FOUND_ROWS()"),
        (("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",), "SELECT 1"),
    ],
}


async def test_a_pin_ends_with_its_cause(server, proxies):
    proxy = proxies(server, maximum_connections=1, connection_borrow_timeout=5)
    async with proxy.connect() as client:
        for statement in POSTGRES_SETUP if proxy.engine == "postgresql" else MYSQL_SETUP:
            await client.execute(statement)
        for causes, end in RELEASES[proxy.engine]:
            for cause in causes:
                await client.execute(cause)
            assert client.pins, causes
            await client.execute(end)
            assert not client.pins, (causes, end, client.pins)


async def test_a_pin_stays_while_any_cause_is_left(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    lock, unlock = (
        ("SELECT GET_LOCK('{}', 0)", "SELECT RELEASE_LOCK('{}')")
        if proxy.engine == "mysql"
        else ("SELECT pg_advisory_lock({})", "SELECT pg_advisory_unlock({})")
    )
    async with proxy.connect() as client:
        await client.execute(lock.format(1))
        await client.execute(lock.format(2))
        await client.execute(unlock.format(1))
        assert client.pins
        await client.execute(unlock.format(3))  # not ours
        assert client.pins
        await client.execute(unlock.format(2))
        assert not client.pins


async def test_a_pin_is_told_with_its_reason_and_statement_but_no_literals(server, proxies):
    proxy = proxies(server)
    async with proxy.connect() as client:
        name = "TEMPORARY" if proxy.engine == "mysql" else "TEMP"
        await client.execute(f"CREATE {name} TABLE t AS SELECT 'top secret' AS a, 4711 AS b")
        (pin,) = proxy.pinned()
        assert (pin.reason, pin.client) == ("temporary table", client.number)
        assert pin.digest == f"CREATE {name} TABLE t AS SELECT ? AS a, ? AS b"
        assert pin.connection > 0
        assert pin.seconds >= 0
        assert proxy.statistics()["DatabaseConnectionsCurrentlySessionPinned"] == 1
        assert ("SessionPins", {"ProxyName": "app", "Reason": "temporary table"}, 1) in list(proxy.samples())


async def test_variable_sets_do_not_pin_when_they_are_excluded(mariadb, proxies):
    proxy = proxies(
        mariadb, maximum_connections=1, session_pinning_filters=("EXCLUDE_VARIABLE_SETS",), connection_borrow_timeout=1
    )
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("SET @x = 5")
        await client.execute("SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')")
        assert not client.pins
        assert await other.fetch_value("SELECT @x") is None
        assert "ANSI_QUOTES" not in await other.fetch_value("SELECT @@sql_mode")


async def test_equal_sessions_share_a_connection_without_replay(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    setting = "SET time_zone = '+05:00'" if proxy.engine == "mysql" else "SET TimeZone TO 'Asia/Tokyo'"
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute(setting)
        await other.execute(setting)
        before = proxy.counters.replays
        for _ in range(3):
            await client.fetch_value("SELECT 1")
            await other.fetch_value("SELECT 1")
        assert proxy.counters.replays == before


async def test_plain_statements_cost_no_reset(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a INT, b VARCHAR(10))")
        for who in (client, other, client, other):
            await who.execute("INSERT INTO plain (a, b) VALUES (1, 'x')")
            await who.execute("UPDATE plain SET b = upper(b) WHERE a IN (1, 2)")
            assert await who.fetch_value("SELECT count(*) FROM plain WHERE coalesce(a, 0) = 1") >= 1
            async with who.transaction():
                await who.execute("DELETE FROM plain")
                await who.execute("INSERT INTO plain (a) VALUES (1)")
        assert proxy.counters.resets == 0


async def test_hygiene_always_resets_between_clients(server, proxies):
    proxy = proxies(server, maximum_connections=1, hygiene="always")
    async with proxy.connect() as client, proxy.connect() as other:
        await client.fetch_value("SELECT 1")
        await client.fetch_value("SELECT 1")
        assert proxy.counters.resets == 0
        await other.fetch_value("SELECT 1")
        assert proxy.counters.resets == 1


async def test_init_query_holds_on_every_connection_and_after_every_reset(server, proxies):
    text, probe, wanted = (
        ("SET time_zone = '+07:00'; SET sql_mode = 'ANSI'", ZONE, "+07:00")
        if server.engine == "mysql"
        else ("SET work_mem = '7MB'; SET TimeZone TO 'Asia/Tokyo';", "SHOW work_mem", "7MB")
    )
    proxy = proxies(server, maximum_connections=1, init_query=text, hygiene="always")
    async with proxy.connect() as client, proxy.connect() as other:
        for who in (client, other, client):
            assert await who.fetch_value(probe) == wanted
        assert proxy.counters.resets == 2


async def test_a_setting_the_server_refuses_does_not_travel(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    async with proxy.connect() as client:
        with pytest.raises(DatabaseError):
            await client.execute(
                "SET time_zone = 'nowhere/at all'" if server.engine == "mysql" else "SET TimeZone TO 'nowhere/at all'"
            )
        assert await client.fetch_value("SELECT 1") == 1


async def test_a_setting_given_as_an_argument_travels_with_its_value(mariadb, proxies):
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("SET time_zone = %s", ("+05:00",))
        await other.execute("SET time_zone = %s", ("+06:00",))
        assert await client.fetch_value(ZONE) == "+05:00"
        assert await other.fetch_value(ZONE) == "+06:00"


async def test_a_character_set_that_breaks_escaping_is_refused(mariadb, proxies):
    async with proxies(mariadb).connect() as client:
        for statement in ("SET NAMES gbk", "SET character_set_client = 'sjis'", "SET CHARACTER SET big5"):
            with pytest.raises(InvalidParameterValue, match="utf8mb4"):
                await client.execute(statement)


async def test_escaping_follows_the_sql_mode(mariadb, proxies):
    """With NO_BACKSLASH_ESCAPES a backslash in an argument is a letter; the escaping must know, on every connection."""
    proxy = proxies(mariadb, maximum_connections=1)
    nasty = "\\' OR 1=1 -- "
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")
        for who in (client, other, client, other):
            assert await who.fetch_value("SELECT %s", (nasty,)) == nasty


async def test_a_transaction_left_by_autocommit_is_not_shared(mariadb, proxies):
    proxy = proxies(mariadb, maximum_connections=1, connection_borrow_timeout=0.2)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a INT PRIMARY KEY)")
        await client.execute("SET autocommit = 0")
        await client.execute("INSERT INTO plain VALUES (1)")
        with pytest.raises(BorrowTimeout):
            await other.fetch_value("SELECT 1")
        await client.execute("COMMIT")
        assert await other.fetch_value("SELECT count(*) FROM plain") == 1
        with pytest.raises(DatabaseError):  # the refused insert, too, has begun a transaction
            await client.execute("INSERT INTO plain VALUES (1)")
        await client.execute("ROLLBACK")
        assert await other.fetch_value("SELECT count(*) FROM plain") == 1
