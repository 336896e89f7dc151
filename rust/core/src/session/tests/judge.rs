//! What the judge asks of the catalogue, and its bounds, for which no row of the table has room.

use serde_json::json;

use super::{judge, told};
use crate::session::mysql::Mode;
use crate::session::{split, Beside, Catalogue, CleanFunctions, Dialect, Judge, Judged, Transaction, Verdict};

const MYSQL: Dialect = Dialect::Mysql(Mode { ansi_quotes: false, no_backslash_escapes: false, ignore_space: false });
const POSTGRES: Dialect = Dialect::Postgres { standard_strings: true };

fn at_once(text: &str, dialect: Dialect, catalogue: &Catalogue) -> Judged {
    let clean = CleanFunctions::default();
    Judge { dialect, context: 0, catalogue, clean: &clean }.judge(text, Beside::Nothing)
}

#[test]
fn a_statement_is_judged_when_its_names_are_known() {
    let rows: &[(Dialect, &str, &[&str])] = &[
        (MYSQL, "SELECT a + b FROM t", &["a", "b", "t"]),
        (MYSQL, "SELECT upper(A) FROM `T`", &["\0upper", "A", "T", "upper"]),
        (MYSQL, "SELECT * FROM app.t", &["app", "app\0t", "t"]),
        (MYSQL, "SELECT * FROM information_schema.tables", &["information_schema", "tables"]),
        (MYSQL, "SELECT * FROM Performance_Schema.x", &["Performance_Schema", "x"]),
        (MYSQL, "SELECT LAST_INSERT_ID(), a FROM t", &["a", "t"]),
        (MYSQL, "SELECT row_count FROM t", &["row_count", "t"]),
        (MYSQL, "INSERT INTO last_insert_id () VALUES ()", &["last_insert_id"]),
        (MYSQL, "DELETE FROM t WHERE a = 'b' ORDER BY c", &["a", "c", "t"]),
        (MYSQL, "SELECT a_column", &[]),
        (MYSQL, "DO upper('a')", &["\0upper"]),
        (MYSQL, "CREATE TABLE t (a INT)", &["a", "t"]),
        (MYSQL, "SHOW TABLES WHERE a = 1", &["a"]),
        (MYSQL, "CALL p(a)", &[]),
        (POSTGRES, "SELECT A, \"B\".c FROM t", &["B", "a", "c", "t"]),
        (POSTGRES, "SELECT upper(a) FROM app.t ORDER BY 1", &["a", "app", "by", "t", "upper"]),
        (POSTGRES, "SELECT É FROM \"É\"", &["É", "é"]),
        (POSTGRES, "SELECT 1 + 1", &["pg_operator"]),
        (POSTGRES, "SELECT 1 WHERE 2 IN (3)", &["pg_operator"]),
        (POSTGRES, "COMMENT ON TABLE t IS 'x'", &["pg_operator"]),
        (POSTGRES, "SELECT (1), '2'", &[]),
        (POSTGRES, "SET work_mem TO 5", &[]),
    ];
    for (dialect, text, names) in rows {
        match at_once(text, *dialect, &Catalogue::default()) {
            Judged::Needs(missing) => {
                assert_eq!(missing.iter().map(String::as_str).collect::<Vec<_>>(), *names, "{text}");
            }
            Judged::Verdict(_) => assert!(names.is_empty(), "{text}"),
            Judged::Refused(reason) => panic!("{text}: {reason}"),
        }
    }
}

