//! Bodies of requests: how much of them is read, and how long that may take.
//!
//! A body has room among all bodies: for what has come of it, and from 64 KiB on for what it announces. Whoever only announces one takes none.
//! Of whoever has no known key, or a wrong signature, only the beginning is kept, and it takes no room from others. Small bodies have room of
//! their own, so that large ones do not keep them out.
//!
//! What is signed only with the body may be anybody's who has seen the id of a key, and a presigned URL is anybody's to whom it was given. Such
//! bodies never take the room of those whose heads are signed right. They have two rooms of their own: one for what has come of each in its
//! first seconds, which only as many bytes fill as it has, and one for those that take longer, which must come faster than others.

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
/// Most KiB of the bodies that are read at once: of their first 64 KiB each, and of what is longer; the same of what nobody has proven to be
/// his, if it takes longer than `QUICK`, and all of it that does not; and of whoever has no known key.
const SMALL_KIB: usize = 32 << 10;
const LARGE_KIB: usize = 96 << 10;
const CLAIMED_SMALL_KIB: usize = 16 << 10;
const CLAIMED_KIB: usize = 48 << 10;
const QUICK_KIB: usize = 64 << 10;
const UNKNOWN_KIB: usize = 8 << 10;
/// How long a body that nobody has proven to be his may take, from its first bytes on, before it is a slow one.
const QUICK: Duration = Duration::from_secs(3);
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
    /// Somebody's who is let in: the head is signed right.
    Known,
    /// Perhaps: it names a key, and its signature is verified when it is there. Or somebody's who was given a presigned URL.
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

/// Room for the first 64 KiB of bodies, and for what is longer.
#[derive(Debug)]
struct Share {
    small: Semaphore,
    large: Semaphore,
}

/// The room of all bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    known: Share,
    claimed: Share,
    quick: Semaphore,
    unknown: Semaphore,
}

/// The room of one body.
#[derive(Debug, Default)]
struct Room<'b> {
    small: Option<SemaphorePermit<'b>>,
    large: Option<SemaphorePermit<'b>>,
    /// That of all of it, until it is a slow one.
    quick: Option<SemaphorePermit<'b>>,
    unknown: Option<SemaphorePermit<'b>>,
}

