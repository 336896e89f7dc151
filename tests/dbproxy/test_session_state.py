"""Nobody sees what another client left in the session: every way to change a session, on one connection for all clients."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from db_servers import USER

from forebay.errors import BorrowTimeout, DatabaseError, DatabaseUnavailable, InvalidParameterValue

TABLE = json.loads((Path(__file__).parents[1] / "cases" / "session_state.json").read_text())
ZONE = "SELECT @@session.time_zone"


def cases(engine):
    return [pytest.param(case, id=case["name"]) for case in TABLE[engine]["cases"]]


async def look(client, probe):
    """Give what a question shows: a value, or the server's error."""
    try:
        return await client.fetch_value(probe)
    except DatabaseError as error:
        return f"error {error.code}"


@asynccontextmanager
async def made(proxy):
    """Make what the cases use, and drop it in the end: other tests use the same server, and have a type of the same name."""

    async def run(part):
        async with proxy.connect() as client:
            for statement in TABLE[proxy.engine][part]:
                await client.execute(statement)

    await run("setup")
    try:
        yield
    finally:
        await run("teardown")


async def nobody_else_sees(proxy, case):
    probe, reason = case["probe"], case.get("reason", "")
    fresh = type(proxy)(proxy.settings.target, maximum_connections=1)
    async with fresh, fresh.connect() as client:
        default = await look(client, probe)

    async def somebody_else():
        async with asyncio.timeout(20), proxy.connect() as other:
            while True:
                try:
                    return await look(other, probe)
                except DatabaseUnavailable:  # a connection was closed, and the next one is not open yet
                    continue

    async with proxy.connect() as client:
        for statement in case["change"]:
            if case.get("fails") and statement == case["change"][-1]:
                with pytest.raises(DatabaseError):
                    await client.execute(statement)
            else:
                await client.execute(statement)
        assert reason in {pin.reason for pin in proxy.pinned()} or not reason
        assert bool(proxy.pinned()) == bool(reason)
        if case["fate"] == "pinned":
            with pytest.raises(BorrowTimeout):
                await somebody_else()
        else:
            assert await somebody_else() == default
            assert await look(client, probe) == (case["changed"] if case["fate"] == "tracked" else default)
            if not client.pins:  # the question itself may be one for the session
                assert await somebody_else() == default
    assert await somebody_else() == default
    assert proxy.pinned() == []


@pytest.mark.parametrize("case", cases("postgresql"))
async def test_postgresql_keeps_it_from_the_next_client(postgres, proxies, case):
    postgres.sql(f"GRANT pg_monitor TO {USER}", "postgres")
    proxy = proxies(postgres, maximum_connections=1, connection_borrow_timeout=0.2)
    async with made(proxy):
        await nobody_else_sees(proxy, case)


@pytest.mark.parametrize("case", cases("mysql"))
async def test_mariadb_keeps_it_from_the_next_client(mariadb, proxies, case):
    proxy = proxies(mariadb, maximum_connections=1, connection_borrow_timeout=0.2)
    async with made(proxy):
        await nobody_else_sees(proxy, case)


SET, SHOW = "SET work_mem TO '7MB'", "SHOW work_mem"
ENDS = [
    (["BEGIN", SET, "COMMIT AND CHAIN", "ROLLBACK"], "7MB"),
    (["BEGIN", SET, "ROLLBACK AND CHAIN", "COMMIT"], "4MB"),
    (["BEGIN", SET, "COMMIT AND CHAIN", "SET work_mem TO '9MB'", "ROLLBACK AND CHAIN", "COMMIT"], "7MB"),
    (["BEGIN", "SAVEPOINT a", SET, "SELECT 1/0", "COMMIT AND CHAIN", "COMMIT"], "4MB"),
    (["BEGIN", SET, "SAVEPOINT a", "SELECT 1/0", "ROLLBACK TO a", "COMMIT"], "7MB"),
    (["BEGIN", "SAVEPOINT a", SET, "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a", "COMMIT"], "4MB"),
    (["BEGIN", SET, "COMMIT; BEGIN; ROLLBACK"], "7MB"),
    (["BEGIN", SET, "SELECT 1/0", "COMMIT; SELECT 1"], "4MB"),
    ([f"BEGIN; {SET}; ROLLBACK"], "4MB"),
    ([f"{SET}; BEGIN", "ROLLBACK"], "4MB"),
]


