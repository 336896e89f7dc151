//! The first start of a release on a store that the release before has made, while processes of that one work with it.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/common/mod.rs"]
mod common;
mod server;

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use common::{append, spans};
use forebay_postgres::{PostgresStore, Settings};
use forebay_store::port::{BlockingStore as _, Durability, Outcome, Store as _, StoreError, Unit};
use server::Server;

static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| Server::start("rust/postgres/tests/releases.rs"));

fn open(server: &Server, app: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(Settings::new(&server.url(""), app, Durability::PowerLoss).unwrap())
}

/// A store with two logs of nine chunks as the release before has made it.
fn former(server: &Server, app: &str) -> PostgresStore {
    let mut store = open(server, app).unwrap();
    let token = store.take_now(Unit::All).unwrap();
    let many: Vec<_> = [1, 2].into_iter().flat_map(|log| (0..9).map(move |at| append(log, at, 1))).collect();
    assert!(matches!(store.submit_now(Unit::All, token, &many), Ok(Outcome::Committed { .. })));
    server.sql(&format!("ALTER TABLE forebay_{app}.forgotten DROP COLUMN before, DROP COLUMN since"));
    store
}

/// All tables were locked, also those in which nothing changes: commits and beats waited, for as long as all chunks that trims had left were
/// looked for. Beside whoever read one of them, such as `pg_dump`, no start succeeded.
#[test]
fn a_table_that_lacks_nothing_is_not_locked() {
    let Some(server) = SERVER.as_ref() else { return };
    drop(former(server, "locked"));
    let tables = ["chunk", "member", "entry", "door"].map(|table| format!("forebay_locked.{table}")).join(", ");
    let held = server.hold(&format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"));
    let mut store = open(server, "locked").unwrap();
    drop(held);
    store.take_now(Unit::All).unwrap();
    let storage =
        "SELECT attstorage FROM pg_attribute WHERE attrelid = 'forebay_locked.chunk'::regclass AND attname = 'body'";
    assert_eq!(server.sql(storage), "e", "bodies are not compressed");
}

/// The start ended with the bare words of the server, and commits waited as long as it did.
#[test]
fn a_start_that_cannot_change_a_table_says_what_to_do_and_holds_up_no_commit() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut owner = former(server, "read");
    let mut token = owner.take_now(Unit::All).unwrap();
    let held = server.hold("SELECT count(*) FROM forebay_read.forgotten");
    thread::scope(|scope| {
        let starts = scope.spawn(|| open(server, "read").err());
        let mut longest = Duration::ZERO;
        for at in 9.. {
            let begun = Instant::now();
            let done = owner.submit_now(Unit::All, token, &[append(1, at, 1)]);
            let Ok(Outcome::Committed { token: next, .. }) = done else { panic!("{done:?}") };
            (token, longest) = (next, longest.max(begun.elapsed()));
            if starts.is_finished() {
                break;
            }
        }
        let refused = starts.join().unwrap();
        let Some(StoreError::Unavailable(text)) = &refused else { panic!("{refused:?}") };
        assert!(
            text.contains("(schema forebay_read)") && text.contains("55P03") && text.contains("Next: let it end"),
            "{text}"
        );
        assert!(longest < Duration::from_secs(1), "{longest:?}");
    });
    drop(held);
    open(server, "read").unwrap();
}

/// A trim by the functions of the release before that ended just after the first process of this one had noted where logs begin: what it left
/// was before the next trim, and stayed.
#[test]
fn what_a_trim_has_left_while_logs_were_looked_at_is_removed() {
    let Some(server) = SERVER.as_ref() else { return };
    let mut store = former(server, "late");
    let kept = |at: u64| {
        format!("UPDATE forebay_late.log SET kept = {at}, guard = forebay_late.guard_1(id, {at}, next) WHERE id = 2")
    };
    server.sql(&kept(3));
    drop(open(server, "late").unwrap());
    assert_eq!(server.sql("SELECT log, before FROM forebay_late.forgotten"), "2|3");
    server.sql(&kept(5));
    store.take_now(Unit::All).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let counts = "SELECT count(*), (SELECT count(*) FROM forebay_late.forgotten) FROM forebay_late.chunk";
    while server.sql(counts) != "13|0" {
        assert!(Instant::now() < until, "{}", server.sql(counts));
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(spans(store.reader().unwrap().as_mut(), 2, 0, 1), [(5, 6)]);
}
