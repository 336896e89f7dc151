//! The patterns on fjall.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use crate::patterns::taken;
use crate::patterns::Engine;
use crate::patterns::RECORD;
use crate::sqlite_engine::dedup;

pub struct Fjall {
    database: Database,
    chunk: Keyspace,
    message: Keyspace,
    due: Keyspace,
    seen: Keyspace,
    row: Keyspace,
}

impl Fjall {
    pub fn open(dir: &Path) -> Self {
        let database = Database::builder(dir).open().expect("open");
        let space = |name| database.keyspace(name, KeyspaceCreateOptions::default).expect("keyspace");
        let (chunk, message, due) = (space("chunk"), space("message"), space("due"));
        let (seen, row) = (space("seen"), space("row"));
        Self { database, chunk, message, due, seen, row }
    }

    fn batch(&self) -> OwnedWriteBatch {
        self.database.batch().durability(Some(PersistMode::SyncAll))
    }
}

fn due_key(deadline: u64, id: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&deadline.to_be_bytes());
    key[8..].copy_from_slice(&id.to_be_bytes());
    key
}

impl Engine for Fjall {
    fn append(&mut self, key: u64, body: &[u8]) {
        let mut batch = self.batch();
        batch.insert(&self.chunk, key.to_be_bytes(), body);
        batch.commit().expect("commit");
    }

    fn read(&mut self) -> usize {
        self.chunk.iter().map(|row| taken(&row.value().expect("value"))).sum()
    }

    fn send(&mut self, first: u64, count: u64) -> u64 {
        let mut batch = self.batch();
        let mut new = 0;
        for id in first..first + count {
            let key = dedup(id);
            if !self.seen.contains_key(key).expect("get") {
                batch.insert(&self.seen, key, []);
                batch.insert(&self.message, id.to_be_bytes(), [1u8; RECORD]);
                batch.insert(&self.due, due_key(0, id), []);
                new += 1;
            }
        }
        batch.commit().expect("commit");
        new
    }

    fn claim(&mut self, count: u64) -> Vec<u64> {
        let mut batch = self.batch();
        let mut ids = Vec::new();
        for row in self.due.range(due_key(0, 0)..due_key(1, 0)).take(count as usize) {
            let key = row.key().expect("key");
            let id = u64::from_be_bytes(key[8..].try_into().expect("8 bytes"));
            let body = self.message.get(id.to_be_bytes()).expect("get").expect("body");
            assert_eq!(taken(&body), RECORD);
            batch.remove(&self.due, key);
            batch.insert(&self.due, due_key(30_000, id), []);
            ids.push(id);
        }
        batch.commit().expect("commit");
        ids
    }

    fn acknowledge(&mut self, messages: &[u64]) {
        let mut batch = self.batch();
        for &id in messages {
            batch.remove(&self.message, id.to_be_bytes());
            batch.remove(&self.due, due_key(30_000, id));
        }
        batch.commit().expect("commit");
    }

    fn update(&mut self, rows: &[u64], value: &[u8; 64]) {
        let mut batch = self.batch();
        for key in rows {
            batch.insert(&self.row, key.to_be_bytes(), value);
        }
        batch.commit().expect("commit");
    }
}
