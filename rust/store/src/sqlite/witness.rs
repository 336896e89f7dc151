//! The number of the last acknowledged commit, beside the store.
//!
//! SQLite takes the first damaged page of a write-ahead log for its end, and a removed log for an empty one: acknowledged
//! commits would be gone without a word. The witness is written after each commit has become durable, without fsync, so it is
//! never ahead of what was acknowledged; a store that holds fewer commits than its witness has lost some.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::directory::open_private;

/// Bytes of its note: the number, and their checksum.
const NOTE: usize = 12;

/// What a witness says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// So many commits were acknowledged, or more.
    Seen(u64),
    /// Nothing, since it is: missing, empty, cut off, or damaged. It could have proved a loss, and cannot now.
    Nothing(&'static str),
}

impl Testimony {
    /// Commits that were certainly acknowledged.
    pub fn seen(self) -> u64 {
        match self {
            Self::Seen(number) => number,
            Self::Nothing(_) => 0,
        }
    }

    /// What is wrong with the witness of a store that holds so many commits. A store that was only just made has nothing to lose.
    pub fn ailment(self, commits: u64) -> Option<String> {
        let Self::Nothing(why) = self else { return None };
        (commits > 1).then(|| {
            format!("the file acknowledged {why}: whether the newest acknowledged commits are missing cannot be told")
        })
    }
}

/// The file `acknowledged`.
#[derive(Debug)]
pub struct Witness {
    file: File,
}

impl Witness {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: open_private(path)? })
    }

    /// What it says to a start, which has made it by now if it was missing.
    pub(super) fn testimony(&self) -> io::Result<Testimony> {
        self.said("is missing or empty")
    }

    fn said(&self, without_a_note: &'static str) -> io::Result<Testimony> {
        let mut note = [0; NOTE];
        let mut read = 0;
        while read < NOTE {
            match self.file.read_at(&mut note[read..], read as u64) {
                Ok(0) if read == 0 => return Ok(Testimony::Nothing(without_a_note)),
                Ok(0) => return Ok(Testimony::Nothing("is cut off")),
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let (number, crc) = note.split_at(8);
        if crc != crc32fast::hash(number).to_le_bytes() {
            return Ok(Testimony::Nothing("fails its checksum"));
        }
        let mut word = [0; 8];
        word.copy_from_slice(number);
        Ok(Testimony::Seen(u64::from_le_bytes(word)))
    }

    /// What a witness says, without making one.
    pub fn look(path: &Path) -> io::Result<Testimony> {
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Testimony::Nothing("is missing")),
            file => Self { file: file? }.said("is empty"),
        }
    }

    pub(super) fn note(&self, commits: u64) -> io::Result<()> {
        let number = commits.to_le_bytes();
        let mut note = [0; NOTE];
        note[..8].copy_from_slice(&number);
        note[8..].copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
        self.file.write_all_at(&note, 0)
    }
}
