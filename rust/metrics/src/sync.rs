//! What numbers that threads share are made of. `rust/testing/interleavings` builds `numbers.rs` on a `sync` of its own, which plays the orders of
//! the threads' steps.

pub(crate) use std::sync::atomic;
