//! What comes over sockets from clients and from the processes of environments, and the texts in it.

use forebay_core::sequence;
use forebay_doors::socket::frame;
use forebay_engine::base::error::{EngineError, Reply};
use forebay_engine::base::trace::Origin;
use forebay_engine::dispatch::attempts::Settled;
use forebay_engine::environments::{assignment, frame as environment_frame};
use forebay_engine::fuzzing::{
    assignments as given, environment_frames, environment_output, is_search_token, trace_context,
};
use forebay_engine::payload::message::{parse_receipt, receipt_text};

/// Frames of the owner's socket, either way.
pub(crate) fn frames(bytes: &[u8]) -> bool {
    let (mut rest, mut understood) = (bytes, false);
    while let Ok(Some((id, kind, body))) = frame::read(&mut rest) {
        let request = frame::request(kind, &body);
        understood |= request.is_some();
        let again = match &request {
            Some(frame::Request::Verb { verb, body }) => Some(frame::verb(id, verb, body)),
            Some(frame::Request::Exchange { settled, most }) => Some(frame::exchange(id, settled, *most)),
            _ => None,
        };
        if let Some(again) = again {
            assert_eq!(reread(&again), request);
        }
        understood |= frame::parse_answer(kind, body).is_some();
    }
    understood
}

fn reread(bytes: &[u8]) -> Option<frame::Request> {
    let (_, kind, body) = frame::read(&mut &bytes[..]).ok()??;
    frame::request(kind, &body)
}

pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    let refused = EngineError::TooMany { message: "m".into(), reason: "r".into(), retry_after_ms: 5 };
    vec![
        frame::put(7, "stream", [("k", &b"data"[..]), ("", &b""[..])].into_iter(), None),
        frame::put(7, "stream", [("k", &b"data"[..])].into_iter(), Some("00-1-2-01")),
        frame::invoke(8, "function", b"{\"a\": 1}", None),
        frame::invoke_async(8, "function", b"1", Origin { parent: Some(5), trace: Some("00-1-2-01") }),
        frame::verb(9, "mapping.declare", b"{\"stream\": \"s\"}"),
        frame::exchange(9, &[ended(Some(b"{}".to_vec())), ended(None)], 512),
        frame::answer(1, &Ok(Reply::Assignments(given().concat()))),
        frame::answer(1, &Ok(Reply::Numbers(vec![1, u64::MAX]))),
        frame::answer(2, &Ok(Reply::Json(b"{}".to_vec()))),
        frame::answer(3, &Err(refused)),
        frame::stopped(),
    ]
}

fn ended(body: Option<Vec<u8>>) -> Settled {
    Settled { token: 7, status: 1, body, duration_ns: 3 }
}

/// Bytes of the smallest piece: its length, its kind, its token.
const PIECE: usize = 13;

/// Work that the owner of a store gives another process: no more pieces than there are bytes for, and bytes whose last piece is cut off are refused.
pub(crate) fn assignments(bytes: &[u8]) -> bool {
    let Some(found) = assignment::assignments(bytes) else { return false };
    assert!(found.len() <= bytes.len() / PIECE, "{} pieces of {} bytes", found.len(), bytes.len());
    assert!(bytes.is_empty() || assignment::assignments(&bytes[..bytes.len() - 1]).is_none());
    !found.is_empty()
}

/// A stop, work of both kinds that is JSON, and a batch.
pub(crate) fn assignments_seeds() -> Vec<Vec<u8>> {
    let mut seeds = given();
    for records in batches_seeds() {
        let head = [&[3][..], &[0; 8], &[0; 4], &[7], &[0; 8], &[0; 16], &[0; 4], &[0; 4]].concat();
        let length = (head.len() + records.len()) as u32;
        seeds.push([&length.to_le_bytes()[..], &head, &records].concat());
    }
    seeds
}

/// What an environment's process says: an answer of any length in any pieces.
pub(crate) fn environments(bytes: &[u8]) -> bool {
    environment_frames(bytes).is_ok_and(|frames| frames > 0)
}

pub(crate) fn environments_seeds() -> Vec<Vec<u8>> {
    let frame = |kind: u8, body: &[u8]| [&(body.len() as u32 + 1).to_le_bytes()[..], &[kind], body].concat();
    vec![
        frame(1, b""),
        frame(2, b"{\"errorType\": \"Runtime.ImportModuleError\"}"),
        frame(3, b"{\"batchItemFailures\": [{\"itemIdentifier\": \"1\"}]}"),
        frame(3, &[b'['; 300]),
        [frame(3, b"null"), frame(4, b"{}")].concat(),
    ]
}

/// So often what a process writes is repeated as makes more than is passed on.
const FLOOD: u8 = 255;
/// What stands before each line that is passed on.
const SPEAKER: &[u8] = b"f 00000000-0000-0000-0000-000000000007 ";