impl Bodies {
    pub(super) fn new() -> Self {
        let share = |small, large| Share { small: Semaphore::new(small), large: Semaphore::new(large) };
        Self {
            known: share(SMALL_KIB, LARGE_KIB),
            claimed: share(CLAIMED_SMALL_KIB, CLAIMED_KIB),
            quick: Semaphore::new(QUICK_KIB),
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
        let mut quick_until = pace.until();
        // Large bodies that took their room piece by piece waited for each other, all of it taken.
        let needed = |length: usize| if length > SMALL { length.max(announced) } else { length };
        loop {
            let until = if room.quick.is_some() { quick_until.min(pace.until()) } else { pace.until() };
            let frame = match timeout_at(until, body.frame()).await {
                Err(_) if room.quick.is_some() && Instant::now() < pace.until() => {
                    self.make_room(&mut room, needed(length), whose).await?;
                    continue;
                }
                Err(_) => return Err(TOO_SLOW),
                Ok(None) => return Ok(Taken { bytes: whole.into(), is_cut }),
                Ok(Some(Err(_))) => return Err(BROKEN),
                Ok(Some(Ok(frame))) => frame,
            };
            let data = frame.into_data().unwrap_or_default();
            if length == 0 {
                quick_until = Instant::now() + QUICK;
            }
            length += data.len();
            if length > BODY_MAX {
                discard(body).await;
                return Err(TOO_LONG);
            }
            pace.came(length, Instant::now());
            if whose == Whose::Unknown {
                is_cut = is_cut || length > SMALL || !self.make_room_for_unknown(&mut room, length);
            } else if (length > SMALL || !body.is_end_stream())
                && !(whose == Whose::Claimed && self.make_quick_room(&mut room, length, quick_until))
            {
                let waited = Instant::now();
                self.make_room(&mut room, needed(length), whose).await?;
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
        let share = if whose == Whose::Known { &self.known } else { &self.claimed };
        // What is slow does not wait in the room of what is quick.
        let wait = if room.quick.is_some() { Duration::ZERO } else { ROOM_WAIT };
        grow(&share.small, &mut room.small, length.min(SMALL), wait).await?;
        grow(&share.large, &mut room.large, length.saturating_sub(SMALL), wait).await?;
        room.quick = None;
        Ok(())
    }

    /// Whether there is any for a body that comes quickly: nobody waits for it.
    fn make_quick_room<'b>(&'b self, room: &mut Room<'b>, length: usize, until: Instant) -> bool {
        // By the whole KiB: whoever sends a byte of each body would take a thousand times of what he sends.
        let held = length - length % 1024;
        room.small.is_none() && Instant::now() < until && grow_now(&self.quick, &mut room.quick, held)
    }

    /// Whether there is any: nobody waits for it.
    fn make_room_for_unknown<'b>(&'b self, room: &mut Room<'b>, length: usize) -> bool {
        grow_now(&self.unknown, &mut room.unknown, length)
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

/// Have room for so many bytes, if there is any.
fn grow_now<'b>(of: &'b Semaphore, held: &mut Option<SemaphorePermit<'b>>, length: usize) -> bool {
    let more = of.try_acquire_many(lacking(held.as_ref(), length));
    more.is_ok_and(|more| {
        add(held, more);
        true
    })
}

/// Have room for so many bytes.
async fn grow<'b>(
    of: &'b Semaphore,
    held: &mut Option<SemaphorePermit<'b>>,
    length: usize,
    wait: Duration,
) -> Result<(), Unread> {
    let lacking = lacking(held.as_ref(), length);
    if lacking == 0 || grow_now(of, held, length) {
        return Ok(());
    }
    let Ok(Ok(more)) = timeout(wait, of.acquire_many(lacking)).await else { return Err(NO_ROOM) };
    add(held, more);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// Pieces of a body, whose end comes or does not.
    struct Pieces(Vec<Bytes>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn begun(length: usize) -> Pieces {
        Pieces(vec![vec![0; length].into()], false)
    }

    /// hyper gives a body in pieces of 8 KiB and more.
    fn in_pieces(length: usize) -> Pieces {
        let whole = Bytes::from(vec![1; length]);
        Pieces(vec![whole.slice(8192..), whole.slice(..8192)], true)
    }

    fn left(of: &Share) -> [usize; 2] {
        [&of.small, &of.large].map(Semaphore::available_permits)
    }

    /// A thousand bodies of 64 KiB, less one byte, signed in the name of a key whose id somebody had seen, took all room of small bodies for
    /// a minute: whoever had the key got 503. Later a body that came at once needed none, but only if it had 8 KiB at most.
    #[tokio::test(flavor = "current_thread")]
    async fn who_knows_the_id_of_a_key_keeps_no_body_out_that_comes_quickly() {
        let (bodies, headers) = (Bodies::new(), HeaderMap::new());
        let slow = || bodies.read(&headers, begun(SMALL - 1), Whose::Claimed);
        let mut held: Vec<_> = (0..2 * CLAIMED_SMALL_KIB / 64).map(|_| Box::pin(slow())).collect();
        // They have begun one after the other, and are slow one after the other.
        while held.len() > CLAIMED_SMALL_KIB / 64 || bodies.quick.available_permits() < QUICK_KIB {
            let mut still = Vec::new();
            for mut one in held {
                match timeout(Duration::ZERO, one.as_mut()).await {
                    Ok(told) => assert_eq!(told.unwrap_err(), NO_ROOM, "slow ones do not wait for room"),
                    Err(_) => still.push(one),
                }
            }
            held = still;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(left(&bodies.claimed), [0, CLAIMED_KIB]);
        assert_eq!(left(&bodies.known), [SMALL_KIB, LARGE_KIB]);
        assert_eq!(bodies.quick.available_permits(), QUICK_KIB);
        for (whose, length) in [(Whose::Claimed, SMALL), (Whose::Claimed, 1 << 20), (Whose::Known, BODY_MAX)] {
            let whole = bodies.read(&headers, in_pieces(length), whose);
            let whole = timeout(Duration::ZERO, whole).await.expect("nobody waits for a body that is there");
            assert_eq!(whole.unwrap().bytes.len(), length);
        }
        drop(held);
        assert_eq!(left(&bodies.claimed), [CLAIMED_SMALL_KIB, CLAIMED_KIB]);
        assert_eq!(bodies.quick.available_permits(), QUICK_KIB);
    }

    /// Each byte took a KiB: whoever knew the id of a key held all room of quick bodies with 64 KiB in three seconds.
    #[tokio::test(flavor = "current_thread")]
    async fn a_body_of_a_few_bytes_takes_no_room_of_what_is_quick() {
        let (bodies, headers) = (Bodies::new(), HeaderMap::new());
        let read = |length| bodies.read(&headers, begun(length), Whose::Claimed);
        let mut held: Vec<_> = [1, 1023, 1024, 3000].into_iter().map(|length| Box::pin(read(length))).collect();
        for one in &mut held {
            assert!(timeout(Duration::ZERO, one.as_mut()).await.is_err());
        }
        assert_eq!(bodies.quick.available_permits(), QUICK_KIB - 1 - 2);
        drop(held);
        assert_eq!(bodies.quick.available_permits(), QUICK_KIB);
    }

    /// A body that has no room among the quick ones waits among the slow ones.
    #[tokio::test(flavor = "current_thread")]
    async fn a_body_has_other_room_where_the_quick_ones_have_all_of_theirs() {
        let (bodies, headers) = (Bodies::new(), HeaderMap::new());
        let all = bodies.quick.try_acquire_many(QUICK_KIB as u32).unwrap();
        let whole = bodies.read(&headers, in_pieces(1 << 20), Whose::Claimed).await;
        assert_eq!(whole.unwrap().bytes.len(), 1 << 20);
        let mut slow = Box::pin(bodies.read(&headers, begun(SMALL), Whose::Claimed));
        assert!(timeout(Duration::ZERO, slow.as_mut()).await.is_err());
        assert_eq!(left(&bodies.claimed), [CLAIMED_SMALL_KIB - SMALL / 1024, CLAIMED_KIB]);
        drop((slow, all));
        assert_eq!(left(&bodies.claimed), [CLAIMED_SMALL_KIB, CLAIMED_KIB]);
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
    async fn what_nobody_has_proven_to_be_his_takes_no_room_of_what_is() {
        let bodies = Bodies::new();
        let mut rooms = Vec::new();
        while bodies.claimed.large.available_permits() > 0 {
            let mut room = Room::default();
            let length = BODY_MAX.min(SMALL + (bodies.claimed.large.available_permits() << 10));
            bodies.make_room(&mut room, length, Whose::Claimed).await.unwrap();
            rooms.push(room);
        }
        assert_eq!(left(&bodies.known), [SMALL_KIB, LARGE_KIB]);
        rooms.clear();
        assert_eq!(left(&bodies.claimed), [CLAIMED_SMALL_KIB, CLAIMED_KIB]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn large_bodies_leave_room_for_small_ones_and_for_who_has_a_key() {
        let bodies = Bodies::new();
        let mut rooms = Vec::new();
        while bodies.known.large.available_permits() >= BODY_MAX / 1024 {
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
        bodies.make_room(&mut small, SMALL, Whose::Known).await.unwrap();
        assert_eq!(bodies.known.small.available_permits(), SMALL_KIB - (rooms.len() - UNKNOWN_KIB / 64 + 1) * 64);
        rooms.clear();
        drop(small);
        assert_eq!(left(&bodies.known), [SMALL_KIB, LARGE_KIB]);
        assert_eq!(bodies.unknown.available_permits(), UNKNOWN_KIB);
    }
}
