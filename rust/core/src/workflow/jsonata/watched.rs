//! Evaluations on threads of their own, from which a caller turns away when the time is over.
//!
//! The evaluator looks at its clock at each node of a program, and at none inside of a step that walks a whole value. Values share
//! parts: such a step may take hours. Its thread cannot be stopped, so that it is left behind, and is *stuck* until it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long the evaluator may take to tell itself that its time is over.
const GRACE: Duration = Duration::from_millis(20);
/// How long a thread waits for more to do.
const IDLE: Duration = Duration::from_millis(100);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    Late,
    /// It was not begun: too many threads are stuck.
    Crowded,
    /// It was not begun: the system gives no thread.
    NoThread,
}

/// What a thread does; then it tells the answer, under the lock.
type Work = Box<dyn FnOnce() -> Box<dyn FnOnce(&mut Crew)> + Send>;

struct Crew {
    /// Threads that wait for work, each with its number.
    idle: Vec<(u64, Sender<Work>)>,
    last: u64,
    stuck: usize,
}

static CREW: Mutex<Crew> = Mutex::new(Crew { idle: Vec::new(), last: 0, stuck: 0 });

fn crew() -> MutexGuard<'static, Crew> {
    CREW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Do work that must not panic on another thread, and wait so many milliseconds for it. It is given what tells whether they are over.
///
/// It is not begun while `stuck_max` threads are stuck. Those that began before may still be left behind.
pub(super) fn watch<T: Send + 'static>(
    limit_ms: u64,
    stuck_max: usize,
    work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
) -> Result<T, Unanswered> {
    let limit = Duration::from_millis(limit_ms);
    let begun = Instant::now();
    let (answer, answered) = sync_channel(1);
    let is_left = Arc::new(AtomicBool::new(false));
    let left = Arc::clone(&is_left);
    hand_over(
        stuck_max,
        Box::new(move || {
            let done = work(&|| begun.elapsed() >= limit);
            Box::new(move |crew| {
                crew.stuck -= usize::from(left.load(Ordering::Relaxed));
                // Nobody takes it when the time is over.
                let _late = answer.try_send(done);
            })
        }),
    )?;
    match answered.recv_timeout(limit + GRACE) {
        Ok(done) => Ok(done),
        Err(RecvTimeoutError::Disconnected) => Err(Unanswered::NoThread),
        Err(RecvTimeoutError::Timeout) => {
            let mut crew = crew();
            answered.try_recv().map_err(|_| {
                is_left.store(true, Ordering::Relaxed);
                crew.stuck += 1;
                Unanswered::Late
            })
        }
    }
}

fn hand_over(stuck_max: usize, mut work: Work) -> Result<(), Unanswered> {
    let mut crew = crew();
    if crew.stuck >= stuck_max {
        return Err(Unanswered::Crowded);
    }
    while let Some((_, thread)) = crew.idle.pop() {
        match thread.send(work) {
            Ok(()) => return Ok(()),
            Err(refused) => work = refused.0,
        }
    }
    crew.last += 1;
    let number = crew.last;
    drop(crew);
    let (hand, given) = channel();
    let thread = Builder::new().name("forebay-jsonata".to_owned());
    thread.spawn(move || serve(number, work, &hand, &given)).map(|_| ()).map_err(|_| Unanswered::NoThread)
}

fn serve(number: u64, mut work: Work, hand: &Sender<Work>, given: &Receiver<Work>) {
    loop {
        let tell = work();
        {
            let mut crew = crew();
            crew.idle.push((number, hand.clone()));
            tell(&mut crew);
        }
        work = match given.recv_timeout(IDLE) {
            Ok(next) => next,
            Err(_) => {
                let mut crew = crew();
                let waiting = crew.idle.len();
                crew.idle.retain(|(each, _)| *each != number);
                if crew.idle.len() < waiting {
                    return;
                }
                drop(crew);
                // It was just called for.
                let Ok(next) = given.recv() else { return };
                next
            }
        };
    }
}
