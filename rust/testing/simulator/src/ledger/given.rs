//! What schedules and replays give: a schedule fires once for each due time, and a replay gives each event to each target once, over all
//! crashes.

use std::collections::BTreeSet;

use forebay_engine::base::time::iso_seconds;

use super::log::Fate;
use super::{Ledger, Promise};
use crate::topics::Endpoint;

/// By how much the wall clock may be before a due time when everything drains; what is due later is not waited for.
const SOON_MS: u64 = 300_000;

/// What is known of schedules and replays.
#[derive(Debug, Default)]
pub(super) struct Given {
    ticks: Vec<Tick>,
    replays: Vec<Replay>,
    pub(super) unanswered: usize,
    /// A power cut may have taken the newest commits: what was given may come again, and what was kept may be gone.
    loose: bool,
}

/// When a schedule is due.
#[derive(Debug)]
pub struct Dues {
    /// Wall ms, whole seconds.
    pub times: Vec<u64>,
    /// It fires for each of them, however late.
    pub are_owed: bool,
}

impl Dues {
    /// The due time that a text names.
    fn named_in(&self, text: &str) -> Option<u64> {
        self.times.iter().copied().find(|due_ms| text.contains(&iso_seconds(*due_ms)))
    }
}

/// A schedule.
#[derive(Debug)]
struct Tick {
    fate: Fate,
    to: Endpoint,
    dues: Dues,
    /// Due times for which it has fired.
    fired: BTreeSet<u64>,
}

/// A replay of everything that a bus has kept.
#[derive(Debug)]
struct Replay {
    fate: Fate,
    /// Who takes every event.
    to: Endpoint,
    /// What was acknowledged before it began.
    kept: BTreeSet<u32>,
    given: BTreeSet<(u32, Endpoint)>,
}

/// What a text is that a schedule or a replay has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gift {
    /// Of this schedule.
    Tick(u32),
    /// This replay's, of this publication.
    Replayed(u32, u32),
}

