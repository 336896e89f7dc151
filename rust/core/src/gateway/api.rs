//! An API as it is declared, checked, and made ready to be served.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::gateway::authorizer::{self, Authorizer};
use crate::gateway::cors::Cors;
use crate::gateway::event::Format;
use crate::gateway::routes::{self, RouteKey, Router};
use crate::gateway::websocket::{Selection, CONNECT};

/// Most routes of an API.
pub const ROUTES_MAX: usize = 300;
/// Most stages of an API.
pub const STAGES_MAX: usize = 10;
/// Most authorisers of an API.
pub const AUTHORIZERS_MAX: usize = 10;
/// Most scopes of a route.
pub const SCOPES_MAX: usize = 10;
/// Most variables of a stage.
pub const VARIABLES_MAX: usize = 100;
/// How long an integration may take, ms.
pub const TIMEOUT_MS: std::ops::RangeInclusive<u32> = 50..=30_000;
/// Where an API is found on a port that serves several: `/_apis/{id or name}/…`.
pub const PREFIX: &str = "/_apis/";
/// The stage that has no name in the path.
pub const DEFAULT_STAGE: &str = "$default";

/// What an API is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An HTTP API.
    #[default]
    Http,
    /// The URL of one function.
    Url,
    /// A WebSocket API.
    Websocket,
}

/// A rate and a burst, requests a second and requests.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Requests a second.
    pub rate: f64,
    /// Requests at once.
    pub burst: u32,
}

impl Throttle {
    fn check(self) -> Result<(), String> {
        if !(0.0..=1e6).contains(&self.rate) || self.burst > 1_000_000 {
            return Err(format!(
                "throttle: a rate of {} and a burst of {}: allowed are 0 to 1,000,000 of each",
                self.rate, self.burst
            ));
        }
        Ok(())
    }
}

/// Where a route's requests go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// To a function, by its name or with a qualifier.
    Function(String),
    /// To another server.
    Url(String),
    /// Nowhere yet: a call has made the route, and nothing stands behind it. Whoever is let in gets a failure.
    Nothing {},
}

impl Target {
    /// The function, where it is one.
    pub fn function(&self) -> Option<&str> {
        match self {
            Self::Function(function) => Some(function),
            Self::Url(_) | Self::Nothing {} => None,
        }
    }
}

/// A route, as it is declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteDefinition {
    /// `GET /orders/{id}`, `$default`.
    pub key: String,
    /// Where it goes.
    pub target: Target,
    /// The form of the event and the answer.
    #[serde(default)]
    pub payload_format: Format,
    /// Who is let in, by the authoriser's name.
    #[serde(default)]
    pub authorizer: Option<String>,
    /// What a token must allow.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How long an answer may take, ms.
    #[serde(default = "thirty_seconds")]
    pub timeout_ms: u32,
    /// Its own limit.
    #[serde(default)]
    pub throttle: Option<Throttle>,
    /// Of a WebSocket API: whether what the function returns is sent to the client.
    #[serde(default)]
    pub responds: bool,
}

fn thirty_seconds() -> u32 {
    *TIMEOUT_MS.end()
}

/// A stage, as it is declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name; `$default` has none in the path.
    pub name: String,
    /// Its variables.
    #[serde(default)]
    pub variables: Vec<(String, String)>,
    /// The limit of all its routes together.
    #[serde(default)]
    pub throttle: Option<Throttle>,
}

/// An API, as it is declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Unique among those of its kind; of a URL the function.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub kind: Kind,
    /// Cross-origin requests.
    #[serde(default)]
    pub cors: Option<Cors>,
    /// Its routes.
    #[serde(default)]
    pub routes: Vec<RouteDefinition>,
    /// Its stages; none: `$default`.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Its authorisers.
    #[serde(default)]
    pub authorizers: Vec<authorizer::Definition>,
    /// Hosts that it answers under beside its own.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Of a WebSocket API: how a message tells its route.
    #[serde(default)]
    pub selection: Option<String>,
    /// Of a WebSocket API: whether the next message of a connection waits until the last one has been handled.
    #[serde(default)]
    pub ordered: bool,
}

/// A route that is served.
#[derive(Clone, Debug)]
pub struct Route {
    /// As it was declared.
    pub definition: RouteDefinition,
    /// The names of its variables.
    pub variables: Vec<String>,
    /// Index of its authoriser.
    pub authorizer: Option<usize>,
}

