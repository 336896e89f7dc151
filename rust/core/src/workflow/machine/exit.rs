//! What goes into a state's work and what comes out of it: the paths and templates of JSONPath, the expressions of JSONata.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::data::{Data, DATA_MAX};
use super::failure::Failure;
use super::frame::{Frame, FrameId, Step};
use super::history::EventKind;
use super::variables::Variables;
use super::{children, context, nothing, Execution, Text, Turn};
use crate::workflow::definition::{Choice, FailBody, Io, PathField, PathIo, ResultPath, State, StateIndex, StateKind};
use crate::workflow::path::{Path, ReferencePath};
use crate::workflow::query::{Documents, Operand, Payload};
use crate::workflow::scope::{EvaluationError, Scope, DATA_LIMIT_EXCEEDED};

/// Most bytes of all variables of a frame.
pub(super) const VARIABLES_MAX: usize = 10 << 20;

/// What a state ends with.
pub(super) struct Exit<'d> {
    /// What its work brought; `None`: it passes its input on.
    result: Option<Value>,
    /// Where a Choice state goes on.
    choice: Option<ChoiceExit<'d>>,
}

struct ChoiceExit<'d> {
    next: StateIndex,
    output: Option<&'d Payload>,
    assign: Option<&'d Payload>,
}

impl Exit<'_> {
    pub(super) fn with(result: Value) -> Self {
        Self { result: Some(result), choice: None }
    }

    pub(super) fn passing_on() -> Self {
        Self { result: None, choice: None }
    }
}

pub(super) fn pass(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    result: Option<&Value>,
) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    if matches!(turn.definition.state(frame.state).io, Io::Jsonata(_)) {
        return exit_state(execution, turn, id, Exit::passing_on());
    }
    let result = match result {
        // A fixed result needs no input.
        Some(result) => {
            turn.inspect("result", result);
            result.clone()
        }
        None if turn.inspection.is_none() && passes_on(turn.definition.state(frame.state)) => {
            return exit_state(execution, turn, id, Exit::passing_on());
        }
        None => arguments(execution, turn, id, None)?,
    };
    exit_state(execution, turn, id, Exit::with(result))
}

pub(super) fn succeed(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> Result<(), Failure> {
    if turn.inspection.is_some() {
        inspect_input(execution, turn, id)?;
    }
    exit_state(execution, turn, id, Exit::passing_on())
}

pub(super) fn choose(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    choice: &Choice,
) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let state = turn.definition.state(frame.state);
    let context = context::context(execution, turn, frame, None);
    let effective = turn.effective_input(state, frame, &context)?;
    let documents = Documents { root: &effective, ..turn.documents(frame, &context) };
    let exit = match choice.rules.choose(&documents, turn.entropy)? {
        Some(index) => {
            let target = &choice.targets[index];
            ChoiceExit { next: target.next, output: target.output.as_ref(), assign: target.assign.as_ref() }
        }
        None => {
            let Some(next) = choice.default else {
                // AWS fails with this instead of States.NoChoiceMatched, which its language defines.
                let cause = "Failed to transition out of the state. The state does not point to a next state.";
                return Err(EvaluationError::runtime(cause).into());
            };
            let output = match &state.io {
                Io::Jsonata(io) => io.output.as_ref(),
                Io::JsonPath(_) => None,
            };
            ChoiceExit { next, output, assign: state.assign.as_ref() }
        }
    };
    drop(context);
    exit_state(execution, turn, id, Exit { result: None, choice: Some(exit) })
}

pub(super) fn fail_state(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    fail: &FailBody,
) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let is_path = matches!(turn.definition.state(frame.state).io, Io::JsonPath(_));
    let context = context::context(execution, turn, frame, None);
    if is_path {
        turn.inspect("afterInputPath", frame.input.value());
    }
    let documents = Documents::of_input(frame.input.value(), &context, &frame.variables, turn.now_ms, turn.budget);
    let mut text = |operand: Option<&Operand>, field: &str| match operand {
        Some(operand) => operand.text(field, &documents, turn.entropy).map(Some),
        None => Ok(None),
    };
    let (error, cause) = (text(fail.error.as_ref(), "Error")?, text(fail.cause.as_ref(), "Cause")?);
    Err(Failure::of_state(super::ErrorDetails { error, cause }))
}

/// Show a JSONPath state's input behind `InputPath` to `TestState`.
fn inspect_input(execution: &Execution, turn: &mut Turn<'_>, id: FrameId) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let state = turn.definition.state(frame.state);
    let context = context::context(execution, turn, frame, None);
    turn.effective_input(state, frame, &context)?;
    Ok(())
}

