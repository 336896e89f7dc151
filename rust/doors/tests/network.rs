//! The owner's door for other machines: who comes in, who does not, and what those who are in are told at the end.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

use forebay_doors::network::{self, Place, Unreached};
use forebay_doors::socket::client::Client;
use forebay_doors::socket::server::Listener;
use forebay_engine::base::config::Config;
use forebay_engine::base::error::{Answer, EngineError, Reply, Waiter};
use forebay_engine::base::lease::Lease;
use forebay_engine::base::limits::AccountSettings;
use forebay_engine::dispatch::attempt_journal::AttemptJournal;
use forebay_engine::runtime::engine::{Engine, Parts};
use forebay_engine::store::memory::MemoryStore;
use forebay_postgres::Door;

const PATIENCE: Duration = Duration::from_secs(20);

/// An owner: its engine, its socket, and its door for other machines.
struct Owner {
    engine: Arc<Engine>,
    listener: Option<Listener>,
    network: Option<network::Listener>,
    door: Door,
    _folder: tempfile::TempDir,
}

impl Owner {
    fn new() -> Self {
        let config = Config {
            app: "a".into(),
            region: "local".into(),
            account: "000000000000".into(),
            limits: AccountSettings::of(10),
            metrics: true,
        };
        let parts = Parts {
            store: Box::new(MemoryStore::new()),
            slots: AttemptJournal::memory(),
            config,
            manual: None,
            lease: Lease::default(),
            slow_disk: false,
        };
        let engine = Arc::new(Engine::open(parts).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let listener = Listener::start(&folder.path().join("s"), engine.clone(), false).unwrap();
        let place = Place { bind: "127.0.0.1:0".parse().unwrap(), host: "127.0.0.1".into(), port: None };
        let (network, door) = network::Listener::start(&place, listener.entrance()).unwrap();
        Self { engine, listener: Some(listener), network: Some(network), door, _folder: folder }
    }

    /// As an owner ends.
    fn close(&mut self) {
        self.network.as_mut().unwrap().retire();
        let mut listener = self.listener.take().unwrap();
        listener.stop_reading();
        self.engine.close();
        drop(listener);
        drop(self.network.take());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.listener.is_some() {
            self.close();
        }
    }
}

fn ask(client: &Client, verb: &str, body: &[u8]) -> mpsc::Receiver<Answer> {
    let (sender, receiver) = mpsc::channel();
    client.request(verb, body, Waiter::Call(Box::new(move |answer| drop(sender.send(answer)))));
    receiver
}

fn health(client: &Client) -> Answer {
    ask(client, "health", b"{}").recv_timeout(PATIENCE).unwrap()
}

#[test]
fn whoever_knows_the_door_asks_as_a_client_on_the_same_machine_does() {
    let owner = Owner::new();
    let (one, other) = (Client::connect_far(&owner.door).unwrap(), Client::connect_far(&owner.door).unwrap());
    for client in [&one, &other] {
        assert!(matches!(health(client), Ok(Reply::Json(_))));
    }
    let large = vec![b' '; 3 << 20];
    let refused = ask(&one, "no such verb", &large).recv_timeout(PATIENCE).unwrap();
    assert!(refused.is_err(), "it came whole, and was refused by its name");
    one.close();
    assert!(matches!(health(&one), Err(EngineError::OwnerLeft(_))));
    assert!(matches!(health(&other), Ok(Reply::Json(_))));
}

#[test]
fn nobody_else_is_let_in_and_nothing_is_told_to_a_wrong_owner() {
    let (owner, stranger) = (Owner::new(), Owner::new());
    let with_another_secret = Door { secret: stranger.door.secret.clone(), ..owner.door.clone() };
    let refused = Client::connect_far(&with_another_secret).err();
    assert!(matches!(&refused, Some(Unreached::Later(why)) if why.contains("does not let")), "{refused:?}");
    let with_another_key = Door { key: stranger.door.key.clone(), ..owner.door.clone() };
    let refused = Client::connect_far(&with_another_key).err();
    assert!(matches!(&refused, Some(Unreached::Later(why)) if why.contains("certificate")), "{refused:?}");
    let refused = Client::connect_far(&network::Listener::closed()).err();
    assert!(matches!(&refused, Some(Unreached::Never(why)) if why.contains("does not listen")), "{refused:?}");

    // Without TLS, and without a word.
    let mut rude = TcpStream::connect(owner.door.address.as_ref().unwrap()).unwrap();
    rude.set_read_timeout(Some(PATIENCE)).unwrap();
    rude.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut said = Vec::new();
    rude.read_to_end(&mut said).unwrap();
    assert!(said.len() < 32, "an alert at most: {said:?}");
    assert!(matches!(health(&Client::connect_far(&owner.door).unwrap()), Ok(Reply::Json(_))));
}

#[test]
fn an_owner_that_leaves_says_so_and_waits_for_nobody() {
    let mut owner = Owner::new();
    let client = Client::connect_far(&owner.door).unwrap();
    assert!(health(&client).is_ok());
    let silent = TcpStream::connect(owner.door.address.as_ref().unwrap()).unwrap();
    let begun = Instant::now();
    owner.close();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(matches!(health(&client), Err(EngineError::OwnerLeft(_))));
    let late = Client::connect_far(&owner.door).err();
    assert!(matches!(late, Some(Unreached::Later(_))), "{late:?}");
    drop(silent);
}

/// Carry what comes from one to the other until it is over, or stands still.
fn carry(mut from: TcpStream, mut to: TcpStream, stands_still: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !stands_still.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
    });
}

