//! Bodies of requests: how much of them is read, and how long that may take.
//!
//! A body has room among all bodies: for what has come of it, and from 64 KiB on for what it announces. Whoever only announces one takes none.
//! Of whoever has no known key, or a wrong signature, only the beginning is kept, and it takes no room from others. Small bodies have room of
//! their own, so that large ones do not keep them out. What is signed only with the body may be anybody's who has seen the id of a key: all
//! such bodies have half of the room of large ones, and must come faster.

use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{timeout, timeout_at, Instant};

use crate::http::listener::{discard, holds_back};

/// Most bytes of a body: a request of Kinesis has 10 MiB of records, which are a third longer in base64.
pub(super) const BODY_MAX: usize = 16 << 20;
/// Most bytes of a small body, and of one that is read of somebody who has no known key.
const SMALL: usize = 64 << 10;
/// Most KiB of the bodies that are read at once: of their first 64 KiB each, and of what is longer; of both what nobody has proven to be his;
/// and of whoever has no known key.
const SMALL_KIB: usize = 64 << 10;
const LARGE_KIB: usize = 184 << 10;
const CLAIMED_SMALL_KIB: usize = SMALL_KIB / 2;
const CLAIMED_KIB: usize = LARGE_KIB / 2;
const UNKNOWN_KIB: usize = 8 << 10;
/// In each span of this length a body brings so many bytes, or ends: what a small one has, and after its first span more if nobody has proven
/// it to be his.
const SPAN: Duration = Duration::from_secs(60);
const CLAIMED_BYTES: usize = 480 << 10;
/// How long a body waits for room.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// Why a body was not read: the status, the error's name, and what is said.
pub(super) type Unread = (u16, &'static str, &'static str);

const TOO_LONG: Unread = (413, "RequestEntityTooLarge", "the body has more than 16 MiB");
const TOO_SLOW: Unread = (408, "RequestTimeout", "the body did not come in time");
const BROKEN: Unread = (400, "SerializationException", "the body is broken");
const NO_ROOM: Unread = (503, "ServiceUnavailable", "the bodies of other requests take all room: try again");

/// Whose a body is, as far as the head of its request tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Somebody's who is let in.
    Known,
    /// Perhaps: it names a key, and its signature is verified when it is there.
    Claimed,
    /// Nobody's who is let in.
    Unknown,
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    /// Only its beginning was kept.
    pub(super) is_cut: bool,
}

/// How fast a body comes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    since: Instant,
    bytes: usize,
    /// What a later span has to bring.
    least: usize,
}

impl Pace {
    fn new(since: Instant, whose: Whose) -> Self {
        Self { since, bytes: 0, least: if whose == Whose::Known { SMALL } else { CLAIMED_BYTES } }
    }

    /// So much of the body is there now.
    fn came(&mut self, length: usize, now: Instant) {
        let least = if self.bytes == 0 { SMALL } else { self.least };
        if length - self.bytes >= least {
            (self.since, self.bytes) = (now, length);
        }
    }

    fn until(self) -> Instant {
        self.since + SPAN
    }
}

/// The room of all bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    small: Semaphore,
    large: Semaphore,
    claimed_small: Semaphore,
    claimed: Semaphore,
    unknown: Semaphore,
}

/// The room of one body.
#[derive(Debug, Default)]
struct Room<'b> {
    small: Option<SemaphorePermit<'b>>,
    large: Option<SemaphorePermit<'b>>,
    claimed_small: Option<SemaphorePermit<'b>>,
    claimed: Option<SemaphorePermit<'b>>,
    unknown: Option<SemaphorePermit<'b>>,
}

impl Bodies {
    pub(super) fn new() -> Self {
        Self {
            small: Semaphore::new(SMALL_KIB),
            large: Semaphore::new(LARGE_KIB),
            claimed_small: Semaphore::new(CLAIMED_SMALL_KIB),
            claimed: Semaphore::new(CLAIMED_KIB),
            unknown: Semaphore::new(UNKNOWN_KIB),
        }
    }

