//! What the names, calls and variables of a statement stand for, as far as they may change a session.

use std::collections::BTreeSet;

use hashbrown::HashSet;

use super::{functions, read, settings, Mode};
use crate::session::token::{after_parenthesis, Kind, Token};
use crate::session::{Dialect, Facts, Judge, Verdict};

/// Tables that tell of the session.
const OF_THE_SESSION: &[&str] = &[
    "profiling",
    "session_status",
    "session_variables",
    "status_by_thread",
    "system_variables",
    "user_variables",
    "user_variables_by_thread",
    "variables_by_thread",
];
/// Tokens of a list of columns that is looked through.
const COLUMNS_MAX: usize = 1_000;
/// Between a database and its table, where both are looked up; alone before the name of a function.
pub(super) const BETWEEN: char = '\0';

pub(super) struct Examined<'j> {
    judge: &'j Judge<'j>,
    missing: BTreeSet<String>,
    visited: HashSet<String>,
    /// It calls what somebody vouches for, which may write, or takes the next value of a sequence.
    pub(super) acts: bool,
    /// It frees a lock: twice is not once.
    frees: bool,
    /// It may make a key.
    pub(super) takes_key: bool,
    /// It asks how many rows the statement before found or changed.
    pub(super) asks_counts: bool,
    /// It can name no table: what is not a function in it is an alias.
    is_tableless: bool,
}

impl<'j> Examined<'j> {
    pub(super) fn new(judge: &'j Judge<'j>) -> Self {
        Self {
            judge,
            missing: BTreeSet::new(),
            visited: HashSet::new(),
            acts: false,
            frees: false,
            takes_key: false,
            asks_counts: false,
            is_tableless: false,
        }
    }

    pub(super) fn into_missing(self) -> BTreeSet<String> {
        self.missing
    }

    /// Judge a query, or a change of rows.
    pub(super) fn query(&mut self, tokens: &[Token<'_>]) -> Verdict {
        let mut verdict = Verdict::default();
        let is_write = |token: &Token<'_>| ["insert", "replace", "update", "delete"].iter().any(|word| token.is(word));
        let writes = is_write(&tokens[0])
            || tokens.iter().enumerate().skip(1).any(|(at, token)| {
                is_write(token)
                    && !tokens.get(at + 1).is_some_and(|next| next.is_sign("("))
                    && !tokens[at - 1].is("for")
            });
        self.is_tableless = (tokens[0].is("select") || tokens[0].is("do")) && !may_name_tables(tokens);
        self.takes_key |= tokens.iter().enumerate().any(|(at, token)| {
            (token.is("insert") || token.is("replace")) && !tokens.get(at + 1).is_some_and(|next| next.is_sign("("))
        });
        self.add(&mut verdict, &tokens[usize::from(tokens[0].is("do"))..], writes);
        let locks = tokens.windows(2).any(|pair| {
            (pair[0].is("for") && (pair[1].is("update") || pair[1].is("share")))
                || (pair[0].is("lock") && pair[1].is("in"))
        });
        verdict.repeatable = !(writes || locks || self.acts || self.frees) && verdict.is_clean();
        verdict
    }

    /// Judge what follows `CALL`: a procedure may be anything, unless somebody vouches for it.
    pub(super) fn call(&mut self, tokens: &[Token<'_>]) -> Verdict {
        let open = tokens.iter().position(|token| token.is_sign("(")).unwrap_or(tokens.len());
        let name: Vec<String> = tokens[..open]
            .iter()
            .filter(|token| token.is_name())
            .map(|token| token.value.to_ascii_lowercase())
            .collect();
        let mut verdict = match &name[..] {
            [name] if self.judge.clean.has("", name) => Verdict::default(),
            [schema, name] if self.judge.clean.has(schema, name) => Verdict::default(),
            _ => Verdict::opaque(format!("function:{}", name.join("."))),
        };
        self.acts = true;
        self.add(&mut verdict, &tokens[open..], false);
        verdict
    }

    /// Add what the values of a `SET` do.
    pub(super) fn assigned(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>]) {
        self.is_tableless = !may_name_tables(tokens);
        self.add(verdict, tokens, false);
    }

    /// Add what the tokens of a statement do.
    pub(super) fn add(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>], writes: bool) {
        let target = insert_target(tokens);
        let reads_defaults = reads_defaults(tokens);
        for (at, token) in tokens.iter().enumerate() {
            match token.kind {
                Kind::UserVariable => verdict.pin("user variable:"),
                Kind::SystemVariable => variable(verdict, &token.value),
                Kind::Sign if token.value == ":=" => verdict.pin("user variable:"),
                Kind::Word | Kind::Quoted => {
                    let is_target = target.map_or(writes, |range| (range.0..range.1).contains(&at));
                    self.name(verdict, tokens, at, is_target || reads_defaults);
                }
                _ => {}
            }
        }
    }

