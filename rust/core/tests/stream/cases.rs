//! `tests/cases/stream.json`: what happens when, with the source of each row.

use std::collections::VecDeque;
use std::fmt::Write;

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::protocol::{Backoff, Command, Event, Outcome, Record, Report, Settings};
use serde_json::Value;

use crate::sim::Attempt;
use crate::sim::Handler;
use crate::sim::Seen;
use crate::sim::Sim;
use crate::sim::START_MS;

const TABLE: &str = include_str!("../../../../tests/cases/stream.json");

/// The mapping's settings where a row does not say otherwise.
fn settings_of(row: &Value) -> Settings {
    let mut settings = Settings {
        batch_size: 100,
        window_ms: 0,
        batch_bytes_max: 6_291_556,
        parallelization_factor: 1,
        maximum_retry_attempts: Some(10_000),
        maximum_record_age_ms: None,
        bisect: false,
        report_item_failures: false,
        tumbling_window_ms: 0,
        backoff: Backoff { base_ms: 1000, cap_ms: 8000, jitter: 0.0 },
    };
    change(&mut settings, &row["settings"]);
    settings
}

fn change(settings: &mut Settings, changes: &Value) {
    for (name, value) in changes.as_object().into_iter().flatten() {
        let number = value.as_u64();
        match name.as_str() {
            "batch_size" => settings.batch_size = number.unwrap() as u32,
            "window_ms" => settings.window_ms = number.unwrap(),
            "batch_bytes_max" => settings.batch_bytes_max = number.unwrap(),
            "parallelization_factor" => settings.parallelization_factor = number.unwrap() as u8,
            "maximum_retry_attempts" => settings.maximum_retry_attempts = number.map(|n| n as u32),
            "maximum_record_age_ms" => settings.maximum_record_age_ms = number,
            "bisect" => settings.bisect = value.as_bool().unwrap(),
            "report_item_failures" => settings.report_item_failures = value.as_bool().unwrap(),
            "tumbling_window_ms" => settings.tumbling_window_ms = number.unwrap(),
            "backoff_ms" => {
                settings.backoff.base_ms = value[0].as_u64().unwrap();
                settings.backoff.cap_ms = value[1].as_u64().unwrap();
            }
            other => panic!("unknown setting {other}"),
        }
    }
}

/// Groups of `{count, at_ms, key, bytes, passes}`; `every_ms` spaces the records of a group. Positions count through.
fn log_of(row: &Value) -> Vec<Record> {
    let mut log = Vec::new();
    for group in row["records"].as_array().unwrap() {
        for nth in 0..group["count"].as_u64().unwrap_or(1) {
            let at_ms = group["at_ms"].as_i64().unwrap_or(0) + (nth * group["every_ms"].as_u64().unwrap_or(0)) as i64;
            log.push(Record {
                position: log.len() as u64,
                key_hash: group["key"].as_u64().unwrap_or(0) as u32,
                bytes: group["bytes"].as_u64().unwrap_or(100) as u32,
                arrival_ms: START_MS.checked_add_signed(at_ms).unwrap(),
                passes: group["passes"].as_bool().unwrap_or(true),
            });
        }
    }
    log
}

/// `outcomes` are used up in the order of the runs; afterwards `poison` records raise, `failing` ones are reported, and
/// everything else succeeds.
fn handler_of(row: &Value) -> Handler<'static> {
    let numbers = |name: &str| -> Vec<u64> {
        row[name].as_array().into_iter().flatten().map(|number| number.as_u64().unwrap()).collect()
    };
    let mut outcomes: VecDeque<Value> = row["outcomes"].as_array().cloned().unwrap_or_default().into();
    let (poison, failing) = (numbers("poison"), numbers("failing"));
    let takes_ms = row["takes_ms"].as_u64().unwrap_or(0);
    let state = row["state"].as_str().map(str::to_owned);
    Box::new(move |attempt: &Attempt| {
        let holds =
            |list: &[u64]| -> Vec<u64> { attempt.positions.iter().copied().filter(|p| list.contains(p)).collect() };
        let reported = holds(&failing);
        let outcome = match outcomes.pop_front() {
            Some(scripted) => outcome_of(&scripted, state.as_deref()),
            None if !holds(&poison).is_empty() => Outcome::Error,
            None if !reported.is_empty() => success(Report::Failed(reported), state.as_deref()),
            None => success(Report::AllSucceeded, state.as_deref()),
        };
        (takes_ms, outcome)
    })
}

fn success(report: Report, state: Option<&str>) -> Outcome {
    Outcome::Success { report, state: state.map(str::to_owned) }
}

fn outcome_of(scripted: &Value, state: Option<&str>) -> Outcome {
    if let Some(failed) = scripted["failed"].as_array() {
        return success(Report::Failed(failed.iter().map(|p| p.as_u64().unwrap()).collect()), state);
    }
    if let Some(bytes) = scripted["state_bytes"].as_u64() {
        return success(Report::AllSucceeded, Some(&"x".repeat(bytes as usize)));
    }
    if let Some(state) = scripted["state"].as_str() {
        return success(Report::AllSucceeded, Some(state));
    }
    match scripted.as_str().unwrap() {
        "ok" => success(Report::AllSucceeded, state),
        "no state" => success(Report::AllSucceeded, None),
        "malformed" => success(Report::Malformed, state),
        "error" => Outcome::Error,
        "timeout" => Outcome::Timeout,
        "not invoked" => Outcome::NotInvoked,
        "interrupted" => Outcome::Interrupted,
        other => panic!("unknown outcome {other}"),
    }
}

