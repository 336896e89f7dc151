//! A histogram as bytes. The format is stable: a later one gets another first byte, and this one is still read.
//!
//! `01`, then sum, min, max (float 64, little-endian; 0 when there is no value), then LEB128 numbers: zero, below, above, how many slots, and for
//! each slot its distance from the one before and its count.

use super::{Histogram, MAX, SLOTS};

const FORMAT: u8 = 1;
/// Greatest total count: every count is exact as a float, too.
const COUNT_MAX: u64 = 1 << 53;

/// Why bytes are not a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Written by a newer forebay: the format found.
    NewerFormat(u8),
    /// Cut short, or not written by a histogram.
    Damaged,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NewerFormat(found) => {
                write!(f, "the histogram has format {found}, this forebay reads format {FORMAT}")
            }
            Self::Damaged => f.write_str("the bytes are not a histogram, or are damaged"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Histogram {
    /// The histogram as bytes: about three bytes for each bucket in use.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for value in [self.sum, self.min().unwrap_or(0.0), self.max().unwrap_or(0.0)] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let slots: Vec<_> = self.slots().collect();
        for number in [self.zero, self.below, self.above, slots.len() as u64] {
            write_number(&mut out, number);
        }
        let mut before = 0;
        for (slot, count) in slots {
            write_number(&mut out, (slot - before) as u64);
            write_number(&mut out, count);
            before = slot;
        }
        out
    }

    /// Read what [`Histogram::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.first() {
            Some(&FORMAT) => decode(&bytes[1..]).ok_or(DecodeError::Damaged),
            Some(0) | None => Err(DecodeError::Damaged),
            Some(&newer) => Err(DecodeError::NewerFormat(newer)),
        }
    }
}

fn decode(mut rest: &[u8]) -> Option<Histogram> {
    let mut read = Histogram {
        sum: take_float(&mut rest)?,
        min: take_float(&mut rest)?,
        max: take_float(&mut rest)?,
        zero: take_number(&mut rest)?,
        below: take_number(&mut rest)?,
        above: take_number(&mut rest)?,
        ..Histogram::default()
    };
    read.count = read.zero.checked_add(read.below)?.checked_add(read.above)?;
    let slots = take_number(&mut rest)?;
    let mut slot = 0;
    for number in 0..slots {
        let step = usize::try_from(take_number(&mut rest)?).ok()?;
        slot = usize::checked_add(slot, step)?;
        let count = take_number(&mut rest)?;
        if slot >= SLOTS || count == 0 || (number > 0 && step == 0) {
            return None;
        }
        read.count = read.count.checked_add(count)?;
        read.add(slot, count);
    }
    if read.count == 0 {
        return rest.is_empty().then(Histogram::default);
    }
    let exact = read.sum.is_finite() && 0.0 <= read.min && read.min <= read.max && read.max.is_finite();
    let bounds = (read.above > 0) == (read.max > MAX) && (read.zero == 0 || read.min == 0.0);
    (rest.is_empty() && exact && bounds && read.count <= COUNT_MAX).then_some(read)
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_float(rest: &mut &[u8]) -> Option<f64> {
    let (bytes, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(f64::from_le_bytes(*bytes))
}
