//! What PostgreSQL's statements do to their session.

mod expression;
mod functions;
mod lexer;
mod settings;

pub(super) use lexer::{read, read_folded};

use std::collections::BTreeSet;

use super::token::{after_parenthesis, are, begins, Kind, Token};
use super::{statement, Beside, Judge, Judged, Transaction, Verdict};
use expression::Examined;

/// Temporary things; the server tells when the last one is gone.
const TEMPORARY: &str = "temporary table:";
/// All that `DISCARD ALL` ends; what it cannot end is closed with the connection.
const KINDS: &[&str] = &[
    "advisory lock:",
    "cursor:",
    "function:",
    "LISTEN:",
    "prepared statement:",
    "role:",
    "session authorization:",
    "session memory:",
    "setting:",
    "statement:",
    TEMPORARY,
];
/// Statements of one text whose order is looked at.
const STATEMENTS_MAX: usize = 100;
const DDL: &[&str] = &[
    "aggregate",
    "cast",
    "collation",
    "conversion",
    "domain",
    "function",
    "index",
    "materialized",
    "operator",
    "policy",
    "procedure",
    "role",
    "routine",
    "rule",
    "schema",
    "sequence",
    "statistics",
    "table",
    "trigger",
    "type",
    "user",
    "view",
];
/// What runs expressions of its text, or of what it names, at once.
const RUNS_EXPRESSIONS: &[&str] = &["domain", "index", "materialized", "table", "type"];

