//! An engine of nothing but virtual time: a log, a handler, and the machine between them.

use std::collections::BTreeMap;

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::protocol::{BatchId, Command, Outcome, Record, Settings, Suspect, Window};
use forebay_core::stream::ShardMachine;
use forebay_core::Now;

/// 2020-01-01T00:00:00Z, where the simulated wall clock starts.
pub(crate) const START_MS: u64 = 1_577_836_800_000;
const NS_PER_MS: u64 = 1_000_000;

/// A `Run` as the handler sees it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) batch: BatchId,
    pub(crate) lane: u8,
    pub(crate) lanes: u8,
    pub(crate) positions: Vec<u64>,
    pub(crate) window: Option<Window>,
    pub(crate) alone: bool,
    pub(crate) interruptions: u32,
}

/// The user's side: how long an attempt takes, and how it ends.
pub(crate) type Handler<'a> = Box<dyn FnMut(&Attempt) -> (u64, Outcome) + 'a>;

/// What an observer is told, in order.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    Command(&'a Command),
    Ended(&'a Attempt, &'a Outcome),
    /// A batch was taken back before it began.
    Withdrawn(BatchId),
}

pub(crate) struct Sim<'a> {
    pub(crate) machine: ShardMachine,
    pub(crate) log: Vec<Record>,
    /// Records of the log from here on have not been appended yet.
    pub(crate) appended: usize,
    pub(crate) elapsed_ms: u64,
    /// Most records the log gives at once.
    pub(crate) fetch_max: usize,
    pub(crate) handler: Handler<'a>,
    pub(crate) flying: BTreeMap<(u64, BatchId), (Attempt, Outcome)>,
    /// Every checkpoint since the last start, the one it began with first.
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// First record that retention has left.
    pub(crate) trimmed: u64,
    /// Batches past their deadline, for which nothing waits but their lane.
    pub(crate) overdue: Vec<BatchId>,
    /// No attempt begins before: batches wait for a place until then.
    pub(crate) room_at_ms: u64,
}

impl<'a> Sim<'a> {
    pub(crate) fn new(settings: Settings, log: Vec<Record>, handler: Handler<'a>) -> Self {
        let checkpoint = Checkpoint::starting_at(0, settings.parallelization_factor);
        let machine = ShardMachine::new(settings, checkpoint.clone());
        Self {
            machine,
            log,
            appended: 0,
            elapsed_ms: 0,
            fetch_max: usize::MAX,
            handler,
            flying: BTreeMap::new(),
            checkpoints: vec![checkpoint],
            trimmed: 0,
            overdue: Vec::new(),
            room_at_ms: 0,
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono_ns: self.elapsed_ms * NS_PER_MS, wall_ms: START_MS + self.elapsed_ms, entropy: self.elapsed_ms }
    }

    /// The process dies and starts again: only the log, the slots of batches in flight and a checkpoint are left, the last
    /// but `unsaved`. Returns its place in `checkpoints`, as they were.
    pub(crate) fn crash(&mut self, settings: Settings, unsaved: usize) -> usize {
        let saved = (self.checkpoints.len() - 1).saturating_sub(unsaved);
        let slot = |attempt: &Attempt| Suspect {
            positions_first: attempt.positions.first().copied().unwrap_or(1),
            positions_last: attempt.positions.last().copied().unwrap_or(0),
            lane: attempt.lane,
            lanes: attempt.lanes,
            interruptions: attempt.interruptions,
            alone: attempt.alone,
        };
        let flying = std::mem::take(&mut self.flying);
        self.overdue.clear();
        let mut suspects: Vec<Suspect> = flying.values().map(|(attempt, _)| slot(attempt)).collect();
        suspects.extend(self.machine.suspects_open());
        let checkpoint = self.checkpoints[saved].clone();
        self.machine = ShardMachine::new(settings, checkpoint.clone());
        self.checkpoints = vec![checkpoint];
        self.machine.suspects(suspects, self.appended as u64);
        let now = self.now();
        self.machine.skipped_to(self.trimmed, &now);
        self.machine.appended(self.appended as u64);
        saved
    }

    /// The batch in flight that ends next is past its deadline.
    pub(crate) fn expire(&mut self) {
        if let Some(&(_, batch)) = self.flying.keys().next() {
            self.overdue.push(batch);
            self.machine.overdue(batch, &self.now());
        }
    }

