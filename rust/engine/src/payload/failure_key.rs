//! The name of a failure: whose records, which of them, and what part of what is told of them.

use forebay_core::stream::protocol::Condition;

/// Names a failure: mapping, shard's log, first position; or a function's events, 0, the event's number. The same records given up
/// again take the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FailureKey {
    pub(crate) mapping: u64,
    pub(crate) shard: u32,
    pub(crate) first: u64,
    pub(crate) part: Part,
}

impl FailureKey {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(21);
        bytes.extend_from_slice(&self.mapping.to_be_bytes());
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.first.to_be_bytes());
        if self.part != Part::Whole {
            bytes.push(self.part as u8);
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mapping = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let shard = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        let first = u64::from_be_bytes(bytes.get(12..20)?.try_into().ok()?);
        let number = bytes.get(20).copied().unwrap_or(0);
        let part = Part::ALL.into_iter().find(|part| *part as u8 == number)?;
        Some(Self { mapping, shard, first, part })
    }

    /// The name shown to people: `<mapping>-<log>-<position>`.
    pub(crate) fn text(self) -> String {
        format!("{}-{}-{}{}", self.mapping, self.shard, self.first, self.part.suffix())
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let part = Part::ALL.into_iter().rev().find(|part| text.ends_with(part.suffix()))?;
        let name = text.strip_suffix(part.suffix())?;
        let mut parts = name.splitn(3, '-').map(str::parse::<u64>);
        let mut next = || parts.next()?.ok();
        Some(Self { mapping: next()?, shard: u32::try_from(next()?).ok()?, first: next()?, part })
    }
}

/// What a failure holds. The number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Part {
    /// A batch, or an event.
    Whole = 0,
    /// Records that retention dropped, or damage took, from there on, before they were read. A batch may begin at the same position.
    Unread = 1,
    /// An event, for the dead-letter queue; its other destination may have to be told of it, too.
    DeadLetter = 2,
}

impl Part {
    const ALL: [Self; 3] = [Self::Whole, Self::Unread, Self::DeadLetter];

    /// What ends a failure's name and its delivery id.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Unread => ":unread",
            Self::DeadLetter => ":dead-letter",
        }
    }
}

/// How a condition is spelled in records and metrics.
pub(crate) const fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::RetryAttemptsExhausted => "RetryAttemptsExhausted",
        Condition::RecordAgeExceeded => "RecordAgeExceeded",
        Condition::RuntimeInterrupted => "RuntimeInterrupted",
        Condition::Skipped => "Skipped",
        Condition::Trimmed => "RecordsExpired",
    }
}
