//! The owner's socket: what a client may have asked, what it sends, and how many of them there are.

#[path = "../../../doors/src/socket/connections.rs"]
mod connections;
#[path = "../../../doors/src/socket/credit.rs"]
mod credit;
#[path = "../../../doors/src/socket/outgoing.rs"]
mod outgoing;
mod pipe;

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::sync::mpsc::channel;
use loom::thread;

use self::connections::Connections;
use self::credit::Credit;
use self::outgoing::Outgoing;
use self::pipe::Pipe;
use crate::play;
use crate::play_bounded;

/// What the engine's `client` gives.
mod client {
    use crate::base::error::EngineError;

    pub(super) fn left() -> EngineError {
        EngineError::OwnerLeft
    }
}

/// With a credit of one request, or of the bytes of one answer, the reader goes on when an answer is written, never before, and
/// ends when the writer has.
#[test]
fn whoever_reads_requests_waits_for_answers_and_never_for_ever() {
    for (requests_max, answer_bytes_max) in [(1, 100), (100, 10)] {
        play(move || {
            let credit = Arc::new(Credit::bounded(requests_max, answer_bytes_max));
            let written = Arc::new(AtomicUsize::new(0));
            let (answers, waiting) = channel();
            let (theirs, counted) = (credit.clone(), written.clone());
            let writer = thread::spawn(move || {
                for _ in 0..2 {
                    let bytes = waiting.recv().unwrap();
                    counted.fetch_add(1, SeqCst);
                    theirs.give_back(1, bytes);
                }
                theirs.close();
            });
            for answered in 0..2 {
                assert!(credit.take());
                assert_eq!(written.load(SeqCst), answered, "read before there was room for the answer");
                credit.answered(10);
                answers.send(10).unwrap();
            }
            while credit.take() {}
            writer.join().unwrap();
        });
    }
}

/// The frames that were written whole, and the bytes of the one behind them.
fn frames(pipe: &Pipe) -> (Vec<u64>, usize) {
    let bytes = pipe.written();
    let mut whole = Vec::new();
    let mut rest = &bytes[..];
    while let Some(&id) = rest.first() {
        // A frame is its number, as often as it says.
        let Some((frame, more)) = rest.split_at_checked(id as usize) else { break };
        assert!(frame.iter().all(|&byte| byte == id), "{bytes:?}: a frame inside another");
        whole.push(u64::from(id));
        rest = more;
    }
    assert!(rest.windows(2).all(|pair| pair[0] == pair[1]), "{bytes:?}: something behind a frame that is not whole");
    (whole, rest.len())
}

fn frame(id: u64) -> Vec<u8> {
    vec![id as u8; id as usize]
}

/// A frame that does not fit is written on by the thread; the next one must not be written at once into its middle.
#[test]
fn no_frame_overtakes_one_that_is_being_written() {
    play_bounded(|| {
        let pipe = Pipe::of(2);
        let outgoing = Arc::new(Outgoing::new(pipe.clone()));
        let theirs = outgoing.clone();
        let writer = thread::spawn(move || theirs.write());
        let owners = pipe.clone();
        let owner = thread::spawn(move || owners.read(4));
        outgoing.send(3, frame(3), false).unwrap();
        outgoing.send(1, frame(1), false).unwrap();
        owner.join().unwrap();
        outgoing.close();
        let unsent = writer.join().unwrap();
        assert_eq!((frames(&pipe), unsent), ((vec![3, 1], 0), Vec::new()));
    });
}

/// Whoever asks gets to know of each frame that was not written whole: it is refused, or among what is left; and only of those.
fn what_was_not_written_is_known_when(somebody_hangs_up: fn(&Outgoing, &Pipe)) {
    play_bounded(move || {
        let pipe = Pipe::of(2);
        let outgoing = Arc::new(Outgoing::new(pipe.clone()));
        let (theirs, ended, owners) = (outgoing.clone(), outgoing.clone(), pipe.clone());
        let writer = thread::spawn(move || theirs.write());
        let other = thread::spawn(move || somebody_hangs_up(&ended, &owners));
        let refused = [3, 1].into_iter().filter(|&id| outgoing.send(id, frame(id), false).is_err()).collect();
        other.join().unwrap();
        known(&[refused, writer.join().unwrap()], &pipe);
    });
}

#[test]
fn what_was_not_written_when_the_client_hangs_up_is_known() {
    what_was_not_written_is_known_when(|outgoing, _| outgoing.close());
}

#[test]
fn what_was_not_written_when_the_owner_hangs_up_is_known() {
    what_was_not_written_is_known_when(|outgoing, pipe| {
        pipe.read(1);
        pipe.hang_up();
        outgoing.close();
    });
}

/// Each of the frames 3 and 1 is in one place: written whole, refused, or left.
fn known(refused_and_left: &[Vec<u64>; 2], pipe: &Pipe) {
    let (mut all, _) = frames(pipe);
    assert!(all.is_sorted_by(|a, b| a > b), "{all:?}: out of turn");
    all.extend(refused_and_left.concat());
    all.sort_unstable();
    assert_eq!(all, [1, 3]);
}

#[test]
fn there_are_never_more_connections_than_may_be_and_each_gives_its_place_back() {
    play_bounded(|| {
        let (connections, open) = (Arc::new(Connections::at_most(2)), Arc::new(AtomicUsize::new(0)));
        let come_and_go = |connections: &Connections, open: &AtomicUsize| {
            let admitted = connections.admit();
            if admitted.is_some() {
                assert!(open.fetch_add(1, SeqCst) < 2, "one too many");
                open.fetch_sub(1, SeqCst);
            }
        };
        let others = [(); 2].map(|()| {
            let (connections, open) = (connections.clone(), open.clone());
            thread::spawn(move || come_and_go(&connections, &open))
        });
        come_and_go(&connections, &open);
        for other in others {
            other.join().unwrap();
        }
        let all = [(); 3].map(|()| connections.admit());
        assert_eq!(all.map(|admitted| admitted.is_some()), [true, true, false]);
    });
}
