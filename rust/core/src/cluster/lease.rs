//! One member's part: it beats, watches the others, takes units whose owner has died, and stops itself when its own beats go unanswered, or
//! another member has what it holds.
//!
//! Three rules keep a unit from running in two processes. An observer counts only time in which the server answered it and took its own
//! beats, so that a member that was cut off, or stood still, does not hold the others for dead. The time of a question that was answered
//! counts, too: else a member far from the server would never hold anybody for dead. After it has stopped itself, a member
//! goes on with a unit only by taking it anew, even where the head still names it. And it takes nothing before all that it ran has
//! stopped: else it could hand a unit over while the handlers of its former hold still run.
//!
//! `now_ns` is a clock that goes on while the machine sleeps (`CLOCK_BOOTTIME`): else a member that slept would not know that it did.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{placed, Member, StoreTime, UnitId};

/// The times of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A beat is written so often, ns.
    pub beat_ns: u64,
    /// The others are looked at so often, ns.
    pub watch_ns: u64,
    /// A member stops itself so long after it has *sent* the last beat that was acknowledged, ns.
    pub self_ns: u64,
    /// A member is dead when it has not beaten for so long in good observation, ns. Longer than `self_ns`, and a second more for handlers
    /// that must be stopped.
    pub dead_ns: u64,
    /// A question that is not answered by then is given up, and its answer is not heard any more, ns.
    pub answer_ns: u64,
    /// Longest time between an answer and the next question that counts as observation, ns.
    pub gap_ns: u64,
    /// Whether a unit moves from a living member to the one that it belongs to.
    pub moves: bool,
    /// A unit that a member could not open is not for it for so long, ns.
    pub decline_ns: u64,
    /// The store gets a newer format when all living members have understood it for so long, ns: a process that is being restarted does
    /// not live for a moment, and is not to be left out.
    pub raise_ns: u64,
    /// A member that has not beaten for so long in good observation may be forgotten, once it is long gone by the store's clock as well, ns.
    /// That clock alone does not count: one that is set forward makes all of them look gone.
    pub forget_ns: u64,
}

const MS: u64 = 1_000_000;

impl Default for Rules {
    fn default() -> Self {
        Self {
            beat_ns: 1_000 * MS,
            watch_ns: 250 * MS,
            self_ns: 3_500 * MS,
            dead_ns: 5_000 * MS,
            answer_ns: 1_500 * MS,
            gap_ns: 1_000 * MS,
            moves: false,
            decline_ns: 30_000 * MS,
            raise_ns: 60_000 * MS,
            forget_ns: 60_000 * MS,
        }
    }
}

/// The head of a unit, as the store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Which unit.
    pub unit: UnitId,
    /// Who has taken it; `None`: it was given up.
    pub owner: Option<Member>,
    /// Grows whenever it is taken.
    pub epoch: u64,
    /// How often it was taken from a member that had died, since it was last given up.
    pub deaths: u32,
    /// Who is to have it, where an operator has said so.
    pub wanted: Option<Member>,
}

/// What a member says that ran handlers for an owner and has lost its connection: all that it began for this epoch over this connection, or
/// an earlier one, has ended. It never begins anything over it again, so whoever reads this late learns nothing that is wrong by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The owner's epoch.
    pub epoch: u64,
    /// The number that the owner gave the connection. It grows with each one that it takes in this epoch.
    pub connection: u64,
}

/// What the primary answered: one moment of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Each member's last beat.
    pub beats: BTreeMap<Member, u64>,
    /// Members that are to own nothing, because an operator has said so.
    pub drained: BTreeSet<Member>,
    /// The format that the store has.
    pub format: u32,
    /// The newest format that each member understands.
    pub formats: BTreeMap<Member, u32>,
    /// Units that a member could not open a short time ago.
    pub declined: BTreeMap<Member, BTreeSet<UnitId>>,
    /// What members ran for an owner that they cannot reach any more, and have stopped.
    pub stopped: BTreeMap<Member, Stopped>,
    /// The heads of all units.
    pub heads: Vec<Head>,
    /// What time it was at the primary, ms since 1970.
    pub now_ms: Option<u64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write the beat, if there is one, and read a [`View`] from the primary in the same transaction.
    Ask {
        /// For [`Lease::answered`].
        number: u64,
        /// The own beat.
        beat: Option<u64>,
    },
    /// Take a unit, if its head still has this epoch.
    Take {
        /// Which unit.
        unit: UnitId,
        /// The epoch that its head must have.
        epoch: u64,
        /// What its head is to say of deaths.
        deaths: u32,
    },
    /// Finish or interrupt what runs of a unit, commit, and give it up.
    HandOver {
        /// Which unit.
        unit: UnitId,
    },
    /// Give a unit back that could not be opened, if its head still names this member with this epoch, and say for others to see what
    /// [`Lease::declines`].
    GiveBack {
        /// Which unit.
        unit: UnitId,
        /// The epoch that its head must have.
        epoch: u64,
    },
    /// Make the store one of a newer format, if it still has this one, and no living member has come that does not understand the newer.
    Raise {
        /// The format that it must have.
        from: u32,
        /// The format that it gets.
        to: u32,
    },
    /// Hand out nothing more, stop what runs, drop every unit, within a second, and say so by [`Lease::stopped`].
    StandDown,
}

