//! What is kept of an asynchronous event beside its own row: its result, its deduplication id, and when these go.
//!
//! A result stands under its request id. Its row is `until_ms u64, format u8 = 1, length u16, function`, big-endian, and once the event has
//! ended `ended_ms u64, condition u8, attempts u32, bytes of the response u32` and the response, JSON; `until_ms` is 0 before. A response
//! over the limit is left out. A deduplication id stands under its digest; its row is `until_ms u64, request u128`. Both begin with when
//! they go. What goes when is found by rows of their own: under `kind u8, until_ms u64, random u128` stand the keys of up to
//! [`OF_A_ROW`] others.

use forebay_core::invocation::protocol::Condition;

use crate::base::limits::EVENT_BYTES_MAX;
use crate::store::port::Table;

/// Most keys in one row of `EventExpiry`.
pub(crate) const OF_A_ROW: usize = 256;

const FORMAT: u8 = 1;

/// What is kept under an id for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Result = 1,
    Id = 2,
}

impl Kept {
    /// Where it stands.
    pub(crate) fn table(self) -> Table {
        match self {
            Self::Result => Table::EventResult,
            Self::Id => Table::EventId,
        }
    }

    /// Key of a row that says which go at a time. `random` tells it from others.
    pub(crate) fn expiry_key(self, until_ms: u64, random: u128) -> Vec<u8> {
        [&[self as u8][..], &until_ms.to_be_bytes(), &random.to_be_bytes()].concat()
    }
}

/// The time that such a key says.
pub(crate) fn expiry_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?))
}

/// Key of a result or of a deduplication id.
pub(crate) fn kept_key(id: u128) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

/// When the row of a result or of a deduplication id goes, wall ms; 0: not yet known.
pub(crate) fn until_of(row: &[u8]) -> Option<u64> {
    row.first_chunk().map(|until| u64::from_be_bytes(*until))
}

/// The row of a deduplication id.
pub(crate) fn id_row(until_ms: u64, request: u128) -> Vec<u8> {
    [&until_ms.to_be_bytes()[..], &request.to_be_bytes()].concat()
}

/// The request that was accepted with a deduplication id, and until when that is remembered.
pub(crate) fn parse_id(row: &[u8]) -> Option<(u64, u128)> {
    let (until_ms, request) = row.split_first_chunk()?;
    Some((u64::from_be_bytes(*until_ms), u128::from_be_bytes(request.try_into().ok()?)))
}

/// What is kept of an event whose result is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResultRow {
    /// The function, with the version if that was published.
    pub(crate) function: String,
    /// What became of it; `None`: it has not ended.
    pub(crate) end: Option<EndRow>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndRow {
    /// Until when it is kept, wall ms.
    pub(crate) until_ms: u64,
    pub(crate) ended_ms: u64,
    pub(crate) condition: Condition,
    /// Attempts that reached the function.
    pub(crate) attempts: u32,
    /// Bytes of the response.
    pub(crate) bytes: u32,
    /// The response or the error object, JSON; `None`: there was none, or it is over the limit.
    pub(crate) response: Option<String>,
}

impl EndRow {
    /// Take a response, unless it is over the limit.
    pub(crate) fn with(mut self, response: Option<&str>) -> Self {
        self.bytes = response.map_or(0, str::len) as u32;
        self.response = response.filter(|response| response.len() <= EVENT_BYTES_MAX).map(str::to_owned);
        self
    }
}

impl ResultRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&self.end.as_ref().map_or(0, |end| end.until_ms).to_be_bytes());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&(self.function.len() as u16).to_be_bytes());
        bytes.extend_from_slice(self.function.as_bytes());
        if let Some(end) = &self.end {
            bytes.extend_from_slice(&end.ended_ms.to_be_bytes());
            bytes.push(Condition::ALL.iter().position(|one| *one == end.condition).unwrap_or_default() as u8);
            bytes.extend_from_slice(&end.attempts.to_be_bytes());
            bytes.extend_from_slice(&end.bytes.to_be_bytes());
            bytes.extend_from_slice(end.response.as_deref().unwrap_or_default().as_bytes());
        }
        bytes
    }

    /// `None` if the bytes are not a result's.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (until_ms, rest) = bytes.split_first_chunk()?;
        let (&format, rest) = rest.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (function, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let function = std::str::from_utf8(function).ok().filter(|_| format == FORMAT)?.to_owned();
        let until_ms = u64::from_be_bytes(*until_ms);
        if until_ms == 0 {
            return rest.is_empty().then_some(Self { function, end: None });
        }
        let (ended_ms, rest) = rest.split_first_chunk()?;
        let (&condition, rest) = rest.split_first()?;
        let (attempts, rest) = rest.split_first_chunk()?;
        let (length, response) = rest.split_first_chunk()?;
        let response = std::str::from_utf8(response).ok()?;
        let end = EndRow {
            until_ms,
            ended_ms: u64::from_be_bytes(*ended_ms),
            condition: *Condition::ALL.get(usize::from(condition))?,
            attempts: u32::from_be_bytes(*attempts),
            bytes: u32::from_be_bytes(*length),
            response: (!response.is_empty()).then(|| response.to_owned()),
        };
        Some(Self { function, end: Some(end) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_what_is_cut_off_is_none() {
        let end = |response: Option<&str>| {
            let end = EndRow {
                until_ms: 7,
                ended_ms: 6,
                condition: Condition::EventAgeExceeded,
                attempts: 3,
                bytes: 0,
                response: None,
            };
            Some(end.with(response))
        };
        let long = "1".repeat(EVENT_BYTES_MAX + 1);
        for end in [None, end(None), end(Some("{}")), end(Some(&long))] {
            let row = ResultRow { function: "f:1".into(), end };
            let bytes = row.encode();
            assert_eq!(ResultRow::decode(&bytes).as_ref(), Some(&row));
            assert_eq!(until_of(&bytes), Some(row.end.as_ref().map_or(0, |end| end.until_ms)));
            let whole = 14 + if row.end.is_some() { 17 } else { 0 };
            (0..whole).for_each(|cut| assert_eq!(ResultRow::decode(&bytes[..cut]), None, "{cut}"));
        }
        assert_eq!(parse_id(&id_row(5, u128::MAX)), Some((5, u128::MAX)));
        assert_eq!(expiry_of(&Kept::Id.expiry_key(9, 1)), Some(9));
    }
}
