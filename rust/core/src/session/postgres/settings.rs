//! `SET` and `RESET` of PostgreSQL. The server's command tag tells that they were done; the same words do it elsewhere.

use crate::session::token::{are, begins, Kind, Token};
use crate::session::{statement, Verdict};

/// Settings that no statement's meaning depends on, as it does on none of an application's own (`app.tenant`).
const READ_BY_NO_STATEMENT: &[&str] =
    &["idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout", "synchronous_commit"];
/// Settings of the transaction, which end with it.
const OF_THE_TRANSACTION: &[&str] = &["transaction_deferrable", "transaction_isolation", "transaction_read_only"];

/// Output styles of dates, and orders of their fields: only both together say the same whatever was set before.
const DATE_STYLES: &[&str] = &["german", "iso", "postgres", "sql"];
const DATE_ORDERS: &[&str] = &["dmy", "euro", "european", "mdy", "noneuro", "noneuropean", "us", "ymd"];
const DATE_STYLE: &str = "setting:datestyle";
/// Why another encoding cannot be had.
pub(super) const ENCODING_REFUSED: &str =
    "client_encoding: it must be UTF8, in which the client writes its texts and reads the server's";

/// Whether a text means the same whatever this setting is.
pub(super) fn is_read_by_none(name: &str) -> bool {
    name.contains('.') || READ_BY_NO_STATEMENT.contains(&name)
}

/// A setting that ends with the transaction, and of which no more is known.
pub(super) fn unknown_local() -> Vec<(String, String)> {
    vec![("*".to_owned(), String::new())]
}

pub(super) fn set(text: &str, tokens: &[Token<'_>]) -> Result<Verdict, &'static str> {
    let rest = &tokens[1..];
    if begins(rest, &["session", "characteristics", "as", "transaction"]) {
        return Ok(characteristics(tokens, &rest[4..]));
    }
    let is_scope = |word: &str| rest.first().is_some_and(|token| token.is(word)) && !is_dotted(rest);
    let is_local = is_scope("local");
    let is_session = is_scope("session") && !begins(rest, &["session", "authorization"]);
    let rest = if is_local || is_session { &rest[1..] } else { rest };
    if !is_session && is_of_the_transaction(rest) {
        return Ok(Verdict::default());
    }
    let verdict = assigned(text, tokens, rest)?;
    let ends = ["role:", "session authorization:", DATE_STYLE];
    if !is_local || verdict.pins.iter().any(|pin| !ends.contains(&&**pin)) {
        return Ok(verdict);
    }
    let known = match verdict.sets.first() {
        Some((key, _)) if is_read_by_none(key) => return Ok(Verdict::default()),
        Some(_) => verdict.sets,
        None if verdict.pins == ["role:"] => vec![("role".to_owned(), written(text, rest))],
        None => unknown_local(),
    };
    Ok(Verdict { local: known, ..Verdict::default() })
}

/// Whether a point follows the first word, which is a name then and no keyword.
fn is_dotted(rest: &[Token<'_>]) -> bool {
    rest.get(1).is_some_and(|token| token.is_sign("."))
}

/// `TRANSACTION modes` and `CONSTRAINTS names DEFERRED`, which end with the transaction.
fn is_of_the_transaction(rest: &[Token<'_>]) -> bool {
    match rest {
        [first, mode, ..] if first.is("transaction") => {
            ["isolation", "read", "not", "deferrable", "snapshot"].iter().any(|word| mode.is(word))
        }
        [first, name, .., last] if first.is("constraints") => {
            name.is_name() && !name.is("to") && (last.is("deferred") || last.is("immediate"))
        }
        _ => false,
    }
}

/// The words of a setting, to be said again.
fn written(text: &str, rest: &[Token<'_>]) -> String {
    rest.first()
        .zip(rest.last())
        .map_or_else(String::new, |(first, last)| format!("SET {}", &text[first.start..last.end]))
}

fn assigned(text: &str, tokens: &[Token<'_>], rest: &[Token<'_>]) -> Result<Verdict, &'static str> {
    let Some(first) = rest.first().filter(|token| token.is_name()) else { return Ok(unreadable(tokens)) };
    if first.is("role") && !is_dotted(rest) {
        let mut verdict = Verdict::pinned("role:");
        if rest.get(1).is_some_and(|token| token.is("none")) {
            verdict.unpins.push("role:".to_owned()); // whether there is one is asked of the server
        }
        return Ok(verdict);
    }
    if begins(rest, &["session", "authorization"]) {
        return Ok(Verdict::pinned("session authorization:"));
    }
    let (key, value) = if begins(rest, &["time", "zone"]) {
        ("timezone".to_owned(), &rest[2..])
    } else if first.is("names") && !is_dotted(rest) {
        ("client_encoding".to_owned(), &rest[1..])
    } else {
        let mut at = 1;
        let mut key = first.value.to_ascii_lowercase();
        while let [point, part, ..] = &rest[at..] {
            if !point.is_sign(".") || !part.is_name() {
                break;
            }
            key = format!("{key}.{}", part.value.to_ascii_lowercase());
            at += 2;
        }
        if !rest.get(at).is_some_and(|token| token.is("to") || token.is_sign("=")) {
            return Ok(unreadable(tokens));
        }
        (key, &rest[at + 1..])
    };
    if key == "client_encoding" {
        return encoding(text, rest, value);
    }
    Ok(valued(text, rest, key, value))
}

/// The driver writes UTF-8 whatever is set here: by another encoding the server would cut the texts elsewhere. The default is
/// what the driver has asked for.
fn encoding(text: &str, rest: &[Token<'_>], value: &[Token<'_>]) -> Result<Verdict, &'static str> {
    let key = "client_encoding".to_owned();
    match value {
        [] => Ok(Verdict { unsets: vec![key], ..Verdict::default() }),
        [one] if one.is("default") => Ok(Verdict { unsets: vec![key], ..Verdict::default() }),
        [one] if (one.is_name() || (one.kind == Kind::Text && one.plain)) && is_utf8(&one.value) => {
            Ok(Verdict { sets: vec![(key, written(text, rest))], ..Verdict::default() })
        }
        _ => Err(ENCODING_REFUSED),
    }
}

/// Whether an encoding is UTF-8 by one of its names; the server looks at letters and digits alone.
pub(super) fn is_utf8(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("unicode")
}

/// Whether a value says both how dates are written and how they are read. The server takes one of the two from what was set
/// before, which nobody could say again.
fn is_whole_date_style(value: &[Token<'_>]) -> bool {
    let words: Vec<String> = value
        .iter()
        .filter(|token| token.is_name() || (token.kind == Kind::Text && token.plain))
        .flat_map(|token| token.value.split(','))
        .map(|word| word.trim().to_ascii_lowercase())
        .collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&&**word));
    let all_known = words.iter().all(|word| DATE_STYLES.contains(&&**word) || DATE_ORDERS.contains(&&**word));
    has(DATE_STYLES) && has(DATE_ORDERS) && all_known
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
    if key == "datestyle" && !are(value, &["default"]) && !is_whole_date_style(value) {
        return Verdict::pinned(DATE_STYLE);
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
    Verdict::opaque(statement(tokens))
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
        "transactionisolationlevel" => return Verdict { local: unknown_local(), ..Verdict::default() },
        _ if rest.iter().all(|token| token.is_name() || token.is_sign(".")) => name,
        _ => return unreadable(tokens),
    };
    if key == "role" || key == "session_authorization" {
        return Verdict { unpins: vec!["role:".to_owned(), "session authorization:".to_owned()], ..Verdict::default() };
    }
    Verdict { unsets: vec![key], ..Verdict::default() }
}
