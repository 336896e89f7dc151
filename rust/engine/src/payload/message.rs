//! A message: what its sender gives, how it is packed into its queue's log, by what it is named.
//!
//! A message is a record of a chunk (`chunk.rs`): the record's key is the message group, its arrival the moment of sending, its
//! data `format u8 = 2, id u128, delay_ms u32, deduplication id length u16, source length u16, attributes length u32, hops u16`,
//! little-endian, then deduplication id, source queue, attributes and body; format 1 had no hops. An attribute is `name length u16, type length
//! u16, value length u32`, name, type, value; they stand in the order of their names.

use std::ops::Range;

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::Engine as _;
use forebay_core::queue::protocol::Handle;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use crate::base::bytes::{hex, u16_at, u32_at, u64_at};
use crate::base::error::EngineError;
use crate::store::chunk::RecordView;
use crate::store::port::ShardId;

/// Most bytes of a message, and of those sent together.
pub const BODY_MAX: usize = 1_048_576;

const FORMAT: u8 = 2;
/// Where a packed message has its id.
const ID: Range<usize> = 1..17;
const HEADER: usize = 31;
/// Of a message without hops.
const FORMAT_1: u8 = 1;
const HEADER_1: usize = 29;
/// Begins a receipt handle.
const RECEIPT: u8 = 1;
/// Sequence numbers have 20 digits.
const SEQUENCE_BASE: u64 = 10_000_000_000_000_000_000;

/// A message as its sender gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NewMessage {
    /// Text, 1 byte to 1 MiB together with the attributes.
    pub body: String,
    /// `MessageGroupId`; a FIFO queue's messages have one. In a standard queue it orders nothing.
    #[serde(default)]
    pub group_id: Option<String>,
    /// `MessageDeduplicationId` of a FIFO queue's message.
    #[serde(default)]
    pub deduplication_id: Option<String>,
    /// How long it cannot be received, 0..=900,000; `None`: as long as the queue says.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// At most ten.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
}

/// A message attribute.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attribute {
    /// 1 to 256 characters.
    pub name: String,
    /// `String`, `Number` or `Binary`, and perhaps a point and a word of the sender's.
    pub data_type: String,
    /// Text, or base64 of a `Binary`.
    pub value: String,
}

impl Attribute {
    pub(crate) fn is_binary(&self) -> bool {
        self.data_type.split('.').next() == Some("Binary")
    }

    /// Bytes that count, of a binary one those that its base64 stands for.
    pub fn size(&self) -> usize {
        let value = match self.value.trim_end_matches('=').len() {
            letters if self.is_binary() => letters * 3 / 4,
            _ => self.value.len(),
        };
        self.name.len() + self.data_type.len() + value
    }

    /// Bytes of the value; `None` if a binary one is not base64.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        if self.is_binary() {
            return STANDARD.decode(&self.value).ok();
        }
        Some(self.value.clone().into_bytes())
    }
}

/// `MD5OfMessageBody`.
pub(crate) fn md5_text(body: &str) -> String {
    hex(&Md5::digest(body.as_bytes()))
}

/// Pack attributes that were found good.
pub(crate) fn pack_attributes(attributes: &[Attribute]) -> Vec<u8> {
    let mut sorted: Vec<&Attribute> = attributes.iter().collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    let mut packed = Vec::new();
    for attribute in sorted {
        let value = attribute.bytes().unwrap_or_default();
        packed.extend_from_slice(&(attribute.name.len() as u16).to_le_bytes());
        packed.extend_from_slice(&(attribute.data_type.len() as u16).to_le_bytes());
        packed.extend_from_slice(&(value.len() as u32).to_le_bytes());
        packed.extend_from_slice(attribute.name.as_bytes());
        packed.extend_from_slice(attribute.data_type.as_bytes());
        packed.extend_from_slice(&value);
    }
    packed
}

/// A message out of its record, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Message id.
    pub id: u128,
    /// Message group; empty without one.
    pub group: &'a str,
    /// When it was sent, wall ms.
    pub sent_ms: u64,
    /// How long after that it cannot be received.
    pub delay_ms: u64,
    /// Functions that the chain it belongs to has gone through.
    pub hops: u32,
    /// Deduplication id; empty without one.
    pub deduplication_id: &'a str,
    /// The queue whose dead letter it is; empty if it is none.
    pub source: &'a str,
    pub(crate) attributes: &'a [u8],
    /// What it says.
    pub body: &'a str,
}

