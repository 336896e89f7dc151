//! The life of asynchronous events: which may run, what an attempt means for its event, and when it is over.
//!
//! `queue` owns the events of one function and takes the facts; `fate` decides about a single event, before and after an
//! attempt; `order` says where one stands that comes now. Payloads, responses and destinations stay with the engine.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

mod fate;
mod order;
pub mod protocol;
mod queue;
#[cfg(test)]
mod tests;

pub use queue::EventQueue;
