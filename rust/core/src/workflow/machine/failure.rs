//! What a state fails with, and where that leads: a retrier, a catcher, the parent, the end.

use serde_json::{json, Value};

use super::data::Data;
use super::frame::{FrameId, Step};
use super::history::{ErrorDetails, EventId, EventKind};
use super::{children, context, exit, map_run, Execution, Outcome, Refused, Turn};
use crate::workflow::definition::{Catcher, Io, QueryLanguage, ResultPath, Retrier, StateKind};
use crate::workflow::query::Documents;
use crate::workflow::scope::{
    fraction, Entropy, EvaluationError, DATA_LIMIT_EXCEEDED, QUERY_EVALUATION_ERROR, RUNTIME,
};

/// What a state fails with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) details: ErrorDetails,
    /// A second name that retriers and catchers may use for it.
    alias: Option<&'static str>,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
enum Origin {
    /// A task, a Fail state, a child.
    State,
    /// An expression; its failure is an event of its own in JSONata, with the field.
    Expression(Option<String>),
}

/// The name of a time-out without a heartbeat, for retriers and catchers.
pub(super) const HEARTBEAT_TIMEOUT: &str = "States.HeartbeatTimeout";
pub(super) const TIMEOUT: &str = "States.Timeout";

impl Failure {
    pub(super) fn of_state(details: ErrorDetails) -> Self {
        Self { details, alias: None, origin: Origin::State }
    }

    pub(super) fn new(error: &str, cause: impl Into<String>) -> Self {
        Self::of_state(ErrorDetails::new(error, Some(cause.into())))
    }

    pub(super) fn timeout(is_heartbeat: bool) -> Self {
        let alias = is_heartbeat.then_some(HEARTBEAT_TIMEOUT);
        Self { details: ErrorDetails::new(TIMEOUT, None), alias, origin: Origin::State }
    }

    /// A result over the limit; AWS says the name of what returned it.
    pub(super) fn too_large(name: &str) -> Self {
        let what = match name {
            // A durable function has neither such a state nor such a task.
            "forebay" => "The durable function".to_owned(),
            name => format!("The state/task '{name}'"),
        };
        let cause =
            format!("{what} returned a result with a size exceeding the maximum number of bytes service limit.");
        Self::new(DATA_LIMIT_EXCEEDED, cause)
    }

    /// AWS does not let these be retried or caught.
    fn is_final(&self) -> bool {
        self.details.error.as_deref() == Some(RUNTIME) && matches!(self.origin, Origin::Expression(_))
    }

    /// Whether a retrier's or catcher's `ErrorEquals` names it.
    fn is_named_by(&self, names: &[String]) -> bool {
        let error = self.details.error.as_deref();
        names.iter().any(|name| match name.as_str() {
            "States.ALL" => !matches!(error, Some(DATA_LIMIT_EXCEEDED | RUNTIME)),
            "States.TaskFailed" => !matches!(error, Some(DATA_LIMIT_EXCEEDED | RUNTIME | TIMEOUT)),
            name => error == Some(name) || self.alias == Some(name),
        })
    }

    /// What a catcher gives the next state.
    fn output(&self) -> Value {
        json!({
            "Error": self.details.error.as_deref().unwrap_or_default(),
            "Cause": self.details.cause.as_deref().unwrap_or_default(),
        })
    }
}

impl From<EvaluationError> for Failure {
    fn from(error: EvaluationError) -> Self {
        let EvaluationError { error, cause, location, .. } = error;
        Self { details: ErrorDetails::new(error, Some(cause)), alias: None, origin: Origin::Expression(location) }
    }
}

/// A frame's state failed.
pub(super) fn fail(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, failure: Failure) {
    pass_up(execution, turn, id, failure, true);
}

/// Take a failure to a retrier or a catcher, of the state or of those around it. A catcher that fails itself is not asked
/// about that: `is_handled` is false then.
fn pass_up(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, failure: Failure, is_handled: bool) {
    let failure = told(execution, turn, id, failure);
    if let Some(inspection) = &mut turn.inspection {
        inspection.failure = Some(failure.details.clone());
    }
    if failure.is_final() {
        return fail_at_once(execution, turn, id, failure);
    }
    if is_handled {
        // It failed by itself, such as by the selector of its next item.
        children::abort_children(execution, turn, id, None);
    }
    let mut at = id;
    loop {
        if is_handled || at != id {
            if retry(execution, turn, at, &failure) {
                return;
            }
            record_state_failed(execution, turn, at);
            match catch(execution, turn, at, &failure) {
                Ok(true) => return,
                Ok(false) => {}
                Err(other) => return pass_up(execution, turn, at, other, false),
            }
        }
        let Some(frame) = execution.frames.get_mut(&at) else { return };
        frame.step.give_up(Step::Failed);
        let Some(parent) = frame.parent else {
            let previous = frame.last;
            return execution.close(turn, previous, Outcome::Failed(failure.details));
        };
        children::child_failed(execution, turn, parent, at);
        at = parent;
    }
}

