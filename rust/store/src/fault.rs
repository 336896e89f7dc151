//! A store in memory that fails and crashes on demand, for tests and the simulator.
//!
//! It keeps the promises of the embedded store and no more: a commit is never seen in part; an acknowledged one survives what
//! the durability says; one that failed may or may not be there after a crash. Which of the allowed things happens is drawn
//! from a seed, so that every run can be repeated.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::Waker;

use crate::image::Image;
use crate::memory::MemoryReader;
use crate::port::at_once::{AtOnce, ReaderAtOnce};
use crate::port::{Done, Durability, Outcome, Reader, Store, StoreError, Ticket, Token, Unit, Write};

/// How a commit goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: commits that append are refused, those that only remove or mark progress go through.
    Full,
    /// A write or fsync fails: this store takes no further write.
    Failed,
    /// The store cannot be reached: nothing is written.
    Unavailable,
    /// Whether the commit is written is drawn, and not told: see [`Outcome::Unknown`].
    Unknown,
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// One commit.
    Once,
    /// Every commit from then on, after crashes too, until [`FaultStore::mend`].
    Always,
}

/// How the store comes to a sudden end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies; the operating system keeps what it was given.
    Process,
    /// The power goes; what was not synced may be lost, the newest first.
    Power,
}

/// In [`Durability::ProcessCrash`] one commit in so many happens to be synced.
const SYNC_ONE_IN: u64 = 16;

/// A store whose misfortunes are planned. Clones are handles on the same store.
#[derive(Clone, Debug)]
pub struct FaultStore {
    disk: Arc<Mutex<Disk>>,
    /// Life of the store that this handle belongs to; a crash ends it.
    life: u64,
    answers: AtOnce<Done>,
}

#[derive(Debug)]
struct Disk {
    durability: Durability,
    random: u64,
    life: u64,
    /// What readers see.
    image: Arc<RwLock<Image>>,
    /// What a power cut cannot take; kept apart only when commits are not synced.
    synced: Image,
    /// Acknowledged commits since, oldest first.
    unsynced: VecDeque<Vec<Write>>,
    /// The commit that failed: nobody knows whether it reached the disk.
    doubtful: Vec<Write>,
    failed: Option<StoreError>,
    token: Token,
    /// The token of a commit that was written, and not told to be.
    untold: Option<Token>,
    commits: u64,
    faults: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    commit: u64,
    fault: Fault,
    repeat: Repeat,
}

impl FaultStore {
    /// An empty store.
    pub fn new(seed: u64, durability: Durability) -> Self {
        let disk = Disk {
            durability,
            random: seed,
            life: 0,
            image: Arc::default(),
            synced: Image::default(),
            unsynced: VecDeque::new(),
            doubtful: Vec::new(),
            failed: None,
            token: Token::default(),
            untold: None,
            commits: 0,
            faults: Vec::new(),
        };
        Self { disk: Arc::new(Mutex::new(disk)), life: 0, answers: AtOnce::default() }
    }

    /// Let the `nth` commit from now (1: the next one) go wrong. For [`Fault::Full`] only commits that append count.
    pub fn fail(&self, nth: u64, fault: Fault, repeat: Repeat) {
        let mut disk = self.disk();
        let commit = disk.commits + nth;
        disk.faults.push(Planned { commit, fault, repeat });
    }

    /// Forget the planned faults: there is room again, the disk is replaced. A store that failed stays failed until a crash.
    pub fn mend(&self) {
        self.disk().faults.clear();
    }

    /// Commits that were tried.
    pub fn commits(&self) -> u64 {
        self.disk().commits
    }

    /// End the store as a crash would, and give it as the next process finds it. Other handles on it fail from now on.
    #[must_use]
    pub fn crash(&self, crash: Crash) -> Self {
        let mut disk = self.disk();
        let found = disk.found_after(crash);
        if disk.durability == Durability::ProcessCrash {
            disk.synced = found.clone();
        }
        disk.image = Arc::new(RwLock::new(found));
        disk.failed = None;
        disk.life += 1;
        Self { disk: Arc::clone(&self.disk), life: disk.life, answers: AtOnce::default() }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn living(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let disk = self.disk();
        if disk.life == self.life {
            return Ok(disk);
        }
        Err(StoreError::Failed("this store has crashed; work with what was found after it".into()))
    }
}

impl Disk {
    fn image(&self) -> RwLockReadGuard<'_, Image> {
        self.image.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn found_after(&mut self, crash: Crash) -> Image {
        let unsynced = mem::take(&mut self.unsynced);
        let doubtful = mem::take(&mut self.doubtful);
        let unsure = self.draw(2) == 0;
        if crash == Crash::Process || self.durability == Durability::PowerLoss {
            let mut found = self.image().clone();
            if unsure {
                found.apply(&doubtful);
            }
            return found;
        }
        let mut found = mem::take(&mut self.synced);
        let survivors = self.draw(unsynced.len() as u64 + 1) as usize;
        unsynced.iter().take(survivors).for_each(|writes| found.apply(writes));
        if unsure && survivors == unsynced.len() {
            found.apply(&doubtful);
        }
        found
    }