@pytest.mark.parametrize("looks_first", ["who has no setting", "who has the same"])
@pytest.mark.parametrize(("statements", "left"), ENDS)
async def test_the_books_end_a_transaction_where_the_server_does(statements, left, looks_first, postgres, proxies):
    """AND CHAIN was not an end of it: a setting of one client's reached the next, or was missing where the books had it."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as none, proxy.connect() as same:
        await same.execute(SET)
        await none.fetch_value(SHOW)
        for statement in statements:
            if statement == "SELECT 1/0":
                with pytest.raises(DatabaseError):
                    await client.execute(statement)
            else:
                await client.execute(statement)
        others = [(none, "4MB"), (same, "7MB")]
        for other, expected in others if looks_first == "who has no setting" else others[::-1]:
            if not client.pins:
                assert await other.fetch_value(SHOW) == expected
        assert await client.fetch_value(SHOW) == left
        await client.close()
        for other, expected in others:
            assert await other.fetch_value(SHOW) == expected


QUOTED = ["a--b", "a/*b*/c", "x--", "; SELECT pg_sleep(9) --", "C:\\", "# -- /*", "it''s", "(a , b)   \t c"]


async def test_a_setting_is_replayed_as_it_was_written(postgres, proxies):
    """What looked like a comment in quotes was cut off, and the next value could run as a statement."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        for number, value in enumerate(QUOTED):
            await client.execute(f"SET app.n{number} TO '{value}' -- it's one")
        assert not client.pins
        for _ in range(2):
            assert await other.fetch_value("SELECT coalesce(current_setting('app.n0', true), '')") == ""
            for number, value in enumerate(QUOTED):
                assert await client.fetch_value(f"SHOW app.n{number}") == value.replace("''", "'")
        assert proxy.statistics()["DatabaseConnectionsSetupSucceeded"] == 1


async def test_a_setting_in_mariadb_is_replayed_as_it_was_written(mariadb, proxies):
    """Any other setting, and one that is an argument, stays where it was made."""
    proxy = proxies(mariadb, maximum_connections=2)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute(
            "SET lc_time_names = 'de_DE', SESSION sql_mode := \"ANSI\", time_zone = '+02:00' -- it's one"
        )
        assert not client.pins
        asked = "SELECT CONCAT(@@lc_time_names, @@time_zone, @@sql_mode LIKE '%ANSI_QUOTES%')"
        for _ in range(2):
            assert await other.fetch_value(asked) != await client.fetch_value(asked) == "de_DE+02:001"
        await client.execute("SET time_zone = %s", ("+03:00",))
        await client.execute("SET default_master_connection = 'a-- b'")
        assert {pin.detail for pin in proxy.pinned()} == {"time_zone", "default_master_connection"}
        assert await client.fetch_value("SELECT CONCAT(@@time_zone, @@default_master_connection)") == "+03:00a-- b"


@pytest.mark.parametrize(
    "text", ["SET NAMES latin1", "SET character_set_results = latin1", "SET NAMES %s", "SET NAMES 'gbk'"]
)
async def test_a_character_set_that_the_client_does_not_write_is_refused(text, mariadb, proxies):
    """It stored the wrong bytes, and the next client could not read its own."""
    async with proxies(mariadb).connect() as client:
        with pytest.raises(InvalidParameterValue, match="utf8mb4"):
            await client.execute(text, ("latin1",) if "%s" in text else None)
        await client.execute("SET NAMES utf8mb4")
        assert await client.fetch_value("SELECT 'ä'") == "ä"


async def test_a_backslash_is_read_by_the_setting_that_was_in_force(postgres, proxies):
    """A replay is read as one text, before the first setting in it is made."""
    proxy = proxies(postgres, maximum_connections=2)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("SET standard_conforming_strings TO off")
        await client.execute(r"SET app.note TO 'it\'s'")
        assert client.pins
        assert await other.fetch_value("SHOW standard_conforming_strings") == "on"
        assert await client.fetch_value("SHOW app.note") == "it's"