/// Give an expression's failure AWS's preface, and JSONata's its event.
fn told(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, mut failure: Failure) -> Failure {
    let Origin::Expression(location) = failure.origin.clone() else { return failure };
    let Some(frame) = execution.frames.get(&id) else { return failure };
    let state = turn.definition.state(frame.state);
    let cause = failure.details.cause.take().unwrap_or_default();
    let preface = format!(
        "An error occurred while executing the state '{}' (entered at the event id #{}). ",
        state.name, frame.entered
    );
    let cause = if turn.inspection.is_some() { cause } else { preface + &cause };
    failure.details.cause = Some(cause.clone());
    if failure.details.error.as_deref() == Some(QUERY_EVALUATION_ERROR) {
        // What fails before anything has happened in the state points behind the state's entry; a Wait is held by its own.
        let is_entry = frame.last == frame.entered && state.kind != StateKind::Wait;
        let previous = if is_entry { frame.entered_from } else { frame.last };
        let (error, name) = (QUERY_EVALUATION_ERROR.to_owned(), state.name.clone());
        let event =
            execution.record(turn, previous, || EventKind::EvaluationFailed { error, cause, location, state: name });
        set_last(execution, id, event);
    }
    failure
}

/// An error that nothing may catch ends the execution from where it happened.
fn fail_at_once(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, failure: Failure) {
    let Some(frame) = execution.frames.get_mut(&id) else { return };
    frame.step.give_up(Step::Failed);
    let (previous, mut parent) = (frame.last, frame.parent);
    while let Some(frame) = parent.and_then(|id| execution.frames.get_mut(&id)) {
        frame.last = previous;
        parent = frame.parent;
    }
    execution.close(turn, previous, Outcome::Failed(failure.details));
}

/// The event of a Map or Parallel state that failed for good.
fn record_state_failed(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) {
    let Some(frame) = execution.frames.get(&id) else { return };
    let kind = turn.definition.state(frame.state).kind;
    if matches!(kind, StateKind::Map | StateKind::Parallel) {
        let previous = frame.last;
        let event = execution.record(turn, previous, || EventKind::StateFailed(kind));
        set_last(execution, id, event);
    }
}

/// Whether a retrier takes the failure.
fn retry(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, failure: &Failure) -> bool {
    let Some(frame) = execution.frames.get(&id) else { return false };
    let state = turn.definition.state(frame.state);
    let Some(index) = state.retry.iter().position(|retrier| failure.is_named_by(&retrier.errors)) else {
        return false;
    };
    let retrier = &state.retry[index];
    let made = frame.attempts.get(index).copied().unwrap_or_default();
    if let Some(inspection) = &mut turn.inspection {
        inspection.retried(index, retrier, inspection.retries);
        return inspection.is_retriable;
    }
    if made >= retrier.attempts {
        return false;
    }
    children::drop_children(execution, id);
    let due_ms = turn.now_ms.saturating_add(retrier.delay_ms(made, turn.entropy));
    let Some(frame) = execution.frames.get_mut(&id) else { return false };
    if let Some(attempts) = frame.attempts.get_mut(index) {
        *attempts += 1;
    }
    frame.retry_count += 1;
    frame.step = Step::Until { due_ms, is_retry: true };
    true
}

/// Whether a catcher takes the failure; its own expressions may fail, too.
fn catch(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId, failure: &Failure) -> Result<bool, Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(false) };
    let state = turn.definition.state(frame.state);
    let Some(index) = state.catch.iter().position(|catcher| failure.is_named_by(&catcher.errors)) else {
        return Ok(false);
    };
    let catcher = &state.catch[index];
    if let Some(inspection) = &mut turn.inspection {
        inspection.caught(index);
    }
    let language = match state.io {
        Io::JsonPath(_) => QueryLanguage::JsonPath,
        Io::Jsonata(_) => QueryLanguage::Jsonata,
    };
    let context = context::context(execution, turn, frame, None);
    // The state may have failed because its paths had looked at too much.
    turn.budget.begin_paths();
    let error_output = failure.output();
    let documents =
        Documents { root: &error_output, error_output: Some(&error_output), ..turn.documents(frame, &context) };
    let assigned = match &catcher.assign {
        Some(assign) => assign.evaluate(&documents, turn.entropy)?,
        None => Value::Null,
    };
    let output = match (language, &catcher.output) {
        (QueryLanguage::Jsonata, Some(output)) => output.evaluate(&documents, turn.entropy)?,
        (QueryLanguage::Jsonata, None) => error_output,
        (QueryLanguage::JsonPath, _) => caught_output(catcher, frame.input.value(), error_output)?,
    };
    let (name, next) = (state.name.clone(), catcher.next);
    let output = Data::new(output);
    if output.is_over_limit() {
        return Err(Failure::too_large(&name));
    }
    children::drop_children(execution, id);
    exit::leave(execution, turn, id, output, assigned, Some(next))?;
    Ok(true)
}

