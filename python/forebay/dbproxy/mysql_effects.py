"""What MySQL and MariaDB statements do to their session."""

from __future__ import annotations

import re
from dataclasses import replace

from forebay.dbproxy.effect import PLAIN, READ, Effect, union
from forebay.dbproxy.functions import MYSQL_FUNCTIONS
from forebay.dbproxy.sql import Reading, quotes_code, read_mysql, tokens
from forebay.errors import InvalidParameterValue

_STATELESS = frozenset(
    {
        "INSERT",
        "UPDATE",
        "DELETE",
        "REPLACE",
        "VALUES",
        "TABLE",
        "EXPLAIN",
        "DESCRIBE",
        "DESC",
        "SHOW",
        "ANALYZE",
        "CREATE",
        "ALTER",
        "TRUNCATE",
        "RENAME",
        "GRANT",
        "REVOKE",
        "OPTIMIZE",
        "CHECK",
        "REPAIR",
        "CHECKSUM",
        "KILL",
        "LOAD",
        "PURGE",
        "BINLOG",
        "HELP",
        "RESET",
        "SIGNAL",
        "IMPORT",
        "CACHE",
    }
)
_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "DESCRIBE", "DESC", "SHOW"})
_PROGRAMS = frozenset({"FUNCTION", "PROCEDURE", "TRIGGER", "EVENT", "PACKAGE"})
_BEGIN = frozenset(("BEGIN", "START"))

# Client character sets whose second byte may be a quote or a backslash: text escaped by the client could break out of its quotes.
_UNSAFE_CHARSETS = frozenset(
    {
        "BIG5",
        "CP932",
        "GB18030",
        "GB2312",
        "GBK",
        "SJIS",
        "UJIS",
        "EUCKR",
        "EUCJPMS",
        "UCS2",
        "UTF16",
        "UTF16LE",
        "UTF32",
    }
)
_NAMES_COVERS = (
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "character set",
)
# Settings that work once, for the statement or transaction that follows.
_ONE_SHOT = frozenset(
    ("insert_id", "last_insert_id", "identity", "rand_seed1", "rand_seed2", "pseudo_thread_id", "gtid_next")
)
_SESSION_MEMORY = frozenset(("LAST_INSERT_ID", "ROW_COUNT", "FOUND_ROWS"))
_MEMORY_TEXT = re.compile(r"@@(?:SESSION\.|LOCAL\.)?(?:IDENTITY|LAST_INSERT_ID|WARNING_COUNT|ERROR_COUNT)\b")
_USER_VARIABLE = re.compile(r"(?<![\w@$.?])@(?!@)\s*([\w$.]+|\?)")
_WRITES_VARIABLE = re.compile(r"(?<![\w@$.?])@(?!@)\s*([\w$.]+|\?)\s*:=|\bINTO\s+@\s*([\w$.]+|\?)")
_LOCKS_READ = re.compile(r"\bFOR\s+(?:UPDATE|SHARE)\b|\bLOCK\s+IN\b|\bINTO\s+(?:OUTFILE|DUMPFILE)\b")
ISOLATION_LEVELS = ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
_WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE)\b")
_SHOWS_MEMORY = re.compile(r"\b(?:WARNINGS|ERRORS)\b")
_MEMORY = Effect(reads_session=True)
_LITERAL_NAME = re.compile(r"GET_LOCK\s*\(\s*'((?:[^'\\]|'')*)'", re.IGNORECASE)
_RELEASED_NAME = re.compile(r"RELEASE_LOCK\s*\(\s*'((?:[^'\\]|'')*)'", re.IGNORECASE)

_RENAMED = {
    "tx_isolation": "transaction_isolation",
    "transaction_isolation": "transaction_isolation",
    "tx_read_only": "transaction_read_only",
    "transaction_read_only": "transaction_read_only",
}
_ENDS_QUIETLY = frozenset(("NO_CHAIN", "0", "DEFAULT"))
_SWITCH = {"1": "ONLY", "ON": "ONLY", "TRUE": "ONLY", "0": "WRITE", "OFF": "WRITE", "FALSE": "WRITE"}

# Functions of the server itself that leave nothing behind in the session.
_SAFE = frozenset(MYSQL_FUNCTIONS.split())


def classify(sql: str) -> Effect:
    """Judge one text as MySQL and MariaDB would run it."""
    effect = union([_one(reading) for reading in read_mysql(sql)])
    return union([replace(effect, sets=(), unsets=()), _UNREADABLE]) if effect.sets and quotes_code(sql) else effect


def _one(reading: Reading) -> Effect:
    words = reading.words
    first = words[0] if words else ""
    special = _STATEMENTS.get(first)
    if special is not None:
        return special(reading)
    return _with_calls(reading, first)


