//! What schedules and replays give: a schedule fires once, and a replay gives each event to each target once, over all crashes.

use std::collections::BTreeSet;

use super::log::Fate;
use super::{Ledger, Promise};
use crate::topics::Endpoint;

/// By how much the wall clock may be before a due time when everything drains; what is due later is not waited for.
const SOON_MS: u64 = 60_000;

/// What is known of schedules and replays.
#[derive(Debug, Default)]
pub(super) struct Given {
    ticks: Vec<Tick>,
    replays: Vec<Replay>,
    pub(super) unanswered: usize,
    /// A power cut may have taken the newest commits: what was given may come again, and what was kept may be gone.
    loose: bool,
}

/// A schedule that is due once.
#[derive(Debug)]
struct Tick {
    fate: Fate,
    to: Endpoint,
    due_ms: u64,
    has_fired: bool,
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
    pub fn schedules(&mut self, to: &Endpoint, due_ms: u64) -> u32 {
        self.given.unanswered += 1;
        self.given.ticks.push(Tick { fate: Fate::Waiting, to: to.clone(), due_ms, has_fired: false });
        self.given.ticks.len() as u32 - 1
    }

    /// A schedule was declared; `Err`: it was not, or (`true`) nobody knows.
    pub fn scheduled(&mut self, name: u32, answer: Result<(), bool>) {
        let tick = &mut self.given.ticks[name as usize];
        self.given.unanswered -= usize::from(tick.fate == Fate::Waiting);
        tick.fate = fate_of(answer);
        if tick.fate == Fate::Refused && tick.has_fired {
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
                if tick.to != *to {
                    let story = format!("schedule {name} has fired at {now_ms} to {to:?}: {tick:?}");
                    return self.broken(Promise::Buses, story);
                }
                self.counts.fired += 1;
                !std::mem::replace(&mut tick.has_fired, true)
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
            self.broken(Promise::Buses, format!("{gift:?} was given to {to:?} twice"));
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
        let is_owed = |tick: &Tick| tick.fate == Fate::Acknowledged && !tick.has_fired && tick.due_ms <= soon_ms;
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
    use super::{tick_text, Gift};
    use crate::ledger::{Ledger, Promise};
    use crate::topics::Endpoint;

    #[test]
    fn a_schedule_that_fires_twice_elsewhere_or_never_is_seen() {
        let (here, there) = (Endpoint::Queue("q".into()), Endpoint::Queue("r".into()));
        let declared = || {
            let mut ledger = Ledger::default();
            let name = ledger.schedules(&here, 0);
            ledger.scheduled(name, Ok(()));
            ledger
        };
        let broken = |ledger: &Ledger| ledger.violation().map(|violation| violation.promise);
        let mut ledger = declared();
        assert!(ledger.ungiven().is_some_and(|story| story.contains("schedule 0")));
        ledger.gave(&tick_text(0), &here);
        assert_eq!((ledger.ungiven(), broken(&ledger)), (None, None));
        ledger.gave(&tick_text(0), &here);
        assert_eq!(broken(&ledger), Some(Promise::Buses));
        let mut ledger = declared();
        ledger.gave(&tick_text(0), &there);
        assert_eq!(broken(&ledger), Some(Promise::Buses));
        // After a power cut that may have lost the newest commits, one may fire again.
        let mut ledger = declared();
        ledger.gave(&tick_text(0), &here);
        ledger.given_crashed(true);
        ledger.gave(&tick_text(0), &here);
        assert_eq!((ledger.ungiven(), broken(&ledger)), (None, None));
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
