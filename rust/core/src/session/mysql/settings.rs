//! `SET` of MySQL and MariaDB: a few settings that can be said again as literals; all others tie the client to its connection.

use crate::session::token::{begins, split_at_commas, Kind, Token};
use crate::session::{statement, Verdict};

/// Settings of a session that are their literal and no more, whatever was set before. Sorted.
#[rustfmt::skip]
const CARRIED: &[&str] = &[
    "auto_increment_increment", "auto_increment_offset", "autocommit", "character_set_client", "character_set_connection",
    "character_set_results", "collation_connection", "default_week_format", "div_precision_increment", "foreign_key_checks",
    "group_concat_max_len", "innodb_lock_wait_timeout", "interactive_timeout", "join_buffer_size", "lc_time_names",
    "lock_wait_timeout", "max_execution_time", "max_heap_table_size", "max_statement_time", "net_read_timeout",
    "net_write_timeout", "sort_buffer_size", "sql_mode", "sql_safe_updates", "time_zone", "tmp_table_size",
    "transaction_isolation", "transaction_read_only", "tx_isolation", "tx_read_only", "unique_checks", "wait_timeout",
];
/// Words for the scope of a setting, and of those that follow without one.
const SCOPES: &[&str] = &["session", "local", "global", "persist", "persist_only"];
/// What the session remembers of its statements, under the name of a variable.
const MEMORY: &[&str] = &[
    "error_count",
    "identity",
    "in_transaction",
    "insert_id",
    "last_gtid",
    "last_insert_id",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "warning_count",
];
/// What `COM_RESET_CONNECTION` leaves as it was, by the beginning of its name.
const OUTLIVE_RESET: &[&str] = &["identity", "insert_id", "last_insert_id", "profiling", "pseudo_", "rand_seed"];
const NAMES_COVERS: &[&str] = &[
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "character set",
];
const CHARACTER_SETS: &[&str] = &["utf8", "utf8mb3", "utf8mb4"];
const LEVELS: &[&str] = &["read uncommitted", "read committed", "repeatable read", "serializable"];

/// Whether a variable tells of the server or of a setting. With a `%` it may be any.
pub(super) fn is_told(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if name.starts_with("global.") {
        return true;
    }
    let name = name.strip_prefix("session.").or_else(|| name.strip_prefix("local.")).unwrap_or(&name);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !MEMORY.contains(&name)
}

/// Whether none of the variables that `SHOW VARIABLES LIKE` finds by this pattern tells what a session remembers: a `_` is any
/// character.
pub(super) fn finds_told(pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let finds = |name: &&str| {
        name.len() == pattern.len() && name.bytes().zip(pattern.bytes()).all(|(is, asked)| asked == b'_' || asked == is)
    };
    is_told(&pattern) && !MEMORY.iter().any(finds)
}