def _with_calls(reading: Reading, first: str) -> Effect:
    """Judge a statement by its kind, the functions it calls and the variables it writes."""
    text = reading.text
    effects = [_call(name, reading) for name in reading.calls() if name not in _SAFE]
    if first and first not in _READS and first not in _STATELESS:
        effects.append(Effect(dirty=f"{first} is not a statement the proxy knows"))
    if first == "SHOW" and _SHOWS_MEMORY.search(text):
        effects.append(_MEMORY)
    if "@" in text:
        effects.extend(_variable(a or b) for a, b in _WRITES_VARIABLE.findall(text))
        if _MEMORY_TEXT.search(text) or _USER_VARIABLE.search(text):
            effects.append(_MEMORY)
    if "SQL_CALC_FOUND_ROWS" in text:
        effects.append(Effect(dirty="SQL_CALC_FOUND_ROWS", pins=("found rows:",)))
    elif "FOUND_ROWS" in text:
        effects.append(Effect(unpins=("found rows:",)))
    if effects:
        return union([PLAIN, *effects])
    changes = _LOCKS_READ.search(text) or (first == "WITH" and _WRITES.search(text))
    return READ if first in _READS and not changes else PLAIN


def _call(name: str, reading: Reading) -> Effect:
    """Judge the call of a function that is not known to be harmless."""
    if name == "GET_LOCK":
        names = _LITERAL_NAME.findall(reading.original) or ["a computed name"]
        return Effect(dirty="GET_LOCK", pins=tuple(f"lock:{n}" for n in names))
    if name == "RELEASE_LOCK":
        return Effect(unpins=tuple(f"lock:{n}" for n in _RELEASED_NAME.findall(reading.original)))
    if name == "RELEASE_ALL_LOCKS":
        return Effect(unpins=("lock:",))
    if name in _SESSION_MEMORY:
        return _MEMORY
    return Effect(dirty=f"{'a quoted name' if name == '?' else name + '()'} may change the session")


def _variable(name: str) -> Effect:
    return Effect(dirty="user variable", pins=(f"user variable:@{name.lower()}",))


def _begin(reading: Reading) -> Effect:
    if reading.words[0] == "BEGIN" and "NOT ATOMIC" in reading.text:
        return Effect(dirty="BEGIN NOT ATOMIC runs a program")
    return Effect(transaction="begin") if reading.words[:2] != ("START", "SLAVE") else PLAIN


def _commit(reading: Reading) -> Effect:
    return _ended(reading, "commit")


def _ended(reading: Reading, transaction: str) -> Effect:
    """Judge the end of a transaction: it may begin the next one, or have the server hang up."""
    hangs_up = "RELEASE" in reading.words and not reading.says("NO", "RELEASE")
    return Effect(transaction=transaction, chains=reading.says("AND", "CHAIN"), must_close=hangs_up)


def _rollback(reading: Reading) -> Effect:
    if "TO" in reading.words:
        return Effect(transaction="rollback to", savepoint=reading.words[-1].lower())
    return _ended(reading, "rollback")


def _savepoint(reading: Reading) -> Effect:
    return Effect(transaction="savepoint", savepoint=reading.words[-1].lower())


def _release(reading: Reading) -> Effect:
    return Effect(transaction="release", savepoint=reading.words[-1].lower())


def _use(reading: Reading) -> Effect:
    found = tokens(reading.original, mysql=True)
    if len(found) != len(("USE", "name")):
        return Effect(dirty="USE that cannot be read", pins=("setting:USE",))
    return Effect(sets=(("database", found[1][1].strip("`")),))


def _drop(reading: Reading) -> Effect:
    words = reading.words
    if len(words) > 1 and words[1] in {"DATABASE", "SCHEMA"}:
        return Effect(unsets=("database",), dirty="DROP DATABASE may take the current database away")
    if "PREPARE" in words[:2]:
        return Effect(unpins=(f"prepared statement:{words[-1].lower()}",))
    if "TABLE" in words[:3]:
        names = [
            text.strip("`").lower() for kind, text in tokens(reading.original, mysql=True) if kind in {"word", "text"}
        ]
        dropped = names[names.index("table") + 1 :]
        return Effect(unpins=tuple(f"temporary table:{name.rsplit('.', 1)[-1]}" for name in dropped))
    return PLAIN


