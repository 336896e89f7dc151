//! What one turn may cost: nobody waits long for the engine's lock, and memory is bounded.

use serde_json::{json, Value};

use super::{shop, MINUTE};
use crate::buses::{replay, schedule};
use crate::runtime::test_engine::SECOND;

/// After a stop of a week 256 schedules of a turn passed over 10,000 due times each, one after the other, under the lock.
#[test]
fn schedules_that_have_missed_much_do_not_all_have_one_turn() {
    let mut engine = shop(&json!([]));
    for n in 0..6 {
        let asked = json!({"name": format!("s{n}"), "expression": "cron(* * * * ? *)", "function": "f", "input": "1"});
        engine.json("schedule.put", &asked);
    }
    engine.now.mono_ns += 10_080 * MINUTE;
    engine.now.wall_ms += 10_080 * 60_000;
    let now = engine.now;
    let is_still_due = engine.engine.with(|rooms| {
        rooms.ctx.now = now;
        rooms.buses.schedules.look(now.wall_ms);
        schedule::fire_due(&mut rooms.event_buses());
        rooms.buses.schedules.next_ms().is_some_and(|fires_ms| fires_ms <= now.wall_ms)
    });
    assert!(is_still_due, "the others have their turn later");
    engine.advance(SECOND);
    let missed = |n: u64| engine.json("schedule.describe", &json!({"name": format!("s{n}")}))["missed"].as_u64();
    assert!((0..6).all(|n| missed(n) >= Some(10_000)), "{:?}", missed(5));
    assert!((6..=12).contains(&engine.events().len()), "each has fired for the last minute");
}

/// The timer rang again in the same turn: 5,000 schedules of one moment fired before the lock was let go.
#[test]
fn schedules_of_one_moment_have_several_turns() {
    let mut engine = shop(&json!([]));
    for n in 0..300 {
        let asked = json!({"name": format!("s{n}"), "expression": "rate(5 minutes)", "function": "f", "input": "1"});
        engine.json("schedule.put", &asked);
    }
    engine.now.mono_ns += 5 * MINUTE;
    engine.now.wall_ms += 5 * 60_000;
    let now = engine.now;
    let is_still_due = engine.engine.with(|rooms| {
        (rooms.ctx.now, rooms.ctx.has_threads) = (now, true);
        rooms.turn();
        rooms.ctx.has_threads = false;
        rooms.buses.schedules.next_ms().is_some_and(|fires_ms| fires_ms <= now.wall_ms)
    });
    assert!(is_still_due);
    engine.advance(SECOND);
    assert_eq!(engine.events().len(), 300);
}

/// Ten replays gave a batch each in one turn.
#[test]
fn replays_take_turns() {
    let mut engine = shop(&json!([]));
    engine.json("archive.put", &json!({"name": "all", "bus": "shop"}));
    let entry = json!({"source": "shop", "detail_type": "n", "detail": "{}"});
    engine.asked("bus.put", &json!({"bus": "shop", "entries": vec![entry; 100]})).unwrap();
    for name in ["a", "b", "c"] {
        let asked = json!({"name": name, "bus": "shop", "archive": "all", "start_ms": 0, "end_ms": 4_000_000_000_000_u64,
            "rate": 100});
        engine.asked("replay.start", &asked).unwrap();
    }
    engine.now.mono_ns += SECOND;
    let now = engine.now;
    // Whoever lets the lock go with a manual clock does all that is due.
    engine.engine.with(|rooms| {
        rooms.ctx.now = now;
        for turn in 1..=3 {
            replay::replay_due(&mut rooms.event_buses());
            let moved = rooms.buses.replays.rows().filter(|row| row.events > 10).count();
            assert_eq!(moved, turn, "one after the other");
        }
    });
    for _ in 0..20 {
        engine.advance(SECOND);
    }
    let is_over = |name: &str| engine.json("replay.describe", &json!({ "name": name }))["state"] == "COMPLETED";
    assert!(["a", "b", "c"].into_iter().all(is_over));
}

/// What targets did not take was counted nowhere: one call could fill the memory.
#[test]
fn what_targets_do_not_take_counts_as_waiting_for_the_disk() {
    let gone = |n: u32| json!({"id": n.to_string(), "queue": format!("gone{n}")});
    let engine = shop(&Value::from((0..5).map(gone).collect::<Vec<_>>()));
    let detail = json!({"text": "x".repeat(500_000)}).to_string();
    let entry = json!({"source": "shop", "detail_type": "shipped", "detail": detail});
    let answer = engine.asked("bus.put", &json!({"bus": "shop", "entries": vec![entry; 40]})).unwrap();
    let results = answer.as_array().unwrap();
    let refused = results.iter().filter(|one| one["error_code"] == "ThrottlingException").count();
    assert!((20..35).contains(&refused), "{refused} of 40 were refused");
}
