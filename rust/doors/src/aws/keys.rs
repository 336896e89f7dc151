//! Access keys: who may ask, of what services, and whether only to read. They are kept in a file that `forebay aws keys` writes.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// What tells one content of the file from another: its time, its length, and which file it is.
type Stamp = (SystemTime, u64, u64);

#[derive(Debug, Default)]
struct Seen {
    looked: Option<Instant>,
    stamp: Option<Stamp>,
    keys: Vec<Arc<Key>>,
    /// There is or was a file of keys: whoever has none of them is not let in, also when there are none any more.
    is_closed: bool,
    /// The file is there, and says nothing of keys.
    is_damaged: bool,
    /// It was said that there are none.
    is_told: bool,
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Found {
    /// There are no keys, and there were none: whoever signs is let in.
    Open,
    /// This key.
    Key(Arc<Key>),
    /// There are keys, or were, and not this one.
    Nobody,
}

impl Keys {
    /// The keys of this file, which may come into being later. Without a path there are none.
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { path, seen: Mutex::default() }
    }

    /// The command that makes a key of them, which needs to be told of any store but the one that commands take.
    pub fn command(&self) -> String {
        let store = self.path.as_deref().and_then(Path::parent);
        let is_other = |store: &&Path| std::path::absolute(store).ok() != std::path::absolute("data").ok();
        let store = store.filter(is_other).map(|store| store.display().to_string());
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        let quoted =
            |store: String| if is_word(&store) { store } else { format!("'{}'", store.replace('\'', r"'\''")) };
        let option = store.map_or_else(String::new, |store| format!(" --store {}", quoted(store)));
        format!("forebay aws keys create{option}")
    }

    /// Whether whoever signs is let in.
    pub fn is_open(&self) -> bool {
        matches!(self.find(""), Found::Open)
    }

    /// The key of an id.
    pub fn find(&self, id: &str) -> Found {
        let seen = self.look();
        if seen.keys.is_empty() && !seen.is_closed {
            return Found::Open;
        }
        seen.keys.iter().find(|key| key.id == id).map_or(Found::Nobody, |key| Found::Key(key.clone()))
    }

    /// Why nobody is let in, if that is to be said now: once, until there are keys, or there are none for another reason.
    pub fn to_tell(&self) -> Option<&'static str> {
        let mut seen = self.look();
        let is_to_tell = seen.is_closed && seen.keys.is_empty() && !seen.is_told;
        seen.is_told |= is_to_tell;
        is_to_tell.then_some(if seen.is_damaged {
            "is damaged; put a copy of it back, or move it away and make a key (`forebay aws keys create`): the old ones are lost then"
        } else if seen.stamp.is_none() {
            "is gone; put it back, or make a key (`forebay aws keys create`), or start the app again to have none"
        } else {
            "has no access keys any more; make one (`forebay aws keys create`), or delete that file and start the app again to have none"
        })
    }

    fn look(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.path.as_ref().filter(|_| seen.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY)) {
            seen.looked = Some(Instant::now());
            let file = std::fs::metadata(path).ok();
            let stamp = file.and_then(|file| Some((file.modified().ok()?, file.len(), file.ino())));
            let read = (stamp != seen.stamp).then(|| stamp.map(|_| std::fs::read(path)).transpose());
            // A process without free descriptors cannot read it now: the keys that were known hold until it can.
            seen.is_closed |= matches!(read, Some(Err(_)));
            if let Some(Ok(bytes)) = read {
                seen.stamp = stamp;
                let read = bytes.and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok());
                seen.is_damaged = stamp.is_some() && read.is_none();
                seen.keys = read.into_iter().flat_map(|file| file.keys).map(Arc::new).collect();
                // A file that is not what it should be lets nobody in either.
                seen.is_closed |= stamp.is_some();
                seen.is_told = false;
            }
        }
        seen
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

    /// A file that could not be read once locked everybody out until it changed again.
    #[test]
    fn a_file_that_cannot_be_read_now_leaves_the_keys_that_were() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, r#"{"keys": [{"id": "a", "secret": "s"}]}"#).unwrap();
        let keys = Keys::at(Some(path.clone()));
        let look = || keys.seen.lock().unwrap().looked = None;
        assert!(matches!(keys.find("a"), Found::Key(_)));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap(); // It has a date, and nobody can read it as a file.
        look();
        assert!(matches!(keys.find("a"), Found::Key(_)) && keys.to_tell().is_none());
        assert!(matches!(Keys::at(Some(path.clone())).find("a"), Found::Nobody));
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, r#"{"keys": [{"id": "b", "secret": "s"}]}"#).unwrap();
        look();
        assert!(matches!(keys.find("b"), Found::Key(_)));
    }

    /// Whoever moved the file away, or emptied it, let everybody in, on an address that other machines reach as well.
    #[test]
    fn who_has_had_keys_lets_nobody_in_without_them_and_says_so_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let keys = Keys::at(Some(path.clone()));
        let look = || keys.seen.lock().unwrap().looked = None;
        assert!(keys.is_open() && keys.to_tell().is_none());
        std::fs::write(&path, r#"{"keys": [{"id": "a", "secret": "s"}]}"#).unwrap();
        look();
        assert!(matches!(keys.find("a"), Found::Key(_)) && keys.to_tell().is_none());
        for (left, told) in
            [(None, "is gone"), (Some(r#"{"keys": []}"#), "has no access keys"), (Some("{"), "is damaged")]
        {
            left.map_or_else(|| std::fs::remove_file(&path), |text| std::fs::write(&path, text)).unwrap();
            look();
            assert!(matches!(keys.find("a"), Found::Nobody) && !keys.is_open());
            assert!(keys.to_tell().is_some_and(|why| why.starts_with(told)) && keys.to_tell().is_none());
            std::fs::write(&path, r#"{"keys": [{"id": "b", "secret": "s"}]}"#).unwrap();
            look();
            assert!(matches!(keys.find("b"), Found::Key(_)) && keys.to_tell().is_none());
        }
        std::fs::write(&path, r#"{"keys": []}"#).unwrap();
        assert!(!Keys::at(Some(path)).is_open(), "a file without keys is no open door");
    }
}
