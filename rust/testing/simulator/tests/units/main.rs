//! Units of a store whose commit is atomic in one stream alone tell each other things by outboxes and cursors: nothing that was
//! acknowledged is lost, and nothing is committed twice. Each planted mistake must be seen.
#![allow(clippy::unwrap_used)]

mod owner;
mod world;

use world::{Counts, World};

/// What an owner may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Takes each copy.
    NoCursor,
    /// Keeps its cursors in memory alone.
    CursorForgotten,
    /// Sends before the commit that wrote the entry.
    SentEarly,
    /// Removes the entry's row when it sends it.
    RemovedEarly,
    /// Begins with the numbers of the rows there are, and not with the last that was given out.
    NumbersAnew,
    /// Sends an entry while an earlier one to the same unit is under way.
    TwoUnderWay,
}

fn number(variable: &str, ordinary: u64) -> u64 {
    std::env::var(variable).map_or(ordinary, |value| value.parse().unwrap())
}

fn life(seed: u64, mistake: Option<Mistake>) -> Result<Counts, String> {
    let mut world = World::new(seed, mistake);
    world.play(1_500);
    world.drain()?;
    world.check()
}

#[test]
fn nothing_that_was_acknowledged_is_lost_and_nothing_is_committed_twice() {
    let first = number("FOREBAY_SEED", 0);
    let mut total = Counts::default();
    for seed in first..first + number("FOREBAY_COUNT", 40) {
        total.add(&life(seed, None).unwrap_or_else(|fault| panic!("FOREBAY_SEED={seed} FOREBAY_COUNT=1: {fault}")));
    }
    println!("figures {{\"messages\": {}, \"told\": {}, \"copies\": {}}}", total.done, total.told, total.copies);
    let Counts { done, told, unanswered, copies, fenced, takes, full } = total;
    assert!(done > 20_000 && told > 5_000 && unanswered > 1_000 && takes > 300, "{total:?}");
    assert!(copies > 100, "copies were stored, which a cursor dropped: {total:?}");
    assert!(fenced > 50 && full > 5, "{total:?}");
}

/// The first life that shows it.
fn seen(mistake: Mistake) {
    let found = (0..60).find_map(|seed| life(seed, Some(mistake)).err().map(|fault| (seed, fault)));
    let (seed, fault) = found.unwrap_or_else(|| panic!("{mistake:?} is not seen"));
    println!("{mistake:?}: seed {seed}: {fault}");
}

#[test]
fn a_unit_without_cursors_is_seen() {
    seen(Mistake::NoCursor);
}

#[test]
fn a_cursor_that_is_not_in_the_commit_is_seen() {
    seen(Mistake::CursorForgotten);
}

#[test]
fn an_entry_that_is_sent_before_its_commit_is_seen() {
    seen(Mistake::SentEarly);
}

#[test]
fn an_entry_that_is_removed_before_it_is_acknowledged_is_seen() {
    seen(Mistake::RemovedEarly);
}

#[test]
fn a_number_that_is_given_out_again_is_seen() {
    seen(Mistake::NumbersAnew);
}

#[test]
fn two_entries_under_way_to_one_unit_are_seen() {
    seen(Mistake::TwoUnderWay);
}
