//! Who is next: the lines of those who wait, and who leaves which. See [`super`].

use std::collections::BTreeSet;

use super::pool::Pool;
use super::rings::{Node, Rings};
use super::{FunctionId, Kind, Lease, Refused, UnitId, Wait};

/// Where a unit stands, when it waits.
#[derive(Clone, Debug)]
pub(super) struct QueueEntry {
    node: Node,
    /// It waits because the account grows no faster.
    in_growth: bool,
}

/// The line of a function's units that wait for its own limits.
#[derive(Clone, Debug)]
pub(super) struct FunctionWaiters {
    head: Node,
    /// When it is woken by time.
    due_ns: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct FairQueue {
    rings: Rings,
    /// The unit of each node; heads have none.
    owners: Vec<UnitId>,
    open: Node,
    woken: Node,
    account: Node,
    crowded: Node,
    growth: Node,
    /// When the first of `growth` may start.
    growth_due_ns: u64,
    /// The own lines that are woken by time.
    due: BTreeSet<(u64, FunctionId)>,
}

impl Default for FairQueue {
    fn default() -> Self {
        let mut rings = Rings::default();
        let [open, woken, account, crowded, growth] = [(); 5].map(|()| rings.add());
        let owners = vec![UnitId::MAX; 5];
        Self { rings, owners, open, woken, account, crowded, growth, growth_due_ns: 0, due: BTreeSet::new() }
    }
}

impl FairQueue {
    pub(super) fn add_own(&mut self) -> FunctionWaiters {
        self.owners.push(UnitId::MAX);
        FunctionWaiters { head: self.rings.add(), due_ns: None }
    }

    pub(super) fn add_unit(&mut self, unit: UnitId) -> QueueEntry {
        self.owners.push(unit);
        QueueEntry { node: self.rings.add(), in_growth: false }
    }

    /// A permit of a unit became free. A warm one, or one set aside for it, is of use to the unit itself, wherever it stands; any is
    /// to those who wait for the limits of the function.
    pub(super) fn freed(&mut self, entry: &mut QueueEntry, was_own: bool, waiters: &FunctionWaiters) {
        if entry.in_growth || was_own && self.rings.stands(entry.node) {
            entry.in_growth = false;
            self.rings.move_to(entry.node, self.woken);
        }
        self.rings.move_all(waiters.head, self.woken);
    }
}

/// What became of the first in a line.
enum Tried {
    Started(Lease),
    /// Refused for what the line waits for.
    Stays,
    /// Refused for something else: it waits in that line now.
    Moved,
}

impl Pool {
    /// A unit has work that waits. It keeps its place in line if it stands in one.
    pub fn wait(&mut self, unit: UnitId) {
        let (queue, node) = (&mut self.queue, self.units[unit].entry.node);
        if !queue.rings.stands(node) {
            queue.rings.move_to(node, queue.open);
        }
    }

    /// A unit has no more work that waits.
    pub fn withdraw(&mut self, unit: UnitId) {
        let entry = &mut self.units[unit].entry;
        entry.in_growth = false;
        self.queue.rings.leave(entry.node);
    }

    /// The permit of the unit whose turn it is, for one attempt. The unit is out of line; `wait` puts it in line again if it has more.
    pub fn next(&mut self, now_ns: u64) -> Option<Lease> {
        self.wake_due(now_ns);
        let FairQueue { open, woken, account, crowded, growth, .. } = self.queue;
        for (line, lacks) in [(growth, Wait::Growth), (crowded, Wait::Crowded), (account, Wait::Account)] {
            // Everybody in such a line lacks the same: when the first may not start, no other may.
            while let Some(node) = self.queue.rings.front(line) {
                match self.try_front(node, Some(lacks), now_ns) {
                    Tried::Started(lease) => return Some(lease),
                    Tried::Stays => break,
                    Tried::Moved => {}
                }
            }
        }
        for line in [woken, open] {
            while let Some(node) = self.queue.rings.front(line) {
                if let Tried::Started(lease) = self.try_front(node, None, now_ns) {
                    return Some(lease);
                }
            }
        }
        None
    }

    fn try_front(&mut self, node: Node, lacks: Option<Wait>, now_ns: u64) -> Tried {
        let id = self.queue.owners[node as usize];
        match self.acquire(id, Kind::Work, now_ns) {
            Ok(lease) => {
                self.withdraw(id);
                Tried::Started(lease)
            }
            Err(refused) => {
                let line = self.line_of(id, refused, now_ns);
                if lacks == Some(refused.wait) {
                    return Tried::Stays;
                }
                self.queue.rings.move_to(node, line);
                self.refusals.push((id, refused.reason));
                Tried::Moved
            }
        }
    }

    /// The line in which a refused unit waits, and when it is woken.
    fn line_of(&mut self, id: UnitId, refused: Refused, now_ns: u64) -> Node {
        let (unit, queue) = (&mut self.units[id], &mut self.queue);
        unit.entry.in_growth = refused.wait == Wait::Growth;
        match refused.wait {
            Wait::Account => queue.account,
            Wait::Crowded => queue.crowded,
            Wait::Growth => {
                queue.growth_due_ns = refused.retry_at_ns.unwrap_or(now_ns);
                queue.growth
            }
            Wait::Function => {
                let own = &mut self.functions[unit.function].waiters;
                let due_ns = own.due_ns.into_iter().chain(refused.retry_at_ns).min();
                if let Some(before_ns) = std::mem::replace(&mut own.due_ns, due_ns) {
                    queue.due.remove(&(before_ns, unit.function));
                }
                queue.due.extend(due_ns.map(|due_ns| (due_ns, unit.function)));
                own.head
            }
        }
    }

    /// When [`Pool::next`] may give something because time has passed, mono ns.
    pub fn next_due(&self) -> Option<u64> {
        let queue = &self.queue;
        let growth = queue.rings.front(queue.growth).map(|_| queue.growth_due_ns);
        queue.due.first().map(|(due_ns, _)| *due_ns).into_iter().chain(growth).min()
    }

    fn wake_due(&mut self, now_ns: u64) {
        while let Some(&(due_ns, id)) = self.queue.due.first().filter(|(due_ns, _)| *due_ns <= now_ns) {
            self.queue.due.remove(&(due_ns, id));
            let own = &mut self.functions[id].waiters;
            own.due_ns = None;
            self.queue.rings.move_all(own.head, self.queue.woken);
        }
    }

    /// Limits have changed: let everybody try again, in the order in which they stand.
    pub(super) fn wake_all(&mut self) {
        let FairQueue { woken, account, crowded, growth, .. } = self.queue;
        let own = self.functions.iter().map(|function| function.waiters.head);
        for line in [growth, crowded, account].into_iter().chain(own) {
            self.queue.rings.move_all(line, woken);
        }
        for unit in &mut self.units {
            unit.entry.in_growth = false;
        }
    }
}
