//! What a store on a server owes when the server, the way to it, or what it holds fails.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/common/mod.rs"]
mod common;
mod proxy;
mod server;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use common::{append, chunk, set, spans, trim};
use forebay_postgres::{PostgresStore, Settings};
use forebay_store::port::{BlockingStore as _, Durability, Outcome, Store as _, StoreError, Table, Token, Unit, Write};
use proxy::Proxy;
use rustix::process::Signal;
use server::Server;

static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| Server::start("rust/postgres/tests/faults.rs"));

fn open_at(url: &str, app: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(Settings::new(url, app, Durability::PowerLoss).unwrap())
}

fn open(server: &Server, app: &str) -> PostgresStore {
    open_at(&server.url(""), app).unwrap()
}

/// Carry a commit out as an engine does: the same again until it is known.
fn insist(store: &mut PostgresStore, token: Token, writes: &[Write]) -> (Token, u32) {
    let mut doubts = 0;
    loop {
        match store.submit_now(Unit::All, token, writes) {
            Ok(Outcome::Committed { token, .. }) => return (token, doubts),
            Ok(Outcome::Unknown(_)) => doubts += 1,
            Ok(Outcome::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Commit chunks until `harm` has done its worst so many times; then each must be there once.
fn ledger(server: &Server, app: &str, harms: u64, harm: impl Fn() + Sync) {
    let mut store = open(server, app);
    let mut token = store.take_now(Unit::All).unwrap();
    let over = AtomicBool::new(false);
    let (mut rounds, mut doubts) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..harms {
                thread::sleep(Duration::from_millis(150));
                harm();
            }
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            let key = u64::to_be_bytes(rounds);
            let (next, doubted) =
                insist(&mut store, token, &[append(1, rounds * 3, 3), set(Table::Meta, &key, b"done")]);
            assert_eq!(next.commits, token.commits + 1);
            (token, doubts, rounds) = (next, doubts + doubted, rounds + 1);
        }
    });
    println!("figures {{\"commits\": {rounds}, \"harms\": {harms}, \"unknown\": {doubts}}}");
    assert!(rounds > harms, "{rounds} commits");
    drop(store);
    // Another process opens it: the census and the ends of the log are looked at.
    let mut store = open(server, app);
    assert_eq!(store.take_now(Unit::All).unwrap().commits, token.commits);
    let mut reader = store.reader().unwrap();
    let expected: Vec<_> = (0..rounds).map(|round| (round * 3, round * 3 + 3)).collect();
    assert_eq!(spans(reader.as_mut(), 1, 0, usize::MAX), expected);
    assert_eq!(reader.scan(Table::Meta, b"", None, usize::MAX).unwrap().len() as u64, rounds);
}

#[test]
fn sessions_that_are_ended_by_the_server_lose_nothing_and_write_nothing_twice() {
    let Some(server) = SERVER.as_ref() else { return };
    ledger(server, "sessions", common::count(15), || {
        server
            .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'forebay sessions'");
    });
}

#[test]
fn a_server_that_crashes_again_and_again_loses_nothing_and_writes_nothing_twice() {
    let Some(server) = Server::start("rust/postgres/tests/faults.rs") else { return };
    ledger(&server, "crashes", common::count(6), || {
        server.crash();
        server.begin();
    });
}

#[test]
fn a_server_that_stands_still_is_waited_for() {
    let Some(server) = Server::start("rust/postgres/tests/faults.rs") else { return };
    let mut store = open(&server, "stopped");
    let token = store.take_now(Unit::All).unwrap();
    server.signal(Signal::STOP);
    let begun = Instant::now();
    let stopped = &server;
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(1_500));
            stopped.signal(Signal::CONT);
        });
        let (token, _) = insist(&mut store, token, &[append(1, 0, 2)]);
        assert!(begun.elapsed() >= Duration::from_millis(1_400));
        insist(&mut store, token, &[append(1, 2, 2)]);
    });
    assert_eq!(store.reader().unwrap().bounds(1).unwrap(), Some((0, 4)));
}

