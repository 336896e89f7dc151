//! What the stages of REST APIs keep in memory: answers, and what authorisers have said. It is gone with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use forebay_core::gateway::rest::cache::Cache;
use forebay_core::gateway::rest::control::Account;
use forebay_core::gateway::rest::model::Stage;

use crate::gateways::locked;

/// Most stages of which it is known when their authorisers were to be asked anew; beyond, all are.
const ASKED_ANEW_MAX: usize = 10_000;
/// The size of a cache for which none is said, GB.
const GIGABYTES: f64 = 0.5;
const BYTES_OF_GB: f64 = 1_073_741_824.0;

/// The answers of a stage.
pub type SharedCache = Arc<Mutex<Cache>>;

/// A stage: its API's id and its name.
type Place = (String, String);

/// The caches of all stages.
#[derive(Debug, Default)]
pub struct Caches {
    /// By the stage, and whether it is the canary's own: the size, and the cache.
    answers: Mutex<HashMap<(Place, bool), (usize, SharedCache)>>,
    asked_anew: Mutex<AskedAnew>,
}

/// How often authorisers were to be asked anew, up to now.
#[derive(Debug, Default)]
struct AskedAnew {
    count: u64,
    /// When it was so for all stages.
    of_all: u64,
    of: HashMap<Place, u64>,
}

impl Caches {
    /// The answers that a stage keeps, or its canary for itself.
    pub fn answers(&self, api: &str, stage: &Stage, is_canary: bool) -> SharedCache {
        let bytes = size(stage);
        let fresh = || (bytes, Arc::new(Mutex::new(Cache::new(bytes))));
        let mut answers = locked(&self.answers);
        let known = answers.entry(((api.to_owned(), stage.stage_name.clone()), is_canary)).or_insert_with(fresh);
        if known.0 != bytes {
            *known = fresh();
        }
        known.1.clone()
    }

    /// A number that changes when what authorisers have said for a stage is to be forgotten.
    pub fn decisions(&self, api: &str, stage: &str) -> u64 {
        let asked = locked(&self.asked_anew);
        if asked.count == 0 {
            return 0;
        }
        let own = asked.of.get(&(api.to_owned(), stage.to_owned())).copied();
        own.unwrap_or_default().max(asked.of_all)
    }

    /// Forget the answers of a stage. Requests under way keep theirs in a cache that nobody asks any more.
    pub(crate) fn forget_answers(&self, api: &str, stage: &str) {
        locked(&self.answers).retain(|((of, name), _), _| of != api || name != stage);
    }

    /// Ask the authorisers of a stage anew.
    pub(crate) fn forget_decisions(&self, api: &str, stage: &str) {
        let mut asked = locked(&self.asked_anew);
        asked.count += 1;
        let count = asked.count;
        if asked.of.len() >= ASKED_ANEW_MAX {
            asked.of.clear();
            asked.of_all = count;
        }
        asked.of.insert((api.to_owned(), stage.to_owned()), count);
    }

    /// Keep the answers of stages alone that are there and have a cache.
    pub(crate) fn keep_only(&self, account: &Account) {
        let has_cache = |place: &Place| account.stages.get(place).is_some_and(|stage| stage.cache_cluster_enabled);
        locked(&self.answers).retain(|(place, _), _| has_cache(place));
    }
}

fn size(stage: &Stage) -> usize {
    let gigabytes: f64 = stage.cache_cluster_size.as_deref().and_then(|size| size.parse().ok()).unwrap_or(GIGABYTES);
    (gigabytes * BYTES_OF_GB) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, size: &str) -> Stage {
        let size = Some(size.to_owned());
        Stage { stage_name: name.into(), cache_cluster_enabled: true, cache_cluster_size: size, ..Stage::default() }
    }

    #[test]
    fn a_stage_has_one_cache_until_it_is_flushed_resized_or_gone() {
        let caches = Caches::default();
        let (prod, dev) = (stage("prod", "0.5"), stage("dev", "0.5"));
        let of = |stage: &Stage, is_canary| caches.answers("api", stage, is_canary);
        let (kept, canary, other) = (of(&prod, false), of(&prod, true), of(&dev, false));
        assert!(Arc::ptr_eq(&kept, &of(&prod, false)) && !Arc::ptr_eq(&kept, &canary));
        caches.forget_answers("other", "prod");
        assert!(Arc::ptr_eq(&kept, &of(&prod, false)));
        caches.forget_answers("api", "prod");
        assert!(!Arc::ptr_eq(&kept, &of(&prod, false)) && !Arc::ptr_eq(&canary, &of(&prod, true)));
        assert!(Arc::ptr_eq(&other, &of(&dev, false)));
        assert!(!Arc::ptr_eq(&other, &of(&stage("dev", "1.6"), false)), "it has another size");
        let (gone, left) = (of(&prod, false), of(&dev, false));
        let mut account = Account::default();
        let without = Stage { cache_cluster_enabled: false, ..prod.clone() };
        account.stages.insert(("api".into(), "prod".into()), without);
        account.stages.insert(("api".into(), "dev".into()), dev.clone());
        caches.keep_only(&account);
        assert!(!Arc::ptr_eq(&gone, &of(&prod, false)) && Arc::ptr_eq(&left, &of(&dev, false)));
    }

    #[test]
    fn authorisers_of_one_stage_are_asked_anew_and_what_is_remembered_of_that_is_bounded() {
        let caches = Caches::default();
        assert_eq!(caches.decisions("a", "s"), 0);
        caches.forget_decisions("a", "s");
        let first = caches.decisions("a", "s");
        assert!(first > 0);
        assert_eq!((caches.decisions("a", "t"), caches.decisions("b", "s")), (0, 0));
        for number in 0..ASKED_ANEW_MAX {
            caches.forget_decisions(&number.to_string(), "s");
        }
        assert!(caches.decisions("a", "s") > first, "no answer comes back that was to be forgotten");
        assert!(locked(&caches.asked_anew).of.len() <= ASKED_ANEW_MAX);
    }
}
