//! Stores on another machine: they cannot be reached, do not know whether they wrote a commit, belong to another process, or answer later.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::base::config::Config;
use crate::base::error::{Answer, EngineError, Reply, Waiter};
use crate::base::lease::Lease;
use crate::base::limits::AccountSettings;
use crate::commit::direct_reads::DirectReads;
use crate::dispatch::attempt_journal::AttemptJournal;
use crate::runtime::engine::{Engine, Parts};
use crate::runtime::test_engine::{TestEngine, SECOND};
use crate::store::fault::{Fault, FaultStore, Repeat};
use crate::store::port::{
    BlockingStore as _, Done, Durability, Found, Read, Reader, Store, StoreError, Ticket, Token, Unit, Write,
};

const AGAIN: u64 = SECOND / 10;

/// An engine with the stream `s`, of one shard, and the function `f`.
fn engine() -> TestEngine {
    let engine = TestEngine::new();
    engine.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
    engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    engine
}

fn asking() -> (Waiter, Receiver<Answer>) {
    let (sender, answers) = channel();
    (Waiter::Call(Box::new(move |answer| sender.send(answer).unwrap())), answers)
}

fn put(engine: &Engine) -> Receiver<Answer> {
    let (waiter, answers) = asking();
    engine.put("s", [("key", b"data".as_slice())].into_iter(), None, waiter);
    answers
}

fn positions(answers: &[Receiver<Answer>]) -> Vec<u64> {
    let number = |answer| match answer {
        Ok(Reply::Numbers(numbers)) => forebay_core::sequence::parse(&numbers[0].to_string()).unwrap().1,
        other => panic!("{other:?}"),
    };
    answers.iter().map(|answers| number(answers.try_recv().unwrap())).collect()
}

fn records(engine: &TestEngine) -> Option<(u64, u64)> {
    engine.store.reader().unwrap().bounds(0).unwrap()
}

#[test]
fn while_the_store_cannot_be_reached_puts_wait_and_nothing_is_handed_out() {
    let mut engine = engine();
    assert_eq!(engine.engine.not_ready(), Vec::<String>::new());
    engine.store.fail(1, Fault::Unavailable, Repeat::Always);
    let mut answers = vec![put(&engine.engine)];
    engine.engine.invoke("f", b"1"[..].into(), None, Waiter::Call(Box::new(drop)));
    for _ in 0..3 {
        engine.advance(AGAIN);
        answers.push(put(&engine.engine));
        assert_eq!(engine.engine.exchange(Vec::new(), 10).0.len(), 0);
    }
    assert!(answers.iter().all(|answers| answers.try_recv().is_err()));
    assert_eq!(engine.engine.not_ready(), ["the store cannot be reached: as planned"]);

    engine.store.mend();
    engine.advance(AGAIN);
    engine.advance(AGAIN);
    assert_eq!((positions(&answers), records(&engine)), (vec![0, 1, 2, 3], Some((0, 4))));
    assert_eq!(engine.engine.exchange(Vec::new(), 10).0.len(), 1);
    assert_eq!(engine.engine.not_ready(), Vec::<String>::new());
}

#[test]
fn a_commit_that_may_have_been_written_is_written_once() {
    let mut engine = engine();
    let (mut answers, mut unwritten) = (Vec::new(), 0);
    for n in 0..20 {
        engine.store.fail(1, Fault::Unknown, Repeat::Once);
        answers.push(put(&engine.engine));
        unwritten += u64::from(records(&engine).map_or(0, |(_, next)| next) == n);
        assert!(answers[n as usize].try_recv().is_err(), "nobody knows yet");
        engine.advance(AGAIN);
    }
    assert_eq!((positions(&answers), records(&engine)), ((0..20).collect(), Some((0, 20))));
    assert!((1..20).contains(&unwritten), "both have happened: {unwritten}");
}

/// An engine with a put of which nobody knows whether it was written; it was or it was not.
fn in_doubt(is_written: bool) -> (TestEngine, Receiver<Answer>) {
    let mut engine = engine();
    for n in 0..20 {
        engine.store.fail(1, Fault::Unknown, Repeat::Once);
        let answers = put(&engine.engine);
        assert!(answers.try_recv().is_err());
        if is_written == (records(&engine).map_or(0, |(_, next)| next) > n) {
            return (engine, answers);
        }
        engine.advance(AGAIN);
    }
    panic!("it was always the same");
}

fn told_unknown(answers: &Receiver<Answer>) {
    let answer = answers.try_recv().unwrap();
    assert!(matches!(answer, Err(EngineError::Store(StoreError::Unknown(_)))), "{answer:?}");
}

