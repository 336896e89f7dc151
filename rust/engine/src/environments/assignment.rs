//! Work that another process runs for the one that owns the store, as bytes.
//!
//! Each piece is `length u32, kind u8, token u64, body`, little-endian; `length` counts everything after itself. The body of what is to be
//! stopped is empty. Else it is `function u32, flags u8, deadline_ms u64, request u128, qualifier, number of contexts u32, contexts`, and
//! then what the function is given. A text has its length before it.

use crate::dispatch::attempts::{Task, Token, Work};
use crate::environments::frame::{decode_batch, encode_batch, put_text, Pieces};
use crate::payload::records::Records;
use forebay_core::stream::protocol::Window;

const INVOKE: u8 = 1;
const EVENT: u8 = 2;
const BATCH: u8 = 3;
const MESSAGES: u8 = 4;
const STOP: u8 = 5;
const INTERRUPT: u8 = 6;

const READS: u8 = 1;
const REPORTS: u8 = 2;
const AS_EVENT: u8 = 4;

/// A piece of work, or what is to become of one that was given before.
#[derive(Debug)]
pub struct Assignment {
    /// Names the attempt when it is settled.
    pub token: Token,
    /// What to do.
    pub task: AssignedTask,
}

/// The kinds of assignments.
#[derive(Debug)]
pub enum AssignedTask {
    /// Run a function.
    Run(Run),
    /// Stop the attempt: it is past its deadline.
    Stop,
    /// Stop the attempt: it will be run again.
    Interrupt,
}

/// How a function is to be run.
#[derive(Debug)]
pub struct Run {
    /// Which of the functions that the process has offered.
    pub function: usize,
    /// Somebody reads the response.
    pub reads: bool,
    /// Partial failures are read.
    pub reports: bool,
    /// When the attempt must have ended, wall ms.
    pub deadline_ms: u64,
    /// Request id, shown as a UUID.
    pub request: u128,
    /// The version or alias that was asked for.
    pub qualifier: Option<String>,
    /// Trace contexts.
    pub traces: Vec<String>,
    /// What the function is given.
    pub given: Given,
}

/// What a function is given.
#[derive(Debug)]
pub enum Given {
    /// The payload of a synchronous invocation, JSON.
    Invoke(Vec<u8>),
    /// An asynchronous event, JSON.
    Event(Vec<u8>),
    /// A batch of records; true: as Lambda's event.
    Batch(Records, Option<Window>, bool),
    /// A batch of messages, JSON; true: as Lambda's event.
    Messages(Vec<u8>, bool),
}

/// Add a piece of work for a process that has offered its function under this number. False, and nothing is added: it is not a work for
/// another process.
pub(crate) fn put(work: &Work, function: u32, (reads, reports): (bool, bool), out: &mut Vec<u8>) -> bool {
    let (kind, as_event) = match &work.task {
        Task::Invoke(_) => (INVOKE, false),
        Task::Event(_) => (EVENT, false),
        Task::Batch { as_event, .. } => (BATCH, *as_event),
        Task::Messages { as_event, .. } => (MESSAGES, *as_event),
        Task::Cancel | Task::Deliver(_) => return false,
    };
    let begins = begin(kind, work.token, out);
    out.extend_from_slice(&function.to_le_bytes());
    let flags = [(reads, READS), (reports, REPORTS), (as_event, AS_EVENT)];
    out.push(flags.iter().filter(|(is_so, _)| *is_so).map(|(_, flag)| flag).sum());
    out.extend_from_slice(&work.deadline_ms.to_le_bytes());
    out.extend_from_slice(&work.request.to_le_bytes());
    put_text(work.qualifier.as_deref().unwrap_or_default(), out);
    let traces = work.traces();
    out.extend_from_slice(&(traces.len() as u32).to_le_bytes());
    for trace in traces {
        put_text(trace, out);
    }
    match &work.task {
        Task::Invoke(payload) | Task::Event(payload) | Task::Deliver(payload) => out.extend_from_slice(payload),
        Task::Batch { records, window, .. } => encode_batch(records, window.as_ref(), out),
        Task::Messages { messages, as_event } => {
            let event = if *as_event { messages.event() } else { messages.answered() };
            out.extend_from_slice(event.to_string().as_bytes());
        }
        Task::Cancel => {}
    }
    end(begins, out);
    true
}

