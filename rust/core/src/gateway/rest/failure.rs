//! What the gateway itself answers: gateway responses, with AWS's statuses and texts.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html>

use serde_json::{json, Map, Value};

use super::model::{GatewayResponse, RestApi};
use super::parameter_mapping::{self, Sources};
use crate::gateway::answer::Answer;

/// Why the gateway answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are AWS's own")]
pub enum ResponseType {
    AccessDenied,
    ApiConfigurationError,
    AuthorizerConfigurationError,
    AuthorizerFailure,
    BadRequestBody,
    BadRequestParameters,
    Default4xx,
    Default5xx,
    ExpiredToken,
    IntegrationFailure,
    IntegrationTimeout,
    InvalidApiKey,
    InvalidSignature,
    MissingAuthenticationToken,
    QuotaExceeded,
    RequestTooLarge,
    ResourceNotFound,
    Throttled,
    Unauthorized,
    UnsupportedMediaType,
}

use ResponseType as Type;

/// AWS's name, status and error type of each, and the text where none is given.
const KNOWN: [(Type, &str, u16, &str, &str); 20] = [
    (Type::AccessDenied, "ACCESS_DENIED", 403, "AccessDeniedException", "User is not authorized to access this resource"),
    (Type::ApiConfigurationError, "API_CONFIGURATION_ERROR", 500, "InternalServerErrorException", "Internal server error"),
    (Type::AuthorizerConfigurationError, "AUTHORIZER_CONFIGURATION_ERROR", 500, "AuthorizerConfigurationException", ""),
    (Type::AuthorizerFailure, "AUTHORIZER_FAILURE", 500, "AuthorizerConfigurationException", ""),
    (Type::BadRequestBody, "BAD_REQUEST_BODY", 400, "BadRequestException", "Invalid request body"),
    (Type::BadRequestParameters, "BAD_REQUEST_PARAMETERS", 400, "BadRequestException", "Missing required request parameters"),
    (Type::Default4xx, "DEFAULT_4XX", 400, "BadRequestException", "Bad request"),
    (Type::Default5xx, "DEFAULT_5XX", 500, "InternalServerErrorException", "Internal server error"),
    (Type::ExpiredToken, "EXPIRED_TOKEN", 403, "ExpiredTokenException", "The security token included in the request is expired"),
    (Type::IntegrationFailure, "INTEGRATION_FAILURE", 504, "InternalServerErrorException", "Network error communicating with endpoint"),
    (Type::IntegrationTimeout, "INTEGRATION_TIMEOUT", 504, "InternalServerErrorException", "Endpoint request timed out"),
    (Type::InvalidApiKey, "INVALID_API_KEY", 403, "ForbiddenException", "Forbidden"),
    (Type::InvalidSignature, "INVALID_SIGNATURE", 403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."),
    (Type::MissingAuthenticationToken, "MISSING_AUTHENTICATION_TOKEN", 403, "MissingAuthenticationTokenException", "Missing Authentication Token"),
    (Type::QuotaExceeded, "QUOTA_EXCEEDED", 429, "LimitExceededException", "Limit Exceeded"),
    (Type::RequestTooLarge, "REQUEST_TOO_LARGE", 413, "RequestTooLargeException", "Request Too Long"),
    (Type::ResourceNotFound, "RESOURCE_NOT_FOUND", 404, "NotFoundException", "Not found"),
    (Type::Throttled, "THROTTLED", 429, "TooManyRequestsException", "Too Many Requests"),
    (Type::Unauthorized, "UNAUTHORIZED", 401, "UnauthorizedException", "Unauthorized"),
    (Type::UnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", 415, "BadRequestException", "Unsupported Media Type"),
];

impl ResponseType {
    fn known(self) -> &'static (Type, &'static str, u16, &'static str, &'static str) {
        // Each type has a row: the test holds that.
        KNOWN.iter().find(|row| row.0 == self).unwrap_or(&KNOWN[7])
    }

    /// AWS's name, as `ACCESS_DENIED`.
    pub fn name(self) -> &'static str {
        self.known().1
    }

    /// The status it has unless another one is set.
    pub fn status(self) -> u16 {
        self.known().2
    }
}

/// A request that ends without its integration's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub response_type: ResponseType,
    /// The status where it is not the type's own.
    pub status: Option<u16>,
    /// What the client is told; `None`: null.
    pub message: Option<String>,
    /// What is wrong with the body that the client has sent: for a template that asks for it.
    pub invalid: Option<String>,
    /// What only an operator is told.
    pub remark: Option<String>,
}

impl Failure {
    /// A failure with AWS's text for its type.
    pub fn new(response_type: ResponseType) -> Self {
        let text = response_type.known().4;
        let message = (!text.is_empty()).then(|| text.to_owned());
        Self { response_type, status: None, message, invalid: None, remark: None }
    }

    /// The same with another text.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// The same with what is wrong with the body.
    #[must_use]
    pub fn invalid(mut self, what: impl Into<String>) -> Self {
        self.invalid = Some(what.into());
        self
    }

    /// The same with what an operator is told.
    #[must_use]
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// What is wrong with how the API is set up: the client learns nothing of it.
    pub fn of_setup(remark: impl Into<String>) -> Self {
        Self::new(Type::ApiConfigurationError).remark(remark)
    }

    /// An answer of the integration that is none.
    pub fn malformed(remark: impl Into<String>) -> Self {
        Self { status: Some(502), ..Self::new(Type::Default5xx).remark(remark) }
    }

