//! The judge of statements for Python's pool: one call a statement, and what it was told is remembered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_core::session::mysql::Mode;
use forebay_core::session::{self as core, Beside, Catalogue, CleanFunctions, Dialect, Judged, Verdict};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::errors::invalid;

/// Longer texts are judged each time.
const TEXT_BYTES_MAX: usize = 16_384;
/// Texts, and bytes of them, in each half of what is remembered.
const TEXTS_MAX: usize = 5_000;
const BYTES_MAX: usize = 8 << 20;
/// Modes and databases that are told apart.
const CONTEXTS_MAX: usize = 10_000;
/// What is in no context: nothing is known of it.
const UNKNOWN: u16 = u16::MAX;

/// Judges statements, and remembers the verdicts by their texts.
#[pyclass(frozen, module = "forebay._core", name = "StatementJudge")]
pub(crate) struct StatementJudge {
    is_mysql: bool,
    /// Makes a verdict of Python's.
    make: Py<PyAny>,
    clean: CleanFunctions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    catalogue: Catalogue,
    /// How a text is read and whose names it has, by number; a client's session is in one of them.
    contexts: Vec<(Dialect, String)>,
    young: Remembered,
    old: Remembered,
}

#[derive(Default)]
struct Remembered {
    /// By context and what is beside the text.
    verdicts: HashMap<u32, HashMap<String, Py<PyAny>>>,
    texts: usize,
    bytes: usize,
}

impl Remembered {
    fn get(&self, key: u32, text: &str) -> Option<&Py<PyAny>> {
        self.verdicts.get(&key)?.get(text)
    }

    fn is_full(&self) -> bool {
        self.texts >= TEXTS_MAX || self.bytes >= BYTES_MAX
    }

    /// Its texts go on being counted: the half is emptied a little earlier.
    fn forget_context(&mut self, context: u16) {
        self.verdicts.retain(|key, _| key >> 2 != u32::from(context));
    }

    fn put(&mut self, key: u32, text: &str, verdict: Py<PyAny>) {
        self.texts += 1;
        self.bytes += text.len();
        self.verdicts.entry(key).or_default().insert(text.to_owned(), verdict);
    }
}

impl StatementJudge {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dialect(&self, mode: &str) -> Dialect {
        if self.is_mysql {
            Dialect::Mysql(Mode::parse(mode))
        } else {
            Dialect::Postgres { standard_strings: mode != "off" }
        }
    }

    fn made(&self, py: Python<'_>, verdict: &Verdict, needs: &[String]) -> PyResult<Py<PyAny>> {
        let tuple = |items: &[String]| PyTuple::new(py, items).map(Bound::into_any);
        let pairs =
            |items: &[(String, String)]| PyTuple::new(py, items.iter().map(|(a, b)| (a, b))).map(Bound::into_any);
        let flag = |value: bool| pyo3::types::PyBool::new(py, value).to_owned().into_any();
        let fields = [
            tuple(&verdict.pins)?,
            tuple(&verdict.unpins)?,
            pairs(&verdict.locks)?,
            tuple(&verdict.fixes)?,
            pairs(&verdict.sets)?,
            tuple(&verdict.unsets)?,
            pairs(&verdict.local)?,
            PyString::new(py, verdict.transaction.word()).into_any(),
            flag(verdict.chains),
            flag(verdict.reads_session),
            flag(verdict.repeatable),
            flag(verdict.must_close),
            flag(verdict.changes_schema),
            tuple(needs)?,
        ];
        let named = PyDict::new(py);
        named.set_item("uses_sequence", verdict.uses_sequence)?;
        named.set_item("writes_session", verdict.writes_session)?;
        Ok(self.make.bind(py).call(PyTuple::new(py, fields)?, Some(&named))?.unbind())
    }
}

#[pymethods]
impl StatementJudge {
    #[new]
    fn new(engine: &str, make: Py<PyAny>, clean_functions: Vec<String>) -> Self {
        let is_mysql = engine == "mysql";
        let own = |name: String| if is_mysql { name.to_lowercase() } else { name };
        let judge = Self {
            is_mysql,
            make,
            clean: CleanFunctions::new(clean_functions.into_iter().map(own)),
            state: Mutex::default(),
        };
        judge.rebase("", "");
        judge
    }

