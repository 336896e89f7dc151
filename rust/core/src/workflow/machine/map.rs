//! Map states: their items, and the iterations of an inline Map.

use std::collections::BTreeMap;

use serde_json::Value;

use super::data::Data;
use super::exit::effective_input;
use super::failure::Failure;
use super::frame::{FrameId, Group, Item, Tolerated};
use super::history::EventKind;
use super::items::integer;
use super::run::{THRESHOLD_CAUSE, THRESHOLD_EXCEEDED};
use super::{Execution, Turn};
use crate::workflow::definition::{Items, MapBody};
use crate::workflow::query::{Documents, Operand};
use crate::workflow::scope::EvaluationError;

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

impl Execution {
    pub(super) fn begin_map(&mut self, turn: &mut Turn<'_>, id: FrameId, map: &MapBody) -> Result<(), Failure> {
        let Some(frame) = self.frames.get(&id) else { return Ok(()) };
        let state = turn.definition.state(frame.state);
        let context = self.context(turn, frame, None);
        let effective = turn.effective_input(state, frame, &context)?;
        let documents = Documents {
            root: &effective,
            ..Documents::of_input(frame.input.value(), &context, &frame.variables, turn.now_ms, turn.budget)
        };
        let has_reader = map.distributed.as_ref().is_some_and(|distributed| distributed.reader.is_some());
        let read = turn.inspection.as_ref().and_then(|inspection| inspection.reader_items.clone());
        let items = if has_reader { read } else { Some(items(turn, map, &documents)?) };
        let effective = Data::new(effective.into_owned());
        let length = items.as_ref().map_or(0, Vec::len) as u64;
        if turn.inspection.is_some() {
            let limits = self.limits(turn, id, map)?;
            return self.inspect_map(turn, id, &limits, length);
        }
        let Some(frame) = self.frames.get(&id) else { return Ok(()) };
        let previous = frame.last;
        let started = self.record(turn, previous, || EventKind::MapStateStarted(length));
        self.set_last(id, started);
        let limits = self.limits(turn, id, map)?;
        if map.distributed.is_some() {
            return self.begin_run(turn, id, map, items, effective, &limits);
        }
        let items = items.unwrap_or_default();
        if items.len() > INLINE_ITEMS_MAX {
            let cause = format!("An inline Map has at most {INLINE_ITEMS_MAX} items; this one has {}", items.len());
            return Err(EvaluationError::runtime(cause).into());
        }
        let concurrency = if limits.concurrency == 0 { ITERATIONS_MAX } else { limits.concurrency.min(ITERATIONS_MAX) };
        let group = Group {
            results: vec![None; items.len()],
            open: BTreeMap::new(),
            next: 0,
            concurrency,
            items: Some(Data::new(Value::Array(items))),
            effective: Some(effective),
        };
        self.begin_group(turn, id, group, started)
    }

    /// `TestState` runs no iterations: it has their result, and how many of them are to count as failed.
    fn inspect_map(&mut self, turn: &mut Turn<'_>, id: FrameId, limits: &Limits, length: u64) -> Result<(), Failure> {
        let failed = turn.inspection.as_ref().and_then(|inspection| inspection.failed_iterations).unwrap_or_default();
        let has_answer = turn.inspection.as_ref().is_some_and(|inspection| matches!(inspection.answer, Some(Ok(_))));
        if has_answer && limits.tolerated.is_exceeded(failed, Some(length)) {
            return Err(Failure::new(THRESHOLD_EXCEEDED, THRESHOLD_CAUSE));
        }
        self.inspect_answer(turn, id, &Value::Null)
    }

    /// `MaxConcurrency` and the failures that are borne.
    pub(super) fn limits(&self, turn: &mut Turn<'_>, id: FrameId, map: &MapBody) -> Result<Limits, Failure> {
        let Some(frame) = self.frames.get(&id) else { return Err(Failure::timeout(false)) };
        let state = turn.definition.state(frame.state);
        let context = self.context(turn, frame, None);
        let effective = effective_input(state, frame.input.value(), &context, &frame.variables)?;
        let documents = Documents {
            root: &effective,
            ..Documents::of_input(frame.input.value(), &context, &frame.variables, turn.now_ms, turn.budget)
        };
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
        &self,
        turn: &mut Turn<'_>,
        id: FrameId,
        map: &MapBody,
        effective: &Data,
        item: &Item,
    ) -> Result<Data, Failure> {
        let Some(selector) = &map.selector else { return Ok(item.value.clone()) };
        let Some(frame) = self.frames.get(&id) else { return Ok(item.value.clone()) };
        let context = self.context_of_item(turn, frame, None, Some(item));
        let documents = Documents {
            root: effective.value(),
            ..Documents::of_input(frame.input.value(), &context, &frame.variables, turn.now_ms, turn.budget)
        };
        let value = selector.evaluate(&documents, turn.entropy)?;
        turn.inspect("afterItemSelector", &value);
        let input = Data::new(value);
        if input.is_over_limit() {
            return Err(Failure::too_large(&turn.definition.state(frame.state).name));
        }
        Ok(input)
    }
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