/// An API that is served.
#[derive(Clone, Debug)]
pub struct Api {
    /// Ten characters, the same over restarts.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Cross-origin requests.
    pub cors: Option<Cors>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Its stages.
    pub stages: Vec<Stage>,
    /// Its authorisers.
    pub authorizers: Vec<Authorizer>,
    /// Further hosts.
    pub hosts: Vec<String>,
    /// How a message of a WebSocket tells its route.
    pub selection: Option<Selection>,
    /// Whether messages of one connection are handled one after the other.
    pub ordered: bool,
    /// Whether calls have made it. Each of its stages is an API of the same id then, with one stage.
    pub is_made: bool,
    router: Router,
}

/// The id of an API: `[a-z0-9]{10}`, out of the app's name, the kind and the name.
pub fn id(app: &str, kind: Kind, name: &str) -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let kind = match kind {
        Kind::Http => "http",
        Kind::Url => "url",
        Kind::Websocket => "websocket",
    };
    let digest = Sha256::digest([app, kind, name].join("\0"));
    digest.iter().take(10).map(|&byte| char::from(DIGITS[usize::from(byte) % 36])).collect()
}

impl Api {
    /// Check a definition and make it ready; the error names what is wrong.
    pub fn compile(app: &str, definition: Definition) -> Result<Self, String> {
        let Definition { name, kind, cors, routes, mut stages, authorizers, hosts, selection, ordered } = definition;
        check_name(&name)?;
        if let Some(cors) = &cors {
            cors.check()?;
        }
        for (what, count, most) in [
            ("routes", routes.len(), ROUTES_MAX),
            ("stages", stages.len(), STAGES_MAX),
            ("authorizers", authorizers.len(), AUTHORIZERS_MAX),
        ] {
            if count > most {
                return Err(format!("{what}: there are {count}: at most {most} are allowed"));
            }
        }
        if stages.is_empty() {
            stages.push(Stage { name: DEFAULT_STAGE.into(), variables: Vec::new(), throttle: None });
        }
        check_stages(&stages)?;
        if let Some(host) = hosts.iter().find(|host| !is_host(host)) {
            return Err(format!(
                "hosts: {host:?} is not a host: allowed is a name in small letters, without scheme, port and path"
            ));
        }
        let selection = match (kind, selection) {
            (Kind::Websocket, Some(text)) => Some(Selection::parse(&text)?),
            (Kind::Websocket, None) => {
                return Err("selection: a WebSocket API says how a message tells its route".into())
            }
            (_, Some(_)) => return Err("selection: only a WebSocket API has one".into()),
            (_, None) => None,
        };
        let authorizers: Vec<Authorizer> =
            authorizers.into_iter().map(Authorizer::compile).collect::<Result<_, _>>()?;
        let mut router = Router::default();
        let mut ready: Vec<Route> = Vec::with_capacity(routes.len());
        for route in routes {
            let compiled = compile_route(route, kind, &authorizers)?;
            let is_new = if kind == Kind::Websocket {
                ready.iter().all(|known| known.definition.key != compiled.definition.key)
            } else {
                router.add(&RouteKey::parse(&compiled.definition.key)?, ready.len())
            };
            if !is_new {
                return Err(twice(&compiled.definition.key, &ready));
            }
            ready.push(compiled);
        }
        Ok(Self {
            id: id(app, kind, &name),
            name,
            kind,
            cors,
            routes: ready,
            stages,
            authorizers,
            hosts,
            selection,
            ordered,
            is_made: false,
            router,
        })
    }

    /// The stage of a path, by its index, and the path in it.
    pub fn stage<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let first = rest.split('/').next().unwrap_or_default();
        if let Some(named) = self.stages.iter().position(|stage| stage.name == first && !first.is_empty()) {
            let rest = &rest[first.len()..];
            return Some((named, if rest.is_empty() { "/" } else { rest }));
        }
        Some((self.stages.iter().position(|stage| stage.name == DEFAULT_STAGE)?, path))
    }

    /// The route of a request, by its index, and what its variables stand for.
    pub fn route<'a>(&'a self, method: &str, path: &'a str) -> Option<(usize, Vec<(&'a str, &'a str)>)> {
        let found = self.router.find(method, path)?;
        let names = self.routes[found.route].variables.iter().map(String::as_str);
        Some((found.route, names.zip(found.values).collect()))
    }

    /// Whether a path can be handed on to another server from a route: to a server that reads it otherwise, it may be what stands behind
    /// another authoriser.
    pub fn may_hand_on(&self, method: &str, path: &str, route: usize) -> bool {
        let guard = |route: usize| (self.routes[route].authorizer, &self.routes[route].definition.scopes);
        let is_alike =
            |reading: String| self.route(method, &reading).is_none_or(|(other, _)| guard(other) == guard(route));
        !routes::climbs(path) && routes::readings(path).into_iter().all(is_alike)
    }

    /// The route of a WebSocket API by its key, by its index.
    pub fn route_named(&self, key: &str) -> Option<usize> {
        self.routes.iter().position(|route| route.definition.key == key)
    }
}

