//! What stands before a method: the API's resource policy, the stage's settings for it, and the canary.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies.html>

use serde_json::Value;

use super::conditions::{hold, Facts};
use super::failure::{Failure, ResponseType};
use super::model::{CanarySettings, MethodSetting, Stage};
use crate::gateway::policy::{check_exceptions, evaluate, is_action, named, Verdict};

/// What a resource policy is held against.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `arn:aws:execute-api:{region}:{account}:{api}`, without what follows.
    pub api_arn: &'a str,
    /// `{stage}/{verb}/{path}`.
    pub place: &'a str,
    /// The same with the path as others may read it.
    pub readings: &'a [String],
    /// What conditions are held against.
    pub facts: Facts<'a>,
}

/// Refuse a resource policy that could not be held against every request: what it means must not depend on who asks first.
pub fn check(policy: &str) -> Result<(), String> {
    let document: Value = serde_json::from_str(policy).map_err(|error| error.to_string())?;
    let statements = match &document {
        Value::Object(fields) => fields.get("Statement"),
        _ => return Err("it is not an object".into()),
    };
    let statements = match statements {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => return Err("Statement is neither a statement nor a list of them".into()),
    };
    for statement in statements {
        check_statement(statement)?;
    }
    Ok(())
}

/// What a statement may say.
const MEMBERS: [&str; 8] =
    ["Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
/// The actions of this service. A statement of no other one would do what it seems to.
const ACTIONS: [&str; 3] = ["execute-api:Invoke", "execute-api:InvalidateCache", "execute-api:ManageConnections"];

fn is_principal(principal: &Value) -> bool {
    let is_named = |value: &Value| named(value).is_some();
    match principal {
        Value::String(text) => text == "*",
        Value::Object(by) => {
            let is_known = |(kind, value): (&String, &Value)| {
                ["AWS", "Service", "Federated", "CanonicalUser"].contains(&kind.as_str()) && is_named(value)
            };
            !by.is_empty() && by.iter().all(is_known)
        }
        _ => false,
    }
}

fn check_statement(statement: &Value) -> Result<(), String> {
    let fields = statement.as_object().ok_or("a statement is not an object")?;
    if !matches!(fields.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")) {
        return Err("a statement's Effect is neither Allow nor Deny".into());
    }
    if fields.contains_key("NotPrincipal") {
        return Err("NotPrincipal is not supported: there are no accounts that could be left out".into());
    }
    if let Some(name) = fields.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(format!("a statement has no member {name:?}"));
    }
    if fields.get("Principal").is_some_and(|principal| !is_principal(principal)) {
        return Err("a Principal is \"*\", or texts by AWS, Service, Federated or CanonicalUser".into());
    }
    if !fields.contains_key("Principal") {
        return Err("a statement has no Principal: \"*\" is everybody".into());
    }
    check_exceptions(statement)?;
    for part in ["Action", "Resource"] {
        let texts = fields.get(part).or_else(|| fields.get(&format!("Not{part}"))).and_then(named);
        texts.ok_or_else(|| format!("a statement's {part} is neither a text nor a list of texts"))?;
    }
    let is_action = |pattern: &&str| ACTIONS.iter().any(|action| is_action(pattern, action));
    // It would allow nothing and deny nobody.
    if let Some(unknown) =
        fields.get("Action").and_then(named).into_iter().flatten().find(|pattern| !is_action(pattern))
    {
        return Err(format!("the Action {unknown:?} is none of {}", ACTIONS.join(", ")));
    }
    if let Some(conditions) = fields.get("Condition") {
        hold(conditions, &Facts::default())?;
    }
    Ok(())
}

/// Hold a resource policy against a request.
pub fn judge(policy: &str, caller: Caller<'_>) -> Result<Verdict, Failure> {
    let wrong = |reason: String| Failure::of_setup(format!("the resource policy cannot be used: {reason}"));
    let mut document: Value = serde_json::from_str(policy).map_err(|error| wrong(error.to_string()))?;
    if let Some(one @ Value::Object(_)) = document.get("Statement") {
        document["Statement"] = Value::Array(vec![one.clone()]);
    }
    if let Some(statements) = document.get_mut("Statement").and_then(Value::as_array_mut) {
        let mut unread = None;
        statements.retain_mut(|statement| {
            applies(statement, caller).unwrap_or_else(|reason| {
                unread = Some(reason);
                false
            })
        });
        if let Some(reason) = unread {
            return Err(wrong(reason));
        }
    }
    let arn = |place: &str| format!("{}/{place}", caller.api_arn);
    let readings: Vec<String> = caller.readings.iter().map(|place| arn(place)).collect();
    evaluate(&document, &arn(caller.place), &readings).map_err(wrong)
}

