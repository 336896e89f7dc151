//! The VFS: SQLite's own one for Unix, with the functions that read and change files replaced.
//!
//! `xOpen` lets the original open the file and then puts a table of methods in place of its own that differs in five entries; each of
//! those tells the disk and calls the original. So a file is the original's in everything else: locks, shared memory.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void, CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rusqlite::ffi;

use crate::disk::Call;
use crate::disk::Disk;
use crate::disk::Event;
use crate::disk::Failure;

type Methods = &'static ffi::sqlite3_io_methods;

/// The original VFS.
struct Original(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite registers a VFS once and never changes it; its functions may be called from any thread.
unsafe impl Send for Original {}
// SAFETY: as above.
unsafe impl Sync for Original {}

/// A file that is open.
#[derive(Clone)]
struct Open {
    disk: Disk,
    name: String,
    original: Methods,
    /// Its first sync is one of the directory, too: SQLite does so for a journal or log that it may have made.
    syncs_directory: bool,
}

static ORIGINAL: OnceLock<Original> = OnceLock::new();
/// Each table of methods that was met, and ours in its place: databases and journals have different ones.
static METHODS: Mutex<Vec<(Methods, Methods)>> = Mutex::new(Vec::new());
/// Files that are open, by the address of SQLite's handle.
static FILES: Mutex<BTreeMap<usize, Open>> = Mutex::new(BTreeMap::new());

fn lock<T>(shared: &'static Mutex<T>) -> MutexGuard<'static, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Put the VFS between this process's SQLite and the operating system; once is enough.
///
/// # Panics
/// When SQLite has no default VFS or refuses ours.
pub fn install() {
    ORIGINAL.get_or_init(|| {
        // SAFETY: a null name asks for the default VFS, which lives as long as the process; ours is leaked, so it does, too.
        unsafe {
            let original = ffi::sqlite3_vfs_find(std::ptr::null());
            assert!(!original.is_null(), "SQLite has no VFS");
            let mut ours = *original;
            ours.zName = c"powercut".as_ptr();
            ours.pNext = std::ptr::null_mut();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            let refused = ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1);
            assert_eq!(refused, ffi::SQLITE_OK, "SQLite refused the VFS");
            Original(original)
        }
    });
}

fn original() -> *mut ffi::sqlite3_vfs {
    ORIGINAL.get().unwrap_or_else(|| unreachable!("SQLite calls what was registered after the original was found")).0
}

/// Our table in place of one of SQLite's.
fn methods(original: Methods) -> Methods {
    let mut known = lock(&METHODS);
    if let Some((_, ours)) = known.iter().find(|(theirs, _)| std::ptr::eq(*theirs, original)) {
        return ours;
    }
    let ours = ffi::sqlite3_io_methods {
        xRead: Some(read),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        xClose: Some(close),
        ..*original
    };
    known.push((original, Box::leak(Box::new(ours))));
    known[known.len() - 1].1
}

/// The disk that a path belongs to, and the file's name on it.
///
/// # Safety
/// `name` is null or a C string.
unsafe fn place(name: *const c_char) -> Option<(Disk, String)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let path: PathBuf = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())).into();
    let file = path.file_name()?.to_str()?.to_owned();
    Some((Disk::of_file(&path)?, file))
}

fn file_of(handle: *mut ffi::sqlite3_file) -> Open {
    let open = lock(&FILES).get(&(handle as usize)).cloned();
    open.unwrap_or_else(|| unreachable!("only files with our methods come here, from their opening to their closing"))
}

