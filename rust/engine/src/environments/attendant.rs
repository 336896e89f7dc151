//! The thread that attends one environment. It alone touches the environment's process: starts it, hands it work, reads its
//! answers and its output, and kills it. What it learns it tells the engine under the lock; it waits for nothing but `poll`.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};

use forebay_core::environment::Ending;

use crate::base::ids::uuid_text;
use crate::dispatch::attempts::Settled;
use crate::environments::faults::Fault;
use crate::environments::frame::Said;
use crate::environments::link::{Frames, Link};
use crate::environments::mailbox::{Invocation, ProcessCommand, StopReason};
use crate::environments::memory::Limit;
use crate::environments::output::{Output, Speaker};
use crate::environments::process::{is_ready, Process};
use crate::environments::report::{End, Reporter};
use crate::environments::runtime_api::Endpoint;
use crate::environments::EnvironmentEvents;
use crate::environments::{source, Launch};
use crate::metrics::exports::Told;
use crate::observe::operator_events::OperatorEvent;

/// How often memory is looked at where it is limited.
const SAMPLE: Duration = Duration::from_millis(100);
/// How long a process that has hung up may take to end by itself, so that its reason is known.
const EXIT_WITHIN: Duration = Duration::from_millis(200);
/// How often a process that closes is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Most reads at once of what a process says or writes that is told to end, or has ended.
const LAST_READS: usize = 64;

/// Attend an environment from its start to its end.
pub(crate) fn attend(shared: &dyn EnvironmentEvents, launch: &Launch) {
    let began = Instant::now();
    match start(launch) {
        Ok((link, process)) => {
            let (limit, remark) = Limit::set(launch.program.memory_bytes, &process);
            if let Some(remark) = remark {
                shared.notice(OperatorEvent::Environment, &launch.function, None, &remark);
            }
            let outputs = (Output::default(), Output::default());
            let reporter = launch.program.report_lines.then(|| Reporter::new(launch));
            let (current, initialized) = (None, false);
            let attendant =
                Attendant { shared, launch, began, process, limit, link, outputs, reporter, current, initialized };
            attendant.run();
        }
        Err(error) => tell_end(shared, launch, &Fault::NotStarted(error.to_string()), None, None, false),
    }
}

fn start(launch: &Launch) -> std::io::Result<(Link, Process)> {
    let mut variables = vec![("AWS_LAMBDA_INITIALIZATION_TYPE", launch.initialization_type().to_owned())];
    if launch.program.runtime_api {
        let endpoint = Endpoint::start(launch.mailbox.clone(), &launch.program)?;
        variables.push(("AWS_LAMBDA_RUNTIME_API", endpoint.address().to_string()));
        let process = Process::start(&launch.program, None, &variables)?;
        return Ok((Link::Api(endpoint), process));
    }
    let (ours, theirs) = UnixStream::pair()?;
    let process = Process::start(&launch.program, Some(theirs), &variables)?;
    Ok((Link::Frames(Frames::new(ours)?), process))
}

struct Current {
    token: u64,
    request: u128,
    began: Instant,
}

struct Attendant<'a> {
    shared: &'a dyn EnvironmentEvents,
    launch: &'a Launch,
    began: Instant,
    process: Process,
    limit: Limit,
    link: Link,
    outputs: (Output, Output),
    reporter: Option<Reporter>,
    current: Option<Current>,
    initialized: bool,
}

/// What a wait was ended by.
#[derive(Default)]
struct Heard {
    commands: bool,
    said: bool,
    output: bool,
    errors: bool,
    exited: bool,
}

