//! Which route a request takes: route keys, and the tree of segments in which they are found.
//!
//! A full match of path and method comes first: a literal segment before a variable, a method of its own before `ANY`. Then a greedy
//! variable, the longest path before it first. Then `$default`. Source:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>

use std::borrow::Cow;
use std::collections::HashMap;

use crate::gateway::wire::{decoded, decoded_anyway};

/// Most segments of a route's path.
const SEGMENTS_MAX: usize = 64;
/// Methods that a route may name beside `ANY`.
pub const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A route's key, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteKey {
    /// `$default`: what no other route takes.
    Default,
    /// A method (or `ANY`) and a path.
    Path {
        /// The method; `None`: any.
        method: Option<String>,
        /// The segments.
        segments: Vec<Segment>,
    },
}

/// A segment of a route's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Stands for itself.
    Literal(String),
    /// `{name}`: one segment.
    Variable(String),
    /// `{name+}`: one segment or more, up to the end.
    Greedy(String),
}

impl RouteKey {
    /// Read `GET /orders/{id}`, `ANY /{proxy+}` or `$default`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "$default" {
            return Ok(Self::Default);
        }
        let wrong = |what: &str| format!("route {text:?}: {what}");
        let Some((method, path)) = text.split_once(' ') else {
            return Err(wrong("allowed are $default, and a method and a path, as in \"GET /orders/{id}\""));
        };
        let method = match method {
            "ANY" => None,
            known if METHODS.contains(&known) => Some(known.to_owned()),
            _ => return Err(wrong(&format!("{method:?} is not a method: allowed are ANY, {}", METHODS.join(", ")))),
        };
        let segments = parse_path(path).map_err(|what| wrong(&what))?;
        Ok(Self::Path { method, segments })
    }

    /// The names of its variables, in the order of the path.
    pub fn variables(&self) -> Vec<String> {
        let Self::Path { segments, .. } = self else { return Vec::new() };
        let name = |segment: &Segment| match segment {
            Segment::Literal(_) => None,
            Segment::Variable(name) | Segment::Greedy(name) => Some(name.clone()),
        };
        segments.iter().filter_map(name).collect()
    }
}

/// Read a path of a route.
pub fn parse_path(path: &str) -> Result<Vec<Segment>, String> {
    let Some(rest) = path.strip_prefix('/') else { return Err(format!("the path {path:?} does not begin with /")) };
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'?' || byte == b'#') {
        return Err(format!("the path {path:?} has a character that no path has"));
    }
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Vec<Segment> = rest.split('/').map(parse_segment).collect::<Result<_, _>>()?;
    if segments.len() > SEGMENTS_MAX {
        return Err(format!("the path has {} segments: at most {SEGMENTS_MAX} are allowed", segments.len()));
    }
    let last = segments.len() - 1;
    if segments[..last].iter().any(|segment| matches!(segment, Segment::Greedy(_))) {
        return Err("a greedy variable, as {proxy+}, must be the last segment".into());
    }
    let mut names: Vec<&str> = Vec::new();
    for segment in &segments {
        if let Segment::Variable(name) | Segment::Greedy(name) = segment {
            if names.contains(&name.as_str()) {
                return Err(format!("the variable {name:?} appears twice in the path"));
            }
            names.push(name);
        }
    }
    Ok(segments)
}

fn parse_segment(text: &str) -> Result<Segment, String> {
    let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        if text.contains(['{', '}']) {
            return Err(format!("the segment {text:?} is not a variable: one takes the whole segment, as {{id}}"));
        }
        return Ok(Segment::Literal(text.to_owned()));
    };
    let (name, is_greedy) = inner.strip_suffix('+').map_or((inner, false), |name| (name, true));
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte)) {
        return Err(format!("the variable {text:?}: allowed are letters, digits and _ - . :"));
    }
    Ok(if is_greedy { Segment::Greedy(name.to_owned()) } else { Segment::Variable(name.to_owned()) })
}

