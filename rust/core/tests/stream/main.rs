//! The shard machine under a simulated engine on virtual time: `cases` reads the table, `promises` are the properties;
//! `reading` drives the machine by hand where an engine's fetches overlap with other facts, `lending` where lanes are lent,
//! `restart` from one life of a process to the next, `standing` asks what people are told.

#[cfg(test)]
mod cases;
#[cfg(test)]
#[path = "../common/mod.rs"]
mod common;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod lending;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod standing;
