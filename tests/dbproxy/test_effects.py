"""What each statement is taken to do to its session: one table for both engines, and texts that try to hide something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.dbproxy import mysql_effects, postgres_effects
from forebay.dbproxy.effect import CACHED_EFFECTS_MAX, CACHED_TEXT_LENGTH_MAX, EffectCache
from forebay.errors import InvalidParameterValue

TABLE = json.loads((Path(__file__).parents[1] / "cases" / "statements.json").read_text())
CLASSIFY = {"mysql": mysql_effects.classify, "postgresql": postgres_effects.classify}
ROWS = [(engine, row) for engine in CLASSIFY for row in TABLE[engine]]


def told(effect):
    """Give an effect as the table writes it: what is empty is left out, and a reason is only said to be there."""
    found = {name: list(getattr(effect, name)) for name in ("pins", "unpins", "unsets")}
    found |= {name: [list(pair) for pair in getattr(effect, name)] for name in ("sets", "local")}
    found |= {
        name: getattr(effect, name)
        for name in ("transaction", "chains", "savepoint", "reads_session", "repeatable", "must_close")
    }
    found["dirty"] = bool(effect.dirty)
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize(("engine", "row"), [pytest.param(*row, id=f"{row[0]}: {row[1]['sql'][:60]}") for row in ROWS])
def test_a_statement_does_to_its_session_what_the_table_says(engine, row):
    expected = {name: value for name, value in row.items() if name != "sql"}
    if expected.get("refused"):
        with pytest.raises(InvalidParameterValue):
            CLASSIFY[engine](row["sql"])
    else:
        assert told(CLASSIFY[engine](row["sql"])) == expected


@pytest.mark.parametrize(("engine", "row"), [pytest.param(*row, id=f"{row[0]}: {row[1]['sql'][:60]}") for row in ROWS])
def test_neither_case_nor_space_nor_a_comment_in_front_hides_it(engine, row):
    """``FLUSH TABLES WITH  READ LOCK``, with two spaces or over two lines, once pinned nobody."""
    if row.get("refused") or "--" in row["sql"]:
        return
    words = row["sql"].split(" ")
    for text in (f"/* SELECT 1 */ {row['sql']}", f"-- x\n{row['sql']} ;", "\n\t".join(words), f"  {row['sql']}"):
        plain, hidden = told(CLASSIFY[engine](row["sql"])), told(CLASSIFY[engine](text))
        assert {name: hidden.get(name) for name in ("pins", "dirty", "transaction", "must_close", "reads_session")} == {
            name: plain.get(name) for name in ("pins", "dirty", "transaction", "must_close", "reads_session")
        }, text


DANGEROUS = {"mysql": "GET_LOCK('a', 1)", "postgresql": "pg_advisory_lock(1)"}
NOISE = st.lists(
    st.sampled_from(
        [
            "'x'",
            "''",
            '"x"',
            "/* c */",
            "-- c\n",
            "1",
            "a",
            "(",
            ")",
            ",",
            "\n",
            "$$",
            "$a$",
            "E'\\''",
            "'\\\\'",
            "`",
            "#\n",
        ]
    ),
    max_size=8,
).map(" ".join)


@pytest.mark.parametrize("engine", sorted(CLASSIFY))
@given(before=NOISE, after=NOISE)
def test_a_call_outside_of_quotes_and_comments_is_always_seen(engine, before, after):
    """Whatever surrounds it: if both sides leave quotes and comments closed, the call is code, and code is judged."""
    opened = {"mysql": ("$$", "$a$"), "postgresql": ("`", "#\n", "$a$")}[engine]
    if any(before.count(mark) for mark in opened) or before.count("$$") % 2 or "`" in before:
        return
    assert CLASSIFY[engine](f"SELECT {before} , {DANGEROUS[engine]} {after}").dirty


@given(st.text(max_size=200))
def test_any_text_at_all_is_judged(text):
    for classify in CLASSIFY.values():
        try:
            classify(text)
        except InvalidParameterValue as error:
            assert "utf8mb4" in str(error)  # noqa: PT017 - only a character set is refused


def test_verdicts_are_remembered_within_bounds():
    judged = []

    def judge(sql):
        judged.append(sql)
        return postgres_effects.classify(sql)

    cache = EffectCache(judge)
    for _ in range(3):
        assert cache["SELECT 1"].repeatable
    assert judged == ["SELECT 1"]
    cache["SELECT '" + "x" * CACHED_TEXT_LENGTH_MAX + "'"]
    for number in range(CACHED_EFFECTS_MAX * 2):
        cache[f"SELECT {number}"]
    assert len(cache) <= CACHED_EFFECTS_MAX
    assert all(len(sql) <= CACHED_TEXT_LENGTH_MAX for sql in cache)
