//! A member that lives and sees another owner of what it holds.

use super::*;

/// A primary died before its standby had the take of this member. The head named another one again, which took the unit and ran it, while
/// what this member ran went on until its next commit.
#[test]
fn a_member_that_sees_another_owner_stops_what_runs() {
    for (owner, epoch) in [("b", 8), ("b", 9), ("c", 8)] {
        let (mut lease, _) = joined(&view(&[("a", 1), ("b", 1)], None, 7));
        lease.taken(0, Taken::Yes(8), 2 * MS);
        lease.taken(1, Taken::Yes(3), 2 * MS);
        let mut look = |at: u64, owner: &str, epoch: u64| {
            let Some(Command::Ask { number, .. }) = lease.time(at * MS).pop() else { panic!("it beats") };
            let commands = lease.answered(number, &view(&[("a", 1), ("b", at)], Some(owner), epoch), (at + 1) * MS);
            (commands, lease.may_run(0, (at + 1) * MS), lease.clone())
        };
        let before = look(1_000, "b", 7);
        assert_eq!(
            (before.0, before.1),
            (vec![], Some(8)),
            "its standby is promoted, and the other one does not know yet"
        );
        let (commands, may_run, lost) = look(1_300, owner, epoch);
        assert_eq!((commands, may_run), (vec![Command::StandDown], None));
        assert_eq!(lost.may_run(1, 1_301 * MS), None, "that stops all that runs here");
        assert!(lost.is_alive(1_301 * MS));
        assert_eq!(look(1_600, owner, epoch).0, [], "it is told once");
        // The other one gives it up while something still stops here.
        assert_eq!(look(1_900, "a", epoch).0, [], "nothing is taken before all of it has stopped");
        lease.stopped();
        let Some(Command::Ask { number, .. }) = lease.time(2_200 * MS).pop() else { panic!("it beats") };
        let commands = lease.answered(number, &view(&[("a", 2)], None, epoch), 2_201 * MS);
        assert_eq!(commands, [Command::Take { unit: 0, epoch, deaths: 0 }]);
    }
}

/// Who gives a unit up sees its next owner before it knows that the release is through.
#[test]
fn a_member_that_gives_its_unit_up_is_not_told_to_stop() {
    let look = |lease: &mut Lease, at: u64, seen: &View| {
        let Some(Command::Ask { number, .. }) = lease.time(at * MS).pop() else { panic!("it beats") };
        lease.answered(number, seen, (at + 1) * MS)
    };
    let beats = [("a", 1), ("b", 1)];
    let (mut handing_over, _) = joined(&view(&beats, None, 7));
    handing_over.taken(0, Taken::Yes(8), 2 * MS);
    let mut closed = handing_over.clone();
    let mut wanted = view(&beats, Some("a"), 8);
    wanted.heads[0].wanted = Some("b".into());
    assert_eq!(look(&mut handing_over, 1_000, &wanted), [Command::HandOver { unit: 0 }]);
    assert_eq!(look(&mut handing_over, 2_000, &view(&beats, Some("b"), 9)), []);
    assert_eq!((handing_over.may_run(0, 2_001 * MS), closed.may_run(0, 2_001 * MS)), (None, Some(8)));
    // One that closes, or fails late in opening, leaves a head that names nobody. It says so a moment later.
    assert!(!look(&mut closed, 1_000, &view(&beats, None, 8)).contains(&Command::StandDown));
    closed.lost(0);
    assert!(!look(&mut closed, 2_000, &view(&beats, Some("b"), 9)).contains(&Command::StandDown));
}
