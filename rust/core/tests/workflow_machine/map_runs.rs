//! Runs of distributed Maps: what they begin with, how items become batches, what they count, and how a redrive goes on.

use forebay_core::workflow::definition::{Definition, MachineType};
use forebay_core::workflow::machine::driver::{Driver, Stuck};
use forebay_core::workflow::machine::{
    Child, Command, Data, ErrorDetails, Execution, Fact, FrameId, MapRunStatus, Outcome, Refused, RunKey, DATA_MAX,
    INLINE_ITEMS_MAX,
};
use serde_json::{json, Value};

use crate::promises::{
    bring, definition, distributed, error, failure, identity, map_of, ok, run, script, types, START_MS,
};

fn begun(machine: &Definition, input: Value) -> (Execution, Vec<Command>) {
    let mut execution = Execution::new(machine, identity(MachineType::Standard), Data::new(input), START_MS);
    let commands = bring(&mut execution, machine, Fact::Start, START_MS).unwrap();
    (execution, commands)
}

/// A distributed Map with more fields.
fn distributed_map(more: &Value) -> Definition {
    let mut map = json!({"ItemProcessor": distributed()});
    map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    map_of(map)
}

fn reader(more: &Value) -> Value {
    let mut config = json!({"InputType": "JSON"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config})
}

