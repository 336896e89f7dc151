//! The owner's socket: how every other process reaches the one that owns a store.

pub mod client;
mod credit;
pub mod frame;
mod outgoing;
pub mod server;
