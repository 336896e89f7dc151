"""Reads SQL text just far enough to tell what it may do to a session.

It never rewrites a statement, and where it is not sure it says so: a wrong "dirty" costs one reset, a wrong "clean" leaks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A quoted text or comment becomes one "?"; constant replacement keeps large statements at the speed of the regex engine.
_MYSQL_ESCAPED = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`]|``)*`|--(?=[\s\x00-\x1f]|$)[^\n]*|#[^\n]*|/\*.*?\*/",
    re.DOTALL,
)
_MYSQL_PLAIN = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|--(?=[\s\x00-\x1f]|$)[^\n]*|#[^\n]*|/\*.*?\*/",
    re.DOTALL,
)
_MYSQL_EXECUTED_COMMENT = re.compile(r"/\*M?!(?:\d{5,6})?(.*?)\*/", re.DOTALL)
_POSTGRES_STANDARD = re.compile(
    r"[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff]\w*)?)\$.*?\$(?P=tag)\$"
    r"|--[^\n]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/",
    re.DOTALL,
)
_POSTGRES_ESCAPED = re.compile(
    r"[eE]?'(?:[^'\\]|\\.|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff]\w*)?)\$.*?\$(?P=tag)\$"
    r"|--[^\n]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/",
    re.DOTALL,
)
_UNQUOTED = (
    r"(?P<word>@@?(?:[\w$.]+|`[^`]+`)|[A-Za-z_\x80-\U0010ffff][\w$.]*)|(?P<number>[+-]?\d[\w.]*)|(?P<sign>:=|[^\s])"
)
_MYSQL_TOKEN = re.compile(rf"(?P<text>{_MYSQL_ESCAPED.pattern})|{_UNQUOTED}", re.DOTALL)
_POSTGRES_TOKEN = re.compile(rf"(?P<text>{_POSTGRES_STANDARD.pattern})|{_UNQUOTED}", re.DOTALL)
_COMMENT = ("--", "/*", "#")
_CALL = re.compile(r"(?:([A-Za-z_]\w*|[,)(=])\s*)?(?<![\w$.@])([A-Za-z_\x80-\U0010ffff?][\w$.?]*)[\s?]*\(")
_NUMBER = re.compile(r"\b\d[\w.]*")
_DIGEST_LENGTH_MAX = 160

# A name before "(" that follows one of these names a thing (table, index, alias, column list), not a function.
_NAMED_AFTER = frozenset(
    {
        "INTO",
        "TABLE",
        "EXISTS",
        "VIEW",
        "INDEX",
        "KEY",
        "REFERENCES",
        "CONSTRAINT",
        "WITH",
        "RECURSIVE",
        "AS",
        "PRIMARY",
        "UNIQUE",
        "FOREIGN",
        "CONFLICT",
        "COLUMN",
        "ADD",
        "TYPE",
        "DOMAIN",
        "SEQUENCE",
        "IGNORE",
        "UPDATE",
        "COPY",
        "ANALYZE",
        "VACUUM",
        "FULLTEXT",
        "SPATIAL",
        "TRUNCATE",
        "AGGREGATE",
        "OVER",
        "WINDOW",
    }
)


# Words that stand before "(" without being functions; alone each of them may be a function's name.
_PHRASES = frozenset(
    {
        ("GROUP", "BY"), ("ORDER", "BY"), ("PARTITION", "BY"), ("ON", "CONFLICT"), ("GROUPING", "SETS"), ("WITHIN", "GROUP"),
        (")", "OVER"), (")", "FILTER"), ("CHARACTER", "VARYING"), ("CHAR", "VARYING"), ("BIT", "VARYING"),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """One statement with its texts and comments taken out.

    Attributes:
        text: the statement, upper case, every quoted text and comment a ``?``, one space wherever there was any.
        words: its first words (up to eight), upper case.
        original: the statement as it was written (executed comments unwrapped).

    """

    text: str
    words: tuple[str, ...]
    original: str

    def says(self, first: str, second: str) -> bool:
        """Tell whether two words stand side by side at its beginning."""
        return (first, second) in zip(self.words, self.words[1:], strict=False)

    def calls(self) -> list[str]:
        """Give the names that look like function calls, upper case; a quoted name is ``?``."""
        found = []
        for before, name in _CALL.findall(self.text):
            if before in _NAMED_AFTER or name == "AS" or (before, name) in _PHRASES:
                continue
            found.append(name.strip("?.") or "?")
        return found


def digest(sql: str, *, mysql: bool) -> str:
    """Shorten a statement for people, without any of its literals."""
    pattern = _MYSQL_ESCAPED if mysql else _POSTGRES_STANDARD
    text = " ".join(_NUMBER.sub("?", pattern.sub("?", sql)).split())
    return text if len(text) <= _DIGEST_LENGTH_MAX else text[: _DIGEST_LENGTH_MAX - 1] + "…"


def read_mysql(sql: str) -> list[Reading]:
    """Read a statement under each rule its backslashes may have: usually one reading, two when they matter.

    One text is one statement: the connections are opened without ``CLIENT_MULTI_STATEMENTS``.
    """
    sql = _unwrap(sql)
    patterns = (_MYSQL_ESCAPED, _MYSQL_PLAIN) if "\\" in sql else (_MYSQL_ESCAPED,)
    return [_reading(pattern.sub("?", sql), sql) for pattern in patterns]


def read_postgres(sql: str) -> list[Reading]:
    """Read all statements of a text, under both settings of ``standard_conforming_strings`` when it has a backslash."""
    patterns = (_POSTGRES_STANDARD, _POSTGRES_ESCAPED) if "\\" in sql else (_POSTGRES_STANDARD,)
    first, *other = [[_reading(p.sub("?", part), part) for part in split(sql, pattern=p)] for p in patterns]
    return first if other == [first] else sum(other, first)


def split(sql: str, *, mysql: bool = False, pattern: re.Pattern[str] | None = None) -> list[str]:
    """Split a text at the semicolons between its statements."""
    if mysql:
        sql = _unwrap(sql)
    pattern = pattern or (_MYSQL_ESCAPED if mysql else _POSTGRES_STANDARD)
    parts, start = [], 0
    if ";" in sql:
        for match in re.finditer(f"{pattern.pattern}|;", sql, re.DOTALL):
            if match.group() == ";":
                parts.append(sql[start : match.start()])
                start = match.end()
    parts.append(sql[start:])
    return [part for part in parts if pattern.sub("", part).strip()]


def _unwrap(sql: str) -> str:
    """Take the marks off comments that MySQL runs as code."""
    return _MYSQL_EXECUTED_COMMENT.sub(r" \1 ", sql) if "/*!" in sql or "/*M!" in sql else sql


def _reading(stripped: str, original: str) -> Reading:
    text = " ".join(stripped.upper().split()).rstrip("; ").lstrip("? (")
    words = tuple(word for word in re.split(r"[\s?(),=]+", text[:400], maxsplit=8)[:8] if word)
    return Reading(text, words, original)


def tokens(sql: str, *, mysql: bool) -> list[tuple[str, str]]:
    """Split a short statement (``SET``, ``USE``, ``DROP``) into ``(kind, text)``, without comments.

    Backslashes mean what they mean by default. A quote without its fellow is a ``sign``.
    """
    return [(_kind(match), match.group()) for match in _matches(sql, _MYSQL_TOKEN if mysql else _POSTGRES_TOKEN)]


def written(sql: str, count: int) -> str:
    """Give the last tokens of a statement of PostgreSQL's as they were written, with what stands between them."""
    last = _matches(sql, _POSTGRES_TOKEN)[-count:]
    return sql[last[0].start() : last[-1].end()] if last else ""


def quotes_code(sql: str) -> bool:
    """Tell whether a statement of MySQL's has in quotes what ``read_mysql`` takes for a comment that is run."""
    return "/*" in sql and any(
        match.group()[0] in "'\"`" and _unwrap(match.group()) != match.group() for match in _MYSQL_ESCAPED.finditer(sql)
    )


def _matches(sql: str, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """Find the tokens; what a comment has in it is none, nor is the semicolon at the end."""
    found = [
        match for match in pattern.finditer(sql) if _kind(match) == "sign" or not match.group().startswith(_COMMENT)
    ]
    while found and found[-1].group() == ";":
        found.pop()
    return found


def _kind(match: re.Match[str]) -> str:
    return next(kind for kind in ("text", "word", "number", "sign") if match[kind] is not None)
