//! The owner's socket: what a client may do to its owner, and what it may not.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

use forebay_core::cluster::Stopped;
use forebay_doors::open::{open, End};
use forebay_doors::socket::client::Client;
use forebay_doors::socket::frame;
use forebay_doors::socket::server::Listener;
use forebay_engine::base::config::Config;
use forebay_engine::base::error::{Answer, EngineError, Reply, Waiter};
use forebay_engine::base::lease::Lease;
use forebay_engine::base::limits::AccountSettings;
use forebay_engine::dispatch::attempt_journal::AttemptJournal;
use forebay_engine::dispatch::attempts::Settled;
use forebay_engine::environments::assignment::{AssignedTask, Assignment, Given};
use forebay_engine::runtime::engine::{Engine, Parts};
use forebay_engine::store::directory::Directory;
use forebay_engine::store::memory::MemoryStore;
use serde_json::json;

fn engine() -> Arc<Engine> {
    let config = Config {
        app: "a".into(),
        region: "local".into(),
        account: "000000000000".into(),
        limits: AccountSettings::of(10),
        metrics: true,
    };
    let store = Box::new(MemoryStore::new());
    Arc::new(
        Engine::open(Parts {
            store,
            slots: AttemptJournal::memory(),
            config,
            manual: None,
            lease: Lease::default(),
            slow_disk: false,
        })
        .unwrap(),
    )
}

fn asked(client: &Client, verb: &str) -> Answer {
    let (sender, receiver) = mpsc::channel();
    client.request(verb, b"{}", Waiter::Call(Box::new(move |answer| drop(sender.send(answer)))));
    receiver.recv_timeout(Duration::from_secs(20)).unwrap()
}

/// A number that has stopped growing.
fn settled(number: &AtomicUsize) -> usize {
    loop {
        let before = number.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(200));
        if number.load(Ordering::Relaxed) == before {
            return before;
        }
    }
}

/// A stop waited for ever when somebody had removed the socket's file.
#[test]
fn a_stop_does_not_need_the_file_of_the_socket() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let engine = engine();
    let mut listener = Listener::start(&path, engine.clone(), false).unwrap();
    let client = Client::connect(&path).unwrap();
    assert!(matches!(asked(&client, "health"), Ok(Reply::Json(_))));
    std::fs::remove_file(&path).unwrap();
    let (ended, waits) = mpsc::channel();
    std::thread::spawn(move || {
        listener.stop_reading();
        engine.close();
        drop(listener);
        ended.send(()).unwrap();
    });
    waits.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(asked(&client, "health").is_err());
}

fn flood(path: &Path, requests: usize) -> (UnixStream, Arc<AtomicUsize>, std::thread::JoinHandle<()>) {
    let stream = UnixStream::connect(path).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let writer = std::thread::spawn(move || {
        for id in 1..=requests as u64 {
            if writing.write_all(&frame::verb(id, "health", b"{}")).is_err() {
                return;
            }
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (stream, written, writer)
}

/// A client that asked faster than it read its answers was cut off, and did not know what had become of its requests.
#[test]
fn a_client_that_does_not_read_its_answers_waits_and_then_gets_them_all() {
    const REQUESTS: usize = 50_000;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let engine = engine();
    let listener = Listener::start(&path, engine.clone(), false).unwrap();
    let (mut stream, written, writer) = flood(&path, REQUESTS);
    assert!(settled(&written) < REQUESTS, "the owner does not read on without an end");
    // Nobody else is held up.
    assert!(asked(&Client::connect(&path).unwrap(), "health").is_ok());
    let mut answered = BTreeSet::new();
    while answered.len() < REQUESTS {
        let (id, kind, body) = frame::read(&mut stream).unwrap().unwrap();
        assert!(matches!(frame::parse_answer(kind, body), Some(Ok(Reply::Json(_)))));
        assert!(answered.insert(id));
    }
    writer.join().unwrap();
    engine.close();
    drop(listener);
}

#[test]
fn a_client_that_never_reads_keeps_no_owner_from_stopping() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let engine = engine();
    let mut listener = Listener::start(&path, engine.clone(), false).unwrap();
    let (_stream, written, writer) = flood(&path, 50_000);
    settled(&written);
    listener.stop_reading();
    engine.close();
    drop(listener);
    writer.join().unwrap();
}

/// An event loop that asked an owner which read nothing stood still in its write.
#[test]
fn a_client_whose_owner_reads_nothing_is_refused_and_never_waits() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let owner = UnixListener::bind(&path).unwrap();
    let client = Client::connect(&path).unwrap();
    let (mut stream, _) = owner.accept().unwrap();
    let body = vec![b' '; 1 << 20];
    let (sender, answers) = mpsc::channel();
    let asked = (1..=100).map(|_| {
        let sender = sender.clone();
        client.request("health", &body, Waiter::Call(Box::new(move |answer| drop(sender.send(answer)))));
    });
    let asked = asked.count();
    let refused: Vec<Answer> = answers.try_iter().collect();
    assert!(refused.len() > 30, "64 MiB may wait, not {asked}");
    assert!(refused
        .iter()
        .all(|answer| matches!(answer, Err(EngineError::TooMany { reason, .. }) if reason == "StoreBacklog")));
    // What was taken comes whole and in order as soon as the owner reads; what was not, never.
    let taken = asked - refused.len();
    let ids: Vec<u64> = (0..taken).map(|_| frame::read(&mut stream).unwrap().unwrap().0).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    drop(stream);
    for _ in 0..taken {
        let answer = answers.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(matches!(answer, Err(EngineError::OwnerLost(_))), "{answer:?}");
    }
}

#[test]
fn a_client_that_closes_answers_everything_that_still_waits() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let owner = UnixListener::bind(&path).unwrap();
    let client = Client::connect(&path).unwrap();
    let (stream, _) = owner.accept().unwrap();
    let body = vec![b' '; 1 << 20];
    let (sender, answers) = mpsc::channel();
    for _ in 0..10 {
        let sender = sender.clone();
        client.request("health", &body, Waiter::Call(Box::new(move |answer| drop(sender.send(answer)))));
    }
    client.close();
    drop(stream);
    for _ in 0..10 {
        assert!(answers.recv_timeout(Duration::from_secs(20)).unwrap().is_err());
    }
}

