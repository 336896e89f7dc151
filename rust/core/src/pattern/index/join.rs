//! Values in arrays that must agree: conditions of one rule are met together by one element of an array.
//!
//! The elements of an event's arrays are a tree. Of each array one element is taken, or none; what the conditions find in the
//! elements that are taken must meet them all. For each element is told from the inside out which conditions can be met
//! together there, so that the work grows with the event and not with the ways to choose.

use super::walk::{Element, NO_ELEMENT};
use crate::pattern::bus::PATTERN_CHARS_MAX;

/// Most paths of a rule: one takes eight characters of a pattern.
const PATHS_MAX: usize = 512;
const _: () = assert!(PATTERN_CHARS_MAX / 8 <= PATHS_MAX);

/// Ways to take elements that are kept beside each other. More than a few come about only if keys with dots lead to one path
/// on several ways; the rest is then not tried.
const WAYS_MAX: usize = 1_024;

/// A set of paths, each by its place in the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set([u64; PATHS_MAX / 64]);

impl Set {
    const EMPTY: Self = Self([0; PATHS_MAX / 64]);

    fn one(path: usize) -> Self {
        let mut set = Self::EMPTY;
        set.0[path / 64] |= 1 << (path % 64);
        set
    }

    /// All paths after the first one of this set.
    fn after_first(self) -> Self {
        let mut after = Self::EMPTY;
        let Some(word) = self.0.iter().position(|word| *word != 0) else { return after };
        after.0[word..].fill(u64::MAX);
        after.0[word] = !(self.0[word] ^ (self.0[word] - 1));
        after
    }

