//! Items of distributed Maps: they are read page by page, selected, and put together into what children are given.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::data::{Data, DATA_MAX};
use super::failure::Failure;
use super::frame::{Batch, FrameId, Item, ReadRequest, Run, RunKey, Step};
use super::history::ErrorDetails;
use super::run::{ITEMS_MAX, ITEM_READER_FAILED, PAGE_MAX};
use super::{Command, Execution, Refused, Turn};
use crate::workflow::definition::{Body, Distributed, Reader};
use crate::workflow::query::{Documents, Operand};

impl Execution {
    pub(super) fn batch(
        &self,
        turn: &mut Turn<'_>,
        id: FrameId,
        distributed: &Distributed,
        effective: &Data,
    ) -> Result<Option<Batch>, Failure> {
        let (Some(batcher), Some(frame)) = (&distributed.batcher, self.frames.get(&id)) else { return Ok(None) };
        let context = self.context(turn, frame, None);
        let documents = Documents {
            root: effective.value(),
            ..Documents::of_input(frame.input.value(), &context, &frame.variables, turn.now_ms, turn.budget)
        };
        let mut count = |operand: &Option<Operand>, field: &str| -> Result<Option<u64>, Failure> {
            let Some(operand) = operand else { return Ok(None) };
            let value = operand.number(field, &documents, turn.entropy)?;
            match integer(&value) {
                Some(count) if count > 0 => Ok(Some(count as u64)),
                _ => Err(Failure::new("States.Runtime", format!("field {field} must be positive"))),
            }
        };
        let items = count(&batcher.items, "MaxItemsPerBatch")?;
        let bytes = count(&batcher.bytes, "MaxInputBytesPerBatch")?;
        let input = batcher.input.as_ref();
        let input = input.map(|input| input.evaluate(&documents, turn.entropy)).transpose()?;
        Ok(Some(Batch { items, bytes: bytes.map(|bytes| bytes.min(DATA_MAX as u64)), input: input.map(Data::new) }))
    }

    pub(super) fn begin_reading(&mut self, turn: &mut Turn<'_>, id: FrameId, reader: &Reader) -> Result<(), Failure> {
        let Some(frame) = self.frames.get(&id) else { return Ok(()) };
        let Step::Run(run) = &frame.step else { return Ok(()) };
        let context = self.context(turn, frame, None);
        let documents = Documents {
            root: run.effective.value(),
            ..Documents::of_input(frame.input.value(), &context, &frame.variables, turn.now_ms, turn.budget)
        };
        let arguments = reader.arguments.as_ref();
        let arguments = arguments.map(|payload| payload.evaluate(&documents, turn.entropy)).transpose()?;
        let items_max = reader.max_items.as_ref();
        let items_max = items_max
            .map(|operand| operand.number("ItemReader/ReaderConfig/MaxItems", &documents, turn.entropy))
            .transpose()?;
        let items_max = match items_max.as_ref().map(items_max_of) {
            None => None,
            Some(Ok(most)) => most,
            Some(Err(cause)) => {
                self.end_run_failed(turn, id, ErrorDetails::new(ITEM_READER_FAILED, Some(cause)));
                return Ok(());
            }
        };
        if let Some(run) = self.run_mut(id) {
            run.items_left = items_max;
            run.is_asked = true;
        }
        let request = ReadRequest {
            resource: reader.resource.clone(),
            arguments: arguments.unwrap_or(Value::Null),
            format: reader.format.clone(),
            items_max,
        };
        let call = self.new_call(id);
        turn.commands.push(Command::Read(call, Box::new(request)));
        Ok(())
    }