impl Attendant<'_> {
    fn run(mut self) {
        let mut fault = self.live();
        if matches!(fault, Fault::HungUp) && !self.process.ends_within(EXIT_WITHIN) {
            self.remark("an execution environment closed its socket and went on: it is killed");
        } else if matches!(fault, Fault::HungUp) {
            fault = Fault::Stopped;
        }
        let ended_by_itself = matches!(fault, Fault::Stopped) && self.process.ends_within(Duration::ZERO);
        if matches!(fault, Fault::Stopped) && self.initialized && self.current.is_none() && !ended_by_itself {
            self.let_close();
        }
        if let Some(reporter) = &mut self.reporter {
            reporter.look_at(&self.process);
        }
        self.measure();
        let status = self.process.end();
        if let (true, Ok(status)) = (ended_by_itself, status) {
            fault = Fault::Exited(status);
        }
        if let (Fault::Exited(_) | Fault::HungUp, Some(held)) = (&fault, self.limit.passed(&self.process)) {
            fault = Fault::OutOfMemory(held);
        }
        if let Some(remark) = self.limit.end() {
            self.remark(&remark);
        }
        self.drain();
        self.report_end(fault.end());
        let request = self.current.as_ref().map(|current| current.request);
        let lost = self.current.take().map(|current| Settled {
            token: current.token,
            status: fault.status(),
            body: fault.body(current.request),
            duration_ns: current.began.elapsed().as_nanos() as u64,
        });
        tell_end(self.shared, self.launch, &fault, lost, request, self.initialized);
    }

    /// Serve until there is a reason to end. `Stopped` stands for an exit, too: whoever calls this looks.
    fn live(&mut self) -> Fault {
        loop {
            while let Some(command) = self.launch.mailbox.next() {
                match command {
                    ProcessCommand::Work(invocation) => self.begin(invocation),
                    ProcessCommand::End(stop_reason) => return self.stop_reason(stop_reason),
                }
            }
            let heard = self.wait();
            if heard.commands {
                self.launch.mailbox.quiet();
            }
            self.read_output(&heard);
            if heard.said {
                self.link.fill();
                if let Some(fault) = self.listen(heard.exited) {
                    return fault;
                }
            }
            self.link.flush();
            if heard.exited {
                return Fault::Stopped;
            }
            if self.link.has_hung_up() {
                return Fault::HungUp;
            }
            if let Some(held) = self.limit.passed(&self.process) {
                return Fault::OutOfMemory(held);
            }
        }
    }

    fn stop_reason(&self, stop_reason: StopReason) -> Fault {
        match stop_reason {
            StopReason::Deadline => Fault::Deadline,
            StopReason::Rule(Ending::InitTimeout) => Fault::InitTimeout(self.began.elapsed().as_nanos() as u64),
            StopReason::Rule(Ending::Idle | Ending::Recycled) | StopReason::Stopped => Fault::Stopped,
        }
    }

    fn wait(&self) -> Heard {
        let link_flags = if self.link.is_sending() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        // The Runtime API has a thread of its own, which rings the mailbox.
        let talks = match &self.link {
            Link::Frames(frames) => frames.socket.as_fd(),
            Link::Api(_) => self.launch.mailbox.as_fd(),
        };
        let from = |descriptor, flags| PollFd::from_borrowed_fd(descriptor, flags);
        let mut all = [
            from(self.launch.mailbox.as_fd(), PollFlags::IN),
            from(talks, link_flags),
            from(self.process.exit(), PollFlags::IN),
            from(self.process.stdout.as_fd(), PollFlags::IN),
            from(self.process.stderr.as_fd(), PollFlags::IN),
        ];
        // A pipe that was closed would be readable for ever.
        let open = 3 + usize::from(!self.outputs.0.ended) + usize::from(!self.outputs.1.ended);
        if self.outputs.0.ended {
            all.swap(3, 4);
        }
        let time = Timespec { tv_sec: 0, tv_nsec: SAMPLE.as_nanos() as i64 };
        let ready = poll(&mut all[..open], self.limit.is_set().then_some(&time));
        if ready.is_err() {
            // Interrupted: look again.
            return Heard::default();
        }
        let is = |at: usize| at < open && !all[at].revents().is_empty();
        let (output, errors) = if self.outputs.0.ended { (false, is(3)) } else { (is(3), is(4)) };
        Heard { commands: is(0), said: is(1), exited: is(2), output, errors }
    }

    fn begin(&mut self, mut invocation: Invocation) {
        // A process has no other clock than the machine's, and manual time stands while it works.
        invocation.work.deadline_ms = self.shared.on_the_machines_clock(invocation.work.deadline_ms);
        let (token, request) = (invocation.work.token, invocation.work.request);
        self.current = Some(Current { token, request, began: Instant::now() });
        if let Some(reporter) = &self.reporter {
            self.speaker().say(&reporter.start(request), &mut std::io::stdout().lock());
        }
        self.link.send(&invocation);
    }

    /// With report lines: tell that the invocation in hand has ended.
    fn report_end(&mut self, end: End) {
        let (Some(reporter), Some(current)) = (&mut self.reporter, &self.current) else { return };
        reporter.look_at(&self.process);
        let lines = reporter.end(current.request, current.began.elapsed(), end);
        self.speaker().say(&lines, &mut std::io::stdout().lock());
    }

    /// Tell how much memory the invocation in hand has had, where somebody wants its lines.
    fn measure(&self) {
        if let Some(current) = self.current.as_ref().filter(|_| self.shared.tails().any()) {
            let limit = self.launch.program.memory_mebibytes << 20;
            self.shared.tails().measured(current.request, limit, self.process.peak());
        }
    }

    /// Hang up on a process that does nothing, and give it time to close what it has open.
    fn let_close(&mut self) {
        let closes_by = Instant::now() + Duration::from_millis(self.launch.program.closing_ms);
        self.link.hang_up();
        while Instant::now() < closes_by && !self.process.ends_within(LOOK) {
            let output = !self.outputs.0.ended && is_ready(self.process.stdout.as_fd(), Duration::ZERO);
            let errors = !self.outputs.1.ended && is_ready(self.process.stderr.as_fd(), Duration::ZERO);
            self.read_output(&Heard { output, errors, ..Heard::default() });
            if !self.hear_the_last() {
                return;
            }
        }
        self.hear_the_last();
    }

    /// Take in what a process that closes has measured since it told last; false if it says anything else: nothing that it says
    /// then can be used, and it is given no more time.
    fn hear_the_last(&mut self) -> bool {
        for _ in 0..LAST_READS {
            if !self.link.fill() {
                break;
            }
            if let Some(fault) = self.listen(true) {
                self.remark(&format!("killed while it closed: {}", fault.reason()));
                return false;
            }
        }
        true
    }

    /// Tell the engine what the environment has said.
    fn listen(&mut self, is_gone: bool) -> Option<Fault> {
        loop {
            let (status, body) = match self.link.said() {
                Ok(None) => return None,
                Err(nonsense) => return Some(Fault::Nonsense(nonsense)),
                Ok(Some(Said::Initialized)) if !self.initialized => {
                    self.initialized = true;
                    self.close_outputs(None);
                    let took = self.began.elapsed();
                    if let Some(reporter) = &mut self.reporter {
                        reporter.initialized(took);
                    }
                    let took_ns = took.as_nanos() as u64;
                    self.shared.initialized(self.launch.key, took_ns);
                    continue;
                }
                Ok(Some(Said::CannotStart(body))) if !self.initialized => return Some(Fault::Reported(body)),
                Ok(Some(Said::Measured(body))) if self.initialized => {
                    // Read before the engine is locked: it may be long.
                    let told = Told::in_a_process(source(self.launch.key), &body);
                    let taken = told.and_then(|told| self.shared.measured(told));
                    if let Err(refused) = taken {
                        self.remark(&format!("what is measured in a process is not shown: {refused}"));
                    }
                    continue;
                }
                Ok(Some(Said::Returned(body))) => (0, body),
                Ok(Some(Said::Raised(body))) => (1, Some(body)),
                Ok(Some(_)) => return Some(Fault::Nonsense("it starts twice".into())),
            };
            let Some((request, began)) = self.current.as_ref().map(|current| (current.request, current.began)) else {
                return Some(Fault::Nonsense("an answer to nothing".into()));
            };
            let duration_ns = began.elapsed().as_nanos() as u64;
            self.close_outputs(Some(request));
            self.report_end(End::Answered);
            self.measure();
            let Some(current) = self.current.take() else { continue };
            let settled = Settled { token: current.token, status, body, duration_ns };
            let (key, goes_on) = (self.launch.key, !is_gone && !self.link.has_hung_up());
            self.shared.answered(key, settled, goes_on);
        }
    }

    fn speaker(&self) -> Speaker<'_> {
        let request = self.current.as_ref().map(|current| current.request);
        Speaker { function: &self.launch.function, request, tails: Some(self.shared.tails()) }
    }

    fn read_output(&mut self, heard: &Heard) {
        let request = self.current.as_ref().map(|current| current.request);
        let who = Speaker { function: &self.launch.function, request, tails: Some(self.shared.tails()) };
        if heard.output {
            self.outputs.0.read(&mut self.process.stdout, &who, &mut std::io::stdout().lock());
        }
        if heard.errors {
            self.outputs.1.read(&mut self.process.stderr, &who, &mut std::io::stderr().lock());
        }
    }

    /// An invocation has ended, or the start. What was written before an answer has been read before it: a pipe is looked at after
    /// the socket, and one read empties it.
    fn close_outputs(&mut self, request: Option<u128>) {
        let who = Speaker { function: &self.launch.function, request, tails: Some(self.shared.tails()) };
        self.outputs.0.close(&who, &mut std::io::stdout().lock());
        self.outputs.1.close(&who, &mut std::io::stderr().lock());
    }

    /// Read what is left in the pipes. Whoever else has them open writes no more: the group is dead.
    fn drain(&mut self) {
        for _ in 0..LAST_READS {
            let output = !self.outputs.0.ended && is_ready(self.process.stdout.as_fd(), Duration::ZERO);
            let errors = !self.outputs.1.ended && is_ready(self.process.stderr.as_fd(), Duration::ZERO);
            if !output && !errors {
                break;
            }
            self.read_output(&Heard { output, errors, ..Heard::default() });
        }
        self.close_outputs(self.current.as_ref().map(|current| current.request));
    }

    fn remark(&self, text: &str) {
        let request = self.current.as_ref().map(|current| current.request);
        self.shared.notice(OperatorEvent::Environment, &self.launch.function, request, text);
    }
}

/// Tell the engine, and whoever reads its output, that an environment is gone.
pub(crate) fn tell_end(
    shared: &dyn EnvironmentEvents,
    launch: &Launch,
    fault: &Fault,
    lost: Option<Settled>,
    request: Option<u128>,
    initialized: bool,
) {
    let told = fault.told();
    let is_unwished = lost.is_some() || !initialized || matches!(fault, Fault::OutOfMemory(_));
    if !told.is_empty() && is_unwished {
        let text = match (request.map(uuid_text), initialized) {
            (Some(request), _) => format!("an execution environment ended during request {request}: {told}"),
            (None, true) => format!("an execution environment ended: {told}"),
            (None, false) => format!("an execution environment did not start: {told}"),
        };
        shared.notice(OperatorEvent::EnvironmentEnded, &launch.function, request, &text);
    }
    shared.exited(launch.key, fault, lost);
}