SET_AND_UNSET = [
    ("SET ROLE pg_monitor; SELECT 1; RESET ROLE", "SELECT current_user", USER),
    ("SET work_mem TO '7MB'; SET work_mem TO DEFAULT", SHOW, "4MB"),
    ("SET work_mem TO '7MB'; RESET ALL", SHOW, "4MB"),
    ("RESET work_mem; SET work_mem TO '7MB'", SHOW, "7MB"),
]


@pytest.mark.parametrize(("text", "probe", "left"), SET_AND_UNSET)
async def test_a_text_that_sets_and_takes_back_keeps_its_client(text, probe, left, postgres, proxies):
    """A role was taken up and given back in one text; on its next connection the client had it for good."""
    postgres.sql(f"GRANT pg_monitor TO {USER}", "postgres")
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute(text)
        assert client.pins
        assert await client.fetch_value(probe) == left
        await client.close()
        assert await other.fetch_value(probe) in {"4MB", USER}


PINNED_AND_UNPINNED = [
    f"RESET ALL; BEGIN; {SET}; COMMIT",
    "RESET ALL; SELECT set_config('work_mem', '7MB', false)",
]


@pytest.mark.parametrize("text", PINNED_AND_UNPINNED)
async def test_a_text_does_not_end_the_pin_it_is_itself_the_cause_of(text, postgres, proxies):
    """RESET ALL at its beginning ended what came after it, and the setting was lost, or another one came back."""
    proxy = proxies(postgres, maximum_connections=2)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("SET work_mem TO '9MB'")
        await client.execute(text)
        assert client.pins
        assert await other.fetch_value(SHOW) == "4MB"
        assert await client.fetch_value(SHOW) == "7MB"
        await client.execute("RESET ALL")
        assert not client.pins
        assert await client.fetch_value(SHOW) == "4MB"


async def test_a_text_does_not_end_its_own_pin_in_mariadb_either(mariadb, proxies):
    async with proxies(mariadb).connect() as client:
        await client.execute("SET sql_mode = 'ANSI', sql_mode = CONCAT(@@sql_mode, ',NO_ZERO_DATE')")
        assert client.pins


async def test_a_commit_that_was_none_takes_its_settings_along_whoever_asks(postgres, proxies):
    """The server tells it in the status, which only ``execute`` reads."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as same:
        await same.execute(SET)
        await client.execute("BEGIN")
        await client.execute(SET)
        with pytest.raises(DatabaseError):
            await client.execute("SELECT 1/0")
        await client.fetch_value("COMMIT")
        assert await same.fetch_value(SHOW) == "7MB"


async def test_a_stream_that_was_left_early_leaves_nothing_to_the_next_client(postgres, proxies):
    """Whatever its function had done to the session was nobody's."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        async with client.transaction():
            rows = client.stream(
                "SELECT set_config('work_mem', '7MB', false) FROM generate_series(1, 5000)", prefetch=10
            )
            assert (await anext(rows))[0] == "7MB"
            await rows.aclose()
        assert client.pins
        assert await client.fetch_value(SHOW) in {"4MB", "7MB"}
        await client.close()
        assert await other.fetch_value(SHOW) == "4MB"


