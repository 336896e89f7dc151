//! Items of distributed Maps: they are read page by page, selected, and put together into what children are given.

use serde_json::{Map, Value};

use super::data::{Data, DATA_MAX};
use super::failure::Failure;
use super::frame::{Batch, FrameId, Item, ReadRequest, RunKey, Step};
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
                self.end_run_failed(turn, id, Failure::new(ITEM_READER_FAILED, cause));
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
            self.end_run_failed(turn, id, Failure::new(ITEM_READER_FAILED, cause));
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

    /// What the next child is given: an item, or a batch. Nothing where there is none, or where more have to be read first.
    pub(super) fn next_input(&mut self, turn: &mut Turn<'_>, id: FrameId) -> Result<Option<Data>, Failure> {
        let Some(batch) = self.run_mut(id).map(|run| run.batch.clone()) else { return Ok(None) };
        match batch {
            None => self.select(turn, id),
            Some(batch) => self.next_batch(turn, id, &batch),
        }
    }

    /// Take the next item, as the selector gives it to children. One that is too large stays, so that a redrive does not pass it over.
    fn select(&mut self, turn: &mut Turn<'_>, id: FrameId) -> Result<Option<Data>, Failure> {
        let Some(frame) = self.frames.get(&id) else { return Ok(None) };
        let state = turn.definition.state(frame.state);
        let (Body::Map(map), Step::Run(run)) = (&state.body, &frame.step) else { return Ok(None) };
        let Some(value) = run.pending.front().cloned() else { return Ok(None) };
        let item = Item { index: run.next_item, value };
        let input = self.item_input(turn, id, map, &run.effective, &item)?;
        if input.is_over_limit() {
            return Err(Failure::too_large(&state.name));
        }
        if let Some(run) = self.run_mut(id) {
            run.pending.pop_front();
            run.next_item += 1;
        }
        Ok(Some(input))
    }

    /// Put selected items together: what a batch may hold is measured by what the selector has made of them.
    fn next_batch(&mut self, turn: &mut Turn<'_>, id: FrameId, batch: &Batch) -> Result<Option<Data>, Failure> {
        let items_max = batch.items.map_or(usize::MAX, |items| items as usize);
        let bytes_max = batch.bytes.map_or(DATA_MAX, |bytes| bytes as usize);
        let common = batch.input.as_ref().map_or(0, |input| input.size() + r#","BatchInput":"#.len());
        let mut bytes = common + r#"{"Items":[]}"#.len();
        let (mut count, mut is_full) = (0, false);
        while !is_full {
            if self.run_mut(id).is_some_and(|run| run.selected.len() == count) {
                let Some(item) = self.select(turn, id)? else { break };
                if let Some(run) = self.run_mut(id) {
                    run.selected.push_back(item);
                }
            }
            let Some(item) = self.run_mut(id).and_then(|run| run.selected.get(count)) else { break };
            let more = bytes + item.size() + 1;
            is_full = count > 0 && more > bytes_max;
            if !is_full {
                (bytes, count) = (more, count + 1);
                is_full = count >= items_max;
            }
        }
        let name = self.frames.get(&id).map(|frame| turn.definition.state(frame.state).name.as_str());
        let Some(run) = self.run_mut(id) else { return Ok(None) };
        if count == 0 || (!is_full && run.is_reading) {
            return Ok(None);
        }
        // The last item has no comma.
        if bytes > DATA_MAX + 1 {
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
