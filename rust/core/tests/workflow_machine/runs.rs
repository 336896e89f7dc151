//! Promises of Map states that run children, and of their distributed runs: whose items they take, what they give up, what they count.

use forebay_core::workflow::definition::{Definition, MachineType, Transformation, WriterFormat};
use forebay_core::workflow::machine::{
    Call, Child, Command, Data, ErrorDetails, Execution, Fact, MapRunStatus, Outcome, Refused, RunKey, TaskId, PAGE_MAX,
};
use serde_json::{json, Value};

use crate::promises::{
    bring, definition, distributed, identity, map_of, ok, output, run as played, script, FUNCTION, START_MS,
};

fn begun(machine: &Definition, input: Value) -> (Execution, Vec<Command>) {
    let mut execution = Execution::new(machine, identity(MachineType::Standard), Data::new(input), START_MS);
    let commands = bring(&mut execution, machine, Fact::Start, START_MS).unwrap();
    (execution, commands)
}

fn reader() -> Value {
    json!({"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"}})
}

/// The call that reads items.
fn read(commands: &[Command]) -> RunKey {
    let call = commands.iter().find_map(|command| match command {
        Command::Read(call, _) | Command::ReadMore(call) => Some(*call),
        _ => None,
    });
    call.unwrap()
}

/// Children that are started, with their run.
fn started(commands: &[Command]) -> Vec<(RunKey, Child)> {
    let spawns = commands.iter().filter_map(|command| match command {
        Command::Spawn { run, children, .. } => Some(children.iter().map(|child| (*run, child.clone()))),
        _ => None,
    });
    spawns.flatten().collect()
}

fn failed(name: &str) -> Outcome {
    Outcome::Failed(ErrorDetails::new(name, None))
}

/// `$$.Map.Item` had no `Source`, and a definition of AWS's that names it failed.
#[test]
fn an_item_tells_where_it_comes_from() {
    let selector = json!({"from.$": "$$.Map.Item.Source", "i.$": "$$.Map.Item.Index"});
    let source = |arguments: Option<Value>| {
        let mut map = json!({"ItemProcessor": distributed(), "ItemSelector": selector});
        let input = if let Some(arguments) = arguments {
            map["ItemReader"] = reader();
            map["ItemReader"]["Parameters"] = arguments;
            json!({"k": "a/b.json"})
        } else {
            json!(["x"])
        };
        let machine = map_of(map);
        let (mut execution, mut commands) = begun(&machine, input);
        if machine_reads(&commands) {
            let page = Fact::Items(read(&commands), vec![json!("x")], true);
            commands = bring(&mut execution, &machine, page, START_MS).unwrap();
        }
        started(&commands)[0].1.input.as_ref().unwrap().value()["from"].clone()
    };
    assert_eq!(source(None), "STATE_DATA");
    assert_eq!(source(Some(json!({"Bucket": "b", "Key.$": "$.k"}))), "S3://b/a/b.json");
    assert_eq!(source(Some(json!({"Bucket": "b", "Prefix": "a/"}))), "S3://b");
    let inline = map_of(json!({"ItemSelector": selector}));
    let told = played(&inline, json!(["x"]), &mut script(|call, _| ok(call.arguments.value().clone())));
    assert_eq!(output(&told), json!([{"from": "STATE_DATA", "i": 0}]));
}

fn machine_reads(commands: &[Command]) -> bool {
    commands.iter().any(|command| matches!(command, Command::Read(..)))
}

