//! The store's port: what an engine needs from the place where things are kept.
//!
//! Two shapes are enough for everything: a *log* per shard (chunks of records in order) and *rows* (a key and a value in
//! a table). One commit is one atomic, durable step; it is the only way anything is written.
//!
//! No call waits for its result. It returns a ticket, and `poll` returns the result of each ticket once. The embedded store has done its
//! work when it returns the ticket. A store on another machine answers later and wakes the caller of `poll`.

mod ahead;
pub(crate) mod at_once;
mod blocking;
mod error;
mod reading;
mod write;

use std::task::Waker;

pub use ahead::Ahead;
pub use at_once::AtOnce;
pub use blocking::BlockingStore;
pub use error::StoreError;
pub use reading::{Found, Read, Reader, Rows};
pub use write::Write;

use crate::directory::Place;
pub use crate::format::{ShardId, Table};

/// The number of a call. Each store and each reader has numbers of its own.
pub type Ticket = u64;

/// How much a commit must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The commit is on the medium (fsync) when it is told to be done.
    PowerLoss,
    /// The commit survives the death of the process, not of the machine.
    ProcessCrash,
}

/// A part of the store that has one owner at a time. It is taken, written and given up as a whole. Each row belongs to one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unit {
    /// Everything: the only unit of a store that one process owns.
    All,
}

/// Names the last commit of a unit's owner. A commit is carried out only on top of the commit that its token names, and returns the next
/// token. So a former owner changes nothing, and neither does a late copy of a commit that was submitted twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// Grows whenever the unit is taken.
    pub epoch: u64,
    /// Grows with each commit.
    pub commits: u64,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, as the store's durability says.
    Committed {
        /// For the next commit.
        token: Token,
        /// Of each [`Write::Append`], in their order: the position that its first record has.
        positions: Vec<u64>,
    },
    /// Nothing was written, and no commit with this token will be: the unit has another owner.
    Fenced,
    /// Nothing was written: there is no room ([`StoreError::Full`]), or another program has the file locked ([`StoreError::Locked`]).
    /// The next commit has the same token, and may have other writes.
    Busy(StoreError),
    /// It may have been written. The same writes must be submitted again with the same token, before any others: the store writes them
    /// once.
    Unknown(StoreError),
    /// Nothing was written: the store cannot be reached. The same writes may be submitted again with the same token.
    Unavailable(StoreError),
}

/// The result of a call. After an error the store takes no further write: its content is in doubt or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Of [`Store::take`].
    Taken(Result<Token, StoreError>),
    /// Of [`Store::submit`].
    Ended(Result<Outcome, StoreError>),
}

/// A place where things are kept.
pub trait Store: Send {
    /// Take a unit. No commit with an older token of it is carried out from now on, and everything committed before can be read.
    fn take(&mut self, unit: Unit) -> Ticket;
    /// Carry out all writes or none. A unit has one commit under way at a time. The store copies what it needs of `writes` after the
    /// return.
    fn submit(&mut self, unit: Unit, token: Token, writes: &[Write]) -> Ticket;
    /// Give a unit up, so that another process can take it at once. No commit of it may be under way. A store whose units become free
    /// when it is closed has nothing to do.
    fn release(&mut self, _unit: Unit, _token: Token) {}
    /// Return one result that was not returned before. `None`: there is none; the `waker` of the newest such call is woken when there
    /// is. Wakers never wait: the store may call them on the thread that answers its readers. Never waits. Each call has a result within a
    /// bounded time; a commit that the store hears nothing of has [`Outcome::Unknown`].
    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Done)>;
    /// Open a reader, for any thread. Each of its reads sees every commit whose result was returned before the read was submitted.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;
    /// Give room back to the file system in a small step (at most some ms); true if there is more to give.
    fn give_back(&mut self) -> Result<bool, StoreError>;
    /// What the operator is to be told, once. Never waits.
    fn notice(&mut self) -> Option<String> {
        None
    }
    /// Where its file is, if it has one that can be deleted while it is open.
    fn place(&self) -> Option<Place> {
        None
    }
}
