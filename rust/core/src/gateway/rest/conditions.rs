//! Conditions of resource policies: those on what a request without an account says of itself. Others are refused when a policy is set.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-resource-policies-aws-condition-keys.html>

use core::net::IpAddr;

use serde_json::Value;

use crate::gateway::policy::matches;

/// What conditions are held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The client's address.
    pub source_ip: &'a str,
    /// Header `user-agent`, where there is one.
    pub user_agent: Option<&'a str>,
    /// Header `referer`, where there is one.
    pub referer: Option<&'a str>,
    /// Whether the client has come by TLS.
    pub is_tls: bool,
    /// Unix milliseconds.
    pub now_ms: u64,
}

#[derive(Clone, Copy)]
enum Key {
    SourceIp,
    UserAgent,
    Referer,
    SecureTransport,
    /// `aws:CurrentTime` and `aws:EpochTime`: AWS takes either form of a moment for both.
    Now,
}

#[derive(Clone, Copy)]
enum Test {
    Within,
    Equals,
    EqualsAnyCase,
    Like,
    Bool,
    /// How the moment may stand to the one of the condition.
    Moment(fn(&i64, &i64) -> bool),
}

impl Test {
    /// Whether there is such a test of a key.
    fn is_of(self, key: Key) -> bool {
        match self {
            Self::Within => matches!(key, Key::SourceIp),
            Self::Equals | Self::EqualsAnyCase | Self::Like => matches!(key, Key::UserAgent | Key::Referer),
            Self::Bool => matches!(key, Key::SecureTransport),
            Self::Moment(_) => matches!(key, Key::Now),
        }
    }
}

/// A test by its operator's name, and whether it is to fail.
fn test_of(operator: &str) -> Option<(Test, bool)> {
    Some(match operator {
        "IpAddress" => (Test::Within, false),
        "NotIpAddress" => (Test::Within, true),
        "StringEquals" => (Test::Equals, false),
        "StringNotEquals" => (Test::Equals, true),
        "StringEqualsIgnoreCase" => (Test::EqualsAnyCase, false),
        "StringNotEqualsIgnoreCase" => (Test::EqualsAnyCase, true),
        "StringLike" => (Test::Like, false),
        "StringNotLike" => (Test::Like, true),
        "Bool" => (Test::Bool, false),
        "DateEquals" | "NumericEquals" => (Test::Moment(i64::eq), false),
        "DateNotEquals" | "NumericNotEquals" => (Test::Moment(i64::eq), true),
        "DateLessThan" | "NumericLessThan" => (Test::Moment(i64::lt), false),
        "DateLessThanEquals" | "NumericLessThanEquals" => (Test::Moment(i64::le), false),
        "DateGreaterThan" | "NumericGreaterThan" => (Test::Moment(i64::gt), false),
        "DateGreaterThanEquals" | "NumericGreaterThanEquals" => (Test::Moment(i64::ge), false),
        _ => return None,
    })
}

fn key_of(name: &str) -> Option<Key> {
    Some(match name.to_ascii_lowercase().as_str() {
        "aws:sourceip" => Key::SourceIp,
        "aws:useragent" => Key::UserAgent,
        "aws:referer" => Key::Referer,
        "aws:securetransport" => Key::SecureTransport,
        "aws:currenttime" | "aws:epochtime" => Key::Now,
        _ => return None,
    })
}

/// Whether all conditions of a statement hold. The error names what is not known here or cannot be read, whatever the request is.
pub fn hold(conditions: &Value, facts: &Facts<'_>) -> Result<bool, String> {
    let Value::Object(conditions) = conditions else { return Err("a Condition is not an object".into()) };
    let mut all = true;
    for (operator, keys) in conditions {
        let (test, is_to_fail) = test_of(operator).ok_or_else(|| format!("condition {operator} is not known here"))?;
        let Value::Object(keys) = keys else { return Err(format!("condition {operator} is not an object")) };
        for (name, wanted) in keys {
            let key = key_of(name).filter(|key| test.is_of(*key));
            let key = key.ok_or_else(|| format!("condition {operator} on {name} is not known here"))?;
            let wanted = match wanted {
                Value::Array(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            if wanted.is_empty() {
                return Err(format!("condition {operator} on {name} names no value"));
            }
            let mut fits = false;
            for value in wanted {
                // Each is read, and not only those before the first that fits.
                fits |= is_so(test, key, value, facts)
                    .ok_or_else(|| format!("condition {operator} on {name}: {value} cannot be read"))?;
            }
            all &= fits != is_to_fail;
        }
    }
    Ok(all)
}

/// Whether a request fits one value; `None`: it cannot be read.
fn is_so(test: Test, key: Key, wanted: &Value, facts: &Facts<'_>) -> Option<bool> {
    let text = match wanted {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => wanted.to_string(),
        _ => return None,
    };
    let header = match key {
        Key::UserAgent => facts.user_agent,
        Key::Referer => facts.referer,
        _ => None,
    };
    match test {
        Test::Within => contains(&text, facts.source_ip),
        Test::Equals => Some(header == Some(text.as_str())),
        Test::EqualsAnyCase => Some(header.is_some_and(|header| header.to_lowercase() == text.to_lowercase())),
        Test::Like => Some(header.is_some_and(|header| matches(&text, header))),
        Test::Bool => Some(text.to_ascii_lowercase().parse::<bool>().ok()? == facts.is_tls),
        Test::Moment(stands) => {
            // A condition names seconds: of a moment within one, its fraction would make no two equal.
            let now_s = i64::try_from(facts.now_ms / 1_000).ok()?;
            Some(stands(&now_s, &moment(&text)?))
        }
    }
}

/// Unix seconds, of a number or of a date: `2026-01-31`, `2026-01-31T08:00:00Z`.
fn moment(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_second());
    }
    // A date alone is its first moment; a time without a zone would be a guess.
    let date = (text.len() == 10).then(|| text.parse::<jiff::civil::Date>().ok()).flatten()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?.as_second())
}