/// The answer to a commit is lost: it was written, and its writer does not know. The same again is written once.
#[test]
fn a_commit_whose_answer_was_lost_is_written_once() {
    let Some(server) = SERVER.as_ref() else { return };
    let proxy = Proxy::to(server.port);
    let mut store = open_at(&proxy.url(), "lost").unwrap();
    let token = store.take_now(Unit::All).unwrap();
    // Answers come in order: after this one nothing else is on its way.
    let (token, _) = insist(&mut store, token, &[]);
    proxy.lose_answers(true);
    let writes = [append(1, 0, 2), set(Table::Meta, b"k", b"v")];
    let outcome = store.submit_now(Unit::All, token, &writes).unwrap();
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    let written = || server.sql("SELECT n FROM forebay_lost.unit");
    while written() != (token.commits + 1).to_string() {
        thread::sleep(Duration::from_millis(5));
    }
    let outcome = store.submit_now(Unit::All, token, &writes).unwrap();
    assert!(matches!(outcome, Outcome::Unavailable(_)), "it cannot be asked yet: {outcome:?}");
    proxy.lose_answers(false);
    let (next, _) = insist(&mut store, token, &writes);
    assert_eq!(next.commits, token.commits + 1);
    insist(&mut store, next, &[append(1, 2, 2)]);
    assert_eq!(spans(store.reader().unwrap().as_mut(), 1, 0, usize::MAX), [(0, 2), (2, 4)]);
}

/// A commit is held up on the way, and given up; its retry is written; then it arrives. An epoch alone would let it through.
#[test]
fn a_late_copy_of_a_commit_changes_nothing() {
    let Some(server) = SERVER.as_ref() else { return };
    let proxy = Proxy::to(server.port);
    let mut store = open_at(&proxy.url(), "late").unwrap();
    let token = store.take_now(Unit::All).unwrap();
    // Requests go out in order: after this one nothing but the next commit is held.
    let (token, _) = insist(&mut store, token, &[]);
    proxy.hold(true);
    let writes = [append(1, 0, 2), trim(2, u64::MAX)];
    let outcome = store.submit_now(Unit::All, token, &writes).unwrap();
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    proxy.hold(false);
    let (next, _) = insist(&mut store, token, &writes);
    let (last, _) = insist(&mut store, next, &[append(1, 2, 2), set(Table::Meta, b"k", b"new")]);
    assert_eq!(proxy.let_go(), 1, "the first copy arrives, and is answered");
    assert_eq!(server.sql("SELECT n FROM forebay_late.unit"), last.commits.to_string());
    insist(&mut store, last, &[append(1, 4, 1)]);
    assert_eq!(spans(store.reader().unwrap().as_mut(), 1, 0, usize::MAX), [(0, 2), (2, 4), (4, 5)]);
}

#[test]
fn a_former_owner_writes_nothing_more() {
    let Some(server) = SERVER.as_ref() else { return };
    let (mut former, mut owner) = (open(server, "fence"), open(server, "fence"));
    let old = former.take_now(Unit::All).unwrap();
    let (old, _) = insist(&mut former, old, &[append(1, 0, 1)]);
    let new = owner.take_now(Unit::All).unwrap();
    assert!(new.epoch > old.epoch && new.commits == old.commits);
    assert_eq!(former.submit_now(Unit::All, old, &[append(1, 1, 1)]), Ok(Outcome::Fenced));
    insist(&mut owner, new, &[append(1, 1, 2)]);
    assert_eq!(former.reader().unwrap().bounds(1).unwrap(), Some((0, 3)));
}

