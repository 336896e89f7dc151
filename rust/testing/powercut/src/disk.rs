//! A disk under observation: what was done to the files of one directory, in order, and what is to go wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Something that was done to a file, or that the test wants to remember the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes were written.
    Write {
        /// Name of the file in its directory.
        file: String,
        /// Where.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A file was cut or grown.
    Truncate {
        /// Name of the file in its directory.
        file: String,
        /// Its new size.
        size: u64,
    },
    /// Everything written to this file so far is on the disk.
    Sync {
        /// Name of the file in its directory.
        file: String,
    },
    /// What was made and removed in the directory is made and removed on the disk.
    SyncDirectory,
    /// A file was removed.
    Delete {
        /// Name of the file in its directory.
        file: String,
        /// The directory was synced with it.
        synced: bool,
    },
    /// The test's own mark.
    Mark(u64),
    /// A file beside SQLite's had this content at this moment; it is written without a sync.
    Beside {
        /// Name of the file in its directory.
        file: String,
        /// All of it.
        data: Vec<u8>,
    },
}

/// What a call of SQLite's asks of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A write or a truncation.
    Write,
    /// A sync.
    Sync,
    /// A read.
    Read,
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An input/output error.
    Broken,
    /// No space left; syncs pass.
    Full,
    /// An input/output error of a read; nothing else fails.
    Unreadable,
    /// A read finds the second half missing, as if the file ended there; nothing else fails.
    Short,
}

impl Failure {
    /// Whether it is calls of this kind that go wrong.
    fn concerns(self, call: Call) -> bool {
        match self {
            Self::Broken => call != Call::Read,
            Self::Full => call == Call::Write,
            Self::Unreadable | Self::Short => call == Call::Read,
        }
    }
}

/// The calls that go wrong.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first one, counted from 1.
    pub nth: u64,
    /// How.
    pub failure: Failure,
    /// Every later one, too.
    pub for_ever: bool,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    records: bool,
    plan: Option<Plan>,
    calls: u64,
    struck: u64,
}

/// One directory under observation, for as long as a handle on it lives. Clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct Disk {
    directory: PathBuf,
    state: Arc<Mutex<State>>,
}

// A VFS is the whole process's; so is the list of what it looks after. It keeps none of it: a run over every call of a long commit has
// thousands of directories, and of each all that was written.
static DISKS: Mutex<BTreeMap<PathBuf, Weak<Mutex<State>>>> = Mutex::new(BTreeMap::new());

fn disks() -> MutexGuard<'static, BTreeMap<PathBuf, Weak<Mutex<State>>>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// Look after a directory, which exists, from now on.
    ///
    /// # Panics
    /// When the directory cannot be resolved or SQLite takes no VFS.
    pub fn at(directory: &Path) -> Self {
        crate::install();
        let directory = directory.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let disk = Self { directory: directory.clone(), state: Arc::default() };
        let mut disks = disks();
        disks.retain(|_, state| state.strong_count() > 0);
        disks.insert(directory, Arc::downgrade(&disk.state));
        drop(disks);
        disk
    }

    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        let directory = path.parent()?;
        let state = disks().get(directory)?.upgrade()?;
        Some(Self { directory: directory.to_owned(), state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Write down what is done from now on.
    pub fn record(&self) {
        self.state().records = true;
    }

    /// Everything written down.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// Remember this moment.
    pub fn mark(&self, mark: u64) {
        self.note(Event::Mark(mark));
    }

    /// Remember what a file beside SQLite's holds now.
    pub fn look_beside(&self, file: &str) {
        if let Ok(data) = std::fs::read(self.directory.join(file)) {
            self.note(Event::Beside { file: file.into(), data });
        }
    }

    /// Let calls go wrong from now on.
    pub fn fail(&self, plan: Plan) {
        let mut state = self.state();
        (state.plan, state.calls, state.struck) = (Some(plan), 0, 0);
    }

    /// The disk is well again. Gives how many calls went wrong.
    pub fn mend(&self) -> u64 {
        let mut state = self.state();
        state.plan = None;
        state.struck
    }

    pub(crate) fn note(&self, event: Event) {
        let mut state = self.state();
        if state.records {
            state.events.push(event);
        }
    }

    /// Whether this call goes wrong, and how.
    pub(crate) fn strikes(&self, call: Call) -> Option<Failure> {
        let mut state = self.state();
        let plan = state.plan?;
        if !plan.failure.concerns(call) {
            return None;
        }
        state.calls += 1;
        let strikes = if plan.for_ever { state.calls >= plan.nth } else { state.calls == plan.nth };
        state.struck += u64::from(strikes);
        strikes.then_some(plan.failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All calls of all operations, each on a disk of its own, came to 24 GB of what had been written, and the system ended the run.
    #[test]
    fn what_was_written_is_forgotten_with_the_last_handle() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::at(dir.path());
        let file = disk.directory.join("file");
        let state = Arc::downgrade(&disk.state);
        assert!(Disk::of_file(&file).is_some());
        drop(disk);
        assert!(Disk::of_file(&file).is_none() && state.upgrade().is_none());
    }
}
