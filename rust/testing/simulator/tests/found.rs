//! Lives that once broke a promise, the smallest that did, each with what it was.

use forebay_simulator::plan::{Fault, Plan};
use forebay_simulator::shrink;

/// A life that was found before there was a fault `Brim`.
fn lives(seed: u64, steps: u64, without: &str) {
    lives_without(seed, steps, &format!("{without} brim"));
}

fn lives_without(seed: u64, steps: u64, without: &str) {
    let named = |name| Fault::named(name).unwrap_or_else(|| panic!("there is no fault {name:?}"));
    let without = without.split_whitespace().map(named).collect();
    let plan = Plan { steps, without, ..Plan::of(seed) };
    assert_eq!(shrink::run(&plan).err(), None, "{plan}");
}

/// The engine: a record that hung past its deadline was blamed alone for what others did that had begun beside it.
#[test]
fn a_record_that_only_hangs_is_not_given_up_for_the_crashes_of_others() {
    lives(2688, 4_000, "clock pause seek skip purge");
}

/// The engine: messages of a strict mapping waited for the suspects of a crash until their visibility timeout was over, and ran twice.
#[test]
fn what_a_strict_mapping_receives_does_not_wait_for_suspects() {
    lives(3730, 4_000, "");
}

/// The engine: events that only the store held were given up as too old when somebody had set the clock.
#[test]
fn events_that_only_the_store_holds_are_made_no_older_by_the_clock() {
    lives(11_768, 3_500, "power full reshard settings pause seek retention calm hand");
}

/// The ledger: a message whose chain has gone through 16 functions moves to the dead letters, and stays where there are none, though no
/// handler was given it.
#[test]
fn a_message_whose_chain_is_stopped_is_given_to_no_handler() {
    lives(
        7_843,
        187,
        "power full broken clock reshard pause seek skip delete redrive timeout noattempt killer destination calm hand purge",
    );
    lives(6_110, 1_125, "kill broken delete timeout report poison");
}

/// The engine: events from before the clock was set back stood in the store behind all that came after, and had no turn while more waited
/// than memory holds.
#[test]
fn events_have_their_turn_in_the_order_in_which_they_came() {
    lives(7_107, 3_062, "reshard settings retention timeout destination purge");
}

/// The ledger: a shard whose parent is empty still waits for those that its parent came from.
#[test]
fn a_shard_waits_for_all_that_it_came_from() {
    lives(9_637, 2_625, "pause");
}

/// The ledger: a record was on its way to its destination when the same records were given up again, and its confirmation was taken for
/// that of the new one.
#[test]
fn a_failure_that_another_takes_the_place_of_is_confirmed_for_itself() {
    lives(14_491, 4_000, "");
}

/// The ledger: a receive that waited while the queue's visibility timeout was changed has its messages for the new one.
#[test]
fn a_receive_that_waits_is_given_the_time_of_when_it_ends() {
    let without = "kill power stop full broken clock reshard pause seek skip delete error destination purge";
    lives(16_013, 1_500, without);
}

/// The engine: the power had taken the newest records of a suspect, and its batch waited for them until somebody put more.
#[test]
fn a_suspect_does_not_wait_for_records_that_the_power_has_taken() {
    lives(27_356, 4_000, "settings delete killer hand move");
}

/// The ledger: records were given up, and then their mapping was moved back. The failure became durable after that, and was taken for one
/// of the second time, before which nothing earlier of their keys may begin.
#[test]
fn what_was_given_up_before_a_mapping_was_moved_waits_anew_after_it() {
    lives(25_754, 3_500, "");
    lives(26_404, 3_500, "");
}

/// The ledger: the disk failed under a mapping's first commit and kept it, after other settings had been asked for, by which it then judged
/// what had been given up under the first ones.
#[test]
fn what_a_new_mapping_has_given_up_is_judged_by_all_settings_it_has_had() {
    lives(24_391, 4_000, "");
}

/// The ledger: a receiver had asked to have its message for longer, and the process died before it was told that it does.
#[test]
fn a_message_is_held_for_longer_over_a_crash_once_its_receiver_was_told_so() {
    lives(28_437, 3_500, "");
}

/// The engine: a publication that no subscription took was set apart on a full disk with what adds something, and never answered unless
/// something else was written.
#[test]
fn a_publication_that_nobody_takes_is_answered_on_a_full_disk() {
    lives(31_424, 218, "redrive error");
}

/// The simulator: failures that an operator had run again were still running, one after the other, when it took the app to be at rest
/// between two of them.
#[test]
fn an_app_is_not_at_rest_between_two_failures_that_are_run_again() {
    lives(27_948, 3_500, "destination");
}

/// The ledger: a record that was written down as failed was handled after its mapping was moved, and then an operator had the failure run
/// again.
#[test]
fn a_failure_is_run_again_though_its_records_were_handled_since() {
    lives(49_351, 1_000, "");
}

