//! Promises of the machine that no recording shows: time, limits, concurrency, what is written and goes on elsewhere.

use std::collections::VecDeque;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::{check, Definition, MachineType};
use forebay_core::workflow::machine::driver::{Answer, Driver, Played, Seed, Stuck, World};
use forebay_core::workflow::machine::{
    Call, Command, Data, ErrorDetails, Execution, Fact, Identity, Outcome, ReadRequest, Refused, TaskId, WriteRequest,
    EVENTS_MAX,
};
use serde_json::{json, Value};

pub(crate) const START_MS: u64 = 1_704_067_200_000;
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:111111111111:function:f";
const TOKEN: &str = "arn:aws:states:::sqs:sendMessage.waitForTaskToken";

/// Answers calls by a function of the call and its number.
pub(crate) struct Script<F: FnMut(&Call, usize) -> Answer> {
    answer: F,
    calls: usize,
    pub(crate) items: Vec<Value>,
    pub(crate) written: Vec<(Data, Outcome)>,
    /// What the last writer was asked for.
    pub(crate) asked: Option<WriteRequest>,
}

pub(crate) fn script<F: FnMut(&Call, usize) -> Answer>(answer: F) -> Script<F> {
    Script { answer, calls: 0, items: Vec::new(), written: Vec::new(), asked: None }
}

impl<F: FnMut(&Call, usize) -> Answer> World for Script<F> {
    fn call(&mut self, call: &Call) -> Answer {
        self.calls += 1;
        (self.answer)(call, self.calls - 1)
    }

    fn read(&mut self, _: &ReadRequest) -> Result<Vec<Value>, ErrorDetails> {
        Ok(self.items.clone())
    }

    fn write(&mut self, request: &WriteRequest, children: &[(Data, Outcome)]) -> Result<Data, ErrorDetails> {
        self.asked = Some(request.clone());
        self.written = children.to_vec();
        Ok(Data::new(json!({"written": children.len()})))
    }
}

pub(crate) fn ok(value: Value) -> Answer {
    Answer { end: Some(Ok(Data::new(value))), ..Answer::default() }
}

pub(crate) fn error(name: &str) -> Answer {
    Answer { end: Some(Err(ErrorDetails::new(name, Some("because".into())))), ..Answer::default() }
}

pub(crate) fn identity(machine_type: MachineType) -> Identity {
    Identity {
        machine_arn: "arn:aws:states:us-east-1:111111111111:stateMachine:m".into(),
        machine_type,
        is_recorded: true,
        token_prefix: "x".into(),
        ..Identity::default()
    }
}

pub(crate) fn bring(
    execution: &mut Execution,
    machine: &Definition,
    fact: Fact,
    now_ms: u64,
) -> Result<Vec<Command>, Refused> {
    execution.apply(machine, fact, now_ms, &mut Seed(1), &Budget::unclocked())
}

pub(crate) fn definition(value: &Value) -> Definition {
    Definition::parse(&value.to_string(), MachineType::Standard).unwrap()
}

pub(crate) fn one(state: &Value) -> Definition {
    definition(&json!({"StartAt": "S", "States": {"S": state}}))
}

pub(crate) fn run(definition: &Definition, input: Value, world: &mut dyn World) -> Played {
    Driver::new(definition, world, 7)
        .run(identity(MachineType::Standard), Data::new(input), START_MS, Vec::new())
        .unwrap()
}

