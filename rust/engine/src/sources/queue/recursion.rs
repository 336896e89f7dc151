//! Chains of functions that go through queues: a message whose chain has gone through as many functions as any may is handed to
//! none. It fails as on Lambda: each time it counts as received, until it is moved to the dead-letter queue.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>

use std::collections::BTreeSet;

use forebay_core::chain;
use forebay_core::queue::protocol::{Handle, Outcome};
use forebay_core::stream::protocol::Backoff;

use crate::payload::message::Message;
use crate::sources::queue::mapping_row::RETRY_BASE_MS;
use crate::sources::queue::QueueId;
use crate::sources::queue::QueueRoom;
use crate::sources::queue::{mapping, serve};

/// What is stopped of a batch that is being put together.
#[derive(Default)]
pub(crate) struct Stopped {
    failed: Vec<Handle>,
    /// Messages of a FIFO queue that stand behind those in their groups: they are not to blame.
    behind: Vec<Handle>,
    groups: BTreeSet<String>,
}

impl Stopped {
    /// Whether a message must not be handed out: by its own chain, or since it stands behind such a one.
    pub(crate) fn stops(&mut self, message: &Message<'_>, handle: Handle, is_fifo: bool) -> bool {
        if !chain::may_run(message.hops) {
            self.failed.push(handle);
            if is_fifo {
                self.groups.insert(message.group.to_owned());
            }
            return true;
        }
        let is_behind = is_fifo && self.groups.contains(message.group);
        if is_behind {
            self.behind.push(handle);
        }
        is_behind
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }
}

/// Let fail what is stopped.
pub(crate) fn stop_chains(room: &mut QueueRoom<'_>, id: QueueId, mapping: u64, stopped: &Stopped) {
    if stopped.is_empty() {
        return;
    }
    let now = room.ctx.now;
    let Some(mapping) = room.queues.mappings.get_mut(&mapping) else { return };
    mapping.last_result = "PROBLEM: RecursiveInvocation";
    mapping.meters.recursive.add(stopped.failed.len() as u64);
    let queue = &mut room.queues.entries[id];
    let given = mapping.row.backoff(&queue.row);
    // Nothing ran that would have taken time: without a wait, one with no dead-letter queue would come round at once, for ever.
    let backoff = Backoff {
        base_ms: given.base_ms.max(RETRY_BASE_MS),
        cap_ms: given.cap_ms.max(RETRY_BASE_MS),
        jitter: given.jitter,
    };
    queue.machine.completed(&stopped.failed, &Outcome::Error, &backoff, &now);
    mapping::give_back(room, id, &stopped.behind);
    serve::serve_queue(room, id);
}
