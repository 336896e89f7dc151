//! Streams: shards, the mappings that read them, and what an operator asks of them.

pub(crate) mod followers;
pub(crate) mod given_up;
pub(crate) mod lag;
pub mod lost_records;
pub mod mapping;
pub mod mapping_requests;
pub mod mapping_row;
pub(crate) mod participant;
pub mod poller;
pub(crate) mod put;
pub(crate) mod recovery;
pub mod redrive;
pub mod requests;
pub mod retention;
pub mod shards;
pub(crate) mod sizes;
pub mod suspects;

use crate::base::error::{declared_are, EngineError};
use crate::sources::stream::poller::PollerId;
use crate::store::chunk::Chunk;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use forebay_core::stream::protocol::Record;

use crate::ctx::Ctx;
use crate::dispatch::attempt_journal::{InFlight, JournalSlot};
use crate::dispatch::{Dispatch, DispatchRoom};
use crate::failures::{FailureRoom, Failures};
use crate::sources::stream::followers::Followers;
use crate::sources::stream::mapping::Mapping;
use crate::sources::stream::poller::Poller;
use crate::sources::stream::redrive::Redrive;
use crate::sources::stream::shards::{Shard, Stream};
use crate::store::port::ShardId;

/// Streams, their shards, and what reads them.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) by_name: BTreeMap<String, Stream>,
    /// By id; a deleted shard leaves a hole, since an id is never given out twice.
    pub(crate) shards: Vec<Option<Shard>>,
    pub(crate) mappings: BTreeMap<u64, Mapping>,
    pub(crate) pollers: Vec<Option<Poller>>,
    /// What was in flight when the last process died and has not been taken by a poller yet.
    pub(crate) suspects: Vec<(InFlight, JournalSlot)>,
    pub(crate) redrives: BTreeMap<u64, Redrive>,
    /// Whoever waits for the next record of a shard.
    pub(crate) followers: Followers,
    pub(crate) tail_bytes: usize,
    /// Shard and first position of the chunks in memory, oldest first.
    pub(crate) tail_order: VecDeque<(ShardId, u64)>,
    /// Shards with records that wait for the next commit, and pollers with unsaved progress.
    pub(crate) puts: Vec<ShardId>,
    pub(crate) unsaved: Vec<PollerId>,
    /// What the commit under way appends.
    pub(crate) appended: Vec<(ShardId, Arc<Chunk>)>,
    /// The reader looks up when records arrived, for a page of metrics.
    pub(crate) looks_for_arrivals: bool,
    /// The reader looks for records that retention drops.
    pub(crate) is_sweeping: bool,
    /// Scratch for `feed`.
    pub(crate) metas: Vec<Record>,
}

/// Streams, with what lies below them.
pub(crate) struct StreamRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) failures: &'a mut Failures,
    pub(crate) streams: &'a mut Streams,
}

impl<'a> StreamRoom<'a> {
    pub(crate) fn new(
        ctx: &'a mut Ctx,
        dispatch: &'a mut Dispatch,
        failures: &'a mut Failures,
        streams: &'a mut Streams,
    ) -> Self {
        Self { ctx, dispatch, failures, streams }
    }
}

impl StreamRoom<'_> {
    pub(crate) fn dispatch(&mut self) -> DispatchRoom<'_> {
        DispatchRoom { ctx: self.ctx, dispatch: self.dispatch }
    }

    pub(crate) fn failures(&mut self) -> FailureRoom<'_> {
        FailureRoom { ctx: self.ctx, dispatch: self.dispatch, failures: self.failures }
    }
}

impl Streams {
    pub(crate) fn no_stream(&self, name: &str) -> EngineError {
        let known = declared_are(self.by_name.keys().map(String::as_str));
        EngineError::NotFound(format!("there is no stream {name:?}: {known}"))
    }
}
