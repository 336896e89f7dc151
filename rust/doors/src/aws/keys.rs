//! Access keys: who may ask, of what services, and whether only to read. They are kept in a file that `forebay aws keys` writes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

/// How long a look at the file counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One access key.
#[derive(Clone, Debug, Deserialize)]
pub struct Key {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Only operations that change nothing are allowed.
    #[serde(default)]
    pub read_only: bool,
    /// The services that are allowed, by their signing names; all of them where there are none.
    #[serde(default)]
    pub services: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    keys: Vec<Key>,
}

/// The keys of a store, as its file has them now.
#[derive(Debug)]
pub struct Keys {
    path: Option<PathBuf>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    keys: Vec<Arc<Key>>,
    /// The file is there, and is not what it should be: nobody is let in.
    is_broken: bool,
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Found {
    /// There are no keys: whoever signs is let in.
    Open,
    /// This key.
    Key(Arc<Key>),
    /// There are keys, and not this one.
    Nobody,
}

impl Keys {
    /// The keys of this file, which may come into being later. Without a path there are none.
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { path, seen: Mutex::default() }
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        !matches!(self.find(""), Found::Open)
    }

    /// The key of an id.
    pub fn find(&self, id: &str) -> Found {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(path) = self.path.as_ref().filter(|_| seen.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY)) {
            seen.looked = Some(Instant::now());
            let changed = std::fs::metadata(path).and_then(|file| file.modified()).ok();
            if changed != seen.changed {
                seen.changed = changed;
                let read = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
                seen.is_broken = changed.is_some() && read.is_none();
                seen.keys = read.into_iter().flat_map(|file| file.keys).map(Arc::new).collect();
            }
        }
        if seen.keys.is_empty() && !seen.is_broken {
            return Found::Open;
        }
        seen.keys.iter().find(|key| key.id == id).map_or(Found::Nobody, |key| Found::Key(key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_everybody_is_let_in_and_a_broken_file_lets_nobody_in() {
        assert!(matches!(Keys::at(None).find("a"), Found::Open));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        assert!(matches!(Keys::at(Some(path.clone())).find("a"), Found::Open));
        std::fs::write(&path, r#"{"keys": [{"id": "a", "secret": "s", "read_only": true}]}"#).unwrap();
        let keys = Keys::at(Some(path.clone()));
        assert!(matches!(keys.find("a"), Found::Key(key) if key.read_only));
        assert!(matches!(keys.find("b"), Found::Nobody));
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Keys::at(Some(path)).find("a"), Found::Nobody));
    }
}
