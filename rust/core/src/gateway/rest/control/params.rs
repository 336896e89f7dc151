//! The members of a control call: what they may be, and how they are read.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::model::{Templates, Texts};

/// The types of gateway responses, in the order in which AWS lists them when it refuses another.
pub const RESPONSE_TYPES: &[&str] = &[
    "REQUEST_TOO_LARGE",
    "RESOURCE_NOT_FOUND",
    "AUTHORIZER_CONFIGURATION_ERROR",
    "MISSING_AUTHENTICATION_TOKEN",
    "BAD_REQUEST_BODY",
    "INVALID_SIGNATURE",
    "INVALID_API_KEY",
    "BAD_REQUEST_PARAMETERS",
    "AUTHORIZER_FAILURE",
    "UNAUTHORIZED",
    "INTEGRATION_TIMEOUT",
    "ACCESS_DENIED",
    "DEFAULT_4XX",
    "DEFAULT_5XX",
    "WAF_FILTERED",
    "QUOTA_EXCEEDED",
    "THROTTLED",
    "API_CONFIGURATION_ERROR",
    "UNSUPPORTED_MEDIA_TYPE",
    "INTEGRATION_FAILURE",
    "EXPIRED_TOKEN",
];
const PATCHES: &[&str] = &["add", "remove", "move", "test", "replace", "copy"];
const STATUS: &str = "[1-5]\\d\\d";

/// What a member must be.
enum Rule {
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Three digits of a status.
    Status,
    /// There at all.
    There,
}

/// Members of the body that AWS looks at before anything else: the operation, the member's path, the rule.
const BODY: &[(&str, &str, Rule)] = &[
    ("CreateRestApi", "name", Rule::There),
    ("CreateRestApi", "apiKeySource", Rule::OneOf(&["HEADER", "AUTHORIZER"])),
    ("CreateRestApi", "endpointConfiguration.ipAddressType", Rule::OneOf(&["ipv4", "dualstack"])),
    ("CreateResource", "pathPart", Rule::There),
    ("PutMethod", "authorizationType", Rule::There),
    ("PutIntegration", "type", Rule::OneOf(&["HTTP", "MOCK", "AWS_PROXY", "HTTP_PROXY", "AWS"])),
    ("PutIntegration", "type", Rule::There),
    ("PutIntegration", "connectionType", Rule::OneOf(&["INTERNET", "VPC_LINK"])),
    ("PutIntegration", "contentHandling", Rule::OneOf(&["CONVERT_TO_BINARY", "CONVERT_TO_TEXT"])),
    ("PutIntegrationResponse", "contentHandling", Rule::OneOf(&["CONVERT_TO_BINARY", "CONVERT_TO_TEXT"])),
    ("PutGatewayResponse", "statusCode", Rule::Status),
    ("CreateAuthorizer", "name", Rule::There),
    ("CreateAuthorizer", "type", Rule::OneOf(&["TOKEN", "REQUEST", "COGNITO_USER_POOLS"])),
    ("CreateAuthorizer", "type", Rule::There),
    ("CreateModel", "name", Rule::There),
    ("CreateModel", "contentType", Rule::There),
    ("CreateStage", "stageName", Rule::There),
    ("CreateStage", "deploymentId", Rule::There),
    ("CreateStage", "cacheClusterSize", Rule::OneOf(&["0.5", "1.6", "6.1", "13.5", "28.4", "58.2", "118", "237"])),
    ("CreateUsagePlan", "name", Rule::There),
    ("CreateUsagePlan", "quota.period", Rule::OneOf(&["DAY", "WEEK", "MONTH"])),
    ("CreateUsagePlanKey", "keyId", Rule::There),
    ("CreateUsagePlanKey", "keyType", Rule::There),
    ("CreateDocumentationPart", "location", Rule::There),
    ("CreateDocumentationPart", "properties", Rule::There),
    ("CreateDocumentationVersion", "documentationVersion", Rule::There),
    (
        "CreateDocumentationPart",
        "location.type",
        Rule::OneOf(&[
            "RESPONSE_BODY",
            "RESPONSE",
            "METHOD",
            "MODEL",
            "AUTHORIZER",
            "RESPONSE_HEADER",
            "RESOURCE",
            "PATH_PARAMETER",
            "REQUEST_BODY",
            "QUERY_PARAMETER",
            "API",
            "REQUEST_HEADER",
        ]),
    ),
];

/// The members of a call.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a>(pub &'a Map<String, Value>);