/// Whether a statement speaks of this caller. What was looked at here is taken out of it.
fn applies(statement: &mut Value, caller: Caller<'_>) -> Result<bool, String> {
    let Some(fields) = statement.as_object_mut() else { return Ok(true) };
    // `execute-api:/stage/GET/path` is short for the whole ARN.
    let name = if fields.contains_key("NotResource") { "NotResource" } else { "Resource" };
    if let Some(resource) = fields.get_mut(name) {
        let items = match resource {
            Value::Array(items) => items.iter_mut().collect(),
            one => vec![one],
        };
        for item in items {
            if let Some(rest) = item.as_str().and_then(|text| text.strip_prefix("execute-api:")) {
                *item = format!("{}/{}", caller.api_arn, rest.trim_start_matches('/')).into();
            }
        }
    }
    match fields.get("Principal") {
        // There are no accounts here: a statement for somebody is for nobody who can be known.
        Some(principal) if !is_everybody(principal) && fields.get("Effect").is_none_or(|effect| effect != "Deny") => {
            return Ok(false);
        }
        None if !fields.contains_key("NotPrincipal") => return Err("a statement has no Principal".into()),
        _ => {}
    }
    fields.remove("Condition").map_or(Ok(true), |conditions| hold(&conditions, &caller.facts))
}

fn is_everybody(principal: &Value) -> bool {
    let star = |value: &Value| match value {
        Value::String(text) => text == "*",
        Value::Array(items) => items.iter().any(|item| item == "*"),
        _ => false,
    };
    star(principal) || principal.get("AWS").is_some_and(star)
}

/// What a resource policy alone means: nobody is let in without a word for it.
pub fn admit(policy: &str, caller: Caller<'_>) -> Result<(), Failure> {
    let denied = |more: &str| {
        let resource = format!("{}/{}", caller.api_arn, caller.place);
        let message =
            format!("User: anonymous is not authorized to perform: execute-api:Invoke on resource: {resource}{more}");
        Err(Failure::new(ResponseType::AccessDenied).message(message))
    };
    match judge(policy, caller)? {
        Verdict::Allow => Ok(()),
        Verdict::Deny => denied(" with an explicit deny"),
        Verdict::Silent => denied(""),
    }
}

/// The settings of a method in a stage, by `pets/{id}/GET`: its own, else those of all.
pub fn setting(stage: &Stage, key: &str) -> MethodSetting {
    stage.method_settings.get(key).or_else(|| stage.method_settings.get("*/*")).cloned().unwrap_or_default()
}

/// The canary, where it takes a request: `draw` is a number from 0 to 1.
pub fn canary(stage: &Stage, draw: f64) -> Option<&CanarySettings> {
    stage.canary_settings.as_ref().filter(|canary| draw * 100.0 < canary.percent_traffic)
}

