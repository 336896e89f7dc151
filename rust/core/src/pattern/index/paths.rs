//! The paths that rules name, as a tree of names.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// The event itself.
pub(super) const ROOT: u32 = 0;

/// The tree. A path's number is that of its last name; numbers are used again.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
    edges: HashTable<Edge>,
    hasher: DefaultHashBuilder,
    free: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    parent: u32,
    /// Alternatives that have conditions on this very path.
    uses: u32,
    children: u32,
}

#[derive(Clone, Debug)]
struct Edge {
    parent: u32,
    name: Box<str>,
    child: u32,
}

impl Default for Paths {
    fn default() -> Self {
        let nodes = vec![Node::default()];
        Self { nodes, edges: HashTable::new(), hasher: DefaultHashBuilder::default(), free: Vec::new() }
    }
}

impl Paths {
    /// Every number is below this.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether rules have conditions on this path.
    pub(super) fn is_used(&self, path: u32) -> bool {
        self.nodes[path as usize].uses > 0
    }

    /// Whether rules have conditions on what lies below.
    pub(super) fn has_children(&self, path: u32) -> bool {
        self.nodes[path as usize].children > 0
    }

    /// The path of a key of an object; a key with dots is several names.
    pub(super) fn below(&self, path: u32, key: &str) -> Option<u32> {
        if let Some(child) = self.child(path, key) {
            return Some(child);
        }
        if !key.contains('.') {
            return None;
        }
        key.split('.').try_fold(path, |path, name| self.child(path, name))
    }

    fn child(&self, parent: u32, name: &str) -> Option<u32> {
        let is_it = |edge: &Edge| edge.parent == parent && *edge.name == *name;
        self.edges.find(self.hasher.hash_one((parent, name)), is_it).map(|edge| edge.child)
    }

    /// Count one more use of a path; its number.
    pub(super) fn add(&mut self, path: &str) -> u32 {
        let number = path.split('.').fold(ROOT, |parent, name| match self.child(parent, name) {
            Some(child) => child,
            None => self.add_child(parent, name),
        });
        self.nodes[number as usize].uses += 1;
        number
    }

    fn add_child(&mut self, parent: u32, name: &str) -> u32 {
        let node = Node { parent, ..Node::default() };
        let child = match self.free.pop() {
            Some(number) => {
                self.nodes[number as usize] = node;
                number
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.nodes[parent as usize].children += 1;
        let hash = self.hasher.hash_one((parent, name));
        let hasher = &self.hasher;
        self.edges.insert_unique(hash, Edge { parent, name: name.into(), child }, |edge| {
            hasher.hash_one((edge.parent, &*edge.name))
        });
        child
    }

    /// Count one use less; names that nobody needs any more go.
    pub(super) fn remove(&mut self, path: &str, number: u32) {
        self.nodes[number as usize].uses -= 1;
        let mut number = number;
        for name in path.rsplit('.') {
            let Node { parent, uses, children } = self.nodes[number as usize];
            if uses > 0 || children > 0 {
                return;
            }
            let is_it = |edge: &Edge| edge.child == number;
            if let Ok(edge) = self.edges.find_entry(self.hasher.hash_one((parent, name)), is_it) {
                edge.remove();
            }
            self.nodes[parent as usize].children -= 1;
            self.free.push(number);
            number = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_knows_whether_rules_want_it_and_what_lies_below() {
        let mut paths = Paths::default();
        let inner = paths.add("a.b");
        let outer = paths.below(ROOT, "a").unwrap();
        let told = |paths: &Paths| [ROOT, outer, inner].map(|path| (paths.is_used(path), paths.has_children(path)));
        assert_eq!(told(&paths), [(false, true), (false, true), (true, false)]);
        assert_eq!(paths.add("a"), outer);
        assert_eq!(told(&paths), [(false, true), (true, true), (true, false)]);
        paths.remove("a.b", inner);
        assert_eq!(told(&paths), [(false, true), (true, false), (false, false)]);
        paths.remove("a", outer);
        assert_eq!(told(&paths), [(false, false); 3]);
    }
}
