//! Control calls as a text: one row says what is asked, and what comes of it.
//!
//! - `api = CreateRestApi name=pets tags:={"a": "b"}` gives members: texts, and JSON behind `:=`. A JSON object may stand
//!   instead. The answer is called `api`: `$api.name` is a member of it, `$api` its `id`, and `$api.all` the whole.
//! - `UpdateStage replace /description any text | copy /variables < /x` gives the operations of a patch. `""` is an empty value.
//! - `@ restApiId=$api stageName=dev` gives members to every row behind it whose call has them.
//! - `-> {…}` is a part of the answer: `null` is a member that is not there. `=> …` is the whole of it.
//! - `! BadRequest text` is a refusal, its code without `Exception`; a text that ends with `…` is its beginning.
//!
//! A line that stands further in than the first one continues the row above it.

use std::collections::BTreeMap;

use serde_json::{json, Map, Value};

use crate::gateway::rest::control::fault::Fault;

const OPS: [&str; 6] = ["add", "remove", "replace", "copy", "move", "test"];

/// What answers calls.
pub(crate) trait Plane {
    fn ask(&mut self, operation: &str, members: &Map<String, Value>) -> Result<Value, Fault>;
    /// Whether a call has a member of this name.
    fn takes(&self, operation: &str, member: &str) -> bool;
    /// The answers by their names.
    fn names(&mut self) -> &mut BTreeMap<String, Value>;

    /// Play rows, each against what the ones before it left. Rows that are played later may use the answers by name.
    fn play(&mut self, script: &str) -> &mut Self
    where
        Self: Sized,
    {
        let mut names = std::mem::take(self.names());
        play(self, &mut names, script);
        *self.names() = names;
        self
    }
}

fn play(plane: &mut impl Plane, names: &mut BTreeMap<String, Value>, script: &str) {
    let mut given = Map::new();
    for row in rows(script) {
        if let Some(members) = row.strip_prefix("@ ") {
            given = members_of(&filled(members, names));
            continue;
        }
        let (asked, wanted) = split(&row);
        let (name, asked) = match asked.split_once(" = ") {
            Some((name, asked)) if !name.contains([' ', '{']) => (Some(name), asked),
            _ => (None, asked),
        };
        let asked = filled(asked, names);
        let (operation, rest) = asked.split_once(' ').unwrap_or((&asked, ""));
        let mut members = members_of(rest);
        for (member, value) in &given {
            if plane.takes(operation, member) && !members.contains_key(member) {
                members.insert(member.clone(), value.clone());
            }
        }
        let answer = plane.ask(operation, &members);
        check(&row, &answer, wanted.map(|(mark, text)| (mark, filled(text, names))));
        if let (Some(name), Ok(answer)) = (name, answer) {
            names.insert(name.to_owned(), answer);
        }
    }
}

fn check(row: &str, answer: &Result<Value, Fault>, wanted: Option<(char, String)>) {
    let Some((mark, wanted)) = wanted else {
        assert!(answer.is_ok(), "{row}\n{answer:?}");
        return;
    };
    if mark == '!' {
        let fault = answer.as_ref().expect_err(row);
        let told = format!("{} {}", fault.code.trim_end_matches("Exception"), fault.message);
        match wanted.strip_suffix('…') {
            Some(start) => assert!(told.starts_with(start), "{row}\ntold: {told}"),
            None => assert_eq!(told, wanted, "{row}"),
        }
        let status = match fault.code {
            "NotFoundException" => 404,
            "ConflictException" => 409,
            "LimitExceededException" => 429,
            "NotImplementedException" => 501,
            _ => 400,
        };
        assert_eq!(fault.status, status, "{row}");
        return;
    }
    let answer = answer.as_ref().unwrap_or_else(|fault| panic!("{row}\n{fault:?}"));
    let wanted: Value = serde_json::from_str(&wanted).unwrap_or_else(|error| panic!("{row}\n{error}"));
    if mark == '=' {
        assert_eq!(*answer, wanted, "{row}");
    } else {
        assert!(has(answer, &wanted), "{row}\nanswer: {answer:#}");
    }
}

