//! The URLs of functions that are made by AWS's calls: `CreateFunctionUrlConfig` and the like.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use crate::gateway::api::{Api, Definition, Kind};
use crate::gateway::authorizer::By;
use crate::gateway::cors::Cors;
use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::members::check as known_members;
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::{Answer, Facts};

/// The names of the calls.
pub const OPERATIONS: &[&str] = &[
    "CreateFunctionUrlConfig",
    "GetFunctionUrlConfig",
    "UpdateFunctionUrlConfig",
    "DeleteFunctionUrlConfig",
    "ListFunctionUrlConfigs",
];
const PAGE_MAX: i64 = 50;

/// Cross-origin settings by AWS's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct UrlCors {
    /// Whether cookies may be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Headers, or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_headers: Option<Vec<String>>,
    /// Methods, or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<Vec<String>>,
    /// Origins, or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_origins: Option<Vec<String>>,
    /// Headers that a page may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<Vec<String>>,
    /// Seconds that a preflight may be remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i32>,
}

impl UrlCors {
    fn of(cors: &Cors) -> Self {
        let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
        Self {
            allow_credentials: Some(cors.allow_credentials),
            allow_headers: some(&cors.allow_headers),
            allow_methods: some(&cors.allow_methods),
            allow_origins: some(&cors.allow_origins),
            expose_headers: some(&cors.expose_headers),
            max_age: cors.max_age,
        }
    }
}

/// The URL of a function or of an alias.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct FunctionUrl {
    /// The function.
    pub function: String,
    /// The alias, if it is one's.
    pub qualifier: Option<String>,
    /// `NONE` or `AWS_IAM`.
    pub auth_type: String,
    /// Cross-origin settings.
    pub cors: Option<UrlCors>,
    /// `BUFFERED` or `RESPONSE_STREAM`.
    pub invoke_mode: String,
    /// When it was made, ms since 1970.
    pub created_ms: u64,
    /// When it was last changed, ms since 1970.
    pub modified_ms: u64,
}

/// All of them, by function and alias; the function's own has an empty alias.
pub type Urls = BTreeMap<(String, String), FunctionUrl>;

impl FunctionUrl {
    /// A URL that a program declares, with the time since when its function is there; `None` if it is another API.
    pub fn declared(api: &Api, since_ms: u64) -> Option<Self> {
        let (function, qualifier) = match api.name.split_once(':') {
            Some((function, qualifier)) => (function, Some(qualifier.to_owned())),
            None => (api.name.as_str(), None),
        };
        let is_signed = api.authorizers.iter().any(|one| matches!(one.by, By::Iam {}));
        (api.kind == Kind::Url).then(|| Self {
            function: function.to_owned(),
            qualifier,
            auth_type: if is_signed { "AWS_IAM" } else { "NONE" }.into(),
            cors: api.cors.as_ref().map(UrlCors::of),
            invoke_mode: "BUFFERED".into(),
            created_ms: since_ms,
            modified_ms: since_ms,
        })
    }

    /// Under which it stands among all.
    pub fn key(&self) -> (String, String) {
        (self.function.clone(), self.qualifier.clone().unwrap_or_default())
    }

    /// The function as it is invoked.
    pub fn target(&self) -> String {
        self.qualifier.as_ref().map_or_else(|| self.function.clone(), |of| format!("{}:{of}", self.function))
    }

    /// What is served for it.
    ///
    /// # Errors
    ///
    /// What of it cannot be.
    pub fn compile(&self, app: &str) -> Result<Api, String> {
        let mut definition = json!({
            "name": self.target(),
            "kind": "url",
            "routes": [{"key": "$default", "target": {"function": self.target()}}],
        });
        if self.auth_type == "AWS_IAM" {
            definition["authorizers"] = json!([{"name": "AWS_IAM", "by": {"iam": {}}, "identity_sources": []}]);
            definition["routes"][0]["authorizer"] = "AWS_IAM".into();
        }
        if let Some(cors) = &self.cors {
            definition["cors"] = json!({
                "allow_origins": cors.allow_origins.clone().unwrap_or_default(),
                "allow_methods": cors.allow_methods.clone().unwrap_or_default(),
                "allow_headers": cors.allow_headers.clone().unwrap_or_default(),
                "expose_headers": cors.expose_headers.clone().unwrap_or_default(),
                "allow_credentials": cors.allow_credentials.unwrap_or(false),
                "max_age": cors.max_age,
            });
        }
        let definition: Definition = serde_json::from_value(definition).map_err(|error| error.to_string())?;
        Api::compile(app, definition)
    }
}

