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

#[derive(Debug)]
pub(in crate::store) struct Witness {
    file: File,
}

impl Witness {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: open_private(path)? })
    }

    /// The number it has seen; 0 when it is new or was itself damaged, for it can prove a loss but never its absence.
    pub(super) fn seen(&self) -> io::Result<u64> {
        let mut note = [0; 12];
        match self.file.read_exact_at(&mut note, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            result => result?,
        }
        let (number, crc) = note.split_at(8);
        if crc != crc32fast::hash(number).to_le_bytes() {
            return Ok(0);
        }
        let mut word = [0; 8];
        word.copy_from_slice(number);
        Ok(u64::from_le_bytes(word))
    }

    /// The number a witness has seen, without making one.
    pub(in crate::store) fn look(path: &Path) -> io::Result<u64> {
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            file => Self { file: file? }.seen(),
        }
    }

    pub(super) fn note(&self, commits: u64) -> io::Result<()> {
        let number = commits.to_le_bytes();
        let mut note = [0; 12];
        note[..8].copy_from_slice(&number);
        note[8..].copy_from_slice(&crc32fast::hash(&number).to_le_bytes());
        self.file.write_all_at(&note, 0)
    }
}
