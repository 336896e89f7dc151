//! What a server's catalogue says of the names in its statements, as far as a session may be changed by them.
//!
//! A name is looked up once, whatever schema it is in: a statement is as clean as the least clean thing of that name.

use std::collections::BTreeSet;

use hashbrown::{Equivalent, HashMap, HashSet};

/// Names that are remembered; all are forgotten when there are more.
const NAMES_MAX: usize = 50_000;

/// What was found under one name. A name that is nothing, or that changes no session, has none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The schemas or extensions of the volatile functions of this name.
    pub functions: Vec<String>,
    /// The same of those that take a row, which `row.name` calls.
    pub of_rows: Vec<String>,
    /// Texts of SQL that run when a relation of this name is read, or a value becomes of this type.
    pub read: Vec<String>,
    /// Texts of SQL that run when it is written.
    pub written: Vec<String>,
    /// Relations that are written with it.
    pub cascade: Vec<String>,
    /// The functions of its triggers.
    pub triggers: Vec<String>,
    /// Why nobody can tell what reading it does.
    pub unreadable: Option<String>,
    /// Why nobody can tell what writing it does.
    pub unwritable: Option<String>,
}

/// What is known of a server's names.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    names: HashMap<(u16, String), Facts>,
    /// Operators that run a volatile function.
    operators: HashSet<String>,
    /// Why no statement with a value can be told to be clean: a cast runs a volatile function.
    cast: bool,
    /// Calls that a statement may make without a word of them: an operator or a cast runs them.
    unwritten: BTreeSet<String>,
    /// A function runs at each change of the schema.
    event_trigger: bool,
    is_loaded: bool,
    generation: u64,
}

impl Catalogue {
    /// The facts of a name in a context; `None` while it has not been looked up.
    pub fn facts(&self, context: u16, name: &str) -> Option<&Facts> {
        self.names.get(&Asked(context, name))
    }

    /// Whether anything was looked up since it was forgotten.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// How often it was forgotten: an answer to a question from before is of no use.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether an operator runs a volatile function.
    pub fn has_volatile(&self, operator: &str) -> bool {
        self.operators.contains(operator)
    }

    /// Whether a cast runs a volatile function.
    pub fn has_volatile_cast(&self) -> bool {
        self.cast
    }

    /// Calls that a statement may make without a word of them.
    pub fn unwritten(&self) -> impl Iterator<Item = &str> {
        self.unwritten.iter().map(String::as_str)
    }

    /// Whether a function runs at each change of the schema.
    pub fn has_event_trigger(&self) -> bool {
        self.event_trigger
    }

    /// Take over what the server said of some names: rows of name, kind, value. A name without a row changes nothing.
    pub fn learn<'r>(
        &mut self,
        context: u16,
        names: impl IntoIterator<Item = String>,
        rows: impl IntoIterator<Item = (&'r str, &'r str, &'r str)>,
    ) {
        if self.names.len() >= NAMES_MAX {
            self.forget();
        }
        for name in names {
            self.names.insert((context, name), Facts::default());
        }
        self.is_loaded = true;
        for (name, kind, value) in rows {
            match kind {
                "operator" => {
                    self.operators.insert(name.to_owned());
                    continue;
                }
                "unwritten" => {
                    self.unwritten.insert(value.to_owned());
                    continue;
                }
                "cast" => self.cast = true,
                "event trigger" => self.event_trigger = true,
                _ => {}
            }
            let Some(facts) = self.names.get_mut(&(context, name.to_owned())) else { continue };
            let value = value.to_owned();
            match kind {
                "function" => facts.functions.push(value),
                "function of a row" => facts.of_rows.push(value),
                "read" => facts.read.push(value),
                "written" => facts.written.push(value),
                "cascade" => facts.cascade.push(value),
                "trigger" => facts.triggers.push(value),
                "unreadable" => facts.unreadable = Some(value),
                "unwritable" => facts.unwritable = Some(value),
                _ => {}
            }
        }
    }

    /// Forget the names of one context, whose session has ended.
    pub fn forget_context(&mut self, context: u16) {
        self.names.retain(|(known, _), _| *known != context);
    }

    /// Forget everything: somebody has changed the schema, or may have.
    pub fn forget(&mut self) {
        let generation = self.generation + 1;
        *self = Self { generation, ..Self::default() };
    }
}

/// A name in a context, as it is looked up.
#[derive(Hash)]
struct Asked<'n>(u16, &'n str);

impl Equivalent<(u16, String)> for Asked<'_> {
    fn equivalent(&self, key: &(u16, String)) -> bool {
        self.0 == key.0 && self.1 == key.1
    }
}
