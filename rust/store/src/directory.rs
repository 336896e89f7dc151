//! A store's directory: who owns it, and where its files are.
//!
//! One process owns a directory; everybody else comes through the socket in it. Ownership is an advisory lock on the file
//! `lock`, which the operating system drops when the owner ends, however it ends.
//!
//! ```text
//! lock           held by the owner, names its process id
//! forebay.sock   the owner listens here
//! forebay.db     the store (with -wal and -shm beside it while it is open)
//! reserve        room kept for draining when the disk is full
//! acknowledged   number of the last acknowledged commit
//! attempts       what was in flight, for the next start after a crash
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::fp;
use crate::port::StoreError;

/// Longest path a Unix socket can have on every system we run on (`sun_path` holds 104 bytes on macOS, 108 on Linux, with
/// the closing zero).
const SOCKET_PATH_MAX: usize = 103;

/// Where a store is, owned or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`; touches nothing.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Make the directory if it is missing (mode 0700) and own it until the result is dropped.
    ///
    /// [`StoreError::Locked`] when another process owns it.
    pub fn own(path: impl Into<PathBuf>) -> Result<Ownership, StoreError> {
        let directory = Self::at(path);
        directory.make().map_err(|error| directory.failed("cannot be made", &error))?;
        let mut lock =
            open_private(&directory.file("lock")).map_err(|error| directory.failed("cannot be locked", &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(directory.locked_by())),
            Err(TryLockError::Error(error)) => return Err(directory.failed("cannot be locked", &error)),
        }
        // A full disk is no reason to refuse: the process id only helps people, and its owner may be here to drain.
        match directory.sign(&mut lock).map_err(StoreError::from) {
            Ok(()) | Err(StoreError::Full(_)) => Ok(Ownership { directory, _lock: lock }),
            Err(error) => Err(error),
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the store, by name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the owner listens: `forebay.sock` in the directory. When that path is too long for a socket:
    /// `/tmp/forebay-<uid>/<device>-<inode>.sock`, in a directory of mode 0700 that belongs to the store's own user.
    pub fn socket_path(&self) -> Result<PathBuf, StoreError> {
        // Whatever name of the directory a process was given, it finds the same socket.
        let path = fs::canonicalize(&self.path).or_else(|_| std::path::absolute(&self.path));
        let inside = path.map_err(|error| self.failed("cannot be found", &error))?.join("forebay.sock");
        if fits_socket(&inside) {
            return Ok(inside);
        }
        self.short_socket_path(Path::new("/tmp"))
            .map_err(|error| self.failed("has too long a path for a socket", &error))
    }

    fn short_socket_path(&self, base: &Path) -> io::Result<PathBuf> {
        let store = fs::metadata(&self.path)?;
        let private = private_directory(&base.join(format!("forebay-{}", store.uid())), store.uid())?;
        Ok(private.join(format!("{:x}-{:x}.sock", store.dev(), store.ino())))
    }

    fn make(&self) -> io::Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
            _ => sync_directory(Path::new(".")),
        }
    }

    fn sign(&self, lock: &mut File) -> io::Result<()> {
        lock.set_len(0)?;
        lock.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        fp!("directory.owned")?;
        sync_directory(&self.path)
    }

    fn locked_by(&self) -> String {
        let owner = fs::read_to_string(self.file("lock")).unwrap_or_default();
        match owner.trim().parse::<u32>() {
            Ok(pid) => format!("the store {} is owned by process {pid}", self.path.display()),
            Err(_) => format!("the store {} is owned by another process", self.path.display()),
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::Unreachable(format!("the directory {} {what}: {error}", self.path.display()))
    }
}

/// Whether a path is short enough for a socket.
pub fn fits_socket(path: &Path) -> bool {
    path.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX
}

/// A directory that only one user can put files into; it is made if it is missing. Whoever could put a socket there could pose as a store's
/// owner.
pub fn private_directory(path: &Path, user: u32) -> io::Result<PathBuf> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "{} must be a directory of mode 0700 that belongs to user {user}. Next: `chmod 700` it, remove it, or name another place \
             (FOREBAY_RUN_DIR; for a store in a directory a shorter path of the store, whose socket is beside it then)",
            path.display(),
        )));
    }
    Ok(path.to_owned())
}

/// Proof that this process owns a directory; given up when dropped or when the process ends.
#[derive(Debug)]
pub struct Ownership {
    directory: Directory,
    // Closing the file gives the lock up. It is not unlocked by hand: in a forked child that would unlock the parent.
    _lock: File,
}

impl Ownership {
    /// The directory that is owned.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

/// A file that was opened by its path, which may lead nowhere or to another file later.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    /// The file that is at `path` now.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let path = std::path::absolute(path)?;
        Ok(Self { path, device: found.dev(), inode: found.ino() })
    }

    /// Whether the path still leads to the file. A path that cannot be looked at for another reason is taken to.
    pub fn is_there(&self) -> bool {
        match fs::metadata(&self.path) {
            Ok(found) => (found.dev(), found.ino()) == (self.device, self.inode),
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }

    /// Remove the file; one of another owner that is at its path by now stays.
    pub fn remove(&self) -> io::Result<()> {
        if self.is_there() {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }

    /// Refuse to go on with a store whose file is no longer at its path: the next start would not find what was acknowledged.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.is_there() {
            return Ok(());
        }
        Err(StoreError::Failed(format!(
            "{} was deleted, moved or replaced while this process had it open, and the next start would not find what is put now. \
             Next: stop the app; put the directory back if it was moved, or a copy of it; start the app again. \
             If it is gone for good, the app starts with an empty store",
            self.path.display()
        )))
    }
}

/// Open a file for reading and writing; a new one is readable by its user alone.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Make the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_is_made_private_and_owned_once() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        let owned = Directory::own(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join("lock")).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = Directory::own(&path).unwrap_err();
        let text = format!("the store {} is owned by process {}", path.display(), std::process::id());
        assert_eq!(refused.to_string(), text);
        drop(owned);
        Directory::own(&path).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_refused_by_name() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = Directory::own(file.join("data")).unwrap_err();
        assert!(matches!(&refused, StoreError::Unreachable(text) if text.contains("file/data")), "{refused}");
    }

    #[test]
    fn the_socket_is_in_the_directory_while_its_path_is_short_enough() {
        let short = Directory::at("/srv/data");
        assert_eq!(short.socket_path().unwrap(), Path::new("/srv/data/forebay.sock"));
        let longest = Directory::at(format!("/{}", "d".repeat(SOCKET_PATH_MAX - "//forebay.sock".len())));
        assert_eq!(longest.socket_path().unwrap().as_os_str().len(), SOCKET_PATH_MAX);
    }

    #[test]
    fn a_long_path_has_its_socket_in_a_private_place_that_every_name_of_the_directory_leads_to() {
        let base = tempfile::tempdir().unwrap();
        let deep = base.path().join("d".repeat(120));
        let owned = Directory::own(&deep).unwrap();
        let socket = owned.directory().short_socket_path(base.path()).unwrap();
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&deep, &link).unwrap();
        assert_eq!(Directory::at(&link).short_socket_path(base.path()).unwrap(), socket);
        assert!(owned.directory().socket_path().unwrap().starts_with("/tmp"));

        let private = socket.parent().unwrap();
        assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(private, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = owned.directory().short_socket_path(base.path()).unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.contains("must be a directory of mode 0700") && refused.contains("`chmod 700` it"),
            "{refused}"
        );
    }
}