/// Carry out a call on the URLs of an app; `declared` are those of its program, which no call changes, and `known` says whether a function,
/// or an alias of one, is there. The answer is what AWS says and which URL has changed.
///
/// # Errors
///
/// What AWS answers to the same mistake. Nothing was changed then.
pub fn call(
    (app, urls, declared): (&str, &mut Urls, &Urls),
    facts: &Facts,
    known: &dyn Fn(&str, Option<&str>) -> bool,
    operation: &str,
    members: &Map<String, Value>,
) -> Outcome<(Answer, Option<(String, String)>)> {
    let params = Params(members);
    known_members(operation, members)?;
    check(operation, params)?;
    let (name, qualifier) = named(params)?;
    let is_known = known(&name, qualifier.as_deref());
    let key = (name.clone(), qualifier.clone().unwrap_or_default());
    let arn = |of: &FunctionUrl| format!("arn:aws:lambda:{}:{}:function:{}", facts.region, facts.account, of.target());
    let no_url = || missing("The resource you requested does not exist.");
    let told = |status, body| Answer { status, body };
    match operation {
        "CreateFunctionUrlConfig" => {
            if !is_known {
                return Err(missing("Function does not exist"));
            }
            let url = created(params, facts, name, qualifier)?;
            if urls.contains_key(&key) || declared.contains_key(&key) {
                let message = format!(
                    "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists for this Lambda function",
                    arn(&url)
                );
                return Err(Fault { code: "ResourceConflictException", status: 409, message });
            }
            let body = shown(app, &url, facts, &["FunctionUrl", "FunctionArn", "AuthType", "Cors", "CreationTime"])?;
            let body = with_mode(body, params, &url)?;
            urls.insert(key.clone(), url);
            Ok((told(201, body), Some(key)))
        }
        // One that a call has made before stands behind the declared one, and would be served again without that: a call may delete it.
        "DeleteFunctionUrlConfig" if urls.contains_key(&key) => {
            urls.remove(&key);
            Ok((told(204, json!({})), Some(key)))
        }
        "UpdateFunctionUrlConfig" | "DeleteFunctionUrlConfig" if declared.contains_key(&key) => {
            let message =
                format!("The URL of {} is declared in the program: only the program changes it", arn(&declared[&key]));
            Err(Fault { code: "ResourceConflictException", status: 409, message })
        }
        "UpdateFunctionUrlConfig" => {
            let url = changed(urls.get(&key).cloned().ok_or_else(no_url)?, params, facts)?;
            let names = ["FunctionUrl", "FunctionArn", "AuthType", "Cors", "CreationTime", "LastModifiedTime"];
            let body = with_mode(shown(app, &url, facts, &names)?, params, &url)?;
            urls.insert(key.clone(), url);
            Ok((told(200, body), Some(key)))
        }
        "GetFunctionUrlConfig" => {
            let url = declared.get(&key).or_else(|| urls.get(&key)).ok_or_else(no_url)?;
            Ok((told(200, shown(app, url, facts, &[])?), None))
        }
        "DeleteFunctionUrlConfig" => Err(no_url()),
        _ => {
            if !is_known {
                return Err(missing("Function does not exist"));
            }
            Ok((told(200, list(app, (urls, declared), facts, params, &key.0)?), None))
        }
    }
}

fn created(params: Params, facts: &Facts, function: String, qualifier: Option<String>) -> Outcome<FunctionUrl> {
    Ok(FunctionUrl {
        function,
        qualifier,
        auth_type: params.named("AuthType")?.to_owned(),
        cors: cors(params)?,
        invoke_mode: params.filled("InvokeMode")?.unwrap_or_else(|| "BUFFERED".into()),
        created_ms: facts.now_ms,
        modified_ms: facts.now_ms,
    })
}

