//! Processes that share a store on a real server: killed, stopped, cut off from it. What was acknowledged is there, once.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/common/mod.rs"]
mod common;
mod proxy;
mod server;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_core::cluster::{placed, Rules, Stopped};
use forebay_postgres::{drain, look, want, Door, Event, Membership, PostgresStore, Settings};
use forebay_store::chunk::Chunk;
use forebay_store::port::{BlockingStore as _, Durability, Outcome, Store as _, StoreError, Table, Token, Unit, Write};
use rustix::process::{kill_process, Pid, Signal};
use server::Server;

/// What a member is told by its environment: its name, the store's URL and where to write down what it did.
const NAME: &str = "FOREBAY_TEST_MEMBER";
const URL: &str = "FOREBAY_TEST_URL";
const NOTES: &str = "FOREBAY_TEST_NOTES";

/// One process, which runs until it is killed: whenever it owns the store it works, and writes down when, and what was acknowledged.
#[test]
#[ignore = "a process of the other tests"]
fn a_member() {
    let Ok(name) = std::env::var(NAME) else { return };
    let url = std::env::var(URL).unwrap();
    let settings = Settings::new(&url, "members", Durability::PowerLoss).unwrap().named(&name);
    let mut notes = OpenOptions::new().create(true).append(true).open(std::env::var(NOTES).unwrap()).unwrap();
    let membership = Membership::join(settings.clone()).unwrap();
    let mut done = 0;
    loop {
        match membership.event(Duration::from_secs(60)) {
            Some(Event::Taken(epoch)) => {
                // Whatever ends it, the next event says how it goes on.
                if let Err(error) = own(&settings, &membership, epoch, &name, &mut notes, &mut done) {
                    println!("{name}: {error}");
                }
                membership.lost();
            }
            Some(Event::StandDown) => membership.stopped(),
            // Nobody asks for a hand-over here.
            Some(Event::HandOver) | None => {}
        }
    }
}

fn own(
    settings: &Settings,
    membership: &Membership,
    epoch: u64,
    name: &str,
    notes: &mut File,
    done: &mut u64,
) -> Result<(), StoreError> {
    let mut store = PostgresStore::open(settings.clone().taken(epoch))?;
    let mut token = store.take_now(Unit::All)?;
    let mut next = store.reader()?.bounds(1)?.map_or(0, |(_, next)| next);
    while membership.may_run() == Some(epoch) {
        *done += 1;
        let id = format!("{name}-{done}");
        let begun = now();
        std::thread::sleep(Duration::from_millis(2));
        note(notes, &format!("ran {epoch} {begun} {} {id}", now()))?;
        let mut chunk = Chunk::starting_at(next);
        chunk.push("key", id.as_bytes(), 0, 1);
        let writes = [
            Write::Append { shard: 1, chunk: Arc::new(chunk) },
            Write::Set { table: Table::Meta, key: id.clone().into(), value: epoch.to_be_bytes().into() },
        ];
        token = insist(&mut store, membership, token, &writes)?;
        note(notes, &format!("acknowledged {epoch} {} {id}", now()))?;
        next += 1;
    }
    Ok(())
}

fn mark(number: u8) -> Write {
    Write::Set { table: Table::Meta, key: vec![number], value: vec![number] }
}

/// Write down a line in one piece: the process may be killed at any moment.
fn note(notes: &mut File, line: &str) -> std::io::Result<()> {
    notes.write_all(format!("{line}\n").as_bytes())
}

