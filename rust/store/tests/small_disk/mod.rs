//! A disk that is soon full.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::common::quick_dir;

/// A file system of its own in memory, unmounted when dropped.
pub(crate) struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Mount it; `None` where this process may not.
    pub(crate) fn mount(bytes: usize) -> Option<Self> {
        let dir = quick_dir();
        match mount(dir.path(), bytes) {
            Ok(()) => Some(Self { dir }),
            // The capability is not enough: a container's profile or a user namespace may forbid it all the same.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                println!("\nfigures {{\"skipped_full_disk\": 1}}");
                tell_at_the_end("this process may not mount a file system", "rust/store/tests/sqlite.rs");
                None
            }
            Err(error) => panic!("a small file system could not be mounted: {error}"),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Have the end of `make test` name what was not run (`tests/conftest.py` reads this file).
fn tell_at_the_end(why: &str, what: &str) {
    if let Some(path) = std::env::var_os("FOREBAY_NOT_RUN") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{why}\t{what}").unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.dir.path());
    }
}

#[cfg(target_os = "linux")]
fn mount(dir: &Path, bytes: usize) -> io::Result<()> {
    let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
    Ok(rustix::mount::mount("tmpfs", dir, "tmpfs", rustix::mount::MountFlags::empty(), size.as_c_str())?)
}

#[cfg(target_os = "linux")]
fn unmount(dir: &Path) {
    let _ = rustix::mount::unmount(dir, rustix::mount::UnmountFlags::DETACH);
}

#[cfg(not(target_os = "linux"))]
fn mount(_dir: &Path, _bytes: usize) -> io::Result<()> {
    Err(ErrorKind::PermissionDenied.into())
}

#[cfg(not(target_os = "linux"))]
fn unmount(_dir: &Path) {}