/// How a [`Command::Take`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The head names this member, with this epoch.
    Yes(u64),
    /// Another was first, or nobody knows.
    No,
}

/// The question on its way: there is one at a time.
#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u64,
    sent_ns: u64,
    beats: bool,
}

/// Another member, as it was seen.
#[derive(Clone, Copy, Debug)]
struct Watched {
    beat: Option<u64>,
    /// For how long it has been known, in good observation.
    known_ns: u64,
    /// For how long it has not beaten, in good observation: it is at least so long.
    silent_ns: u64,
    /// A moment before its last beat: it has been silent since then at most. `None`: its first beat that was seen may be of any age.
    beaten_since_ns: Option<u64>,
}

/// One member's part in a cluster.
#[derive(Clone, Debug)]
pub struct Lease {
    name: Member,
    rules: Rules,
    /// The newest format that it understands.
    format: u32,
    last_number: u64,
    last_beat: u64,
    asked: Option<Asked>,
    beat_due_ns: u64,
    watch_due_ns: u64,
    /// When the last beat that was acknowledged was sent; `None`: there was none since it started, or has been silent for too long.
    acknowledged_ns: Option<u64>,
    /// It has stopped itself, and what it ran still stops.
    is_stopping: bool,
    /// When the last question that was answered was sent, and when its answer came.
    observed_ns: Option<(u64, u64)>,
    others: BTreeMap<Member, Watched>,
    /// When the living ones changed last.
    settled_ns: u64,
    held: BTreeMap<UnitId, u64>,
    taking: BTreeSet<UnitId>,
    handing_over: BTreeSet<UnitId>,
    /// Units that it could not open, and until when they are not for it.
    declined: BTreeMap<UnitId, u64>,
    /// Since when all living members understand a newer format than the store's.
    understood_ns: Option<u64>,
    time: StoreTime,
}

impl Lease {
    /// A member that has not beaten yet, and the newest format that it understands.
    pub fn new(name: Member, format: u32, rules: Rules) -> Self {
        Self {
            name,
            rules,
            format,
            last_number: 0,
            last_beat: 0,
            asked: None,
            beat_due_ns: 0,
            watch_due_ns: 0,
            acknowledged_ns: None,
            is_stopping: false,
            observed_ns: None,
            others: BTreeMap::new(),
            settled_ns: 0,
            held: BTreeMap::new(),
            taking: BTreeSet::new(),
            handing_over: BTreeSet::new(),
            declined: BTreeMap::new(),
            understood_ns: None,
            time: StoreTime::default(),
        }
    }

    /// What time it is at the store.
    pub fn store_time(&self) -> StoreTime {
        self.time
    }

    /// The epoch of a unit that may be worked on now: it is the handler's fencing token. Asked before each hand-out.
    pub fn may_run(&self, unit: UnitId, now_ns: u64) -> Option<u64> {
        self.held.get(&unit).copied().filter(|_| self.is_alive(now_ns))
    }

    /// Whether its last beat that was acknowledged is young enough.
    pub fn is_alive(&self, now_ns: u64) -> bool {
        self.acknowledged_ns.is_some_and(|sent| now_ns < sent.saturating_add(self.rules.self_ns))
    }

    /// Whether this member may run what another one gives it that owns a unit: both have beaten a short time ago. Else the unit may have
    /// another owner soon, or that one may hold this member for dead. Members with a better way to the store count more of the owner's
    /// silence than this one does. So its longest possible silence counts here, and not what this member has observed of it.
    pub fn may_run_for(&self, owner: &str, now_ns: u64) -> bool {
        let beaten_since = self.others.get(owner).and_then(|watched| watched.beaten_since_ns);
        let is_near = |since: u64| now_ns < since.saturating_add(self.rules.self_ns);
        self.is_alive(now_ns) && beaten_since.is_some_and(is_near)
    }

