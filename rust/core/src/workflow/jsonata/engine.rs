//! jsonata-core around which all this is: a parsed program, and a session that evaluates programs on one set of values.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{CancelToken, Context, Evaluator, EvaluatorError, EvaluatorOptions};
use jsonata_core::parser;
use jsonata_core::value::JValue;
use serde_json::{Map, Value};

use super::contained::contain;
use super::convert::{object, to_json, to_jsonata, MEMORY};
use super::guarded::{guarded, Function, Guarded, ENDS, GUARDED, OPERATORS};
use super::rewrite::{self, Facts};
use super::{functions, Bindings, Guards};
use crate::workflow::scope::Entropy;

pub(super) const TIMEOUT: &str = "Expression evaluation timeout: Check for infinite loop";

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Program {
    ast: AstNode,
    pub(super) facts: Arc<Facts>,
}

/// Why an evaluation has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A function, a regular expression.
    Unsupported,
    /// JSONata's error: its code and message.
    Coded(String),
    /// A limit, in AWS's words where it has them.
    Limit(String),
    /// jsonata-core panicked.
    Broken(String),
}

impl Program {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        contain(|| Self::read(text))?
    }

    fn read(text: &str) -> Result<Self, String> {
        let mut ast = parser::parse(text).map_err(|error| coded(&error.to_string()))?;
        let facts = Arc::new(rewrite::survey(&mut ast));
        Ok(Self { ast, facts })
    }

    /// What Step Functions refuse of the language, in AWS's words.
    pub(super) fn unsupported(&self) -> Option<String> {
        self.facts.unsupported.clone()
    }
}

/// The random numbers of one session. They start from 128 bits, drawn only where a program needs them.
pub(super) struct Draws([u64; 2]);

impl Draws {
    pub(super) fn new(programs: &[&Program], entropy: &mut dyn Entropy) -> Self {
        let is_random = ["random", "uuid", "shuffle"].into_iter().any(|name| reads(programs, name));
        Self(if is_random { [entropy.next_u64(), entropy.next_u64()] } else { [0, 0] })
    }
}

fn reads(programs: &[&Program], name: &str) -> bool {
    programs.iter().any(|program| program.facts.variables.contains(name))
}

