//! Records that were given up: written down, sent to their destination, listed, redriven.

pub(crate) mod delivery;
pub(crate) mod log;
pub(crate) mod requests;
pub(crate) mod search;