/// A Map failed while a page was read, and was caught: the page came to the Map behind it, which mapped the items of the one before.
#[test]
fn a_map_is_given_no_items_and_no_results_of_another() {
    let map = |more: Value| {
        let name = format!("Keep {}", more["Next"]);
        let keep = json!({"StartAt": name, "States": {name: {"Type": "Pass", "End": true}},
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}});
        let mut map = json!({"Type": "Map", "ItemProcessor": keep, "ItemReader": reader()});
        map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        map
    };
    let machine = definition(&json!({"StartAt": "A", "States": {
        "A": map(json!({"Next": "B", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}]})),
        "B": map(json!({"End": true})),
    }}));
    let (mut execution, commands) = begun(&machine, json!({}));
    let mut bring = |fact: Fact| bring(&mut execution, &machine, fact, START_MS);
    let commands = bring(Fact::Items(read(&commands), vec![json!("a0")], false)).unwrap();
    let (page, (first, _)) = (read(&commands), started(&commands)[0].clone());
    let commands = bring(Fact::ChildEnded(first, 0, failed("E"))).unwrap();
    assert!(commands.iter().any(|command| matches!(command, Command::AbortRun(_))), "nobody waits for the page");
    let begins = read(&commands);
    assert_eq!(bring(Fact::Items(page, vec![json!("a1")], true)).unwrap_err(), Refused::NotExpected);
    assert_eq!(bring(Fact::ReadFailed(page, ErrorDetails::default())).unwrap_err(), Refused::NotExpected);
    let children = started(&bring(Fact::Items(begins, vec![json!("b0")], true)).unwrap());
    assert_eq!(children[0].1.input, Some(Data::new(json!("b0"))));
    let succeeded = |output: &str| Outcome::Succeeded(Data::new(json!(output)));
    assert_eq!(bring(Fact::ChildEnded(first, 0, succeeded("of a"))).unwrap_err(), Refused::NotExpected);
    bring(Fact::ChildEnded(children[0].0, 0, succeeded("of b"))).unwrap();
    assert_eq!(execution.outcome(), Some(&Outcome::Succeeded(Data::new(json!(["of b"])))));
}