/// `3-5,9`
fn ranges(positions: &[u64]) -> String {
    let mut text = String::new();
    let mut rest = positions;
    while let Some(&first) = rest.first() {
        let run = rest.iter().zip(first..).take_while(|(position, expected)| *position == expected).count();
        let comma = if text.is_empty() { "" } else { "," };
        let last = rest[run - 1];
        let _ = if run == 1 { write!(text, "{comma}{first}") } else { write!(text, "{comma}{first}-{last}") };
        rest = &rest[run..];
    }
    if text.is_empty() {
        text.push('-');
    }
    text
}

fn described(command: &Command) -> String {
    match command {
        Command::Run { lane, attempt, positions, window, alone, interruptions, .. } => {
            let mut text = format!("run {lane} #{attempt} {}", ranges(positions));
            if let Some(window) = window {
                let [from, to] = [window.start_ms, window.end_ms].map(|ms| ms as i64 - START_MS as i64);
                let state = if window.state.len() > 40 { "large" } else { &window.state };
                let _ = write!(text, " window {from}..{to} {state}");
                text.push_str(if window.is_final { " final" } else { "" });
                text.push_str(if window.is_terminated_early { " early" } else { "" });
            }
            if *alone {
                let _ = write!(text, " alone {interruptions}");
            }
            text
        }
        Command::Recall { lane, .. } => format!("recall {lane}"),
        Command::Discard { condition, lane, positions, attempts, by_report } => {
            let reported = if *by_report { " by report" } else { "" };
            format!("discard {lane} {condition:?} x{attempts} {}{reported}", ranges(positions))
        }
        Command::Checkpoint(checkpoint) => {
            let marks: Vec<String> = checkpoint.marks.iter().map(u64::to_string).collect();
            let ended = if checkpoint.ended { " ended" } else { "" };
            format!("checkpoint {}{ended}", marks.join(" "))
        }
        Command::Count(Event::Retry) => "count retry".into(),
        Command::Count(Event::Bisect) => "count bisect".into(),
        Command::Count(Event::Filtered(count)) => format!("count filtered {count}"),
    }
}

fn act(sim: &mut Sim, action: &Value, settings: &mut Settings) {
    let now = sim.now();
    match action["do"].as_str().unwrap() {
        "pause" => sim.machine.pause(),
        "resume" => sim.machine.resume(&now),
        "seek" => sim.machine.seek(action["position"].as_u64().unwrap(), &now),
        "close" => sim.machine.closed(sim.log.len() as u64, &now),
        "crash" => drop(sim.crash(settings.clone(), 0)),
        "skip" => {
            let skipped = sim.machine.skip(action["lane"].as_u64().map(|lane| lane as u8), &now);
            assert_eq!(skipped as u64, action["batches"].as_u64().unwrap(), "batches skipped");
        }
        "trim" => {
            sim.trimmed = action["position"].as_u64().unwrap();
            let lost = sim.machine.skipped_to(sim.trimmed, &now);
            assert_eq!(lost, action["lost"].as_u64().unwrap(), "records lost unread");
        }
        "configure" => {
            change(settings, &action["settings"]);
            sim.machine.configure(settings.clone(), &now);
        }
        other => panic!("unknown action {other}"),
    }
}

/// Every command of the kinds the row shows (`run` and `discard` by default), with its time.
fn played(row: &Value) -> Vec<String> {
    let default = [Value::from("run"), Value::from("discard")];
    let shown: Vec<&str> =
        row["show"].as_array().map_or(&default[..], Vec::as_slice).iter().filter_map(Value::as_str).collect();
    let mut settings = settings_of(row);
    let mut sim = Sim::new(settings.clone(), log_of(row), handler_of(row));
    sim.fetch_max = row["fetch_max"].as_u64().map_or(usize::MAX, |most| most as usize);
    sim.room_at_ms = row["room_at_ms"].as_u64().unwrap_or(0);
    let mut lines = Vec::new();
    let mut saved = sim.checkpoints[0].clone();
    let mut see = |sim: &Sim, seen: Seen<'_>| {
        if let Seen::Command(command) = seen {
            if let Command::Checkpoint(checkpoint) = command {
                let before = std::mem::replace(&mut saved, checkpoint.clone());
                let is_same_but_for_tries = Checkpoint { tried: before.tried.clone(), ..saved.clone() } == before;
                if is_same_but_for_tries && saved.tried != before.tried {
                    return;
                }
            }
            let line = described(command);
            if shown.iter().any(|kind| line.starts_with(kind)) {
                lines.push(format!("{} {line}", sim.elapsed_ms));
            }
        }
    };
    for action in row["actions"].as_array().into_iter().flatten() {
        sim.run_until(action["at_ms"].as_u64().unwrap(), &mut see);
        act(&mut sim, action, &mut settings);
    }
    sim.run_until(row["until_ms"].as_u64().unwrap_or(600_000), &mut see);
    lines
}

#[test]
fn every_row_of_the_table_happens_as_it_says() {
    let table: Vec<Value> = serde_json::from_str(TABLE).unwrap();
    let mut wrong = String::new();
    for row in &table {
        assert!(row["source"].as_str().is_some_and(|source| !source.is_empty()), "{} has no source", row["name"]);
        let lines = played(row);
        let expected: Vec<&str> = row["expect"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        if lines != expected {
            let _ = writeln!(wrong, "\n{}\n  expected {expected:#?}\n  happened {lines:#?}", row["name"]);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
