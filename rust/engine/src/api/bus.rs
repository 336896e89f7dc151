//! Event buses, their rules and schedules: what is asked of them, and what is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::notes::Notes;

/// Names a bus.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// The bus's name; `default` always exists.
    pub name: String,
}

/// Create a bus, or change one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declare {
    /// The bus's name.
    pub name: String,
    /// Whether schemas are discovered from its events; without it, as before, and at first not.
    #[serde(default)]
    pub discovery: Option<bool>,
    /// Whose schemas its events must fit; without it, as before, and at first none.
    #[serde(default)]
    pub enforce: Option<Enforce>,
    /// What it is for; without it, as before, and at first empty. At most 512 characters.
    #[serde(default)]
    pub description: Option<String>,
    /// Texts that are kept beside it, by name; null removes one, and those that are not named stay.
    #[serde(default)]
    pub notes: BTreeMap<String, Option<String>>,
    /// Refused (`Conflict`) where there is one already.
    #[serde(default)]
    pub only_new: bool,
}

/// Whose schemas the events of a bus must fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Enforce {
    /// True: the event's schema in whatever registry has one, of users' registries the first by name; false: none.
    Every(bool),
    /// The event's schema in this registry.
    Registry(String),
}

impl Default for Enforce {
    fn default() -> Self {
        Self::Every(false)
    }
}

/// A bus.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Bus {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// How many rules it has.
    pub rules: usize,
    /// Whether schemas are discovered from its events.
    pub discovery: bool,
    /// Whose schemas its events must fit: a registry's name, true for all of them, false for none.
    pub enforce: Enforce,
    /// What it is for.
    pub description: String,
    /// Texts that are kept beside it.
    pub notes: Notes,
}

/// Names a rule of a bus.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleNamed {
    /// The bus's name.
    pub bus: String,
    /// The rule's name.
    pub name: String,
}

/// Create a rule, or change one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutRule {
    /// The bus's name.
    pub bus: String,
    /// The rule's name.
    pub name: String,
    /// What its settings are to be before; refused (`Conflict`) where they are others. Without it, whatever they are.
    #[serde(default)]
    pub instead_of: Option<RuleSettings>,
    /// Texts that are kept beside a new one, by name; one that exists keeps its own.
    #[serde(default)]
    pub notes: BTreeMap<String, Option<String>>,
    /// Its settings.
    #[serde(flatten)]
    pub settings: RuleSettings,
}

/// Keep notes beside a rule, or remove them. Those that are not named stay.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AnnotateRule {
    /// The bus's name.
    pub bus: String,
    /// The rule's name.
    pub name: String,
    /// Texts by name; null removes one.
    pub notes: BTreeMap<String, Option<String>>,
}

/// Enable or disable a rule.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EnableRule {
    /// The bus's name.
    pub bus: String,
    /// The rule's name.
    pub name: String,
    /// Whether it routes events.
    pub enabled: bool,
}

/// Settings of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleSettings {
    /// Which events, a JSON text; empty: none, the rule has a schedule.
    #[serde(default)]
    pub pattern: String,
    /// When the rule gives its targets an event of its own: `rate(…)` or `cron(…)`; on the default bus alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_expression: Option<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whether it routes events.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// ARN of a role, which is given back and not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Where matching events go; at most five.
    pub targets: Vec<Target>,
}

fn yes() -> bool {
    true
}

/// Where an event goes, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Target {
    /// Names it in its rule.
    pub id: String,
    /// What is given the event.
    #[serde(flatten)]
    pub to: Recipient,
    /// Message group of a queue, which a FIFO queue needs. In a standard queue it orders nothing.
    #[serde(default)]
    pub group_id: Option<String>,
    /// Where in the event a stream's partition key stands; without it, the event's id is the key.
    #[serde(default)]
    pub partition_key_path: Option<String>,
    /// What a request of an API destination has besides its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_parameters: Option<HttpParameters>,
    /// What it is given instead of the event.
    #[serde(flatten)]
    pub input: Input,
    /// Queue that is sent what could not be delivered.
    #[serde(default)]
    pub dead_letter_queue: Option<String>,
    /// How often it is given an event again that it has no room for, 0 to 185.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_retry_attempts: Option<u32>,
    /// How long it is given one again, 60,000 to 86,400,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_event_age_ms: Option<u64>,
    /// ARN of a role, which is given back and not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// What is given an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// A function, which is invoked asynchronously.
    Function(String),
    /// A queue, which is sent a message.
    Queue(String),
    /// A topic, to which a message is published.
    Topic(String),
    /// A stream, into which a record is put.
    Stream(String),
    /// Another bus.
    Bus(String),
    /// A rule of the default bus, whose targets are given the event: of the schedule of that rule alone.
    Rule(String),
    /// A workflow, of which an execution is started.
    Workflow(String),
    /// An HTTP endpoint, to which a request is sent.
    ApiDestination(String),
}

