//! What the statements of MySQL and MariaDB do to their session.

mod expression;
mod functions;
mod lexer;
mod settings;

pub(super) use lexer::{read, read_folded};

use super::token::{are, begins, Kind, Token};
use super::{statement, Judge, Judged, Transaction, Verdict};
use expression::Examined;
use lexer::Trouble;

const DDL: &[&str] = &[
    "event",
    "function",
    "index",
    "procedure",
    "sequence",
    "table",
    "trigger",
    "unique",
    "user",
    "role",
    "view",
    "fulltext",
    "spatial",
];
/// What no block of several statements begins with.
const QUERIES: &[&str] = &["delete", "insert", "replace", "select", "update", "values", "with"];
/// What only stores its text.
const STORED: &[&str] = &["event", "function", "procedure", "trigger"];
/// What `SHOW` tells of the server, and not of the session.
const SHOWN: &[&str] = &[
    "character",
    "collation",
    "columns",
    "create",
    "databases",
    "engine",
    "engines",
    "events",
    "fields",
    "full",
    "function",
    "grants",
    "index",
    "indexes",
    "keys",
    "plugins",
    "privileges",
    "procedure",
    "processlist",
    "schemas",
    "table",
    "tables",
    "triggers",
];

/// The parts of `sql_mode` that change how a text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mode {
    /// `"x"` is a name.
    pub ansi_quotes: bool,
    /// A backslash in quotes is a backslash.
    pub no_backslash_escapes: bool,
    /// There may be space between a function of the server and its parenthesis.
    pub ignore_space: bool,
}

impl Mode {
    /// The mode of an `sql_mode`, as the server tells it or a client sets it.
    pub fn parse(sql_mode: &str) -> Self {
        let mut mode = Self::default();
        for part in sql_mode.split(',') {
            match &*part.trim().to_ascii_uppercase() {
                "ANSI" | "DB2" | "MAXDB" | "MSSQL" | "ORACLE" | "POSTGRESQL" => {
                    (mode.ansi_quotes, mode.ignore_space) = (true, true);
                }
                "ANSI_QUOTES" => mode.ansi_quotes = true,
                "IGNORE_SPACE" => mode.ignore_space = true,
                "NO_BACKSLASH_ESCAPES" => mode.no_backslash_escapes = true,
                _ => {}
            }
        }
        mode
    }
}

/// Judge a text. One text is one statement: the connections are opened without `CLIENT_MULTI_STATEMENTS`.
pub(super) fn judge(judge: &Judge<'_>, text: &str, mode: Mode, has_arguments: bool) -> Judged {
    let tokens = match read_folded(text, mode, has_arguments) {
        Ok(tokens) => tokens,
        Err(Trouble::Unreadable) => return Judged::Verdict(Verdict::opaque("statement:a text that cannot be read")),
        Err(Trouble::RunComment) => return Judged::Verdict(Verdict::opaque("statement:a comment that is run")),
        Err(Trouble::QuotedParameter) => {
            return Judged::Refused(
                "a placeholder stands in quotes or in a comment, where its argument would be read as SQL: write %s without \
                 quotes, and %% for a percent sign"
                    .to_owned(),
            );
        }
        Err(Trouble::Placeholder) => {
            return Judged::Refused(
                "args do not fit the statement: MySQL's placeholders are %s or %(name)s; write %% for a percent sign when \
                 there are arguments"
                    .to_owned(),
            );
        }
    };
    let mut statement = &tokens[..];
    while statement.last().is_some_and(|token| token.is_sign(";")) {
        statement = &statement[..statement.len() - 1];
    }
    if statement.is_empty() {
        return Judged::Verdict(Verdict::default());
    }
    if statement.iter().any(|token| token.is_sign(";")) && !is_stored(statement) {
        // What begins no block is refused as a whole: the server reads all of a text before it runs any of it.
        let is_refused = QUERIES.iter().any(|word| statement[0].is(word));
        let cause = if is_refused { "statement:more than one statement" } else { "statement:several statements" };
        return Judged::Verdict(Verdict::opaque(cause));
    }
    let mut examined = Examined::new(judge);
    match form(&mut examined, statement) {
        Err(reason) => Judged::Refused(reason),
        Ok(mut verdict) => {
            verdict.uses_sequence = examined.acts;
            verdict.writes_session = examined.takes_key || examined.acts || verdict.changes_schema;
            let asks_counts = examined.asks_counts;
            let missing = examined.into_missing();
            if asks_counts && !missing.is_empty() {
                // The proxy's own question would make another answer of what it asks for.
                verdict.close("statement:what it names is not known");
            }
            if missing.is_empty() || verdict.must_close {
                Judged::Verdict(verdict)
            } else {
                Judged::Needs(missing)
            }
        }
    }
}

