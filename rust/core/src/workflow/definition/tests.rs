//! What is said of wrong definitions, bound by bound, and what a right one is built into.

use serde_json::json;

use super::*;
use build::reader_format;

/// A machine that begins with A.
fn machine(states: &Value) -> Value {
    json!({"StartAt": "A", "States": states})
}

/// What AWS's check says, as `place: message`.
fn said(machine: &Value) -> Vec<String> {
    let problems = check(&machine.to_string(), MachineType::Standard);
    problems.iter().map(|one| format!("{}: {}", one.location, one.fault.message())).collect()
}

fn linted(machine: &Value) -> Vec<String> {
    lint(&machine.to_string()).iter().map(Problem::lint).collect()
}

fn built(states: &Value) -> Definition {
    Definition::parse(&machine(states).to_string(), MachineType::Standard).unwrap()
}

/// The text, and its code. Those of a JSONata expression have their own.
#[test]
fn a_problem_is_told_under_awss_code() {
    let long = || "x".repeat(81);
    for (fault, told) in [
        (Fault::NotJson("why".into()), "INVALID_JSON_DESCRIPTION: Invalid JSON description: why"),
        (Fault::Missing, "MISSING_DESCRIPTION: The state machine definition is empty"),
        (Fault::StateName(String::new()), "INVALID_STATE_NAME: State name '' must have 1 to 80 characters"),
        (Fault::Duplicate("A".into()), "DUPLICATE_STATE_NAME: Duplicate state name: A"),
        (Fault::DuplicateLabel("L".into()), "DUPLICATE_LABEL_NAME: Duplicate label name: L"),
        (Fault::NoTarget("A".into()), "MISSING_TRANSITION_TARGET: Missing 'Next' target: A"),
        (Fault::Unreachable("A".into()), "MISSING_TRANSITION_TARGET: State \"A\" is not reachable."),
        (Fault::NoEnd, "MISSING_END_STATE: Workflow has no terminal state"),
        (Fault::TooDeep(32), "TOO_DEEPLY_NESTED: Choice rules nest at most 32 levels deep"),
        (Fault::Expression("UNSUPPORTED_JSONATA_EXPRESSION", "no".into()), "UNSUPPORTED_JSONATA_EXPRESSION: no"),
        (Fault::Empty, "SCHEMA_VALIDATION_FAILED: Value cannot be empty"),
    ] {
        assert_eq!(Problem { fault, location: String::new() }.to_string(), told);
    }
    let problem = Problem { fault: Fault::StateName(long()), location: "/States/x".into() };
    assert!(problem.to_string().ends_with(" must have 1 to 80 characters at /States/x"));
}

#[test]
fn statelints_words_are_its_own() {
    let (a, x) = ("State Machine.States.A", "State Machine.States.A.X");
    for (fault, told) in [
        (Fault::Required(vec!["Next".into()]), format!("{x} does not have required field \"Next\"")),
        (
            Fault::RequiredOneOf(vec!["Iterator", "ItemProcessor"]),
            format!("{x} does not have required field from [\"Iterator\", \"ItemProcessor\"]"),
        ),
        (Fault::OnlyOneOf(vec!["Cause", "CausePath"]), format!("{x} may have only one of [\"Cause\", \"CausePath\"]")),
        (Fault::Unsupported("Y".into()), format!("Field \"Y\" not allowed in {x}")),
        (Fault::WrongType("[]".into(), "an Object"), format!("Field \"X\" of {a} is [] but should be an Object")),
        (Fault::NotAllowed("X".into(), &["A", "B"]), format!("{x} is not one of the allowed values [\"A\", \"B\"]")),
        (Fault::Empty, format!("{x} is empty, non-empty required")),
        (Fault::NotPath("x".into(), "a Reference Path"), format!("{x} is \"x\" but should be a Reference Path")),
        (
            Fault::NotTemplate("y.$".into()),
            format!("Field \"y.$\" at \"{x}\" is not a JSONPath or intrinsic function expression"),
        ),
        (Fault::NotResource("x".into()), format!("{x} is \"x\" but should be A URI")),
        (Fault::NotTimestamp("1".into()), format!("{x} is 1 but should be an RFC3339 timestamp")),
        (Fault::AllNotAlone, format!("{x}: States.ALL can only appear in the last element, and by itself.")),
        (Fault::NoTarget("y".into()), format!("No state found named \"y\", referenced at {x}")),
        (Fault::Unreachable("y".into()), format!("No transition found to state {x}")),
        (Fault::NoEnd, format!("No terminal state found in machine at {x}")),
        (Fault::LateHeartbeat, format!("{x}: HeartbeatSeconds must be smaller than TimeoutSeconds")),
    ] {
        assert_eq!(Problem { fault, location: "/States/A/X".into() }.lint(), told);
    }
    for place in ["", "/"] {
        let told = "State Machine does not have required field \"StartAt\"";
        assert_eq!(Problem { fault: Fault::Required(vec!["StartAt".into()]), location: place.into() }.lint(), told);
    }
    let bound = |value: &str, limit, is_upper, is_exclusive| {
        let bound = problem::Bound { value: value.into(), limit, is_upper, is_exclusive, is_whole: true };
        Problem { fault: Fault::OutOfRange(bound), location: "/States/A".into() }.lint()
    };
    assert_eq!(bound("0", 0, false, true), format!("{a} is 0, but allowed floor is 0"));
    assert_eq!(bound("-1", 0, false, false), format!("{a} is -1, but allowed minimum is 0"));
    assert_eq!(bound("9", 5, true, false), format!("{a} is 9, but allowed maximum is 5"));
}

