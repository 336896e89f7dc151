"""Asks a server what the names in a statement are, as far as they may change a session; the judge keeps the answers.

Each question gives rows of name, kind and value, as ``rust/core/src/session/catalogue.rs`` takes them. A name is asked for in all
schemas of PostgreSQL, whatever ``search_path`` is. With MySQL it is asked for in the current database.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forebay._core import StatementJudge
    from forebay.dbproxy.driver import Wire
    from forebay.dbproxy.effect import Effect

ROUNDS_MAX = 30  # views over views
BETWEEN = "\0"  # a database and its table; alone before the name of a function
OWN = "\0"  # after a database: the number of the client that alone has these names
QUESTIONS_MAX = 200
LIMIT = "limit"
Row = tuple[str, str, str]

# Statements in the session of a client whose search_path may be anything: nothing in them is found by that path.
#
# A server needs far longer to plan a question than to answer it, and most names are those of columns, plain tables and functions
# that are not volatile. Each question has a hint, which is its key in the tables below: a condition on what bears the name.
# Where the hint is false, the question has no answer. The first statement asks for the hints, the second one only the questions
# whose hint is true. A hint may be true although its question has no answer: a relation keeps a flag such as relhastriggers for
# a while after its last trigger has gone. The text of a view that somebody is changing has to be waited for: the second
# statement does so for no longer than its first row says.
#
# A function of the user's own that is called stable or immutable is looked into: each word of its text is taken for something
# that it reads, and for a call if a parenthesis follows. So is one behind an aggregate, a trigger, an index, an operator or a
# cast. One in C cannot be looked into, and is taken for volatile. Of an extension the catalogue is believed.
_FUNCTIONS = {
    # Most volatile functions are the server's own. Their language is internal (12), and no extension has them.
    """p.oid OPERATOR(pg_catalog.<) 16384 AND p.prolang OPERATOR(pg_catalog.=) 12
  AND p.provolatile OPERATOR(pg_catalog.=) 'v'""": """
SELECT proname, 'function', home FROM functions_of_the_server
UNION ALL SELECT proname, 'function of a row', home FROM functions_of_the_server, pg_catalog.pg_type t
 WHERE t.oid OPERATOR(pg_catalog.=) proargtypes[0]
  AND t.typtype OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'p', 'd']::pg_catalog."char"[])""",
    # The language of an aggregate is internal, too. No aggregate of the server's own is volatile.
    """p.provolatile OPERATOR(pg_catalog.=) 'v' AND (p.oid OPERATOR(pg_catalog.>=) 16384 OR p.prolang OPERATOR(pg_catalog.<>) 12)
  OR p.oid OPERATOR(pg_catalog.>=) 16384 AND p.prolang OPERATOR(pg_catalog.<=) 13""": """
SELECT proname, 'function', home FROM functions
UNION ALL SELECT proname, 'function of a row', home FROM functions, pg_catalog.pg_type t
 WHERE t.oid OPERATOR(pg_catalog.=) proargtypes[0]
  AND t.typtype OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'p', 'd']::pg_catalog."char"[])""",
    "p.oid OPERATOR(pg_catalog.>=) 16384 AND p.proargdefaults IS NOT NULL": """
SELECT proname, 'read', pg_catalog.pg_get_expr(proargdefaults, 0) FROM own WHERE proargdefaults IS NOT NULL""",
    """p.oid OPERATOR(pg_catalog.>=) 16384 AND p.prolang OPERATOR(pg_catalog.>) 13
  AND p.provolatile OPERATOR(pg_catalog.<>) 'v'""": """