pub(crate) fn types(played: &Played) -> Vec<String> {
    played.events.iter().map(|event| event.to_json(false)["type"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn output(played: &Played) -> Value {
    match &played.outcome {
        Outcome::Succeeded(output) => output.value().clone(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn failure(played: &Played) -> (&str, Option<&str>) {
    match &played.outcome {
        Outcome::Failed(details) => (details.error.as_deref().unwrap_or_default(), details.cause.as_deref()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn definitions_and_executions_may_go_to_any_thread() {
    fn goes<T: Send + Sync>() {}
    goes::<Definition>();
    goes::<Execution>();
}

#[test]
fn a_years_wait_takes_no_time() {
    let machine = one(&json!({"Type": "Wait", "Seconds": 31_536_000, "End": true}));
    let played = run(&machine, json!({}), &mut script(|_, _| Answer::default()));
    assert_eq!(played.ended_ms - START_MS, 31_536_000_000);
}

#[test]
fn retries_back_off_up_to_the_longest_delay() {
    let retry = json!([{"ErrorEquals": ["E"], "IntervalSeconds": 2, "BackoffRate": 3.0, "MaxAttempts": 4, "MaxDelaySeconds": 10}]);
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "Retry": retry, "End": true}));
    let mut world = script(|_, _| error("E"));
    let played = run(&machine, json!({}), &mut world);
    // 2, 6, 10 and 10 seconds.
    assert_eq!((world.calls, played.ended_ms - START_MS), (5, 28_000));
    assert_eq!(failure(&played), ("E", Some("because")));
}

#[test]
fn jitter_draws_from_nothing_to_the_whole_delay() {
    let retry = json!([{"ErrorEquals": ["E"], "IntervalSeconds": 10, "MaxAttempts": 1, "JitterStrategy": "FULL"}]);
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "Retry": retry, "End": true}));
    let mut delays = Vec::new();
    for seed in 0..50 {
        let mut world = script(|_, _| error("E"));
        let played = Driver::new(&machine, &mut world, seed)
            .run(identity(MachineType::Standard), Data::new(json!({})), START_MS, Vec::new())
            .unwrap();
        delays.push(played.ended_ms - START_MS);
    }
    assert!(delays.iter().all(|delay| *delay <= 10_000));
    assert!(delays.iter().any(|delay| *delay < 3_000) && delays.iter().any(|delay| *delay > 7_000));
}

#[test]
fn a_task_that_is_silent_times_out_and_a_late_answer_is_refused() {
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "TimeoutSeconds": 5, "End": true}));
    let mut world = script(|_, _| Answer { after_ms: 6_000, ..ok(json!(1)) });
    let played = run(&machine, json!({}), &mut world);
    assert_eq!(failure(&played), ("States.Timeout", None));
    assert_eq!(played.ended_ms - START_MS, 5_000);
    let mut execution = played.execution;
    let late = bring(&mut execution, &machine, Fact::TaskSucceeded(TaskId(1), Data::new(json!(1))), START_MS + 6_000);
    assert_eq!(late.unwrap_err(), Refused::Closed);
}

#[test]
fn a_heartbeat_restarts_the_clock() {
    let machine = definition(&json!({"StartAt": "S", "States": {
        "S": {
            "Type": "Task", "Resource": TOKEN, "HeartbeatSeconds": 10, "TimeoutSeconds": 100, "End": true,
            "Parameters": {"MessageBody.$": "$$.Task.Token", "QueueUrl": "q"},
            "Catch": [{"ErrorEquals": ["States.HeartbeatTimeout"], "Next": "Silent"}],
        },
        "Silent": {"Type": "Pass", "Result": "silent", "End": true},
    }}));
    let mut world = script(|_, _| Answer::default());
    let beats = vec![(START_MS + 8_000, Fact::Heartbeat(TaskId(1))), (START_MS + 16_000, Fact::Heartbeat(TaskId(1)))];
    let played = Driver::new(&machine, &mut world, 7).run(
        identity(MachineType::Standard),
        Data::new(json!({})),
        START_MS,
        beats,
    );
    let played = played.unwrap();
    assert_eq!((output(&played), played.ended_ms - START_MS), (json!("silent"), 26_000));
}

#[test]
fn a_token_finds_its_task_until_it_is_answered() {
    let machine = one(&json!({
        "Type": "Task", "Resource": TOKEN, "Parameters": {"MessageBody.$": "$$.Task.Token"}, "End": true,
    }));
    let mut execution = Execution::new(&machine, identity(MachineType::Standard), Data::new(json!({})), START_MS);
    let commands = bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
    let call = commands.iter().find_map(|command| match command {
        Command::Call(call) => Some(call.clone()),
        _ => None,
    });
    let call = call.unwrap();
    let token = call.token.clone().unwrap();
    assert_eq!(call.arguments.value()["MessageBody"], json!(token));
    assert!(!serde_json::to_string(&execution).unwrap().contains(&token[4..]), "a token's secret is not kept");
    let task = execution.task_of_token(&token).unwrap();
    assert_eq!(execution.task_of_token("other"), None);
    bring(&mut execution, &machine, Fact::TaskSucceeded(task, Data::new(json!(1))), START_MS).unwrap();
    assert_eq!(execution.task_of_token(&token), None);
}