    /// When [`Self::time`] is to be called at the latest.
    pub fn next_due(&self) -> u64 {
        let asks = match self.asked {
            Some(asked) => asked.sent_ns.saturating_add(self.rules.answer_ns),
            None => self.beat_due_ns.min(self.watch_due_ns),
        };
        let stops = self.acknowledged_ns.map_or(u64::MAX, |sent| sent.saturating_add(self.rules.self_ns));
        asks.min(stops)
    }

    /// The members that live, as far as this one knows.
    pub fn living(&self, now_ns: u64) -> Vec<&Member> {
        let own = self.is_alive(now_ns).then_some(&self.name);
        let others = self.others.iter().filter(|(_, watched)| self.lives(watched)).map(|(name, _)| name);
        own.into_iter().chain(others).collect()
    }

    /// The members that are known, and are dead as far as this one knows.
    pub fn silent(&self) -> Vec<&Member> {
        self.others.iter().filter(|(_, watched)| !self.lives(watched)).map(|(name, _)| name).collect()
    }

    /// The members that may be forgotten, as far as this one knows.
    pub fn forgettable(&self) -> Vec<&Member> {
        let is_gone = |watched: &Watched| watched.silent_ns >= self.rules.forget_ns;
        self.others.iter().filter(|(_, watched)| is_gone(watched)).map(|(name, _)| name).collect()
    }

    /// Time has passed. A member that woke up learns here, before anything else, that it slept.
    pub fn time(&mut self, now_ns: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.acknowledged_ns.is_some() && !self.is_alive(now_ns) {
            self.acknowledged_ns = None;
            self.stand_down(&mut commands);
        }
        self.declined.retain(|_, until| now_ns < *until);
        self.asked = self.asked.filter(|asked| now_ns < asked.sent_ns.saturating_add(self.rules.answer_ns));
        let beats = now_ns >= self.beat_due_ns;
        if self.asked.is_none() && (beats || now_ns >= self.watch_due_ns) {
            self.last_number += 1;
            let beat = beats.then(|| {
                self.last_beat += 1;
                self.beat_due_ns = now_ns + self.rules.beat_ns;
                self.last_beat
            });
            self.watch_due_ns = now_ns + self.rules.watch_ns;
            self.asked = Some(Asked { number: self.last_number, sent_ns: now_ns, beats });
            commands.push(Command::Ask { number: self.last_number, beat });
        }
        commands
    }

    fn stand_down(&mut self, commands: &mut Vec<Command>) {
        self.is_stopping = true;
        self.held.clear();
        self.handing_over.clear();
        self.understood_ns = None;
        commands.push(Command::StandDown);
    }

    /// A question has no answer, and will have none. The next one is asked at this moment at the earliest; what else is due does not wait.
    pub fn unanswered(&mut self, number: u64, again_ns: u64) {
        if self.asked.take_if(|asked| asked.number == number).is_some() {
            self.beat_due_ns = self.beat_due_ns.max(again_ns);
            self.watch_due_ns = self.watch_due_ns.max(again_ns);
        }
    }

    /// The primary has answered a question.
    pub fn answered(&mut self, number: u64, view: &View, now_ns: u64) -> Vec<Command> {
        // It may have slept since: what it holds, and whether it still waits for this answer, is looked at first.
        let mut commands = self.time(now_ns);
        let Some(asked) = self.asked.filter(|asked| asked.number == number) else { return commands };
        self.asked = None;
        if asked.beats {
            self.acknowledged_ns = Some(asked.sent_ns);
        }
        self.observe(view, asked.sent_ns, now_ns);
        if let Some(now_ms) = view.now_ms {
            self.time.told(now_ms, asked.sent_ns, now_ns);
        }
        self.observed_ns = Some((asked.sent_ns, now_ns));
        if self.is_alive(now_ns) {
            self.decide(view, now_ns, &mut commands);
        }
        commands
    }

