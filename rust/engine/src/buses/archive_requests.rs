//! `archive.*` and `replay.*`

use crate::api::archive::{
    Archive as ArchiveAnswer, ArchiveNamed, ArchiveSettings, PutArchive, Replay as ReplayAnswer, ReplayNamed,
    ReplayState, StartReplay,
};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::base::limits::{ARCHIVES_MAX, ARCHIVE_NAME_CHARACTERS_MAX, REPLAYS_MAX, REPLAYS_RUNNING_MAX};
use crate::buses::archive::ArchiveRow;
use crate::buses::replay::ReplayRow;
use crate::buses::row::{check_rule_name, parse_pattern};
use crate::buses::BusRoom;
use crate::commit::done::Done;
use crate::store::port::Table;

fn refuse<T>(text: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Invalid(text.into()))
}

impl BusRoom<'_> {
    pub(crate) fn archive_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let list: Vec<ArchiveAnswer> = self.buses.archives.rows().map(|row| self.describe_archive(row)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn archive_describe(&mut self, named: ArchiveNamed) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.describe_archive(self.buses.archives.row(&named.name)?)))
    }

    /// Create an archive, or change one that exists: it keeps its events.
    pub(crate) fn archive_put(&mut self, asked: PutArchive) -> Result<Done, EngineError> {
        let PutArchive { name, bus, only_new, settings } = asked;
        check_rule_name(&name, "archive")?;
        if name.len() > ARCHIVE_NAME_CHARACTERS_MAX {
            return refuse(format!(
                "name is {name:?}: an archive's name has at most {ARCHIVE_NAME_CHARACTERS_MAX} characters"
            ));
        }
        self.buses.bus(&bus)?;
        settings.check()?;
        let row = match self.buses.archives.row(&name) {
            Ok(_) if only_new => return Err(EngineError::Conflict(format!("Archive {name} already exists."))),
            Ok(known) if known.bus != bus => {
                return Err(EngineError::Conflict(format!(
                    "Archive {name} already exists. It keeps events of bus {}.",
                    known.bus
                )));
            }
            Ok(known) if known.settings == settings => return Ok(Done::when_durable(self.describe_archive(known))),
            Ok(known) => ArchiveRow { settings, ..known.clone() },
            Err(_) if self.buses.archives.rows().count() >= ARCHIVES_MAX => {
                return refuse(format!("the store has {ARCHIVES_MAX} archives, which is the most"));
            }
            Err(_) => ArchiveRow {
                id: self.ctx.new_mapping_id(),
                name: name.clone(),
                bus,
                created_ms: self.ctx.now.wall_ms,
                events: 0,
                bytes: 0,
                next: 1,
                is_deleted: false,
                settings,
            },
        };
        self.participant().save_archive(row)?;
        Ok(Done::when_durable(self.describe_archive(self.buses.archives.row(&name)?)))
    }

    /// Delete an archive. Its events are dropped a part at a time, after this.
    pub(crate) fn archive_delete(&mut self, named: ArchiveNamed) -> Result<Done, EngineError> {
        let mut row = self.buses.archives.row(&named.name)?.clone();
        if let Some(replay) = self.buses.replays.rows().find(|one| one.is_running() && one.archive_id == row.id) {
            let (name, replay) = (&row.name, &replay.name);
            return Err(EngineError::Conflict(format!(
                "archive {name:?} is replayed by {replay:?}: cancel that first, or wait for its end"
            )));
        }
        row.is_deleted = true;
        self.participant().save_archive(row)?;
        self.participant().trim_archives()?;
        Ok(Done::when_durable(Empty {}))
    }

    fn describe_archive(&self, row: &ArchiveRow) -> ArchiveAnswer {
        ArchiveAnswer {
            name: row.name.clone(),
            bus: row.bus.clone(),
            arn: self.ctx.archive_arn(&row.name),
            created_ms: row.created_ms,
            events: row.events,
            bytes: row.bytes,
            settings: row.settings.clone(),
        }
    }
}

impl ArchiveSettings {
    fn check(&self) -> Result<(), EngineError> {
        self.pattern.as_deref().map(parse_pattern).transpose()?;
        if self.retention_ms == Some(0) {
            return refuse("retention_ms is 0: an archive keeps its events for at least a millisecond");
        }
        Ok(())
    }
}

