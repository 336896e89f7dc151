//! What a handler's response says about single records (`ReportBatchItemFailures`) and about the window's state.
//!
//! Follows AWS Lambda's documented and observed answers: an empty list, `null`, `{}`, `""` and `[]` are a full success; an empty,
//! null, unknown or missing identifier makes the whole batch fail.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::Value;

use super::protocol::Report;

/// A handler's response. What is in it stays as it is written: reading numbers would change those that no float can hold.
#[derive(Debug, Default)]
pub struct Response<'a>(HashMap<String, &'a RawValue>);

impl<'a> Response<'a> {
    /// Read a body; `None` is no response at all. What is not an object says nothing.
    pub fn read(body: Option<&'a [u8]>) -> Result<Self, serde_json::Error> {
        let Some(body) = body else { return Ok(Self::default()) };
        let value: &RawValue = serde_json::from_slice(body)?;
        if value.get().starts_with('{') {
            serde_json::from_str(value.get()).map(Self)
        } else {
            Ok(Self::default())
        }
    }

    /// Whether it names records that failed, or none.
    pub fn lists_failures(&self) -> bool {
        self.0.get("batchItemFailures").is_some_and(|listed| listed.get().starts_with('['))
    }

    /// The `state` under a tumbling window, as JSON text; `None` if it is missing.
    pub fn window_state(&self) -> Option<String> {
        self.0.get("state").map(|state| state.get().to_owned())
    }
}

/// Read `batchItemFailures` out of a response. `position_of` turns an identifier into a position of the batch's shard.
pub fn failures(response: &Response<'_>, position_of: impl Fn(&str) -> Option<u64>) -> Report {
    let Some(listed) = response.0.get("batchItemFailures") else { return Report::AllSucceeded };
    let items = match serde_json::from_str(listed.get()) {
        Ok(Value::Null) => return Report::AllSucceeded,
        Ok(Value::Array(items)) => items,
        _ => return Report::Malformed,
    };
    let mut positions = Vec::with_capacity(items.len());
    for item in items {
        match item.get("itemIdentifier").and_then(Value::as_str).and_then(&position_of) {
            Some(position) => positions.push(position),
            None => return Report::Malformed,
        }
    }
    if positions.is_empty() {
        return Report::AllSucceeded;
    }
    Report::Failed(positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(response: &Value) -> Report {
        let body = response.to_string();
        failures(&Response::read(Some(body.as_bytes())).unwrap(), |text| text.parse().ok())
    }

    fn state(body: &str) -> Option<String> {
        Response::read(Some(body.as_bytes())).unwrap().window_state()
    }

    #[test]
    fn the_six_empty_answers_are_a_full_success() {
        for response in [
            json!({"batchItemFailures": []}),
            json!({"batchItemFailures": null}),
            json!({}),
            json!(null),
            json!(""),
            json!([]),
        ] {
            assert_eq!(read(&response), Report::AllSucceeded, "{response}");
        }
        assert_eq!(failures(&Response::read(None).unwrap(), |_| None), Report::AllSucceeded);
    }

    #[test]
    fn only_a_list_lists_failures() {
        let lists = |body: &str| Response::read(Some(body.as_bytes())).unwrap().lists_failures();
        assert!(lists(r#"{"batchItemFailures": []}"#));
        for body in [r#"{"batchItemFailures": null}"#, r#"{"batchItemFailures": {}}"#, "{}", "[]"] {
            assert!(!lists(body), "{body}");
        }
    }

    #[test]
    fn a_malformed_identifier_fails_the_whole_batch() {
        for item in [json!({"itemIdentifier": ""}), json!({"itemIdentifier": null}), json!({"foo": 123}), json!(7)] {
            assert_eq!(read(&json!({"batchItemFailures": [item]})), Report::Malformed, "{item}");
        }
    }

    #[test]
    fn identifiers_are_given_as_positions() {
        let response = json!({"batchItemFailures": [{"itemIdentifier": "9"}, {"itemIdentifier": "4"}]});
        assert_eq!(read(&response), Report::Failed(vec![9, 4]));
    }

    #[test]
    fn a_missing_state_is_told_from_a_null_one() {
        assert_eq!(state(r#"{"state": null}"#), Some("null".into()));
        assert_eq!(state("{}"), None);
    }

    /// A sum of 2^64 came back as a float, and one beyond every float failed the batch.
    #[test]
    fn a_state_stays_as_it_is_written() {
        let nines = "9".repeat(400);
        for text in
            ["18446744073709551616", "0.1000", "{\"sum\": -123456789012345678901234567890, \"a\": [1e2]}", &nines]
        {
            let body = format!(" {{\"batchItemFailures\": [], \"other\": {nines}, \"state\": {text}}}");
            assert_eq!(state(&body).as_deref(), Some(text));
        }
    }

    #[test]
    fn of_a_name_twice_the_last_counts() {
        assert_eq!(state(r#"{"state": 1, "state": 2}"#), Some("2".into()));
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for body in ["", "{", "[1,]", "{} {}"] {
            assert!(Response::read(Some(body.as_bytes())).is_err(), "{body}");
        }
    }
}
