//! Bodies, forms, paths and signatures as AWS's wire API takes them.

use forebay_doors::aws::codec::{read, Protocol};
use forebay_doors::aws::protocol::event_stream::{event, exception};
use forebay_doors::aws::protocol::query::Form;
use forebay_doors::aws::protocol::rest::{pairs, route, Request};
use forebay_doors::aws::protocol::{aws_chunked, cbor, xml_reader};
use forebay_doors::aws::services::SERVICES;
use forebay_doors::aws::sigv4::{self, Given, Verifier};
use forebay_doors::aws::{check, codec};
use http::{HeaderMap, HeaderName, HeaderValue};

const KINDS: [Protocol; 4] =
    [Protocol::Json("application/x-amz-json-1.1"), Protocol::Query, Protocol::RpcV2Cbor, Protocol::KinesisCbor];

/// A body for each operation of each service, in each protocol: what is read is also written and read again.
pub(crate) fn bodies(bytes: &[u8]) -> bool {
    let Some((&which, body)) = bytes.split_first() else { return false };
    let protocol = KINDS[usize::from(which) % KINDS.len()];
    let _items = cbor::items(body);
    let _tree = xml_reader::parse(body);
    let headers = HeaderMap::new();
    let mut understood = false;
    let service = &SERVICES[usize::from(which / 4) % SERVICES.len()];
    let model = service.model();
    for operation in &model.operations {
        let request = Request { labels: &[], query: &[], headers: &headers, body };
        let Ok(value) = read(protocol, model, operation, request) else { continue };
        let Some(input) = operation.input else { continue };
        let violations = check::violations(model, input, &value);
        understood |= violations.is_empty() && !body.is_empty();
        let _text = check::message(&violations);
        let _written = codec::write(protocol, model, operation, &value, "id");
    }
    understood
}

pub(crate) fn bodies_seeds() -> Vec<Vec<u8>> {
    let json = |service: u8, text: &str| [&[service * 4], text.as_bytes()].concat();
    let form = |service: u8, text: &str| [&[service * 4 + 1], text.as_bytes()].concat();
    vec![
        json(0, r#"{"QueueUrl": "http://h.example.com/1/q", "MessageBody": "m", "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": "AAH/"}}}"#),
        json(1, r#"{"StreamName": "s", "Records": [{"Data": "AA==", "PartitionKey": "k"}], "Timestamp": 1.5e9}"#),
        form(0, "Action=SendMessage&MessageBody=a+b&MessageAttribute.1.Name=a&MessageAttribute.1.Value.DataType=String"),
        form(2, "Action=Publish&TopicArn=a&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.DataType=String"),
        [&[6], &b"\xbf\x6aStreamName\x61s\x64Data\x5f\x41\x00\xff\x69Timestamp\xc1\xfb\x41\xd6\x00\x00\x00\x00\x00\x00\xff"[..]].concat(),
        [&[7], &b"\xa2\x6aStreamName\x61s\x69Timestamp\xc1\x1b\x00\x00\x01\x8c\x00\x00\x00\x00"[..]].concat(),
    ]
}

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// A request of each REST service: the method, the path with its query string, header lines, a body of JSON or XML. What is read is also
/// held against its model and written.
pub(crate) fn rest(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.split('\n');
    let (method, target) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok(query) = pairs(query) else { return false };
    let headers = headers(lines);
    let unchunked = aws_chunked::read(body.as_bytes(), None, None);
    let mut understood = unchunked.is_ok_and(|(whole, _)| whole.len() < body.len());
    for service in SERVICES.iter().filter(|_| METHODS.contains(&method)) {
        let model = service.model();
        let Some((_, operation, labels)) = route(model, method, path, &query) else { continue };
        let request = Request { labels: &labels, query: &query, headers: &headers, body: body.as_bytes() };
        let Ok(value) = read(Protocol::Rest, model, operation, request) else { continue };
        let violations = operation.input.map(|input| check::violations(model, input, &value)).unwrap_or_default();
        let _text = check::message(&violations);
        let _written = codec::write(Protocol::Rest, model, operation, &value, "id");
        understood = true;
    }
    understood
}

fn headers<'l>(lines: impl Iterator<Item = &'l str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()).take(50) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    headers
}

