//! Hosts that are far, lost or stand still: a process joins, owns the store, and connects again.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/common/mod.rs"]
mod common;
mod proxy;
mod server;

use std::io::{Read as _, Write as _};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use forebay_postgres::{drain, find, look, want, Door, Event, Membership, OwnerWatch, PostgresStore, Settings};
use forebay_store::port::{BlockingStore as _, Durability, StoreError, Unit};
use server::Server;

static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| Server::start("rust/postgres/tests/hosts.rs"));

/// A process at this URL owns the store within some seconds, opens it, says where it listens, and has a new connection after each end of
/// all sessions: its beats go on.
fn owns_and_comes_back(server: &Server, url: &str, app: &str) {
    let settings = Settings::new(url, app, Durability::PowerLoss).unwrap().named("one");
    let begun = Instant::now();
    let membership = Membership::join(settings.clone()).unwrap();
    let taken = membership.event(Duration::from_secs(30));
    let Some(Event::Taken(epoch)) = taken else { panic!("it owns the store: {taken:?} {:?}", membership.unanswered()) };
    println!("figures {{\"owned_after_ms\": {}}}", begun.elapsed().as_millis());
    // Each is a new process as far as hosts are concerned.
    let settings = Settings::new(url, app, Durability::PowerLoss).unwrap().named("one");
    let door = Door { protocol: 1, address: None, key: vec![1], secret: vec![2] };
    settings.tell_door(&door, || true).unwrap();
    assert_eq!(settings.door_of("one"), Ok(Some(door)));
    let mut store = PostgresStore::open(settings.clone().taken(epoch)).unwrap();
    let token = store.take_now(Unit::All).unwrap();
    let beat = || server.sql(&format!("SELECT beat FROM forebay_{app}.member")).parse::<u64>().unwrap();
    for _ in 0..2 {
        server.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'forebay {app}'"
        ));
        let (before, until) = (beat(), Instant::now() + Duration::from_secs(30));
        while beat() < before + 2 {
            assert!(Instant::now() < until, "it beats again: {:?}", membership.unanswered());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert_eq!(look(&settings).unwrap().1.unwrap().epoch, token.epoch.max(epoch));
}

/// The machine that ran the server is lost, and a standby on another one is promoted. No process owned the store ever again: each beat began
/// with the lost host, and was cut off before the next one was tried.
#[test]
fn a_host_that_is_lost_keeps_no_other_from_being_used() {
    let Some(server) = SERVER.as_ref() else { return };
    let lost = proxy::Lost::host();
    let url = server.url("").replace("127.0.0.1:", &format!("127.0.0.1:{},127.0.0.1:", lost.port()));
    owns_and_comes_back(server, &url, "lost");
}

#[test]
fn a_host_that_accepts_and_says_nothing_keeps_no_other_from_being_used() {
    let Some(server) = SERVER.as_ref() else { return };
    let silent = proxy::Silent::host();
    let url = server.url("").replace("127.0.0.1:", &format!("127.0.0.1:{},127.0.0.1:", silent.port()));
    owns_and_comes_back(server, &url, "silent");
}

/// The standby refuses writes while the lost host is still waited for. Then it is promoted.
#[test]
fn a_standby_that_is_promoted_is_used_while_another_host_is_silent() {
    let Some(server) = Server::start("rust/postgres/tests/hosts.rs") else { return };
    let silent = proxy::Silent::host();
    let url = server.url("").replace("127.0.0.1:", &format!("127.0.0.1:{},127.0.0.1:", silent.port()));
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.sql("SELECT pg_reload_conf()");
    std::thread::scope(|scope| {
        let joined = scope.spawn(|| {
            let settings = Settings::new(&url, "promoted", Durability::PowerLoss).unwrap();
            let begun = Instant::now();
            Membership::join(settings).unwrap();
            begun.elapsed()
        });
        std::thread::sleep(Duration::from_secs(2));
        server.sql("ALTER SYSTEM RESET default_transaction_read_only");
        server.sql("SELECT pg_reload_conf()");
        let took = joined.join().unwrap();
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(9), "{took:?}");
    });
}

/// Connecting takes some ten round trips, and a beat has 1.5 s: from 150 ms on none was ever written.
#[test]
fn a_process_that_is_200_ms_from_its_server_joins_and_connects_again() {
    let Some(server) = SERVER.as_ref() else { return };
    let port = proxy::far(server.port, Duration::from_millis(100));
    owns_and_comes_back(server, &server::url(port, ""), "far");
}

/// Logins took 6 s there, as with LDAP. The store was opened and written to, and no other machine was ever let in: all of what the server had to
/// be told had 5 s. Who asked without sharing the store never found out that its owner was gone.
#[test]
fn a_server_whose_logins_take_long_is_told_of_the_door_and_asked_for_the_owner() {
    let Some(server) = SERVER.as_ref() else { return };
    let near = Settings::new(&server.url(""), "slow", Durability::PowerLoss).unwrap().named("one");
    let membership = Membership::join(near.clone()).unwrap();
    assert!(membership.event(Duration::from_secs(30)).is_some(), "it owns the store");
    let url = server::url(proxy::far(server.port, Duration::from_millis(1_300)), "&connect_timeout=30");
    let slow = || Settings::new(&url, "slow", Durability::PowerLoss).unwrap().named("one");
    let door = Door { protocol: 1, address: None, key: vec![1], secret: vec![2] };
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| OwnerWatch::new(slow()).unwrap().look().map(|(owner, _)| owner));
        let unwanted = scope.spawn(|| {
            let begun = Instant::now();
            let told = slow().tell_door(&door, || begun.elapsed() < Duration::from_secs(1));
            (told, begun.elapsed())
        });
        let begun = Instant::now();
        slow().tell_door(&door, || true).unwrap();
        assert!(begun.elapsed() > Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(near.door_of("one"), Ok(Some(door.clone())));
        assert_eq!(watch.join().unwrap(), Ok(Some("one".into())));
        let (told, took) = unwanted.join().unwrap();
        assert!(told.is_err() && took < Duration::from_secs(3), "who closes meanwhile does not wait: {took:?}");
    });
}

