//! The embedded store under `kill -9`: what was acknowledged is there, whole, and nothing is there in part.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::{append, set, spans, trim, Random};
use forebay_store::attempt_journal::{AttemptJournal, InFlight, InFlightKind};
use forebay_store::directory::{Directory, Ownership};
use forebay_store::port::{BlockingStore as _, Durability, Store, StoreError, Table};
use forebay_store::sqlite::SqliteStore;

const PLACE: &str = "FOREBAY_TEST_STORE";
const CYCLES: u64 = 20;
const SEED: u64 = 20_260_103;

/// Own the directory. The parent has just let it go, but a child that another of its threads is starting right now holds a
/// copy of the lock from its fork to its exec.
fn own(place: &str) -> Ownership {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match Directory::own(place) {
            Err(StoreError::Locked(_)) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            owned => return owned.unwrap(),
        }
    }
}

/// The victim: owns the directory and commits until it is killed, telling its parent of each commit that returned.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn commit_until_killed() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let _owned = own(&place);
    let durability = if place.contains("process-crash") { Durability::ProcessCrash } else { Durability::PowerLoss };
    let mut store = SqliteStore::open(Path::new(&place), durability).unwrap();
    let (mut slots, _) = AttemptJournal::open(&Path::new(&place).join("attempts")).unwrap();
    for (_, slot) in slots.adopt().unwrap() {
        slots.release(slot);
    }
    slots.flush().unwrap();
    let mut next = store.reader().unwrap().bounds(0).unwrap().map_or(0, |(_, next)| next);
    let mut random = Random(next);
    loop {
        let count = 1 + random.below(400);
        let record = InFlight {
            kind: InFlightKind::Batch,
            mapping: 1,
            shard: 0,
            lane: 0,
            lanes: 1,
            first: next,
            last: next + count - 1,
            attempt: 1,
            interruptions: 0,
            alone: false,
        };
        let slot = slots.occupy(record).unwrap();
        let writes = [
            append(0, next, count),
            append(1, next, count),
            set(Table::Checkpoint, b"next", &(next + count).to_le_bytes()),
            trim(0, next.saturating_sub(2_000)),
        ];
        // Shard 1 is written anew each time, so that forgetting a log is in the play too.
        store.commit(&[trim(1, u64::MAX)]).unwrap();
        store.commit(&writes).unwrap();
        next += count;
        println!("acknowledged {next}");
        std::io::stdout().flush().unwrap();
        slots.release(slot);
        slots.flush().unwrap();
        if random.below(10) == 0 {
            store.give_back().unwrap();
        }
    }
}

struct Victim {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Victim {
    fn start(place: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "commit_until_killed", "--ignored", "--nocapture", "--test-threads=1"])
            .env(PLACE, place)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The position it acknowledges next; `None` when it is dead. A killed process may have got no further than half a line.
    fn acknowledged(&mut self) -> Option<u64> {
        self.lines.find_map(|line| line.unwrap().strip_prefix("acknowledged ")?.parse().ok())
    }

    /// Let it acknowledge `commits` commits, then kill it a moment later. Gives the last position it acknowledged.
    fn kill_after(mut self, commits: u64, moment: Duration) -> u64 {
        let mut last = (0..commits).map(|_| self.acknowledged().unwrap()).last().unwrap();
        std::thread::sleep(moment);
        self.child.kill().unwrap();
        while let Some(later) = self.acknowledged() {
            last = later;
        }
        // Its output ends before its lock does: only a process that has been waited for has let everything go.
        self.child.wait().unwrap();
        last
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn survives_kills(name: &str) {
    let base = tempfile::tempdir().unwrap();
    let place = base.path().join(name);
    let mut random = Random(SEED);
    let mut before = 0;
    for cycle in 0..CYCLES {
        let (commits, moment) = (5 + random.below(20), Duration::from_micros(random.below(3_000)));
        let acknowledged = Victim::start(&place).kill_after(commits, moment);
        let what = format!("seed {SEED}, cycle {cycle}");

        let _owned = own(place.to_str().unwrap());
        let store = SqliteStore::open(&place, Durability::PowerLoss).unwrap();
        let mut reader = store.reader().unwrap();
        let (first, next) = reader.bounds(0).unwrap().unwrap();
        assert!(
            next >= acknowledged && next > before,
            "{what}: {acknowledged} was acknowledged, the log ends at {next}"
        );
        let row = reader.get(Table::Checkpoint, b"next").unwrap().unwrap();
        assert_eq!(row, next.to_le_bytes(), "{what}: a row and a chunk of one commit");
        assert!(next - first < 3_000, "{what}: the trim of the same commit");
        let spans = spans(reader.as_mut(), 0, 0, usize::MAX);
        assert_eq!((spans[0].0, spans[spans.len() - 1].1), (first, next), "{what}");

        // At most one batch was in flight, and it is the last one committed or the one after it.
        let (_, found) = AttemptJournal::open(&place.join("attempts")).unwrap();
        assert_eq!(found.damaged, 0, "{what}");
        assert!(found.records.len() <= 1, "{what}: {found:?}");
        for record in found.records {
            assert!(record.first == next || record.last + 1 == next, "{what}: {record:?}, the log ends at {next}");
        }
        before = next;
    }
}

#[test]
fn twenty_kills_lose_nothing_acknowledged() {
    survives_kills("power-loss");
}

#[test]
fn twenty_kills_lose_nothing_acknowledged_without_fsync_either() {
    survives_kills("process-crash");
}

#[test]
fn a_second_process_is_kept_out_until_the_first_is_dead() {
    let base = tempfile::tempdir().unwrap();
    let mut victim = Victim::start(base.path());
    victim.acknowledged().unwrap();
    let refused = Directory::own(base.path()).unwrap_err();
    assert!(refused.to_string().contains(&format!("is owned by process {}", victim.child.id())), "{refused}");
    drop(victim);
    own(base.path().to_str().unwrap());
}
