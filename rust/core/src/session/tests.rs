//! Statements and what they do, from the table that Python reads as well; the lexers at their edges; no text at all panics.

mod judge;
mod lexers;

use proptest::prelude::*;
use serde_json::{json, Map, Value};

use super::{digest, mysql, postgres, Beside, Catalogue, CleanFunctions, Dialect, Judge, Judged, Verdict};
use crate::session::mysql::Mode;

fn table() -> Value {
    serde_json::from_str(include_str!("../../../../tests/cases/session_judge.json")).unwrap()
}

fn dialect(engine: &str, row: &Value) -> Dialect {
    let mode = row["mode"].as_str().unwrap_or("");
    match engine {
        "mysql" => Dialect::Mysql(Mode::parse(mode)),
        _ => Dialect::Postgres { standard_strings: mode != "escapes" },
    }
}

/// Judge a text as often as names must be looked up first, in the table's own catalogue.
fn judge(text: &str, dialect: Dialect, beside: Beside, facts: &Value, catalogue: &mut Catalogue) -> Judged {
    let clean = CleanFunctions::new(["vouched", "app.mine", "lcase"].map(str::to_owned));
    for _ in 0..20 {
        let judged = Judge { dialect, context: 0, catalogue, clean: &clean }.judge(text, beside);
        let Judged::Needs(names) = judged else { return judged };
        let rows: Vec<[&str; 3]> = facts
            .as_array()
            .unwrap()
            .iter()
            .map(|row| [0, 1, 2].map(|at| row[at].as_str().unwrap()))
            .filter(|row| {
                names.contains(&row[0].replace('.', "\0"))
                    || names.contains(row[0])
                    || ["operator", "unwritten"].contains(&row[1])
            })
            .collect();
        catalogue.learn(0, names.iter().cloned(), rows.iter().map(|[name, kind, value]| (*name, *kind, *value)));
    }
    panic!("{text}: names are asked for again and again");
}

/// A verdict as the table writes it: what is empty is left out.
fn told(judged: Judged) -> Value {
    let verdict = match judged {
        Judged::Refused(reason) => return json!({"refused": !reason.is_empty()}),
        Judged::Needs(names) => return json!({ "needs": names }),
        Judged::Verdict(verdict) => verdict,
    };
    let Verdict { pins, unpins, locks, fixes, sets, unsets, local, transaction, chains, .. } = &verdict;
    let all = json!({
        "pins": pins, "unpins": unpins, "locks": locks, "fixes": fixes, "sets": sets, "unsets": unsets, "local": local,
        "transaction": transaction.word(), "chains": chains, "reads_session": verdict.reads_session,
        "repeatable": verdict.repeatable, "must_close": verdict.must_close, "changes_schema": verdict.changes_schema,
        "writes_session": verdict.writes_session, "uses_sequence": verdict.uses_sequence,
    });
    let is_empty = |value: &Value| *value == json!([]) || *value == json!("") || *value == json!(false);
    Value::Object(
        all.as_object().unwrap().clone().into_iter().filter(|(_, value)| !is_empty(value)).collect::<Map<_, _>>(),
    )
}

