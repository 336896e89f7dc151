//! Asynchronous events: the table of what happens when, and the promises over random lives.

mod cases;
mod promises;
