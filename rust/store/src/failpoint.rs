//! Failpoints: named permits around the durable steps of the store, its reserve, the attempts file and the directory, where a test makes
//! this process fail or die.
//!
//! `fp!("store.commit.begin")?` costs nothing unless the feature `failpoints` is on. The names are listed in [`POINTS`], so
//! that a test can visit each of them; a name that is not listed does not compile. Never built into a release.

/// Every failpoint there is, sorted. A test compares the list with the sources.
pub const POINTS: &[&str] = &[
    "directory.owned",
    "slots.flush.before_write",
    "slots.grow",
    "slots.occupy.after_write",
    "slots.occupy.before_write",
    "store.checkpoint.after",
    "store.checkpoint.before",
    "store.commit.after",
    "store.commit.before",
    "store.commit.begun",
    "store.give_back.before_vacuum",
    "store.make.after",
    "store.make.before",
    "store.reserve.before_fill",
    "store.reserve.before_give_up",
];

/// Reach a failpoint: `std::io::Result<()>`, an error when a test asked for one here.
#[macro_export]
macro_rules! fp {
    ($name:literal) => {
        $crate::failpoint::reach(const { $crate::failpoint::number($name) })
    };
}

/// Place of a failpoint in [`POINTS`].
///
/// # Panics
/// When there is no such failpoint; `fp!` does not compile then.
#[doc(hidden)]
pub const fn number(name: &str) -> usize {
    let mut at = 0;
    while at < POINTS.len() {
        if is_same(POINTS[at].as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("this failpoint is not listed in failpoint::POINTS")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

#[cfg(not(feature = "failpoints"))]
#[doc(hidden)]
#[inline]
pub fn reach(_number: usize) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub use armed::{clear, hits, reach, set, Action};

#[cfg(feature = "failpoints")]
mod armed {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::number;
    use super::POINTS;

    /// What happens at a failpoint.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Action {
        /// Go on.
        None,
        /// Give an I/O error.
        Error,
        /// Give the error of a full disk.
        Full,
        /// End the process at once, as a crash would.
        Abort,
    }

    #[derive(Clone, Copy)]
    struct Plan {
        action: Action,
        /// Visits to pass before the action takes place.
        skip: u64,
    }

    const NOTHING: Plan = Plan { action: Action::None, skip: 0 };

    // The one piece of state at module level: a failpoint must be reachable from everywhere, and it exists in tests only.
    static HITS: [AtomicU64; POINTS.len()] = [const { AtomicU64::new(0) }; POINTS.len()];
    static PLANS: Mutex<[Plan; POINTS.len()]> = Mutex::new([NOTHING; POINTS.len()]);
    /// Some plan is an action: while none is, a visit is counted and costs nothing more.
    static ARMED: AtomicBool = AtomicBool::new(false);

    fn plans() -> MutexGuard<'static, [Plan; POINTS.len()]> {
        PLANS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on do `action` at `name`, after `skip` more visits have passed; every later visit does it too.
    ///
    /// # Panics
    /// When there is no such failpoint.
    pub fn set(name: &str, action: Action, skip: u64) {
        let mut plans = plans();
        plans[number(name)] = Plan { action, skip };
        ARMED.store(plans.iter().any(|plan| plan.action != Action::None), Ordering::Release);
    }

    /// How often `name` was reached since the last [`clear`].
    pub fn hits(name: &str) -> u64 {
        HITS[number(name)].load(Ordering::Relaxed)
    }

    /// Forget every action and count.
    pub fn clear() {
        let mut plans = plans();
        *plans = [NOTHING; POINTS.len()];
        ARMED.store(false, Ordering::Release);
        for hits in &HITS {
            hits.store(0, Ordering::Relaxed);
        }
    }

    #[doc(hidden)]
    #[inline]
    pub fn reach(number: usize) -> io::Result<()> {
        HITS[number].fetch_add(1, Ordering::Relaxed);
        if ARMED.load(Ordering::Acquire) {
            act(number)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn act(number: usize) -> io::Result<()> {
        let action = {
            let plan = &mut plans()[number];
            if plan.skip > 0 && plan.action != Action::None {
                plan.skip -= 1;
                Action::None
            } else {
                plan.action
            }
        };
        let name = POINTS[number];
        match action {
            Action::None => Ok(()),
            Action::Error => Err(io::Error::other(format!("failpoint {name}"))),
            Action::Full => Err(io::Error::new(io::ErrorKind::StorageFull, format!("failpoint {name}"))),
            Action::Abort => std::process::abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::POINTS;

    fn points_in(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                points_in(&path, found);
            } else if !path.ends_with("failpoint.rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                found
                    .extend(source.split("fp!(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }

    #[test]
    fn the_list_is_sorted_and_names_exactly_the_failpoints_in_the_sources() {
        let mut found = BTreeSet::new();
        points_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), POINTS);
    }
}
