//! Reads a definition as JSON and finds all its problems; nothing is built here.

use serde_json::{Map, Value};

use super::problem::{Bound, Fault, Problem};
use super::resource::{Pattern, Resource};
use super::schema::{self, Kind, Range, Schema};
use super::{graph, syntax, MachineType, QueryLanguage};
use crate::workflow::choice::NESTING_MAX;

/// Most characters of a state's name.
pub const STATE_NAME_MAX: usize = 80;
/// Most characters of a Map state's label.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html>
const LABEL_MAX: usize = 40;
/// Most characters of a variable's name.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html>
const VARIABLE_NAME_MAX: usize = 80;
/// The variable that JSONata states have.
const RESERVED_VARIABLE: &str = "states";
/// What it has in some fields only: of what has succeeded, and of what a catcher has caught.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html>
const RESULT: &str = "result";
const ERROR_OUTPUT: &str = "errorOutput";
const STATES_GIVEN: [&str; 2] = [RESULT, ERROR_OUTPUT];
/// Problems that are listed; a definition with more is as wrong.
pub const PROBLEMS_MAX: usize = 100;

/// Whose rules are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// What `CreateStateMachine` refuses.
    Aws(MachineType),
    /// What statelint reports.
    Lint,
}

type Object = Map<String, Value>;

/// A definition's problems while it is walked.
pub(super) struct Checker {
    dialect: Dialect,
    machine_language: QueryLanguage,
    /// What `$states` has in `Output` and `Assign` of the object that is walked, beside what it has everywhere.
    gives: Option<&'static str>,
    /// What it has so in the field that is walked.
    given: Option<&'static str>,
    problems: Vec<Problem>,
}

/// All problems of a machine.
pub(super) fn machine(machine: &Object, dialect: Dialect) -> Vec<Problem> {
    let machine_language = language(machine, QueryLanguage::JsonPath);
    let mut checker = Checker::new(dialect, machine_language);
    checker.object("/", machine, &schema::machine(), machine_language);
    checker.states("", machine, machine_language);
    let mut problems = checker.problems;
    if problems.is_empty() || dialect == Dialect::Lint {
        let left = PROBLEMS_MAX.saturating_sub(problems.len());
        problems.extend(graph::check(machine, dialect).into_iter().take(left));
    }
    problems
}

/// The problems of one state, as one of a machine that has no other.
pub(super) fn state(name: &str, state: &Object) -> Vec<Problem> {
    let language = QueryLanguage::JsonPath;
    let dialect = Dialect::Aws(MachineType::Standard);
    let mut checker = Checker::new(dialect, language);
    checker.state(&format!("/States/{name}"), state, language);
    checker.problems
}

/// The language of an object that may name one.
pub(super) fn language(object: &Object, inherited: QueryLanguage) -> QueryLanguage {
    match object.get("QueryLanguage").and_then(Value::as_str) {
        Some("JSONata") => QueryLanguage::Jsonata,
        Some("JSONPath") => QueryLanguage::JsonPath,
        _ => inherited,
    }
}

/// `place` with a field below it.
fn below(place: &str, field: &str) -> String {
    if place == "/" {
        format!("/{field}")
    } else {
        format!("{place}/{field}")
    }
}

impl Checker {
    fn new(dialect: Dialect, machine_language: QueryLanguage) -> Self {
        Self { dialect, machine_language, gives: None, given: None, problems: Vec::new() }
    }

    fn is_lint(&self) -> bool {
        self.dialect == Dialect::Lint
    }