#[test]
fn what_may_have_been_written_is_not_called_unwritten_when_the_store_cannot_be_reached_any_more() {
    let (engine, answers) = in_doubt(false);
    engine.store.fail(1, Fault::Unavailable, Repeat::Always);
    engine.engine.close();
    told_unknown(&answers);
}

#[test]
fn what_may_have_been_written_is_not_called_unwritten_when_another_process_has_taken_the_store() {
    for is_written in [false, true] {
        let (mut engine, answers) = in_doubt(is_written);
        engine.store.clone().take_now(Unit::All).unwrap();
        engine.advance(AGAIN);
        told_unknown(&answers);
        assert!(put(&engine.engine).try_recv().unwrap().is_err());
    }
}

#[test]
fn an_engine_whose_store_another_process_has_taken_acknowledges_nothing_more() {
    let engine = engine();
    positions(&[put(&engine.engine)]);
    engine.store.clone().take_now(Unit::All).unwrap();
    let refused = put(&engine.engine).try_recv().unwrap();
    let Err(EngineError::Store(StoreError::Lost(text))) = refused else { panic!("{refused:?}") };
    assert!(text.contains("another process"), "{text}");
    assert_eq!(records(&engine), Some((0, 1)));
    assert!(put(&engine.engine).try_recv().unwrap().is_err());
}

#[test]
fn an_engine_that_must_stand_down_hands_out_and_accepts_nothing_more() {
    let engine = engine();
    engine.engine.invoke("f", b"1"[..].into(), None, Waiter::Call(Box::new(drop)));
    engine.engine.stand_down("lost");
    let refused = put(&engine.engine).try_recv().unwrap();
    assert!(matches!(refused, Err(EngineError::Store(StoreError::Lost(_)))), "{refused:?}");
    let (works, answers) = engine.engine.exchange(Vec::new(), 10);
    assert_eq!(works.len(), 0);
    assert!(answers.contains(&(0, Err(EngineError::Store(StoreError::Lost("lost".into()))))), "{answers:?}");
    assert_eq!(records(&engine), None);
}

/// Its process was stopped as a whole: it goes on before the thread that looks after the lease does.
#[test]
fn an_engine_without_its_lease_hands_out_nothing() {
    let mut engine = engine();
    let may_run = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = may_run.clone();
    engine.engine.with(|state| state.ctx.lease = Lease::new(move || asked.load(Relaxed)));
    engine.engine.invoke("f", b"1"[..].into(), None, Waiter::Call(Box::new(drop)));
    assert_eq!(engine.engine.exchange(Vec::new(), 10).0.len(), 0);
    assert!(engine.engine.not_ready()[0].starts_with("this process may not run the store"));
    may_run.store(true, Relaxed);
    engine.advance(1);
    assert_eq!(engine.engine.not_ready(), Vec::<String>::new());
    assert_eq!(engine.engine.exchange(Vec::new(), 10).0.len(), 1);
}

/// The lock is held meanwhile, and whoever stops what runs needs it.
#[test]
fn a_read_that_somebody_waits_for_ends_with_the_lease() {
    let reads = Wire::new();
    let store = FaultStore::new(1, Durability::PowerLoss);
    let asked = reads.clone();
    let lease = Lease::new(move || asked.lock().unwrap().waits.is_empty());
    let mut direct = DirectReads::over(Box::new(DistantReader(store.reader().unwrap(), reads)), lease);
    assert!(matches!(direct.bounds(0), Err(StoreError::Lost(_))));
}

#[test]
fn an_engine_stops_though_its_store_cannot_be_reached_and_tells_whoever_waits() {
    for threads in [false, true] {
        let mut engine = engine();
        if threads {
            engine = engine.reopened_with_threads();
        }
        engine.store.fail(1, Fault::Unavailable, Repeat::Always);
        let answers = put(&engine.engine);
        engine.engine.close();
        let answer = answers.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(matches!(answer, Err(EngineError::Store(StoreError::Unavailable(_)))), "{answer:?}");
        assert_eq!(records(&engine), None);
    }
}

/// What a store on another machine has not answered yet, and what it has.
struct Wire<T> {
    last: Ticket,
    waits: VecDeque<(Ticket, T)>,
    done: VecDeque<(Ticket, T)>,
    waker: Option<Waker>,
}

impl<T> Wire<T> {
    fn new() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { last: 0, waits: VecDeque::new(), done: VecDeque::new(), waker: None }))
    }

    fn submit(&mut self, answer: T) -> Ticket {
        self.last += 1;
        self.waits.push_back((self.last, answer));
        self.last
    }

    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, T)> {
        self.waker = Some(waker.clone());
        self.done.pop_front()
    }
}

