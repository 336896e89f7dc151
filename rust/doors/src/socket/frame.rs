//! What goes over the owner's socket.
//!
//! A frame is `length u32, id u64, kind u8, body`, little-endian; `length` counts everything after itself. A request carries
//! an id of the client's choice, its answer carries the same. Both ends are the same user on the same machine, or may use the same
//! database; still, a frame that is too long or makes no sense closes the connection, and never does more.

use std::borrow::Cow;
use std::io::{self, Read};

use forebay_engine::base::error::{Answer, EngineError, Reply};
use forebay_engine::base::trace::Origin;
use forebay_engine::dispatch::attempts::Settled;

/// The number of all that is said here and of what it means. Another one is another language, which this release does not know.
pub const PROTOCOL: u32 = 1;

/// The verb by which a client says that its process is to own the store.
pub(crate) const WANTED: &str = "owner.wanted";

/// Greatest frame: the largest put there is (500 records of 1 MiB would be refused long before) and the largest answer.
pub const FRAME_MAX: usize = 64 << 20;

const HEAD: usize = 9;

/// One thing asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Put records into a stream.
    Put {
        /// The stream.
        stream: String,
        /// `(partition key, data)`.
        records: Vec<(String, Vec<u8>)>,
        /// Their trace context.
        trace: Option<String>,
    },
    /// Run a function.
    Invoke {
        /// The function.
        function: String,
        /// JSON.
        payload: Vec<u8>,
        /// Trace context.
        trace: Option<String>,
    },
    /// Accept an event for a function.
    InvokeAsync {
        /// The function.
        function: String,
        /// JSON.
        payload: Vec<u8>,
        /// The request whose handler asks, 0: none.
        parent: u128,
        /// Trace context.
        trace: Option<String>,
    },
    /// How attempts have ended that a client runs for the owner, which is to answer with more work.
    Exchange {
        /// The outcomes.
        settled: Vec<Settled>,
        /// How many attempts the client takes at once.
        most: u32,
    },
    /// A verb.
    Verb {
        /// Its name.
        verb: String,
        /// JSON.
        body: Vec<u8>,
    },
}

/// Read one frame: id, kind, body. `None` at the end of the connection.
pub fn read(from: &mut impl Read) -> io::Result<Option<(u64, u8, Vec<u8>)>> {
    let mut length = [0u8; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if !(HEAD..=FRAME_MAX).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut frame = vec![0u8; length];
    from.read_exact(&mut frame)?;
    let mut id = [0u8; 8];
    id.copy_from_slice(&frame[..8]);
    let kind = frame[8];
    frame.drain(..HEAD);
    Ok(Some((u64::from_le_bytes(id), kind, frame)))
}

fn frame(id: u64, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + HEAD + body.len());
    bytes.extend_from_slice(&((HEAD + body.len()) as u32).to_le_bytes());
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(body);
    bytes
}

const PUT: u8 = 1;
const INVOKE: u8 = 2;
const VERB: u8 = 3;
const INVOKE_ASYNC: u8 = 4;
const EXCHANGE: u8 = 5;
/// A request whose body begins with a trace context.
const TRACED: u8 = 64;
const NUMBERS: u8 = 1;
const JSON: u8 = 2;
const ERROR: u8 = 3;
/// Kind of the owner's last frame: everything it has read is answered, what is not answered was not accepted.
pub const STOPPED: u8 = 4;
const REQUEST: u8 = 5;
const EXECUTED: u8 = 6;
const ASSIGNMENTS: u8 = 7;

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// A trace context, if there is one, at the beginning of a body; the request's kind.
fn put_trace(kind: u8, trace: Option<&str>, body: &mut Vec<u8>) -> u8 {
    let Some(trace) = trace else { return kind };
    put_bytes(body, trace.as_bytes());
    kind | TRACED
}

/// A `Put` as a frame.
pub fn put<'a>(
    id: u64,
    stream: &str,
    records: impl Iterator<Item = (&'a str, &'a [u8])>,
    trace: Option<&str>,
) -> Vec<u8> {
    let mut body = Vec::new();
    let kind = put_trace(PUT, trace, &mut body);
    put_bytes(&mut body, stream.as_bytes());
    for (key, data) in records {
        put_bytes(&mut body, key.as_bytes());
        put_bytes(&mut body, data);
    }
    frame(id, kind, &body)
}

/// An `Invoke` as a frame.
pub fn invoke(id: u64, function: &str, payload: &[u8], trace: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(8 + function.len() + payload.len());
    let kind = put_trace(INVOKE, trace, &mut body);
    put_bytes(&mut body, function.as_bytes());
    put_bytes(&mut body, payload);
    frame(id, kind, &body)
}

/// An `InvokeAsync` as a frame.
pub fn invoke_async(id: u64, function: &str, payload: &[u8], origin: Origin<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(28 + function.len() + payload.len());
    let kind = put_trace(INVOKE_ASYNC, origin.trace, &mut body);
    put_bytes(&mut body, function.as_bytes());
    put_bytes(&mut body, payload);
    put_bytes(&mut body, &origin.parent.unwrap_or(0).to_le_bytes());
    frame(id, kind, &body)
}

