//! Many short lists in one piece of memory: the waiting messages of each group, oldest first.
//!
//! A list is a pair of ends; its links stand here. Twelve bytes for each message, whatever the number of lists.

/// No link: the end of a list, or an empty list.
pub(super) const NONE: u32 = u32::MAX;

/// Once this many links stand empty they are given back.
const LINKS_KEPT: usize = 4096;

/// The two ends of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) first: u32,
    pub(super) last: u32,
}

impl Default for Ends {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Ends {
    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// The links of all lists.
#[derive(Debug)]
pub(super) struct LinkedLists {
    numbers: Vec<u64>,
    nexts: Vec<u32>,
    /// First of the links that belong to no list.
    free: u32,
    used: usize,
}

impl Default for LinkedLists {
    fn default() -> Self {
        Self { numbers: Vec::new(), nexts: Vec::new(), free: NONE, used: 0 }
    }
}

impl LinkedLists {
    /// Numbers in all lists together.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn first(&self, ends: Ends) -> Option<u64> {
        (!ends.is_empty()).then(|| self.numbers[ends.first as usize])
    }

    /// Put a number where it belongs in an ascending list. At the end at once; else past the smaller ones at the front.
    pub(super) fn insert(&mut self, ends: &mut Ends, number: u64) {
        let link = self.link(number);
        if ends.is_empty() {
            *ends = Ends { first: link, last: link };
        } else if self.numbers[ends.last as usize] < number {
            self.nexts[ends.last as usize] = link;
            ends.last = link;
        } else {
            let mut before = NONE;
            let mut after = ends.first;
            while self.numbers[after as usize] < number {
                before = after;
                after = self.nexts[after as usize];
            }
            assert!(self.numbers[after as usize] != number, "message {number} is there already");
            self.nexts[link as usize] = after;
            match before {
                NONE => ends.first = link,
                before => self.nexts[before as usize] = link,
            }
        }
    }

    /// Take the smallest number out of a list.
    pub(super) fn pop(&mut self, ends: &mut Ends) -> Option<u64> {
        let number = self.first(*ends)?;
        let link = ends.first;
        ends.first = self.nexts[link as usize];
        if ends.first == NONE {
            ends.last = NONE;
        }
        self.nexts[link as usize] = self.free;
        self.free = link;
        self.used -= 1;
        if self.used == 0 && self.numbers.capacity() > LINKS_KEPT {
            *self = Self::default();
        }
        Some(number)
    }

    fn link(&mut self, number: u64) -> u32 {
        self.used += 1;
        if self.free == NONE {
            self.numbers.push(number);
            self.nexts.push(NONE);
            return (self.numbers.len() - 1) as u32;
        }
        let link = self.free;
        self.free = self.nexts[link as usize];
        self.numbers[link as usize] = number;
        self.nexts[link as usize] = NONE;
        link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_so_many_links_is_kept_when_the_last_one_goes() {
        for (count, keeps) in [(10, true), (LINKS_KEPT, true), (LINKS_KEPT + 1, false)] {
            let (mut lists, mut ends) = (LinkedLists::default(), Ends::default());
            for number in 0..count as u64 {
                lists.insert(&mut ends, number);
            }
            for number in 0..count as u64 {
                assert!(lists.numbers.capacity() > 0);
                assert_eq!(lists.pop(&mut ends), Some(number));
            }
            assert_eq!((lists.pop(&mut ends), lists.numbers.capacity() > 0), (None, keeps), "{count}");
        }
    }
}
