//! Where an integration goes: its URI, with variables put in.

use crate::gateway::routes;

/// A service, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A function: `name`, `name:alias`.
    Function(String),
    /// Another service of AWS.
    Service(Service),
}

/// A request of another service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `sqs`, `kinesis`, `states`, …
    pub name: String,
    /// What stands behind it.
    pub operation: Operation,
}

/// How a request of a service is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `action/PutRecord`, perhaps with a query: `action/Publish&TopicArn=…`.
    Action(String),
    /// `path/…`, of the service's HTTP API.
    Path(String),
}

impl Service {
    /// Where it would be on AWS, for a log.
    pub fn url(&self, region: &str, query: &str) -> String {
        let host = format!("https://{}.{region}.amazonaws.com", self.name);
        let (path, more) = match &self.operation {
            Operation::Path(path) => (path.trim_start_matches('/'), query.to_owned()),
            Operation::Action(action) if query.is_empty() => ("", format!("Action={action}")),
            Operation::Action(action) => ("", format!("Action={action}&{query}")),
        };
        let mark = if more.is_empty() { "" } else { "?" };
        format!("{host}/{path}{mark}{more}")
    }
}

/// Put in `{name}` and `${stageVariables.name}`.
pub fn filled(uri: &str, path: &[(String, String)], stage_variables: &[(String, String)]) -> String {
    let mut out = String::with_capacity(uri.len());
    let mut rest = uri;
    while let Some(at) = rest.find(['{', '$']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (open, fields) =
            if rest.starts_with("${stageVariables.") { ("${stageVariables.", stage_variables) } else { ("{", path) };
        let inner = rest.strip_prefix(open).and_then(|inner| inner.split_once('}'));
        let found = inner.and_then(|(name, behind)| {
            let name = name.strip_suffix('+').unwrap_or(name);
            fields.iter().find(|(known, _)| known == name).map(|(_, value)| (value, behind))
        });
        if let Some((value, behind)) = found {
            out.push_str(value);
            rest = behind;
        } else {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// The same with what a client has given for the path; `None` if that makes another path of it for those who resolve `..`.
pub fn filled_by_client(uri: &str, path: &[(String, String)], stage_variables: &[(String, String)]) -> Option<String> {
    let whole = filled(uri, path, stage_variables);
    let climbs = routes::climbs(&whole) && !routes::climbs(&filled(uri, &[], stage_variables));
    (!climbs && !path.iter().any(|(_, value)| routes::climbs(value))).then_some(whole)
}

/// Read the ARN of an integration of the kinds `AWS` and `AWS_PROXY`.
pub fn target(uri: &str) -> Result<Target, String> {
    let wrong = || format!("the integration's uri {uri:?} names no service");
    if let Some(at) = uri.find(":function:") {
        let name = uri[at + ":function:".len()..].split('/').next().unwrap_or_default();
        return if name.is_empty() { Err(wrong()) } else { Ok(Target::Function(name.to_owned())) };
    }
    let mut parts = uri.splitn(6, ':');
    let is_arn = parts.next() == Some("arn") && parts.next().is_some() && parts.next() == Some("apigateway");
    let (_, service, behind) = (parts.next(), parts.next(), parts.next());
    let (Some(service), Some(behind)) = (service.filter(|_| is_arn), behind) else { return Err(wrong()) };
    // `{subdomain}.{service}` is one host of the service.
    let name = service.rsplit('.').next().unwrap_or(service).to_owned();
    let (kind, rest) = behind.split_once('/').unwrap_or((behind, ""));
    let operation = match kind {
        "action" if !rest.is_empty() => Operation::Action(rest.to_owned()),
        "path" => Operation::Path(format!("/{}", rest.trim_start_matches('/'))),
        _ => return Err(wrong()),
    };
    Ok(Target::Service(Service { name, operation }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_name_functions_and_services() {
        let service = |name: &str, operation| Ok(Target::Service(Service { name: name.into(), operation }));
        for (uri, expected) in [
            ("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:1:function:f:live/invocations", Ok(Target::Function("f:live".into()))),
            ("arn:aws:apigateway:us-east-1:111122223333:arn:aws:lambda:us-east-1:1:function:test-1", Ok(Target::Function("test-1".into()))),
            ("arn:aws:apigateway:us-east-1:kinesis:action/PutRecords", service("kinesis", Operation::Action("PutRecords".into()))),
            ("arn:aws:apigateway:us-east-1:sqs:path/1111/queue", service("sqs", Operation::Path("/1111/queue".into()))),
            ("arn:aws:apigateway:us-east-1:bucket.s3:path//key", service("s3", Operation::Path("/key".into()))),
        ] {
            assert_eq!(target(uri), expected, "{uri}");
        }
        for uri in [
            "",
            "https://x.example.com",
            "arn:aws:apigateway:eu:sqs",
            "arn:aws:apigateway:eu:sqs:nothing/x",
            "arn:aws:apigateway:eu:sqs:action/",
            "arn:aws:apigateway:eu:sqs:action",
            "arn:aws:lambda:eu:1:function:",
        ] {
            assert!(target(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn variables_are_put_in_once() {
        let path = [("id".to_owned(), "{id}".to_owned()), ("proxy".to_owned(), "a/b".to_owned())];
        let variables = [("tenant".to_owned(), "t".to_owned())];
        let uri = "http://h.example.com/${stageVariables.tenant}/{id}/{proxy+}/{none}/$x/${stageVariables.none}";
        assert_eq!(filled(uri, &path, &variables), "http://h.example.com/t/{id}/a/b/{none}/$x/${stageVariables.none}");
    }
}