/// What statelint asks for less or more than AWS.
#[test]
fn statelint_and_aws_differ_in_what_they_ask_for() {
    let place = "State Machine.States.A";
    let flow = |name: &str, state: &Value| json!({"StartAt": name, "States": {name: state}});
    let (ends, wrong) = (json!({"Type": "Pass", "End": true}), json!({"Type": "Pass", "End": true, "X": 1}));
    let task = |resource: &str| json!({"Type": "Task", "Resource": resource, "End": true});
    let map = |processor: &Value, iterator: &Value| {
        let mut map = json!({"Type": "Map", "End": true, "ItemProcessor": flow("P", processor)});
        if !iterator.is_null() {
            map["Iterator"] = flow("I", iterator);
        }
        map
    };
    let two = "may have only one of [\"Iterator\", \"ItemProcessor\"]";
    let aws_two = "There should only be one of the following fields: [Iterator, ItemProcessor]";
    let uri = |text: &str| vec![format!("{place}.Resource is \"{text}\" but should be A URI")];
    let no_arn = vec!["/States/A/Resource: Value is not a valid resource ARN".to_owned()];
    for (state, by_lint, by_aws) in [
        (
            json!({"Type": "Task", "End": true}),
            vec![],
            vec!["/States/A: These fields are required: [Resource]".to_owned()],
        ),
        (task("a:b"), vec![], no_arn.clone()),
        (task("nothing"), uri("nothing"), no_arn.clone()),
        (task(":x"), uri(":x"), no_arn.clone()),
        (task("Arn:x"), uri("Arn:x"), no_arn),
        (
            json!({"Type": "Succeed", "X": 1}),
            vec![format!("Field \"X\" not allowed in {place}")],
            vec!["/States/A: Field 'X' is not supported".to_owned()],
        ),
        (map(&ends, &Value::Null), vec![], vec![]),
        (
            map(&wrong, &Value::Null),
            vec![format!("Field \"X\" not allowed in {place}.ItemProcessor.States.P")],
            vec!["/States/A/ItemProcessor/States/P: Field 'X' is not supported".to_owned()],
        ),
        // statelint looks into the old field alone.
        (
            map(&wrong, &wrong),
            vec![format!("{place} {two}"), format!("Field \"X\" not allowed in {place}.Iterator.States.I")],
            vec![
                format!("/States/A: {aws_two}"),
                "/States/A/ItemProcessor/States/P: Field 'X' is not supported".to_owned(),
                "/States/A/Iterator/States/I: Field 'X' is not supported".to_owned(),
            ],
        ),
    ] {
        let machine = machine(&json!({"A": state}));
        assert_eq!((linted(&machine), said(&machine)), (by_lint, by_aws), "{machine}");
    }
    let told = linted(&machine(&json!({"A": {"Type": "Pass"}})));
    let end = "No terminal state found in machine at State Machine.States";
    assert_eq!(told, [format!("{place} does not have required field \"Next\""), end.to_owned()]);
    assert_eq!(
        linted(&json!({"States": {}})),
        ["State Machine does not have required field \"StartAt\"", "State Machine.States is empty, non-empty required"]
    );
}

