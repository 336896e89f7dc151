//! Shard iterators: a place in a shard as text that a client carries for five minutes.

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::aws::fault::Fault;

/// How long an iterator is good.
const LIFE_MS: u64 = 300_000;

/// A place in a shard of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardIterator {
    /// The stream's name.
    pub(super) stream: String,
    /// When the stream was made: a later one of the same name has other shards.
    pub(super) stream_ms: u64,
    /// The shard's id.
    pub(super) shard: String,
    /// The position in it.
    pub(super) at: u64,
    /// When this was given out.
    pub(super) issued_ms: u64,
}

impl ShardIterator {
    /// As text: a sum, and JSON.
    pub(super) fn write(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = crc32fast::hash(&json).to_be_bytes().to_vec();
        bytes.extend(json);
        STANDARD.encode(bytes)
    }

    /// Out of its text, if it is one of ours and not too old.
    pub(super) fn read(text: &str, now_ms: u64) -> Result<Self, Fault> {
        let wrong = || Fault::new("InvalidArgumentException", "Invalid ShardIterator.");
        let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
        let (sum, json) = bytes.split_at_checked(4).ok_or_else(wrong)?;
        if crc32fast::hash(json).to_be_bytes() != sum {
            return Err(wrong());
        }
        let iterator: Self = serde_json::from_slice(json).map_err(|_| wrong())?;
        let age_ms = now_ms.saturating_sub(iterator.issued_ms);
        if age_ms > LIFE_MS {
            let text =
                format!("Iterator expired. The iterator was created {age_ms} ms ago, and is good for {LIFE_MS} ms.");
            return Err(Fault::new("ExpiredIteratorException", text));
        }
        Ok(iterator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iterator_reads_back_for_five_minutes_and_unaltered() {
        let iterator = ShardIterator {
            stream: "s".into(),
            stream_ms: 7,
            shard: "shardId-000000000000".into(),
            at: 9,
            issued_ms: 1_000,
        };
        let text = iterator.write();
        assert_eq!(ShardIterator::read(&text, 301_000).unwrap(), iterator);
        assert_eq!(ShardIterator::read(&text, 301_001).unwrap_err().name, "ExpiredIteratorException");
        for wrong in ["", "AAAA", &text[4..], &format!("B{}", &text[1..])] {
            assert_eq!(ShardIterator::read(wrong, 1_000).unwrap_err().name, "InvalidArgumentException", "{wrong}");
        }
    }
}
