//! What a request to an HTTP endpoint has besides its body: texts, or paths into the event.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_HttpParameters.html>

use std::collections::BTreeMap;

use forebay_core::template::Path;

use crate::api::bus::HttpParameters;
use crate::base::error::EngineError;

/// Most values for the `*` of a path, and most headers or query parameters.
const PARAMETERS_MAX: usize = 100;
/// Begins a value that is taken from the event.
const PATH: &str = "$.";

/// The parameters of a target, read once.
pub(crate) struct CompiledParameters {
    path: Vec<Text>,
    headers: Vec<(String, Text)>,
    query: Vec<(String, Text)>,
}

enum Text {
    Fixed(String),
    At(Path),
}

impl HttpParameters {
    /// Read the paths in it; `target` names it in errors.
    pub(crate) fn compile(&self, target: &str) -> Result<CompiledParameters, EngineError> {
        let counts =
            [self.path_parameter_values.len(), self.header_parameters.len(), self.query_string_parameters.len()];
        if let Some(count) = counts.into_iter().find(|count| *count > PARAMETERS_MAX) {
            return Err(EngineError::Invalid(format!(
                "http_parameters of target {target} has {count} of one kind: allowed are {PARAMETERS_MAX}"
            )));
        }
        let read = |text: &String| Text::parse(target, text);
        let named = |given: &BTreeMap<String, String>| {
            given.iter().map(|(name, text)| Ok((name.clone(), read(text)?))).collect::<Result<_, EngineError>>()
        };
        Ok(CompiledParameters {
            path: self.path_parameter_values.iter().map(read).collect::<Result<_, _>>()?,
            headers: named(&self.header_parameters)?,
            query: named(&self.query_string_parameters)?,
        })
    }
}

impl CompiledParameters {
    /// What they are for one event. A path that finds nothing gives an empty text.
    pub(crate) fn of(&self, event: &str) -> HttpParameters {
        let named =
            |given: &[(String, Text)]| given.iter().map(|(name, text)| (name.clone(), text.of(event))).collect();
        HttpParameters {
            path_parameter_values: self.path.iter().map(|text| text.of(event)).collect(),
            header_parameters: named(&self.headers),
            query_string_parameters: named(&self.query),
        }
    }
}

impl Text {
    fn parse(target: &str, text: &str) -> Result<Self, EngineError> {
        if !text.starts_with(PATH) {
            return Ok(Self::Fixed(text.to_owned()));
        }
        Path::parse(text).map(Self::At).map_err(|reason| {
            EngineError::Invalid(format!("http_parameters of target {target}: {text:?} is not a path: {reason}"))
        })
    }

    fn of(&self, event: &str) -> String {
        match self {
            Self::Fixed(text) => text.clone(),
            Self::At(path) => {
                let found = path.find(event).unwrap_or_default();
                serde_json::from_str(&found).unwrap_or_else(|_| found.into_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_a_text_or_is_taken_from_the_event() {
        let given: HttpParameters = serde_json::from_value(json!({
            "path_parameter_values": ["orders", "$.detail.id"],
            "header_parameters": {"X-Of": "$.source", "X-None": "$.detail.none"},
            "query_string_parameters": {"n": "$.detail.n", "price": "$5"},
        }))
        .unwrap();
        let of = given.compile("1").unwrap().of(r#"{"source":"shop","detail":{"id":"a/b","n":7}}"#);
        assert_eq!(of.path_parameter_values, ["orders", "a/b"]);
        assert_eq!(
            of.header_parameters,
            BTreeMap::from([("X-None".into(), String::new()), ("X-Of".into(), "shop".into())])
        );
        assert_eq!(
            of.query_string_parameters,
            BTreeMap::from([("n".into(), "7".into()), ("price".into(), "$5".into())])
        );
    }

    #[test]
    fn a_path_that_cannot_be_and_too_many_values_are_refused() {
        let wrong = HttpParameters { path_parameter_values: vec!["$.a..b".into()], ..HttpParameters::default() };
        assert!(wrong.compile("1").is_err_and(|error| error.to_string().contains("$.a..b")));
        let many = HttpParameters { path_parameter_values: vec![String::new(); 101], ..HttpParameters::default() };
        assert!(many.compile("1").is_err_and(|error| error.to_string().contains("allowed are 100")));
    }
}
