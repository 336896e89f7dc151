"""What a reviewer's sessions left to others, or read of them, by words that are names too and by texts that nobody looks into.

Each was a leak or a loss at a real server. Two clients share one connection.
"""

from __future__ import annotations

import asyncio

import pytest

from forebay.errors import DatabaseError, InvalidParameterValue

MEMORY = 78  # the first client's key


@pytest.fixture
async def pair(request, proxies):
    """Give two clients of one connection, to the engine of the test's parameter."""
    server = request.getfixturevalue("postgres" if request.param == "postgresql" else "mariadb")
    proxy = proxies(server, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as other:
        yield one, other


async def shown(client, probe):
    """Give what a question shows: a value, or the server's error."""
    try:
        return await client.fetch_value(probe)
    except DatabaseError as error:
        return f"error {error.code}"


READERS = {
    "EXECUTE IMMEDIATE": ["EXECUTE IMMEDIATE 'SELECT LAST_INSERT_ID()'"],
    "a prepared statement": ["PREPARE p FROM 'SELECT LAST_INSERT_ID()'", "EXECUTE p"],
    "a function": ["SELECT reviewed_key()"],
    "a procedure": ["CALL reviewed_tell()"],
    "a block": ["BEGIN NOT ATOMIC SELECT LAST_INSERT_ID(); END"],
    "a variable": ["SET @x = @@last_insert_id", "SELECT @x"],
}


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
@pytest.mark.parametrize("name", READERS)
async def test_what_nobody_can_look_into_reads_no_key_of_another_client(name, pair):
    """It ran on the connection that another client had used, and gave that client's key."""
    one, other = pair
    for statement in (
        "CREATE OR REPLACE TABLE reviewed (id INT AUTO_INCREMENT PRIMARY KEY, n INT)",
        "CREATE OR REPLACE FUNCTION reviewed_key() RETURNS INT NOT DETERMINISTIC RETURN LAST_INSERT_ID()",
        "CREATE OR REPLACE PROCEDURE reviewed_tell() SELECT LAST_INSERT_ID()",
        f"INSERT INTO reviewed VALUES ({MEMORY}, 1)",
        "INSERT INTO reviewed (n) VALUES (2)",
    ):
        await one.execute(statement)
    assert not one.pins
    *before, last = READERS[name]
    for statement in before:
        await other.execute(statement)
    assert await other.fetch_value(last) == 0


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
async def test_a_diagnostic_shows_no_value_of_another_client(pair):
    one, other = pair
    assert await one.fetch_value("SELECT CAST('s3cret' AS SIGNED)") == 0
    await shown(other, "GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT")
    assert await other.fetch_value("SELECT @m") is None


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
async def test_a_text_in_a_function_shows_no_statement_of_another_client(pair):
    """`query_to_xml` read `pg_prepared_statements`, where the driver's statements of all clients stood with their literals."""
    one, other = pair
    assert await one.fetch_value("SELECT 's3cret of one'::text") == "s3cret of one"
    await other.fetch_value("SELECT 1")
    found = await other.fetch_value(
        "SELECT query_to_xml('SELECT statement FROM pg_prepared_statements', true, false, '')::text"
    )
    assert "s3cret of one" not in found


NAMES = {
    "SET transaction.mine TO 'a'": ("SELECT current_setting('transaction.mine', true)", ("a",), (None, "")),
    "SET constraints.mine TO 'a'": ("SELECT current_setting('constraints.mine', true)", ("a",), (None, "")),
    "SELECT 1 AS insert INTO TEMP reviewed_tmp": ("SELECT count(*) FROM reviewed_tmp", (1,), ("error 42P01",)),
    "SELECT 1 AS merge INTO TEMP reviewed_tmp": ("SELECT count(*) FROM reviewed_tmp", (1,), ("error 42P01",)),
    "WITH a AS (SELECT 1) SELECT (1) insert INTO TEMP reviewed_tmp": (
        "SELECT count(*) FROM reviewed_tmp",
        (1,),
        ("error 42P01",),
    ),
    "PREPARE transaction AS SELECT 5": ("EXECUTE transaction", (5,), ("error 26000",)),
}


@pytest.mark.parametrize("statement", NAMES)
async def test_a_word_that_is_a_name_is_no_keyword(statement, postgres, proxies):
    """Before a point, as an alias or as a statement's name it was taken for the keyword: others saw what was left."""
    probe, mine, fresh = NAMES[statement]
    proxy = proxies(postgres, maximum_connections=3)
    async with proxy.connect() as one:
        await one.execute(statement)
        async with proxy.connect() as other, proxy.connect() as third:
            results = await asyncio.gather(shown(other, probe), shown(third, probe))
            assert all(result in fresh for result in results), results
        assert await shown(one, probe) in mine
    async with proxy.connect() as next_one:
        assert await shown(next_one, probe) in fresh


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
async def test_a_setting_whose_name_begins_like_a_role_stays_after_a_transaction(pair):
    """`SET role.mine` was taken for a role, which the server says is none: it was lost at the next COMMIT."""
    one, other = pair
    await one.execute("SET role.mine TO 'a'")
    async with one.transaction():
        await one.fetch_value("SELECT 1")
    assert await other.fetch_value("SELECT current_setting('role.mine', true)") in (None, "")
    assert await one.fetch_value("SELECT current_setting('role.mine')") == "a"


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
async def test_half_a_date_style_stays_with_its_connection(pair):
    """The server merges `DMY` and `SQL`; said again alone, the last of them read 01/02/2003 as January."""
    one, _ = pair
    await one.execute("SET datestyle TO 'DMY'")
    await one.execute("SET datestyle TO 'SQL'")
    assert one.pins
    assert (await one.fetch_value("SELECT '01/02/2003'::date")).month == 2


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
async def test_a_whole_date_style_is_carried(pair):
    one, other = pair
    await one.execute("SET datestyle TO 'SQL, DMY'")
    assert not one.pins
    assert await other.fetch_value("SHOW datestyle") == "ISO, MDY"
    assert await one.fetch_value("SHOW datestyle") == "SQL, DMY"


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    ["SET client_encoding = 'SJIS'", "SET NAMES 'LATIN1'", "SELECT set_config('client_encoding', 'SJIS', false)"],
)
async def test_another_encoding_than_the_drivers_is_refused(statement, pair):
    """The driver went on writing UTF-8: the server cut the texts elsewhere, ran what was a literal, and kept wrong bytes."""
    one, _ = pair
    with pytest.raises(InvalidParameterValue, match="UTF8"):
        await one.execute(statement)
    await one.execute("SET client_encoding TO 'UTF8'")
    assert await one.fetch_value("SELECT 'Á\\'") == "Á\\"


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "SET NAMES DEFAULT",
        "SET CHARACTER SET DEFAULT",
        "SET character_set_client = DEFAULT",
        "SET time_zone = '+01:00', @@session.character_set_client = DEFAULT",
        "SET collation_connection = DEFAULT",
        "SET character_set_results = NULL",
    ],
)
async def test_the_servers_own_character_set_is_refused(statement, pair):
    """On a server of gbk an argument broke out of its quotes after it; on one of latin1 wrong bytes were stored."""
    one, _ = pair
    with pytest.raises(InvalidParameterValue, match="utf8mb4"):
        await one.execute(statement)
    assert await one.fetch_value("SELECT HEX(%s)", ("縗'",)) == "E7B89727"


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
async def test_a_limit_of_rows_blinds_nobody(pair):
    """It was carried, and the proxy's questions for triggers ran under it: they found none, for every client."""
    one, other = pair
    for statement in (
        "CREATE OR REPLACE TABLE reviewed_w (a INT)",
        "CREATE TRIGGER reviewed_t BEFORE INSERT ON reviewed_w FOR EACH ROW SET @x = 7",
        "SET sql_select_limit = 0",
    ):
        await one.execute(statement)
    assert one.pins
    await one.close()
    await other.execute("INSERT INTO reviewed_w VALUES (1)")
    assert other.pins