/// The selector of a later item failed, and was caught: tasks of the items before went on without a state, and a restart called them again.
#[test]
fn what_a_map_has_begun_is_given_up_when_it_fails_by_itself() {
    let call = json!({"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": FUNCTION, "End": true}}});
    let map = json!({"Type": "Map", "MaxConcurrency": 2, "Items": "{% $states.input %}", "ItemProcessor": call, "End": true,
        "ItemSelector": {"v": "{% $states.context.Map.Item.Value.v %}"},
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Rest"}]});
    let rest = json!({"Type": "Wait", "Seconds": 60, "End": true});
    let machine = json!({"QueryLanguage": "JSONata", "StartAt": "Each", "States": {"Each": map, "Rest": rest}});
    let machine = definition(&machine);
    let (mut execution, commands) = begun(&machine, json!([{"v": 1}, {"v": 2}, {}]));
    let calls = commands.iter().filter_map(|command| match command {
        Command::Call(call) => Some(call.task),
        _ => None,
    });
    let tasks: Vec<_> = calls.collect();
    let answer = Fact::TaskSucceeded(tasks[0], Data::new(json!(1)));
    let commands = bring(&mut execution, &machine, answer, START_MS).unwrap();
    assert!(
        commands.iter().any(|command| matches!(command, Command::Cancel(task) if *task == tasks[1])),
        "{commands:?}"
    );
    let Command::Record(events) = &commands[0] else { panic!("{commands:?}") };
    let kinds: Vec<_> = events.iter().map(|event| event.to_json(false)["type"].as_str().unwrap().to_owned()).collect();
    let at = |kind: &str| kinds.iter().position(|one| one == kind).unwrap_or_else(|| panic!("{kind} in {kinds:?}"));
    assert!(at("TaskStateAborted") < at("MapIterationAborted"));
    assert!(at("MapIterationAborted") < at("MapStateFailed"));
    let late = Fact::TaskSucceeded(tasks[1], Data::new(json!(2)));
    assert_eq!(bring(&mut execution, &machine, late, START_MS).unwrap_err(), Refused::NoTask);
}

/// All children that had failed ran at once after a redrive, whatever `MaxConcurrency` said.
#[test]
fn a_redriven_run_starts_no_more_children_at_once_than_before() {
    let machine = map_of(json!({"ItemProcessor": distributed(), "MaxConcurrency": 2, "ToleratedFailureCount": 4}));
    let (mut execution, commands) = begun(&machine, json!([0, 1, 2, 3, 4, 5, 6]));
    let mut open = started(&commands);
    while execution.outcome().is_none() {
        let (run, child) = open.remove(0);
        let commands = bring(&mut execution, &machine, Fact::ChildEnded(run, child.index, failed("E")), START_MS);
        open.extend(started(&commands.unwrap()));
    }
    let mut open = started(&bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap());
    let mut began = Vec::new();
    loop {
        assert!(open.len() <= 2, "{open:?}");
        let run = &execution.map_runs()[0];
        assert_eq!((run.running as usize, run.pending + run.counts.succeeded + run.running), (open.len(), 7));
        if open.is_empty() {
            break;
        }
        let (run, child) = open.remove(0);
        began.push((child.index, child.input.is_some()));
        let end = Fact::ChildEnded(run, child.index, Outcome::Succeeded(Data::new(json!(child.index))));
        open.extend(started(&bring(&mut execution, &machine, end, START_MS).unwrap()));
    }
    // The sixth was given up: nothing else has its input. The last one is new.
    let expected = [(0, false), (1, false), (2, false), (3, false), (4, false), (5, true), (6, true)];
    assert_eq!(began, expected);
    assert_eq!(execution.outcome(), Some(&Outcome::Succeeded(Data::new(json!([0, 1, 2, 3, 4, 5, 6])))));
}

/// The inputs of all that had failed were written at each commit: 16,000 failures wrote 700 MB.
#[test]
fn a_run_is_no_longer_to_write_when_many_children_have_failed() {
    let selector = json!({"v.$": "$$.Map.Item.Value", "pad": "x".repeat(1_000)});
    let machine =
        map_of(json!({"ItemProcessor": distributed(), "MaxConcurrency": 1, "ToleratedFailurePercentage": 100,
        "ItemSelector": selector}));
    let (mut execution, commands) = begun(&machine, json!((0..500).collect::<Vec<_>>()));
    let mut open = started(&commands);
    let first = serde_json::to_string(&execution).unwrap().len();
    for _ in 0..499 {
        let (run, child) = open.remove(0);
        let end = Fact::ChildEnded(run, child.index, failed("E"));
        open.extend(started(&bring(&mut execution, &machine, end, START_MS).unwrap()));
        let size = serde_json::to_string(&execution).unwrap().len();
        assert!(size < first + 100, "{size}");
    }
}

/// A batch of five that failed was one failure.
#[test]
fn failures_are_counted_by_items_and_so_are_those_that_are_borne() {
    let map = |tolerated: u64| {
        let machine = map_of(json!({"ItemProcessor": distributed(), "ToleratedFailureCount": tolerated,
            "ItemBatcher": {"MaxItemsPerBatch": 5}}));
        let (mut execution, commands) = begun(&machine, json!((0..12).collect::<Vec<_>>()));
        let (run, child) = started(&commands)[1].clone();
        bring(&mut execution, &machine, Fact::ChildEnded(run, child.index, failed("E")), START_MS).unwrap();
        execution
    };
    let run = map(5).map_runs().remove(0);
    let batched = run.batched.unwrap();
    assert_eq!((run.running, run.counts.failed, run.pending), (2, 1, 0));
    assert_eq!((batched.running, batched.counts.failed, batched.pending), (7, 5, 0));
    let error = |execution: &Execution| match execution.outcome() {
        Some(Outcome::Failed(details)) => details.error.clone(),
        _ => None,
    };
    let exceeded = map(4);
    assert_eq!(error(&exceeded).as_deref(), Some("States.ExceedToleratedFailureThreshold"));
    let batched = exceeded.map_runs()[0].batched.unwrap();
    assert_eq!((batched.running, batched.counts.failed, batched.counts.aborted), (0, 5, 7));
}

/// A tenth of a file may fail. The first two of ten items that had been read did, and the file had forty.
#[test]
fn a_percentage_is_judged_when_all_items_are_read() {
    let map = |most: u64, more: Value| {
        let mut map =
            json!({"ItemProcessor": distributed(), "ItemReader": reader(), "ToleratedFailurePercentage": most});
        map["ItemReader"]["ReaderConfig"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let machine = map_of(map);
        let (mut execution, commands) = begun(&machine, json!({}));
        let page = Fact::Items(read(&commands), (0..10).map(Value::from).collect(), false);
        let commands = bring(&mut execution, &machine, page, START_MS).unwrap();
        for (run, child) in &started(&commands)[..2] {
            let _ended = bring(&mut execution, &machine, Fact::ChildEnded(*run, child.index, failed("E")), START_MS);
        }
        (machine, execution, commands)
    };
    for (count, is_borne) in [(10, true), (9, false)] {
        let (machine, mut execution, commands) = map(10, json!({}));
        assert_eq!(execution.outcome(), None);
        let page = Fact::Items(read(&commands), (0..count).map(Value::from).collect(), true);
        bring(&mut execution, &machine, page, START_MS).unwrap();
        assert_eq!(execution.outcome().is_none(), is_borne, "{count}");
    }
    // What no more items can heal is judged at once.
    assert!(map(0, json!({})).1.outcome().is_some());
    assert!(map(10, json!({"MaxItems": 19})).1.outcome().is_some());
    assert!(map(10, json!({"MaxItems": 20})).1.outcome().is_none());
}

/// Batches were cut before the selector: 100 items of 1 KB were one batch of `MaxInputBytesPerBatch` 5,000.
#[test]
fn batches_are_measured_behind_the_selector() {
    let sizes = |batcher: Value| {
        let selector = json!({"v.$": "$$.Map.Item.Value", "pad": "x".repeat(1_000)});
        let map = json!({"ItemProcessor": distributed(), "ItemSelector": selector, "ItemBatcher": batcher});
        let (_, commands) = begun(&map_of(map), json!((0..600).collect::<Vec<_>>()));
        let inputs: Vec<Data> = started(&commands).into_iter().filter_map(|(_, child)| child.input).collect();
        let items: Vec<Value> =
            inputs.iter().flat_map(|input| input.value()["Items"].as_array().unwrap().clone()).collect();
        assert_eq!(
            items.iter().map(|item| item["v"].as_u64().unwrap()).collect::<Vec<_>>(),
            (0..600).collect::<Vec<_>>()
        );
        inputs.iter().map(Data::size).collect::<Vec<_>>()
    };
    let small = sizes(json!({"MaxInputBytesPerBatch": 5_000, "BatchInput": {"of": "all"}}));
    assert!(small.len() == 150 && small.iter().all(|size| *size <= 5_000), "{small:?}");
    let large = sizes(json!({"MaxItemsPerBatch": 600}));
    assert!(large.len() == 3 && large.iter().all(|size| *size <= 262_144), "{large:?}");
}

#[test]
fn a_batch_that_is_not_full_waits_for_more_items() {
    let map = json!({"ItemProcessor": distributed(), "ItemReader": reader(), "ItemBatcher": {"MaxItemsPerBatch": 3},
        "ItemSelector": {"i.$": "$$.Map.Item.Index"}});
    let machine = map_of(map);
    let (mut execution, commands) = begun(&machine, json!({}));
    let mut bring = |fact: Fact| bring(&mut execution, &machine, fact, START_MS).unwrap();
    let commands = bring(Fact::Items(read(&commands), vec![json!("a"); 4], false));
    let items = |commands: &[Command]| -> Vec<Value> {
        started(commands).iter().map(|(_, child)| child.input.as_ref().unwrap().value()["Items"].clone()).collect()
    };
    assert_eq!(items(&commands), [json!([{"i": 0}, {"i": 1}, {"i": 2}])]);
    let commands = bring(Fact::Items(read(&commands), vec![json!("a")], true));
    assert_eq!(items(&commands), [json!([{"i": 3}, {"i": 4}])]);
}

/// A child began with whatever a reader brought, and failed in its first state.
#[test]
fn an_item_over_the_limit_is_no_childs_input() {
    for batcher in [Value::Null, json!({"MaxItemsPerBatch": 2})] {
        let mut map = json!({"ItemProcessor": distributed(), "ItemReader": reader()});
        if !batcher.is_null() {
            map["ItemBatcher"] = batcher;
        }
        let machine = map_of(map);
        let (mut execution, commands) = begun(&machine, json!({}));
        let page = Fact::Items(read(&commands), vec![json!("x".repeat(300_000))], true);
        assert!(started(&bring(&mut execution, &machine, page, START_MS).unwrap()).is_empty());
        let Some(Outcome::Failed(details)) = execution.outcome() else { panic!("{:?}", execution.outcome()) };
        assert_eq!(details.error.as_deref(), Some("States.DataLimitExceeded"));
    }
}

/// A run had begun, and nobody was told what became of it.
#[test]
fn a_run_that_begins_says_how_it_ends() {
    let kinds = |more: Value| {
        let mut map = json!({"ItemProcessor": distributed()});
        map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (execution, commands) = begun(&map_of(map), json!([1]));
        assert!(matches!(execution.outcome(), Some(Outcome::Failed(_))));
        let Command::Record(events) = &commands[0] else { panic!("{commands:?}") };
        let kinds = events.iter().map(|event| event.to_json(false)["type"].as_str().unwrap().to_owned());
        let kinds: Vec<String> = kinds.filter(|kind| kind.starts_with("MapRun")).collect();
        (kinds, execution.map_runs().iter().map(|run| run.status).collect::<Vec<_>>())
    };
    // One whose batches cannot be made does not begin.
    assert_eq!(kinds(json!({"ItemBatcher": {"MaxItemsPerBatchPath": "$.none"}})), (Vec::new(), Vec::new()));
    let ends = (vec!["MapRunStarted".to_owned(), "MapRunFailed".to_owned()], vec![MapRunStatus::Failed]);
    assert_eq!(kinds(json!({"ItemSelector": {"v.$": "$.none"}})), ends);
    let mut unread = reader();
    unread["Parameters"] = json!({"Bucket.$": "$.none"});
    assert_eq!(kinds(json!({"ItemReader": unread})), ends);
}

#[test]
fn a_reader_is_asked_for_pages_as_long_as_there_is_room() {
    let machine = map_of(json!({
        "ItemProcessor": distributed(), "MaxConcurrency": 10,
        "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"}},
    }));
    let mut world = script(|call: &Call, _| ok(call.arguments.value().clone()));
    world.items = (0..2_500).map(Value::from).collect();
    assert_eq!(output(&played(&machine, json!({}), &mut world)), Value::from(world.items.clone()));
}