    /// A number below `limit`.
    fn draw(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }

    /// The fault that strikes this commit, if any.
    fn strike(&mut self, appends: bool) -> Option<Fault> {
        let commits = self.commits;
        let strikes = |planned: &Planned| planned.commit <= commits && (appends || planned.fault != Fault::Full);
        let at = self.faults.iter().position(strikes)?;
        let fault = self.faults[at].fault;
        if self.faults[at].repeat == Repeat::Once {
            self.faults.remove(at);
        }
        Some(fault)
    }

    fn take(&mut self) -> Result<Token, StoreError> {
        self.token.epoch += 1;
        self.untold = None;
        self.failed.clone().map_or(Ok(self.token), Err)
    }

    fn commit(&mut self, token: Token, writes: &[Write]) -> Result<Outcome, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if token != self.token {
            let is_written = self.untold.take() == Some(token);
            return if is_written { Outcome::at_once(Ok(self.token), writes) } else { Ok(Outcome::Fenced) };
        }
        self.commits += 1;
        let struck = self.strike(writes.iter().any(Write::adds));
        match struck {
            Some(Fault::Full) => return Ok(Outcome::Busy(StoreError::Full("as planned".into()))),
            Some(Fault::Unavailable) => return Ok(Outcome::Unavailable(StoreError::Unavailable("as planned".into()))),
            Some(Fault::Unknown) if self.draw(2) == 0 => {
                return Ok(Outcome::Unknown(StoreError::Unavailable("as planned".into())));
            }
            Some(Fault::Failed | Fault::Unknown) | None => {}
        }
        let mut checked = self.image().check(writes);
        if checked.is_ok() && struck == Some(Fault::Failed) {
            self.doubtful = writes.to_vec();
            checked = Err(StoreError::Failed("as planned".into()));
        }
        if let Err(error) = checked {
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.write(writes);
        self.token.commits += 1;
        if struck == Some(Fault::Unknown) {
            self.untold = Some(token);
            return Ok(Outcome::Unknown(StoreError::Unavailable("as planned".into())));
        }
        Outcome::at_once(Ok(self.token), writes)
    }

    fn write(&mut self, writes: &[Write]) {
        self.image.write().unwrap_or_else(PoisonError::into_inner).apply(writes);
        if self.durability == Durability::ProcessCrash {
            self.unsynced.push_back(writes.to_vec());
            if self.draw(SYNC_ONE_IN) == 0 {
                for writes in mem::take(&mut self.unsynced) {
                    self.synced.apply(&writes);
                }
            }
        }
    }
}

impl Store for FaultStore {
    fn take(&mut self, _unit: Unit) -> Ticket {
        let token = self.living().and_then(|mut disk| disk.take());
        self.answers.done(Done::Taken(token))
    }

    fn submit(&mut self, _unit: Unit, token: Token, writes: &[Write]) -> Ticket {
        let outcome = self.living().and_then(|mut disk| disk.commit(token, writes));
        self.answers.done(Done::Ended(outcome))
    }

    fn poll(&mut self, _waker: &Waker) -> Option<(Ticket, Done)> {
        self.answers.poll()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(ReaderAtOnce::over(MemoryReader::of(Arc::clone(&self.living()?.image)))))
    }

