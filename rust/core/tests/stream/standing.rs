//! What people are told of a shard's lanes and records.

use forebay_core::stream::protocol::Outcome;
use forebay_core::stream::ShardMachine;

use crate::reading::fed;
use crate::reading::runs;
use crate::reading::success;
use crate::reading::NOW;

type Told = (&'static str, Option<u64>, usize, u32, Option<u64>);

fn lane(machine: &ShardMachine, lane: usize) -> Option<Told> {
    let status = forebay_core::stream::status::lane_status(machine, lane)?;
    Some((status.name, status.first, status.records, status.attempt, status.retry_at_ns))
}

#[test]
fn a_lane_tells_what_it_does() {
    let mut machine = fed(1, 2, 4);
    assert_eq!(runs(&mut machine).len(), 2);
    assert_eq!(lane(&machine, 0), Some(("running", Some(0), 2, 1, None)));
    assert_eq!((machine.lanes_busy(), forebay_core::stream::status::lanes_waiting(&machine)), (2, 0));
    machine.completed(1, &Outcome::Error, &NOW);
    let retry_at_ns = NOW.mono_ns + 3_600_000_000_000;
    assert_eq!(lane(&machine, 1), Some(("waiting", Some(1), 2, 2, Some(retry_at_ns))));
    assert_eq!((machine.lanes_busy(), forebay_core::stream::status::lanes_waiting(&machine)), (2, 1));
    machine.completed(0, &success(), &NOW);
    assert_eq!(runs(&mut machine), [(2, 0, vec![2])]);
    machine.completed(2, &success(), &NOW);
    assert_eq!(lane(&machine, 0), Some(("idle", None, 0, 0, None)));
    assert_eq!((machine.lanes_busy(), forebay_core::stream::status::lanes_waiting(&machine)), (1, 1));
    assert_eq!(lane(&machine, 2), None);
    assert!(!machine.lends());
    machine.lend(vec![1], &NOW);
    assert!(machine.lends());
}

#[test]
fn a_record_tells_how_it_stands() {
    let mut machine = fed(1, 2, 4);
    assert_eq!(runs(&mut machine).len(), 2);
    machine.completed(1, &Outcome::Error, &NOW);
    let standing = |machine: &ShardMachine| -> Vec<_> {
        (0..5).map(|at| forebay_core::stream::status::standing(machine, at, at as u32)).collect()
    };
    let told = [(0, "running"), (1, "retried"), (0, "waiting"), (1, "waiting"), (0, "unread")];
    assert_eq!(standing(&machine), told);
    machine.completed(0, &success(), &NOW);
    let told = [(0, "done"), (1, "retried"), (0, "running"), (1, "waiting"), (0, "unread")];
    assert_eq!(standing(&machine), told);
}

#[test]
fn a_shard_tells_how_much_it_holds_and_which_record_is_its_oldest() {
    let mut machine = fed(1, 2, 4);
    let told = |machine: &ShardMachine| (machine.in_flight(), machine.held(), machine.oldest());
    let oldest = |position| Some((position, NOW.wall_ms));
    assert_eq!(runs(&mut machine).len(), 2);
    assert_eq!(told(&machine), (2, 4, oldest(0)));
    machine.completed(0, &success(), &NOW);
    assert_eq!(told(&machine), (2, 3, oldest(1)), "the lane's next one runs");
    for (batch, left) in [(1, (2, 2, oldest(2))), (2, (1, 1, oldest(3))), (3, (0, 0, None))] {
        machine.completed(batch, &success(), &NOW);
        assert_eq!(told(&machine), left, "{batch}");
    }
}
