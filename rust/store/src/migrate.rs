//! Copies all that one store keeps into another, for an app that moves from a directory to a server, or back. Nobody may run either store
//! meanwhile. A copy that was stopped goes on where it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chunk::Chunk;
use crate::format::keys::{APP, FENCED, MIGRATING, MOVED, NEXT_LOG, NEXT_SHARD};
use crate::format::{ShardId, Table, FIRST_QUEUE_LOG};
use crate::port::{BlockingStore as _, Found, Outcome, Read, Reader, Rows, Store, StoreError, Token, Unit, Write};

/// Most bytes of chunks in one commit, unless one chunk has more.
const BYTES: usize = 4 << 20;
/// Most rows in one commit; rows may be of a few hundred KiB, so that pages of such rows are shorter.
const ROWS: (usize, usize) = (64, 1_000);
/// A page of rows with less than that many bytes may have more rows.
const SMALL: usize = 256 << 10;
/// How long a store that cannot be reached is tried.
const TRIES: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(200);
/// How often it is asked whether to go on where nothing is committed, as while a store is waited for, and while both are compared.
const LOOKS: Duration = Duration::from_secs(1);

/// In the first number of a mark: the commits of the target follow. A release that does not know this takes it for another source.
const TELLS_TARGET: u64 = 1 << 63;

/// Why a store into which a copy was stopped is neither opened nor judged.
pub const UNFINISHED: &str =
    "a migration into this store has not ended: run the same `forebay migrate` again, which goes on where it was";

/// Why nothing is copied into a store that has something else.
pub const NOT_EMPTY: &str = "the target is not empty";
/// Why a copy does not go on.
pub const CHANGED: &str = "the source has changed since this migration began";

/// Why a store is not opened that a migration has copied to another one.
pub fn moved(mark: &[u8]) -> String {
    format!(
        "this store was migrated to {}: start the app there. If it is refused there because the migration has not ended, run the same \
         `forebay migrate` again, and leave the mark here. Whoever starts it here handles once more what is handled there. Next, to do so \
         all the same: take the mark back (`forebay migrate --unmark STORE`)",
        moved_to(mark)
    )
}

/// Where a migration has copied a store to, which has this mark.
pub fn moved_to(mark: &[u8]) -> String {
    String::from_utf8_lossy(mark).into_owned()
}

/// How much was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Records and messages.
    pub records: u64,
    /// Rows of everything else.
    pub rows: u64,
    /// Records and messages that were there before, of a copy that was stopped.
    pub earlier_records: u64,
    /// Rows of everything else that were there before.
    pub earlier_rows: u64,
}

/// The highest fencing token that the stores which this one was copied from have given out; 0: they have given none.
pub fn fenced(store: &dyn Store) -> Result<u64, StoreError> {
    let Some(bytes) = Watch::over(&mut |_| true).mark(store.reader()?.as_mut(), FENCED)? else { return Ok(0) };
    let token = bytes.try_into().map(u64::from_be_bytes);
    token.map_err(|_| StoreError::Corrupt("the highest fencing token is not a number".into()))
}

/// Copy a store into one that is empty, or that holds what a copy of the same source left. The source is marked then as one that went to
/// `place`, and the target is declared whole after that: there is no moment at which both can be opened. The target keeps `given`, the
/// highest fencing token that was given out so far. `goes_on` is asked after each commit, each second in which nothing is committed, and once
/// more before the source is marked; `None`: it said no, and the copy can be continued.
///
/// [`StoreError::Refused`]: the target holds something else, or the source has changed since the copy began, or was copied before.
pub fn migrate(
    source: &mut dyn Store,
    target: &mut dyn Store,
    place: &str,
    given: u64,
    goes_on: &mut dyn FnMut(Copied) -> bool,
) -> Result<Option<Copied>, StoreError> {
    let mut is_stopped = false;
    let mut looks = |copied| {
        is_stopped |= !goes_on(copied);
        !is_stopped
    };
    match copy_all(source, target, place, given, Watch::over(&mut looks)) {
        Err(_) if is_stopped => Ok(None),
        ended => ended,
    }
}

