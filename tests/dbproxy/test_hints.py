"""PostgreSQL's catalogue is asked only for what a first question hints at: whatever has an answer must be hinted at."""

from __future__ import annotations

from types import SimpleNamespace

import asyncpg
import pytest
from db_servers import ADMIN_PASSWORD

from forebay.dbproxy.catalogue import look_up

# At least one thing for each question, with a name of its own.
THINGS = """
CREATE TYPE pair AS (a int, b int);
CREATE FUNCTION steps(int, int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION moves(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION moves_row(pair) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION within(text) RETURNS text LANGUAGE internal STABLE AS 'lower';
CREATE FUNCTION is_row() RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION given(a int DEFAULT 5) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION alike(pair, pair) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN true; END';
CREATE FUNCTION moves_alike(pair, pair) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
CREATE FUNCTION number(pair) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION acts() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION acts_stable() RETURNS trigger LANGUAGE plpgsql STABLE AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION changes() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE AGGREGATE total(int) (SFUNC = steps, STYPE = int);
CREATE AGGREGATE total_moves(int) (SFUNC = int4pl, STYPE = int, FINALFUNC = moves);
CREATE DOMAIN checked AS int CHECK (VALUE > 0);
CREATE TYPE checked_range AS RANGE (subtype = checked);
CREATE DOMAIN defaulted AS int DEFAULT 7;
CREATE DOMAIN over_it AS defaulted;
CREATE TYPE nested AS (x pair);
CREATE TABLE elders (id int PRIMARY KEY);
CREATE TABLE children (id int REFERENCES elders);
CREATE TABLE numbered (id serial);
CREATE TABLE limited (a int CHECK (a > 0));
CREATE TABLE indexed (a int);
CREATE INDEX ON indexed ((a + 1));
CREATE TABLE indexed_in_part (a int);
CREATE INDEX ON indexed_in_part (a) WHERE a > 0;
CREATE TABLE of_pairs (p pair);
CREATE TABLE watched (a int);
CREATE TRIGGER t BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION acts();
CREATE TABLE seen (a int);
CREATE TRIGGER t BEFORE UPDATE ON seen FOR EACH ROW WHEN (NEW.a > 1) EXECUTE FUNCTION acts_stable();
CREATE TABLE ruled (a int);
CREATE RULE also AS ON INSERT TO ruled DO ALSO SELECT 1;
CREATE TABLE guarded (a int);
CREATE POLICY own ON guarded USING (a > 0);
CREATE TABLE guarded_at_writing (a int);
CREATE POLICY own ON guarded_at_writing FOR INSERT WITH CHECK (a > 0);
CREATE TABLE ground (a int);
CREATE TABLE above () INHERITS (ground);
CREATE TABLE parted (a int) PARTITION BY RANGE ((a + 1));
CREATE FOREIGN DATA WRAPPER far;
CREATE SERVER away FOREIGN DATA WRAPPER far;
CREATE FOREIGN TABLE abroad (a int) SERVER away;
CREATE TABLE partly (a int) PARTITION BY LIST (a);
CREATE FOREIGN TABLE abroad_part PARTITION OF partly FOR VALUES IN (1) SERVER away;
CREATE VIEW shown AS SELECT a FROM limited;
"""
OF_THE_DATABASE = {  # whatever the names in a statement are
    "CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = moves_alike)": "operator",
    "CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = alike)": "unwritten",
    "CREATE CAST (pair AS int) WITH FUNCTION moves_row(pair)": "cast",
    "CREATE CAST (pair AS int) WITH FUNCTION number(pair)": "unwritten",
    "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION changes()": "event trigger",
}
NAMES = """SELECT proname::text FROM pg_proc WHERE oid >= 16384 UNION SELECT relname FROM pg_class WHERE oid >= 16384
UNION SELECT typname FROM pg_type WHERE oid >= 16384
UNION VALUES ('nextval'), ('plpgsql_call_handler'), ('pg_settings'), ('cardinal_number'), ('lower')"""


class Asking:
    """Stands for a database connection and for the judge who learns what it says."""

    engine = "postgresql"

    def __init__(self, connection, *, everything=False):
        self.connection = connection
        self.everything = everything
        self.statements = 0
        self.rows = set()

    async def fetch_all(self, sql, args):
        self.statements += 1
        rows = await self.connection.fetch(sql, *args)
        if self.everything and self.statements == 1:
            return [(where, "t" * len(hints)) for where, hints in rows]
        return rows

    def generation(self):
        return 0

    def database(self, context):
        return ""

    def learn(self, generation, context, names, rows):
        self.rows |= set(rows)

    async def look(self, *names):
        await look_up(self, self, SimpleNamespace(needs=names), 0, lambda: SimpleNamespace(needs=()))
        return self.rows


@pytest.fixture(scope="module")
def things(postgres):
    """A database that has all of them."""
    postgres.sql("CREATE DATABASE hinted", "postgres")
    postgres.sql(THINGS, "hinted")
    yield postgres
    postgres.sql("DROP DATABASE hinted", "postgres")


@pytest.fixture
async def connection(things):
    login = {"user": "postgres", "password": ADMIN_PASSWORD, "database": "hinted"}
    connection = await asyncpg.connect(host="127.0.0.1", port=things.port, **login)
    yield connection
    await connection.close()


async def test_every_question_that_has_an_answer_is_hinted_at(connection):
    names = [name for (name,) in await connection.fetch(NAMES)]
    everything = await Asking(connection, everything=True).look(*names)
    hinted = set()
    for name in names:
        hinted |= await Asking(connection).look(name)
    assert hinted == everything
    assert {kind for _, kind, _ in hinted} == {
        "function", "function of a row", "read", "written", "cascade", "trigger", "unreadable", "unwritable",
    }  # fmt: skip
    for statement, kind in OF_THE_DATABASE.items():
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(statement)
        asking = Asking(connection)
        assert kind in {kind for _, kind, _ in await asking.look("no such name")}, statement
        assert asking.rows == await Asking(connection, everything=True).look("no such name")
        await transaction.rollback()


async def test_names_that_change_nothing_cost_one_question(connection):
    asking = Asking(connection)
    assert await asking.look("elder", "id", "a", "lower", "count") == set()
    assert asking.statements == 1
    assert await asking.look("limited", "numbered", "shown", "nextval")
    assert asking.statements == 3