/// Judge a text of one statement or several.
pub(super) fn judge(judge: &Judge<'_>, text: &str, standard_strings: bool, beside: Beside) -> Judged {
    if let Some(at) = text.find('\0') {
        let at = text[..at].chars().count();
        return Judged::Refused(format!("sql: PostgreSQL has no character 0 (at character {at})"));
    }
    let Ok(tokens) = read_folded(text, standard_strings) else {
        return Judged::Verdict(Verdict::opaque("statement:a text that cannot be read"));
    };
    let statements: Vec<&[Token<'_>]> =
        tokens.split(|token| token.is_sign(";")).filter(|tokens| !tokens.is_empty()).collect();
    if let Some(reason) = misfit(&statements, beside) {
        return Judged::Refused(reason.to_owned());
    }
    let mut examined = Examined::new(judge);
    let verdicts: Vec<Verdict> = statements.iter().map(|tokens| one(&mut examined, text, tokens)).collect();
    if let Some(reason) = examined.refused {
        return Judged::Refused(reason.to_owned());
    }
    let missing = examined.into_missing();
    if !missing.is_empty() && !verdicts.iter().any(|verdict| verdict.must_close) {
        return Judged::Needs(missing);
    }
    Judged::Verdict(joined(verdicts))
}

/// Why statements cannot be sent with what is beside them: the driver would wait for ever for an answer that it knows.
fn misfit(statements: &[&[Token<'_>]], beside: Beside) -> Option<&'static str> {
    let rows = |tokens: &&[Token<'_>]| rows_beside(tokens);
    match beside {
        Beside::RowsIn | Beside::RowsOut if statements.len() == 1 && rows(&statements[0]) == beside => None,
        Beside::RowsIn => Some("sql: this must be one statement, COPY ... FROM STDIN"),
        Beside::RowsOut => Some("sql: this must be one statement, COPY ... TO STDOUT"),
        _ if statements.is_empty() => Some("sql: there is no statement in it"),
        _ if statements.iter().any(|tokens| rows(tokens) != Beside::Nothing) => Some(
            "COPY FROM STDIN and COPY TO STDOUT have rows beside the statement: use client.copy_from and client.copy_to",
        ),
        _ => None,
    }
}

/// What travels beside a `COPY`. The server reads `STDIN` and `STDOUT` as the same word.
fn rows_beside(tokens: &[Token<'_>]) -> Beside {
    if !tokens[0].is("copy") {
        return Beside::Nothing;
    }
    let mut at = 1;
    while at + 1 < tokens.len() {
        if tokens[at].is_sign("(") {
            at = after_parenthesis(tokens, at);
            continue;
        }
        if tokens[at + 1].is("stdin") || tokens[at + 1].is("stdout") {
            match &*tokens[at].value {
                "from" => return Beside::RowsIn,
                "to" => return Beside::RowsOut,
                _ => {}
            }
        }
        at += 1;
    }
    Beside::Nothing
}

/// Join the verdicts of one text. The server runs it as one transaction, unless it has its own: their order says what is left
/// of the session, so the client stays where that is.
fn joined(mut verdicts: Vec<Verdict>) -> Verdict {
    if verdicts.len() <= 1 {
        return verdicts.pop().unwrap_or_default();
    }
    let mut all = Verdict { repeatable: verdicts.iter().all(|verdict| verdict.repeatable), ..Verdict::default() };
    let begins = verdicts[0].transaction == Transaction::Begin;
    let last = &verdicts[verdicts.len() - 1];
    let ends = matches!(last.transaction, Transaction::Commit | Transaction::Rollback) && !last.chains;
    let inner = &verdicts[usize::from(begins)..verdicts.len() - usize::from(ends && begins)];
    let in_order = inner.iter().all(|verdict| {
        let set = Verdict { sets: Vec::new(), local: Vec::new(), ..verdict.clone() };
        set.is_clean()
            || (*verdict == Verdict::transaction(Transaction::Begin) && !begins && inner.len() == verdicts.len())
    });
    let sets = verdicts.iter().any(|verdict| !verdict.sets.is_empty());
    let begun = verdicts.iter().filter(|verdict| verdict.transaction == Transaction::Begin).count();
    if in_order && begun <= 1 && !(sets && begun > 0) && verdicts.len() <= STATEMENTS_MAX {
        all.transaction = if begun > 0 { Transaction::Begin } else { Transaction::None };
    } else {
        all.pin("setting:several statements");
        all.local.push(("*".to_owned(), String::new()));
    }
    if uses_what_it_changes(&verdicts) {
        all.close("statement:a change of the schema and more in one text");
    }
    let keeps_sets = all.pins.is_empty();
    for verdict in verdicts {
        for pin in verdict.pins {
            all.pin(pin);
        }
        if keeps_sets {
            for (key, text) in verdict.sets {
                all.sets.retain(|(known, _)| *known != key);
                all.sets.push((key, text));
            }
        }
        if keeps_sets {
            all.local.extend(verdict.local);
        }
        all.reads_session |= verdict.reads_session;
        all.must_close |= verdict.must_close;
        all.changes_schema |= verdict.changes_schema;
        all.writes_session |= verdict.writes_session;
    }
    all
}

/// Whether a text changes the schema and goes on: its names were looked up before any of it ran.
fn uses_what_it_changes(verdicts: &[Verdict]) -> bool {
    let changed = verdicts.iter().position(|verdict| verdict.changes_schema).unwrap_or(verdicts.len());
    let only_ends = |verdict: &Verdict| matches!(verdict.transaction, Transaction::Commit | Transaction::Rollback);
    verdicts.iter().skip(changed + 1).any(|verdict| !only_ends(verdict))
}

/// Judge one statement.
fn one(examined: &mut Examined<'_>, text: &str, tokens: &[Token<'_>]) -> Verdict {
    let mut verdict = form(examined, text, tokens);
    verdict.writes_session = examined.took_a_key() || verdict.changes_schema;
    let names_temporary =
        |token: &Token<'_>| token.is_name() && (token.value == "pg_temp" || token.value.starts_with("pg_temp_"));
    if tokens.iter().any(names_temporary) && verdict.pins.is_empty() {
        return Verdict { sets: Vec::new(), repeatable: false, pins: vec![TEMPORARY.to_owned()], ..verdict };
    }
    verdict
}

fn form(examined: &mut Examined<'_>, text: &str, tokens: &[Token<'_>]) -> Verdict {
    let first = &tokens[0];
    if first.is_sign("(") {
        return examined.query(tokens);
    }
    if first.kind != Kind::Word {
        return Verdict::opaque(statement(tokens));
    }
    match &*first.value {
        "select" | "with" | "values" | "insert" | "update" | "delete" | "merge" => examined.query(tokens),
        "table" => examined.query(&tokens[1..]),
        "show" => Verdict { repeatable: true, ..Verdict::default() },
        "explain" => explain(examined, text, tokens),
        "copy" => examined.copied(&tokens[1..]),
        "truncate" => examined.written(&tokens[1..]),
        // What they hold or show ends with the transaction, or is nobody's.
        "lock" | "notify" | "vacuum" | "analyze" | "analyse" | "reindex" | "cluster" | "fetch" | "move" => {
            Verdict::default()
        }
        "create" => create(examined, tokens),
        "alter" | "drop" => change(examined, tokens),
        "comment" | "grant" | "revoke" => schema(examined),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" | "prepare" => {
            transaction(examined, text, tokens)
        }
        "set" => settings::set(text, tokens).unwrap_or_else(|reason| examined.refuse(reason)),
        "reset" => settings::reset(tokens),
        "execute" if names_driver(tokens) => Verdict::closed("prepared statement:"),
        "execute" => Verdict::pinned("prepared statement:"),
        "deallocate" => deallocate(tokens),
        "declare" => declare(examined, tokens),
        "close" => Verdict { unpins: vec!["cursor:".to_owned()], ..Verdict::default() },
        "listen" => Verdict::pinned("LISTEN:"),
        "unlisten" => Verdict { unpins: vec!["LISTEN:".to_owned()], ..Verdict::default() },
        "discard" => discard(tokens),
        "call" => examined.call(&tokens[1..]),
        _ => Verdict::opaque(statement(tokens)),
    }
}

fn explain(examined: &mut Examined<'_>, text: &str, tokens: &[Token<'_>]) -> Verdict {
    let mut at = 1;
    if tokens.get(at).is_some_and(|token| token.is_sign("(")) && !tokens.get(at + 1).is_some_and(is_query) {
        at = after_parenthesis(tokens, at);
    } else {
        while tokens.get(at).is_some_and(|token| ["analyze", "analyse", "verbose"].iter().any(|word| token.is(word))) {
            at += 1;
        }
    }
    match tokens.get(at) {
        Some(_) => Verdict { repeatable: false, ..form(examined, text, &tokens[at..]) },
        None => Verdict::opaque(statement(tokens)),
    }
}

fn is_query(token: &Token<'_>) -> bool {
    token.is_sign("(") || ["select", "with", "values", "table"].iter().any(|word| token.is(word))
}

/// What changes the schema. An event trigger runs with it.
fn schema(examined: &mut Examined<'_>) -> Verdict {
    let mut verdict = Verdict { changes_schema: true, ..Verdict::default() };
    if examined.has_event_trigger() {
        verdict.close("function:an event trigger");
    }
    verdict
}

fn create(examined: &mut Examined<'_>, tokens: &[Token<'_>]) -> Verdict {
    let (mut at, mut is_temporary) = (1, false);
    while let Some(token) = tokens.get(at) {
        match &*token.value {
            "temp" | "temporary" => is_temporary = true,
            "or" | "replace" | "global" | "local" | "unlogged" | "recursive" | "unique" | "constraint" => {}
            _ => break,
        }
        at += 1;
    }
    let kind = tokens.get(at).filter(|token| token.kind == Kind::Word).map_or("", |token| &*token.value);
    let nested = tokens[at..].iter().any(|token| token.is("create") || token.is("atomic"));
    if !DDL.contains(&kind) || nested {
        return Verdict::opaque(statement(tokens));
    }
    let mut verdict = schema(examined);
    if is_temporary {
        verdict.pins.push(TEMPORARY.to_owned());
    }
    if is_temporary || RUNS_EXPRESSIONS.contains(&kind) {
        examined.add(&mut verdict, &tokens[at..]);
    }
    verdict
}

fn change(examined: &mut Examined<'_>, tokens: &[Token<'_>]) -> Verdict {
    let kind = tokens.get(1).filter(|token| token.kind == Kind::Word).map_or("", |token| &*token.value);
    if !DDL.contains(&kind) && !begins(&tokens[1..], &["default", "privileges"]) {
        return Verdict::opaque(statement(tokens));
    }
    let mut verdict = schema(examined);
    verdict.unpins.push(TEMPORARY.to_owned());
    if tokens[0].is("alter") && RUNS_EXPRESSIONS.contains(&kind) {
        examined.rewritten(&mut verdict, &tokens[2..]);
    }
    verdict
}

