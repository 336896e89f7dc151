"""What each statement is taken to do to its session, through the extension: the table that Rust reads as well, and its speed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from forebay._core import StatementJudge, debug_build, split_statements
from forebay.dbproxy.effect import Effect
from forebay.errors import InvalidParameterValue

TABLE = json.loads((Path(__file__).parents[1] / "cases" / "session_judge.json").read_text())
ROWS = [(engine, row) for engine in ("mysql", "postgresql") for row in TABLE[engine]]
FIELDS = ("pins", "unpins", "locks", "fixes", "sets", "unsets", "local", "transaction", "chains", "reads_session")
FLAGS = ("repeatable", "must_close", "changes_schema", "writes_session", "uses_sequence")


def judged(judge, engine, sql, context=0, *beside):
    """Judge a text as often as names must be looked up first, in the table's own catalogue."""
    effect = judge.judge(sql, context, *beside)
    for _ in range(20):
        if not effect.needs:
            break
        known = [tuple(row) for row in TABLE["catalogue"][engine] if row[0] in effect.needs or row[1] == "operator"]
        judge.learn(judge.generation(), context, list(effect.needs), known)
        effect = judge.judge(sql, context, *beside)
    return effect


def told(effect):
    """Give an effect as the table writes it: what is empty is left out."""

    def plain(value):
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    found = {name: plain(getattr(effect, name)) for name in (*FIELDS, *FLAGS)}
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize(("engine", "row"), [pytest.param(*row, id=f"{row[0]}: {row[1]['sql'][:60]}") for row in ROWS])
def test_a_statement_does_to_its_session_what_the_table_says(engine, row):
    judge = StatementJudge(engine, Effect, ["vouched", "app.mine", "lcase"])
    mode = {"escapes": "off"}.get(row.get("mode"), row.get("mode"))
    context = judge.context(mode, None)
    arguments = row.get("arguments", False)
    beside = {"sql", "mode", "arguments", "rows", "about"}
    expected = {name: value for name, value in row.items() if name not in beside}
    if expected.get("refused"):
        with pytest.raises(InvalidParameterValue):
            judged(judge, engine, row["sql"], context, arguments, row.get("rows"))
    else:
        assert told(judged(judge, engine, row["sql"], context, arguments, row.get("rows"))) == expected


def test_what_is_no_text_is_refused_before_anything_is_sent():
    judge = StatementJudge("postgresql", Effect, [])
    for statement in (None, b"SELECT 1", 5, "SELECT '\ud800'"):
        with pytest.raises(InvalidParameterValue, match="statement"):
            judge.judge(statement)


def test_an_answer_to_a_question_from_before_a_change_is_not_taken():
    judge = StatementJudge("postgresql", Effect, [])
    before = judge.generation()
    names = judge.judge("SELECT * FROM t").needs
    judge.forget()
    judge.learn(before, 0, list(names), [])
    assert judge.judge("SELECT * FROM t").needs == names
    judge.learn(judge.generation(), 0, list(names), [])
    assert judge.judge("SELECT * FROM t").plain


def test_a_text_means_what_its_context_says():
    judge = StatementJudge("mysql", Effect, [])
    judge.rebase("STRICT_TRANS_TABLES", "app")
    assert judge.context() == judge.context("STRICT_TRANS_TABLES", "app") == 0
    ansi = judge.context("ANSI_QUOTES,STRICT_TRANS_TABLES", None)
    assert judge.context("ANSI_QUOTES,STRICT_TRANS_TABLES", None) == ansi != 0
    assert judge.database(judge.context(None, "other")) == "other"
    assert judge.judge('SELECT "f"(1)', 0).needs == judge.judge("SELECT 'f'(1)", 0).needs
    assert "function:f" in judge.judge('SELECT "f"(1)', ansi).pins


def test_one_context_is_forgotten_alone():
    judge = StatementJudge("mysql", Effect, [])
    judge.rebase("", "app")
    own = judge.context(None, "app\0" + "1")
    for context in (0, own):
        assert not judge.judge("SELECT * FROM t", context).reads_session  # what is not told yet needs no reset
        judge.learn(judge.generation(), context, ["t"], [])
        assert judge.judge("SELECT * FROM t", context).plain
    judge.forget(own)
    assert judge.judge("SELECT * FROM t", own).needs == ("t",)
    assert judge.judge("SELECT * FROM t").plain


def test_verdicts_are_remembered_within_bounds():
    judge = StatementJudge("postgresql", Effect, [])
    assert judge.judge("SELECT 1") is judge.judge("SELECT 1")
    long = "SELECT '" + "x" * 20_000 + "'"
    assert judge.judge(long) is not judge.judge(long)
    first = judge.judge("SELECT 1")
    for number in range(12_000):
        judge.judge(f"SELECT {number}")
    assert judge.judge("SELECT 1") is not first


def test_an_init_query_is_split_where_its_statements_end():
    assert split_statements("postgresql", "SET a TO ';'; -- b;\nSELECT $$;$$ ;") == ["SET a TO ';'", "SELECT $$;$$"]
    assert split_statements("mysql", "SET @a = ';'; SELECT `;`") == ["SET @a = ';'", "SELECT `;`"]
    assert split_statements("mysql", "SELECT 'open") is None


@pytest.mark.skipif(debug_build, reason="the figures are of an optimised build")
def test_a_long_text_is_judged_in_time_that_grows_with_it_alone():
    """Arguments were pasted in and judged as SQL: "/*!" twenty thousand times stopped the event loop for seconds."""
    for engine in ("mysql", "postgresql"):
        judge = StatementJudge(engine, Effect, [])
        for piece in ("/*!", "/*", "'", '"', "$a$", "(", "-- ", "a.", "U&'", "@@", "x,"):
            began = time.perf_counter()
            judge.judge("SELECT " + piece * (1_000_000 // len(piece)))
            assert time.perf_counter() - began < 2, (engine, piece)
