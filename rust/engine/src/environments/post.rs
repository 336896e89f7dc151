//! An environment's letter box: what the engine wants of the thread that attends it.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use forebay_core::environment::Ending;

use crate::attempts::Work;
use crate::bell::Bell;

/// One wish.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Run this.
    Work(Errand),
    /// End the environment.
    End(Farewell),
}

/// An invocation and what is read of its answer.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) work: Work,
    /// Somebody reads the response.
    pub(crate) reads: bool,
    /// Partial failures are read.
    pub(crate) reports: bool,
}

/// Why an environment must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The rules of its pool say so.
    Rule(Ending),
    /// Its invocation is past the deadline.
    Deadline,
    /// The app stops.
    Stopped,
}

/// Letters for one environment, and the bell that says that there are some.
#[derive(Debug)]
pub(crate) struct Post {
    letters: Mutex<VecDeque<Letter>>,
    bell: Bell,
}

impl Post {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { letters: Mutex::default(), bell: Bell::new()? })
    }

    /// Leave a letter. Who looks for letters anyhow needs no ring.
    pub(crate) fn put(&self, letter: Letter, ring: bool) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push_back(letter);
        if ring {
            self.bell.ring();
        }
    }

    /// Have the post looked at: something was said.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    pub(crate) fn next(&self) -> Option<Letter> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(crate) fn quiet(&self) {
        self.bell.quiet();
    }

    /// Readable while it rings.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