/// Add that an attempt is to be stopped. `interrupted`: it is not past its deadline, and will be run again.
pub(crate) fn put_stop(token: Token, interrupted: bool, out: &mut Vec<u8>) {
    let begins = begin(if interrupted { INTERRUPT } else { STOP }, token, out);
    end(begins, out);
}

fn begin(kind: u8, token: Token, out: &mut Vec<u8>) -> usize {
    let begins = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    out.extend_from_slice(&token.to_le_bytes());
    begins
}

fn end(begins: usize, out: &mut [u8]) {
    let length = (out.len() - begins - 4) as u32;
    out[begins..begins + 4].copy_from_slice(&length.to_le_bytes());
}

/// The pieces out of an answer; `None` if they make no sense.
pub fn assignments(bytes: &[u8]) -> Option<Vec<Assignment>> {
    let mut rest = Pieces(bytes);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = rest.u32()? as usize;
        found.push(assignment(Pieces(rest.take(length)?))?);
    }
    Some(found)
}

fn assignment(mut rest: Pieces<'_>) -> Option<Assignment> {
    let (kind, token) = (rest.take(1)?[0], rest.u64()?);
    let stop = match kind {
        STOP => Some(AssignedTask::Stop),
        INTERRUPT => Some(AssignedTask::Interrupt),
        _ => None,
    };
    if let Some(task) = stop {
        return rest.is_empty().then_some(Assignment { token, task });
    }
    let (function, flags, deadline_ms) = (rest.u32()? as usize, rest.take(1)?[0], rest.u64()?);
    let request = u128::from_le_bytes(*rest.take(16)?.first_chunk()?);
    let qualifier = Some(rest.text()?).filter(|asked| !asked.is_empty());
    let mut traces = Vec::new();
    for _ in 0..rest.u32()? {
        traces.push(rest.text()?);
    }
    let (as_event, body) = (flags & AS_EVENT != 0, rest.all());
    let given = match kind {
        INVOKE => Given::Invoke(body.to_vec()),
        EVENT => Given::Event(body.to_vec()),
        BATCH => decode_batch(body).map(|(records, window)| Given::Batch(records, window, as_event))?,
        MESSAGES => Given::Messages(body.to_vec(), as_event),
        _ => return None,
    };
    let (reads, reports) = (flags & READS != 0, flags & REPORTS != 0);
    let run = Run { function, reads, reports, deadline_ms, request, qualifier, traces, given };
    Some(Assignment { token, task: AssignedTask::Run(run) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_read_back_and_what_is_cut_off_makes_no_sense() {
        let work = Work {
            token: 7,
            handler: 3,
            request: 9,
            deadline_ms: 11,
            qualifier: Some("live".into()),
            trace: Some("00-1-2-01".into()),
            task: Task::Event((*b"{}").into()),
        };
        let mut bytes = Vec::new();
        assert!(put(&work, 2, (true, false), &mut bytes));
        put_stop(8, false, &mut bytes);
        put_stop(9, true, &mut bytes);
        let read = assignments(&bytes).unwrap();
        let [Assignment { token: 7, task: AssignedTask::Run(run) }, stop, interrupt] = &read[..] else {
            panic!("{read:?}")
        };
        assert_eq!((run.function, run.reads, run.reports, run.deadline_ms, run.request), (2, true, false, 11, 9));
        assert_eq!((run.qualifier.as_deref(), &run.traces[..]), (Some("live"), &["00-1-2-01".to_owned()][..]));
        assert!(matches!(&run.given, Given::Event(payload) if payload == b"{}"));
        assert!(matches!(stop, Assignment { token: 8, task: AssignedTask::Stop }));
        assert!(matches!(interrupt, Assignment { token: 9, task: AssignedTask::Interrupt }));
        let whole = [0, bytes.len() - 26, bytes.len() - 13, bytes.len()];
        for cut in 0..bytes.len() {
            assert_eq!(assignments(&bytes[..cut]).is_some(), whole.contains(&cut), "cut at {cut}");
        }
        let cancel = Work { task: Task::Cancel, ..work };
        assert!(!put(&cancel, 2, (true, false), &mut bytes));
    }
}