/// What a path is for those who read it next, where it may be another one for some of them: escapes are decoded, and slashes that are
/// nobody's are gone, and `..` has taken what stands before it. Servers differ in whether a backslash or an escaped slash ends a segment,
/// in whether parameters behind a `;` are cut off, before or after decoding, and in whether what stands behind two slashes at the front is
/// a host: each of these readings is here.
pub fn readings(path: &str) -> Vec<String> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let is_plain = |segment: &str| !segment.is_empty() && !is_dots(segment);
    if !inner.contains(['%', '\\', ';']) && (inner.is_empty() || inner.split('/').all(is_plain)) {
        return Vec::new();
    }
    let mut all: Vec<String> = Vec::new();
    for inner in std::iter::once(inner).chain(behind_host(path)) {
        for parameters in [Parameters::CutFirst, Parameters::CutLast, Parameters::Kept] {
            for separators in [Separators::Escaped, Separators::Backslash, Separators::Slash] {
                let reading = reading(inner, parameters, separators);
                if !all.contains(&reading) {
                    all.push(reading);
                }
            }
        }
    }
    all
}

/// What is left of a path that begins with two separators for servers that take it for a URL: behind those stands a host.
fn behind_host(path: &str) -> Option<&str> {
    let mut rest = path;
    let mut count = 0;
    while let Some(next) = SEPARATORS.iter().find_map(|one| without_prefix(rest, one)) {
        (rest, count) = (next, count + 1);
    }
    let is_host = count > usize::from(path.starts_with('/'));
    is_host.then(|| rest.find(['/', '\\']).map_or("", |end| &rest[end..]))
}

/// How separators are written.
const SEPARATORS: [&str; 4] = ["/", "\\", "%2f", "%5c"];

fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// What becomes of what stands behind a `;` in a segment.
#[derive(Clone, Copy, PartialEq)]
enum Parameters {
    CutFirst,
    CutLast,
    Kept,
}

/// What ends a segment beside a slash.
#[derive(Clone, Copy, PartialEq)]
enum Separators {
    Slash,
    /// As in browsers' URLs, which many servers read by.
    Backslash,
    /// A backslash and whatever is one of both when it is decoded.
    Escaped,
}

fn reading(inner: &str, parameters: Parameters, separators: Separators) -> String {
    let mut kept: Vec<String> = Vec::new();
    for sent in inner.split(|of| of == '/' || (of == '\\' && separators == Separators::Backslash)) {
        let sent = if parameters == Parameters::CutFirst { without_parameters(sent) } else { sent };
        let text = decoded_anyway(sent);
        let is_escaped = separators == Separators::Escaped;
        let parts: Vec<&str> = if is_escaped { text.split(['/', '\\']).collect() } else { vec![&*text] };
        for part in parts {
            let part = if parameters == Parameters::CutLast { without_parameters(part) } else { part };
            match part {
                "" | "." => {}
                ".." => drop(kept.pop()),
                // A slash that ends no segment is written so that it ends none.
                other => kept.push(other.replace('/', "%2F")),
            }
        }
    }
    kept.join("/")
}

fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Whether a path has a segment `.` or `..`, in whatever spelling servers know: escaped, behind a backslash, or with parameters behind a `;`.
/// Most servers take such a path for another one.
pub fn climbs(path: &str) -> bool {
    if !path.contains(['.', '%']) {
        return false;
    }
    let text = decoded_anyway(path);
    let climbs = text.split(['/', '\\']).any(|segment| is_dots(without_parameters(segment)));
    climbs
}

/// Index of a route, as it was added.
pub type RouteId = usize;

/// The routes of a place in the tree, by method.
#[derive(Clone, Debug, Default)]
struct Methods {
    named: Vec<(String, RouteId)>,
    any: Option<RouteId>,
}

impl Methods {
    fn find(&self, method: &str) -> Option<RouteId> {
        self.named.iter().find(|(name, _)| name == method).map(|&(_, route)| route).or(self.any)
    }

