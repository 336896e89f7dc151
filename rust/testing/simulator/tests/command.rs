//! The command as a script calls it.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay-sim")).args(arguments).output().unwrap()
}

fn summary(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().last().unwrap()).unwrap()
}

#[test]
fn the_counts_of_parts_are_those_of_the_whole() {
    let part = |seeds| summary(&["--seeds", seeds, "--steps", "300", "--json"]);
    let (whole, first, second) = (part("1..5"), part("1..3"), part("3..5"));
    for kind in ["counts", "faults"] {
        for (name, count) in whole[kind].as_object().unwrap() {
            let sum = first[kind][name].as_u64().unwrap() + second[kind][name].as_u64().unwrap();
            assert_eq!(count.as_u64().unwrap(), sum, "{name}");
        }
    }
    assert_eq!(whole["seeds"], serde_json::json!([1, 5]));
    assert_eq!(whole["broken"], Value::Null);
    assert!(whole["counts"]["deliveries"].as_u64().unwrap() > 0);
}

#[test]
fn what_is_no_range_of_seeds_is_refused_with_the_shape_that_is_wanted() {
    for seeds in ["5", "5..5", "6..5", "a..b"] {
        let output = run(&["--seeds", seeds]);
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, format!("forebay-sim: --seeds is {seeds:?}: FROM..TO is wanted, FROM below TO\n"));
    }
}
