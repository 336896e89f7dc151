"""Asks a server what the names in a statement are, as far as they may change a session; the judge keeps the answers.

Each question gives rows of name, kind and value, as ``rust/core/src/session/catalogue.rs`` takes them. A name is asked for in all
schemas of PostgreSQL, whatever ``search_path`` is. With MySQL it is asked for in the current database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forebay._core import StatementJudge
    from forebay.dbproxy.driver import Wire
    from forebay.dbproxy.effect import Effect

ROUNDS_MAX = 30  # views over views
BETWEEN = "\0"  # a database and its table; alone before the name of a function
OWN = "\0"  # after a database: the number of the client that alone has these names
LIMIT = "limit"
Row = tuple[str, str, str]

# Statements in the session of a client whose search_path may be anything: nothing in them is found by that path.
#
# Most names are those of columns, plain tables and functions that are not volatile. The first question tells whether there is
# anything else under them: the server needs seven times as long to plan the others. What it says too much, they correct. A type's
# own columns are looked at with the relation of the same name; an aggregate of the server's own is never volatile. The cast of a
# range type runs a function of the server's own. The text of a view that somebody is changing has to be waited for: the third
# question does so for no longer than its first row says.
#
# A function of the user's own that is called stable or immutable is looked into: each word of its text is taken for something
# that it reads, and for a call if a parenthesis follows. So is one behind an aggregate, a trigger, an index, an operator or a
# cast. One in C cannot be looked into, and is taken for volatile. Of an extension the catalogue is believed.
_POSTGRES_ANYTHING = """
SELECT EXISTS (
 SELECT FROM pg_catalog.pg_proc p WHERE p.proname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[])
 AND (p.provolatile OPERATOR(pg_catalog.=) 'v' OR p.oid OPERATOR(pg_catalog.>=) 16384)),
EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[])
 AND (c.relhastriggers OR c.relrowsecurity OR c.relhassubclass OR c.relchecks OPERATOR(pg_catalog.>) 0
  OR c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['f', 'p']::pg_catalog."char"[]) OR c.relhasindex AND EXISTS (
   SELECT FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid
   AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
  OR c.relhasrules AND (c.oid OPERATOR(pg_catalog.>=) 16384 OR EXISTS (
   SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid AND w.ev_type OPERATOR(pg_catalog.<>) '1'))
  OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
   AND (a.atthasdef OR a.atttypid OPERATOR(pg_catalog.>=) 16384))))
OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[])
 AND (t.typtype OPERATOR(pg_catalog.=) 'd' OR t.typdefaultbin IS NOT NULL OR t.typbasetype OPERATOR(pg_catalog.>=) 16384
  OR t.typelem OPERATOR(pg_catalog.>=) 16384))
OR EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.>=) 16384)
OR EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.castfunc
 WHERE c.oid OPERATOR(pg_catalog.>=) 16384 AND p.prolang OPERATOR(pg_catalog.<>) 12)
OR EXISTS (SELECT FROM pg_catalog.pg_event_trigger)
"""
_POSTGRES_FUNCTIONS = """
WITH names AS (SELECT pg_catalog.unnest($1::pg_catalog.text[])::pg_catalog.name AS name),
 functions AS (
  SELECT p.oid, p.proname, p.proargtypes,
   coalesce('extension ' OPERATOR(pg_catalog.||) e.extname, n.nspname::pg_catalog.text) AS home
   FROM pg_catalog.pg_proc p
   JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
   LEFT JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
   LEFT JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
  WHERE p.proname OPERATOR(pg_catalog.=) ANY (SELECT name FROM names)
   AND (p.provolatile OPERATOR(pg_catalog.=) 'v' OR p.oid OPERATOR(pg_catalog.>=) 16384
    AND p.prolang OPERATOR(pg_catalog.<=) 13 AND p.prokind OPERATOR(pg_catalog.<>) 'a' AND NOT EXISTS (
     SELECT FROM pg_catalog.pg_depend m WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
     AND m.objid OPERATOR(pg_catalog.=) p.oid AND m.deptype OPERATOR(pg_catalog.=) ANY (ARRAY['e', 'i']::pg_catalog."char"[]))
   OR EXISTS (
    SELECT FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) ANY (ARRAY[a.aggtransfn,
     a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::pg_catalog.oid[])
    WHERE a.aggfnoid OPERATOR(pg_catalog.=) p.oid AND f.provolatile OPERATOR(pg_catalog.=) 'v')))