#[test]
fn what_no_name_leads_to_is_seen_in_every_statement_that_may_run_it() {
    let causes = |text: &str, kind: &str, name: &str| {
        let facts = json!([[name, kind, ""]]);
        let Judged::Verdict(verdict) = judge(text, POSTGRES, Beside::Nothing, &facts, &mut Catalogue::default()) else {
            panic!("{text}")
        };
        assert_eq!(verdict.must_close, verdict.pins.iter().any(|pin| pin.starts_with("function:")), "{text}");
        verdict.pins
    };
    for (text, operator) in [
        ("SELECT a FROM t WHERE b = 1", "="),
        ("SELECT a FROM t WHERE b IN (1)", "="),
        ("SELECT a FROM t WHERE b BETWEEN 1 AND 2", "<="),
        ("SELECT CASE a WHEN 1 THEN 2 END FROM t", "="),
        ("SELECT DISTINCT a FROM t", "="),
        ("SELECT a FROM t WHERE a LIKE 'x'", "~~"),
        ("SELECT a FROM t WHERE a ILIKE 'x'", "~~*"),
        ("SELECT a FROM t WHERE a SIMILAR TO 'x'", "~"),
        ("SELECT NULLIF(a, 1) FROM t", "="),
        ("SELECT a FROM t NATURAL JOIN u", "="),
        ("SELECT a FROM t JOIN u USING (a)", "="),
    ] {
        assert_eq!(causes(text, "operator", operator), ["function:an operator"], "{text}");
        assert!(causes(text, "operator", "&&&").is_empty(), "{text}");
    }
    for text in ["SELECT a FROM t", "SELECT (a), \"in\"[1:2], t.b FROM t"] {
        assert!(causes(text, "operator", "=").is_empty(), "{text}");
    }
    for text in [
        "CREATE TABLE t (a int)",
        "ALTER TABLE t ADD b int",
        "DROP TABLE t",
        "COMMENT ON TABLE t IS 'x'",
        "GRANT SELECT ON t TO u",
        "SELECT 1 INTO t",
    ] {
        let found = causes(text, "event trigger", "pg_operator");
        assert!(found.contains(&"function:an event trigger".to_owned()), "{text}: {found:?}");
    }
    assert!(causes("SELECT 1 + 1", "event trigger", "pg_operator").is_empty());
    assert_eq!(causes("SELECT 1 + 1", "cast", "pg_operator"), ["function:a cast"]);
}

#[test]
fn what_a_vouched_function_says_is_not_looked_into() {
    let facts = json!([
        ["setseed", "function", "pg_catalog"],
        ["mine", "read", "SELECT setseed(1)"],
        ["vouched", "read", "SELECT setseed(1)"],
        ["ine", "read", "SELECT setseed(1)"]
    ]);
    for (text, is_clean) in [
        ("SELECT app.mine(), vouched()", true),
        ("SELECT * FROM mine", false),
        ("SELECT vouched FROM t", false),
        ("SELECT app.ine()", false),
    ] {
        let judged = judge(text, POSTGRES, Beside::Nothing, &facts, &mut Catalogue::default());
        assert!(matches!(judged, Judged::Verdict(verdict) if verdict.is_clean() == is_clean), "{text}");
    }
}

