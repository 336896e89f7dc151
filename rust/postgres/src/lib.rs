//! The store on a PostgreSQL server (15 or newer): the port of `forebay-store`, for several processes of which one owns the store at a
//! time. The server's transaction is the commit, and its fsync is the durability.
//!
//! One thread of this crate talks to the server. A commit is one call of one function on the server, so that a process that is paused in
//! its midst holds no lock there. Reads have a connection of their own for each reader.
#![forbid(unsafe_code)]

mod answers;
mod batch;
mod chores;
mod connect;
mod door;
mod errors;
mod fencing;
mod link;
mod look;
mod membership;
mod owner_watch;
mod promises;
mod reader;
mod schema;
mod session;
mod settings;
mod store;
mod tls;
mod writer;

pub use door::Door;
pub use fencing::fence_above;
pub use look::{drain, find, look, want, Look, MemberSeen};
pub use membership::{Event, Membership};
pub use owner_watch::OwnerWatch;
pub use promises::{Held, Promises, SynchronousCommit};
pub use settings::{is_url, Settings};
pub use store::PostgresStore;
