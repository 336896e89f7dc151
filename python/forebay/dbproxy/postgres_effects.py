"""What PostgreSQL statements do to their session."""

from __future__ import annotations

import re
from dataclasses import replace

from forebay.dbproxy.effect import ENDS, PLAIN, READ, UNKNOWN, Effect, union
from forebay.dbproxy.functions import POSTGRES_FUNCTIONS
from forebay.dbproxy.sql import Reading, read_postgres, tokens, written

_STATELESS = frozenset(
    {
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "VALUES",
        "TABLE",
        "EXPLAIN",
        "SHOW",
        "ANALYZE",
        "CREATE",
        "ALTER",
        "DROP",
        "TRUNCATE",
        "GRANT",
        "REVOKE",
        "COPY",
        "VACUUM",
        "REINDEX",
        "CLUSTER",
        "COMMENT",
        "SECURITY",
        "NOTIFY",
        "CHECKPOINT",
        "REFRESH",
        "IMPORT",
        "REASSIGN",
        "LOCK",
        "FETCH",
        "MOVE",
    }
)
_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "SHOW"})
_LOCKS_READ = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE|KEY\s+SHARE)\b")
_WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO|NEXTVAL|SETVAL|PG_NOTIFY)\b")
_BODY = re.compile(r"\bBEGIN\s+ATOMIC\b")
_TEMPORARY = re.compile(r"\b(?:TEMP|TEMPORARY)\b|\bPG_TEMP\b")
_INTO_TEMPORARY = re.compile(r"\bINTO\s+(?:LOCAL\s+|GLOBAL\s+)?(?:TEMP|TEMPORARY)\b|\bPG_TEMP\b")
_CONFIG = re.compile(r"\bSET_CONFIG\s*\((?:(?:[^()]|\([^()]*\))*,\s*(TRUE)\s*\))?")

# Settings that no statement is read by, as those of an application's own (``app.tenant``) are not.
_READ_BY_NO_STATEMENT = frozenset(
    {"STATEMENT_TIMEOUT", "LOCK_TIMEOUT", "IDLE_IN_TRANSACTION_SESSION_TIMEOUT", "SYNCHRONOUS_COMMIT"}
)

# Functions of the server itself that leave nothing behind in the session.
_SAFE = frozenset(POSTGRES_FUNCTIONS.split())


def classify(sql: str) -> Effect:
    """Judge one text as PostgreSQL would run it."""
    readings = read_postgres(sql)
    if any("ATOMIC" in reading.text and _BODY.search(reading.text) for reading in readings):
        return Effect(dirty="a body in SQL, whose end cannot be told from the next statement")
    return _joined([_one(reading) for reading in readings])


def _joined(effects: list[Effect]) -> Effect:
    """Join the verdicts on the statements of one text.

    A setting ends with its transaction, a COMMIT's own status is told only when it comes last: where more than one
    transaction is touched, their order says what is left of the session, and the client stays where that is.
    """
    joined = union(effects)
    if len(effects) <= 1:
        return joined
    begins = effects[0].transaction == "begin"
    ends = effects[-1].transaction in ENDS and not effects[-1].chains
    inner = [e.transaction for e in effects[begins : len(effects) - ends] if e.transaction]
    sets = bool(joined.sets or joined.unsets)
    if inner and (sets or joined.local or begins or ends or len(inner) > 1 or "commit" in inner):
        return union([replace(joined, sets=(), unsets=()), _OUT_OF_ORDER])
    if sets and effects[-1].transaction == "rollback":
        return union([replace(joined, sets=(), unsets=()), _OUT_OF_ORDER])
    return joined


def _one(reading: Reading) -> Effect:
    if "/*" in reading.text:
        return Effect(dirty="a nested comment hides text", pins=("statement:nested comment",))
    first = reading.words[0] if reading.words else ""
    special = _STATEMENTS.get(first)
    if special is not None:
        return special(reading)
    return _with_calls(reading, first)


def _with_calls(reading: Reading, first: str) -> Effect:
    """Judge a statement by its kind, the functions it calls and the temporary things it makes."""
    text = reading.text
    names = [name.removeprefix("PG_CATALOG.") for name in reading.calls()]
    effects = [_call(name, reading) for name in names if name not in _SAFE]
    if first and first not in _READS and first not in _STATELESS:
        effects.append(Effect(dirty=f"{first} is not a statement the proxy knows"))
    makes = first == "CREATE" and (_TEMPORARY.search(" ".join(reading.words[:5])) or "PG_TEMP" in text)
    if makes or _INTO_TEMPORARY.search(text):
        effects.append(Effect(dirty="temporary table", pins=("temporary table:",)))
    if first in {"DROP", "ALTER"}:
        effects.append(Effect(unpins=("temporary table:",)))
    if effects:
        return union([PLAIN, *effects])
    changes = _LOCKS_READ.search(text) or (first in {"WITH", "SELECT"} and _WRITES.search(text))
    return READ if first in _READS and not changes else PLAIN