fn copy_all(
    source: &mut dyn Store,
    target: &mut dyn Store,
    place: &str,
    given: u64,
    mut watch: Watch<'_>,
) -> Result<Option<Copied>, StoreError> {
    let taken = source.take_now(Unit::All)?;
    let mut from = source.reader()?;
    if watch.mark(from.as_mut(), MIGRATING)?.is_some() {
        return refused("the source is the target of a migration that has not ended: continue that one first");
    }
    let mut into = target.reader()?;
    let is_marked = match watch.mark(from.as_mut(), MOVED)? {
        // It was stopped after the source was marked, and before the target was declared whole.
        Some(mark) if mark == place.as_bytes() && watch.mark(into.as_mut(), MIGRATING)?.is_some() => true,
        Some(mark) => return refused(&format!("the source cannot be copied once more: {}", moved(&mark))),
        None => false,
    };
    let token = target.take_now(Unit::All)?;
    // The commit that marked the source is none that has changed it.
    let mark = Mark::of(taken.commits - u64::from(is_marked), token.commits);
    let mut copy = Copy { from, into, target, token, mark, watch };
    copy.begin()?;
    let is_whole = copy.all()?;
    let mut taken = taken;
    if is_whole && !is_marked {
        let mark = Write::Set { table: Table::Meta, key: MOVED.into(), value: place.into() };
        taken = submit(source, taken, &[mark], &mut copy.watch).map_err(|error| {
            StoreError::Refused(format!(
                "all is in the target, and was compared, but the source could not be marked ({error}). Next: run the same command again"
            ))
        })?;
    }
    if is_whole {
        copy.declare_whole(given).map_err(|error| {
            StoreError::Refused(format!(
                "all is in the target, and the source is marked, but no app can open the target yet ({error}). Next: run the same command \
                 again, and leave the mark at the source"
            ))
        })?;
    }
    let (copied, token) = (copy.watch.copied, copy.token);
    target.release(Unit::All, token);
    source.release(Unit::All, taken);
    Ok(is_whole.then_some(copied))
}

/// Let a store be opened again that a migration has copied to another one; gives where that is. `None`: no migration has.
pub fn unmark(store: &mut dyn Store) -> Result<Option<String>, StoreError> {
    let token = store.take_now(Unit::All)?;
    let mut goes_on = |_| true;
    let mut watch = Watch::over(&mut goes_on);
    let mark = watch.mark(store.reader()?.as_mut(), MOVED)?;
    let token = match mark {
        Some(_) => submit(store, token, &[Write::Remove { table: Table::Meta, key: MOVED.into() }], &mut watch)?,
        None => token,
    };
    store.release(Unit::All, token);
    Ok(mark.map(|mark| moved_to(&mark)))
}

/// How far a copy is, in a row of its target. An engine does not open a store with such a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    /// Of the source, when the copy began.
    commits: u64,
    /// Of the target, with the commit that wrote this. Releases before did not say so.
    target: Option<u64>,
    /// The last row that was copied.
    table: u8,
    key: Vec<u8>,
}

impl Mark {
    fn of(commits: u64, target: u64) -> Self {
        Self { commits, target: Some(target), table: 0, key: Vec::new() }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (commits, mut rest) = bytes.split_first_chunk()?;
        let commits = u64::from_be_bytes(*commits);
        let mut target = None;
        if commits & TELLS_TARGET != 0 {
            let (commits, others) = rest.split_first_chunk()?;
            (target, rest) = (Some(u64::from_be_bytes(*commits)), others);
        }
        let (table, key) = rest.split_first()?;
        Some(Self { commits: commits & !TELLS_TARGET, target, table: *table, key: key.into() })
    }

    fn write(&self) -> Write {
        let tells = self.target.map_or(0, |_| TELLS_TARGET);
        let target = self.target.map(|commits| commits.to_be_bytes().to_vec()).unwrap_or_default();
        let value = [&(self.commits | tells).to_be_bytes()[..], &target, &[self.table], &self.key].concat();
        Write::Set { table: Table::Meta, key: MIGRATING.into(), value }
    }
}

/// Asks whether to go on, and waits for stores that cannot be reached: for a bounded time, and only while it is to go on.
struct Watch<'a> {
    goes_on: &'a mut dyn FnMut(Copied) -> bool,
    copied: Copied,
    asked: Instant,
    tries: Duration,
}

