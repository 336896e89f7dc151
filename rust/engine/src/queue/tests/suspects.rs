//! What was in a handler's hands when the process died.

use serde_json::json;

use crate::rig::{Rig, SECOND};

#[test]
fn what_a_handler_had_when_the_process_died_comes_back_counted_and_alone_one_by_one() {
    let mut rig = Rig::new();
    rig.declare("q");
    rig.bind("q");
    rig.send("q", ["a", "b", "c"].into_iter().map(str::to_owned)).unwrap();
    let mut works = rig.take();
    works.sort_by_key(|(_, items)| items[0].0.clone());
    assert_eq!(works[0].1, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    rig.settle(works[1].0, 0);
    rig.advance(SECOND);
    let mut rig = rig.crashed();
    rig.bind("q");
    rig.send("q", ["d".to_owned()].into_iter()).unwrap();
    for body in ["a", "b"] {
        let works = rig.take();
        assert_eq!(works.len(), 1, "nothing runs beside a suspect: {works:?}");
        assert_eq!(works[0].1, [(body.to_owned(), 2)]);
        rig.settle(works[0].0, 0);
        rig.advance(SECOND);
    }
    let works = rig.take();
    assert_eq!(works[0].1, [("d".to_owned(), 1)]);
    rig.settle(works[0].0, 0);
    rig.advance(SECOND);
    assert!(rig.crashed().take().is_empty());
}

/// A suspect that its function's rate kept from starting was looked at again when something else happened: every 30 seconds.
#[test]
fn a_suspect_that_is_kept_back_by_a_rate_starts_when_its_time_has_come() {
    let rig = Rig::new();
    rig.declare("q");
    rig.bind("q");
    rig.send("q", ["a", "b", "c"].into_iter().map(str::to_owned)).unwrap();
    assert_eq!(rig.take().len(), 2, "two batches are in flight");
    let mut rig = rig.crashed();
    rig.bind("q");
    rig.json("function.update", &json!({"name": "f", "rate_limit": 1}));
    for body in ["a", "b"] {
        let works = rig.take();
        assert_eq!(works[0].1[0].0, body);
        rig.settle(works[0].0, 0);
        rig.advance(0);
    }
    assert!(rig.take().is_empty(), "the rate is used up");
    rig.advance(SECOND / 100); // what was deleted is written by now
    assert_eq!(rig.engine.turn(rig.now), Some(SECOND));
    rig.advance(SECOND);
    assert_eq!(rig.take()[0].1[0].0, "c");
}
