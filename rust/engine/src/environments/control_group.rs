//! Control groups: where this process may make one for an environment, and one that holds an environment to its memory.
//!
//! A control group has one writer (<https://systemd.io/CGROUP_DELEGATION>). So one is made only where that was left to us: in the
//! directory that `FOREBAY_CGROUP` names, or in a group that was delegated, which systemd marks with an attribute, or gives to
//! the user that the process runs as. To be root is not leave.
//!
//! ```text
//! version 2   memory.max, no swap, and the whole group dies at once; its home has no processes of its own
//! version 1   memory.limit_in_bytes; the kernel kills one process, and we the others
//! ```
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{access, getxattr, Access};
use rustix::process::{geteuid, kill_process, Pid, Signal};

/// Names the directory in which groups are to be made.
pub(crate) const VARIABLE: &str = "FOREBAY_CGROUP";

/// How long what is killed may take to leave its group.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Most looks at a process's family for members that are not in its group yet.
const ROUNDS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A group in which others may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    directory: PathBuf,
    version: Version,
}

static HOME: OnceLock<Result<Home, String>> = OnceLock::new();

/// The home of this process's groups, made ready once, when the first is to be made; else why there is none.
pub(crate) fn home() -> &'static Result<Home, String> {
    HOME.get_or_init(|| {
        let home = look()?;
        home.prepare().map_err(|error| format!("{}: it cannot be made ready: {error}", home.directory.display()))?;
        Ok(home)
    })
}

/// Refuse a directory that `FOREBAY_CGROUP` names and that cannot be a home.
pub(crate) fn check_given() -> Result<(), String> {
    match (std::env::var_os(VARIABLE), home()) {
        (Some(_), Err(why)) => Err(why.clone()),
        _ => Ok(()),
    }
}

/// The home of this process's groups, if there was a use for it; else where it would be. Changes nothing.
pub(crate) fn seen() -> &'static Result<Home, String> {
    static SEEN: OnceLock<Result<Home, String>> = OnceLock::new();
    HOME.get().unwrap_or_else(|| SEEN.get_or_init(look))
}

/// Where a process that starts here would make its groups; else why it would not. Changes nothing.
pub(crate) fn look() -> Result<Home, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    find(std::env::var_os(VARIABLE).as_deref(), &read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
}

fn find(given: Option<&OsStr>, groups: &str, mounts: &str) -> Result<Home, String> {
    if let Some(given) = given {
        return Home::at(Path::new(given)).map_err(|why| format!("{VARIABLE}={}: {why}", given.display()));
    }
    let ours = candidates(groups, mounts).into_iter().find(|directory| is_delegated(directory));
    let Some(ours) = ours else {
        return Err(format!(
            "no control group is delegated to this process; systemd does with Delegate=yes and DelegateSubgroup=main, \
             and {VARIABLE} names one"
        ));
    };
    Home::at(&ours).map_err(|why| format!("{}: {why}", ours.display()))
}

/// Groups that may have been left to this process: its own, and under version 2 the one above, whose subgroup it then is.
/// `groups` is `/proc/self/cgroup`, `mounts` is `/proc/self/mountinfo`.
fn candidates(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let of = |wanted: Version| {
        let path = groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let fits = match wanted {
                Version::One => controllers.split(',').any(|controller| controller == "memory"),
                Version::Two => controllers.is_empty(),
            };
            fits.then_some(path)
        })?;
        let (root, mounted) = mounts.lines().find_map(|line| mount(line, wanted))?;
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some((PathBuf::from(mounted).join(below), below.parent().is_some()))
    };
    let mut all = Vec::new();
    // Where both are mounted, memory is with the first if that has it.
    all.extend(of(Version::One).map(|(own, _)| own));
    if let Some((own, has_parent)) = of(Version::Two) {
        let above = own.parent().filter(|_| has_parent).map(Path::to_owned);
        all.push(own);
        all.extend(above);
    }
    all
}

/// The root and the place of a mount of control groups with memory.
fn mount(line: &str, wanted: Version) -> Option<(&str, &str)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mounted) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (system, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
    let fits = match wanted {
        Version::One => system == "cgroup" && options.split(',').any(|option| option == "memory"),
        Version::Two => system == "cgroup2",
    };
    fits.then_some((root, mounted))
}

/// Whether a group was left to this process.
fn is_delegated(directory: &Path) -> bool {
    let is_marked = |name: &str| {
        let mut value = [0; 8];
        matches!(getxattr(directory, name, &mut value[..]), Ok(1) if value[0] == b'1')
    };
    let is_owned = || {
        use std::os::unix::fs::MetadataExt;
        let us = geteuid().as_raw();
        us != 0 && fs::metadata(directory).is_ok_and(|metadata| metadata.uid() == us)
    };
    is_marked("user.delegate") || is_marked("trusted.delegate") || is_owned()
}

