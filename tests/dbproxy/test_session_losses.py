"""What a client has set stays with it, and what never was does not hold a connection."""

from __future__ import annotations

import pytest

from forebay.errors import DatabaseError


@pytest.mark.parametrize("verb", ["execute", "fetch_all", "fetch_one", "fetch_value"])
async def test_a_commit_that_rolled_back_takes_settings_back(verb, postgres, proxies):
    """Only execute told that the COMMIT of a failed transaction was a ROLLBACK; a fetch kept its settings for good."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute("BEGIN")
        await one.execute("SET work_mem TO '7MB'")
        with pytest.raises(DatabaseError):
            await one.fetch_value("SELECT 1/0")
        given = await getattr(one, verb)("COMMIT")
        assert verb == "execute" or given == ([] if verb == "fetch_all" else None)
        assert await two.fetch_value("SELECT 1") == 1
        assert await one.fetch_value("SHOW work_mem") == "4MB"
        assert one.pins == ()


TEMPORARY = {
    "function": ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 5'", "SELECT pg_temp.f()", 5),
    "type": ("CREATE TYPE pg_temp.mood AS ENUM ('good')", "SELECT 'good'::pg_temp.mood::text", "good"),
    "domain": ("CREATE DOMAIN pg_temp.small AS int CHECK (value < 9)", "SELECT 5::pg_temp.small::int", 5),
    "pg_class": ("CREATE TEMP TABLE pg_class (relnamespace oid)", "SELECT count(*) FROM pg_temp.pg_class", 0),
}


@pytest.mark.parametrize("kind", TEMPORARY)
async def test_what_is_temporary_stays_after_a_commit(kind, postgres, proxies):
    """Only tables were looked for, by a name that a temporary table may have: the rest was lost with the next COMMIT."""
    makes, uses, value = TEMPORARY[kind]
    proxy = proxies(postgres, maximum_connections=1, connection_borrow_timeout=0.5)
    async with proxy.connect() as one:
        await one.execute(makes)
        await one.execute("BEGIN")
        await one.execute("COMMIT")
        assert one.pins
        assert await one.fetch_value(uses) == value


async def test_a_temporary_table_that_is_dropped_holds_no_connection(postgres, proxies):
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as one:
        await one.execute("CREATE TEMP TABLE short (a serial PRIMARY KEY, b text)")
        assert one.pins
        await one.execute("DROP TABLE short")
        assert one.pins == ()


async def test_a_setting_that_the_server_takes_no_more_does_not_lock_its_client_out(postgres, proxies):
    """Every statement failed by the replay, and so did the SET that would have helped."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        postgres.sql("CREATE TEXT SEARCH CONFIGURATION public.mine (COPY = simple)")
        await one.execute("SET default_text_search_config = 'public.mine'")
        await one.execute("SET work_mem = '7MB'")
        assert await two.fetch_value("SELECT 1") == 1
        postgres.sql("DROP TEXT SEARCH CONFIGURATION public.mine")
        assert await one.fetch_value("SELECT 1") == 1
        assert await one.fetch_value("SHOW work_mem") == "7MB"
        await one.execute("SET default_text_search_config = 'simple'")
        assert await two.fetch_value("SELECT 1") == 1
        assert await one.fetch_value("SHOW default_text_search_config") == "pg_catalog.simple"


async def test_a_database_that_was_dropped_can_be_left(mariadb, proxies):
    """USE of another one failed, too. Nothing runs in a database that the client has not chosen."""
    proxy = proxies(mariadb, maximum_connections=1)
    mariadb.sql("CREATE DATABASE IF NOT EXISTS gone")
    mariadb.sql("GRANT ALL ON gone.* TO app")
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute("USE gone")
        assert await two.fetch_value("SELECT 1") == 1
        mariadb.sql("DROP DATABASE gone")
        with pytest.raises(DatabaseError, match="gone"):
            await one.fetch_value("SELECT 1")
        await one.execute("USE app")
        assert await one.fetch_value("SELECT DATABASE()") == "app"


async def test_a_database_and_a_character_set_are_replayed_in_their_order(mariadb, proxies):
    """USE came first, and SET CHARACTER SET took the old database's set again: texts were stored with other bytes."""
    mariadb.sql("CREATE DATABASE IF NOT EXISTS old CHARACTER SET latin1")
    mariadb.sql("GRANT ALL ON old.* TO app")
    proxy = proxies(mariadb, maximum_connections=1)
    asked = "SELECT @@character_set_connection, HEX('\N{EURO SIGN}')"
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute("SET CHARACTER SET utf8mb4")
        await one.execute("USE old")
        before = await one.fetch_one(asked)
        assert await two.fetch_value("SELECT 1") == 1
        assert await one.fetch_one(asked) == before == ("utf8mb4", "E282AC")
    mariadb.sql("DROP DATABASE old")


@pytest.mark.parametrize("text", ["SELECT 'a", "SELECT GET_LOCK('held', 0); SELECT 2"])
async def test_a_text_that_cannot_be_read_holds_no_connection(text, mariadb, proxies):
    """The server has not read it either: a typing error kept a connection until its client left."""
    async with proxies(mariadb, maximum_connections=1).connect() as one:
        with pytest.raises(DatabaseError, match="syntax"):
            await one.fetch_all(text)
        assert one.pins == ()
        assert await one.fetch_value("SELECT IS_USED_LOCK('held')") is None


@pytest.mark.parametrize("text", ["SELECT pg_advisory_lock(1); SELECT 1", "SELECT 1; SET work_mem = '7MB'"])
async def test_several_statements_that_are_refused_have_not_run(text, postgres, proxies):
    async with proxies(postgres, maximum_connections=1).connect() as one:
        with pytest.raises(DatabaseError, match="multiple commands"):
            await one.fetch_all(text)
        assert one.pins == ()
        assert await one.fetch_value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


async def test_an_advisory_lock_that_was_not_got_holds_no_connection(postgres, proxies):
    """Three clients that asked for the leader's lock kept three connections for nothing."""
    proxy = proxies(postgres, maximum_connections=2)
    async with proxy.connect() as one, proxy.connect() as two:
        assert await one.fetch_value("SELECT pg_try_advisory_lock(5)") is True
        assert one.pins
        assert await two.fetch_value("SELECT pg_try_advisory_lock(5)") is False
        assert two.pins == ()
        assert await one.fetch_value("SELECT pg_advisory_unlock(5)") is True
        assert one.pins == ()
