//! What AWS delivered, or refused.

use forebay_core::template::{Input, InputTexts, Reserved, TransformerTexts};
use serde_json::{json, Value as Json};

use crate::corpus;

/// What `PutEvents` makes of an entry.
fn event(entry: &Json) -> Json {
    json!({
        "version": "0", "id": "<uuid:2>", "detail-type": entry["DetailType"], "source": entry["Source"],
        "account": "111111111111", "time": "date", "region": "us-east-1", "resources": [],
        "detail": serde_json::from_str::<Json>(entry["Detail"].as_str().expect("a detail")).expect("JSON"),
    })
}

/// A delivery is what was recorded: parsed where it is an object, text otherwise.
fn is_same(delivered: &str, recorded: &Json) -> bool {
    match recorded {
        Json::String(text) => delivered == text,
        // The word that the recording has for the time of the event without detail.
        _ => {
            let recorded = recorded.to_string().replace("<ingestion-time>", "date");
            serde_json::from_str::<Json>(delivered).ok() == serde_json::from_str(&recorded).ok()
        }
    }
}

fn parse(target: &Json) -> Result<Input, String> {
    let transformer = &target["InputTransformer"];
    let paths: Vec<(String, String)> = transformer["InputPathsMap"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, path)| (name.clone(), path.as_str().expect("a path").to_owned()))
        .collect();
    let texts = InputTexts {
        input: target["Input"].as_str(),
        input_path: target["InputPath"].as_str(),
        transformer: transformer["InputTemplate"].as_str().map(|template| TransformerTexts { paths: &paths, template }),
    };
    Input::parse("<target-id>", &texts).map_err(|error| error.to_string())
}

#[test]
fn targets_get_what_aws_delivered_to_them() {
    let reserved = Reserved { rule_arn: "arn", rule_name: "name", ingestion_time: "date" };
    for case in corpus::cases("events/inputs.jsonl") {
        let id = case["id"].as_str().expect("an id");
        let targets = case["targets"].as_array().expect("targets");
        let answers: Vec<&Json> = case["answers"].as_object().expect("answers").values().collect();
        if let [answer] = answers.as_slice() {
            if let Some(message) = answer["Error"]["Message"].as_str() {
                assert_eq!(parse(&targets[0]).map(drop), Err(message.to_owned()), "{id}");
                continue;
            }
        }
        // Each target has its queue, and what arrived there.
        assert_eq!(targets.len(), answers.len(), "{id}");
        for (target, messages) in targets.iter().zip(answers) {
            let input = parse(target).expect(id);
            let event = event(&case["entries"][0]).to_string();
            let delivered = input.of(&event, &reserved);
            assert!(is_same(&delivered, &messages[0]["Body"]), "{id}: {delivered}");
        }
    }
}
