//! What the states language asks of a state, rule by rule: what is said where one is broken, and where.
//!
//! AWS's texts were read where people quote them: bounds of numbers and fields that exclude each other in
//! <https://github.com/floci-io/floci/issues/3733>, paths in <https://github.com/aws-cloudformation/cfn-lint/issues/4078>, and `States.ALL` in
//! <https://github.com/aws/aws-cdk/issues/10530>.

use forebay_core::workflow::definition::{check, MachineType};
use serde_json::{json, Map, Value};

/// Rows: fields that are added to a state or replace its own (null removes one), and what is said, as `place: message`.
type Rows<'a> = &'a [(Value, &'a [&'a str])];

fn hold(given: &Value, rows: Rows<'_>) {
    for (fields, told) in rows {
        let mut state = given.as_object().unwrap().clone();
        state.extend(fields.as_object().unwrap().clone());
        state.retain(|_, value| !value.is_null());
        assert_eq!(said(&state), *told, "{fields}");
    }
}

/// What is said of a machine with this state, and with a state Z if this one names it.
fn said(state: &Map<String, Value>) -> Vec<String> {
    let mut machine = json!({"StartAt": "A", "States": {"A": state}});
    if Value::Object(state.clone()).to_string().contains(r#""Z""#) {
        machine["States"]["Z"] = json!({"Type": "Succeed"});
    }
    let problems = check(&machine.to_string(), MachineType::Standard);
    let place = |location: &str| location.strip_prefix("/States/A").unwrap_or(location).to_owned();
    problems.iter().map(|one| format!("{}: {}", place(&one.location), one.fault.message())).collect()
}

fn pass() -> Value {
    json!({"Type": "Pass", "End": true})
}

fn task() -> Value {
    json!({"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f", "End": true})
}

#[test]
fn a_state_has_a_type_and_leads_somewhere() {
    let types =
        ": The field 'Type' should have one of these values: [Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]";
    hold(
        &pass(),
        &[
            (json!({}), &[]),
            (json!({"Type": "Nap"}), &[&format!("/Type{types}")]),
            (json!({"Type": 5}), &[&format!("/Type{types}")]),
            (json!({"Type": null}), &[": These fields are required: [Type]"]),
            (json!({"End": null}), &[": These fields are required: [Next]"]),
            (json!({"End": false}), &[": These fields are required: [Next]"]),
            (json!({"Next": "Z"}), &[": There should only be one of the following fields: [Next, End]"]),
            (json!({"End": false, "Next": "Z"}), &[]),
            (json!({"End": "yes"}), &["/End: Expected value of type Boolean"]),
            (json!({"End": null, "Next": 5}), &["/Next: Expected value of type String"]),
            (json!({"Comment": 5}), &["/Comment: Expected value of type String"]),
            (json!({"Nonsense": 5}), &[": Field 'Nonsense' is not supported"]),
        ],
    );
}

#[test]
fn states_all_stands_alone_and_last() {
    let alone = "States.ALL must appear alone and at end of list";
    hold(
        &task(),
        &[
            (json!({"Retry": [{"ErrorEquals": ["E"]}, {"ErrorEquals": ["States.ALL"]}]}), &[]),
            (
                json!({"Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["E"]}]}),
                &[&format!("/Retry[0]/ErrorEquals[0]: {alone}")],
            ),
            (
                json!({"Retry": [{"ErrorEquals": ["E", "States.ALL"]}]}),
                &[&format!("/Retry[0]/ErrorEquals[1]: {alone}")],
            ),
            (json!({"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Z"}]}), &[]),
            (
                json!({"Catch": [{"ErrorEquals": ["E"], "Next": "Z"}, {"ErrorEquals": ["States.ALL", "E"], "Next": "Z"}]}),
                &[&format!("/Catch[1]/ErrorEquals[0]: {alone}")],
            ),
            (json!({"Retry": [{"ErrorEquals": ["E", 5]}]}), &["/Retry[0]/ErrorEquals: Expected value of type String"]),
            (json!({"Retry": [{}]}), &["/Retry[0]: These fields are required: [ErrorEquals]"]),
            (json!({"Retry": [5]}), &["/Retry[0]: Expected value of type Object"]),
            (json!({"Retry": {}}), &["/Retry: Expected value of type Array"]),
            (json!({"Catch": [{"ErrorEquals": ["E"]}]}), &["/Catch[0]: These fields are required: [Next]"]),
        ],
    );
}