/// The same again until it is known, or until this process must stop.
fn insist(
    store: &mut PostgresStore,
    membership: &Membership,
    token: Token,
    writes: &[Write],
) -> Result<Token, StoreError> {
    loop {
        match store.submit_now(Unit::All, token, writes)? {
            Outcome::Committed { token, .. } => return Ok(token),
            Outcome::Fenced => return Err(StoreError::Refused("fenced".into())),
            Outcome::Busy(error) => return Err(error),
            Outcome::Unknown(error) | Outcome::Unavailable(error) => {
                if membership.may_run() != Some(token.epoch) {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// A clock that all processes of the machine share, ms.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

struct Process {
    child: Child,
    notes: PathBuf,
}

impl Process {
    fn start(folder: &Path, url: &str, name: &str) -> Self {
        let notes = folder.join(name);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "a_member", "--nocapture"]);
        command.env(NAME, name).env(URL, url).env(NOTES, &notes).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), notes }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn notes(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(&self.notes).unwrap_or_default();
        // A process that was killed may have left the beginning of a line.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| line.split(' ').map(Into::into).collect()).collect()
    }

    /// When it was told last that it had written something.
    fn acknowledged(&self) -> Option<u64> {
        self.notes().iter().rev().find(|note| note[0] == "acknowledged").map(|note| note[2].parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Wait until one of these is told that it has written something after `since`; gives it and when.
fn works(processes: &[Process], since: u64) -> (usize, u64) {
    let until = Instant::now() + Duration::from_secs(100);
    loop {
        for (at, process) in processes.iter().enumerate() {
            if let Some(when) = process.acknowledged().filter(|when| *when > since) {
                return (at, when);
            }
        }
        assert!(Instant::now() < until, "nobody works");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What was acknowledged is stored, nothing is stored twice, and nothing ran in two processes at once but what a stopped one began.
fn check(server: &Server, processes: &[Process], stopped: Option<usize>) -> usize {
    let mut store =
        PostgresStore::open(Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap()).unwrap();
    store.take_now(Unit::All).unwrap();
    let mut reader = store.reader().unwrap();
    let chunks = reader.chunks(1, 0, usize::MAX).unwrap();
    let stored: Vec<String> = chunks
        .iter()
        .flat_map(|chunk| {
            (chunk.first()..chunk.end()).map(|at| String::from_utf8(chunk.record(at).data.into()).unwrap())
        })
        .collect();
    let once: BTreeSet<_> = stored.iter().cloned().collect();
    assert_eq!(once.len(), stored.len(), "nothing is stored twice");
    let rows: BTreeSet<_> =
        reader.scan(Table::Meta, b"", None, usize::MAX).unwrap().into_iter().map(|row| row.0).collect();
    assert_eq!(rows, once.iter().map(|id| id.clone().into_bytes()).collect(), "a commit is whole");
    let mut runs = Vec::new();
    let mut acknowledged = 0;
    for (at, process) in processes.iter().enumerate() {
        for note in process.notes() {
            if note[0] == "acknowledged" {
                acknowledged += 1;
                assert!(once.contains(&note[3]), "{note:?} was lost");
            } else {
                let time = |at: usize| note[at].parse::<u64>().unwrap();
                runs.push((time(2), time(3), at));
            }
        }
    }
    runs.sort_unstable();
    for pair in runs.windows(2).filter(|pair| pair[0].2 != pair[1].2) {
        let apart = pair[0].1 <= pair[1].0 || stopped == Some(pair[0].2);
        assert!(apart, "it ran in two processes at once: {pair:?}");
    }
    acknowledged
}

fn folder() -> tempfile::TempDir {
    common::quick_dir()
}

#[test]
fn an_owner_that_is_killed_or_stopped_is_replaced_and_nothing_is_lost_or_written_twice() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let folder = folder();
    let mut processes: Vec<_> =
        ["one", "two", "three"].iter().map(|name| Process::start(folder.path(), &server.url(""), name)).collect();
    let (owner, _) = works(&processes, 0);
    assert_eq!(works(&processes, now()).0, owner, "the others stand by");

    let killed = now();
    processes[owner].child.kill().unwrap();
    let (second, when) = works(&processes, killed + 100);
    assert_ne!(second, owner);
    println!("figures {{\"killed_until_next_commit_ms\": {}}}", when - killed);
    // Six seconds, and what a busy machine adds.
    assert!(when - killed < 30_000, "{} ms", when - killed);
    assert_eq!(server.sql("SELECT deaths FROM forebay_members.unit"), "1", "its successor knows that it died");

    let stopped = now();
    processes[second].signal(Signal::STOP);
    let (third, when) = works(&processes, stopped + 100);
    assert_ne!(third, second);
    println!("figures {{\"stopped_until_next_commit_ms\": {}}}", when - stopped);
    processes[second].signal(Signal::CONT);
    let since = now();
    assert_eq!(works(&processes, since + 1_500).0, third, "whoever wakes up stands by");

    // Sessions that end, and a server that crashes, move nothing.
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'forebay members'");
    let since = now();
    assert_eq!(works(&processes, since + 500).0, third);
    server.crash();
    server.begin();
    let since = now();
    assert_eq!(works(&processes, since + 500).0, third);

    for process in &mut processes {
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }
    let acknowledged = check(&server, &processes, Some(second));
    println!("figures {{\"acknowledged\": {acknowledged}}}");
    assert!(acknowledged > 100);
}

/// It is alive, and nobody can tell: it stops itself before another process begins, and stands by when it can be reached again.
#[test]
fn an_owner_that_is_cut_off_stops_before_its_successor_begins() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let (folder, way) = (folder(), proxy::Proxy::to(server.port));
    let cut_off = [Process::start(folder.path(), &way.url(), "cut")];
    works(&cut_off, 0);
    let other = [Process::start(folder.path(), &server.url(""), "other")];
    works(&cut_off, now() + 1_000);
    way.lose_answers(true);
    let cut = now();
    let (_, when) = works(&other, cut);
    println!("figures {{\"cut_until_next_commit_ms\": {}}}", when - cut);
    way.lose_answers(false);
    works(&other, now() + 2_000);
    let mut processes: Vec<_> = cut_off.into_iter().chain(other).collect();
    assert_eq!(works(&processes, now()).0, 1, "it stands by");
    for process in &mut processes {
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }
    check(&server, &processes, None);
}

/// A process that ends in good order leaves nothing to wait for.
#[test]
fn a_store_that_was_given_up_is_taken_at_once() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    let first = Membership::join(settings("first")).unwrap();
    let Some(Event::Taken(epoch)) = first.event(Duration::from_secs(100)) else { panic!("it is free") };
    let mut store = PostgresStore::open(settings("first").taken(epoch)).unwrap();
    let token = store.take_now(Unit::All).unwrap();
    let second = Membership::join(settings("second")).unwrap();
    assert_eq!(second.event(Duration::from_secs(1)), None);
    assert_eq!((first.may_run(), second.may_run()), (Some(epoch), None));
    let until = Instant::now() + Duration::from_secs(100);
    while second.living() != ["second", "first"] {
        assert!(Instant::now() < until, "it sees {:?}", second.living());
        std::thread::sleep(Duration::from_millis(20));
    }
    store.release(Unit::All, token);
    drop(store);
    drop(first);
    let Some(Event::Taken(next)) = second.event(Duration::from_secs(100)) else { panic!("it was given up") };
    assert_eq!(next, epoch + 1);
    assert_eq!(server.sql("SELECT deaths FROM forebay_members.unit"), "0", "nobody has died");
}

/// The server ended the session just before the owner gave the store up for another process: the owner took it anew, the wish was gone, and
/// `forebay cluster move` ended with a timeout.
#[test]
fn a_wish_for_another_owner_outlives_a_release_that_is_not_heard() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    let owner = Membership::join(settings("owner")).unwrap();
    assert_eq!(owner.event(Duration::from_secs(100)), Some(Event::Taken(1)));
    let other = Membership::join(settings("other")).unwrap();
    let until = Instant::now() + Duration::from_secs(100);
    while !want(&settings("?"), "other").unwrap() {
        assert!(Instant::now() < until, "the other one shares the store");
    }
    assert_eq!(owner.event(Duration::from_secs(100)), Some(Event::HandOver));
    // The head still names it.
    owner.lost();
    owner.stopped();
    assert_eq!(owner.event(Duration::from_secs(100)), Some(Event::Taken(2)));
    assert_eq!(owner.event(Duration::from_secs(100)), Some(Event::HandOver));
    server.sql("UPDATE forebay_members.unit SET owner = NULL");
    assert_eq!(other.event(Duration::from_secs(100)), Some(Event::Taken(3)));
    assert_eq!(server.sql("SELECT wanted IS NULL FROM forebay_members.unit"), "t");
}

/// An opening that fails late, at a socket for example, gives up what it has taken. Its process may be the only one.
#[test]
fn a_store_that_a_late_failure_has_given_up_is_taken_anew_by_the_same_process() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named("alone");
    let alone = Membership::join(settings.clone()).unwrap();
    let Some(Event::Taken(epoch)) = alone.event(Duration::from_secs(100)) else { panic!("it is free") };
    let open = |epoch| PostgresStore::open(settings.clone().taken(epoch)).unwrap();
    let mut store = open(epoch);
    let token = store.take_now(Unit::All).unwrap();
    store.release(Unit::All, token);
    drop(store);
    // That passes: nobody is to hear of it who has put something.
    let late = open(epoch).take_now(Unit::All).err();
    assert!(matches!(late, Some(StoreError::Lost(_))), "{late:?}");
    assert_eq!(alone.event(Duration::from_secs(100)), Some(Event::Taken(epoch + 1)));
    assert_eq!(open(epoch + 1).take_now(Unit::All).unwrap().epoch, epoch + 1);
}

/// A server's clock was set forward, or it failed over to a host whose clock is ahead: the rows of all other members were removed, with their
/// drained flags and the owner's door, which was never told again. No other machine could reach the owner any more.
#[test]
fn a_clock_that_is_set_forward_removes_no_member_that_lives() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    let of_owner = settings("owner");
    let owner = Membership::join(of_owner.clone()).unwrap();
    assert!(owner.event(Duration::from_secs(100)).is_some(), "it is free");
    let rules = Rules { forget_ns: 8_000_000_000, ..Rules::default() };
    let other = Membership::join_by(settings("other"), rules).unwrap();
    let door = Door { protocol: 1, address: Some("10.0.0.1:7410".into()), key: vec![1], secret: vec![2] };
    of_owner.tell_door(&door, || true).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while other.living().len() < 2 || owner.living().len() < 2 {
        assert!(Instant::now() < until, "they see each other");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(drain(&settings("?"), "other", true).unwrap());
    server.sql("INSERT INTO forebay_members.member (name, beat, version) VALUES ('dead', 1, '0.0.1')");
    let rows =
        || server.sql("SELECT string_agg(name || ' ' || drained, ', ' ORDER BY name) FROM forebay_members.member");
    for _ in 0..8 {
        server.sql("UPDATE forebay_members.member SET seen = seen - interval '2 hours'");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(rows(), "dead false, other true, owner false");
        assert_eq!(of_owner.door_of("owner"), Ok(Some(door.clone())));
    }
    while rows() != "other true, owner false" {
        assert!(Instant::now() < until, "who has not beaten for long is removed: {}", rows());
        std::thread::sleep(Duration::from_millis(100));
    }
    // However it was lost.
    server.sql("DELETE FROM forebay_members.door");
    while of_owner.door_of("owner") != Ok(Some(door.clone())) {
        assert!(Instant::now() < until, "the owner says it again");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A rolling upgrade: a newer release has raised the store's format, and processes of the release before still run.
#[test]
fn a_member_that_does_not_understand_the_store_gives_it_up_and_never_takes_it() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    let old = Membership::join(settings("old")).unwrap();
    let Some(Event::Taken(epoch)) = old.event(Duration::from_secs(100)) else { panic!("it is free") };
    let mut store = PostgresStore::open(settings("old").taken(epoch)).unwrap();
    let token = store.take_now(Unit::All).unwrap();
    let newer = Membership::join(settings("newer").with_steps(&["NULL;"])).unwrap();
    assert_eq!(newer.event(Duration::from_secs(2)), None, "it beats");
    server.sql("UPDATE forebay_members.format SET version = 2");
    assert_eq!(old.event(Duration::from_secs(100)), Some(Event::HandOver));
    let seen = look(&settings("?")).unwrap().1.unwrap();
    let outdated: Vec<_> = seen.members.iter().map(|member| (member.name.as_str(), member.is_outdated)).collect();
    assert_eq!(outdated, [("newer", false), ("old", true)]);
    assert!(!want(&settings("?"), "old").unwrap(), "nobody can wish for it");

    store.release(Unit::All, token);
    drop(store);
    old.lost();
    old.stopped();
    assert_eq!(newer.event(Duration::from_secs(100)), Some(Event::Taken(epoch + 1)));
    drop(newer);
    assert_eq!(old.event(Duration::from_secs(3)), None, "it is free, and not for this one");
    assert_eq!(server.sql("SELECT owner FROM forebay_members.unit"), "");
    let refused = Membership::join(settings("another")).err();
    assert_eq!(refused, Some(StoreError::NewerFormat { found: 2, known: 1 }));
}

/// A rolling upgrade, to the end: the last process of the release before goes, and the number is raised.
#[test]
fn a_format_is_raised_when_no_process_of_the_release_before_lives() {
    const STEPS: &[&str] = &["CREATE TABLE @.later (id integer PRIMARY KEY); INSERT INTO @.later VALUES (7);"];
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    let rules = Rules { raise_ns: 1_000_000_000, ..Rules::default() };
    let old = Membership::join_by(settings("old"), rules).unwrap();
    let Some(Event::Taken(epoch)) = old.event(Duration::from_secs(100)) else { panic!("it is free") };
    let mut store = PostgresStore::open(settings("old").taken(epoch)).unwrap();
    let token = store.take_now(Unit::All).unwrap();
    let newer = Membership::join_by(settings("newer").with_steps(STEPS), rules).unwrap();
    // Longer than it would take without the other one.
    assert_eq!(newer.event(Duration::from_secs(3)), None);
    assert_eq!(server.sql("SELECT version FROM forebay_members.format"), "1");
    let Outcome::Committed { token, .. } = store.submit_now(Unit::All, token, &[mark(1)]).unwrap() else { panic!() };
    store.release(Unit::All, token);
    drop(store);
    drop(old);

    let Some(Event::Taken(epoch)) = newer.event(Duration::from_secs(100)) else { panic!("it was given up") };
    let mut store = PostgresStore::open(settings("newer").with_steps(STEPS).taken(epoch)).unwrap();
    let mut token = store.take_now(Unit::All).unwrap();
    let until = Instant::now() + Duration::from_secs(100);
    while server.sql("SELECT version FROM forebay_members.format") == "1" {
        assert!(Instant::now() < until, "it is not raised");
        let outcome = store.submit_now(Unit::All, token, &[mark(2)]).unwrap();
        let Outcome::Committed { token: next, .. } = outcome else { panic!("{outcome:?}") };
        token = next;
    }
    assert_eq!(server.sql("SELECT id FROM forebay_members.later"), "7");
    let outcome = store.submit_now(Unit::All, token, &[mark(3)]).unwrap();
    assert!(matches!(outcome, Outcome::Committed { .. }), "its owner goes on: {outcome:?}");
    assert_eq!(look(&settings("?")).unwrap().1.unwrap().format, 2);
    let refused = Membership::join(settings("another")).err();
    assert_eq!(refused, Some(StoreError::NewerFormat { found: 2, known: 1 }));
}

/// A statement that was delayed: a process of the release before has come meanwhile.
#[test]
fn a_format_is_not_raised_over_a_process_that_has_just_come_and_a_new_store_has_the_newest() {
    const STEPS: &[&str] = &["CREATE TABLE @.second (id integer);", "CREATE TABLE @.third (id integer);"];
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    drop(PostgresStore::open(settings("maker").with_steps(&STEPS[..1])).unwrap());
    assert_eq!(server.sql("SELECT version FROM forebay_members.format"), "2");
    assert_eq!(server.sql("SELECT to_regclass('forebay_members.second') IS NULL"), "f");
    server.sql("INSERT INTO forebay_members.member (name, beat, version, format) VALUES ('before', 1, '0', 2)");
    let rules = Rules { raise_ns: 0, ..Rules::default() };
    // The store belongs to it, though the other one lives.
    let mut names = (0..).map(|n| format!("newest-{n}"));
    let name = names.find(|name| placed(0, [name, &"before".into()]) == Some(name)).unwrap();
    let newest = Membership::join_by(settings(&name).with_steps(STEPS), rules).unwrap();
    assert!(newest.event(Duration::from_secs(100)).is_some());
    // It is seen by the server, though not by the one that raises: whoever looks at beats holds it for dead.
    for _ in 0..70 {
        server.sql("UPDATE forebay_members.member SET seen = clock_timestamp() WHERE name = 'before'");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(newest.living(), [name]);
    assert_eq!(server.sql("SELECT version FROM forebay_members.format"), "2");
    let until = Instant::now() + Duration::from_secs(100);
    while server.sql("SELECT version FROM forebay_members.format") == "2" {
        assert!(Instant::now() < until, "it is not raised");
        std::thread::sleep(Duration::from_millis(20));
    }
    let silent =
        "SELECT extract(epoch FROM clock_timestamp() - seen) >= 5 FROM forebay_members.member WHERE name = 'before'";
    assert_eq!(server.sql(silent), "t");
    assert_eq!(server.sql("SELECT to_regclass('forebay_members.third') IS NULL"), "f");
}

/// What another process can open is not kept by one that cannot.
#[test]
fn a_store_that_cannot_be_opened_is_given_back_and_not_taken_again_at_once() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    let rules = Rules { decline_ns: 6_000_000_000, ..Rules::default() };
    let first = Membership::join_by(settings("first"), rules).unwrap();
    let Some(Event::Taken(epoch)) = first.event(Duration::from_secs(100)) else { panic!("it is free") };
    let second = Membership::join(settings("second")).unwrap();
    assert_eq!(second.event(Duration::from_secs(1)), None);
    let declined = Instant::now();
    first.declined();
    let Some(Event::Taken(next)) = second.event(Duration::from_secs(100)) else { panic!("it was given back") };
    assert_eq!((next, first.may_run(), first.has_declined()), (epoch + 1, None, true));
    let seen = look(&settings("?")).unwrap().1.unwrap();
    let declines: Vec<_> = seen.members.iter().map(|member| (member.name.as_str(), member.has_declined)).collect();
    assert_eq!(declines, [("first", true), ("second", false)]);
    drop(second);
    let Some(Event::Taken(_)) = first.event(Duration::from_secs(100)) else {
        panic!("it is free, and time has passed")
    };
    assert!(declined.elapsed() >= Duration::from_secs(6), "{:?}", declined.elapsed());
    assert!(!first.has_declined());
}

#[track_caller]
fn soon(what: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < until, "it takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An owner, and another member that has seen it. They hold nobody for dead.
fn owner_and_client(server: &Server) -> [Membership; 2] {
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    let rules = Rules { dead_ns: 3_600_000_000_000, ..Rules::default() };
    let owner = Membership::join_by(settings("owner"), rules).unwrap();
    assert_eq!(owner.event(Duration::from_secs(100)), Some(Event::Taken(1)));
    let client = Membership::join_by(settings("client"), rules).unwrap();
    soon(|| client.head().is_some_and(|head| head.owner.as_deref() == Some("owner")));
    [owner, client]
}

#[test]
fn what_a_member_says_that_it_has_stopped_is_seen_by_the_others() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let [owner, client] = owner_and_client(&server);
    assert_eq!(owner.stopped_by(), [].into());
    for stopped in [Stopped { epoch: 1, connection: 3 }, Stopped { epoch: 1, connection: 4 }] {
        client.has_stopped("owner", stopped);
        soon(|| owner.stopped_by() == [("client".to_owned(), stopped)].into());
    }
}

/// A failover lost the take of an owner, and the next one had its epoch. What a member had said of the former one was taken for a word about
/// its new connections: all that it ran there had failed, and ran elsewhere beside it.
#[test]
fn what_was_stopped_for_an_owner_is_not_said_to_another_of_its_epoch() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let [_owner, client] = owner_and_client(&server);
    let row = |column: &str| server.sql(&format!("SELECT {column} FROM forebay_members.member WHERE name = 'client'"));
    client.has_stopped("owner", Stopped { epoch: 1, connection: 7 });
    soon(|| row("stopped") == "{1,7}");
    server.sql("UPDATE forebay_members.unit SET owner = 'another'");
    soon(|| row("stopped") == "{}");
    // What it ran ended only after it had seen that, which is the rule.
    client.has_stopped("owner", Stopped { epoch: 1, connection: 7 });
    let beats = || row("beat").parse::<u64>().unwrap();
    let seen = beats();
    soon(|| beats() >= seen + 2);
    assert_eq!((row("stopped").as_str(), client.head().unwrap().epoch), ("{}", 1));
}

/// What a release adds to a format is added when one of its processes comes, beside those of the release before.
#[test]
fn a_store_of_an_earlier_release_gets_what_it_lacks() {
    let Some(server) = Server::start("rust/postgres/tests/members.rs") else { return };
    let settings = |name: &str| Settings::new(&server.url(""), "members", Durability::PowerLoss).unwrap().named(name);
    drop(PostgresStore::open(settings("maker")).unwrap());
    server.sql("DROP TABLE forebay_members.door");
    server.sql("ALTER TABLE forebay_members.member DROP COLUMN format, DROP COLUMN declined, DROP COLUMN stopped");
    server.sql("INSERT INTO forebay_members.member (name, beat, version) VALUES ('earlier', 1, '0.0.1')");
    let seen = look(&settings("?")).unwrap().1.unwrap();
    assert!(!seen.members[0].is_outdated && seen.members[0].address.is_none());
    assert_eq!(settings("?").door_of("earlier"), Ok(None));

    let newer = Membership::join(settings("newer")).unwrap();
    let door = Door { protocol: 1, address: Some("there:1".into()), key: vec![1, 2], secret: vec![3; 32] };
    assert!(!format!("{door:?}").contains('3'), "{door:?}");
    assert!(newer.event(Duration::from_secs(100)).is_some(), "the other one has not beaten for long enough");
    settings("newer").tell_door(&door, || true).unwrap();
    settings("newer").tell_door(&door, || true).unwrap();
    assert_eq!(settings("earlier").door_of("newer"), Ok(Some(door)));
    assert_eq!(settings("earlier").door_of("earlier"), Ok(None));
    let seen = look(&settings("?")).unwrap().1.unwrap();
    let addresses: Vec<_> = seen.members.iter().map(|member| member.address.as_deref()).collect();
    assert_eq!(addresses, [None, Some("there:1")]);
    drop(newer);
    assert_eq!(server.sql("SELECT count(*) FROM forebay_members.door"), "0", "it left, and its door with it");
}