impl<'a> Watch<'a> {
    fn over(goes_on: &'a mut dyn FnMut(Copied) -> bool) -> Self {
        Self { goes_on, copied: Copied::default(), asked: Instant::now(), tries: TRIES }
    }

    /// Whether to go on.
    fn ask(&mut self) -> bool {
        self.asked = Instant::now();
        (self.goes_on)(self.copied)
    }

    /// The same, where it was not asked for a while.
    fn goes_on(&mut self) -> bool {
        self.asked.elapsed() < LOOKS || self.ask()
    }

    fn read(&mut self, reader: &mut dyn Reader, read: Read) -> Result<Found, StoreError> {
        if !self.goes_on() {
            return Err(StoreError::Unavailable("it was stopped".into()));
        }
        let until = Instant::now() + self.tries;
        let found = reader.read_while(read, || self.goes_on() && Instant::now() < until);
        found.unwrap_or_else(|| {
            Err(StoreError::Unavailable(format!(
                "the store's server has not answered for {} s. Next: see that it can be reached, and that the store's URL still has the \
                 right password; then run the same command again, which goes on where it was",
                self.tries.as_secs()
            )))
        })
    }

    /// What a store keeps of itself.
    fn mark(&mut self, reader: &mut dyn Reader, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(reader, Read::Row { table: Table::Meta, key: key.into() })?.row()
    }