#[test]
fn damage_is_never_handed_out() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "damage");
    let token = store.take_now(Unit::All).unwrap();
    let writes = [append(1, 0, 3), append(1, 3, 3), append(1, 6, 3), append(2, 0, 1), set(Table::Meta, b"k", b"value")];
    insist(&mut store, token, &writes);
    let mut reader = store.reader().unwrap();
    let whole = "BEGIN; CREATE TABLE forebay_damage.c AS TABLE forebay_damage.chunk; CREATE TABLE forebay_damage.l AS TABLE forebay_damage.log; \
                 CREATE TABLE forebay_damage.e AS TABLE forebay_damage.entry; COMMIT";
    server.sql(whole);
    let mend = "BEGIN; TRUNCATE forebay_damage.chunk, forebay_damage.log, forebay_damage.entry; \
                INSERT INTO forebay_damage.chunk TABLE forebay_damage.c; INSERT INTO forebay_damage.log TABLE forebay_damage.l; \
                INSERT INTO forebay_damage.entry TABLE forebay_damage.e; COMMIT";
    // What is changed, and whether a read, or the next start, must see it.
    let harms = [
        (
            "UPDATE @.chunk SET body = set_byte(body, 30, get_byte(body, 30) # 1) WHERE log = 1 AND first = 3",
            true,
            false,
        ),
        ("UPDATE @.chunk SET last_arrival_ms = last_arrival_ms + 1 WHERE log = 1 AND first = 3", true, false),
        ("UPDATE @.chunk SET first = 4 WHERE log = 1 AND first = 3", true, false),
        ("DELETE FROM @.chunk WHERE log = 1 AND first = 3", true, false),
        ("DELETE FROM @.chunk WHERE log = 1 AND first = 0", true, true),
        ("DELETE FROM @.chunk WHERE log = 1 AND first = 6", true, true),
        ("UPDATE @.log SET next = 8 WHERE id = 1", true, true),
        ("UPDATE @.log SET kept = 3 WHERE id = 1", true, true),
        ("DELETE FROM @.log WHERE id = 1", true, false),
        ("UPDATE @.entry SET value = 'walue'", true, false),
        ("UPDATE @.entry SET key = 'l'", false, false),
        ("DELETE FROM @.entry", false, true),
    ];
    for (harm, is_read, is_found) in harms {
        server.sql(&harm.replace('@', "forebay_damage"));
        let found = [
            reader.chunks(1, 0, usize::MAX).err(),
            reader.sizes(1, usize::MAX).err(),
            reader.bounds(1).err(),
            reader.scan(Table::Meta, b"", None, 10).err(),
        ];
        let found: Vec<_> = found.into_iter().flatten().collect();
        assert!(found.iter().all(|error| matches!(error, StoreError::Corrupt(_))), "{harm}: {found:?}");
        let moved = harm.contains("SET key");
        assert_eq!(!found.is_empty(), is_read || moved, "{harm}: {found:?}");
        let taken = open(server, "damage").take_now(Unit::All);
        assert_eq!(matches!(taken, Err(StoreError::Corrupt(_))), is_found, "{harm}: {taken:?}");
        server.sql(mend);
    }
    assert_eq!(reader.chunks(1, 3, 1).unwrap(), [chunk(3, 3)], "it was mended");
}

/// A failover to a standby that lagged takes commits away that were acknowledged. Nothing is written on top of that.
#[test]
fn a_server_that_has_lost_commits_is_not_written_to() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "back");
    let token = store.take_now(Unit::All).unwrap();
    let (token, _) = insist(&mut store, token, &[set(Table::Meta, b"k", b"v")]);
    server.sql("UPDATE forebay_back.unit SET n = n - 1");
    let refused = store.submit_now(Unit::All, token, &[set(Table::Meta, b"k", b"w")]);
    assert!(
        matches!(&refused, Err(StoreError::Corrupt(text)) if text.contains("acknowledged and is missing")),
        "{refused:?}"
    );
}

#[test]
fn a_server_that_cannot_be_used_is_refused_with_the_next_step() {
    let Some(server) = SERVER.as_ref() else { return };
    let said = |url: &str, app: &str| open_at(url, app).err().unwrap().to_string();
    let less = said(&server.url("&options=-csynchronous_commit%3Doff"), "less");
    assert!(less.contains("synchronous_commit is off") && less.contains("process-crash"), "{less}");
    let none = said(&server.url("").replace("/postgres?", "/nothing?"), "none");
    assert!(none.contains("\"nothing\" does not exist"), "{none}");
    let closed = said("postgresql://forebay@127.0.0.1:1/postgres", "closed");
    assert!(closed.contains("127.0.0.1:1") && closed.contains("refused"), "{closed}");

    server.sql("CREATE ROLE poor LOGIN");
    let poor = said(&server.url("").replace("forebay@", "poor@"), "poor");
    assert!(poor.contains("GRANT CREATE ON DATABASE"), "{poor}");
    server.sql("CREATE SCHEMA forebay_poor AUTHORIZATION poor");
    open_at(&server.url("").replace("forebay@", "poor@"), "poor").unwrap();

    for (app, grant) in [("shut", "SELECT 1"), ("ajar", "GRANT USAGE ON SCHEMA forebay_ajar TO poor")] {
        drop(open(server, app));
        server.sql(grant);
        let lacks = said(&server.url("").replace("forebay@", "poor@"), app);
        assert!(lacks.starts_with("permission denied for") && lacks.contains("GRANT that_user TO"), "{lacks}");
    }

    drop(open(server, "newer"));
    server.sql("UPDATE forebay_newer.format SET version = 2");
    let newer = open_at(&server.url(""), "newer").err();
    assert_eq!(newer, Some(StoreError::NewerFormat { found: 2, known: 1 }));
}