fn writer(more: &Value) -> Value {
    json!({"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}, "WriterConfig": more})
}

fn started(commands: &[Command]) -> Vec<(RunKey, Child)> {
    let spawns = commands.iter().filter_map(|command| match command {
        Command::Spawn { run, children, .. } => Some(children.iter().map(|child| (*run, child.clone()))),
        _ => None,
    });
    spawns.flatten().collect()
}

fn inputs(commands: &[Command]) -> Vec<Value> {
    started(commands).into_iter().map(|(_, child)| child.input.unwrap().value().clone()).collect()
}

/// The call that reads or writes, if there is one.
fn asked(commands: &[Command]) -> Option<RunKey> {
    commands.iter().find_map(|command| match command {
        Command::Read(call, _) | Command::ReadMore(call) | Command::Write(call, _) => Some(*call),
        _ => None,
    })
}

fn succeeded(output: Value) -> Outcome {
    Outcome::Succeeded(Data::new(output))
}

fn failed() -> Outcome {
    Outcome::Failed(ErrorDetails::new("E", None))
}

/// The error and the cause of an execution that has failed.
fn ended(execution: &Execution) -> Option<(String, String)> {
    match execution.outcome() {
        Some(Outcome::Failed(details)) => {
            Some((details.error.clone().unwrap_or_default(), details.cause.clone().unwrap_or_default()))
        }
        _ => None,
    }
}

#[test]
fn an_inline_map_has_a_bound_of_items() {
    let machine = map_of(json!({}));
    let (execution, commands) = begun(&machine, json!(vec![0; INLINE_ITEMS_MAX]));
    assert_eq!(execution.outcome(), None);
    assert_eq!(commands.iter().filter(|command| matches!(command, Command::Call(_))).count(), 40);
    let (execution, _) = begun(&machine, json!(vec![0; INLINE_ITEMS_MAX + 1]));
    let (error, cause) = ended(&execution).unwrap();
    assert!(error == "States.Runtime" && cause.ends_with("at most 100000 items; this one has 100001"), "{cause}");
}

#[test]
fn the_fields_of_a_map_read_its_input_behind_the_input_path() {
    let paths = json!({"InputPath": "$.in", "ItemsPath": "$.items", "MaxConcurrencyPath": "$.most"});
    let input = json!({"in": {"items": [1, 2, 3, 4, 5], "most": 2, "size": 2, "name": "n"}});
    let (_, commands) = begun(&map_of(paths.clone()), input.clone());
    assert_eq!(commands.iter().filter(|command| matches!(command, Command::Call(_))).count(), 2);
    let mut batched = paths;
    batched["ItemBatcher"] = json!({"MaxItemsPerBatchPath": "$.size", "BatchInput": {"of.$": "$.name"}});
    let (_, commands) = begun(&distributed_map(&batched), input);
    let batch = |items: Value| json!({"BatchInput": {"of": "n"}, "Items": items});
    assert_eq!(inputs(&commands), [batch(json!([1, 2])), batch(json!([3, 4]))]);
}

#[test]
fn a_batch_has_a_positive_number_of_items() {
    let machine = distributed_map(&json!({"ItemsPath": "$.items", "ItemBatcher": {"MaxItemsPerBatchPath": "$.size"}}));
    for (size, batches) in [
        (json!(2), Some(2)),
        (json!("2"), Some(2)),
        (json!(2.0), Some(2)),
        (json!(1), Some(4)),
        (json!(2.5), None),
        (json!(0), None),
        (json!(-1), None),
        (json!(null), None),
    ] {
        let (execution, commands) = begun(&machine, json!({"items": [1, 2, 3, 4], "size": size}));
        let expected = ("States.Runtime".to_owned(), "field MaxItemsPerBatch must be positive".to_owned());
        assert_eq!(ended(&execution), batches.is_none().then_some(expected), "{size}");
        assert_eq!(started(&commands).len(), batches.unwrap_or_default(), "{size}");
    }
}

/// Two items of ten bytes make `{"Items":["aaaaaaaa","aaaaaaaa"]}`, which has 33.
#[test]
fn a_batch_has_as_many_bytes_as_it_may() {
    for (batcher, expected) in [
        (json!({"MaxInputBytesPerBatch": 33}), vec![2, 2, 1]),
        (json!({"MaxInputBytesPerBatch": 32}), vec![1; 5]),
        (json!({"MaxInputBytesPerBatch": 44}), vec![3, 2]),
        (json!({"MaxInputBytesPerBatch": 43}), vec![2, 2, 1]),
        (json!({"MaxInputBytesPerBatch": 22}), vec![1; 5]),
        (json!({"MaxInputBytesPerBatch": 1}), vec![1; 5]),
        (json!({"MaxInputBytesPerBatch": 44, "MaxItemsPerBatch": 2}), vec![2, 2, 1]),
        (json!({"MaxInputBytesPerBatch": 48, "BatchInput": 1}), vec![2, 2, 1]),
        (json!({"MaxInputBytesPerBatch": 47, "BatchInput": 1}), vec![1; 5]),
        (json!({"MaxItemsPerBatch": 5}), vec![5]),
        (json!({"MaxItemsPerBatch": 4}), vec![4, 1]),
    ] {
        let machine = distributed_map(&json!({"ItemBatcher": batcher}));
        let (_, commands) = begun(&machine, json!(vec!["aaaaaaaa"; 5]));
        let sizes: Vec<usize> =
            inputs(&commands).iter().map(|input| input["Items"].as_array().unwrap().len()).collect();
        assert_eq!(sizes, expected, "{batcher}");
    }
}

#[test]
fn the_input_of_a_child_has_the_size_that_any_input_may_have() {
    let frame = r#"{"Items":[""]}"#.len();
    for (batcher, more) in [(json!(null), 2), (json!({"MaxItemsPerBatch": 2}), frame)] {
        for (bytes, begins) in [(DATA_MAX, true), (DATA_MAX + 1, false)] {
            let mut map = json!({"ItemReader": reader(&json!({}))});
            if !batcher.is_null() {
                map["ItemBatcher"] = batcher.clone();
            }
            let machine = distributed_map(&map);
            let (mut execution, commands) = begun(&machine, json!({}));
            let page = Fact::Items(asked(&commands).unwrap(), vec![json!("x".repeat(bytes - more))], true);
            let commands = bring(&mut execution, &machine, page, START_MS).unwrap();
            assert_eq!(started(&commands).len(), usize::from(begins), "{batcher} {bytes}");
            let error = ended(&execution).map(|(error, _)| error);
            assert_eq!(error.as_deref(), (!begins).then_some("States.DataLimitExceeded"));
        }
    }
}

/// 0 asks for all. AWS reads up to 100 million items.
#[test]
fn a_reader_is_asked_for_as_many_items_as_the_state_wants() {
    let machine = distributed_map(&json!({"ItemReader": reader(&json!({"MaxItemsPath": "$.most"}))}));
    for (most, expected) in [
        (json!(0), Ok(None)),
        (json!(1), Ok(Some(1))),
        (json!(100_000_000), Ok(Some(100_000_000))),
        (json!(100_000_001), Err("field MaxItems must be at most 100000000")),
        (json!(-1), Err("field MaxItems must be positive")),
        (json!("many"), Err("field MaxItems must be positive")),
    ] {
        let (execution, commands) = begun(&machine, json!({"most": most}));
        let request = commands.iter().find_map(|command| match command {
            Command::Read(_, request) => Some(request.items_max),
            _ => None,
        });
        match expected {
            Ok(items_max) => assert_eq!(request, Some(items_max), "{most}"),
            Err(cause) => {
                let failed = ("States.ItemReaderFailed".to_owned(), cause.to_owned());
                assert_eq!((ended(&execution), request), (Some(failed), None), "{most}");
            }
        }
    }
}

#[test]
fn a_page_is_asked_for_when_there_is_room_and_taken_once() {
    let machine = distributed_map(
        &json!({"ItemReader": reader(&json!({})), "MaxConcurrency": 1, "ResultWriter": writer(&json!({}))}),
    );
    let (mut execution, commands) = begun(&machine, json!({}));
    let mut bring = |fact: Fact| bring(&mut execution, &machine, fact, START_MS);
    let first = asked(&commands).unwrap();
    let commands = bring(Fact::Items(first, vec![json!("a")], false)).unwrap();
    assert_eq!(asked(&commands), None, "the only child has begun");
    assert_eq!(bring(Fact::Items(first, vec![json!("b")], true)).unwrap_err(), Refused::NotExpected);
    let run = started(&commands)[0].0;
    let commands = bring(Fact::ChildEnded(run, 0, succeeded(json!(1)))).unwrap();
    let second = asked(&commands).unwrap();
    assert_eq!(bring(Fact::Written(second, Data::new(json!(1)))).unwrap_err(), Refused::NotExpected);
    let commands = bring(Fact::Items(second, Vec::new(), true)).unwrap();
    let write = asked(&commands).unwrap();
    assert!(matches!(commands[..], [Command::Write(..), Command::WakeAt(_)]), "{commands:?}");
    assert_eq!(bring(Fact::Items(write, vec![json!("b")], true)).unwrap_err(), Refused::NotExpected);
    assert_eq!(bring(Fact::Written(second, Data::new(json!(1)))).unwrap_err(), Refused::NotExpected);
    bring(Fact::Written(write, Data::new(json!("written")))).unwrap();
    assert_eq!(execution.outcome(), Some(&succeeded(json!("written"))));
}

/// A writer has the results elsewhere: what is written of the execution has none of them, and a redrive only writes once more.
#[test]
fn a_run_whose_writer_failed_writes_again_and_begins_no_child() {
    let machine = distributed_map(&json!({"ResultWriter": writer(&json!({}))}));
    let (mut execution, commands) = begun(&machine, json!([1, 2]));
    let mut commands = commands;
    for (run, child) in started(&commands) {
        let end = Fact::ChildEnded(run, child.index, succeeded(json!("a long result")));
        commands = bring(&mut execution, &machine, end, START_MS).unwrap();
    }
    assert!(!serde_json::to_string(&execution).unwrap().contains("a long result"));
    let unwritten = Fact::WriteFailed(asked(&commands).unwrap(), ErrorDetails::new("W", None));
    bring(&mut execution, &machine, unwritten, START_MS).unwrap();
    assert_eq!(ended(&execution).unwrap().0, "W");
    let commands = bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap();
    assert_eq!(started(&commands).len(), 0);
    let counts = execution.map_runs()[0].counts;
    assert_eq!((counts.started, counts.succeeded), (2, 2));
    let written = Fact::Written(asked(&commands).unwrap(), Data::new(json!("written")));
    bring(&mut execution, &machine, written, START_MS).unwrap();
    assert_eq!(execution.outcome(), Some(&succeeded(json!("written"))));
}

/// A writer without a resource shapes the state's own result, unless it shapes nothing:
/// <https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html>
#[test]
fn a_writer_without_a_resource_shapes_the_result() {
    for (transformation, expected) in
        [("FLATTEN", Some(json!([1, 2, 3]))), ("COMPACT", Some(json!([[1, 2], 3]))), ("NONE", None)]
    {
        let config = json!({"OutputType": "JSON", "Transformation": transformation});
        let machine = distributed_map(&json!({"ResultWriter": {"WriterConfig": config}}));
        let (mut execution, mut commands) = begun(&machine, json!([0, 1]));
        let (run, _) = started(&commands)[0];
        for (index, result) in [(0, json!([1, 2])), (1, json!(3))] {
            let end = Fact::ChildEnded(run, index, succeeded(result));
            commands = bring(&mut execution, &machine, end, START_MS).unwrap();
        }
        let is_written = commands.iter().any(|command| matches!(command, Command::Write(..)));
        assert_eq!(is_written, expected.is_none(), "{transformation}");
        assert_eq!(execution.outcome().cloned(), expected.map(succeeded), "{transformation}");
    }
}

/// `[RESULT,RESULT]` is a state's result, whatever the state makes of it.
#[test]
fn the_results_of_a_run_have_the_size_of_one_result() {
    let machine = distributed_map(&json!({"ResultPath": null}));
    for (bytes, is_allowed) in [(DATA_MAX, true), (DATA_MAX + 1, false)] {
        let (mut execution, commands) = begun(&machine, json!([0, 1]));
        let run = started(&commands)[0].0;
        let first = 100_000;
        // Two brackets, a comma, and the quotes of both.
        for (index, letters) in [(0, first), (1, bytes - first - 7)] {
            let end = Fact::ChildEnded(run, index, succeeded(json!("x".repeat(letters))));
            bring(&mut execution, &machine, end, START_MS).unwrap();
        }
        let failed = ended(&execution).map(|(error, _)| error);
        assert_eq!(failed.as_deref(), (!is_allowed).then_some("States.DataLimitExceeded"), "{bytes}");
        assert_eq!(execution.map_runs()[0].status == MapRunStatus::Failed, !is_allowed);
    }
}

#[test]
fn a_failure_is_any_end_but_an_output() {
    let details = || ErrorDetails::new("E", None);
    let ends = [Outcome::Failed(details()), Outcome::TimedOut(details()), Outcome::Aborted(details())];
    for (tolerated, is_borne) in [(3, true), (2, false)] {
        let machine = distributed_map(&json!({"ToleratedFailureCount": tolerated}));
        let (mut execution, commands) = begun(&machine, json!([0, 1, 2, 3]));
        let run = started(&commands)[0].0;
        for (index, outcome) in (0..).zip(ends.clone()) {
            bring(&mut execution, &machine, Fact::ChildEnded(run, index, outcome), START_MS).unwrap();
        }
        let counts = execution.map_runs()[0].counts;
        assert_eq!((counts.started, counts.failed, counts.timed_out), (4, 1, 1));
        assert_eq!(counts.aborted, if is_borne { 1 } else { 2 }, "the last one is given up with its run");
        assert_eq!(execution.outcome().is_none(), is_borne);
    }
}

#[test]
fn a_run_that_was_redriven_counts_what_it_has_still_to_begin() {
    let machine = distributed_map(
        &json!({"MaxConcurrency": 1, "ToleratedFailureCount": 5, "ItemBatcher": {"MaxItemsPerBatch": 2}}),
    );
    let (mut execution, mut commands) = begun(&machine, json!([0, 1, 2, 3, 4, 5, 6, 7]));
    let run = started(&commands)[0].0;
    assert_eq!(execution.children_begun(run.frame()), Some(1));
    for (index, outcome) in [(0, succeeded(json!("first"))), (1, failed()), (2, failed()), (3, failed())] {
        commands = bring(&mut execution, &machine, Fact::ChildEnded(run, index, outcome), START_MS).unwrap();
    }
    assert_eq!(
        (ended(&execution).unwrap().0.as_str(), started(&commands).len()),
        ("States.ExceedToleratedFailureThreshold", 0)
    );
    for redrives in 1..=2 {
        commands = bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap();
        execution = serde_json::from_str(&serde_json::to_string(&execution).unwrap()).unwrap();
        let told = execution.map_runs().remove(0);
        let batched = told.batched.unwrap();
        assert_eq!((told.status, told.redrive_count), (MapRunStatus::Running, redrives));
        assert_eq!((told.counts.started, told.counts.succeeded, told.counts.failed), (4, 1, 0));
        assert_eq!((told.running, told.pending, batched.running, batched.pending), (1, 4, 2, 2));
        if redrives == 1 {
            bring(&mut execution, &machine, Fact::Stop(ErrorDetails::default()), START_MS).unwrap();
            let told = execution.map_runs().remove(0);
            let batched = told.batched.unwrap();
            assert_eq!((told.status, told.counts.aborted, batched.counts.aborted), (MapRunStatus::Aborted, 3, 6));
            assert_eq!((told.running, told.pending), (0, 0));
        }
    }
    for index in 1..=3 {
        let open = started(&commands);
        assert_eq!(open.iter().map(|(_, child)| child.index).collect::<Vec<_>>(), [index]);
        let end = Fact::ChildEnded(run, index, succeeded(json!(index)));
        commands = bring(&mut execution, &machine, end, START_MS).unwrap();
    }
    assert_eq!(execution.outcome(), Some(&succeeded(json!(["first", 1, 2, 3]))));
    let runs = execution.map_runs();
    assert_eq!((runs.len(), runs[0].status, runs[0].counts.succeeded), (1, MapRunStatus::Succeeded, 4));
    assert_eq!(execution.children_begun(run.frame()), None, "it has ended");
    assert_eq!(execution.children_begun(FrameId(9)), None);
}

/// What a reader has brought is not asked for again; a run that had brought nothing begins anew, with another reader.
#[test]
fn a_redrive_reads_on_where_the_run_had_come_to() {
    let machine = distributed_map(&json!({"ItemReader": reader(&json!({})), "ItemBatcher": {"MaxItemsPerBatch": 2}}));
    for (items, begins_anew, begun_again, runs) in
        [(0, true, 0, 2), (1, false, 0, 1), (2, false, 1, 1), (3, false, 1, 1)]
    {
        let (mut execution, commands) = begun(&machine, json!({}));
        let mut read = asked(&commands).unwrap();
        if items > 0 {
            let page = Fact::Items(read, vec![json!("a"); items], false);
            read = asked(&bring(&mut execution, &machine, page, START_MS).unwrap()).unwrap();
        }
        bring(&mut execution, &machine, Fact::ReadFailed(read, ErrorDetails::new("R", None)), START_MS).unwrap();
        assert_eq!(ended(&execution).unwrap().0, "R");
        let commands = bring(&mut execution, &machine, Fact::Redrive, START_MS).unwrap();
        let is_read = commands.iter().any(|command| matches!(command, Command::Read(..)));
        assert_eq!((is_read, started(&commands).len()), (begins_anew, begun_again), "{items} items");
        assert_eq!(execution.map_runs().len(), runs, "{items} items");
        let last = Fact::Items(asked(&commands).unwrap(), vec![json!("b"); 4 - items], true);
        let commands = bring(&mut execution, &machine, last, START_MS).unwrap();
        assert_eq!(started(&commands).len() + begun_again, 2, "all four items are in two batches");
    }
}

/// A run whose state failed by its output was told as one that had failed, after it had been told as one that had succeeded.
#[test]
fn each_run_of_an_execution_is_told_with_its_own_end() {
    let map = |more: Value| {
        let label = more["Next"].as_str().map_or("Last", |_| "First");
        let mut map = json!({"Type": "Map", "Label": label, "ItemProcessor": distributed()});
        map["ItemProcessor"]["StartAt"] = map["Label"].clone();
        let call = map["ItemProcessor"]["States"]["Call"].clone();
        map["ItemProcessor"]["States"] = json!({map["Label"].as_str().unwrap(): call});
        map.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        map
    };
    let output = json!({"QueryLanguage": "JSONata", "End": true, "Output": "{% $error('no') %}"});
    let last = map(output);
    let machine = definition(&json!({"StartAt": "A", "States": {"A": map(json!({"Next": "B"})), "B": last}}));
    let (mut execution, mut commands) = begun(&machine, json!([1]));
    for _ in 0..2 {
        let run = started(&commands)[0].0;
        commands = bring(&mut execution, &machine, Fact::ChildEnded(run, 0, succeeded(json!(2))), START_MS).unwrap();
    }
    assert_eq!(ended(&execution).unwrap().0, "States.QueryEvaluationError");
    let runs = execution.map_runs();
    let told: Vec<_> = runs.iter().map(|run| (run.arn.contains("/First:"), run.status)).collect();
    assert_eq!(told, [(true, MapRunStatus::Succeeded), (false, MapRunStatus::Succeeded)]);
    let Command::Record(events) = &commands[0] else { panic!("{commands:?}") };
    let kinds = events.iter().map(|event| event.to_json(false)["type"].as_str().unwrap().to_owned());
    let kinds: Vec<String> = kinds.collect();
    assert_eq!(
        kinds,
        ["MapRunSucceeded", "MapStateSucceeded", "EvaluationFailed", "MapStateFailed", "ExecutionFailed"],
        "the state failed behind its run"
    );
}

#[test]
fn a_play_tells_the_events_of_the_children_and_of_theirs() {
    let mut inner = json!({"Type": "Map", "End": true, "ItemsPath": "$", "ItemProcessor": distributed()});
    inner["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = json!("STANDARD");
    let processor = json!({"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Inner", "States": {"Inner": inner}});
    let machine = map_of(json!({"ItemProcessor": processor}));
    let mut world = script(|call, _| ok(call.arguments.value().clone()));
    let played = run(&machine, json!([[1, 2], [3]]), &mut world);
    assert_eq!(played.outcome, succeeded(json!([[1, 2], [3]])));
    let lengths: Vec<usize> = played.child_histories().iter().map(Vec::len).collect();
    assert_eq!(lengths.len(), 5, "{lengths:?}");
    let calls = played.child_histories().iter().flatten();
    let calls = calls.filter(|event| event.to_json(false)["type"] == "LambdaFunctionScheduled");
    assert_eq!(calls.count(), 3);
    assert!(!types(&played).contains(&"LambdaFunctionScheduled".to_owned()));
    let mut failing = script(|_, _| error("E"));
    let failed: Result<_, Stuck> = Driver::new(&machine, &mut failing, 7).run(
        identity(MachineType::Standard),
        Data::new(json!([[1]])),
        START_MS,
        Vec::new(),
    );
    assert_eq!(failure(&failed.unwrap()).0, "States.ExceedToleratedFailureThreshold");
}
