//! What the server promises of a commit: it is asked at each connection that writes.

use std::fmt;

use forebay_store::port::{Durability, StoreError};
use tokio_postgres::Row;

use crate::connect::POOLER;

/// Oldest server that has all that is needed.
const VERSION_MIN: u32 = 150_000;

/// When the server calls a transaction committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynchronousCommit {
    /// Before it is on the disk.
    Off,
    /// When it is on the server's own disk.
    Local,
    /// That, and the standbys that are waited for have it in memory.
    RemoteWrite,
    /// That, and they have it on their disks.
    On,
    /// That, and it can be read there.
    RemoteApply,
}

impl SynchronousCommit {
    fn parse(text: &str) -> Self {
        match text {
            "off" => Self::Off,
            "local" => Self::Local,
            "remote_write" => Self::RemoteWrite,
            "remote_apply" => Self::RemoteApply,
            _ => Self::On,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Local => "local",
            Self::RemoteWrite => "remote_write",
            Self::On => "on",
            Self::RemoteApply => "remote_apply",
        }
    }
}

/// Whether the server has the options of the session, for a statement.
macro_rules! keeps_options {
    () => {
        "coalesce(current_setting('forebay.session', true), '') = '1'"
    };
}

/// A table of the transaction that holds most, for a statement.
macro_rules! held {
    () => {
        "(SELECT a.pid, (extract(epoch FROM clock_timestamp() - a.xact_start) / 60)::int8 AS minutes, \
         concat_ws(', ', a.usename, nullif(a.application_name, '')) AS whose FROM pg_stat_activity a \
         WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() \
         AND a.backend_type = 'client backend' AND a.query !~* '^[[:space:]]*vacuum' \
         AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) \
         AND a.xact_start < clock_timestamp() - interval '5 min' ORDER BY a.xact_start LIMIT 1) AS held"
    };
}

/// What the server has said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promises {
    /// As `server_version_num`: 150018 is 15.18.
    pub version: u32,
    /// Whether a commit is on the disk when it is told to be done.
    pub fsync: bool,
    /// Whether a page that was written in part can be mended after a power cut.
    pub full_page_writes: bool,
    /// When a transaction is called committed.
    pub synchronous_commit: SynchronousCommit,
    /// The standbys that are waited for, as the server's setting has them; empty: none.
    pub synchronous_standby_names: String,
    /// Whether it is a standby, which takes no writes.
    pub in_recovery: bool,
    /// Whether its pages have checksums of their own.
    pub data_checksums: bool,
    /// The server has the options of this session, without which a statement may wait for a lock for ever.
    pub keeps_options: bool,
    /// The transaction that makes commits slower at present.
    pub held: Option<Held>,
}

/// A transaction of the store's database that has been open for over five minutes. Nothing that was deleted or overwritten since it began can
/// be removed before it ends, and each commit overwrites the head of the store: all who read the head step over its former versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The number of the server's process.
    pub process: i32,
    /// For how long it has been open.
    pub minutes: i64,
    /// Its user and its program; empty: this user may not know.
    pub whose: String,
}

/// Asks for the one that holds most, in one row or none. It has a snapshot, or has written something. A vacuum's
/// snapshot hinders no other. Of other users this is known only to whoever may read all statistics.
pub(crate) const HELD: &str = concat!("SELECT held.* FROM ", held!());

/// Asks for all of it, in one row.
pub(crate) const QUESTION: &str = concat!(
    "SELECT current_setting('server_version_num')::int4, current_setting('fsync'), current_setting('full_page_writes'), \
     current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), pg_is_in_recovery(), \
     current_setting('data_checksums'), ",
    keeps_options!(),
    ", held.* FROM (SELECT 1) AS one LEFT JOIN ",
    held!(),
    " ON true"
);

/// Asks for that alone.
pub(crate) const KEEPS_OPTIONS: &str = concat!("SELECT ", keeps_options!());

/// Refuse a session without our options, which a pooler has dropped: nobody can use it, not even to look.
pub(crate) fn check_options(keeps_options: bool) -> Result<(), StoreError> {
    if keeps_options {
        return Ok(());
    }
    Err(StoreError::Refused(format!("the options of this session did not reach the server{POOLER}")))
}

impl Held {
    pub(crate) fn read(row: &Row, at: usize) -> Result<Option<Self>, tokio_postgres::Error> {
        let Some(process) = row.try_get(at)? else { return Ok(None) };
        Ok(Some(Self { process, minutes: row.try_get(at + 1)?, whose: row.try_get(at + 2)? }))
    }
}

impl fmt::Display for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, minutes, whose } = self;
        let whose = if whose.is_empty() { String::new() } else { format!(" ({whose})") };
        write!(
            formatter,
            "process {process} of the PostgreSQL server{whose} has had a transaction open for {minutes} min, and every commit is slower \
             until it ends. Next: end it (SELECT pg_terminate_backend({process})); take backups with pg_basebackup rather than pg_dump"
        )
    }
}

