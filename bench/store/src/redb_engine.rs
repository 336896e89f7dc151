//! The patterns on redb.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::patterns::taken;
use crate::patterns::Engine;
use crate::patterns::RECORD;
use crate::sqlite_engine::dedup;

const CHUNK: TableDefinition<u64, &[u8]> = TableDefinition::new("chunk");
const MESSAGE: TableDefinition<u64, &[u8]> = TableDefinition::new("message");
const DUE: TableDefinition<(u64, u64), ()> = TableDefinition::new("due");
const SEEN: TableDefinition<&[u8; 16], ()> = TableDefinition::new("seen");
const ROW: TableDefinition<u64, &[u8]> = TableDefinition::new("row");

pub struct Redb {
    database: Database,
}

impl Redb {
    pub fn open(dir: &Path) -> Self {
        let database = Database::create(dir.join("bench.redb")).expect("open");
        Self { database }
    }

    fn commit<T>(&mut self, write: impl FnOnce(&WriteTransaction) -> T) -> T {
        let transaction = self.database.begin_write().expect("begin");
        let done = write(&transaction);
        transaction.commit().expect("commit");
        done
    }
}

impl Engine for Redb {
    fn append(&mut self, key: u64, body: &[u8]) {
        self.commit(|t| {
            t.open_table(CHUNK).expect("table").insert(key, body).expect("insert");
        });
    }

    fn read(&mut self) -> usize {
        let transaction = self.database.begin_read().expect("begin");
        let table = transaction.open_table(CHUNK).expect("table");
        table.iter().expect("read").map(|row| taken(row.expect("row").1.value())).sum()
    }

    fn send(&mut self, first: u64, count: u64) -> u64 {
        self.commit(|t| {
            let mut seen = t.open_table(SEEN).expect("table");
            let mut messages = t.open_table(MESSAGE).expect("table");
            let mut due = t.open_table(DUE).expect("table");
            let mut new = 0;
            for id in first..first + count {
                let known = seen.insert(&dedup(id), ()).expect("insert").is_some();
                if !known {
                    messages.insert(id, [1u8; RECORD].as_slice()).expect("insert");
                    due.insert((0, id), ()).expect("insert");
                    new += 1;
                }
            }
            new
        })
    }

    fn claim(&mut self, count: u64) -> Vec<u64> {
        self.commit(|t| {
            let messages = t.open_table(MESSAGE).expect("table");
            let mut due = t.open_table(DUE).expect("table");
            let ids: Vec<u64> = due
                .range((0, 0)..(1, 0))
                .expect("range")
                .take(count as usize)
                .map(|row| row.expect("row").0.value().1)
                .collect();
            for &id in &ids {
                assert_eq!(taken(messages.get(id).expect("get").expect("body").value()), RECORD);
                due.remove((0, id)).expect("remove");
                due.insert((30_000, id), ()).expect("insert");
            }
            ids
        })
    }

    fn acknowledge(&mut self, ids: &[u64]) {
        self.commit(|t| {
            let mut messages = t.open_table(MESSAGE).expect("table");
            let mut due = t.open_table(DUE).expect("table");
            for &id in ids {
                messages.remove(id).expect("remove");
                due.remove((30_000, id)).expect("remove");
            }
        });
    }

    fn update(&mut self, rows: &[u64], value: &[u8; 64]) {
        self.commit(|t| {
            let mut table = t.open_table(ROW).expect("table");
            for &key in rows {
                table.insert(key, value.as_slice()).expect("insert");
            }
        });
    }
}