fn is_stored(tokens: &[Token<'_>]) -> bool {
    tokens[0].is("create") && tokens.iter().any(|token| token.kind == Kind::Word && STORED.contains(&&*token.value))
}

fn form(examined: &mut Examined<'_>, tokens: &[Token<'_>]) -> Result<Verdict, String> {
    let first = &tokens[0];
    let rest = &tokens[1..];
    if first.is_sign("(") {
        return Ok(examined.query(tokens));
    }
    if first.kind != Kind::Word {
        return Ok(Verdict::opaque(statement(tokens)));
    }
    Ok(match &*first.value {
        "select" | "with" | "values" | "insert" | "replace" | "update" | "delete" | "do" => {
            let mut verdict = examined.query(tokens);
            if releases_all(tokens) {
                verdict.unpins.push("lock:".to_owned());
            }
            verdict
        }
        "table" => examined.query(rest),
        "explain" | "describe" | "desc" => explained(examined, tokens),
        "analyze" if rest.first().is_some_and(|token| !token.is("table")) => explained(examined, tokens),
        "show" => show(examined, tokens),
        "create" => create(examined, tokens),
        "drop" => drop(tokens),
        "alter" | "rename" | "truncate" | "optimize" | "analyze" | "check" | "checksum" | "repair" => {
            change(examined, tokens)
        }
        "grant" | "revoke" => Verdict { changes_schema: true, ..Verdict::default() },
        "begin" | "start" | "commit" | "rollback" | "savepoint" | "release" => transaction(tokens),
        "set" => {
            let mut verdict = settings::set(tokens)?;
            if !verdict.pins.is_empty() {
                examined.assigned(&mut verdict, rest); // what is in it may leave more than the setting, or read more
            }
            verdict
        }
        "use" => match rest {
            [name] if name.is_name() => Verdict {
                sets: vec![("database".to_owned(), name.name().to_owned())],
                fixes: vec!["temporary table:".to_owned()],
                ..Verdict::default()
            },
            _ => Verdict::opaque(statement(tokens)),
        },
        "lock" if rest.first().is_some_and(|token| token.is("table") || token.is("tables")) => {
            Verdict::pinned("table locks:")
        }
        "unlock" if are(rest, &["tables"]) || are(rest, &["table"]) => {
            Verdict { unpins: vec!["table locks:".to_owned()], ..Verdict::default() }
        }
        "flush"
            if begins(rest, &["tables"])
                && are(&tokens[tokens.len().saturating_sub(3)..], &["with", "read", "lock"]) =>
        {
            Verdict::pinned("table locks:")
        }
        "prepare" => Verdict { reads_session: true, ..Verdict::pinned("prepared statement:") },
        "handler" => {
            let mut verdict = Verdict::pinned("handler:");
            examined.add(&mut verdict, after_where(rest), false);
            verdict
        }
        "xa" => Verdict::closed("XA transaction:"),
        "call" => examined.call(rest),
        _ => Verdict::opaque(statement(tokens)),
    })
}

