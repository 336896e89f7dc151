//! Log groups: a group is a stream of the store under a name that no user's stream can have, and a log stream is its records of one key.

/// Begins the names of the streams that hold groups.
pub const GROUP: &str = "log:";
/// Begins the notes that are log streams: the name follows, and the note is when it was created, milliseconds since 1970.
pub const STREAM_NOTE: &str = "log-stream:";

/// The stream that holds a group.
pub fn group_stream(group: &str) -> String {
    format!("{GROUP}{group}")
}

/// The note that is a log stream.
pub fn stream_note(stream: &str) -> String {
    format!("{STREAM_NOTE}{stream}")
}

/// The bytes of a log event: its time, and its message.
pub fn record(time_ms: u64, message: &str) -> Vec<u8> {
    [time_ms.to_be_bytes().as_slice(), message.as_bytes()].concat()
}