#[test]
fn a_state_has_a_name_of_1_to_80_characters() {
    let named = |name: &str| said(&json!({"StartAt": name, "States": {name: {"Type": "Succeed"}}}));
    assert_eq!(named(&"é".repeat(80)), [""; 0]);
    for name in [String::new(), "é".repeat(81)] {
        let told = format!("/States/{name}: State name '{name}' must have 1 to 80 characters");
        assert_eq!(named(&name), [told]);
    }
}

#[test]
fn no_more_than_100_problems_are_told() {
    let fields: Map<String, Value> = (0..150).map(|at| (format!("x{at}"), json!(1))).collect();
    let mut state = json!({"Type": "Succeed"});
    state.as_object_mut().unwrap().extend(fields);
    assert_eq!(said(&machine(&json!({"A": state}))).len(), PROBLEMS_MAX);
    // Those of transitions are found later.
    let states = (0..150).map(|at| (format!("S{at}"), json!({"Type": "Succeed"})));
    let islands: Map<String, Value> = states.collect();
    let islands = json!({"StartAt": "S0", "States": islands});
    assert_eq!((said(&islands).len(), linted(&islands).len()), (PROBLEMS_MAX, PROBLEMS_MAX));
    let mut both = islands;
    both["X"] = 1.into();
    assert_eq!((said(&both).len(), linted(&both).len()), (1, PROBLEMS_MAX));
}

#[test]
fn a_state_that_leads_to_itself_alone_is_not_reached_by_that() {
    let machine = machine(&json!({"A": {"Type": "Succeed"}, "B": {"Type": "Pass", "Next": "B"}}));
    assert_eq!(said(&machine), ["/States/B: State \"B\" is not reachable."]);
}

/// States name their language, or have that of the state around them or of the machine.
#[test]
fn a_state_of_a_jsonata_machine_is_none_of_jsonpath() {
    let told =
        "/States/A/QueryLanguage: 'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine";
    for (language, of_state, problems) in [
        (None, None, &[][..]),
        (None, Some("JSONPath"), &[]),
        (Some("JSONPath"), Some("JSONata"), &["/States/A: Field 'InputPath' is not supported"]),
        (Some("JSONata"), None, &["/States/A: Field 'InputPath' is not supported"]),
        (Some("JSONata"), Some("JSONPath"), &[told]),
    ] {
        let mut machine = machine(&json!({"A": {"Type": "Succeed", "InputPath": "$.a"}}));
        machine["QueryLanguage"] = language.map_or("JSONPath".into(), Value::from);
        if let Some(of_state) = of_state {
            machine["States"]["A"]["QueryLanguage"] = of_state.into();
        }
        assert_eq!(said(&machine), problems, "{language:?} {of_state:?}");
    }
    // The language of a Map state is that of its processor's states.
    let inner = |state: Value| json!({"StartAt": "P", "States": {"P": state}});
    let map = |state: Value| {
        machine(&json!({"A": {"Type": "Map", "QueryLanguage": "JSONata", "ItemProcessor": inner(state), "End": true}}))
    };
    assert_eq!(said(&map(json!({"Type": "Succeed", "QueryLanguage": "JSONPath", "InputPath": "$.a"}))), [""; 0]);
    assert_eq!(
        said(&map(json!({"Type": "Succeed", "InputPath": "$.a"}))),
        ["/States/A/ItemProcessor/States/P: Field 'InputPath' is not supported"]
    );
}

#[test]
fn rules_of_a_choice_nest_32_deep() {
    let plain = json!({"Variable": "$.a", "IsNull": true});
    let nested = |depth: usize, around: fn(Value) -> Value| {
        let mut rule = (0..depth).fold(plain.clone(), |rule, _| around(rule));
        rule["Next"] = "B".into();
        machine(&json!({"A": {"Type": "Choice", "Choices": [rule]}, "B": {"Type": "Succeed"}}))
    };
    let not: fn(Value) -> Value = |rule| json!({ "Not": rule });
    let and: fn(Value) -> Value = |rule| json!({"And": [rule]});
    let or: fn(Value) -> Value = |rule| json!({"Or": [rule]});
    for (around, step) in [(not, "/Not"), (and, "/And[0]"), (or, "/Or[0]")] {
        let deepest = nested(32, around);
        assert_eq!(said(&deepest), [""; 0], "{step}");
        assert!(Definition::parse(&deepest.to_string(), MachineType::Standard).is_ok(), "{step}");
        let place = format!("/States/A/Choices[0]{}", step.repeat(33));
        assert_eq!(said(&nested(33, around)), [format!("{place}: Choice rules nest at most 32 levels deep")]);
    }
}