/// What begins, ends or parts a transaction. A word too many, and nobody knows.
fn transaction(examined: &mut Examined<'_>, text: &str, tokens: &[Token<'_>]) -> Verdict {
    let rest = &tokens[1..];
    let told = |transaction| Verdict::transaction(transaction);
    match &*tokens[0].value {
        "begin" => told(Transaction::Begin),
        "start" if begins(rest, &["transaction"]) => told(Transaction::Begin),
        // `PREPARE transaction AS ...` has a statement of that name.
        "prepare" if begins(rest, &["transaction"]) && rest.get(1).is_some_and(|token| token.kind == Kind::Text) => {
            told(Transaction::Commit)
        }
        "prepare" => prepare(examined, text, tokens),
        // What another session has changed is seen from here on.
        "commit" | "rollback" if begins(rest, &["prepared"]) => Verdict { changes_schema: true, ..Verdict::default() },
        "commit" | "end" => ended(told(Transaction::Commit), tokens),
        "rollback" if rest.iter().take(2).any(|token| token.is("to")) => told(Transaction::RollbackTo),
        "rollback" | "abort" => ended(told(Transaction::Rollback), tokens),
        "savepoint" | "release" => Verdict::default(),
        _ => Verdict::opaque(statement(tokens)),
    }
}

