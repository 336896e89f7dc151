//! Bytes on a connection to one of the HTTP servers.

use forebay_engine::fuzzing;

const TOKEN: &str = "t0ken";

/// The page of metrics: one answer to a connection at most, and who does not know the token learns neither a metric nor what is wrong.
pub(crate) fn metrics_page(bytes: &[u8]) -> bool {
    let mut understood = false;
    for token in [None, Some(TOKEN)] {
        let said = forebay_doors::fuzzing::metrics_page(bytes, token);
        let tells = String::from_utf8_lossy(&said);
        assert!(tells.matches("HTTP/1.1 ").count() <= 1, "{tells}");
        let confides =
            ["text/plain", "openmetrics", forebay_doors::fuzzing::NOT_READY].iter().any(|word| tells.contains(word));
        let knows = bytes.windows(TOKEN.len()).any(|word| word == TOKEN.as_bytes());
        assert!(!confides || token.is_none() || knows, "{tells}");
        understood |= confides;
    }
    understood
}

pub(crate) fn metrics_page_seeds() -> Vec<Vec<u8>> {
    let requests = [
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "HEAD /healthz HTTP/1.1\r\nHost: localhost:9464\r\nAccept: application/openmetrics-text\r\nAuthorization: Bearer t\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t0ken\r\n\r\n",
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic t0ken\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
        "GET http://evil.example.com/metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello",
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ];
    requests.iter().map(|request| request.as_bytes().to_vec()).collect()
}

/// The Lambda Runtime API, with one invocation to give: it is answered once at most.
pub(crate) fn runtime_api(bytes: &[u8]) -> bool {
    let (said, ends) = fuzzing::runtime_api(bytes);
    assert!(ends <= 1, "{ends} answers to one invocation");
    let tells = String::from_utf8_lossy(&said);
    assert!(tells.matches("lambda-runtime-aws-request-id").count() <= 1, "one invocation was given twice: {tells}");
    tells.contains("HTTP/1.1 2")
}

pub(crate) fn runtime_api_seeds() -> Vec<Vec<u8>> {
    let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n";
    let post = |path: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let id = fuzzing::REQUEST_ID;
    let response = post(&format!("invocation/{id}/response"), "", "{\"a\": [1, null]}");
    let typed = "Lambda-Runtime-Function-Error-Type: Runtime.Odd\r\nlambda-runtime-invocation-id: 0000000000000001\r\n";
    let error = post(&format!("invocation/{id}/error"), typed, "no object");
    let chunked = format!(
        "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    );
    [
        next.to_owned(),
        format!("{next}{response}{next}"),
        format!("{next}{error}{response}"),
        format!("{next}{chunked}"),
        post("init/error", typed, "{\"errorType\": \"Runtime.ImportModuleError\"}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const FRAME_MAX: usize = 16_384;

/// The kinds of the frames that these bytes are, the last of which may be cut off.
fn frame_kinds(bytes: &[u8]) -> Vec<u8> {
    let (mut kinds, mut rest) = (Vec::new(), bytes);
    while let [a, b, c, kind, after @ ..] = rest {
        kinds.push(*kind);
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        rest = after.get(5 + length..).unwrap_or_default();
    }
    kinds
}

fn heads(kinds: &[u8]) -> usize {
    kinds.iter().map(|kind| usize::from(*kind == HEADERS)).sum()
}

/// Frames of HTTP/2 to the port of AWS's wire API: no request is heard, and none answered, that no frame began; what is answered are
/// whole frames, of which the first one has the server's settings.
pub(crate) fn http2(bytes: &[u8]) -> bool {
    let (said, heard) = forebay_doors::fuzzing::http2(bytes);
    let begun = heads(&frame_kinds(bytes));
    assert!(heard <= begun, "{heard} requests of {begun} heads");
    let mut rest = &said[..];
    let mut kinds = Vec::new();
    while let [a, b, c, kind, after @ ..] = rest {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        assert!(length <= FRAME_MAX && after.len() >= 5 + length, "a frame of {length} bytes");
        kinds.push(*kind);
        rest = &after[5 + length..];
    }
    assert!(rest.is_empty(), "{rest:?}");
    assert!(kinds.first().is_none_or(|first| *first == SETTINGS), "{kinds:?}");
    assert!(heads(&kinds) <= begun, "{kinds:?}");
    heard > 0
}

pub(crate) fn http2_seeds() -> Vec<Vec<u8>> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = payload.len() as u32;
        [&length.to_be_bytes()[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let literal = |name: &str, value: &str| [vec![0], text(name), text(value)].concat();
    let settings = frame(SETTINGS, 0, 0, &[]);
    // `:method: POST`, `:scheme: http` and `:path: /` of the static table, then what a client of AWS sends.
    let head = [
        vec![0x83, 0x86, 0x84],
        literal(":authority", "127.0.0.1"),
        literal("x-amz-target", "Kinesis_20131202.PutRecord"),
        literal("content-length", "2"),
    ]
    .concat();
    let get = [vec![0x82, 0x86, 0x84], literal(":authority", "localhost")].concat();
    vec![
        [settings.clone(), frame(HEADERS, 4, 1, &head), frame(0, 1, 1, b"{}")].concat(),
        [settings.clone(), frame(HEADERS, 5, 1, &get), frame(HEADERS, 5, 3, &get), frame(6, 0, 0, &[7; 8])].concat(),
        // A head in two frames, a window, a reset, a priority, a push that no client may send.
        [
            settings.clone(),
            frame(HEADERS, 1, 1, &get[..4]),
            frame(9, 4, 1, &get[4..]),
            frame(8, 0, 0, &[0, 0, 255, 255]),
            frame(3, 0, 1, &[0, 0, 0, 8]),
            frame(2, 0, 3, &[0, 0, 0, 1, 16]),
        ]
        .concat(),
        [frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), frame(HEADERS, 13, 1, &[&[2][..], &get, &[0; 2]].concat())]
            .concat(),
        [settings, frame(5, 4, 1, &[0, 0, 0, 2, 0x82])].concat(),
    ]
}
