//! The rules of queues: tables of cases, and properties held against short obvious models.

#[cfg(test)]
mod fifo_cases;
#[cfg(test)]
mod fifo_promises;
