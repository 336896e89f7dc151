//! Room set aside for a full disk.
//!
//! Removing records needs room too: the write-ahead log grows before the file shrinks. The reserve is a file of that room. It
//! is given up when a commit that only removes or marks progress meets a full disk, and made again as soon as there is room;
//! while it is missing nothing may be added.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::directory::{open_private, sync_directory};
use crate::fp;

/// Size of the reserve. More than the write-ahead log holds before it is moved into the file.
pub(crate) const RESERVE_BYTES: u64 = 4 << 20;

const BLOCK: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    kept: bool,
}

impl Reserve {
    /// The reserve of a directory as it is; [`Self::keep`] makes it.
    pub(super) fn of(path: PathBuf) -> Self {
        let kept = fs::metadata(&path).is_ok_and(|file| file.len() == RESERVE_BYTES);
        Self { path, kept }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Make the reserve if it is missing; an error of kind `StorageFull` when there is no room for it.
    pub(super) fn keep(&mut self) -> io::Result<()> {
        if self.kept {
            return Ok(());
        }
        if let Err(error) = self.fill() {
            // A part of it helps nobody and is in the way of everybody.
            remove(&self.path)?;
            return Err(error);
        }
        self.kept = true;
        Ok(())
    }

    /// Give the room up.
    pub(super) fn give_up(&mut self) -> io::Result<()> {
        fp!("store.reserve.before_give_up")?;
        self.kept = false;
        remove(&self.path)?;
        sync_parent(&self.path)
    }

    fn fill(&self) -> io::Result<()> {
        fp!("store.reserve.before_fill")?;
        let mut file = open_private(&self.path)?;
        file.set_len(0)?;
        let mut block = vec![0; BLOCK];
        let mut word = RESERVE_BYTES;
        for _ in 0..RESERVE_BYTES as usize / BLOCK {
            // Not zeros, nor twice the same: a file system that compresses would set no room aside for those.
            for place in block.chunks_exact_mut(8) {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                place.copy_from_slice(&word.to_le_bytes());
            }
            file.write_all(&block)?;
        }
        file.sync_all()?;
        sync_parent(&self.path)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}