/// What a host answers that refuses each connection with this code and text; the error of whoever joins.
fn refused_with(code: &str, text: &str) -> Option<StoreError> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = server::url(listener.local_addr().unwrap().port(), "");
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut length) = (client.unwrap(), [0; 4]);
            client.read_exact(&mut length).unwrap();
            client.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4]).unwrap();
            client.write_all(b"E").unwrap();
            client.write_all(&(fields.len() as u32 + 4).to_be_bytes()).unwrap();
            client.write_all(fields.as_bytes()).unwrap();
        }
    });
    Membership::join(Settings::new(&url, "pooled", Durability::PowerLoss).unwrap()).err()
}

/// A pooler refuses the options of our sessions. It was called unreachable, and was asked again and again.
#[test]
fn a_pooler_is_refused_with_the_next_step() {
    let refused = refused_with("08P01", "unsupported startup parameter: options");
    let Some(StoreError::Refused(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("startup parameter") && text.contains("cannot be used. Next: give the URL"), "{text}");
    let full = refused_with("08P01", "no more connections allowed (max_client_conn)");
    assert!(matches!(&full, Some(StoreError::Unavailable(text)) if !text.contains("cannot be used")), "{full:?}");
}

/// One that is told to ignore options was used without any of them, until a statement waited for a lock without end; and still, where the
/// server had a timeout of its own; and still, by whoever only asked or was an operator's command.
#[test]
fn a_pooler_that_drops_the_options_is_refused_too() {
    let Some(server) = SERVER.as_ref() else { return };
    // What a session has then, at a server with timeouts of its own.
    let dropped = "&options=-cforebay.session%3D";
    let settings = Settings::new(&server.url(dropped), "dropped", Durability::ProcessCrash).unwrap();
    let found = find(&server.url(dropped), None, Durability::ProcessCrash).map(drop);
    let ended = [
        found,
        look(&settings).map(drop),
        want(&settings, "one").map(drop),
        drain(&settings, "one", true).map(drop),
        Membership::join(settings).map(drop),
    ];
    for ended in ended {
        let Err(StoreError::Refused(text)) = &ended else { panic!("{ended:?}") };
        assert!(text.contains("did not reach the server") && text.contains("Next: give the URL"), "{text}");
    }
    // Whoever has switched the timeouts off is not told of a pooler.
    let none = "&options=-cstatement_timeout%3D0%20-clock_timeout%3D0%20-cidle_in_transaction_session_timeout%3D0";
    Membership::join(Settings::new(&server.url(none), "none", Durability::ProcessCrash).unwrap()).unwrap();
}

/// A start that found no server said that no process owned the store, and to ask again.
#[test]
fn why_beats_do_not_get_through_is_known() {
    let Some(server) = SERVER.as_ref() else { return };
    let settings = Settings::new(&server.url(""), "trouble", Durability::PowerLoss).unwrap().named("one");
    let membership = Membership::join(settings).unwrap();
    assert!(membership.event(Duration::from_secs(60)).is_some(), "it owns the store");
    assert_eq!(membership.unanswered(), None);
    server.sql("ALTER TABLE forebay_trouble.member RENAME TO gone");
    let until = Instant::now() + Duration::from_secs(60);
    while !membership.unanswered().is_some_and(|text| text.contains("\"forebay_trouble.member\" does not exist")) {
        assert!(Instant::now() < until, "{:?}", membership.unanswered());
        std::thread::sleep(Duration::from_millis(50));
    }
    server.sql("ALTER TABLE forebay_trouble.gone RENAME TO member");
    while membership.unanswered().is_some() {
        assert!(Instant::now() < until, "{:?}", membership.unanswered());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A lock on the head kept the store from being taken, and the start said that beats did not get through.
#[test]
fn why_a_store_is_not_taken_is_known_apart() {
    let Some(server) = SERVER.as_ref() else { return };
    drop(PostgresStore::open(Settings::new(&server.url(""), "untaken", Durability::PowerLoss).unwrap()).unwrap());
    let held = server.hold("SELECT FROM forebay_untaken.unit FOR UPDATE");
    let settings = Settings::new(&server.url(""), "untaken", Durability::PowerLoss).unwrap().named("one");
    let membership = Membership::join(settings).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    // A beat may have to wait on a busy machine; the next one gets through, as only takes meet the lock.
    let is_told = || membership.untaken().is_some_and(|text| text.contains("lock timeout"));
    while !is_told() || membership.unanswered().is_some() {
        assert!(Instant::now() < until, "{:?}, {:?}", membership.untaken(), membership.unanswered());
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(held);
    assert!(membership.event(Duration::from_secs(60)).is_some(), "it owns the store then");
    while membership.untaken().is_some() {
        assert!(Instant::now() < until, "{:?}", membership.untaken());
        std::thread::sleep(Duration::from_millis(50));
    }
}
