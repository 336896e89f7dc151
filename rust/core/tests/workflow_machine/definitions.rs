//! Recorded refusals of definitions, and statelint's verdicts.

use forebay_core::workflow::definition::{check, invalid_definition, lint, Definition, MachineType, Problem};
use serde_json::{json, Value};

use crate::cases::{judge, load, text_of};
use crate::compare::{difference, matches};

/// Refusals that are no matter of the definition.
const MISSES: &[(&str, &str)] = &[
    ("test_create_duplicate_sm_name", "the API refuses the name, not the definition"),
    ("test_multiple_destinations", "the API refuses the logging configuration"),
    ("test_create_with_version_description_no_publish", "the API refuses the version's description"),
];

#[test]
fn recorded_definitions_are_refused_as_on_aws() {
    let Some(cases) = load("definitions.jsonl") else { return };
    let mut failed = Vec::new();
    for case in &cases {
        if let Some(why) = refusal(case) {
            failed.push((case["id"].as_str().unwrap().to_owned(), why));
        }
    }
    judge("definitions", cases.len(), &failed, MISSES);
}

fn refusal(case: &Value) -> Option<String> {
    let machine_type = if case["type"] == "EXPRESS" { MachineType::Express } else { MachineType::Standard };
    let problems = check(&text_of(&case["definition"]), machine_type);
    if let Some(answer) = case.get("answer") {
        let diagnostics: Vec<Value> = problems
            .iter()
            .map(|problem| {
                json!({
                    "code": problem.fault.code(), "location": problem.location, "message": problem.fault.message(),
                    "severity": "ERROR",
                })
            })
            .collect();
        let result = if diagnostics.is_empty() { "OK" } else { "FAIL" };
        let mut actual = json!({"diagnostics": diagnostics, "result": result, "truncated": false});
        actual["ResponseMetadata"] = Value::Null;
        return difference(answer, &actual);
    }
    let expected = match &case["error"] {
        Value::String(text) => text.split_once("operation: ").map_or(text.as_str(), |(_, message)| message),
        error => error["message"].as_str().unwrap(),
    };
    let actual = invalid_definition(&problems).unwrap_or_default();
    (!matches(expected, &actual) && expected != actual).then(|| format!("expected {expected} but was {actual}"))
}

/// What AWS says of a definition with this state alone.
fn says(machine: &Value) -> String {
    invalid_definition(&check(&machine.to_string(), MachineType::Standard)).unwrap_or_default()
}

fn alone(state: &Value) -> Value {
    json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}})
}

/// They were taken, and no expression could read them; `states` stood in the way of the states' own.
#[test]
fn a_variable_has_a_name_that_expressions_can_read() {
    let long = "v".repeat(81);
    let pass = |field: &str| alone(&json!({"Type": "Pass", "End": true, "Assign": {field: 1}}));
    for name in ["$x", "1x", "", "a b", "a-b", "a.b", "x.$", long.as_str()] {
        let told = format!(
            "SCHEMA_VALIDATION_FAILED: Variable name '{name}' must have 1 to 80 characters, a letter first, then letters, \
             digits and _ at /States/A/Assign/{name}"
        );
        assert_eq!(says(&pass(name)), format!("Invalid State Machine Definition: '{told}'"));
    }
    for name in ["x", "_x", "X1_y", "größe", "名前", "e\u{301}t", &long[1..]] {
        assert_eq!(says(&pass(name)), "", "{name}");
    }
    let reserved = "SCHEMA_VALIDATION_FAILED: Variable name 'states' is reserved at";
    assert_eq!(
        says(&pass("states")),
        format!("Invalid State Machine Definition: '{reserved} /States/A/Assign/states'")
    );
    // In rules, catchers and branches, and in JSONPath.
    let choice = json!({"Type": "Choice", "Default": "B", "Choices": [
        {"Variable": "$.x", "IsNull": true, "Next": "B", "Assign": {"states.$": "$.x"}}]});
    let inner = json!({"StartAt": "C", "States": {"C": {"Type": "Pass", "End": true, "Assign": {"1x": 1}}}});
    let parallel = json!({"Type": "Parallel", "End": true, "Branches": [inner],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "D", "Assign": {"$y.$": "$.z"}}]});
    let machine = json!({"StartAt": "A", "States": {"A": choice, "B": parallel, "D": {"Type": "Succeed"}}});
    let problems = check(&machine.to_string(), MachineType::Standard);
    let mut places: Vec<&str> = problems.iter().map(|problem| problem.location.as_str()).collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "/States/A/Choices[0]/Assign/states.$",
            "/States/B/Branches[0]/States/C/Assign/1x",
            "/States/B/Catch[0]/Assign/$y.$"
        ]
    );
}