def _create(reading: Reading) -> Effect:
    words = reading.words
    if not _PROGRAMS.isdisjoint(words):
        return PLAIN  # what its body does, it does when it is called
    base = _with_calls(reading, "CREATE")
    if "TEMPORARY" not in words[:4]:
        return base
    if "SEQUENCE" in words[:5] or "TABLE" in words[:5]:
        names = [text for kind, text in tokens(reading.original, mysql=True) if kind in {"word", "text"}]
        rest = [
            n
            for n in names
            if n.upper() not in {"CREATE", "OR", "REPLACE", "TEMPORARY", "TABLE", "SEQUENCE", "IF", "NOT", "EXISTS"}
        ]
        name = rest[0].strip("`").lower().rsplit(".", 1)[-1] if rest else ""
        return union([base, Effect(dirty="temporary table", pins=(f"temporary table:{name}",))])
    return union([base, Effect(dirty="temporary object", pins=("temporary table:",))])


def _lock(reading: Reading) -> Effect:
    if "INSTANCE" in reading.words:
        return Effect(dirty="LOCK INSTANCE", pins=("table locks:",))
    return Effect(dirty="LOCK TABLES", pins=("table locks:",))


def _unlock(_: Reading) -> Effect:
    return Effect(unpins=("table locks:",))


def _flush(reading: Reading) -> Effect:
    if " WITH READ LOCK" in reading.text or " FOR EXPORT" in reading.text:
        return Effect(dirty="FLUSH TABLES WITH READ LOCK", pins=("table locks:",))
    return PLAIN


def _prepare(reading: Reading) -> Effect:
    name = reading.words[1].lower() if len(reading.words) > 1 else ""
    return Effect(dirty="PREPARE", pins=(f"prepared statement:{name}",))


def _execute(reading: Reading) -> Effect:
    return Effect(dirty=f"{reading.words[0]} runs text the proxy cannot see")


def _deallocate(reading: Reading) -> Effect:
    return Effect(unpins=(f"prepared statement:{reading.words[-1].lower()}",))


def _handler(reading: Reading) -> Effect:
    name = reading.words[1].lower() if len(reading.words) > 1 else ""
    if "OPEN" in reading.words:
        return Effect(dirty="HANDLER", pins=("handler:" + name,))
    if "CLOSE" in reading.words:
        return Effect(unpins=("handler:" + name,))
    return Effect(reads_session=True)


def _xa(reading: Reading) -> Effect:
    verb = reading.words[1] if len(reading.words) > 1 else ""
    if verb in {"START", "BEGIN"}:
        return Effect(dirty="XA", pins=("XA transaction:",))
    if verb in {"COMMIT", "ROLLBACK"}:
        return Effect(dirty="XA", unpins=("XA transaction:",))
    return Effect(dirty="XA")


def _set(reading: Reading) -> Effect:
    """Judge ``SET``: literals are tracked and replayed, the rest pins."""
    found = tokens(reading.original, mysql=True)[1:]
    upper = [text.upper() for _, text in found]
    head = upper[0] if upper else ""
    if head in {"SESSION", "LOCAL"} and upper[1:2] == ["TRANSACTION"]:
        return _set_session_transaction(upper[2:])
    if head in {"NAMES", "CHARACTER", "CHARSET"}:
        return _set_charset(head, found)
    if head == "STATEMENT":
        inner = reading.text.split(" FOR ", 1)
        return union([_one(Reading(part, tuple(part.split()[:8]), reading.original)) for part in inner[1:]])
    if upper[:2] == ["DEFAULT", "ROLE"]:
        return PLAIN
    return _SETS.get(head) or union([_assignment(part) for part in _split(found)])


def _set_session_transaction(words: list[str]) -> Effect:
    text = " ".join(words)
    levels = [level for level in ISOLATION_LEVELS if f"ISOLATION LEVEL {level}" in text]
    sets = [("transaction_isolation", f"SESSION TRANSACTION ISOLATION LEVEL {level}") for level in levels]
    if "READ ONLY" in text or "READ WRITE" in text:
        mode = "READ ONLY" if "READ ONLY" in text else "READ WRITE"
        sets.append(("transaction_read_only", f"SESSION TRANSACTION {mode}"))
    if not sets:
        return Effect(dirty="SET SESSION TRANSACTION", pins=("setting:transaction",))
    return Effect(sets=tuple(sets))


def _set_charset(head: str, found: list[tuple[str, str]]) -> Effect:
    rest = [text for _, text in found[2 if head == "CHARACTER" else 1 :]]
    name = rest[0].strip("'\"`").upper() if rest else ""
    _refuse_unsafe(name, f"SET NAMES {name.lower()}")
    if name == "DEFAULT" or not name:
        return Effect(unsets=("names", *_NAMES_COVERS), dirty="SET NAMES DEFAULT")
    if len(rest) > 1 and [word.upper() for word in rest[1:-1]] != ["COLLATE"]:
        return _UNREADABLE
    verb = "NAMES" if head == "NAMES" else "CHARACTER SET"
    return Effect(
        unsets=_NAMES_COVERS, sets=(("names" if head == "NAMES" else "character set", f"{verb} {' '.join(rest)}"),)
    )


