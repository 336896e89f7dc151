//! The three patterns, the same for every engine.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::grouped;
use crate::median;

/// Payload bytes of a record or message.
pub const RECORD: usize = 200;
const RUNS: usize = 3;

/// What an engine must do. Each method is one durable commit, except `read`.
pub trait Engine {
    /// Put one chunk under a key.
    fn append(&mut self, key: u64, body: &[u8]);
    /// Read all chunks in order; give the bytes read.
    fn read(&mut self) -> usize;
    /// Put messages with their deduplication ids, unless an id is already known; give how many were new.
    fn send(&mut self, first: u64, count: u64) -> u64;
    /// Take the oldest `count` visible messages: hide them until a deadline, and read their bodies.
    fn claim(&mut self, count: u64) -> Vec<u64>;
    /// Delete messages that were claimed.
    fn acknowledge(&mut self, messages: &[u64]);
    /// Replace these rows of 64 bytes.
    fn update(&mut self, rows: &[u64], value: &[u8; 64]);
}

/// Opens an engine in an empty directory.
pub type Open = fn(&Path) -> Box<dyn Engine>;

/// One figure of one run: things a second, and how long each commit took.
struct Run {
    rate: f64,
    commits: Vec<Duration>,
}

/// Run every pattern on every engine, in turns so that all meet the same disturbances; rows of `(pattern, figures)`.
pub fn measure(engines: &[Open], place: &Path) -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    for (group, commits) in [(1, 1_000), (100, 500), (1_000, 150)] {
        let mut reads = vec![Vec::new(); engines.len()];
        let mut turn = |number: usize, engine: &mut dyn Engine| {
            let run = append(engine, group, commits);
            reads[number].push(read_back(engine, group * commits));
            run
        };
        let figures = in_turns(engines, place, &mut turn);
        rows.push((format!("append {group} a commit: records/s"), figures));
        let reads = reads.into_iter().map(|rates| grouped(median(rates))).collect();
        rows.push((format!("range read, chunks of {group}: records/s"), reads));
    }
    for (group, rounds) in [(1, 200), (100, 60)] {
        let figures = in_turns(engines, place, &mut |_, engine| queue_life(engine, group, rounds));
        rows.push((format!("send, claim, acknowledge {group} a commit: messages/s"), figures));
    }
    let figures = in_turns(engines, place, &mut |_, engine| updates(engine));
    rows.push(("4 of 1,000 rows updated: commits/s".into(), figures));
    rows
}

fn in_turns(engines: &[Open], place: &Path, run: &mut dyn FnMut(usize, &mut dyn Engine) -> Run) -> Vec<String> {
    let mut runs: Vec<Vec<Run>> = engines.iter().map(|_| Vec::new()).collect();
    for _ in 0..RUNS {
        for (number, open) in engines.iter().enumerate() {
            let dir = tempfile::tempdir_in(place).expect("a directory for the run");
            let mut engine = open(dir.path());
            runs[number].push(run(number, engine.as_mut()));
        }
    }
    runs.iter()
        .map(|runs| {
            let rate = grouped(median(runs.iter().map(|run| run.rate).collect()));
            let mut commits: Vec<_> = runs.iter().flat_map(|run| run.commits.iter().copied()).collect();
            commits.sort();
            let [low, middle, high] = [10, 50, 99].map(|percent| grouped(percentile(&commits, percent)));
            format!("{rate} ({low} / {middle} / {high})")
        })
        .collect()
}

/// Bytes that do not compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut word = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        (word >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Take a body as a caller would: copied out, and not optimised away.
pub fn taken(body: &[u8]) -> usize {
    std::hint::black_box(body.to_vec()).len()
}

/// Time `commits` commits, each of which handles `group` things.
fn timed(group: usize, commits: usize, mut commit: impl FnMut(usize)) -> Run {
    let mut times = Vec::with_capacity(commits);
    let started = Instant::now();
    for number in 0..commits {
        let begun = Instant::now();
        commit(number);
        times.push(begun.elapsed());
    }
    Run { rate: (group * commits) as f64 / started.elapsed().as_secs_f64(), commits: times }
}

fn append(engine: &mut dyn Engine, group: usize, commits: usize) -> Run {
    let body = noise(group * (RECORD + 24));
    timed(group, commits, |commit| engine.append((commit * group) as u64, &body))
}

fn read_back(engine: &mut dyn Engine, records: usize) -> f64 {
    let started = Instant::now();
    let bytes = engine.read();
    let elapsed = started.elapsed().as_secs_f64();
    assert_eq!(bytes, records * (RECORD + 24), "everything is read back");
    records as f64 / elapsed
}

fn queue_life(engine: &mut dyn Engine, group: u64, rounds: usize) -> Run {
    // A round is three commits.
    let run = timed(group as usize, rounds, |round| {
        assert_eq!(engine.send(round as u64 * group, group), group);
        let claimed = engine.claim(group);
        assert_eq!(claimed.len() as u64, group);
        engine.acknowledge(&claimed);
    });
    assert_eq!(engine.send(0, group), 0, "known deduplication ids are refused");
    Run { commits: run.commits.iter().map(|three| *three / 3).collect(), ..run }
}

fn updates(engine: &mut dyn Engine) -> Run {
    let all: Vec<u64> = (0..1_000).collect();
    engine.update(&all, &[0; 64]);
    timed(1, 1_000, |commit| {
        let rows = [0, 1, 2, 3].map(|n| (commit as u64 * 4 + n) * 7_919 % 1_000);
        engine.update(&rows, &[commit as u8; 64]);
    })
}

/// Microseconds that so many of a hundred stay under, of sorted times.
pub fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted[sorted.len() * percent / 100].as_secs_f64() * 1e6
}
