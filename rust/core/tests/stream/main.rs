//! The shard machine under a simulated engine on virtual time: `cases` reads the table, `promises` are the properties;
//! `reading` drives the machine by hand where an engine's fetches overlap with other facts.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod sim;