HIDDEN_TRIGGERS = {
    "a comment that is run": "/*!50003 CREATE*/ /*!50003 TRIGGER reviewed_t BEFORE INSERT ON reviewed_w FOR EACH ROW SET @x = 7 */",
    "EXECUTE IMMEDIATE": "EXECUTE IMMEDIATE 'CREATE TRIGGER reviewed_t BEFORE INSERT ON reviewed_w FOR EACH ROW SET @x = 7'",
}


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
@pytest.mark.parametrize("name", HIDDEN_TRIGGERS)
async def test_a_trigger_that_an_unread_text_makes_is_seen_at_once(name, pair):
    """Names were not asked for again: for up to a minute inserts into the table were taken for clean."""
    one, other = pair
    await one.execute("CREATE OR REPLACE TABLE reviewed_w (a INT)")
    await other.execute("INSERT INTO reviewed_w VALUES (1)")
    assert not other.pins
    await one.execute(HIDDEN_TRIGGERS[name])
    await one.close()
    await other.execute("INSERT INTO reviewed_w VALUES (1)")
    assert other.pins


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
async def test_a_default_that_is_asked_for_pins_by_what_it_does(pair):
    """`DEFAULT(a)` runs the column's expression, which was looked at for what is written alone."""
    one, other = pair
    await other.execute("CREATE OR REPLACE TABLE reviewed_d (b INT, a INT DEFAULT (@x := 5))")
    await other.execute("INSERT INTO reviewed_d VALUES (1, 1)")
    await other.close()
    assert await one.fetch_value("SELECT b FROM reviewed_d") == 1
    assert not one.pins
    await one.fetch_all("SELECT DEFAULT(a) FROM reviewed_d")
    assert one.pins