#[test]
fn numbers_have_bounds() {
    hold(
        &task(),
        &[
            (json!({"TimeoutSeconds": 1, "HeartbeatSeconds": null}), &[]),
            (json!({"TimeoutSeconds": 99_999_999}), &[]),
            (json!({"TimeoutSeconds": 0}), &["/TimeoutSeconds: Minimum value is 1"]),
            (json!({"TimeoutSeconds": 100_000_000}), &["/TimeoutSeconds: Maximum value is 99999999"]),
            (json!({"TimeoutSeconds": 1.5}), &["/TimeoutSeconds: Expected value of type Integer"]),
            (
                json!({"Retry": [{"ErrorEquals": ["E"], "MaxAttempts": -1}]}),
                &["/Retry[0]/MaxAttempts: Minimum value is 0"],
            ),
            (json!({"Retry": [{"ErrorEquals": ["E"], "MaxAttempts": 0, "BackoffRate": 1.0}]}), &[]),
            (
                json!({"Retry": [{"ErrorEquals": ["E"], "BackoffRate": 0.5}]}),
                &["/Retry[0]/BackoffRate: Minimum value is 1.0"],
            ),
            (
                json!({"Retry": [{"ErrorEquals": ["E"], "BackoffRate": "2"}]}),
                &["/Retry[0]/BackoffRate: Expected value of type numeric"],
            ),
        ],
    );
}

#[test]
fn paths_and_templates_are_read_before_they_are_used() {
    let template = "must be a valid JSONPath or a valid intrinsic function call";
    hold(
        &pass(),
        &[
            (json!({"InputPath": "$.a[0]", "ResultPath": "$.b", "Parameters": {"c.$": "States.UUID()"}}), &[]),
            (json!({"InputPath": "a"}), &["/InputPath: Value must be a valid JSONPath."]),
            (json!({"OutputPath": 5}), &["/OutputPath: Expected value of type JSONPath"]),
            (json!({"ResultPath": "$..a"}), &["/ResultPath: Value is not a Reference Path"]),
            (
                json!({"Parameters": {"a": [{"b.$": "c"}]}}),
                &[&format!("/Parameters/a[0]: The value for the field 'b.$' {template}")],
            ),
            (json!({"Parameters": {"a.$": 5}}), &[&format!("/Parameters: The value for the field 'a.$' {template}")]),
        ],
    );
    hold(
        &task(),
        &[
            (json!({"Credentials": {"RoleArn.$": "$.role"}}), &[]),
            (
                json!({"Credentials": {"RoleArn.$": "role"}}),
                &[&format!("/Credentials: The value for the field 'RoleArn.$' {template}")],
            ),
            (json!({"Resource": "f"}), &["/Resource: Value is not a valid resource ARN"]),
            (json!({"Resource": 5}), &["/Resource: Expected value of type String"]),
            (json!({"Resource": null}), &[": These fields are required: [Resource]"]),
            (
                json!({"TimeoutSeconds": 5, "TimeoutSecondsPath": "$.t"}),
                &[": There should only be one of the following fields: [TimeoutSeconds, TimeoutSecondsPath]"],
            ),
        ],
    );
}

