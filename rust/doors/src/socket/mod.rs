//! The owner's socket: how every other process reaches the one that owns a store.

pub mod client;
mod connections;
mod credit;
pub mod frame;
pub mod helping;
pub(crate) mod outgoing;
mod pipe;
pub mod server;