def _split(found: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    parts: list[list[tuple[str, str]]] = [[]]
    depth = 0
    for kind, text in found:
        depth += (text == "(") - (text == ")")
        if text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append((kind, text))
    return parts


def _assignment(part: list[tuple[str, str]]) -> Effect:
    words = [text for _, text in part]
    scope = words[0].upper() if words else ""
    if scope in {"GLOBAL", "PERSIST", "PERSIST_ONLY"} or scope.startswith(("@@GLOBAL.", "@@PERSIST")):
        return PLAIN
    if scope in {"SESSION", "LOCAL"}:
        part, words = part[1:], words[1:]
    name, sign, *_ = [*words, "", ""]
    value = part[2:]
    if sign not in {"=", ":="} or not value:
        return _UNREADABLE
    name = re.sub(r"^@@(?:session\.|local\.)?", "", name.lower()).strip("`")
    if not name.startswith("@"):
        return _setting(name, value)
    if [text.upper() for _, text in value] == ["NULL"]:
        return Effect(dirty="user variable", unpins=(f"user variable:{name}",))
    return _variable(name[1:])


def _transaction_setting(name: str, value: str) -> Effect:
    """Write a transaction setting as the statement that every version knows; its variable was renamed."""
    word = value.strip("'\"").upper().replace("-", " ")
    if name == "transaction_isolation" and word in ISOLATION_LEVELS:
        return Effect(sets=((name, f"SESSION TRANSACTION ISOLATION LEVEL {word}"),), unpins=(f"setting:{name}",))
    if name == "transaction_read_only" and word in _SWITCH:
        return Effect(sets=((name, f"SESSION TRANSACTION READ {_SWITCH[word]}"),), unpins=(f"setting:{name}",))
    return Effect(dirty=f"SET {name}", pins=(f"setting:{name}",))


def _setting(name: str, value: list[tuple[str, str]]) -> Effect:
    """Judge the setting of a system variable of the session."""
    if name in _ONE_SHOT:
        return Effect(dirty=f"SET {name}", pins=("next transaction:",))
    if name in _RENAMED:
        return _transaction_setting(_RENAMED[name], "".join(text for _, text in value))
    kinds = [kind for kind, _ in value]
    text = "".join(token for _, token in value)
    # What a backslash means hangs on the sql_mode, which a replay may set in the same statement.
    is_literal = kinds in (["text"], ["number"], ["word"]) and not text.startswith("@") and "\\" not in text
    if not is_literal and not (kinds == ["sign", "number"] and text[0] in "+-"):
        return Effect(dirty=f"SET {name} to an expression", pins=(f"setting:{name}",))
    if name == "completion_type" and text.strip("'\"").upper() not in _ENDS_QUIETLY:
        return Effect(dirty=f"SET {name}", pins=(f"setting:{name}",))  # the server hangs up, or begins anew, by itself
    if name.startswith("character_set_"):
        _refuse_unsafe(text, f"SET {name} = {text}")
    if text.upper() == "DEFAULT":
        return Effect(unsets=(name,), dirty=f"SET {name} = DEFAULT", unpins=(f"setting:{name}",))
    return Effect(sets=((name, f"{name} = {text}"),), unpins=(f"setting:{name}",))


def _refuse_unsafe(charset: str, statement: str) -> None:
    if charset.strip("'\"`").upper() in _UNSAFE_CHARSETS:
        raise InvalidParameterValue(
            f"{statement}: text is escaped by the client, which is not safe in this character set. Use utf8mb4."
        )


_UNREADABLE = Effect(dirty="SET that cannot be read", pins=("setting:SET",))
_SETS = {
    "PASSWORD": PLAIN,
    "TRANSACTION": Effect(dirty="SET TRANSACTION", pins=("next transaction:",)),
    "ROLE": Effect(dirty="SET ROLE", pins=("setting:role",), must_close=True),
    "RESOURCE": Effect(dirty="SET RESOURCE GROUP", pins=("setting:resource group",), must_close=True),
}
_STATEMENTS = {
    "BEGIN": _begin,
    "START": _begin,
    "COMMIT": _commit,
    "ROLLBACK": _rollback,
    "SAVEPOINT": _savepoint,
    "RELEASE": _release,
    "USE": _use,
    "DROP": _drop,
    "CREATE": _create,
    "LOCK": _lock,
    "UNLOCK": _unlock,
    "FLUSH": _flush,
    "PREPARE": _prepare,
    "EXECUTE": _execute,
    "CALL": _execute,
    "DO": lambda r: _with_calls(r, "SELECT"),
    "DEALLOCATE": _deallocate,
    "HANDLER": _handler,
    "XA": _xa,
    "SET": _set,
}