/// One change that a patch asks for.
#[derive(Clone, Debug)]
pub struct Patch {
    /// `add`, `remove`, `replace`, `copy`, `move` or `test`.
    pub op: String,
    /// `/description`; some calls come without.
    pub path: Option<String>,
    /// Of `copy` and `move`.
    pub from: Option<String>,
    /// What it becomes.
    pub value: Option<String>,
}

fn at<'a>(members: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let mut value = members.get(parts.next()?)?;
    for part in parts {
        value = value.get(part)?;
    }
    (!value.is_null()).then_some(value)
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a text is a status code of AWS's form.
pub fn is_status(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 3 && (b'1'..=b'5').contains(&bytes[0]) && bytes[1..].iter().all(u8::is_ascii_digit)
}

/// Hold the members of a call against what AWS looks at first.
pub fn check(operation: &str, members: &Map<String, Value>) -> Outcome<()> {
    let mut problems = Vec::new();
    let mut lower = operation.to_owned();
    lower[..1].make_ascii_lowercase();
    let one_of = |set: &[&str]| format!("Member must satisfy enum value set: [{}]", set.join(", "));
    for (_, path, rule) in BODY.iter().filter(|(name, ..)| *name == operation) {
        let place = format!("{lower}Input.{path}");
        let value = at(members, path);
        let broken = match (rule, value) {
            (Rule::There, None) => {
                problems.push(format!("Value null at '{place}' failed to satisfy constraint: Member must not be null"));
                continue;
            }
            (Rule::There, Some(_)) | (_, None) => continue,
            (Rule::OneOf(set), Some(value)) => {
                (!value.as_str().is_some_and(|text| set.contains(&text))).then(|| one_of(set))
            }
            (Rule::Status, Some(value)) => (!value.as_str().is_some_and(is_status))
                .then(|| format!("Member must satisfy regular expression pattern: {STATUS}")),
        };
        if let (Some(broken), Some(value)) = (broken, value) {
            problems.push(format!("Value '{}' at '{place}' failed to satisfy constraint: {broken}", shown(value)));
        }
    }
    for (index, patch) in members.get("patchOperations").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let op = patch.get("op").map(shown).unwrap_or_default();
        if !PATCHES.contains(&op.as_str()) {
            problems.push(format!(
                "Value '{op}' at '{lower}Input.patchOperations.{}.member.op' failed to satisfy constraint: {}",
                index + 1,
                one_of(PATCHES)
            ));
        }
    }
    if let Some(kind) = at(members, "responseType") {
        if operation.ends_with("GatewayResponse") && !kind.as_str().is_some_and(|kind| RESPONSE_TYPES.contains(&kind)) {
            problems.push(format!(
                "Value '{}' at 'responseType' failed to satisfy constraint: {}",
                shown(kind),
                one_of(RESPONSE_TYPES)
            ));
        }
    }
    if operation.ends_with("MethodResponse") || operation.ends_with("IntegrationResponse") {
        let status = at(members, "statusCode").map(shown).unwrap_or_default();
        if !is_status(&status) {
            problems.push(format!(
                "Value '{status}' at 'statusCode' failed to satisfy constraint: Member must satisfy regular expression pattern: {STATUS}"
            ));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Fault::invalid(&problems))
    }
}

fn wrong_type(value: &Value, wanted: &str) -> Fault {
    let class = match value {
        Value::Number(_) => "com.amazon.coral.value.json.numbers.TruncatingBigNumber",
        Value::Bool(_) => "java.lang.Boolean",
        Value::String(_) => "java.lang.String",
        Value::Array(_) => return Fault::serialization("Start of list found where not expected"),
        _ => return Fault::serialization("Start of structure or map found where not expected."),
    };
    Fault::serialization(format!("class {class} can not be converted to an {wanted}"))
}