pub(super) fn set_last(execution: &mut Execution, id: FrameId, event: EventId) {
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.last = event;
    }
}

/// Let what failed begin once more; what succeeded stays.
pub(super) fn redrive(execution: &mut Execution, turn: &mut Turn<'_>) -> Result<(), Refused> {
    if execution.not_redrivable(turn.now_ms).is_some() {
        return Err(Refused::NotRedrivable);
    }
    execution.outcome = None;
    execution.redrive_count += 1;
    execution.redriven_ms = turn.now_ms;
    execution.deadline_ms = turn.now_ms.saturating_add(execution.timeout_ms);
    let count = execution.redrive_count;
    let event = execution.record(turn, execution.last_event, || EventKind::ExecutionRedriven(count));
    begin_failed(execution, turn, event);
    Ok(())
}

/// After a redrive: what had failed or was given up begins once more, and what has its answer goes on, behind `event`.
fn begin_failed(execution: &mut Execution, turn: &mut Turn<'_>, event: EventId) {
    let failed: Vec<FrameId> = execution
        .frames
        .iter()
        .filter(|(_, frame)| matches!(frame.step, Step::Failed | Step::Aborted | Step::Answered(_) | Step::Run(_)))
        .map(|(id, _)| *id)
        .collect();
    for id in failed {
        if map_run::run_redriven(execution, turn, id, event) {
            continue;
        }
        let Some(frame) = execution.frames.get_mut(&id) else { continue };
        frame.last = event;
        frame.attempts.iter_mut().for_each(|attempts| *attempts = 0);
        let step = match &frame.step {
            Step::Answered(output) => Step::Answered(output.clone()),
            _ if frame.entered == 0 => Step::Enter,
            _ => Step::Begin,
        };
        execution.make_ready(id, step);
    }
    children::reopen_groups(execution, turn, event);
}

fn caught_output(catcher: &Catcher, input: &Value, error_output: Value) -> Result<Value, Failure> {
    match &catcher.result {
        ResultPath::Replace => Ok(error_output),
        ResultPath::Discard => Ok(input.clone()),
        ResultPath::At(path) => Ok(path.write(input.clone(), error_output).map_err(|error| error.evaluation())?),
    }
}

impl Retrier {
    /// The pause before the next attempt, when so many have been made.
    fn delay_ms(&self, made: u32, entropy: &mut dyn Entropy) -> u64 {
        let seconds = self.delay_seconds(made);
        let fraction = if self.has_jitter { fraction(entropy) } else { 1.0 };
        (seconds * 1_000.0 * fraction) as u64
    }

    /// The longest that pause may be, in seconds.
    pub(super) fn delay_seconds(&self, made: u32) -> f64 {
        let grown = self.interval_seconds as f64 * self.backoff_rate.powf(f64::from(made));
        // Without a bound of its own a pause is no longer than what an execution may take.
        let most = self.delay_max_seconds.map_or(366.0 * 86_400.0, |most| most as f64);
        grown.min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_up_to_its_bound_or_to_the_longest_execution() {
        for (interval_seconds, backoff_rate, delay_max_seconds, made, seconds) in [
            (3, 2.0, None, 0, 3.0),
            (3, 2.0, None, 3, 24.0),
            (3, 2.0, Some(20), 3, 20.0),
            (3, 1.0, Some(20), 9, 3.0),
            (100_000, 1.5, None, 1, 150_000.0),
            (99_999_999, 2.0, None, 9, 31_622_400.0),
        ] {
            let retrier = Retrier {
                errors: Vec::new(),
                interval_seconds,
                attempts: 10,
                backoff_rate,
                delay_max_seconds,
                has_jitter: false,
            };
            let delay = retrier.delay_seconds(made);
            assert!((delay - seconds).abs() < 1e-6, "{retrier:?} {made}: {delay}");
        }
    }
}
