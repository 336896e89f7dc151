//! Verifying signatures, held to the official suite.

use super::*;

/// The official suite: requests as they came, and the signatures that are right.
const SUITE: &str = include_str!("../../../tests/vectors/sigv4.json");
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

struct Case {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    authority: String,
    body: String,
}

impl Case {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap();
        let (method, rest) = first.split_once(' ').unwrap();
        let (target, _) = rest.rsplit_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            match line.strip_prefix([' ', '\t']) {
                // A folded line is not a header of its own. What suits here suits a server that unfolds.
                Some(more) => {
                    let (_, value) = headers.last_mut().unwrap();
                    value.push(' ');
                    value.push_str(more);
                }
                None => {
                    let (name, value) = line.split_once(':').unwrap();
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
            }
        }
        let authority = headers.iter().find(|(name, _)| name == "host").unwrap().1.clone();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        Self { method, path, query, headers: map, authority, body: body.to_owned() }
    }

    fn given(&self) -> Given<'_> {
        Given {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            authority: &self.authority,
            body: self.body.as_bytes(),
        }
    }
}

#[test]
fn the_official_suite_is_let_in_and_a_changed_request_is_not() {
    let suite: serde_json::Value = serde_json::from_str(SUITE).unwrap();
    let cases = suite["cases"].as_object().unwrap();
    assert!(cases.len() >= 30);
    for (name, case) in cases {
        let mut request = Case::of(case["sreq"].as_str().unwrap());
        let authorization = case["authz"].as_str().unwrap();
        request.headers.insert("authorization", authorization.parse().unwrap());
        let signature = read(request.given()).unwrap();
        let now = stamp_ms("20150830T123600Z").unwrap();
        let content = content(&signature, request.given());
        let canonical = canonical_request(&signature, request.given(), &content);
        assert_eq!(canonical, case["creq"].as_str().unwrap(), "{name}");
        assert_eq!(string_to_sign(&signature, &canonical), case["sts"].as_str().unwrap(), "{name}");
        let verifier = Verifier::default();
        assert_eq!(verifier.verify(&signature, request.given(), SECRET, now), Ok(()), "{name}");
        let other = Given { body: b"other", ..request.given() };
        assert_eq!(verifier.verify(&signature, other, SECRET, now), Err(Refused::Wrong), "{name}");
        // The secret of a key may be changed while what was derived from the old one is remembered.
        assert_eq!(verifier.verify(&signature, request.given(), "other", now), Err(Refused::Wrong), "{name}");
        assert_eq!(verifier.verify(&signature, request.given(), SECRET, now), Ok(()), "{name}");
        let late = now + SKEW_MS + 1000;
        assert!(matches!(verifier.verify(&signature, request.given(), SECRET, late), Err(Refused::Expired(_))));
    }
}

/// The id of a key was enough for the room of large bodies: no signature was looked at before the body was there.
#[test]
fn a_head_that_tells_the_bodys_hash_is_verified_without_the_body() {
    let suite: serde_json::Value = serde_json::from_str(SUITE).unwrap();
    let (verifier, now) = (Verifier::default(), stamp_ms("20150830T123600Z").unwrap());
    let signed_over = |hash: Option<&str>, body: &str| {
        let mut request = Case::of(suite["cases"]["post-vanilla"]["req"].as_str().unwrap());
        body.clone_into(&mut request.body);
        let mut names = "host;x-amz-date".to_owned();
        if let Some(hash) = hash {
            request.headers.insert("x-amz-content-sha256", hash.parse().unwrap());
            names = "host;x-amz-content-sha256;x-amz-date".to_owned();
        }
        let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        let signed = |request: &mut Case, digits: &str| {
            let header = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={digits}");
            request.headers.insert("authorization", header.parse().unwrap());
            read(request.given()).unwrap()
        };
        let draft = signed(&mut request, "00");
        let canonical = canonical_request(&draft, request.given(), &content(&draft, request.given()));
        let mut mac = keyed(&verifier.derive(&draft, SECRET));
        mac.update(string_to_sign(&draft, &canonical).as_bytes());
        let signature = signed(&mut request, &hex(&mac.finalize().into_bytes()));
        (request, signature)
    };
    let head = |request: &Case, signature: &Signature, secret: &str, now: i64| {
        verifier.verify_head(signature, Given { body: b"", ..request.given() }, secret, now)
    };
    let hash = hex(&Sha256::digest("a body"));
    for told in [Some(hash.as_str()), Some("UNSIGNED-PAYLOAD"), Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER")] {
        let (request, signature) = signed_over(told, "a body");
        assert_eq!(head(&request, &signature, SECRET, now), Ok(true), "{told:?}");
        assert_eq!(head(&request, &signature, "other", now), Err(Refused::Wrong), "{told:?}");
        assert!(matches!(head(&request, &signature, SECRET, now + SKEW_MS + 1000), Err(Refused::Expired(_))));
        assert_eq!(check_body(&signature, request.given()), Ok(()), "{told:?}");
        let other = check_body(&signature, Given { body: b"other", ..request.given() });
        assert_eq!(other.is_ok(), told != Some(hash.as_str()), "{told:?}");
    }
    let (request, signature) = signed_over(None, "a body");
    assert_eq!(head(&request, &signature, SECRET, now), Ok(false), "the body is needed");
    assert_eq!(verifier.verify(&signature, request.given(), SECRET, now), Ok(()));
}