#[test]
fn a_catalogue_knows_what_it_was_told_until_it_forgets() {
    let mut catalogue = Catalogue::default();
    assert!(!catalogue.is_loaded() && catalogue.facts(0, "a").is_none());
    let rows = [
        ("a", "function", "app"),
        ("a", "function", "public"),
        ("a", "function of a row", "row"),
        ("a", "read", "SELECT 1"),
        ("a", "written", "b > 0"),
        ("a", "cascade", "c"),
        ("a", "trigger", "d"),
        ("a", "unreadable", "why"),
        ("a", "unwritable", "why not"),
        ("a", "other", "x"),
        ("b", "read", "nobody has asked for it"),
        ("!", "operator", ""),
        ("", "unwritten", "\"f\"()"),
        ("x", "cast", ""),
        ("x", "event trigger", ""),
    ];
    catalogue.learn(7, ["a".to_owned(), "n".to_owned()], rows);
    let facts = catalogue.facts(7, "a").unwrap().clone();
    assert_eq!((facts.functions, facts.of_rows), (vec!["app".to_owned(), "public".to_owned()], vec!["row".to_owned()]));
    assert_eq!((&*facts.read, &*facts.written), (&["SELECT 1".to_owned()][..], &["b > 0".to_owned()][..]));
    assert_eq!((&*facts.cascade, &*facts.triggers), (&["c".to_owned()][..], &["d".to_owned()][..]));
    assert_eq!((facts.unreadable.as_deref(), facts.unwritable.as_deref()), (Some("why"), Some("why not")));
    assert_eq!(catalogue.facts(7, "n"), Some(&crate::session::Facts::default()));
    assert!(catalogue.facts(0, "a").is_none() && catalogue.facts(7, "b").is_none());
    assert!(catalogue.is_loaded() && catalogue.has_volatile("!") && !catalogue.has_volatile("+"));
    assert!(catalogue.has_volatile_cast() && catalogue.has_event_trigger());
    assert_eq!(catalogue.unwritten().collect::<Vec<_>>(), ["\"f\"()"]);
    catalogue.learn(8, ["a".to_owned()], []);
    assert!(catalogue.facts(8, "a").is_some_and(|facts| facts.read.is_empty()));
    catalogue.forget_context(7);
    assert!(catalogue.facts(7, "a").is_none() && catalogue.facts(8, "a").is_some());
    catalogue.learn(8, (0..49_998).map(|number| number.to_string()), []);
    catalogue.learn(8, ["b".to_owned()], []);
    assert!(catalogue.facts(8, "a").is_some() && catalogue.generation() == 0, "it has room for 50,000 names");
    catalogue.learn(8, ["c".to_owned()], []);
    assert!(catalogue.facts(8, "a").is_none() && catalogue.facts(8, "c").is_some());
    assert!(catalogue.generation() == 1 && !catalogue.has_volatile("!") && !catalogue.has_event_trigger());
}

#[test]
fn a_function_is_known_by_its_schema() {
    for (schema, is_clean) in [("pg_catalog", true), ("app", false), ("public", false), ("extension pgcrypto", false)] {
        let facts = json!([["random", "function", schema]]);
        let judged = judge("SELECT random()", POSTGRES, Beside::Nothing, &facts, &mut Catalogue::default());
        assert!(matches!(judged, Judged::Verdict(verdict) if verdict.is_clean() == is_clean), "{schema}");
    }
}

#[test]
fn each_name_has_facts_of_its_own() {
    let mut catalogue = Catalogue::default();
    let names: Vec<String> = (0..5_000).map(|number| format!("n{number}")).collect();
    catalogue.learn(7, names.iter().cloned(), names.iter().map(|name| (&**name, "read", &**name)));
    for name in &names {
        assert_eq!(catalogue.facts(7, name).unwrap().read, std::slice::from_ref(name));
        assert!(catalogue.facts(8, name).is_none());
    }
}

#[test]
fn a_character_set_that_the_client_does_not_write_is_refused() {
    for text in ["SET NAMES latin1", "SET CHARACTER SET DEFAULT", "SET character_set_client = NULL"] {
        let Judged::Refused(reason) = at_once(text, MYSQL, &Catalogue::default()) else { panic!("{text}") };
        assert!(reason.contains("the character set must be utf8mb4"), "{text}: {reason}");
    }
}

#[test]
fn a_digest_has_so_many_characters() {
    let told = |text: &str, most: usize| {
        let tokens = crate::session::postgres::read(text, true).unwrap();
        crate::session::token::digest(text, &tokens, most)
    };
    for (text, expected) in [
        ("  SELECT 1", "SELE…"),
        (" ab  /* c */ 'd'", "ab ?"),
        ("abcde", "abcde"),
        ("abcdef", "abcd…"),
        ("abc 1", "abc ?"),
        ("abc d e", "abc …"),
        // Of four bytes each.
        ("𝒂𝒃𝒄𝒅𝒆", "𝒂𝒃𝒄𝒅𝒆"),
        ("𝒂𝒃𝒄𝒅𝒆 f", "𝒂𝒃𝒄𝒅…"),
        ("𝒂𝒃𝒄𝒅𝒆𝒇 g", "𝒂𝒃𝒄𝒅…"),
    ] {
        assert_eq!(told(text, 5), expected, "{text}");
    }
}

