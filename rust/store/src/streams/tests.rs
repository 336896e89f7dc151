//! What the broker promises, and what it does not.

use super::*;
use crate::chunk::Chunk;
use crate::port::BlockingStore as _;

fn set(name: &str) -> Write {
    Write::Set { table: Table::Meta, key: name.into(), value: Vec::new() }
}

fn times(streams: &Streams, unit: u32, name: &str) -> u32 {
    streams.times_set(unit).get(&(Table::Meta, name.into())).copied().unwrap_or(0)
}

fn commit(store: &mut UnitStore, token: Token, name: &str) -> Outcome {
    store.submit_now(Unit::All, token, &[set(name)]).unwrap()
}

fn next(outcome: &Outcome) -> Token {
    let Outcome::Committed { token, .. } = outcome else { panic!("{outcome:?}") };
    *token
}

#[test]
fn a_commit_lies_in_one_stream_and_has_at_most_a_thousand_messages() {
    let rows: Vec<_> = (0..MESSAGES_MAX).map(|n| set(&n.to_string())).collect();
    let streams = Streams::new(1);
    let mut store = streams.unit(1);
    let token = store.take_now(Unit::All).unwrap();
    assert!(matches!(store.submit_now(Unit::All, token, &rows[1..]), Ok(Outcome::Committed { .. })));
    let token = store.take_now(Unit::All).unwrap();
    assert!(matches!(store.submit_now(Unit::All, token, &rows), Err(StoreError::Failed(_))));
    assert!(matches!(store.submit_now(Unit::All, token, &rows[1..]), Err(StoreError::Failed(_))), "it has lost count");

    let mut chunk = Chunk::starting_at(0);
    chunk.push("key", b"data", 0, 0);
    let append = Write::Append { shard: 0, chunk: Arc::new(chunk) };
    for writes in [vec![append.clone()], vec![set("a"), append], vec![Write::Trim { shard: 0, before: 1 }]] {
        let mut store = streams.unit(2);
        let token = store.take_now(Unit::All).unwrap();
        assert!(matches!(store.submit_now(Unit::All, token, &writes), Err(StoreError::Failed(_))));
    }
    assert_eq!(streams.times_set(2), BTreeMap::new());
}

#[test]
fn units_are_apart_and_a_former_owner_is_fenced() {
    let streams = Streams::new(1);
    let (mut first, mut other, mut second) = (streams.unit(1), streams.unit(2), streams.unit(1));
    let token = first.take_now(Unit::All).unwrap();
    let token = next(&commit(&mut first, token, "a"));
    let others = other.take_now(Unit::All).unwrap();
    let taken = second.take_now(Unit::All).unwrap();
    assert!(taken > token);
    assert_eq!(commit(&mut first, token, "b"), Outcome::Fenced);
    next(&commit(&mut other, others, "c"));
    next(&commit(&mut second, taken, "d"));
    let rows = |store: &UnitStore| store.reader().unwrap().scan(Table::Meta, b"", None, 10).unwrap();
    assert_eq!(rows(&second), [(b"a".to_vec(), vec![]), (b"d".to_vec(), vec![])]);
    assert_eq!(rows(&other), [(b"c".to_vec(), vec![])]);
}

/// Each commit is submitted again until it is known; what was late arrives between those that follow.
#[test]
fn a_commit_that_comes_late_or_twice_is_written_once() {
    let mut seen = [0; 3];
    for seed in 0..40 {
        let streams = Streams::new(seed);
        let mut store = streams.unit(1);
        let mut token = store.take_now(Unit::All).unwrap();
        streams.trouble(3);
        for n in 0..60 {
            loop {
                match commit(&mut store, token, &n.to_string()) {
                    Outcome::Committed { token: next, .. } => {
                        token = next;
                        break;
                    }
                    Outcome::Unknown(_) => seen[0] += 1,
                    Outcome::Unavailable(_) => seen[1] += 1,
                    other => panic!("{other:?}"),
                }
            }
            seen[2] += streams.broker().late.len();
        }
        streams.settle();
        assert!((0..60).all(|n| times(&streams, 1, &n.to_string()) == 1), "seed {seed}: {:?}", streams.times_set(1));
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

#[test]
fn what_comes_late_of_a_former_owner_is_not_written() {
    let (mut late, mut seed) = (0, 0);
    while late < 20 {
        seed += 1;
        let streams = Streams::new(seed);
        let mut store = streams.unit(1);
        let token = store.take_now(Unit::All).unwrap();
        streams.trouble(1);
        let outcome = commit(&mut store, token, "late");
        if streams.broker().late.is_empty() {
            continue;
        }
        late += 1;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
        let mut next = streams.unit(1);
        let token = next.take_now(Unit::All).unwrap();
        streams.settle();
        assert_eq!(times(&streams, 1, "late"), 0);
        assert!(matches!(commit(&mut next, token, "mine"), Outcome::Committed { .. }));
    }
}

#[test]
fn an_id_is_known_again_for_a_while() {
    let streams = Streams::new(1);
    assert_eq!(streams.append(7, "a", b"one"), Appended::At(0));
    assert_eq!(streams.append(7, "b", b"two"), Appended::At(1));
    assert_eq!(streams.append(7, "a", b"one"), Appended::At(0));
    assert_eq!(streams.append(8, "a", b"elsewhere"), Appended::At(0));
    for n in 0..WINDOW {
        streams.append(9, &n.to_string(), b"");
    }
    assert_eq!(streams.append(7, "a", b"one"), Appended::At(2), "and then no more");
    assert_eq!(streams.read(7, 1, 5), [b"two".to_vec(), b"one".to_vec()]);
    assert_eq!(streams.read(6, 0, 5), [[0; 0]; 0]);
}

#[test]
fn an_append_may_be_stored_twice_when_its_copies_are_far_apart() {
    let mut stored = [0; 3];
    for seed in 0..200 {
        let streams = Streams::new(seed);
        streams.trouble(2);
        // Its id is forgotten meanwhile, or the first copy comes after the second.
        while streams.append(1, "a", b"") == Appended::Unknown {
            for n in 0..=WINDOW {
                streams.append(2, &n.to_string(), b"");
            }
        }
        streams.settle();
        stored[streams.read(1, 0, 9).len().min(2)] += 1;
    }
    assert!(stored[1] > 20 && stored[2] > 5, "{stored:?}");
}