/// What a state's work is given: its input behind `InputPath` and `Parameters`, or `Arguments`.
pub(super) fn arguments(
    execution: &Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    token: Option<&str>,
) -> Result<Value, Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(Value::Null) };
    let state = turn.definition.state(frame.state);
    let context = context::context(execution, turn, frame, token);
    let input = frame.input.value();
    match &state.io {
        Io::JsonPath(io) => {
            let effective = turn.effective_input(state, frame, &context)?;
            // A Map's Parameters are the old name of its ItemSelector.
            let parameters = io.parameters.as_ref().filter(|_| state.kind != StateKind::Map);
            let Some(parameters) = parameters else {
                if state.kind != StateKind::Map {
                    turn.inspect("afterParameters", &effective);
                }
                return Ok(effective.into_owned());
            };
            let documents = Documents {
                root: &effective,
                ..Documents::of_input(input, &context, &frame.variables, turn.now_ms, turn.budget)
            };
            let value = parameters.evaluate(&documents, turn.entropy)?;
            turn.inspect("afterParameters", &value);
            Ok(value)
        }
        Io::Jsonata(io) => {
            let Some(arguments) = &io.arguments else { return Ok(input.clone()) };
            let documents = Documents::of_input(input, &context, &frame.variables, turn.now_ms, turn.budget);
            let value = arguments.evaluate(&documents, turn.entropy)?;
            turn.inspect("afterArguments", &value);
            Ok(value)
        }
    }
}

/// End a state: its output, what it assigns, and where the flow goes on.
pub(super) fn exit_state(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    mut exit: Exit<'_>,
) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let state = turn.definition.state(frame.state);
    let context = context::context(execution, turn, frame, None);
    let (output, assigned) = match &state.io {
        Io::JsonPath(io) => {
            let documents =
                Documents::of_input(frame.input.value(), &context, &frame.variables, turn.now_ms, turn.budget);
            path_exit(turn, state, io, &documents, exit.result.take(), exit.choice.as_ref())?
        }
        Io::Jsonata(io) => {
            let documents = Documents { result: exit.result.as_ref(), ..turn.documents(frame, &context) };
            let (output, assign) = match &exit.choice {
                Some(choice) => (choice.output, choice.assign),
                None => (io.output.as_ref(), state.assign.as_ref()),
            };
            let assigned = assign.map(|assign| assign.evaluate(&documents, turn.entropy)).transpose()?;
            let output = output.map(|output| output.evaluate(&documents, turn.entropy)).transpose()?;
            (Exited::of(output, &exit), assigned.unwrap_or(Value::Null))
        }
    };
    let output = match output {
        Exited::Input => frame.input.clone(),
        Exited::Value(value) => Data::new(value),
        Exited::InInput(path, value) => {
            let Some(frame) = execution.frames.get_mut(&id) else { return Ok(()) };
            // Only a failure still asks for the input: its value is not copied.
            let unread = Data::unread(frame.input.text().clone());
            let input = core::mem::replace(&mut frame.input, unread);
            Data::new(path.put(input.into_value(), value))
        }
    };
    if output.is_over_limit() {
        return Err(Failure::too_large(&state.name));
    }
    let next = exit.choice.map_or(state.next, |choice| Some(choice.next));
    leave(execution, turn, id, output, assigned, next)
}

/// Record a state's end and go on to the next one, or end the flow.
pub(super) fn leave(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    output: Data,
    assigned: Value,
    next: Option<StateIndex>,
) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get_mut(&id) else { return Ok(()) };
    let state = turn.definition.state(frame.state);
    let texts = assign(&mut frame.variables, assigned)?;
    let previous = frame.last;
    if let Some(inspection) = &mut turn.inspection {
        inspection.left(output.value(), next.map(|next| turn.definition.state_name(next)), &texts);
    }
    let text = output.text().clone();
    let exited = execution.record(turn, previous, || EventKind::StateExited {
        kind: state.kind,
        name: state.name.clone(),
        output: text,
        assigned: texts,
    });
    let Some(frame) = execution.frames.get_mut(&id) else { return Ok(()) };
    frame.last = exited;
    let Some(next) = next else {
        children::frame_succeeded(execution, turn, id, output);
        return Ok(());
    };
    frame.input = output;
    frame.state = next;
    frame.entered = 0;
    frame.step = Step::Enter;
    execution.ready.push_front(id);
    Ok(())
}

