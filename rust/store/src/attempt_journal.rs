//! The attempts file: which batches are in flight, so that a crash of the process cannot hide an attempt.
//!
//! A slot is written before its batch is handed out and cleared when the batch has ended. No fsync: what the operating system
//! has taken survives the death of the process, which is the fault this file is about. After a power cut it may tell an older
//! truth; slots that lie below a checkpoint are then recognised by it.
//!
//! Layout: 64-byte cells, little-endian. Cell 0 is the header (`magic 8 bytes, format u32`); a slot is `mapping u64, first u64,
//! last u64, shard u32, attempt u32, interruptions u32, lane u8, lanes u8, alone u8, taken u8 = 1, kind u8`, zeros, and in its last
//! four bytes the CRC-32 of the 60 before. A free slot is all zeros. Format 1 had no kind: its zero is a stream's batch.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crate::bytes::{u32_at, u64_at};
use crate::directory::open_private;
use crate::fp;
use crate::port::StoreError;

/// Most slots of a file. An attempt takes one, or one for each run of neighbouring messages.
pub const IN_FLIGHT_MAX: usize = 262_144;

const CELL: usize = 64;
const CRC_AT: usize = CELL - 4;
const MAGIC: &[u8; 8] = b"fbattmpt";
const FORMAT: u32 = 2;
const FIRST_STEP: usize = 64;
/// Dirty slots this close are written in one go with what lies between them.
const BRIDGE: usize = 16;

/// What a slot is about. The number is part of the format: never change one, never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum InFlightKind {
    /// A batch of a stream.
    Batch = 0,
    /// Messages of a queue, numbers without a gap.
    Messages = 1,
    /// An asynchronous invocation.
    Event = 2,
    /// A function's call for a task of a workflow: `mapping` and `first` name the execution, `last` the task.
    Task = 3,
}

impl InFlightKind {
    fn numbered(number: u8) -> Option<Self> {
        [Self::Batch, Self::Messages, Self::Event, Self::Task].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// One piece of work in flight, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// What the other fields speak of.
    pub kind: InFlightKind,
    /// The mapping it belongs to.
    pub mapping: u64,
    /// The shard of its records.
    pub shard: u32,
    /// Its lane, below `lanes`.
    pub lane: u8,
    /// Lanes of the shard when it was cut.
    pub lanes: u8,
    /// Position of its first record.
    pub first: u64,
    /// Position of its last record.
    pub last: u64,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Crashes of the process it has lived through.
    pub interruptions: u32,
    /// Nothing else was in flight.
    pub alone: bool,
}

/// Names an occupied slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JournalSlot(u32);

/// What the last process left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Batches that were in flight when it died.
    pub records: Vec<InFlight>,
    /// Slots that could not be read: something was in flight there, it is not known what.
    pub damaged: usize,
    /// The file ended so many bytes into its header or a slot.
    pub torn: Option<usize>,
}

impl Found {
    /// What a start has to say of it.
    pub fn remark(&self) -> Option<String> {
        let damaged = (self.damaged > 0).then(|| {
            format!(
                "{} of the slots of the file attempts could not be read and are cleared: {WITHOUT_SLOTS}",
                self.damaged
            )
        });
        let remarks: Vec<String> = damaged.into_iter().chain(self.torn.map(torn_off)).collect();
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }
}

/// What is said of an attempts file that ends so many bytes into its header or a slot.
pub fn torn_off(bytes: usize) -> String {
    let how = if bytes == 0 { "is empty".into() } else { format!("ends {bytes} bytes into a slot") };
    format!("the file attempts {how}; a start goes on with what is left of it: {WITHOUT_SLOTS}")
}

/// What is wrong with the bytes of an attempts file, without opening it. Slots that are damaged are numbered from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ailments {
    /// Why a start refuses the file.
    pub refused: Option<String>,
    /// Slots whose content fails its checksum.
    pub damaged: Vec<usize>,
    /// It ends so many bytes into its header or a slot.
    pub torn: Option<usize>,
}