#[test]
fn a_writer_is_asked_for_the_format_that_is_configured() {
    for (config, is_lines, transformation) in [
        (json!({}), false, Transformation::None),
        (json!({"OutputType": "JSON", "Transformation": "NONE"}), false, Transformation::None),
        (json!({"OutputType": "JSONL", "Transformation": "COMPACT"}), true, Transformation::Compact),
        (json!({"Transformation": "FLATTEN"}), false, Transformation::Flatten),
    ] {
        let writer = json!({"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b", "Prefix.$": "$.p"},
            "WriterConfig": config});
        let machine = map_of(json!({"ItemProcessor": distributed(), "ItemsPath": "$.items", "ResultWriter": writer}));
        let mut world = script(|call: &Call, _| ok(call.arguments.value().clone()));
        played(&machine, json!({"items": [1], "p": "runs"}), &mut world);
        let asked = world.asked.unwrap();
        assert_eq!(asked.format, WriterFormat { is_lines, transformation }, "{config}");
        assert_eq!(
            (asked.resource.as_str(), asked.arguments),
            ("arn:aws:states:::s3:putObject", json!({"Bucket": "b", "Prefix": "runs"}))
        );
    }
}

#[test]
fn a_child_is_open_from_its_start_to_its_end() {
    let machine = map_of(json!({"ItemProcessor": distributed(), "MaxConcurrency": 1}));
    let (mut execution, commands) = begun(&machine, json!([1, 2]));
    let run = started(&commands)[0].0;
    let open = |execution: &Execution| [0, 1, 2].map(|index| execution.has_open_child(run.frame(), index));
    assert_eq!(open(&execution), [true, false, false]);
    bring(&mut execution, &machine, Fact::ChildEnded(run, 0, Outcome::Succeeded(Data::new(json!(1)))), START_MS)
        .unwrap();
    assert_eq!(open(&execution), [false, true, false]);
}

