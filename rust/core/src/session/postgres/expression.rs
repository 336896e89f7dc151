//! What the names of a query stand for, as far as it may change a session.

use std::collections::BTreeSet;

use hashbrown::HashSet;

use super::{functions, settings, Missing, TEMPORARY};
use crate::session::token::{after_parenthesis, split_at_commas, Kind, Token};
use crate::session::{Facts, Judge, Verdict};

/// Words that stand for nothing in the catalogue unless they are quoted or follow a point.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
]; // sorted

/// Words that stand for an operator: `a IN (b)` is `a = b`, `NULLIF`, `USING` and `NATURAL` are, too.
const IMPLY_OPERATORS: &[&str] =
    &["between", "case", "distinct", "ilike", "in", "like", "natural", "nullif", "similar", "using"]; // sorted
/// The operators of all of them.
const IMPLIED: &[&str] = &["=", "<>", "<", "<=", ">", ">=", "~", "!~", "~~", "!~~", "~~*", "!~~*"];
/// Tables and functions of the server that tell of the session: the texts that the driver has prepared in it, whoever asked.
const OF_THE_SESSION: &[&str] = &[
    "pg_backend_memory_contexts",
    "pg_get_backend_memory_contexts",
    "pg_prepared_statement",
    "pg_prepared_statements",
];
/// Signs that stand for no operator.
const PUNCTUATION: &[&str] = &["(", ")", "[", "]", ",", ".", ":"];
/// Tokens of a call's arguments that are looked through.
const ARGUMENTS_MAX: usize = 1_000;

/// The statements of one text, and what must be looked up before they can be judged.
pub(super) struct Examined<'j> {
    judge: &'j Judge<'j>,
    missing: BTreeSet<String>,
    /// Relations whose texts were already examined, for reading and for writing.
    visited: HashSet<(String, bool)>,
    writes: bool,
    acts: bool,
    /// It may take a value of a sequence, by a default that no catalogue names.
    takes_key: bool,
    /// `DEFAULT` stands in it.
    has_default: bool,
    /// The calls that no word is written for were looked at.
    has_unwritten: bool,
    /// Where the statement begins after its `WITH`.
    verb: Option<usize>,
    /// Why it must not be sent.
    pub(super) refused: Option<&'static str>,
}

impl<'j> Examined<'j> {
    pub(super) fn new(judge: &'j Judge<'j>) -> Self {
        Self {
            judge,
            missing: BTreeSet::new(),
            visited: HashSet::new(),
            writes: false,
            acts: false,
            takes_key: false,
            has_default: false,
            has_unwritten: false,
            verb: None,
            refused: None,
        }
    }

    /// Have the text refused, for this reason.
    pub(super) fn refuse(&mut self, reason: &'static str) -> Verdict {
        self.refused = Some(reason);
        Verdict::default()
    }

    /// Whether a value of a sequence may have been taken since this was asked last. An own function may take one.
    pub(super) fn took_a_key(&mut self) -> bool {
        let took = self.takes_key || self.acts || (self.writes && self.has_default);
        (self.writes, self.acts, self.takes_key, self.has_default) = (false, false, false, false);
        took
    }

    pub(super) fn into_missing(self) -> Missing {
        self.missing
    }

    /// Whether a function runs at each change of the schema; unknown before anything was looked up.
    pub(super) fn has_event_trigger(&mut self) -> bool {
        self.needs_any();
        self.judge.catalogue.has_event_trigger()
    }

    /// What no name leads to, the operators, casts and event triggers, comes with the answer for whatever name.
    fn needs_any(&mut self) {
        if !self.judge.catalogue.is_loaded() {
            self.missing.insert("pg_operator".to_owned());
        }
    }

