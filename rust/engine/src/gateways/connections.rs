//! Open connections of WebSocket APIs: who can be reached, and what waits to be sent to it. They live in memory and end with the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

use crate::api::gateway::Connection;

/// Most bytes that wait for one client: one that reads too slowly is let go.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// What a message takes beside its own bytes, about: many small ones, and empty ones, are bounded, too.
const BESIDE_BYTES: usize = 64;

/// What is to be sent to a client.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Binary(Arc<[u8]>),
    /// Nothing more: the connection is closed with this code.
    Close(u16),
}

impl Outgoing {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Close(_) => 0,
        }
    }

    /// What it takes while it waits.
    fn weight(&self) -> usize {
        BESIDE_BYTES + self.bytes()
    }
}

/// What waits for a client, read by whoever holds its connection.
#[derive(Debug)]
pub struct Mailbox {
    receiver: UnboundedReceiver<Outgoing>,
    waiting: Arc<AtomicUsize>,
    last_active_ms: Arc<AtomicU64>,
}

impl Mailbox {
    /// The next; `None` once the connection is not known any more.
    pub async fn next(&mut self) -> Option<Outgoing> {
        let outgoing = self.receiver.recv().await?;
        self.waiting.fetch_sub(outgoing.weight(), Ordering::Relaxed);
        Some(outgoing)
    }

    /// Something went over the connection.
    pub fn is_active(&self, now_ms: u64) {
        self.last_active_ms.store(now_ms, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Open {
    about: Connection,
    sender: UnboundedSender<Outgoing>,
    waiting: Arc<AtomicUsize>,
    last_active_ms: Arc<AtomicU64>,
}

impl Open {
    /// False if so much waits already that the client must be let go.
    fn send(&self, outgoing: Outgoing) -> bool {
        let bytes = outgoing.weight();
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_BYTES_MAX {
            return false;
        }
        self.sender.send(outgoing).is_ok()
    }

    fn described(&self) -> Connection {
        Connection { last_active_ms: self.last_active_ms.load(Ordering::Relaxed), ..self.about.clone() }
    }
}

/// The connections of all WebSocket APIs.
#[derive(Debug, Default)]
pub struct Connections(Mutex<HashMap<String, Open>>);

impl Connections {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        // Whoever panicked has left a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Make a connection known.
    pub fn open(&self, about: Connection) -> Mailbox {
        let (sender, receiver) = unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let last_active_ms = Arc::new(AtomicU64::new(about.last_active_ms));
        let mailbox = Mailbox { receiver, waiting: waiting.clone(), last_active_ms: last_active_ms.clone() };
        self.lock().insert(about.connection_id.clone(), Open { about, sender, waiting, last_active_ms });
        mailbox
    }

    /// Forget a connection.
    pub fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Close all but those whose API, by its id, and stage are served.
    pub(super) fn keep_only(&self, is_served: impl Fn(&str, &str) -> bool) {
        self.lock().retain(|_, open| {
            let stays = is_served(&open.about.api_id, &open.about.stage);
            if !stays {
                let _gone = open.sender.send(Outgoing::Close(1001));
            }
            stays
        });
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Send something to a client; false if it has gone. One that takes too little is let go.
    pub fn send(&self, id: &str, outgoing: Outgoing) -> bool {
        let mut map = self.lock();
        let Some(open) = map.get(id) else { return false };
        if open.send(outgoing) {
            return true;
        }
        // It hears of that from whoever holds the connection; nobody can reach it any more.
        let _gone = open.sender.send(Outgoing::Close(1008));
        map.remove(id);
        false
    }

    /// The ids of the connections of an API, by its id or its name: of all, or of those that are asked for.
    pub(super) fn of_api(&self, api: &str, asked: Option<Vec<String>>) -> Vec<String> {
        let map = self.lock();
        let is_of = |open: &Open| open.about.api == api || open.about.api_id == api;
        match asked {
            None => map.iter().filter(|(_, open)| is_of(open)).map(|(id, _)| id.clone()).collect(),
            Some(ids) => ids.into_iter().filter(|id| map.get(id).is_some_and(is_of)).collect(),
        }
    }

    pub(super) fn describe(&self, id: &str) -> Option<Connection> {
        self.lock().get(id).map(Open::described)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(id: &str) -> Connection {
        Connection {
            connection_id: id.into(),
            api: "a".into(),
            api_id: "i".into(),
            stage: "dev".into(),
            connected_ms: 1,
            last_active_ms: 1,
            source_ip: "127.0.0.1".into(),
            user_agent: String::new(),
        }
    }

    #[test]
    fn a_client_that_reads_too_slowly_is_let_go() {
        let connections = Connections::default();
        let mut mailbox = connections.open(about("c"));
        let half = Outgoing::Binary(vec![0; WAITING_BYTES_MAX / 2 - BESIDE_BYTES].into());
        assert!(connections.send("c", half.clone()) && connections.send("c", half.clone()));
        assert!(!connections.send("c", Outgoing::Text("x".into())));
        assert!(!connections.send("c", Outgoing::Text("x".into())), "it has gone");
        assert_eq!(connections.count(), 0);
        let mut last = None;
        while let Ok(outgoing) = mailbox.receiver.try_recv() {
            last = Some(outgoing);
        }
        assert!(matches!(last, Some(Outgoing::Close(1008))));
    }

    #[test]
    fn a_connection_is_closed_when_its_stage_is_served_no_more() {
        let connections = Connections::default();
        let (mut gone, mut stays) = (connections.open(about("c")), connections.open(about("d")));
        connections.lock().get_mut("d").unwrap().about.stage = "prod".into();
        connections.keep_only(|api, stage| api == "i" && stage == "prod");
        assert!(matches!(gone.receiver.try_recv(), Ok(Outgoing::Close(1001))));
        assert!(stays.receiver.try_recv().is_err());
        assert!(connections.describe("c").is_none() && connections.describe("d").is_some());
    }

    #[test]
    fn messages_without_a_byte_wait_no_longer() {
        let connections = Connections::default();
        let _mailbox = connections.open(about("c"));
        let sent = (0..100_000).take_while(|_| connections.send("c", Outgoing::Text("".into()))).count();
        assert_eq!(sent, WAITING_BYTES_MAX / BESIDE_BYTES);
    }
}
