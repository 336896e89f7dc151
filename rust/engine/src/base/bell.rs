//! The bell: a socket pair whose reading end the event loop watches. It rings once however often it is struck before it is
//! heard.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// One end for the engine to strike, one for the event loop to watch.
#[derive(Debug)]
pub struct Bell {
    strike: UnixStream,
    watch: UnixStream,
    rung: AtomicBool,
}

impl Bell {
    /// A silent bell.
    pub fn new() -> std::io::Result<Self> {
        let (strike, watch) = UnixStream::pair()?;
        strike.set_nonblocking(true)?;
        watch.set_nonblocking(true)?;
        Ok(Self { strike, watch, rung: AtomicBool::new(false) })
    }

    /// Make the watched end readable. Never waits: a full socket means that it rings already.
    pub fn ring(&self) {
        if self.is_first() {
            self.strike();
        }
    }

    fn is_first(&self) -> bool {
        !self.rung.swap(true, Ordering::SeqCst)
    }

    fn strike(&self) {
        let _already_ringing = (&self.strike).write(&[1]);
    }

    /// Make the watched end silent; look for what it rang for only afterwards. Drained first, then declared silent: the
    /// other way round a stroke in between would be drained while the bell counts as rung, and it would never ring again.
    pub fn quiet(&self) {
        for step in Self::QUIETING {
            step(self);
        }
    }

    const QUIETING: [fn(&Self); 2] = [Self::drain, Self::fall_silent];

    fn fall_silent(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    fn drain(&self) {
        let mut drained = [0u8; 64];
        while matches!((&self.watch).read(&mut drained), Ok(read) if read == drained.len()) {}
    }

    /// The watched end.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// The descriptor to watch.
    pub fn fileno(&self) -> RawFd {
        self.watch.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(bell: &Bell) -> bool {
        matches!((&bell.watch).read(&mut [0u8; 1]), Ok(1))
    }

    #[test]
    fn it_rings_once_until_it_is_heard() {
        let bell = Bell::new().unwrap();
        assert!(!rings(&bell));
        for _ in 0..10_000 {
            bell.ring();
        }
        assert!(rings(&bell));
        assert!(!rings(&bell));
        bell.quiet();
        bell.ring();
        assert!(rings(&bell));
    }

    const RINGERS: usize = 3;

    /// Three threads leave work and ring; the loop, when it hears the bell, makes it silent and looks for work. In every order of their
    /// steps, on a real bell, the loop has seen what was left or will hear. What is atomic in the bell is sequentially consistent,
    /// so orders are all there is.
    ///
    /// A mapping stood still for ever: a stroke between the two steps of `quiet` was drained while the bell counted as rung.
    #[test]
    fn no_order_of_steps_leaves_work_that_nobody_hears_of() {
        let mut orders = 0;
        let mut open = vec![Vec::new()];
        while let Some(order) = open.pop() {
            let next = after(&order);
            orders += usize::from(next.is_empty());
            open.extend(next.into_iter().map(|step| [order.as_slice(), &[step]].concat()));
        }
        assert!(orders > 100, "{orders}");
    }

    /// Play an order of steps, each by its thread's number; give the threads that can go on. At the end nothing may be unheard of.
    fn after(order: &[usize]) -> Vec<usize> {
        let bell = Bell::new().unwrap();
        let (mut steps, mut is_first) = ([0; RINGERS + 1], [false; RINGERS]);
        let (mut left, mut seen) = (0, 0);
        for &thread in order {
            match (thread, steps[thread]) {
                (RINGERS, step) => match Bell::QUIETING.get(step) {
                    Some(step) => step(&bell),
                    None => seen = left,
                },
                (_, 0) => {
                    left += 1;
                    is_first[thread] = bell.is_first();
                }
                _ if is_first[thread] => bell.strike(),
                _ => {}
            }
            steps[thread] = if thread == RINGERS { (steps[thread] + 1) % 3 } else { steps[thread] + 1 };
        }
        let mut next: Vec<usize> = (0..RINGERS).filter(|&ringer| steps[ringer] < 2).collect();
        if steps[RINGERS] > 0 || is_readable(&bell) {
            next.push(RINGERS);
        }
        assert!(!next.is_empty() || seen == left, "{order:?}: {seen} of {left} were seen, and the bell is silent");
        next
    }

    fn is_readable(bell: &Bell) -> bool {
        use rustix::event::{poll, PollFd, PollFlags, Timespec};
        let mut watched = [PollFd::new(&bell.watch, PollFlags::IN)];
        poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }
}
