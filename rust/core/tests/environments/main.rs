//! The rules of execution environments: a table of cases, and promises held over random lives.

#[cfg(test)]
mod rules;
