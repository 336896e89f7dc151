//! One target under libFuzzer: `FOREBAY_FUZZ_TARGET` names it, `FOREBAY_FUZZ_SEEDS` a folder into which its seeds are written first.
#![no_main]
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::OnceLock;

use forebay_hostile::{target, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FOREBAY_FUZZ_TARGET").unwrap();
        let target = target(&name).unwrap_or_else(|| panic!("there is no target {name:?}"));
        if let Ok(folder) = std::env::var("FOREBAY_FUZZ_SEEDS") {
            for (number, seed) in (target.seeds)().iter().enumerate() {
                std::fs::write(std::path::Path::new(&folder).join(format!("seed-{number}")), seed).unwrap();
            }
        }
        TARGET.get_or_init(|| target);
    },
    |bytes: &[u8]| {
        (TARGET.get().unwrap().takes)(bytes);
    }
);