impl Promises {
    pub(crate) fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let is_on = |at: usize| -> Result<bool, tokio_postgres::Error> { Ok(row.try_get::<_, &str>(at)? == "on") };
        Ok(Self {
            version: row.try_get::<_, i32>(0)?.unsigned_abs(),
            fsync: is_on(1)?,
            full_page_writes: is_on(2)?,
            synchronous_commit: SynchronousCommit::parse(row.try_get(3)?),
            synchronous_standby_names: row.try_get(4)?,
            in_recovery: row.try_get(5)?,
            data_checksums: is_on(6)?,
            keeps_options: row.try_get(7)?,
            held: Held::read(row, 8)?,
        })
    }

    /// Refuse a server that promises less than is asked for; says what to change.
    pub fn check(&self, durability: Durability) -> Result<(), StoreError> {
        let refused = |text: String| Err(StoreError::Refused(text));
        check_options(self.keeps_options)?;
        if self.version < VERSION_MIN {
            return refused(format!("the server is PostgreSQL {}, and forebay needs 15 or newer", self.version_text()));
        }
        if self.in_recovery {
            return refused(
                "the server is a standby, which takes no writes. Next: name the primary, or all hosts of the cluster, in the store's URL"
                    .into(),
            );
        }
        let lacking = self.lacking();
        if durability == Durability::PowerLoss && !lacking.is_empty() {
            return refused(format!(
                "durability=\"power-loss\" is more than the server promises: {}. Next: change that on the server (ALTER SYSTEM, ALTER \
                 ROLE), or say durability=\"process-crash\"",
                lacking.join(", ")
            ));
        }
        Ok(())
    }

    /// Settings by which a power cut of the server may lose what was acknowledged.
    fn lacking(&self) -> Vec<&'static str> {
        let settings = [
            (self.fsync, "fsync is off"),
            (self.full_page_writes, "full_page_writes is off"),
            (self.synchronous_commit != SynchronousCommit::Off, "synchronous_commit is off"),
        ];
        settings.into_iter().filter(|(is_kept, _)| !is_kept).map(|(_, text)| text).collect()
    }

    /// Whether what was acknowledged is on a standby's disk, too, so that a failover to it loses nothing.
    pub fn survives_failover(&self) -> bool {
        let waits = matches!(self.synchronous_commit, SynchronousCommit::On | SynchronousCommit::RemoteApply);
        waits && !self.synchronous_standby_names.is_empty() && self.lacking().is_empty()
    }

    fn version_text(&self) -> String {
        format!("{}.{}", self.version / 10_000, self.version % 10_000)
    }
}

impl fmt::Display for Promises {
    /// One fact a line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        let standbys = match self.synchronous_standby_names.as_str() {
            "" => "none",
            names => names,
        };
        writeln!(formatter, "PostgreSQL {}{}", self.version_text(), if self.in_recovery { ", a standby" } else { "" })?;
        writeln!(formatter, "fsync {}, full_page_writes {}", on(self.fsync), on(self.full_page_writes))?;
        writeln!(formatter, "synchronous_commit {}, standbys waited for: {standbys}", self.synchronous_commit.name())?;
        writeln!(formatter, "data_checksums {}", on(self.data_checksums))?;
        let failover = if self.survives_failover() {
            "a failover to a standby that was waited for loses nothing"
        } else {
            "a failover may lose the newest commits, unless the database's own storage is replicated"
        };
        write!(formatter, "{failover}")?;
        if let Some(held) = &self.held {
            write!(formatter, "\n{held}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Promises {
        Promises {
            version: 150_018,
            fsync: true,
            full_page_writes: true,
            synchronous_commit: SynchronousCommit::On,
            synchronous_standby_names: String::new(),
            in_recovery: false,
            data_checksums: false,
            keeps_options: true,
            held: None,
        }
    }

    #[test]
    fn a_server_that_promises_less_than_is_asked_for_is_refused_by_what_it_lacks() {
        assert_eq!(sound().check(Durability::PowerLoss), Ok(()));
        let less = [
            (Promises { fsync: false, ..sound() }, "fsync is off"),
            (Promises { full_page_writes: false, ..sound() }, "full_page_writes is off"),
            (Promises { synchronous_commit: SynchronousCommit::Off, ..sound() }, "synchronous_commit is off"),
        ];
        for (promises, lacking) in less {
            let refused = promises.check(Durability::PowerLoss).unwrap_err().to_string();
            assert!(refused.contains(lacking) && refused.contains("process-crash"), "{refused}");
            assert_eq!(promises.check(Durability::ProcessCrash), Ok(()));
        }
        for promises in [Promises { version: 140_011, ..sound() }, Promises { in_recovery: true, ..sound() }] {
            assert!(promises.check(Durability::ProcessCrash).is_err(), "{promises}");
        }
    }

    #[test]
    fn a_failover_loses_nothing_where_a_standbys_disk_is_waited_for() {
        let waited = Promises { synchronous_standby_names: "ANY 1 (a, b)".into(), ..sound() };
        assert!(waited.survives_failover() && !sound().survives_failover());
        let written = Promises { synchronous_commit: SynchronousCommit::RemoteWrite, ..waited.clone() };
        assert!(!written.survives_failover());
        assert!(waited.to_string().contains("standbys waited for: ANY 1 (a, b)"), "{waited}");
        assert!(sound().to_string().contains("PostgreSQL 15.18\nfsync on"), "{}", sound());
        let held = Held { process: 4711, minutes: 12, whose: "shop, pg_dump".into() };
        let text = Promises { held: Some(held), ..sound() }.to_string();
        assert!(text.ends_with("pg_dump") && text.contains("process 4711 of") && text.contains("for 12 min"), "{text}");
    }
}