/// Wait until the store was asked for so many things, and polled since.
fn asked<T>(wire: &Mutex<Wire<T>>, many: usize) -> MutexGuard<'_, Wire<T>> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let locked = wire.lock().unwrap();
        if locked.waits.len() >= many && locked.waker.is_some() {
            return locked;
        }
        drop(locked);
        assert!(Instant::now() < until, "the store was not asked");
        std::thread::yield_now();
    }
}

/// Answer so many things when the store has been asked for them, the last one first.
fn answer<T>(wire: &Mutex<Wire<T>>, many: usize) {
    let mut wire = asked(wire, many);
    while let Some(answer) = wire.waits.pop_back() {
        wire.done.push_back(answer);
    }
    let waker = wire.waker.take();
    drop(wire);
    waker.unwrap().wake();
}

/// A store that answers when the test says so, but for what the engine asks when it opens.
struct Distant {
    store: FaultStore,
    is_open: bool,
    commits: Arc<Mutex<Wire<Done>>>,
    reads: Reads,
    readers: AtomicUsize,
}

type Reads = Arc<Mutex<Wire<Result<Found, StoreError>>>>;

impl Store for Distant {
    fn take(&mut self, unit: Unit) -> Ticket {
        self.store.take(unit)
    }

    fn submit(&mut self, unit: Unit, token: Token, writes: &[Write]) -> Ticket {
        self.is_open = true;
        self.store.submit(unit, token, writes);
        let (_, done) = self.store.poll(Waker::noop()).unwrap();
        self.commits.lock().unwrap().submit(done)
    }

    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Done)> {
        if self.is_open {
            return self.commits.lock().unwrap().poll(waker);
        }
        self.store.poll(waker)
    }

    /// The first one is for what the engine reads under its lock.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let reader = self.store.reader()?;
        match self.readers.fetch_add(1, Relaxed) {
            0 => Ok(reader),
            _ => Ok(Box::new(DistantReader(reader, self.reads.clone()))),
        }
    }

    fn give_back(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

struct DistantReader(Box<dyn Reader>, Reads);

impl Reader for DistantReader {
    fn submit(&mut self, read: Read) -> Ticket {
        let found = self.0.read(read);
        self.1.lock().unwrap().submit(found)
    }

    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Result<Found, StoreError>)> {
        self.1.lock().unwrap().poll(waker)
    }
}

/// An engine with threads, on a store that answers when the test says so.
fn distant(store: &FaultStore, commits: &Arc<Mutex<Wire<Done>>>, reads: &Reads) -> Engine {
    let distant = Distant {
        store: store.clone(),
        is_open: false,
        commits: commits.clone(),
        reads: reads.clone(),
        readers: AtomicUsize::new(0),
    };
    let limits = AccountSettings::of(10);
    let config = Config { app: "t".into(), region: "r".into(), account: "0".into(), limits, metrics: true };
    let slots = AttemptJournal::memory();
    let engine = Engine::open(Parts {
        store: Box::new(distant),
        slots,
        config,
        manual: None,
        lease: Lease::default(),
        slow_disk: false,
    })
    .unwrap();
    engine.start().unwrap();
    engine
}

/// Close an engine whose store has not answered everything.
fn close(engine: Engine, commits: &Mutex<Wire<Done>>) {
    let closing = std::thread::spawn(move || engine.close());
    while !closing.is_finished() {
        if commits.lock().unwrap().waits.is_empty() {
            std::thread::yield_now();
        } else {
            answer(commits, 1);
        }
    }
}

/// The thread of a store told the engine of a commit while a request held the engine's lock and waited for a read: the thread waited for
/// the lock, the request for the thread, and the process stood still.
#[test]
fn a_store_tells_of_a_commit_though_the_lock_is_held() {
    let (commits, reads) = (Wire::new(), Wire::new());
    let engine = distant(&FaultStore::new(1, Durability::PowerLoss), &commits, &reads);
    let (waiter, declared) = asking();
    let stream = json!({"name": "s", "shards": 1, "retention_ms": 86_400_000});
    engine.request("stream.declare", stream.to_string().as_bytes(), waiter);
    drop(asked(&commits, 1));
    let answering = commits.clone();
    let has_told = engine.with(|_| {
        let (told, has_told) = channel();
        std::thread::spawn(move || {
            answer(&answering, 1);
            told.send(()).unwrap();
        });
        has_told.recv_timeout(Duration::from_secs(10)).is_ok()
    });
    assert!(has_told);
    assert!(declared.recv_timeout(Duration::from_secs(30)).unwrap().is_ok());
    close(engine, &commits);
}