#[test]
fn a_header_that_was_added_on_the_way_is_refused() {
    let suite: serde_json::Value = serde_json::from_str(SUITE).unwrap();
    let case = &suite["cases"]["get-vanilla"];
    let mut request = Case::of(case["req"].as_str().unwrap());
    request.headers.insert("authorization", case["authz"].as_str().unwrap().parse().unwrap());
    request.headers.insert("x-amz-target", "AmazonSQS.PurgeQueue".parse().unwrap());
    let signature = read(request.given()).unwrap();
    let now = stamp_ms("20150830T123600Z").unwrap();
    let refused = Verifier::default().verify(&signature, request.given(), SECRET, now);
    assert_eq!(refused, Err(Refused::NotSigned("x-amz-target".into())));
}

#[test]
fn what_is_no_signature_is_told_apart() {
    let refused = |header: Option<&str>, query: &str| {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("authorization", header.parse().unwrap());
        }
        let given = Given { method: "GET", path: "/", query, headers: &headers, authority: "h", body: b"" };
        read(given).unwrap_err()
    };
    assert_eq!(refused(None, ""), Refused::Missing);
    assert_eq!(refused(Some("AWS4-HMAC-SHA256 x"), "X-Amz-Signature=1"), Refused::Both);
    assert!(matches!(refused(Some("AWS a:b"), ""), Refused::Unsupported(_)));
    assert!(matches!(refused(Some("AWS4-HMAC-SHA256 Credential=a"), ""), Refused::Incomplete(_)));
    assert!(matches!(refused(None, "X-Amz-Algorithm=AWS4-HMAC-SHA256"), Refused::InUrl(_)));
}

const MUTATIONS: usize = 100_000;

struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }

    /// A text with one letter changed, left out or put in.
    fn changed(&mut self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        let at = self.below(letters.len());
        let letter = char::from(b"aZ0 /%=&;,:~\x7e+\"A4"[self.below(17)]);
        match self.below(3) {
            0 if !letters.is_empty() => letters[at] = letter,
            1 if !letters.is_empty() => drop(letters.remove(at)),
            _ => letters.insert(at, letter),
        }
        letters.into_iter().collect()
    }

    fn mutate(&mut self, request: &mut Case) {
        match self.below(6) {
            0 => request.method = ["GET", "POST", "PUT", "get", ""][self.below(5)].into(),
            1 => request.path = self.changed(&request.path),
            2 => request.query = self.changed(&request.query),
            3 => request.body = self.changed(&request.body),
            4 => request.authority = self.changed(&request.authority),
            _ => {
                let names: Vec<http::HeaderName> = request.headers.keys().cloned().collect();
                let name = names[self.below(names.len())].clone();
                let value = self.changed(&String::from_utf8_lossy(request.headers[&name].as_bytes()));
                if let Ok(value) = http::HeaderValue::from_str(&value) {
                    request.headers.insert(name, value);
                }
            }
        }
    }
}

/// What a signature is made over, and the signature. The key's id only says whose secret is looked up.
fn signed(request: &Case) -> Option<(String, String)> {
    let signature = read(request.given()).ok()?;
    let content = content(&signature, request.given());
    let canonical = canonical_request(&signature, request.given(), &content);
    let text = string_to_sign(&signature, &canonical);
    Some((text, signature.digits.to_ascii_lowercase()))
}

#[test]
fn of_a_hundred_thousand_changed_requests_only_those_that_say_the_same_are_let_in() {
    let suite: serde_json::Value = serde_json::from_str(SUITE).unwrap();
    let cases: Vec<&serde_json::Value> = suite["cases"].as_object().unwrap().values().collect();
    let (mut random, verifier, mut refused) = (Random(11), Verifier::default(), 0);
    let now = stamp_ms("20150830T123600Z").unwrap();
    for round in 0..MUTATIONS {
        let case = cases[random.below(cases.len())];
        let mut request = Case::of(case["sreq"].as_str().unwrap());
        request.headers.insert("authorization", case["authz"].as_str().unwrap().parse().unwrap());
        let before = signed(&request);
        random.mutate(&mut request);
        let verdict =
            read(request.given()).and_then(|signature| verifier.verify(&signature, request.given(), SECRET, now));
        if verdict.is_ok() {
            assert_eq!(signed(&request), before, "{round}: {:?}", request.given());
        } else {
            refused += 1;
        }
    }
    assert!(refused > MUTATIONS / 2, "{refused}");
}
