//! Pages of histories that are in the store, from either end.

use forebay_core::workflow::machine::unpack;

use crate::api::workflow::{History, HistoryPage};
use crate::base::error::EngineError;
use crate::commit::rows::damaged;
use crate::store::port::Table;
use crate::workflows::requests::BYTES_MAX;
use crate::workflows::row::{HistoryPlace, RunId};
use crate::workflows::WorkflowRoom;

/// Rows that are read at once. A row has the events of a step.
const ROWS: usize = 64;
/// Numbers of events in whose rows a page that goes backward looks at once.
const NUMBERS_BACK: u32 = 32;

/// A page of a history.
pub(super) fn page(room: &mut WorkflowRoom<'_>, id: RunId, asked: &History) -> Result<HistoryPage, EngineError> {
    if asked.reverse {
        return backward(room, id, asked);
    }
    let from = asked.after.map(HistoryPlace::of).unwrap_or_default();
    let (mut at, mut after) = (from, Some(id.history_key(from.row)));
    let (mut events, mut bytes, mut is_all) = (Vec::new(), 0, false);
    let with_data = !asked.without_data;
    while !is_all && events.len() < asked.limit && bytes < BYTES_MAX {
        let (rows, all) = room.below.ctx.rows_after(Table::History, &id.bytes(), after.as_deref(), ROWS)?;
        is_all = all;
        for (key, value) in rows {
            if events.len() >= asked.limit {
                is_all = false;
                break;
            }
            bytes += value.len();
            let chunk = unpack(&value).ok_or_else(|| damaged("a history"))?;
            let rest = chunk.iter().filter(|event| event.id > from.event);
            let shown = rest.take(asked.limit - events.len()).map(|event| (event.id, event.to_json(with_data)));
            for (number, event) in shown {
                at.event = number;
                events.push(event);
            }
            if chunk.last().is_some_and(|last| last.id > at.event) {
                is_all = false;
                break;
            }
            at.row = chunk.first().map_or(at.row, |event| event.id);
            after = Some(key);
        }
    }
    Ok(HistoryPage { events, next: (!is_all).then(|| at.number()) })
}

/// The latest event first. What is not shown is not read: a page costs the same wherever it stands.
fn backward(room: &mut WorkflowRoom<'_>, id: RunId, asked: &History) -> Result<HistoryPage, EngineError> {
    let before = asked.after.and_then(|before| u32::try_from(before).ok());
    let mut low = match before {
        Some(before) => before,
        None => last_row(room, id)?.saturating_add(1),
    };
    let (mut events, mut bytes, mut last) = (Vec::new(), 0, 0);
    // A row bears the number of its first event, and the first of all is 1.
    while low > 1 && events.len() < asked.limit && bytes < BYTES_MAX {
        let from = low.saturating_sub(NUMBERS_BACK).max(1);
        let (after, end) = (id.history_key(from - 1), id.history_key(low));
        let count = (low - from) as usize;
        let (rows, _) = room.below.ctx.rows_after(Table::History, &id.bytes(), Some(&after), count)?;
        for (_, value) in rows.iter().rev().filter(|(key, _)| *key < end) {
            if events.len() >= asked.limit || bytes >= BYTES_MAX {
                break;
            }
            bytes += value.len();
            let chunk = unpack(value).ok_or_else(|| damaged("a history"))?;
            let shown = chunk.iter().rev().filter(|event| before.is_none_or(|before| event.id < before));
            for event in shown.take(asked.limit - events.len()) {
                last = event.id;
                events.push(event.to_json(!asked.without_data));
            }
        }
        low = from;
    }
    Ok(HistoryPage { events, next: (last > 1).then_some(u64::from(last)) })
}

/// The number that a history's last row bears; 0 without any.
fn last_row(room: &mut WorkflowRoom<'_>, id: RunId) -> Result<u32, EngineError> {
    // Ever wider steps as long as something follows, and then ever narrower ones.
    let (mut last, mut step, mut is_widening) = (0_u32, 1_u32, true);
    loop {
        let after = id.history_key(last.saturating_add(step - 1));
        let (rows, _) = room.below.ctx.rows_after(Table::History, &id.bytes(), Some(&after), 1)?;
        match rows.first().and_then(|(key, _)| key.last_chunk()) {
            Some(number) => last = u32::from_be_bytes(*number),
            None if step == 1 => return Ok(last),
            None => is_widening = false,
        }
        step = if is_widening { step.saturating_mul(2) } else { (step / 2).max(1) };
    }
}