/// These took expressions and never evaluated them: a retrier kept its defaults, and an execution had no timeout.
#[test]
fn an_expression_is_refused_where_nothing_is_evaluated() {
    let task = |retrier: Value| {
        alone(&json!({"Type": "Task", "End": true, "Resource": "arn:aws:lambda:r:0:function:f", "Retry": [retrier]}))
    };
    for (field, kind) in [
        ("IntervalSeconds", "Integer"),
        ("MaxAttempts", "Integer"),
        ("BackoffRate", "numeric"),
        ("MaxDelaySeconds", "Integer"),
    ] {
        let retrier = json!({"ErrorEquals": ["States.ALL"], field: "{% 7 %}"});
        let told = format!("SCHEMA_VALIDATION_FAILED: Expected value of type {kind} at /States/A/Retry[0]/{field}");
        assert_eq!(says(&task(retrier)), format!("Invalid State Machine Definition: '{told}'"));
        assert_eq!(says(&task(json!({"ErrorEquals": ["States.ALL"], field: 7}))), "");
    }
    let mut machine = alone(&json!({"Type": "Wait", "Seconds": "{% 100 %}", "End": true}));
    assert_eq!(says(&machine), "", "a state's own fields take expressions");
    machine["TimeoutSeconds"] = "{% 5 %}".into();
    let told = "SCHEMA_VALIDATION_FAILED: Expected value of type Integer at /TimeoutSeconds";
    assert_eq!(says(&machine), format!("Invalid State Machine Definition: '{told}'"));
    // A machine that an earlier release accepted goes on as it did.
    assert_eq!(Definition::accepted(&machine.to_string()).unwrap().timeout_seconds(), None);
}

/// A condition without its braces was found when the state ran: it is a text, and no text is a boolean.
#[test]
fn a_condition_that_is_a_text_is_an_expression() {
    let choice = |condition: Value| {
        let rules = json!([{"Condition": condition, "Next": "B"}]);
        says(&json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {
            "A": {"Type": "Choice", "Choices": rules, "Default": "B"}, "B": {"Type": "Succeed"}}}))
    };
    let told = "An expression begins with '{%' and ends with '%}', without blanks around them at /States/A/Choices[0]/Condition";
    assert!(choice("$states.input.a > 1".into()).contains(told));
    assert_eq!(choice("{% $states.input.a > 1 %}".into()), "");
    assert_eq!(choice(true.into()), "");
}

/// The states language: the heartbeat is smaller than the timeout. Such a task could only time out.
#[test]
fn a_heartbeat_lies_within_its_tasks_timeout() {
    let task = |timeout: Value, heartbeat: Value| {
        let resource = "arn:aws:states:us-east-1:111111111111:activity:a";
        says(&alone(
            &json!({"Type": "Task", "Resource": resource, "TimeoutSeconds": timeout, "HeartbeatSeconds": heartbeat, "End": true}),
        ))
    };
    let told = "HeartbeatSeconds must be smaller than TimeoutSeconds at /States/A/HeartbeatSeconds";
    for heartbeat in [5, 10] {
        assert!(task(json!(5), json!(heartbeat)).contains(told));
    }
    assert_eq!(task(json!(5), json!(4)), "");
    assert_eq!(task("{% 5 %}".into(), json!(10)), "", "what an expression gives is known when the task runs");
}

