//! The kinds of rows, by the numbers that the format gives them.

/// The kinds of rows. The number is part of the format: never change one, never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Store-wide facts: format version, next ids.
    Meta = 1,
    /// Declared streams.
    Stream = 2,
    /// Shards of streams.
    Shard = 3,
    /// Event source mappings.
    Mapping = 4,
    /// Progress of a mapping on a shard.
    Checkpoint = 5,
    /// Failure records: waiting for their destination, or listed as failed.
    Failure = 6,
    /// Metric points.
    Metric = 7,
    /// Asynchronous events that wait or run.
    Event = 8,
    /// Functions that were given asynchronous events.
    Function = 9,
    /// Declared topics and their subscriptions.
    Topic = 10,
    /// What became of asynchronous events whose results are kept, by request id.
    EventResult = 11,
    /// Deduplication ids of asynchronous events.
    EventId = 12,
    /// Which results and deduplication ids go when.
    EventExpiry = 13,
    /// Declared event buses.
    Bus = 14,
    /// Rules of event buses.
    Rule = 15,
    /// Schedules, and when each is due next.
    Schedule = 16,
    /// Archives of event buses, and what each holds.
    Archive = 17,
    /// Events in archives, in segments by the minute of their time.
    Archived = 18,
    /// What each segment of an archive weighs.
    ArchivedSize = 19,
    /// Declared queues.
    Queue = 20,
    /// Event source mappings on queues.
    QueueMapping = 21,
    /// What is known of a message that was received.
    MessageState = 22,
    /// Which messages of a queue's log are gone.
    MessagesGone = 23,
    /// Messages whose place in the log was given up while they still wait.
    MessageKept = 24,
    /// Deduplication ids.
    Deduplication = 25,
    /// Replays of archives, and how far each is.
    Replay = 26,
    /// Declared workflows, each with its revisions.
    Machine = 27,
    /// Executions of workflows.
    Execution = 28,
    /// Histories of executions, a chunk of events for each step.
    History = 29,
    /// Executions that run: what they need to go on.
    ExecutionState = 30,
    /// Executions by their names.
    ExecutionName = 31,
    /// Starts of Express executions, those of a commit in one row, until all of them have ended.
    ExpressStart = 32,
    /// What executions that failed need to be redriven.
    ExecutionClosed = 33,
    /// Declared activities.
    Activity = 34,
    /// Registries of schemas.
    Registry = 40,
    /// Schemas of registries.
    Schema = 41,
    /// What each version of a schema says.
    SchemaVersion = 42,
    /// What discovery has learned of each kind of event.
    DiscoveredSchema = 43,
    /// REST APIs.
    RestApi = 50,
    /// Deployments of REST APIs: copies that no longer change.
    RestDeployment = 51,
    /// Stages of REST APIs.
    RestStage = 52,
    /// API keys.
    ApiKey = 53,
    /// Usage plans.
    UsagePlan = 54,
    /// Client certificates of gateways.
    ClientCertificate = 55,
    /// URLs of functions that were made by AWS's calls.
    FunctionUrl = 56,
    /// Requests of API keys in their plans, by day.
    KeyUsage = 57,
    /// HTTP and WebSocket APIs that were made by AWS's calls.
    HttpApi = 58,
    /// Groups of schedules.
    ScheduleGroup = 60,
    /// Connections of API destinations, without their secrets.
    Connection = 61,
    /// API destinations that were made by AWS's calls.
    ApiDestination = 62,
}

impl Table {
    /// Every table, by its number.
    pub const ALL: [Self; 50] = [
        Self::Meta,
        Self::Stream,
        Self::Shard,
        Self::Mapping,
        Self::Checkpoint,
        Self::Failure,
        Self::Metric,
        Self::Event,
        Self::Function,
        Self::Topic,
        Self::EventResult,
        Self::EventId,
        Self::EventExpiry,
        Self::Bus,
        Self::Rule,
        Self::Schedule,
        Self::Archive,
        Self::Archived,
        Self::ArchivedSize,
        Self::Queue,
        Self::QueueMapping,
        Self::MessageState,
        Self::MessagesGone,
        Self::MessageKept,
        Self::Deduplication,
        Self::Replay,
        Self::Machine,
        Self::Execution,
        Self::History,
        Self::ExecutionState,
        Self::ExecutionName,
        Self::ExpressStart,
        Self::ExecutionClosed,
        Self::Activity,
        Self::Registry,
        Self::Schema,
        Self::SchemaVersion,
        Self::DiscoveredSchema,
        Self::RestApi,
        Self::RestDeployment,
        Self::RestStage,
        Self::ApiKey,
        Self::UsagePlan,
        Self::ClientCertificate,
        Self::FunctionUrl,
        Self::KeyUsage,
        Self::HttpApi,
        Self::ScheduleGroup,
        Self::Connection,
        Self::ApiDestination,
    ];

    /// The table with a number of the format.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }
}