    fn add(&mut self, method: Option<&str>, route: RouteId) -> bool {
        match method {
            None => self.any.replace(route).is_none(),
            Some(method) => {
                let is_new = self.named.iter().all(|(name, _)| name != method);
                self.named.push((method.to_owned(), route));
                is_new
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Node {
    literal: HashMap<String, Node>,
    variable: Option<Box<Node>>,
    here: Methods,
    greedy: Methods,
}

/// What a request was found to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The route.
    pub route: RouteId,
    /// What its variables stand for, as it was sent, in the order of the path.
    pub values: Vec<&'a str>,
}

/// The routes of an API, to be searched.
#[derive(Clone, Debug, Default)]
pub struct Router {
    root: Node,
    fallback: Option<RouteId>,
}

impl Router {
    /// Add a route; false if another one has the same method and the same path but for the names of variables.
    pub fn add(&mut self, key: &RouteKey, route: RouteId) -> bool {
        let RouteKey::Path { method, segments } = key else { return self.fallback.replace(route).is_none() };
        debug_assert!(segments.len() <= SEGMENTS_MAX, "a search goes as deep as the longest route");
        let mut node = &mut self.root;
        for segment in segments {
            node = match segment {
                Segment::Literal(text) => node.literal.entry(decoded(text).into_owned()).or_default(),
                Segment::Variable(_) => node.variable.get_or_insert_with(Box::default),
                Segment::Greedy(_) => return node.greedy.add(method.as_deref(), route),
            };
        }
        node.here.add(method.as_deref(), route)
    }

    /// Find the route of a request, by its method and the path as it was sent. A method that no route can name finds none: policies
    /// and authorisers know those alone.
    pub fn find<'a>(&self, method: &str, path: &'a str) -> Option<Found<'a>> {
        if !METHODS.contains(&method) {
            return None;
        }
        let rest = path.strip_prefix('/').unwrap_or(path);
        let mut values = Vec::new();
        let found = if rest.is_empty() {
            self.root.here.find(method).map(|route| Found { route, values: Vec::new() })
        } else {
            let full = full_match(&self.root, method, rest, &mut values);
            full.map(|route| Found { route, values: std::mem::take(&mut values) })
                .or_else(|| greedy_match(&self.root, method, rest, &mut values))
        };
        found.or_else(|| self.fallback.map(|route| Found { route, values: Vec::new() }))
    }
}

fn split(rest: &str) -> (&str, Option<&str>) {
    rest.split_once('/').map_or((rest, None), |(first, rest)| (first, Some(rest)))
}

fn literal<'n>(node: &'n Node, segment: &str) -> Option<&'n Node> {
    if node.literal.is_empty() {
        return None;
    }
    let text: Cow<'_, str> = if segment.contains('%') { decoded(segment) } else { segment.into() };
    node.literal.get(text.as_ref())
}

/// It goes no deeper than the tree, which has at most as many levels as a route's path has segments.
fn full_match<'a>(node: &Node, method: &str, rest: &'a str, values: &mut Vec<&'a str>) -> Option<RouteId> {
    let (segment, after) = split(rest);
    let go_on = |node: &Node, values: &mut Vec<&'a str>| match after {
        None => node.here.find(method),
        Some(after) => full_match(node, method, after, values),
    };
    if let Some(found) = literal(node, segment).and_then(|node| go_on(node, values)) {
        return Some(found);
    }
    let variable = node.variable.as_deref().filter(|_| !segment.is_empty())?;
    values.push(segment);
    let found = go_on(variable, values);
    if found.is_none() {
        values.pop();
    }
    found
}

