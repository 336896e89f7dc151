//! Policies that authorisers give: whether one lets a caller do what it wants to.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html>

use serde_json::Value;

use crate::gateway::routes;

const INVOKE: &str = "execute-api:Invoke";
/// Most statements that are looked at; a policy with more lets nobody in.
const STATEMENTS_MAX: usize = 1_000;

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it, and none denies it.
    Allow,
    /// A statement denies it.
    Deny,
    /// No statement speaks of it.
    Silent,
}

/// Hold a policy document against the ARN of a method or a route. The error says why it is not a policy. Where its path can be written
/// otherwise, `readings` are the ARNs with the path as others may read it: what denies one of them denies the request, so nobody goes round
/// a denial by an escape or a slash. They allow nothing; but a path with `..` has to be allowed as what it means, too.
pub fn evaluate(document: &Value, arn: &str, readings: &[String]) -> Result<Verdict, String> {
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) => &list[..],
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => return Err("the policy has no Statement".into()),
    };
    if statements.len() > STATEMENTS_MAX {
        return Err(format!("the policy has {} statements: at most {STATEMENTS_MAX} are read", statements.len()));
    }
    let mut is_allowed = false;
    let mut allowed: Vec<bool> = vec![!routes::climbs(arn); readings.len()];
    for statement in statements {
        let effect = statement.get("Effect").and_then(Value::as_str);
        let is_but = check_exceptions(statement)?;
        let fits = speaks_of(statement, arn);
        let fits_other = || readings.iter().any(|reading| speaks_of(statement, reading));
        // A condition cannot be looked at here: what it restricts is taken at its strictest.
        let is_conditional = ["Condition", "NotPrincipal"].iter().any(|key| statement.get(key).is_some());
        match effect {
            Some("Deny") if fits || is_conditional || fits_other() => return Ok(Verdict::Deny),
            Some("Allow") if !is_conditional => {
                // What is left out must not be reached by another way to write it.
                is_allowed |= fits && (!is_but || readings.iter().all(|reading| speaks_of(statement, reading)));
                for (is_allowed, reading) in allowed.iter_mut().zip(readings) {
                    *is_allowed = *is_allowed || speaks_of(statement, reading);
                }
            }
            Some("Allow" | "Deny") => {}
            _ => return Err("a statement's Effect is neither Allow nor Deny".into()),
        }
    }
    Ok(if is_allowed && allowed.into_iter().all(|is_allowed| is_allowed) { Verdict::Allow } else { Verdict::Silent })
}

/// Whether a statement speaks of all but something. One that does not say of what would speak of everything.
pub fn check_exceptions(statement: &Value) -> Result<bool, String> {
    let mut is_but = false;
    for part in ["Action", "Resource"] {
        let but = format!("Not{part}");
        let Some(texts) = statement.get(&but) else { continue };
        if statement.get(part).is_some() {
            return Err(format!("a statement has {part} and {but}: one of them"));
        }
        named(texts).ok_or_else(|| format!("a statement's {but} is neither a text nor a list of texts"))?;
        is_but = true;
    }
    Ok(is_but)
}

/// A text or a list of texts, none of which is empty.
pub fn named(value: &Value) -> Option<Vec<&str>> {
    let texts: Option<Vec<&str>> = match value {
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        one => one.as_str().map(|text| vec![text]),
    };
    texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()))
}

fn speaks_of(statement: &Value, arn: &str) -> bool {
    let any = |key: &str, test: &dyn Fn(&str) -> bool| match statement.get(key) {
        Some(Value::String(one)) => test(one),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(test),
        _ => false,
    };
    // `NotAction` and `NotResource` speak of all but those.
    let speaks = |key: &str, test: &dyn Fn(&str) -> bool| {
        let but = format!("Not{key}");
        any(key, test) || (statement.get(&but).is_some() && !any(&but, test))
    };
    speaks("Action", &|pattern| is_action(pattern, INVOKE)) && speaks("Resource", &|pattern| matches(pattern, arn))
}

