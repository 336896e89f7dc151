//! The texts of HTTP, paths, hosts and policies.

use serde_json::{json, Value};

use crate::gateway::apis::Named;
use crate::gateway::json::Json;
use crate::gateway::policy::{self, Verdict};
use crate::gateway::routes::{parse_path, RouteKey, Router, Segment};
use crate::gateway::wire;

#[test]
fn texts_of_urls_are_read_and_written() {
    for (text, plain, anyway, field) in [
        ("a", "a", "a", "a"),
        ("a+b", "a+b", "a+b", "a b"),
        ("%41", "A", "A", "A"),
        ("%4", "%4", "%4", "%4"),
        ("%4g%g4", "%4g%g4", "%4g%g4", "%4g%g4"),
        ("%ff%2f", "%ff%2f", "\u{fffd}/", "%ff%2f"),
        ("%ff+", "%ff+", "\u{fffd}+", "%ff+"),
        ("%zz+", "%zz+", "%zz+", "%zz "),
        ("%2b%25", "+%", "+%", "+%"),
    ] {
        assert_eq!(wire::decoded(text), plain, "{text}");
        assert_eq!(wire::decoded_anyway(text), anyway, "{text}");
        assert_eq!(wire::decoded_field(text), field, "{text}");
    }
    assert_eq!(wire::encoded("aZ09-._~!/%\u{e9}"), "aZ09-._~%21%2F%25%C3%A9");
    assert_eq!(wire::as_path("/a b%20c%zz%2/\u{e9}?#[]{}"), "/a%20b%20c%25zz%252/%C3%A9%3F%23%5B%5D%7B%7D");
    assert_eq!(wire::as_path("aZ09-._~!$&'()*+,;=:@/%2f"), "aZ09-._~!$&'()*+,;=:@/%2f");
    assert_eq!(wire::cookies("a=1; b=2 ;; c").collect::<Vec<_>>(), ["a=1", "b=2", "c"]);
    for (content_type, expected) in [
        ("application/json+x", false),
        ("application/x+xml; a=b", true),
        ("application/jsonx", false),
        ("textual/plain", false),
        ("text", false),
        ("TEXT/x", true),
    ] {
        assert_eq!(wire::is_text(content_type, ""), expected, "{content_type}");
    }
    for (name, value, expected) in [
        ("!#$%&'*+-.^_`|~aZ09", "", true),
        ("x", "\t ~\u{80}", true),
        ("x", "a\u{7f}", false),
        ("x", "a\u{1f}", false),
        ("x(", "", false),
        ("x:", "", false),
        ("\u{e9}", "", false),
    ] {
        assert_eq!(wire::is_header(name, value), expected, "{name:?} {value:?}");
    }
}

