//! Integrations of methods and how their answers become the method's.

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::methods::{self, no_method};
use crate::gateway::rest::control::params::{check_media_type, Params, Patch};
use crate::gateway::rest::control::Control;
use crate::gateway::rest::model::{
    shown, ContentHandling, Integration, IntegrationResponse, IntegrationType, Method, Passthrough, Templates, Texts,
    TlsConfig,
};

/// How long an integration may take, ms.
const TIMEOUT_MS: std::ops::RangeInclusive<i64> = 50..=29_000;

fn no_integration() -> Fault {
    Fault::missing("Invalid Integration identifier specified")
}

fn no_status() -> Fault {
    Fault::missing("Invalid Response status code specified")
}

fn mapping(problem: &str) -> Fault {
    Fault::bad(format!("Invalid mapping expression specified: Validation Result: warnings : [], errors : [{problem}]"))
}

/// The kind of an integration by AWS's name, in any case.
pub(super) fn kind_of(text: &str) -> Option<IntegrationType> {
    Some(match text.to_ascii_uppercase().as_str() {
        "HTTP" => IntegrationType::Http,
        "HTTP_PROXY" => IntegrationType::HttpProxy,
        "AWS" => IntegrationType::Aws,
        "AWS_PROXY" => IntegrationType::AwsProxy,
        "MOCK" => IntegrationType::Mock,
        _ => return None,
    })
}

/// What becomes of a body without a template, by AWS's name, in any case.
pub(super) fn passthrough_of(text: &str) -> Outcome<Passthrough> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "" | "WHEN_NO_MATCH" => Passthrough::WhenNoMatch,
        "WHEN_NO_TEMPLATES" => Passthrough::WhenNoTemplates,
        "NEVER" => Passthrough::Never,
        _ => {
            return Err(Fault::bad(
                "Invalid passthrough behavior specified. Valid options are WHEN_NO_MATCH, WHEN_NO_TEMPLATES or NEVER",
            ))
        }
    })
}

/// How a body is turned, by AWS's name.
pub(super) fn handling_of(text: &str) -> Outcome<Option<ContentHandling>> {
    Ok(Some(match text {
        "" => return Ok(None),
        "CONVERT_TO_BINARY" => ContentHandling::ConvertToBinary,
        "CONVERT_TO_TEXT" => ContentHandling::ConvertToText,
        _ => {
            return Err(Fault::bad(
                "Invalid ContentHandling specified. Valid options are CONVERT_TO_BINARY,CONVERT_TO_TEXT",
            ))
        }
    }))
}

fn check_uri(kind: IntegrationType, uri: &str) -> Outcome<()> {
    if matches!(kind, IntegrationType::Http | IntegrationType::HttpProxy) {
        let behind = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
        let is_url = behind.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(' '));
        if is_url || uri.starts_with("${stageVariables.") {
            return Ok(());
        }
        return Err(Fault::bad("Invalid HTTP endpoint specified for URI"));
    }
    let parts: Vec<&str> = uri.splitn(6, ':').collect();
    if parts.len() < 6 || parts[0] != "arn" {
        return Err(Fault::bad("Invalid ARN specified in the request"));
    }
    // A function's own ARN in the place of its path says enough.
    let is_function = parts[5].starts_with("arn:") && parts[5].contains(":function:");
    if is_function {
        return Ok(());
    }
    if !parts[5].starts_with("path/") && !parts[5].starts_with("action/") {
        return Err(Fault::bad("AWS ARN for integration must contain path or action"));
    }
    let service = parts[4].rsplit('.').next().unwrap_or_default();
    if kind == IntegrationType::AwsProxy && service != "lambda" && service != "firehose" {
        return Err(Fault::bad(
            "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations.",
        ));
    }
    Ok(())
}

/// Whether a source of a mapping is one that the method has.
fn is_source(method: &Method, source: &str) -> bool {
    let is_static = source.len() >= 2 && source.starts_with('\'') && source.ends_with('\'');
    if is_static || source.starts_with("context.") || source.starts_with("stageVariables.") {
        return true;
    }
    let Some(rest) = source.strip_prefix("method.request.") else { return false };
    if rest == "body" || rest.starts_with("body.") || rest.starts_with("body[") {
        return true;
    }
    let plain = rest.replacen("multivalue", "", 1);
    method.request_parameters.keys().any(|known| {
        known == source
            || known.strip_prefix("method.request.").is_some_and(|known| known.replacen("multivalue", "", 1) == plain)
    })
}

