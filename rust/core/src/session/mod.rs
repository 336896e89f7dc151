//! What a statement does to the session it runs in, so that nobody sees what another left there. Denies by default.
//!
//! A statement leaves its session as it was only if all of it can be read by the server's own lexical rules, if it has one of
//! a few forms, and if the server's catalogue knows nothing under its names that could change a session. What begins or ends a
//! transaction, and what can be said again on another connection, is told apart. Everything else ties the client to its
//! connection. Nothing here is a list of what is dangerous: what is not known is.

pub mod catalogue;
mod fold;
pub mod mysql;
pub mod postgres;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeSet;

use hashbrown::HashSet;

pub use catalogue::{Catalogue, Facts};

/// Characters of a statement that a log line shows.
const DIGEST_CHARACTERS_MAX: usize = 160;

/// Causes of one statement; with more, none of them ends before the client is closed.
const CAUSES_MAX: usize = 20;

/// How a server reads a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL, with `standard_conforming_strings` or without.
    Postgres {
        /// A backslash in quotes is a backslash.
        standard_strings: bool,
    },
    /// MySQL or MariaDB in an `sql_mode`.
    Mysql(mysql::Mode),
}

/// What a text does to the transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transaction {
    /// Nothing that is known before it runs.
    #[default]
    None,
    /// It begins one.
    Begin,
    /// It commits.
    Commit,
    /// It rolls back.
    Rollback,
    /// It undoes what came after a savepoint.
    RollbackTo,
}

impl Transaction {
    /// The word that Python knows it by.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::RollbackTo => "rollback to",
        }
    }
}

/// What a text does to its session. Empty: nothing, and the next client may have the connection as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Causes, as `kind:name`, that tie the client to its connection. No part of a literal is in them.
    pub pins: Vec<String>,
    /// Causes that the text may end, `kind:name` or all of a `kind:`.
    pub unpins: Vec<String>,
    /// Locks that it may free: the cause, and the name to ask the server for.
    pub locks: Vec<(String, String)>,
    /// Kinds of causes that do not end any more before the client is closed.
    pub fixes: Vec<String>,
    /// Settings that another connection can be given: key and statement.
    pub sets: Vec<(String, String)>,
    /// Settings that go back to their default; `*` is all of them.
    pub unsets: Vec<String>,
    /// Settings that end with the transaction; `*` is one that cannot be told.
    pub local: Vec<(String, String)>,
    /// What it does to the transaction.
    pub transaction: Transaction,
    /// The end of the transaction begins the next.
    pub chains: bool,
    /// It asks for what a session remembers of its statements, such as `LAST_INSERT_ID()`.
    pub reads_session: bool,
    /// It only reads: twice is the same as once.
    pub repeatable: bool,
    /// No reset undoes it: the connection is closed.
    pub must_close: bool,
    /// Names may mean something else from now on.
    pub changes_schema: bool,
    /// It may leave a key or a sequence's value in what the session remembers, which the server's answer does not tell.
    pub writes_session: bool,
    /// It may take a value of a sequence of MariaDB, which the session goes on to tell until it is reset.
    pub uses_sequence: bool,
}

impl Verdict {
    fn pinned(cause: impl Into<String>) -> Self {
        Self { pins: vec![cause.into()], ..Self::default() }
    }

    /// What no reset is known to undo. It may ask for what the session remembers of others, too.
    fn closed(cause: impl Into<String>) -> Self {
        Self { must_close: true, reads_session: true, ..Self::pinned(cause) }
    }

    /// What nobody understands, which may change the schema as well.
    fn opaque(cause: impl Into<String>) -> Self {
        Self { changes_schema: true, writes_session: true, ..Self::closed(cause) }
    }

    /// Of what nobody can tell.
    pub fn unknown() -> Self {
        Self::opaque("statement:what it names is not known")
    }

    /// Of what is not told yet: some of its names must be looked up first.
    pub fn undecided() -> Self {
        Self { reads_session: false, changes_schema: false, ..Self::unknown() }
    }

