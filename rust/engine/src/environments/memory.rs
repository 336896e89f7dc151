//! How an environment is held to its function's memory: by a control group of its own where one may be made, else by looking at what
//! is resident, again and again.

use serde_json::{json, Value};

use crate::environments::control_group::{home, look, seen, Group, Home};
use crate::environments::process::{kib_in, Process};

/// What holds one environment to its memory.
pub(crate) enum Limit {
    /// Nothing: it has no limit.
    None,
    /// Us.
    Sampled {
        /// Bytes.
        most: u64,
    },
    /// The kernel.
    Group {
        group: Group,
        /// Bytes.
        most: u64,
    },
}

impl Limit {
    /// Hold a process that has just started, with all that it starts, to so many bytes; and what an operator should know.
    pub(crate) fn set(most: Option<u64>, process: &Process) -> (Self, Option<String>) {
        let Some(most) = most else { return (Self::None, None) };
        let Ok(home) = home() else { return (Self::Sampled { most }, None) };
        let made = Group::make(home, most).and_then(|group| match group.take_in(|| process.family()) {
            Ok(()) => Ok(group),
            Err(error) => {
                group.end();
                Err(error)
            }
        });
        match made {
            Ok(group) => (Self::Group { group, most }, None),
            Err(error) => {
                let (most_mib, place) = (most >> 20, home.directory().display());
                let remark =
                    format!("memory={most_mib}: no control group in {place} ({error}), it is looked at every 0.1 s");
                (Self::Sampled { most }, Some(remark))
            }
        }
    }

    /// Whether it must be looked at.
    pub(crate) fn is_set(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Why the environment must go, if it held more than it may.
    pub(crate) fn passed(&self, process: &Process) -> Option<String> {
        match self {
            Self::None => None,
            Self::Sampled { most } => holds_more_than(process, *most).map(|held| {
                format!("killed: it held {} MiB of memory, which is more than memory={}", held >> 20, most >> 20)
            }),
            Self::Group { group, most } => group
                .has_killed()
                .then(|| format!("killed by the kernel: it wanted more memory than memory={}", most >> 20)),
        }
    }

    /// The environment's process is dead: leave nothing of it; what should be said if something is left.
    pub(crate) fn end(&self) -> Option<String> {
        match self {
            Self::Group { group, .. } => (!group.end()).then(|| "a control group could not be removed".to_owned()),
            Self::None | Self::Sampled { .. } => None,
        }
    }
}

/// Who keeps the limits of this process's environments, and why: for operators.
pub(crate) fn kept_by() -> Value {
    told(seen().as_ref())
}

/// Who would keep those of a process that is started here, as far as can be seen without making anything ready.
pub fn would_be_kept_by() -> Value {
    told(look().as_ref())
}

fn told(home: Result<&Home, &String>) -> Value {
    match home {
        Ok(home) => {
            json!({"kept_by": "control groups", "why": format!("they may be made in {}", home.directory().display())})
        }
        Err(why) => json!({"kept_by": "sampling, every 0.1 s", "why": why}),
    }
}

/// Bytes that a process and its descendants hold, if they are more than `most`. Resident pages are cheap to count; only where they are
/// too many it is looked at how many of them are counted twice, because a fork shares them.
fn holds_more_than(process: &Process, most: u64) -> Option<u64> {
    let page = rustix::param::page_size() as u64;
    let all = process.family();
    let resident: u64 = all.iter().map(|pid| resident_pages(*pid) * page).sum();
    let held = || all.iter().map(|pid| kib_in(*pid, "smaps_rollup", "Pss:") * 1024).sum::<u64>();
    (resident > most).then(held).filter(|held| *held > most)
}

/// Resident pages; one that has ended meanwhile holds nothing.
fn resident_pages(pid: i32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or(0)
}
