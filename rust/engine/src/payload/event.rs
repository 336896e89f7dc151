//! An asynchronous event as it is kept: under which key, in which bytes.
//!
//! The key is `queue u64, due_ms u64, number u64`, big-endian, so that the store holds the events of a function in the order in
//! which they are due. The value is `format u8 = 1, request u128, accepted_ms u64, hops u32, failures u32, unreached u32, status
//! u16, error length u32`, little-endian, then the last error object and the payload, both JSON. An event with a trace context is of
//! format 2: `length u16, context` stand before the error. One that was invoked by a qualifier is of format 3: as of format 2, with a
//! context that may be empty, and `length u8, qualifier` behind it. One with a delay, a deduplication id or a result that is kept is of
//! format 4: as of format 3, with a qualifier that may be empty, and `delay_ms u64, keeps its result u8, length u16, deduplication id`
//! behind it.

use std::sync::Arc;

use forebay_core::invocation::protocol::{Key, Life};

use forebay_core::Now;

/// The version or alias by which a function was asked for.
pub(crate) type Qualifier = Option<Arc<str>>;

const FORMAT: u8 = 1;
const TRACED: u8 = 2;
const QUALIFIED: u8 = 3;
const OPTIONED: u8 = 4;
const HEADER: usize = 43;
/// Bytes of a delay, whether the result is kept, and the length of a deduplication id.
const OPTIONS: usize = 11;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The same over all its attempts.
    pub(crate) request: u128,
    pub(crate) life: Life,
    /// What the last attempt gave, as Lambda's HTTP status: 200 from the function, 429 or 500 where it was not reached, 0 before any.
    pub(crate) status: u16,
    /// The last error object, JSON.
    pub(crate) error: Option<Arc<str>>,
    /// The version or alias that was asked for.
    pub(crate) qualifier: Qualifier,
    /// What was going on where it was asked for: see `trace.rs`.
    pub(crate) trace: Option<Arc<str>>,
    /// The id by which it was told from others when it was accepted.
    pub(crate) deduplication_id: Option<Arc<str>>,
    /// Whether its result is kept.
    pub(crate) keeps_result: bool,
    /// JSON.
    pub(crate) payload: Arc<[u8]>,
}

/// An event on its way to the disk.
#[derive(Clone)]
pub(crate) struct Accepted {
    pub(crate) queue: u64,
    pub(crate) key: Key,
    pub(crate) event: Event,
    /// When it was accepted: the wall clock may be set before it is durable.
    pub(crate) at: Now,
    /// What remembers its deduplication id.
    pub(crate) remembered: Option<RememberedId>,
}

/// A deduplication id of a function, as a digest, and until when it is remembered, wall ms.
#[derive(Clone, Copy)]
pub(crate) struct RememberedId {
    pub(crate) digest: u128,
    pub(crate) until_ms: u64,
}

impl Accepted {
    /// The row that is written for it.
    pub(crate) fn row(&self) -> (Vec<u8>, Vec<u8>) {
        (row_key(self.queue, self.key), self.event.encode())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.event.payload.len()
    }
}

