//! What a disk may hold after a power cut: everything synced, and of the rest each write whole, in part, or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::Event;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A small generator of numbers, so that a failure can be repeated from its seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }
}

#[derive(Clone, Debug, Default)]
struct File {
    synced: Option<Vec<u8>>,
    /// Events since, by their place.
    pending: Vec<usize>,
}

impl File {
    /// Its removal is on the disk: what it was before is gone.
    fn forget_removed(&mut self, events: &[Event]) {
        let is_removal = |&at: &usize| matches!(events[at], Event::Delete { .. });
        if let Some(last) = self.pending.iter().rposition(is_removal) {
            self.synced = None;
            self.pending.drain(..=last);
        }
    }
}

/// The files at one moment of a recording. It only goes forward.
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    events: &'a [Event],
    at: usize,
    files: BTreeMap<String, File>,
    /// Contents that a file beside had so far: any of them, or none, may be found.
    beside: BTreeMap<String, Vec<&'a [u8]>>,
    /// The last mark.
    pub mark: u64,
}

impl<'a> Moment<'a> {
    /// Before everything.
    pub fn first(events: &'a [Event]) -> Self {
        Self { events, at: 0, files: BTreeMap::new(), beside: BTreeMap::new(), mark: 0 }
    }

    /// Go on to just before the event at `at`.
    pub fn advance(&mut self, at: usize) {
        while self.at < at.min(self.events.len()) {
            self.pass(self.at);
            self.at += 1;
        }
    }

    fn pass(&mut self, at: usize) {
        match &self.events[at] {
            Event::Mark(mark) => self.mark = *mark,
            Event::Beside { file, data } => {
                let known = self.beside.entry(file.clone()).or_default();
                if known.last() != Some(&data.as_slice()) {
                    known.push(data);
                }
            }
            Event::Delete { file, synced: true } => drop(self.files.remove(file)),
            Event::SyncDirectory => self.files.values_mut().for_each(|file| file.forget_removed(self.events)),
            Event::Write { file, .. } | Event::Truncate { file, .. } | Event::Delete { file, .. } => {
                self.files.entry(file.clone()).or_default().pending.push(at);
            }
            Event::Sync { file } => {
                let file = self.files.entry(file.clone()).or_default();
                let mut content = file.synced.take();
                for at in std::mem::take(&mut file.pending) {
                    carry_out(&mut content, &self.events[at], |_| true);
                }
                file.synced = Some(content.unwrap_or_default());
            }
        }
    }

    /// What the power cut at this moment leaves, by file name.
    pub fn cut(&self, random: &mut Random) -> BTreeMap<String, Vec<u8>> {
        let mut left = BTreeMap::new();
        // All lost, all kept, and everything between.
        let keeps = random.below(5);
        for (name, file) in &self.files {
            let mut content = file.synced.clone();
            for &at in &file.pending {
                let event = &self.events[at];
                let is_kept = keeps == 4 || (keeps > 0 && random.below(4) < keeps);
                if let (Event::Delete { .. }, false) = (event, is_kept) {
                    // What follows was done to the next file of this name, which is not there without the removal.
                    break;
                }
                let is_torn = keeps < 4 && random.below(3) == 0;
                if is_kept {
                    carry_out(&mut content, event, |_| !is_torn || random.below(2) == 0);
                }
            }
            if let Some(content) = content {
                left.insert(name.clone(), content);
            }
        }
        for (name, known) in &self.beside {
            // Newest, an older one, an empty file, none.
            let found = match random.below(4) {
                0 => known.last().map(|data| data.to_vec()),
                1 => Some(known[random.below(known.len() as u64) as usize].to_vec()),
                2 => Some(Vec::new()),
                _ => None,
            };
            if let Some(data) = found {
                left.insert(name.clone(), data);
            }
        }
        left
    }
}

/// Do to a file what was done; of a write only the sectors that `keeps` says.
fn carry_out(content: &mut Option<Vec<u8>>, event: &Event, mut keeps: impl FnMut(usize) -> bool) {
    match event {
        Event::Delete { .. } => *content = None,
        Event::Truncate { size, .. } => content.get_or_insert_with(Vec::new).resize(*size as usize, 0),
        Event::Write { offset, data, .. } => {
            let (content, start) = (content.get_or_insert_with(Vec::new), *offset as usize);
            let mut from = 0;
            while from < data.len() {
                let to = data.len().min(((start + from) / SECTOR + 1) * SECTOR - start);
                if keeps((start + from) / SECTOR) {
                    if content.len() < start + to {
                        content.resize(start + to, 0);
                    }
                    content[start + from..start + to].copy_from_slice(&data[from..to]);
                }
                from = to;
            }
        }
        Event::Sync { .. } | Event::SyncDirectory | Event::Mark(_) | Event::Beside { .. } => {}
    }
}

/// Put an image into an empty directory.
pub fn lay(image: &BTreeMap<String, Vec<u8>>, directory: &Path) -> std::io::Result<()> {
    image.iter().try_for_each(|(name, content)| std::fs::write(directory.join(name), content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, byte: u8, len: usize) -> Event {
        Event::Write { file: "a".into(), offset, data: vec![byte; len] }
    }

    #[test]
    fn what_was_synced_is_always_there_and_what_was_not_is_there_in_every_way() {
        let events = [write(0, 1, 2_000), Event::Sync { file: "a".into() }, write(1_000, 2, 2_000)];
        let mut moment = Moment::first(&events);
        moment.advance(3);
        let mut random = Random(7);
        let mut seen = [0; 3];
        for _ in 0..200 {
            let found = moment.cut(&mut random)["a"].clone();
            assert_eq!(found[..1_000], [1; 1_000]);
            let (lost, whole) = (!found.contains(&2), found.len() == 3_000 && found[1_000..] == [2; 2_000]);
            seen[if lost { 0 } else { 1 + usize::from(whole) }] += 1;
        }
        assert!(seen.iter().all(|&count| count > 10), "lost, torn, whole: {seen:?}");
    }

    #[test]
    fn a_torn_write_is_torn_between_sectors_of_the_file() {
        let mut content = Some(vec![0; 2_048]);
        carry_out(&mut content, &write(500, 9, 600), |sector| sector == 1);
        let kept: Vec<usize> = (0..2_048).filter(|&at| content.as_ref().is_some_and(|c| c[at] == 9)).collect();
        assert_eq!((kept.first(), kept.last()), (Some(&512), Some(&1_023)));
    }

    #[test]
    fn a_file_whose_removal_was_lost_is_the_old_one() {
        let delete = Event::Delete { file: "a".into(), synced: false };
        let events = [write(0, 1, 10), Event::Sync { file: "a".into() }, delete, write(0, 2, 5)];
        let mut moment = Moment::first(&events);
        moment.advance(4);
        let mut random = Random(3);
        for _ in 0..100 {
            let found = moment.cut(&mut random).remove("a").unwrap_or_default();
            assert!([vec![1; 10], vec![], vec![2; 5]].contains(&found), "{found:?}");
        }
    }
}
