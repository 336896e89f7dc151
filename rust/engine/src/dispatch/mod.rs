//! Who may run what, and what runs: functions, permits, attempts.

pub(crate) mod answers;
pub mod attempts;
pub mod functions;
pub(crate) mod invoke;
pub(crate) mod job;
pub mod limits;
pub(crate) mod participant;
pub mod permits;
pub(crate) mod process_lines;
pub mod program;
pub mod ready_list;
pub mod requests;
pub mod versions;
pub mod waiters;

pub use forebay_store::attempt_journal;

use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use std::collections::BTreeMap;

use crate::ctx::Ctx;
use crate::dispatch::attempt_journal::{AttemptJournal, InFlight};
use crate::dispatch::attempts::{Attempts, HandlerId, Token};
use crate::dispatch::functions::Function;
use crate::dispatch::permits::Permits;
use crate::dispatch::process_lines::ProcessLines;
use crate::dispatch::ready_list::ReadyList;
use crate::dispatch::versions::Declared;

/// Whose timers, and whose attempts, these are.
pub(crate) const ROOM: RoomId = RoomId(1);
/// Somebody waits for a permit that comes with time.
pub(crate) const PERMITS: Timer = Timer { room: ROOM, kind: 1, id: 0 };

/// The timer of a function's oldest deadline.
pub(crate) fn deadline(handler: HandlerId) -> Timer {
    Timer { room: ROOM, kind: 0, id: handler as u64 }
}

/// Functions and destinations, permits, attempts.
pub(crate) struct Dispatch {
    pub(crate) functions: Vec<Function>,
    pub(crate) function_names: BTreeMap<String, HandlerId>,
    pub(crate) destination_names: BTreeMap<String, HandlerId>,
    /// By what they are invoked by: `function:alias`.
    pub(crate) aliases: BTreeMap<String, Declared>,
    pub(crate) attempts: Attempts,
    pub(crate) ready_list: ReadyList,
    pub(crate) permits: Permits,
    pub(crate) process_lines: ProcessLines,
    pub(crate) journal: AttemptJournal,
    /// Batches handed out in this exchange and not yet counted on file.
    pub(crate) counted: Vec<(Token, InFlight)>,
    /// Attempts that were in flight when the last process died, until the app that runs them again has started.
    pub(crate) found_in_flight: usize,
    /// Hops of the chains that events in flight and messages in handlers' hands belong to, by request.
    pub(crate) hops_running: BTreeMap<u128, u32>,
    /// What other rooms are to be told.
    pub(crate) changes: Vec<Change>,
    /// Attempts whose ends nobody waits for any more.
    pub(crate) unwanted: Vec<Token>,
    /// There is no room for answers that would wait: attempts that bring such ones stand aside when their turn comes.
    is_crowded: bool,
    standing_aside: Vec<Token>,
}

/// What a change of a function's limits means to the rooms above.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// So many of a function's processes are to be kept ready ahead of need.
    Provisioned(HandlerId, u32),
    /// A function may run, or may not run any more.
    Limits(HandlerId),
    /// A function has an alias, or another one.
    Alias(HandlerId),
}

impl Dispatch {
    pub(crate) fn new(permits: Permits, journal: AttemptJournal) -> Self {
        Self {
            functions: Vec::new(),
            function_names: BTreeMap::new(),
            destination_names: BTreeMap::new(),
            aliases: BTreeMap::new(),
            attempts: Attempts::default(),
            ready_list: ReadyList::default(),
            permits,
            process_lines: ProcessLines::default(),
            journal,
            found_in_flight: 0,
            counted: Vec::new(),
            hops_running: BTreeMap::new(),
            unwanted: Vec::new(),
            changes: Vec::new(),
            is_crowded: false,
            standing_aside: Vec::new(),
        }
    }
}

/// Dispatch, with what lies below it.
pub(crate) struct DispatchRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
}
