//! The engine's state and its turn. Everything here happens under one lock and never waits: reads and commits are handed
//! out as orders and come back as facts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use forebay_core::concurrency::{AccountLimits, Pool};
use forebay_core::stream::face::Record;
use forebay_core::Now;

use crate::attempts::{Attempts, Slot, Token};
use crate::commits::{Pending, Rows};
use crate::deliveries::Deliveries;
use crate::environments::Pools;
use crate::error::{Answer, EngineError, Ticket};
use crate::functions::Function;
use crate::history::History;
use crate::invocation::EventQueues;
use crate::limits::AccountSettings;
use crate::mappings::Mapping;
use crate::meters::{AccountMeters, StoreMeters};
use crate::metrics::exports::Exports;
use crate::metrics::Registry;
use crate::notices::Notices;
use crate::orders::Order;
use crate::outbox::Outbox;
use crate::places::Places;
use crate::pollers::{Poller, PollerId};
use crate::port::{Reader, ShardId, StoreError};
use crate::queue::{QueueId, Queues};
use crate::redrives::Redrive;
use crate::slots::{SlotId, SlotRecord, Slots};
use crate::streams::{Shard, Stream};
use crate::topic::Topics;
use crate::versions::Declared;

/// How often retention looks.
pub(crate) const SWEEP_NS: u64 = 30_000_000_000;

/// What an engine is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the app.
    pub app: String,
    /// AWS region shown in ARNs and events.
    pub region: String,
    /// AWS account shown in ARNs.
    pub account: String,
    /// Its places.
    pub limits: AccountSettings,
    /// Whether anything is counted.
    pub metrics: bool,
}

/// What rings when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Poller(PollerId),
    Deadline(Slot),
    Environments(Slot),
    /// Somebody waits for a place that comes with time.
    Places,
    /// Failures of a mapping or a function are due at their destination.
    Deliveries(u64),
    Redrives,
    Events(u64),
    Queue(QueueId),
    /// The window of a mapping on a queue.
    QueueMapping(u64),
    /// Messages on their way from queue to queue.
    Moves,
    Sweep,
    Points,
}

/// Timers by time. Pollers and functions have one entry each: whoever wants to ring later than it is armed lets it ring and
/// arms it anew.
#[derive(Default)]
pub(crate) struct Timers(BTreeSet<(u64, Timer)>);

impl Timers {
    pub(crate) fn push(&mut self, due_ns: u64, timer: Timer) {
        self.0.insert((due_ns, timer));
    }

    /// Make sure that a timer with one entry rings at `due_ns` or before.
    pub(crate) fn arm(&mut self, armed: &mut Option<u64>, due_ns: u64, timer: Timer) {
        match *armed {
            Some(earlier) if earlier <= due_ns => return,
            Some(later) => {
                self.0.remove(&(later, timer));
            }
            None => {}
        }
        *armed = Some(due_ns);
        self.0.insert((due_ns, timer));
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.0.first().map(|(due, _)| *due)
    }

    fn pop_due(&mut self, now_ns: u64) -> Option<(u64, Timer)> {
        if self.next_due()? > now_ns {
            return None;
        }
        self.0.pop_first()
    }
}

/// A stream of numbers that nobody can foretell and a test can repeat (`SplitMix64`).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 128 bits laid out as a version 4 UUID.
    pub(crate) fn uuid(&mut self) -> u128 {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        bits & !(0xF << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
    }
}