fn changed(url: FunctionUrl, params: Params, facts: &Facts) -> Outcome<FunctionUrl> {
    Ok(FunctionUrl {
        auth_type: params.filled("AuthType")?.unwrap_or(url.auth_type),
        cors: cors(params)?.or(url.cors),
        invoke_mode: params.filled("InvokeMode")?.unwrap_or(url.invoke_mode),
        modified_ms: facts.now_ms,
        ..url
    })
}

fn missing(text: &str) -> Fault {
    Fault { code: "ResourceNotFoundException", status: 404, message: text.into() }
}

fn check(operation: &str, params: Params) -> Outcome<()> {
    let mut problems = Vec::new();
    let mut one_of = |member: &str, place: &str, set: &[&str], is_needed: bool| match params.0.get(member) {
        None | Some(Value::Null) if is_needed => {
            problems.push(format!("Value null at '{place}' failed to satisfy constraint: Member must not be null"));
        }
        None | Some(Value::Null) => {}
        Some(value) if value.as_str().is_some_and(|text| set.contains(&text)) => {}
        Some(value) => problems.push(format!(
            "Value '{}' at '{place}' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
            value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            set.join(", ")
        )),
    };
    let is_create = operation == "CreateFunctionUrlConfig";
    if is_create || operation == "UpdateFunctionUrlConfig" {
        one_of("AuthType", "authType", &["AWS_IAM", "NONE"], is_create);
        one_of("InvokeMode", "invokeMode", &["RESPONSE_STREAM", "BUFFERED"], false);
    }
    if let Some(qualifier) = params.text("Qualifier")? {
        let is_name = qualifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if qualifier.is_empty() || !is_name || qualifier.bytes().all(|byte| byte.is_ascii_digit()) {
            problems.push(format!(
                "Value '{qualifier}' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)"
            ));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Fault::invalid(&problems))
    }
}

/// The function and the alias that a call names: by a name, `name:alias` or an ARN, and by `Qualifier`.
fn named(params: Params) -> Outcome<(String, Option<String>)> {
    let whole = params.named("FunctionName")?;
    let bare = match whole.split_once(":function:") {
        Some((_, rest)) => rest,
        None => whole,
    };
    let (name, derived) =
        bare.split_once(':').map_or((bare, None), |(name, qualifier)| (name, Some(qualifier.to_owned())));
    let given = params.filled("Qualifier")?;
    match (derived, given) {
        (Some(derived), Some(given)) if derived != given => Err(Fault {
            code: "InvalidParameterValueException",
            status: 400,
            message: "The derived qualifier from the function name does not match the specified qualifier.".into(),
        }),
        (derived, given) => Ok((name.to_owned(), given.or(derived))),
    }
}

fn cors(params: Params) -> Outcome<Option<UrlCors>> {
    let Some(of) = params.0.get("Cors").filter(|of| !of.is_null()) else { return Ok(None) };
    let wrong = |error: serde_json::Error| Fault::serialization(format!("Cors: {error}"));
    serde_json::from_value(of.clone()).map(Some).map_err(wrong)
}

fn with_mode(mut body: Value, params: Params, url: &FunctionUrl) -> Outcome<Value> {
    if params.text("InvokeMode")?.is_some() {
        body["InvokeMode"] = json!(url.invoke_mode);
    }
    Ok(body)
}

/// A URL as AWS shows it: these members, or all.
fn shown(app: &str, url: &FunctionUrl, facts: &Facts, names: &[&str]) -> Outcome<Value> {
    let invalid = |message| Fault { code: "InvalidParameterValueException", status: 400, message };
    let api = url.compile(app).map_err(invalid)?;
    debug_assert_eq!(api.kind, Kind::Url);
    let mut body = json!({
        "FunctionUrl": format!("https://{}.lambda-url.{}.on.aws/", api.id, facts.region),
        "FunctionArn": format!("arn:aws:lambda:{}:{}:function:{}", facts.region, facts.account, url.target()),
        "AuthType": url.auth_type,
        "InvokeMode": url.invoke_mode,
        "CreationTime": time(url.created_ms),
        "LastModifiedTime": time(url.modified_ms),
    });
    if let Some(cors) = &url.cors {
        body["Cors"] = serde_json::to_value(cors).unwrap_or(Value::Null);
    }
    if let Some(members) = body.as_object_mut().filter(|_| !names.is_empty()) {
        members.retain(|name, _| names.contains(&name.as_str()));
    }
    Ok(body)
}

fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn list(app: &str, (urls, declared): (&Urls, &Urls), facts: &Facts, params: Params, function: &str) -> Outcome<Value> {
    let most = usize::try_from(params.number("MaxItems")?.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX)).unwrap_or(1);
    let marker = params.filled("Marker")?.unwrap_or_default();
    // A declared one stands in front of one of the same function that calls have made before.
    let all: BTreeMap<_, _> = urls.iter().chain(declared).collect();
    let of = all
        .into_iter()
        .filter(|((name, qualifier), _)| name == function && (marker.is_empty() || *qualifier >= marker));
    let mut of = of.peekable();
    let mut items = Vec::new();
    while items.len() < most {
        let Some((_, url)) = of.next() else { break };
        items.push(shown(app, url, facts, &[])?);
    }
    let mut body = json!({"FunctionUrlConfigs": items});
    if let Some(((_, qualifier), _)) = of.peek() {
        body["NextMarker"] = json!(qualifier);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::rest::plans::Usage;

    fn asked(urls: &mut Urls, operation: &str, members: Value) -> Result<Value, String> {
        asked_beside(urls, &Urls::new(), operation, members)
    }

    fn asked_beside(urls: &mut Urls, declared: &Urls, operation: &str, members: Value) -> Result<Value, String> {
        let usage = &Usage::default();
        let facts = Facts {
            now_ms: 1_700_000_000_000,
            account: "123456789012",
            region: "eu-west-1",
            seed: [0; 32],
            usage,
            certificate: None,
            api_id: None,
        };
        let known = |name: &str, alias: Option<&str>| name == "f" && alias.is_none_or(|alias| alias == "live");
        let Value::Object(members) = members else { panic!("{operation}: an object is expected") };
        let told = call(("app", urls, declared), &facts, &known, operation, &members);
        told.map(|(answer, _)| answer.body).map_err(|fault| format!("{} {}", fault.code, fault.message))
    }

    #[test]
    fn a_function_and_each_alias_have_one_url() {
        let mut urls = Urls::new();
        let own =
            asked(&mut urls, "CreateFunctionUrlConfig", json!({"FunctionName": "f", "AuthType": "NONE"})).unwrap();
        let of = json!({"FunctionName": "f:live", "AuthType": "AWS_IAM", "Cors": {"AllowOrigins": ["*"]}});
        let live = asked(&mut urls, "CreateFunctionUrlConfig", of.clone()).unwrap();
        assert_ne!(own["FunctionUrl"], live["FunctionUrl"]);
        assert_eq!(live["Cors"], json!({"AllowOrigins": ["*"]}));
        let text = asked(&mut urls, "CreateFunctionUrlConfig", of).unwrap_err();
        assert!(
            text.ends_with("function:f:live]. Error message:  FunctionUrlConfig exists for this Lambda function"),
            "{text}"
        );
        let page = asked(&mut urls, "ListFunctionUrlConfigs", json!({"FunctionName": "f", "MaxItems": 1})).unwrap();
        assert_eq!(page["FunctionUrlConfigs"][0]["FunctionUrl"], own["FunctionUrl"]);
        let next = json!({"FunctionName": "f", "Marker": page["NextMarker"]});
        let page = asked(&mut urls, "ListFunctionUrlConfigs", next).unwrap();
        assert_eq!(page["FunctionUrlConfigs"].as_array().unwrap().len(), 1);
        asked(&mut urls, "DeleteFunctionUrlConfig", json!({"FunctionName": "f"})).unwrap();
        let text = asked(&mut urls, "GetFunctionUrlConfig", json!({"FunctionName": "f"})).unwrap_err();
        assert_eq!(text, "ResourceNotFoundException The resource you requested does not exist.");
    }

    /// A call on a URL that the program declares was answered as if it had made one with a signature, and the URL stayed open.
    #[test]
    fn a_declared_url_is_shown_and_no_call_changes_it() {
        let definition = json!({"name": "f", "kind": "url", "cors": {"allow_origins": ["*"]},
                                "routes": [{"key": "$default", "target": {"function": "f"}}]});
        let api = Api::compile("app", serde_json::from_value(definition).unwrap()).unwrap();
        let url = FunctionUrl::declared(&api, 7_000).unwrap();
        let declared: Urls = [(("f".to_owned(), String::new()), url)].into();
        let mut urls = Urls::new();
        let mut asked = |operation: &str, of: Value| asked_beside(&mut urls, &declared, operation, of);
        let signed = json!({"FunctionName": "f", "AuthType": "AWS_IAM"});
        for operation in ["CreateFunctionUrlConfig", "UpdateFunctionUrlConfig"] {
            let text = asked(operation, signed.clone()).unwrap_err();
            assert!(text.starts_with("ResourceConflictException"), "{operation}: {text}");
        }
        let text = asked("DeleteFunctionUrlConfig", json!({"FunctionName": "f"})).unwrap_err();
        assert!(text.contains("function:f is declared in the program"), "{text}");
        let shown = asked("GetFunctionUrlConfig", json!({"FunctionName": "f"})).unwrap();
        assert_eq!((&shown["AuthType"], &shown["Cors"]["AllowOrigins"]), (&json!("NONE"), &json!(["*"])));
        assert_eq!(shown["FunctionUrl"], format!("https://{}.lambda-url.eu-west-1.on.aws/", api.id));
        asked("CreateFunctionUrlConfig", json!({"FunctionName": "f:live", "AuthType": "AWS_IAM"})).unwrap();
        let all = asked("ListFunctionUrlConfigs", json!({"FunctionName": "f"})).unwrap();
        let types: Vec<&Value> =
            all["FunctionUrlConfigs"].as_array().unwrap().iter().map(|one| &one["AuthType"]).collect();
        assert_eq!(types, ["NONE", "AWS_IAM"]);
    }

    /// Nobody could remove it, and it was open again when the program declared none any more.
    #[test]
    fn a_url_that_was_made_before_one_was_declared_can_be_deleted() {
        let definition =
            json!({"name": "f", "kind": "url", "routes": [{"key": "$default", "target": {"function": "f"}}]});
        let api = Api::compile("app", serde_json::from_value(definition).unwrap()).unwrap();
        let declared: Urls = [(("f".to_owned(), String::new()), FunctionUrl::declared(&api, 7_000).unwrap())].into();
        let mut urls = Urls::new();
        asked(&mut urls, "CreateFunctionUrlConfig", json!({"FunctionName": "f", "AuthType": "NONE"})).unwrap();
        let name = json!({"FunctionName": "f"});
        asked_beside(&mut urls, &declared, "DeleteFunctionUrlConfig", name.clone()).unwrap();
        assert!(urls.is_empty());
        let text = asked_beside(&mut urls, &declared, "DeleteFunctionUrlConfig", name).unwrap_err();
        assert!(text.contains("is declared in the program"), "{text}");
    }

    #[test]
    fn what_cannot_be_is_refused_in_the_words_of_aws() {
        let mut urls = Urls::new();
        let mut refused = |more: Value| {
            let mut of = json!({"FunctionName": "f", "AuthType": "NONE"});
            of.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            asked(&mut urls, "CreateFunctionUrlConfig", of).unwrap_err()
        };
        for (more, part) in [
            (json!({"FunctionName": "g"}), "Function does not exist"),
            (json!({"FunctionName": "f:live", "Qualifier": "other"}), "does not match the specified qualifier"),
            (json!({"Qualifier": "1"}), "Value '1' at 'qualifier'"),
            (json!({"AuthType": "X"}), "Member must satisfy enum value set: [AWS_IAM, NONE]"),
            (json!({"InvokeMode": "X"}), "Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]"),
            (json!({"Cors": {"AllowOrigins": ["a"]}}), "is not an origin"),
        ] {
            let text = refused(more.clone());
            assert!(text.contains(part), "{more}: {text}");
        }
    }
}