/// Whether a Pass state without a result ends with its input as it is.
fn passes_on(state: &State) -> bool {
    match &state.io {
        Io::JsonPath(io) => {
            io.parameters.is_none()
                && io.selector.is_none()
                && matches!((&io.input, &io.output), (PathField::Whole, PathField::Whole))
                && matches!(io.result, ResultPath::Replace | ResultPath::Discard)
        }
        Io::Jsonata(_) => false,
    }
}

/// A state's output: its input as it is, a value of its own, or one that is put into its input.
enum Exited<'d> {
    Input,
    Value(Value),
    InInput(&'d ReferencePath, Value),
}

impl Exited<'_> {
    fn of(output: Option<Value>, exit: &Exit<'_>) -> Self {
        match (output, &exit.result) {
            (Some(output), _) => Self::Value(output),
            (None, Some(result)) => Self::Value(result.clone()),
            (None, None) => Self::Input,
        }
    }
}

fn path_exit<'d>(
    turn: &mut Turn<'_>,
    state: &State,
    io: &'d PathIo,
    documents: &Documents<'_>,
    result: Option<Value>,
    choice: Option<&ChoiceExit<'_>>,
) -> Result<(Exited<'d>, Value), Failure> {
    let passes_on = result.is_none();
    let selected = match result {
        None => effective_input(state, documents.input, documents.context, documents.variables)?,
        Some(result) => {
            let selected = select(turn, io, documents, result)?;
            turn.inspect("afterResultSelector", &selected);
            Cow::Owned(selected)
        }
    };
    let assign = choice.map_or(state.assign.as_ref(), |choice| choice.assign);
    let assigned = match assign {
        Some(assign) => assign.evaluate(&Documents { root: &selected, ..*documents }, turn.entropy)?,
        None => Value::Null,
    };
    let whole = if passes_on {
        selected
    } else if let (ResultPath::At(path), PathField::Whole, None) = (&io.result, &io.output, &turn.inspection) {
        path.check(documents.input, &selected).map_err(|error| error.evaluation())?;
        return Ok((Exited::InInput(path, selected.into_owned()), assigned));
    } else {
        let whole = place(io, documents.input, selected)?;
        turn.inspect("afterResultPath", &whole);
        whole
    };
    if passes_on && matches!((&io.input, &io.output), (PathField::Whole, PathField::Whole)) {
        return Ok((Exited::Input, assigned));
    }
    if matches!(io.output, PathField::Whole) {
        return Ok((Exited::Value(whole.into_owned()), assigned));
    }
    let output = at_path(&io.output, &whole, documents.context, documents.variables)?;
    Ok((Exited::Value(output.into_owned()), assigned))
}

/// A result behind `ResultSelector`.
fn select(turn: &mut Turn<'_>, io: &PathIo, documents: &Documents<'_>, result: Value) -> Result<Value, Failure> {
    match &io.selector {
        None => Ok(result),
        Some(selector) => Ok(selector.evaluate(&Documents { root: &result, ..*documents }, turn.entropy)?),
    }
}

/// A result put into the input at `ResultPath`.
fn place<'v>(io: &PathIo, input: &'v Value, result: Cow<'v, Value>) -> Result<Cow<'v, Value>, Failure> {
    match &io.result {
        ResultPath::Replace => Ok(result),
        ResultPath::Discard => Ok(Cow::Borrowed(input)),
        ResultPath::At(path) => {
            let whole = path.write(input.clone(), result.into_owned());
            Ok(Cow::Owned(whole.map_err(|error| error.evaluation())?))
        }
    }
}

/// A state's input behind `InputPath`; all of it in JSONata.
impl Turn<'_> {
    /// A state's input behind `InputPath`, which `TestState` is shown of a JSONPath state.
    pub(super) fn effective_input<'v>(
        &mut self,
        state: &State,
        frame: &'v Frame,
        context: &'v Value,
    ) -> Result<Cow<'v, Value>, Failure> {
        let effective = effective_input(state, frame.input.value(), context, &frame.variables)?;
        if matches!(state.io, Io::JsonPath(_)) {
            self.inspect("afterInputPath", &effective);
        }
        Ok(effective)
    }
}

pub(super) fn effective_input<'v>(
    state: &State,
    input: &'v Value,
    context: &'v Value,
    variables: &'v Map<String, Value>,
) -> Result<Cow<'v, Value>, Failure> {
    match &state.io {
        Io::JsonPath(io) => Ok(at_path(&io.input, input, context, variables)?),
        Io::Jsonata(_) => Ok(Cow::Borrowed(input)),
    }
}