#[test]
fn an_engine_goes_on_while_its_store_has_not_answered() {
    let (commits, reads) = (Wire::new(), Wire::new());
    let store = FaultStore::new(1, Durability::PowerLoss);
    let engine = distant(&store, &commits, &reads);
    let ask = |verb: &str, body: serde_json::Value| {
        let (waiter, answers) = asking();
        engine.request(verb, body.to_string().as_bytes(), waiter);
        answers
    };
    let heard = |answers: &Receiver<Answer>| answers.recv_timeout(Duration::from_secs(30)).unwrap();

    let declared = ask("stream.declare", json!({"name": "s", "shards": 1, "retention_ms": 86_400_000}));
    assert!(heard(&ask("health", json!({}))).is_ok(), "while the stream is on its way to the store");
    assert!(declared.try_recv().is_err());
    answer(&commits, 1);
    assert!(heard(&declared).is_ok());

    // What is put while a commit is under way goes with the next one.
    let first = put(&engine);
    drop(asked(&commits, 1));
    let others = [put(&engine), put(&engine)];
    answer(&commits, 1);
    assert!(heard(&first).is_ok() && others.iter().all(|answers| answers.try_recv().is_err()));
    answer(&commits, 1);
    assert!(others.iter().all(|answers| heard(answers).is_ok()));

    // Reads that are answered in another order than they were asked for.
    let function = json!({"kind": "function", "name": "f", "timeout_ms": 3_000});
    engine.register(&serde_json::from_value(function).unwrap()).unwrap();
    let asynchronous = |function: &str| {
        let (waiter, answers) = asking();
        engine.invoke_async(function, b"1", crate::base::trace::Origin::default(), waiter);
        answers
    };
    let event = asynchronous("f");
    answer(&commits, 1);
    assert!(heard(&event).is_ok());
    let lists = [(); 2].map(|()| ask("failed.list", json!({"function": "f", "limit": 10})));
    answer(&reads, 2);
    assert!(lists.iter().all(|list| heard(list).is_ok()));
    // What the store has not answered when the engine stops.
    let unanswered = ask("failed.list", json!({"function": "f", "limit": 10}));
    drop(asked(&reads, 1));
    close(engine, &commits);
    let answer = heard(&unanswered);
    assert!(matches!(answer, Err(EngineError::Closed(_))), "{answer:?}");
    assert_eq!(store.reader().unwrap().bounds(0).unwrap(), Some((0, 3)));
}

/// The server rolled one commit back again and again, for it took too long. Nothing else was committed, and the log had no word.
#[test]
fn the_operator_is_told_why_no_commit_gets_through() {
    let mut engine = engine();
    engine.notices();
    engine.store.fail(1, Fault::Unavailable, Repeat::Always);
    let answers = put(&engine.engine);
    let mut told = Vec::new();
    for second in 1..=75 {
        engine.advance(SECOND);
        let texts = engine.notices().into_iter().filter(|notice| notice["what"] == "store");
        told.extend(texts.map(|notice| (second, notice["text"].as_str().unwrap().to_owned())));
    }
    let [(first, text), (second, again)] = &told[..] else { panic!("{told:?}") };
    assert!((10..=11).contains(first) && (60..=61).contains(&(second - first)), "{told:?}");
    assert!(text.starts_with("no commit has got through for 10 s") && text.ends_with("as planned"), "{text}");
    assert!(again.starts_with("no commit has got through for 70 s"), "{again}");
    engine.store.mend();
    engine.advance(AGAIN);
    assert_eq!(positions(&[answers]), [0]);
}

/// A commit that the server ends after 30 s was told of when it had ended twice, and for 30 s.
#[test]
fn the_operator_is_told_at_once_of_a_commit_that_takes_long_to_fail() {
    let mut engine = engine();
    engine.notices();
    engine.advance(100 * SECOND);
    let error = || StoreError::Unavailable("it took too long".into());
    engine.engine.with(|rooms| crate::runtime::commits::commit_delayed(rooms, error(), 9 * SECOND));
    assert_eq!(engine.notices(), [] as [serde_json::Value; 0]);
    engine.engine.with(|rooms| {
        rooms.ctx.commit.delayed = None;
        crate::runtime::commits::commit_delayed(rooms, error(), 30 * SECOND);
    });
    let texts: Vec<_> =
        engine.notices().into_iter().map(|notice| notice["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("no commit has got through for 30 s"), "{texts:?}");
}