/// The input of a schedule.
pub fn tick_text(name: u32) -> String {
    format!(r#"{{"tick":{name},"due":"<aws.scheduler.scheduled-time>"}}"#)
}

/// Name of a replay.
pub fn replay_name(name: u32) -> String {
    format!("again{name}")
}

impl Gift {
    /// What a text is, if it is one.
    pub fn of(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix(r#"{"tick":"#) {
            return rest.split_once(',')?.0.parse().ok().map(Self::Tick);
        }
        let (_, rest) = text.strip_prefix(r#"{"version":"0""#)?.split_once(r#""replay-name":"again"#)?;
        let (replay, rest) = rest.split_once('"')?;
        let (_, rest) = rest.split_once(r#""detail":{"p":"#)?;
        Some(Self::Replayed(replay.parse().ok()?, rest.split_once(',')?.0.parse().ok()?))
    }
}

fn fate_of(answer: Result<(), bool>) -> Fate {
    match answer {
        Ok(()) => Fate::Acknowledged,
        Err(true) => Fate::Unknown,
        Err(false) => Fate::Refused,
    }
}

impl Ledger {
    /// A schedule is about to be declared; gives its name.
    pub fn schedules(&mut self, to: &Endpoint, dues: Dues) -> u32 {
        self.given.unanswered += 1;
        self.given.ticks.push(Tick { fate: Fate::Waiting, to: to.clone(), dues, fired: BTreeSet::new() });
        self.given.ticks.len() as u32 - 1
    }

    /// A schedule was declared; `Err`: it was not, or (`true`) nobody knows.
    pub fn scheduled(&mut self, name: u32, answer: Result<(), bool>) {
        let tick = &mut self.given.ticks[name as usize];
        self.given.unanswered -= usize::from(tick.fate == Fate::Waiting);
        tick.fate = fate_of(answer);
        if tick.fate == Fate::Refused && !tick.fired.is_empty() {
            self.broken(Promise::DurableAck, format!("schedule {name} was refused and has fired"));
        }
    }

    /// A replay of all that a bus has kept is about to begin; gives its name.
    pub fn replays(&mut self, to: &Endpoint) -> u32 {
        let kept = self.topics.acknowledged_on_buses();
        self.given.unanswered += 1;
        self.given.replays.push(Replay { fate: Fate::Waiting, to: to.clone(), kept, given: BTreeSet::new() });
        self.given.replays.len() as u32 - 1
    }

    /// A replay has begun; `Err`: it has not, or (`true`) nobody knows.
    pub fn replaying(&mut self, name: u32, answer: Result<(), bool>) {
        let replay = &mut self.given.replays[name as usize];
        self.given.unanswered -= usize::from(replay.fate == Fate::Waiting);
        replay.fate = fate_of(answer);
    }

    /// The store holds something new that may have been given by a schedule or a replay.
    pub(super) fn gave(&mut self, text: &str, to: &Endpoint) {
        let Some(gift) = Gift::of(text) else { return };
        let now_ms = self.now.wall_ms;
        let is_first = match gift {
            Gift::Tick(name) => {
                let Some(tick) = self.given.ticks.get_mut(name as usize) else {
                    return self.broken(Promise::Buses, format!("schedule {name} has fired, and nobody declared it"));
                };
                let Some(due_ms) = tick.dues.named_in(text).filter(|_| tick.to == *to) else {
                    let story = format!("schedule {name} has fired at {now_ms} to {to:?} with {text}: {tick:?}");
                    return self.broken(Promise::Buses, story);
                };
                self.counts.fired += 1;
                tick.fired.insert(due_ms)
            }
            Gift::Replayed(name, publication) => {
                let Some(replay) = self.given.replays.get_mut(name as usize) else {
                    return self.broken(Promise::Buses, format!("replay {name} gives, and nobody began it"));
                };
                self.counts.replayed += 1;
                replay.given.insert((publication, to.clone()))
            }
        };
        if !is_first && !self.given.loose {
            self.broken(Promise::Buses, format!("{gift:?} was given to {to:?} twice: {text}"));
        }
    }

    /// The process has ended. Whoever waited for an answer never has one.
    pub(super) fn given_crashed(&mut self, may_lose: bool) {
        self.given.unanswered = 0;
        self.given.loose |= may_lose;
        let ticks = self.given.ticks.iter_mut().map(|tick| &mut tick.fate);
        for fate in ticks.chain(self.given.replays.iter_mut().map(|replay| &mut replay.fate)) {
            if *fate == Fate::Waiting {
                *fate = Fate::Unknown;
            }
        }
    }

    /// The first of schedules and replays that has yet to give something, in words.
    pub fn ungiven(&self) -> Option<String> {
        if self.given.loose {
            return None;
        }
        let soon_ms = self.now.wall_ms + SOON_MS;
        let is_owed = |tick: &Tick| {
            let has_left = || tick.dues.times.iter().any(|due_ms| *due_ms <= soon_ms && !tick.fired.contains(due_ms));
            tick.fate == Fate::Acknowledged && tick.dues.are_owed && has_left()
        };
        if let Some(at) = self.given.ticks.iter().position(is_owed) {
            return Some(format!("schedule {at} has yet to fire: {:?}", self.given.ticks[at]));
        }
        let running = self.given.replays.iter().enumerate().filter(|(_, replay)| replay.fate == Fate::Acknowledged);
        running.flat_map(|(name, replay)| replay.kept.iter().map(move |one| (name, replay, *one))).find_map(
            |(name, replay, publication)| {
                let is_there = replay.given.contains(&(publication, replay.to.clone()));
                (!is_there)
                    .then(|| format!("replay {name} has yet to give publication {publication} to {:?}", replay.to))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{tick_text, Dues, Gift};
    use crate::ledger::{Ledger, Promise};
    use crate::topics::Endpoint;

    /// The text of schedule 0 that is due at this second of 1970.
    fn fired(second: u64) -> String {
        let due = format!("1970-01-01T00:00:{second:02}Z");
        tick_text(0).replace("<aws.scheduler.scheduled-time>", &due)
    }

    #[test]
    fn a_schedule_that_fires_twice_elsewhere_at_another_time_or_never_is_seen() {
        let (here, there) = (Endpoint::Queue("q".into()), Endpoint::Queue("r".into()));
        let declared = || {
            let mut ledger = Ledger::default();
            let name = ledger.schedules(&here, Dues { times: vec![5_000], are_owed: true });
            ledger.scheduled(name, Ok(()));
            ledger
        };
        let broken = |ledger: &Ledger| ledger.violation().map(|violation| violation.promise);
        let mut ledger = declared();
        assert!(ledger.ungiven().is_some_and(|story| story.contains("schedule 0")));
        ledger.gave(&fired(5), &here);
        assert_eq!((ledger.ungiven(), broken(&ledger)), (None, None));
        ledger.gave(&fired(5), &here);
        assert_eq!(broken(&ledger), Some(Promise::Buses));
        for (text, to) in [(fired(5), &there), (fired(6), &here)] {
            let mut ledger = declared();
            ledger.gave(&text, to);
            assert_eq!(broken(&ledger), Some(Promise::Buses));
        }
        // After a power cut that may have lost the newest commits, one may fire again.
        let mut ledger = declared();
        ledger.gave(&fired(5), &here);
        ledger.given_crashed(true);
        ledger.gave(&fired(5), &here);
        assert_eq!((ledger.ungiven(), broken(&ledger)), (None, None));
    }

    #[test]
    fn a_due_time_that_is_left_out_is_seen_where_all_are_owed() {
        let here = Endpoint::Queue("q".into());
        let after_one = |are_owed| {
            let mut ledger = Ledger::default();
            let name = ledger.schedules(&here, Dues { times: vec![5_000, 6_000], are_owed });
            ledger.scheduled(name, Ok(()));
            ledger.gave(&fired(6), &here);
            (ledger.ungiven().is_some(), ledger.violation().is_some())
        };
        assert_eq!(after_one(true), (true, false));
        assert_eq!(after_one(false), (false, false));
    }

    #[test]
    fn a_replay_that_leaves_out_what_was_acknowledged_is_seen() {
        let here = Endpoint::Queue("q".into());
        let mut ledger = Ledger::default();
        let publication =
            ledger.publishes(crate::topics::BUS, crate::topics::Matter::draw(&mut crate::chance::Chance::of(1, "t")));
        ledger.published(publication, Ok(()));
        let replay = ledger.replays(&here);
        ledger.replaying(replay, Ok(()));
        assert!(ledger.ungiven().is_some_and(|story| story.contains("publication 0")));
        let event = r#"{"version":"0","replay-name":"again0","resources":[],"detail":{"p":0,"kind":"k1"}}"#;
        ledger.gave(event, &here);
        assert_eq!(ledger.ungiven(), None);
        ledger.gave(event, &here);
        assert!(ledger.violation().is_some());
    }

    #[test]
    fn a_gift_is_known_and_an_event_that_comes_for_the_first_time_is_none() {
        assert_eq!(Gift::of(&tick_text(7)), Some(Gift::Tick(7)));
        let replayed = r#"{"version":"0","id":"x","region":"local","replay-name":"again2","resources":[],"detail":{"p":12,"kind":"k1"}}"#;
        assert_eq!(Gift::of(replayed), Some(Gift::Replayed(2, 12)));
        assert_eq!(super::super::publication_of(replayed), None);
        assert_eq!(Gift::of(r#"{"version":"0","id":"x","resources":[],"detail":{"p":12,"kind":"k1"}}"#), None);
    }
}