#[test]
fn the_server_says_what_it_promises() {
    let Some(server) = SERVER.as_ref() else { return };
    let store = open(server, "promises");
    let promises = store.promises();
    assert!(promises.version >= 150_000 && promises.fsync && promises.full_page_writes && !promises.in_recovery);
    assert!(!promises.survives_failover());
}

/// A trim of a long log removes nothing in its commit, and all of it soon after, by slices. A commit that removed 1,000 chunks left the others where there was
/// nothing new to trim, and where there was more than that each time. A thousand large ones were rolled back after 30 s, tried for ever, and
/// nothing else was committed.
#[test]
fn a_long_log_is_trimmed_in_slices_and_reads_as_trimmed_at_once() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "slices");
    let mut token = store.take_now(Unit::All).unwrap();
    let many: Vec<_> = (0..2_500).map(|at| append(1, at, 1)).collect();
    (token, _) = insist(&mut store, token, &many);
    let left = || server.sql("SELECT count(*) FROM forebay_slices.chunk");
    // As long as something else holds the first chunk, no slice gets through.
    let held = server.hold("SELECT 1 FROM forebay_slices.chunk WHERE first = 0 FOR UPDATE");
    (token, _) = insist(&mut store, token, &[trim(1, 2_400)]);
    assert_eq!(left(), "2500", "no commit removes that much");
    let mut reader = store.reader().unwrap();
    assert_eq!(reader.bounds(1).unwrap(), Some((2_400, 2_500)));
    assert_eq!(reader.sizes(1, 1).unwrap()[0].0, 2_400);
    assert_eq!(spans(reader.as_mut(), 1, 0, 1), [(2_400, 2_401)]);
    drop(held);
    removed(server, "slices", "100");
    // All of it, and the next one begins where it ended.
    let commit = insist(&mut store, token, &[trim(1, 2_500)]);
    removed(server, "slices", "0");
    let mut reader = store.reader().unwrap();
    assert_eq!((reader.bounds(1).unwrap(), spans(reader.as_mut(), 1, 0, 9)), (Some((2_500, 2_500)), vec![]));
    (token, _) = insist(&mut store, commit.0, &[append(1, 2_500, 1)]);
    assert_eq!(spans(reader.as_mut(), 1, 0, 9), [(2_500, 2_501)]);
    drop(store);
    let mut store = open(server, "slices");
    token = Token { epoch: token.epoch + 1, ..token };
    assert_eq!(store.take_now(Unit::All).unwrap(), token);
    assert_eq!(store.submit_now(Unit::All, token, &[trim(1, u64::MAX)]).unwrap(), committed(token));
    removed(server, "slices", "0");
}

/// A log that was trimmed, trimmed again and forgotten before anybody has removed anything. While something was left of it, no later trim
/// removed anything, however little it was: under an owner of the release before, which removes nothing between commits, a log with
/// retention grew without end.
#[test]
fn what_is_left_of_trims_goes_whatever_comes_after_them() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "thrice");
    let mut token = store.take_now(Unit::All).unwrap();
    for log in [1, 2] {
        let many: Vec<_> = (0..300).map(|at| append(log, at, 1)).collect();
        (token, _) = insist(&mut store, token, &many);
    }
    let held = server.hold("SELECT 1 FROM forebay_thrice.chunk WHERE first = 0 FOR UPDATE");
    (token, _) = insist(&mut store, token, &[trim(1, 101), trim(2, 101)]);
    (token, _) = insist(&mut store, token, &[trim(1, 120)]);
    let left = || {
        server.sql("SELECT string_agg(log || ' ' || many, ', ' ORDER BY log) FROM (SELECT log, count(*) AS many FROM forebay_thrice.chunk GROUP BY log) AS logs")
    };
    assert_eq!(left(), "1 281, 2 300", "what is little goes at once");
    (token, _) = insist(&mut store, token, &[trim(1, 140), trim(2, 180)]);
    insist(&mut store, token, &[trim(1, 150), trim(2, u64::MAX)]);
    assert_eq!(left(), "1 251, 2 221", "and what is forgotten does not");
    assert_eq!(server.sql("SELECT log, before FROM forebay_thrice.forgotten ORDER BY log"), "1|101\n2|");
    drop(held);
    removed(server, "thrice", "150");
    assert_eq!(store.reader().unwrap().bounds(1).unwrap(), Some((150, 300)));
    assert_eq!(server.sql("SELECT min(first) FROM forebay_thrice.chunk WHERE log = 1"), "150");
}

