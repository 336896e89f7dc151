//! The patterns on SQLite.

use std::path::Path;

use rusqlite::{params, Connection};

use crate::patterns::taken;
use crate::patterns::Engine;
use crate::patterns::RECORD;

pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    pub fn open(dir: &Path) -> Self {
        let connection = Connection::open(dir.join("bench.db")).expect("open");
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
                 CREATE TABLE chunk(id INTEGER PRIMARY KEY, body BLOB);
                 CREATE TABLE message(id INTEGER PRIMARY KEY, deadline INTEGER, body BLOB);
                 CREATE INDEX due ON message(deadline, id);
                 CREATE TABLE seen(id BLOB PRIMARY KEY) WITHOUT ROWID;
                 CREATE TABLE row(key INTEGER PRIMARY KEY, value BLOB)",
            )
            .expect("schema");
        Self { connection }
    }

    fn commit<T>(&mut self, write: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
        self.connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])).expect("begin");
        let done = write(&self.connection).expect("write");
        self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])).expect("commit");
        done
    }
}

impl Engine for Sqlite {
    fn append(&mut self, key: u64, body: &[u8]) {
        self.commit(|c| c.prepare_cached("INSERT INTO chunk VALUES(?1, ?2)")?.execute(params![key as i64, body]));
    }

    fn read(&mut self) -> usize {
        let mut statement = self.connection.prepare("SELECT body FROM chunk ORDER BY id").expect("read");
        let mut rows = statement.query([]).expect("read");
        let mut bytes = 0;
        while let Some(row) = rows.next().expect("read") {
            bytes += taken(row.get_ref(0).and_then(|body| Ok(body.as_blob()?)).expect("body"));
        }
        bytes
    }

    fn send(&mut self, first: u64, count: u64) -> u64 {
        self.commit(|c| {
            let mut new = 0;
            for id in first..first + count {
                let known = c.prepare_cached("INSERT OR IGNORE INTO seen VALUES(?1)")?.execute([dedup(id)])? == 0;
                if !known {
                    let body = [1u8; RECORD];
                    c.prepare_cached("INSERT INTO message VALUES(?1, 0, ?2)")?.execute(params![id as i64, body])?;
                    new += 1;
                }
            }
            Ok(new)
        })
    }

    fn claim(&mut self, count: u64) -> Vec<u64> {
        self.commit(|c| {
            let mut due =
                c.prepare_cached("SELECT id FROM message WHERE deadline <= 0 ORDER BY deadline, id LIMIT ?1")?;
            let ids = due.query_map([count as i64], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
            for id in &ids {
                let body: Vec<u8> =
                    c.prepare_cached("SELECT body FROM message WHERE id = ?1")?.query_row([id], |row| row.get(0))?;
                assert_eq!(body.len(), RECORD);
                c.prepare_cached("UPDATE message SET deadline = 30000 WHERE id = ?1")?.execute([id])?;
            }
            Ok(ids.into_iter().map(|id| id as u64).collect())
        })
    }

    fn acknowledge(&mut self, messages: &[u64]) {
        self.commit(|c| {
            for &id in messages {
                c.prepare_cached("DELETE FROM message WHERE id = ?1")?.execute([id as i64])?;
            }
            Ok(())
        });
    }

    fn update(&mut self, rows: &[u64], value: &[u8; 64]) {
        self.commit(|c| {
            for &key in rows {
                c.prepare_cached("INSERT INTO row VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value")?
                    .execute(params![key as i64, value])?;
            }
            Ok(())
        });
    }
}

/// A deduplication id: 16 bytes that do not come in order.
pub fn dedup(id: u64) -> [u8; 16] {
    let spread = (u128::from(id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    spread.to_be_bytes()
}