    /// Count how long the others have been silent. A view is of a moment between the question and its answer. So a beat that a view showed
    /// first is at least as old as that answer, and whoever had been silent before it was so from its question on, too. What is counted
    /// ends with the sending of the newest question: it is never more than has passed.
    fn observe(&mut self, view: &View, sent_ns: u64, now_ns: u64) {
        let is_good = |answered: u64| sent_ns.saturating_sub(answered) <= self.rules.gap_ns && self.is_alive(now_ns);
        let last = self.observed_ns.filter(|(_, answered)| is_good(*answered));
        let passed = |so_far: u64| {
            let since = |(asked, answered)| if so_far > 0 { asked } else { answered };
            so_far.saturating_add(last.map_or(0, |last| sent_ns.saturating_sub(since(last))))
        };
        // The view before was of a moment after its question. What it did not show has come later.
        let asked_before = self.observed_ns.map(|(asked, _)| asked);
        let before = self.living(now_ns).len();
        let owners = view.heads.iter().filter_map(|head| head.owner.as_ref());
        let seen: BTreeSet<&Member> = view.beats.keys().chain(owners).filter(|name| **name != self.name).collect();
        self.others.retain(|name, _| seen.contains(name));
        let mut came = false;
        for name in seen {
            let beat = view.beats.get(name).copied();
            match self.others.get_mut(name) {
                Some(watched) => {
                    watched.known_ns = passed(watched.known_ns);
                    if watched.beat == beat {
                        watched.silent_ns = passed(watched.silent_ns);
                    } else {
                        (watched.beat, watched.silent_ns) = (beat, 0);
                        watched.beaten_since_ns = asked_before.filter(|_| beat.is_some());
                    }
                }
                None => {
                    came = true;
                    // A head may name a member that has no row.
                    let beaten_since_ns = asked_before.filter(|_| beat.is_some());
                    self.others.insert(name.clone(), Watched { beat, known_ns: 0, silent_ns: 0, beaten_since_ns });
                }
            }
        }
        if came || self.living(now_ns).len() != before {
            self.settled_ns = now_ns;
        }
        // Whoever is about to be held for dead is looked at when that is due, and not up to a look later.
        let due = |watched: &Watched| {
            let counted_until = if watched.silent_ns > 0 { sent_ns } else { now_ns };
            counted_until.saturating_add(self.rules.dead_ns.saturating_sub(watched.silent_ns))
        };
        let soonest = self.others.values().filter(|watched| self.lives(watched)).map(due).min();
        // A member that is not alive counts nothing, and would ask again and again.
        let soonest = soonest.filter(|_| self.is_alive(now_ns));
        self.watch_due_ns = self.watch_due_ns.min(soonest.unwrap_or(u64::MAX));
    }

    fn decide(&mut self, view: &View, now_ns: u64, commands: &mut Vec<Command>) {
        for head in &view.heads {
            let unit = head.unit;
            let is_own = head.owner.as_ref() == Some(&self.name);
            if let Some(&epoch) = self.held.get(&unit) {
                // A view that is older than the take says nothing of it. The unit is lost if another take has followed, and if the
                // head names this member no more: an opening that fails late gives up what it has taken.
                if head.epoch > epoch || (head.epoch == epoch && !is_own) {
                    let gives_up = self.handing_over.contains(&unit);
                    self.lost(unit);
                    // Another member has it, though this one has neither died nor given it up: a failover has lost the take. What runs of
                    // it runs there as well. Where the head names nobody, this member may have closed it just now.
                    if !gives_up && !is_own && head.owner.is_some() {
                        self.stand_down(commands);
                    }
                } else {
                    if self.must_hand_over(head, view, now_ns) && self.handing_over.insert(unit) {
                        commands.push(Command::HandOver { unit });
                    }
                    continue;
                }
            }
            if self.declined.contains_key(&unit) {
                if is_own {
                    commands.push(Command::GiveBack { unit, epoch: head.epoch });
                }
                continue;
            }
            let is_takeable = match &head.owner {
                // Nobody else takes what names a living member, wherever it belongs.
                Some(_) if is_own => true,
                Some(owner) if self.others.get(owner).is_none_or(|watched| self.lives(watched)) => false,
                _ => self.belongs_to(head, view, now_ns) == Some(&self.name),
            };
            if !is_takeable || self.is_stopping || !self.taking.insert(unit) {
                continue;
            }
            let deaths = match &head.owner {
                None => 0,
                Some(_) if is_own => head.deaths,
                Some(_) => head.deaths.saturating_add(1),
            };
            commands.push(Command::Take { unit, epoch: head.epoch, deaths });
        }
        self.raise(view, now_ns, commands);
    }

