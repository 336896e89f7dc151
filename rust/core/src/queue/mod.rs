//! A queue's life: which messages may be handed out, what becomes of them, and what a restart must know of it.
//!
//! `fifo` is the group-aware batcher, which can be used on its own.

mod chain;
pub mod fifo;
