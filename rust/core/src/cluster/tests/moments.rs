//! The very moment at which each of a lease's times is over.

use super::*;

/// Ask at this moment and have the answer a millisecond later.
fn look(lease: &mut Lease, at_ns: u64, seen: &View) -> Vec<Command> {
    let commands = lease.time(at_ns);
    let [.., Command::Ask { number, .. }] = commands[..] else { panic!("no question at {at_ns}: {commands:?}") };
    lease.answered(number, seen, at_ns + MS)
}

/// A member that has looked at this since 0, every 900 ms until before the end.
fn looking(seen: &View, until_ms: u64) -> Lease {
    let mut lease = Lease::new("a".into(), 1, Rules::default());
    (0..until_ms).step_by(900).for_each(|at_ms| drop(look(&mut lease, at_ms * MS, seen)));
    lease
}

#[test]
fn who_is_silent_lives_until_it_is_dead_and_is_forgotten_much_later() {
    let mut seen = view(&[("a", 1), ("b", 9)], None, 4);
    let names = |lease: &Lease, over_ms| {
        let names = if over_ms < 60_000 { lease.silent() } else { lease.forgettable() };
        names.into_iter().cloned().collect::<Vec<_>>()
    };
    // Its silence counts from the first answer, at 1 ms.
    for over_ms in [5_001, 60_001] {
        let early = looking(&seen, over_ms);
        for (at_ns, is_over) in [(over_ms * MS - 1, false), (over_ms * MS, true)] {
            let mut lease = early.clone();
            look(&mut lease, at_ns, &seen);
            assert_eq!(names(&lease, over_ms), vec!["b"; usize::from(is_over)], "{at_ns}");
            let lives = lease.living(at_ns + MS).iter().any(|name| *name == "b");
            assert_eq!(lives, over_ms < 60_000 && !is_over, "{at_ns}");
        }
    }
    let mut lease = looking(&seen, 60_400);
    assert_eq!(lease.silent(), ["b"]);
    assert_eq!(lease.forgettable(), ["b"]);
    seen.beats.insert("b".into(), 10);
    look(&mut lease, 60_600 * MS, &seen);
    assert!(lease.silent().is_empty() && lease.forgettable().is_empty(), "it beats again");
}

#[test]
fn a_member_runs_for_an_owner_until_that_may_have_been_silent_for_three_and_a_half_seconds() {
    let [before, after] = [9, 10].map(|beat| view(&[("a", 1), ("b", beat)], Some("b"), 4));
    let mut lease = looking(&before, 1_000);
    look(&mut lease, 1_200 * MS, &after);
    look(&mut lease, 2_200 * MS, &after);
    // The question at 900 ms was the last that did not show its beat.
    let may_run = [4_400 * MS - 1, 4_400 * MS].map(|now_ns| lease.may_run_for("b", now_ns));
    assert_eq!((may_run, lease.is_alive(4_400 * MS)), ([true, false], true));
}

#[test]
fn a_question_is_given_up_after_a_second_and_a_half_and_only_by_its_own_number() {
    let mut lease = Lease::new("a".into(), 1, Rules::default());
    assert_eq!(lease.time(0), [Command::Ask { number: 1, beat: Some(1) }]);
    lease.unanswered(2, 9_000 * MS);
    assert_eq!((lease.time(1_500 * MS - 1), lease.next_due()), (vec![], 1_500 * MS), "another one is of no concern");
    assert_eq!(lease.time(1_500 * MS), [Command::Ask { number: 2, beat: Some(2) }]);
    assert_eq!(lease.answered(1, &view(&[("a", 1)], None, 7), 1_501 * MS), [], "it is not heard any more");
    assert!(!lease.is_alive(1_501 * MS));
}

#[test]
fn it_beats_each_second_and_looks_each_quarter_of_one() {
    let mut lease = Lease::new("a".into(), 1, Rules::default());
    let seen = view(&[("a", 1)], Some("b"), 4);
    for (at_ms, beat) in [(0, Some(1)), (250, None), (500, None), (750, None), (1_000, Some(2)), (1_250, None)] {
        if at_ms > 0 {
            assert_eq!((lease.next_due(), lease.time(at_ms * MS - 1)), (at_ms * MS, vec![]), "not before");
        }
        let number = at_ms / 250 + 1;
        assert_eq!(lease.time(at_ms * MS), [Command::Ask { number, beat }]);
        lease.answered(number, &seen, at_ms * MS + 1);
    }
}

#[test]
fn a_unit_that_could_not_be_opened_is_for_this_member_again_after_half_a_minute() {
    let mut lease = looking(&view(&[("a", 1)], None, 7), 100);
    lease.declined(0, 3 * MS);
    for (now_ns, declines) in [(30_003 * MS - 1, vec![0]), (30_003 * MS, vec![])] {
        lease.time(now_ns);
        assert_eq!(lease.declines(), declines);
    }
}

#[test]
fn what_time_it_is_at_the_store_is_known_from_its_answers() {
    let mut lease = Lease::new("a".into(), 1, Rules::default());
    look(&mut lease, 0, &View::default());
    assert_eq!(lease.store_time().ahead_ms(), None);
    look(&mut lease, 1_000 * MS, &View { now_ms: Some(51_000), ..View::default() });
    assert_eq!(lease.store_time().ahead_ms(), Some(50_000));
}