/// Whether a value is another one, but for members that the other does not name.
fn has(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(of), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| match of.get(name) {
            Some(value) => !wanted.is_null() && has(value, wanted),
            None => wanted.is_null(),
        }),
        (Value::Array(of), Value::Array(wanted)) => {
            of.len() == wanted.len() && of.iter().zip(wanted).all(|(one, wanted)| has(one, wanted))
        }
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => value == wanted,
    }
}

fn rows(script: &str) -> Vec<String> {
    let lines = script.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut rows: Vec<String> = Vec::new();
    let mut base = None;
    for line in lines {
        match rows.last_mut() {
            Some(row) if indent(line) > *base.get_or_insert(0) => {
                row.push(' ');
                row.push_str(line.trim());
            }
            _ => {
                base.get_or_insert(indent(line));
                rows.push(line.trim().to_owned());
            }
        }
    }
    rows
}

/// What is asked, and what is to come of it.
fn split(row: &str) -> (&str, Option<(char, &str)>) {
    let found = [" -> ", " => ", " ! "].iter().filter_map(|mark| Some((row.find(mark)?, *mark))).min();
    match found {
        Some((at, mark)) => {
            (row[..at].trim(), Some((mark.as_bytes()[1].into(), row[at + 4 - usize::from(mark == " ! ")..].trim())))
        }
        None => (row, None),
    }
}

/// Put answers where they are named.
fn filled(text: &str, names: &BTreeMap<String, Value>) -> String {
    let mut parts = text.split('$');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(part.len());
        let Some(answer) = names.get(&part[..end]).filter(|_| end > 0) else {
            whole.push('$');
            whole.push_str(part);
            continue;
        };
        let (mut value, mut rest) = (answer, &part[end..]);
        let mut is_named = false;
        while let Some(more) = rest.strip_prefix('.') {
            let end = more.find(|one: char| !one.is_ascii_alphanumeric()).unwrap_or(more.len());
            if &more[..end] == "all" {
                (rest, is_named) = (&more[end..], true);
                break;
            }
            let inner = match more[..end].parse::<usize>() {
                Ok(at) => value.get(at),
                Err(_) => value.get(&more[..end]),
            };
            let Some(inner) = inner else { break };
            (value, rest, is_named) = (inner, &more[end..], true);
        }
        let value = if is_named { value } else { &answer["id"] };
        match value {
            Value::String(text) => whole.push_str(text),
            other => whole.push_str(&other.to_string()),
        }
        whole.push_str(rest);
    }
    whole
}

fn members_of(text: &str) -> Map<String, Value> {
    let text = text.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    }
    let mut members = Map::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, more) = rest.split_once(' ').unwrap_or((rest, ""));
        if OPS.contains(&word) {
            members.insert("patchOperations".into(), rest.split(" | ").map(patch_of).collect());
            break;
        }
        rest = more.trim_start();
        if let Some((name, _)) = word.split_once(":=") {
            // JSON may have spaces.
            let from = &text[text.find(&format!("{name}:=")).unwrap() + name.len() + 2..];
            let mut values = serde_json::Deserializer::from_str(from).into_iter::<Value>();
            let value = values.next().and_then(Result::ok).unwrap_or_else(|| panic!("{from} is no JSON"));
            members.insert(name.into(), value);
            rest = from[values.byte_offset()..].trim_start();
        } else {
            let (name, value) = word.split_once('=').unwrap_or_else(|| panic!("{word} of {text} is no member"));
            members.insert(name.into(), json!(value));
        }
    }
    members
}

fn patch_of(text: &str) -> Value {
    let mut words = text.trim().splitn(3, ' ');
    let mut patch = json!({"op": words.next()});
    if let Some(path) = words.next() {
        patch["path"] = json!(path);
    }
    match words.next() {
        Some("\"\"") => patch["value"] = json!(""),
        Some(value) => match value.strip_prefix("< ") {
            Some(from) => patch["from"] = json!(from),
            None => patch["value"] = json!(value),
        },
        None => {}
    }
    patch
}
