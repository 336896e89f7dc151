//! `tests/cases/aliases.json`: which version an alias picks, and which aliases there cannot be. And that the shares are what the
//! weights say.

use std::collections::BTreeMap;

use forebay_core::alias::{check_name, Alias, AliasError, Version};
use proptest::prelude::*;
use serde::Deserialize;

const TABLE: &str = include_str!("../../../tests/cases/aliases.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default, rename = "source")]
    _source: String,
    alias: Option<String>,
    version: String,
    #[serde(default)]
    weights: BTreeMap<String, f64>,
    #[serde(default)]
    provisioned: u32,
    /// By version: what was drawn.
    #[serde(default)]
    picks: BTreeMap<String, Vec<u64>>,
    /// By what is provisioned: what each version has of it.
    #[serde(default)]
    shares: BTreeMap<u32, BTreeMap<String, u32>>,
    error: Option<String>,
}

fn alias_of(case: &Case) -> Result<Alias, AliasError> {
    check_name(case.alias.as_deref().unwrap_or("live"))?;
    let alias = Alias::new(&case.version, case.weights.iter().map(|(version, weight)| (version.as_str(), *weight)))?;
    alias.share(case.provisioned)?;
    Ok(alias)
}

#[test]
fn every_row_of_the_table_is_as_it_says() {
    let table: Vec<Case> = serde_json::from_str(TABLE).expect("the table is JSON");
    for case in &table {
        let made = alias_of(case);
        assert_eq!(made.as_ref().err().map(ToString::to_string), case.error, "{}", case.name);
        let Ok(alias) = made else { continue };
        for (version, drawn) in &case.picks {
            for &entropy in drawn {
                assert_eq!(alias.pick(entropy).to_string(), *version, "{}: {entropy}", case.name);
            }
        }
        for (&provisioned, expected) in &case.shares {
            let shares = alias.share(provisioned).expect("it was shared before");
            let shares: BTreeMap<String, u32> =
                shares.into_iter().map(|(version, share)| (version.to_string(), share)).collect();
            assert_eq!(shares, *expected, "{}: {provisioned}", case.name);
        }
    }
}

/// `SplitMix64`, as the engine draws.
fn draws(mut seed: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn over_many_invocations_each_version_has_its_share(weight in 0.0f64..=1.0, seed: u64) {
        const TIMES: u32 = 20_000;
        let alias = Alias::new("1", [("2", weight)]).expect("it is one");
        let picked = draws(seed).take(TIMES as usize).filter(|&drawn| alias.pick(drawn) == Version::Published(2)).count();
        // Six standard deviations: a fair draw is further away once in 500 million times.
        let (expected, deviation) = (weight * f64::from(TIMES), (weight * (1.0 - weight) * f64::from(TIMES)).sqrt());
        prop_assert!((picked as f64 - expected).abs() <= 6.0 * deviation + 1.0, "{picked}, not about {expected}");
    }

    #[test]
    fn nothing_that_is_provisioned_is_lost_or_given_twice(weight in 0.0f64..=1.0, provisioned in 0u32..60_000) {
        let alias = Alias::new("1", [("2", weight)]).expect("it is one");
        let shares = alias.share(provisioned).expect("both are published");
        prop_assert_eq!(shares.iter().map(|(_, share)| share).sum::<u32>(), provisioned);
        prop_assert!((f64::from(shares[1].1) - f64::from(provisioned) * weight).abs() <= 1.0);
    }
}
