//! The shard machine under a simulated engine on virtual time: `cases` reads the table, `promises` are the properties.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod sim;
