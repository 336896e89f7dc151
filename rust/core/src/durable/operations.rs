//! The operations of an execution.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Operation;

/// Operations that a copy shares or copies together.
const CHUNK: usize = 64;

/// Operations in the order in which they began. An execution is copied at each of its steps, to be taken back and to be written: a copy shares
/// what has not changed, so that a step costs as much as it changes, however many operations there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Operations {
    chunks: Vec<Arc<Vec<Arc<Operation>>>>,
    /// Their places, sorted by their ids.
    by_id: Vec<u32>,
    /// Those that have not ended.
    open: BTreeSet<u32>,
}

impl Operations {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Operation> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK).map(Arc::as_ref)
    }

    /// Those from a place on.
    pub(super) fn from(&self, at: usize) -> impl Iterator<Item = &Operation> {
        let chunks = self.chunks.get(at / CHUNK..).unwrap_or_default();
        chunks.iter().flat_map(|chunk| chunk.iter()).skip(at % CHUNK).map(Arc::as_ref)
    }

    /// Those that have not ended, with their places.
    pub(super) fn open(&self) -> impl Iterator<Item = (usize, &Operation)> {
        self.open.iter().filter_map(|&at| Some((at as usize, self.get(at as usize)?)))
    }

    /// The place of the operation that has an id.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.search(id).ok().and_then(|found| self.by_id.get(found)).map(|&at| at as usize)
    }

    fn search(&self, id: &str) -> Result<usize, usize> {
        self.by_id.binary_search_by(|&at| self.get(at as usize).map_or(Ordering::Less, |one| one.id.as_str().cmp(id)))
    }

    /// Add one; give its place.
    pub(super) fn push(&mut self, operation: Operation) -> usize {
        let at = self.len();
        let (Ok(sorted) | Err(sorted)) = self.search(&operation.id);
        self.by_id.insert(sorted, at as u32);
        if !operation.is_over() {
            self.open.insert(at as u32);
        }
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => Arc::make_mut(chunk).push(Arc::new(operation)),
            None => self.chunks.push(Arc::new(vec![Arc::new(operation)])),
        }
        at
    }

    /// Change the one at a place; its id stays.
    pub(super) fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut Operation) -> T) -> Option<T> {
        let chunk = Arc::make_mut(self.chunks.get_mut(at / CHUNK)?);
        let operation = Arc::make_mut(chunk.get_mut(at % CHUNK)?);
        let changed = change(operation);
        if operation.is_over() {
            self.open.remove(&(at as u32));
        } else {
            self.open.insert(at as u32);
        }
        Some(changed)
    }
}

impl Serialize for Operations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.from(0))
    }
}

impl<'de> Deserialize<'de> for Operations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut read = Self::default();
        for operation in Vec::<Operation>::deserialize(deserializer)? {
            read.push(operation);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{json, Value};

    use super::{Operation, Operations, CHUNK};
    use crate::durable::Status;

    fn one(id: usize) -> Operation {
        let (nothing, over) = (Value::Null, false);
        serde_json::from_value(json!({"id": id.to_string(), "parent_id": nothing, "name": nothing, "kind": "STEP",
            "sub_type": nothing, "status": "STARTED", "started_ms": 7, "ended_ms": nothing, "attempt": 1,
            "next_ms": nothing, "heartbeat_ms": nothing, "heartbeat_due_ms": nothing, "result": nothing,
            "error": nothing, "callback_id": nothing, "replay_children": over}))
        .unwrap()
    }

    /// All operations were copied at each checkpoint, once for what may be taken back and once for what is written.
    #[test]
    fn a_copy_shares_what_has_not_changed() {
        let mut operations = Operations::default();
        for id in 0..3 * CHUNK {
            operations.push(one(id));
        }
        let before = operations.clone();
        operations.change(CHUNK + 1, |one| one.over(Status::Succeeded, 9));
        operations.push(one(3 * CHUNK));
        let shared =
            |at: usize| Arc::ptr_eq(&before.chunks[at / CHUNK][at % CHUNK], &operations.chunks[at / CHUNK][at % CHUNK]);
        let differ: Vec<usize> = (0..before.len()).filter(|&at| !shared(at)).collect();
        assert_eq!(differ, [CHUNK + 1]);
        assert_eq!((before.len(), operations.len()), (3 * CHUNK, 3 * CHUNK + 1));
        assert_eq!((before.open().count(), operations.open().count()), (3 * CHUNK, 3 * CHUNK));
        assert_eq!(before.get(CHUNK + 1).map(|one| one.status), Some(Status::Started));
    }

    #[test]
    fn operations_are_found_by_their_ids_and_written_in_their_order() {
        let mut operations = Operations::default();
        let ids: Vec<usize> = (0..200).map(|id| id * 7 % 200).collect();
        for &id in &ids {
            operations.push(one(id));
        }
        let written = serde_json::to_string(&operations).unwrap();
        let read: Operations = serde_json::from_str(&written).unwrap();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!((operations.find(&id.to_string()), read.find(&id.to_string())), (Some(at), Some(at)));
        }
        assert_eq!((operations.find("200"), operations.get(200).is_none()), (None, true));
        let rest: Vec<&str> = read.from(130).map(|one| one.id.as_str()).collect();
        assert_eq!((rest.len(), rest[0]), (70, ids[130].to_string().as_str()));
    }
}
