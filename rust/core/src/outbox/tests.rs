//! What is sent when, and what is dropped.

use proptest::prelude::*;

use super::*;

fn to<const N: usize>(units: [UnitId; N]) -> BTreeSet<UnitId> {
    units.into()
}

fn send(number: u64, to: UnitId) -> Command {
    Command::Send { number, to }
}

#[test]
fn an_entry_is_sent_after_its_commit_and_removed_after_all_have_it() {
    let (mut outbox, commands) = Outbox::restored(6, 10, []);
    assert_eq!(commands, []);
    assert_eq!((outbox.tell(to([1, 2])), outbox.last()), (Ok(7), 7));
    assert_eq!(outbox.committed(6), [], "an earlier commit says nothing of it");
    assert_eq!(outbox.committed(7), [send(7, 1), send(7, 2)]);
    assert_eq!(outbox.sent(7, 2, Sent::Acknowledged), []);
    assert_eq!(outbox.sent(7, 1, Sent::Unknown), [send(7, 1)]);
    assert_eq!(outbox.sent(7, 1, Sent::Acknowledged), [Command::Remove { number: 7 }]);
    assert_eq!(outbox.sent(7, 1, Sent::Acknowledged), [], "it was sent twice");
    assert_eq!(outbox.tell(to([])), Ok(8));
    assert_eq!(outbox.committed(8), [Command::Remove { number: 8 }], "nobody is to be told");
}

#[test]
fn a_unit_is_sent_one_entry_at_a_time() {
    let (mut outbox, _) = Outbox::restored(0, 10, []);
    for _ in 0..3 {
        outbox.tell(to([5])).unwrap();
    }
    outbox.tell(to([6])).unwrap();
    assert_eq!(outbox.committed(4), [send(1, 5), send(4, 6)]);
    assert_eq!(outbox.sent(2, 5, Sent::Acknowledged), [], "it was not sent");
    assert_eq!(outbox.sent(1, 5, Sent::Acknowledged), [send(2, 5), Command::Remove { number: 1 }]);
    assert_eq!(outbox.sent(2, 5, Sent::Unknown), [send(2, 5)]);
}

#[test]
fn the_next_owner_begins_with_what_is_left_and_gives_no_number_out_again() {
    let entry = |number, units: &[UnitId]| Entry { number, to: units.iter().copied().collect() };
    let (mut outbox, commands) = Outbox::restored(9, 10, [entry(8, &[1]), entry(3, &[1, 2])]);
    assert_eq!(commands, [send(3, 1), send(3, 2)]);
    assert_eq!(outbox.tell(to([1])), Ok(10), "9 was told, and its row is gone");
    assert_eq!(outbox.sent(3, 1, Sent::Acknowledged), [send(8, 1)]);
}

#[test]
fn an_outbox_has_a_bound_and_a_row_counts_until_it_is_removed() {
    let (mut outbox, _) = Outbox::restored(0, 2, []);
    outbox.tell(to([1])).unwrap();
    outbox.tell(to([1])).unwrap();
    assert_eq!((outbox.tell(to([1])), outbox.last()), (Err(Full), 2));
    outbox.committed(2);
    outbox.sent(1, 1, Sent::Acknowledged);
    assert_eq!(outbox.room(), 0, "its row is there");
    outbox.removed(1);
    assert_eq!((outbox.room(), outbox.tell(to([1]))), (1, Ok(3)));
}

#[test]
fn a_copy_is_not_taken() {
    let mut cursors: Cursors = [(4, 10)].into_iter().collect();
    assert!(!cursors.take(4, 10) && !cursors.take(4, 9));
    assert!(cursors.take(4, 12), "numbers between are for others");
    assert!(!cursors.take(4, 11) && cursors.take(5, 1));
    assert_eq!((cursors.of(4), cursors.of(5), cursors.of(6)), (12, 1, 0));
}

#[test]
fn pieces_of_work_are_not_cut() {
    assert_eq!(fitting([400, 400, 400], 999), Some(2));
    assert_eq!(fitting([999, 1], 999), Some(1));
    assert_eq!(fitting([1_000], 999), None);
    assert_eq!(fitting([], 999), Some(0));
    assert_eq!(fitting([usize::MAX, usize::MAX], usize::MAX), Some(2));
}

proptest! {
    /// However answers come: first copies arrive in order, all that is told arrives, and nothing is left.
    #[test]
    fn first_copies_arrive_in_order(told in proptest::collection::vec(proptest::collection::btree_set(0..4u32, 0..4), 1..30),
                                    answers in proptest::collection::vec(any::<(bool, prop::sample::Index)>(), 600)) {
        let (mut outbox, mut under_way) = Outbox::restored(0, 100, []);
        let mut removed = BTreeSet::new();
        let mut arrived: BTreeMap<UnitId, Vec<u64>> = BTreeMap::new();
        let mut left = told.iter();
        for (is_known, which) in answers {
            if let Some(units) = left.next() {
                let number = outbox.tell(units.clone()).unwrap();
                under_way.extend(outbox.committed(number));
            }
            if under_way.is_empty() {
                continue;
            }
            let more = match under_way.swap_remove(which.index(under_way.len())) {
                Command::Remove { number } => {
                    prop_assert!(removed.insert(number));
                    outbox.removed(number);
                    Vec::new()
                }
                Command::Send { number, to } => {
                    let log = arrived.entry(to).or_default();
                    if is_known && !log.contains(&number) {
                        log.push(number);
                    }
                    outbox.sent(number, to, if is_known { Sent::Acknowledged } else { Sent::Unknown })
                }
            };
            under_way.extend(more);
        }
        for (to, log) in &arrived {
            prop_assert!(log.is_sorted(), "{to}: {log:?}");
        }
        prop_assert_eq!(removed.len(), told.len());
        prop_assert_eq!(arrived.values().map(Vec::len).sum::<usize>(), told.iter().map(BTreeSet::len).sum::<usize>());
        prop_assert_eq!(outbox.room(), 100);
    }
}