    /// Judge a query, or a change of rows.
    pub(super) fn query(&mut self, tokens: &[Token<'_>]) -> Verdict {
        let mut verdict = Verdict::default();
        self.add(&mut verdict, tokens);
        let locks = tokens
            .windows(2)
            .any(|pair| pair[0].is("for") && ["update", "share", "no", "key"].iter().any(|word| pair[1].is(word)));
        verdict.repeatable = !(self.writes || self.acts || locks) && verdict.is_clean();
        verdict
    }

    /// Judge a statement that writes every table it names.
    pub(super) fn written(&mut self, tokens: &[Token<'_>]) -> Verdict {
        let mut verdict = Verdict::default();
        self.add(&mut verdict, tokens);
        for token in tokens.iter().filter(|token| token.is_name()) {
            self.target(&mut verdict, &token.value);
        }
        verdict
    }

    /// Add what a change of a table or a domain does: it may run the checks and defaults that were there before.
    pub(super) fn rewritten(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>]) {
        self.add(verdict, tokens);
        for token in tokens.iter().filter(|token| token.is_name()) {
            let Some(facts) = self.facts(&token.value) else { continue };
            for text in &facts.written {
                self.text(verdict, text);
            }
        }
    }

    /// Judge what follows `COPY`.
    pub(super) fn copied(&mut self, tokens: &[Token<'_>]) -> Verdict {
        let mut verdict = Verdict::default();
        self.add(&mut verdict, tokens);
        if tokens.iter().any(|token| token.is("from")) {
            self.takes_key = true;
            self.target_at(&mut verdict, tokens, 0);
        }
        verdict
    }

    /// Judge what follows `CALL`: a procedure may be anything, unless somebody vouches for it.
    pub(super) fn call(&mut self, tokens: &[Token<'_>]) -> Verdict {
        let open = tokens.iter().position(|token| token.is_sign("(")).unwrap_or(tokens.len());
        let name: Vec<&str> =
            tokens[..open].iter().filter(|token| token.is_name()).map(|token| &*token.value).collect();
        let mut verdict = match name[..] {
            [name] if self.judge.clean.has("", name) => Verdict::default(),
            [schema, name] if self.judge.clean.has(schema, name) => Verdict::default(),
            _ => Verdict::opaque(format!("function:{}", name.join("."))),
        };
        self.takes_key = true;
        self.add(&mut verdict, &tokens[open..]);
        verdict
    }

    /// Add what the names and operators in some tokens do.
    pub(super) fn add(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>]) {
        let outer = std::mem::replace(&mut self.verb, after_with(tokens));
        for (at, token) in tokens.iter().enumerate() {
            if token.is_name() {
                self.name(verdict, tokens, at);
                self.implied(verdict, token);
            } else if token.kind == Kind::Sign && !PUNCTUATION.contains(&&*token.value) {
                self.needs_any();
                if self.judge.catalogue.has_volatile(&token.value) {
                    verdict.close("function:an operator");
                }
            }
        }
        self.verb = outer;
        if self.judge.catalogue.has_volatile_cast() {
            verdict.close("function:a cast");
        }
        if !std::mem::replace(&mut self.has_unwritten, true) {
            for text in self.judge.catalogue.unwritten() {
                self.text(verdict, text);
            }
        }
    }

    /// A keyword may run an operator that is not written.
    fn implied(&mut self, verdict: &mut Verdict, token: &Token<'_>) {
        if token.kind != Kind::Word || IMPLY_OPERATORS.binary_search(&&*token.value).is_err() {
            return;
        }
        self.needs_any();
        if IMPLIED.iter().any(|operator| self.judge.catalogue.has_volatile(operator)) {
            verdict.close("function:an operator");
        }
    }

    fn name(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>], at: usize) {
        let token = &tokens[at];
        let name = &*token.value;
        let is_part = at > 0 && tokens[at - 1].is_sign(".");
        if token.kind == Kind::Word && !is_part {
            self.keyword(verdict, tokens, at);
            if RESERVED.binary_search(&name).is_ok() {
                return;
            }
        }
        if OF_THE_SESSION.contains(&name) {
            verdict.reads_session = true;
            verdict.pin(format!("session memory:{name}"));
        }
        self.named(verdict, name, tokens, at);
        if token.kind == Kind::Word && !name.is_ascii() {
            // A server whose encoding has one byte for each character makes all of them small.
            let small = name.to_lowercase();
            if small != name {
                self.named(verdict, &small, tokens, at);
            }
        }
    }

    /// What a name does where it stands: it is called, or it is the attribute of a row, or it is read.
    fn named(&mut self, verdict: &mut Verdict, name: &str, tokens: &[Token<'_>], at: usize) {
        let is_part = at > 0 && tokens[at - 1].is_sign(".");
        let is_called = tokens.get(at + 1).is_some_and(|next| next.is_sign("("));
        if is_called && name == "set_config" && sets_encoding(&arguments(tokens, at + 1)) {
            self.refused = Some(settings::ENCODING_REFUSED);
        }
        let Some(facts) = self.facts(name) else { return };
        if is_called {
            self.called(verdict, facts, name, tokens, at);
        } else if is_part && facts.of_rows.iter().any(|schema| !self.is_clean(schema, name)) {
            verdict.close(format!("function:{name}"));
        } else if is_part && !facts.of_rows.is_empty() {
            self.acts = true;
        }
        if !(is_called && self.judge.clean.has_one_called(name)) {
            self.read(verdict, facts, name);
        }
    }

    /// `SELECT … INTO` makes a table; a table to be written follows `INSERT INTO`, `UPDATE`, `DELETE FROM`, `MERGE INTO`.
    fn keyword(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>], at: usize) {
        let is = |back: usize, word: &str| at >= back && tokens[at - back].is(word);
        let before = |word: &str| is(1, word);
        match &*tokens[at].value {
            "into" if (before("insert") || before("merge")) && self.begins_at(tokens, at - 1) => {
                self.takes_key = true;
                self.target_at(verdict, tokens, at + 1);
            }
            // After an alias, whatever its name is, it makes a table.
            "into" => {
                self.writes = true;
                verdict.pin(TEMPORARY);
                verdict.changes_schema = true;
                if self.has_event_trigger() {
                    verdict.close("function:an event trigger");
                }
                if before("insert") || before("merge") {
                    self.target_at(verdict, tokens, at + 1);
                }
            }
            "default" => self.has_default = true,
            "from" if before("delete") => self.target_at(verdict, tokens, at + 1),
            "update" if !(before("do") || before("for") || (before("key") && is(2, "no"))) => {
                self.target_at(verdict, tokens, at + 1);
            }
            _ => {}
        }
    }

    /// Whether a statement begins here: the first, one in parentheses, or the one after a `WITH`.
    fn begins_at(&self, tokens: &[Token<'_>], at: usize) -> bool {
        at == 0 || tokens[at - 1].is_sign("(") || self.verb == Some(at)
    }

    fn target_at(&mut self, verdict: &mut Verdict, tokens: &[Token<'_>], mut at: usize) {
        self.writes = true;
        while tokens.get(at).is_some_and(|token| token.is("only") || token.is("table") || token.is_sign("(")) {
            at += 1;
        }
        while tokens.get(at + 1).is_some_and(|token| token.is_sign(".")) && tokens[at].is_name() {
            at += 2;
        }
        if let Some(token) = tokens.get(at).filter(|token| token.is_name()) {
            self.target(verdict, &token.value);
        }
    }

    /// What writing a relation does: its triggers, its defaults and checks, and those of what is written with it.
    fn target(&mut self, verdict: &mut Verdict, name: &str) {
        let Some(facts) = self.facts(name) else { return };
        if !self.visited.insert((name.to_owned(), true)) {
            return;
        }
        if let Some(why) = &facts.unwritable {
            verdict.close(format!("function:{why}"));
        }
        self.takes_key |= !facts.triggers.is_empty() || !facts.cascade.is_empty();
        for function in &facts.triggers {
            let (schema, function) = function.rsplit_once('.').unwrap_or(("", function));
            if !self.is_clean(schema, function) {
                verdict.close(format!("function:{function}"));
            }
        }
        for text in &facts.written {
            self.text(verdict, text);
        }
        for other in &facts.cascade {
            self.target(verdict, other);
        }
        self.read(verdict, facts, name);
    }

    /// What reading a relation does, or making a value of a type.
    fn read(&mut self, verdict: &mut Verdict, facts: &Facts, name: &str) {
        if let Some(why) = &facts.unreadable {
            verdict.close(format!("function:{why}"));
        }
        if !facts.read.is_empty() && self.visited.insert((name.to_owned(), false)) {
            for text in &facts.read {
                self.text(verdict, text);
            }
        }
    }

    fn text(&mut self, verdict: &mut Verdict, text: &str) {
        match super::read(text, true) {
            Ok(tokens) => {
                let (writes, has_default) = (self.writes, self.has_default);
                self.add(verdict, &tokens);
                (self.writes, self.has_default) = (writes, has_default);
            }
            Err(_) => verdict.close("function:a text that cannot be read"),
        }
    }

    fn facts(&mut self, name: &str) -> Option<&'j Facts> {
        let found = self.judge.catalogue.facts(self.judge.context, name);
        if found.is_none() {
            self.missing.insert(name.to_owned());
        }
        found
    }

    fn is_clean(&self, schema: &str, name: &str) -> bool {
        functions::is_clean(schema, name) || self.judge.clean.has(schema, name)
    }

    fn called(&mut self, verdict: &mut Verdict, facts: &Facts, name: &str, tokens: &[Token<'_>], at: usize) {
        self.acts |= functions::acts(name);
        if functions::runs_text(name) && !self.judge.clean.has(functions::SERVER_SCHEMA, name) {
            verdict.close(format!("function:{name}"));
        }
        for schema in &facts.functions {
            if self.is_clean(schema, name) {
                self.acts |= !functions::is_clean(schema, name); // it leaves the session alone: its rows are another matter
                continue;
            }
            match name {
                _ if schema != functions::SERVER_SCHEMA => verdict.close(format!("function:{name}")),
                "set_config" => configured(verdict, &arguments(tokens, at + 1)),
                "currval" | "lastval" => {
                    verdict.pin(format!("session memory:{name}"));
                    verdict.reads_session = true;
                }
                _ if name.starts_with("pg_advisory_unlock") => verdict.unpins.push("advisory lock:".to_owned()),
                _ if name.starts_with("pg_advisory_lock") => verdict.pin("advisory lock:"),
                // Whether it was got is asked of the server.
                _ if name.starts_with("pg_try_advisory_lock") => {
                    verdict.pin("advisory lock:");
                    verdict.unpins.push("advisory lock:".to_owned());
                }
                _ => verdict.close(format!("function:{name}")),
            }
        }
    }
}

/// The arguments of a call whose parenthesis opens here.
fn arguments<'s, 't>(tokens: &'s [Token<'t>], open: usize) -> Vec<&'s [Token<'t>]> {
    let tokens = &tokens[..tokens.len().min(open + ARGUMENTS_MAX)];
    let end = after_parenthesis(tokens, open);
    split_at_commas(&tokens[(open + 1).min(end)..end.saturating_sub(1).max(open + 1).min(tokens.len())])
}

/// Whether a `set_config` sets an encoding that is not the driver's, or may.
fn sets_encoding(arguments: &[&[Token<'_>]]) -> bool {
    let [name, value, _] = arguments else { return false };
    literal(name).is_some_and(|name| name.eq_ignore_ascii_case("client_encoding"))
        && !literal(value).is_some_and(settings::is_utf8)
}

/// `set_config(name, value, is_local)`: a local one ends with the transaction, if it is one that can.
fn configured(verdict: &mut Verdict, arguments: &[&[Token<'_>]]) {
    let [name, value, local] = arguments else {
        return verdict.close("setting:set_config");
    };
    let name = literal(name).map(str::to_ascii_lowercase);
    let Some(name) = name.filter(|name| name != "seed") else {
        return verdict.close("setting:set_config");
    };
    if name == "search_path" && literal(value).is_none_or(settings::hides_names) {
        return verdict.close("setting:search_path");
    }
    if local.len() != 1 || !local[0].is("true") {
        return verdict.pin(match &*name {
            "role" => "role:",
            "session_authorization" => "session authorization:",
            _ => "setting:set_config",
        });
    }
    if !settings::is_read_by_none(&name) && verdict.local.is_empty() {
        verdict.local = settings::unknown_local();
    }
}

/// Where the statement begins after a `WITH`, if that is written without what might be taken for it.
fn after_with(tokens: &[Token<'_>]) -> Option<usize> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
    let opens = |at: usize| tokens.get(at).is_some_and(|token| token.is_sign("("));
    if !is(0, "with") {
        return None;
    }
    let mut at = 1 + usize::from(is(1, "recursive"));
    loop {
        tokens.get(at).filter(|token| token.is_name())?;
        at = if opens(at + 1) { after_parenthesis(tokens, at) } else { at + 1 };
        if !is(at, "as") {
            return None;
        }
        at += 1 + usize::from(is(at + 1, "not"));
        at += usize::from(is(at, "materialized"));
        if !opens(at) {
            return None;
        }
        at = after_parenthesis(tokens, at);
        if !tokens.get(at)?.is_sign(",") {
            return Some(at);
        }
        at += 1;
    }
}

/// The value of a literal, as it is or cast to text.
fn literal<'t>(tokens: &'t [Token<'_>]) -> Option<&'t str> {
    let (first, cast) = tokens.split_first()?;
    let is_text = cast.is_empty() || matches!(cast, [sign, kind] if sign.is_sign("::") && kind.is("text"));
    (first.kind == Kind::Text && first.plain && is_text).then_some(&*first.value)
}
