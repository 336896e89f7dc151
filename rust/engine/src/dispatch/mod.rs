//! Who may run what, and what runs: functions, permits, attempts.

pub mod attempt_journal;
pub mod attempts;
pub mod functions;
pub mod limits;
pub mod permits;
pub mod ready_list;
pub mod requests;
pub mod versions;
pub mod waiters;
