//! A queue machine with what an engine keeps beside it: messages and rows, changed by its commands alone.

use std::collections::BTreeMap;

use forebay_core::queue::protocol::{Command, Delivery, Hold, Removal, Restored, Row, Sent, Settings};
use forebay_core::queue::QueueMachine;
use forebay_core::Now;

/// 2020-01-01T00:00:00Z, where the simulated wall clock starts.
pub(crate) const START_MS: u64 = 1_577_836_800_000;
const NS_PER_MS: u64 = 1_000_000;

pub(crate) struct Message {
    pub(crate) group: String,
    pub(crate) sent_ms: u64,
    pub(crate) delay_ms: u64,
    pub(crate) row: Row,
}

pub(crate) struct Store {
    pub(crate) machine: QueueMachine,
    pub(crate) settings: Settings,
    pub(crate) messages: BTreeMap<u64, Message>,
    /// On their way to the dead letters.
    pub(crate) leaving: BTreeMap<u64, Message>,
    pub(crate) elapsed_ms: u64,
    /// How far the wall clock has jumped.
    pub(crate) jumped_ms: i64,
    pub(crate) sent: u64,
    /// Held by handlers of this process.
    pub(crate) running: Vec<Vec<Delivery>>,
    /// What went away and why, in order.
    pub(crate) seen: Vec<String>,
    turns: u64,
}

impl Store {
    pub(crate) fn new(settings: Settings) -> Self {
        let now = Now { mono_ns: 0, wall_ms: START_MS, entropy: 0 };
        Self {
            machine: QueueMachine::new(settings, &now),
            settings,
            messages: BTreeMap::new(),
            leaving: BTreeMap::new(),
            elapsed_ms: 0,
            jumped_ms: 0,
            sent: 0,
            running: Vec::new(),
            seen: Vec::new(),
            turns: 0,
        }
    }

    /// The present moment; each has its own entropy.
    pub(crate) fn now(&mut self) -> Now {
        self.turns += 1;
        let wall_ms = (START_MS + self.elapsed_ms).saturating_add_signed(self.jumped_ms);
        Now { mono_ns: self.elapsed_ms * NS_PER_MS, wall_ms, entropy: self.turns << 32 }
    }

    pub(crate) fn send(&mut self, group: &str, delay_ms: u64, ago_ms: u64) {
        let now = self.now();
        let number = self.sent;
        self.sent += 1;
        let message = Message { group: group.to_owned(), sent_ms: now.wall_ms - ago_ms, delay_ms, row: Row::default() };
        self.messages.insert(number, message);
        let message = &self.messages[&number];
        self.machine.sent(&Sent { number, group, sent_ms: message.sent_ms, delay_ms }, &now);
    }

    pub(crate) fn due(&mut self) {
        let now = self.now();
        self.machine.due(&now);
        self.carry_out();
    }

    /// Let time pass, with every deadline on the way.
    pub(crate) fn run_until(&mut self, at_ms: u64) {
        for _ in 0..1_000_000 {
            self.due();
            let Some(next) = self.machine.next_due().map(|ns| ns.div_ceil(NS_PER_MS)).filter(|next| *next <= at_ms)
            else {
                self.elapsed_ms = at_ms;
                return self.due();
            };
            assert!(next > self.elapsed_ms, "time stands still at {next} ms");
            self.elapsed_ms = next;
        }
        panic!("no end of deadlines before {at_ms} ms");
    }

    pub(crate) fn carry_out(&mut self) {
        while let Some(command) = self.machine.poll() {
            match command {
                Command::Set { number, row } => {
                    self.messages.get_mut(&number).expect("a row of a message that is there").row = row;
                }
                Command::Remove { first, count, reason } => {
                    for number in first..first + count {
                        assert!(self.messages.remove(&number).is_some(), "message {number} is already gone");
                        let word = if reason == Removal::Deleted { "deleted" } else { "expired" };
                        self.seen.push(format!("{word} {number}"));
                    }
                }
                Command::Redrive { number, receive_count } => {
                    let message = self.messages.remove(&number);
                    self.leaving.insert(number, message.unwrap_or_else(|| panic!("message {number} is already gone")));
                    self.seen.push(format!("redrive {number}#{receive_count}"));
                }
                Command::Purge { before } => {
                    self.messages = self.messages.split_off(&before);
                    self.seen.push(format!("purge {before}"));
                }
            }
        }
    }

    /// The process dies and starts again, with what the commands left behind. Handlers die with it.
    pub(crate) fn restart(&mut self) {
        self.carry_out();
        let now = self.now();
        let flying: Vec<u64> = self.running.drain(..).flatten().map(|delivery| delivery.handle.number).collect();
        self.machine = QueueMachine::new(self.settings, &now);
        for (number, Message { group, sent_ms, delay_ms, row }) in &self.messages {
            let sent = Sent { number: *number, group, sent_ms: *sent_ms, delay_ms: *delay_ms };
            let was_running = flying.contains(number);
            self.machine.restored(&Restored { sent, row: *row, was_running }, &now);
        }
        self.carry_out();
    }

    /// A dead letter has arrived, or could not be moved and waits a second to be so again.
    pub(crate) fn move_ended(&mut self, number: u64, has_arrived: bool) {
        let message = self.leaving.remove(&number).unwrap_or_else(|| panic!("message {number} does not move"));
        if has_arrived {
            return self.machine.redriven(number);
        }
        let now = self.now();
        let most = self.settings.maximum_receive_count.unwrap_or(0);
        let row = Row { receive_count: most, visible_at_ms: now.wall_ms + 1000, ..Row::default() };
        let Message { group, sent_ms, delay_ms, .. } = message;
        let sent = Sent { number, group: &group, sent_ms, delay_ms };
        self.machine.restored(&Restored { sent, row, was_running: false }, &now);
        self.messages.insert(number, Message { group, sent_ms, delay_ms, row });
    }

    pub(crate) fn all_arrive(&mut self) {
        while let Some(number) = self.leaving.keys().next().copied() {
            self.move_ended(number, true);
        }
    }

    pub(crate) fn remember(&mut self, deliveries: &[Delivery], hold: Hold) {
        if hold == Hold::WhileRunning && !deliveries.is_empty() {
            self.running.push(deliveries.to_vec());
        }
    }
}