/// What is wrong with a route that another one leaves no request.
fn twice(key: &str, ready: &[Route]) -> String {
    let is_same = |known: &&Route| {
        let mut router = Router::default();
        let keys = [RouteKey::parse(&known.definition.key), RouteKey::parse(key)];
        keys.iter().flatten().enumerate().any(|(at, key)| !router.add(key, at))
    };
    match ready.iter().filter(|known| known.definition.key != key).find(is_same) {
        Some(other) => format!("route {key:?} is declared twice: {:?} takes the same requests", other.definition.key),
        None => format!("route {key:?} is declared twice"),
    }
}

fn compile_route(definition: RouteDefinition, kind: Kind, authorizers: &[Authorizer]) -> Result<Route, String> {
    let key = &definition.key;
    let wrong = |what: String| format!("route {key:?}: {what}");
    let variables = if kind == Kind::Websocket {
        check_selected(key)?;
        Vec::new()
    } else {
        RouteKey::parse(key)?.variables()
    };
    if !TIMEOUT_MS.contains(&definition.timeout_ms) {
        return Err(wrong(format!("timeout is {} ms: allowed are 50 to 30000 ms", definition.timeout_ms)));
    }
    if definition.scopes.len() > SCOPES_MAX {
        return Err(wrong(format!("it has {} scopes: at most {SCOPES_MAX} are allowed", definition.scopes.len())));
    }
    definition.throttle.map_or(Ok(()), Throttle::check).map_err(&wrong)?;
    if kind == Kind::Websocket && matches!(definition.target, Target::Url(_)) {
        return Err(wrong("messages go to functions".into()));
    }
    if let Target::Url(url) = &definition.target {
        check_url(url).map_err(&wrong)?;
    }
    if kind == Kind::Websocket && definition.authorizer.is_some() && key != CONNECT {
        return Err(wrong("who may connect is asked once, by the authorizer of $connect".into()));
    }
    let authorizer = match &definition.authorizer {
        None if !definition.scopes.is_empty() => return Err(wrong("scopes are an authorizer's: name one".into())),
        None => None,
        Some(name) => {
            let found = authorizers.iter().position(|known| known.name == *name);
            let known: Vec<&str> = authorizers.iter().map(|one| one.name.as_str()).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            Some(found.ok_or_else(|| wrong(format!("there is no authorizer {name:?}: this API has {known}")))?)
        }
    };
    Ok(Route { definition, variables, authorizer })
}