def _call(name: str, reading: Reading) -> Effect:
    """Judge the call of a function that is not known to be harmless."""
    if name.startswith("PG_ADVISORY_UNLOCK"):
        return Effect(unpins=("advisory lock:",))
    if name.startswith(("PG_ADVISORY_LOCK", "PG_TRY_ADVISORY_LOCK")):
        return Effect(dirty="advisory lock", pins=("advisory lock:",))
    if name in {"LASTVAL", "CURRVAL"}:
        return Effect(reads_session=True)
    if name == "SET_CONFIG" and all(_CONFIG.findall(reading.text)):
        return Effect(local=() if all(map(_is_read_by_none, _configured(reading))) else UNKNOWN)
    if name == "SET_CONFIG":
        return Effect(dirty="set_config()", pins=("setting:set_config",))
    return Effect(dirty=f"{'a quoted name' if name == '?' else name.lower() + '()'} may change the session")


def _configured(reading: Reading) -> list[str]:
    """Give the names that ``set_config`` is called with, upper case; one that is no literal is empty."""
    found = [text.upper() for _, text in _tokens(reading)]
    names = [name for call, _, name in zip(found, found[1:], found[2:], strict=False) if call.endswith("SET_CONFIG")]
    return [name.strip("'") if name.startswith("'") else "" for name in names] or [""]


def _is_read_by_none(name: str) -> bool:
    """Tell whether a text means the same whatever this setting is."""
    return "." in name or name in _READ_BY_NO_STATEMENT


def _begin(_: Reading) -> Effect:
    return Effect(transaction="begin")


def _commit(reading: Reading) -> Effect:
    if "PREPARED" in reading.words:
        return PLAIN
    return Effect(transaction="commit", chains=reading.says("AND", "CHAIN"))


def _rollback(reading: Reading) -> Effect:
    if "PREPARED" in reading.words:
        return PLAIN
    if "TO" in reading.words:
        return Effect(transaction="rollback to", savepoint=_last_name(reading))
    return Effect(transaction="rollback", chains=reading.says("AND", "CHAIN"))


def _savepoint(reading: Reading) -> Effect:
    return Effect(transaction="savepoint", savepoint=_last_name(reading))


def _release(reading: Reading) -> Effect:
    return Effect(transaction="release", savepoint=_last_name(reading))


def _last_name(reading: Reading) -> str:
    found = _tokens(reading)
    return found[-1][1].strip('"').lower() if found else ""


def _prepare(reading: Reading) -> Effect:
    if "TRANSACTION" in reading.words[:2]:
        return Effect(transaction="commit")
    return Effect(dirty="PREPARE", pins=("prepared statement:",))


def _execute(reading: Reading) -> Effect:
    return Effect(dirty=f"{reading.words[0]} runs text the proxy cannot see")


def _deallocate(reading: Reading) -> Effect:
    # DEALLOCATE ALL also takes the driver's own statements away, which it would go on using.
    return Effect(dirty="DEALLOCATE", unpins=("prepared statement:",), must_close="ALL" in reading.words)


def _declare(reading: Reading) -> Effect:
    if "WITH HOLD" in reading.text:
        return Effect(dirty="cursor", pins=("cursor:",))
    return union([_with_calls(reading, "SELECT"), Effect(dirty="cursor")])


def _close(_: Reading) -> Effect:
    return Effect(unpins=("cursor:",))


def _listen(_: Reading) -> Effect:
    return Effect(dirty="LISTEN", pins=("LISTEN:",))


def _unlisten(_: Reading) -> Effect:
    return Effect(dirty="UNLISTEN", unpins=("LISTEN:",))


def _load(_: Reading) -> Effect:
    return Effect(dirty="LOAD", pins=("library:",), must_close=True)


def _discard(reading: Reading) -> Effect:
    target = reading.words[1] if len(reading.words) > 1 else ""
    if target == "ALL":
        return Effect(dirty="DISCARD ALL", unsets=("*",), unpins=_EVERYTHING, must_close=True)
    return Effect(dirty="DISCARD", unpins=("temporary table:",) if target.startswith("TEMP") else ())


def _reset(reading: Reading) -> Effect:
    found = [text for _, text in _tokens(reading)[1:]]
    name = " ".join(found).lower()
    if name == "all":
        return Effect(unsets=("*",), dirty="RESET ALL", unpins=("setting:",))
    if name.startswith("session authorization"):
        return Effect(unsets=("session authorization", "role"), dirty="RESET SESSION AUTHORIZATION")
    name = {"time zone": "timezone", "transaction isolation level": "transaction_isolation"}.get(name, name)
    return Effect(unsets=(name.strip('"'),), dirty=f"RESET {name}")