async def test_a_connection_that_the_server_hangs_up_is_lent_to_nobody(mariadb, proxies):
    """COMMIT RELEASE: somebody else's write was told to be lost."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await other.execute("DROP TABLE IF EXISTS plain")
        await other.execute("CREATE TABLE plain (a INT)")
        for end in ("COMMIT RELEASE", "ROLLBACK RELEASE"):
            await client.execute("BEGIN")
            await client.execute(end)
            await other.execute("INSERT INTO plain VALUES (1)")
        await client.execute("SET completion_type = 'CHAIN'")
        await client.execute("BEGIN")
        await client.execute("COMMIT")
        assert client.in_transaction
        await client.close()
        await other.execute("INSERT INTO plain VALUES (1)")
        assert not other.in_transaction


async def test_a_pin_ends_with_its_cause(server, proxies):
    proxy = proxies(server, maximum_connections=1, connection_borrow_timeout=5)
    async with made(proxy), proxy.connect() as client:
        for row in TABLE["releases"][proxy.engine]:
            for cause in row["causes"]:
                await client.execute(cause)
            assert client.pins, row
            await client.execute(row["end"])
            assert not client.pins, (row, client.pins)


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
        assert ("SessionPins", {"ProxyName": "app", "Reason": "temporary table"}, 1) in list(proxy.measurements())


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


async def test_an_excluded_variable_is_gone_with_its_statement(server, proxies):
    """Its client had it or not, by chance; and texts were read by a mode that nobody had noted."""
    proxy = proxies(server, maximum_connections=1, session_pinning_filters=("EXCLUDE_VARIABLE_SETS",))
    is_mysql = server.engine == "mysql"
    change = "SET @x = 5" if is_mysql else "SET standard_conforming_strings = off"
    probe, untouched = ("SELECT @x", None) if is_mysql else ("SHOW standard_conforming_strings", "on")
    async with proxy.connect() as client:
        await client.execute(change)
        assert await client.fetch_value(probe) == untouched
        assert not client.pins
        async with client.transaction():  # which keeps its connection
            await client.execute(change)
            assert await client.fetch_value(probe) != untouched
        assert await client.fetch_value(probe) == untouched


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


async def test_an_argument_is_never_replayed_as_a_setting(mariadb, proxies):
    """Under NO_BACKSLASH_ESCAPES an argument broke out of its quotes in the replay, and set something for the next client."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")
        await client.execute("SET time_zone = %s", ("+05:00",))
        with pytest.raises(DatabaseError):
            await client.execute("SET time_zone = %s", ("\\', foreign_key_checks = 0 -- ",))
        assert client.pins == ("setting:time_zone",)
        assert await client.fetch_value(ZONE) == "+05:00"
    async with proxy.connect() as other:
        assert await other.fetch_value("SELECT @@foreign_key_checks") == 1
        assert await other.fetch_value(ZONE) == "SYSTEM"


async def test_an_argument_neither_pins_nor_ends_a_pin(mariadb, proxies):
    """What was in an argument was judged as SQL; a lock was lost by it without a word."""
    async with proxies(mariadb).connect() as client:
        await client.fetch_value("SELECT CONCAT(%s, %s)", ("GET_LOCK('a', 1)", "/*! @x := 5 */"))
        assert not client.pins
        await client.execute("SELECT GET_LOCK('mine', 0)")
        await client.fetch_value("SELECT CONCAT(%s)", ("RELEASE_ALL_LOCKS()",))
        assert client.pins
        assert await client.fetch_value("SELECT IS_USED_LOCK('mine') = CONNECTION_ID()") == 1


async def test_a_placeholder_in_quotes_is_refused(mariadb, proxies):
    async with proxies(mariadb).connect() as client:
        for statement in ("SELECT '%s'", "SELECT 1 -- %s", "SELECT `%s`"):
            with pytest.raises(InvalidParameterValue, match="stands in quotes"):
                await client.fetch_value(statement, ("x",))
        assert await client.fetch_value("SELECT '5%%', %s", ("x",)) == "5%"
        assert await client.fetch_value("SELECT '%s'") == "%s"


async def test_neither_the_log_nor_the_list_of_pins_shows_a_part_of_a_literal(server, proxies, caplog):
    proxy = proxies(server)
    lock = "SELECT GET_LOCK('s3cret', 0)" if proxy.engine == "mysql" else "SELECT set_config('app.x', 's3cret', false)"
    with caplog.at_level("INFO", "forebay.dbproxy"):
        async with proxy.connect() as client:
            await client.execute(lock)
            assert client.pins
            assert "s3cret" not in f"{proxy.pinned()}{client.pins}"
    assert "Reason" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_function_that_somebody_vouches_for_does_not_pin(server, proxies):
    proxy = proxies(server, clean_functions=("vouched",))
    body = "RETURNS INT RETURN 1" if proxy.engine == "mysql" else "RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'"
    async with proxy.connect() as client:
        for name in ("vouched", "not_vouched"):
            await client.execute(f"DROP FUNCTION IF EXISTS {name}")
            await client.execute(f"CREATE FUNCTION {name}() {body}")
        assert await client.fetch_value("SELECT vouched()") == 1
        assert not client.pins
        assert await client.fetch_value("SELECT not_vouched()") == 1
        assert client.pins == ("function:not_vouched",)