/// A queue trims in nearly every commit. Each of these was followed by two transactions on the connection that commits: with a standby or a
/// server that is far, commits waited half of the time.
#[test]
fn trims_in_each_commit_are_followed_by_hardly_any_sweep() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open_at(&server.url("&options=-ctrack_functions%3Dpl"), "little").unwrap();
    let mut token = store.take_now(Unit::All).unwrap();
    let begun = Instant::now();
    for at in 0..1_000 {
        (token, _) = insist(&mut store, token, &[append(1, at, 1), trim(1, at)]);
    }
    let took = begun.elapsed();
    let left = server.sql("SELECT first FROM forebay_little.chunk");
    drop(store);
    let calls = |function: &str| {
        let counted = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE schemaname = 'forebay_little'";
        server.sql(&format!("{counted} AND funcname = '{function}'")).parse::<u64>().unwrap()
    };
    let until = Instant::now() + Duration::from_secs(30);
    while calls("commit_1") < 1_000 {
        assert!(Instant::now() < until, "{} commits are counted", calls("commit_1"));
        thread::sleep(Duration::from_millis(50));
    }
    let sweeps = calls("sweep_1");
    println!("figures {{\"commits\": 1000, \"ms\": {}, \"sweeps\": {sweeps}}}", took.as_millis());
    assert!(sweeps <= took.as_secs() + 2, "{sweeps} in {took:?}");
    assert_eq!(left, "999", "each commit removes what it trims");
}

/// What one commit may remove by itself counts for all of its trims.
#[test]
fn a_commit_removes_little_and_leaves_what_is_more() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "more");
    let token = store.take_now(Unit::All).unwrap();
    let many: Vec<_> = [(1, 60), (2, 60), (3, 1), (4, 1)]
        .into_iter()
        .flat_map(|(log, chunks)| (0..chunks).map(move |at| append(log, at, 1)))
        .collect();
    let (token, _) = insist(&mut store, token, &many);
    server.sql("UPDATE forebay_more.chunk SET bytes = 2000000 WHERE log = 3");
    let held = server.hold("SELECT 1 FROM forebay_more.chunk WHERE log IN (2, 3) AND first = 0 FOR UPDATE");
    insist(&mut store, token, &[trim(1, 60), trim(2, 60), trim(3, 1), trim(4, 1)]);
    let left = "SELECT string_agg(log || ' ' || many, ', ' ORDER BY log) FROM \
                (SELECT log, count(*) AS many FROM forebay_more.chunk GROUP BY log) AS logs";
    assert_eq!(server.sql(left), "2 60, 3 1");
    drop(held);
    removed(server, "more", "0");
}

/// One log had chunks to remove at each slice, and nothing of the next one was ever removed.
#[test]
fn logs_with_chunks_to_remove_take_turns() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "turns");
    let mut token = store.take_now(Unit::All).unwrap();
    for log in [1, 2, 3] {
        let many: Vec<_> = (0..4_000).map(|at| append(log, at, 1)).collect();
        (token, _) = insist(&mut store, token, &many);
    }
    drop(store);
    server.sql("INSERT INTO forebay_turns.forgotten (log, before) SELECT generate_series(1, 3), 500");
    let mut left = vec![];
    for slice in 1..=6 {
        server.sql("SELECT forebay_turns.sweep_1()");
        // The first log is trimmed again before each of them, whether its row is still there or not.
        server.sql(&format!(
            "INSERT INTO forebay_turns.forgotten (log, first, before) VALUES (1, 0, {0}) ON CONFLICT (log) DO UPDATE SET before = {0}",
            500 + 500 * slice
        ));
        left.push(server.sql("SELECT count(*) FROM forebay_turns.chunk WHERE log > 1"));
    }
    assert_eq!(left[..3], ["8000", "7500", "7000"], "{left:?}");
    while server.sql("SELECT forebay_turns.sweep_1()") == "t" {}
    assert_eq!(server.sql("SELECT count(*), min(first) FROM forebay_turns.chunk WHERE log = 1"), "500|3500");
}