    fn add(&mut self, place: &str, fault: Fault) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { fault, location: place.to_owned() });
        }
    }

    /// One object against its schema.
    fn object(&mut self, place: &str, object: &Object, schema: &Schema, language: QueryLanguage) {
        let missing: Vec<String> = schema
            .required
            .iter()
            .filter(|name| !object.contains_key(**name))
            .filter(|name| !(self.is_lint() && **name == "Resource"))
            .map(|name| (*name).to_owned())
            .collect();
        if !missing.is_empty() {
            self.add(place, Fault::Required(missing));
        }
        for group in &schema.one_of {
            match group.iter().filter(|name| object.contains_key(**name)).count() {
                0 => self.add(place, Fault::RequiredOneOf(group.to_vec())),
                1 => {}
                _ => self.add(place, Fault::OnlyOneOf(group.to_vec())),
            }
        }
        for group in &schema.at_most_one {
            if group.iter().filter(|name| object.contains_key(**name)).count() > 1 {
                self.add(place, Fault::OnlyOneOf(group.to_vec()));
            }
        }
        for (name, value) in object {
            match schema.fields.iter().find(|(field, _)| field == name) {
                Some((_, kind)) => {
                    let place = below(place, name);
                    self.given = self.gives.filter(|_| matches!(name.as_str(), "Output" | "Assign"));
                    self.value(&place, name, value, *kind, language);
                    if name == "Assign" && !self.is_lint() {
                        self.variables(&place, value, language);
                    }
                }
                None => self.add(place, Fault::Unsupported(name.clone())),
            }
        }
        self.given = None;
    }

    /// The names of the variables that are assigned: no expression can read one that is no identifier.
    fn variables(&mut self, place: &str, assigned: &Value, language: QueryLanguage) {
        for field in assigned.as_object().into_iter().flat_map(Object::keys) {
            let path = field.strip_suffix(".$").filter(|_| language == QueryLanguage::JsonPath);
            let name = path.unwrap_or(field);
            if name == RESERVED_VARIABLE {
                self.add(&below(place, field), Fault::ReservedVariable(name.to_owned()));
            } else if !is_variable_name(name) {
                self.add(&below(place, field), Fault::VariableName(name.to_owned()));
            }
        }
    }

    /// A field's value against its kind.
    fn value(&mut self, place: &str, name: &str, value: &Value, kind: Kind, language: QueryLanguage) {
        let is_jsonata = language == QueryLanguage::Jsonata;
        if is_jsonata && kind.takes_expression() {
            if let Some(text) = value.as_str().filter(|text| syntax::has_marks(text)) {
                return self.expression(place, text);
            }
        }
        match kind {
            Kind::Any | Kind::Template if is_jsonata => self.expressions(place, value),
            Kind::Any => {}
            Kind::Template => self.template(place, value),
            Kind::Text | Kind::TextOrExpression => self.typed(place, value, value.is_string(), "a String"),
            Kind::Bool => self.typed(place, value, value.is_boolean(), "a Boolean"),
            Kind::Object | Kind::ObjectOrExpression => {
                self.typed(place, value, value.is_object(), "an Object");
                if is_jsonata && kind == Kind::ObjectOrExpression {
                    self.expressions(place, value);
                }
            }
            Kind::List | Kind::ListOrExpression => self.typed(place, value, value.is_array(), "an Array"),
            Kind::FullList => {
                self.typed(place, value, value.is_array(), "an Array");
                if value.as_array().is_some_and(Vec::is_empty) {
                    self.add(place, Fault::Empty);
                }
            }
            Kind::Integer(range) | Kind::PlainInteger(range) => self.number(place, value, true, range),
            Kind::Number(range) | Kind::PlainNumber(range) => self.number(place, value, false, range),
            Kind::Enum(allowed) => {
                if !value.as_str().is_some_and(|text| allowed.contains(&text)) {
                    self.add(place, Fault::NotAllowed(name.to_owned(), allowed));
                }
            }
            Kind::Timestamp => {
                if !value.as_str().is_some_and(syntax::is_timestamp) {
                    self.add(place, Fault::NotTimestamp(value.to_string()));
                }
            }
            Kind::Resource => self.resource(place, value),
            Kind::NullablePath | Kind::NullableReferencePath if value.is_null() => {}
            Kind::Path | Kind::NullablePath => self.path(place, value, "a JSONPath", syntax::is_path),
            Kind::ReferencePath | Kind::NullableReferencePath => {
                self.path(place, value, "a Reference Path", syntax::is_reference_path);
            }
            Kind::ReferencePathOrFunction => {
                let expected = "a Reference Path or an Intrinsic Function";
                self.path(place, value, expected, |text| syntax::is_path(text) || syntax::is_intrinsic(text));
            }
        }
    }

    fn typed(&mut self, place: &str, value: &Value, is_right: bool, expected: &'static str) {
        if !is_right {
            self.add(place, Fault::WrongType(value.to_string(), expected));
        }
    }

    fn number(&mut self, place: &str, value: &Value, is_whole: bool, range: Range) {
        let is_right = if is_whole { value.is_i64() || value.is_u64() } else { value.is_number() };
        let Some(number) = value.as_f64().filter(|_| is_right) else {
            let expected = if is_whole { "an Integer" } else { "numeric" };
            return self.add(place, Fault::WrongType(value.to_string(), expected));
        };
        let Range { least, most, is_exclusive } = range;
        let is_below = if is_exclusive { number <= least as f64 } else { number < least as f64 };
        if is_below || number > most as f64 {
            let limit = if is_below { least } else { most };
            let (is_upper, is_exclusive) = (!is_below, is_below && is_exclusive);
            let bound = Bound { value: value.to_string(), limit, is_upper, is_exclusive, is_whole };
            self.add(place, Fault::OutOfRange(bound));
        }
    }

    fn path(&mut self, place: &str, value: &Value, expected: &'static str, is_right: impl Fn(&str) -> bool) {
        match value.as_str() {
            None => self.add(place, Fault::WrongType(value.to_string(), expected)),
            Some(text) if is_right(text) => {}
            Some(text) => self.add(place, Fault::NotPath(text.to_owned(), expected)),
        }
    }

    fn resource(&mut self, place: &str, value: &Value) {
        let Some(text) = value.as_str() else {
            return self.add(place, Fault::WrongType(value.to_string(), "a String"));
        };
        let Dialect::Aws(machine) = self.dialect else {
            let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
            if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_lowercase()) {
                self.add(place, Fault::NotResource(text.to_owned()));
            }
            return;
        };
        let Some(resource) = Resource::parse(text) else {
            return self.add(place, Fault::NotResource(text.to_owned()));
        };
        if machine == MachineType::Express {
            if let Some(what) = standard_only(&resource) {
                self.add(place, Fault::ExpressOnly(what.to_owned()));
            }
        }
    }

    /// A payload template: names that end in `.$` hold a path or an intrinsic function.
    fn template(&mut self, place: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if !name.ends_with(".$") {
                        self.template(&below(place, name), value);
                    } else if !value.as_str().is_some_and(|text| syntax::is_path(text) || syntax::is_intrinsic(text)) {
                        self.add(place, Fault::NotTemplate(name.clone()));
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.template(&format!("{place}[{index}]"), item);
                }
            }
            _ => {}
        }
    }

    /// The expressions inside a value of a JSONata state.
    fn expressions(&mut self, place: &str, value: &Value) {
        match value {
            Value::String(text) if syntax::has_marks(text) => self.expression(place, text),
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.expressions(&below(place, name), value);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.expressions(&format!("{place}[{index}]"), item);
                }
            }
            _ => {}
        }
    }

    fn expression(&mut self, place: &str, text: &str) {
        if !syntax::is_expression(text) {
            return self.add(place, Fault::NotMarked);
        }
        let read = STATES_GIVEN.into_iter().filter(|name| syntax::reads_of_states(text, name));
        for name in read.filter(|name| self.given != Some(*name) && !self.is_lint()).collect::<Vec<_>>() {
            self.add(place, Fault::NotGiven(name));
        }
        if let Err(problem) = syntax::check_expression(text) {
            self.add(place, Fault::Expression(problem.code, problem.message));
        }
    }

    /// The states of a machine, a branch or a processor, at `place`.
    fn states(&mut self, place: &str, flow: &Object, language: QueryLanguage) {
        let Some(states) = flow.get("States").and_then(Value::as_object) else { return };
        if states.is_empty() {
            self.add(&format!("{place}/States"), Fault::Empty);
        }
        for (name, state) in states {
            let place = format!("{place}/States/{name}");
            if name.is_empty() || name.chars().count() > STATE_NAME_MAX {
                self.add(&place, Fault::StateName(name.clone()));
            }
            match state.as_object() {
                Some(state) => self.state(&place, state, language),
                None => self.add(&place, Fault::WrongType(state.to_string(), "an Object")),
            }
        }
    }

    fn state(&mut self, place: &str, state: &Object, inherited: QueryLanguage) {
        let language = language(state, inherited);
        if language == QueryLanguage::JsonPath && self.machine_language == QueryLanguage::Jsonata {
            self.add(&below(place, "QueryLanguage"), Fault::PathInJsonata);
        }
        let kind = match state.get("Type") {
            Some(Value::String(kind)) if schema::STATE_TYPES.contains(&kind.as_str()) => kind.as_str(),
            Some(_) => return self.add(&below(place, "Type"), Fault::NotAllowed("Type".into(), schema::STATE_TYPES)),
            None => return self.add(place, Fault::Required(vec!["Type".into()])),
        };
        self.gives = matches!(kind, "Task" | "Parallel" | "Map").then_some(RESULT);
        self.object(place, state, &schema::state(kind, language, self.is_lint()), language);
        self.gives = None;
        self.next_or_end(place, state, kind);
        self.elements(place, state, "Retry", &schema::retrier(), language);
        self.gives = Some(ERROR_OUTPUT);
        self.elements(place, state, "Catch", &schema::catcher(language), language);
        self.gives = None;
        self.error_names(place, state);
        self.credentials(place, state, language);
        if kind == "Choice" {
            self.choices(place, state, language);
        }
        if !self.is_lint() {
            self.task_times(place, state);
        }
        self.map_fields(place, state, language);
        self.flows(place, state, language);
    }

    fn next_or_end(&mut self, place: &str, state: &Object, kind: &str) {
        if matches!(kind, "Choice" | "Succeed" | "Fail") {
            return;
        }
        let is_end = state.get("End").is_some_and(|end| end != &Value::Bool(false));
        match (state.contains_key("Next"), is_end) {
            (false, false) => self.add(place, Fault::Required(vec!["Next".into()])),
            (true, true) => self.add(place, Fault::OnlyOneOf(vec!["Next", "End"])),
            _ => {}
        }
    }

    /// A condition that is a text is an expression: another text is never true or false.
    fn conditions(&mut self, place: &str, state: &Object, language: QueryLanguage) {
        let rules = state.get("Choices").and_then(Value::as_array).filter(|_| language == QueryLanguage::Jsonata);
        for (index, rule) in rules.into_iter().flatten().enumerate() {
            let condition = rule.get("Condition").and_then(Value::as_str);
            if condition.is_some_and(|text| !syntax::has_marks(text)) {
                self.add(&format!("{place}/Choices[{index}]/Condition"), Fault::NotMarked);
            }
        }
    }

    /// The states language has a heartbeat within the time that its task has.
    fn task_times(&mut self, place: &str, state: &Object) {
        let seconds = |name: &str| state.get(name).and_then(Value::as_u64);
        let times = seconds("HeartbeatSeconds").zip(seconds("TimeoutSeconds"));
        if times.is_some_and(|(heartbeat, timeout)| heartbeat >= timeout) {
            self.add(&below(place, "HeartbeatSeconds"), Fault::LateHeartbeat);
        }
    }

    /// The objects of a list against their schema.
    fn elements(&mut self, place: &str, object: &Object, name: &str, schema: &Schema, language: QueryLanguage) {
        let Some(elements) = object.get(name).and_then(Value::as_array) else { return };
        for (index, element) in elements.iter().enumerate() {
            let place = format!("{}[{index}]", below(place, name));
            match element.as_object() {
                Some(element) => self.object(&place, element, schema, language),
                None => self.add(&place, Fault::WrongType(element.to_string(), "an Object")),
            }
        }
    }

    /// `States.ALL` stands alone in its list, and in the last retrier or catcher.
    fn error_names(&mut self, place: &str, state: &Object) {
        for list in ["Retry", "Catch"] {
            let elements = state.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for (index, element) in elements.iter().enumerate() {
                let Some(names) = element.get("ErrorEquals").and_then(Value::as_array) else { continue };
                let all = names.iter().position(|name| name == "States.ALL");
                if let Some(at) = all.filter(|_| names.len() > 1 || index + 1 < elements.len()) {
                    let element = format!("{place}/{list}[{index}]");
                    let name = format!("{element}/ErrorEquals[{at}]");
                    self.add(if self.is_lint() { &element } else { &name }, Fault::AllNotAlone);
                }
                if let Some(wrong) = names.iter().find(|name| !name.is_string()) {
                    let place = format!("{place}/{list}[{index}]/ErrorEquals");
                    self.add(&place, Fault::WrongType(wrong.to_string(), "a String"));
                }
            }
        }
    }

    fn credentials(&mut self, place: &str, state: &Object, language: QueryLanguage) {
        let Some(credentials) = state.get("Credentials").and_then(Value::as_object) else { return };
        let place = below(place, "Credentials");
        let credentials = Value::Object(credentials.clone());
        match language {
            QueryLanguage::JsonPath => self.template(&place, &credentials),
            QueryLanguage::Jsonata => self.expressions(&place, &credentials),
        }
    }

    fn choices(&mut self, place: &str, state: &Object, language: QueryLanguage) {
        self.elements(place, state, "Choices", &schema::choice_rule(language, true), language);
        self.conditions(place, state, language);
        if language == QueryLanguage::Jsonata {
            return;
        }
        for (index, rule) in list(state, "Choices").iter().enumerate() {
            self.rule(&format!("{place}/Choices[{index}]"), rule, 0);
        }
    }

    /// What And, Or and Not hold inside a rule, and that a comparison has its Variable.
    fn rule(&mut self, place: &str, rule: &Value, depth: usize) {
        let Some(rule) = rule.as_object() else { return };
        if depth > NESTING_MAX {
            return self.add(place, Fault::TooDeep(NESTING_MAX));
        }
        let nested = schema::choice_rule(QueryLanguage::JsonPath, false);
        for name in ["And", "Or"] {
            self.elements(place, rule, name, &nested, QueryLanguage::JsonPath);
            for (index, inner) in list(rule, name).iter().enumerate() {
                self.rule(&format!("{place}/{name}[{index}]"), inner, depth + 1);
            }
        }
        if let Some(inner) = rule.get("Not") {
            let place = below(place, "Not");
            if let Some(fields) = inner.as_object() {
                self.object(&place, fields, &nested, QueryLanguage::JsonPath);
            }
            self.rule(&place, inner, depth + 1);
        }
        let is_combined = ["And", "Or", "Not"].iter().any(|name| rule.contains_key(*name));
        match (is_combined, rule.contains_key("Variable")) {
            (false, false) => self.add(place, Fault::Required(vec!["Variable".into()])),
            (true, true) => self.add(place, Fault::Unsupported("Variable".into())),
            _ => {}
        }
    }

    fn map_fields(&mut self, place: &str, state: &Object, language: QueryLanguage) {
        let part = |checker: &mut Self, name: &str, schema: Schema| {
            if let Some(part) = state.get(name).and_then(Value::as_object) {
                checker.object(&below(place, name), part, &schema, language);
            }
        };
        part(self, "ItemReader", schema::item_reader(language));
        part(self, "ResultWriter", schema::result_writer(language));
        part(self, "ItemBatcher", schema::item_batcher(language));
        if !self.is_lint() && !is_distributed(state) {
            for name in DISTRIBUTED_FIELDS.iter().filter(|name| state.contains_key(**name)) {
                self.add(place, Fault::Unsupported((*name).to_owned()));
            }
        }
        if self.dialect == Dialect::Aws(MachineType::Express) {
            let mode = |name: &&&str| state.get(**name).and_then(|flow| flow.get("ProcessorConfig")?.get("Mode"));
            for name in PROCESSORS.iter().filter(|name| mode(name).is_some_and(|mode| mode == "DISTRIBUTED")) {
                let what = "a Map state in DISTRIBUTED mode".to_owned();
                self.add(&format!("{place}/{name}/ProcessorConfig/Mode"), Fault::ExpressOnly(what));
            }
        }
        let label = state.get("Label").and_then(Value::as_str).filter(|_| !self.is_lint());
        if label.is_some_and(|label| label.is_empty() || label.chars().count() > LABEL_MAX) {
            self.add(&below(place, "Label"), Fault::Label(LABEL_MAX));
        }
        for (name, config, schema) in [
            ("ItemReader", "ReaderConfig", schema::reader_config(language)),
            ("ResultWriter", "WriterConfig", schema::writer_config()),
            ("ItemProcessor", "ProcessorConfig", schema::processor_config()),
            ("Iterator", "ProcessorConfig", schema::processor_config()),
        ] {
            let inner = state.get(name).and_then(|part| part.get(config)).and_then(Value::as_object);
            if let Some(inner) = inner {
                self.object(&format!("{place}/{name}/{config}"), inner, &schema, language);
            }
        }
    }

    /// The branches and the processor of a state.
    fn flows(&mut self, place: &str, state: &Object, language: QueryLanguage) {
        // statelint looks into the old Iterator alone where both are there.
        let processors = if self.is_lint() && state.contains_key("Iterator") { &["Iterator"][..] } else { PROCESSORS };
        for name in processors {
            if let Some(flow) = state.get(*name).and_then(Value::as_object) {
                let place = below(place, name);
                self.object(&place, flow, &schema::flow(true), language);
                self.states(&place, flow, language);
            }
        }
        self.elements(place, state, "Branches", &schema::flow(false), language);
        for (index, branch) in list(state, "Branches").iter().enumerate() {
            if let Some(branch) = branch.as_object() {
                self.states(&format!("{place}/Branches[{index}]"), branch, language);
            }
        }
    }
}

