//! Archives of event buses and their replays: what is asked of them, and what is answered.

use serde::{Deserialize, Serialize};

/// Names an archive.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArchiveNamed {
    /// The archive's name.
    pub name: String,
}

/// Create an archive, or change one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutArchive {
    /// The archive's name; a store has each once.
    pub name: String,
    /// The bus whose events it keeps.
    pub bus: String,
    /// Refused (`Conflict`) where there is one already.
    #[serde(default)]
    pub only_new: bool,
    /// Its settings.
    #[serde(flatten)]
    pub settings: ArchiveSettings,
}

/// Settings of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArchiveSettings {
    /// Which events it keeps, a JSON text; without it, all.
    #[serde(default)]
    pub pattern: Option<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// How long it keeps an event, counted from the event's time, milliseconds; without it, until the archive is deleted.
    #[serde(default)]
    pub retention_ms: Option<u64>,
}

/// An archive.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Archive {
    /// Name.
    pub name: String,
    /// The bus whose events it keeps.
    pub bus: String,
    /// ARN.
    pub arn: String,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// How many events it holds.
    pub events: u64,
    /// How many bytes they have, as AWS counts them.
    pub bytes: u64,
    /// Its settings.
    #[serde(flatten)]
    pub settings: ArchiveSettings,
}

/// Names a replay.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplayNamed {
    /// The replay's name.
    pub name: String,
}

/// Begin a replay.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StartReplay {
    /// The replay's name; a store has each once.
    pub name: String,
    /// The bus, which must be the archive's.
    pub bus: String,
    /// What it replays.
    #[serde(flatten)]
    pub settings: ReplaySettings,
}

/// What a replay replays.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplaySettings {
    /// The archive's name.
    pub archive: String,
    /// Events whose time is this or later, milliseconds since 1970.
    pub start_ms: u64,
    /// Events whose time is earlier than this, milliseconds since 1970.
    pub end_ms: u64,
    /// Names of the rules whose targets are given the events; without it, all.
    #[serde(default)]
    pub rules: Option<Vec<String>>,
    /// Most events in a second; without it, as fast as they are durable.
    #[serde(default)]
    pub rate: Option<u32>,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// Where a replay is, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReplayState {
    /// It was accepted.
    Starting,
    /// Events are being replayed.
    Running,
    /// It is asked to end.
    Cancelling,
    /// All events were replayed.
    Completed,
    /// It was ended before that.
    Cancelled,
}

/// A replay.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Replay {
    /// Name.
    pub name: String,
    /// The bus.
    pub bus: String,
    /// ARN.
    pub arn: String,
    /// Where it is.
    pub state: ReplayState,
    /// When it was started, milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended, milliseconds since 1970.
    pub ended_ms: Option<u64>,
    /// Time of the event that was replayed last, milliseconds since 1970.
    pub last_event_ms: Option<u64>,
    /// How many events were replayed.
    pub events: u64,
    /// What it replays.
    #[serde(flatten)]
    pub settings: ReplaySettings,
}