SELECT p.proname, 'read', (
  SELECT pg_catalog.string_agg(DISTINCT '"' OPERATOR(pg_catalog.||) pg_catalog.rtrim(word, '!') OPERATOR(pg_catalog.||) '"'
    OPERATOR(pg_catalog.||) CASE WHEN word OPERATOR(pg_catalog.~) '!' THEN '()' ELSE '' END, ', ')
  FROM pg_catalog.regexp_split_to_table(pg_catalog.regexp_replace(
   texts.written OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) pg_catalog.translate(texts.written, '$', ' '),
   '"?[[:space:]]*[(]', '! ', 'g'), '[][:space:]"#%&''()*+,./:;<=>?@^`{|}~[-]+') AS words (word)
  WHERE word OPERATOR(pg_catalog.~) '[^!]')
 FROM own p CROSS JOIN LATERAL (SELECT CASE WHEN p.prokind OPERATOR(pg_catalog.=) 'a' THEN ''
  ELSE pg_catalog.pg_get_functiondef(p.oid) OPERATOR(pg_catalog.||) ' '
   OPERATOR(pg_catalog.||) pg_catalog.lower(pg_catalog.pg_get_functiondef(p.oid)) END AS written) AS texts
 WHERE p.provolatile OPERATOR(pg_catalog.<>) 'v' AND p.prolang OPERATOR(pg_catalog.>) 13 AND NOT EXISTS (
   SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
   AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')""",
    "p.oid OPERATOR(pg_catalog.>=) 16384 AND p.prokind OPERATOR(pg_catalog.=) 'a'": """
SELECT p.proname, 'read', pg_catalog.quote_ident(f.proname) OPERATOR(pg_catalog.||) '()' FROM own p
 JOIN pg_catalog.pg_aggregate a ON a.aggfnoid OPERATOR(pg_catalog.=) p.oid
 JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) ANY (ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
  a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::pg_catalog.oid[])
 WHERE f.oid OPERATOR(pg_catalog.>=) 16384""",
    """p.oid OPERATOR(pg_catalog.>=) 16384 AND '16384'::pg_catalog.oid OPERATOR(pg_catalog.<=) ANY (
  coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]) OPERATOR(pg_catalog.||) p.prorettype)""": """
SELECT p.proname, 'read', pg_catalog.quote_ident(t.typname) FROM own p
 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) ANY (
  coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]) OPERATOR(pg_catalog.||) p.prorettype)
 WHERE t.oid OPERATOR(pg_catalog.>=) 16384""",
}
_RELATIONS = {
    "c.relkind OPERATOR(pg_catalog.=) 'v' AND c.oid OPERATOR(pg_catalog.>=) 16384": """
SELECT relname, 'read', pg_catalog.pg_get_viewdef(oid) FROM relations
 WHERE relkind OPERATOR(pg_catalog.=) 'v' AND NOT is_of_the_server
UNION ALL SELECT r.relname, 'cascade', c.relname FROM relations r
 JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) r.oid
 JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  AND d.objid OPERATOR(pg_catalog.=) w.oid AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.refobjid AND c.oid OPERATOR(pg_catalog.<>) r.oid
 WHERE r.relkind OPERATOR(pg_catalog.=) 'v' AND NOT r.is_of_the_server""",
    "c.relhasrules": """
SELECT relname, 'unwritable', 'a rule' FROM relations r
 JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) r.oid WHERE w.ev_type OPERATOR(pg_catalog.<>) '1'""",
    "c.relkind OPERATOR(pg_catalog.=) 'f'": """
SELECT relname, 'unreadable', 'a foreign table' FROM relations WHERE relkind OPERATOR(pg_catalog.=) 'f'""",
    "c.relhassubclass": """
SELECT relname, 'unreadable', 'a foreign table below it' FROM relations r WHERE EXISTS (
 WITH RECURSIVE below (oid) AS (
  SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) r.oid
  UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i, below b WHERE i.inhparent OPERATOR(pg_catalog.=) b.oid)
 SELECT FROM below b JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) b.oid
 WHERE c.relkind OPERATOR(pg_catalog.=) 'f')
UNION ALL SELECT r.relname, 'cascade', c.relname FROM relations r
 JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) r.oid
 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid""",
    "c.relkind OPERATOR(pg_catalog.=) 'p'": """
SELECT relname, 'written', pg_catalog.pg_get_expr(p.partexprs, r.oid) FROM relations r
 JOIN pg_catalog.pg_partitioned_table p ON p.partrelid OPERATOR(pg_catalog.=) r.oid AND p.partexprs IS NOT NULL""",
    "(SELECT true FROM pg_catalog.pg_policy WHERE polrelid OPERATOR(pg_catalog.=) c.oid LIMIT 1)": """
SELECT relname, 'read', pg_catalog.pg_get_expr(p.polqual, r.oid) FROM relations r
 JOIN pg_catalog.pg_policy p ON p.polrelid OPERATOR(pg_catalog.=) r.oid WHERE p.polqual IS NOT NULL
UNION ALL SELECT relname, 'written', pg_catalog.pg_get_expr(p.polwithcheck, r.oid) FROM relations r
 JOIN pg_catalog.pg_policy p ON p.polrelid OPERATOR(pg_catalog.=) r.oid WHERE p.polwithcheck IS NOT NULL""",
    # Before PostgreSQL 15 a foreign key to a partitioned table has no trigger there.
    "c.relhastriggers OR c.relkind OPERATOR(pg_catalog.=) 'p'": """
SELECT relname, 'trigger', n.nspname OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) p.proname FROM relations r
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
UNION ALL SELECT r.relname, 'cascade', c.relname FROM relations r
 JOIN pg_catalog.pg_constraint k ON k.confrelid OPERATOR(pg_catalog.=) r.oid AND k.contype OPERATOR(pg_catalog.=) 'f'
 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid""",
    """c.relhasindex AND (SELECT true FROM pg_catalog.pg_index WHERE indrelid OPERATOR(pg_catalog.=) c.oid
  AND (indexprs IS NOT NULL OR indpred IS NOT NULL) LIMIT 1)""": """
SELECT relname, 'written', run.text FROM relations r
 JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) r.oid CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[
  pg_catalog.pg_get_expr(i.indexprs, r.oid), pg_catalog.pg_get_expr(i.indpred, r.oid)]) AS run (text)
 WHERE run.text IS NOT NULL""",
    "(SELECT true FROM pg_catalog.pg_attribute WHERE attrelid OPERATOR(pg_catalog.=) c.oid AND atthasdef LIMIT 1)": """
SELECT relname, 'written', pg_catalog.pg_get_expr(d.adbin, r.oid) FROM relations r
 JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) r.oid""",
    "c.relchecks OPERATOR(pg_catalog.>) 0": """
SELECT relname, 'written', pg_catalog.pg_get_expr(k.conbin, r.oid) FROM relations r
 JOIN pg_catalog.pg_constraint k ON k.conrelid OPERATOR(pg_catalog.=) r.oid AND k.conbin IS NOT NULL""",
    # The columns of a type are in pg_class under the type's name.
    """(SELECT true FROM pg_catalog.pg_attribute WHERE attrelid OPERATOR(pg_catalog.=) c.oid
  AND atttypid OPERATOR(pg_catalog.>=) 16384 LIMIT 1)""": """
SELECT relname, 'written', pg_catalog.quote_ident(t.typname) FROM relations r
 JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid
 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid AND t.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT t.typname, 'read', pg_catalog.quote_ident(b.typname) FROM types t
 JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND t.typrelid OPERATOR(pg_catalog.<>) 0
 JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) a.atttypid AND b.oid OPERATOR(pg_catalog.>=) 16384""",
}
_TYPES = {
    "t.typtype OPERATOR(pg_catalog.=) 'd'": """
SELECT t.typname, 'read', pg_catalog.pg_get_expr(k.conbin, 0) FROM types t
 JOIN pg_catalog.pg_constraint k ON k.contypid OPERATOR(pg_catalog.=) t.oid AND k.conbin IS NOT NULL""",
    "t.typdefaultbin IS NOT NULL": """
SELECT typname, 'read', pg_catalog.pg_get_expr(typdefaultbin, 0) FROM types WHERE typdefaultbin IS NOT NULL""",
    "t.typbasetype OPERATOR(pg_catalog.>=) 16384 OR t.typelem OPERATOR(pg_catalog.>=) 16384": """
SELECT t.typname, 'read', pg_catalog.quote_ident(b.typname) FROM types t
 JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) ANY (ARRAY[t.typbasetype, t.typelem])
 WHERE b.oid OPERATOR(pg_catalog.>=) 16384""",
}
_DATABASE = {  # These have no name in a statement. Each range type has a cast to its multirange, which the server has made.
    """EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.>=) 16384)
 OR EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.castfunc
 WHERE c.oid OPERATOR(pg_catalog.>=) 16384
  AND (p.provolatile OPERATOR(pg_catalog.=) 'v' OR p.prolang OPERATOR(pg_catalog.<>) 12
   OR p.prosrc OPERATOR(pg_catalog.<>) 'multirange_constructor1'))""": """
SELECT o.oprname, 'operator', '' FROM pg_catalog.pg_operator o
 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode
 WHERE p.provolatile OPERATOR(pg_catalog.=) 'v' AND o.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT '', 'cast', '' FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.castfunc
 WHERE p.provolatile OPERATOR(pg_catalog.=) 'v' AND c.oid OPERATOR(pg_catalog.>=) 16384
UNION ALL SELECT '', 'unwritten', pg_catalog.quote_ident(p.proname) OPERATOR(pg_catalog.||) '()' FROM pg_catalog.pg_proc p
 WHERE p.oid OPERATOR(pg_catalog.>=) 16384 AND p.provolatile OPERATOR(pg_catalog.<>) 'v' AND p.oid OPERATOR(pg_catalog.=) ANY (
  SELECT oprcode FROM pg_catalog.pg_operator WHERE oid OPERATOR(pg_catalog.>=) 16384
  UNION ALL SELECT castfunc FROM pg_catalog.pg_cast WHERE oid OPERATOR(pg_catalog.>=) 16384) AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
  AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) ANY (ARRAY['e', 'i']::pg_catalog."char"[]))""",
    "EXISTS (SELECT FROM pg_catalog.pg_event_trigger)": """
SELECT '', 'event trigger', evtname FROM pg_catalog.pg_event_trigger WHERE evtenabled OPERATOR(pg_catalog.<>) 'D'""",
}