    /// A reader brought items.
    pub(super) fn run_items(
        &mut self,
        turn: &mut Turn<'_>,
        call: RunKey,
        items: Vec<Value>,
        is_last: bool,
    ) -> Result<(), Refused> {
        let id = call.frame();
        let count = items.len();
        if count > PAGE_MAX {
            self.keep_items(call, Vec::new(), false)?;
            let cause = format!("A page has {count} items; at most {PAGE_MAX} are taken");
            self.end_run_failed(turn, id, ErrorDetails::new(ITEM_READER_FAILED, Some(cause)));
            return Ok(());
        }
        self.keep_items(call, items, is_last)?;
        self.go_on(turn, id);
        Ok(())
    }

    /// Keep items that a reader brought; no child is started yet.
    pub(super) fn keep_items(&mut self, call: RunKey, items: Vec<Value>, is_last: bool) -> Result<(), Refused> {
        let run = self.asking_run(call)?;
        if !run.is_reading || !run.is_asked {
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
    pub(super) fn ask_for_items(&mut self, turn: &mut Turn<'_>, id: FrameId) {
        let Some(run) = self.run_mut(id) else { return };
        let has_room = run.open.len() < run.concurrency as usize;
        if run.is_reading && !run.is_asked && !run.has_failed && has_room {
            run.is_asked = true;
            let call = self.new_call(id);
            turn.commands.push(Command::ReadMore(call));
        }
    }

    pub(super) fn child_input(
        &self,
        turn: &mut Turn<'_>,
        id: FrameId,
        first: u64,
        items: Vec<Data>,
    ) -> Result<Data, Failure> {
        let Some(frame) = self.frames.get(&id) else { return Ok(Data::new(Value::Null)) };
        let Body::Map(map) = &turn.definition.state(frame.state).body else { return Ok(frame.input.clone()) };
        let Step::Run(run) = &frame.step else { return Ok(frame.input.clone()) };
        let mut inputs = Vec::with_capacity(items.len());
        for (index, value) in (first..).zip(items) {
            inputs.push(self.item_input(turn, id, map, &run.effective, &Item { index, value })?);
        }
        let Some(batch) = &run.batch else {
            return Ok(inputs.pop().unwrap_or_else(|| Data::new(Value::Null)));
        };
        let mut input = Map::new();
        if let Some(common) = &batch.input {
            input.insert("BatchInput".into(), common.value().clone());
        }
        input.insert("Items".into(), inputs.iter().map(|item| item.value().clone()).collect());
        Ok(Data::new(Value::Object(input)))
    }
}

impl Run {
    /// The next item, or the next batch, with the index of its first item; nothing where more have to be read first.
    pub(super) fn take_items(&mut self) -> Option<(u64, Vec<Data>)> {
        let count = match &self.batch {
            None => usize::from(!self.pending.is_empty()),
            Some(batch) => batch.cut(&self.pending, self.is_reading)?,
        };
        if count == 0 {
            return None;
        }
        let first = self.next_item;
        self.next_item += count as u64;
        Some((first, self.pending.drain(..count).collect()))
    }
}

impl Batch {
    /// How many of the items that wait are the next batch.
    fn cut(&self, pending: &VecDeque<Data>, is_reading: bool) -> Option<usize> {
        let most = self.items.map_or(usize::MAX, |items| items as usize);
        let bytes_max = self.bytes.map_or(DATA_MAX, |bytes| bytes as usize);
        let common = self.input.as_ref().map_or(0, |input| input.size() + r#","BatchInput":"#.len());
        let mut bytes = common + r#"{"Items":[]}"#.len();
        let mut count = 0;
        for item in pending {
            bytes += item.size() + 1;
            if count >= most || (count > 0 && bytes > bytes_max) {
                return Some(count);
            }
            count += 1;
        }
        (count >= most || !is_reading).then_some(count)
    }
}

/// How many items to read: 0 and none mean all.
fn items_max_of(value: &Value) -> Result<Option<u64>, String> {
    match integer(value) {
        Some(0) => Ok(None),
        Some(count) if count > ITEMS_MAX => Err(format!("field MaxItems must be at most {ITEMS_MAX}")),
        Some(count) if count > 0 => Ok(Some(count as u64)),
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
