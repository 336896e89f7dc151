//! What the property tests of several machines share.

/// Ordinarily so many sequences, unless `PROPTEST_CASES` says otherwise.
pub(crate) fn cases(ordinary: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(ordinary, |cases| cases.parse().expect("PROPTEST_CASES is a number"))
}