    fn name(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>], at: usize, is_target: bool) {
        let token = &tokens[at];
        let before = at.checked_sub(1).map(|at| &tokens[at]);
        let after = tokens.get(at + 1);
        if token.kind == Kind::Word {
            keyword(verdict, tokens, at);
        }
        let lower = token.value.to_ascii_lowercase();
        self.acts |=
            matches!(&*lower, "nextval" | "setval") || (token.is("next") && after.is_some_and(|next| next.is("value")));
        if OF_THE_SESSION.contains(&&*lower) {
            verdict.reads_session = true;
            verdict.pin("session memory:a table");
        }
        let is_called = after.is_some_and(|next| next.is_sign("("));
        if is_called {
            self.called(verdict, tokens, at);
        }
        let is_part = before.is_some_and(|point| point.is_sign("."));
        if token.kind == Kind::Word && functions::is_reserved(&token.value) && !is_part {
            return;
        }
        if is_part && lower == "currval" {
            verdict.reads_session = true; // of a sequence, under sql_mode=ORACLE
            verdict.pin("session memory:CURRVAL");
        }
        // A question of the proxy's own would make another answer of what these are asked for.
        let asks_memory = is_called && !is_part && token.kind == Kind::Word && functions::is_memory(&lower);
        if self.is_tableless || (asks_memory && !is_target) {
            return;
        }
        self.relation(verdict, token.name(), is_target);
        if let (Some(point), Some(schema)) = (before, at.checked_sub(2).map(|at| &tokens[at])) {
            if point.is_sign(".") && schema.is_name() {
                let schema = schema.name();
                if schema.eq_ignore_ascii_case("sys") {
                    verdict.close("function:a view of sys");
                } else if !["information_schema", "performance_schema"]
                    .iter()
                    .any(|own| schema.eq_ignore_ascii_case(own))
                {
                    self.relation(verdict, &format!("{schema}{BETWEEN}{}", token.name()), is_target);
                }
            }
        }
    }

    /// What reading or writing a table or view does. A write runs what a trigger says.
    fn relation(&mut self, verdict: &mut Verdict, name: &str, is_target: bool) {
        let Some(facts) = self.judge.catalogue.facts(self.judge.context, name) else {
            self.missing.insert(name.to_owned());
            return;
        };
        if let Some(why) = &facts.unreadable {
            verdict.close(format!("function:{why}"));
        }
        self.texts(verdict, facts, name, is_target);
        if !is_target {
            return;
        }
        if let Some(why) = &facts.unwritable {
            verdict.close(format!("function:{why}"));
        }
        for trigger in &facts.triggers {
            self.acts = true;
            if !self.judge.clean.has("", &trigger.to_ascii_lowercase()) {
                verdict.close(format!("function:{trigger}"));
            }
        }
    }

    fn texts(&mut self, verdict: &mut Verdict, facts: &Facts, name: &str, is_target: bool) {
        let texts = facts.read.iter().map(|text| (text, is_target));
        let written = facts.written.iter().filter(|_| is_target).map(|text| (text, false));
        for (text, writes) in texts.chain(written) {
            if !self.visited.insert(format!("{name}{BETWEEN}{writes}{text}")) {
                continue;
            }
            match read(text, Mode::default(), false) {
                Ok(tokens) => {
                    let writes = writes || reads_defaults(&tokens);
                    for (at, token) in tokens.iter().enumerate() {
                        match token.kind {
                            Kind::UserVariable => verdict.pin("user variable:"),
                            Kind::SystemVariable => variable(verdict, &token.value),
                            Kind::Word | Kind::Quoted => self.name(verdict, &tokens, at, writes),
                            _ => {}
                        }
                    }
                }
                Err(_) => verdict.close("function:a text that cannot be read"),
            }
        }
    }

    /// A function that another version of the server has may be the database's own in this one.
    fn shadowed(&mut self, verdict: &mut Verdict, name: &str) {
        let asked = format!("{BETWEEN}{name}");
        match self.judge.catalogue.facts(self.judge.context, &asked) {
            None => {
                self.missing.insert(asked);
            }
            Some(facts) if facts.functions.is_empty() => {}
            Some(_) if self.judge.clean.has("", name) => self.acts = true,
            Some(_) => verdict.close(format!("function:{name}")),
        }
    }

    fn called(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>], at: usize) {
        let token = &tokens[at];
        let name = token.value.to_ascii_lowercase();
        let is_part = at > 0 && tokens[at - 1].is_sign(".");
        let schema = if is_part && at > 1 { tokens[at - 2].value.to_ascii_lowercase() } else { String::new() };
        let ignores_space = matches!(self.judge.dialect, Dialect::Mysql(mode) if mode.ignore_space);
        let is_at_once = ignores_space || token.end == tokens[at + 1].start;
        let is_builtin = token.kind == Kind::Word && !is_part;
        if is_builtin && functions::is_reserved(&name) {
            return;
        }
        if is_builtin && (functions::is_word(&name) || functions::is_clean(&name, is_at_once)) {
            return self.shadowed(verdict, &name);
        }
        if self.judge.clean.has(&schema, &name) {
            self.acts = true;
            return;
        }
        if is_list(tokens, at) {
            return;
        }
        match &*name {
            "last_insert_id" | "row_count" | "found_rows" | "lastval" if is_builtin => {
                self.asks_counts |= matches!(&*name, "row_count" | "found_rows");
                verdict.reads_session = true;
                verdict.pin(format!("session memory:{}", name.to_uppercase()));
            }
            // Whether it was got is asked of the server, if it has a name to ask for.
            "get_lock" if is_builtin => {
                let lock = lock(tokens, at);
                verdict.pin(lock.as_ref().map_or("lock:", |(cause, _)| cause));
                verdict.locks.extend(lock);
            }
            "release_lock" if is_builtin => {
                self.frees = true;
                verdict.locks.extend(lock(tokens, at));
            }
            // Only where nothing keeps it from running it is known to have run.
            "release_all_locks" if is_builtin => self.frees = true,
            _ => verdict.close(format!("function:{name}")),
        }
    }
}

