//! One environment's process: started in a process group of its own, watched, and killed with everything it started.

use crate::dispatch::program::Program;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{kill_process_group, pidfd_open, Pid, PidfdFlags, Signal};

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    /// Readable once the process has ended, also while descendants hold its socket and pipes open.
    exit: OwnedFd,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Process {
    /// Start a program; `link` becomes its standard input.
    pub(crate) fn start(program: &Program, link: Option<UnixStream>, more: &[(&str, String)]) -> io::Result<Self> {
        let (name, arguments) =
            program.command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
        let mut child = Command::new(name)
            .args(arguments)
            .current_dir(&program.directory)
            .envs(program.variables.iter().map(|(name, value)| (name, value)))
            .envs(more.iter().map(|(name, value)| (name, value)))
            .stdin(link.map_or_else(Stdio::null, |link| Stdio::from(OwnedFd::from(link))))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let piped = || io::Error::other("a pipe is missing");
        let (stdout, stderr) = (child.stdout.take().ok_or_else(piped)?, child.stderr.take().ok_or_else(piped)?);
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(exit) => Ok(Self { child, pid, exit, stdout, stderr }),
            Err(error) => {
                // Nobody could watch it.
                let _gone = kill_process_group(pid, Signal::KILL);
                let _reaped = child.wait();
                Err(error.into())
            }
        }
    }

    /// Readable once it has ended.
    pub(crate) fn exit(&self) -> BorrowedFd<'_> {
        self.exit.as_fd()
    }

    /// Whether it ends by itself within this time.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        is_ready(self.exit.as_fd(), time)
    }

    /// Kill its whole group and take leave of it. The group is killed first: until it is waited for, its number is its own.
    pub(crate) fn end(&mut self) -> io::Result<ExitStatus> {
        let _nobody_left = kill_process_group(self.pid, Signal::KILL);
        self.child.wait()
    }

    /// Most bytes that the process and those of its descendants that are alive ever had resident, each for itself.
    pub(crate) fn peak(&self) -> u64 {
        self.family().into_iter().map(peak_kib).sum::<u64>() * 1024
    }

    /// The process and its descendants.
    pub(crate) fn family(&self) -> Vec<i32> {
        let mut all = Vec::new();
        let mut waiting = vec![self.pid.as_raw_nonzero().get()];
        while let Some(pid) = waiting.pop() {
            all.push(pid);
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            waiting.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        all
    }
}

/// Most KiB that were ever resident; one that has ended has lost them already.
fn peak_kib(pid: i32) -> u64 {
    kib_in(pid, "status", "VmHWM:")
}

/// A number of KiB out of one of the kernel's files on a process.
pub(super) fn kib_in(pid: i32, file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Whether a descriptor becomes readable within this time.
pub(crate) fn is_ready(descriptor: BorrowedFd<'_>, within: Duration) -> bool {
    let time = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: i64::from(within.subsec_nanos()) };
    let mut one = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    matches!(poll(&mut one, Some(&time)), Ok(ready) if ready > 0)
}

/// In an environment: be killed when the thread that attends it, or the whole runtime, dies.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before this was said.
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(io::Error::other("the runtime is gone"))
    }
}
