//! The newest requests to APIs, found again by their ids: for `why`. They are gone with the process.
//!
//! A gateway notes each request that it has answered, whatever their rate. A note takes the place of the oldest one, the room of its
//! texts included, so that a request that went well costs no allocation. Requests that were refused, and those that failed or took long,
//! have places of their own: no success pushes them out.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{json, Value};

use crate::base::ids::uuid_text;
use crate::gateways::locked;

/// Most requests of each kind that are remembered.
const REQUESTS_MAX: usize = 16_384;
/// Most bytes of each text.
const TEXT_MAX: usize = 256;
/// A request that took as long is remembered beside those that failed.
const SLOW: Duration = Duration::from_secs(1);
/// The steps whose `why` is a reason, and not what was reached.
const REASONS: [&str; 4] = ["turned away", "failed", "not reached", "not waited for"];
/// How many texts there are.
const TEXTS: usize = 6;
/// Characters of a request's id where it is not a UUID.
const SHORT: usize = 16;

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// When it was answered, milliseconds since 1970.
    pub at_ms: u64,
    /// How long that took.
    pub took: Duration,
    /// Its id, and another one by which its client may know it; empty: it has none.
    pub ids: [&'a str; 2],
    /// The API's name.
    pub api: &'a str,
    /// The stage; empty: it has reached none.
    pub stage: &'a str,
    /// The verb, or what a connection did.
    pub method: &'a str,
    /// Its path, or its connection.
    pub place: Place<'a>,
    /// The route that it has reached; empty: none.
    pub route: &'a str,
    /// The function of that route; empty: what it is stands in the way.
    pub function: &'a str,
    /// The answer's status.
    pub status: u16,
}

/// Where a request went.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// To this path.
    Path(&'a str),
    /// Over this connection of a WebSocket API.
    Connection(&'a str),
}

/// What happened to a request on the way to its answer.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The attempt of the route's function, by its request id.
    pub attempt: Option<u128>,
    /// How many steps had been told before it ended.
    pub attempt_at: usize,
    /// How long what stands behind the route took.
    pub integration: Option<Duration>,
    /// Whether the cache of the stage, which was looked at, had the answer.
    pub cached: Option<bool>,
    /// What else there is to tell.
    pub steps: Vec<Step>,
}

impl Way {
    /// Why an answer of 400 or more is what it is; empty: nobody has told.
    #[must_use]
    pub fn reason(&self, status: u16) -> &str {
        let is_reason = |step: &&Step| REASONS.contains(&step.what);
        let last = self.steps.iter().rev().find(is_reason).and_then(|step| step.why.as_deref());
        last.filter(|_| status >= 400).unwrap_or_default()
    }
}

/// One thing that happened.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// In a word or two.
    pub what: &'static str,
    /// The authoriser whose word it was.
    pub authorizer: Option<Box<str>>,
    /// The function that was asked.
    pub function: Option<Box<str>>,
    /// The request id of its attempt.
    pub request: Option<u128>,
    /// What else was reached, by its kind: the `service`, the `cache`, or where it was handed on `to`.
    pub reached: Option<(&'static str, Box<str>)>,
    /// The status that it has answered.
    pub status: Option<u16>,
    /// Why.
    pub why: Option<Box<str>>,
}

/// One request, in a place that another one has had before.
#[derive(Debug, Default)]
struct Slot {
    at_ms: u64,
    took_us: u32,
    /// `u32::MAX`: nothing was reached.
    integration_us: u32,
    ids: [u128; 2],
    /// 0: none.
    attempt: u128,
    attempt_at: usize,
    status: u16,
    is_connection: bool,
    /// All texts behind each other, and where each ends.
    text: String,
    ends: [u16; TEXTS],
    steps: Vec<Step>,
}

/// The newest requests of one kind.
#[derive(Debug, Default)]
struct Ring {
    slots: Vec<Slot>,
    /// The oldest of them, when there are as many as may be.
    next: usize,
}

/// The newest requests: those that went well, those that were refused, and those that failed or took long.
#[derive(Debug, Default)]
pub struct Requests([Mutex<Ring>; 3]);

impl Requests {
    /// Remember a request.
    pub fn note(&self, asked: &Asked<'_>, way: Way) {
        let kind = match asked.status {
            500.. => 2,
            _ if asked.took >= SLOW => 2,
            400.. => 1,
            _ => 0,
        };
        locked(&self.0[kind]).slot().fill(asked, way);
    }

    /// What is remembered of a request's id, or of an attempt that it has led to.
    pub(crate) fn of(&self, id: u128) -> Vec<Value> {
        self.found(id, Slot::facts)
    }

    /// The attempts that a request has led to.
    pub(crate) fn attempts_of(&self, id: u128) -> Vec<u128> {
        self.found(id, |slot| {
            let steps = slot.steps.iter().filter_map(|step| step.request);
            steps.chain((slot.attempt != 0).then_some(slot.attempt)).collect()
        })
    }