/// A `Verb` as a frame.
pub fn verb(id: u64, verb: &str, json: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(8 + verb.len() + json.len());
    put_bytes(&mut body, verb.as_bytes());
    put_bytes(&mut body, json);
    frame(id, VERB, &body)
}

/// An `Exchange` as a frame.
pub fn exchange(id: u64, settled: &[Settled], most: u32) -> Vec<u8> {
    let mut body = most.to_le_bytes().to_vec();
    for one in settled {
        body.extend_from_slice(&one.token.to_le_bytes());
        body.extend_from_slice(&one.duration_ns.to_le_bytes());
        body.extend_from_slice(&[one.status, u8::from(one.body.is_some())]);
        put_bytes(&mut body, one.body.as_deref().unwrap_or_default());
    }
    frame(id, EXCHANGE, &body)
}

fn parse_exchange(body: &[u8]) -> Option<Request> {
    let (most, rest) = body.split_first_chunk::<4>()?;
    let (mut rest, mut settled) = (Pieces(rest), Vec::new());
    while !rest.0.is_empty() {
        let (token, after) = rest.0.split_first_chunk::<8>()?;
        let (duration, after) = after.split_first_chunk::<8>()?;
        let ([status, has_body], after) = after.split_first_chunk::<2>()?;
        rest.0 = after;
        settled.push(Settled {
            token: u64::from_le_bytes(*token),
            duration_ns: u64::from_le_bytes(*duration),
            status: *status,
            body: Some(rest.next()?.to_vec()).filter(|_| *has_body != 0),
        });
    }
    Some(Request::Exchange { settled, most: u32::from_le_bytes(*most) })
}

/// Takes length-prefixed pieces off a body.
struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > rest.len() {
            return None;
        }
        let (piece, rest) = rest.split_at(length);
        self.0 = rest;
        Some(piece)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.next()?.to_vec()).ok()
    }
}

/// A request out of a frame; `None` if it makes no sense.
pub fn request(kind: u8, body: &[u8]) -> Option<Request> {
    if kind == EXCHANGE {
        return parse_exchange(body);
    }
    let mut pieces = Pieces(body);
    let trace = if kind & TRACED != 0 { Some(pieces.text()?) } else { None };
    let name = pieces.text()?;
    let request = match kind & !TRACED {
        PUT => {
            let mut records = Vec::new();
            while !pieces.0.is_empty() {
                records.push((pieces.text()?, pieces.next()?.to_vec()));
            }
            Request::Put { stream: name, records, trace }
        }
        INVOKE => Request::Invoke { function: name, payload: pieces.next()?.to_vec(), trace },
        INVOKE_ASYNC => Request::InvokeAsync {
            function: name,
            payload: pieces.next()?.to_vec(),
            parent: u128::from_le_bytes(pieces.next()?.try_into().ok()?),
            trace,
        },
        VERB => Request::Verb { verb: name, body: pieces.next()?.to_vec() },
        _ => return None,
    };
    pieces.0.is_empty().then_some(request)
}