fn at_path<'v>(
    field: &PathField,
    root: &'v Value,
    context: &'v Value,
    variables: &'v Map<String, Value>,
) -> Result<Cow<'v, Value>, EvaluationError> {
    match field {
        PathField::Whole => Ok(Cow::Borrowed(root)),
        PathField::Nothing => Ok(Cow::Owned(nothing())),
        PathField::At(path) => find(path, root, context, variables),
    }
}

fn find<'v>(
    path: &Path,
    root: &'v Value,
    context: &'v Value,
    variables: &'v Map<String, Value>,
) -> Result<Cow<'v, Value>, EvaluationError> {
    path.find(&Scope { input: root, context, variables, visits: None }).map_err(|error| error.evaluation())
}

/// Set variables; their texts, for the history.
fn assign(variables: &mut Variables, assigned: Value) -> Result<Vec<(String, Text)>, Failure> {
    let Value::Object(assigned) = assigned else { return Ok(Vec::new()) };
    let mut texts = Vec::with_capacity(assigned.len());
    let mut size = 0;
    for (name, value) in &assigned {
        let text = value.to_string();
        size += text.len();
        texts.push((name.clone(), Text::from(text)));
    }
    let all = variables.own();
    let kept: usize =
        all.iter().filter(|(name, _)| !assigned.contains_key(*name)).map(|(_, value)| weight(value)).sum();
    if size > DATA_MAX || kept + size > VARIABLES_MAX {
        let cause = format!(
            "Variables assigned by one state have at most {DATA_MAX} bytes, those of an execution {VARIABLES_MAX}"
        );
        return Err(Failure::new(DATA_LIMIT_EXCEEDED, cause));
    }
    all.extend(assigned);
    Ok(texts)
}

/// Bytes of a value's text.
fn weight(value: &Value) -> usize {
    struct Counter(usize);
    impl core::fmt::Write for Counter {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // A counter takes everything.
    let _ = core::fmt::Write::write_fmt(&mut counter, format_args!("{value}"));
    counter.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_bytes(bytes: usize) -> Value {
        json!("x".repeat(bytes - 2))
    }

    /// 256 KiB of one state and 10 MiB in all: <https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html>
    #[test]
    fn variables_have_a_bound_for_each_state_and_one_together() {
        for (before, assigned, is_allowed) in [
            (json!({}), json!({"a": of_bytes(DATA_MAX)}), true),
            (json!({}), json!({"a": of_bytes(DATA_MAX + 1)}), false),
            (json!({}), json!({"a": of_bytes(100_000), "b": of_bytes(DATA_MAX - 100_000)}), true),
            (json!({}), json!({"a": of_bytes(100_000), "b": of_bytes(DATA_MAX - 99_999)}), false),
            (json!({"a": of_bytes(VARIABLES_MAX - 7)}), json!({"b": 1_234_567}), true),
            (json!({"a": of_bytes(VARIABLES_MAX - 6)}), json!({"b": 1_234_567}), false),
            (json!({"a": of_bytes(VARIABLES_MAX)}), json!({"a": 1_234_567}), true),
            (
                json!({"a": of_bytes(5_000_000), "c": [of_bytes(VARIABLES_MAX - 5_000_009)]}),
                json!({"b": 1_234_567}),
                true,
            ),
            (
                json!({"a": of_bytes(5_000_000), "c": [of_bytes(VARIABLES_MAX - 5_000_008)]}),
                json!({"b": 1_234_567}),
                false,
            ),
        ] {
            let bytes =
                |value: &Value| format!("{:?}", value.as_object().unwrap().values().map(weight).collect::<Vec<_>>());
            let what = format!("{} after {}", bytes(&assigned), bytes(&before));
            let mut variables = Variables::new(before.as_object().unwrap().clone());
            let texts = assign(&mut variables, assigned.clone());
            assert_eq!(texts.is_ok(), is_allowed, "{what}");
            let mut expected = before;
            match texts {
                Ok(texts) => {
                    assert_eq!(texts.len(), assigned.as_object().unwrap().len());
                    assert!(texts.iter().all(|(name, text)| *text == Text::from(assigned[name].to_string())));
                    expected.as_object_mut().unwrap().extend(assigned.as_object().unwrap().clone());
                }
                Err(failure) => assert_eq!(failure.details.error.as_deref(), Some(DATA_LIMIT_EXCEEDED)),
            }
            assert!(Value::Object(variables.own().clone()) == expected, "{what}");
        }
    }
}