/// Runs an execution whose state is written and read again between any two facts.
fn run_rewritten(machine: &Definition, input: Value) -> (Vec<Value>, Outcome) {
    let mut execution = Execution::new(machine, identity(MachineType::Standard), Data::new(input), START_MS);
    let (mut agenda, mut events, mut now) = (VecDeque::from([Fact::Start]), Vec::new(), START_MS);
    loop {
        let text = serde_json::to_string(&execution).unwrap();
        execution = serde_json::from_str(&text).unwrap();
        let fact = agenda.pop_front().unwrap_or(Fact::Due);
        for command in execution.apply(machine, fact, now, &mut Seed(now), &Budget::unclocked()).unwrap() {
            match command {
                Command::Record(new) => events.extend(new.iter().map(|event| event.to_json(true))),
                Command::Call(call) => agenda.push_back(Fact::TaskSucceeded(call.task, call.arguments.clone())),
                Command::WakeAt(at_ms) if agenda.is_empty() => now = now.max(at_ms),
                _ => {}
            }
        }
        if let Some(outcome) = execution.outcome() {
            return (events, outcome.clone());
        }
    }
}

#[test]
fn an_execution_can_be_written_between_any_two_facts() {
    let machine = definition(&json!({"StartAt": "Each", "States": {
        "Each": {
            "Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 2, "Next": "Both",
            "ItemProcessor": {"StartAt": "Call", "States": {
                "Call": {"Type": "Task", "Resource": FUNCTION, "Assign": {"seen.$": "$"}, "Next": "Rest"},
                "Rest": {"Type": "Wait", "Seconds": 3, "Next": "Told"},
                "Told": {"Type": "Pass", "Parameters": {"seen.$": "$seen", "index.$": "$$.Map.Item.Index"}, "End": true},
            }},
        },
        "Both": {"Type": "Parallel", "End": true, "Branches": [
            {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}},
            {"StartAt": "B", "States": {"B": {"Type": "Wait", "Seconds": 1, "End": true}}},
        ]},
    }}));
    let (events, outcome) = run_rewritten(&machine, json!({"items": ["a", "b", "c"]}));
    let told = json!([{"seen": "a", "index": 0}, {"seen": "b", "index": 1}, {"seen": "c", "index": 2}]);
    assert_eq!(outcome, Outcome::Succeeded(Data::new(json!([told, told]))));
    let ids: Vec<u64> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["previousEventId"].as_u64() < event["id"].as_u64()));
}

#[test]
fn a_history_is_closed_with_its_last_event() {
    let machine = definition(&json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Choice", "Default": "A", "Choices": [
            {"Variable": "$.stop", "IsPresent": true, "Next": "C"},
        ]}, "C": {"Type": "Succeed"},
    }}));
    let played = run(&machine, json!({}), &mut script(|_, _| Answer::default()));
    assert_eq!(played.events.len(), EVENTS_MAX as usize);
    assert_eq!(types(&played).last().unwrap(), "ExecutionFailed");
    assert!(failure(&played).1.unwrap().contains("maximum number of history events (25000)"));
}

#[test]
fn an_endless_express_execution_lets_others_go_on_and_times_out() {
    let text = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Choice",
        "Choices": [{"Variable": "$.stop", "IsPresent": true, "Next": "C"}], "Default": "A"}, "C": {"Type": "Succeed"}}});
    let machine = Definition::parse(&text.to_string(), MachineType::Express).unwrap();
    let who = Identity { is_recorded: false, ..identity(MachineType::Express) };
    let mut execution = Execution::new(&machine, who, Data::new(json!({})), START_MS);
    let commands = bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
    assert!(commands.iter().any(|command| matches!(command, Command::Continue)));
    bring(&mut execution, &machine, Fact::Due, START_MS + 300_000).unwrap();
    assert!(matches!(execution.outcome(), Some(Outcome::TimedOut(_))));
}