/// What a request to an HTTP endpoint has besides its body. A value that begins with `$.` is taken from the event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HttpParameters {
    /// For each `*` in the endpoint's path, in order.
    #[serde(default)]
    pub path_parameter_values: Vec<String>,
    /// Headers.
    #[serde(default)]
    pub header_parameters: BTreeMap<String, String>,
    /// What stands behind the `?`.
    #[serde(default)]
    pub query_string_parameters: BTreeMap<String, String>,
}

/// What a target is given instead of the event: one of these at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Input {
    /// Always this JSON text.
    #[serde(default)]
    pub input: Option<String>,
    /// What stands at this path.
    #[serde(default)]
    pub input_path: Option<String>,
    /// A text made of parts of the event.
    #[serde(default)]
    pub input_transformer: Option<Transformer>,
}

/// A text made of parts of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Transformer {
    /// Variables: name and path each.
    #[serde(default)]
    pub paths: Vec<(String, String)>,
    /// The text, with `<name>` for each variable.
    pub template: String,
}

/// A rule.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rule {
    /// The bus's name.
    pub bus: String,
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// Texts that are kept beside it.
    pub notes: Notes,
    /// Its settings.
    #[serde(flatten)]
    pub settings: RuleSettings,
}

/// Put events on a bus.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Put {
    /// The bus's name.
    pub bus: String,
    /// The events.
    pub entries: Vec<Entry>,
    /// Whether events for a bus that does not exist are accepted and dropped, as AWS does; without it the call is refused.
    #[serde(default)]
    pub may_be_dropped: bool,
    /// Id of the request whose handler puts them.
    #[serde(default)]
    pub parent: Option<String>,
    /// W3C trace context: the `traceparent`, and the `tracestate` on a second line.
    #[serde(default)]
    pub trace: Option<String>,
}

/// An event to be put on a bus.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Entry {
    /// Who says it.
    #[serde(default)]
    pub source: String,
    /// What kind of event it is.
    #[serde(default)]
    pub detail_type: String,
    /// The text of a JSON object.
    #[serde(default)]
    pub detail: String,
    /// ARNs that it is about.
    #[serde(default)]
    pub resources: Vec<String>,
    /// When it happened, milliseconds since 1970; without it, now.
    #[serde(default)]
    pub time_ms: Option<u64>,
}

impl Entry {
    /// Its source and its detail-type.
    pub(crate) fn kind(&self) -> (&str, &str) {
        (&self.source, &self.detail_type)
    }
}

/// What became of one entry: its id, or why it was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum EntryResult {
    /// It was accepted.
    Accepted {
        /// The event's id.
        event_id: String,
    },
    /// It was refused; the others were not.
    Refused {
        /// AWS's code.
        error_code: &'static str,
        /// AWS's text.
        error_message: String,
    },
}

/// Whether what happens in the engine is put on the default bus.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Emit {
    /// Whether it is.
    pub wanted: bool,
}

/// Something that happened outside of the engine.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Happened {
    /// What it was.
    pub kind: HappenedKind,
    /// ARNs that it is about.
    #[serde(default)]
    pub resources: Vec<String>,
    /// The text of a JSON object.
    pub detail: String,
}

/// Kinds of what happens outside of the engine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HappenedKind {
    /// A database moved to another server.
    Failover,
    /// An alert rule fires, or fires no more.
    Alarm,
}

