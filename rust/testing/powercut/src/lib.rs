//! Power cuts and broken disks for the real store: a SQLite VFS between it and the operating system writes down every write, truncation,
//! deletion and sync, or makes the Nth of them fail. From what it wrote down, [`image`] builds what a disk may hold after a power cut.
//!
//! The one crate with `unsafe` in it besides the bindings: SQLite's interface for file systems is made of C function pointers. It is
//! used by tests alone.

pub mod disk;
pub mod image;
mod vfs;

pub use vfs::install;