    /// Read a body; of somebody who is not let in, what tells how to refuse it.
    pub(super) async fn read<B>(&self, headers: &HeaderMap, mut body: B, whose: Whose) -> Result<Taken, Unread>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let announced: usize = announced.unwrap_or(0);
        if announced > BODY_MAX {
            // To read on is to tell such a client that it may send what is refused.
            if !holds_back(headers) {
                discard(body).await;
            }
            return Err(TOO_LONG);
        }
        let (mut whole, mut room) = (Vec::new(), Room::default());
        let (mut length, mut is_cut) = (0, false);
        let mut pace = Pace::new(Instant::now(), whose);
        loop {
            let frame = match timeout_at(pace.until(), body.frame()).await {
                Err(_) => return Err(TOO_SLOW),
                Ok(None) => return Ok(Taken { bytes: whole.into(), is_cut }),
                Ok(Some(Err(_))) => return Err(BROKEN),
                Ok(Some(Ok(frame))) => frame,
            };
            let data = frame.into_data().unwrap_or_default();
            length += data.len();
            if length > BODY_MAX {
                discard(body).await;
                return Err(TOO_LONG);
            }
            pace.came(length, Instant::now());
            if whose == Whose::Unknown {
                is_cut = is_cut || length > SMALL || !self.make_room_for_unknown(&mut room, length);
            } else if length > SMALL || !body.is_end_stream() {
                let waited = Instant::now();
                // Large bodies that took their room piece by piece waited for each other, all of it taken.
                let whole = if length > SMALL { length.max(announced) } else { length };
                self.make_room(&mut room, whole, whose).await?;
                // To wait for room is not to be slow.
                pace.since += waited.elapsed();
            }
            if !is_cut {
                if whole.is_empty() {
                    whole.reserve(announced.min(SMALL));
                }
                whole.extend_from_slice(&data);
            }
        }
    }

    async fn make_room<'b>(&'b self, room: &mut Room<'b>, length: usize, whose: Whose) -> Result<(), Unread> {
        if whose == Whose::Claimed {
            grow(&self.claimed_small, &mut room.claimed_small, length.min(SMALL)).await?;
        }
        grow(&self.small, &mut room.small, length.min(SMALL)).await?;
        let beyond = length.saturating_sub(SMALL);
        if whose == Whose::Claimed {
            grow(&self.claimed, &mut room.claimed, beyond).await?;
        }
        grow(&self.large, &mut room.large, beyond).await
    }

    /// Whether there is any: nobody waits for it.
    fn make_room_for_unknown<'b>(&'b self, room: &mut Room<'b>, length: usize) -> bool {
        let more = self.unknown.try_acquire_many(lacking(room.unknown.as_ref(), length));
        more.is_ok_and(|more| {
            add(&mut room.unknown, more);
            true
        })
    }
}

/// The KiB that a body of this length needs besides those that it has.
fn lacking(held: Option<&SemaphorePermit<'_>>, length: usize) -> u32 {
    let held = held.map_or(0, SemaphorePermit::num_permits);
    u32::try_from(length.div_ceil(1024).saturating_sub(held)).unwrap_or(u32::MAX)
}

fn add<'b>(held: &mut Option<SemaphorePermit<'b>>, more: SemaphorePermit<'b>) {
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
}

