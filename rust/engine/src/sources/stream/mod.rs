//! Streams: shards, the mappings that read them, and what an operator asks of them.

pub mod lost_records;
pub mod mapping;
pub mod mapping_requests;
pub mod mapping_row;
pub mod poller;
pub mod redrive;
pub mod requests;
pub mod retention;
pub mod shards;
pub mod suspects;
