//! A disk that is soon full.

use std::fs;
use std::path::Path;

use crate::store_common::quick_dir;

/// A file system of its own in memory, unmounted when dropped.
pub(crate) struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Mount it; `None` where this process may not.
    pub(crate) fn mount(bytes: usize) -> Option<Self> {
        let dir = quick_dir();
        let size = format!("size={bytes}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            assert!(!may_mount(), "this process may mount a small file system, and could not");
            println!("\nfigures {{\"skipped_full_disk\": 1}}");
            return None;
        }
        Some(Self { dir })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Whether this process has the capability to mount (21, `CAP_SYS_ADMIN`): root in a container may lack it.
fn may_mount() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.is_some_and(|bits| u64::from_str_radix(bits.trim(), 16).unwrap() >> 21 & 1 == 1)
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}
