//! Four members and a store, in steps of 10 ms: what is sent takes its time, arrives late, twice, or never.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;

mod clients;

const MS: u64 = 1_000_000;
const STEP_MS: u64 = 10;
const MEMBERS: usize = 4;
const UNITS: UnitId = 6;
/// How long a member may take to stop what runs.
const STOPS_IN_MS: u64 = 1_000;
/// How long an answer to a commit or a take is waited for.
const PATIENCE_MS: u64 = 1_000;

/// What happens to the world.
#[derive(Clone, Copy, Debug)]
pub(super) enum Harm {
    /// A member stands still.
    Pause { at_ms: u64, for_ms: u64, member: usize },
    /// Nothing goes through between a member and the store; some of it arrives when the cut has healed.
    Cut { at_ms: u64, for_ms: u64, member: usize },
    /// What goes through takes up to 2.5 s.
    Slow { at_ms: u64, for_ms: u64, member: usize },
    /// A member dies.
    Kill { at_ms: u64, member: usize },
    /// An operator wants the first unit at a member.
    Move { at_ms: u64, member: usize },
    /// An operator wants a member to own nothing, or lets it own again.
    Drain { at_ms: u64, member: usize },
    /// A member can open nothing.
    Unfit { at_ms: u64, for_ms: u64, member: usize },
    /// The store stands still, and half of what arrives meanwhile is lost.
    Server { at_ms: u64, for_ms: u64 },
}

/// What a member or the store may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    NoExpectation,
    EpochAlone,
    FromAcknowledgement,
    BlindObserver,
    OldToken,
    Replica,
    ObservedSilence,
}

#[derive(Clone, Debug)]
enum Request {
    Ask {
        number: u64,
        beat: Option<u64>,
        declines: Vec<UnitId>,
    },
    GiveBack {
        unit: UnitId,
        epoch: u64,
    },
    Raise {
        from: u32,
        to: u32,
    },
    Take {
        unit: UnitId,
        epoch: u64,
        deaths: u32,
    },
    /// `gives_up`: it is the last one, and the head names nobody then.
    Commit {
        unit: UnitId,
        epoch: u64,
        n: u64,
        id: u64,
        gives_up: bool,
    },
}

#[derive(Clone, Debug)]
enum Answer {
    View(u64, View),
    Taken(UnitId, Option<(u64, u64)>),
    Committed { unit: UnitId, id: u64, is_fenced: bool },
}

/// A unit that a member runs.
#[derive(Clone, Copy, Debug)]
struct Run {
    epoch: u64,
    n: u64,
    /// The commit that is under way, when it was sent last, and whether it gives the unit up.
    under_way: Option<(u64, u64, bool)>,
    due_ms: u64,
    gives_up: bool,
}

impl Run {
    /// Whether it has ended, and the store is told so.
    fn is_given_up(&self) -> bool {
        self.under_way.is_some_and(|(.., gives_up)| gives_up)
    }
}

struct Actor {
    lease: Lease,
    rules: Rules,
    name: Member,
    runs: BTreeMap<UnitId, Run>,
    /// What still stops, and until when.
    stopping: Vec<(UnitId, u64)>,
    takes: BTreeMap<UnitId, u64>,
    is_killed: bool,
    paused_until: u64,
    cut_until: u64,
    slow_until: u64,
    unfit_until: u64,
    /// The newest format that it understands.
    format: u32,
    /// When a question or an answer of it was lost by chance.
    lost_at: u64,
    /// Whom the head of the first unit named when it was seen last.
    sees: Option<Member>,
    /// For whom it runs what that one gave it of the first unit.
    runs_for: Option<Member>,
    /// For whom it ran, and until when that still stops.
    ran_for: Option<(Member, u64)>,
}

pub(super) struct World {
    now: u64,
    random: u64,
    actors: Vec<Actor>,
    /// By arrival: to the store, and to a member.
    requests: Vec<(u64, usize, Request)>,
    answers: Vec<(u64, usize, Answer)>,
    beats: BTreeMap<Member, u64>,
    drained: BTreeSet<Member>,
    format: u32,
    formats: BTreeMap<Member, u32>,
    declined: BTreeMap<Member, BTreeSet<UnitId>>,
    heads: Vec<(Head, u64, u64)>,
    replica: View,
    server_until: u64,
    /// Commits that were written, and those of which a member was told so.
    written: BTreeMap<u64, u32>,
    last_id: u64,
    taken_at: BTreeMap<UnitId, u64>,
    raised_at: Option<u64>,
    faults: Vec<String>,
    mistake: Option<Mistake>,
    is_quiet: bool,
}