    /// Add a cause once.
    fn pin(&mut self, cause: impl Into<String>) {
        let cause = cause.into();
        if self.pins.contains(&cause) {
            return;
        }
        match self.pins.len() {
            0..CAUSES_MAX => self.pins.push(cause),
            CAUSES_MAX => self.pins.push("statement:many causes".to_owned()),
            _ => {}
        }
    }

    /// Add a cause that no reset is known to undo, and that may ask for what the session remembers.
    fn close(&mut self, cause: impl Into<String>) {
        self.pin(cause);
        self.must_close = true;
        self.reads_session = true;
    }

    fn transaction(transaction: Transaction) -> Self {
        Self { transaction, ..Self::default() }
    }

    /// Whether it changes nothing at all.
    pub fn is_clean(&self) -> bool {
        let Self { repeatable, changes_schema, writes_session, uses_sequence, .. } = *self;
        *self == Self { repeatable, changes_schema, writes_session, uses_sequence, ..Self::default() }
    }
}

/// The judge's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// What the text does.
    Verdict(Verdict),
    /// These names must be looked up before it can be told.
    Needs(BTreeSet<String>),
    /// It must not be sent, for this reason.
    Refused(String),
}

/// Functions that the user vouches for, `name` or `schema.name`.
#[derive(Clone, Debug, Default)]
pub struct CleanFunctions(HashSet<String>);

impl CleanFunctions {
    /// Those of a list.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Whether one of this name is among them, in whatever schema.
    fn has_one_called(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|known| known.strip_suffix(name).is_some_and(|schema| schema.is_empty() || schema.ends_with('.')))
    }

    fn has(&self, schema: &str, name: &str) -> bool {
        !self.0.is_empty() && (self.0.contains(name) || self.0.contains(&format!("{schema}.{name}")))
    }
}

/// What travels beside a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    #[default]
    Nothing,
    /// Arguments.
    Arguments,
    /// The rows of a `COPY … FROM STDIN`.
    RowsIn,
    /// The rows of a `COPY … TO STDOUT`.
    RowsOut,
}

/// What a text is judged by, beside itself.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'j> {
    /// How the server reads it.
    pub dialect: Dialect,
    /// Whose names they are: with MySQL, the current database.
    pub context: u16,
    /// What is known of them.
    pub catalogue: &'j Catalogue,
    /// What the user vouches for.
    pub clean: &'j CleanFunctions,
}

impl Judge<'_> {
    /// Judge a text as it is sent. Rows travel beside a `COPY` alone, and a `COPY` that has them is sent no other way.
    pub fn judge(&self, text: &str, beside: Beside) -> Judged {
        match self.dialect {
            Dialect::Postgres { standard_strings } => postgres::judge(self, text, standard_strings, beside),
            Dialect::Mysql(mode) => mysql::judge(self, text, mode, beside == Beside::Arguments),
        }
    }
}

/// A statement for people, without its literals and comments; a text that cannot be read is not shown at all.
pub fn digest(text: &str, dialect: Dialect) -> String {
    let tokens = match dialect {
        Dialect::Postgres { standard_strings } => postgres::read(text, standard_strings).ok(),
        Dialect::Mysql(mode) => mysql::read(text, mode, false).ok(),
    };
    tokens.map_or_else(
        || "a text that cannot be read".to_owned(),
        |tokens| token::digest(text, &tokens, DIGEST_CHARACTERS_MAX),
    )
}

/// The statements of a text, without the semicolons between them; `None` if it cannot be read to its end.
pub fn split(text: &str, dialect: Dialect) -> Option<Vec<&str>> {
    let tokens = match dialect {
        Dialect::Postgres { standard_strings } => postgres::read(text, standard_strings).ok()?,
        Dialect::Mysql(mode) => mysql::read(text, mode, false).ok()?,
    };
    let parts = tokens.split(|token| token.is_sign(";")).filter_map(|part| Some((part.first()?, part.last()?)));
    Some(parts.map(|(first, last)| &text[first.start..last.end]).collect())
}

/// The name of a statement's kind for a cause: its first word, if it has one.
fn statement(tokens: &[token::Token<'_>]) -> String {
    let word = tokens.first().filter(|first| first.kind == token::Kind::Word && first.value.len() <= 20);
    format!("statement:{}", word.map_or_else(String::new, |word| word.value.to_uppercase()))
}