/// Have room for so many bytes.
async fn grow<'b>(of: &'b Semaphore, held: &mut Option<SemaphorePermit<'b>>, length: usize) -> Result<(), Unread> {
    let lacking = lacking(held.as_ref(), length);
    if lacking == 0 {
        return Ok(());
    }
    let more = match of.try_acquire_many(lacking) {
        Ok(more) => more,
        Err(_) => match timeout(ROOM_WAIT, of.acquire_many(lacking)).await {
            Ok(Ok(more)) => more,
            _ => return Err(NO_ROOM),
        },
    };
    add(held, more);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;

    /// The first bytes of a body, whose end does not come.
    struct Begun(Option<Bytes>);

    impl Body for Begun {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    /// A thousand bodies of 64 KiB, less one byte, signed in the name of a key whose id somebody had seen, took all room of small bodies for
    /// a minute: whoever had the key got 503.
    #[tokio::test(flavor = "current_thread")]
    async fn who_knows_the_id_of_a_key_keeps_no_small_body_out() {
        let (bodies, headers) = (Bodies::new(), HeaderMap::new());
        let slow = || bodies.read(&headers, Begun(Some(vec![0; SMALL - 1].into())), Whose::Claimed);
        let mut held: Vec<_> = (0..2 * SMALL_KIB / 64).map(|_| Box::pin(slow())).collect();
        for one in &mut held {
            assert!(timeout(Duration::ZERO, one.as_mut()).await.is_err(), "it waits for its body, or for room");
        }
        assert_eq!(bodies.small.available_permits(), SMALL_KIB - CLAIMED_SMALL_KIB);
        for whose in [Whose::Known, Whose::Claimed] {
            let whole = bodies.read(&headers, Full::new(Bytes::from(vec![1; SMALL])), whose);
            let whole = timeout(Duration::ZERO, whole).await.expect("nobody waits for a small body that is whole");
            assert_eq!(whole.unwrap().bytes.len(), SMALL);
        }
        let mut known = Room::default();
        let room = bodies.make_room(&mut known, SMALL, Whose::Known);
        timeout(Duration::ZERO, room).await.expect("whoever is known has room while it comes").unwrap();
        drop((held, known));
        let left = [&bodies.small, &bodies.claimed_small].map(Semaphore::available_permits);
        assert_eq!(left, [SMALL_KIB, CLAIMED_SMALL_KIB]);
    }

    /// One byte each minute kept a body's room for 4.6 hours: a time that had passed quickly before counted for what came slowly.
    #[test]
    fn a_body_brings_as_much_in_its_last_minute_as_in_its_first() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun, Whose::Claimed);
        let second = |count: u64| begun + Duration::from_secs(count);
        pace.came(SMALL - 1, second(1));
        assert_eq!(pace.until(), second(60), "a small one ends within a minute");
        pace.came(BODY_MAX - 10, second(2));
        assert_eq!(pace.until(), second(62));
        for at in 3..62 {
            pace.came(BODY_MAX - 9, second(at));
        }
        assert_eq!(pace.until(), second(62), "a byte now and then is not enough");
        for (whose, kib) in [(Whose::Claimed, 10), (Whose::Known, 2)] {
            let (mut slow, mut length) = (Pace { bytes: SMALL, ..Pace::new(begun, whose) }, SMALL);
            for at in 1..600 {
                length += kib << 10;
                slow.came(length, second(at));
                assert!(slow.until() > second(at), "{whose:?}: {kib} KiB a second are enough: {at}");
            }
        }
    }

    /// Whoever had seen the id of a key held all room of large bodies with it, and a made-up signature.
    #[tokio::test(flavor = "current_thread")]
    async fn what_nobody_has_proven_to_be_his_leaves_half_of_the_room() {
        let bodies = Bodies::new();
        let mut rooms = Vec::new();
        while bodies.claimed.available_permits() > 0 {
            let mut room = Room::default();
            let length = BODY_MAX.min(SMALL + (bodies.claimed.available_permits() << 10));
            bodies.make_room(&mut room, length, Whose::Claimed).await.unwrap();
            rooms.push(room);
        }
        assert_eq!(bodies.large.available_permits(), LARGE_KIB / 2);
        let mut known = Room::default();
        bodies.make_room(&mut known, BODY_MAX, Whose::Known).await.unwrap();
        rooms.clear();
        drop(known);
        let left = [&bodies.small, &bodies.large, &bodies.claimed].map(Semaphore::available_permits);
        assert_eq!(left, [SMALL_KIB, LARGE_KIB, CLAIMED_KIB]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn large_bodies_leave_room_for_small_ones_and_for_who_has_a_key() {
        let bodies = Bodies::new();
        let mut rooms = Vec::new();
        while bodies.large.available_permits() >= BODY_MAX / 1024 {
            let mut room = Room::default();
            bodies.make_room(&mut room, BODY_MAX, Whose::Known).await.unwrap();
            rooms.push(room);
        }
        loop {
            let mut room = Room::default();
            if !bodies.make_room_for_unknown(&mut room, SMALL) {
                break;
            }
            rooms.push(room);
        }
        let mut small = Room::default();
        bodies.make_room(&mut small, SMALL, Whose::Claimed).await.unwrap();
        assert_eq!(bodies.small.available_permits(), SMALL_KIB - (rooms.len() - UNKNOWN_KIB / 64 + 1) * 64);
        rooms.clear();
        drop(small);
        let left = (&bodies.small, &bodies.large, &bodies.unknown);
        let left = (left.0.available_permits(), left.1.available_permits(), left.2.available_permits());
        assert_eq!(left, (SMALL_KIB, LARGE_KIB, UNKNOWN_KIB));
    }
}
