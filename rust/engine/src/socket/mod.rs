//! The owner's socket: how every other process reaches the one that owns a store.

pub mod client;
pub mod frame;
pub mod server;