/// The deepest greedy variable that takes the rest: what stands literally before what stands for a variable.
fn greedy_match<'a>(node: &Node, method: &str, rest: &'a str, values: &mut Vec<&'a str>) -> Option<Found<'a>> {
    if rest.is_empty() {
        return None;
    }
    let (segment, after) = split(rest);
    if let Some(after) = after {
        let deeper = literal(node, segment).and_then(|node| greedy_match(node, method, after, values));
        if deeper.is_some() {
            return deeper;
        }
        if let Some(variable) = node.variable.as_deref().filter(|_| !segment.is_empty()) {
            values.push(segment);
            if let Some(found) = greedy_match(variable, method, after, values) {
                return Some(found);
            }
            values.pop();
        }
    }
    let route = node.greedy.find(method)?;
    values.push(rest);
    Some(Found { route, values: values.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(keys: &[&str]) -> Router {
        let mut router = Router::default();
        for (route, key) in keys.iter().enumerate() {
            assert!(router.add(&RouteKey::parse(key).unwrap(), route), "{key} is there twice");
        }
        router
    }

    type Case<'a> = (&'a str, Option<(&'a str, &'a [&'a str])>);

    #[track_caller]
    fn check(keys: &[&str], cases: &[Case<'_>]) {
        let router = router(keys);
        for (request, expected) in cases {
            let (method, path) = request.split_once(' ').unwrap();
            let found = router.find(method, path).map(|found| (keys[found.route], found.values));
            assert_eq!(found, expected.map(|(key, values)| (key, values.to_vec())), "{request}");
        }
    }

    #[test]
    fn the_order_is_the_documented_one() {
        // https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
        check(
            &["GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default"],
            &[
                ("GET /pets/dog/1", Some(("GET /pets/dog/1", &[]))),
                ("GET /pets/dog/2", Some(("GET /pets/dog/{id}", &["2"]))),
                ("GET /pets/cat/1", Some(("GET /pets/{proxy+}", &["cat/1"]))),
                ("POST /test/5", Some(("ANY /{proxy+}", &["test/5"]))),
                ("POST /pets/dog/1", Some(("ANY /{proxy+}", &["pets/dog/1"]))),
                ("GET /", Some(("$default", &[]))),
            ],
        );
    }

    #[test]
    fn a_method_of_its_own_comes_before_any_and_a_literal_before_a_variable() {
        check(
            &["ANY /a", "GET /a", "GET /{x}", "GET /a/{y}/c", "GET /{x}/b/{z}"],
            &[
                ("GET /a", Some(("GET /a", &[]))),
                ("PUT /a", Some(("ANY /a", &[]))),
                ("GET /b", Some(("GET /{x}", &["b"]))),
                ("GET /a/b/c", Some(("GET /a/{y}/c", &["b"]))),
                ("GET /a/b/d", Some(("GET /{x}/b/{z}", &["a", "d"]))),
                ("PUT /b", None),
                ("GET /a/", None),
                ("GET /", None),
            ],
        );
    }

    #[test]
    fn variables_at_the_same_place_may_have_other_names() {
        check(
            &["GET /{a}/x", "GET /{b}/y", "POST /{c}/{rest+}"],
            &[
                ("GET /1/x", Some(("GET /{a}/x", &["1"]))),
                ("GET /1/y", Some(("GET /{b}/y", &["1"]))),
                ("POST /1/x", Some(("POST /{c}/{rest+}", &["1", "x"]))),
                ("POST /1/x//y/", Some(("POST /{c}/{rest+}", &["1", "x//y/"]))),
                ("POST /1/", None),
            ],
        );
    }

    /// `FOO` and `TRACE` reached the handlers of `ANY`, past policies that list the seven methods.
    #[test]
    fn a_method_that_no_route_can_name_finds_none() {
        check(
            &["ANY /a", "$default"],
            &[
                ("HEAD /a", Some(("ANY /a", &[]))),
                ("FOO /a", None),
                ("TRACE /a", None),
                ("get /a", None),
                ("CONNECT /b", None),
                ("PATCH /b", Some(("$default", &[]))),
            ],
        );
    }

    #[test]
    fn an_encoded_literal_is_the_literal() {
        // Else a guarded route could be gone round by writing its path otherwise.
        check(
            &["GET /admin/users", "ANY /{proxy+}"],
            &[
                ("GET /%61dmin/%75sers", Some(("GET /admin/users", &[]))),
                ("GET /admin%2Fusers", Some(("ANY /{proxy+}", &["admin%2Fusers"]))),
            ],
        );
    }

    #[test]
    fn a_path_has_all_readings_of_servers() {
        for (path, expected) in [
            ("/admin/users", &[][..]),
            ("/", &[]),
            ("/a..b/...", &[]),
            ("/%61dmin", &["admin"]),
            ("//admin", &["admin", ""]),
            ("//x/admin", &["x/admin", "admin"]),
            ("/\\x/admin", &["x/admin", "\\x/admin", "admin"]),
            ("/%2fx%5Cy/admin", &["x/y/admin", "%2Fx\\y/admin", "admin"]),
            ("%2F%2fx", &["x", "%2F%2Fx", ""]),
            ("/admin\\a%2fb", &["admin/a/b", "admin/a%2Fb", "admin\\a%2Fb"]),
            ("/admin/", &["admin"]),
            ("/a/%2e%2E/b%", &["b%"]),
            ("/public/../secret", &["secret"]),
            ("/public/..%2f..%2Fsecret", &["secret", "public/..%2F..%2Fsecret"]),
            ("/a/./b//c", &["a/b/c"]),
            ("/..", &[""]),
            ("/%61dmin/%ff", &["admin/\u{fffd}"]),
            ("/public/%ff/%2e%2e/%2e%2e/admin", &["admin"]),
            ("/admin;a=1/x", &["admin/x", "admin;a=1/x"]),
            ("/\\admin/x", &["admin/x", "\\admin/x", "x"]),
            ("/public/..%5csecret", &["secret", "public/..\\secret"]),
            ("/admin;%2fy/x", &["admin/x", "admin/y/x", "admin;/y/x", "admin;%2Fy/x"]),
            ("//admin/a%2fb", &["admin/a/b", "admin/a%2Fb", "a/b", "a%2Fb"]),
            ("/admin;a=1/x%2fy", &["admin/x/y", "admin/x%2Fy", "admin;a=1/x/y", "admin;a=1/x%2Fy"]),
        ] {
            assert_eq!(readings(path), expected, "{path}");
        }
    }

    #[test]
    fn a_path_that_climbs_is_known_in_every_spelling() {
        for path in [
            "/a/../b",
            "/a/.",
            "/%2e%2E/b",
            "/a/..%2fb",
            "/a/..%5Cb",
            "/a/..;/b",
            "/a/%2e;x=1/b",
            "..",
            "/%ff/%2e%2e/b",
        ] {
            assert!(climbs(path), "{path}");
        }
        for path in ["/", "/a..b", "/...", "/a.b/c", "/a%2Fb", "/..a/b", "/%252e%252e/b"] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn a_path_without_end_ends() {
        let path = "/a".repeat(100_000);
        let router = router(&["GET /a/{x}", "GET /{x}/{y}/{z}", "ANY /{proxy+}"]);
        assert_eq!(router.find("GET", &path).map(|found| found.route), Some(2));
    }

    #[test]
    fn what_is_no_route_is_refused_with_the_reason() {
        for (key, part) in [
            ("GET", "allowed are $default"),
            ("FETCH /a", "is not a method"),
            ("GET a", "does not begin with /"),
            ("GET /{a+}/b", "must be the last segment"),
            ("GET /{a}/{a}", "appears twice"),
            ("GET /x{a}", "is not a variable"),
            ("GET /{}", "the variable"),
            ("GET /a b", "no path has"),
        ] {
            let error = RouteKey::parse(key).unwrap_err();
            assert!(error.contains(part), "{key}: {error}");
        }
    }

    #[test]
    fn the_same_route_twice_is_told() {
        let mut router = router(&["GET /a/{x}", "ANY /b/{proxy+}", "$default"]);
        for key in ["GET /a/{y}", "ANY /b/{rest+}", "$default"] {
            assert!(!router.add(&RouteKey::parse(key).unwrap(), 9), "{key}");
        }
        assert!(router.add(&RouteKey::parse("POST /a/{y}").unwrap(), 9));
    }
}