fn check_request_mappings(method: &Method, parameters: &Texts) -> Outcome<()> {
    for (target, source) in parameters {
        let known = target.strip_prefix("integration.request.").and_then(|rest| rest.split_once('.'));
        if !known.is_some_and(|(kind, name)| ["path", "querystring", "header"].contains(&kind) && !name.is_empty()) {
            return Err(mapping(&format!("Invalid mapping expression specified: {target}")));
        }
        if !is_source(method, source) {
            let problem = if source.starts_with("method.request.") {
                format!("Invalid mapping expression parameter specified: {source}")
            } else {
                format!("Invalid mapping expression specified: {source}")
            };
            return Err(mapping(&problem));
        }
    }
    Ok(())
}

fn check_response_mappings(method: &Method, response: &IntegrationResponse) -> Outcome<()> {
    let of = method.method_responses.get(&response.status_code);
    for (target, source) in &response.response_parameters {
        let Some(of) = of else { return Err(mapping("No method response exists for method.")) };
        if !of.response_parameters.contains_key(target) {
            return Err(mapping(&format!("Invalid mapping expression parameter specified: {target}")));
        }
        let is_static = source.len() >= 2 && source.starts_with('\'') && source.ends_with('\'');
        let rest = source.strip_prefix("integration.response.");
        let is_part = rest.is_some_and(|rest| {
            rest.starts_with("header.")
                || rest.starts_with("multivalueheader.")
                || rest == "body"
                || rest.starts_with("body")
        });
        if !is_static && !is_part && !source.starts_with("context.") && !source.starts_with("stageVariables.") {
            return Err(mapping(&format!("Invalid mapping expression specified: {source}")));
        }
    }
    Ok(())
}

/// A draft may have one, as on AWS; it is never served.
pub(super) fn no_vpc_link() -> Fault {
    Fault::bad("VPC links are not supported by forebay")
}

/// Refuse an integration that cannot work with its method.
pub(super) fn check_integration(method: &Method, integration: &mut Integration) -> Outcome<()> {
    if integration.kind == IntegrationType::Mock {
        (integration.http_method, integration.uri, integration.connection_type) = (None, None, None);
    } else {
        if integration.http_method.as_deref().is_none_or(str::is_empty) {
            return Err(Fault::bad("Enumeration value for HttpMethod must be non-empty"));
        }
        check_uri(integration.kind, integration.uri.as_deref().unwrap_or_default())?;
        let is_http = matches!(integration.kind, IntegrationType::Http | IntegrationType::HttpProxy);
        if is_http && integration.connection_type.is_none() {
            integration.connection_type = Some("INTERNET".into());
        }
        match (integration.is_by_vpc_link(), &integration.connection_id) {
            (true, None) => return Err(Fault::bad("Connection ID must be specified for VPC_LINK connections")),
            (false, Some(_)) => return Err(Fault::bad("Connection ID is for VPC_LINK connections alone")),
            _ => {}
        }
    }
    if !TIMEOUT_MS.contains(&i64::from(integration.timeout_in_millis)) {
        return Err(Fault::bad(format!(
            "Timeout should be between {} ms and {} ms",
            TIMEOUT_MS.start(),
            TIMEOUT_MS.end()
        )));
    }
    if let Some(credentials) = &integration.credentials {
        if !credentials.starts_with("arn:") {
            return Err(Fault::bad("Invalid ARN specified in the request"));
        }
    }
    check_request_mappings(method, &integration.request_parameters)
}