/// States with long inputs took as many of a turn as short ones, and nobody else went on for seconds.
#[test]
fn a_map_of_long_items_lets_others_go_on_between() {
    let text = json!({"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemSelector": {"all.$": "$"}, "End": true,
        "ItemProcessor": {"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "Result": 1, "End": true}}}}}});
    let machine = Definition::parse(&text.to_string(), MachineType::Express).unwrap();
    let input = json!((0..1_000).collect::<Vec<u64>>());
    let mut execution = Execution::new(&machine, identity(MachineType::Express), Data::new(input), START_MS);
    let (mut fact, mut turns) = (Fact::Start, 0);
    while execution.outcome().is_none() {
        bring(&mut execution, &machine, fact, START_MS).unwrap();
        (fact, turns) = (Fact::Due, turns + 1);
    }
    assert!(turns > 5, "{turns}");
    assert!(matches!(execution.outcome(), Some(Outcome::Succeeded(_))));
}

#[test]
fn a_failed_branch_gives_its_siblings_up() {
    let machine = definition(&json!({"StartAt": "P", "States": {
        "P": {"Type": "Parallel", "End": true, "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.why", "Next": "C"}], "Branches": [
            {"StartAt": "Slow", "States": {"Slow": {"Type": "Task", "Resource": FUNCTION, "End": true}}},
            {"StartAt": "Bad", "States": {"Bad": {"Type": "Fail", "Error": "E", "Cause": "c"}}},
        ]},
        "C": {"Type": "Pass", "End": true},
    }}));
    let mut execution = Execution::new(&machine, identity(MachineType::Standard), Data::new(json!({"a": 1})), START_MS);
    let commands = bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
    assert!(commands.iter().any(|command| matches!(command, Command::Cancel(TaskId(1)))));
    let Command::Record(events) = &commands[0] else { panic!() };
    let types: Vec<String> =
        events.iter().map(|event| event.to_json(false)["type"].as_str().unwrap().to_owned()).collect();
    assert!(types.contains(&"TaskStateAborted".to_owned()) && types.contains(&"ParallelStateFailed".to_owned()));
    let caught = json!({"a": 1, "why": {"Error": "E", "Cause": "c"}});
    assert_eq!(execution.outcome(), Some(&Outcome::Succeeded(Data::new(caught))));
}

pub(crate) fn map_of(mut more: Value) -> Definition {
    let fields = json!({
        "Type": "Map", "End": true,
        "ItemProcessor": {"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": FUNCTION, "End": true}}},
    });
    for (name, value) in fields.as_object().unwrap() {
        more.as_object_mut().unwrap().entry(name.clone()).or_insert_with(|| value.clone());
    }
    one(&more)
}

pub(crate) fn distributed() -> Value {
    json!({
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": FUNCTION, "End": true}},
    })
}

#[test]
fn no_more_iterations_run_than_the_state_allows() {
    for (most, expected) in [(3, 3), (0, 40), (100, 40)] {
        let machine = map_of(json!({"MaxConcurrency": most}));
        let items: Vec<u32> = (0..100).collect();
        let mut execution =
            Execution::new(&machine, identity(MachineType::Standard), Data::new(json!(items)), START_MS);
        let (mut agenda, mut open, mut peak) = (VecDeque::from([Fact::Start]), 0, 0);
        while let Some(fact) = agenda.pop_front() {
            open -= i32::from(matches!(fact, Fact::TaskSucceeded(..)));
            for command in bring(&mut execution, &machine, fact, START_MS).unwrap() {
                if let Command::Call(call) = command {
                    open += 1;
                    agenda.push_back(Fact::TaskSucceeded(call.task, call.arguments));
                }
            }
            peak = peak.max(open);
        }
        assert_eq!(peak, expected);
        assert_eq!(execution.outcome(), Some(&Outcome::Succeeded(Data::new(json!(items)))));
    }
}