#[test]
fn events_are_written_as_json() {
    let written = |write: &dyn Fn(&mut Json)| {
        let mut json = Json::default();
        write(&mut json);
        String::from_utf8(json.done()).unwrap()
    };
    assert_eq!(written(&|to| _ = to.pairs([("a", "1"), ("b", "2\"")].into_iter())), r#"{"a":"1","b":"2\""}"#);
    assert_eq!(written(&|to| _ = to.pairs(std::iter::empty())), "{}");
    assert_eq!(written(&|to| _ = to.list(["a", "b"].into_iter())), r#"["a","b"]"#);
    assert_eq!(written(&|to| _ = to.list(std::iter::empty())), "[]");
    assert_eq!(written(&|to| _ = to.optional(None).raw(",").optional(Some("a")).raw(",").number(12)), r#"null,"a",12"#);
    assert_eq!(
        written(&|to| _ = to.string("\n\r\t\u{1}\u{1f}\"\\/\u{7f}\u{e9}")),
        "\"\\n\\r\\t\\u0001\\u001f\\\"\\\\/\u{7f}\u{e9}\""
    );
    assert_eq!(written(&|to| _ = to.inside("a\"b")), r#"a\"b"#);
    for plain in 0..70 {
        for byte in ['"', '\u{1}', '\u{1f}', '\\'] {
            let text = "x".repeat(plain) + &byte.to_string() + &"y".repeat(40 - plain % 40);
            let json = written(&|to| _ = to.string(&text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}

#[test]
fn paths_of_routes_have_their_segments() {
    let literal = |text: &str| Segment::Literal(text.to_owned());
    let parsed = parse_path("/a/{b}/{c-d_e.f:9}/{rest+}").unwrap();
    let (variable, greedy) = (|name: &str| Segment::Variable(name.to_owned()), Segment::Greedy("rest".to_owned()));
    assert_eq!(parsed, [literal("a"), variable("b"), variable("c-d_e.f:9"), greedy]);
    assert_eq!(parse_path("/"), Ok(Vec::new()));
    assert_eq!(parse_path("/a//").unwrap(), [literal("a"), literal(""), literal("")]);
    for (path, part) in [
        ("", "does not begin with /"),
        ("/a?b", "no path has"),
        ("/a#b", "no path has"),
        ("/a\u{7f}", "no path has"),
        ("/a\n", "no path has"),
        ("/{a", "is not a variable"),
        ("/a}", "is not a variable"),
        ("/{+}", "allowed are letters, digits"),
        ("/{a$}", "allowed are letters, digits"),
        ("/{a}/{a+}", "appears twice"),
        ("/{a+}/{b+}", "must be the last segment"),
    ] {
        let error = parse_path(path).unwrap_err();
        assert!(error.contains(part), "{path}: {error}");
    }
    assert_eq!(parse_path(&"/a".repeat(64)).unwrap().len(), 64);
    assert_eq!(parse_path(&"/a".repeat(65)).unwrap_err(), "the path has 65 segments: at most 64 are allowed");
    let key = RouteKey::parse("PUT /{a}/b/{c+}").unwrap();
    assert_eq!(key.variables(), ["a", "c"]);
    assert_eq!(RouteKey::parse("$default").unwrap().variables(), [""; 0]);
    assert_eq!(RouteKey::parse("ANY /").unwrap(), RouteKey::Path { method: None, segments: Vec::new() });
}

#[test]
fn routes_of_the_longest_paths_are_found() {
    let mut router = Router::default();
    let (long, deep) = ("/a".repeat(64), "/b".repeat(63));
    for (route, key) in [format!("GET {long}"), format!("GET {deep}/{{rest+}}")].iter().enumerate() {
        assert!(router.add(&RouteKey::parse(key).unwrap(), route));
    }
    let found = |path: &str| router.find("GET", path).map(|found| (found.route, found.values.concat()));
    assert_eq!(found(&long), Some((0, String::new())));
    assert_eq!(found(&(long.clone() + "/a")), None);
    assert_eq!(found(&(deep.clone() + "/x/y")), Some((1, "x/y".to_owned())));
    assert_eq!(found(&deep), None);
    for key in ["GET /x", "ANY /x", "POST /y/{a}", "ANY /z/{a+}"] {
        let key = RouteKey::parse(key).unwrap();
        assert!(router.add(&key, 7) && !router.add(&key, 8), "{key:?}");
    }
    // An empty segment is no value of a variable.
    let mut router = Router::default();
    for (route, key) in ["GET /{a}/x", "GET /{a}/y/{rest+}", "GET /c/{rest+}", "GET /{v}/{rest+}"].iter().enumerate() {
        assert!(router.add(&RouteKey::parse(key).unwrap(), route));
    }
    let found = |path: &'static str| router.find("GET", path).map(|found| (found.route, found.values));
    for (path, expected) in [
        ("//x", None),
        ("//y/z", None),
        ("/1/y/z", Some((1, vec!["1", "z"]))),
        ("/c/y/z", Some((2, vec!["y/z"]))),
        ("/1/z/y", Some((3, vec!["1", "z/y"]))),
        ("/1/x/y", Some((3, vec!["1", "x/y"]))),
        ("/c", None),
    ] {
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn a_host_names_an_api_under_awss_suffixes_alone() {
    for (host, expected) in [
        ("x.execute-api.eu-west-1.amazonaws.com", Some(Named::Id("x"))),
        ("x.execute-api.cn-north-1.amazonaws.com.cn", Some(Named::Id("x"))),
        ("x.execute-api.eu-west-1.api.aws", Some(Named::Id("x"))),
        ("x.execute-api.local.localhost", Some(Named::Id("x"))),
        ("x.lambda-url.eu-west-1.on.aws", Some(Named::Id("x"))),
        ("x.lambda-url.local.localhost", Some(Named::Id("x"))),
        ("x.localhost", Some(Named::Name("x"))),
        ("localhost", None),
        ("x.lambda-url.eu-west-1.amazonaws.com", None),
        ("x.execute-api.eu-west-1.on.aws", None),
        ("x.execute-api..amazonaws.com", None),
        ("x.execute-api.eu_west.amazonaws.com", None),
        ("x.s3.eu-west-1.amazonaws.com", None),
        ("x.y.localhost", None),
    ] {
        assert_eq!(Named::by(host), expected, "{host}");
    }
}

#[test]
fn policies_are_read_strictly() {
    const ARN: &str = "arn:aws:execute-api:r:1:api/dev/GET/a";
    let judged = |statements: Value| policy::evaluate(&json!({ "Statement": statements }), ARN, &[]);
    let allow = json!({"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"});
    let with = |more: Value| {
        let mut one = allow.clone();
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one
    };
    for (statements, expected) in [
        (json!([allow, with(json!({"Effect": "Deny", "Resource": "none", "Condition": {}}))]), Verdict::Deny),
        (json!([allow, with(json!({"Effect": "Deny", "Resource": "none", "NotPrincipal": "x"}))]), Verdict::Deny),
        (json!([allow, with(json!({"Effect": "Deny", "Resource": "none"}))]), Verdict::Allow),
        (json!(with(json!({"NotPrincipal": "x"}))), Verdict::Silent),
        (json!(with(json!({"Resource": 1}))), Verdict::Silent),
        (json!(with(json!({"Resource": ["x", "y"]}))), Verdict::Silent),
        (json!(with(json!({"Resource": [1, "*"]}))), Verdict::Allow),
        (json!(with(json!({"Action": ["x", "execute-api:*"]}))), Verdict::Allow),
        (json!({"Effect": "Allow", "NotAction": "s3:*", "NotResource": "*/POST/*"}), Verdict::Allow),
        (json!({"Effect": "Allow", "NotAction": "execute-api:*", "NotResource": "*/POST/*"}), Verdict::Silent),
        (json!({"Effect": "Allow", "NotAction": "s3:*", "NotResource": "*/GET/*"}), Verdict::Silent),
        (json!({"Effect": "Allow", "Resource": "*"}), Verdict::Silent),
        (json!(vec![allow.clone(); 1_000]), Verdict::Allow),
    ] {
        assert_eq!(judged(statements.clone()), Ok(expected), "{statements:.300}");
    }
    for (statements, part) in [
        (json!(vec![allow.clone(); 1_001]), "the policy has 1001 statements: at most 1000 are read"),
        (json!(with(json!({"Effect": "Maybe"}))), "a statement's Effect is neither Allow nor Deny"),
        (json!({"Action": "*", "Resource": "*"}), "a statement's Effect is neither Allow nor Deny"),
        (json!(with(json!({"NotAction": "x"}))), "a statement has Action and NotAction: one of them"),
        (json!({"Effect": "Allow", "NotAction": 1, "Resource": "*"}), "a statement's NotAction is neither"),
        (json!({"Effect": "Allow", "NotAction": ["x", ""], "Resource": "*"}), "a statement's NotAction is neither"),
        (json!([]), ""),
    ] {
        let error = judged(statements.clone()).err().unwrap_or_default();
        assert!(error.contains(part) && error.is_empty() == part.is_empty(), "{statements:.300}: {error}");
    }
    assert_eq!(policy::named(&json!("a")), Some(vec!["a"]));
    assert_eq!(policy::named(&json!(["a", "b"])), Some(vec!["a", "b"]));
    for (pattern, text, expected) in [
        ("", "", true),
        ("", "a", false),
        ("a", "", false),
        ("a", "a", true),
        ("?", "", false),
        ("?b", "ab", true),
        ("*", "abc", true),
        ("a*", "a", true),
        ("a*b*c", "a--b--c", true),
        ("a*b*c", "a--c--b", false),
        ("*ab", "aab", true),
        ("*ab", "aba", false),
        ("a**b", "ab", true),
        ("ab", "abc", false),
        ("*aab", "aaaab", true),
        ("*a?c", "abcabc", true),
        ("x*y", "xzzy", true),
    ] {
        assert_eq!(policy::matches(pattern, text), expected, "{pattern} {text}");
    }
    assert!(
        policy::is_action("EXECUTE-api:*", "execute-api:Invoke") && !policy::is_action("s3:*", "execute-api:Invoke")
    );
}