impl Home {
    /// A directory as a home, if it can be one. Changes nothing.
    fn at(directory: &Path) -> Result<Self, String> {
        let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
        let version = if directory.join("cgroup.controllers").exists() {
            Version::Two
        } else if directory.join("memory.limit_in_bytes").exists() {
            Version::One
        } else {
            return Err("it is not a control group that has memory".into());
        };
        if version == Version::Two {
            if !has_word(&read("cgroup.controllers"), "memory") {
                return Err("it does not have the memory controller".into());
            }
            let control = fs::read_to_string(directory.join("cgroup.subtree_control"))
                .map_err(|error| format!("its cgroup.subtree_control cannot be read: {error}"))?;
            if !has_word(&control, "memory") && !read("cgroup.procs").is_empty() {
                return Err(
                    "it has processes of its own, so groups in it can have no limits: move them into a group in it, \
                            as systemd does with DelegateSubgroup=main"
                        .into(),
                );
            }
        }
        access(directory, Access::WRITE_OK).map_err(|error| format!("it cannot be written to: {error}"))?;
        Ok(Self { directory: directory.to_owned(), version })
    }

    /// Let groups in it have limits, and take away those that processes left behind which are dead. Before this process makes its
    /// first: one of its own number was left by another that had it, as each first process of a container has.
    fn prepare(&self) -> io::Result<()> {
        let control = self.directory.join("cgroup.subtree_control");
        if self.version == Version::Two && !has_word(&fs::read_to_string(&control)?, "memory") {
            fs::write(&control, "+memory")?;
        }
        let ours = std::process::id().to_string();
        for entry in fs::read_dir(&self.directory)?.filter_map(Result::ok) {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix("forebay-")?.split('-').next());
            let is_left = |owner: &str| owner == ours || !Path::new("/proc").join(owner).exists();
            if owner.is_some_and(is_left) {
                // One that is in use all the same, by a process of another namespace, cannot be removed.
                let _removed = fs::remove_dir(entry.path());
            }
        }
        Ok(())
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|one| one == word)
}

/// The group of one environment.
#[derive(Debug)]
pub(crate) struct Group {
    directory: PathBuf,
    version: Version,
}

impl Group {
    /// Make a group whose processes hold at most so many bytes together.
    pub(crate) fn make(home: &Home, most: u64) -> io::Result<Self> {
        let group = Self { directory: Self::create(home)?, version: home.version };
        if let Err(error) = group.limit(most) {
            group.end();
            return Err(error);
        }
        Ok(group)
    }

    /// Make a directory that nobody has. A process of another namespace may have our number, and have taken a name already.
    fn create(home: &Home) -> io::Result<PathBuf> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let directory = home.directory.join(format!("forebay-{}-{number}", std::process::id()));
            match fs::create_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| directory),
            }
        }
    }

    fn limit(&self, most: u64) -> io::Result<()> {
        let bytes = most.to_string();
        // Where a kernel has no swap accounting, what is swapped out is not held to the limit.
        let if_there = |file: &str, value: &str| match self.file(file) {
            path if path.exists() => fs::write(path, value),
            _ => Ok(()),
        };
        match self.version {
            Version::Two => {
                fs::write(self.file("memory.max"), &bytes)?;
                if_there("memory.swap.max", "0")?;
                if_there("memory.oom.group", "1")
            }
            Version::One => {
                fs::write(self.file("memory.limit_in_bytes"), &bytes)?;
                if_there("memory.memsw.limit_in_bytes", &bytes)
            }
        }
    }

    /// Take in a process that has just started, and what it has started meanwhile. What it held before counts elsewhere.
    pub(crate) fn take_in(&self, family: impl Fn() -> Vec<i32>) -> io::Result<()> {
        let mut inside = BTreeSet::new();
        for _ in 0..ROUNDS {
            let outside: Vec<i32> = family().into_iter().filter(|pid| !inside.contains(pid)).collect();
            if outside.is_empty() {
                break;
            }
            for pid in outside {
                match fs::write(self.file("cgroup.procs"), pid.to_string()) {
                    // It has already ended.
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                    other => other?,
                }
                inside.insert(pid);
            }
        }
        Ok(())
    }

    /// Whether the kernel has killed one of its processes because they held too much.
    pub(crate) fn has_killed(&self) -> bool {
        let file = if self.version == Version::Two { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.file(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok());
        count.is_some_and(|count| count > 0)
    }

    /// Kill whatever is left in it, and remove it; false if that could not be done.
    pub(crate) fn end(&self) -> bool {
        let until = Instant::now() + LEAVES_WITHIN;
        loop {
            self.kill();
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && Instant::now() < until => {
                    std::thread::sleep(LOOK);
                }
                Err(error) => return error.kind() == io::ErrorKind::NotFound,
                Ok(()) => return true,
            }
        }
    }

    fn kill(&self) {
        let all = self.file("cgroup.kill");
        if all.exists() && fs::write(all, "1").is_ok() {
            return;
        }
        let pids = fs::read_to_string(self.file("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
            let _gone_already = kill_process(pid, Signal::KILL);
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

#[cfg(test)]
mod tests;