impl<'a> Message<'a> {
    /// Whether a record of a queue's log holds a message: its place may have been filled when a damaged store was salvaged.
    pub(crate) fn stands_in(record: &RecordView<'_>) -> bool {
        matches!(record.data.first(), Some(&(FORMAT | FORMAT_1)))
    }

    /// Read a record of a queue's log; `None` if it holds no message.
    pub fn of(record: &RecordView<'a>) -> Option<Self> {
        let header = match *record.data.first()? {
            FORMAT => HEADER,
            FORMAT_1 => HEADER_1,
            _ => return None,
        };
        let (head, rest) = record.data.split_at_checked(header)?;
        let (deduplication_id, rest) = rest.split_at_checked(usize::from(u16_at(head, 21)))?;
        let (source, rest) = rest.split_at_checked(usize::from(u16_at(head, 23)))?;
        let (attributes, body) = rest.split_at_checked(u32_at(head, 25) as usize)?;
        let mut id = [0; 16];
        id.copy_from_slice(&head[ID]);
        Some(Self {
            id: u128::from_le_bytes(id),
            group: record.key,
            sent_ms: record.arrival_ms,
            delay_ms: u64::from(u32_at(head, 17)),
            hops: if header == HEADER { u32::from(u16_at(head, 29)) } else { 0 },
            deduplication_id: std::str::from_utf8(deduplication_id).ok()?,
            source: std::str::from_utf8(source).ok()?,
            attributes,
            body: std::str::from_utf8(body).ok()?,
        })
    }

    /// The record's data.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let texts = [self.deduplication_id.as_bytes(), self.source.as_bytes(), self.attributes, self.body.as_bytes()];
        let mut data = Vec::with_capacity(HEADER + texts.iter().map(|text| text.len()).sum::<usize>());
        data.push(FORMAT);
        data.extend_from_slice(&self.id.to_le_bytes());
        data.extend_from_slice(&(self.delay_ms as u32).to_le_bytes());
        data.extend_from_slice(&(self.deduplication_id.len() as u16).to_le_bytes());
        data.extend_from_slice(&(self.source.len() as u16).to_le_bytes());
        data.extend_from_slice(&(self.attributes.len() as u32).to_le_bytes());
        data.extend_from_slice(&(self.hops.min(u32::from(u16::MAX)) as u16).to_le_bytes());
        for text in texts {
            data.extend_from_slice(text);
        }
        data
    }

    /// A message that is sent now, its attributes packed.
    pub(crate) fn new(
        id: u128,
        (group, deduplication_id): (&'a str, &'a str),
        (sent_ms, delay_ms): (u64, u64),
        attributes: &'a [u8],
        body: &'a str,
    ) -> Self {
        Self { id, group, sent_ms, delay_ms, hops: 0, deduplication_id, source: "", attributes, body }
    }

    /// The same message as the dead letter of a queue.
    pub(crate) fn buried(self, source: &'a str, sent_ms: u64) -> Self {
        Self { source, sent_ms, delay_ms: 0, ..self }
    }

    /// The same message begun anew by an operator, and with it the chain that it belongs to.
    pub(crate) fn redriven(self, sent_ms: u64) -> Self {
        Self { source: "", sent_ms, delay_ms: 0, hops: 0, ..self }
    }

    /// Attributes as `(name, type, value)`, by name.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str, &'a [u8])> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            let (head, after) = rest.split_at_checked(8)?;
            let (name, after) = after.split_at_checked(usize::from(u16_at(head, 0)))?;
            let (kind, after) = after.split_at_checked(usize::from(u16_at(head, 2)))?;
            let (value, after) = after.split_at_checked(u32_at(head, 4) as usize)?;
            rest = after;
            Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(kind).ok()?, value))
        })
    }

    /// `MD5OfBody`.
    pub fn md5_of_body(&self) -> String {
        md5_text(self.body)
    }

    /// `MD5OfMessageAttributes`; `None` without attributes.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
    pub fn md5_of_attributes(&self) -> Option<String> {
        if self.attributes.is_empty() {
            return None;
        }
        let mut hash = Md5::new();
        for (name, kind, value) in self.attributes() {
            for text in [name, kind] {
                hash.update((text.len() as u32).to_be_bytes());
                hash.update(text);
            }
            hash.update([if is_binary(kind) { 2 } else { 1 }]);
            hash.update((value.len() as u32).to_be_bytes());
            hash.update(value);
        }
        Some(hex(&hash.finalize()))
    }

    /// Bytes that count: of the body and of the attributes' names, types and values.
    pub fn size(&self) -> usize {
        let attributes: usize =
            self.attributes().map(|(name, kind, value)| name.len() + kind.len() + value.len()).sum();
        self.body.len() + attributes
    }

    /// `messageAttributes` of Lambda's event.
    pub fn attributes_json(&self) -> Map<String, Value> {
        let one = |(name, kind, value): (&str, &str, &[u8])| {
            let mut given = json!({"stringListValues": [], "binaryListValues": [], "dataType": kind});
            if is_binary(kind) {
                given["binaryValue"] = STANDARD.encode(value).into();
            } else {
                given["stringValue"] = String::from_utf8_lossy(value).into();
            }
            (name.to_owned(), given)
        };
        self.attributes().map(one).collect()
    }
}