#[test]
fn a_distributed_map_keeps_the_order_of_its_items() {
    let machine = map_of(json!({"ItemProcessor": distributed(), "MaxConcurrency": 7}));
    let items: Vec<u32> = (0..500).collect();
    let mut world = script(|call: &Call, number| Answer {
        after_ms: (number as u64 * 7919) % 1000,
        ..ok(call.arguments.value().clone())
    });
    assert_eq!(output(&run(&machine, json!(items), &mut world)), json!(items));
}

#[test]
fn a_run_bears_as_many_failures_as_it_may() {
    let every_third = |call: &Call, _: usize| {
        let is_bad = call.arguments.value().as_u64().unwrap().is_multiple_of(3);
        if is_bad {
            error("E")
        } else {
            ok(call.arguments.value().clone())
        }
    };
    let items = json!([0, 1, 2, 3, 4, 5]);
    let bears = map_of(json!({"ItemProcessor": distributed(), "ToleratedFailureCount": 2}));
    assert_eq!(output(&run(&bears, items.clone(), &mut script(every_third))), json!([1, 2, 4, 5]));
    let breaks = map_of(json!({"ItemProcessor": distributed(), "ToleratedFailurePercentage": 20}));
    let played = run(&breaks, items, &mut script(every_third));
    let expected =
        ("States.ExceedToleratedFailureThreshold", Some("The specified tolerated failure threshold was exceeded"));
    assert_eq!(failure(&played), expected);
    assert!(types(&played).ends_with(&["MapRunFailed".into(), "MapStateFailed".into(), "ExecutionFailed".into()]));
}

#[test]
fn items_are_read_batched_and_written() {
    let machine = map_of(json!({
        "ItemProcessor": distributed(),
        "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON", "MaxItems": 5}, "Parameters": {"Bucket": "b"}},
        "ItemSelector": {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value"},
        "ItemBatcher": {"MaxItemsPerBatch": 2, "BatchInput": {"of.$": "$.name"}},
        "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}},
    }));
    let mut world = script(|call: &Call, _| ok(call.arguments.value().clone()));
    world.items = (10..20).map(Value::from).collect();
    let played = run(&machine, json!({"name": "n"}), &mut world);
    assert_eq!(output(&played), json!({"written": 3}));
    let first = json!({"BatchInput": {"of": "n"}, "Items": [{"i": 0, "v": 10}, {"i": 1, "v": 11}]});
    assert_eq!(world.written[0].0.value(), &first);
    assert_eq!(world.written[2].0.value()["Items"], json!([{"i": 4, "v": 14}]));
}

#[test]
fn a_redrive_runs_only_what_had_failed() {
    let machine = definition(&json!({"StartAt": "First", "States": {
        "First": {"Type": "Task", "Resource": FUNCTION, "Next": "P"},
        "P": {"Type": "Parallel", "End": true, "Branches": [
            {"StartAt": "Good", "States": {"Good": {"Type": "Task", "Resource": FUNCTION, "End": true}}},
            {"StartAt": "Bad", "States": {"Bad": {"Type": "Task", "Resource": FUNCTION, "End": true}}},
        ]},
    }}));
    let mut calls = Vec::new();
    let mut world = script(|call: &Call, number| {
        calls.push(call.state.to_string());
        if call.state.as_str() == "Bad" && number == 2 {
            error("E")
        } else {
            ok(json!(call.state))
        }
    });
    let mut driver = Driver::new(&machine, &mut world, 7);
    let played = driver.run(identity(MachineType::Standard), Data::new(json!({})), START_MS, Vec::new()).unwrap();
    assert_eq!(failure(&played).0, "E");
    let last = played.events.last().unwrap().id;
    let again = driver.redrive(played, START_MS + 60_000).unwrap();
    assert_eq!(output(&again), json!(["Good", "Bad"]));
    assert_eq!(again.execution.redrive_count(), 1);
    let redriven = again.events[last as usize].to_json(false);
    assert_eq!(
        (redriven["type"].as_str(), redriven["previousEventId"].as_u64()),
        (Some("ExecutionRedriven"), Some(u64::from(last)))
    );
    assert_eq!(calls, ["First", "Good", "Bad", "Bad"]);
}