impl World {
    pub(super) fn new(seed: u64, moves: bool, mistake: Option<Mistake>) -> Self {
        let mut rules = Rules { moves, ..Rules::default() };
        match mistake {
            Some(Mistake::FromAcknowledgement) => rules.self_ns += rules.answer_ns,
            Some(Mistake::BlindObserver) => rules.gap_ns = u64::MAX,
            _ => {}
        }
        let actor = |at: usize| {
            let name = format!("member-{at}-{seed}");
            Actor {
                lease: Lease::new(name.clone(), 1, rules),
                rules,
                name,
                runs: BTreeMap::new(),
                stopping: Vec::new(),
                takes: BTreeMap::new(),
                is_killed: false,
                paused_until: 0,
                cut_until: 0,
                slow_until: 0,
                unfit_until: 0,
                format: 1,
                lost_at: 0,
                sees: None,
                runs_for: None,
                ran_for: None,
            }
        };
        let head = |unit| (Head { unit, ..Head::default() }, 0, 0);
        Self {
            now: 0,
            random: seed,
            actors: (0..MEMBERS).map(actor).collect(),
            requests: Vec::new(),
            answers: Vec::new(),
            beats: BTreeMap::new(),
            drained: BTreeSet::new(),
            format: 1,
            formats: BTreeMap::new(),
            declined: BTreeMap::new(),
            heads: (0..UNITS).map(head).collect(),
            replica: View::default(),
            server_until: 0,
            written: BTreeMap::new(),
            last_id: 0,
            taken_at: BTreeMap::new(),
            raised_at: None,
            faults: Vec::new(),
            mistake,
            is_quiet: false,
        }
    }

    /// Let a member be of a release that understands a newer format. It has not begun yet.
    pub(super) fn understands(&mut self, member: usize, format: u32) {
        let actor = &mut self.actors[member];
        actor.format = format;
        actor.lease = Lease::new(actor.name.clone(), format, actor.rules);
    }

    /// The store's format, and when it was raised last.
    pub(super) fn format(&self) -> (u32, Option<u64>) {
        (self.format, self.raised_at)
    }

    /// Lose nothing by chance.
    pub(super) fn quiet(&mut self) {
        self.is_quiet = true;
    }