/// Whether a pattern of a policy speaks of an action; case says nothing.
pub fn is_action(pattern: &str, action: &str) -> bool {
    matches(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

/// Whether a text fits a pattern in which `*` is any text and `?` any one character.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut of) = (0, 0);
    // The last `*`, and where the text was when it came.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[at] => {
                at += 1;
                of += 1;
            }
            _ => match star {
                // The `*` comes again, at the next character.
                Some((of_star, taken)) => (at, of) = (taken + 1, of_star),
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:local:000000000000:abcdefghij/dev/GET/orders/1";

    fn statement(effect: &str, resource: &str) -> Value {
        json!({"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource})
    }

    fn not_resource(effect: &str, resource: &str) -> Value {
        json!({"Action": "execute-api:Invoke", "Effect": effect, "NotResource": resource})
    }

    #[test]
    fn a_denial_wins_and_silence_lets_nobody_in() {
        let all = "arn:aws:execute-api:*:*:abcdefghij/*";
        for (statements, expected) in [
            (json!([statement("Allow", all)]), Verdict::Allow),
            (json!(statement("Allow", all)), Verdict::Allow),
            (json!([statement("Allow", all), statement("Deny", "*/orders/?")]), Verdict::Deny),
            (json!([statement("Deny", all), statement("Allow", "*")]), Verdict::Deny),
            (json!([statement("Allow", "*/POST/*")]), Verdict::Silent),
            (json!([]), Verdict::Silent),
            (json!([{"Action": ["s3:*", "EXECUTE-API:*"], "Effect": "Allow", "Resource": ["x", ARN]}]), Verdict::Allow),
            (json!([{"Action": "s3:*", "Effect": "Allow", "Resource": "*"}]), Verdict::Silent),
            (
                json!([{"Action": "*", "Effect": "Allow", "Resource": "*", "Condition": {"Bool": {"x": "true"}}}]),
                Verdict::Silent,
            ),
            (json!([statement("Allow", "*"), {"NotAction": "s3:*", "Effect": "Deny", "Resource": "*"}]), Verdict::Deny),
            // Such a statement denied everything.
            (
                json!([statement("Allow", "*"), {"NotAction": "execute-api:*", "Effect": "Deny", "Resource": "*"}]),
                Verdict::Allow,
            ),
            (json!([statement("Allow", "*"), not_resource("Deny", "*/orders/*")]), Verdict::Allow),
            (json!([statement("Allow", "*"), not_resource("Deny", "*/pets/*")]), Verdict::Deny),
            (json!([not_resource("Allow", "*/pets/*")]), Verdict::Allow),
            (json!([not_resource("Allow", "*/orders/*")]), Verdict::Silent),
        ] {
            assert_eq!(evaluate(&json!({ "Statement": statements }), ARN, &[]), Ok(expected), "{statements}");
        }
    }

    #[test]
    fn what_is_no_policy_is_told() {
        for document in [json!(null), json!({}), json!({"Statement": "x"}), json!({"Statement": [{"Effect": "allow"}]})]
        {
            assert!(evaluate(&document, ARN, &[]).is_err(), "{document}");
        }
        // Everybody would be let in by what leaves nothing out.
        for nothing in [json!([]), json!(""), json!(null), json!({}), json!([1])] {
            let mut allows = not_resource("Allow", "");
            allows["NotResource"] = nothing;
            assert!(evaluate(&json!({ "Statement": allows }), ARN, &[]).is_err(), "{allows}");
        }
        let mut both = not_resource("Allow", "*/pets/*");
        both["Resource"] = json!("*");
        assert!(evaluate(&json!({ "Statement": both }), ARN, &[]).is_err());
    }

    #[test]
    fn a_path_that_is_written_otherwise_goes_round_no_denial() {
        let sent = ARN.replace("orders", "%6frders");
        let judged =
            |statements: Value| evaluate(&json!({ "Statement": statements }), &sent, &[ARN.to_owned()]).unwrap();
        assert_eq!(judged(json!([statement("Allow", "*"), statement("Deny", "*/orders/*")])), Verdict::Deny);
        assert_eq!(judged(json!([statement("Allow", "*"), statement("Deny", "*/carts/*")])), Verdict::Allow);
        assert_eq!(judged(json!([statement("Allow", "*/orders/*")])), Verdict::Silent);
        assert_eq!(judged(json!([not_resource("Allow", "*/orders/*")])), Verdict::Silent);
        assert_eq!(judged(json!([not_resource("Allow", "*/carts/*")])), Verdict::Allow);
    }

    /// `/public/../secret` was let in by a policy that allows `/public/*`.
    #[test]
    fn a_path_that_climbs_is_allowed_as_what_it_means() {
        let judged = |sent: &str, plain: &str, resources: &[&str]| {
            let statements: Vec<Value> = resources.iter().map(|resource| statement("Allow", resource)).collect();
            evaluate(&json!({ "Statement": statements }), &format!("arn:x/GET/{sent}"), &[format!("arn:x/GET/{plain}")])
        };
        for (sent, plain, resources, expected) in [
            ("public/../secret", "secret", &["*/public/*"][..], Verdict::Silent),
            ("public/%2e%2E%2fsecret", "secret", &["*/public/*"], Verdict::Silent),
            ("public/../secret", "secret", &["*/public/*", "arn:x/GET/secret"], Verdict::Allow),
            ("public/a/../b", "public/b", &["*/public/*"], Verdict::Allow),
            ("public/../secret", "secret", &["arn:x/GET/secret"], Verdict::Silent),
            // A policy for the very request names it as it was sent.
            ("public/a%2Fb", "public/a/b", &["arn:x/GET/public/a%2Fb"], Verdict::Allow),
        ] {
            assert_eq!(judged(sent, plain, resources), Ok(expected), "{sent} {resources:?}");
        }
    }

    #[test]
    fn a_pattern_takes_time_in_proportion_to_the_text() {
        let pattern = "*a".repeat(200) + "b";
        let text = "a".repeat(10_000);
        assert!(!matches(&pattern, &text));
        for (pattern, text, expected) in [
            ("*", "", true),
            ("**", "x", true),
            ("a*c", "abc", true),
            ("a*c", "abcb", false),
            ("a?c", "ac", false),
            ("*ab", "aab", true),
            ("*ab*b", "xabab", true),
            ("*ab*b", "xaba", false),
            ("a*?", "a", false),
            ("a*?", "ab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