#[test]
fn a_redriven_run_starts_only_the_children_that_had_failed() {
    let machine = map_of(json!({"ItemProcessor": distributed(), "ToleratedFailureCount": 1}));
    let mut calls = Vec::new();
    let mut world = script(|call: &Call, number| {
        calls.push(call.arguments.value().clone());
        let is_bad = number < 4 && call.arguments.value().as_u64().unwrap() % 2 == 1;
        if is_bad {
            error("E")
        } else {
            ok(call.arguments.value().clone())
        }
    });
    let mut driver = Driver::new(&machine, &mut world, 7);
    let played =
        driver.run(identity(MachineType::Standard), Data::new(json!([0, 1, 2, 3])), START_MS, Vec::new()).unwrap();
    assert_eq!(failure(&played).0, "States.ExceedToleratedFailureThreshold");
    let again = driver.redrive(played, START_MS + 1).unwrap();
    assert_eq!(output(&again), json!([0, 1, 2, 3]));
    assert!(types(&again).contains(&"MapRunRedriven".to_owned()));
    assert_eq!(calls, [json!(0), json!(1), json!(2), json!(3), json!(1), json!(3)]);
}

#[test]
fn what_cannot_be_redriven_says_so() {
    let machine = one(&json!({"Type": "Pass", "End": true}));
    let played = run(&machine, json!({}), &mut script(|_, _| Answer::default()));
    let mut execution = played.execution;
    assert_eq!(bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap_err(), Refused::NotRedrivable);
    let machine = one(&json!({"Type": "Fail"}));
    let mut execution = run(&machine, json!({}), &mut script(|_, _| Answer::default())).execution;
    let late = START_MS + 15 * 86_400_000;
    assert_eq!(bring(&mut execution, &machine, Fact::Redrive, late).unwrap_err(), Refused::NotRedrivable);
}

#[test]
fn a_document_over_the_limit_is_caught_by_its_own_name_alone() {
    let large = || ok(json!("x".repeat(262_144)));
    for (name, is_caught) in [("States.ALL", false), ("States.TaskFailed", false), ("States.DataLimitExceeded", true)] {
        let machine = definition(&json!({"StartAt": "S", "States": {
            "S": {"Type": "Task", "Resource": FUNCTION, "End": true, "Catch": [{"ErrorEquals": [name], "Next": "C"}]},
            "C": {"Type": "Pass", "End": true},
        }}));
        let played = run(&machine, json!({}), &mut script(|_, _| large()));
        assert_eq!(matches!(played.outcome, Outcome::Succeeded(_)), is_caught, "{name}");
    }
}

#[test]
fn a_runtime_error_of_an_expression_cannot_be_caught() {
    let machine = definition(&json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": FUNCTION, "Parameters": {"a.$": "$.none"}, "End": true,
              "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "C"}]},
        "C": {"Type": "Pass", "End": true},
    }}));
    let played = run(&machine, json!({"b": 1}), &mut script(|_, _| Answer::default()));
    let cause = "An error occurred while executing the state 'S' (entered at the event id #2). \
                 The JSONPath '$.none' specified for the field 'a.$' could not be found in the input '{\"b\":1}'";
    assert_eq!(failure(&played), ("States.Runtime", Some(cause)));
}

/// A catcher whose own output failed was asked about that failure again, and again.
#[test]
fn a_catcher_that_fails_ends_the_execution() {
    let machine = definition(&json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": FUNCTION, "QueryLanguage": "JSONata", "End": true,
              "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $none %}", "Next": "C"}]},
        "C": {"Type": "Pass", "End": true},
    }}));
    let played = run(&machine, json!({}), &mut script(|_, _| error("E")));
    assert_eq!(failure(&played).0, "States.QueryEvaluationError");
    assert!(failure(&played).1.unwrap().contains("'Catch[0]/Output'"));
    assert!(types(&played).ends_with(&[
        "LambdaFunctionFailed".into(),
        "EvaluationFailed".into(),
        "ExecutionFailed".into()
    ]));
}

