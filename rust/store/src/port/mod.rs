//! The store's port: what an engine needs from the place where things are kept.
//!
//! Two shapes are enough for everything: a *log* per shard (chunks of records in order) and *rows* (a key and a value in
//! a table). One commit is one atomic, durable step; it is the only way anything is written.
//!
//! Nothing here waits for an answer. What a store is asked for has a ticket, and `poll` tells, once, what became of it. The embedded
//! store has done its work by the time that it gives the ticket; a store on another machine answers later, and wakes whoever polled.

pub(crate) mod at_once;
mod blocking;
mod error;
mod reading;
mod write;

use std::task::Waker;

pub use at_once::AtOnce;
pub use blocking::BlockingStore;
pub use error::StoreError;
pub use reading::{Found, Read, Reader, Rows};
pub use write::Write;

use crate::directory::Place;
pub use crate::format::{ShardId, Table};

/// Names what a store, or a reader, was asked for. Each numbers its own.
pub type Ticket = u64;

/// How much a commit must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The commit is on the medium (fsync) when it is told to be done.
    PowerLoss,
    /// The commit survives the death of the process, not of the machine.
    ProcessCrash,
}

/// What has one owner at a time. It is taken, written and given up as a whole; each row belongs to the unit whose owner writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unit {
    /// Everything: the only unit of a store that one process owns.
    All,
}

/// What the owner of a unit has to show with each commit. Each commit gives a new one, and is carried out only on top of the commit
/// that its token tells of. So whoever has lost the unit changes nothing any more, and a commit that was thought lost and arrives late
/// changes nothing either.
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
    /// Nothing was written, and nothing will be with this token or a later one: the unit has another owner.
    Fenced,
    /// Nothing was written: there is no room ([`StoreError::Full`]), or somebody else holds the file ([`StoreError::Locked`]). Another
    /// commit may follow with the same token, also one with other writes.
    Busy(StoreError),
    /// Nobody knows whether it was written. The same writes must be submitted again with the same token, and nothing else before
    /// they have ended: the store writes them once.
    Unknown(StoreError),
    /// Nothing was written: the store cannot be reached. The same writes may be submitted again with the same token.
    Unavailable(StoreError),
}

/// What became of something that a store was asked for. An error ends the store: what it holds is unknown or damaged, and it takes no
/// further write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Of [`Store::take`].
    Taken(Result<Token, StoreError>),
    /// Of [`Store::submit`].
    Ended(Result<Outcome, StoreError>),
}

/// A place where things are kept.
pub trait Store: Send {
    /// Take a unit. From now on no commit with an older token of it is carried out, and all that was committed can be read.
    fn take(&mut self, unit: Unit) -> Ticket;
    /// Carry out all writes or none. A unit has one commit under way at a time; what the store still needs of the writes when this
    /// returns it has copied.
    fn submit(&mut self, unit: Unit, token: Token, writes: &[Write]) -> Ticket;
    /// Give a unit up, so that another process can take it at once. No commit of it may be under way. A store whose units go to the
    /// next process by themselves has nothing to do.
    fn release(&mut self, _unit: Unit, _token: Token) {}
    /// What became of something that was asked for: each is told once, and in bounded time, a commit as [`Outcome::Unknown`] at the
    /// latest. `None`: nothing new; the `waker` of the newest such call is
    /// woken when there is. Never waits.
    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Done)>;
    /// A reader that sees every commit that was told to be done before one of its reads was submitted. Usable from another thread.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;
    /// Give room back to the file system in a small step (at most some ms); true if there is more to give.
    fn give_back(&mut self) -> Result<bool, StoreError>;
    /// Where its file is, if it has one that can be deleted while it is open.
    fn place(&self) -> Option<Place> {
        None
    }
}
