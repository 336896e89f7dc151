//! The rules of queues: tables of cases, and properties held against short obvious models.

#[cfg(test)]
#[path = "../common/mod.rs"]
mod common;
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