SELECT proname::text, 'function', home FROM functions
UNION ALL SELECT proname, 'function of a row', home FROM functions, pg_catalog.pg_type t
 WHERE t.oid OPERATOR(pg_catalog.=) proargtypes[0]
  AND t.typtype OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'p', 'd']::pg_catalog."char"[])
UNION ALL SELECT p.proname, 'read', pg_catalog.pg_get_expr(p.proargdefaults, 0) FROM pg_catalog.pg_proc p
 WHERE p.proname OPERATOR(pg_catalog.=) ANY (SELECT name FROM names) AND p.proargdefaults IS NOT NULL
  AND p.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT p.proname, 'read', (
  SELECT pg_catalog.string_agg(DISTINCT '"' OPERATOR(pg_catalog.||) pg_catalog.rtrim(word, '!') OPERATOR(pg_catalog.||) '"'
    OPERATOR(pg_catalog.||) CASE WHEN word OPERATOR(pg_catalog.~) '!' THEN '()' ELSE '' END, ', ')
  FROM pg_catalog.regexp_split_to_table(pg_catalog.regexp_replace(
   texts.written OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) pg_catalog.translate(texts.written, '$', ' '),
   '"?[[:space:]]*[(]', '! ', 'g'), '[][:space:]"#%&''()*+,./:;<=>?@^`{|}~[-]+') AS words (word)
  WHERE word OPERATOR(pg_catalog.~) '[^!]')
 FROM pg_catalog.pg_proc p CROSS JOIN LATERAL (SELECT CASE WHEN EXISTS (
   SELECT FROM pg_catalog.pg_aggregate a WHERE a.aggfnoid OPERATOR(pg_catalog.=) p.oid) THEN ''
  ELSE pg_catalog.pg_get_functiondef(p.oid) OPERATOR(pg_catalog.||) ' '
   OPERATOR(pg_catalog.||) pg_catalog.lower(pg_catalog.pg_get_functiondef(p.oid)) END AS written) AS texts
 WHERE p.proname OPERATOR(pg_catalog.=) ANY (SELECT name FROM names) AND p.oid OPERATOR(pg_catalog.>=) 16384
  AND p.provolatile OPERATOR(pg_catalog.<>) 'v' AND p.prolang OPERATOR(pg_catalog.>) 13 AND NOT EXISTS (
   SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
   AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
UNION ALL SELECT p.proname, 'read', pg_catalog.quote_ident(f.proname) OPERATOR(pg_catalog.||) '()' FROM pg_catalog.pg_proc p
 JOIN pg_catalog.pg_aggregate a ON a.aggfnoid OPERATOR(pg_catalog.=) p.oid
 JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) ANY (ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
  a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::pg_catalog.oid[])
 WHERE p.proname OPERATOR(pg_catalog.=) ANY (SELECT name FROM names) AND p.oid OPERATOR(pg_catalog.>=) 16384
  AND f.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT p.proname, 'read', pg_catalog.quote_ident(t.typname) FROM pg_catalog.pg_proc p
 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) ANY (
  coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]) OPERATOR(pg_catalog.||) p.prorettype)
 WHERE p.proname OPERATOR(pg_catalog.=) ANY (SELECT name FROM names) AND p.oid OPERATOR(pg_catalog.>=) 16384
  AND t.oid OPERATOR(pg_catalog.>=) 16384
