//! What once went wrong: each test tells the story of the fault it keeps away.

#[cfg(test)]
mod events;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod moves;
#[cfg(test)]
mod queues;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod suspects;
#[cfg(test)]
mod test_engine;