/// The integration that the members of `PutIntegration` say.
pub(super) fn integration_of(resource: &str, method: &Method, params: Params) -> Outcome<Integration> {
    let mut integration = Integration {
        kind: kind_of(params.named("type")?).unwrap_or_default(),
        http_method: params.filled("integrationHttpMethod")?,
        uri: params.filled("uri")?,
        connection_type: params.filled("connectionType")?,
        connection_id: params.filled("connectionId")?,
        credentials: params.filled("credentials")?,
        request_parameters: params.texts("requestParameters")?,
        request_templates: params.templates("requestTemplates")?,
        passthrough_behavior: passthrough_of(params.named("passthroughBehavior")?)?,
        content_handling: handling_of(params.named("contentHandling")?)?,
        timeout_in_millis: timeout(params.number("timeoutInMillis")?.unwrap_or(*TIMEOUT_MS.end())),
        cache_namespace: params.named("cacheNamespace")?.to_owned(),
        cache_key_parameters: params.list("cacheKeyParameters")?,
        tls_config: match params.inner("tlsConfig")? {
            Some(tls) => {
                Some(TlsConfig { insecure_skip_verification: tls.flag("insecureSkipVerification")?.unwrap_or(false) })
            }
            None => None,
        },
        ..Integration::default()
    };
    check_integration(method, &mut integration)?;
    if integration.cache_namespace.is_empty() {
        resource.clone_into(&mut integration.cache_namespace);
    }
    Ok(integration)
}

/// Refuse a response of an integration that cannot work with its method.
pub(super) fn check_integration_response(method: &Method, response: &IntegrationResponse) -> Outcome<()> {
    check_response_mappings(method, response)
}

pub(super) fn put_integration(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    methods::change_method(control, params, |_, resource, method| {
        let integration = integration_of(resource, method, params)?;
        let answer = shown(&integration);
        method.integration = Some(integration);
        Ok(answer)
    })
}

pub(super) fn get_integration(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (_, resource) = control.resource(params)?;
    let method = resource.methods.get(params.named("httpMethod")?).ok_or_else(no_method)?;
    method.integration.as_ref().map(shown).ok_or_else(no_integration)
}

pub(super) fn update_integration(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let patches = params.patches()?;
    methods::change_method(control, params, |_, _, method| {
        let mut integration = method.integration.clone().ok_or_else(no_integration)?;
        for patch in &patches {
            change(&mut integration, patch)?;
        }
        check_integration(method, &mut integration)?;
        let answer = shown(&integration);
        method.integration = Some(integration);
        Ok(answer)
    })
}

pub(super) fn delete_integration(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    methods::change_method(control, params, |_, _, method| {
        method.integration.take().map(|_| json!({})).ok_or_else(no_integration)
    })
}

pub(super) fn put_integration_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let response = IntegrationResponse {
        status_code: params.named("statusCode")?.to_owned(),
        selection_pattern: params.text("selectionPattern")?.map(str::to_owned),
        response_parameters: params.texts("responseParameters")?,
        response_templates: params.templates("responseTemplates")?,
        content_handling: handling_of(params.named("contentHandling")?)?,
    };
    methods::change_method(control, params, |_, _, method| {
        if method.integration.is_none() {
            return Err(no_integration());
        }
        check_integration_response(method, &response)?;
        let answer = shown(&response);
        if let Some(integration) = &mut method.integration {
            integration.integration_responses.insert(response.status_code.clone(), response);
        }
        Ok(answer)
    })
}

pub(super) fn get_integration_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (_, resource) = control.resource(params)?;
    let method = resource.methods.get(params.named("httpMethod")?).ok_or_else(no_method)?;
    let integration = method.integration.as_ref().ok_or_else(no_integration)?;
    integration.integration_responses.get(params.named("statusCode")?).map(shown).ok_or_else(no_status)
}

pub(super) fn update_integration_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (status, patches) = (params.named("statusCode")?, params.patches()?);
    methods::change_method(control, params, |_, _, method| {
        let integration = method.integration.as_ref().ok_or_else(no_integration)?;
        let mut response = integration.integration_responses.get(status).cloned().ok_or_else(no_status)?;
        for patch in &patches {
            change_response(&mut response, patch)?;
        }
        check_integration_response(method, &response)?;
        let answer = shown(&response);
        if let Some(integration) = &mut method.integration {
            integration.integration_responses.insert(status.to_owned(), response);
        }
        Ok(answer)
    })
}