impl Open {
    /// What SQLite is told when a call goes wrong; `None` when it goes well.
    fn struck(&self, call: Call, broken: c_int) -> Option<c_int> {
        let failure = self.disk.strikes(call)?;
        Some(if failure == Failure::Full { ffi::SQLITE_FULL } else { broken })
    }
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    handle: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's own arguments go to SQLite's own function; the methods of a file that was opened live for ever.
    unsafe {
        let Some(opens) = (*original()).xOpen else { return ffi::SQLITE_ERROR };
        let result = opens(original(), name, handle, flags, out);
        if result != ffi::SQLITE_OK || (*handle).pMethods.is_null() {
            return result;
        }
        if let Some((disk, name)) = place(name) {
            let original: Methods = &*(*handle).pMethods;
            let is_log = flags & (ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_WAL) != 0;
            let syncs_directory = is_log && flags & ffi::SQLITE_OPEN_CREATE != 0;
            lock(&FILES).insert(handle as usize, Open { disk, name, original, syncs_directory });
            (*handle).pMethods = methods(original);
        }
        result
    }
}

unsafe extern "C" fn close(handle: *mut ffi::sqlite3_file) -> c_int {
    let file = file_of(handle);
    lock(&FILES).remove(&(handle as usize));
    // SAFETY: the handle is SQLite's, and goes to the function that knows it.
    file.original.xClose.map_or(ffi::SQLITE_ERROR, |closes| unsafe { closes(handle) })
}

unsafe extern "C" fn read(
    handle: *mut ffi::sqlite3_file,
    data: *mut c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let file = file_of(handle);
    let failure = file.disk.strikes(Call::Read);
    if failure == Some(Failure::Unreadable) {
        return ffi::SQLITE_IOERR_READ;
    }
    // SAFETY: SQLite's own arguments.
    let result = file.original.xRead.map_or(ffi::SQLITE_ERROR, |reads| unsafe { reads(handle, data, amount, offset) });
    if failure.is_none() || result != ffi::SQLITE_OK {
        return result;
    }
    // SAFETY: SQLite gives room for `amount` bytes at `data`, and expects zeros in place of those that are not there.
    let bytes = unsafe { std::slice::from_raw_parts_mut(data.cast::<u8>(), amount as usize) };
    bytes[amount as usize / 2..].fill(0);
    ffi::SQLITE_IOERR_SHORT_READ
}

unsafe extern "C" fn write(
    handle: *mut ffi::sqlite3_file,
    data: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let file = file_of(handle);
    if let Some(error) = file.struck(Call::Write, ffi::SQLITE_IOERR_WRITE) {
        return error;
    }
    // SAFETY: SQLite hands over `amount` bytes at `data`.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), amount as usize) }.to_vec();
    file.disk.note(Event::Write { file: file.name, offset: offset as u64, data: bytes });
    // SAFETY: SQLite's own arguments.
    file.original.xWrite.map_or(ffi::SQLITE_ERROR, |writes| unsafe { writes(handle, data, amount, offset) })
}

unsafe extern "C" fn truncate(handle: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let file = file_of(handle);
    if let Some(error) = file.struck(Call::Write, ffi::SQLITE_IOERR_TRUNCATE) {
        return error;
    }
    file.disk.note(Event::Truncate { file: file.name, size: size as u64 });
    // SAFETY: SQLite's own arguments.
    file.original.xTruncate.map_or(ffi::SQLITE_ERROR, |truncates| unsafe { truncates(handle, size) })
}

/// The real sync would only cost time: what a power cut leaves is worked out from what was noted.
unsafe extern "C" fn sync(handle: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    let file = file_of(handle);
    if let Some(error) = file.struck(Call::Sync, ffi::SQLITE_IOERR_FSYNC) {
        return error;
    }
    file.disk.note(Event::Sync { file: file.name });
    if file.syncs_directory {
        file.disk.note(Event::SyncDirectory);
        lock(&FILES).entry(handle as usize).and_modify(|file| file.syncs_directory = false);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: SQLite hands over a C string, and its arguments go to its own function.
    unsafe {
        let Some(deletes) = (*original()).xDelete else { return ffi::SQLITE_ERROR };
        let result = deletes(original(), name, sync_directory);
        if let (ffi::SQLITE_OK, Some((disk, file))) = (result, place(name)) {
            disk.note(Event::Delete { file, synced: sync_directory != 0 });
        }
        result
    }
}
