//! An environment's command box: what the engine wants of the thread that attends it.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use forebay_core::environment::Ending;

use crate::base::bell::Bell;
use crate::dispatch::attempts::Work;

/// One wish.
#[derive(Debug)]
pub(crate) enum ProcessCommand {
    /// Run this.
    Work(Invocation),
    /// End the environment.
    End(StopReason),
}

/// An invocation and what is read of its answer.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) work: Work,
    /// Somebody reads the response.
    pub(crate) reads: bool,
    /// Partial failures are read.
    pub(crate) reports: bool,
}

/// Why an environment must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The rules of its pool say so.
    Rule(Ending),
    /// Its invocation is past the deadline.
    Deadline,
    /// The app stops.
    Stopped,
}

/// Letters for one environment, and the bell that says that there are some.
#[derive(Debug)]
pub(crate) struct Mailbox {
    commands: Mutex<VecDeque<ProcessCommand>>,
    bell: Bell,
}

impl Mailbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { commands: Mutex::default(), bell: Bell::new()? })
    }

    /// Leave a command. Who looks for commands anyhow needs no ring.
    pub(crate) fn put(&self, command: ProcessCommand, ring: bool) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push_back(command);
        if ring {
            self.bell.ring();
        }
    }

    /// Have the mailbox looked at: something was said.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    pub(crate) fn next(&self) -> Option<ProcessCommand> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(crate) fn quiet(&self) {
        self.bell.quiet();
    }

    /// Readable while it rings.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