/// Everything an engine knows.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) chance: Chance,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) meters: StoreMeters,
    pub(crate) exports: Exports,
    /// The second that the clock was last seen in, since 1970, and whether another one had begun.
    pub(crate) second: u64,
    pub(crate) second_ended: bool,
    /// When the running minute of the points ends.
    pub(crate) points_armed: Option<u64>,

    pub(crate) streams: BTreeMap<String, Stream>,
    /// By id; a deleted shard leaves a hole, since an id is never given out twice.
    pub(crate) shards: Vec<Option<Shard>>,
    pub(crate) mappings: BTreeMap<u64, Mapping>,
    pub(crate) next_mapping: u64,
    pub(crate) pollers: Vec<Option<Poller>>,
    pub(crate) functions: Vec<Function>,
    pub(crate) function_names: BTreeMap<String, Slot>,
    pub(crate) destination_names: BTreeMap<String, Slot>,
    /// By what they are invoked by: `function:alias`.
    pub(crate) aliases: BTreeMap<String, Declared>,
    pub(crate) queues: Queues,
    pub(crate) topics: Topics,

    pub(crate) attempts: Attempts,
    pub(crate) outbox: Outbox,
    pub(crate) places: Places,
    pub(crate) pools: Pools,
    pub(crate) slots: Slots,
    /// What was in flight when the last process died and has not been taken by a poller yet.
    pub(crate) suspects: Vec<(SlotRecord, SlotId)>,
    /// Batches handed out in this exchange and not yet counted on file.
    pub(crate) counted: Vec<(Token, SlotRecord)>,
    pub(crate) timers: Timers,
    /// When retention looks next.
    pub(crate) sweep_armed: Option<u64>,
    pub(crate) pending: Pending,
    pub(crate) committing_bytes: usize,
    /// A commit is on its way.
    pub(crate) is_committing: bool,
    /// Rows of the commit under way: no longer pending, not yet readable.
    pub(crate) committing: Arc<Rows>,
    pub(crate) reads: VecDeque<Order>,
    pub(crate) deliveries: Deliveries,
    pub(crate) redrives: BTreeMap<u64, Redrive>,
    pub(crate) events: EventQueues,
    /// Hops of the chains that events in flight and messages in handlers' hands belong to, by request.
    pub(crate) hops_running: BTreeMap<u128, u32>,
    pub(crate) history: History,
    /// When listed failures were last looked through, wall ms.
    pub(crate) failures_swept_ms: u64,
    pub(crate) answered: Vec<(Ticket, Answer)>,
    pub(crate) notices: Notices,
    pub(crate) tail_bytes: usize,
    /// Shard and first position of the chunks in memory, oldest first.
    pub(crate) tail_order: VecDeque<(ShardId, u64)>,
    /// Scratch for `feed`.
    pub(crate) metas: Vec<Record>,

    /// There is something for the next exchange.
    pub(crate) ring: bool,
    pub(crate) started: bool,
    pub(crate) draining: bool,
    pub(crate) closed: bool,
    pub(crate) full: bool,
    pub(crate) failed: Option<StoreError>,
    /// Where the store is, if it is in a directory.
    pub(crate) directory: Option<PathBuf>,
}

impl State {
    pub(crate) fn new(
        config: Config,
        limits: AccountLimits,
        now: Now,
        seed: u64,
        reader: Box<dyn Reader>,
        slots: Slots,
        registry: Arc<Registry>,
    ) -> Self {
        let meters = StoreMeters::new(&registry);
        let places = Places::new(Pool::new(limits, now.mono_ns), AccountMeters::new(&registry));
        Self {
            config,
            now,
            chance: Chance::new(seed),
            reader,
            registry,
            meters,
            exports: Exports::default(),
            second: now.wall_ms / 1000,
            second_ended: false,
            points_armed: None,
            streams: BTreeMap::new(),
            shards: Vec::new(),
            mappings: BTreeMap::new(),
            next_mapping: 1,
            pollers: Vec::new(),
            functions: Vec::new(),
            function_names: BTreeMap::new(),
            destination_names: BTreeMap::new(),
            aliases: BTreeMap::new(),
            queues: Queues::default(),
            topics: Topics::default(),
            attempts: Attempts::default(),
            outbox: Outbox::default(),
            places,
            pools: Pools::default(),
            slots,
            suspects: Vec::new(),
            counted: Vec::new(),
            timers: Timers::default(),
            sweep_armed: None,
            pending: Pending::default(),
            committing_bytes: 0,
            is_committing: false,
            committing: Arc::default(),
            reads: VecDeque::new(),
            deliveries: Deliveries::default(),
            redrives: BTreeMap::new(),
            events: EventQueues::default(),
            hops_running: BTreeMap::new(),
            history: History::since(now.wall_ms),
            failures_swept_ms: 0,
            answered: Vec::new(),
            notices: Notices::default(),
            tail_bytes: 0,
            tail_order: VecDeque::new(),
            metas: Vec::new(),
            ring: false,
            started: false,
            draining: false,
            closed: false,
            full: false,
            failed: None,
            directory: None,
        }
    }