    /// Do everything that happens at this moment.
    pub(crate) fn settle(&mut self, see: &mut dyn FnMut(&Self, Seen<'_>)) {
        let now = self.now();
        let visible = self.log.iter().take_while(|record| record.arrival_ms <= now.wall_ms).count();
        if visible > self.appended {
            self.appended = visible;
            self.machine.appended(visible as u64);
        }
        self.machine.due(&now);
        loop {
            self.carry_out(see);
            if self.fetch() {
                continue;
            }
            let at = (self.elapsed_ms, BatchId::MAX);
            let Some(key) = self.flying.range(..=at).next().map(|(key, _)| *key) else { return };
            let (attempt, outcome) = self.flying.remove(&key).unwrap();
            see(self, Seen::Ended(&attempt, &outcome));
            self.machine.completed(attempt.batch, &outcome, &now);
        }
    }

    fn carry_out(&mut self, see: &mut dyn FnMut(&Self, Seen<'_>)) {
        while let Some(command) = self.machine.poll() {
            see(self, Seen::Command(&command));
            match command {
                Command::Run { batch, lane, positions, window, alone, interruptions, .. } => {
                    let in_time = |other: &&Attempt| !self.overdue.contains(&other.batch);
                    let mut others = self.flying.values().map(|(other, _)| other).filter(in_time);
                    assert!(
                        others.all(|other| !alone && !other.alone),
                        "one runs alone, or should, and another beside it"
                    );
                    let attempt = Attempt {
                        batch,
                        lane,
                        lanes: self.machine.lanes() as u8,
                        positions,
                        window,
                        alone,
                        interruptions,
                    };
                    let (takes_ms, outcome) = (self.handler)(&attempt);
                    let begins_ms = self.elapsed_ms.max(self.room_at_ms);
                    self.flying.insert((begins_ms + takes_ms, batch), (attempt, outcome));
                }
                Command::Recall { batch, .. } => {
                    if self.elapsed_ms < self.room_at_ms {
                        self.flying.retain(|(_, other), _| *other != batch);
                        see(self, Seen::Withdrawn(batch));
                        self.machine.withdrawn(batch, &self.now());
                    }
                }
                Command::Checkpoint(checkpoint) => self.checkpoints.push(checkpoint),
                Command::Discard { .. } | Command::Count(_) => {}
            }
        }
    }

    fn fetch(&mut self) -> bool {
        let Some(fetch) = self.machine.wants() else { return false };
        self.machine.fetching();
        assert_eq!(self.machine.wants(), None, "one fetch at a time");
        let now = self.now();
        let from = fetch.from.max(self.trimmed) as usize;
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += u64::from(record.bytes);
            bytes <= fetch.bytes_max || bytes == u64::from(record.bytes)
        };
        let most = (fetch.records_max as usize).min(self.fetch_max);
        let visible = self.log[..self.appended].iter().skip(from).take(most);
        let records: Vec<Record> = visible.take_while(fits).copied().collect();
        self.machine.fetched(&records, &now);
        true
    }

    /// Go to the next moment at which something happens, or to `limit_ms` if that comes first.
    pub(crate) fn step(&mut self, limit_ms: u64) -> bool {
        let next_record = self.log.get(self.appended).map(|record| record.arrival_ms - START_MS);
        let next_end = self.flying.keys().next().map(|(at_ms, _)| *at_ms);
        let next_due = self.machine.next_due().map(|ns| ns.div_ceil(NS_PER_MS));
        let next = [next_record, next_end, next_due].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= limit_ms) else {
            self.elapsed_ms = limit_ms;
            return false;
        };
        assert!(next > self.elapsed_ms || next_end == Some(next), "time stands still at {next} ms");
        self.elapsed_ms = next;
        true
    }

    /// Let everything happen up to and including `limit_ms`.
    pub(crate) fn run_until(&mut self, limit_ms: u64, see: &mut dyn FnMut(&Self, Seen<'_>)) {
        for _ in 0..1_000_000 {
            self.settle(see);
            if !self.step(limit_ms) {
                return self.settle(see);
            }
        }
        panic!("no end of events before {limit_ms} ms");
    }
}