    fn with(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    fn both(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    fn holds(self, other: Self) -> bool {
        other.without(self) == Self::EMPTY
    }
}

/// A path of the rule with the elements that its values lie in. Paths stand in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Of the values that meet its conditions.
    pub(super) meeting: Vec<u32>,
    /// Of all its values, if it may be absent.
    pub(super) present: Option<Vec<u32>>,
}

/// An element, as far as the rule's values lie in it.
struct Node {
    element: u32,
    array: u32,
    /// Paths that are met, and those that may be absent but are not, in the element itself and with all that lies in it.
    meets: Set,
    has: Set,
    meets_inside: Set,
    has_inside: Set,
    /// Those of one array stand together.
    children: Vec<usize>,
}

/// What one way to take elements gives.
#[derive(Clone, Copy, Debug)]
struct Way {
    meets: Set,
    /// Paths that may be absent and are.
    lacks: Set,
}

/// Whether the elements can be taken so that all paths are met.
pub(super) fn agree(paths: &[Path], elements: &[Element]) -> bool {
    let nodes = tree(paths, elements);
    let numbers = 0..paths.len();
    let must = numbers.filter(|&path| paths[path].present.is_none()).map(Set::one).fold(Set::EMPTY, Set::with);
    let all = (0..paths.len()).map(Set::one).fold(Set::EMPTY, Set::with);
    ways(&nodes, 0, must).iter().any(|way| way.meets.with(way.lacks.without(must)).holds(all))
}

fn tree(paths: &[Path], elements: &[Element]) -> Vec<Node> {
    let mut numbers = vec![NO_ELEMENT];
    for path in paths {
        for &element in path.meeting.iter().chain(path.present.iter().flatten()) {
            let mut element = element;
            while element != NO_ELEMENT {
                numbers.push(element);
                element = elements[element as usize].outer;
            }
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    let place = |element: u32| numbers.binary_search(&element).unwrap_or_default();
    let mut nodes: Vec<Node> = numbers.iter().map(|&element| Node::new(element, elements)).collect();
    for (path, of_path) in paths.iter().enumerate() {
        for &element in &of_path.meeting {
            let node = &mut nodes[place(element)];
            node.meets = node.meets.with(Set::one(path));
        }
        for &element in of_path.present.iter().flatten() {
            let node = &mut nodes[place(element)];
            node.has = node.has.with(Set::one(path));
        }
    }
    // An element comes after the one that it lies in; the outermost lies in itself.
    for child in (0..nodes.len()).rev() {
        let (meets, has) = (nodes[child].meets, nodes[child].has);
        let (meets, has) = (meets.with(nodes[child].meets_inside), has.with(nodes[child].has_inside));
        (nodes[child].meets_inside, nodes[child].has_inside) = (meets, has);
        let outer = &mut nodes[place(elements[numbers[child] as usize].outer)];
        (outer.meets_inside, outer.has_inside) = (outer.meets_inside.with(meets), outer.has_inside.with(has));
    }
    for child in 1..nodes.len() {
        let outer = place(elements[nodes[child].element as usize].outer);
        nodes[outer].children.push(child);
    }
    nodes
}

impl Node {
    fn new(element: u32, elements: &[Element]) -> Self {
        let array = elements[element as usize].array;
        let (meets, has) = (Set::EMPTY, Set::EMPTY);
        Self { element, array, meets, has, meets_inside: meets, has_inside: has, children: Vec::new() }
    }
}

/// The ways to take elements inside one that meet at least `need`. Ways that are worse than another are left out.
fn ways(nodes: &[Node], at: usize, need: Set) -> Vec<Way> {
    let node = &nodes[at];
    let mut ways = vec![Way { meets: node.meets, lacks: node.has.not() }];
    let arrays: Vec<&[usize]> = node.children.chunk_by(|a, b| nodes[*a].array == nodes[*b].array).collect();
    let inside = |array: &[usize]| array.iter().map(|&child| nodes[child].meets_inside).fold(Set::EMPTY, Set::with);
    for (index, array) in arrays.iter().enumerate() {
        let others = arrays.iter().enumerate().filter(|(other, _)| *other != index);
        let elsewhere = others.map(|(_, other)| inside(other)).fold(node.meets, Set::with);
        let here = ways_of_array(nodes, array, need.without(elsewhere));
        let mut together = Vec::new();
        for (way, other) in ways.iter().flat_map(|way| here.iter().map(move |other| (way, other))) {
            add(&mut together, Way { meets: way.meets.with(other.meets), lacks: way.lacks.both(other.lacks) });
        }
        ways = together;
    }
    ways
}

fn ways_of_array(nodes: &[Node], array: &[usize], need: Set) -> Vec<Way> {
    let union = |of: &dyn Fn(&Node) -> Set| array.iter().map(|&child| of(&nodes[child])).fold(Set::EMPTY, Set::with);
    let (best, has) = (union(&|node| node.meets_inside), union(&|node| node.has_inside));
    let mut ways = Vec::new();
    if need == Set::EMPTY {
        ways.push(Way { meets: Set::EMPTY, lacks: has.not() });
    }
    for &child in array {
        let inside = nodes[child].meets_inside;
        if inside == Set::EMPTY || !inside.holds(need) {
            continue;
        }
        for way in self::ways(nodes, child, need) {
            // A path is absent from the array if an element was taken before the path's turn, and lacks it.
            let lacks = has.not().with(way.lacks.both(way.meets.after_first()));
            add(&mut ways, Way { meets: way.meets, lacks });
            if way.meets.holds(best) && lacks == Set::EMPTY.not() {
                return ways;
            }
        }
    }
    ways
}

/// Keep a way unless another is as good.
fn add(ways: &mut Vec<Way>, new: Way) {
    let is_as_good = |one: &Way, other: &Way| one.meets.holds(other.meets) && one.lacks.holds(other.lacks);
    if ways.len() >= WAYS_MAX || ways.iter().any(|way| is_as_good(way, &new)) {
        return;
    }
    ways.retain(|way| !is_as_good(&new, way));
    ways.push(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[usize]) -> Set {
        paths.iter().copied().map(Set::one).fold(Set::EMPTY, Set::with)
    }

    #[test]
    fn all_paths_after_the_first_one_are_those_of_the_set_and_others() {
        for paths in [&[0][..], &[3, 4, 90], &[63, 64], &[64], &[70, 500], &[511]] {
            let after: Vec<usize> = (paths[0] + 1..PATHS_MAX).collect();
            assert_eq!(set(paths).after_first(), set(&after), "{paths:?}");
        }
        assert_eq!(Set::EMPTY.after_first(), Set::EMPTY);
    }

    #[test]
    fn of_two_ways_the_better_one_is_kept() {
        let way = |meets: &[usize], lacks: &[usize]| Way { meets: set(meets), lacks: set(lacks) };
        let mut ways = Vec::new();
        for (new, kept) in [
            (way(&[1], &[]), vec![way(&[1], &[])]),
            (way(&[1], &[]), vec![way(&[1], &[])]),
            (way(&[], &[]), vec![way(&[1], &[])]),
            (way(&[2], &[]), vec![way(&[1], &[]), way(&[2], &[])]),
            (way(&[1], &[3]), vec![way(&[2], &[]), way(&[1], &[3])]),
            (way(&[1, 2], &[3]), vec![way(&[1, 2], &[3])]),
        ] {
            add(&mut ways, new);
            let sets = |ways: &[Way]| ways.iter().map(|way| (way.meets, way.lacks)).collect::<Vec<_>>();
            assert_eq!(sets(&ways), sets(&kept), "after {new:?}");
        }
    }

    #[test]
    fn no_more_ways_are_kept_than_can_be_looked_through() {
        let mut ways = Vec::new();
        for (one, other) in (0..64).flat_map(|one| (0..64).map(move |other| (one, other))) {
            add(&mut ways, Way { meets: set(&[one, 64 + other]), lacks: Set::EMPTY });
        }
        assert_eq!(ways.len(), WAYS_MAX);
    }
}