    fn give_back(&mut self) -> Result<bool, StoreError> {
        match &self.living()?.failed {
            Some(error) => Err(error.clone()),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Chunk;
    use crate::port::{BlockingStore as _, Table};

    fn mark(number: u8) -> Write {
        Write::Set { table: Table::Meta, key: vec![number], value: vec![number] }
    }

    fn append(first: u64) -> Write {
        let mut chunk = Chunk::starting_at(first);
        chunk.push("key", b"data", 0, 0);
        Write::Append { shard: 0, chunk: Arc::new(chunk) }
    }

    /// How many of the marks 0.. are there; a hole among them fails the test.
    fn marks(store: &FaultStore) -> usize {
        let rows = store.reader().unwrap().scan(Table::Meta, b"", None, 1_000).unwrap();
        assert!(
            rows.iter().enumerate().all(|(n, (key, _))| key == &[n as u8]),
            "a later commit outlived an earlier one"
        );
        rows.len()
    }

    #[test]
    fn an_acknowledged_commit_survives_what_the_durability_says() {
        let mut lost = 0;
        for seed in 0..50 {
            for (durability, crash) in [
                (Durability::PowerLoss, Crash::Power),
                (Durability::PowerLoss, Crash::Process),
                (Durability::ProcessCrash, Crash::Process),
                (Durability::ProcessCrash, Crash::Power),
            ] {
                let mut store = FaultStore::new(seed, durability);
                (0..40).for_each(|n| store.commit(&[mark(n)]).unwrap());
                let found = marks(&store.crash(crash));
                if (durability, crash) == (Durability::ProcessCrash, Crash::Power) {
                    lost += 40 - found;
                } else {
                    assert_eq!(found, 40, "seed {seed}, {durability:?}, {crash:?}");
                }
            }
        }
        assert!(lost > 0, "a power cut takes what was not synced");
    }

    #[test]
    fn a_failed_commit_stops_the_store_and_may_or_may_not_be_there_afterwards() {
        let mut seen = [0; 2];
        for seed in 0..50 {
            let mut store = FaultStore::new(seed, Durability::PowerLoss);
            store.commit(&[mark(0)]).unwrap();
            store.fail(1, Fault::Failed, Repeat::Once);
            assert!(matches!(store.commit(&[mark(1)]), Err(StoreError::Failed(_))));
            assert!(matches!(store.commit(&[mark(2)]), Err(StoreError::Failed(_))), "no write after a failed one");
            assert_eq!(marks(&store), 1, "nobody sees it before the crash");
            let mut next = store.crash(Crash::Process);
            let found = marks(&next);
            seen[found - 1] += 1;
            next.commit(&[mark(found as u8)]).unwrap();
            assert_eq!(marks(&next), found + 1);
            assert!(matches!(store.commit(&[mark(9)]), Err(StoreError::Failed(_))), "the old handle is dead");
        }
        assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    }

    #[test]
    fn a_full_disk_refuses_additions_until_it_is_mended_and_lets_draining_through() {
        let mut store = FaultStore::new(1, Durability::PowerLoss);
        store.commit(&[append(0)]).unwrap();
        store.fail(2, Fault::Full, Repeat::Always);
        store.commit(&[append(1)]).unwrap();
        assert!(matches!(store.commit(&[append(2)]), Err(StoreError::Full(_))));
        store.commit(&[Write::Trim { shard: 0, before: 1 }, mark(0)]).unwrap();
        assert!(matches!(store.commit(&[append(2)]), Err(StoreError::Full(_))));
        let row = Write::Add { table: Table::Event, key: vec![1], value: vec![1] };
        assert!(
            matches!(store.commit(std::slice::from_ref(&row)), Err(StoreError::Full(_))),
            "a row that is added, too"
        );
        store.mend();
        store.commit(&[append(2), row]).unwrap();
        assert_eq!(store.reader().unwrap().bounds(0).unwrap(), Some((1, 3)));
        assert_eq!(store.reader().unwrap().get(Table::Event, &[1]).unwrap(), Some(vec![1]));
        assert_eq!(store.commits(), 7);
    }

    #[test]
    fn a_store_that_cannot_be_reached_writes_nothing_until_it_can() {
        let mut store = FaultStore::new(1, Durability::PowerLoss);
        let token = store.take_now(Unit::All).unwrap();
        store.fail(1, Fault::Unavailable, Repeat::Always);
        for _ in 0..3 {
            let outcome = store.submit_now(Unit::All, token, &[mark(0)]);
            assert!(matches!(outcome, Ok(Outcome::Unavailable(_))), "{outcome:?}");
        }
        assert_eq!(marks(&store), 0);
        store.mend();
        let outcome = store.submit_now(Unit::All, token, &[mark(0)]);
        assert!(matches!(outcome, Ok(Outcome::Committed { .. })), "{outcome:?}");
    }

    #[test]
    fn a_commit_of_which_nobody_knows_is_written_once_when_it_comes_again() {
        let mut seen = [0; 2];
        for seed in 0..50 {
            let mut store = FaultStore::new(seed, Durability::PowerLoss);
            let token = store.take_now(Unit::All).unwrap();
            store.fail(1, Fault::Unknown, Repeat::Once);
            let outcome = store.submit_now(Unit::All, token, &[append(0)]);
            assert!(matches!(outcome, Ok(Outcome::Unknown(_))), "{outcome:?}");
            seen[usize::from(store.reader().unwrap().bounds(0).unwrap().is_some())] += 1;
            let outcome = store.submit_now(Unit::All, token, &[append(0)]).unwrap();
            let Outcome::Committed { token: next, positions } = outcome else { panic!("{outcome:?}") };
            assert_eq!((positions, store.reader().unwrap().bounds(0).unwrap()), (vec![0], Some((0, 1))));
            assert_eq!(store.submit_now(Unit::All, token, &[append(0)]), Ok(Outcome::Fenced), "it is known by now");
            assert!(matches!(store.submit_now(Unit::All, next, &[append(1)]), Ok(Outcome::Committed { .. })));
        }
        assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    }

    #[test]
    fn a_disk_that_is_broken_for_good_fails_the_next_process_too() {
        let mut store = FaultStore::new(1, Durability::PowerLoss);
        store.fail(1, Fault::Failed, Repeat::Always);
        assert!(store.commit(&[mark(0)]).is_err());
        let mut next = store.crash(Crash::Power);
        assert!(next.commit(&[mark(0)]).is_err());
        next.mend();
        let mut last = next.crash(Crash::Power);
        last.commit(&[mark(0)]).unwrap();
    }

    #[test]
    fn the_same_seed_gives_the_same_misfortunes() {
        let run = |seed| {
            let mut store = FaultStore::new(seed, Durability::ProcessCrash);
            let mut found = 0;
            (0..8)
                .map(|_| {
                    (found..found + 30).for_each(|n| store.commit(&[mark(n as u8)]).unwrap());
                    store = store.crash(Crash::Power);
                    found = marks(&store);
                    found
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
