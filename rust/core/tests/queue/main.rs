//! The rules of queues: tables of cases, and properties held against short obvious models.

#[cfg(test)]
mod dedup;
#[cfg(test)]
mod fifo_cases;
#[cfg(test)]
mod fifo_promises;
#[cfg(test)]
mod queue_cases;
#[cfg(test)]
mod queue_promises;
#[cfg(test)]
mod store;

/// Ordinarily so many sequences, unless it is said otherwise.
#[cfg(test)]
fn cases(ordinary: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(ordinary, |cases| cases.parse().expect("PROPTEST_CASES is a number"))
}