#[test]
fn a_statement_does_to_its_session_what_the_table_says() {
    let table = table();
    let mut wrong = Vec::new();
    for engine in ["mysql", "postgresql"] {
        for row in table[engine].as_array().unwrap() {
            let mut expected = row.as_object().unwrap().clone();
            for key in ["sql", "arguments", "rows", "mode", "about"] {
                expected.remove(key);
            }
            let beside = match row["rows"].as_str() {
                Some("in") => Beside::RowsIn,
                Some(_) => Beside::RowsOut,
                None if row["arguments"] == json!(true) => Beside::Arguments,
                None => Beside::Nothing,
            };
            let text = row["sql"].as_str().unwrap();
            let facts = &table["catalogue"][engine];
            let found = told(judge(text, dialect(engine, row), beside, facts, &mut Catalogue::default()));
            if found != Value::Object(expected) {
                let kept = ["sql", "arguments", "rows", "mode"].iter().filter(|key| !row[**key].is_null());
                let mut line: Map<_, _> = kept.map(|key| ((*key).to_owned(), row[*key].clone())).collect();
                line.extend(found.as_object().unwrap().clone());
                wrong.push(format!("{engine}: {}", Value::Object(line)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_name_is_looked_up_once_and_again_when_it_was_forgotten() {
    let clean = CleanFunctions::default();
    let mut catalogue = Catalogue::default();
    let postgres = Dialect::Postgres { standard_strings: true };
    let ask = |catalogue: &Catalogue| {
        Judge { dialect: postgres, context: 0, catalogue, clean: &clean }
            .judge("SELECT sneaky(a) FROM t", Beside::Nothing)
    };
    let Judged::Needs(names) = ask(&catalogue) else { panic!("nothing is known yet") };
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "sneaky", "t"]);
    catalogue.learn(0, names.clone(), []);
    assert!(matches!(ask(&catalogue), Judged::Verdict(verdict) if verdict.is_clean()));
    catalogue.forget();
    assert_eq!(catalogue.generation(), 1);
    assert_eq!(ask(&catalogue), Judged::Needs(names.clone()));
    catalogue.learn(0, names, [("sneaky", "function", "public")]);
    assert!(matches!(ask(&catalogue), Judged::Verdict(verdict) if verdict.must_close));
}

#[test]
fn what_an_operator_or_a_cast_runs_is_looked_into() {
    let postgres = Dialect::Postgres { standard_strings: true };
    let judged = |runs: &str| {
        let facts = json!([
            ["", "unwritten", "\"of_a_cast\"()"],
            ["of_a_cast", "read", runs],
            ["setseed", "function", "pg_catalog"]
        ]);
        judge("SELECT a FROM t", postgres, Beside::Nothing, &facts, &mut Catalogue::default())
    };
    assert!(matches!(judged("\"lower\"()"), Judged::Verdict(verdict) if verdict.is_clean()));
    assert!(matches!(judged("\"setseed\"()"), Judged::Verdict(verdict) if verdict.pins == ["function:setseed"]));
}

#[test]
fn a_list_of_literals_is_not_kept_whole() {
    let rows = format!("INSERT INTO t (a, b) VALUES {}(3, 'y')", "(1, 'x'), (-2, NULL), ".repeat(10_000));
    let items = format!("SELECT a FROM t WHERE a IN ({}3)", "1, 'x', ".repeat(10_000));
    for text in [&rows, &items] {
        for tokens in [mysql::read_folded(text, Mode::default(), false).ok(), postgres::read_folded(text, true).ok()] {
            assert!(tokens.is_some_and(|tokens| tokens.len() < 40), "{}", &text[..40]);
        }
    }
}

#[test]
fn a_row_that_says_more_than_the_others_is_kept() {
    let postgres = Dialect::Postgres { standard_strings: true };
    let facts = json!([
        ["-", "operator", ""],
        ["in", "function", "app"],
        ["set_config", "function", "pg_catalog"],
        ["setseed", "function", "pg_catalog"]
    ]);
    for text in [
        "INSERT INTO t VALUES (1), (2), (-3)",
        "VALUES (1), (2) UNION SELECT setseed(1)",
        "SELECT app.in(1, 2, 3)",
        "SELECT set_config('a.b', 'c', false) IN ('1', '2', '3')",
    ] {
        let judged = judge(text, postgres, Beside::Nothing, &facts, &mut Catalogue::default());
        assert!(matches!(judged, Judged::Verdict(verdict) if !verdict.pins.is_empty()), "{text}");
    }
}

#[test]
fn a_digest_has_no_part_of_a_literal() {
    let postgres = Dialect::Postgres { standard_strings: true };
    let mysql = Dialect::Mysql(Mode::default());
    for (text, dialect, expected) in [
        ("SELECT  'a''b', 5 -- secret\n, E'\\'x'", postgres, "SELECT ?, ? , ?"),
        ("SELECT $x$secret$x$, U&'d!0061' UESCAPE '!'", postgres, "SELECT ?, ?"),
        ("SELECT \"secret\", `name`, 0x53", mysql, "SELECT ?, `name`, ?"),
        ("SELECT 'open", mysql, "a text that cannot be read"),
    ] {
        assert_eq!(digest(text, dialect), expected);
    }
    assert_eq!(digest(&format!("SELECT {}", "ä ".repeat(500)), postgres).chars().count(), 160);
}

fn noise() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "'x'",
        "''",
        "\"x\"",
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
        "\\",
        "'",
        "\"",
        "@",
        "@@",
        "%",
        "%s",
        ".",
        "U&\"\\0061\"",
        "/*",
        "*/",
        "1e",
        "0x",
        "é",
        "\u{a0}",
        "--\r",
        ";",
        "into",
        "set",
    ];
    proptest::collection::vec(proptest::sample::select(PIECES), 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_stands_anywhere_in_a_long_list_is_seen(
        rows in proptest::collection::vec(proptest::collection::vec(
            proptest::sample::select(&["1", "'x'", "NULL", "-2", "true", "'a''b'"][..]), 1..4), 1..6),
        row in 0_usize..6,
        at in 0_usize..4,
        is_seen in any::<bool>(),
    ) {
        for (dialect, call, facts) in [
            (Dialect::Mysql(Mode::default()), "GET_LOCK('a', 1)", json!([])),
            (Dialect::Postgres { standard_strings: true }, "setseed(1)", json!([["setseed", "function", "pg_catalog"]])),
        ] {
            let mut rows = rows.clone();
            if is_seen {
                let row = row % rows.len();
                let at = at % (rows[row].len() + 1);
                rows[row].insert(at, call);
            }
            let row = |items: &Vec<&str>| format!("({})", items.join(", "));
            let values = rows.iter().map(row).collect::<Vec<_>>().join(", ");
            let items = rows.concat().join(", ");
            for text in [format!("INSERT INTO t VALUES {values}"), format!("SELECT a FROM t WHERE a IN ({items})")] {
                let judged = judge(&text, dialect, Beside::Nothing, &facts, &mut Catalogue::default());
                let is_pinned = matches!(&judged, Judged::Verdict(verdict) if !verdict.pins.is_empty());
                prop_assert_eq!(is_pinned, is_seen, "{}: {:?}", text, judged);
            }
        }
    }

    #[test]
    fn any_text_at_all_is_judged(text in noise(), other in any::<String>(), arguments in any::<bool>()) {
        let clean = CleanFunctions::default();
        for text in [text.clone(), format!("SELECT {text}"), format!("SET {text}"), format!("CREATE {text}"), other] {
            for dialect in [
                Dialect::Postgres { standard_strings: true },
                Dialect::Postgres { standard_strings: false },
                Dialect::Mysql(Mode::default()),
                Dialect::Mysql(Mode { ansi_quotes: true, no_backslash_escapes: true, ignore_space: true }),
            ] {
                let beside = if arguments { Beside::Arguments } else { Beside::Nothing };
                let _ = judge(&text, dialect, beside, &json!([]), &mut Catalogue::default());
                let _ = digest(&text, dialect);
                let _ = Judge { dialect, context: 0, catalogue: &Catalogue::default(), clean: &clean }.judge(&text, beside);
            }
        }
    }

    #[test]
    fn a_call_outside_of_quotes_and_comments_is_always_seen(before in noise(), after in noise()) {
        // Where the lexer says that quotes and comments are closed before it, the call is code, and code is judged.
        for (dialect, call, facts) in [
            (Dialect::Mysql(Mode::default()), "GET_LOCK('a', 1)", json!([])),
            (Dialect::Postgres { standard_strings: true }, "setseed(1)", json!([["setseed", "function", "pg_catalog"]])),
        ] {
            let text = format!("SELECT {before} , {call} {after}");
            let judged = judge(&text, dialect, Beside::Nothing, &facts, &mut Catalogue::default());
            let is_closed = !matches!(judge(&format!("SELECT {before} , 'a'"), dialect, Beside::Nothing, &facts, &mut Catalogue::default()),
                Judged::Verdict(verdict) if verdict.pins.iter().any(|pin| pin.starts_with("statement:")));
            let probe = format!("SELECT {before} , '");
            let is_open = !matches!(judge(&probe, dialect, Beside::Nothing, &facts, &mut Catalogue::default()),
                Judged::Verdict(verdict) if verdict.pins.iter().any(|pin| pin == "statement:a text that cannot be read"));
            if is_closed && !is_open {
                prop_assert!(!matches!(&judged, Judged::Verdict(verdict) if verdict.pins.is_empty()), "{text}: {judged:?}");
            }
        }
    }
}