impl Event {
    /// Bytes it takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        let format = self.format();
        let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let trace = usize::from(format >= TRACED) * 2 + length(&self.trace);
        let qualifier = usize::from(format >= QUALIFIED) + length(&self.qualifier);
        let options = if format == OPTIONED { OPTIONS + length(&self.deduplication_id) } else { 0 };
        HEADER + trace + qualifier + options + length(&self.error) + self.payload.len()
    }

    /// What has nothing of a later format is written as before there was that format.
    fn format(&self) -> u8 {
        if self.life.delay_ms > 0 || self.keeps_result || self.deduplication_id.is_some() {
            OPTIONED
        } else if self.qualifier.is_some() {
            QUALIFIED
        } else if self.trace.is_some() {
            TRACED
        } else {
            FORMAT
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let error = self.error.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(self.weight());
        let format = self.format();
        bytes.push(format);
        bytes.extend_from_slice(&self.request.to_le_bytes());
        bytes.extend_from_slice(&self.life.accepted_ms.to_le_bytes());
        for count in [self.life.hops, self.life.failures, self.life.unreached] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes.extend_from_slice(&self.status.to_le_bytes());
        bytes.extend_from_slice(&(error.len() as u32).to_le_bytes());
        if format >= TRACED {
            let trace = self.trace.as_deref().unwrap_or_default();
            bytes.extend_from_slice(&(trace.len() as u16).to_le_bytes());
            bytes.extend_from_slice(trace.as_bytes());
        }
        if format >= QUALIFIED {
            let qualifier = self.qualifier.as_deref().unwrap_or_default();
            bytes.push(qualifier.len() as u8);
            bytes.extend_from_slice(qualifier.as_bytes());
        }
        if format == OPTIONED {
            let id = self.deduplication_id.as_deref().unwrap_or_default();
            bytes.extend_from_slice(&self.life.delay_ms.to_le_bytes());
            bytes.push(self.keeps_result.into());
            bytes.extend_from_slice(&(id.len() as u16).to_le_bytes());
            bytes.extend_from_slice(id.as_bytes());
        }
        bytes.extend_from_slice(error.as_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// `None` if the bytes are not an event's.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [format] = take::<1>(&mut rest)?;
        if !(FORMAT..=OPTIONED).contains(&format) {
            return None;
        }
        let request = u128::from_le_bytes(take(&mut rest)?);
        let accepted_ms = u64::from_le_bytes(take(&mut rest)?);
        let [hops, failures, unreached] =
            [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u32::from_le_bytes);
        let status = u16::from_le_bytes(take(&mut rest)?);
        let error_len = u32::from_le_bytes(take(&mut rest)?) as usize;
        let (mut trace, mut qualifier) = (None, None);
        if format != FORMAT {
            let length = u16::from_le_bytes(take(&mut rest)?);
            trace = Some(take_text(&mut rest, length)?).filter(|trace| !trace.is_empty());
        }
        if format >= QUALIFIED {
            let [length] = take::<1>(&mut rest)?;
            qualifier = Some(take_text(&mut rest, length.into())?).filter(|qualifier| !qualifier.is_empty());
        }
        let (mut delay_ms, mut keeps_result, mut deduplication_id) = (0, false, None);
        if format == OPTIONED {
            delay_ms = u64::from_le_bytes(take(&mut rest)?);
            keeps_result = take::<1>(&mut rest)? != [0];
            let length = u16::from_le_bytes(take(&mut rest)?);
            deduplication_id = Some(take_text(&mut rest, length)?).filter(|id| !id.is_empty());
        }
        let (error, payload) = rest.split_at_checked(error_len)?;
        let error = std::str::from_utf8(error).ok()?;
        Some(Self {
            request,
            life: Life { accepted_ms, delay_ms, hops, failures, unreached },
            status,
            error: (!error.is_empty()).then(|| error.into()),
            qualifier,
            trace,
            deduplication_id,
            keeps_result,
            payload: payload.into(),
        })
    }
}

fn take_text(rest: &mut &[u8], length: u16) -> Option<Arc<str>> {
    let (text, tail) = rest.split_at_checked(length.into())?;
    *rest = tail;
    std::str::from_utf8(text).ok().map(Into::into)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// The key of an event's row.
pub(crate) fn row_key(queue: u64, key: Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24);
    for word in [queue, key.due_ms, key.number] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// The event that a row's key names.
pub(crate) fn parse_key(bytes: &[u8]) -> Option<Key> {
    let mut rest = bytes.get(8..24)?;
    let due_ms = u64::from_be_bytes(take(&mut rest)?);
    Some(Key { due_ms, number: u64::from_be_bytes(take(&mut rest)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(error: Option<&str>, trace: Option<&str>, qualifier: Option<&str>) -> Event {
        Event {
            qualifier: qualifier.map(Into::into),
            request: u128::MAX - 5,
            life: Life { accepted_ms: 1 << 40, delay_ms: 0, hops: 3, failures: 2, unreached: 9 },
            status: 429,
            error: error.map(Into::into),
            trace: trace.map(Into::into),
            deduplication_id: None,
            keeps_result: false,
            payload: b"{\"a\":1}"[..].into(),
        }
    }

    #[test]
    fn events_read_back() {
        for error in [None, Some("{\"errorMessage\":\"\u{e9}\"}")] {
            for trace in [None, Some("00-01-02-01\na=b")] {
                for qualifier in [None, Some("live")] {
                    let event = event(error, trace, qualifier);
                    let bytes = event.encode();
                    assert_eq!(bytes.len(), event.weight());
                    assert_eq!(Event::decode(&bytes).as_ref(), Some(&event));
                    for (delay_ms, keeps_result, id) in [(1, false, None), (0, true, None), (9, true, Some("id"))] {
                        let mut event = Event { keeps_result, deduplication_id: id.map(Into::into), ..event.clone() };
                        event.life.delay_ms = delay_ms;
                        let bytes = event.encode();
                        assert_eq!((bytes[0], bytes.len()), (OPTIONED, event.weight()));
                        assert_eq!(Event::decode(&bytes), Some(event));
                    }
                }
            }
        }
        let formats =
            [(None, None), (Some("t"), None), (None, Some("1"))].map(|(trace, of)| event(None, trace, of).encode()[0]);
        assert_eq!(formats, [FORMAT, TRACED, QUALIFIED], "what has neither is written as before there were any");
    }

    #[test]
    fn what_is_cut_off_or_of_another_format_is_no_event() {
        let bytes = event(Some("error"), None, None).encode();
        for cut in 0..HEADER + 5 {
            assert_eq!(Event::decode(&bytes[..cut]), None);
        }
        let bytes = event(Some("error"), Some("trace"), Some("live")).encode();
        for cut in 0..HEADER + 17 {
            assert_eq!(Event::decode(&bytes[..cut]), None);
        }
        let bytes = Event { keeps_result: true, ..event(Some("error"), None, None) }.encode();
        for cut in 0..HEADER + 14 {
            assert_eq!(Event::decode(&bytes[..cut]), None);
        }
        assert_eq!(Event::decode(&[5; 100]), None);
    }

    #[test]
    fn rows_stand_in_the_order_in_which_they_are_due() {
        let keys = [(0, 5), (1, 2), (1, 3), (256, 1)].map(|(due_ms, number)| Key { due_ms, number });
        let rows = keys.map(|key| row_key(7, key));
        assert!(rows.is_sorted());
        assert_eq!(rows.map(|row| parse_key(&row).unwrap()), keys);
        assert_eq!(parse_key(&[0; 23]), None);
    }
}