    fn found<T>(&self, id: u128, tell: impl Fn(&Slot) -> Vec<T>) -> Vec<T> {
        let mut told = Vec::new();
        for ring in &self.0 {
            for slot in locked(ring).slots.iter().filter(|slot| id != 0 && slot.is_about(id)) {
                told.extend(tell(slot));
            }
        }
        told
    }
}

/// The number of an id of an API's request: sixteen characters that end with `=`, as HTTP and WebSocket APIs give them.
pub(crate) fn short_id(text: &str) -> Option<u128> {
    let bytes: [u8; SHORT] = text.as_bytes().try_into().ok()?;
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let (last, rest) = bytes.split_last()?;
    (*last == b'=' && rest.iter().all(is_letter)).then(|| u128::from_be_bytes(bytes))
}

/// The number of any id; 0: it is none.
fn number(id: &str) -> u128 {
    let digits = || id.bytes().filter(|byte| *byte != b'-');
    let uuid = || digits().try_fold(0, |whole, digit| Some(whole << 4 | u128::from(char::from(digit).to_digit(16)?)));
    short_id(id).or_else(|| if digits().count() == 32 { uuid() } else { None }).unwrap_or_default()
}

fn id_text(id: u128) -> String {
    let bytes = id.to_be_bytes();
    let text = std::str::from_utf8(&bytes).ok().filter(|text| short_id(text).is_some());
    text.map_or_else(|| uuid_text(id), str::to_owned)
}

/// A text, cut where it is long.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX - 1)
}

fn millis(micros: u32) -> f64 {
    f64::from(micros) / 1_000.0
}

impl Ring {
    fn slot(&mut self) -> &mut Slot {
        let at = if self.slots.len() < REQUESTS_MAX {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        } else {
            let at = self.next;
            self.next = (at + 1) % REQUESTS_MAX;
            at
        };
        &mut self.slots[at]
    }
}

impl Slot {
    fn fill(&mut self, asked: &Asked<'_>, way: Way) {
        self.at_ms = asked.at_ms;
        self.took_us = micros(asked.took);
        self.integration_us = way.integration.map_or(u32::MAX, micros);
        self.ids = asked.ids.map(number);
        self.attempt = way.attempt.unwrap_or_default();
        self.attempt_at = way.attempt_at;
        self.status = asked.status;
        let (is_connection, place) = match asked.place {
            Place::Path(path) => (false, path),
            Place::Connection(id) => (true, id),
        };
        self.is_connection = is_connection;
        self.text.clear();
        let texts = [asked.method, place, asked.api, asked.stage, asked.route, asked.function];
        for (text, end) in texts.into_iter().zip(&mut self.ends) {
            self.text.push_str(cut(text));
            // Six times `TEXT_MAX` at most.
            *end = self.text.len() as u16;
        }
        self.steps = way.steps;
    }

    fn is_about(&self, id: u128) -> bool {
        self.ids.contains(&id) || self.attempt == id || self.steps.iter().any(|step| step.request == Some(id))
    }

    fn texts(&self) -> [&str; TEXTS] {
        let mut begin = 0;
        self.ends.map(|end| {
            let text = &self.text[begin..usize::from(end)];
            begin = usize::from(end);
            text
        })
    }

    fn facts(&self) -> Vec<Value> {
        let [method, place, api, stage, route, function] = self.texts();
        let begun_ms = self.at_ms.saturating_sub(u64::from(self.took_us / 1_000));
        let mut fact = json!({"at_ms": begun_ms, "what": "asked of an API", "method": method});
        let where_ = if self.is_connection { "connection" } else { "path" };
        for (name, text) in [(where_, place), ("api", api), ("stage", stage), ("route", route)] {
            if !text.is_empty() {
                fact[name] = text.into();
            }
        }
        fact["request"] = id_text(self.ids[0]).into();
        let mut facts = vec![fact];
        facts.extend(self.steps.iter().map(|step| step.shown(self.at_ms)));
        if self.attempt != 0 && !self.steps.iter().any(|step| step.request == Some(self.attempt)) {
            let attempt = uuid_text(self.attempt);
            let handled = json!({"at_ms": self.at_ms, "what": "handled", "function": function, "request": attempt});
            facts.insert((1 + self.attempt_at).min(facts.len()), handled);
        }
        let mut fact =
            json!({"at_ms": self.at_ms, "what": "answered", "status": self.status, "took_ms": millis(self.took_us)});
        if self.integration_us != u32::MAX {
            fact["integration_ms"] = millis(self.integration_us).into();
        }
        facts.push(fact);
        facts
    }
}