#[test]
fn paths_calls_and_expressions_are_read_before_they_are_run() {
    let template = "must be a valid JSONPath or a valid intrinsic function call";
    let pass = |field: &str, value: Value| said(&machine(&json!({"A": {"Type": "Pass", "End": true, field: value}})));
    for path in ["$.", "$[", "a", ""] {
        assert_eq!(pass("InputPath", path.into()), ["/States/A/InputPath: Value must be a valid JSONPath."]);
    }
    for call in ["States.Nope()", "States.UUID(", "States.UUID(1)", "UUID()"] {
        let told = format!("/States/A/Parameters: The value for the field 'a.$' {template}");
        assert_eq!(pass("Parameters", json!({"a.$": call})), [told]);
    }
    let output = |text: &str| {
        let mut machine = machine(&json!({"A": {"Type": "Pass", "End": true, "Output": {"a": [text]}}}));
        machine["QueryLanguage"] = "JSONata".into();
        check(&machine.to_string(), MachineType::Standard)
    };
    for (text, code) in [("{% 1 + %}", "INVALID_JSONATA_EXPRESSION"), ("{% a %}", "UNSUPPORTED_JSONATA_EXPRESSION")] {
        let problems = output(text);
        let told: Vec<_> = problems.iter().map(|one| (one.fault.code(), one.location.as_str())).collect();
        assert_eq!(told, [(code, "/States/A/Output/a[0]")]);
    }
    assert_eq!(output("{% 1 + 1 %}"), []);
}

/// 1 MiB, as on AWS.
#[test]
fn a_definition_has_at_most_so_many_bytes() {
    let text = machine(&json!({"A": {"Type": "Succeed"}})).to_string();
    let padded = |bytes: usize| format!("{text}{}", " ".repeat(bytes - text.len()));
    assert_eq!(check(&padded(DEFINITION_MAX), MachineType::Standard), []);
    for bytes in [DEFINITION_MAX + 1, DEFINITION_MAX + 2] {
        let told = Fault::NotJson("a definition has at most 1048576 bytes".into());
        assert_eq!(check(&padded(bytes), MachineType::Standard), [Problem { fault: told, location: String::new() }]);
    }
}

#[test]
fn a_machine_says_whether_it_evaluates_jsonata() {
    let inner = json!({"StartAt": "B", "States": {"B": {"Type": "Succeed", "QueryLanguage": "JSONata"}}});
    for (state, evaluates) in [
        (json!({"Type": "Succeed"}), false),
        (json!({"Type": "Succeed", "QueryLanguage": "JSONata"}), true),
        (json!({"Type": "Parallel", "Branches": [inner], "End": true}), true),
    ] {
        assert_eq!(built(&json!({"A": state})).evaluates_jsonata(), evaluates, "{state}");
    }
}

/// The context object is made where an expression may read it. States inside a state have their own.
#[test]
fn the_context_is_read_where_it_is_named() {
    let flow = |state: Value| json!({"StartAt": "B", "States": {"B": state}});
    let reading = json!({"Type": "Pass", "InputPath": "$$.Execution", "End": true});
    let jsonata = |output: &str| json!({"Type": "Succeed", "QueryLanguage": "JSONata", "Output": output});
    for (state, is_read) in [
        (json!({"Type": "Pass", "InputPath": "$.a", "End": true}), false),
        (reading.clone(), true),
        (json!({"Type": "Parallel", "Branches": [flow(reading.clone())], "End": true}), false),
        (json!({"Type": "Map", "ItemProcessor": flow(reading.clone()), "End": true}), false),
        (json!({"Type": "Map", "Iterator": flow(reading), "End": true}), false),
        (jsonata("{% $states.input.a + $x %}"), false),
        (jsonata("{% $states.context.Execution.Id %}"), true),
        (jsonata("{% $states %}"), true),
    ] {
        let definition = built(&json!({"A": state}));
        assert_eq!(definition.state(definition.start(definition.flow())).reads_context, is_read, "{state}");
    }
}

