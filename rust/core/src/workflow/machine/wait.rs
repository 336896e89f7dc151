//! Wait states: until when.

use super::exit::Exit;
use super::failure::Failure;
use super::frame::{FrameId, Step};
use super::{context, exit, Execution, Turn};
use crate::workflow::definition::Until;
use crate::workflow::query::{Documents, Operand, SECONDS_MAX};
use crate::workflow::scope::EvaluationError;
use crate::workflow::timestamp::Timestamp;

pub(super) fn begin_wait(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    until: &Until,
) -> Result<(), Failure> {
    let due_ms = wait_until(execution, turn, id, until)?;
    if turn.inspection.is_some() || due_ms <= turn.now_ms {
        return end_wait(execution, turn, id);
    }
    if let Some(frame) = execution.frames.get_mut(&id) {
        frame.step = Step::Until { due_ms, is_retry: false };
    }
    Ok(())
}

pub(super) fn end_wait(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> Result<(), Failure> {
    exit::exit_state(execution, turn, id, Exit::passing_on())
}

fn wait_until(execution: &Execution, turn: &mut Turn<'_>, id: FrameId, until: &Until) -> Result<u64, Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(turn.now_ms) };
    let state = turn.definition.state(frame.state);
    let context = context::context(execution, turn, frame, None);
    let effective = turn.effective_input(state, frame, &context)?;
    let documents = Documents { root: &effective, ..turn.documents(frame, &context) };
    match until {
        Until::Seconds(operand) => {
            let seconds = wait_seconds(operand, &documents, turn)?;
            Ok(turn.now_ms.saturating_add(seconds.saturating_mul(1_000)))
        }
        Until::Timestamp(operand) => {
            let moment = wait_timestamp(operand, &documents, turn)?;
            // A time before 1970 has passed; a part of a millisecond is waited for, too.
            let part = i64::from(moment.nanoseconds % 1_000_000 > 0);
            Ok(u64::try_from(moment.milliseconds() + part).unwrap_or_default())
        }
    }
}

fn wait_seconds(operand: &Operand, documents: &Documents<'_>, turn: &mut Turn<'_>) -> Result<u64, Failure> {
    let value = match operand {
        Operand::Path(path) => match path.find(&documents.scope()) {
            Ok(value) if !value.is_null() => value.into_owned(),
            _ => {
                let cause = format!("The SecondsPath parameter does not reference an input value: {}", path.text());
                return Err(EvaluationError::runtime(cause).into());
            }
        },
        _ => operand.number("Seconds", documents, turn.entropy)?,
    };
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let fail = |what: &str| match operand {
        Operand::Path(path) => {
            EvaluationError::runtime(format!("The SecondsPath parameter {what}: {} == {text}", path.text()))
        }
        _ => EvaluationError::query(format!("The Seconds parameter {what}: {text}"), "Seconds"),
    };
    let whole = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    let Some(seconds) = whole else {
        return Err(fail("cannot be parsed as a long value").into());
    };
    if seconds < 0 {
        return Err(fail("references a negative value").into());
    }
    if seconds > SECONDS_MAX {
        return Err(fail(&format!("references a value greater than {SECONDS_MAX}")).into());
    }
    Ok(seconds as u64)
}

fn wait_timestamp(operand: &Operand, documents: &Documents<'_>, turn: &mut Turn<'_>) -> Result<Timestamp, Failure> {
    const FORMAT: &str = "ISO-8601 extended offset date-time format string";
    let Operand::Path(path) = operand else {
        let text = operand.text("Timestamp", documents, turn.entropy)?;
        return Timestamp::parse(&text).ok_or_else(|| {
            let cause = format!("The Timestamp field cannot be parsed as an {FORMAT}: {text}");
            EvaluationError::query(cause, "Timestamp").into()
        });
    };
    let path_text = path.text();
    let value = path.find(&documents.scope()).map_err(|_| {
        EvaluationError::runtime(format!("The TimestampPath parameter does not reference an input value: {path_text}"))
    })?;
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    Timestamp::parse(&text).ok_or_else(|| {
        let cause = format!("The TimestampPath parameter does not reference a valid {FORMAT}: {path_text} == {text}");
        EvaluationError::runtime(cause).into()
    })
}
