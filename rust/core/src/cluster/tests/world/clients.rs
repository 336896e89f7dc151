//! Members that run what the owner of the first unit gives them.

use super::{stood_still, Actor, Harm, Mistake, World, MS, STOPS_IN_MS};
use crate::cluster::Member;

impl World {
    /// Whether what a member gave others still stops somewhere: it does not hand the unit over before. What still runs ends at its word.
    pub(super) fn waits_for_others(&self, at: usize) -> bool {
        let still_stops = |(owner, until): &(Member, u64)| *owner == self.actors[at].name && self.now < *until;
        self.actors.iter().any(|actor| !actor.is_killed && actor.ran_for.as_ref().is_some_and(still_stops))
    }

    /// Members run what the owner of the first unit gives them. Where that one cannot say that it has ended, they find out by themselves,
    /// and have stopped before another member takes the unit.
    pub(super) fn run_for_others(&mut self) {
        let (now, now_ns) = (self.now, self.now * MS);
        let runs = |actor: &Actor| actor.runs.get(&0).is_some_and(|run| !run.is_given_up());
        let can_speak = |actor: &Actor| !actor.is_killed && now >= actor.paused_until;
        let gives = |name: &Member| {
            self.actors.iter().any(|actor| actor.name == *name && runs(actor) && actor.lease.is_alive(now_ns))
        };
        let ends =
            |name: &Member| self.actors.iter().any(|actor| actor.name == *name && can_speak(actor) && !runs(actor));
        let mut changes = Vec::new();
        for actor in self.actors.iter().filter(|actor| can_speak(actor)) {
            let may_run_for = |owner: &Member| match self.mistake {
                Some(Mistake::ObservedSilence) => actor.lease.living(now_ns).contains(&owner),
                _ => actor.lease.may_run_for(owner, now_ns),
            };
            let owner = actor.sees.as_ref().filter(|owner| **owner != actor.name && may_run_for(owner));
            changes.push(match (&actor.runs_for, owner) {
                (Some(now_for), Some(owner)) if now_for == owner && !ends(owner) => {
                    (Some(owner.clone()), actor.ran_for.clone())
                }
                (Some(ran_for), _) if ends(ran_for) => (None, None),
                (Some(ran_for), _) => (None, Some((ran_for.clone(), now + STOPS_IN_MS))),
                (None, Some(owner)) if gives(owner) => (Some(owner.clone()), actor.ran_for.clone()),
                (None, _) => (None, actor.ran_for.clone()),
            });
        }
        let speaking = self.actors.iter_mut().filter(|actor| !actor.is_killed && now >= actor.paused_until);
        for (actor, (runs_for, ran_for)) in speaking.zip(changes) {
            (actor.runs_for, actor.ran_for) = (runs_for, ran_for.filter(|(_, until)| now < *until));
        }
        for owner in self.actors.iter().filter(|actor| can_speak(actor) && runs(actor) && actor.lease.is_alive(now_ns))
        {
            let beside = self.actors.iter().find(|actor| {
                let mut of = actor.runs_for.iter().chain(actor.ran_for.iter().map(|(name, _)| name));
                can_speak(actor)
                    && !stood_still(actor, now)
                    && actor.name != owner.name
                    && of.any(|name| *name != owner.name)
            });
            if let Some(actor) = beside {
                self.faults.push(format!("{now} ms: {} runs for a former owner beside {}", actor.name, owner.name));
            }
        }
    }
}

/// A member stopped by itself what it ran for an owner, and that one handed the unit over meanwhile.
#[test]
fn an_owner_that_hands_over_waits_for_what_still_stops() {
    let harms = [
        Harm::Move { at_ms: 27_020, member: 1 },
        Harm::Move { at_ms: 7_058, member: 2 },
        Harm::Cut { at_ms: 17_362, for_ms: 8_215, member: 2 },
    ];
    let mut world = World::new(4_698_367_086_695_815_207, true, None);
    world.play(120_000, &harms);
    assert_eq!(world.faults(), Vec::<String>::new());
}