    /// Do everything that is due.
    pub(crate) fn turn(&mut self) {
        while let Some((_, timer)) = self.timers.pop_due(self.now.mono_ns) {
            match timer {
                Timer::Poller(id) => self.poller_due(id),
                Timer::Deadline(slot) => self.deadline_due(slot),
                Timer::Environments(slot) => self.environments_due(slot),
                Timer::Places => self.places.armed = None,
                Timer::Deliveries(id) => self.deliveries_due(id),
                Timer::Redrives => self.send_redrives(),
                Timer::Events(id) => self.events_due(id),
                Timer::Queue(id) => self.queue_due(id),
                Timer::QueueMapping(id) => self.look_again(id),
                Timer::Moves => self.send_moves(),
                // The end of the second was seen when the clock was looked at.
                Timer::Points => self.points_armed = None,
                Timer::Sweep => {
                    self.sweep_armed = None;
                    if let Err(EngineError::Store(error)) = self.sweep() {
                        self.fail(error);
                    }
                }
            }
        }
        self.feed_environments(None);
    }

    /// Let retention look at `due_ns`, or before.
    pub(crate) fn sweep_at(&mut self, due_ns: u64) {
        self.timers.arm(&mut self.sweep_armed, due_ns, Timer::Sweep);
    }

    /// When the next turn is needed, mono ns.
    pub(crate) fn next_due(&self) -> Option<u64> {
        [self.timers.next_due(), self.pending.due()].into_iter().flatten().min()
    }

    /// Nothing handed out, nothing to be made durable.
    pub(crate) fn idle(&self) -> bool {
        self.outbox.is_idle() && self.pending.is_empty() && self.committing_bytes == 0
    }

    pub(crate) fn no_stream(&self, name: &str) -> EngineError {
        let known: Vec<&str> = self.streams.keys().take(8).map(String::as_str).collect();
        let known =
            if known.is_empty() { "none is declared yet".into() } else { format!("declared are {}", known.join(", ")) };
        EngineError::NotFound(format!("there is no stream {name:?}: {known}"))
    }

    pub(crate) fn function_arn(&self, name: &str) -> String {
        format!("arn:aws:lambda:{}:{}:function:{name}", self.config.region, self.config.account)
    }

    pub(crate) fn stream_arn(&self, name: &str) -> String {
        format!("arn:aws:kinesis:{}:{}:stream/{name}", self.config.region, self.config.account)
    }
}

/// A request id as Lambda shows it.
pub fn uuid_text(id: u128) -> String {
    // By hand: every attempt has one, and formatting its parts costs more than the attempt's own book-keeping.
    let mut text = String::with_capacity(36);
    for (at, byte) in id.to_be_bytes().into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

/// The request id that a text shows.
pub fn parse_uuid(text: &str) -> Option<u128> {
    u128::from_str_radix(&text.replace('-', ""), 16).ok()
}

/// ISO 8601, UTC, milliseconds.
pub fn iso_millis(wall_ms: u64) -> String {
    let (days, rest) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second, millis) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Date of a day counted from 1970-01-01 (Howard Hinnant's days-to-civil arithmetic).
fn civil(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u64;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era as i64 + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_aws_writes_them() {
        assert_eq!(iso_millis(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_millis(1_573_755_365_568), "2019-11-14T18:16:05.568Z");
        assert_eq!(iso_millis(1_582_934_400_001), "2020-02-29T00:00:00.001Z");
    }

    #[test]
    fn request_ids_are_version_4_uuids_and_differ() {
        let mut chance = Chance::new(7);
        let first = uuid_text(chance.uuid());
        assert_eq!(uuid_text(0x0123_4567_89ab_4def_8123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
        assert_eq!(first.len(), 36);
        assert_eq!(&first[14..15], "4");
        assert!("89ab".contains(&first[19..20]));
        assert_ne!(first, uuid_text(chance.uuid()));
        let id = chance.uuid();
        assert_eq!((parse_uuid(&uuid_text(id)), parse_uuid("none")), (Some(id), None));
    }

    #[test]
    fn timers_ring_in_order_and_only_when_due() {
        let mut timers = Timers::default();
        timers.push(20, Timer::Sweep);
        timers.push(10, Timer::Moves);
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(25), Some((10, Timer::Moves)));
        assert_eq!(timers.pop_due(25), Some((20, Timer::Sweep)));
        assert_eq!(timers.pop_due(25), None);
    }
}
