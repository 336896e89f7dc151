//! Failpoints: named places, one at every durable step, where a test makes this process fail or die.
//!
//! `fp!("store.commit.begin")?` costs nothing unless the feature `failpoints` is on. The names are listed in [`POINTS`], so
//! that a test can visit each of them; reaching a name that is not listed panics. Never built into a release.

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
        $crate::failpoint::reach($name)
    };
}

#[cfg(not(feature = "failpoints"))]
#[doc(hidden)]
#[inline]
pub fn reach(_name: &'static str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub use armed::{clear, hits, reach, set, Action};

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::{Mutex, MutexGuard, PoisonError};

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

    struct Point {
        action: Action,
        /// Visits to pass before the action takes place.
        skip: u64,
        hits: u64,
    }

    // The one piece of state at module level: a failpoint must be reachable from everywhere, and it exists in tests only.
    static REGISTRY: Mutex<BTreeMap<&'static str, Point>> = Mutex::new(BTreeMap::new());

    fn registry() -> MutexGuard<'static, BTreeMap<&'static str, Point>> {
        REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(name: &str) -> &'static str {
        let at = POINTS.binary_search(&name);
        POINTS[at.unwrap_or_else(|_| panic!("failpoint {name:?} is not listed in failpoint::POINTS"))]
    }

    /// From now on do `action` at `name`, after `skip` more visits have passed; every later visit does it too.
    ///
    /// # Panics
    /// When there is no such failpoint.
    pub fn set(name: &str, action: Action, skip: u64) {
        let name = listed(name);
        let mut points = registry();
        let hits = points.get(name).map_or(0, |point| point.hits);
        points.insert(name, Point { action, skip, hits });
    }

    /// How often `name` was reached since the last [`clear`].
    pub fn hits(name: &str) -> u64 {
        registry().get(name).map_or(0, |point| point.hits)
    }

    /// Forget every action and count.
    pub fn clear() {
        registry().clear();
    }

    #[doc(hidden)]
    pub fn reach(name: &'static str) -> io::Result<()> {
        let name = listed(name);
        let action = {
            let mut points = registry();
            let point = points.entry(name).or_insert(Point { action: Action::None, skip: 0, hits: 0 });
            point.hits += 1;
            if point.skip > 0 && point.action != Action::None {
                point.skip -= 1;
                Action::None
            } else {
                point.action
            }
        };
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