/// How much of what was written is found at the beginning of what is passed on, where bytes and characters may be escaped.
fn found(said: &[u8], written: &[u8]) -> (usize, usize) {
    let (mut at, mut of) = (0, 0);
    while let Some(&byte) = written.get(of) {
        let rest = &said[at..];
        let character =
            (1..=4).find_map(|length| std::str::from_utf8(written.get(of..of + length)?).ok()?.chars().next());
        let code = character.map_or(u32::from(byte), u32::from);
        let forms = [format!("\\x{byte:02x}"), format!("\\x{code:02x}"), format!("\\u{code:04x}"), "\\r".into()];
        let whole = character.map_or(1, char::len_utf8);
        let escaped = forms.iter().zip([1, whole, whole, usize::from(byte == b'\r')]);
        if byte == b'\n' {
            of += 1;
        } else if let Some((form, length)) =
            escaped.clone().find(|(form, length)| *length > 0 && rest.starts_with(form.as_bytes()))
        {
            (at, of) = (at + form.len(), of + length);
        } else if rest.first() == Some(&byte) {
            (at, of) = (at + 1, of + 1);
        } else {
            break;
        }
    }
    (at, of)
}

/// What a process writes to its outputs, `times u8, length of a piece u8` before it: each line that is passed on is named, unless it is a
/// JSON object, and what was written is there in its order, up to where it says how much is left out.
pub(crate) fn output(bytes: &[u8]) -> bool {
    let Some((&[times, length], text)) = bytes.split_first_chunk::<2>() else { return false };
    let repeated = if times == FLOOD { (1 << 20) / text.len().max(1) + 1 } else { usize::from(times % 4) };
    let written = text.repeat(repeated);
    let passed = environment_output(written.chunks((usize::from(length) + 1) * 512));
    let mut said = Vec::new();
    for line in passed.split_inclusive(|byte| *byte == b'\n') {
        let named = line.strip_prefix(SPEAKER);
        assert!(named.is_some() || line.starts_with(b"{"), "a line without a name");
        let line = named.unwrap_or(line).strip_suffix(b"\n").unwrap();
        said.extend_from_slice(line);
    }
    let (same, of) = found(&said, &written);
    let rest = String::from_utf8_lossy(&said[same..]);
    assert!(of == written.len() || rest.ends_with(" more bytes of output left out)"), "{rest}");
    assert!(of == written.len() || passed.len() > 1 << 20, "{} bytes only", passed.len());
    assert!(passed.len() < (1 << 20) + (1 << 18), "{} bytes of {}", passed.len(), written.len());
    !said.is_empty()
}

pub(crate) fn output_seeds() -> Vec<Vec<u8>> {
    let long = [&[1, 255][..], &b"xy".repeat(10_000), b"\nend"].concat();
    let flood = [&[FLOOD, 255][..], &b"why\n\n".repeat(600)].concat();
    vec![
        b"\x01\x00one\ntwo\r\nno end".to_vec(),
        b"\x03\x01\n\n\xff\x00(forebay: \n".to_vec(),
        b"\x01\x00{\"level\":1}\n{no\n".to_vec(),
        long,
        flood,
    ]
}

/// A batch as it crosses to a process: what is read is written and read as the same again.
pub(crate) fn batches(bytes: &[u8]) -> bool {
    let Some((records, window)) = environment_frame::decode_batch(bytes) else { return false };
    let mut again = Vec::new();
    environment_frame::encode_batch(&records, window.as_ref(), &mut again);
    let read = environment_frame::decode_batch(&again);
    assert!(read.is_some_and(|(read, seen)| read.positions == records.positions && seen == window));
    true
}

pub(crate) fn batches_seeds() -> Vec<Vec<u8>> {
    let mut batch: Vec<u8> =
        [b"s", b"a", b"r", b"i", b"0"].iter().flat_map(|text| [&[1, 0, 0, 0], &text[..]].concat()).collect();
    batch.extend_from_slice(&[0; 12]);
    let head = batch.clone();
    batch.push(0);
    batch.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b't', b'1']); // the context of all records from the first one on
    batch.extend_from_slice(&1_u32.to_le_bytes());
    batch.extend_from_slice(&[0; 20]);
    batch.extend_from_slice(&[1, 0, 0, 0, b'k', 4, 0, 0, 0, b'd', b'a', b't', b'a']);
    let mut tumbling = head;
    tumbling.push(3);
    tumbling.extend_from_slice(&[0; 16]);
    tumbling.extend_from_slice(&[2, 0, 0, 0, b'{', b'}', 0, 0, 0, 0, 0, 0, 0, 0]);
    vec![batch, tumbling]
}

/// Receipts as callers give them back, sequence numbers and names of shards as users type them, trace contexts as programs send them.
pub(crate) fn texts(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let receipt = parse_receipt(&text);
    if let Some((log, handle)) = receipt {
        assert_eq!(receipt_text(log, handle), text);
    }
    let number = sequence::parse(&text);
    if let Some((shard, position)) = number {
        assert_eq!(sequence::parse(&format!("{:020}", sequence::number(shard, position))), Some((shard, position)));
    }
    let x_ray = trace_context(&text);
    if let Ok(Some(header)) = &x_ray {
        assert!(header.starts_with("Root=1-") && header.is_ascii(), "{header}");
    }
    receipt.is_some()
        | number.is_some()
        | sequence::parse_shard_id(&text).is_some()
        | is_search_token(&text)
        | x_ray.is_ok_and(|header| header.is_some())
}

pub(crate) fn texts_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "00010000000000000000",
        "10000000000000000001",
        "18446744073709551615",
        "shardId-000000000000",
        "shardId-999999999999",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01\nvendor=value",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