    /// Have the store get a newer format: the newest that all living members understand. One that owns something does it, so that it is
    /// done where the rows are written.
    fn raise(&mut self, view: &View, now_ns: u64, commands: &mut Vec<Command>) {
        let living = self.living(now_ns);
        let understood = living.iter().map(|name| self.format_of(view, name)).min().unwrap_or(0);
        if understood <= view.format || self.held.is_empty() {
            self.understood_ns = None;
            return;
        }
        let since = *self.understood_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since) >= self.rules.raise_ns {
            // If that does not help, it is said once more after as long.
            self.understood_ns = Some(now_ns);
            commands.push(Command::Raise { from: view.format, to: understood });
        }
    }

    /// The newest format that a member understands. Its own row is not in the first view.
    fn format_of(&self, view: &View, name: &Member) -> u32 {
        let own = (*name == self.name).then_some(self.format);
        own.or_else(|| view.formats.get(name).copied()).unwrap_or(0)
    }

    /// Whether a member is to own nothing: an operator has said so, or it does not understand the store.
    fn is_barred(&self, view: &View, name: &Member) -> bool {
        view.drained.contains(name) || self.format_of(view, name) < view.format
    }

    /// Whether a member could not open a unit a short time ago.
    fn has_declined(&self, view: &View, name: &Member, unit: UnitId) -> bool {
        if *name == self.name {
            return self.declined.contains_key(&unit);
        }
        view.declined.get(name).is_some_and(|units| units.contains(&unit))
    }

    /// The member that a unit belongs to: the one that is wanted, if it lives; else the one where it is placed. None of those that are
    /// to own nothing, and none that could not open it. Of a dead owner's unit, none that came after the owner had fallen silent, as a
    /// process does that is started again at once: it would wait as long once more before it holds the owner for dead.
    fn belongs_to<'a>(&'a self, head: &Head, view: &View, now_ns: u64) -> Option<&'a Member> {
        let silent_ns = head.owner.as_ref().and_then(|owner| self.others.get(owner)).map_or(0, |owner| owner.silent_ns);
        let has_seen_it = |name: &Member| self.others.get(name).is_none_or(|watched| watched.known_ns >= silent_ns);
        let mut free = self.living(now_ns);
        free.retain(|name| {
            !self.is_barred(view, name) && !self.has_declined(view, name, head.unit) && has_seen_it(name)
        });
        let wanted = free.iter().copied().find(|name| head.wanted.as_ref() == Some(*name));
        wanted.or_else(|| placed(head.unit, free))
    }

    /// Whether a unit that this member holds is to go to another: an operator wants it, or it belongs there and the living ones have
    /// not changed for a while.
    fn must_hand_over(&self, head: &Head, view: &View, now_ns: u64) -> bool {
        let Some(other) = self.belongs_to(head, view, now_ns).filter(|name| **name != self.name) else { return false };
        let is_told = self.is_barred(view, &self.name) || head.wanted.as_ref() == Some(other);
        let is_settled = now_ns.saturating_sub(self.settled_ns) >= self.rules.dead_ns;
        is_told || (self.rules.moves && is_settled)
    }

    /// A [`Command::Take`] has ended. The unit is held, if this member is still alive and has not stopped itself since.
    pub fn taken(&mut self, unit: UnitId, taken: Taken, now_ns: u64) -> Vec<Command> {
        let commands = self.time(now_ns);
        self.taking.remove(&unit);
        if let Taken::Yes(epoch) = taken {
            if self.is_alive(now_ns) && !self.is_stopping {
                self.held.insert(unit, epoch);
            }
        }
        commands
    }

    /// All that ran before the last [`Command::StandDown`] has stopped.
    pub fn stopped(&mut self) {
        self.is_stopping = false;
    }

    /// A unit that this member has taken cannot be opened here: it is given back, and for a while it is not for this member.
    pub fn declined(&mut self, unit: UnitId, now_ns: u64) {
        self.lost(unit);
        self.declined.insert(unit, now_ns.saturating_add(self.rules.decline_ns));
    }

    /// What kept this member from opening a unit has passed: it is for this member again.
    pub fn accepts(&mut self, unit: UnitId) {
        self.declined.remove(&unit);
    }

    /// What is not for this member at present, as the others are to see it: it is written with each beat.
    pub fn declines(&self) -> Vec<UnitId> {
        self.declined.keys().copied().collect()
    }

    /// A commit of a unit was fenced, or the unit was given up.
    pub fn lost(&mut self, unit: UnitId) {
        self.held.remove(&unit);
        self.handing_over.remove(&unit);
    }

    fn lives(&self, watched: &Watched) -> bool {
        watched.silent_ns < self.rules.dead_ns
    }
}