fn ended(mut verdict: Verdict, tokens: &[Token<'_>]) -> Verdict {
    let mut rest = &tokens[1..];
    if rest.first().is_some_and(|token| token.is("work") || token.is("transaction")) {
        rest = &rest[1..];
    }
    if are(rest, &["and", "chain"]) {
        verdict.chains = true;
    } else if !rest.is_empty() && !are(rest, &["and", "no", "chain"]) {
        return Verdict::opaque(statement(tokens));
    }
    verdict
}

/// `PREPARE name [(types)] AS statement`: what it will do is judged here, once.
fn prepare(examined: &mut Examined<'_>, text: &str, tokens: &[Token<'_>]) -> Verdict {
    let mut at = 2;
    if tokens.get(at).is_some_and(|token| token.is_sign("(")) {
        at = after_parenthesis(tokens, at);
    }
    if !tokens.get(at).is_some_and(|token| token.is("as")) || at + 1 >= tokens.len() {
        return Verdict::opaque(statement(tokens));
    }
    let inner = form(examined, text, &tokens[at + 1..]);
    let mut verdict = Verdict {
        must_close: inner.must_close,
        reads_session: inner.reads_session,
        changes_schema: inner.changes_schema,
        ..Verdict::pinned("prepared statement:")
    };
    verdict.pins.extend(inner.pins);
    verdict
}

/// `DEALLOCATE ALL` takes the driver's own statements along, which it would go on using; so does one that names them.
fn deallocate(tokens: &[Token<'_>]) -> Verdict {
    let unpins = vec!["prepared statement:".to_owned()];
    let must_close = names_driver(tokens) || tokens.iter().any(|token| token.is("all"));
    Verdict { unpins, must_close, ..Verdict::default() }
}

/// Whether a name is one that the driver gives to its statements.
fn names_driver(tokens: &[Token<'_>]) -> bool {
    tokens.iter().any(|token| token.is_name() && token.value.starts_with("__asyncpg_"))
}

fn declare(examined: &mut Examined<'_>, tokens: &[Token<'_>]) -> Verdict {
    let body = tokens.iter().position(|token| token.is("for")).unwrap_or(tokens.len());
    let outlives = tokens[..body].windows(2).any(|pair| pair[0].is("with") && pair[1].is("hold"));
    let mut verdict = if outlives { Verdict::pinned("cursor:") } else { Verdict::default() };
    examined.add(&mut verdict, &tokens[body..]);
    verdict
}

fn discard(tokens: &[Token<'_>]) -> Verdict {
    match tokens.get(1).map_or("", |token| &*token.value) {
        "all" => Verdict {
            unsets: vec!["*".to_owned()],
            unpins: KINDS.iter().map(|kind| (*kind).to_owned()).collect(),
            must_close: true,
            ..Verdict::default()
        },
        "temp" | "temporary" => Verdict { unpins: vec![TEMPORARY.to_owned()], ..Verdict::default() },
        _ => Verdict::default(),
    }
}

/// The names that must be looked up, for those who ask the catalogue.
pub(super) type Missing = BTreeSet<String>;