impl Step {
    fn shown(&self, at_ms: u64) -> Value {
        let mut fact = json!({"at_ms": at_ms, "what": self.what});
        for (name, text) in [("authorizer", &self.authorizer), ("function", &self.function)] {
            if let Some(text) = text {
                fact[name] = (&**text).into();
            }
        }
        if let Some(request) = self.request {
            fact["request"] = uuid_text(request).into();
        }
        if let Some((kind, name)) = &self.reached {
            fact[*kind] = (&**name).into();
        }
        if let Some(status) = self.status {
            fact["status"] = status.into();
        }
        if let Some(why) = &self.why {
            fact["why"] = (&**why).into();
        }
        fact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: &str) -> Asked<'_> {
        Asked {
            at_ms: 5_000,
            took: Duration::from_micros(1_500),
            ids: [id, ""],
            api: "shop",
            stage: "$default",
            method: "GET",
            place: Place::Path("/orders/7"),
            route: "GET /orders/{id}",
            function: "order",
            status: 200,
        }
    }

    fn id(number: u64) -> String {
        format!("{number:015}=")
    }

    #[test]
    fn a_request_is_found_by_its_ids_and_by_its_attempt() {
        let requests = Requests::default();
        let integration = Some(Duration::from_micros(900));
        let way = Way { attempt: Some(77), integration, ..Way::default() };
        requests.note(&asked("JKJaXmPLvHcESHA="), way);
        let facts = requests.of(short_id("JKJaXmPLvHcESHA=").unwrap());
        assert_eq!(
            facts,
            [
                json!({"at_ms": 4_999, "what": "asked of an API", "method": "GET", "path": "/orders/7", "api": "shop", "stage": "$default",
                    "route": "GET /orders/{id}", "request": "JKJaXmPLvHcESHA="}),
                json!({"at_ms": 5_000, "what": "handled", "function": "order", "request": uuid_text(77)}),
                json!({"at_ms": 5_000, "what": "answered", "status": 200, "took_ms": 1.5, "integration_ms": 0.9}),
            ]
        );
        assert_eq!((requests.of(77), requests.attempts_of(77)), (facts, vec![77]));
        assert!(requests.of(0).is_empty() && requests.of(78).is_empty());
        let uuid = "0a1b2c3d-4e5f-4711-8899-aabbccddeeff";
        let step = Step { what: "turned away", why: Some("no".into()), ..Step::default() };
        let refused = Asked { ids: [uuid, "AAAAAAAAAAAAAAA="], status: 403, stage: "", ..asked("") };
        requests.note(&refused, Way { steps: vec![step], ..Way::default() });
        let facts = requests.of(short_id("AAAAAAAAAAAAAAA=").unwrap());
        assert_eq!(facts, requests.of(0x0a1b_2c3d_4e5f_4711_8899_aabb_ccdd_eeff));
        assert_eq!((facts[0]["request"].as_str(), facts[0].get("stage")), (Some(uuid), None));
        assert_eq!(facts[1], json!({"at_ms": 5_000, "what": "turned away", "why": "no"}));
        assert!(facts[2].get("integration_ms").is_none());
    }

    #[test]
    fn what_happened_is_told_in_its_order() {
        let requests = Requests::default();
        let step = |what| Step { what, ..Step::default() };
        let way = Way {
            attempt: Some(77),
            attempt_at: 1,
            steps: vec![step("asked"), step("failed")],
            integration: None,
            cached: None,
        };
        requests.note(&asked(&id(1)), way);
        let whats: Vec<Value> = requests.of(77).iter().map(|fact| fact["what"].clone()).collect();
        assert_eq!(whats, ["asked of an API", "asked", "handled", "failed", "answered"]);
    }

    #[test]
    fn successes_push_no_failure_out_and_nothing_is_remembered_for_ever() {
        let requests = Requests::default();
        requests.note(&Asked { status: 500, ..asked("failed0000000000") }, Way::default());
        let slow = Asked { took: SLOW, ..asked("slow00000000000=") };
        requests.note(&slow, Way::default());
        for number in 0..=REQUESTS_MAX as u64 {
            requests.note(&asked(&id(number)), Way::default());
        }
        let known = |id: &str| !requests.of(short_id(id).unwrap()).is_empty();
        assert!(!known(&id(0)) && known(&id(1)) && known(&id(REQUESTS_MAX as u64)) && known("slow00000000000="));
        assert_eq!(locked(&requests.0[2]).slots.len(), 2);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_the_others_stay_whole() {
        let requests = Requests::default();
        let path = "ä".repeat(TEXT_MAX);
        requests.note(&Asked { place: Place::Connection(&path), ..asked(&id(1)) }, Way::default());
        let facts = requests.of(short_id(&id(1)).unwrap());
        assert_eq!(facts[0]["connection"], "ä".repeat(TEXT_MAX / 2));
        assert_eq!((&facts[0]["api"], &facts[0]["route"]), (&json!("shop"), &json!("GET /orders/{id}")));
    }

    #[test]
    fn an_id_is_sixteen_characters_or_a_uuid() {
        assert_eq!(id_text(number("JKJaXmPLvHcESHA=")), "JKJaXmPLvHcESHA=");
        let uuid = "0a1b2c3d-4e5f-4711-8899-aabbccddeeff";
        assert_eq!(id_text(number(uuid)), uuid);
        for wrong in
            ["", "JKJaXmPLvHcESHA", "JKJaXmPLvHcESHAA", "JKJaXmPL HcESHA=", "0a1b2c3d-4e5f-4711-8899-aabbccddeefg"]
        {
            assert_eq!(number(wrong), 0, "{wrong:?}");
        }
    }
}