fn check_name(name: &str) -> Result<(), String> {
    let is_name = (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    is_name.then_some(()).ok_or_else(|| format!("name is {name:?}: allowed are 1 to 128 letters, digits and - _ ."))
}

/// Whether a message can have this route.
pub(crate) fn check_selected(key: &str) -> Result<(), String> {
    let is_known = !key.starts_with('$') || ["$connect", "$disconnect", "$default"].contains(&key);
    if key.is_empty() || key.len() > 128 || !is_known {
        return Err(format!(
            "route {key:?}: allowed are $connect, $disconnect, $default and names of 1 to 128 characters without $ in front"
        ));
    }
    Ok(())
}

/// Refuse a variable that no stage can have.
pub(crate) fn check_variable(key: &str, value: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#&=,".contains(&byte);
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_key && value.bytes().all(fits) {
        return Ok(());
    }
    Err(format!(
        "variable {key:?}={value:?}: a name has letters, digits and _, a value letters, digits and - . _ ~ : / ? # & = ,"
    ))
}

fn check_stages(stages: &[Stage]) -> Result<(), String> {
    for (at, stage) in stages.iter().enumerate() {
        let name = &stage.name;
        let is_name = (1..=128).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_name && name != DEFAULT_STAGE {
            return Err(format!("stage {name:?}: allowed are $default and 1 to 128 letters, digits, - and _"));
        }
        if stages[..at].iter().any(|other| other.name == *name) {
            return Err(format!("stage {name:?} is declared twice"));
        }
        if stage.variables.len() > VARIABLES_MAX {
            return Err(format!("stage {name:?}: at most {VARIABLES_MAX} variables are allowed"));
        }
        for (key, value) in &stage.variables {
            check_variable(key, value).map_err(|text| format!("stage {name:?}: {text}"))?;
        }
        stage.throttle.map_or(Ok(()), Throttle::check)?;
    }
    Ok(())
}

fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| {
        format!(
            "{url:?} is not a URL that requests can be handed on to: allowed is one such as http://127.0.0.1:9000/path"
        )
    })?;
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.contains('@') || url.contains(['?', '#', ' ']) {
        return Err(format!(
            "{url:?}: allowed is one such as http://127.0.0.1:9000/path, without user, query and fragment"
        ));
    }
    Ok(())
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(definition: serde_json::Value) -> Result<Api, String> {
        Api::compile("app", serde_json::from_value(definition).map_err(|error| error.to_string())?)
    }

    #[test]
    fn an_id_has_ten_characters_and_stays() {
        let (shop, url) = (id("app", Kind::Http, "shop"), id("app", Kind::Url, "shop"));
        assert_eq!(shop, id("app", Kind::Http, "shop"));
        assert_ne!(shop, url);
        assert!(shop.len() == 10 && shop.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    }

    #[test]
    fn a_stage_is_the_first_segment_or_the_default_one() {
        let api = compile(json!({"name": "n", "stages": [{"name": "$default"}, {"name": "dev"}]})).unwrap();
        let stage = |path| api.stage(path).map(|(at, rest)| (api.stages[at].name.clone(), rest.to_owned()));
        let told = |name: &str, rest: &str| Some((name.to_owned(), rest.to_owned()));
        assert_eq!(stage("/dev/a"), told("dev", "/a"));
        assert_eq!(stage("/dev"), told("dev", "/"));
        assert_eq!(stage("/devs"), told("$default", "/devs"));
        assert_eq!(stage("/"), told("$default", "/"));
        let api = compile(json!({"name": "n", "stages": [{"name": "dev"}]})).unwrap();
        assert!(api.stage("/a").is_none() && api.stage("/").is_none());
    }

    /// An open `/{proxy+}` beside a guarded `/admin/{proxy+}` of the same server was no guard.
    #[test]
    fn what_a_server_may_read_as_a_guarded_path_is_not_handed_on() {
        let lambda = json!({"function": "f", "payload_format": "2.0", "simple_responses": true, "ttl": 0});
        let route = |key: &str, authorizer: Option<&str>| json!({"key": key, "target": {"url": "http://127.0.0.1:9/x"}, "authorizer": authorizer});
        let api = compile(json!({"name": "n", "authorizers": [{"name": "a", "by": {"lambda": lambda}, "identity_sources": []}],
            "routes": [route("ANY /{proxy+}", None), route("ANY /admin/{proxy+}", Some("a")), route("GET /files/{name}", None)]}))
        .unwrap();
        for (path, expected) in [
            ("/a/b", true),
            ("/a//b/", true),
            ("/admin/x", true),
            ("/admin//x", true),
            ("/files/a%2Fb", true),
            ("//admin/x", false),
            ("/admin%2Fx", false),
            ("/a/../b", false),
            ("/a/..%2Fadmin/x", false),
            ("/admin/../a", false),
        ] {
            let (route, _) = api.route("GET", path).unwrap();
            assert_eq!(api.may_hand_on("GET", path, route), expected, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_range() {
        let route = |more: serde_json::Value| {
            let mut route = json!({"key": "GET /a", "target": {"function": "f"}});
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"name": "n", "routes": [route]})
        };
        let many: Vec<_> = (0..301).map(|n| json!({"key": format!("GET /{n}"), "target": {"function": "f"}})).collect();
        for (definition, part) in [
            (json!({"name": "a b"}), "1 to 128 letters"),
            (json!({"name": "n", "routes": many}), "at most 300"),
            (route(json!({"timeout_ms": 49})), "50 to 30000"),
            (route(json!({"timeout_ms": 30_001})), "50 to 30000"),
            (route(json!({"authorizer": "x"})), "there is no authorizer"),
            (route(json!({"scopes": ["a"]})), "name one"),
            (route(json!({"target": {"url": "ftp://a"}})), "such as http://127.0.0.1"),
            (route(json!({"target": {"url": "http://a@example.com/"}})), "without user"),
            (route(json!({"throttle": {"rate": -1.0, "burst": 1}})), "0 to 1,000,000 of each"),
            (route(json!({"cache": true})), "unknown field"),
            (json!({"name": "n", "stages": [{"name": "a/b"}]}), "allowed are $default"),
            (json!({"name": "n", "stages": [{"name": "a"}, {"name": "a"}]}), "declared twice"),
            (json!({"name": "n", "stages": [{"name": "a", "variables": [["x", "a b"]]}]}), "a value letters"),
            (json!({"name": "n", "hosts": ["https://a.example.com"]}), "is not a host"),
            (
                json!({"name": "n", "routes": [{"key": "GET /{a}", "target": {"function": "f"}},
                                               {"key": "GET /{b}", "target": {"function": "f"}}]}),
                r#"route "GET /{b}" is declared twice: "GET /{a}" takes the same requests"#,
            ),
        ] {
            let error = compile(definition.clone()).unwrap_err();
            assert!(error.contains(part), "{definition}: {error}");
        }
    }
}