"""
_POSTGRES_OTHERS = """
WITH names AS (SELECT pg_catalog.unnest($1::pg_catalog.text[])::pg_catalog.name AS name),
 types AS (
  SELECT * FROM pg_catalog.pg_type t WHERE t.typname OPERATOR(pg_catalog.=) ANY (SELECT name FROM names)),
 relations AS (
  SELECT c.oid, c.relname, c.relkind, c.oid OPERATOR(pg_catalog.<) 16384 AS is_of_the_server FROM pg_catalog.pg_class c
  WHERE c.relname OPERATOR(pg_catalog.=) ANY (SELECT name FROM names))
SELECT '', 'limit', pg_catalog.set_config('lock_timeout', '300ms', true)
UNION ALL SELECT relname::text, 'read', pg_catalog.pg_get_viewdef(oid) FROM relations
 WHERE relkind OPERATOR(pg_catalog.=) 'v' AND NOT is_of_the_server
UNION ALL SELECT relname, 'unreadable', 'a foreign table' FROM relations WHERE relkind OPERATOR(pg_catalog.=) 'f'
UNION ALL SELECT relname, 'unreadable', 'a foreign table below it' FROM relations r WHERE EXISTS (
 WITH RECURSIVE below (oid) AS (
  SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) r.oid
  UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i, below b WHERE i.inhparent OPERATOR(pg_catalog.=) b.oid)
 SELECT FROM below b JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) b.oid
 WHERE c.relkind OPERATOR(pg_catalog.=) 'f')
UNION ALL SELECT relname, 'read', pg_catalog.pg_get_expr(p.polqual, r.oid) FROM relations r
 JOIN pg_catalog.pg_policy p ON p.polrelid OPERATOR(pg_catalog.=) r.oid WHERE p.polqual IS NOT NULL
UNION ALL SELECT relname, 'written', pg_catalog.pg_get_expr(p.polwithcheck, r.oid) FROM relations r
 JOIN pg_catalog.pg_policy p ON p.polrelid OPERATOR(pg_catalog.=) r.oid WHERE p.polwithcheck IS NOT NULL
UNION ALL SELECT relname, 'unwritable', 'a rule' FROM relations r
 JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) r.oid WHERE w.ev_type OPERATOR(pg_catalog.<>) '1'
UNION ALL SELECT relname, 'trigger', n.nspname OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) p.proname FROM relations r
 JOIN pg_catalog.pg_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) r.oid
  AND (NOT t.tgisinternal OR t.tgfoid OPERATOR(pg_catalog.>=) 16384)
 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid AND p.provolatile OPERATOR(pg_catalog.=) 'v'
 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
UNION ALL SELECT relname, 'written', pg_catalog.quote_ident(p.proname) OPERATOR(pg_catalog.||) '()' FROM relations r
 JOIN pg_catalog.pg_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) r.oid
 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid AND p.provolatile OPERATOR(pg_catalog.<>) 'v'
  AND p.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT relname, 'written', pg_catalog.substring(
  pg_catalog.pg_get_triggerdef(t.oid), 'WHEN [(](.*)[)] EXECUTE (?:FUNCTION|PROCEDURE)')
 FROM relations r JOIN pg_catalog.pg_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) r.oid AND t.tgqual IS NOT NULL
UNION ALL SELECT relname, 'written', run.text FROM relations r
 JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) r.oid CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[
  pg_catalog.pg_get_expr(i.indexprs, r.oid), pg_catalog.pg_get_expr(i.indpred, r.oid)]) AS run (text) WHERE run.text IS NOT NULL
UNION ALL SELECT relname, 'written', pg_catalog.pg_get_expr(p.partexprs, r.oid) FROM relations r
 JOIN pg_catalog.pg_partitioned_table p ON p.partrelid OPERATOR(pg_catalog.=) r.oid AND p.partexprs IS NOT NULL