/// An identifier of Unicode. Those beyond ASCII may have marks, which are no letters.
fn is_variable_name(name: &str) -> bool {
    let is_first = |one: char| one.is_alphabetic() || one == '_';
    let is_mark = |one: char| !one.is_ascii() && !one.is_whitespace() && !one.is_control();
    let mut characters = name.chars();
    characters.next().is_some_and(is_first)
        && characters.all(|one| is_first(one) || one.is_numeric() || is_mark(one))
        && name.chars().count() <= VARIABLE_NAME_MAX
}

/// The fields that hold a Map state's processor.
pub(super) const PROCESSORS: &[&str] = &["ItemProcessor", "Iterator"];

/// What only a distributed Map has. An inline one may name failures to tolerate, as recorded of AWS, and tolerates none.
const DISTRIBUTED_FIELDS: &[&str] = &["ItemReader", "ItemBatcher", "ResultWriter"];

fn is_distributed(state: &Object) -> bool {
    let mut modes = PROCESSORS.iter().filter_map(|name| state.get(*name)?.get("ProcessorConfig")?.get("Mode"));
    modes.any(|mode| mode == "DISTRIBUTED")
}

/// A list among an object's fields, or nothing.
pub(super) fn list<'a>(object: &'a Object, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What an Express machine cannot call, in AWS's words; one of them has a blank at its end.
fn standard_only(resource: &Resource) -> Option<&'static str> {
    match resource {
        Resource::Activity(_) => Some("Activity ARN"),
        Resource::Service { pattern: Pattern::Sync | Pattern::Sync2, .. } => Some("'.sync' service integration"),
        Resource::Service { pattern: Pattern::WaitForTaskToken, .. } => {
            Some("'.waitForTaskToken' service integration ")
        }
        _ => None,
    }
}

impl Kind {
    /// Whether an expression may stand for a value of this kind in JSONata.
    fn takes_expression(self) -> bool {
        matches!(
            self,
            Self::TextOrExpression
                | Self::ObjectOrExpression
                | Self::ListOrExpression
                | Self::Integer(_)
                | Self::Number(_)
                | Self::Timestamp
        )
    }
}