@pytest.mark.parametrize(
    "statement", ["SELECT RELEASE_ALL_LOCKS() FROM reviewed_k WHERE 1 = 0", "EXPLAIN SELECT RELEASE_ALL_LOCKS()"]
)
@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
async def test_a_lock_stays_when_its_release_did_not_run(statement, pair):
    """The pin ended, and the lock was lost without a word."""
    one, _ = pair
    await one.execute("CREATE OR REPLACE TABLE reviewed_k (a INT)")
    assert await one.fetch_value("SELECT GET_LOCK('reviewed', 0)") == 1
    await one.fetch_all(statement)
    assert one.pins
    assert await one.fetch_value("SELECT IS_USED_LOCK('reviewed') = CONNECTION_ID()") == 1
    await one.fetch_value("SELECT RELEASE_ALL_LOCKS()")
    assert not one.pins


async def test_a_lock_that_was_not_got_pins_nobody(server, proxies):
    """Three clients that asked for leadership filled a pool of three."""
    proxy = proxies(server, maximum_connections=2)
    take = "SELECT GET_LOCK('leader', 0)" if proxy.engine == "mysql" else "SELECT pg_try_advisory_lock(5)"
    async with proxy.connect() as leader, proxy.connect() as follower:
        assert await leader.fetch_value(take)
        assert not await follower.fetch_value(take)
        assert not follower.pins
        assert leader.pins


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
async def test_a_table_with_a_point_in_its_name_is_not_another_databases(pair):
    """`other.t` and the table t of other had one cause: when one was dropped, the other was lost."""
    one, other = pair
    await one.execute("CREATE TEMPORARY TABLE `other.t` (a INT)")
    await one.execute("CREATE TEMPORARY TABLE other.t (a INT)")
    await one.execute("DROP TEMPORARY TABLE other.t")
    assert one.pins
    assert await one.fetch_value("SELECT count(*) FROM `other.t`") == 0
    assert not other.pins


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
async def test_what_counts_rows_counts_those_of_the_statement_before(pair):
    """The proxy's own question for the name came between, the first time and after each change of the schema."""
    one, _ = pair
    for statement in (
        "CREATE OR REPLACE TABLE reviewed_k (n INT)",
        "INSERT INTO reviewed_k VALUES (1), (2), (3)",
        "BEGIN",
        "UPDATE reviewed_k SET n = n + 1",
    ):
        await one.execute(statement)
    assert await one.fetch_value("SELECT ROW_COUNT() AS changed") == 3
    await one.fetch_all("SELECT SQL_CALC_FOUND_ROWS n FROM reviewed_k LIMIT 1")
    assert await one.fetch_value("SELECT FOUND_ROWS()") == 3
