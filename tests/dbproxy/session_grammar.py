"""What the programs of ``session_programs`` are made of: statements that change a session, and questions that show it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

STEPS_MAX = 25
MAY_FAIL = "!"  # before a statement of a scene that goes on whether it fails or not
ARGUMENT = "an 'argument' \\"

SETUP = {
    "postgresql": [
        "CREATE TABLE things (id int PRIMARY KEY, note text)",
        "CREATE TABLE watched (a int)",
        "CREATE SCHEMA other",
        "CREATE TABLE other.things (id int, note text)",
        "INSERT INTO other.things VALUES (-1, 'other')",
        "CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('work_mem', '9MB', false); RETURN 1; END$$",
        "CREATE FUNCTION of_thing(things) RETURNS text LANGUAGE sql VOLATILE AS $$SELECT set_config('work_mem', '8MB', false)$$",
        (
            "CREATE FUNCTION on_watched() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM set_config('app.trigger', 'ran', false); RETURN NEW; END$$"
        ),
        "CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION on_watched()",
        "CREATE VIEW peek AS SELECT set_config('app.view', 'ran', false) AS a",
        "CREATE VIEW way AS SELECT a FROM watched",
        "INSERT INTO things VALUES (0, 'zero')",
        "CREATE SEQUENCE numbers",
        "CREATE TABLE keyed (id serial PRIMARY KEY, n int UNIQUE)",
        "CREATE TABLE told (a bigint)",
        "CREATE TABLE plain (a int)",
        "CREATE FUNCTION key_of() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$BEGIN RETURN lastval(); END$$",
        "CREATE FUNCTION stable_key() RETURNS bigint LANGUAGE plpgsql STABLE AS $$BEGIN RETURN lastval(); END$$",
        "CREATE FUNCTION immutable_key() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT stable_key()'",
        (
            "CREATE FUNCTION checks(int) RETURNS boolean LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM set_config('app.view', 'checked', false); RETURN true; END$$"
        ),
        "CREATE DOMAIN checked AS int CHECK (checks(VALUE))",
        "CREATE TYPE checked_range AS RANGE (subtype = checked)",
        # what a word of a statement does not call: a function that is not what its maker says of it stands behind it
        "CREATE TYPE pair AS (a int, b int)",
        *(
            f"CREATE FUNCTION {name}({takes}) RETURNS {gives} LANGUAGE plpgsql {kind} AS "
            f"$$BEGIN PERFORM set_config('app.hidden', '{name}', false); RETURN {value}; END$$"
            for name, takes, gives, kind, value in (
                ("of_step", "int, int", "int", "STABLE", "1"),
                ("of_sign", "pair, pair", "boolean", "STABLE", "true"),
                ("of_cast", "pair", "int", "STABLE", "1"),
                ("of_key", "int", "int", "IMMUTABLE", "1"),
                ("of_row", "", "boolean", "STABLE", "true"),
                ("of_value", "", "int", "STABLE", "5"),
                ("of_event", "", "trigger", "STABLE", "NULL"),
                ("of_change", "", "trigger", "VOLATILE", "NEW"),
            )
        ),
        "CREATE AGGREGATE hidden_total(int) (SFUNC = of_step, STYPE = int, INITCOND = '0')",
        "CREATE TABLE indexed (a int)",
        "CREATE INDEX ON indexed (of_key(a))",
        "CREATE TABLE made_of (a int, b int GENERATED ALWAYS AS (of_key(a)) STORED)",
        "CREATE TABLE limited (a int CHECK (of_row()), b int DEFAULT of_value())",
        "CREATE DOMAIN given AS int DEFAULT of_value()",
        "CREATE TABLE given_rows (a int, b given)",
        "CREATE TABLE ruled (a int)",
        "CREATE RULE also AS ON INSERT TO ruled DO ALSO UPDATE indexed SET a = NEW.a WHERE of_row()",
        "CREATE TABLE guarded (a int)",
        "INSERT INTO guarded VALUES (1)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE guarded FORCE ROW LEVEL SECURITY",
        "CREATE POLICY own ON guarded USING (of_row())",
        "CREATE TABLE elders (id int PRIMARY KEY)",
        "CREATE TABLE children (id int REFERENCES elders ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TRIGGER child AFTER DELETE OR UPDATE ON children FOR EACH ROW EXECUTE FUNCTION of_event()",
        "CREATE TABLE ground (a int)",
        "CREATE TABLE above () INHERITS (ground)",
        "INSERT INTO above VALUES (1)",
        "CREATE TRIGGER heir BEFORE UPDATE ON above FOR EACH ROW EXECUTE FUNCTION of_change()",
        "CREATE TABLE once (id int PRIMARY KEY, n int)",
        "CREATE TRIGGER again BEFORE UPDATE ON once FOR EACH ROW EXECUTE FUNCTION of_change()",
        "CREATE TRIGGER emptied AFTER TRUNCATE ON once FOR EACH STATEMENT EXECUTE FUNCTION of_event()",
        "CREATE VIEW written AS SELECT id, n FROM once WHERE n > 0 WITH CHECK OPTION",
        "CREATE VIEW told_by AS SELECT of_value() AS a",
        "CREATE VIEW told_again AS SELECT a FROM told_by WHERE a > 0",
        "CREATE VIEW stand_in AS SELECT 1 AS a",
        "CREATE TRIGGER in_its_place INSTEAD OF INSERT ON stand_in FOR EACH ROW EXECUTE FUNCTION of_change()",
        "CREATE MATERIALIZED VIEW kept AS SELECT of_value() AS a",
        "CREATE PROCEDURE sets() LANGUAGE plpgsql AS $$BEGIN PERFORM of_value(); END$$",
        "CREATE FUNCTION other.quiet() RETURNS int LANGUAGE sql STABLE AS 'SELECT public.of_value()'",
        "CREATE FUNCTION quiet() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'",
    ],
    "mysql": [
        "CREATE TABLE things (id INT PRIMARY KEY, note VARCHAR(50))",
        "CREATE TABLE watched (a INT)",
        "CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW SET @trigger = 'ran'",
        "CREATE FUNCTION sneaky() RETURNS INT BEGIN SET @hidden = 5; RETURN 1; END",
        "CREATE PROCEDURE outward(OUT a INT) SET a = 5",
        "CREATE FUNCTION failing() RETURNS INT BEGIN SET @hidden = 6; SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1064; RETURN 1; END",
        "CREATE PROCEDURE text_of_none() BEGIN DO GET_LOCK('{lane}2', 0); EXECUTE IMMEDIATE 'no SQL'; END",
        "CREATE VIEW way AS SELECT a FROM watched",
        "CREATE VIEW peek AS SELECT GET_LOCK('{lane}view', 0) AS a",
        "INSERT INTO things VALUES (0, 'zero')",
        "CREATE TABLE keyed (id INT AUTO_INCREMENT PRIMARY KEY, n INT UNIQUE)",
        "CREATE TABLE told (a INT)",
        "CREATE TABLE plain (a INT)",
        "CREATE TABLE keeps (a INT)",
        "CREATE TRIGGER keeper BEFORE INSERT ON keeps FOR EACH ROW SET NEW.a = LAST_INSERT_ID()",
        "CREATE TABLE defaults (b INT, a INT DEFAULT (@hidden := 7))",
        "INSERT INTO defaults VALUES (1, 1)",
        "CREATE FUNCTION key_of() RETURNS INT NOT DETERMINISTIC RETURN LAST_INSERT_ID()",
        "CREATE PROCEDURE tell() SELECT LAST_INSERT_ID()",
        "CREATE SEQUENCE numbers",
        "CREATE DATABASE {lane}_latin CHARACTER SET latin1",
        "CREATE VIEW mysql.{lane}_lock AS SELECT GET_LOCK('{lane}view', 0) AS a",
        # what a word of a statement does not call
        "CREATE FUNCTION lying() RETURNS INT DETERMINISTIC NO SQL BEGIN SET @hidden = 8; RETURN 1; END",
        "CREATE FUNCTION calls_it() RETURNS INT DETERMINISTIC NO SQL RETURN lying()",
        "CREATE PROCEDURE sets() SELECT calls_it()",
        "CREATE TABLE once (id INT PRIMARY KEY, n INT)",
        "CREATE TRIGGER again BEFORE UPDATE ON once FOR EACH ROW SET NEW.n = NEW.n + calls_it()",
        "CREATE TRIGGER gone AFTER DELETE ON once FOR EACH ROW SET @trigger = 'gone'",
        "CREATE VIEW written AS SELECT id, n FROM once WHERE n > 0 WITH CHECK OPTION",
        "CREATE VIEW told_by AS SELECT calls_it() AS a",
        "CREATE VIEW told_again AS SELECT a FROM told_by WHERE a > 0",
        "CREATE TABLE counted (b INT, a INT DEFAULT (NEXT VALUE FOR numbers))",
        "CREATE FUNCTION quiet() RETURNS INT RETURN 1",
        "CREATE FUNCTION {lane}_other.quiet() RETURNS INT RETURN {lane}.lying()",
    ],
}
# What a program may have left in the tables of a server.
SWEEP = {
    "postgresql": [
        "DROP VIEW IF EXISTS public.shown, other.shown, public.seen, other.seen",
        "DROP TABLE IF EXISTS public.made, public.tmp, public.tmp2, other.made, other.tmp, other.tmp2",
        "DELETE FROM things WHERE id <> 0",
        "UPDATE things SET note = 'zero' WHERE note <> 'zero'",
        "DELETE FROM other.things WHERE id <> -1 OR note <> 'other'",
        "INSERT INTO other.things SELECT -1, 'other' WHERE NOT EXISTS (SELECT FROM other.things)",
        "DELETE FROM watched",
        "DROP TRIGGER IF EXISTS late ON plain",
        "ALTER TABLE plain ALTER a DROP DEFAULT",
        "DELETE FROM plain",
        "DELETE FROM told",
        "DELETE FROM keyed",
        "DELETE FROM indexed",
        "DELETE FROM made_of",
        "DELETE FROM limited",
        "DELETE FROM given_rows",
        "DELETE FROM ruled",
        "DELETE FROM children",
        "DELETE FROM elders",
        "DELETE FROM once",
        "SELECT setval('numbers', 1, false), setval('keyed_id_seq', 1, false)",
    ],
    "mysql": [
        "DROP VIEW IF EXISTS {lane}.locking, {lane}_other.locking, {lane}_latin.locking",
        "DROP TABLE IF EXISTS {lane}.made, {lane}_other.made, {lane}_latin.made",
        "DROP TRIGGER IF EXISTS late",
        "DELETE FROM plain",
        "DELETE FROM told",
        "DELETE FROM keeps",
        "TRUNCATE keyed",
        "CREATE OR REPLACE SEQUENCE numbers",
        "DELETE FROM things WHERE id <> 0",
        "UPDATE things SET note = 'zero' WHERE note <> 'zero'",
        "DELETE FROM watched",
        "DELETE FROM once",
        "DELETE FROM counted",
    ],
}
# What else is swept after a program that has a word in one of its statements: these change the catalogue, and cost more than a program.
SWEEP_AFTER = {
    "postgresql": {
        "operator": ["DROP OPERATOR IF EXISTS === (pair, pair), other.=== (pair, pair)"],
        "cast": ["DROP CAST IF EXISTS (pair AS int)"],
        "late_rule": ["DROP RULE IF EXISTS late_rule ON plain"],
        "late_own": ["DROP POLICY IF EXISTS late_own ON plain"],
        "security": ["ALTER TABLE plain DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"],
        "late_check": ["ALTER TABLE plain DROP CONSTRAINT IF EXISTS late_check"],
        "late_key": ["DROP INDEX IF EXISTS public.late_key, other.late_key"],
        "quiet()": [
            "CREATE OR REPLACE FUNCTION public.quiet() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'",
            "CREATE OR REPLACE FUNCTION other.quiet() RETURNS int LANGUAGE sql STABLE AS 'SELECT public.of_value()'",
        ],
    },
    "mysql": {
        "quiet()": [
            "CREATE OR REPLACE FUNCTION {lane}.quiet() RETURNS INT RETURN 1",
            "CREATE OR REPLACE FUNCTION {lane}_other.quiet() RETURNS INT RETURN {lane}.lying()",
        ],
    },
}
CHANGES = {
    "postgresql": [
        "SET work_mem TO '{n}MB'", "SET work_mem = DEFAULT", "RESET work_mem", "RESET ALL", "SET TimeZone TO 'Asia/Tokyo'",
        "SET TIME ZONE 'UTC'", "SET search_path TO other, public", "SET search_path = pg_temp, public", "SET app.mine TO 'x{n}'",
        "SET ROLE pg_monitor", "SET ROLE NONE", "RESET ROLE", "SET SESSION AUTHORIZATION DEFAULT", "SET LOCAL work_mem = '{n}MB'",
        "SET default_transaction_read_only = off", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET standard_conforming_strings = off", "SET standard_conforming_strings = on", "SET DateStyle TO 'German'",
        "SELECT set_config('work_mem', '{n}MB', false)", "SELECT set_config('work_mem', '{n}MB', true)",
        "SELECT \"set_config\"('app.mine', 'y{n}', false)", "SELECT pg_catalog.set_config('app.mine', 'z{n}', true)",
        "SELECT sneaky()", "SELECT t.of_thing FROM things t", "SELECT * FROM peek", "INSERT INTO watched VALUES ({n})", "INSERT INTO way VALUES ({n})",
        "CREATE TEMP TABLE tmp (a int)", "CREATE TABLE pg_temp.tmp (a int)", 'CREATE TABLE "pg_temp".tmp (a int)',
        'CREATE TABLE U&"pg\\005ftemp".tmp (a int)', "SELECT 1 AS a INTO TEMP tmp", "SELECT {n} AS a INTO tmp",
        "DROP TABLE IF EXISTS tmp", "DISCARD TEMP", "DISCARD ALL", "ALTER TABLE IF EXISTS tmp RENAME TO tmp2", "DROP TABLE IF EXISTS tmp2",
        "EXPLAIN ANALYZE CREATE TEMP TABLE tmp AS SELECT 1", "SELECT pg_advisory_lock({n})", "SELECT pg_advisory_unlock({n})",
        "SELECT pg_advisory_unlock_all()", "SELECT pg_advisory_lock({n}), 1/(SELECT 0)", "LISTEN news", "UNLISTEN *",
        "PREPARE p AS SELECT {n}", "PREPARE q AS SELECT set_config('work_mem', '7MB', false)", "EXECUTE p", "EXECUTE q",
        "DEALLOCATE p", "DEALLOCATE ALL", "DO $$BEGIN PERFORM set_config('app.mine', 'do', false); END$$",
        "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", 'SAVEPOINT "A b"', "ROLLBACK TO a", 'ROLLBACK TO SAVEPOINT "A b"', "RELEASE a",
        "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "BEGIN; SET work_mem TO '{n}MB'; COMMIT", "SET work_mem TO '{n}MB'; ROLLBACK",
        "DECLARE c CURSOR WITH HOLD FOR SELECT {n}", "CLOSE c", "UPDATE pg_settings SET setting = '{n}111' WHERE name = 'work_mem'",
        "INSERT INTO things VALUES ({n}, 'n')", "UPDATE things SET note = note || '{n}' WHERE id = 0", "DELETE FROM things WHERE id > 0",
        "SELECT pg_advisory_lock({n}); SELECT nosuch()", "PREPARE p AS SELECT {n}; SELECT nosuch()", "SELECT nosuch()",
        "SELECT pg_advisory_lock({n}), ('no' || 'such')::text::regclass", "SELECT set_config('role', 'pg_monitor', false)",
        "SELECT 1/0", "CREATE TABLE made (a int)", "DROP TABLE IF EXISTS made", "CREATE OR REPLACE VIEW shown AS SELECT 1 AS a",
        "WITH w AS (INSERT INTO things VALUES ({n}0, 'w') RETURNING id) SELECT * FROM w", "SELECT E'\\'' || 'a\\\\' AS a",
        # names that are keywords elsewhere
        "SET transaction.mine TO 'x{n}'", "SET constraints.mine TO 'x{n}'", "SET role.mine TO 'x{n}'", "SET session.mine TO 'x{n}'",
        "SET local.mine TO 'x{n}'", "RESET transaction.mine", "SELECT {n} AS insert INTO TEMP tmp", "SELECT {n} AS merge INTO TEMP tmp",
        "WITH insert AS (SELECT {n} AS a) SELECT * INTO TEMP tmp FROM insert", "PREPARE transaction AS SELECT {n}", "EXECUTE transaction",
        "DEALLOCATE transaction", "PREPARE TRANSACTION '{lane}'", "COMMIT PREPARED 'nosuch'",
        # temporary things that are not tables, and one that is called as the server's own
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT {n}'", "DROP FUNCTION IF EXISTS pg_temp.f()",
        "CREATE TYPE pg_temp.e AS ENUM ('a')", "CREATE DOMAIN pg_temp.d AS int", "CREATE TEMP TABLE pg_class (relnamespace oid)",
        "DROP TABLE IF EXISTS pg_temp.pg_class", "CREATE TEMP VIEW tmp AS SELECT {n} AS a", "CREATE TEMP SEQUENCE counts",
        "BEGIN; CREATE TEMP TABLE tmp (a int); COMMIT", "BEGIN; SET LOCAL search_path TO pg_temp; CREATE TABLE tmp (a int); COMMIT",
        # settings of many forms
        "SET DateStyle TO 'YMD'", "SET DateStyle = 'SQL'", "SET DateStyle = 'DMY'", "SET IntervalStyle = 'sql_standard'",
        "SET extra_float_digits = -{n}", "SET XML OPTION DOCUMENT", "SET SCHEMA 'other'", "SET TIME ZONE -{n}", "SET TIME ZONE LOCAL",
        "SET TIME ZONE INTERVAL '-0{n}:00' HOUR TO MINUTE", "SET plpgsql.variable_conflict = 'use_column'", "SET plpgsql.nosuch = 'x'",
        "SET LOCAL statement_timeout = '{n}00s'", "SET LOCAL ROLE pg_monitor", "SELECT set_config('search_path', 'other', true)",
        "SELECT set_config('app.mine', $1, false)", "SELECT set_config('app.mine', $1, true)", "SET CONSTRAINTS ALL DEFERRED",
        "BEGIN READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION READ ONLY",
        # what changes under a statement's names
        "CREATE TRIGGER late BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION on_watched()", "DROP TRIGGER IF EXISTS late ON plain",
        ("DO $$BEGIN EXECUTE 'CREATE OR REPLACE TRIGGER late BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION on_watched()'; END$$"),
        "INSERT INTO plain VALUES ({n})", "INSERT INTO plain VALUES ({n})", "INSERT INTO plain DEFAULT VALUES",
        "ALTER TABLE plain ALTER a SET DEFAULT sneaky()", "ALTER TABLE plain ALTER a DROP DEFAULT",
        "CREATE OR REPLACE VIEW seen AS SELECT set_config('app.view', 'seen', false) AS a", "CREATE OR REPLACE VIEW seen AS SELECT 'none' AS a",
        "SELECT * FROM seen", "SELECT * FROM seen", "DROP VIEW IF EXISTS seen",
        "MERGE INTO watched USING (SELECT {n} AS a) x ON watched.a = x.a WHEN NOT MATCHED THEN INSERT VALUES (x.a)",
        "SELECT {n}::checked::int", "SELECT '[1,2]'::checked_range::text", "SELECT '{n}'::text, $1::text", "INSERT INTO things VALUES ({n}, $1)",
        # what a session remembers
        "SELECT nextval('numbers')", "SELECT setval('numbers', {n}0)", "INSERT INTO keyed DEFAULT VALUES", "INSERT INTO keyed (n) VALUES ({n})",
        "SELECT 's3cret of {me}'::text", "SELECT 's3cret of {me}'::text", "DISCARD SEQUENCES", "DISCARD PLANS",
        "DECLARE d CURSOR FOR SELECT {n}", "FETCH c", "FETCH d", "CLOSE ALL", "SELECT pg_try_advisory_lock({n})",
        "SELECT pg_advisory_lock_shared({n})", "SELECT pg_advisory_unlock_shared({n})", "SELECT pg_advisory_xact_lock({n})",
        "SELECT pg_export_snapshot() IS NOT NULL", "LOCK TABLE things", "NOTIFY news",
        # functions that no word calls
        "SELECT hidden_total({n})", "SELECT hidden_total(id) OVER () FROM things", "SELECT ROW(1, {n})::pair === ROW(1, 2)::pair",
        "SELECT ROW(1, {n})::pair OPERATOR(public.===) ROW(1, 2)::pair", "SELECT ROW(1, {n})::pair::int", "SELECT CAST(ROW(1, 2)::pair AS int)",
        "CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = of_sign)", "DROP OPERATOR IF EXISTS === (pair, pair)",
        "CREATE CAST (pair AS int) WITH FUNCTION of_cast(pair) AS ASSIGNMENT", "DROP CAST IF EXISTS (pair AS int)",
        "INSERT INTO plain VALUES (ROW(1, {n})::pair)", "INSERT INTO indexed VALUES ({n})", "UPDATE indexed SET a = {n}", "REINDEX TABLE indexed",
        "ANALYZE indexed", "SELECT a FROM indexed WHERE a = {n}", "INSERT INTO made_of VALUES ({n})", "INSERT INTO limited (b) VALUES ({n})",
        "INSERT INTO limited (a) VALUES ({n})", "INSERT INTO limited DEFAULT VALUES", "INSERT INTO given_rows (a) VALUES ({n})",
        "INSERT INTO given_rows VALUES ({n}, DEFAULT)", "INSERT INTO given_rows VALUES ({n}, 1)", "INSERT INTO ruled VALUES ({n})",
        "SELECT count(*) FROM guarded", "UPDATE guarded SET a = a", "TABLE guarded",
        "INSERT INTO elders VALUES ({n}) ON CONFLICT DO NOTHING", "INSERT INTO children SELECT id FROM elders", "DELETE FROM elders",
        "UPDATE elders SET id = id + 10", "UPDATE ground SET a = a", "DELETE FROM ground WHERE a > 1", "SELECT a FROM ground",
        "INSERT INTO once VALUES (1, {n}) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n", "INSERT INTO once VALUES (1, {n})",
        "TRUNCATE once", "INSERT INTO written VALUES ({n}, {n})", "UPDATE written SET n = {n}", "SELECT * FROM told_by", "SELECT * FROM told_again",
        "INSERT INTO plain SELECT a FROM told_again", "INSERT INTO stand_in VALUES ({n})", "REFRESH MATERIALIZED VIEW kept", "SELECT a FROM kept",
        "CALL sets()", "SELECT quiet()", "SELECT other.quiet()", "EXPLAIN SELECT id FROM things WHERE id < of_value()",
        "EXPLAIN SELECT of_key({n})", "SELECT id FROM things WHERE id < of_value()", "SELECT id FROM things ORDER BY of_value(), id",
        "SELECT count(*) FILTER (WHERE of_row()) FROM things", "SELECT id FROM things GROUP BY id HAVING of_row()",
        "SELECT 1 FROM things LIMIT of_value()", "SELECT coalesce({n}, of_value())", "SELECT CASE WHEN of_row() THEN {n} END",
        "SELECT a FROM generate_series(1, of_value()) a", "SELECT a FROM of_value() a", "SELECT ARRAY(SELECT of_value())",
        "SELECT (SELECT of_value())", "SELECT EXISTS (SELECT of_value())", "SELECT things.* FROM things JOIN plain ON of_row()",
        "WITH RECURSIVE w(a) AS (SELECT 1 UNION SELECT a + of_value() FROM w WHERE a < 5) SELECT max(a) FROM w",
        "CREATE INDEX late_key ON plain (of_key(a))", "DROP INDEX IF EXISTS late_key", "ALTER TABLE plain ADD CONSTRAINT late_check CHECK (of_row())",
        "ALTER TABLE plain DROP CONSTRAINT IF EXISTS late_check", "CREATE POLICY late_own ON plain USING (of_row())",
        "ALTER TABLE plain ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "ALTER TABLE plain DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY", "DROP POLICY IF EXISTS late_own ON plain",
        "CREATE OR REPLACE RULE late_rule AS ON INSERT TO plain DO ALSO SELECT of_value()", "DROP RULE IF EXISTS late_rule ON plain",
        "CREATE OR REPLACE FUNCTION quiet() RETURNS int LANGUAGE sql STABLE AS 'SELECT of_value()'",
        "CREATE OR REPLACE FUNCTION quiet() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'", "SELECT quiet()",
    ],
    "mysql": [
        "SET time_zone = '+0{n}:00'", "SET @@session.time_zone = DEFAULT", "SET SESSION sql_mode = 'ANSI_QUOTES'", "SET sql_mode = ''",
        "SET sql_mode = DEFAULT", "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')", "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "SET foreign_key_checks = 0", "SET group_concat_max_len = {n}777", "SET autocommit = 0", "SET autocommit = 1",
        "SET @x = {n}", "SELECT {n} INTO @x", "SELECT 1, {n} INTO @y, @x", "SELECT @x := {n}", "SET @x = NULL", "SELECT {n} INTO /* c */ @x",
        "SET STATEMENT max_statement_time = 5 FOR SELECT {n} INTO @x", "CALL outward(@x)", "SELECT sneaky()", "SELECT failing()", "CALL text_of_none()", "SELECT nosuch()",
        "SET time_zone = '+0{n}:00', sql_mode = 'nosuch'", "SELECT `sneaky`()",
        "SELECT * FROM peek", "INSERT INTO watched VALUES ({n})", "INSERT INTO way VALUES ({n})", "/*!50000 SET time_zone = '+0{n}:30' */", "SELECT 1 /*! INTO @x */",
        "CREATE TEMPORARY TABLE tmp (a INT)", "DROP TEMPORARY TABLE IF EXISTS tmp", "DROP TABLE IF EXISTS tmp", "ALTER TABLE tmp RENAME TO tmp2",
        "DROP TABLE IF EXISTS tmp2", "SELECT GET_LOCK('{lane}{n}', 0)", "DO GET_LOCK('{lane}{n}', 0)", "SELECT RELEASE_LOCK('{lane}{n}')",
        "SELECT RELEASE_ALL_LOCKS()", "LOCK TABLES things READ", "UNLOCK TABLES", "PREPARE p FROM 'SELECT 5 INTO @x'", "EXECUTE p",
        "EXECUTE IMMEDIATE 'SET @x = 9'", "BEGIN NOT ATOMIC SET @x = 8; END", "DEALLOCATE PREPARE p", "HANDLER things OPEN",
        "HANDLER things CLOSE", "SET TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "SAVEPOINT a", "SAVEPOINT `A b`", "ROLLBACK TO a", "RELEASE SAVEPOINT a",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SET SESSION sort_buffer_size = {n}00000", "SET sql_auto_is_null = 1", "SET completion_type = 1",
        "USE {lane}", "USE {lane}_other", "INSERT INTO things VALUES ({n}, 'n')", "REPLACE INTO things VALUES ({n}, 'r')",
        "UPDATE things SET note = CONCAT(note, '{n}') WHERE id = 0", "DELETE FROM things WHERE id > 0", "SELECT * FROM nowhere",
        "CREATE TABLE made (a INT)", "DROP TABLE IF EXISTS made", "SELECT 'a\\\\' AS a, \"b\" AS b", "XA START '{lane}'", "XA END '{lane}'", "XA ROLLBACK '{lane}'",
        "SELECT -- \u00a0\n {n} INTO @x", "SELECT 5 --\u00a01\n", "SET max_sort_length = {n}00", "SET @x = {n}, time_zone = '+0{n}:00'",
        # modes and limits under which the proxy would ask or read otherwise
        "SET sql_select_limit = 0", "SET sql_select_limit = 1", "SET sql_select_limit = DEFAULT", "SET sql_mode = 'IGNORE_SPACE'", "SET sql_mode = 'ORACLE'",
        "SELECT NOW () IS NOT NULL", "SELECT IF (1, GET_LOCK ('{lane}1', 0), 0)", "SET ROLE readers", "SET ROLE NONE", "SET CHARACTER SET utf8mb4",
        "USE {lane}_latin", "SET collation_connection = 'utf8mb4_bin'", "SET tx_read_only = 1", "SET tx_read_only = 0",
        "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT \"x\"", "SET timestamp = {n}", "SET timestamp = DEFAULT", "SET insert_id = {n}00",
        "SET last_insert_id = {n}7", "SET optimizer_trace = 'enabled=on'", "SET profiling = 1",
        # calls that run, that do not, and that others have in a default, a view or a block
        "SELECT DEFAULT(a) FROM defaults", "INSERT INTO defaults (b) VALUES ({n})", "SELECT RELEASE_ALL_LOCKS() FROM things WHERE 1 = 0",
        "EXPLAIN SELECT RELEASE_ALL_LOCKS() FROM things", "CREATE OR REPLACE VIEW locking AS SELECT RELEASE_ALL_LOCKS() AS a",
        "CREATE OR REPLACE VIEW locking AS SELECT GET_LOCK('{lane}1', 0) AS a", "SELECT * FROM locking", "SELECT * FROM mysql.{lane}_lock",
        "SELECT id FROM things ORDER BY GET_LOCK('{lane}1', 0), id", "DO (SELECT MAX(a) FROM (SELECT @x := {n} AS a) d)", "SELECT {n} AS merge INTO @x",
        "SELECT GET_LOCK('{lane}1', 0), GET_LOCK('{lane}1', 0)", "LOAD DATA LOCAL INFILE '/nosuch' INTO TABLE things", "SELECT 'a",
        # what changes under a statement's names
        "/*!50003 CREATE*/ /*!50003 TRIGGER late BEFORE INSERT ON plain FOR EACH ROW SET @trigger = 'late' */", "DROP TRIGGER IF EXISTS late",
        "EXECUTE IMMEDIATE 'CREATE TRIGGER late BEFORE INSERT ON plain FOR EACH ROW SET @trigger = ''later'''",
        "CREATE OR REPLACE TRIGGER late BEFORE INSERT ON plain FOR EACH ROW SET @trigger = 'latest'",
        "INSERT INTO plain VALUES ({n})", "INSERT INTO plain VALUES ({n})", "CREATE TEMPORARY TABLE `other.tmp` (a INT)",
        "CREATE TEMPORARY TABLE {lane}_other.tmp (a INT)", "DROP TABLE IF EXISTS {lane}_other.tmp", "CREATE TEMPORARY SEQUENCE counts",
        "SELECT NEXT VALUE FOR counts", "CREATE TEMPORARY TABLE plain (a INT)", "DROP TEMPORARY TABLE IF EXISTS plain",
        # what a session remembers
        "INSERT INTO keyed (n) VALUES ({n})", "INSERT IGNORE INTO keyed (n) VALUES ({n})", "INSERT INTO keyed (n) VALUES (NULL), (NULL)",
        "SELECT CAST('s3cret of {me}' AS SIGNED)", "INSERT INTO things VALUES (0, 's3cret of {me}')", "SELECT LAST_INSERT_ID({n}7)",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 's3cret of {me}'", "SELECT NEXT VALUE FOR numbers", "SELECT NEXTVAL(numbers)",
        "SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 1", "SELECT %s", "INSERT INTO things VALUES ({n}, %s)",
        # functions that no word calls
        "SELECT lying()", "SELECT calls_it()", "CALL sets()", "INSERT INTO once VALUES (1, {n}) ON DUPLICATE KEY UPDATE n = {n}",
        "REPLACE INTO once VALUES (1, {n})", "REPLACE INTO written VALUES (1, {n})", "UPDATE once SET n = {n}", "UPDATE written SET n = n + 1",
        "DELETE FROM once", "DELETE FROM written", "UPDATE things, once SET once.n = 5 WHERE once.id = 1", "DELETE once FROM once, things",
        "SELECT * FROM told_by", "SELECT * FROM told_again", "INSERT INTO plain SELECT a FROM told_again", "INSERT INTO counted (b) VALUES ({n})",
        "SELECT quiet()", "SELECT {lane}_other.quiet()", "SELECT {lane}.quiet()", "EXPLAIN SELECT id FROM things WHERE id < calls_it()",
        "SELECT id FROM things WHERE id < calls_it()", "SELECT id FROM things ORDER BY lying()", "SELECT id FROM things GROUP BY id HAVING lying() > 0",
        "SELECT (SELECT lying())", "SELECT COALESCE({n}, lying())", "SELECT CASE WHEN calls_it() THEN {n} END", "SELECT COUNT(lying()) FROM things",
        "WITH RECURSIVE w(a) AS (SELECT 1 UNION SELECT a + lying() FROM w WHERE a < 5) SELECT MAX(a) FROM w",
        "CREATE OR REPLACE FUNCTION quiet() RETURNS INT RETURN lying()", "CREATE OR REPLACE FUNCTION quiet() RETURNS INT RETURN 1",
    ],
}  # fmt: skip
PROBES = {
    "postgresql": [
        "SHOW work_mem", "SHOW TimeZone", "SHOW search_path", "SHOW DateStyle", "SHOW standard_conforming_strings", "SELECT current_user",
        "SELECT nullif(current_setting('app.mine', true), '')", "SELECT nullif(current_setting('app.trigger', true), '')",
        "SELECT nullif(current_setting('app.view', true), '')", "SELECT * FROM tmp", "SELECT id, note FROM things ORDER BY id",
        "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()", ("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
        "AND pid = pg_backend_pid()"), "SELECT count(*) FROM pg_listening_channels()", "SELECT name FROM pg_prepared_statements WHERE from_sql ORDER BY 1",
        "SELECT name FROM pg_cursors WHERE is_holdable AND name <> '' ORDER BY 1", "SHOW transaction_read_only", "SELECT 'a\\b'",
        "SELECT nullif(current_setting('transaction.mine', true), '')", "SELECT nullif(current_setting('constraints.mine', true), '')",
        "SELECT nullif(current_setting('role.mine', true), '')", "SELECT nullif(current_setting('session.mine', true), '')",
        "SELECT nullif(current_setting('local.mine', true), '')", "SELECT pg_temp.f()", "SELECT 'a'::pg_temp.e::text", "SELECT 1::pg_temp.d::int",
        "SELECT '1 day 2 hours'::interval::text", "SELECT (1.0 / 3)::float8::text", "SHOW xmloption", "SELECT '01/02/2003'::date::text",
        "SHOW statement_timeout", "SHOW plpgsql.variable_conflict", "SHOW transaction_isolation", "SELECT count(*) FROM pg_temp.pg_class",
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%s3cret of ' || '{other}%'", "SELECT id, n FROM keyed ORDER BY id",
        "SELECT query_to_xml('SELECT statement FROM pg_prepared_statements', true, false, '')::text LIKE '%s3cret of ' || '{other}%'",
        "SELECT table_to_xml('pg_prepared_statements', true, false, '')::text LIKE '%s3cret of ' || '{other}%'", "SELECT count(*) FROM plain",
        "SELECT nullif(current_setting('app.hidden', true), '')", "SELECT nullif(current_setting('app.hidden', true), '')",
        "SELECT id, n FROM once ORDER BY id",
    ],
    "mysql": [
        "SELECT @@time_zone", "SELECT @@sql_mode", "SELECT @@foreign_key_checks", "SELECT @@group_concat_max_len", "SELECT @@autocommit", "SELECT @x",
        "SELECT @y", "SELECT @hidden", "SELECT @hidden", "SELECT @trigger", "SELECT COUNT(*) FROM tmp", "SELECT COUNT(*) FROM tmp2", "SELECT id, note FROM {lane}.things ORDER BY id",
        "SELECT IS_USED_LOCK('{lane}1') = CONNECTION_ID()", "SELECT IS_USED_LOCK('{lane}2') = CONNECTION_ID()", "SELECT IS_USED_LOCK('{lane}view') = CONNECTION_ID()",
        "SELECT DATABASE()", "SELECT @@tx_isolation, @@tx_read_only", "SELECT @@collation_connection", "SELECT @@sort_buffer_size", "HANDLER things READ FIRST",
        "SELECT 'a\\\\b'", "SELECT @@sql_auto_is_null, @@completion_type, @@max_sort_length",
        "SELECT @@sql_select_limit < 10", "SELECT CURRENT_ROLE()", "SELECT @@character_set_connection, HEX('\u20ac')", "SELECT UNIX_TIMESTAMP() < 10",
        "SELECT @@profiling, @@optimizer_trace", "SELECT COUNT(*) FROM information_schema.OPTIMIZER_TRACE WHERE query LIKE CONCAT('%s3cret of ', '{other}%')",
        "SELECT COUNT(*) FROM `other.tmp`", "SELECT COUNT(*) FROM {lane}_other.tmp", "SELECT COUNT(*) FROM plain", "SELECT id, n FROM {lane}.keyed ORDER BY id",
        "SELECT COUNT(*) FROM {lane}.plain", "SELECT id, n FROM {lane}.once ORDER BY id",
    ],
}  # fmt: skip
NO_CONDITION = ("Error", 1758, "Invalid condition number")
# What a session tells of its last statements, and what it tells if it remembers none. A client of the proxy may have another
# connection by then, on which it is alone (docs/dbproxy.md, limits): either answer is right, and never the other client's.
MEMORY: dict[str, dict[str, list[Any]]] = {
    "postgresql": {
        "SELECT lastval()": ["55000"], "SELECT currval('numbers')": ["55000"], "SELECT currval('keyed_id_seq')": ["55000"],
        "SELECT key_of()": ["55000"], "SELECT stable_key()": ["55000"], "SELECT immutable_key()": ["55000"],
        "SELECT query_to_xml('SELECT lastval()', true, false, '')::text": ["55000"], "DO $$BEGIN PERFORM lastval(); END$$": ["55000"],
    },
    "mysql": {
        "SELECT LAST_INSERT_ID()": [[(0,)]], "SELECT @@last_insert_id": [[(0,)]], "SELECT @@identity": [[(0,)]], "CALL tell()": [[(0,)]],
        "EXECUTE IMMEDIATE 'SELECT LAST_INSERT_ID()'": [[(0,)]], "SELECT key_of()": [[(0,)]], "BEGIN NOT ATOMIC SELECT LAST_INSERT_ID(); END": [[(0,)]],
        # GET DIAGNOSTICS of what is not remembered is itself a mistake that is told.
        "SHOW WARNINGS": [[], [NO_CONDITION]], "SHOW ERRORS": [[], [NO_CONDITION]],
        "SHOW COUNT(*) WARNINGS": [[(0,)], [(1,)]], "SELECT @@warning_count": [[(0,)], [(1,)]],
        "SELECT ROW_COUNT()": [[(0,)], [(-1,)]], "GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT": ["1758"], "SELECT @m": [[(None,)]],
        "SELECT PREVIOUS VALUE FOR numbers": [[(None,)]], "SELECT LASTVAL(numbers)": [[(None,)]],
    },
}  # fmt: skip
# Statements of one client in a row: what the last of them tell is its own, and is never lost. They end where one of them fails,
# unless it may.
SCENES = {
    "postgresql": [
        ["BEGIN", "SELECT nextval('numbers')", "SELECT lastval()", "SELECT currval('numbers')", "COMMIT"],
        ["BEGIN", "INSERT INTO keyed DEFAULT VALUES", "SELECT lastval()", "SELECT key_of()", "SELECT stable_key()", "ROLLBACK"],
        ["CREATE TEMP TABLE tmp (a int)", "INSERT INTO keyed DEFAULT VALUES", "SELECT currval('keyed_id_seq')"],
        ["BEGIN", "DELETE FROM told", "INSERT INTO keyed DEFAULT VALUES", "INSERT INTO told VALUES (lastval())", "COMMIT", "SELECT a FROM told"],
        ["BEGIN", "SET work_mem TO '{n}MB'", "!SELECT 1/0", "COMMIT", "SHOW work_mem"],
        ["SET DateStyle TO 'German'", "SET DateStyle TO 'YMD'", "SHOW DateStyle"],
        ["CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT {n}'", "BEGIN", "COMMIT", "SELECT pg_temp.f()"],
        ["BEGIN", "CREATE VIEW seen AS SELECT set_config('app.view', 'seen', false)", "SELECT * FROM seen", "ROLLBACK", "SELECT current_setting('app.view', true)"],
        ["BEGIN", "CREATE TRIGGER late BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION on_watched()", "INSERT INTO plain VALUES ({n})", "ROLLBACK"],
        ["CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = of_sign)", "SELECT ROW(1, {n})::pair === ROW(1, 2)::pair"],
        ["CREATE CAST (pair AS int) WITH FUNCTION of_cast(pair) AS ASSIGNMENT", "INSERT INTO plain VALUES (ROW(1, {n})::pair)"],
        ["CREATE OR REPLACE FUNCTION quiet() RETURNS int LANGUAGE sql STABLE AS 'SELECT of_value()'", "SELECT quiet()"],
        ["CREATE INDEX late_key ON plain (of_key(a))", "INSERT INTO plain VALUES ({n})"],
        ["ALTER TABLE plain ADD CONSTRAINT late_check CHECK (of_row())", "INSERT INTO plain VALUES ({n})"],
        ["CREATE OR REPLACE RULE late_rule AS ON INSERT TO plain DO ALSO SELECT of_value()", "INSERT INTO plain VALUES ({n})"],
        ["DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 3)", "FETCH c", "SELECT 1", "FETCH c", "CLOSE c"],
    ],
    "mysql": [
        ["BEGIN", "INSERT INTO keyed (n) VALUES (NULL)", "SELECT LAST_INSERT_ID()", "SELECT key_of()", "CALL tell()", "COMMIT"],
        ["BEGIN", "INSERT INTO keyed (n) VALUES (NULL)", "EXECUTE IMMEDIATE 'SELECT LAST_INSERT_ID()'", "ROLLBACK"],
        ["BEGIN", "DELETE FROM told", "INSERT INTO keyed (n) VALUES (NULL)", "INSERT INTO told VALUES (LAST_INSERT_ID())", "COMMIT", "SELECT a FROM told"],
        ["BEGIN", "DELETE FROM keeps", "INSERT INTO keyed (n) VALUES (NULL)", "INSERT INTO keeps VALUES (0)", "COMMIT", "SELECT a FROM keeps"],
        ["BEGIN", "UPDATE things SET note = CONCAT('row ', {n} + LENGTH(note))", "SELECT ROW_COUNT()", "ROLLBACK"],
        ["BEGIN", "SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 1", "SELECT FOUND_ROWS()", "COMMIT"],
        ["SELECT SQL_CALC_FOUND_ROWS 1 UNION SELECT 2 LIMIT 1", "SELECT FOUND_ROWS()"],
        ["SET sql_select_limit = DEFAULT", "BEGIN", "SELECT CAST('s3cret of {me}' AS SIGNED)", "SHOW WARNINGS",
         "GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT", "SELECT @m", "COMMIT"],
        ["BEGIN", "!INSERT INTO things VALUES (0, 'twice')", "SHOW ERRORS", "SELECT @@warning_count", "ROLLBACK"],
        ["SET @x = {n}", "INSERT INTO keyed (n) VALUES (NULL)", "SELECT LAST_INSERT_ID()", "SELECT NEXT VALUE FOR numbers", "SELECT PREVIOUS VALUE FOR numbers"],
        ["SELECT GET_LOCK('{lane}1', 0)", "SELECT GET_LOCK('{lane}1', 0)", "SELECT RELEASE_LOCK('{lane}1')", "SELECT IS_USED_LOCK('{lane}1') = CONNECTION_ID()"],
        ["CREATE OR REPLACE FUNCTION quiet() RETURNS INT RETURN lying()", "SELECT quiet()"],
        ["SET CHARACTER SET utf8mb4", "USE {lane}_latin", "SELECT @@character_set_connection, HEX('\u20ac')", "USE {lane}"],
    ],
}  # fmt: skip
UNTOUCHED = ("SELECT 'a",)  # its quote is open
COMMENTS = {
    "postgresql": ["/* c */", "/* a /* b */ */", "-- c\n", "-- c\r"],
    "mysql": ["/* c */", "-- c\n", "# c\n", "--\t\n"],
}


@dataclass(frozen=True)
class Step:
    """One statement of one client; without a statement, the client leaves and another one comes.

    Attributes:
        client: which of the two.
        sql: its statement.
        verb: how it asks.
        nothing: what it may be told beside what a bare connection tells, if the scene is not whole.
        scene: the number of the scene that it is in; 0 is none.
        may_fail: the scene goes on though it fails.

    """

    client: int
    sql: str
    verb: str = "fetch_all"
    nothing: tuple[Any, ...] = ()
    scene: int = 0
    may_fail: bool = False

    @property
    def args(self) -> tuple[str, ...]:
        """What goes beside the statement."""
        return (ARGUMENT,) if "$1" in self.sql or "%s" in self.sql.replace("%s3", "") else ()


def program(seed: int, engine: str, lane: str) -> list[Step]:
    """Make a program: changes and questions, now of one client, now of the other.

    Args:
        seed: what it depends on.
        engine: for which database.
        lane: the name of its tables' database, and of what the whole server has, such as locks: programs run side by side.

    """
    chance = random.Random(seed)
    steps: list[Step] = []
    client = 0

    def filled(sql: str) -> str:
        words = {"{n}": str(chance.randint(1, 3)), "{lane}": lane, "{me}": str(client), "{other}": str(1 - client)}
        for word, meant in words.items():
            sql = sql.replace(word, meant)
        return spelled(sql, engine, chance)

    for number in range(1, chance.randint(5, STEPS_MAX) + 1):
        if chance.random() < 0.3:
            client = 1 - client
        if chance.random() < 0.05:
            steps.append(Step(client, ""))
        kind = chance.random()
        if kind < 0.08:
            scene = chance.choice(SCENES[engine])
            steps.extend(
                Step(client, filled(sql.removeprefix(MAY_FAIL)), scene=number, may_fail=sql.startswith(MAY_FAIL))
                for sql in scene
            )
        elif kind < 0.2:
            question, nothing = chance.choice(list(MEMORY[engine].items()))
            steps.append(Step(client, filled(question), nothing=tuple(nothing)))
        elif kind < 0.6:
            steps.append(
                Step(
                    client, filled(chance.choice(CHANGES[engine])), "execute" if chance.random() < 0.2 else "fetch_all"
                )
            )
        else:
            question = chance.choice(PROBES[engine])
            verb = "stream" if question.startswith("SELECT") and chance.random() < 0.2 else "fetch_all"
            steps.append(Step(client, filled(question), verb))
    return steps


def spelled(sql: str, engine: str, chance: random.Random) -> str:
    """Write a statement in another way that means the same: case, space, comments, a semicolon."""
    if chance.random() < 0.5 or sql in UNTOUCHED:
        return sql
    if not any(mark in sql for mark in "'\"`\\-#$/"):
        if chance.random() < 0.5:
            sql = "".join(
                letter.swapcase() if letter.isalpha() and engine == "postgresql" else letter for letter in sql
            )
        parts = sql.split(" ")
        sql = "".join(
            part + chance.choice([" ", " ", "\n", "\t", f" {chance.choice(COMMENTS[engine])} "]) for part in parts
        )
    if chance.random() < 0.3:
        sql = f"{chance.choice(COMMENTS[engine])} {sql}"
    return sql + (" ;" if chance.random() < 0.2 else "")