fn explained(examined: &mut Examined<'_>, tokens: &[Token<'_>]) -> Verdict {
    let body = tokens.iter().position(|token| {
        ["select", "with", "values", "insert", "replace", "update", "delete"].iter().any(|word| token.is(word))
    });
    let is_table = tokens.len() <= 4 && tokens[1..].iter().all(|token| token.is_name() || token.is_sign("."));
    match body {
        Some(body) => examined.query(&tokens[body..]),
        None if is_table && !tokens[0].is("analyze") => Verdict { repeatable: true, ..Verdict::default() },
        None => Verdict::opaque(statement(tokens)),
    }
}

/// Whether a statement frees all locks and does no more, so that no row, plan or condition keeps it from doing so.
fn releases_all(tokens: &[Token<'_>]) -> bool {
    let [verb, name, open, close, alias @ ..] = tokens else { return false };
    (verb.is("select") || verb.is("do"))
        && name.is("release_all_locks")
        && open.is_sign("(")
        && close.is_sign(")")
        && (alias.is_empty() || matches!(alias, [word, name] if word.is("as") && name.is_name()))
}

/// What follows `WHERE`, which may call anything.
fn after_where<'s, 't>(tokens: &'s [Token<'t>]) -> &'s [Token<'t>] {
    &tokens[tokens.iter().position(|token| token.is("where")).unwrap_or(tokens.len())..]
}

fn show(examined: &mut Examined<'_>, tokens: &[Token<'_>]) -> Verdict {
    let mut rest = &tokens[1..];
    let is_global = rest.first().is_some_and(|token| token.is("global"));
    if is_global || rest.first().is_some_and(|token| token.is("session")) {
        rest = &rest[1..];
    }
    let has_variable = tokens.iter().any(|token| token.kind == Kind::UserVariable);
    let kind = rest.first().filter(|token| token.kind == Kind::Word && !has_variable).map_or("", |token| &*token.value);
    let is_clean = match kind {
        "status" | "variables" if is_global => true,
        "variables" => {
            matches!(rest, [_, like, name] if like.is("like") && name.plain && settings::finds_told(&name.value))
        }
        _ => SHOWN.contains(&kind),
    };
    if is_clean {
        let mut verdict = Verdict::default();
        examined.add(&mut verdict, after_where(rest), false);
        verdict.repeatable = verdict.is_clean() && !examined.acts;
        return verdict;
    }
    Verdict { reads_session: true, ..Verdict::pinned(format!("session memory:SHOW {}", kind.to_uppercase())) }
}

/// The name of a table as it is written, with its database. What might be taken for more than one name is in quotes.
fn table_name(tokens: &[Token<'_>]) -> Option<(String, usize)> {
    let part = |token: &Token<'_>| {
        let name = token.name();
        let is_plain = name.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '$'));
        if is_plain {
            name.to_owned()
        } else {
            format!("`{}`", name.replace('`', "``"))
        }
    };
    let first = tokens.first().filter(|token| token.is_name())?;
    match tokens.get(1..3) {
        Some([point, second]) if point.is_sign(".") && second.is_name() => {
            Some((format!("{}.{}", part(first), part(second)), 3))
        }
        _ => Some((part(first), 1)),
    }
}

fn create(examined: &mut Examined<'_>, tokens: &[Token<'_>]) -> Verdict {
    let (mut at, mut is_temporary) = (1, false);
    while let Some(token) = tokens.get(at).filter(|token| token.kind == Kind::Word) {
        match &*token.value {
            "temporary" => is_temporary = true,
            "or" | "replace" | "online" | "offline" | "aggregate" => {}
            // What comes before the kind of a view or a program: who defines it, and how.
            "definer" | "algorithm" | "sql" if !is_temporary => {
                let kinds = ["view", "event", "function", "procedure", "trigger"];
                let kind = tokens.iter().position(|token| kinds.iter().any(|kind| token.is(kind)));
                at = kind.unwrap_or(at);
                break;
            }
            _ => break,
        }
        at += 1;
    }
    let kind = tokens.get(at).filter(|token| token.kind == Kind::Word).map_or("", |token| &*token.value);
    if !DDL.contains(&kind) {
        let is_database = (kind == "database" || kind == "schema") && !is_temporary;
        return if is_database {
            Verdict { changes_schema: true, ..Verdict::default() }
        } else {
            Verdict::opaque(statement(tokens))
        };
    }
    let mut verdict = Verdict { changes_schema: true, ..Verdict::default() };
    if !STORED.contains(&kind) && kind != "user" && kind != "role" {
        examined.add(&mut verdict, &tokens[at..], false);
    }
    if is_temporary {
        let mut name = &tokens[(at + 1).min(tokens.len())..];
        if begins(name, &["if", "not", "exists"]) {
            name = &name[3..];
        }
        let name = table_name(name).map_or_else(String::new, |(name, _)| name);
        verdict.pins.push(format!("temporary table:{name}"));
    }
    verdict
}

