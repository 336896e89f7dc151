//! Map states: the iterations of an inline Map, and items. A distributed one reads its items page by page, and puts them together.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::data::{Data, DATA_MAX};
use super::exit::effective_input;
use super::failure::Failure;
use super::frame::{Batch, FrameId, Group, Item, ReadRequest, RunKey, Step};
use super::history::EventKind;
use super::map_run::{ITEMS_MAX, ITEM_READER_FAILED, PAGE_MAX, THRESHOLD_CAUSE, THRESHOLD_EXCEEDED};
use super::tolerated::Tolerated;
use super::{children, context, failure, map_run, task, Command, Execution, Refused, Turn};
use crate::workflow::definition::{Body, Distributed, Items, MapBody, Reader};
use crate::workflow::query::{Documents, Operand};
use crate::workflow::scope::{Entropy, EvaluationError};

/// Iterations of an inline Map that run at once.
pub const ITERATIONS_MAX: u32 = 40;
/// Most items of an inline Map; each of them takes at least two events of a history that has 25,000.
pub const INLINE_ITEMS_MAX: usize = 100_000;

/// What a Map state is told besides its items.
pub(super) struct Limits {
    /// 0: no limit.
    pub(super) concurrency: u32,
    pub(super) tolerated: Tolerated,
}

pub(super) fn begin_map(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    map: &MapBody,
) -> Result<(), Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let state = turn.definition.state(frame.state);
    let context = context::context(execution, turn, frame, None);
    let effective = turn.effective_input(state, frame, &context)?;
    let documents = Documents { root: &effective, ..turn.documents(frame, &context) };
    let has_reader = map.distributed.as_ref().is_some_and(|distributed| distributed.reader.is_some());
    let read = turn.inspection.as_ref().and_then(|inspection| inspection.reader_items.clone());
    let items = if has_reader { read } else { Some(items(turn, map, &documents)?) };
    let effective = Data::new(effective.into_owned());
    let length = items.as_ref().map_or(0, Vec::len) as u64;
    if turn.inspection.is_some() {
        let limits = limits(execution, turn, id, map)?;
        return inspect_map(execution, turn, id, &limits, length);
    }
    let Some(frame) = execution.frames.get(&id) else { return Ok(()) };
    let previous = frame.last;
    let started = execution.record(turn, previous, || EventKind::MapStateStarted(length));
    failure::set_last(execution, id, started);
    let limits = limits(execution, turn, id, map)?;
    if map.distributed.is_some() {
        return map_run::begin_run(execution, turn, id, map, items, effective, &limits);
    }
    let items = items.unwrap_or_default();
    if items.len() > INLINE_ITEMS_MAX {
        let cause = format!("An inline Map has at most {INLINE_ITEMS_MAX} items; this one has {}", items.len());
        return Err(EvaluationError::runtime(cause).into());
    }
    let concurrency = if limits.concurrency == 0 { ITERATIONS_MAX } else { limits.concurrency.min(ITERATIONS_MAX) };
    let group = Group {
        results: vec![None; items.len()],
        results_size: 0,
        open: BTreeMap::new(),
        next: 0,
        concurrency,
        items: Some(Data::new(Value::Array(items))),
        effective: Some(effective),
    };
    children::begin_group(execution, turn, id, group, started)
}

/// `TestState` runs no iterations: it has their result, and how many of them are to count as failed.
fn inspect_map(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    limits: &Limits,
    length: u64,
) -> Result<(), Failure> {
    let failed = turn.inspection.as_ref().and_then(|inspection| inspection.failed_iterations).unwrap_or_default();
    let has_answer = turn.inspection.as_ref().is_some_and(|inspection| matches!(inspection.answer, Some(Ok(_))));
    if has_answer && limits.tolerated.is_exceeded(failed, Some(length)) {
        return Err(Failure::new(THRESHOLD_EXCEEDED, THRESHOLD_CAUSE));
    }
    task::inspect_answer(execution, turn, id, &Value::Null)
}