/// Trims of a release before have left chunks, and the server has its functions.
#[test]
fn what_trims_of_an_earlier_release_have_left_is_removed() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "former");
    let token = store.take_now(Unit::All).unwrap();
    let many: Vec<_> = [1, 2].into_iter().flat_map(|log| (0..9).map(move |at| append(log, at, 1))).collect();
    insist(&mut store, token, &many);
    drop(store);
    server.sql("UPDATE forebay_former.log SET kept = 4, guard = forebay_former.guard_1(id, 4, next) WHERE id = 2");
    server.sql(
        "ALTER TABLE forebay_former.forgotten DROP COLUMN before, DROP COLUMN since; CREATE OR REPLACE FUNCTION forebay_former.sweep_1() \
         RETURNS boolean LANGUAGE sql AS 'SELECT false'",
    );
    let mut store = open(server, "former");
    store.take_now(Unit::All).unwrap();
    removed(server, "former", "14");
    assert_eq!(spans(store.reader().unwrap().as_mut(), 2, 0, 1), [(4, 5)]);
}

/// Wait until so many chunks are there, and nothing is to be removed any more.
fn removed(server: &Server, app: &str, chunks: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    let counts = format!("SELECT count(*), (SELECT count(*) FROM forebay_{app}.forgotten) FROM forebay_{app}.chunk");
    while server.sql(&counts) != format!("{chunks}|0") {
        assert!(Instant::now() < until, "what was dropped is removed: {}", server.sql(&counts));
        thread::sleep(Duration::from_millis(20));
    }
}

/// A commit that forgets a log removes none of it, however long it is. A delete that the server rolled back after 30 s was tried for ever,
/// and nothing else was committed.
#[test]
fn a_long_log_is_forgotten_in_slices_and_the_next_owner_goes_on() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "forgets");
    let mut token = store.take_now(Unit::All).unwrap();
    for log in [1, 2] {
        let many: Vec<_> = (0..5_500).map(|at| append(log, at, 1)).collect();
        (token, _) = insist(&mut store, token, &many);
    }
    let left = || server.sql("SELECT count(*) FROM forebay_forgets.chunk").parse::<u32>().unwrap();
    // As long as something else holds the first chunk, no slice gets through.
    let held = server.hold("SELECT 1 FROM forebay_forgets.chunk WHERE log = 1 AND first = 0 FOR UPDATE");
    insist(&mut store, token, &[trim(1, u64::MAX)]);
    assert_eq!(left(), 11_000, "no commit removes anything");
    let mut reader = store.reader().unwrap();
    assert_eq!((reader.bounds(1).unwrap(), reader.sizes(1, 1).unwrap().len()), (None, 0));
    assert_eq!(spans(reader.as_mut(), 1, 0, usize::MAX), []);
    assert_eq!(spans(reader.as_mut(), 1, 3_000, usize::MAX), []);
    drop(reader);
    drop(store);
    drop(held);
    assert!(left() >= 9_000, "nobody owns the store: {}", left());
    let mut store = open(server, "forgets");
    let mut token = store.take_now(Unit::All).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while left() > 5_500 {
        assert!(Instant::now() < until, "the next owner removes the rest, and not {}", left());
        thread::sleep(Duration::from_millis(20));
    }
    // The number of a log may be used again while the rest of the former one is still there.
    (token, _) = insist(&mut store, token, &[trim(2, u64::MAX), append(2, 7, 2)]);
    (token, _) = insist(&mut store, token, &[append(2, 9, 1)]);
    assert_eq!(spans(store.reader().unwrap().as_mut(), 2, 0, usize::MAX), [(7, 9), (9, 10)]);
    thread::sleep(Duration::from_millis(200));
    assert_eq!((left(), server.sql("SELECT count(*) FROM forebay_forgets.forgotten").as_str()), (2, "0"));
    drop(store);
    assert_eq!(open(server, "forgets").take_now(Unit::All).unwrap().commits, token.commits);
}