#[test]
fn a_verdict_and_what_is_looked_through_have_bounds() {
    let one = |text: &str, dialect| {
        let facts = json!([["set_config", "function", "pg_catalog"]]);
        told(judge(text, dialect, Beside::Nothing, &facts, &mut Catalogue::default()))
    };
    let calls = |count: usize| (0..count).map(|at| format!("f{at}()")).collect::<Vec<_>>().join(", ");
    for (count, expected) in [(20, 20), (21, 21), (30, 21)] {
        let verdict = one(&format!("SELECT {}", calls(count)), MYSQL);
        let pins = verdict["pins"].as_array().unwrap();
        assert_eq!((pins.len(), pins.last() == Some(&json!("statement:many causes"))), (expected, count > 20));
    }
    assert_eq!(one("SELECT f(), f(), F()", MYSQL)["pins"], json!(["function:f"]));
    let statements = |count: usize| one(&vec!["SELECT 1"; count].join(";"), POSTGRES);
    assert_eq!(statements(100), json!({"repeatable": true}));
    assert_eq!(statements(101)["pins"], json!(["setting:several statements"]));
    let configured =
        |count: usize| one(&format!("SELECT set_config('app.a', f({}1), true)", "a.".repeat(count)), POSTGRES);
    assert_eq!(configured(400), json!({"repeatable": true}));
    assert_eq!(configured(600)["must_close"], json!(true), "the end of its arguments is not seen");
    let listed = |count: usize| {
        one(&format!("WITH a (x) AS (SELECT 1), b ({}x) AS (SELECT 1) SELECT 1", "x,".repeat(count)), MYSQL)
    };
    assert_eq!(listed(400), json!({"repeatable": true}));
    assert_eq!(listed(600)["pins"], json!(["function:b"]), "the end of its list is not seen");
}

#[test]
fn a_text_is_split_where_its_statements_end() {
    for dialect in [MYSQL, POSTGRES] {
        assert_eq!(split("SELECT 1 ; -- a\n;; SELECT ';' ; ", dialect), Some(vec!["SELECT 1", "SELECT ';'"]));
        assert_eq!(split(" ", dialect), Some(Vec::new()));
        assert_eq!(split("SELECT 'open", dialect), None);
    }
    assert_eq!(split("SELECT U&'a!0061' UESCAPE '!'; SELECT 2", POSTGRES).unwrap()[0], "SELECT U&'a!0061' UESCAPE '!'");
}

#[test]
fn what_is_not_known_is_taken_for_anything() {
    let unknown = Verdict::unknown();
    assert!(unknown.must_close && unknown.reads_session && unknown.changes_schema && unknown.writes_session);
    assert_eq!(unknown.pins, ["statement:what it names is not known"]);
    let undecided = Verdict::undecided();
    assert!(undecided.must_close && undecided.writes_session && !undecided.reads_session && !undecided.changes_schema);
    assert_eq!(undecided.pins, unknown.pins);
    let harmless = Verdict {
        repeatable: true,
        changes_schema: true,
        writes_session: true,
        uses_sequence: true,
        ..Verdict::default()
    };
    assert!(harmless.is_clean() && !unknown.is_clean());
    for changed in [
        Verdict { reads_session: true, ..harmless.clone() },
        Verdict { chains: true, ..harmless.clone() },
        Verdict { unsets: vec!["a".to_owned()], ..harmless.clone() },
        Verdict { transaction: Transaction::RollbackTo, ..harmless },
    ] {
        assert!(!changed.is_clean(), "{changed:?}");
    }
}