impl Ailments {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let (torn, (cells, _)) = (torn(bytes), bytes.as_chunks::<CELL>());
        let Some((header, slots)) = cells.split_first() else { return Self { torn, ..Self::default() } };
        let damaged = |cell: &[u8; CELL]| cell.iter().any(|&byte| byte != 0) && decode(cell).is_none();
        Self {
            refused: refusal(header),
            damaged: slots.iter().enumerate().filter(|(_, cell)| damaged(cell)).map(|(slot, _)| slot).collect(),
            torn,
        }
    }

    /// Those of an attempts file.
    pub fn look(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(&read(path)?))
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(((1 + IN_FLIGHT_MAX) * CELL) as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How often, and how long after each other, a file is read that seems damaged: its owner may just be writing it.
pub const LOOKS: u32 = 4;
/// See [`LOOKS`].
pub const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// What an attempts file holds while its owner writes it; `None` where there is none. A slot that is damaged at every look stays so.
pub fn bytes_of(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = match read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    for _ in 1..LOOKS {
        if Ailments::of(&bytes) == Ailments::default() {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        bytes = read(path)?;
    }
    Ok(Some(bytes))
}

/// Into its header or a slot, if it ends there or is empty, so many bytes.
fn torn(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.len() % CELL;
    (bytes.is_empty() || rest > 0).then_some(rest)
}

/// What a start without the attempts file, or without some of its slots, gives up.
pub const WITHOUT_SLOTS: &str =
    "what they told of and was in flight at a crash runs again beside everything else, and that crash does not count against it";

fn refusal(header: &[u8]) -> Option<String> {
    let format = u32_at(header, 8);
    if &header[..8] != MAGIC {
        return Some("it does not begin like one".into());
    }
    (format > FORMAT).then(|| {
        format!("it tells of format {format}, this forebay reads up to {FORMAT}: a newer forebay wrote it, or it is damaged")
    })
}

fn refuse(path: &Path, header: &[u8]) -> Result<(), StoreError> {
    let Some(why) = refusal(header) else { return Ok(()) };
    let file = path.display();
    Err(StoreError::Corrupt(format!(
        "the file {file} is not an attempts file: {why}. To start without it, move it away: {WITHOUT_SLOTS}"
    )))
}

/// Why a slot was not occupied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Every slot is taken: hand out no further batch until one has ended.
    #[error("all {IN_FLIGHT_MAX} attempt slots are taken")]
    Exhausted,
    /// The file could not be written: a crash could now hide an attempt, so no batch may be handed out.
    #[error("the attempts file cannot be written: {0}")]
    Failed(String),
}

impl From<std::io::Error> for JournalError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The slots of one process.
///
/// [`Self::release`] only notes that a slot is free; the next [`Self::occupy`] writes over it, so a lane that goes from one
/// batch to the next costs one write. [`Self::flush`] clears what was not taken again: call it once a turn.
#[derive(Debug)]
pub struct AttemptJournal {
    /// `None`: nothing survives the process anyway.
    file: Option<File>,
    /// The file as it should be; cell 0 is its header.
    cells: Vec<u8>,
    /// Slots whose cells on file are clear, lowest first.
    free: BinaryHeap<Reverse<u32>>,
    /// Released slots whose cells on file are not clear yet.
    released: Vec<u32>,
    /// Slots left by the last process.
    previous: Vec<u32>,
    /// The file was there and ends so many bytes into its header or a slot.
    torn: Option<usize>,
}

impl AttemptJournal {
    /// Open or make the attempts file, and say what the last process left in it. That stays on file until
    /// it is adopted and released, so that a crash during the start repeats it.
    pub fn open(path: &Path) -> Result<(Self, Found), StoreError> {
        let unreadable = |error| StoreError::Failed(format!("the file {} cannot be read: {error}", path.display()));
        let is_new = !path.exists();
        let file = open_private(path).map_err(unreadable)?;
        let length = file.metadata()?.len().min(((1 + IN_FLIGHT_MAX) * CELL) as u64);
        let mut cells = vec![0; length as usize];
        file.read_exact_at(&mut cells, 0).map_err(unreadable)?;
        let torn = if is_new { None } else { torn(&cells) };
        // A file cut off while it was made or grown: a piece of a cell holds nothing.
        cells.truncate(cells.len() / CELL * CELL);
        let mut slots = Self { file: Some(file), cells, torn, ..Self::nothing() };
        let found = slots.take_stock(path)?;
        Ok((slots, found))
    }

    /// Put what another process has left into the attempts file of one that has not begun. The other's file stays as it is: its process
    /// may go on writing after a pause.
    pub fn inherit(own: &Path, left: &Path) -> Result<(), StoreError> {
        let unreadable = |error| StoreError::Failed(format!("the file {} cannot be read: {error}", left.display()));
        if own.metadata().is_ok_and(|own| own.len() < CELL as u64) || !own.exists() {
            return std::fs::copy(left, own).map(drop).map_err(unreadable);
        }
        let bytes = read(left).map_err(unreadable)?;
        let (cells, _) = bytes.as_chunks::<CELL>();
        let Some((header, slots)) = cells.split_first() else { return Ok(()) };
        refuse(left, header)?;
        let file = open_private(own)?;
        // Behind whole slots, and no more of them than a file may have.
        let end = file.metadata()?.len() as usize / CELL;
        let taken = slots
            .iter()
            .filter(|cell| cell.iter().any(|&byte| byte != 0))
            .take((1 + IN_FLIGHT_MAX).saturating_sub(end));
        let taken: Vec<u8> = taken.flatten().copied().collect();
        file.write_all_at(&taken, (end * CELL) as u64)?;
        Ok(())
    }

    /// Slots that live and die with the process.
    pub fn memory() -> Self {
        Self { cells: vec![0; CELL], ..Self::nothing() }
    }

    fn nothing() -> Self {
        let (free, released, previous) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Self { file: None, cells: Vec::new(), free, released, previous, torn: None }
    }

    /// Occupy a slot; see [`Self::occupy_many`].
    pub fn occupy(&mut self, record: InFlight) -> Result<JournalSlot, JournalError> {
        Ok(self.occupy_many(&[record])?[0])
    }

    /// Occupy a slot for each record, all or none. When this returns, a crash of the process is going to find them.
    pub fn occupy_many(&mut self, records: &[InFlight]) -> Result<Vec<JournalSlot>, JournalError> {
        let taken = self.take(records.len())?;
        for (&slot, record) in taken.iter().zip(records) {
            self.cell(slot).copy_from_slice(&encode(record));
        }
        if let Err(error) = fp!("slots.occupy.before_write").and_then(|()| self.write(&taken)) {
            // Whether they stand on file is unknown: clear them with the next flush.
            self.released.extend(taken);
            return Err(error.into());
        }
        fp!("slots.occupy.after_write")?;
        Ok(taken.into_iter().map(JournalSlot).collect())
    }

    /// The batch in this slot is alone no more. Written where it stands, before this returns.
    pub fn join(&mut self, slot: JournalSlot) -> Result<(), JournalError> {
        let cell = self.cell(slot.0);
        if let Some(record) = decode(cell) {
            cell.copy_from_slice(&encode(&InFlight { alone: false, ..record }));
            self.write(&[slot.0])?;
        }
        Ok(())
    }

    /// The batch has ended. Takes effect on file with the next `occupy` or [`Self::flush`].
    pub fn release(&mut self, slot: JournalSlot) {
        self.released.push(slot.0);
    }

    /// Clear on file what was released and not occupied again.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        if self.released.is_empty() {
            return Ok(());
        }
        fp!("slots.flush.before_write")?;
        let released = std::mem::take(&mut self.released);
        for &slot in &released {
            self.cell(slot).fill(0);
        }
        if let Err(error) = self.write(&released) {
            self.released = released;
            return Err(error.into());
        }
        self.free.extend(released.into_iter().map(Reverse));
        Ok(())
    }

    /// Slots in memory as a process that died has left them. For simulated crashes.
    pub fn left_by(records: &[InFlight]) -> Self {
        let mut slots = Self::memory();
        for (at, record) in records.iter().enumerate() {
            slots.cells.extend_from_slice(&encode(record));
            slots.previous.push(at as u32);
        }
        slots
    }

    /// Take over what the last process left, where it stands. What cannot be read is cleared.
    pub fn adopt(&mut self) -> Result<Vec<(InFlight, JournalSlot)>, JournalError> {
        if let (Some(_), Some(file)) = (self.torn.take(), &self.file) {
            file.set_len(self.cells.len() as u64)?;
            self.write_range(0, CELL)?;
        }
        let mut adopted = Vec::with_capacity(self.previous.len());
        for slot in std::mem::take(&mut self.previous) {
            match decode(self.cell(slot)) {
                Some(record) => adopted.push((record, JournalSlot(slot))),
                None => self.released.push(slot),
            }
        }
        self.flush()?;
        Ok(adopted)
    }

    /// How many batches are in flight.
    pub fn occupied(&self) -> usize {
        self.slots() - self.free.len() - self.released.len() - self.previous.len()
    }

    /// What a process that died now would leave behind. For simulated crashes.
    pub fn records(&self) -> Vec<InFlight> {
        self.cells[CELL..].chunks_exact(CELL).filter_map(decode).collect()
    }

    fn take_stock(&mut self, path: &Path) -> Result<Found, StoreError> {
        if self.cells.is_empty() {
            self.cells.resize(CELL, 0);
            self.cells[..8].copy_from_slice(MAGIC);
            self.cells[8..12].copy_from_slice(&FORMAT.to_le_bytes());
            // What was emptied stays so until it is adopted, so that a start that fails before does not hide it.
            if self.torn.is_none() {
                self.write_range(0, CELL)?;
            }
        }
        refuse(path, &self.cells)?;
        if u32_at(&self.cells, 8) < FORMAT {
            self.cells[8..12].copy_from_slice(&FORMAT.to_le_bytes());
            self.write_range(0, CELL)?;
        }
        let mut found = Found { torn: self.torn, ..Found::default() };
        for slot in 0..self.slots() as u32 {
            let cell = self.cell(slot);
            if cell.iter().all(|&byte| byte == 0) {
                self.free.push(Reverse(slot));
                continue;
            }
            match decode(cell) {
                Some(record) => found.records.push(record),
                None => found.damaged += 1,
            }
            self.previous.push(slot);
        }
        Ok(found)
    }

    fn slots(&self) -> usize {
        self.cells.len() / CELL - 1
    }

    fn cell(&mut self, slot: u32) -> &mut [u8] {
        let at = (slot as usize + 1) * CELL;
        &mut self.cells[at..at + CELL]
    }

    fn take(&mut self, wanted: usize) -> Result<Vec<u32>, JournalError> {
        self.make_room(wanted)?;
        let mut next = || self.released.pop().or_else(|| self.free.pop().map(|Reverse(slot)| slot));
        let taken: Vec<u32> = std::iter::from_fn(&mut next).take(wanted).collect();
        assert_eq!(taken.len(), wanted, "room was made for every record");
        Ok(taken)
    }

    fn make_room(&mut self, wanted: usize) -> Result<(), JournalError> {
        let (old, spare) = (self.slots(), self.free.len() + self.released.len());
        if spare >= wanted {
            return Ok(());
        }
        let least = old + wanted - spare;
        if least > IN_FLIGHT_MAX {
            return Err(JournalError::Exhausted);
        }
        let new = least.max(old * 2).clamp(FIRST_STEP, IN_FLIGHT_MAX);
        self.cells.resize((1 + new) * CELL, 0);
        // Written, not only lengthened: a slot must never meet a full disk later.
        let from = if old == 0 { 0 } else { 1 + old };
        let grown = fp!("slots.grow").and_then(|()| self.write_range(from * CELL, (1 + new) * CELL));
        if let Err(error) = grown {
            self.cells.truncate((1 + old) * CELL);
            return Err(error.into());
        }
        self.free.extend((old as u32..new as u32).map(Reverse));
        Ok(())
    }

    /// Write these slots, neighbours together.
    fn write(&self, slots: &[u32]) -> std::io::Result<()> {
        let mut sorted: Vec<usize> = slots.iter().map(|&slot| slot as usize).collect();
        sorted.sort_unstable();
        for run in sorted.chunk_by(|low, high| high - low <= BRIDGE) {
            self.write_range((1 + run[0]) * CELL, (2 + run[run.len() - 1]) * CELL)?;
        }
        Ok(())
    }

    fn write_range(&self, from: usize, to: usize) -> std::io::Result<()> {
        match &self.file {
            Some(file) => file.write_all_at(&self.cells[from..to], from as u64),
            None => Ok(()),
        }
    }
}