/// Whether a data type is `Binary` or a kind of it.
pub fn is_binary(data_type: &str) -> bool {
    data_type.split('.').next() == Some("Binary")
}

/// Id of the message that a queue gives a number.
pub(crate) fn message_id(seed: u64, number: u64) -> u128 {
    let high = mix(seed ^ mix(number));
    let low = mix(high ^ number.wrapping_add(seed.rotate_left(32)));
    let bits = u128::from(high) << 64 | u128::from(low);
    bits & !(0xF << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
}

/// Give a packed message another id.
pub(crate) fn rename(packed: &mut [u8], id: u128) {
    packed[ID].copy_from_slice(&id.to_le_bytes());
}

/// The finalizer of `SplitMix64`: no two inputs give one output.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The other way round of `mix`.
fn unmix(value: u64) -> u64 {
    let value = (value ^ (value >> 31) ^ (value >> 62)).wrapping_mul(0x3196_42B2_D24D_8EC3);
    let value = (value ^ (value >> 27) ^ (value >> 54)).wrapping_mul(0x96DE_1B17_3F11_9089);
    (value ^ (value >> 30) ^ (value >> 60)).wrapping_sub(0x9E37_79B9_7F4A_7C15)
}

/// The number of the message that has an id, if a queue with this seed gave it.
pub(crate) fn message_number(seed: u64, id: u128) -> Option<u64> {
    // Four bits of the half that tells are the UUID's version.
    let high = (id >> 64) as u64 & !(0xF << 12);
    let mut numbers = (0..16).map(|version| unmix(seed ^ unmix(high | version << 12)));
    numbers.find(|&number| message_id(seed, number) == id)
}

/// Sequence number of a FIFO queue's message: 20 digits, growing.
pub fn sequence_number(number: u64) -> u64 {
    SEQUENCE_BASE + number
}

/// The message that has a sequence number.
pub(crate) fn number_in_sequence(sequence: u64) -> Option<u64> {
    sequence.checked_sub(SEQUENCE_BASE)
}

/// A receipt handle: opaque to whoever holds it.
pub fn receipt_text(log: ShardId, handle: Handle) -> String {
    let mut bytes = [0; 21];
    bytes[0] = RECEIPT;
    bytes[1..5].copy_from_slice(&log.to_le_bytes());
    bytes[5..13].copy_from_slice(&handle.number.to_le_bytes());
    bytes[13..].copy_from_slice(&handle.receipt.to_le_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The queue's log and the handle that a receipt names.
pub fn parse_receipt(text: &str) -> Option<(ShardId, Handle)> {
    let bytes: [u8; 21] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    if bytes[0] != RECEIPT {
        return None;
    }
    Some((u32_at(&bytes, 1), Handle { number: u64_at(&bytes, 5), receipt: u64_at(&bytes, 13) }))
}

/// Refuse a receipt that is not of this queue.
pub(crate) fn handle_of(text: &str, log: ShardId) -> Result<Handle, EngineError> {
    match parse_receipt(text) {
        Some((of, handle)) if of == log => Ok(handle),
        _ => {
            let text = if text.len() > 80 { "…" } else { text };
            Err(EngineError::Invalid(format!("The input receipt handle \"{text}\" is not a valid receipt handle.")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::chunk::Chunk;

    fn attribute(name: &str, data_type: &str, value: &str) -> Attribute {
        Attribute { name: name.into(), data_type: data_type.into(), value: value.into() }
    }

    #[test]
    fn an_id_leads_back_to_its_number_and_only_by_its_own_seed() {
        for number in [0, 1, 77, 1 << 40] {
            let id = message_id(0x5EED, number);
            assert_eq!(message_number(0x5EED, id), Some(number));
            assert_eq!(message_number(0x5EEE, id), None);
            assert_eq!(message_number(0x5EED, id ^ 1), None);
        }
    }

    #[test]
    fn a_message_comes_out_of_its_record_as_it_went_in() {
        let packed = pack_attributes(&[attribute("z", "String", "ü"), attribute("a", "Binary.png", "AAH/")]);
        let message = Message { hops: 3, ..Message::new(7, ("g", "d"), (1_000, 5), &packed, "hello") };
        let dead = message.buried("orders", 2_000);
        let mut chunk = Chunk::starting_at(4);
        for one in [message, dead] {
            chunk.push(one.group, &one.pack(), 0, one.sent_ms);
        }
        assert_eq!(Message::of(&chunk.record(4)), Some(message));
        assert_eq!(Message::of(&chunk.record(5)), Some(dead));
        assert_eq!((dead.hops, dead.redriven(3_000).hops), (3, 0));
        let names: Vec<_> = message.attributes().collect();
        assert_eq!(names, [("a", "Binary.png", &b"\x00\x01\xff"[..]), ("z", "String", "ü".as_bytes())]);
        assert_eq!(message.size(), 5 + 1 + 10 + 3 + 1 + 6 + 2);
        assert_eq!(attribute("a", "Binary.png", "AAH/").size(), 1 + 10 + 3);
        assert_eq!(attribute("a", "Binary", "AA==").size(), 1 + 6 + 1);
        assert_eq!(attribute("z", "String", "ü=").size(), 1 + 6 + 3);
    }

    #[test]
    fn a_message_of_the_first_format_is_read_and_has_no_hops() {
        let packed = pack_attributes(&[attribute("a", "String", "v")]);
        let message = Message::new(7, ("g", "d"), (1_000, 5), &packed, "hello");
        let mut data = message.pack();
        data[0] = FORMAT_1;
        data.drain(HEADER_1..HEADER);
        let record = RecordView { key: "g", data: &data, key_hash: 0, arrival_ms: 1_000, lost: false, trace: None };
        assert_eq!(Message::of(&record), Some(message));
    }

    #[test]
    fn a_record_that_is_cut_anywhere_is_no_message_or_another_body_and_never_a_panic() {
        let packed = pack_attributes(&[attribute("a", "String", "v")]);
        let data = Message::new(7, ("g", "d"), (0, 0), &packed, "hello").pack();
        for cut in 0..data.len() {
            let record =
                RecordView { key: "g", data: &data[..cut], key_hash: 0, arrival_ms: 0, lost: false, trace: None };
            assert_eq!(Message::of(&record).is_some(), cut >= data.len() - 5, "cut at {cut}");
        }
    }

    /// The documented example of the algorithm, worked out by hand with `printf … | md5sum`.
    #[test]
    fn sums_are_those_of_sqs() {
        let message = Message::new(0, ("", ""), (0, 0), &[], "Test message.");
        assert_eq!(message.md5_of_body(), "e4e68fb7bd0e697a0ae8f1bb342846b3");
        assert_eq!(message.md5_of_attributes(), None);
        let packed = pack_attributes(&[attribute("k", "String", "v")]);
        let message = Message::new(0, ("", ""), (0, 0), &packed, "b");
        let by_hand = b"\x00\x00\x00\x01k\x00\x00\x00\x06String\x01\x00\x00\x00\x01v";
        assert_eq!(message.md5_of_attributes(), Some(hex(&Md5::digest(by_hand))));
    }

    #[test]
    fn ids_look_like_version_4_and_differ_by_number_and_queue() {
        let ids: std::collections::BTreeSet<u128> = (0..10_000).map(|n| message_id(n % 7, n / 7)).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id >> 76 & 0xF == 4 && id >> 62 & 3 == 2));
    }

    #[test]
    fn a_receipt_reads_back_and_a_foreign_one_is_refused() {
        let handle = Handle { number: 5, receipt: u64::MAX };
        let text = receipt_text(3, handle);
        assert_eq!(handle_of(&text, 3), Ok(handle));
        assert!(handle_of(&text, 4).is_err());
        for wrong in ["", "AQEB", &text[1..], "é"] {
            assert!(handle_of(wrong, 3).is_err(), "{wrong}");
        }
    }
}
