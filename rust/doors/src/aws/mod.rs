//! AWS's wire API on one port: what any SDK sends, verified, decoded by tables, and asked of the engine.

mod asker;
mod bodies;
pub mod call;
pub mod check;
mod checksums;
pub mod codec;
pub mod door;
mod early;
pub mod fault;
pub(crate) mod inside;
pub mod keys;
pub mod ledger;
pub mod model;
pub mod owner;
mod presigned;
pub mod protocol;
pub mod routing;
pub mod services;
pub mod sigv4;
mod strangers;
pub mod value;