pub(super) fn set(tokens: &[Token<'_>]) -> Result<Verdict, String> {
    let rest = &tokens[1..];
    if begins(rest, &["session", "transaction"]) || begins(rest, &["local", "transaction"]) {
        return Ok(transaction(tokens, &rest[2..]));
    }
    if begins(rest, &["global", "transaction"]) {
        return Ok(Verdict::default());
    }
    let Some(first) = rest.first() else { return Ok(Verdict::opaque(statement(tokens))) };
    let is_assignment = rest.get(1).is_some_and(|token| ["=", ":=", "."].iter().any(|sign| token.is_sign(sign)));
    if first.kind == Kind::Word && !is_assignment {
        match &*first.value {
            "transaction" => return Ok(Verdict::pinned("next transaction:")),
            "names" => return character_set("NAMES", "names", &rest[1..], tokens),
            "charset" => return character_set("CHARACTER SET", "character set", &rest[1..], tokens),
            "character" if begins(rest, &["character", "set"]) => {
                return character_set("CHARACTER SET", "character set", &rest[2..], tokens);
            }
            "password" if !rest.iter().any(|token| token.is_sign(",")) => return Ok(Verdict::default()),
            "role" => return Ok(Verdict::closed("setting:role")),
            "statement" | "default" | "resource" => return Ok(Verdict::opaque(statement(tokens))),
            _ => {}
        }
    }
    let mut all = Verdict::default();
    let mut scope = "";
    for part in split_at_commas(rest) {
        let verdict = assignment(tokens, part, &mut scope)?;
        all.pins.extend(verdict.pins);
        all.must_close |= verdict.must_close;
        all.reads_session |= verdict.reads_session;
        all.changes_schema |= verdict.changes_schema;
        for key in verdict.unsets {
            all.sets.retain(|(known, _)| *known != key);
            all.unsets.push(key);
        }
        for (key, text) in verdict.sets {
            all.sets.retain(|(known, _)| *known != key);
            all.sets.push((key, text));
        }
    }
    if !all.pins.is_empty() {
        // Nobody carries the mode then, by which the next text is read.
        if all.sets.iter().map(|(key, _)| key).chain(&all.unsets).any(|key| key == "sql_mode") {
            all.close("setting:sql_mode");
        }
        (all.sets, all.unsets) = (Vec::new(), Vec::new());
    }
    Ok(all)
}

/// A part of a `SET`. One without a word for its scope has that of the part before.
fn assignment(tokens: &[Token<'_>], part: &[Token<'_>], last: &mut &'static str) -> Result<Verdict, String> {
    let mut part = part;
    if let Some(first) = part.first().filter(|first| first.kind == Kind::Word) {
        if let Some(&word) = SCOPES.iter().find(|word| first.is(word)) {
            *last = word;
            part = &part[1..];
        }
    }
    let mut scope = *last;
    let [name, sign, value @ ..] = part else { return Ok(Verdict::opaque(statement(tokens))) };
    if !(sign.is_sign("=") || sign.is_sign(":=")) || value.is_empty() {
        return Ok(Verdict::opaque(statement(tokens)));
    }
    let is_plain = value.iter().all(|token| match token.kind {
        Kind::Number | Kind::Text | Kind::Parameter => true,
        Kind::Sign => token.value != "(",
        _ => value.len() == 1 && token.is_name(),
    });
    let key = match name.kind {
        Kind::UserVariable => return Ok(Verdict::pinned("user variable:")),
        Kind::Word | Kind::Quoted => name.value.to_ascii_lowercase(),
        Kind::SystemVariable => match name.value.split_once('.') {
            None => {
                scope = ""; // whatever the part before has
                name.value.to_string()
            }
            Some(("session" | "local", key)) => {
                scope = "";
                key.to_owned()
            }
            Some((of, _)) => {
                scope = if of == "global" || of.starts_with("persist") { "global" } else { "?" };
                String::new()
            }
        },
        _ => return Ok(Verdict::opaque(statement(tokens))),
    };
    if matches!(scope, "global" | "persist" | "persist_only") && is_plain {
        return Ok(Verdict::default());
    }
    if CARRIED.binary_search(&&*key).is_err() {
        let is_key = scope != "?" && !key.is_empty() && key.len() <= 64;
        let outlives_reset = !is_key || OUTLIVE_RESET.iter().any(|name| key.starts_with(name));
        let cause = format!("setting:{}", if is_key { &key } else { "SET" });
        return Ok(if outlives_reset { Verdict::closed(cause) } else { Verdict::pinned(cause) });
    }
    carried(&key, value)
}

fn carried(key: &str, value: &[Token<'_>]) -> Result<Verdict, String> {
    let pinned = || {
        let cause = format!("setting:{key}");
        // By a mode that is not known, the next text cannot be read.
        Ok(if key == "sql_mode" { Verdict::closed(cause) } else { Verdict::pinned(cause) })
    };
    let text = match value {
        // The default is the server's own, which may be any.
        [one] if one.is("default") && (key.starts_with("character_set") || key == "collation_connection") => {
            return Err(charset_refused());
        }
        [one] if one.is("default") => {
            return Ok(Verdict { unsets: vec![renamed(key).to_owned()], ..Verdict::default() });
        }
        [one] if one.kind == Kind::Text && one.plain => format!("'{}'", one.value.replace('\'', "''")),
        [one] if one.kind == Kind::Number || one.kind == Kind::Word => one.value.to_string(),
        [sign, one] if one.kind == Kind::Number && (sign.is_sign("-") || sign.is_sign("+")) => {
            format!("{}{}", sign.value, one.value)
        }
        _ if key.starts_with("character_set") => return Err(charset_refused()),
        _ => return pinned(),
    };
    let bare = text.trim_matches('\'');
    if key.starts_with("character_set") && !CHARACTER_SETS.contains(&&*bare.to_ascii_lowercase()) {
        return Err(charset_refused());
    }
    if key == "collation_connection" && !bare.to_ascii_lowercase().starts_with("utf8") {
        return Err(charset_refused());
    }
    // As a number nobody knows how it has the next text be read.
    if key == "sql_mode" && value[0].kind != Kind::Text && value[0].kind != Kind::Word {
        return pinned();
    }
    let key = renamed(key);
    let set = match key {
        "transaction_isolation" => {
            let level = bare.to_ascii_lowercase().replace('-', " ");
            if !LEVELS.contains(&&*level) {
                return Ok(Verdict::closed("setting:transaction_isolation"));
            }
            format!("SESSION TRANSACTION ISOLATION LEVEL {}", level.to_uppercase())
        }
        "transaction_read_only" => match &*bare.to_ascii_lowercase() {
            "1" | "on" | "true" => "SESSION TRANSACTION READ ONLY".to_owned(),
            "0" | "off" | "false" => "SESSION TRANSACTION READ WRITE".to_owned(),
            _ => return Ok(Verdict::closed("setting:transaction_read_only")),
        },
        _ => format!("{key} = {text}"),
    };
    Ok(Verdict { sets: vec![(key.to_owned(), set)], ..Verdict::default() })
}

/// MySQL 8 has renamed what MariaDB has not; the statement is the same in both.
fn renamed(key: &str) -> &str {
    match key {
        "tx_isolation" => "transaction_isolation",
        "tx_read_only" => "transaction_read_only",
        _ => key,
    }
}

fn charset_refused() -> String {
    "the character set must be utf8mb4, and not NULL or DEFAULT: the client writes its text in it, and reads the server's by it"
        .to_owned()
}

fn character_set(verb: &str, key: &str, rest: &[Token<'_>], tokens: &[Token<'_>]) -> Result<Verdict, String> {
    let known = |token: &Token<'_>, names: &dyn Fn(&str) -> bool| {
        matches!(token.kind, Kind::Word | Kind::Text | Kind::Quoted)
            && token.plain
            && names(&token.value.to_ascii_lowercase())
    };
    let is_set = |name: &str| CHARACTER_SETS.contains(&name);
    let is_collation =
        |name: &str| name.starts_with("utf8") && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let Some(name) = rest.first() else { return Ok(Verdict::opaque(statement(tokens))) };
    if !known(name, &is_set) {
        return Err(charset_refused());
    }
    let covers: Vec<String> = NAMES_COVERS.iter().map(|name| (*name).to_owned()).collect();
    let text = match rest {
        [name] => format!("{verb} {}", name.value),
        [name, collate, collation] if collate.is("collate") && known(collation, &is_collation) => {
            format!("{verb} {} COLLATE {}", name.value, collation.value)
        }
        _ => return Ok(Verdict::opaque(statement(tokens))),
    };
    Ok(Verdict { unsets: covers, sets: vec![(key.to_owned(), text)], ..Verdict::default() })
}

fn transaction(tokens: &[Token<'_>], modes: &[Token<'_>]) -> Verdict {
    let mut sets = Vec::new();
    for part in split_at_commas(modes) {
        let words: Vec<&str> = part.iter().map(|token| &*token.value).collect();
        let text = words.join(" ");
        let level = text.strip_prefix("isolation level ").filter(|level| LEVELS.contains(level));
        let (key, words) = match (level, &*text) {
            (Some(_), _) => ("transaction_isolation", text.to_uppercase()),
            (None, "read only" | "read write") => ("transaction_read_only", text.to_uppercase()),
            _ => return Verdict::opaque(statement(tokens)),
        };
        sets.push((key.to_owned(), format!("SESSION TRANSACTION {words}")));
    }
    Verdict { sets, ..Verdict::default() }
}