/// `$` is the whole document, and nothing is looked up for it.
#[test]
fn a_path_to_the_whole_document_is_as_none() {
    let io = |path: Value| {
        let state = json!({"Type": "Pass", "InputPath": path, "OutputPath": path, "ResultPath": path, "End": true});
        let Definition { mut states, .. } = built(&json!({"A": state}));
        match states.remove(0).io {
            Io::JsonPath(io) => *io,
            Io::Jsonata(_) => panic!("a state of JSONPath"),
        }
    };
    let whole = io("$".into());
    assert!(matches!(
        (whole.input, whole.result, whole.output),
        (PathField::Whole, ResultPath::Replace, PathField::Whole)
    ));
    let part = io("$.a".into());
    assert!(matches!((part.input, part.result, part.output), (PathField::At(_), ResultPath::At(_), PathField::At(_))));
    let none = io(Value::Null);
    assert!(matches!(
        (none.input, none.result, none.output),
        (PathField::Nothing, ResultPath::Discard, PathField::Nothing)
    ));
}

/// In JSONPath `{% %}` is a text as any other.
#[test]
fn a_text_is_an_expression_in_jsonata_only() {
    let cause = |language: &str| {
        let state = json!({"Type": "Fail", "QueryLanguage": language, "Cause": "{% 'x' %}"});
        let Definition { mut states, .. } = built(&json!({"A": state}));
        match states.remove(0).body {
            Body::Fail(fail) => fail.cause.unwrap(),
            _ => panic!("a Fail state"),
        }
    };
    assert!(matches!(cause("JSONPath"), Operand::Literal(text) if text == "{% 'x' %}"));
    assert!(matches!(cause("JSONata"), Operand::Jsonata(_)));
}

#[test]
fn children_of_a_distributed_map_are_of_the_type_it_names() {
    for (named, expected) in [("EXPRESS", MachineType::Express), ("STANDARD", MachineType::Standard)] {
        let processor = json!({"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": named}, "StartAt": "B",
            "States": {"B": {"Type": "Succeed"}}});
        let Definition { mut states, .. } =
            built(&json!({"A": {"Type": "Map", "ItemProcessor": processor, "End": true}}));
        let Body::Map(map) = states.remove(0).body else { panic!("a Map state") };
        assert_eq!(map.distributed.unwrap().execution_type, expected);
    }
}

#[test]
fn a_reader_reads_the_format_that_it_is_told() {
    let format = |config: Value| reader_format(config.as_object().unwrap());
    for (name, expected) in [
        ("CSV", InputType::Csv),
        ("JSON", InputType::Json),
        ("JSONL", InputType::Jsonl),
        ("PARQUET", InputType::Parquet),
        ("MANIFEST", InputType::Manifest),
    ] {
        let expected = ReaderFormat { input_type: Some(expected), ..ReaderFormat::default() };
        assert_eq!(format(json!({ "InputType": name })), expected);
    }
    for (name, expected) in [
        ("COMMA", Delimiter::Comma),
        ("PIPE", Delimiter::Pipe),
        ("SEMICOLON", Delimiter::Semicolon),
        ("SPACE", Delimiter::Space),
        ("TAB", Delimiter::Tab),
    ] {
        let expected = ReaderFormat { delimiter: expected, ..ReaderFormat::default() };
        assert_eq!(format(json!({ "CSVDelimiter": name })), expected);
    }
    let names = json!(["a", "b"]);
    for (place, expected) in [("GIVEN", Some(vec!["a".to_owned(), "b".to_owned()])), ("FIRST_ROW", None)] {
        let expected = ReaderFormat { headers: expected, ..ReaderFormat::default() };
        assert_eq!(format(json!({"CSVHeaderLocation": place, "CSVHeaders": names})), expected);
    }
    let expected = ReaderFormat { pointer: Some("/a".into()), ..ReaderFormat::default() };
    assert_eq!(format(json!({"ItemsPointer": "/a"})), expected);
    assert_eq!(format(json!({})), ReaderFormat::default());
}