/// The first piece of work that the owner gives, once it does.
fn given(client: &Client) -> (Assignment, usize) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(assignment) = client.exchange(Vec::new(), 8).into_iter().next() {
            return assignment;
        }
        assert!(Instant::now() < until, "no work came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A client that has offered its function `f`, as the owner knows by now.
fn runner(path: &Path, engine: &Engine, may_run: &Arc<AtomicBool>) -> Client {
    let client = Client::connect(path).unwrap();
    let allowed = may_run.clone();
    client.run_while("m", move || allowed.load(Ordering::Relaxed));
    assert_eq!(client.function("f", false), 0);
    client.start();
    (client.looks())();
    // What is asked later is answered later.
    assert!(asked(&client, "health").is_ok());
    assert_eq!(client.fencing_token(), Some(1));
    assert!(client.exchange(Vec::new(), 8).is_empty());
    assert!(asked(&client, "health").is_ok());
    engine.members_live(&["m".into()], &BTreeMap::new());
    client
}

#[test]
fn a_client_runs_handlers_for_the_owner() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let engine = engine();
    let function = r#"{"kind": "function", "name": "f", "timeout_ms": 60000, "isolation": "task"}"#;
    engine.register(&serde_json::from_str(function).unwrap()).unwrap();
    engine.start().unwrap();
    let listener = Listener::start(&path, engine.clone(), false).unwrap();
    let invoke = || {
        let (sender, answer) = mpsc::channel();
        engine.invoke("f", (*b"{}").into(), None, Waiter::Call(Box::new(move |told| drop(sender.send(told)))));
        answer
    };
    let within = Duration::from_secs(20);
    let may_run = Arc::new(AtomicBool::new(true));
    let client = runner(&path, &engine, &may_run);

    let of_owner = invoke();
    let (works, _) = engine.exchange(Vec::new(), 1);
    assert_eq!(works.len(), 1);
    let of_client = invoke();
    let (Assignment { token, task }, function) = given(&client);
    assert!(
        matches!(task, AssignedTask::Run(run) if run.reads && matches!(&run.given, Given::Invoke(payload) if payload == b"{}"))
    );
    assert_eq!(function, 0);
    assert!(!client.idle());
    assert_eq!(client.stopped(), None, "more may come");
    client.exchange(vec![Settled { token, status: 0, body: Some(b"7".to_vec()), duration_ns: 1 }], 8);
    assert_eq!(of_client.recv_timeout(within).unwrap(), Ok(Reply::Json(b"7".to_vec())));

    // What came while the client may have been held for dead is not begun, and the client says that the owner is lost.
    may_run.store(false, Ordering::Relaxed);
    let lost = invoke();
    while client.answered().is_empty() {
        assert!(client.exchange(Vec::new(), 8).is_empty());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.stopped(), Some(Stopped { epoch: 1, connection: 1 }), "nothing comes any more");
    drop(client);
    let told = lost.recv_timeout(within).unwrap();
    assert!(
        matches!(&told, Err(EngineError::Function { payload, .. }) if payload.contains("Runtime.ExitError")),
        "{told:?}"
    );

    // One that leaves takes nothing more, and is done when what it has is done.
    may_run.store(true, Ordering::Relaxed);
    let client = runner(&path, &engine, &may_run);
    let last = invoke();
    let (Assignment { token, .. }, _) = given(&client);
    client.leave();
    assert!(asked(&client, "health").is_ok());
    let kept = invoke();
    assert!(client.exchange(Vec::new(), 8).is_empty() && !client.idle());
    client.exchange(vec![Settled { token, status: 0, body: None, duration_ns: 1 }], 8);
    assert_eq!(last.recv_timeout(within).unwrap(), Ok(Reply::Json(b"null".to_vec())));
    assert!(asked(&client, "health").is_ok());
    assert!(client.idle());
    assert_eq!(engine.exchange(Vec::new(), 8).0.len(), 1);
    drop((kept, of_owner, client));
    engine.close();
    drop(listener);
}

/// It had said that it lets go, and its engine closed behind its socket for more than a second: the app did not start.
#[test]
fn an_owner_that_lets_go_may_take_its_time_to_close() {
    let place = tempfile::tempdir().unwrap();
    let owned = Directory::own(place.path()).unwrap();
    let engine = engine();
    let mut listener = Listener::start(&owned.directory().socket_path().unwrap(), engine.clone(), true).unwrap();
    let settings = json!({
        "app": "a", "store": place.path(), "region": "r", "account": "0", "durability": "process-crash", "serve": true,
    });
    let app = std::thread::spawn(move || match open(serde_json::from_value(settings).unwrap(), None).unwrap() {
        End::Owner(owner) => owner.close(),
        End::Client(_) => panic!("it is to own the store"),
    });
    let wants = |(ticket, answer): &(u64, Answer)| *ticket == 0 && matches!(answer, Err(EngineError::OwnerLeft(_)));
    while !engine.exchange(Vec::new(), 0).1.iter().any(wants) {
        std::thread::sleep(Duration::from_millis(1));
    }
    listener.stop_reading();
    std::thread::sleep(Duration::from_millis(1_500));
    engine.close();
    drop(listener);
    drop(owned);
    app.join().unwrap();
}