fn encode(record: &InFlight) -> [u8; CELL] {
    let mut cell = [0; CELL];
    cell[0..8].copy_from_slice(&record.mapping.to_le_bytes());
    cell[8..16].copy_from_slice(&record.first.to_le_bytes());
    cell[16..24].copy_from_slice(&record.last.to_le_bytes());
    cell[24..28].copy_from_slice(&record.shard.to_le_bytes());
    cell[28..32].copy_from_slice(&record.attempt.to_le_bytes());
    cell[32..36].copy_from_slice(&record.interruptions.to_le_bytes());
    cell[36..40].copy_from_slice(&[record.lane, record.lanes, u8::from(record.alone), 1]);
    cell[40] = record.kind as u8;
    let crc = crc32fast::hash(&cell[..CRC_AT]);
    cell[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    cell
}

/// `None` for a free or a damaged cell.
fn decode(cell: &[u8]) -> Option<InFlight> {
    if cell[39] != 1 || u32_at(cell, CRC_AT) != crc32fast::hash(&cell[..CRC_AT]) {
        return None;
    }
    Some(InFlight {
        kind: InFlightKind::numbered(cell[40])?,
        mapping: u64_at(cell, 0),
        first: u64_at(cell, 8),
        last: u64_at(cell, 16),
        shard: u32_at(cell, 24),
        attempt: u32_at(cell, 28),
        interruptions: u32_at(cell, 32),
        lane: cell[36],
        lanes: cell[37],
        alone: cell[38] != 0,
    })
}

#[cfg(test)]
mod tests;
