//! The format on disk: what the two b-trees hold, and the checksums by which every byte of it is known to be right.
//!
//! `chunk` keeps each chunk under `shard << 43 | first position`. One CRC covers what describes a chunk, another its body, so
//! that a chunk can be weighed without being read.
//!
//! `row` keeps rows under (table number, key), with a CRC over both and the value. Table 0 is the store's own: the span of
//! each log under its shard (big-endian), and under the empty key the *census*: how many commits there were, how many rows
//! there are, and a sum over the checksums of all of them. A row or chunk that is *missing* has no checksum to fail; the census
//! tells of the one, the span of its log of the other.

use rusqlite::Row;

use crate::chunk::Chunk;
use crate::port::{ShardId, StoreError};
use crate::{Span, CHUNK_BYTES_MAX, POSITION_LIMIT, SHARD_LIMIT};

/// `application_id` of our files: "fbay".
pub(crate) const APPLICATION_ID: u32 = 0x6662_6179;
/// Newest format understood, kept as `user_version`. Format 2 has hops in the messages of queues, and may have trace contexts in records
/// and events; everything of format 1 is read as it stands, and what is written to such a file makes it one of format 2. Format 3 keeps
/// the name of the app whose store it is ([`crate::format::keys::APP`]): a file became one of format 3 when it was given a name. Format 4
/// has events with delays and deduplication ids, and their results: a file becomes one of format 4 when an app opens it.
pub(crate) const FORMAT: u32 = 4;
/// Newest format whose events have none of these.
const FORMAT_NAMED: u32 = 3;
/// Newest format that knows no app's name.
pub(crate) const FORMAT_UNNAMED: u32 = 2;

/// The statements that made the tables; the file itself repeats them, and must repeat them exactly. Formats 1 and 2 lack the last one,
/// a view that nobody reads. Every later format must have others: `user_version` has no checksum, and a bit of it that flips shows by
/// this as damage and not as a newer format.
pub(crate) const SCHEMA: [&str; 3] = [
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY, count INTEGER NOT NULL, bytes INTEGER NOT NULL, \
     last_arrival_ms INTEGER NOT NULL, body_crc INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE row(tab INTEGER NOT NULL, key BLOB NOT NULL, crc INTEGER NOT NULL, value BLOB NOT NULL, \
     PRIMARY KEY(tab, key)) STRICT, WITHOUT ROWID",
    "CREATE VIEW format AS SELECT 4 AS format",
];
/// The last of them in format 3.
const NAMED_VIEW: &str = "CREATE VIEW format AS SELECT 3 AS format";

/// The newest format whose files have these statements.
pub(crate) fn format_of(statements: &[Option<String>]) -> Option<u32> {
    let statements: Vec<&str> = statements.iter().map(Option::as_deref).collect::<Option<_>>()?;
    let (tables, view) = statements.split_at_checked(2)?;
    match view {
        _ if tables != &SCHEMA[..2] => None,
        [] => Some(FORMAT_UNNAMED),
        [view] if *view == NAMED_VIEW => Some(FORMAT_NAMED),
        [view] if *view == SCHEMA[2] => Some(FORMAT),
        _ => None,
    }
}

/// The store's own rows.
pub const OWN: u8 = 0;
/// Key of the census among them.
pub const CENSUS_KEY: &[u8] = b"";

/// `rowid` of the chunk of `shard` that begins at `position`; `u64::MAX` gives the last one the shard can have.
pub fn chunk_id(shard: ShardId, position: u64) -> i64 {
    ((u64::from(shard) << 43) | position.min((1 << 43) - 1)) as i64
}

/// What describes a chunk, without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    id: i64,
    /// Its records.
    pub count: u32,
    /// Bytes of its body.
    pub bytes: u64,
    /// Arrival of its last record, wall ms.
    pub last_arrival_ms: u64,
    pub(crate) body_crc: u32,
}

impl Head {
    /// What describes a chunk of a log.
    pub fn of(shard: ShardId, chunk: &Chunk) -> Self {
        Self {
            id: chunk_id(shard, chunk.first()),
            count: chunk.len() as u32,
            bytes: chunk.body().len() as u64,
            last_arrival_ms: chunk.last_arrival_ms(),
            body_crc: crc32fast::hash(chunk.body()),
        }
    }

