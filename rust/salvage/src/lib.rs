//! The doctor of embedded stores: it says what is wrong with one, and copies what is whole into a new one. It reads a store's file by the
//! format alone, since it works where no engine opens it.
#![forbid(unsafe_code)]

mod beside;
mod doctor;
#[cfg(feature = "failpoints")]
pub mod foreign;
mod lost;
mod mending;
mod repair;
mod salvage_writer;
mod source;
mod survey;

pub use doctor::{examine, Report};
pub use lost::Lost;
pub use repair::{salvage, Salvage};