/// An execution that was stopped while an answer was on its way: the answer is in its history, and a redrive goes on from it.
#[test]
fn what_comes_too_late_to_go_on_from_is_written_down() {
    let task = json!({"Type": "Task", "Resource": FUNCTION, "Next": "After"});
    let machine = definition(&json!({"StartAt": "Call", "States": {"Call": task, "After": {"Type": "Succeed"}}}));
    let (mut execution, _) = begun(&machine, json!({}));
    let answer = || Fact::TaskSucceeded(TaskId(1), Data::new(json!("done")));
    let events = execution.note(&machine, answer(), START_MS + 5);
    let told: Vec<Value> = events.iter().map(|event| event.to_json(true)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["type"], &told[0]["lambdaFunctionSucceededEventDetails"]["output"]),
        (&json!("LambdaFunctionSucceeded"), &json!("\"done\""))
    );
    assert_eq!(execution.outcome(), None, "it has not gone on");
    assert_eq!(execution.note(&machine, answer(), START_MS + 6), [], "its task has ended");
}

#[test]
fn a_page_of_a_reader_has_a_bound() {
    let machine = map_of(json!({"ItemProcessor": distributed(), "ItemReader": reader()}));
    let brought = |count: usize| {
        let (mut execution, commands) = begun(&machine, json!({}));
        let page = Fact::Items(read(&commands), vec![json!(1); count], true);
        bring(&mut execution, &machine, page, START_MS).unwrap();
        match execution.outcome() {
            Some(Outcome::Failed(details)) => details.cause.clone(),
            _ => None,
        }
    };
    assert_eq!(brought(PAGE_MAX), None);
    assert_eq!(brought(PAGE_MAX + 2), Some("A page has 10002 items; at most 10000 are taken".to_owned()));
}