async def test_a_change_of_the_schema_is_seen_by_the_next_statement(server, proxies):
    """What was clean is so no more, once its table has a trigger, or its name is another function's."""
    proxy = proxies(server, maximum_connections=1)
    if proxy.engine == "mysql":
        trigger = ["CREATE TRIGGER grown_up BEFORE INSERT ON grown FOR EACH ROW SET @x = 1"]
    else:
        trigger = [
            "CREATE OR REPLACE FUNCTION grown_up() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
            "CREATE TRIGGER grown_up BEFORE INSERT ON grown FOR EACH ROW EXECUTE FUNCTION grown_up()",
        ]
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS grown")
        await client.execute("CREATE TABLE grown (a INT)")
        await client.execute("INSERT INTO grown VALUES (1)")
        assert not client.pins
        for statement in trigger:
            await client.execute(statement)
        assert not client.pins
        await client.execute("INSERT INTO grown VALUES (1)")
        assert client.pins == ("function:grown_up",)


async def test_a_user_with_few_rights_is_told_what_to_grant(mariadb, proxies):
    """MariaDB shows such a user triggers, but not the text of a view."""
    mariadb.sql("CREATE TABLE IF NOT EXISTS seen (a INT); CREATE TABLE IF NOT EXISTS heard (a INT)")
    mariadb.sql("CREATE OR REPLACE VIEW seen_view AS SELECT a FROM seen")
    mariadb.sql("CREATE OR REPLACE TRIGGER hears BEFORE INSERT ON heard FOR EACH ROW SET @x = 1")
    mariadb.sql("CREATE USER IF NOT EXISTS poor@'%' IDENTIFIED BY 'pw'; GRANT SELECT, INSERT ON app.* TO poor@'%'", "")
    proxy = proxies(f"mysql://poor:pw@{mariadb.address}/app")
    async with proxy.connect() as client:
        await client.fetch_all("SELECT * FROM seen")
        await client.execute("INSERT INTO seen VALUES (1)")
        assert not client.pins
        await client.fetch_all("SELECT * FROM seen_view")
        assert "grant SHOW VIEW" in client.pins[0]
    async with proxy.connect() as client:
        await client.execute("INSERT INTO heard VALUES (1)")
        assert "function:hears" in client.pins


async def test_over_a_thousand_savepoints_no_setting_is_lost(postgres, proxies):
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("BEGIN")
        for number in range(1010):
            await client.execute(f"SAVEPOINT s{number}")
        await client.execute(SET)
        await client.execute("ROLLBACK TO s1005")
        await client.execute("COMMIT")
        assert await client.fetch_value(SHOW) == "4MB"
        await client.close()
        assert await other.fetch_value(SHOW) == "4MB"


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


@pytest.mark.parametrize("path", ["pg_temp, public", "evil, pg_catalog"])
async def test_a_role_whose_path_hides_names_is_refused(path, postgres, proxies):
    """CREATE TABLE made a temporary table without a word of it, and the next client saw it."""
    proxy = proxies(postgres, maximum_connections=1, connection_borrow_timeout=1)
    postgres.sql(f"ALTER ROLE {USER} SET search_path = {path}")
    try:
        with pytest.raises(DatabaseUnavailable, match=f"search_path = {path}"):
            async with proxy.connect() as client:
                await client.fetch_value("SELECT 1")
    finally:
        postgres.sql(f"ALTER ROLE {USER} RESET search_path")
    async with proxy.connect() as client:
        assert await client.fetch_value("SELECT 1") == 1
