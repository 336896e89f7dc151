//! The owner's socket: how every other process reaches the one that owns a store.

pub mod client;
mod connections;
mod credit;
pub mod frame;
pub(crate) mod outgoing;
mod pipe;
pub mod running;
pub mod server;
