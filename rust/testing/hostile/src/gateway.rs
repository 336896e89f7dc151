//! What clients and declarations of APIs bring: routes and paths, tokens, mapping templates.

use forebay_core::gateway::jwt::{Token, Wanted};
use forebay_core::gateway::rest::vtl::{Globals, Input, Params, Template, OUTPUT_BYTES_MAX};
use forebay_core::gateway::routes::{RouteKey, Router};
use serde_json::{json, Map, Value};

/// Two parts of a text, apart by an empty line.
fn parts(bytes: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.split_once("\n\n").unwrap_or((text, "")))
}

/// Keys of routes, and requests: a route that is found has a value for each of its variables, all of them parts of the path.
pub(crate) fn routes(bytes: &[u8]) -> bool {
    let Some((keys, requests)) = parts(bytes) else { return false };
    let keys: Vec<RouteKey> = keys.lines().take(200).filter_map(|line| RouteKey::parse(line).ok()).collect();
    let mut router = Router::default();
    for (route, key) in keys.iter().enumerate() {
        router.add(key, route);
    }
    for (method, path) in requests.lines().take(200).filter_map(|line| line.split_once(' ')) {
        if let Some(found) = router.find(method, path) {
            assert_eq!(found.values.len(), keys[found.route].variables().len());
            assert!(found.values.iter().all(|value| !value.is_empty() && path.contains(value)));
        }
    }
    !keys.is_empty()
}

pub(crate) fn routes_seeds() -> Vec<Vec<u8>> {
    let table = "GET /pets/dog/1\nGET /pets/{id}\nANY /pets/{proxy+}\nPOST /a/{b}/c/{d}\n$default\n\n\
        GET /pets/dog/1\nGET /pets/a%2Fb\nPUT /pets//x/\nPOST /a/1/c/2\nGET /\nGET \n";
    let variables: Vec<String> = (0..64).map(|number| format!("{{v{number}}}")).collect();
    let deep = format!("GET /{}\n\nGET /{}", variables.join("/"), "x/".repeat(100));
    vec![table.into(), deep.into(), b"ANY /{proxy+}\n\nGET /%zz//..".to_vec()]
}

/// A token: what is signed is a part of it, and a claim that is not there lets nobody in.
pub(crate) fn jwt(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(token) = Token::parse(text) else { return false };
    assert!(text.as_bytes().windows(token.signed.len()).any(|part| part == token.signed));
    let wanted = |audience: &str| Wanted { issuer: "https://i.example.com".into(), audiences: vec![audience.into()] };
    if let Ok(claims) = token.check(&wanted("a"), 1_000) {
        assert!(claims.until_s >= 1_000);
        assert!(token.check(&wanted("\u{0}nobody"), 1_000).is_err());
    }
    true
}

pub(crate) fn jwt_seeds() -> Vec<Vec<u8>> {
    // {"alg":"RS256","kid":"k"} and {"iss":"https://i.example.com","aud":"a","exp":2000}.
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2kuZXhhbXBsZS5jb20iLCJhdWQiOiJhIiwiZXhwIjoyMDAwfQ.c2ln";
    vec![token.into(), format!("Bearer {token}").into(), b"bearer a.b.c".to_vec()]
}

/// A mapping template and a body: rendered within its bounds, or refused.
pub(crate) fn templates(bytes: &[u8]) -> bool {
    let Some((template, body)) = parts(bytes) else { return false };
    let Ok(template) = Template::parse(template) else { return false };
    let params = Params {
        path: vec![("id".into(), "1".into())],
        query: vec![("q".into(), "a b".into())],
        headers: vec![("X-A".into(), body.into())],
    };
    let mut context: Map<String, Value> = Map::new();
    context.insert("requestOverride".into(), json!({"header": {}, "path": {}, "querystring": {}}));
    let globals = Globals { input: Input { body, params: &params }, context: &mut context, stage_variables: &[] };
    if let Ok(text) = template.render(globals, true) {
        assert!(text.len() <= OUTPUT_BYTES_MAX);
    }
    true
}

pub(crate) fn templates_seeds() -> Vec<Vec<u8>> {
    let body = "\n\n{\"a\": [1, {\"b\": \"c\"}], \"d\": null}";
    let pieces = [
        "#set($x = $input.path('$.a'))#foreach($i in $x)$i#if($foreach.hasNext),#end#end",
        "#set($m = {\"k\": [1..9], b: 1.5})#set($m.k[0] = \"$m.b-${m.k}\")$m $m.entrySet() $util.escapeJavaScript($m)",
        "#macro(m $a)<$a>#end#m('x' 2)#define($d)$context.stage#end$d ## end\n#* c *# #[[ $raw ]]#",
        "#if($a == '' && !(1 > 2 || 3 % 2 != 1))y#elseif($b)z#{else}n#end \\$a \\#if",
        "$input.json('$..b') $input.params('X-A').replaceAll('([a-z])', '$1$1').split(',').size() $input.params().path.id",
        "#set($context.requestOverride.header.X = $util.base64Encode($util.urlEncode($input.body)))$util.parseJson('[1]')[0]",
    ];
    pieces.iter().map(|piece| format!("{piece}{body}").into_bytes()).collect()
}

/// What a client says to a port of APIs: a name of a header is spelled as it was sent, and no header becomes two.
pub(crate) fn heads(bytes: &[u8]) -> bool {
    let said = forebay_doors::fuzzing::gateway_heads(bytes);
    let tells = String::from_utf8_lossy(&said);
    let mut is_read = false;
    for answer in tells.split("HTTP/1.1 ").filter(|answer| answer.starts_with("200 ")) {
        is_read = true;
        for line in answer.split("\r\n\r\n").skip(1).flat_map(str::lines) {
            let name = line.split(": ").next().unwrap_or_default();
            let is_own = name.starts_with("x-forwarded-") || name == "host";
            let is_sent = bytes.windows(name.len().max(1)).any(|part| part.eq_ignore_ascii_case(name.as_bytes()));
            assert!(is_own || is_sent, "{line}");
        }
    }
    is_read
}

pub(crate) fn heads_seeds() -> Vec<Vec<u8>> {
    [
        "GET /a?b=c HTTP/1.1\r\nHost: localhost\r\ntEsT: 1\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "GET http://a.example.com/x HTTP/1.1\r\nhost: a.example.com\r\ntraceparent: 00-0-0-01\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Frames of a WebSocket: a message is no longer than it may be, and than what came.
pub(crate) fn messages(bytes: &[u8]) -> bool {
    let sizes = forebay_doors::fuzzing::gateway_messages(bytes);
    assert!(sizes.iter().all(|size| *size <= 128 * 1024));
    assert!(sizes.iter().sum::<usize>() <= bytes.len());
    !sizes.is_empty()
}

pub(crate) fn messages_seeds() -> Vec<Vec<u8>> {
    let frame = |first: u8, data: &[u8]| [&[first, 128 | data.len() as u8, 0, 0, 0, 0], data].concat();
    vec![
        frame(0x81, b"hello"),
        [frame(0x01, b"hel"), frame(0x89, b"ping"), frame(0x80, b"lo")].concat(),
        frame(0x82, &[0, 255]),
        frame(0x88, &[3, 232]),
    ]
}