    /// Read and verify a head from the columns `id, count, bytes, last_arrival_ms, body_crc, crc`.
    pub fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let id: i64 = row.get(0)?;
        let read = || -> rusqlite::Result<(Self, u32)> {
            let (bytes, last_arrival_ms): (i64, i64) = (row.get(2)?, row.get(3)?);
            let (bytes, last_arrival_ms) = (bytes as u64, last_arrival_ms as u64);
            Ok((Self { id, count: row.get(1)?, bytes, last_arrival_ms, body_crc: row.get(4)? }, row.get(5)?))
        };
        match read() {
            Ok((head, crc)) => head.verified(crc),
            Err(error) => Err(StoreError::Corrupt(format!("{}: {error}", chunk_name(id)))),
        }
    }

    /// Verify a head that another store keeps: `(records, bytes, arrival of the last one in ms, checksum of the body)`, and its checksum.
    pub fn of_facts(id: i64, facts: (u32, u64, u64, u32), crc: u32) -> Result<Self, StoreError> {
        let (count, bytes, last_arrival_ms, body_crc) = facts;
        Self { id, count, bytes, last_arrival_ms, body_crc }.verified(crc)
    }

    fn verified(self, crc: u32) -> Result<Self, StoreError> {
        if self.crc() != crc {
            return Err(StoreError::Corrupt(format!("{} fails its checksum", self.name())));
        }
        if !self.is_in_format() {
            return Err(StoreError::Corrupt(format!("{} lies outside the format", self.name())));
        }
        Ok(self)
    }

    /// Insist that a chunk stands where the one before it ended, and inside its log.
    pub fn follow(self, next: u64, span: Span) -> Result<Self, StoreError> {
        if self.first() == next && self.end() <= span.next {
            return Ok(self);
        }
        Err(missing(self.shard(), next))
    }

    /// Open the body that belongs to this head.
    pub fn open(&self, body: &[u8]) -> Result<Chunk, StoreError> {
        if body.len() as u64 != self.bytes || crc32fast::hash(body) != self.body_crc {
            return Err(StoreError::Corrupt(format!("{}: its records fail their checksum", self.name())));
        }
        match Chunk::open(self.first(), body.to_vec()) {
            Some(chunk) if chunk.len() == self.count as usize => Ok(chunk),
            _ => Err(StoreError::Corrupt(format!("{} does not hold {} records", self.name(), self.count))),
        }
    }

    /// Checksum of all of it.
    pub fn crc(&self) -> u32 {
        head_crc(self.id, self.count, self.bytes, self.last_arrival_ms, self.body_crc)
    }

    /// Checksum of its body.
    pub fn body_crc(&self) -> u32 {
        self.body_crc
    }

    /// The number under which the file keeps it.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The log that it belongs to.
    pub fn shard(&self) -> ShardId {
        (self.id as u64 >> 43) as ShardId
    }

    /// Position of its first record.
    pub fn first(&self) -> u64 {
        self.id as u64 & ((1 << 43) - 1)
    }

    /// Position after its last record.
    pub fn end(&self) -> u64 {
        self.first() + u64::from(self.count)
    }

    /// Whether a store takes such a chunk.
    fn is_in_format(&self) -> bool {
        let fits = self.shard() < SHARD_LIMIT && self.end() <= POSITION_LIMIT && self.bytes <= CHUNK_BYTES_MAX as u64;
        self.count > 0 && fits
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        chunk_name(self.id)
    }
}

pub(crate) fn head_crc(id: i64, count: u32, bytes: u64, last_arrival_ms: u64, body_crc: u32) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(b"chunk");
    crc.update(&id.to_le_bytes());
    crc.update(&count.to_le_bytes());
    crc.update(&bytes.to_le_bytes());
    crc.update(&last_arrival_ms.to_le_bytes());
    crc.update(&body_crc.to_le_bytes());
    crc.finalize()
}

