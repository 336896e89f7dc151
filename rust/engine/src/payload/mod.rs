//! What handlers are given: records, messages, and the events AWS Lambda makes of them.

pub(crate) mod document;
pub mod endpoint;
pub(crate) mod event;
pub(crate) mod event_result;
pub(crate) mod failure_key;
pub mod kinesis_event;
pub mod message;
pub mod messages;
pub mod records;
