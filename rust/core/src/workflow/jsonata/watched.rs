//! Evaluations on threads of their own, from which a caller turns away when the time is over.
//!
//! The evaluator looks at its clock at each node of a program, and at none inside of a step that walks a whole value. Values share
//! parts: such a step may take hours. Its thread cannot be stopped, so that it is left behind, and is *stuck* until it ends.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, ThreadId};
use std::time::{Duration, Instant};

/// How long the evaluator may take to tell itself that its time is over.
const GRACE: Duration = Duration::from_millis(20);
/// How long a thread waits for more to do.
const IDLE: Duration = Duration::from_millis(100);

/// What is evaluated, and among which others it counts while it is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// The template's address, which is no other's while a thread has it.
    pub(super) template: usize,
    pub(super) is_trial: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It took too long, now or before: a second thread with it would be stuck as the first one is.
    Late,
    /// It was not begun: too many threads are stuck.
    Crowded,
    /// It was not begun: the system gives no thread.
    NoThread,
}

/// What a thread does; then it tells the answer, under the lock. What nobody takes comes back: a holder of another lock may wait for this
/// one, and it may be large.
type Work = Box<dyn FnOnce() -> Box<dyn FnOnce(&mut Crew) -> Option<Box<dyn Any>>> + Send>;

struct Crew {
    /// Threads that wait for work.
    idle: Vec<(ThreadId, Sender<Work>)>,
    /// What the threads that are stuck evaluate, and when each was left behind.
    stuck: Vec<(Task, Instant)>,
}

static CREW: Mutex<Crew> = Mutex::new(Crew { idle: Vec::new(), stuck: Vec::new() });
/// A thread is stuck no longer.
static FREED: Condvar = Condvar::new();

fn crew() -> MutexGuard<'static, Crew> {
    CREW.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    /// Why a task cannot be begun now.
    fn hinders(&self, task: Task, stuck_max: usize) -> Option<Unanswered> {
        if self.stuck.iter().any(|(one, _)| *one == task) {
            return Some(Unanswered::Late);
        }
        let beside = self.stuck.iter().filter(|(one, _)| one.is_trial == task.is_trial).count();
        (beside >= stuck_max).then_some(Unanswered::Crowded)
    }

    /// A thread with the task has ended that was left behind. Evaluations of one template that went on at once may all have been.
    fn freed(&mut self, task: Task) {
        if let Some(at) = self.stuck.iter().position(|(one, _)| *one == task) {
            self.stuck.swap_remove(at);
        }
    }
}

/// Whether a task cannot be begun now.
pub(super) fn is_hindered(task: Task, stuck_max: usize) -> bool {
    crew().hinders(task, stuck_max).is_some()
}

/// Wait until a task can be begun, until so long after the last thread was left behind: one that is stuck since then does not end soon, and
/// whatever else waits for its turn would wait behind each who asks.
pub(super) fn await_place(task: Task, stuck_max: usize, most: Duration) {
    let is_hindered = |crew: &mut Crew| crew.hinders(task, stuck_max).is_some();
    let crew = crew();
    let beside = crew.stuck.iter().filter(|(one, _)| one.is_trial == task.is_trial);
    let Some(left_at) = beside.map(|&(_, left_at)| left_at).max() else { return };
    let most = most.saturating_sub(left_at.elapsed());
    drop(FREED.wait_timeout_while(crew, most, is_hindered).unwrap_or_else(PoisonError::into_inner));
}

/// Do work that must not panic on another thread, and wait so many milliseconds for it. It is given what tells whether they are over.
///
/// It is not begun while a thread is stuck with the same task, or `stuck_max` threads are stuck. Those that began before may still be left
/// behind.
pub(super) fn watch<T: Send + 'static>(
    limit_ms: u64,
    task: Task,
    stuck_max: usize,
    work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static,
) -> Result<T, Unanswered> {
    let limit = Duration::from_millis(limit_ms);
    let begun = Instant::now();
    let (answer, answered) = sync_channel(1);
    let is_left = Arc::new(AtomicBool::new(false));
    let left = Arc::clone(&is_left);
    hand_over(
        task,
        stuck_max,
        Box::new(move || {
            let done = work(&|| begun.elapsed() >= limit);
            Box::new(move |crew| {
                if left.load(Ordering::Relaxed) {
                    crew.freed(task);
                    FREED.notify_all();
                }
                // Nobody takes it when the time is over.
                answer.try_send(done).err().map(|late| Box::new(late) as Box<dyn Any>)
            })
        }),
    )?;
    match answered.recv_timeout(limit + GRACE) {
        Ok(done) => Ok(done),
        Err(RecvTimeoutError::Disconnected) => Err(Unanswered::NoThread),
        Err(RecvTimeoutError::Timeout) => {
            let mut crew = crew();
            answered.try_recv().map_err(|none| match none {
                TryRecvError::Disconnected => Unanswered::NoThread,
                TryRecvError::Empty => {
                    is_left.store(true, Ordering::Relaxed);
                    crew.stuck.push((task, Instant::now()));
                    Unanswered::Late
                }
            })
        }
    }
}