/// `MaxConcurrency` and the failures that are borne.
pub(super) fn limits(
    execution: &Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    map: &MapBody,
) -> Result<Limits, Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Err(Failure::timeout(false)) };
    let state = turn.definition.state(frame.state);
    let context = context::context(execution, turn, frame, None);
    let effective = effective_input(state, frame.input.value(), &context, &frame.variables)?;
    let documents = Documents { root: &effective, ..turn.documents(frame, &context) };
    let mut number = |operand: &Option<Operand>, field: &str| {
        operand.as_ref().map(|operand| operand.number(field, &documents, turn.entropy)).transpose()
    };
    let concurrency = number(&map.concurrency, "MaxConcurrency")?;
    let count = number(&map.tolerated_count, "ToleratedFailureCount")?;
    let percentage = number(&map.tolerated_percentage, "ToleratedFailurePercentage")?;
    let concurrency = concurrency.map(|value| whole(&value, "MaxConcurrency")).transpose()?.unwrap_or_default();
    let count = count.map(|value| whole(&value, "ToleratedFailureCount")).transpose()?;
    let operand = map.tolerated_percentage.as_ref();
    let percentage = percentage.map(|value| self::percentage(&value, operand)).transpose()?;
    let concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX);
    let limits = Limits { concurrency, tolerated: Tolerated { count, percentage } };
    if let Some(inspection) = &mut turn.inspection {
        inspection.limits(&limits);
    }
    Ok(limits)
}

/// What an iteration or a child is given for an item.
pub(super) fn item_input(
    execution: &Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    map: &MapBody,
    effective: &Data,
    item: &Item,
) -> Result<Data, Failure> {
    let Some(selector) = &map.selector else { return Ok(item.value.clone()) };
    let Some(frame) = execution.frames.get(&id) else { return Ok(item.value.clone()) };
    let context = context::context_of_item(execution, turn, frame, None, Some(item));
    let documents = Documents { root: effective.value(), ..turn.documents(frame, &context) };
    turn.budget.begin_paths();
    let value = selector.evaluate(&documents, turn.entropy)?;
    turn.inspect("afterItemSelector", &value);
    let input = Data::new(value);
    if input.is_over_limit() {
        return Err(Failure::too_large(&turn.definition.state(frame.state).name));
    }
    Ok(input)
}

pub(super) fn batch(
    execution: &Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    distributed: &Distributed,
    effective: &Data,
) -> Result<Option<Batch>, Failure> {
    let Some(batcher) = &distributed.batcher else { return Ok(None) };
    evaluate_of_run(execution, turn, id, effective, |documents, entropy| {
        let mut count = |operand: &Option<Operand>, field: &str| -> Result<Option<u64>, Failure> {
            let Some(operand) = operand else { return Ok(None) };
            let value = operand.number(field, documents, entropy)?;
            match integer(&value) {
                Some(count) if count > 0 => Ok(Some(count as u64)),
                _ => Err(Failure::new("States.Runtime", format!("field {field} must be positive"))),
            }
        };
        let items = count(&batcher.items, "MaxItemsPerBatch")?;
        let bytes = count(&batcher.bytes, "MaxInputBytesPerBatch")?.map(|bytes| bytes.min(DATA_MAX as u64));
        let input = batcher.input.as_ref().map(|input| input.evaluate(documents, entropy)).transpose()?;
        Ok(Batch { items, bytes, input: input.map(Data::new) })
    })
}

