//! Cross-origin requests: what the gateway answers to a preflight, and adds to an answer.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html>

use serde::Deserialize;

/// The settings of an API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins: `https://shop.example.com`, `*`, `https://*`, `http://*`.
    pub allow_origins: Vec<String>,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Headers, or `*`.
    pub allow_headers: Vec<String>,
    /// Headers that a page may read.
    pub expose_headers: Vec<String>,
    /// Whether cookies may be sent.
    pub allow_credentials: bool,
    /// Seconds that a preflight may be remembered, -1 to 86400.
    pub max_age: Option<i32>,
}

type Headers = Vec<(String, String)>;

impl Cors {
    /// Refuse what cannot be; the error says what.
    pub fn check(&self) -> Result<(), String> {
        for origin in &self.allow_origins {
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let is_origin = rest.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ',', ' ']));
            if origin != "*" && !is_origin {
                return Err(format!(
                    "allow_origins: {origin:?} is not an origin: allowed are \"*\", \"https://*\", \"http://*\" and a scheme with a \
                     host, without a path, as \"https://shop.example.com\""
                ));
            }
        }
        if self.allow_credentials && self.allow_origins.iter().any(|origin| origin == "*") {
            return Err("allow_credentials: it cannot be with allow_origins \"*\": name the origins".into());
        }
        match self.max_age {
            Some(age) if !(-1..=86_400).contains(&age) => {
                Err(format!("max_age is {age}: allowed are -1 to 86400 seconds"))
            }
            _ => Ok(()),
        }
    }

    /// What stands for the origin in an answer, if it may ask.
    fn allowed(&self, origin: &str) -> Option<String> {
        let fits = |allowed: &String| match allowed.strip_suffix("://*") {
            Some(scheme) => origin.split_once("://").is_some_and(|(of, _)| of.eq_ignore_ascii_case(scheme)),
            None => allowed == "*" || allowed.eq_ignore_ascii_case(origin),
        };
        let allowed = self.allow_origins.iter().find(|allowed| fits(allowed))?;
        Some(if allowed == "*" { "*".into() } else { origin.to_owned() })
    }

    /// What tells a cache that another origin is answered otherwise; an answer that is for all of them needs no such word.
    fn varying(&self) -> Headers {
        if self.allow_origins.is_empty() {
            return Vec::new();
        }
        vec![("vary".into(), "origin".into())]
    }

    /// The headers of the answer to a preflight.
    pub fn preflight(&self, origin: &str, method: &str) -> Headers {
        let Some(allowed) = self.allowed(origin) else { return self.varying() };
        if !self.allow_methods.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(method)) {
            return if allowed == "*" { Vec::new() } else { self.varying() };
        }
        let mut headers = self.of_origin(allowed);
        let mut list = |name: &str, values: &[String]| {
            if !values.is_empty() {
                headers.push((name.into(), values.join(",")));
            }
        };
        list("access-control-allow-methods", &self.allow_methods);
        list("access-control-allow-headers", &self.allow_headers);
        if let Some(age) = self.max_age {
            headers.push(("access-control-max-age".into(), age.to_string()));
        }
        headers
    }

    /// What is added to the answer of a request, by its `Origin`.
    pub fn headers(&self, origin: Option<&str>) -> Headers {
        let Some(allowed) = origin.and_then(|origin| self.allowed(origin)) else { return self.varying() };
        let mut headers = self.of_origin(allowed);
        if !self.expose_headers.is_empty() {
            headers.push(("access-control-expose-headers".into(), self.expose_headers.join(",")));
        }
        headers
    }

    fn of_origin(&self, allowed: String) -> Headers {
        let mut headers = if allowed == "*" { Vec::new() } else { self.varying() };
        headers.push(("access-control-allow-origin".into(), allowed));
        if self.allow_credentials {
            headers.push(("access-control-allow-credentials".into(), "true".into()));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Cors {
            allow_origins: texts(origins),
            allow_methods: texts(&["GET", "POST"]),
            allow_headers: texts(&["x-a"]),
            expose_headers: texts(&["x-b"]),
            allow_credentials: origins != ["*"],
            max_age: Some(300),
        }
    }

    fn value<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn an_origin_is_told_only_if_it_may_ask() {
        for (origins, origin, expected) in [
            (vec!["*"], "https://a.example.com", Some("*")),
            (vec!["https://a.example.com"], "https://a.example.com", Some("https://a.example.com")),
            (vec!["https://a.example.com"], "https://b.example.com", None),
            (vec!["https://a.example.com"], "https://a.example.com.evil.example.com", None),
            (vec!["https://*"], "https://b.example.com", Some("https://b.example.com")),
            (vec!["https://*"], "http://b.example.com", None),
        ] {
            let cors = cors(&origins);
            assert_eq!(
                value(&cors.headers(Some(origin)), "access-control-allow-origin"),
                expected,
                "{origins:?} {origin}"
            );
            let preflight = cors.preflight(origin, "GET");
            assert_eq!(value(&preflight, "access-control-allow-origin"), expected, "{origins:?} {origin}");
        }
    }

    /// A cache on the way kept the answer to a request without an origin, and gave it to a page that was then refused.
    #[test]
    fn a_cache_is_told_that_other_origins_are_answered_otherwise() {
        let (a, b) = ("https://a.example.com", "https://b.example.com");
        for (origins, origin, expected) in [
            (vec![a], None, Some("origin")),
            (vec![a], Some(b), Some("origin")),
            (vec![a], Some(a), Some("origin")),
            (vec!["*"], None, Some("origin")),
            (vec!["*"], Some(a), None),
            (vec![], Some(a), None),
        ] {
            let cors = cors(&origins);
            assert_eq!(value(&cors.headers(origin), "vary"), expected, "{origins:?} {origin:?}");
            if let Some(origin) = origin {
                assert_eq!(value(&cors.preflight(origin, "GET"), "vary"), expected, "{origins:?} {origin}");
            }
        }
        assert_eq!(value(&cors(&[a]).preflight(a, "DELETE"), "vary"), Some("origin"));
    }

    #[test]
    fn a_preflight_lists_what_is_allowed() {
        let headers = cors(&["https://a.example.com"]).preflight("https://a.example.com", "POST");
        for (name, expected) in [
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "x-a"),
            ("access-control-max-age", "300"),
            ("access-control-allow-credentials", "true"),
            ("vary", "origin"),
        ] {
            assert_eq!(value(&headers, name), Some(expected), "{name}");
        }
        assert_eq!(cors(&["*"]).preflight("https://a.example.com", "DELETE"), []);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        assert_eq!(cors(&["*"]).check(), Ok(()));
        let all = Cors { allow_credentials: true, ..cors(&["*"]) };
        assert!(all.check().unwrap_err().contains("allow_credentials"));
        assert!(cors(&["https://a.example.com/path"]).check().unwrap_err().contains("without a path"));
        assert!(Cors { max_age: Some(86_401), ..Cors::default() }.check().unwrap_err().contains("86400"));
    }
}