fn hand_over(task: Task, stuck_max: usize, mut work: Work) -> Result<(), Unanswered> {
    let mut crew = crew();
    if let Some(hindered) = crew.hinders(task, stuck_max) {
        return Err(hindered);
    }
    while let Some((_, thread)) = crew.idle.pop() {
        match thread.send(work) {
            Ok(()) => return Ok(()),
            Err(refused) => work = refused.0,
        }
    }
    drop(crew);
    let (hand, given) = channel();
    let thread = Builder::new().name("forebay-jsonata".to_owned());
    thread.spawn(move || serve(work, &hand, &given)).map(|_| ()).map_err(|_| Unanswered::NoThread)
}

fn serve(mut work: Work, hand: &Sender<Work>, given: &Receiver<Work>) {
    let this = thread::current().id();
    loop {
        let tell = work();
        let untaken = {
            let mut crew = crew();
            crew.idle.push((this, hand.clone()));
            tell(&mut crew)
        };
        drop(untaken);
        work = match given.recv_timeout(IDLE) {
            Ok(next) => next,
            Err(_) => {
                let mut crew = crew();
                let waiting = crew.idle.len();
                crew.idle.retain(|(each, _)| *each != this);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Guards, JsonataTemplate};
    use super::*;

    fn of(template: usize, is_trial: bool) -> Task {
        Task { template, is_trial }
    }

    #[test]
    fn a_thread_that_is_stuck_hinders_its_task_and_too_many_hinder_others_of_their_kind() {
        let now = Instant::now();
        let stuck = [of(1, true), of(2, true), of(3, false)];
        let mut crew = Crew { idle: Vec::new(), stuck: stuck.map(|task| (task, now)).into() };
        let hinders = |crew: &Crew, task, stuck_max| match crew.hinders(task, stuck_max) {
            None => "nothing",
            Some(Unanswered::Late) => "itself",
            Some(Unanswered::Crowded) => "others",
            Some(Unanswered::NoThread) => "the system",
        };
        for (task, stuck_max, expected) in [
            (of(1, true), 9, "itself"),
            (of(2, true), 0, "itself"),
            (of(1, false), 9, "nothing"),
            (of(4, true), 3, "nothing"),
            (of(4, true), 2, "others"),
            (of(4, true), 1, "others"),
            (of(4, false), 2, "nothing"),
            (of(4, false), 1, "others"),
            (of(4, false), 0, "others"),
        ] {
            assert_eq!(hinders(&crew, task, stuck_max), expected, "{task:?}, {stuck_max}");
        }
        crew.freed(of(2, true));
        crew.freed(of(5, true));
        assert_eq!(crew.stuck, [(of(1, true), now), (of(3, false), now)]);
    }

    /// The places of trials are used here: no other test of this process does.
    #[test]
    fn what_is_left_behind_has_a_place_until_it_ends() {
        let guards = |stuck_max| Guards { time_ms_max: 60_000, stuck_max, is_trial: true, ..Guards::default() };
        let template = |text: &str| JsonataTemplate::parse(&json!(text), "Output").unwrap();
        let (plain, watched) = (template("{% $states.input %}"), template("{% $map([1], function($x){$x}) %}"));
        let waits: [&dyn Fn(); 2] =
            [&|| await_place(of(2, true), 1, Duration::from_secs(60)), &|| watched.await_place(&guards(1))];
        for wait in waits {
            let (go, gone) = channel::<()>();
            assert!(!is_hindered(of(1, true), 1) && !watched.is_hindered(&guards(1)));
            let late = watch(1, of(1, true), 1, move |_| _ = gone.recv());
            assert!(matches!(late, Err(Unanswered::Late)), "{late:?}");
            assert!(is_hindered(of(1, true), 2) && is_hindered(of(2, true), 1) && !is_hindered(of(2, true), 2));
            assert!(watched.is_hindered(&guards(1)) && !watched.is_hindered(&guards(2)));
            assert!(!plain.is_hindered(&guards(1)), "it looks at nothing but its input");
            let again = watch(1, of(2, true), 1, |_| ());
            assert!(matches!(again, Err(Unanswered::Crowded)), "{again:?}");
            await_place(of(2, true), 1, Duration::ZERO);
            assert!(is_hindered(of(2, true), 1), "nobody waits for ever");

            let ender = thread::spawn(move || {
                thread::sleep(Duration::from_millis(30));
                go.send(()).unwrap();
            });
            wait();
            assert!(!is_hindered(of(1, true), 1) && !is_hindered(of(2, true), 1));
            ender.join().unwrap();
        }
        // It tells itself that its time is over, and is heard.
        let told = (0..20).any(|at| {
            let answer = watch(30, of(9 + at, true), usize::MAX, |is_over| {
                while !is_over() {
                    thread::sleep(Duration::from_millis(1));
                }
            });
            answer.is_ok()
        });
        assert!(told);
    }
}
