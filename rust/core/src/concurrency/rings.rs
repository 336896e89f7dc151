//! Lines of those who wait. Everybody stands in one line at most, and leaves it from anywhere in a fixed number of steps.

/// Somebody who may wait, or the head of a line.
pub(super) type Node = u32;

/// All lines together. A line is a ring that begins and ends at its head; a node that stands nowhere is a ring of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Rings {
    /// The neighbours of each node: before, after.
    links: Vec<(Node, Node)>,
}

impl Rings {
    /// A node that stands nowhere, or the head of an empty line.
    pub(super) fn add(&mut self) -> Node {
        let node = self.links.len() as Node;
        self.links.push((node, node));
        node
    }

    pub(super) fn front(&self, head: Node) -> Option<Node> {
        let first = self.links[head as usize].1;
        (first != head).then_some(first)
    }

    pub(super) fn stands(&self, node: Node) -> bool {
        self.links[node as usize].1 != node
    }

    pub(super) fn leave(&mut self, node: Node) {
        let (before, after) = self.links[node as usize];
        self.join(before, after);
        self.links[node as usize] = (node, node);
    }

    /// Leave where it stands and go to the end of a line.
    pub(super) fn move_to(&mut self, node: Node, head: Node) {
        self.leave(node);
        let last = self.links[head as usize].0;
        self.join(last, node);
        self.join(node, head);
    }

    /// Put a whole line, in its order, behind another.
    pub(super) fn move_all(&mut self, from: Node, to: Node) {
        let (last, first) = self.links[from as usize];
        if first == from {
            return;
        }
        self.links[from as usize] = (from, from);
        let before = self.links[to as usize].0;
        self.join(before, first);
        self.join(last, to);
    }

    fn join(&mut self, before: Node, after: Node) {
        self.links[before as usize].1 = after;
        self.links[after as usize].0 = before;
    }
}
