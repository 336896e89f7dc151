//! Doors to the decoders that no other crate may call, for the tests that give them hostile bytes. Built for tests alone.

use crate::environments;
use crate::invocation::row::{self, Event};
use crate::{failures, search};

/// Read what an environment's process says, frame by frame, until there is no whole one.
pub fn environment_frames(bytes: &[u8]) -> Result<usize, String> {
    let (mut rest, mut frames) = (bytes.to_vec(), 0);
    while environments::frame::take(&mut rest)?.is_some() {
        frames += 1;
    }
    Ok(frames)
}

/// Read the row of an asynchronous event; give it as it would be written again.
pub fn event_row(bytes: &[u8]) -> Option<Vec<u8>> {
    Event::decode(bytes).map(|event| event.encode())
}

/// Whether these bytes are the key of an asynchronous event's row.
pub fn is_event_key(bytes: &[u8]) -> bool {
    row::parse_key(bytes).is_some()
}

/// Read a failure's row: how many bytes of payload stand in it.
pub fn failure_row(bytes: &[u8]) -> Option<usize> {
    failures::decode(bytes).map(|(_, payload)| payload.len())
}

/// Whether a token names a place to go on from in a list.
pub fn is_search_token(text: &str) -> bool {
    search::parse_token(text).is_some()
}
