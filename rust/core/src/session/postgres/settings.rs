//! `SET` and `RESET` of PostgreSQL. The server's command tag tells that they were done; the same words do it elsewhere.

use crate::session::token::{are, begins, Kind, Token};
use crate::session::{statement, Verdict};

/// Settings that no statement's meaning depends on, as it does on none of an application's own (`app.tenant`).
const READ_BY_NO_STATEMENT: &[&str] =
    &["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout", "synchronous_commit"];
/// Settings of the transaction, which end with it.
const OF_THE_TRANSACTION: &[&str] = &["transaction_deferrable", "transaction_isolation", "transaction_read_only"];

/// Whether a text means the same whatever this setting is.
pub(super) fn is_read_by_none(name: &str) -> bool {
    name.contains('.') || READ_BY_NO_STATEMENT.contains(&name)
}

/// A setting that ends with the transaction, and of which no more is known.
pub(super) fn unknown_local() -> Vec<(String, String)> {
    vec![("*".to_owned(), String::new())]
}

pub(super) fn set(text: &str, tokens: &[Token<'_>]) -> Verdict {
    let rest = &tokens[1..];
    if rest.first().is_some_and(|token| token.is("constraints") || token.is("transaction")) {
        return Verdict::default();
    }
    if begins(rest, &["session", "characteristics", "as", "transaction"]) {
        return characteristics(tokens, &rest[4..]);
    }
    let is_local = rest.first().is_some_and(|token| token.is("local"));
    let is_session =
        rest.first().is_some_and(|token| token.is("session")) && !begins(rest, &["session", "authorization"]);
    let rest = if is_local || is_session { &rest[1..] } else { rest };
    if is_local && rest.first().is_some_and(|token| token.is("constraints") || token.is("transaction")) {
        return Verdict::default();
    }
    let verdict = assigned(text, tokens, rest);
    if !is_local || !verdict.pins.is_empty() && verdict.pins != ["role:"] && verdict.pins != ["session authorization:"]
    {
        return verdict;
    }
    let known = match verdict.sets.first() {
        Some((key, _)) if is_read_by_none(key) => return Verdict::default(),
        Some(_) => verdict.sets,
        None if verdict.pins == ["role:"] => vec![("role".to_owned(), written(text, rest))],
        None => unknown_local(),
    };
    Verdict { local: known, ..Verdict::default() }
}

/// The words of a setting, to be said again.
fn written(text: &str, rest: &[Token<'_>]) -> String {
    rest.first()
        .zip(rest.last())
        .map_or_else(String::new, |(first, last)| format!("SET {}", &text[first.start..last.end]))
}

fn assigned(text: &str, tokens: &[Token<'_>], rest: &[Token<'_>]) -> Verdict {
    let Some(first) = rest.first().filter(|token| token.is_name()) else { return unreadable(tokens) };
    if first.is("role") {
        return Verdict::pinned("role:");
    }
    if begins(rest, &["session", "authorization"]) {
        return Verdict::pinned("session authorization:");
    }
    let (key, value) = if begins(rest, &["time", "zone"]) {
        ("timezone".to_owned(), &rest[2..])
    } else if first.is("names") {
        ("client_encoding".to_owned(), &rest[1..])
    } else {
        let mut at = 1;
        let mut key = first.value.to_ascii_lowercase();
        while rest.len() > at + 1 && rest[at].is_sign(".") && rest[at + 1].is_name() {
            key = format!("{key}.{}", rest[at + 1].value.to_ascii_lowercase());
            at += 2;
        }
        if !rest.get(at).is_some_and(|token| token.is("to") || token.is_sign("=")) {
            return unreadable(tokens);
        }
        (key, &rest[at + 1..])
    };
    valued(text, rest, key, value)
}

fn valued(text: &str, rest: &[Token<'_>], key: String, value: &[Token<'_>]) -> Verdict {
    let is_literal = |token: &Token<'_>| {
        matches!(token.kind, Kind::Word | Kind::Quoted | Kind::Number | Kind::Text)
            || [",", "+", "-"].iter().any(|sign| token.is_sign(sign))
    };
    let is_interval = value.first().is_some_and(|token| token.is("interval"));
    if value.is_empty() || is_interval || !value.iter().all(is_literal) || key == "standard_conforming_strings" {
        return Verdict::pinned(format!("setting:{key}"));
    }
    if key == "seed" {
        return Verdict::closed("setting:seed");
    }
    if key == "role" || key == "session_authorization" {
        return Verdict::pinned(if key == "role" { "role:" } else { "session authorization:" });
    }
    if OF_THE_TRANSACTION.contains(&&*key) {
        return Verdict { local: unknown_local(), ..Verdict::default() };
    }
    let is_path = key == "search_path";
    if is_path && (value.iter().any(|token| token.kind == Kind::Text && !token.plain) || hides_names(&path(value))) {
        return Verdict::closed("setting:search_path");
    }
    if are(value, &["default"]) || (key == "timezone" && are(value, &["local"])) {
        return Verdict { unsets: vec![key], ..Verdict::default() };
    }
    Verdict { sets: vec![(key, written(text, rest))], ..Verdict::default() }
}

/// Whether names mean something else on a path without a word of it in a statement: a table may be temporary, or a schema of
/// somebody's may stand before the server's own, where the driver looks types up.
pub(super) fn hides_names(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.contains("pg_temp") || path.split(',').skip(1).any(|schema| schema.contains("pg_catalog"))
}

fn path(value: &[Token<'_>]) -> String {
    value.iter().map(|token| &*token.value).collect()
}

fn unreadable(tokens: &[Token<'_>]) -> Verdict {
    Verdict::closed(statement(tokens))
}

fn characteristics(tokens: &[Token<'_>], modes: &[Token<'_>]) -> Verdict {
    let words: Vec<&str> = modes.iter().filter(|token| !token.is_sign(",")).map(|token| &*token.value).collect();
    let mut sets = Vec::new();
    let mut rest = &words[..];
    while !rest.is_empty() {
        let (name, value, length) = match rest {
            ["isolation", "level", "serializable", ..] => ("isolation", "'serializable'", 3),
            ["isolation", "level", "repeatable", "read", ..] => ("isolation", "'repeatable read'", 4),
            ["isolation", "level", "read", "committed", ..] => ("isolation", "'read committed'", 4),
            ["isolation", "level", "read", "uncommitted", ..] => ("isolation", "'read uncommitted'", 4),
            ["read", "only", ..] => ("read_only", "on", 2),
            ["read", "write", ..] => ("read_only", "off", 2),
            ["deferrable", ..] => ("deferrable", "on", 1),
            ["not", "deferrable", ..] => ("deferrable", "off", 2),
            _ => return unreadable(tokens),
        };
        let key = format!("default_transaction_{name}");
        let set = format!("SET {key} TO {value}");
        sets.retain(|(known, _)| *known != key);
        sets.push((key, set));
        rest = &rest[length..];
    }
    Verdict { sets, ..Verdict::default() }
}

pub(super) fn reset(tokens: &[Token<'_>]) -> Verdict {
    let rest = &tokens[1..];
    if are(rest, &["all"]) {
        return Verdict { unsets: vec!["*".to_owned()], unpins: vec!["setting:".to_owned()], ..Verdict::default() };
    }
    if are(rest, &["role"]) {
        return Verdict { unpins: vec!["role:".to_owned()], ..Verdict::default() };
    }
    if are(rest, &["session", "authorization"]) {
        let unpins = vec!["role:".to_owned(), "session authorization:".to_owned()];
        return Verdict { unpins, ..Verdict::default() };
    }
    let name: String = rest.iter().map(|token| token.value.to_ascii_lowercase()).collect();
    let key = match &*name {
        "timezone" => "timezone".to_owned(),
        "transactionisolationlevel" => return Verdict { local: unknown_local(), ..Verdict::default() },
        _ if rest.iter().all(|token| token.is_name() || token.is_sign(".")) => name,
        _ => return unreadable(tokens),
    };
    if key == "role" || key == "session_authorization" {
        return Verdict { unpins: vec!["role:".to_owned(), "session authorization:".to_owned()], ..Verdict::default() };
    }
    Verdict { unsets: vec![key], ..Verdict::default() }
}