/// The ledger: the crash had taken, or left, the commit by which a redrive began an event's life anew, and its age was told by the other.
#[test]
fn how_old_a_redriven_event_is_the_store_tells_after_a_crash() {
    lives(52_078, 3_062, "");
    lives(56_101, 1_125, "delete");
}

/// The ledger: the store failed under a change of visibility and kept it, and its receiver, who cannot know, was taken to hold the message
/// for as long as before.
#[test]
fn a_change_of_visibility_that_nobody_can_answer_for_may_have_been_made() {
    lives(600_242, 2_625, "power stop settings delete calm purge");
}

/// The engine: a mapping was moved back while the disk wrote what it had given up, and gave the same records up again. That failure was sent
/// as soon as the first was durable, before it was so itself.
#[test]
fn a_failure_is_sent_when_it_is_durable_itself() {
    lives(54_389, 4_000, "skip");
}

/// The ledger: the power had taken what retention did, and a mapping that was moved to the oldest record began with one that was there again.
#[test]
fn what_retention_dropped_is_there_again_when_the_power_has_taken_that() {
    lives(910_379, 1_148, "clock reshard skip");
}

/// The engine: a message was deleted while it moved to the dead letters, which a full disk refused: the deletion was answered, and the
/// message came again.
#[test]
fn a_dead_letter_on_its_way_takes_no_deletion() {
    lives(26_064, 2_625, "");
}

/// The ledger: a mapping was moved back and gave the same records up again in the same millisecond, and the failure was taken for the first.
#[test]
fn records_that_are_given_up_twice_in_a_millisecond_fail_twice() {
    lives(
        25_885,
        2_625,
        "kill stop full broken clock reshard pause skip redrive error timeout noattempt poison killer",
    );
}

/// The ledger: the last invoke of a window did not reach its function, and its shard's records were late while it waited to be tried again.
#[test]
fn a_shard_waits_with_its_window_to_be_tried_again() {
    lives_without(5_007_281, 2_250, "reshard redrive destination purge");
}

/// The engine, found by a kill under load: a message that was used up made room for the next of its group before it stood among the dead
/// letters; a crash brought it back, and it ran when that had passed it.
#[test]
fn a_group_waits_until_its_dead_letter_has_arrived() {
    lives(26, 3_000, "full reshard delete error noattempt poison killer destination purge move");
}

/// The engine: a batch that was run again ran beside newer records of its keys.
#[test]
fn what_is_run_again_has_its_keys_for_itself() {
    lives_without(7_000_163, 250, "kill power stop full broken clock settings pause seek delete noattempt killer destination hand purge move brim");
}

/// The ledger: a message was received for the old visibility timeout, and handed out when a longer one had been asked for.
#[test]
fn a_message_is_held_as_long_as_was_said_when_it_was_received() {
    lives_without(
        8_023_203,
        1_312,
        "kill power stop full broken clock reshard pause seek skip delete redrive error timeout noattempt report killer destination calm \
         hand purge move brim",
    );
}

/// The harness: messages whose chain was stopped come and go, and the store was still busy with them when everything was over.
#[test]
fn what_comes_and_goes_for_ever_is_no_sign_of_something_left() {
    lives_without(8_015_854, 4_000, "power broken seek calm move");
}

/// The ledger: a mapping was deleted while a failure of it was run again, and a power cut brought it back with that still under way.
#[test]
fn a_mapping_that_a_power_cut_brings_back_runs_nothing_again() {
    lives_without(8_208_112, 3_500, "stop reshard settings pause skip killer move");
}

/// The engine: a sweep began while the clock was set a year ahead, and dropped listed failures after somebody had set it right.
#[test]
fn a_clock_that_is_set_right_in_time_drops_no_listed_failure() {
    lives_without(8_300_148, 3_000, "brim");
}

/// The ledger: an event had run to its end when a disk lost it together with its deduplication id, so the id was free again.
#[test]
fn a_lost_event_takes_its_deduplication_id_along() {
    lives_without(1_194, 2_009, "stop clock reshard retention purge");
}

/// The engine: behind more waiting events than memory holds, a delayed one ran early when somebody had set the clock forth.
#[test]
fn a_delayed_event_that_only_the_store_holds_waits_though_the_clock_is_set() {
    lives_without(254, 4_000, "power broken reshard seek redrive report calm hand purge");
}

/// The engine: behind more waiting events than memory holds, a delayed one ran a millisecond early.
#[test]
fn a_delayed_event_that_only_the_store_holds_waits_to_the_millisecond() {
    lives_without(
        175_509,
        3_000,
        "broken clock reshard settings skip delete retention redrive noattempt report poison killer calm purge move",
    );
}