    fn bounds(&mut self, reader: &mut dyn Reader, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError> {
        self.read(reader, Read::Bounds { shard })?.bounds()
    }

    fn rows(
        &mut self,
        reader: &mut dyn Reader,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StoreError> {
        self.read(reader, Read::Rows { table, prefix: Vec::new(), after: after.map(Into::into), limit })?.rows()
    }

    /// Rows, without those that each store keeps of itself.
    fn page(
        &mut self,
        reader: &mut dyn Reader,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StoreError> {
        let mut found = Rows::new();
        let mut after = after.map(<[u8]>::to_vec);
        while found.len() < limit {
            let rows = self.rows(reader, table, after.as_deref(), limit)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            found.extend(rows.into_iter().filter(|(key, _)| !is_own(table, key)).take(limit - found.len()));
        }
        Ok(found)
    }
}

struct Copy<'a, 'w> {
    from: Box<dyn Reader>,
    into: Box<dyn Reader>,
    target: &'a mut dyn Store,
    token: Token,
    mark: Mark,
    watch: Watch<'w>,
}

impl Copy<'_, '_> {
    /// Mark the target as one that is being filled, or find how far it is.
    fn begin(&mut self) -> Result<(), StoreError> {
        if let Some(found) = self.watch.mark(self.into.as_mut(), MIGRATING)? {
            let found = Mark::read(&found).ok_or_else(|| StoreError::Corrupt("the mark of a migration".into()))?;
            if found.commits != self.mark.commits {
                return refused(CHANGED);
            }
            // Damage can bring a mark back that was removed long ago, and an older copy of a store has it, too.
            if found.target.is_some_and(|commits| commits != self.token.commits) {
                return refused(
                    "the target is not as this migration left it: nothing was copied over what it holds. Next: look at it with \
                     `forebay doctor`; or migrate into a directory or a schema that no app has used",
                );
            }
            self.mark = found;
            return self.count_earlier();
        }
        let mut is_empty = self.watch.mark(self.into.as_mut(), MOVED)?.is_none();
        for table in Table::ALL {
            is_empty &= self.watch.page(self.into.as_mut(), table, None, 1)?.is_empty();
        }
        for log in self.logs()? {
            is_empty &= self.watch.bounds(self.into.as_mut(), log)?.is_none();
        }
        if !is_empty {
            return refused(NOT_EMPTY);
        }
        self.commit(Vec::new())
    }

    /// Count what a copy that was stopped has left.
    fn count_earlier(&mut self) -> Result<(), StoreError> {
        for log in self.logs()? {
            let (first, end) = self.watch.bounds(self.into.as_mut(), log)?.unwrap_or_default();
            self.watch.copied.earlier_records += end - first;
        }
        for table in Table::ALL.into_iter().filter(|&table| table as u8 <= self.mark.table) {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let rows = self.watch.page(self.into.as_mut(), table, after.as_deref(), ROWS.1)?;
                let Some((last, _)) = rows.last() else { break };
                after = Some(last.clone());
                self.watch.copied.earlier_rows += rows.len() as u64;
            }
        }
        Ok(())
    }

    /// False: it was stopped.
    fn all(&mut self) -> Result<bool, StoreError> {
        let logs = self.logs()?;
        for log in logs.clone() {
            if !self.log(log)? {
                return Ok(false);
            }
        }
        for table in Table::ALL {
            if !self.table(table)? {
                return Ok(false);
            }
        }
        for log in logs {
            if self.watch.bounds(self.from.as_mut(), log)? != self.watch.bounds(self.into.as_mut(), log)? {
                return Err(StoreError::Corrupt(format!("log {log} of the target is not that of the source")));
            }
        }
        for table in Table::ALL {
            self.compare(table)?;
        }
        Ok(self.watch.ask())
    }

    /// Let the target be opened, and keep the highest fencing token that was given out so far.
    fn declare_whole(&mut self, given: u64) -> Result<(), StoreError> {
        let mut writes = vec![Write::Remove { table: Table::Meta, key: MIGRATING.into() }];
        if given > 0 {
            let value = given.to_be_bytes().into();
            writes.push(Write::Set { table: Table::Meta, key: FENCED.into(), value });
        }
        self.submit(&writes)
    }

    /// The numbers of logs that the source has given out.
    fn logs(&mut self) -> Result<impl Iterator<Item = ShardId> + Clone + use<>, StoreError> {
        Ok((0..self.number(NEXT_SHARD)?).chain(FIRST_QUEUE_LOG..self.number(NEXT_LOG)?))
    }

    /// A number that the source keeps of its logs; 0 where it has none.
    fn number(&mut self, key: &[u8]) -> Result<ShardId, StoreError> {
        let Some(bytes) = self.watch.mark(self.from.as_mut(), key)? else { return Ok(0) };
        let number = bytes.try_into().map(ShardId::from_be_bytes);
        number.map_err(|_| StoreError::Corrupt(format!("the row {:?} is not a number", String::from_utf8_lossy(key))))
    }

    fn log(&mut self, log: ShardId) -> Result<bool, StoreError> {
        let Some((first, end)) = self.watch.bounds(self.from.as_mut(), log)? else { return Ok(true) };
        let mut next = match self.watch.bounds(self.into.as_mut(), log)? {
            Some((_, next)) => next,
            None if first == end => {
                self.empty_log(log, end)?;
                end
            }
            None => first,
        };
        if next > end {
            return refused(&format!(
                "log {log} of the target has more than that of the source: the target is a store of its own"
            ));
        }
        while next < end {
            let chunks = self.chunks(log, next)?;
            let writes = chunks.iter().map(|chunk| Write::Append { shard: log, chunk: chunk.clone() }).collect();
            let Some(last) = chunks.last() else {
                return Err(StoreError::Corrupt(format!("log {log} has nothing at {next} and ends at {end}")));
            };
            self.commit(writes)?;
            self.watch.copied.records += last.end() - next;
            next = last.end();
            if !self.watch.ask() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn chunks(&mut self, shard: ShardId, from: u64) -> Result<Vec<Arc<Chunk>>, StoreError> {
        self.watch.read(self.from.as_mut(), Read::Chunks { shard, from, bytes_max: BYTES })?.chunks()
    }

    /// A log whose records are all gone goes on with the number after the last one.
    fn empty_log(&mut self, log: ShardId, end: u64) -> Result<(), StoreError> {
        let Some(last) = end.checked_sub(1) else { return Ok(()) };
        let mut chunk = Chunk::starting_at(last);
        chunk.push_lost(0);
        let append = Write::Append { shard: log, chunk: chunk.into() };
        self.commit(vec![append, Write::Trim { shard: log, before: end }])
    }

    fn table(&mut self, table: Table) -> Result<bool, StoreError> {
        if (table as u8) < self.mark.table {
            return Ok(true);
        }
        let mut after = (table as u8 == self.mark.table).then(|| self.mark.key.clone());
        let mut limit = ROWS.0;
        loop {
            let rows = self.watch.rows(self.from.as_mut(), table, after.as_deref(), limit)?;
            let Some((last, _)) = rows.last() else { return Ok(true) };
            let bytes: usize = rows.iter().map(|(_, value)| value.len()).sum();
            limit = if bytes < SMALL { ROWS.1.min(2 * limit) } else { ROWS.0 };
            (self.mark.table, self.mark.key) = (table as u8, last.clone());
            after = Some(last.clone());
            let rows = rows.into_iter().filter(|(key, _)| !is_own(table, key));
            let writes: Vec<Write> = rows.map(|(key, value)| Write::Set { table, key, value }).collect();
            let many = writes.len() as u64;
            self.commit(writes)?;
            self.watch.copied.rows += many;
            if !self.watch.ask() {
                return Ok(false);
            }
        }
    }

    fn compare(&mut self, table: Table) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let expected = self.watch.page(self.from.as_mut(), table, after.as_deref(), ROWS.0)?;
            let found = self.watch.page(self.into.as_mut(), table, after.as_deref(), ROWS.0)?;
            if expected != found {
                return Err(StoreError::Corrupt(format!(
                    "table {} of the target is not that of the source",
                    table as u8
                )));
            }
            let Some((last, _)) = expected.last() else { return Ok(()) };
            after = Some(last.clone());
        }
    }

    /// Write what was copied, and how far that is.
    fn commit(&mut self, mut writes: Vec<Write>) -> Result<(), StoreError> {
        self.mark.target = Some(self.token.commits + 1);
        writes.push(self.mark.write());
        self.submit(&writes)
    }

    fn submit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.token = submit(self.target, self.token, writes, &mut self.watch)?;
        Ok(())
    }
}

/// Write to a store; the same again while it cannot be reached.
fn submit(store: &mut dyn Store, token: Token, writes: &[Write], watch: &mut Watch<'_>) -> Result<Token, StoreError> {
    let until = Instant::now() + watch.tries;
    loop {
        match store.submit_now(Unit::All, token, writes)? {
            Outcome::Committed { token, .. } => return Ok(token),
            Outcome::Fenced => return refused("another process has taken the store meanwhile"),
            Outcome::Busy(error) => return Err(error),
            Outcome::Unknown(error) | Outcome::Unavailable(error) if Instant::now() > until || !watch.goes_on() => {
                return Err(error);
            }
            Outcome::Unknown(_) | Outcome::Unavailable(_) => std::thread::sleep(AGAIN),
        }
    }
}

/// What each store keeps of itself.
fn is_own(table: Table, key: &[u8]) -> bool {
    table == Table::Meta && [APP, FENCED, MIGRATING, MOVED].contains(&key)
}

fn refused<T>(text: &str) -> Result<T, StoreError> {
    Err(StoreError::Refused(text.into()))
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::port::Ticket;

    /// Of a store whose server has gone.
    struct Silent;

    impl Reader for Silent {
        fn submit(&mut self, _: Read) -> Ticket {
            1
        }

        fn poll(&mut self, _: &Waker) -> Option<(Ticket, Result<Found, StoreError>)> {
            None
        }
    }

    /// It was waited for without end and without a word, and Ctrl-C was not heard.
    #[test]
    fn a_server_that_has_gone_is_waited_for_as_long_as_it_is_to_go_on_and_for_a_bounded_time() {
        let mut asked = 0;
        let mut goes_on = |_| {
            asked += 1;
            asked < 2
        };
        let begun = Instant::now();
        assert!(Watch::over(&mut goes_on).bounds(&mut Silent, 0).is_err());
        assert!(begun.elapsed() < TRIES / 2 && asked == 2, "{asked} {:?}", begun.elapsed());

        let mut goes_on = |_| true;
        let mut watch = Watch { tries: Duration::from_millis(50), ..Watch::over(&mut goes_on) };
        let Err(StoreError::Unavailable(text)) = watch.bounds(&mut Silent, 0) else { panic!("it has answered") };
        assert!(text.contains("has not answered for 0 s. Next:"), "{text}");
    }
}
