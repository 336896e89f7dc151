//! Sequence numbers: the public form of a position.
//!
//! Twenty decimal digits, `10^19 + position * 10^6 + shard index`: unique in a stream, the same order as text and as a
//! number, and growing for a key across a reshard, since children begin above their parents.

/// Positions are below this; a shard takes 8.4 million million records in its life.
pub const POSITION_MAX: u64 = 8_400_000_000_000;
/// Shard indices of one stream are below this.
pub const SHARD_INDEX_MAX: u32 = 1_000_000;

const BASE: u64 = 10_000_000_000_000_000_000;
const SHARDS: u64 = SHARD_INDEX_MAX as u64;

/// The sequence number of a position.
pub fn number(shard_index: u32, position: u64) -> u64 {
    BASE + position * SHARDS + u64::from(shard_index)
}

/// The shard index and position of a sequence number's text; `None` if it is none of ours.
pub fn parse(text: &str) -> Option<(u32, u64)> {
    if text.len() != 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let rest = text.parse::<u64>().ok()?.checked_sub(BASE)?;
    Some(((rest % SHARDS) as u32, rest / SHARDS))
}

/// The public name of a shard.
pub fn shard_id(shard_index: u32) -> String {
    format!("shardId-{shard_index:012}")
}

/// The index in a shard's public name.
pub fn parse_shard_id(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("shardId-")?;
    if digits.len() != 12 {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_twenty_digits_and_reads_back() {
        for (shard, position) in [(0, 0), (3, 42), (SHARD_INDEX_MAX - 1, POSITION_MAX - 1)] {
            let text = number(shard, position).to_string();
            assert_eq!(text.len(), 20);
            assert_eq!(parse(&text), Some((shard, position)));
        }
    }

    #[test]
    fn foreign_text_is_no_number() {
        for text in
            ["", "1", "09999999999999999999", "1000000000000000000x", "100000000000000000000", "010000000000000000000"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_shard_name_reads_back() {
        assert_eq!(shard_id(3), "shardId-000000000003");
        assert_eq!(parse_shard_id("shardId-000000000003"), Some(3));
        assert_eq!(parse_shard_id("shard-3"), None);
    }
}