    /// The first of what went wrong.
    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.iter().take(3).cloned().collect()
    }

    /// Who runs a unit.
    pub(super) fn owner(&self, unit: UnitId) -> Option<usize> {
        self.actors.iter().position(|actor| !actor.is_killed && actor.runs.contains_key(&unit))
    }

    /// When it was taken last.
    pub(super) fn taken_at(&self, unit: UnitId) -> Option<u64> {
        self.taken_at.get(&unit).copied()
    }

    pub(super) fn deaths(&self, unit: UnitId) -> u32 {
        self.heads[unit as usize].0.deaths
    }

    pub(super) fn play(&mut self, until_ms: u64, harms: &[Harm]) {
        while self.now < until_ms {
            for harm in harms {
                self.strike(*harm);
            }
            if self.now >= self.server_until {
                let due = take_due(&mut self.requests, self.now, None);
                for (member, request) in due {
                    self.serve(member, request);
                }
            } else {
                for late in take_due(&mut self.requests, self.now, None) {
                    if self.below(2) == 0 {
                        self.requests.push((self.server_until, late.0, late.1));
                    }
                }
            }
            for at in 0..MEMBERS {
                if !self.actors[at].is_killed && self.now >= self.actors[at].paused_until {
                    self.act(at);
                }
            }
            self.look_for_overlaps();
            self.run_for_others();
            self.now += STEP_MS;
        }
    }

    fn strike(&mut self, harm: Harm) {
        let begins = |at_ms: u64| self.now <= at_ms && at_ms < self.now + STEP_MS;
        match harm {
            Harm::Pause { at_ms, for_ms, member } if begins(at_ms) => self.actors[member].paused_until = at_ms + for_ms,
            Harm::Cut { at_ms, for_ms, member } if begins(at_ms) => self.actors[member].cut_until = at_ms + for_ms,
            Harm::Slow { at_ms, for_ms, member } if begins(at_ms) => self.actors[member].slow_until = at_ms + for_ms,
            Harm::Unfit { at_ms, for_ms, member } if begins(at_ms) => self.actors[member].unfit_until = at_ms + for_ms,
            Harm::Kill { at_ms, member } if begins(at_ms) => self.actors[member].is_killed = true,
            Harm::Server { at_ms, for_ms } if begins(at_ms) => self.server_until = at_ms + for_ms,
            Harm::Move { at_ms, member } if begins(at_ms) => {
                self.heads[0].0.wanted = Some(self.actors[member].name.clone());
            }
            Harm::Drain { at_ms, member } if begins(at_ms) => {
                let name = self.actors[member].name.clone();
                if !self.drained.remove(&name) {
                    self.drained.insert(name);
                }
            }
            _ => {}
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }

    /// When something arrives that is sent now, one way; `None`: never.
    fn arrival(&mut self, member: usize) -> Option<u64> {
        let late = if self.now < self.actors[member].slow_until { self.below(2_500) } else { self.below(10) };
        let lost = !self.is_quiet && self.below(100) == 0;
        let healed = self.actors[member].cut_until;
        if self.now < healed {
            return (self.below(2) == 0).then(|| healed + late);
        }
        if lost {
            self.actors[member].lost_at = self.now;
        }
        (!lost).then(|| self.now + 1 + late)
    }

    fn send(&mut self, member: usize, request: Request) {
        if let Some(at) = self.arrival(member) {
            self.requests.push((at, member, request));
        }
    }

    fn view(&self) -> View {
        let heads = self.heads.iter().map(|(head, ..)| head.clone()).collect();
        View {
            beats: self.beats.clone(),
            drained: self.drained.clone(),
            format: self.format,
            formats: self.formats.clone(),
            declined: self.declined.clone(),
            stopped: BTreeMap::new(),
            heads,
            now_ms: Some(self.now),
        }
    }

    fn serve(&mut self, member: usize, request: Request) {
        let name = self.actors[member].name.clone();
        let answer = match request {
            Request::GiveBack { unit, epoch } => {
                let head = &mut self.heads[unit as usize].0;
                if head.epoch == epoch && head.owner.as_ref() == Some(&name) {
                    head.owner = None;
                    self.declined.entry(name).or_default().insert(unit);
                }
                return;
            }
            Request::Raise { from, to } => {
                if self.format == from {
                    (self.format, self.raised_at) = (to, Some(self.now));
                }
                return;
            }
            Request::Ask { number, beat, declines } => {
                if let Some(beat) = beat {
                    self.formats.insert(name.clone(), self.actors[member].format);
                    self.declined.insert(name.clone(), declines.into_iter().collect());
                    let last = self.beats.entry(name).or_insert(0);
                    *last = beat.max(*last);
                }
                // A replica that replays what the primary wrote only now and then.
                if self.now % 8_000 < 100 {
                    self.replica = self.view();
                }
                let is_stale = self.mistake == Some(Mistake::Replica);
                Answer::View(number, if is_stale { self.replica.clone() } else { self.view() })
            }
            Request::Take { unit, epoch, deaths } => {
                let (head, n, _) = &mut self.heads[unit as usize];
                let is_free = head.epoch == epoch;
                if is_free {
                    let lived = head.owner.clone().filter(|_| deaths > head.deaths);
                    *head = Head { unit, owner: Some(name), epoch: epoch + 1, deaths, wanted: None };
                    let taken = (head.epoch, *n);
                    self.look_for_life(lived.as_ref());
                    Answer::Taken(unit, Some(taken))
                } else {
                    Answer::Taken(unit, None)
                }
            }
            Request::Commit { unit, epoch, n, id, gives_up } => {
                let is_fenced = !self.commit(unit, (epoch, n), id, gives_up);
                Answer::Committed { unit, id, is_fenced }
            }
        };
        if let Some(at) = self.arrival(member) {
            self.answers.push((at, member, answer));
        }
    }

    /// Whether the commit is written, now or before.
    fn commit(&mut self, unit: UnitId, (epoch, n): (u64, u64), id: u64, gives_up: bool) -> bool {
        let (head, at, stamp) = &mut self.heads[unit as usize];
        let expected = match self.mistake {
            Some(Mistake::NoExpectation) => true,
            Some(Mistake::EpochAlone) => head.epoch == epoch,
            _ if (head.epoch, *at, *stamp) == (epoch, n + 1, id) => return true,
            _ => (head.epoch, *at) == (epoch, n),
        };
        if !expected {
            return false;
        }
        if *at != n {
            self.faults
                .push(format!("{} ms: a commit on top of {n} of unit {unit} was written on top of {at}", self.now));
        }
        (*at, *stamp) = (*at + 1, id);
        if gives_up {
            (head.owner, head.deaths) = (None, 0);
        }
        let times = self.written.entry(id).or_insert(0);
        *times += 1;
        if *times > 1 {
            self.faults.push(format!("{} ms: a commit of unit {unit} was written {times} times", self.now));
        }
        true
    }

    /// Whether something has happened to a member, or to its way to the store, a short time ago.
    fn is_harmed(&self, actor: &Actor) -> bool {
        let since = self.now.saturating_sub(8_000);
        [actor.paused_until, actor.cut_until, actor.slow_until, actor.lost_at].iter().any(|&until| until > since)
    }

    /// A member that nothing happened to must not be held for dead.
    fn look_for_life(&mut self, owner: Option<&Member>) {
        let Some(actor) = self.actors.iter().find(|actor| Some(&actor.name) == owner) else { return };
        if !actor.is_killed && !self.is_harmed(actor) {
            self.faults.push(format!("{} ms: {} lives, and was held for dead", self.now, actor.name));
        }
    }

    fn act(&mut self, at: usize) {
        let now_ns = self.now * MS;
        let commands = self.actors[at].lease.time(now_ns);
        self.obey(at, commands);
        let (own, others) =
            std::mem::take(&mut self.answers).into_iter().partition(|(due, to, _)| *to == at && *due <= self.now);
        self.answers = others;
        let mut own: Vec<_> = own;
        own.sort_by_key(|(due, ..)| *due);
        for (_, _, answer) in own {
            self.hear(at, answer);
        }
        let overdue = |sent: &u64| self.now >= sent + PATIENCE_MS;
        let given_up: Vec<_> =
            self.actors[at].takes.iter().filter(|(_, sent)| overdue(sent)).map(|(unit, _)| *unit).collect();
        for unit in given_up {
            self.actors[at].takes.remove(&unit);
            let commands = self.actors[at].lease.taken(unit, Taken::No, now_ns);
            self.obey(at, commands);
        }
        for unit in self.actors[at].runs.keys().copied().collect::<Vec<_>>() {
            self.work(at, unit);
        }
    }

    fn obey(&mut self, at: usize, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Ask { number, beat } => {
                    let declines = self.actors[at].lease.declines();
                    self.send(at, Request::Ask { number, beat, declines });
                }
                Command::GiveBack { unit, epoch } => self.send(at, Request::GiveBack { unit, epoch }),
                Command::Raise { from, to } => {
                    let lacks = |actor: &&Actor| actor.format < to && !actor.is_killed && !self.is_harmed(actor);
                    if let Some(lacks) = self.actors.iter().find(lacks) {
                        let name = &lacks.name;
                        self.faults.push(format!("{} ms: {name} lives, and does not understand {to}", self.now));
                    }
                    self.send(at, Request::Raise { from, to });
                }
                Command::Take { unit, epoch, deaths } => {
                    self.actors[at].takes.insert(unit, self.now);
                    self.send(at, Request::Take { unit, epoch, deaths });
                }
                Command::HandOver { unit } => {
                    if let Some(run) = self.actors[at].runs.get_mut(&unit) {
                        run.gives_up = true;
                    }
                }
                Command::StandDown if self.mistake == Some(Mistake::OldToken) => {}
                Command::StandDown => {
                    let until = self.now + STOPS_IN_MS;
                    let actor = &mut self.actors[at];
                    // What is given up runs no more by then.
                    let runs = std::mem::take(&mut actor.runs).into_iter().filter(|(_, run)| !run.is_given_up());
                    actor.stopping.extend(runs.map(|(unit, _)| (unit, until)));
                }
            }
        }
    }

    fn hear(&mut self, at: usize, answer: Answer) {
        let now_ns = self.now * MS;
        match answer {
            Answer::View(number, view) => {
                self.actors[at].sees.clone_from(&view.heads[0].owner);
                let commands = self.actors[at].lease.answered(number, &view, now_ns);
                self.obey(at, commands);
            }
            Answer::Taken(unit, taken) => {
                // One that comes after it was given up says nothing any more.
                if self.actors[at].takes.remove(&unit).is_none() {
                    return;
                }
                let told = taken.map_or(Taken::No, |(epoch, _)| Taken::Yes(epoch));
                let commands = self.actors[at].lease.taken(unit, told, now_ns);
                self.obey(at, commands);
                let may_run = self.actors[at].lease.may_run(unit, now_ns).is_some();
                if may_run && self.now < self.actors[at].unfit_until {
                    self.actors[at].lease.declined(unit, now_ns);
                } else if let (Some((epoch, n)), true) = (taken, may_run) {
                    let run = Run { epoch, n, under_way: None, due_ms: self.now, gives_up: false };
                    self.actors[at].runs.insert(unit, run);
                    self.taken_at.insert(unit, self.now);
                }
            }
            Answer::Committed { unit, id, is_fenced } => {
                let actor = &mut self.actors[at];
                let Some(run) = actor.runs.get_mut(&unit) else { return };
                let Some((_, _, gives_up)) = run.under_way.filter(|(under_way, ..)| *under_way == id) else { return };
                if is_fenced || gives_up {
                    actor.runs.remove(&unit);
                    actor.lease.lost(unit);
                } else {
                    (run.under_way, run.n, run.due_ms) = (None, run.n + 1, self.now + 100);
                }
            }
        }
    }

    /// Commit now and then, and the same again where no answer comes.
    fn work(&mut self, at: usize, unit: UnitId) {
        let is_alive = self.actors[at].lease.is_alive(self.now * MS);
        let waits = unit == 0 && self.waits_for_others(at);
        let Some(run) = self.actors[at].runs.get_mut(&unit).filter(|_| is_alive) else { return };
        let (id, gives_up) = match run.under_way {
            Some((id, sent, gives_up)) if self.now >= sent + PATIENCE_MS => (id, gives_up),
            None if self.now >= run.due_ms => {
                self.last_id += 1;
                (self.last_id, run.gives_up && !waits)
            }
            _ => return,
        };
        run.under_way = Some((id, self.now, gives_up));
        let (epoch, n) = (run.epoch, run.n);
        self.send(at, Request::Commit { unit, epoch, n, id, gives_up });
    }

    /// A unit runs in two processes, and neither has stood still just now.
    fn look_for_overlaps(&mut self) {
        for unit in 0..UNITS {
            let runs = |actor: &&Actor| {
                let is_stopping = actor.stopping.iter().any(|(of, until)| *of == unit && self.now < *until);
                let holds = actor.runs.get(&unit).is_some_and(|run| !run.is_given_up());
                let works = holds && actor.lease.is_alive(self.now * MS);
                !actor.is_killed && !stood_still(actor, self.now) && (works || is_stopping)
            };
            if self.actors.iter().filter(runs).count() > 1 {
                let running: Vec<_> = self.actors.iter().filter(runs).map(|actor| actor.name.clone()).collect();
                self.faults.push(format!("{} ms: unit {unit} runs in {running:?}", self.now));
            }
        }
        let now = self.now;
        for actor in &mut self.actors {
            actor.stopping.retain(|(_, until)| now < *until);
            if actor.stopping.is_empty() {
                actor.lease.stopped();
            }
        }
    }
}

fn stood_still(actor: &Actor, now: u64) -> bool {
    actor.paused_until > 0 && now < actor.paused_until + STOPS_IN_MS + STEP_MS
}

/// What has arrived by now, in the order of its arrival: for one member, or for the store.
fn take_due<T>(sent: &mut Vec<(u64, usize, T)>, now: u64, member: Option<usize>) -> Vec<(usize, T)> {
    let is_due = |(at, of, _): &(u64, usize, T)| *at <= now && member.is_none_or(|member| member == *of);
    if !sent.iter().any(is_due) {
        return Vec::new();
    }
    let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(sent).into_iter().partition(is_due);
    *sent = later;
    due.sort_by_key(|(at, ..)| *at);
    due.into_iter().map(|(_, of, what)| (of, what)).collect()
}
