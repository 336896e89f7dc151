//! `tests/cases/filter_policies.json`: which messages a subscription's filter policy lets through, with the source of each row.

use std::fmt::Write;

use forebay_core::pattern::policy::{Attribute, Policy, Scope};
use serde_json::Value as Json;

const TABLE: &str = include_str!("../../../tests/cases/filter_policies.json");

fn attributes_of(case: &Json) -> Vec<Attribute<'_>> {
    fn text(value: &Json) -> &str {
        value.as_str().expect("an attribute is text")
    }
    let given = case["attributes"].as_object().into_iter().flatten();
    given.map(|(name, one)| Attribute { name, data_type: text(&one[0]), value: text(&one[1]) }).collect()
}

#[test]
fn every_row_of_the_table_is_judged_as_it_says() {
    let table: Vec<Json> = serde_json::from_str(TABLE).expect("the table is JSON");
    let mut wrong = String::new();
    for row in &table {
        let name = row["name"].as_str().expect("a row has a name");
        assert!(row["source"].as_str().is_some_and(|source| !source.is_empty()), "{name} has no source");
        let scope = if row["scope"] == "MessageBody" { Scope::Body } else { Scope::Attributes };
        match (Policy::parse(&row["policy"].to_string(), scope), row["refused"].as_str()) {
            (Err(error), refused) => {
                if refused != Some(&error.reason) {
                    let _ = writeln!(wrong, "{name}: expected {refused:?}, refused: {error}");
                }
            }
            (Ok(_), Some(refused)) => {
                let _ = writeln!(wrong, "{name}: not refused with {refused}");
            }
            (Ok(policy), None) => {
                for case in row["cases"].as_array().expect("a row has cases") {
                    let passes = policy.passes(case["body"].as_str().unwrap_or("text"), &attributes_of(case));
                    if case["expect"] != passes {
                        let _ = writeln!(wrong, "{name}: {case} is {passes}");
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
