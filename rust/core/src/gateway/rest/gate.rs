//! What stands before a method: the API's resource policy, the stage's settings for it, and the canary.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies.html>

use core::net::IpAddr;

use serde_json::{Map, Value};

use super::failure::{Failure, ResponseType};
use super::model::{CanarySettings, MethodSetting, Stage};
use crate::gateway::policy::{evaluate, Verdict};

/// What a resource policy is held against.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `arn:aws:execute-api:{region}:{account}:{api}`, without what follows.
    pub api_arn: &'a str,
    /// `{stage}/{verb}/{path}`.
    pub place: &'a str,
    /// The same with the path as routes are found by it, where it was written otherwise.
    pub plain: Option<&'a str>,
    /// The client's address.
    pub source_ip: &'a str,
}

/// Hold a resource policy against a request. A condition other than on the client's address is taken at its strictest.
pub fn judge(policy: &str, caller: Caller<'_>) -> Result<Verdict, Failure> {
    let wrong = |reason: String| Failure::of_setup(format!("the resource policy cannot be used: {reason}"));
    let mut document: Value = serde_json::from_str(policy).map_err(|error| wrong(error.to_string()))?;
    if let Some(one @ Value::Object(_)) = document.get("Statement") {
        document["Statement"] = Value::Array(vec![one.clone()]);
    }
    if let Some(statements) = document.get_mut("Statement").and_then(Value::as_array_mut) {
        statements.retain_mut(|statement| applies(statement, caller));
    }
    let arn = |place: &str| format!("{}/{place}", caller.api_arn);
    evaluate(&document, &arn(caller.place), caller.plain.map(arn).as_deref()).map_err(wrong)
}

/// Whether a statement speaks of this caller. What was looked at here is taken out of it.
fn applies(statement: &mut Value, caller: Caller<'_>) -> bool {
    let Some(fields) = statement.as_object_mut() else { return true };
    if fields.get("Principal").is_some_and(|principal| !is_everybody(principal)) {
        // There are no accounts here: a statement for somebody is for nobody who can be known.
        return fields.get("Effect").and_then(Value::as_str) == Some("Deny");
    }
    // `execute-api:/stage/GET/path` is short for the whole ARN.
    if let Some(resource) = fields.get_mut("Resource") {
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
    let Some(Value::Object(mut conditions)) = fields.remove("Condition") else { return true };
    let known = take_addresses(&mut conditions, caller.source_ip);
    if !conditions.is_empty() {
        fields.insert("Condition".into(), Value::Object(conditions));
    }
    known
}

fn is_everybody(principal: &Value) -> bool {
    let star = |value: &Value| match value {
        Value::String(text) => text == "*",
        Value::Array(items) => items.iter().any(|item| item == "*"),
        _ => false,
    };
    star(principal) || principal.get("AWS").is_some_and(star)
}

/// Take the conditions on the client's address out; whether they hold.
fn take_addresses(conditions: &mut Map<String, Value>, source_ip: &str) -> bool {
    let mut holds = true;
    for (operator, wanted) in [("IpAddress", true), ("NotIpAddress", false)] {
        let Some(Value::Object(keys)) = conditions.get_mut(operator) else { continue };
        let Some(name) = keys.keys().find(|name| name.eq_ignore_ascii_case("aws:SourceIp")).cloned() else { continue };
        let ranges = match keys.remove(&name) {
            Some(Value::Array(items)) => items,
            Some(one) => vec![one],
            None => Vec::new(),
        };
        let is_in = ranges.iter().filter_map(Value::as_str).any(|range| contains(range, source_ip));
        holds &= is_in == wanted;
        if keys.is_empty() {
            conditions.remove(operator);
        }
    }
    holds
}

/// Whether an address lies in a range, `10.0.0.0/8`.
fn contains(range: &str, address: &str) -> bool {
    let (base, bits) = range.split_once('/').map_or((range, None), |(base, bits)| (base, Some(bits)));
    let (Ok(base), Ok(address)) = (base.parse::<IpAddr>(), address.parse::<IpAddr>()) else { return false };
    let (base, address, width) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (u128::from(base.to_bits()), u128::from(address.to_bits()), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let Ok(bits) = bits.map_or(Ok(width), str::parse::<u32>) else { return false };
    if bits > width {
        return false;
    }
    let shift = width - bits;
    // A range of no bits is everybody.
    base.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0)
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
        plain: None,
        source_ip: "10.1.2.3",
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
                json!([statement(
                    "Allow",
                    "execute-api:/*",
                    json!({"Condition": {"StringEquals": {"aws:SourceVpc": "v"}}})
                )]),
                Verdict::Silent,
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
        ] {
            assert_eq!(judged(&statements), expected, "{statements}");
        }
        assert!(contains("0.0.0.0/0", "1.2.3.4") && !contains("0.0.0.0/33", "1.2.3.4") && !contains("::/0", "1.2.3.4"));
        let silent = admit(&json!({"Statement": []}).to_string(), CALLER).unwrap_err();
        let text = "User: anonymous is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:local:1:api/dev/GET/pets";
        assert_eq!(silent.message.as_deref(), Some(text));
        assert_eq!(admit("nonsense", CALLER).unwrap_err().response_type, ResponseType::ApiConfigurationError);
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