#[test]
fn a_wait_has_one_time() {
    let times = "[Seconds, SecondsPath, Timestamp, TimestampPath]";
    hold(
        &json!({"Type": "Wait", "End": true}),
        &[
            (json!({"Seconds": 0}), &[]),
            (json!({"Timestamp": "2026-03-14T01:59:00Z"}), &[]),
            (json!({}), &[&format!(": Exactly one of these fields is required: {times}")]),
            (
                json!({"Seconds": 1, "SecondsPath": "$.s"}),
                &[&format!(": There should only be one of the following fields: {times}")],
            ),
            (json!({"Seconds": -1}), &["/Seconds: Minimum value is 0"]),
            (json!({"Timestamp": "tomorrow"}), &["/Timestamp: String does not match RFC3339 timestamp"]),
        ],
    );
}

#[test]
fn rules_of_a_choice_compare_a_variable_or_are_combined() {
    let rule = |rule: Value| json!({"Choices": [rule], "Default": "Z"});
    let is_null = json!({"Variable": "$.a", "IsNull": true});
    hold(
        &json!({"Type": "Choice"}),
        &[
            (rule(json!({"Variable": "$.a", "IsNull": true, "Next": "Z"})), &[]),
            (rule(json!({"And": [is_null, {"Not": is_null}], "Next": "Z"})), &[]),
            (rule(json!({"IsNull": true, "Next": "Z"})), &["/Choices[0]: These fields are required: [Variable]"]),
            (
                rule(json!({"Not": is_null, "Variable": "$.a", "Next": "Z"})),
                &["/Choices[0]: Field 'Variable' is not supported"],
            ),
            (
                rule(json!({"Or": [is_null, {"Not": {"IsNull": true}}], "Next": "Z"})),
                &["/Choices[0]/Or[1]/Not: These fields are required: [Variable]"],
            ),
            (
                rule(json!({"And": [{"Variable": "$.a", "IsNull": true, "Next": "Z"}], "Next": "Z"})),
                &["/Choices[0]/And[0]: Field 'Next' is not supported"],
            ),
            (json!({"Choices": [], "Default": "Z"}), &["/Choices: Value cannot be empty"]),
            (json!({"Default": "Z"}), &[": These fields are required: [Choices]"]),
        ],
    );
}

#[test]
fn states_inside_a_state_are_states() {
    let flow = |inner: Value| json!({"StartAt": "I", "States": {"I": inner}});
    hold(
        &json!({"Type": "Parallel", "End": true}),
        &[
            (json!({"Branches": [flow(pass())]}), &[]),
            (json!({"Branches": []}), &["/Branches: Value cannot be empty"]),
            (json!({"Branches": {}}), &["/Branches: Expected value of type Array"]),
            (
                json!({"Branches": [{"States": {}}]}),
                &["/Branches[0]: These fields are required: [StartAt]", "/Branches[0]/States: Value cannot be empty"],
            ),
            (json!({"Branches": [flow(5.into())]}), &["/Branches[0]/States/I: Expected value of type Object"]),
            (
                json!({"Branches": [flow(json!({"Type": "Pass"}))]}),
                &["/Branches[0]/States/I: These fields are required: [Next]"],
            ),
            (
                json!({"Branches": [flow(json!({"Type": "Pass", "Next": "J"}))]}),
                &["/Branches[0]/States/I/Next: Missing 'Next' target: J", ": Workflow has no terminal state"],
            ),
        ],
    );
    hold(
        &json!({"Type": "Map", "End": true}),
        &[
            (json!({"ItemProcessor": flow(pass())}), &[]),
            (json!({}), &[": Exactly one of these fields is required: [Iterator, ItemProcessor]"]),
            (
                json!({"Iterator": flow(json!({"Type": "Nap"}))}),
                &["/Iterator/States/I/Type: The field 'Type' should have one of these values: \
                 [Task, Wait, Pass, Succeed, Fail, Choice, Parallel, Map]"],
            ),
            (
                json!({"ItemProcessor": flow(pass()), "Parameters": {}, "ItemSelector": {}}),
                &[": There should only be one of the following fields: [Parameters, ItemSelector]"],
            ),
        ],
    );
}
