"""What hostile sessions were found to leave: what no reset undoes, rights that come back, variables filled on the side."""

from __future__ import annotations

import asyncio

import pytest
from db_servers import ADMIN_PASSWORD, PASSWORD, USER

from forebay.errors import BorrowTimeout, DatabaseError, DatabaseUnavailable

SHOW = "SHOW work_mem"


@pytest.fixture(scope="module")
def administered(templates):
    """A PostgreSQL whose administrator uses the proxy, with replication."""
    server = templates("postgresql").clone()
    server.start("-cwal_level=logical", "-cmax_wal_senders=4")
    try:
        yield server
    finally:
        server.remove()


def as_administrator(server):
    return f"postgresql://postgres:{ADMIN_PASSWORD.replace('!', '%21')}@{server.address}/app"


async def look(client, probe):
    """Give what a question shows: a value, or the server's error."""
    try:
        return await client.fetch_value(probe)
    except DatabaseError as error:
        return f"error {error.code}"


LEFT = {
    "a connection of dblink": (
        "CREATE EXTENSION IF NOT EXISTS dblink",
        "SELECT dblink_connect('mine', 'host=127.0.0.1 port={port} dbname=app user={user} password={password}')",
        "SELECT dblink_get_connections()",
        None,
    ),
    "a replication origin": (
        "SELECT pg_replication_origin_create('mine') WHERE NOT EXISTS (SELECT FROM pg_replication_origin)",
        "SELECT pg_replication_origin_session_setup('mine')",
        "SELECT pg_replication_origin_session_is_setup()",
        False,
    ),
    "a temporary slot": (
        "SELECT 1",
        "SELECT pg_create_physical_replication_slot('mine', false, true)",
        "SELECT count(*) FROM pg_replication_slots",
        0,
    ),
    "a temporary logical slot": (
        "SELECT 1",
        "SELECT pg_create_logical_replication_slot('logical', 'test_decoding', true)",
        "SELECT count(*) FROM pg_replication_slots",
        0,
    ),
    "backup mode": (
        "SELECT 1",
        "SELECT pg_backup_start('mine', true)",
        "SELECT 1 FROM pg_backup_stop()",
        "error 55000",
    ),
    "a seed": ("SELECT 1", "SELECT setseed(0.5)", "SELECT random() IN (0.985432509929465, 0.9851677175347999)", False),
}