impl<'a> Params<'a> {
    /// A member that must be a text, if it is there.
    pub fn text(&self, name: &str) -> Outcome<Option<&'a str>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(other, "String")),
        }
    }

    /// A text that is there and not empty, as a member of its own.
    pub fn filled(&self, name: &str) -> Outcome<Option<String>> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()).map(str::to_owned))
    }

    /// A text that names something; without it, nothing is named.
    pub fn named(&self, name: &str) -> Outcome<&'a str> {
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// A member that must be a flag, if it is there.
    pub fn flag(&self, name: &str) -> Outcome<Option<bool>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) => Ok(Some(text.eq_ignore_ascii_case("true"))),
            Some(other) => Err(wrong_type(other, "Boolean")),
        }
    }

    /// A member that must be a whole number, if it is there.
    pub fn number(&self, name: &str) -> Outcome<Option<i64>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => {
                Ok(Some(number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64)))
            }
            Some(Value::String(text)) if text.parse::<i64>().is_ok() => Ok(text.parse().ok()),
            Some(other) => Err(wrong_type(other, "Integer")),
        }
    }

    /// A member that holds others.
    pub fn inner(&self, name: &str) -> Outcome<Option<Params<'a>>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Params(members))),
            Some(other) => Err(wrong_type(other, "Structure")),
        }
    }

    /// Texts by name.
    pub fn texts(&self, name: &str) -> Outcome<Texts> {
        let Some(members) = self.inner(name)? else { return Ok(Texts::new()) };
        let read = |(key, value): (&String, &Value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            Value::Null => Ok((key.clone(), String::new())),
            other => Err(wrong_type(other, "String")),
        };
        members.0.iter().map(read).collect()
    }

    /// Templates by media type; an empty one hands the body on.
    pub fn templates(&self, name: &str) -> Outcome<Templates> {
        let texts = self.texts(name)?;
        for kind in texts.keys() {
            check_media_type(kind)?;
        }
        Ok(texts.into_iter().map(|(kind, text)| (kind, (!text.is_empty()).then_some(text))).collect())
    }

    /// Flags by name.
    pub fn flags(&self, name: &str) -> Outcome<BTreeMap<String, bool>> {
        let Some(members) = self.inner(name)? else { return Ok(BTreeMap::new()) };
        members.0.keys().map(|key| Ok((key.clone(), members.flag(key)?.unwrap_or(false)))).collect()
    }

    /// A list of texts.
    pub fn list(&self, name: &str) -> Outcome<Vec<String>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => list
                .iter()
                .map(|one| one.as_str().map(str::to_owned).ok_or_else(|| wrong_type(one, "String")))
                .collect(),
            Some(other) => Err(wrong_type(other, "List")),
        }
    }

    /// The changes of a patch, in order.
    pub fn patches(&self) -> Outcome<Vec<Patch>> {
        let Some(list) = self.0.get("patchOperations").and_then(Value::as_array) else { return Ok(Vec::new()) };
        let read = |one: &Value| {
            let members = one.as_object().ok_or_else(|| wrong_type(one, "Structure"))?;
            let of = Params(members);
            Ok(Patch {
                op: of.named("op")?.to_owned(),
                path: of.text("path")?.map(str::to_owned),
                from: of.text("from")?.map(str::to_owned),
                value: of.text("value")?.map(str::to_owned),
            })
        };
        list.iter().map(read).collect()
    }
}

/// Refuse what is not a media type.
pub fn check_media_type(kind: &str) -> Outcome<()> {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,:\\\"/[]?=".contains(&byte))
    };
    let bare = kind.split(';').next().unwrap_or_default().trim();
    if kind == "$default" || bare.split_once('/').is_some_and(|(kind, of)| is_token(kind) && is_token(of)) {
        return Ok(());
    }
    Err(Fault::bad(format!("Validation Result: warnings : [], errors : [Invalid content type specified: {kind}]")))
}

impl Patch {
    /// Its path, as AWS names one that is not there.
    pub fn at(&self) -> &str {
        self.path.as_deref().unwrap_or("null")
    }

    /// The name behind a prefix: of `/variables/a~1b` and `/variables/` it is `a/b`.
    pub fn below(&self, prefix: &str) -> Option<String> {
        let rest = self.path.as_deref()?.strip_prefix(prefix)?;
        (!rest.is_empty()).then(|| rest.replace("~1", "/").replace("~0", "~"))
    }

    /// Whether it says `true`; everything else is no, as Java reads it.
    pub fn truth(&self) -> bool {
        self.value.as_deref().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Its value, which may be empty.
    pub fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// Its value, if it is not empty and it does not remove.
    pub fn filled(&self) -> Option<String> {
        self.value.clone().filter(|text| !text.is_empty() && self.op != "remove")
    }

    /// AWS's answer to a path that has no such change.
    pub fn unsupported(&self, paths: &[&str]) -> Fault {
        let start = format!("Invalid patch path  '{}' specified for op '{}'.", self.at(), self.op);
        if self.op == "replace" {
            return Fault::bad(format!("{start} Must be one of: [{}]", paths.join(", ")));
        }
        Fault::bad(format!("{start} Please choose supported operations"))
    }

    /// AWS's other answer to a path that has no such change.
    pub fn no_such_path(&self) -> Fault {
        Fault::bad(format!("Invalid patch path {}", self.at()))
    }
}