/// What messages call the chunk of that number.
pub fn chunk_name(id: i64) -> String {
    format!("the chunk at position {} of shard {}", id as u64 & ((1 << 43) - 1), id as u64 >> 43)
}

/// A log lacks the chunk that holds a position.
pub fn missing(shard: ShardId, position: u64) -> StoreError {
    StoreError::Corrupt(format!("the chunk that holds position {position} of shard {shard} is missing"))
}

/// Checksum of a row.
pub fn row_crc(tab: u8, key: &[u8], value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[b'r', b'o', b'w', tab]);
    crc.update(&(key.len() as u32).to_le_bytes());
    crc.update(key);
    crc.update(value);
    crc.finalize()
}

/// Refuse a row that is not what was written.
pub fn verify_row(tab: u8, key: &[u8], value: &[u8], crc: u32) -> Result<(), StoreError> {
    if row_crc(tab, key, value) == crc {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!("{} fails its checksum", row_name(tab, key))))
}

/// What messages call a row.
pub fn row_name(tab: u8, key: &[u8]) -> String {
    let more = if key.len() > 32 { "…" } else { "" };
    format!("the row \"{}{more}\" of table {tab}", key[..key.len().min(32)].escape_ascii())
}

/// Key of a log's span among the store's own rows.
pub(crate) fn span_key(shard: ShardId) -> [u8; 4] {
    shard.to_be_bytes()
}

pub(crate) fn encode_span(span: Span) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&span.first.to_le_bytes());
    value[8..].copy_from_slice(&span.next.to_le_bytes());
    value
}

/// The shard whose span stands under a key.
pub fn shard_of_span(key: &[u8]) -> Result<ShardId, StoreError> {
    let shard = key.try_into().map(ShardId::from_be_bytes);
    shard.map_err(|_| StoreError::Corrupt(format!("a span has a key of {} bytes", key.len())))
}

/// The span that a row holds; an error for one that no log can have.
pub fn decode_span(shard: ShardId, value: &[u8]) -> Result<Span, StoreError> {
    let [first, next] = words(value)
        .ok_or_else(|| StoreError::Corrupt(format!("the span of shard {shard} has {} bytes", value.len())))?;
    if shard >= SHARD_LIMIT || first > next || next > POSITION_LIMIT {
        return Err(StoreError::Corrupt(format!("the span {first}..{next} of shard {shard} lies outside the format")));
    }
    Ok(Span { first, next })
}

/// What the whole store adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Commits that ever were.
    pub commits: u64,
    /// Rows there are, the census not counted.
    pub rows: u64,
    digest: u64,
}

impl Census {
    /// The census of a store without rows.
    pub fn empty(commits: u64) -> Self {
        Self { commits, rows: 0, digest: 0 }
    }

    /// Count a row by its checksum.
    pub fn add(&mut self, tab: u8, crc: u32) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(weight(tab, crc));
    }

    pub(crate) fn remove(&mut self, tab: u8, crc: u32) {
        // Wrapping: a damaged store may hold fewer rows than it counted; the next start finds that out.
        self.rows = self.rows.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(weight(tab, crc));
    }

    /// Whether both count the same rows.
    pub fn matches(&self, other: &Self) -> bool {
        (self.rows, self.digest) == (other.rows, other.digest)
    }

    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut value = [0; 24];
        for (place, word) in value.chunks_exact_mut(8).zip([self.commits, self.rows, self.digest]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        value
    }

    /// The census that a row holds.
    pub fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let [commits, rows, digest] =
            words(value).ok_or_else(|| StoreError::Corrupt(format!("the census has {} bytes", value.len())))?;
        Ok(Self { commits, rows, digest })
    }
}

/// What a row adds to the digest: its checksum, spread over 64 bits so that sums do not meet by rng.
fn weight(tab: u8, crc: u32) -> u64 {
    let mut bits = (u64::from(tab) << 32 | u64::from(crc)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn words<const N: usize>(value: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = value.as_chunks::<8>();
    let words: &[[u8; 8]; N] = words.try_into().ok()?;
    rest.is_empty().then(|| words.map(u64::from_le_bytes))
}
