//! Asynchronous events: the table of what happens when, and the promises over random lives.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod promises;