#[test]
fn a_label_has_at_most_40_characters() {
    let processor = json!({"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "P",
        "States": {"P": {"Type": "Pass", "End": true}}});
    let map =
        |label: &str| says(&alone(&json!({"Type": "Map", "Label": label, "ItemProcessor": processor, "End": true})));
    assert_eq!(map(&"é".repeat(40)), "");
    assert!(map(&"x".repeat(41)).contains("Label must have 1 to 40 characters at /States/A/Label"));
    assert!(map("").contains("Label must have 1 to 40 characters"));
}

/// An inline Map with one of them ran over its own input: nothing was read, batched or written.
#[test]
fn an_inline_map_has_nothing_of_a_distributed_one() {
    let map = |config: Value, field: &str, value: &Value| {
        let processor =
            json!({"ProcessorConfig": config, "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}});
        json!({"StartAt": "M", "States": {"M": {"Type": "Map", "ItemProcessor": processor, field: value, "End": true}}})
    };
    let fields = [
        ("ItemReader", json!({"Resource": "arn:aws:states:::s3:getObject", "Parameters": {"Bucket": "b", "Key": "k"}})),
        ("ItemBatcher", json!({"MaxItemsPerBatch": 2})),
        ("ResultWriter", json!({"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}})),
    ];
    for (field, value) in &fields {
        let told = format!("SCHEMA_VALIDATION_FAILED: Field '{field}' is not supported at /States/M");
        for inline in [json!({}), json!({"Mode": "INLINE"})] {
            assert_eq!(says(&map(inline, field, value)), format!("Invalid State Machine Definition: '{told}'"));
        }
        assert_eq!(says(&map(json!({"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}), field, value)), "");
    }
    // Recorded of AWS: accepted.
    assert_eq!(says(&map(json!({"Mode": "INLINE"}), "ToleratedFailureCount", &json!(5))), "");
}

#[test]
fn definitions_have_the_problems_statelint_finds() {
    let Some(cases) = load("statelint.jsonl") else { return };
    let mut failed = Vec::new();
    for case in &cases {
        let problems: Vec<String> = lint(case["definition"].as_str().unwrap()).iter().map(Problem::lint).collect();
        let told = problems.join("\n     ");
        let id = case["id"].as_str().unwrap().to_owned();
        if case["problems"].as_u64().is_some_and(|count| count != problems.len() as u64) {
            failed.push((id, format!("expected {} problems but found {told}", case["problems"])));
            continue;
        }
        for (index, says) in case["says"].as_object().into_iter().flatten() {
            let problem = problems.get(index.parse::<usize>().unwrap());
            // A document without problems has nothing to say.
            if case["problems"] != 0 && !problem.is_some_and(|problem| problem.contains(says.as_str().unwrap())) {
                failed.push((id.clone(), format!("{says} is not said by {told}")));
            }
        }
    }
    judge("statelint", cases.len(), &failed, &[]);
}

/// A text of statelint's that its own cases do not tell.
#[test]
fn a_state_that_stands_twice_is_told_with_the_place_of_the_first() {
    let branch = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}});
    let machine = json!({"StartAt": "A", "States": {"A": {"Type": "Parallel", "Branches": [branch], "End": true}}});
    let told: Vec<String> = lint(&machine.to_string()).iter().map(Problem::lint).collect();
    assert_eq!(told, [r#"State "A", defined at State Machine.States.A, is also defined elsewhere"#]);
}

/// AWS says that an expression which is badly begun or ended is a validation error. Here it was a plain text, and so the output.
#[test]
fn an_expression_that_is_badly_begun_or_ended_is_refused() {
    let output = |text: &str| says(&alone(&json!({"Type": "Pass", "End": true, "Output": {"a": [text]}})));
    let told =
        "INVALID_JSONATA_EXPRESSION: An expression begins with '{%' and ends with '%}', without blanks around them";
    for text in ["{% $states.input", " {% 1 %}", "{% 1 %} ", "1 %}", "{%", "{%}"] {
        assert_eq!(
            output(text),
            format!("Invalid State Machine Definition: '{told} at /States/A/Output/a[0]'"),
            "{text}"
        );
    }
    for text in ["{% 1 %}", "{%1%}", "", " {% 1 %} ", "100 %", "a {% b %} c", "{ % 1 % }"] {
        assert_eq!(output(text), "", "{text}");
    }
    let fails = says(&alone(&json!({"Type": "Fail", "Cause": "{% 'x'"})));
    assert!(fails.contains("at /States/A/Cause"), "{fails}");
    // In JSONPath it is a text as any other.
    let pass = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": "{% 1", "End": true}}});
    assert_eq!(says(&pass), "");
}

/// It was found when the state ran, as something undefined.
#[test]
fn what_states_has_is_read_where_it_is_there_only() {
    let (result, caught) = ("{% $states.result.x %}", "{% [1, $states . errorOutput] %}");
    let task = |more: Value| {
        let mut task =
            json!({"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f", "End": true});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        alone(&task)
    };
    let catch =
        |field: &str, text: &str| task(json!({"Catch": [{"ErrorEquals": ["E"], "Next": "A", field: {"a": text}}]}));
    let pass = |field: &str, text: &str| alone(&json!({"Type": "Pass", "End": true, field: {"a": text}}));
    for field in ["Output", "Assign"] {
        assert_eq!(says(&task(json!({field: {"a": result}}))), "");
        assert_eq!(says(&catch(field, caught)), "");
        for (wrong, name, place) in [
            (pass(field, result), "result", format!("{field}/a")),
            (pass(field, caught), "errorOutput", format!("{field}/a")),
            (task(json!({field: {"a": caught}})), "errorOutput", format!("{field}/a")),
            (catch(field, result), "result", format!("Catch[0]/{field}/a")),
        ] {
            let told = says(&wrong);
            assert!(
                told.starts_with(&format!(
                "Invalid State Machine Definition: 'INVALID_JSONATA_EXPRESSION: '$states.{name}' is there in 'Output'"
            )),
                "{told}"
            );
            assert!(told.ends_with(&format!(" at /States/A/{place}'")), "{told}");
        }
    }
    assert!(says(&task(json!({"Arguments": {"a": result}}))).ends_with(" at /States/A/Arguments/a'"));
    for text in [
        "{% '$states.result' %}",
        "{% 1 /* $states.result */ %}",
        "{% $states.results %}",
        "{% $states.input.result %}",
    ] {
        assert_eq!(says(&pass("Output", text)), "", "{text}");
    }
}

/// AWS has distributed Maps in Standard machines only. Here it ran, and the definition could not be taken there.
#[test]
fn an_express_machine_has_no_distributed_map() {
    let map = |mode: &str| {
        let processor = json!({"StartAt": "B", "States": {"B": {"Type": "Pass", "End": true}}, "ProcessorConfig": {
            "Mode": mode, "ExecutionType": "EXPRESS"}});
        json!({"StartAt": "A", "States": {"A": {"Type": "Map", "ItemProcessor": processor, "End": true}}}).to_string()
    };
    let told = invalid_definition(&check(&map("DISTRIBUTED"), MachineType::Express)).unwrap();
    assert_eq!(
        told,
        "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: Express state machine does not support a Map state in \
         DISTRIBUTED mode at /States/A/ItemProcessor/ProcessorConfig/Mode'"
    );
    assert!(check(&map("INLINE"), MachineType::Express).is_empty());
    assert!(check(&map("DISTRIBUTED"), MachineType::Standard).is_empty());
}