pub(super) fn delete_integration_response(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let status = params.named("statusCode")?;
    // AWS speaks of the integration here even where there is no such method.
    let (_, resource) = control.resource(params)?;
    if !resource.methods.contains_key(params.named("httpMethod")?) {
        return Err(no_integration());
    }
    methods::change_method(control, params, |_, _, method| {
        let integration = method.integration.as_mut().ok_or_else(no_integration)?;
        integration.integration_responses.remove(status).map(|_| json!({})).ok_or_else(no_status)
    })
}

/// A timeout; one that no `u32` holds is one that is out of range.
pub(super) fn timeout(ms: i64) -> u32 {
    u32::try_from(ms).unwrap_or_default()
}

fn change_text(texts: &mut Texts, patch: &Patch, name: String) -> Outcome<()> {
    if patch.op != "add" && !texts.contains_key(&name) {
        return Err(Fault::missing("Invalid parameter name specified"));
    }
    match patch.op.as_str() {
        "remove" => {
            texts.remove(&name);
        }
        "add" | "replace" => {
            texts.insert(name, patch.text().to_owned());
        }
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}

fn change_template(templates: &mut Templates, patch: &Patch, kind: String) -> Outcome<()> {
    if patch.op != "add" && !templates.contains_key(&kind) {
        return Err(Fault::missing("Invalid content type specified"));
    }
    match patch.op.as_str() {
        "remove" => {
            templates.remove(&kind);
        }
        "add" | "replace" => {
            check_media_type(&kind)?;
            templates.insert(kind, patch.filled());
        }
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}

fn change(integration: &mut Integration, patch: &Patch) -> Outcome<()> {
    if let Some(name) = patch.below("/requestParameters/") {
        return change_text(&mut integration.request_parameters, patch, name);
    }
    if let Some(kind) = patch.below("/requestTemplates/") {
        return change_template(&mut integration.request_templates, patch, kind);
    }
    if let Some(name) = patch.below("/cacheKeyParameters/") {
        integration.cache_key_parameters.retain(|known| *known != name);
        match patch.op.as_str() {
            "remove" => {}
            "replace" => integration.cache_key_parameters.push(patch.filled().unwrap_or(name)),
            _ => integration.cache_key_parameters.push(name),
        }
        return Ok(());
    }
    let path = patch.path.as_deref().unwrap_or_default();
    match path {
        // The documents of AWS name a list of them here, too.
        "/requestParameters" | "/requestTemplates" if patch.op == "remove" => {
            integration.request_parameters.retain(|_, _| path != "/requestParameters");
            integration.request_templates.retain(|_, _| path != "/requestTemplates");
        }
        _ if patch.op != "replace" => return Err(patch.no_such_path()),
        "/httpMethod" | "/integrationHttpMethod" => integration.http_method = patch.filled(),
        "/uri" => integration.uri = patch.filled(),
        "/connectionType" => integration.connection_type = patch.filled(),
        "/connectionId" => integration.connection_id = patch.filled(),
        "/credentials" => integration.credentials = patch.filled(),
        "/passthroughBehavior" => integration.passthrough_behavior = passthrough_of(patch.text())?,
        "/contentHandling" => integration.content_handling = handling_of(patch.text())?,
        "/cacheNamespace" => patch.text().clone_into(&mut integration.cache_namespace),
        "/timeoutInMillis" => integration.timeout_in_millis = timeout(patch.text().parse().unwrap_or_default()),
        "/tlsConfig/insecureSkipVerification" => {
            integration.tls_config = Some(TlsConfig { insecure_skip_verification: patch.truth() });
        }
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}

fn change_response(response: &mut IntegrationResponse, patch: &Patch) -> Outcome<()> {
    if let Some(name) = patch.below("/responseParameters/") {
        return change_text(&mut response.response_parameters, patch, name);
    }
    if let Some(kind) = patch.below("/responseTemplates/") {
        return change_template(&mut response.response_templates, patch, kind);
    }
    match (patch.path.as_deref().unwrap_or_default(), patch.op.as_str()) {
        ("/selectionPattern", "replace") => response.selection_pattern.clone_from(&patch.value),
        ("/contentHandling", "replace") => response.content_handling = handling_of(patch.text())?,
        _ => return Err(patch.no_such_path()),
    }
    Ok(())
}