/// Whether an address lies in a block, `10.0.0.0/8`; `None`: it is no block.
fn contains(block: &str, address: &str) -> Option<bool> {
    let (base, bits) = block.split_once('/').map_or((block, None), |(base, bits)| (base, Some(bits)));
    let base: IpAddr = base.parse().ok()?;
    if base.to_canonical() != base {
        // Addresses of clients are never written so: such a block would hold nobody.
        return None;
    }
    let (base, width) = match base {
        IpAddr::V4(base) => (u128::from(base.to_bits()), 32),
        IpAddr::V6(base) => (base.to_bits(), 128),
    };
    let is_number = |bits: &str| bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits = match bits {
        Some(bits) => bits.parse::<u32>().ok().filter(|number| is_number(bits) && *number <= width)?,
        None => width,
    };
    let address = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if width == 32 => u128::from(address.to_bits()),
        Ok(IpAddr::V6(address)) if width == 128 => address.to_bits(),
        _ => return Some(false),
    };
    let shift = width - bits;
    // A block of no bits is everybody.
    Some(base.checked_shr(shift).unwrap_or(0) == address.checked_shr(shift).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FACTS: Facts<'_> = Facts {
        source_ip: "10.1.2.3",
        user_agent: Some("curl/8.1"),
        referer: None,
        is_tls: false,
        now_ms: 1_769_846_400_500,
    };

    #[test]
    fn what_a_request_says_of_itself_is_looked_at() {
        for (conditions, expected) in [
            (json!({}), true),
            (json!({"IpAddress": {"AWS:sourceip": ["10.0.0.0/8", "::1"]}}), true),
            (json!({"IpAddress": {"aws:SourceIp": "10.1.2.4"}}), false),
            (json!({"NotIpAddress": {"aws:SourceIp": ["192.168.0.0/16", "10.1.2.3"]}}), false),
            (json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}), true),
            (json!({"IpAddress": {"aws:SourceIp": "::/0"}}), false),
            (json!({"StringLike": {"aws:UserAgent": ["wget*", "curl/?.*"]}}), true),
            (json!({"StringEquals": {"aws:UserAgent": "CURL/8.1"}}), false),
            (json!({"StringEqualsIgnoreCase": {"aws:UserAgent": "CURL/8.1"}}), true),
            // A header that is not there is none of these, so it is not one of them.
            (json!({"StringLike": {"aws:Referer": "*"}}), false),
            (json!({"StringNotLike": {"aws:Referer": "https://a.example.com/*"}}), true),
            (json!({"Bool": {"aws:SecureTransport": "false"}}), true),
            (json!({"Bool": {"aws:SecureTransport": true}}), false),
            (json!({"DateLessThan": {"aws:CurrentTime": "2026-01-31T08:00:01Z"}}), true),
            (json!({"DateEquals": {"aws:CurrentTime": "2026-01-31T08:00:00Z"}}), true),
            (json!({"DateGreaterThan": {"aws:CurrentTime": "2026-01-31"}}), true),
            (json!({"DateGreaterThan": {"aws:CurrentTime": "2026-02-01"}}), false),
            (json!({"NumericGreaterThanEquals": {"aws:EpochTime": 1_769_846_400}}), true),
            (json!({"NumericLessThan": {"aws:EpochTime": "1769846400"}}), false),
            (json!({"Bool": {"aws:SecureTransport": "false"}, "IpAddress": {"aws:SourceIp": "10.9.9.9"}}), false),
        ] {
            assert_eq!(hold(&conditions, &FACTS), Ok(expected), "{conditions}");
        }
    }

    /// They were taken: an Allow let nobody in and a Deny kept everybody out, or nobody.
    #[test]
    fn what_is_not_known_or_cannot_be_read_is_named() {
        for (conditions, text) in [
            (json!("x"), "a Condition is not an object"),
            (json!({"Foo": {}}), "condition Foo is not known here"),
            (json!({"IpAddress": "10.0.0.0/8"}), "condition IpAddress is not an object"),
            (
                json!({"StringNotEquals": {"aws:SourceVpce": "v"}}),
                "condition StringNotEquals on aws:SourceVpce is not known here",
            ),
            (
                json!({"StringEquals": {"aws:SourceIp": "10.1.2.3"}}),
                "condition StringEquals on aws:SourceIp is not known here",
            ),
            (
                json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "10.0.0.0/33"]}}),
                r#"condition IpAddress on aws:SourceIp: "10.0.0.0/33" cannot be read"#,
            ),
            (
                json!({"IpAddress": {"aws:SourceIp": "127.0.0.l/8"}}),
                r#"condition IpAddress on aws:SourceIp: "127.0.0.l/8" cannot be read"#,
            ),
            (
                json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/+8"}}),
                r#"condition IpAddress on aws:SourceIp: "10.0.0.0/+8" cannot be read"#,
            ),
            (
                json!({"Bool": {"aws:SecureTransport": "no"}}),
                r#"condition Bool on aws:SecureTransport: "no" cannot be read"#,
            ),
            (
                json!({"DateLessThan": {"aws:CurrentTime": "2026-01-31T08:00:00"}}),
                r#"condition DateLessThan on aws:CurrentTime: "2026-01-31T08:00:00" cannot be read"#,
            ),
        ] {
            assert_eq!(hold(&conditions, &FACTS), Err(text.to_owned()), "{conditions}");
        }
    }
}