pub(crate) fn rest_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "GET /2015-03-31/functions/f/configuration?Qualifier=live\n\n",
        "POST /2015-03-31/event-source-mappings/\n\n{\"EventSourceArn\": \"a\", \"FunctionName\": \"f\", \"BatchSize\": 1e1}",
        "PUT /schedules/s\n\n{\"ScheduleExpression\": \"rate(1 day)\", \"EndDate\": 1.5e9, \"Target\": {\"Arn\": \"a\"}}",
        "PUT /bucket/a/b%20c?partNumber=1&uploadId=u\nx-amz-meta-a:b\n\nbody",
        "POST /bucket?delete\n\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>a&#x41;</Key></Object></Delete>",
        "POST /bucket/key?uploadId=u\n\n<CompleteMultipartUpload><Part><ETag>e</ETag><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
        "GET /bucket?list-type=2&prefix=a%2F&max-keys=2\n\n",
        "DELETE /v2/apis/a/routes/b\n\n",
        "PUT /bucket/key\n\n5;chunk-signature=0\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
    ];
    seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect()
}

/// A frame of an event stream around any payload: it tells its lengths and both sums, whatever it holds.
pub(crate) fn frames(bytes: &[u8]) -> bool {
    let (kind, payload) = bytes.split_at(bytes.len().min(bytes.first().map_or(0, |&first| usize::from(first))));
    let kind = String::from_utf8_lossy(kind);
    for frame in [event(&kind, "application/json", payload), exception(&kind, "application/json", payload)] {
        let number = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        let end = frame.len() - 4;
        assert_eq!(number(0) as usize, frame.len());
        assert_eq!(number(8), crc32fast::hash(&frame[..8]));
        assert_eq!(number(end), crc32fast::hash(&frame[..end]));
        assert_eq!(&frame[12 + number(4) as usize..end], payload);
        let mut headers = &frame[12..12 + number(4) as usize];
        let mut found = Vec::new();
        while let Some((&length, rest)) = headers.split_first() {
            let (name, rest) = rest.split_at(usize::from(length));
            assert_eq!(rest[0], 7, "a header is text");
            let value = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
            found.push((name.to_vec(), rest[3..3 + value].to_vec()));
            headers = &rest[3 + value..];
        }
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].1, kind.as_bytes());
    }
    !payload.is_empty()
}

pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    vec![b"\x15SubscribeToShardEvent{}".to_vec(), b"\x00{\"Records\": []}".to_vec(), vec![255; 700]]
}

/// A whole request: its path, its query string, its headers, its signature. It is let in only where it was signed with the secret.
pub(crate) fn signatures(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.split('\n');
    let target = lines.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = headers(lines.by_ref());
    let body = lines.collect::<Vec<_>>().join("\n");
    let _form = Form::read(body.as_bytes());
    let given = Given { method: "POST", path, query, headers: &headers, authority: "h", body: body.as_bytes() };
    let Ok(signature) = sigv4::read(given) else { return false };
    let is_let_in = Verifier::default().verify(&signature, given, "a secret that no input has", 1_440_938_160_000);
    assert!(is_let_in.is_err(), "{text}");
    true
}

pub(crate) fn signatures_seeds() -> Vec<Vec<u8>> {
    let header = "Authorization: AWS4-HMAC-SHA256 Credential=a/20150830/r/sqs/aws4_request, SignedHeaders=host;x-amz-date, \
                  Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31\nX-Amz-Date: 20150830T123600Z\n\n{}";
    let query =
        "/?Action=ListQueues&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20150830%2Fr%2Fsqs%2Faws4_request\
                 &X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00\n\n";
    vec![
        format!("/\n{header}").into_bytes(),
        format!("/2015-03-31/functions/arn%3Aaws%3Alambda/invocations?Qualifier=live\n{header}").into_bytes(),
        query.as_bytes().to_vec(),
    ]
}