UNION ALL SELECT relname, 'written', pg_catalog.pg_get_expr(d.adbin, r.oid) FROM relations r
 JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) r.oid
UNION ALL SELECT relname, 'written', pg_catalog.pg_get_expr(k.conbin, r.oid) FROM relations r
 JOIN pg_catalog.pg_constraint k ON k.conrelid OPERATOR(pg_catalog.=) r.oid AND k.conbin IS NOT NULL
UNION ALL SELECT relname, 'written', pg_catalog.quote_ident(t.typname) FROM relations r
 JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid
 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid AND t.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT t.typname, 'read', pg_catalog.pg_get_expr(k.conbin, 0) FROM types t
 JOIN pg_catalog.pg_constraint k ON k.contypid OPERATOR(pg_catalog.=) t.oid AND k.conbin IS NOT NULL
UNION ALL SELECT typname, 'read', pg_catalog.pg_get_expr(typdefaultbin, 0) FROM types WHERE typdefaultbin IS NOT NULL
UNION ALL SELECT t.typname, 'read', pg_catalog.quote_ident(b.typname) FROM types t
 JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) ANY (ARRAY[t.typbasetype, t.typelem])
 WHERE b.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT t.typname, 'read', pg_catalog.quote_ident(b.typname) FROM types t
 JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND t.typrelid OPERATOR(pg_catalog.<>) 0
 JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) a.atttypid AND b.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT r.relname, 'cascade', c.relname FROM relations r
 JOIN pg_catalog.pg_constraint k ON k.confrelid OPERATOR(pg_catalog.=) r.oid AND k.contype OPERATOR(pg_catalog.=) 'f'
 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
UNION ALL SELECT r.relname, 'cascade', c.relname FROM relations r
 JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) r.oid
 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
UNION ALL SELECT r.relname, 'cascade', c.relname FROM relations r
 JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) r.oid
 JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  AND d.objid OPERATOR(pg_catalog.=) w.oid AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.refobjid AND c.oid OPERATOR(pg_catalog.<>) r.oid
 WHERE r.relkind OPERATOR(pg_catalog.=) 'v' AND NOT r.is_of_the_server
UNION ALL SELECT o.oprname, 'operator', '' FROM pg_catalog.pg_operator o
 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode
 WHERE p.provolatile OPERATOR(pg_catalog.=) 'v' AND o.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT '', 'cast', '' FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.castfunc
 WHERE p.provolatile OPERATOR(pg_catalog.=) 'v' AND c.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT '', 'unwritten', pg_catalog.quote_ident(p.proname) OPERATOR(pg_catalog.||) '()' FROM pg_catalog.pg_proc p
 WHERE p.oid OPERATOR(pg_catalog.>=) 16384 AND p.provolatile OPERATOR(pg_catalog.<>) 'v' AND p.oid OPERATOR(pg_catalog.=) ANY (
  SELECT oprcode FROM pg_catalog.pg_operator WHERE oid OPERATOR(pg_catalog.>=) 16384
  UNION ALL SELECT castfunc FROM pg_catalog.pg_cast WHERE oid OPERATOR(pg_catalog.>=) 16384) AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
  AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) ANY (ARRAY['e', 'i']::pg_catalog."char"[]))
UNION ALL SELECT '', 'event trigger', evtname FROM pg_catalog.pg_event_trigger WHERE evtenabled OPERATOR(pg_catalog.<>) 'D'
"""

# MySQL shows nobody a trigger without the privilege TRIGGER, and neither server a view's text without SHOW VIEW.
_MYSQL_RIGHTS = """SELECT VERSION() LIKE '%%MariaDB%%' OR EXISTS (
 SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER'
 UNION ALL SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES WHERE PRIVILEGE_TYPE = 'TRIGGER' AND %s LIKE TABLE_SCHEMA)"""
_MYSQL_TABLES = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN ({})"
_MYSQL_TABLE = """
SELECT 'trigger' AS kind, TRIGGER_NAME AS value FROM information_schema.TRIGGERS
 WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s