#[test]
fn whoever_takes_the_store_from_an_owner_that_stands_still_does_not_wait_for_it() {
    let owner = Owner::new();
    let address = owner.door.address.clone().unwrap();
    let between = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let door = Door { address: Some(between.local_addr().unwrap().to_string()), ..owner.door.clone() };
    let stands_still = Arc::new(AtomicBool::new(false));
    let carrier = std::thread::spawn({
        let stands_still = stands_still.clone();
        move || {
            let (near, _) = between.accept().unwrap();
            let far = TcpStream::connect(address).unwrap();
            carry(near.try_clone().unwrap(), far.try_clone().unwrap(), stands_still.clone());
            carry(far.try_clone().unwrap(), near.try_clone().unwrap(), stands_still);
            (near, far)
        }
    });
    let client = Client::connect_far(&door).unwrap();
    assert!(health(&client).is_ok());
    let kept = carrier.join().unwrap();
    stands_still.store(true, Ordering::SeqCst);
    client.changes()();
    let begun = Instant::now();
    client.close();
    assert!(begun.elapsed() < Duration::from_secs(1), "hanging up took {:?}", begun.elapsed());
    drop(kept);
}

#[test]
fn an_owner_that_dies_leaves_nobody_waiting() {
    let owner = Owner::new();
    let address: std::net::SocketAddr = owner.door.address.as_ref().unwrap().parse().unwrap();
    // What stands between them is cut, as by the death of the machine.
    let between = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let door = Door { address: Some(between.local_addr().unwrap().to_string()), ..owner.door.clone() };
    let carrier = std::thread::spawn(move || {
        let (near, _) = between.accept().unwrap();
        let far = TcpStream::connect(address).unwrap();
        let (mut out, mut back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (mut to_far, mut to_near) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut out, &mut to_far));
        std::thread::spawn(move || std::io::copy(&mut back, &mut to_near));
        (near, far)
    });
    let client = Client::connect_far(&door).unwrap();
    assert!(health(&client).is_ok());
    let (near, far) = carrier.join().unwrap();
    for stream in [near, far] {
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    }
    let until = Instant::now() + PATIENCE;
    while health(&client).is_ok() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(health(&client).is_err());
}