impl Entropy for Draws {
    /// `SplitMix64` on each half in turn.
    fn next_u64(&mut self) -> u64 {
        let [first, second] = self.0;
        let next = first.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0 = [second, next];
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// What functions of one session share.
pub(super) struct Shared {
    pub(super) guards: Guards,
    pub(super) now_ms: i64,
    pub(super) draws: RefCell<Draws>,
    /// Bytes that may still be built.
    pub(super) left: RefCell<usize>,
    /// What the next call of a guarded function by its value takes for an argument that is left out.
    pub(super) context: RefCell<JValue>,
    /// Names of variables that hide a function.
    hidden: Vec<String>,
    /// Ends the evaluation when nobody waits for it any more.
    pub(super) cancel: CancelToken,
}

/// Values made ready for one or more programs.
pub(super) struct Session {
    evaluator: Evaluator,
    shared: Rc<Shared>,
    root: JValue,
}

impl Session {
    /// Make ready what the programs read, and nothing else.
    pub(super) fn open(
        programs: &[&Program],
        bindings: &Bindings<'_>,
        guards: &Guards,
        draws: Draws,
        cancel: CancelToken,
    ) -> Self {
        let mut hidden = bindings.variables.keys().filter(|name| reads(programs, name)).cloned().collect::<Vec<_>>();
        hidden.retain(|name| guarded(name).is_some());
        let left = RefCell::new(guards.built_bytes_max);
        let shared = Rc::new(Shared {
            guards: *guards,
            now_ms: bindings.now_ms,
            draws: RefCell::new(draws),
            left,
            context: RefCell::new(JValue::Undefined),
            hidden,
            cancel,
        });
        let mut context = Context::new();
        for (name, value) in bindings.variables {
            if reads(programs, name) {
                let bound = guarded(name).map_or(name.as_str(), |guarded| guarded.value);
                context.bind(bound.to_owned(), to_jsonata(value));
            }
        }
        if reads(programs, "states") {
            let fields = states(programs, bindings.states).map(|(name, field)| (name.clone(), to_jsonata(field)));
            context.bind("states".to_owned(), object(fields));
        }
        let mut evaluator = Evaluator::with_options(context, options(&shared));
        register(&mut evaluator, &all_facts(programs), &shared);
        Self { evaluator, shared, root: JValue::Undefined }
    }

    /// The program's value; `None` if it is undefined. After a failure the session is used no more.
    pub(super) fn run(&mut self, program: &Program) -> Result<Option<Value>, Failure> {
        contain(|| self.evaluate(program)).map_err(Failure::Broken)?
    }

    fn evaluate(&mut self, program: &Program) -> Result<Option<Value>, Failure> {
        let value = self.evaluator.evaluate(&program.ast, &self.root).map_err(|error| failure(&error))?;
        match value {
            JValue::Undefined => Ok(None),
            value => to_json(&value, self.shared.guards.value_bytes_max).map(Some),
        }
    }

    /// Give programs a function of a test's own.
    #[cfg(test)]
    pub(super) fn with_function(
        mut self,
        name: &str,
        function: fn(&[JValue]) -> Result<JValue, EvaluatorError>,
    ) -> Self {
        self.evaluator.register_fn(name, function).unwrap();
        self
    }

    /// Evaluate on a document, as the language's own test suite does.
    #[cfg(test)]
    pub(super) fn with_root(mut self, root: JValue) -> Self {
        self.root = root;
        self
    }
}

pub(super) fn options(shared: &Shared) -> EvaluatorOptions {
    EvaluatorOptions {
        timeout_ms: Some(shared.guards.time_ms_max),
        cancel: Some(shared.cancel.clone()),
        max_stack_depth: Some(shared.guards.depth_max),
        max_sequence_length: Some(shared.guards.sequence_items_max),
    }
}

/// What programs use between them. They have one set of functions, and a function that is given another one must find what that one calls,
/// whichever program gave it.
fn all_facts(programs: &[&Program]) -> Arc<Facts> {
    if let [program] = programs {
        return Arc::clone(&program.facts);
    }
    let mut all = Facts::default();
    for program in programs {
        all.variables.extend(program.facts.variables.iter().cloned());
        all.guards.extend(&program.facts.guards);
    }
    Arc::new(all)
}

/// Give the evaluator the functions that programs use and jsonata-core lacks, or lacks a guard in.
pub(super) fn register(evaluator: &mut Evaluator, facts: &Arc<Facts>, shared: &Rc<Shared>) {
    let mut give = |name: &str, function: Given| {
        let (shared, facts) = (Rc::clone(shared), Arc::clone(facts));
        let call = move |arguments: &[JValue]| match function {
            Given::Plain(function) => function(arguments, &shared, &facts),
            Given::Value(guarded) => guarded.call_value(arguments, &shared, &facts),
        };
        // Only a function that the fast path inlines is refused, and none of these is.
        let is_registered = evaluator.register_fn_override(name, call);
        debug_assert!(is_registered.is_ok(), "{name} cannot be replaced");
    };
    let operators = OPERATORS.iter().filter(|(name, _)| facts.guards.contains(name));
    for (name, function) in functions::ALL.iter().filter(|(name, _)| facts.variables.contains(*name)).chain(operators) {
        give(name, Given::Plain(*function));
    }
    for guarded in GUARDED.iter().filter(|guarded| facts.variables.contains(guarded.name)) {
        let is_hidden = shared.hidden.iter().any(|name| name == guarded.name);
        give(guarded.call, Given::Plain(if is_hidden { functions::no_function } else { guarded.function }));
        give(guarded.value, Given::Value(guarded));
    }
}

enum Given {
    Plain(Function),
    Value(&'static Guarded),
}

/// The fields of `$states` that the programs name.
fn states<'v>(programs: &'v [&Program], states: &'v Value) -> impl Iterator<Item = (&'v String, &'v Value)> {
    let reads_all = programs.iter().any(|program| program.facts.reads_whole_states);
    let fields = states.as_object().into_iter().flatten();
    fields.filter(move |(name, _)| {
        reads_all || programs.iter().any(|program| program.facts.states_fields.contains(*name))
    })
}

/// Copy what the programs read of their bindings.
pub(super) fn read(programs: &[&Program], bindings: &Bindings<'_>) -> (Value, Map<String, Value>) {
    let copy = |(name, value): (&String, &Value)| (name.clone(), value.clone());
    let variables = bindings.variables.iter().filter(|(name, _)| reads(programs, name)).map(copy).collect();
    (Value::Object(states(programs, bindings.states).map(copy).collect()), variables)
}

/// jsonata-core's error in AWS's words.
fn failure(error: &EvaluatorError) -> Failure {
    let message = &error.message().replace(ENDS, "");
    if let Some(limit) = message.strip_prefix(LIMIT) {
        return Failure::Limit(limit.to_owned());
    }
    match error.code() {
        Some("D1012" | "U1003") => Failure::Limit(TIMEOUT.to_owned()),
        Some("D1011" | "U1001") => Failure::Limit(
            "Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive"
                .to_owned(),
        ),
        Some("D2014" | "D2015") => Failure::Limit(MEMORY.to_owned()),
        _ => Failure::Coded(coded(message)),
    }
}

/// A message from its code on. jsonata-core puts words of its own before some.
fn coded(message: &str) -> String {
    let is_code = |part: &str| {
        let (letter, digits) = part.split_at_checked(1).unwrap_or_default();
        letter.bytes().all(|each| each.is_ascii_uppercase())
            && digits
                .split_once(':')
                .is_some_and(|(code, _)| code.len() == 4 && code.bytes().all(|each| each.is_ascii_digit()))
    };
    if message == "Unclosed comment" {
        return "S0106: Comment has no closing tag".to_owned();
    }
    let rest = message.split_once(": ").map(|(_, rest)| rest);
    rest.filter(|rest| !is_code(message) && is_code(rest)).unwrap_or(message).to_owned()
}

/// What marks a limit's message on its way through the evaluator.
const LIMIT: &str = "\u{0}";

impl From<Failure> for EvaluatorError {
    fn from(failure: Failure) -> Self {
        Self::EvaluationError(match failure {
            Failure::Unsupported => "returned an unsupported result type".to_owned(),
            Failure::Coded(message) | Failure::Broken(message) => message,
            Failure::Limit(message) => format!("{LIMIT}{message}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u64);

    impl Entropy for Counting {
        fn next_u64(&mut self) -> u64 {
            self.0 += 1;
            self.0
        }
    }

    /// Chance costs a call of the system: most programs have none.
    #[test]
    fn random_numbers_are_drawn_for_programs_that_need_them() {
        for (text, draws) in [
            ("$a + 1", 0),
            ("$random()", 2),
            ("$uuid()", 2),
            ("$map($a, $shuffle)", 2),
            ("'$random()'", 0),
            ("$a.random", 0),
        ] {
            let mut entropy = Counting(0);
            let program = Program::parse(text).unwrap();
            Draws::new(&[&program], &mut entropy);
            assert_eq!(entropy.0, draws, "{text}");
        }
    }

    /// The numbers that `SplitMix64` is known to give for 1234567 and for 0.
    #[test]
    fn random_numbers_are_those_of_both_halves_in_turn() {
        let mut draws = Draws([1_234_567, 0]);
        for expected in [
            6_457_827_717_110_365_317,
            0xe220_a839_7b1d_cdaf,
            3_203_168_211_198_807_973,
            0x6e78_9e6a_a1b9_65f4,
            9_817_491_932_198_370_423,
            0x06c4_5d18_8009_454f,
        ] {
            assert_eq!(draws.next_u64(), expected);
        }
    }

    #[test]
    fn a_message_begins_with_its_code() {
        for (message, expected) in [
            ("T0410: Argument 1: of none", "T0410: Argument 1: of none"),
            ("Type error: T2001: The left side", "T2001: The left side"),
            ("Type error: the left side", "Type error: the left side"),
            ("Type error: t2001: The left side", "Type error: t2001: The left side"),
            ("Type error: T201: The left side", "Type error: T201: The left side"),
            ("Type error: T201a: The left side", "Type error: T201a: The left side"),
            ("Type error: T2001", "Type error: T2001"),
            ("D3137: T2001: its own", "D3137: T2001: its own"),
            ("Unclosed comment", "S0106: Comment has no closing tag"),
            ("\u{e9}: ", "\u{e9}: "),
            ("", ""),
        ] {
            assert_eq!(coded(message), expected);
        }
    }
}