UNION ALL SELECT IF(VIEW_DEFINITION = '', 'unreadable', 'read'),
 IF(VIEW_DEFINITION = '', 'a view whose text cannot be seen (grant SHOW VIEW)', VIEW_DEFINITION)
 FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
UNION ALL SELECT 'written', COLUMN_DEFAULT FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COLUMN_DEFAULT REGEXP '[(@]'
 AND (VERSION() LIKE '%%MariaDB%%' OR EXTRA LIKE '%%DEFAULT_GENERATED%%')
UNION ALL SELECT 'read', GENERATION_EXPRESSION FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND GENERATION_EXPRESSION REGEXP '[(@]'
"""
_MYSQL_CALLED = """SELECT ROUTINE_NAME FROM information_schema.ROUTINES
 WHERE ROUTINE_SCHEMA = %s AND ROUTINE_TYPE = 'FUNCTION' AND ROUTINE_NAME IN ({})"""
_UNSEEN = "a trigger, perhaps: this user cannot see any (grant TRIGGER)"


async def look_up(
    judge: StatementJudge, wire: Wire, effect: Effect, context: int, again: Callable[[], Effect]
) -> Effect:
    """Ask for the names that a text needs, and for those that are behind them, until there is a verdict.

    Args:
        judge: who learns the names.
        wire: the connection that the text will run on.
        effect: the names that it needs.
        context: whose names they are.
        again: judges the text once more.

    Raises:
        DatabaseError: the driver's own, when the server does not answer.

    """
    ask = _ask_mysql if wire.engine == "mysql" else _ask_postgres
    for _ in range(ROUNDS_MAX):
        generation = judge.generation()
        rows = await ask(wire, effect.needs, judge.database(context).partition(OWN)[0])
        judge.learn(generation, context, effect.needs, rows)
        effect = again()
        if not effect.needs:
            break
    return effect


async def _ask_postgres(wire: Wire, names: Sequence[str], _database: str) -> list[Row]:
    asked = (list(names),)
    has_functions, has_others = await wire.fetch_one(_POSTGRES_ANYTHING, asked)
    rows = await wire.fetch_all(_POSTGRES_FUNCTIONS, asked) if has_functions else []
    if has_others:
        rows += await wire.fetch_all(_POSTGRES_OTHERS, asked)
    return [(str(name), str(kind), str(value)) for name, kind, value in rows if kind != LIMIT]


async def _ask_mysql(wire: Wire, names: Sequence[str], database: str) -> list[Row]:
    homes: dict[
        str, dict[str, list[str]]
    ] = {}  # what a table is written as, by its name in lower case, by its database
    called: list[str] = []
    for name in names:
        home, between, table = name.partition(BETWEEN)
        if between and not home:
            called.append(table)
            continue
        home, table = (home, table) if between else (database, name)
        homes.setdefault(home, {}).setdefault(table.lower(), []).append(name)
    rows: list[Row] = []
    if called:
        own = await wire.fetch_all(_MYSQL_CALLED.format(", ".join("%s" for _ in called)), (database, *called))
        rows.extend((f"{BETWEEN}{name.lower()}", "function", database) for (name,) in own)
    for home, tables in homes.items():
        listed = _MYSQL_TABLES.format(", ".join("%s" for _ in tables))
        found = await wire.fetch_all(listed, (home, *tables))
        if found and not await wire.fetch_value(_MYSQL_RIGHTS, (home,)):
            rows.extend((name, "unwritable", _UNSEEN) for (table,) in found for name in tables.get(table.lower(), ()))
        for (table,) in found:
            facts = await wire.fetch_all(_MYSQL_TABLE, (home, table) * 4)
            rows.extend(
                (name, str(kind), str(value)) for name in tables.get(table.lower(), ()) for kind, value in facts
            )
    return rows