/// A variable of the server that tells what the session remembers.
fn variable(verdict: &mut Verdict, name: &str) {
    if !settings::is_told(name) {
        verdict.reads_session = true;
        verdict.pin("session memory:a variable");
    }
}

/// What a word says by itself: `INTO` beside an `INSERT` fills a variable or a file.
fn keyword(verdict: &mut Verdict, tokens: &[Token<'_>], at: usize) {
    match &*tokens[at].value {
        "into" => {
            let opens = at > 0
                && tokens[..at].iter().all(|token| {
                    ["insert", "replace", "low_priority", "delayed", "high_priority", "ignore"]
                        .iter()
                        .any(|word| token.is(word))
                });
            if !opens {
                verdict.pin("user variable:");
            }
        }
        "sql_calc_found_rows" => verdict.pin("session memory:FOUND_ROWS"),
        "procedure" => verdict.close("function:PROCEDURE"),
        "previous" if tokens.get(at + 1).is_some_and(|next| next.is("value")) => {
            verdict.reads_session = true;
            verdict.pin("session memory:PREVIOUS VALUE");
        }
        _ => {}
    }
}

/// Whether a query in it can have a table.
fn may_name_tables(tokens: &[Token<'_>]) -> bool {
    tokens.iter().any(|token| token.is("from") || token.is("table"))
}

/// Whether `DEFAULT(column)` stands in it, which runs what the column has for its default.
fn reads_defaults(tokens: &[Token<'_>]) -> bool {
    tokens.windows(2).any(|pair| pair[0].is("default") && pair[1].is_sign("("))
}

/// Where the table of an `INSERT` or a `REPLACE` stands: what else it names is read.
fn insert_target(tokens: &[Token<'_>]) -> Option<(usize, usize)> {
    let first = tokens.first()?;
    if !(first.is("insert") || first.is("replace")) {
        return None;
    }
    let words = ["low_priority", "delayed", "high_priority", "ignore", "into"];
    let start = 1 + tokens[1..].iter().take_while(|token| words.iter().any(|word| token.is(word))).count();
    let is_point = |at: usize| tokens.get(at).is_some_and(|token| token.is_sign("."));
    let length = match (is_point(start), is_point(start + 1)) {
        (true, _) => 2, // `.t` is `t`
        (false, true) => 3,
        (false, false) => 1,
    };
    Some((start, start + length))
}

/// Whether the parenthesis after a name holds columns: `INSERT INTO t (a)`, `WITH t (a) AS (…)`, `KEY k (a)`.
fn is_list(tokens: &[Token<'_>], at: usize) -> bool {
    let mut start = at;
    while start >= 2 && tokens[start - 1].is_sign(".") {
        start -= 2;
    }
    let before = start.checked_sub(1).map(|before| &tokens[before]);
    if before.is_some_and(|before| before.kind == Kind::Word && functions::is_before_list(&before.value)) {
        return true;
    }
    if start == at && before.is_some_and(|before| before.is("insert") || before.is("ignore")) {
        return true;
    }
    let end = after_parenthesis(&tokens[..tokens.len().min(at + COLUMNS_MAX)], at);
    before.is_some_and(|before| before.is_sign(","))
        && tokens.get(end).is_some_and(|token| token.is("as"))
        && tokens.get(end + 1).is_some_and(|token| token.is_sign("("))
}

/// The cause of a named lock, without its name, and the name.
fn lock(tokens: &[Token<'_>], at: usize) -> Option<(String, String)> {
    let name = tokens.get(at + 2).filter(|token| token.kind == Kind::Text && token.plain)?;
    let is_whole = tokens.get(at + 3).is_some_and(|token| token.is_sign(",") || token.is_sign(")"));
    is_whole.then(|| (format!("lock:#{:016x}", hash(&name.value)), name.value.to_string()))
}

/// FNV-1a: it tells one lock from another, and its name to nobody.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}