/// The variables of a stage, with the canary's above them.
pub fn variables(stage: &Stage, canary: Option<&CanarySettings>) -> Vec<(String, String)> {
    let mut all = stage.variables.clone();
    if let Some(canary) = canary {
        all.extend(canary.stage_variable_overrides.clone());
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CALLER: Caller<'_> = Caller {
        api_arn: "arn:aws:execute-api:local:1:api",
        place: "dev/GET/pets",
        readings: &[],
        facts: Facts { source_ip: "10.1.2.3", user_agent: None, referer: None, is_tls: false, now_ms: 0 },
    };

    fn judged(statements: &Value) -> Verdict {
        judge(&json!({ "Statement": statements }).to_string(), CALLER).unwrap()
    }

    #[test]
    fn a_policy_lets_in_by_resource_and_address() {
        let statement = |effect: &str, resource: &str, more: Value| {
            let mut statement =
                json!({"Effect": effect, "Principal": "*", "Action": "execute-api:Invoke", "Resource": resource});
            statement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            statement
        };
        let within = |operator: &str, range: Value| json!({"Condition": {operator: {"aws:SourceIp": range}}});
        let all = statement("Allow", "execute-api:/*", json!({}));
        let somebody = |resource: &str, range: &str| {
            let mut one = statement("Deny", resource, within("IpAddress", json!(range)));
            one["Principal"] = json!({"AWS": "arn:aws:iam::1:root"});
            one
        };
        let but = |resource: &str| {
            let mut one = statement("Deny", "", json!({"NotResource": resource}));
            one.as_object_mut().unwrap().remove("Resource");
            one
        };
        for (statements, expected) in [
            (json!([statement("Allow", "execute-api:/*", json!({}))]), Verdict::Allow),
            (json!(statement("Allow", "execute-api:/dev/GET/*", json!({}))), Verdict::Allow),
            (json!([statement("Allow", "execute-api:/prod/*", json!({}))]), Verdict::Silent),
            (
                json!([statement("Allow", "execute-api:/*", within("IpAddress", json!(["10.0.0.0/8", "::1"])))]),
                Verdict::Allow,
            ),
            (json!([statement("Allow", "execute-api:/*", within("IpAddress", json!("10.1.2.4")))]), Verdict::Silent),
            (
                json!([
                    statement("Allow", "execute-api:/*", json!({})),
                    statement("Deny", "execute-api:/*", within("NotIpAddress", json!("192.168.0.0/16")))
                ]),
                Verdict::Deny,
            ),
            (
                json!([
                    statement("Allow", "execute-api:/*", json!({})),
                    statement("Deny", "execute-api:/*", within("IpAddress", json!("192.168.0.0/16")))
                ]),
                Verdict::Allow,
            ),
            (
                json!([statement("Allow", "execute-api:/*", json!({"Principal": {"AWS": "arn:aws:iam::1:root"}}))]),
                Verdict::Silent,
            ),
            // A text other than `*` let everybody in.
            (
                json!([statement("Allow", "execute-api:/*", json!({"Principal": "arn:aws:iam::1:user/ali"}))]),
                Verdict::Silent,
            ),
            (json!([statement("Allow", "execute-api:/*", json!({"Principal": {"AWS": "*"}}))]), Verdict::Allow),
            // A Deny for somebody denied every path where it had a condition.
            (json!([all, somebody("execute-api:/dev/DELETE/*", "10.0.0.0/8")]), Verdict::Allow),
            (json!([all, somebody("execute-api:/dev/GET/*", "10.0.0.0/8")]), Verdict::Deny),
            (json!([all, somebody("execute-api:/dev/GET/*", "192.168.0.0/16")]), Verdict::Allow),
            (json!([all, but("execute-api:/dev/GET/*")]), Verdict::Allow),
            (json!([all, but("execute-api:/dev/DELETE/*")]), Verdict::Deny),
        ] {
            assert_eq!(judged(&statements), expected, "{statements}");
        }
        let silent = admit(&json!({"Statement": []}).to_string(), CALLER).unwrap_err();
        let text = "User: anonymous is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:local:1:api/dev/GET/pets";
        assert_eq!(silent.message.as_deref(), Some(text));
        assert_eq!(admit("nonsense", CALLER).unwrap_err().response_type, ResponseType::ApiConfigurationError);
    }

    /// A Deny of a block that cannot be read denied nobody.
    #[test]
    fn a_condition_that_cannot_be_used_is_refused_and_lets_nobody_in() {
        let all =
            json!({"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"});
        for (operator, key, value) in [
            ("IpAddress", "aws:SourceIp", "10.0.0.0/33"),
            ("IpAddress", "aws:SourceIp", "10.0.0.l/8"),
            ("StringEquals", "aws:SourceVpc", "v"),
            ("Foo", "aws:SourceIp", "10.0.0.0/8"),
        ] {
            for effect in ["Allow", "Deny"] {
                let mut other = all.clone();
                other["Effect"] = effect.into();
                other["Condition"] = json!({operator: {key: value}});
                let policy = json!({"Statement": [all, other]}).to_string();
                assert!(check(&policy).unwrap_err().contains(operator), "{policy}");
                let failure = admit(&policy, CALLER).unwrap_err();
                assert_eq!(failure.response_type, ResponseType::ApiConfigurationError);
                assert!(failure.remark.unwrap().contains(operator));
            }
        }
        let fits = |condition: Value| {
            let mut other = all.clone();
            other["Condition"] = condition;
            json!({ "Statement": other }).to_string()
        };
        assert_eq!(check(&fits(json!({"Bool": {"aws:SecureTransport": "true"}}))), Ok(()));
        for action in [json!("*"), json!(["execute-api:Inv*", "EXECUTE-API:ManageConnections"])] {
            let mut other = all.clone();
            other["Action"] = action;
            assert_eq!(check(&json!({ "Statement": other }).to_string()), Ok(()));
        }
        for (field, value) in [
            ("Effect", json!("allow")),
            ("Principal", Value::Null),
            ("Action", Value::Null),
            ("Action", json!("execute-api:invok")),
            ("Action", json!(["execute-api:*", "s3:*"])),
            ("Resource", json!("")),
            ("NotResource", json!("*")),
            ("NotPrincipal", json!("*")),
            ("Resource", json!([])),
            ("Condition", json!({"IpAddress": {"aws:SourceIp": []}})),
            ("Condition", json!({"IpAddress": {"aws:SourceIp": "::ffff:127.0.0.0/104"}})),
        ] {
            let mut other = all.clone();
            match value {
                Value::Null => drop(other.as_object_mut().unwrap().remove(field)),
                value => other[field] = value,
            }
            assert!(check(&json!({ "Statement": other }).to_string()).is_err(), "{field}");
        }
        assert!(check("{}").is_err() && check(r#"{"Statement": ["x"]}"#).is_err());
        assert!(check("[]").is_err() && check("x").is_err() && check(&fits(json!("x"))).is_err());
    }

    #[test]
    fn a_principal_is_everybody_or_somebody_who_is_named() {
        let of = |more: Value| {
            let mut one = json!({"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"});
            one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "Statement": one })
        };
        let somebody = "arn:aws:iam::1:root";
        // What is refused at the call, and whether a policy with it lets in a caller of whom nothing is known.
        for (principal, is_taken, lets_in) in [
            (json!("*"), true, true),
            (json!({"AWS": "*"}), true, true),
            (json!({"AWS": [somebody, "*"]}), true, true),
            (json!({"AWS": [somebody, "arn:aws:iam::2:root"]}), true, false),
            (json!({"AWS": somebody, "Service": ["lambda.amazonaws.com"]}), true, false),
            (json!({"Federated": "x", "CanonicalUser": "y"}), true, false),
            (json!(somebody), false, false),
            (json!({}), false, false),
            (json!({"AWS": []}), false, false),
            (json!({"AWS": 1}), false, false),
            (json!({"AWS": somebody, "Nobody": "x"}), false, false),
            (json!({"AWS": somebody, "Service": ""}), false, false),
            (json!(1), false, false),
        ] {
            let policy = of(json!({ "Principal": principal })).to_string();
            assert_eq!(check(&policy).is_ok(), is_taken, "{principal}");
            assert_eq!(admit(&policy, CALLER).is_ok(), lets_in, "{principal}");
        }
        // Of a policy that an earlier release has kept: who is left out cannot be known, so it lets nobody in, and denies everybody.
        for (effect, expected) in [("Allow", Verdict::Silent), ("Deny", Verdict::Deny)] {
            let policy = of(json!({"NotPrincipal": {"AWS": somebody}, "Effect": effect})).to_string();
            assert_eq!(judge(&policy, CALLER).unwrap(), expected);
            let failure = judge(&of(json!({ "Effect": effect })).to_string(), CALLER).unwrap_err();
            assert_eq!(failure.response_type, ResponseType::ApiConfigurationError);
        }
    }

    #[test]
    fn a_canary_takes_its_part_and_has_its_variables() {
        let stage: Stage = serde_json::from_value(json!({"variables": {"a": "1", "b": "2"}, "methodSettings": {"*/*": {"cachingEnabled": true}, "pets/GET": {}},
            "canarySettings": {"percentTraffic": 40.0, "deploymentId": "d", "stageVariableOverrides": {"b": "3", "c": "4"}}}))
        .unwrap();
        assert!(canary(&stage, 0.39).is_some() && canary(&stage, 0.4).is_none());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(variables(&stage, None), [pair("a", "1"), pair("b", "2")]);
        assert_eq!(variables(&stage, canary(&stage, 0.0)), [pair("a", "1"), pair("b", "3"), pair("c", "4")]);
        assert!(setting(&stage, "other/GET").caching_enabled && !setting(&stage, "pets/GET").caching_enabled);
    }
}