fn drop(tokens: &[Token<'_>]) -> Verdict {
    let mut rest = &tokens[1..];
    if rest.first().is_some_and(|token| token.is("temporary")) {
        rest = &rest[1..];
    }
    let kind = rest.first().filter(|token| token.kind == Kind::Word).map_or("", |token| &*token.value);
    if !DDL.contains(&kind) {
        return Verdict::opaque(statement(tokens));
    }
    let mut verdict = Verdict { changes_schema: true, ..Verdict::default() };
    if kind != "table" {
        return verdict;
    }
    rest = &rest[1..];
    if begins(rest, &["if", "exists"]) {
        rest = &rest[2..];
    }
    while let Some((name, length)) = table_name(rest) {
        verdict.unpins.push(format!("temporary table:{name}"));
        rest = &rest[length..];
        if rest.first().is_some_and(|token| token.is_sign(",")) {
            rest = &rest[1..];
        }
    }
    verdict
}

/// What changes a table. A temporary one may have another name after it, so from then on none is known to be the last.
fn change(examined: &mut Examined<'_>, tokens: &[Token<'_>]) -> Verdict {
    let kind = tokens.get(1).filter(|token| token.kind == Kind::Word).map_or("", |token| &*token.value);
    let is_known = DDL.contains(&kind)
        || tokens[0].is("truncate")
        || (tokens[0].is("alter") && matches!(kind, "online" | "ignore"));
    if !is_known {
        return Verdict::opaque(statement(tokens));
    }
    let mut verdict =
        Verdict { changes_schema: true, fixes: vec!["temporary table:".to_owned()], ..Verdict::default() };
    if !STORED.contains(&kind) {
        examined.add(&mut verdict, &tokens[1..], false);
    }
    verdict
}

/// What begins, ends or parts a transaction. A word too many, and nobody knows.
fn transaction(tokens: &[Token<'_>]) -> Verdict {
    let mut rest = &tokens[1..];
    let told = |transaction| Verdict::transaction(transaction);
    match &*tokens[0].value {
        "begin" if rest.is_empty() || are(rest, &["work"]) => told(Transaction::Begin),
        "start" if begins(rest, &["transaction"]) && rest.iter().all(|token| token.kind != Kind::UserVariable) => {
            told(Transaction::Begin)
        }
        "savepoint" if rest.len() == 1 => Verdict::default(),
        "release" if rest.len() == 2 && rest[0].is("savepoint") => Verdict::default(),
        "commit" | "rollback" => {
            if rest.first().is_some_and(|token| token.is("work")) {
                rest = &rest[1..];
            }
            if tokens[0].is("rollback") && rest.first().is_some_and(|token| token.is("to")) {
                return Verdict::default();
            }
            let commits = tokens[0].is("commit");
            let mut verdict = told(if commits { Transaction::Commit } else { Transaction::Rollback });
            if begins(rest, &["and", "no", "chain"]) {
                rest = &rest[3..];
            } else if begins(rest, &["and", "chain"]) {
                verdict.chains = true;
                rest = &rest[2..];
            }
            if are(rest, &["release"]) {
                verdict.must_close = true; // the server hangs up
            } else if !rest.is_empty() && !are(rest, &["no", "release"]) {
                return Verdict::opaque(statement(tokens));
            }
            verdict
        }
        _ => Verdict::opaque(statement(tokens)),
    }
}