/// Evaluate fields of a distributed Map beside its items: they read what its selectors read. `None`: there is no such frame.
fn evaluate_of_run<T>(
    execution: &Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    effective: &Data,
    evaluate: impl FnOnce(&Documents<'_>, &mut dyn Entropy) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(None) };
    let context = context::context(execution, turn, frame, None);
    let documents = Documents { root: effective.value(), ..turn.documents(frame, &context) };
    evaluate(&documents, turn.entropy).map(Some)
}

pub(super) fn begin_reading(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    reader: &Reader,
) -> Result<(), Failure> {
    let Some(effective) = map_run::run_mut(execution, id).map(|run| run.effective.clone()) else { return Ok(()) };
    let evaluated = evaluate_of_run(execution, turn, id, &effective, |documents, entropy| {
        let arguments = reader.arguments.as_ref().map(|payload| payload.evaluate(documents, entropy)).transpose()?;
        let number = |operand: &Operand| operand.number("ItemReader/ReaderConfig/MaxItems", documents, entropy);
        Ok((arguments, reader.max_items.as_ref().map(number).transpose()?))
    })?;
    let Some((arguments, items_max)) = evaluated else { return Ok(()) };
    let items_max = match items_max.as_ref().map(items_max_of) {
        None => None,
        Some(Ok(most)) => most,
        Some(Err(cause)) => {
            map_run::end_run_failed(execution, turn, id, Failure::new(ITEM_READER_FAILED, cause));
            return Ok(());
        }
    };
    if let Some(run) = map_run::run_mut(execution, id) {
        run.source = arguments.as_ref().and_then(source);
        run.items_left = items_max;
        run.is_asked = true;
    }
    let request = ReadRequest {
        resource: reader.resource.clone(),
        arguments: arguments.unwrap_or(Value::Null),
        format: reader.format.clone(),
        items_max,
    };
    let call = map_run::new_call(execution, id);
    turn.commands.push(Command::Read(call, Box::new(request)));
    Ok(())
}

/// A reader brought items.
pub(super) fn run_items(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    call: RunKey,
    items: Vec<Value>,
    is_last: bool,
) -> Result<(), Refused> {
    let id = call.frame();
    let count = items.len();
    if count > PAGE_MAX {
        keep_items(execution, call, Vec::new(), false)?;
        let cause = format!("A page has {count} items; at most {PAGE_MAX} are taken");
        map_run::end_run_failed(execution, turn, id, Failure::new(ITEM_READER_FAILED, cause));
        return Ok(());
    }
    keep_items(execution, call, items, is_last)?;
    map_run::go_on(execution, turn, id);
    Ok(())
}

/// Keep items that a reader brought; no child is started yet.
pub(super) fn keep_items(
    execution: &mut Execution,
    call: RunKey,
    items: Vec<Value>,
    is_last: bool,
) -> Result<(), Refused> {
    let run = map_run::asking_run(execution, call)?;
    if !run.is_asked {
        return Err(Refused::NotExpected);
    }
    run.is_asked = false;
    for item in items {
        if run.items_left == Some(0) {
            break;
        }
        run.items_left = run.items_left.map(|left| left - 1);
        run.pending.push_back(Data::new(item));
    }
    run.is_reading = !is_last && run.items_left != Some(0);
    Ok(())
}

/// Ask for the next page as soon as children could take its items.
pub(super) fn ask_for_items(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) {
    let Some(run) = map_run::run_mut(execution, id) else { return };
    let has_room = run.open.len() < run.concurrency as usize;
    if run.is_reading && !run.is_asked && !run.has_failed && has_room {
        run.is_asked = true;
        let call = map_run::new_call(execution, id);
        turn.commands.push(Command::ReadMore(call));
    }
}

/// What the next child is given: an item, or a batch. Nothing where there is none, or where more have to be read first.
pub(super) fn next_input(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> Result<Option<Data>, Failure> {
    let Some(batch) = map_run::run_mut(execution, id).map(|run| run.batch.clone()) else { return Ok(None) };
    match batch {
        None => select(execution, turn, id),
        Some(batch) => next_batch(execution, turn, id, &batch),
    }
}

/// Take the next item, as the selector gives it to children. One that is too large stays, so that a redrive does not pass it over.
fn select(execution: &mut Execution, turn: &mut Turn<'_>, id: FrameId) -> Result<Option<Data>, Failure> {
    let Some(frame) = execution.frames.get(&id) else { return Ok(None) };
    let state = turn.definition.state(frame.state);
    let (Body::Map(map), Step::Run(run)) = (&state.body, &frame.step) else { return Ok(None) };
    let Some(value) = run.pending.front().cloned() else { return Ok(None) };
    let item = Item { index: run.next_item, value, source: run.source.clone() };
    let input = item_input(execution, turn, id, map, &run.effective, &item)?;
    if input.is_over_limit() {
        return Err(Failure::too_large(&state.name));
    }
    if let Some(run) = map_run::run_mut(execution, id) {
        run.pending.pop_front();
        run.next_item += 1;
    }
    Ok(Some(input))
}

/// Put selected items together: what a batch may hold is measured by what the selector has made of them.
fn next_batch(
    execution: &mut Execution,
    turn: &mut Turn<'_>,
    id: FrameId,
    batch: &Batch,
) -> Result<Option<Data>, Failure> {
    let items_max = batch.items.map_or(usize::MAX, |items| items as usize);
    let bytes_max = batch.bytes.map_or(DATA_MAX, |bytes| bytes as usize);
    let common = batch.input.as_ref().map_or(0, |input| input.size() + r#","BatchInput":"#.len());
    // The first item has no comma before it.
    let mut bytes = common + r#"{"Items":[]}"#.len() - 1;
    let (mut count, mut is_full) = (0, false);
    while !is_full {
        if map_run::run_mut(execution, id).is_some_and(|run| run.selected.len() == count) {
            let Some(item) = select(execution, turn, id)? else { break };
            if let Some(run) = map_run::run_mut(execution, id) {
                run.selected.push_back(item);
            }
        }
        let Some(item) = map_run::run_mut(execution, id).and_then(|run| run.selected.get(count)) else { break };
        let more = bytes + item.size() + 1;
        is_full = count > 0 && more > bytes_max;
        if !is_full {
            (bytes, count) = (more, count + 1);
            is_full = count >= items_max;
        }
    }
    let name = execution.frames.get(&id).map(|frame| turn.definition.state(frame.state).name.as_str());
    let Some(run) = map_run::run_mut(execution, id) else { return Ok(None) };
    if count == 0 || (!is_full && run.is_reading) {
        return Ok(None);
    }
    if bytes > DATA_MAX {
        return Err(Failure::too_large(name.unwrap_or_default()));
    }
    let items = run.selected.drain(..count).map(Data::into_value).collect();
    let mut input = Map::new();
    if let Some(common) = &batch.input {
        input.insert("BatchInput".into(), common.value().clone());
    }
    input.insert("Items".into(), items);
    Ok(Some(Data::new(Value::Object(input))))
}

fn items(turn: &mut Turn<'_>, map: &MapBody, documents: &Documents<'_>) -> Result<Vec<Value>, Failure> {
    let (value, path) = match &map.items {
        Some(Items::Path(path)) => {
            let value = path.find(&documents.scope()).map_err(|error| error.evaluation())?.into_owned();
            (value, Some(path.text()))
        }
        Some(Items::Jsonata(payload)) => {
            let value = payload.typed("Items", "array", documents, turn.entropy)?;
            (value, None)
        }
        None => (documents.root.clone(), map.is_path.then_some("$")),
    };
    match (value, path) {
        (Value::Array(items), _) => {
            if let Some(Items::Path(_)) = &map.items {
                turn.inspect("afterItemsPath", &Value::Array(items.clone()));
            }
            Ok(items)
        }
        (_, Some(path)) => {
            // A path into the context object is told without its second dollar.
            let path = path.strip_prefix('$').filter(|rest| rest.starts_with('$')).unwrap_or(path);
            Err(EvaluationError::runtime(format!("Reference path \"{path}\" must point to array.")).into())
        }
        (value, None) => {
            let mut error = EvaluationError::query(format!("Map state input must be an array but was: {value}"), "");
            error.location = None;
            Err(error.into())
        }
    }
}

fn whole(value: &Value, field: &str) -> Result<u64, Failure> {
    let Some(number) = integer(value) else {
        return Err(EvaluationError::runtime(format!("{field} must be a whole number, but was {value}.")).into());
    };
    u64::try_from(number).map_err(|_| EvaluationError::runtime(format!("{field} cannot be negative.")).into())
}

fn percentage(value: &Value, operand: Option<&Operand>) -> Result<f64, Failure> {
    let Some(percentage) = value.as_f64() else {
        let cause = match operand {
            Some(Operand::Path(path)) => format!(
                "The ToleratedFailurePercentagePath field refers to value {value} which is not a valid float: {}",
                path.text()
            ),
            _ => format!("ToleratedFailurePercentage must be a number, but was {value}."),
        };
        return Err(EvaluationError::runtime(cause).into());
    };
    if (0.0..=100.0).contains(&percentage) {
        Ok(percentage)
    } else {
        Err(EvaluationError::runtime("ToleratedFailurePercentage must be between 0 and 100.").into())
    }
}

/// The file or the folder that a reader's arguments name, as AWS tells it to children.
fn source(arguments: &Value) -> Option<String> {
    let bucket = arguments.get("Bucket")?.as_str()?;
    Some(match arguments.get("Key").and_then(Value::as_str) {
        Some(key) => format!("S3://{bucket}/{key}"),
        None => format!("S3://{bucket}"),
    })
}

/// How many items to read: 0 and none mean all.
fn items_max_of(value: &Value) -> Result<Option<u64>, String> {
    match integer(value).map(u64::try_from) {
        Some(Ok(0)) => Ok(None),
        Some(Ok(count)) if count > ITEMS_MAX => Err(format!("field MaxItems must be at most {ITEMS_MAX}")),
        Some(Ok(count)) => Ok(Some(count)),
        _ => Err("field MaxItems must be positive".into()),
    }
}

/// A whole number, also one that is written as text.
pub(super) fn integer(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|double| double.fract() == 0.0).map(|double| double as i64))
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}