def _set(reading: Reading) -> Effect:
    """Judge ``SET``: PostgreSQL's values are always literals, so each one can be replayed, and compared."""
    found = [text for _, text in _tokens(reading)[1:]]
    if "".join(found[:1]).upper() != "LOCAL":
        return _assigned(reading, found)
    if _is_read_by_none("".join(found[1:2]).upper()):
        return PLAIN
    effect = _assigned(reading, found[1:])
    return PLAIN if effect is PLAIN else Effect(local=effect.sets or UNKNOWN)


def _assigned(reading: Reading, found: list[str]) -> Effect:
    upper = [text.upper() for text in found]
    if upper[:1] in (["TRANSACTION"], ["CONSTRAINTS"]):
        return PLAIN
    if upper[:2] == ["SESSION", "CHARACTERISTICS"]:
        return _characteristics(reading)
    for words, key in _NAMED_SETTINGS:
        if upper[: len(words)] == list(words):
            return _tracked(reading, key, found, upper[len(words) :])
    if upper[:1] == ["SESSION"]:
        found, upper = found[1:], upper[1:]
    name, sign, *value = [*upper, "", ""]
    if sign not in {"=", "TO"}:
        return Effect(dirty="SET that cannot be read", pins=("setting:SET",))
    return _tracked(reading, name.strip('"').lower(), found, [word for word in value if word])


def _tracked(reading: Reading, key: str, found: list[str], value: list[str]) -> Effect:
    """Judge what can be replayed as it was written: it has an end that no setting before it can move."""
    if key == "standard_conforming_strings" or not _OPEN_ENDS.isdisjoint(value):
        return Effect(dirty=f"SET {key}", pins=(f"setting:{key}",))
    if value in (["DEFAULT"], ["LOCAL"]) or (key == "role" and value == ["NONE"]):
        return Effect(unsets=(key,), dirty=f"SET {key} TO DEFAULT")
    return Effect(sets=((key, f"SET {written(reading.original, len(found))}"),))


def _tokens(reading: Reading) -> list[tuple[str, str]]:
    return tokens(reading.original, mysql=False)


def _characteristics(reading: Reading) -> Effect:
    text = " ".join(reading.text.split())
    sets = []
    level = re.search(r"ISOLATION LEVEL (READ UNCOMMITTED|READ COMMITTED|REPEATABLE READ|SERIALIZABLE)", text)
    if level:
        sets.append(
            ("default_transaction_isolation", f"SET default_transaction_isolation TO '{level.group(1).lower()}'")
        )
    if "READ ONLY" in text or "READ WRITE" in text:
        sets.append(
            (
                "default_transaction_read_only",
                f"SET default_transaction_read_only TO {'on' if 'READ ONLY' in text else 'off'}",
            )
        )
    if "DEFERRABLE" in text:
        value = "off" if "NOT DEFERRABLE" in text else "on"
        sets.append(("default_transaction_deferrable", f"SET default_transaction_deferrable TO {value}"))
    return Effect(sets=tuple(sets))


_NAMED_SETTINGS = (
    (("SESSION", "AUTHORIZATION"), "session authorization"),
    (("SESSION", "TIME", "ZONE"), "timezone"),
    (("TIME", "ZONE"), "timezone"),
    (("NAMES",), "client_encoding"),
    (("SESSION", "ROLE"), "role"),
    (("ROLE",), "role"),
)
_OPEN_ENDS = frozenset(("'", '"', "$", ";"))  # what is left of a quoted text that is read in another way
_OUT_OF_ORDER = Effect(dirty="several transactions in one text", pins=("setting:several transactions",), local=UNKNOWN)
_EVERYTHING = ("temporary table:", "advisory lock:", "LISTEN:", "cursor:", "prepared statement:", "setting:")
_STATEMENTS = {
    "BEGIN": _begin,
    "START": _begin,
    "COMMIT": _commit,
    "END": _commit,
    "ROLLBACK": _rollback,
    "ABORT": _rollback,
    "SAVEPOINT": _savepoint,
    "RELEASE": _release,
    "PREPARE": _prepare,
    "EXECUTE": _execute,
    "CALL": _execute,
    "DO": _execute,
    "DEALLOCATE": _deallocate,
    "DECLARE": _declare,
    "CLOSE": _close,
    "LISTEN": _listen,
    "UNLISTEN": _unlisten,
    "LOAD": _load,
    "DISCARD": _discard,
    "RESET": _reset,
    "SET": _set,
}
