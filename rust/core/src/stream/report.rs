//! What a handler's response says about single records (`ReportBatchItemFailures`) and about the window's state.
//!
//! Follows AWS Lambda's documented and observed answers: an empty list, `null`, `{}`, `""` and `[]` are a full success; an empty,
//! null, unknown or missing identifier makes the whole batch fail.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>

use serde_json::Value;

use super::protocol::Report;

/// Read `batchItemFailures` out of a response. `position_of` turns an identifier into a position of the batch's shard.
pub fn failures(response: Option<&Value>, position_of: impl Fn(&str) -> Option<u64>) -> Report {
    let Some(Value::Object(response)) = response else { return Report::AllSucceeded };
    let items = match response.get("batchItemFailures") {
        None | Some(Value::Null) => return Report::AllSucceeded,
        Some(Value::Array(items)) => items,
        Some(_) => return Report::Malformed,
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

/// The `state` of a response under a tumbling window, as JSON text; `None` if it is missing.
pub fn window_state(response: Option<&Value>) -> Option<String> {
    response?.get("state").map(Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(response: &Value) -> Report {
        failures(Some(response), |text| text.parse().ok())
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
        assert_eq!(failures(None, |_| None), Report::AllSucceeded);
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
        assert_eq!(window_state(Some(&json!({"state": null}))), Some("null".into()));
        assert_eq!(window_state(Some(&json!({}))), None);
    }
}