    /// Judge a text in a context, with arguments or a `COPY`'s rows beside it (`"in"`, `"out"`). With names that must be looked
    /// up first, it is not a verdict yet.
    #[pyo3(signature = (sql, context=0, has_arguments=false, rows=None, /))]
    fn judge(
        &self,
        py: Python<'_>,
        sql: &Bound<'_, PyAny>,
        context: u16,
        has_arguments: bool,
        rows: Option<&str>,
    ) -> PyResult<Py<PyAny>> {
        let Ok(sql) = sql.cast::<PyString>() else {
            return Err(invalid(format!("a statement is a str, not {}", sql.get_type().name()?)));
        };
        let Ok(text) = sql.to_str() else {
            return Err(invalid("a statement with a lone surrogate is not text that can be sent"));
        };
        let beside = match rows {
            Some("in") => Beside::RowsIn,
            Some(_) => Beside::RowsOut,
            None if has_arguments && self.is_mysql => Beside::Arguments,
            None => Beside::Nothing,
        };
        let key = u32::from(context) << 2 | beside as u32;
        let state = self.state();
        if let Some(found) = state.young.get(key, text) {
            return Ok(found.clone_ref(py));
        }
        let known = state.old.get(key, text).map(|found| found.clone_ref(py));
        let judged = match (&known, state.contexts.get(usize::from(context))) {
            (None, Some(&(dialect, _))) => {
                core::Judge { dialect, context, catalogue: &state.catalogue, clean: &self.clean }.judge(text, beside)
            }
            _ => Judged::Verdict(Verdict::unknown()),
        };
        let generation = state.catalogue.generation();
        drop(state); // Python's code may let another thread run, which must find it free
        let verdict = match (known, judged) {
            (Some(known), _) => known,
            (None, Judged::Refused(reason)) => return Err(invalid(reason)),
            (None, Judged::Needs(names)) => {
                return self.made(py, &Verdict::undecided(), &names.into_iter().collect::<Vec<_>>())
            }
            (None, Judged::Verdict(verdict)) => self.made(py, &verdict, &[])?,
        };
        let mut state = self.state();
        if text.len() <= TEXT_BYTES_MAX && state.catalogue.generation() == generation {
            if state.young.is_full() {
                state.old = std::mem::take(&mut state.young);
            }
            state.young.put(key, text, verdict.clone_ref(py));
        }
        Ok(verdict)
    }

    /// The number of a context: how texts are read, and the current database. Without them, those of a new connection.
    #[pyo3(signature = (mode=None, database=None, /))]
    fn context(&self, mode: Option<&str>, database: Option<&str>) -> u16 {
        let mut state = self.state();
        let (dialect, base) = &state.contexts[0];
        let dialect = mode.map_or(*dialect, |mode| self.dialect(mode));
        let own = (dialect, database.unwrap_or(base).to_owned());
        if let Some(known) = state.contexts.iter().position(|known| *known == own) {
            return u16::try_from(known).unwrap_or(UNKNOWN);
        }
        if state.contexts.len() >= CONTEXTS_MAX {
            return UNKNOWN;
        }
        state.contexts.push(own);
        u16::try_from(state.contexts.len() - 1).unwrap_or(UNKNOWN)
    }

    /// The current database of a context.
    fn database(&self, context: u16) -> String {
        self.state().contexts.get(usize::from(context)).map_or_else(String::new, |known| known.1.clone())
    }

    /// Take note how a new connection reads its texts, and of its database. Both are what context 0 is.
    fn rebase(&self, mode: &str, database: &str) {
        let own = (self.dialect(mode), database.to_owned());
        let mut state = self.state();
        match state.contexts.first_mut() {
            Some(base) if *base == own => return,
            Some(base) => *base = own,
            None => state.contexts.push(own),
        }
        forget(&mut state);
    }

    /// How often everything was forgotten: an answer to a question from before is not taken.
    fn generation(&self) -> u64 {
        self.state().catalogue.generation()
    }

    /// Take over what the server's catalogue says of some names: rows of name, kind and value.
    #[allow(clippy::needless_pass_by_value, reason = "what crosses is made anew, so it is handed over")]
    fn learn(&self, generation: u64, context: u16, names: Vec<String>, rows: Vec<(String, String, String)>) {
        let mut state = self.state();
        if state.catalogue.generation() == generation {
            let rows = rows.iter().map(|(name, kind, value)| (&**name, &**kind, &**value));
            state.catalogue.learn(context, names, rows);
        }
    }

    /// Forget what the catalogue said, and all verdicts with it: the schema was changed, or may have been. Of one context
    /// alone, when its session has ended whose names it had.
    #[pyo3(signature = (context=None, /))]
    fn forget(&self, context: Option<u16>) {
        let mut state = self.state();
        match context {
            None => forget(&mut state),
            Some(context) => {
                state.catalogue.forget_context(context);
                state.young.forget_context(context);
                state.old.forget_context(context);
            }
        }
    }

    /// A statement for people, without its literals: how long these are, its context says.
    #[pyo3(signature = (sql, context=0, /))]
    fn digest(&self, sql: &str, context: u16) -> String {
        let dialect = self.state().contexts.get(usize::from(context)).map(|known| known.0);
        dialect.map_or_else(|| "a text that cannot be read".to_owned(), |dialect| core::digest(sql, dialect))
    }
}

/// The statements of a text, without the semicolons between them; None if it cannot be read to its end.
#[pyfunction]
pub(crate) fn split_statements(engine: &str, text: &str) -> Option<Vec<String>> {
    let dialect = match engine {
        "mysql" => Dialect::Mysql(Mode::default()),
        _ => Dialect::Postgres { standard_strings: true },
    };
    core::split(text, dialect).map(|parts| parts.into_iter().map(str::to_owned).collect())
}

fn forget(state: &mut State) {
    state.catalogue.forget();
    (state.young, state.old) = (Remembered::default(), Remembered::default());
}