# Which catalogue has the names, and the hints and questions for it.
_NAMED = "OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[])"
_POSTGRES = (
    (f" FROM pg_catalog.pg_proc p WHERE p.proname {_NAMED}", _FUNCTIONS),
    (f" FROM pg_catalog.pg_class c WHERE c.relname {_NAMED}", _RELATIONS),
    (f" FROM pg_catalog.pg_type t WHERE t.typname {_NAMED}", _TYPES),
    ("", _DATABASE),
)
_POSTGRES_HINTS = " UNION ALL ".join(
    f"SELECT {where}, pg_catalog.array_to_string(ARRAY[{', '.join(questions)}], '', 'f'){named}"
    for where, (named, questions) in enumerate(_POSTGRES)
)
# The sets that the questions above select from, by name.
_POSTGRES_ASKED = {
    "relations": """
  SELECT c.oid, c.relname, c.relkind, c.oid OPERATOR(pg_catalog.<) 16384 AS is_of_the_server FROM pg_catalog.pg_class c
  WHERE c.relname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[])""",
    "types": """
  SELECT * FROM pg_catalog.pg_type WHERE typname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[])""",
    "own": """
  SELECT * FROM pg_catalog.pg_proc
  WHERE proname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[]) AND oid OPERATOR(pg_catalog.>=) 16384""",
    "functions_of_the_server": """
  SELECT p.proname, p.proargtypes, n.nspname AS home FROM pg_catalog.pg_proc p
   JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  WHERE p.proname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[])
   AND p.provolatile OPERATOR(pg_catalog.=) 'v' AND p.prolang OPERATOR(pg_catalog.=) 12 AND p.oid OPERATOR(pg_catalog.<) 16384""",
    "functions": """
  SELECT p.oid, p.proname, p.proargtypes,
   coalesce('extension ' OPERATOR(pg_catalog.||) e.extname, n.nspname::pg_catalog.text) AS home
   FROM pg_catalog.pg_proc p
   JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
   LEFT JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
   LEFT JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
  WHERE p.proname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.name[])
   AND (p.oid OPERATOR(pg_catalog.>=) 16384 OR p.prolang OPERATOR(pg_catalog.<>) 12)
   AND (p.provolatile OPERATOR(pg_catalog.=) 'v' OR p.oid OPERATOR(pg_catalog.>=) 16384
    AND p.prolang OPERATOR(pg_catalog.<=) 13 AND p.prokind OPERATOR(pg_catalog.<>) 'a' AND NOT EXISTS (
     SELECT FROM pg_catalog.pg_depend m WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
     AND m.objid OPERATOR(pg_catalog.=) p.oid AND m.deptype OPERATOR(pg_catalog.=) ANY (ARRAY['e', 'i']::pg_catalog."char"[]))
   OR EXISTS (
    SELECT FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) ANY (ARRAY[a.aggtransfn,
     a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::pg_catalog.oid[])
    WHERE a.aggfnoid OPERATOR(pg_catalog.=) p.oid AND f.provolatile OPERATOR(pg_catalog.=) 'v'))""",
}
_POSTGRES_LIMIT = "SELECT '', 'limit', pg_catalog.set_config('lock_timeout', '300ms', true)"

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
    hinted = {
        (where, which)
        for where, hints in await wire.fetch_all(_POSTGRES_HINTS, asked)
        for which, hint in enumerate(hints)
        if hint == "t"
    }
    if not hinted:
        return []
    rows = await wire.fetch_all(_postgres_questions(frozenset(hinted)), asked)
    return [(str(name), str(kind), str(value)) for name, kind, value in rows if kind != LIMIT]


@lru_cache(QUESTIONS_MAX)
def _postgres_questions(hinted: frozenset[tuple[int, int]]) -> str:
    """Give the statement that asks what is hinted at. `relations` is always in it: a statement must name its argument."""
    questions = " UNION ALL ".join(
        question
        for where, (_, questions) in enumerate(_POSTGRES)
        for which, question in enumerate(questions.values())
        if (where, which) in hinted
    )
    asked = ", ".join(
        f"{name} AS ({rows})"
        for name, rows in _POSTGRES_ASKED.items()
        if name == "relations" or re.search(rf"FROM {name}\b", questions)
    )
    return f"WITH {asked} {_POSTGRES_LIMIT} UNION ALL {questions}"


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
