//! The owner's socket over the network. A process of another machine reaches the owner through TLS, and its bytes go into a socket of the
//! owner's as those of a client on the same machine do.
//!
//! The owner makes a key and a secret when it opens its door, and says both in a row of the database, with its address. Whoever comes
//! makes sure that the other end has that key, and then says the secret. So who may read the row may ask the owner, and nobody else.

mod greeting;
mod listener;
mod place;
mod reach;
mod tls;
mod tunnel;

pub use listener::Listener;
pub use place::Place;
pub(crate) use reach::reach;
pub use reach::Unreached;
