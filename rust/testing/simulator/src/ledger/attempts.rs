//! The checks that look over more than one record: parents before children, the number of attempts, the states of windows.

use std::collections::BTreeMap;

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::protocol::Window;
use forebay_engine::store::port::ShardId;
use serde_json::Value;

use super::commits::lane_of;
use super::log::Shard;
use super::progress::{Flight, Progress};
use super::{Mapping, Promise};

impl Mapping {
    /// The records of a shard begin when those of all that it came from are over; a parent may be empty.
    pub(super) fn see_parents(
        &mut self,
        shard: &Shard,
        shards: &BTreeMap<ShardId, Shard>,
    ) -> Result<(), (Promise, String)> {
        let id_of_child = shard.index;
        let mut ancestors = shard.parents.clone();
        while let Some(id) = ancestors.pop() {
            let Some(parent) = shards.get(&id).filter(|parent| !parent.deleted) else { continue };
            let progress = self.progress.entry(id).or_insert_with(|| Progress::starting_at(parent.start));
            if progress.is_over {
                continue;
            }
            progress.give_up_rest(parent).map_err(|story| {
                (
                    Promise::Order,
                    format!("shard {id_of_child} begins before its ancestor {} is over: {story}", parent.index),
                )
            })?;
            progress.is_over = true;
            ancestors.extend(&parent.parents);
        }
        Ok(())
    }

    /// Count a failed attempt at a batch against the settings.
    pub(super) fn count_attempt(&mut self, flight: &Flight, done: usize, failed: bool) -> Result<(), String> {
        let (Some(&first), Some(&last)) = (flight.positions.first(), flight.positions.last()) else { return Ok(()) };
        let Some(progress) = self.progress.get_mut(&flight.shard) else { return Ok(()) };
        if done > 0 {
            progress.failed.remove(&first);
            return Ok(());
        }
        if !failed {
            return Ok(());
        }
        let entry = progress.failed.entry(first).or_insert((last, 0));
        *entry = if entry.0 == last { (last, entry.1 + 1) } else { (last, 1) };
        let failures = entry.1;
        let most = match self.settings.retries {
            _ if self.settings.bisect && first != last && flight.positions.len() > 1 => 1,
            Some(retries) => retries + 1,
            None => u64::MAX,
        };
        if failures > most {
            return Err(format!("{failures} failed attempts at {first}..={last}, allowed are {most}"));
        }
        Ok(())
    }
}

impl Progress {
    /// After a crash: failed attempts count on as the durable checkpoint tells them.
    pub(super) fn keep_tries(&mut self, shard: &Shard, saved: Option<&Checkpoint>) {
        let Some(saved) = saved else { return };
        for (lane, &mark) in saved.marks.iter().enumerate() {
            let tried = saved.tried.iter().find(|tried| usize::from(tried.lane) == lane && tried.failures > 0);
            let Some((last, failures)) = tried.and_then(|tried| Some((tried.last?, tried.failures))) else { continue };
            let of_lane = |position: &u64| {
                let place = shard.place(*position);
                place.is_some_and(|place| lane_of(shard.records[place].hash, saved.marks.len()) == lane)
            };
            if let Some(first) = (mark.max(shard.start)..=last).find(of_lane) {
                self.failed.insert(first, (last, u64::from(failures)));
            }
        }
    }

    /// The state handed over must be the one that the last attempt gave.
    pub(super) fn check_window(&mut self, window: Option<&Window>, is_final: bool) -> Result<(), (Promise, String)> {
        // It was tried again, or given up: whatever begins now is past it, also where there are no windows any more.
        let final_failed = std::mem::take(&mut self.final_failed);
        let Some(window) = window else { return Ok(()) };
        let handed = window_count(&window.state);
        if handed == Some(0) && final_failed {
            self.window_count = 0;
        }
        if handed != Some(self.window_count) || window.is_final != is_final {
            let story = format!("the window's state is {}, counted are {}", window.state, self.window_count);
            return Err((Promise::Windows, story));
        }
        Ok(())
    }

    pub(super) fn count_window(&mut self, response: Option<&Value>, is_final: bool) {
        let count = response.and_then(|response| response["state"]["count"].as_u64());
        self.window_count = if is_final { 0 } else { count.unwrap_or(self.window_count) };
    }
}

/// The count in a window's state.
pub(super) fn window_count(state: &str) -> Option<u64> {
    let state: Value = serde_json::from_str(state).ok()?;
    Some(state["count"].as_u64().unwrap_or(0))
}
