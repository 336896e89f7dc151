//! Schedules that are due once or every minute for some minutes, and replays of what the event bus has kept.

use forebay_engine::base::error::{Answer, Waiter};
use serde_json::{json, Value};

use super::queues::{bytes_of, outcome};
use super::{Event, World, NS_PER_MS};
use crate::chance::Chance;
use crate::ledger::{replay_name, tick_text, Dues};
use crate::topics::{Endpoint, TopicPlan};
use crate::watched::open;

/// Mean time between two schedules, and between two replays, ms.
const TICKS_MS: u64 = 300;
const REPLAYS_MS: u64 = 5_000;
/// Most seconds until a schedule is due.
const DUE_SECONDS: u64 = 4;
/// How far apart the due times of a rate are, and how many it has at most.
const RATE_MS: u64 = 60_000;
const RATE_TIMES: u64 = 5;
/// How far before and after now a replay reaches: the clock may have been set by a year.
const FAR_MS: u64 = 3 * 365 * 86_400_000;
const ARCHIVE: &str = "kept";

impl World {
    /// The event bus, which every run with schedules and replays has.
    fn bus(&self) -> Option<&TopicPlan> {
        self.shape.topics.iter().find(|topic| topic.is_bus)
    }

    /// Have the bus keep its events.
    pub(super) fn declare_archive(&mut self) {
        if let Some(bus) = self.bus() {
            self.ask("archive.put", &json!({"name": ARCHIVE, "bus": bus.name}));
        }
    }

    /// Somebody will declare schedules and begin replays.
    pub(super) fn begin_giving(&mut self) {
        if self.bus().is_some() {
            self.after(0, Event::Tick);
            self.after(REPLAYS_MS * NS_PER_MS, Event::Replay);
        }
    }

    /// Somebody declares a schedule that is due within seconds: once, or every minute for some minutes.
    pub(super) fn tick(&mut self) {
        let Some(endpoint) = self.drawn_endpoint() else { return };
        let (pause_ns, seconds) = (pause(&mut self.chance.given, TICKS_MS), self.chance.given.between(1, DUE_SECONDS));
        self.after(self.calm(pause_ns), Event::Tick);
        let due_ms = (self.wall_ms() / 1_000 + seconds) * 1_000;
        let is_rate = self.chance.dues.one_in(3);
        let times = if is_rate { self.chance.dues.between(2, RATE_TIMES) } else { 1 };
        let catch_up = *self.chance.dues.pick(&["all", "all", "one", "none"]);
        let Some(engine) = &self.engine else { return };
        // Of a rate that does not catch up with everything, due times may be passed over; `at` is due once, however late.
        let dues = Dues {
            times: (0..times).map(|nth| due_ms + nth * RATE_MS).collect(),
            are_owed: !is_rate || catch_up == "all",
        };
        let last_ms = dues.times.last().copied().unwrap_or(due_ms);
        let name = open(&self.ledger).schedules(&endpoint, dues);
        let (kind, to) = endpoint.named();
        let mut body = json!({
            "name": format!("tick{name}"), "expression": at(due_ms), "catch_up": catch_up, "input": tick_text(name),
        });
        if is_rate {
            body["expression"] = "rate(1 minute)".into();
            (body["start_ms"], body["end_ms"]) = (due_ms.into(), last_ms.into());
        }
        body[kind] = to.into();
        let shared = self.ledger.clone();
        let told = Box::new(move |answer: Answer| open(&shared).scheduled(name, outcome(answer).map(drop)));
        engine.request("schedule.put", &bytes_of(&body), Waiter::Call(told));
    }

    fn drawn_endpoint(&mut self) -> Option<Endpoint> {
        let bus = self.shape.topics.iter().find(|topic| topic.is_bus).filter(|_| !self.peace)?;
        let at = self.chance.given.below(bus.subscriptions.len() as u64) as usize;
        Some(bus.subscriptions[at].endpoint.clone())
    }

    /// Somebody has everything that was kept given to the rules again.
    pub(super) fn replay(&mut self) {
        let Some(bus) = self.bus().filter(|_| !self.peace) else { return };
        let (bus, to) = (bus.name.clone(), bus.subscriptions[0].endpoint.clone());
        let pause_ns = pause(&mut self.chance.given, REPLAYS_MS);
        self.after(self.calm(pause_ns), Event::Replay);
        let now_ms = self.wall_ms();
        let Some(engine) = &self.engine else { return };
        let name = open(&self.ledger).replays(&to);
        let body: Value = json!({
            "name": replay_name(name), "bus": bus, "archive": ARCHIVE, "start_ms": now_ms - FAR_MS, "end_ms": now_ms + FAR_MS,
        });
        let shared = self.ledger.clone();
        let told = Box::new(move |answer: Answer| open(&shared).replaying(name, outcome(answer).map(drop)));
        engine.request("replay.start", &bytes_of(&body), Waiter::Call(told));
    }
}

fn pause(chance: &mut Chance, mean_ms: u64) -> u64 {
    chance.below(2 * mean_ms + 1) * NS_PER_MS
}

/// The expression of a schedule that is due at a whole second.
fn at(due_ms: u64) -> String {
    let text = forebay_engine::base::time::iso_seconds(due_ms);
    format!("at({})", text.trim_end_matches('Z'))
}
