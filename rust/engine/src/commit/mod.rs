//! What waits for the next commit, and the rows and reads around it.

pub(crate) mod attachment;
pub(crate) mod direct_reads;
pub(crate) mod done;
pub(crate) mod pending;
pub(crate) mod read_jobs;
pub(crate) mod rows;
pub(crate) mod starts;
pub(crate) mod target;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::error::{Answer, Ticket};
use crate::base::lease::Lease;
use crate::commit::direct_reads::DirectReads;
use crate::commit::pending::{Pending, Rows};
use crate::commit::read_jobs::ReadJob;
use crate::store::port::{Reader, StoreError, Token};

/// The commit that is gathered, the one under way, and what is asked of the reader.
pub(crate) struct Commits {
    pub(crate) reader: DirectReads,
    /// For the next commit.
    pub(crate) token: Token,
    pub(crate) pending: Pending,
    pub(crate) committing_bytes: usize,
    /// A commit is on its way.
    pub(crate) is_committing: bool,
    /// Rows of the commit under way: no longer pending, not yet readable.
    pub(crate) committing: Arc<Rows>,
    pub(crate) reads: VecDeque<Box<dyn ReadJob>>,
    pub(crate) answered: Vec<(Ticket, Answer)>,
    /// The number of the next mapping, or of the next function's events.
    pub(crate) next_mapping: u64,
    /// The number of the next shard.
    pub(crate) next_shard: u32,
    /// Why the store takes nothing new for now: its disk is full, or another program has its file locked.
    pub(crate) refused: Option<StoreError>,
    /// Why the commit under way is tried again and again: the store cannot be reached, or has not said whether it was written.
    pub(crate) unavailable: Option<StoreError>,
    /// Since when that is so, and when the operator is told the next time, mono ns.
    pub(crate) delayed: Option<(u64, u64)>,
    pub(crate) failed: Option<StoreError>,
    /// It has failed, and those who wait are not told yet.
    pub(crate) has_just_failed: bool,
}

impl Commits {
    pub(crate) fn new(reader: Box<dyn Reader>, lease: Lease, token: Token) -> Self {
        Self {
            reader: DirectReads::over(reader, lease),
            token,
            pending: Pending::default(),
            committing_bytes: 0,
            is_committing: false,
            committing: Arc::default(),
            reads: VecDeque::new(),
            answered: Vec::new(),
            next_mapping: 1,
            next_shard: 0,
            refused: None,
            unavailable: None,
            delayed: None,
            failed: None,
            has_just_failed: false,
        }
    }

    /// Whether another process has taken the store, or may have: it does not take what this one writes.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.failed, Some(StoreError::Lost(_)))
    }
}