    /// The answer, as the API has it set for this type, for its class, or as AWS has it.
    pub fn answer(&self, api: &RestApi, sources: &Sources<'_>, accept: &str) -> Answer {
        let own = api.gateway_responses.get(self.response_type.name());
        let status = self.status.unwrap_or_else(|| self.response_type.status());
        let class = api.gateway_responses.get(if status < 500 { "DEFAULT_4XX" } else { "DEFAULT_5XX" });
        let chosen = own.or(class);
        let said = |response: Option<&GatewayResponse>| {
            response.and_then(|response| response.status_code.as_deref()).and_then(|code| code.parse().ok())
        };
        let context = self.context(sources.context);
        let sources = Sources { context: &context, ..*sources };
        let mut answer = Answer { status: said(chosen).unwrap_or(status), headers: Vec::new(), body: Vec::new() };
        let mut media_type = "application/json".to_owned();
        let template = chosen.and_then(|response| template(response, accept));
        if let Some((kind, text)) = template {
            kind.clone_into(&mut media_type);
            answer.body = parameter_mapping::substituted(text, &sources).into_bytes();
        } else {
            let member = if self.response_type == Type::AccessDenied { "Message" } else { "message" };
            answer.body = json!({ member: self.message }).to_string().into_bytes();
        }
        answer.headers.push(("x-amzn-ErrorType".into(), self.response_type.known().3.into()));
        for (target, source) in chosen.iter().flat_map(|response| &response.response_parameters) {
            let Some(name) = target.strip_prefix("gatewayresponse.header.") else { continue };
            for value in parameter_mapping::find(source, &sources).unwrap_or_default() {
                if name.eq_ignore_ascii_case("content-type") {
                    media_type = value;
                } else {
                    parameter_mapping::push_mapped(&mut answer.headers, name, value);
                }
            }
        }
        parameter_mapping::push_header(&mut answer.headers, "Content-Type", media_type);
        answer
    }

    /// The context with `$context.error`.
    fn context(&self, context: &Map<String, Value>) -> Map<String, Value> {
        let mut context = context.clone();
        let quoted = Value::from(self.message.clone()).to_string();
        let error = json!({
            "message": self.message,
            "messageString": quoted,
            "validationErrorString": self.invalid,
            "responseType": self.response_type.name(),
        });
        context.insert("error".into(), error);
        context
    }
}

fn template<'a>(response: &'a GatewayResponse, accept: &str) -> Option<(&'a str, &'a str)> {
    let templates = &response.response_templates;
    let wanted = accept.split([',', ';']).next().unwrap_or_default().trim();
    let found = templates.get_key_value(wanted).or_else(|| templates.get_key_value("application/json"));
    found.or_else(|| templates.first_key_value()).map(|(kind, text)| (kind.as_str(), text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::rest::vtl::Params;

    fn answered(api: &Value, failure: &Failure, accept: &str) -> Answer {
        let api: RestApi = serde_json::from_value(api.clone()).unwrap();
        let context = Map::from_iter([("requestId".to_owned(), json!("r1"))]);
        let params = Params { headers: vec![("X-A".into(), "1".into())], ..Params::default() };
        let sources = Sources::of_request(&context, &[], &params, b"");
        failure.answer(&api, &sources, accept)
    }

    #[test]
    fn defaults_are_awss() {
        for (response_type, status, body) in [
            (Type::MissingAuthenticationToken, 403, r#"{"message":"Missing Authentication Token"}"#),
            (Type::AccessDenied, 403, r#"{"Message":"User is not authorized to access this resource"}"#),
            (Type::AuthorizerConfigurationError, 500, r#"{"message":null}"#),
            (Type::IntegrationTimeout, 504, r#"{"message":"Endpoint request timed out"}"#),
        ] {
            let answer = answered(&json!({}), &Failure::new(response_type), "");
            assert_eq!((answer.status, &*String::from_utf8_lossy(&answer.body)), (status, body));
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        let answer = answered(&json!({}), &Failure::malformed("x"), "");
        assert_eq!((answer.status, &answer.body[..]), (502, &br#"{"message":"Internal server error"}"#[..]));
        for row in KNOWN {
            assert_eq!(row.0.name(), row.1);
        }
    }

    #[test]
    fn what_is_set_wins_and_the_class_stands_for_what_is_not() {
        let api = json!({"gatewayResponses": {
            "DEFAULT_4XX": {"statusCode": "418", "responseTemplates": {"text/plain": "$context.error.responseType $context.requestId", "application/json": "{\"m\":$context.error.messageString}"},
                "responseParameters": {"gatewayresponse.header.X-B": "method.request.header.X-A", "gatewayresponse.header.X-C": "'c'", "gatewayresponse.header.X-D": "context.requestId"}},
            "THROTTLED": {"statusCode": "503"},
        }});
        let answer = answered(&api, &Failure::new(Type::InvalidApiKey), "text/plain, */*");
        assert_eq!((answer.status, &answer.body[..]), (418, &b"INVALID_API_KEY r1"[..]));
        assert_eq!(
            [answer.header("x-b"), answer.header("x-c"), answer.header("x-d")],
            [Some("1"), Some("c"), Some("r1")]
        );
        let answer = answered(&api, &Failure::new(Type::InvalidApiKey), "");
        assert_eq!(&answer.body[..], br#"{"m":"Forbidden"}"#);
        assert_eq!(answered(&api, &Failure::new(Type::Throttled), "").status, 503);
        assert_eq!(answered(&api, &Failure::new(Type::IntegrationFailure), "").status, 504);
    }
}