@pytest.mark.parametrize("name", LEFT)
async def test_what_no_reset_undoes_goes_with_its_connection(name, administered, proxies):
    before, change, probe, fresh = LEFT[name]
    if "dblink" in before:
        found = administered.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'dblink'")
        if found == "0":
            pytest.skip("dblink is not installed: sudo apt-get install postgresql-contrib")
    if "logical" in name and "ERROR" in administered.sql("SELECT coalesce(pg_stat_file('x', true)::text, '')"):
        pytest.skip("no plugin for logical decoding")
    proxy = proxies(as_administrator(administered), maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute(before)
        await client.close()
    async with proxy.connect() as client, proxy.connect() as other:
        assert await look(other, probe) == fresh
        await other.close()
        await client.fetch_value(change.format(port=administered.port, user=USER, password=PASSWORD))
        assert client.pins
        mine = await look(client, probe)
        assert mine != fresh or name == "a seed"
    async with proxy.connect() as next_one:
        assert await look(next_one, probe) == fresh


RIGHTS = [
    ["SET ROLE pg_monitor", "RESET ALL"],
    ["SET ROLE pg_monitor", "RESET ALL", "RESET ROLE"],
    ["SET SESSION AUTHORIZATION app"],
    ["SET SESSION AUTHORIZATION app", "RESET ALL"],
    ["SET SESSION AUTHORIZATION app", "SET ROLE pg_monitor", "RESET ALL"],
    ["SET ROLE pg_monitor", "SET SESSION AUTHORIZATION app"],
    ["SET ROLE pg_monitor", "SET SESSION AUTHORIZATION app", "RESET SESSION AUTHORIZATION"],
    ["SET SESSION AUTHORIZATION app", "RESET SESSION AUTHORIZATION", "RESET ALL"],
    ["SET SESSION AUTHORIZATION app", "SET SESSION AUTHORIZATION DEFAULT"],
    ["SET session_authorization TO app", "RESET session_authorization"],
    ["SET role TO pg_monitor", "SET role TO DEFAULT"],
    ["SET work_mem TO '7MB'", "SET SESSION AUTHORIZATION app", "RESET ALL", "RESET SESSION AUTHORIZATION"],
    ["BEGIN", "SET LOCAL SESSION AUTHORIZATION app", "COMMIT"],
    ["BEGIN", "SET SESSION AUTHORIZATION app", "ROLLBACK"],
    ["BEGIN", "SET ROLE pg_monitor", "SAVEPOINT a", "SET SESSION AUTHORIZATION app", "ROLLBACK TO a", "COMMIT"],
    ["SELECT set_config('role', 'pg_monitor', false)", "RESET ALL"],
    ["SELECT set_config('session_authorization', 'app', false)", "RESET ALL", "DISCARD ALL"],
]


@pytest.mark.parametrize("statements", RIGHTS, ids=" ; ".join)
async def test_a_client_is_who_it_would_be_on_a_connection_of_its_own(statements, administered, proxies):
    """Who had taken up a role or another user, and reset it in some way, was somebody else on its next connection."""
    administered.sql(f"GRANT pg_monitor TO {USER}", "postgres")
    asyncpg = pytest.importorskip("asyncpg")
    proxy = proxies(as_administrator(administered), maximum_connections=1, connection_borrow_timeout=0.05)
    bare = await asyncpg.connect(
        host="127.0.0.1",
        port=administered.port,
        user="postgres",
        password=ADMIN_PASSWORD,
        database="app",
        statement_cache_size=0,  # it would use what DISCARD ALL has closed
    )
    who = "SELECT session_user || ' as ' || current_user || ' with ' || current_setting('work_mem')"
    try:
        async with proxy.connect() as client:
            for statement in statements:
                await bare.execute(statement)
                await client.execute(statement)
                async with proxy.connect() as other:
                    try:
                        assert await other.fetch_value(who) == "postgres as postgres with 4MB"
                    except (BorrowTimeout, DatabaseUnavailable):
                        assert client.pins or client.in_transaction or "DISCARD" in statement
                assert await client.fetch_value(who) == await bare.fetchval(who), statement
        async with proxy.connect() as other:
            async with asyncio.timeout(5):
                while True:
                    try:
                        assert await other.fetch_value(who) == "postgres as postgres with 4MB"
                        break
                    except (BorrowTimeout, DatabaseUnavailable):  # it is being reset, or opened anew
                        continue
    finally:
        await bare.close()


@pytest.mark.parametrize("leave", ["RESET ROLE", "SET ROLE NONE", "DISCARD ALL"])
async def test_a_client_whose_role_was_dropped_can_leave_it(leave, postgres, proxies):
    """It was locked out of RESET ROLE: the role was taken up again before each statement."""
    postgres.sql("DROP ROLE IF EXISTS passing")
    postgres.sql("CREATE ROLE passing; GRANT passing TO app")
    proxy = proxies(postgres, maximum_connections=2)
    async with proxy.connect() as client:
        await client.execute("SET ROLE passing")
        postgres.sql("DROP ROLE passing")
        proxy.reconnect()
        with pytest.raises(DatabaseError, match="role"):
            await client.fetch_value("SELECT current_user")
        await client.execute(leave)
        assert await client.fetch_value("SELECT current_user") == USER
        assert client.pins == ()


DEALLOCATES = [
    "DO $$BEGIN EXECUTE 'DEALLOCATE ALL'; END$$",
    "DEALLOCATE ALL",
    "DISCARD ALL",
    "/* a */ deallocate\nall",
]


@pytest.mark.parametrize("statement", DEALLOCATES)
async def test_the_prepared_statements_of_others_outlive_a_deallocate(statement, postgres, proxies):
    """The driver went on to use what the server had closed: every client that asked the same failed, for good."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as other:
        assert await other.fetch_value("SELECT $1::int + 1", (1,)) == 2
        async with proxy.connect() as client:
            await client.execute(statement)
        for number in range(3):
            assert await other.fetch_value("SELECT $1::int + 1", (number,)) == number + 1


@pytest.mark.parametrize("begin", ["", "BEGIN"])
@pytest.mark.parametrize("statement", [text for text in DEALLOCATES if "DISCARD" not in text])
async def test_a_client_goes_on_after_its_own_deallocate(statement, begin, postgres, proxies):
    """Found by program 4049: what the driver had dropped it closed after that, by names that the server knew no more."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("CREATE TEMP TABLE mine (a INT)")
        for number in range(25):
            await client.fetch_value(f"SELECT $1::int + {number}", (1,))
        await client.execute("SET TimeZone TO 'Asia/Tokyo'")
        if begin:
            await client.execute(begin)
        await client.fetch_all(statement)
        for _ in range(2):
            for number in range(25):
                assert await client.fetch_value(f"SELECT $1::int + {number}", (1,)) == 1 + number
        if begin:
            await client.execute("COMMIT")
    async with proxy.connect() as other:
        assert await other.fetch_value("SELECT $1::int + 1", (1,)) == 2


async def test_a_text_is_read_as_the_server_does_after_a_commit_that_fails(postgres, proxies):
    """The setting was undone, the judge read by it still: it took a call for a part of a literal, and others got its setting."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("DROP TABLE IF EXISTS deferred")
        await client.execute("CREATE TABLE deferred (a INT UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        for setting in ("SET LOCAL standard_conforming_strings = off", "SET standard_conforming_strings = off"):
            await client.execute("BEGIN")
            await client.execute(setting)
            await client.execute("INSERT INTO deferred VALUES (1), (1)")
            with pytest.raises(DatabaseError, match="duplicate key"):
                await client.execute("COMMIT")
            await client.fetch_all(r"SELECT 'a\', set_config($$work_mem$$, $$9MB$$, false) --'")
            assert client.pins
            await client.execute("RESET ALL")
            assert not client.pins
            assert await other.fetch_value(SHOW) == "4MB"
        await client.execute("DROP TABLE deferred")


async def test_profiles_are_seen_by_nobody_else(mariadb, proxies):
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("SET profiling = 1")
        assert client.pins
        await client.fetch_value("SELECT 'a secret'")
        assert "a secret" in str(await client.fetch_all("SHOW PROFILES"))
    async with proxy.connect() as other:
        assert await other.fetch_all("SHOW PROFILES") == []
        assert other.pins


async def test_a_variable_that_load_data_fills_pins(mariadb, proxies):
    file = mariadb.folder / "rows.txt"
    file.write_text("1\n2\n")
    file.chmod(0o644)
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS loaded")
        await client.execute("CREATE TABLE loaded (a INT)")
        await client.execute(f"LOAD DATA INFILE '{file}' INTO TABLE loaded (@v) SET a = @v + 1")
        assert client.pins
        assert await client.fetch_all("SELECT a FROM loaded ORDER BY a") == [(2,), (3,)]
        assert await client.fetch_value("SELECT @v") in {"2", b"2"}
    async with proxy.connect() as other:
        assert await other.fetch_value("SELECT @v") is None
        await other.execute("DROP TABLE loaded")


async def test_an_out_parameter_stays_while_nobody_else_asks(mariadb, proxies):
    """It was gone after 3.5 s: the connection was idle and dirty, and was reset."""
    proxy = proxies(mariadb, maximum_connections=2)
    async with proxy.connect() as client:
        await client.execute("CREATE OR REPLACE PROCEDURE outward(OUT a INT) SET a = 5")
        await client.execute("CALL outward(@out)")
        assert client.pins
        for _ in range(2):  # by hand, what it does once a second
            for pool in proxy._pools():
                for db in pool.connections:
                    db.idle_since -= 60
            proxy._housekeep()
            await asyncio.sleep(0.05)
        assert await client.fetch_value("SELECT @out") == 5
    async with proxy.connect() as other:
        assert await other.fetch_value("SELECT @out") is None
        await other.execute("DROP PROCEDURE outward")


@pytest.mark.parametrize("first", [True, False])
async def test_a_write_is_refused_in_the_next_transaction_after_set_transaction(first, mariadb, proxies):
    """Beside another SET it was carried to a connection that knew nothing of it, and the write went through."""
    proxy = proxies(mariadb, maximum_connections=2)
    settings = ["SET TRANSACTION READ ONLY", "SET time_zone = '+01:00'"]
    async with proxy.connect() as client, proxy.connect() as other:
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a INT)")
        for setting in settings if first else settings[::-1]:
            await client.execute(setting)
        assert await other.fetch_value("SELECT 1") == 1
        with pytest.raises(DatabaseError) as refused:
            await client.execute("INSERT INTO plain VALUES (1)")
        assert refused.value.code == "1792"
        assert await other.fetch_value("SELECT count(*) FROM plain") == 0


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
async def test_eight_megabytes_of_text_do_not_hold_the_event_loop(engine, request, proxies):
    """They held it for 1.4 to 2.6 s."""
    proxy = proxies(request.getfixturevalue("postgres" if engine == "postgresql" else "mariadb"))
    loop = asyncio.get_running_loop()
    async with proxy.connect() as client:
        text = "x/*!" * 2_000_000
        longest, last, ended = 0.0, loop.time(), False

        async def beat():
            nonlocal longest, last
            while not ended:
                await asyncio.sleep(0)
                longest, last = max(longest, loop.time() - last), loop.time()

        beating = asyncio.create_task(beat())
        if engine == "mysql":
            assert await client.fetch_value("SELECT LENGTH(%s)", (text,)) == len(text)
        else:
            assert await client.fetch_value("SELECT length($1::text)", (text,)) == len(text)
        assert await client.fetch_value(f"SELECT length('{text}')") == len(text)
        ended = True
        await beating
    assert longest < 1