/// A state that fails after its branches are done has nothing left to start: a redrive ends it once more.
#[test]
fn a_redrive_ends_a_state_whose_end_had_failed() {
    let machine = definition(&json!({"StartAt": "P", "States": {"P": {
        "Type": "Parallel", "QueryLanguage": "JSONata", "End": true, "Output": "{% $none %}",
        "Branches": [{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}],
    }}}));
    let mut world = script(|_, _| Answer::default());
    let mut driver = Driver::new(&machine, &mut world, 7);
    let played = driver.run(identity(MachineType::Standard), Data::new(json!({})), START_MS, Vec::new()).unwrap();
    let again = driver.redrive(played, START_MS + 1).unwrap();
    assert_eq!(failure(&again).0, "States.QueryEvaluationError");
}

#[test]
fn a_stop_ends_open_tasks_first() {
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "End": true}));
    let mut world = script(|_, _| Answer::default());
    let stop = vec![(START_MS + 1, Fact::Stop(ErrorDetails::new("E", Some("c".into()))))];
    let played = Driver::new(&machine, &mut world, 7)
        .run(identity(MachineType::Standard), Data::new(json!({})), START_MS, stop)
        .unwrap();
    assert!(types(&played).ends_with(&["TaskStateAborted".into(), "ExecutionAborted".into()]));
    assert_eq!(played.outcome, Outcome::Aborted(ErrorDetails::new("E", Some("c".into()))));
}

#[test]
fn a_machine_that_waits_for_nothing_is_told() {
    let machine = one(&json!({"Type": "Task", "Resource": FUNCTION, "End": true}));
    let mut world = script(|_, _| Answer::default());
    // Even a task without a time-out of its own ends with its execution.
    let played = Driver::new(&machine, &mut world, 7).run(
        identity(MachineType::Standard),
        Data::new(json!({})),
        START_MS,
        Vec::new(),
    );
    assert!(matches!(played.map(|played| played.outcome), Ok(Outcome::TimedOut(_)) | Err(Stuck::Waiting)));
}

#[test]
fn all_problems_of_a_definition_are_told_with_their_place() {
    let text = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Retry": [], "Next": "B"},
        "B": {"Type": "Task", "Resource": "nothing", "TimeoutSeconds": 0, "End": true},
        "C": {"Type": "Wait", "Seconds": 1, "Seconds2": 2, "InputPath": "x", "End": true},
    }});
    let told: Vec<String> = check(&text.to_string(), MachineType::Standard).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "SCHEMA_VALIDATION_FAILED: Field 'Retry' is not supported at /States/A",
            "SCHEMA_VALIDATION_FAILED: Value is not a valid resource ARN at /States/B/Resource",
            "SCHEMA_VALIDATION_FAILED: Minimum value is 1 at /States/B/TimeoutSeconds",
            "SCHEMA_VALIDATION_FAILED: Field 'Seconds2' is not supported at /States/C",
            "SCHEMA_VALIDATION_FAILED: Value must be a valid JSONPath. at /States/C/InputPath",
        ]
    );
}

#[test]
fn transitions_are_checked_as_aws_does() {
    let told = |states: Value| -> Vec<String> {
        let text = json!({"StartAt": "A", "States": states}).to_string();
        check(&text, MachineType::Standard).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        told(json!({"A": {"Type": "Pass", "Next": "NOPE"}})),
        [
            "MISSING_TRANSITION_TARGET: Missing 'Next' target: NOPE at /States/A/Next",
            "MISSING_END_STATE: Workflow has no terminal state",
        ]
    );
    let islands = json!({"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}, "C": {"Type": "Pass", "End": true}});
    assert_eq!(told(islands), ["MISSING_TRANSITION_TARGET: State \"C\" is not reachable. at /States/C"]);
    let endless = json!({"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "A"}});
    assert_eq!(told(endless), ["MISSING_END_STATE: Workflow has no terminal state"]);
}