/// An answer as a frame. One that is over the greatest frame becomes a refusal that says so.
pub fn answer(id: u64, answer: &Answer) -> Vec<u8> {
    let (kind, body): (u8, Cow<'_, [u8]>) = match answer {
        Ok(Reply::Numbers(numbers)) => (NUMBERS, numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
        Ok(Reply::Request(request)) => (REQUEST, request.to_le_bytes().to_vec().into()),
        Ok(Reply::Json(json) | Reply::Added(json)) => (JSON, json.into()),
        Ok(Reply::Assignments(assignments)) => (ASSIGNMENTS, assignments.into()),
        Ok(Reply::Typed(typed)) => (JSON, typed.0.json().into()),
        Ok(Reply::Executed { json, version }) => {
            let mut body = Vec::with_capacity(8 + version.len() + json.len());
            put_bytes(&mut body, version.as_bytes());
            put_bytes(&mut body, json);
            (EXECUTED, body.into())
        }
        Err(error) => (ERROR, serde_json::to_vec(error).unwrap_or_default().into()),
    };
    if HEAD + body.len() <= FRAME_MAX {
        return frame(id, kind, &body);
    }
    let refused = EngineError::TooLarge(format!(
        "the answer has {} bytes: through the owner's socket {FRAME_MAX} are allowed; ask for less at a time",
        body.len()
    ));
    frame(id, ERROR, &serde_json::to_vec(&refused).unwrap_or_default())
}

/// The owner's last frame: it stops.
pub fn stopped() -> Vec<u8> {
    frame(0, STOPPED, &[])
}

/// An answer out of a frame; `None` if it makes no sense.
pub fn parse_answer(kind: u8, body: Vec<u8>) -> Option<Answer> {
    match kind {
        NUMBERS => {
            let numbers = body.chunks_exact(8).map(|bytes| {
                let mut number = [0u8; 8];
                number.copy_from_slice(bytes);
                u64::from_le_bytes(number)
            });
            Some(Ok(Reply::Numbers(numbers.collect())))
        }
        REQUEST => Some(Ok(Reply::Request(u128::from_le_bytes(body.try_into().ok()?)))),
        JSON => Some(Ok(Reply::Json(body))),
        ASSIGNMENTS => Some(Ok(Reply::Assignments(body))),
        EXECUTED => {
            let mut pieces = Pieces(&body);
            let version = pieces.text()?;
            let json = pieces.next()?.to_vec();
            pieces.0.is_empty().then_some(Ok(Reply::Executed { json, version }))
        }
        ERROR => serde_json::from_slice::<EngineError>(&body).ok().map(Err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_from_an_owner_that_knows_no_versions_is_of_what_is_declared() {
        let body = br#"{"Function": {"message": "m", "payload": "{}"}}"#.to_vec();
        let Some(Err(EngineError::Function { version, .. })) = parse_answer(ERROR, body) else { panic!("no failure") };
        assert_eq!(version, "$LATEST");
    }

    fn reread(bytes: &[u8]) -> (u64, u8, Vec<u8>) {
        read(&mut &bytes[..]).unwrap().unwrap()
    }

    #[test]
    fn requests_read_back() {
        for trace in [None, Some("00-1-2-01")] {
            let kept = trace.map(str::to_owned);
            let records = [("k", &b"data"[..]), ("other", &b""[..])];
            let (id, kind, body) = reread(&put(7, "s", records.into_iter(), trace));
            let records = vec![("k".to_owned(), b"data".to_vec()), ("other".to_owned(), Vec::new())];
            let asked = Request::Put { stream: "s".into(), records, trace: kept.clone() };
            assert_eq!((id, request(kind, &body)), (7, Some(asked)));
            let (_, kind, body) = reread(&invoke(8, "f", b"{}", trace));
            let asked = Request::Invoke { function: "f".into(), payload: b"{}".to_vec(), trace: kept.clone() };
            assert_eq!(request(kind, &body), Some(asked));
            let asked = Request::InvokeAsync { function: "f".into(), payload: b"1".to_vec(), parent: 7, trace: kept };
            let (_, kind, body) = reread(&invoke_async(8, "f", b"1", Origin { parent: Some(7), trace }));
            assert_eq!(request(kind, &body), Some(asked));
        }
        let (_, kind, body) = reread(&verb(9, "lag", b"[]"));
        assert_eq!(request(kind, &body), Some(Request::Verb { verb: "lag".into(), body: b"[]".to_vec() }));
        let settled = [(1, None), (2, Some(b"{}".to_vec()))]
            .map(|(token, body)| Settled { token, status: token as u8, body, duration_ns: 3 })
            .to_vec();
        let (_, kind, body) = reread(&exchange(9, &settled, 512));
        assert_eq!(request(kind, &body), Some(Request::Exchange { settled, most: 512 }));
        assert!((5..body.len() - 1).all(|cut| cut == 4 + 22 || request(kind, &body[..cut]).is_none()));
    }

    #[test]
    fn answers_read_back() {
        let refused = EngineError::TooMany { message: "m".into(), reason: "r".into(), retry_after_ms: 5 };
        for one in [
            Ok(Reply::Numbers(vec![1, u64::MAX])),
            Ok(Reply::Request(u128::MAX - 1)),
            Ok(Reply::Json(b"{}".to_vec())),
            Ok(Reply::Assignments(vec![1, 2])),
            Ok(Reply::Executed { json: b"1".to_vec(), version: "$LATEST".into() }),
            Err(refused),
        ] {
            let (_, kind, body) = reread(&answer(1, &one));
            assert_eq!(parse_answer(kind, body), Some(one));
        }
    }

    #[test]
    fn an_answer_over_the_greatest_frame_is_a_refusal_and_not_a_broken_connection() {
        let (_, kind, body) = reread(&answer(1, &Ok(Reply::Json(vec![b' '; FRAME_MAX]))));
        assert!(matches!(parse_answer(kind, body), Some(Err(EngineError::TooLarge(_)))));
    }

    #[test]
    fn bytes_that_make_no_sense_are_no_request() {
        for cut in 0..20 {
            let whole = put(1, "stream", [("key", &b"data"[..])].into_iter(), None);
            let body = &whole[13..whole.len() - cut.min(whole.len() - 13)];
            if cut > 0 {
                let parsed = request(PUT, body);
                assert!(
                    parsed.is_none()
                        || parsed == Some(Request::Put { stream: "stream".into(), records: vec![], trace: None })
                );
            }
        }
        assert_eq!(request(99, &[0, 0, 0, 0]), None);
        assert!(read(&mut &[1u8, 0, 0, 0][..]).is_err());
        assert!(read(&mut &u32::MAX.to_le_bytes()[..]).is_err());
    }
}
