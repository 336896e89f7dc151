//! The engine's `sync`, made of loom.

pub(crate) use loom::sync::atomic;