/// Hold an event against a pattern.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TestPattern {
    /// The pattern, a JSON text.
    pub pattern: String,
    /// The event, a JSON text of at most 1 MiB.
    pub event: String,
    /// Refuse an event that lacks one of the fields that AWS gives each.
    #[serde(default)]
    pub whole: bool,
}

/// Names a schedule.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScheduleNamed {
    /// The schedule's name.
    pub name: String,
}

/// Create a group of schedules.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CreateGroup {
    /// The group's name.
    pub name: String,
    /// Texts that are kept beside it, by name.
    #[serde(default)]
    pub notes: BTreeMap<String, Option<String>>,
}

/// A group of schedules.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScheduleGroup {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// Texts that are kept beside it.
    pub notes: Notes,
}

/// Create a schedule, or change one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutSchedule {
    /// The schedule's name; that of one in a group other than `default` has the group and a slash before it.
    pub name: String,
    /// Refused (`Conflict`) where there is one already.
    #[serde(default)]
    pub only_new: bool,
    /// Its settings.
    #[serde(flatten)]
    pub settings: ScheduleSettings,
}

/// Settings of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScheduleSettings {
    /// `rate(…)`, `cron(…)` or `at(…)`.
    pub expression: String,
    /// IANA name of the zone of `cron` and `at`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Not due before this moment, milliseconds since 1970.
    #[serde(default)]
    pub start_ms: Option<u64>,
    /// Not due after this moment, milliseconds since 1970.
    #[serde(default)]
    pub end_ms: Option<u64>,
    /// It fires within so many minutes of its due time; 0: at that time.
    #[serde(default)]
    pub flexible_minutes: u16,
    /// What becomes of due times at which nothing ran.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Whether it fires.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What is given an event when it is due.
    #[serde(flatten)]
    pub to: Recipient,
    /// Message group of a queue, which a FIFO queue needs. In a standard queue it orders nothing.
    #[serde(default)]
    pub group_id: Option<String>,
    /// The text that is given instead of a scheduled event.
    #[serde(default)]
    pub input: Option<String>,
    /// Queue that is sent what could not be delivered.
    #[serde(default)]
    pub dead_letter_queue: Option<String>,
    /// How often an event is given again to a target that has no room for it: 0 to 185; null: 185.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_retry_attempts: Option<u32>,
    /// For how long, milliseconds: 60,000 to 86,400,000; null: a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_event_age_ms: Option<u64>,
    /// Whether it is deleted when it has fired for the last time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub delete_after_completion: bool,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// ARN of a role, which is given back and not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn utc() -> String {
    "UTC".into()
}

/// What becomes of due times at which nothing ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are counted, and not fired.
    #[default]
    None,
    /// The latest is fired.
    One,
    /// All are fired.
    All,
}

/// Ask for a page of schedules, in the order of their names.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListSchedules {
    /// Only those whose names begin so.
    #[serde(default)]
    pub prefix: String,
    /// Only those that come after this name: the last one of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many: 1 to 1,000. An empty page is behind the last one.
    #[serde(default = "listed_max")]
    pub limit: usize,
}

/// Most schedules of a page: a store may have a million.
pub const SCHEDULES_LISTED_MAX: usize = 1_000;

fn listed_max() -> usize {
    SCHEDULES_LISTED_MAX
}

/// A schedule.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Schedule {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// When it was declared, milliseconds since 1970.
    pub created_ms: u64,
    /// When its settings were changed last, milliseconds since 1970.
    pub modified_ms: u64,
    /// When it is due next, milliseconds since 1970; null: never again.
    pub next_due_ms: Option<u64>,
    /// When it is due then, milliseconds since 1970: some of its next due times.
    pub upcoming_ms: Vec<u64>,
    /// Due times that were passed over since nothing ran.
    pub missed: u64,
    /// Its settings.
    #[serde(flatten)]
    pub settings: ScheduleSettings,
}

/// Whether an event matches a pattern.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tested {
    /// Whether it does.
    pub matches: bool,
    /// Which conditions it fails.
    pub failures: Vec<Unmet>,
}

/// A condition that an event does not meet.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unmet {
    /// Names of the fields on the way, joined with dots.
    pub path: String,
    /// The condition, as the pattern has it.
    pub condition: String,
    /// What stands there.
    pub value: String,
    /// In words.
    pub reason: String,
}