/// A thousand chunks may be tens of gigabytes: a slice of them ended after 30 s, and was begun again without end.
#[test]
fn large_chunks_are_forgotten_in_slices_of_few() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "large");
    let token = store.take_now(Unit::All).unwrap();
    let many: Vec<_> = (0..40).map(|at| append(1, at, 1)).collect();
    insist(&mut store, token, &many);
    drop(store);
    server.sql("UPDATE forebay_large.chunk SET bytes = 6000000; INSERT INTO forebay_large.forgotten VALUES (1); DELETE FROM forebay_large.log");
    let left = || server.sql("SELECT count(*) FROM forebay_large.chunk");
    for expected in ["37", "34"] {
        assert_eq!(server.sql("SELECT forebay_large.sweep_1()"), "t");
        assert_eq!(left(), expected);
    }
    while server.sql("SELECT forebay_large.sweep_1()") == "t" {}
    assert_eq!((left(), server.sql("SELECT count(*) FROM forebay_large.forgotten")), ("0".into(), "0".into()));
}

/// A failover that loses a take may lead to two takes of the same epoch, with the same number of commits.
#[test]
fn a_commit_of_one_who_is_not_the_owner_is_fenced_whatever_the_epoch_says() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "owners");
    let token = store.take_now(Unit::All).unwrap();
    server.sql("UPDATE forebay_owners.unit SET owner = 'another'");
    assert_eq!(store.submit_now(Unit::All, token, &[set(Table::Meta, b"k", b"v")]), Ok(Outcome::Fenced));
    assert_eq!(server.sql("SELECT count(*) FROM forebay_owners.entry"), "0");
}

/// One of the two that had written nothing gave up what the other one owned.
#[test]
fn a_store_is_given_up_by_its_owner_alone_whatever_the_epoch_says() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = open(server, "released");
    let token = store.take_now(Unit::All).unwrap();
    server.sql("UPDATE forebay_released.unit SET owner = 'another', deaths = 2");
    store.release(Unit::All, token);
    drop(store);
    assert_eq!(server.sql("SELECT owner, deaths FROM forebay_released.unit"), "another|2");
    let mut store = open(server, "released");
    let token = store.take_now(Unit::All).unwrap();
    store.release(Unit::All, token);
    drop(store);
    assert_eq!(server.sql("SELECT owner IS NULL, deaths FROM forebay_released.unit"), "t|0");
}

/// The backup that the documentation had named made every commit slower as long as it took, and nothing said so.
#[test]
fn a_transaction_that_has_been_open_for_long_is_told_of() {
    let Some(server) = SERVER.as_ref() else { return };
    // What the server says of its sessions, an hour later.
    server.sql(
        "CREATE SCHEMA later; CREATE VIEW later.pg_stat_activity AS SELECT pid, datname, usename, application_name, backend_xid, \
         backend_type, query, backend_xmin, xact_start - interval '1 hour' AS xact_start FROM pg_catalog.pg_stat_activity \
         WHERE application_name = 'pg_dump'",
    );
    let url = server.url("&options=-csearch_path%3Dlater,pg_catalog");
    let opened = || open_at(&url, "held").unwrap();
    assert_eq!(opened().promises().held, None);
    thread::scope(|scope| {
        let long = "SET application_name = 'pg_dump'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT pg_sleep(60)";
        scope.spawn(|| server.try_sql(long));
        let until = Instant::now() + Duration::from_secs(30);
        let (mut store, held) = loop {
            let store = opened();
            if let Some(held) = store.promises().held.clone() {
                break (store, held);
            }
            assert!(Instant::now() < until, "it is seen");
        };
        assert!((60..62).contains(&held.minutes) && held.whose == "forebay, pg_dump", "{held:?}");
        assert!(store.promises().to_string().contains(&format!("process {} of the", held.process)));
        store.take_now(Unit::All).unwrap();
        let told = loop {
            if let Some(told) = store.notice() {
                break told;
            }
            assert!(Instant::now() < until, "the owner is told");
            thread::sleep(Duration::from_millis(20));
        };
        assert!(told.contains(&format!("pg_terminate_backend({})", held.process)), "{told}");
        server.sql(&format!("SELECT pg_terminate_backend({})", held.process));
    });
}

fn committed(token: Token) -> Outcome {
    Outcome::Committed { token: Token { commits: token.commits + 1, ..token }, positions: vec![] }
}
