//! A manual clock goes over sweeps that would find nothing: with a sweep each half minute, a year would be a million turns.

use crate::base::error::EngineError;
use crate::base::timers::SWEEP;
use crate::runtime::engine::Inner;
use crate::runtime::rooms::Rooms;
use crate::runtime::wakes::Wanted;

/// When whoever moves a manual clock is to turn next, mono ns. The sweep stays armed: a turn for another reason brings one that is late.
pub(crate) fn next_due(inner: &mut Inner) -> Option<u64> {
    let due = inner.next_due()?;
    let is_sweep = inner.state.ctx.sweep_armed == Some(due);
    if is_sweep && !inner.is_committing() && inner.state.ctx.commit.reads.is_empty() {
        return after_idle_sweeps(&mut inner.state, due);
    }
    Some(due)
}

fn after_idle_sweeps(rooms: &mut Rooms, armed_ns: u64) -> Option<u64> {
    let mut finds_ms: Option<u64> = None;
    let asked = rooms.try_each_participant(|one| {
        finds_ms = finds_ms.into_iter().chain(one.sweep_finds_ms()?).min();
        Ok::<(), EngineError>(())
    });
    let now = rooms.ctx.now;
    let in_ns = |due_ms: u64| due_ms.saturating_sub(now.wall_ms).saturating_mul(1_000_000);
    let sweep = match asked {
        Ok(()) => finds_ms.map(|due_ms| armed_ns.max(now.mono_ns.saturating_add(in_ns(due_ms)))),
        // The sweep itself will tell of it.
        Err(_) => Some(armed_ns),
    };
    [sweep, rooms.ctx.timers.next_due_but(SWEEP), rooms.ctx.commit.pending.due()].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use crate::base::error::Waiter;
    use crate::runtime::test_engine::{queue, TestEngine, SECOND};
    use crate::store::port::Table;

    const DAY: u64 = 86_400 * SECOND;
    /// How often retention looks, and a commit without haste.
    const LOOKS: u64 = 31 * SECOND;

    /// Move the clock as a test's clock does, from one thing that is due to the next; how many turns that took.
    fn idle(engine: &mut TestEngine, ns: u64) -> u32 {
        let (until_ns, mut turns) = (engine.now.mono_ns + ns, 0);
        loop {
            let due = engine.engine.turn(engine.now).filter(|due| *due <= until_ns);
            turns += 1;
            let to_ns = due.unwrap_or(until_ns).max(engine.now.mono_ns + u64::from(due.is_some()));
            engine.now.wall_ms += (to_ns - engine.now.mono_ns) / 1_000_000;
            engine.now.mono_ns = to_ns;
            if due.is_none() {
                engine.engine.turn(engine.now);
                return turns;
            }
        }
    }

    fn rows(engine: &TestEngine, table: Table) -> usize {
        engine.engine.with(|rooms| rooms.ctx.commit.reader.scan(table, &[], None, 100)).unwrap().len()
    }

    fn workflow(engine: &TestEngine, state: &Value) {
        let definition = json!({"StartAt": "A", "States": {"A": state}}).to_string();
        engine.json("workflow.declare", &json!({"name": "w", "definition": definition}));
        engine.json("execution.start", &json!({"workflow": "w", "name": "one", "input": "{}"}));
    }

    #[test]
    fn a_year_in_which_one_execution_waits_takes_few_turns() {
        let mut engine = TestEngine::new();
        engine.json("queue.declare", &queue("q"));
        engine.json("stream.declare", &json!({"name": "s", "shards": 4, "retention_ms": 86_400_000}));
        workflow(&engine, &json!({"Type": "Wait", "Seconds": 365 * 86_400, "End": true}));
        let status = |engine: &TestEngine| {
            engine.json("execution.describe", &json!({"workflow": "w", "name": "one"}))["status"].clone()
        };
        let turns = idle(&mut engine, 365 * DAY - SECOND);
        assert_eq!(status(&engine), "RUNNING");
        idle(&mut engine, 2 * SECOND);
        assert_eq!(status(&engine), "SUCCEEDED");
        assert!(turns < 200, "{turns} turns");
    }

    #[test]
    fn an_execution_that_ended_goes_after_its_time_and_not_before() {
        let mut engine = TestEngine::new();
        workflow(&engine, &json!({"Type": "Fail"}));
        idle(&mut engine, 14 * DAY);
        assert_eq!((rows(&engine, Table::Execution), rows(&engine, Table::ExecutionClosed)), (1, 1));
        idle(&mut engine, LOOKS);
        assert_eq!(
            (rows(&engine, Table::Execution), rows(&engine, Table::ExecutionClosed)),
            (1, 0),
            "no redrive any more"
        );
        idle(&mut engine, 76 * DAY - LOOKS);
        assert_eq!(rows(&engine, Table::Execution), 1);
        idle(&mut engine, LOOKS);
        assert_eq!((rows(&engine, Table::Execution), rows(&engine, Table::History)), (0, 0));
    }

    #[test]
    fn records_go_after_their_time_and_not_before() {
        let mut engine = TestEngine::new();
        engine.json("stream.declare", &json!({"name": "s", "shards": 1, "retention_ms": 5 * 86_400_000}));
        let put = |engine: &TestEngine| {
            let records = [("k", b"data".as_slice())].into_iter();
            engine.engine.put("s", records, None, Waiter::Call(Box::new(|answer| drop(answer.unwrap()))));
        };
        let records = |engine: &TestEngine| engine.json("stream.describe", &json!({"name": "s"}))["records"].clone();
        idle(&mut engine, 3 * DAY);
        put(&engine);
        idle(&mut engine, 4 * DAY);
        put(&engine);
        idle(&mut engine, DAY);
        assert_eq!(records(&engine), 2);
        idle(&mut engine, LOOKS);
        assert_eq!(records(&engine), 1, "the first one is over");
        idle(&mut engine, 4 * DAY + LOOKS);
        assert_eq!(records(&engine), 0);
    }

    #[test]
    fn a_clock_that_is_set_forward_is_seen_within_half_a_minute() {
        let mut engine = TestEngine::new();
        workflow(&engine, &json!({"Type": "Succeed"}));
        idle(&mut engine, DAY);
        engine.now.wall_ms += 91 * 86_400_000;
        idle(&mut engine, 2 * LOOKS);
        assert_eq!(rows(&engine, Table::Execution), 0);
    }
}
