//! The body of a request: read within its size, within what all bodies may take together, and not slower than it may be.

use std::sync::Arc;
use std::time::Duration;

use forebay_engine::base::limits::REQUEST_BYTES_MAX;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{timeout_at, Instant};

use crate::gateway::head::Head;
use crate::http::listener::discard;

/// Most bytes of a body: the event that it becomes may have as many.
pub(super) const BODY_BYTES_MAX: usize = REQUEST_BYTES_MAX;
/// In each window a body brings as much as this, or it is cut.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOW_BYTES: usize = 10 * 1024;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    /// All bodies together take what they may.
    NoRoom,
    TooSlow,
    /// The client went away, or what it sent is not a body.
    Broken,
}

impl Unread {
    /// In words, for an operator.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::TooLarge => "its body has more than 6 MiB",
            Self::NoRoom => "the bodies of requests take as much memory as they may",
            Self::TooSlow => "its body came too slowly",
            Self::Broken => "its client went away before its body was there",
        }
    }
}

/// A body, and its room among all bodies.
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    /// Given back with the body.
    room: Vec<OwnedSemaphorePermit>,
}

pub(super) async fn read(head: &Head<'_>, mut body: Incoming, room: &Arc<Semaphore>) -> Result<Whole, Unread> {
    let expected = body.size_hint().exact().unwrap_or(0);
    if expected > BODY_BYTES_MAX as u64 {
        // To read on is to tell such a client that it may send what is refused.
        if !head.holds_back() {
            discard(body).await;
        }
        return Err(Unread::TooLarge);
    }
    let mut whole = Whole { bytes: Vec::new(), room: Vec::new() };
    let mut window = (Instant::now() + WINDOW, 0);
    loop {
        let frame = match timeout_at(window.0, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok(whole),
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Err(_) if whole.bytes.len() - window.1 >= WINDOW_BYTES => {
                window = (Instant::now() + WINDOW, whole.bytes.len());
                continue;
            }
            Err(_) => return Err(Unread::TooSlow),
        };
        let Ok(data) = frame.into_data() else { continue };
        if whole.bytes.len() + data.len() > BODY_BYTES_MAX {
            discard(body).await;
            return Err(Unread::TooLarge);
        }
        let kib = more_kib(whole.bytes.len(), data.len());
        let permit = Arc::clone(room).try_acquire_many_owned(kib).map_err(|_| Unread::NoRoom)?;
        match whole.room.first_mut() {
            Some(first) => first.merge(permit),
            None => whole.room.push(permit),
        }
        whole.bytes.extend_from_slice(&data);
    }
}

/// The room of a message that is there already; `None`: all bodies together take what they may.
pub(super) fn room_for(bytes: usize, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(room).try_acquire_many_owned(more_kib(0, bytes)).ok()
}

/// KiB that a body takes more when so many bytes come to it, however small its pieces are.
fn more_kib(before: usize, more: usize) -> u32 {
    ((before + more).div_ceil(1024) - before.div_ceil(1024)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of 393 KB in pieces of one byte took the room of all bodies, which is 64 MiB.
    #[test]
    fn a_body_in_small_pieces_takes_no_more_room_than_in_one() {
        assert_eq!(more_kib(0, 2_500), 3);
        assert_eq!((0..2_500).map(|before| more_kib(before, 1)).sum::<u32>(), 3);
    }
}
