//! What waits for the next commit, and the rows and reads around it.

pub(crate) mod attachment;
pub(crate) mod pending;
pub(crate) mod read_jobs;
pub(crate) mod rows;