impl BusRoom<'_> {
    pub(crate) fn replay_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let list: Vec<ReplayAnswer> = self.buses.replays.rows().map(|row| self.describe_replay(row)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn replay_describe(&mut self, named: ReplayNamed) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.describe_replay(self.buses.replays.row(&named.name)?)))
    }

    pub(crate) fn replay_start(&mut self, asked: StartReplay) -> Result<Done, EngineError> {
        let (archive_id, until) = self.check_replay(&asked)?;
        let StartReplay { name, bus, settings } = asked;
        self.forget_a_replay();
        let row = ReplayRow {
            name,
            bus,
            archive_id,
            state: ReplayState::Starting,
            started_ms: self.ctx.now.wall_ms,
            ended_ms: None,
            last_event_ms: None,
            events: 0,
            minute: settings.start_ms / 60_000,
            number: 1,
            done: 0,
            until,
            settings,
        };
        self.ctx.commit.pending.set(Table::Replay, row.key(), row.value());
        self.ctx.commit.pending.urgent = true;
        let answer = self.describe_replay(&row);
        self.buses.replays.take(row);
        self.participant().arm_replays(0);
        Ok(Done::when_durable(answer))
    }

    /// Refuse what cannot be replayed, in AWS's words where it has some; gives the archive's id and the number of its next segment.
    fn check_replay(&self, asked: &StartReplay) -> Result<(u64, u64), EngineError> {
        let StartReplay { name, bus, settings } = asked;
        check_rule_name(name, "replay")?;
        if self.buses.replays.row(name).is_ok() {
            return Err(EngineError::Conflict(format!("Replay {name} already exists.")));
        }
        let archive = self.buses.archives.row(&settings.archive).map_err(|error| {
            EngineError::NotFound(format!("Parameter EventSourceArn is not valid. Reason: {error}"))
        })?;
        self.buses.bus(bus)?;
        if archive.bus != *bus {
            return refuse("Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.");
        }
        if settings.start_ms >= settings.end_ms {
            return refuse("Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.");
        }
        if settings.rate == Some(0) {
            return refuse("rate is 0: a replay gives at least one event a second");
        }
        for rule in settings.rules.iter().flatten() {
            self.buses.rule(bus, rule)?;
        }
        let running = self.buses.replays.rows().filter(|row| row.is_running()).count();
        if running >= REPLAYS_RUNNING_MAX {
            return refuse(format!(
                "{running} replays run: at most {REPLAYS_RUNNING_MAX} may; wait for one, or cancel one"
            ));
        }
        Ok((archive.id, archive.next))
    }

    /// Make room for one more: forget the one that ended first.
    fn forget_a_replay(&mut self) {
        if self.buses.replays.rows().count() < REPLAYS_MAX {
            return;
        }
        let ended = self.buses.replays.rows().filter(|row| !row.is_running());
        if let Some(oldest) = ended.min_by_key(|row| row.ended_ms).map(|row| row.name.clone()) {
            self.buses.replays.remove(&oldest);
            self.ctx.commit.pending.remove(Table::Replay, oldest.into_bytes());
        }
    }

    /// End a replay; the batch under way is still given.
    pub(crate) fn replay_cancel(&mut self, named: ReplayNamed) -> Result<Done, EngineError> {
        let row = self.buses.replays.row(&named.name)?;
        if !row.is_running() {
            return refuse(format!("Replay {} is not in a valid state for this operation.", row.name));
        }
        self.buses.replays.set_state(&named.name, ReplayState::Cancelling);
        let row = self.buses.replays.row(&named.name)?.clone();
        // Its place may be said only in the commit that has the batch.
        if !self.buses.replays.is_unsaved(&row.name) {
            self.ctx.commit.pending.set(Table::Replay, row.key(), row.value());
        }
        self.ctx.commit.pending.urgent = true;
        self.participant().arm_replays(0);
        Ok(Done::when_durable(self.describe_replay(&row)))
    }

    fn describe_replay(&self, row: &ReplayRow) -> ReplayAnswer {
        ReplayAnswer {
            name: row.name.clone(),
            bus: row.bus.clone(),
            arn: self.ctx.replay_arn(&row.name),
            state: row.state,
            started_ms: row.started_ms,
            ended_ms: row.ended_ms,
            last_event_ms: row.last_event_ms,
            events: row.events,
            settings: row.settings.clone(),
        }
    }
}
