//! An asynchronous event as it is kept: under which key, in which bytes.
//!
//! The key is `queue u64, due_ms u64, number u64`, big-endian, so that the store holds the events of a function in the order in
//! which they are due. The value is `format u8 = 1, request u128, accepted_ms u64, hops u32, failures u32, unreached u32, status
//! u16, error length u32`, little-endian, then the last error object and the payload, both JSON. An event with a trace context is of
//! format 2: `length u16, context` stand before the error.

use std::sync::Arc;

use forebay_core::invocation::face::{Key, Life};

const FORMAT: u8 = 1;
const TRACED: u8 = 2;
const HEADER: usize = 43;

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
    /// What was going on where it was asked for: see `trace.rs`.
    pub(crate) trace: Option<Arc<str>>,
    /// JSON.
    pub(crate) payload: Arc<[u8]>,
}

impl Event {
    /// Bytes it takes in memory, about.
    pub(crate) fn weight(&self) -> usize {
        let trace = self.trace.as_ref().map_or(0, |trace| 2 + trace.len());
        HEADER + trace + self.payload.len() + self.error.as_ref().map_or(0, |error| error.len())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let error = self.error.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(self.weight());
        bytes.push(if self.trace.is_some() { TRACED } else { FORMAT });
        bytes.extend_from_slice(&self.request.to_le_bytes());
        bytes.extend_from_slice(&self.life.accepted_ms.to_le_bytes());
        for count in [self.life.hops, self.life.failures, self.life.unreached] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes.extend_from_slice(&self.status.to_le_bytes());
        bytes.extend_from_slice(&(error.len() as u32).to_le_bytes());
        if let Some(trace) = &self.trace {
            bytes.extend_from_slice(&(trace.len() as u16).to_le_bytes());
            bytes.extend_from_slice(trace.as_bytes());
        }
        bytes.extend_from_slice(error.as_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// `None` if the bytes are no event's.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [format] = take::<1>(&mut rest)?;
        if ![FORMAT, TRACED].contains(&format) {
            return None;
        }
        let request = u128::from_le_bytes(take(&mut rest)?);
        let accepted_ms = u64::from_le_bytes(take(&mut rest)?);
        let [hops, failures, unreached] =
            [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u32::from_le_bytes);
        let status = u16::from_le_bytes(take(&mut rest)?);
        let error_len = u32::from_le_bytes(take(&mut rest)?) as usize;
        let trace = if format == TRACED { Some(take_trace(&mut rest)?) } else { None };
        let (error, payload) = rest.split_at_checked(error_len)?;
        let error = std::str::from_utf8(error).ok()?;
        Some(Self {
            request,
            life: Life { accepted_ms, hops, failures, unreached },
            status,
            error: (!error.is_empty()).then(|| error.into()),
            trace,
            payload: payload.into(),
        })
    }
}

fn take_trace(rest: &mut &[u8]) -> Option<Arc<str>> {
    let length = u16::from_le_bytes(take(rest)?);
    let (trace, tail) = rest.split_at_checked(length.into())?;
    *rest = tail;
    std::str::from_utf8(trace).ok().map(Into::into)
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

    fn event(error: Option<&str>, trace: Option<&str>) -> Event {
        Event {
            request: u128::MAX - 5,
            life: Life { accepted_ms: 1 << 40, hops: 3, failures: 2, unreached: 9 },
            status: 429,
            error: error.map(Into::into),
            trace: trace.map(Into::into),
            payload: b"{\"a\":1}"[..].into(),
        }
    }

    #[test]
    fn events_read_back() {
        for error in [None, Some("{\"errorMessage\":\"\u{e9}\"}")] {
            for trace in [None, Some("00-01-02-01\na=b")] {
                let bytes = event(error, trace).encode();
                assert_eq!(bytes.len(), event(error, trace).weight());
                assert_eq!(Event::decode(&bytes), Some(event(error, trace)));
            }
        }
        assert_eq!(event(None, None).encode()[0], FORMAT, "without a context as before there were any");
    }

    #[test]
    fn what_is_cut_off_or_of_another_format_is_no_event() {
        let bytes = event(Some("error"), None).encode();
        for cut in 0..HEADER + 5 {
            assert_eq!(Event::decode(&bytes[..cut]), None);
        }
        let bytes = event(Some("error"), Some("trace")).encode();
        for cut in 0..HEADER + 12 {
            assert_eq!(Event::decode(&bytes[..cut]), None);
        }
        assert_eq!(Event::decode(&[3; 100]), None);
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
