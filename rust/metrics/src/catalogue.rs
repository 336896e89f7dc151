//! Every metric there is: the one place where names, units and meanings stand.
//!
//! A metric that is not here cannot be counted: code names it by [`Metric`], which this table makes. The documentation page and
//! the tests read the same table.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1: what there is to know is in its labels.
    Info,
    /// Many values, of which percentiles are wanted.
    Distribution,
}

/// What a metric's numbers measure, as Prometheus has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share from 0 to 1.
    Ratio,
}

/// The metric as Amazon CloudWatch knows it, or would: metrics that AWS does not have are in the namespace `Forebay`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aws {
    /// `AWS/Lambda` and so on.
    pub namespace: &'static str,
    /// Name inside the namespace.
    pub name: &'static str,
    /// CloudWatch's unit.
    pub unit: &'static str,
    /// Multiply forebay's number by this to have CloudWatch's.
    pub scale: f64,
}

/// One row of the catalogue.
#[derive(Debug)]
pub struct Description {
    /// Name in Prometheus; a counter ends in `_total`.
    pub name: &'static str,
    /// Its twin in CloudWatch, where there is one.
    pub aws: Option<Aws>,
    /// How it behaves.
    pub kind: Kind,
    /// What it measures.
    pub unit: Unit,
    /// Names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// Upper bounds of the classic buckets of a distribution; `+Inf` is implied.
    pub buckets: &'static [f64],
    /// One sentence.
    pub help: &'static str,
}

/// Durations of calls, in seconds: the bounds of OpenTelemetry's conventions.
const CALL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Durations of statements of a database, in seconds.
const QUERY: &[f64] =
    &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Durations of disk writes, in seconds.
const DISK: &[f64] = &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Ages of events, in seconds up to a week.
const AGE: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0];
/// Numbers of records.
const SIZE: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0];
/// Sizes of messages, in bytes.
const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
/// Values of users' own metrics, whatever they measure.
const USER: &[f64] = &[0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 1e9];
const NONE: &[f64] = &[];

const fn events(name: &'static str, unit: &'static str) -> Aws {
    Aws { namespace: "AWS/Events", name, unit, scale: 1.0 }
}

const fn states(name: &'static str, unit: &'static str) -> Aws {
    Aws { namespace: "AWS/States", name, unit, scale: 1.0 }
}

const fn gateway(name: &'static str, unit: &'static str, scale: f64) -> Aws {
    Aws { namespace: "AWS/ApiGateway", name, unit, scale }
}

const fn scheduler(name: &'static str, unit: &'static str) -> Aws {
    Aws { namespace: "AWS/Scheduler", name, unit, scale: 1.0 }
}

const fn lambda(name: &'static str, unit: &'static str, scale: f64) -> Aws {
    Aws { namespace: "AWS/Lambda", name, unit, scale }
}

const fn kinesis(name: &'static str, unit: &'static str, scale: f64) -> Aws {
    Aws { namespace: "AWS/Kinesis", name, unit, scale }
}

const fn rds(name: &'static str, unit: &'static str, scale: f64) -> Aws {
    Aws { namespace: "AWS/RDS", name, unit, scale }
}

const fn own(name: &'static str) -> Aws {
    Aws { namespace: "Forebay", name, unit: "Count", scale: 1.0 }
}

const fn sqs(name: &'static str, unit: &'static str) -> Aws {
    Aws { namespace: "AWS/SQS", name, unit, scale: 1.0 }
}

const fn sns(name: &'static str, unit: &'static str) -> Aws {
    Aws { namespace: "AWS/SNS", name, unit, scale: 1.0 }
}

macro_rules! catalogue {
    ($($metric:ident: $name:literal, $aws:expr, $kind:ident, $unit:ident, [$($label:literal),*], $buckets:expr, $help:literal;)*) => {
        /// Names a metric in code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $help] $metric,)*
        }

        /// One row for each [`Metric`], in its order.
        pub static CATALOGUE: &[Description] = &[$(Description {
            name: $name,
            aws: $aws,
            kind: Kind::$kind,
            unit: Unit::$unit,
            labels: &[$($label),*],
            buckets: $buckets,
            help: $help,
        },)*];

        /// Every metric, in the catalogue's order.
        pub const METRICS: &[Metric] = &[$(Metric::$metric,)*];
    };
}

catalogue! {
    Build: "forebay_build_info", None, Info, Count, ["version"], NONE,
        "Always 1; its label says which forebay runs.";

    Invocations: "forebay_invocations_total", Some(lambda("Invocations", "Count", 1.0)), Counter, Count, ["function", "outcome"], NONE,
        "Attempts that reached the function, failed ones included; outcome is success, error, timeout or interrupted.";
    Errors: "forebay_errors_total", Some(lambda("Errors", "Count", 1.0)), Counter, Count, ["function"], NONE,
        "Attempts in which the function raised, timed out or gave an answer that cannot be used.";
    Timeouts: "forebay_timeouts_total", None, Counter, Count, ["function"], NONE,
        "Attempts stopped at the function's timeout.";
    VersionInvocations: "forebay_version_invocations_total", None, Counter, Count, ["function", "version", "outcome"], NONE,
        "Attempts of published versions that ended, by outcome (success, error, timeout); they are in the function's invocations, too.";
    Throttles: "forebay_throttles_total", Some(lambda("Throttles", "Count", 1.0)), Counter, Count, ["function", "reason"], NONE,
        "Times that a limit was in the way: synchronous invocations that were refused, and work that found no place in its turn, and waits.";
    UnreservedConcurrency: "forebay_unreserved_concurrent_executions",
        Some(lambda("UnreservedConcurrentExecutions", "Count", 1.0)), Gauge, Count, [], NONE,
        "Places of the account in use that no function has reserved or provisioned.";
    ClaimedConcurrency: "forebay_claimed_concurrency", Some(lambda("ClaimedAccountConcurrency", "Count", 1.0)), Gauge, Count, [], NONE,
        "Places of the account that nobody else can have: those in use, and what is reserved or provisioned.";
    ProvisionedRunning: "forebay_provisioned_concurrent_executions",
        Some(lambda("ProvisionedConcurrentExecutions", "Count", 1.0)), Gauge, Count, ["function"], NONE,
        "Provisioned places in use.";
    ProvisionedUtilization: "forebay_provisioned_concurrency_utilization_ratio",
        Some(lambda("ProvisionedConcurrencyUtilization", "None", 1.0)), Gauge, Ratio, ["function"], NONE,
        "Share of the ready provisioned places that is in use.";
    ProvisionedInvocations: "forebay_provisioned_concurrency_invocations_total",
        Some(lambda("ProvisionedConcurrencyInvocations", "Count", 1.0)), Counter, Count, ["function"], NONE,
        "Attempts that took a provisioned place.";
    ProvisionedSpillover: "forebay_provisioned_concurrency_spillover_invocations_total",
        Some(lambda("ProvisionedConcurrencySpilloverInvocations", "Count", 1.0)), Counter, Count, ["function"], NONE,
        "Attempts of a function with provisioned concurrency that found all of it in use, or not ready, and took another place.";
    InvocationDuration: "forebay_invocation_duration_seconds", Some(lambda("Duration", "Milliseconds", 1000.0)), Distribution, Seconds,
        ["function"], CALL, "Time a handler took for one invocation.";
    InitDuration: "forebay_init_duration_seconds", Some(lambda("InitDuration", "Milliseconds", 1000.0)), Distribution, Seconds,
        ["function"], CALL, "Time an execution environment took to start before its first invocation.";
    Environments: "forebay_environments", None, Gauge, Count, ["function", "state"], NONE,
        "Execution environments (processes) of a function; state is starting, idle, busy or ending.";
    EnvironmentStarts: "forebay_environment_starts_total", None, Counter, Count, ["function", "initialization"], NONE,
        "Execution environments started: on-demand (a cold start) or provisioned (ahead of need).";
    InFlight: "forebay_in_flight", Some(lambda("ConcurrentExecutions", "Count", 1.0)), Gauge, Count, ["function"], NONE,
        "Invocations a function is working on.";
    ZombieHandlers: "forebay_zombie_handlers", None, Gauge, Count, ["function"], NONE,
        "Handlers that still run after their timeout and hold their lane and slot.";

    IteratorAge: "forebay_iterator_age_seconds", Some(lambda("IteratorAge", "Milliseconds", 1000.0)), Distribution, Seconds, ["mapping"],
        AGE, "Age of the last record of a batch when the batch is handed to the function.";
    ShardIteratorAge: "forebay_shard_iterator_age_seconds", None, Gauge, Seconds, ["stream", "shard", "function"], NONE,
        "Age of the oldest record of a shard that the function has not finished, handed to it or not; 0 where there is none.";
    ShardLag: "forebay_shard_lag_records", None, Gauge, Count, ["stream", "shard", "function"], NONE,
        "Records of a shard that the function has not finished.";
    LanesBusy: "forebay_lanes_busy", None, Gauge, Count, ["mapping"], NONE,
        "Lanes with a batch in flight.";
    BatchSize: "forebay_batch_size", None, Distribution, Count, ["mapping"], SIZE,
        "Records of a batch handed to the function.";
    Retries: "forebay_retries_total", None, Counter, Count, ["mapping"], NONE,
        "Batches that failed and will be tried again.";
    Bisects: "forebay_bisects_total", None, Counter, Count, ["mapping"], NONE,
        "Batches that failed and were split in two.";
    RecordsDiscarded: "forebay_records_discarded_total", Some(lambda("DroppedEventCount", "Count", 1.0)), Counter, Count,
        ["mapping", "condition"], NONE, "Records given up, by the reason.";
    RecordsFiltered: "forebay_records_filtered_total", Some(lambda("FilteredOutEventCount", "Count", 1.0)), Counter, Count, ["mapping"],
        NONE, "Records and messages that a filter held back from the function.";
    RecordsPolled: "forebay_records_polled_total", Some(lambda("PolledEventCount", "Count", 1.0)), Counter, Count, ["mapping"], NONE,
        "Records and messages fetched for the function.";
    RecordsInvoked: "forebay_records_invoked_total", Some(lambda("InvokedEventCount", "Count", 1.0)), Counter, Count, ["mapping"], NONE,
        "Records and messages handed to the function, each time they are.";
    RecordsFailed: "forebay_records_failed_total", Some(lambda("FailedInvokeEventCount", "Count", 1.0)), Counter, Count, ["mapping"], NONE,
        "Records and messages in attempts that failed; of a partial response those that it names.";
    RecordsDelivered: "forebay_records_delivered_on_failure_total",
        Some(lambda("OnFailureDestinationDeliveredEventCount", "Count", 1.0)), Counter, Count, ["mapping"], NONE,
        "Records given up whose on-failure destination has confirmed.";
    MessagesDone: "forebay_mapping_messages_deleted_total", Some(lambda("DeletedEventCount", "Count", 1.0)), Counter, Count, ["mapping"],
        NONE, "Messages deleted because the function has handled them.";
    DestinationDeliveries: "forebay_destination_deliveries_total", None, Counter, Count, ["function", "outcome"], NONE,
        "Records sent to a destination; outcome is confirmed or failed.";
    DestinationFailures: "forebay_destination_delivery_failures_total",
        Some(lambda("DestinationDeliveryFailures", "Count", 1.0)), Counter, Count, ["function"], NONE,
        "Attempts to send a record to a destination that were not confirmed.";

    AsyncEventsReceived: "forebay_async_events_received_total", Some(lambda("AsyncEventsReceived", "Count", 1.0)), Counter, Count,
        ["function"], NONE, "Events accepted for asynchronous invocation.";
    AsyncEventAge: "forebay_async_event_age_seconds", Some(lambda("AsyncEventAge", "Milliseconds", 1000.0)), Distribution, Seconds,
        ["function"], AGE, "Time from when an event was accepted until it is handed to the function, at each attempt.";
    AsyncEventsDropped: "forebay_async_events_dropped_total", Some(lambda("AsyncEventsDropped", "Count", 1.0)), Counter, Count,
        ["function", "condition"], NONE,
        "Events given up, by the reason; what was sent to a destination or dead-letter queue counts, too.";
    RecursiveInvocationsDropped: "forebay_recursive_invocations_dropped_total",
        Some(lambda("RecursiveInvocationsDropped", "Count", 1.0)), Counter, Count, ["function"], NONE,
        "Events and messages not handed to the function, since their chain of invocations went through 16 functions.";
    DeadLetterErrors: "forebay_dead_letter_errors_total", Some(lambda("DeadLetterErrors", "Count", 1.0)), Counter, Count,
        ["function"], NONE, "Attempts to send an event to a dead-letter queue that were not confirmed.";

    RecordsPut: "forebay_records_put_total", Some(kinesis("IncomingRecords", "Count", 1.0)), Counter, Count, ["stream"], NONE,
        "Records accepted by a stream.";
    BytesPut: "forebay_put_bytes_total", Some(kinesis("IncomingBytes", "Bytes", 1.0)), Counter, Bytes, ["stream"], NONE,
        "Bytes accepted by a stream, partition keys not counted.";
    RecordsExpired: "forebay_records_expired_total", None, Counter, Count, ["stream"], NONE,
        "Records that retention removed before a mapping had finished them.";

    MessagesSent: "forebay_messages_sent_total", Some(sqs("NumberOfMessagesSent", "Count")), Counter, Count, ["queue"], NONE,
        "Messages added to a queue, dead letters and their way back included.";
    MessageSize: "forebay_message_bytes", Some(sqs("SentMessageSize", "Bytes")), Distribution, Bytes, ["queue"], BYTES,
        "Size of a message, its attributes included.";
    MessagesReceived: "forebay_messages_received_total", Some(sqs("NumberOfMessagesReceived", "Count")), Counter, Count, ["queue"], NONE,
        "Messages handed out, each time they are.";
    EmptyReceives: "forebay_empty_receives_total", Some(sqs("NumberOfEmptyReceives", "Count")), Counter, Count, ["queue"], NONE,
        "Receives by hand that gave no message.";
    MessagesDeleted: "forebay_messages_deleted_total", Some(sqs("NumberOfMessagesDeleted", "Count")), Counter, Count, ["queue"], NONE,
        "Messages that were done, or that a filter held back.";
    MessagesDeduplicated: "forebay_messages_deduplicated_total", Some(sqs("NumberOfDeduplicatedSentMessages", "Count")), Counter, Count,
        ["queue"], NONE, "Messages that were sent again within five minutes and not delivered again.";
    MessagesExpired: "forebay_messages_expired_total", None, Counter, Count, ["queue"], NONE,
        "Messages that retention removed.";
    DeadLetters: "forebay_dead_letters_total", None, Counter, Count, ["queue"], NONE,
        "Messages that went from this queue to its dead-letter queue.";
    MessagesVisible: "forebay_messages_visible", Some(sqs("ApproximateNumberOfMessagesVisible", "Count")), Gauge, Count, ["queue"], NONE,
        "Messages that wait to be received.";
    MessagesInFlight: "forebay_messages_in_flight", Some(sqs("ApproximateNumberOfMessagesNotVisible", "Count")), Gauge, Count, ["queue"],
        NONE, "Messages that were received and are neither deleted nor visible again.";
    MessagesDelayed: "forebay_messages_delayed", Some(sqs("ApproximateNumberOfMessagesDelayed", "Count")), Gauge, Count, ["queue"], NONE,
        "Messages whose delay is not over.";
    OldestMessageAge: "forebay_oldest_message_age_seconds", Some(sqs("ApproximateAgeOfOldestMessage", "Seconds")), Gauge, Seconds, ["queue"],
        NONE, "Age of the oldest message of a queue.";
    MessagesFiltered: "forebay_messages_filtered_total", None, Counter, Count, ["mapping", "reason"], NONE,
        "Messages that a filter held back from the function, which deletes them; reason is `no_match` or `not_json`.";

    TopicMessagesPublished: "forebay_topic_messages_published_total", Some(sns("NumberOfMessagesPublished", "Count")), Counter, Count,
        ["topic"], NONE, "Messages published to a topic, records of destinations included.";
    PublishSize: "forebay_topic_message_bytes", Some(sns("PublishSize", "Bytes")), Distribution, Bytes, ["topic"], BYTES,
        "Size of a message published to a topic, its attributes included.";
    NotificationsDelivered: "forebay_topic_notifications_delivered_total", Some(sns("NumberOfNotificationsDelivered", "Count")), Counter,
        Count, ["topic"], NONE, "Copies of messages given to queues and functions, in the commit of the message itself.";
    NotificationsFilteredOut: "forebay_topic_notifications_filtered_out_total",
        Some(sns("NumberOfNotificationsFilteredOut", "Count")), Counter, Count, ["topic"], NONE,
        "Subscriptions that were not given a message, since their filter policy did not match it.";

    BusEvents: "forebay_bus_events_total", Some(events("PutEventsEntriesCount", "Count")), Counter, Count, ["bus"], NONE,
        "Events that came to a bus, those of other buses included.";
    MatchedEvents: "forebay_bus_events_matched_total", Some(events("MatchedEvents", "Count")), Counter, Count, ["bus"], NONE,
        "Events that matched at least one rule of the bus.";
    TriggeredRules: "forebay_rule_triggered_total", Some(events("TriggeredRules", "Count")), Counter, Count, ["bus", "rule"], NONE,
        "Events that matched the rule.";
    RuleInvocations: "forebay_rule_invocations_total", None, Counter, Count, ["bus", "rule"], NONE,
        "Events that targets of the rule were given.";
    FailedRuleInvocations: "forebay_rule_invocations_failed_total", Some(events("FailedInvocations", "Count")), Counter, Count,
        ["bus", "rule"], NONE, "Times that a target of the rule did not take an event.";
    RuleInvocationsSentToDlq: "forebay_rule_invocations_dead_lettered_total", Some(events("InvocationsSentToDlq", "Count")), Counter,
        Count, ["bus", "rule"], NONE, "Events that went to the dead-letter queue of a target at once.";
    ThrottledRules: "forebay_rule_throttled_total", Some(events("ThrottledRules", "Count")), Counter, Count, ["bus", "rule"], NONE,
        "Times that an event had to wait for a target of the rule, which was full, or had been given as many as it may be in a second.";
    ScheduleFirings: "forebay_schedule_firings_total", Some(scheduler("TargetInvocationCount", "Count")), Counter, Count, [], NONE,
        "Times that the target of a schedule was given an event.";
    FailedScheduleFirings: "forebay_schedule_firings_failed_total", Some(scheduler("TargetErrorCount", "Count")), Counter, Count, [],
        NONE, "Times that the target of a schedule did not take its event.";
    MissedFirings: "forebay_schedule_firings_missed_total", None, Counter, Count, [], NONE,
        "Due times of schedules that were passed over, since nothing ran then.";

    ExecutionsStarted: "forebay_workflow_executions_started_total", Some(states("ExecutionsStarted", "Count")), Counter, Count, ["workflow"], NONE,
        "Executions of the workflow that began. Children of distributed Maps are in none of these.";
    ExecutionsSucceeded: "forebay_workflow_executions_succeeded_total", Some(states("ExecutionsSucceeded", "Count")), Counter, Count, ["workflow"], NONE,
        "Executions that ended with an output.";
    ExecutionsFailed: "forebay_workflow_executions_failed_total", Some(states("ExecutionsFailed", "Count")), Counter, Count, ["workflow"], NONE,
        "Executions that ended with an error.";
    ExecutionsTimedOut: "forebay_workflow_executions_timed_out_total", Some(states("ExecutionsTimedOut", "Count")), Counter, Count, ["workflow"], NONE,
        "Executions that took too long.";
    ExecutionsAborted: "forebay_workflow_executions_aborted_total", Some(states("ExecutionsAborted", "Count")), Counter, Count, ["workflow"], NONE,
        "Executions that were stopped.";
    ExecutionThrottled: "forebay_workflow_execution_throttled_total", Some(states("ExecutionThrottled", "Count")), Counter, Count, ["workflow"], NONE,
        "Steps of executions that waited for the rate of transitions.";
    LongHistories: "forebay_workflow_long_histories_total", None, Counter, Count, ["workflow"], NONE,
        "Executions whose history has 20,000 events: at 25,000 they fail.";

    ApiRequests: "forebay_api_requests_total", Some(gateway("Count", "Count", 1.0)), Counter, Count, ["api", "stage", "route"], NONE,
        "Requests of an API, those without a route and those refused included.";
    ApiClientErrors: "forebay_api_client_errors_total", Some(gateway("4xx", "Count", 1.0)), Counter, Count, ["api", "stage", "route"],
        NONE, "Requests of an API that were answered with a status of 400 to 499.";
    ApiServerErrors: "forebay_api_server_errors_total", Some(gateway("5xx", "Count", 1.0)), Counter, Count, ["api", "stage", "route"],
        NONE, "Requests of an API that were answered with a status of 500 to 599.";
    ApiLatency: "forebay_api_latency_seconds", Some(gateway("Latency", "Milliseconds", 1000.0)), Distribution, Seconds,
        ["api", "stage"], CALL, "Time from when the head of a request of an API was read until its answer was ready.";
    ApiIntegrationLatency: "forebay_api_integration_latency_seconds",
        Some(gateway("IntegrationLatency", "Milliseconds", 1000.0)), Distribution, Seconds, ["api", "stage"], CALL,
        "Time that the function, or the server, behind a route took.";

    ApiCacheHits: "forebay_api_cache_hits_total", Some(gateway("CacheHitCount", "Count", 1.0)), Counter, Count, ["api", "stage"], NONE,
        "Requests of a REST API that were answered from the cache of the stage.";
    ApiCacheMisses: "forebay_api_cache_misses_total", Some(gateway("CacheMissCount", "Count", 1.0)), Counter, Count, ["api", "stage"],
        NONE, "Requests of a REST API that the cache of the stage was asked for, and that the method answered.";

    ApiConnects: "forebay_api_connections_total", Some(gateway("ConnectCount", "Count", 1.0)), Counter, Count, ["api", "stage"], NONE,
        "Connections of a WebSocket API that were opened.";
    ApiMessages: "forebay_api_messages_total", Some(gateway("MessageCount", "Count", 1.0)), Counter, Count, ["api", "stage"], NONE,
        "Messages that clients of a WebSocket API sent.";

    AccessLogDropped: "forebay_api_access_log_lines_dropped_total", None, Counter, Count, [], NONE,
        "Lines of the access log of APIs that were not written, since too many waited.";

    StoreCommits: "forebay_store_commits_total", None, Counter, Count, [], NONE,
        "Durable commits of the store.";
    StoreCommitDuration: "forebay_store_commit_duration_seconds", None, Distribution, Seconds, [], DISK,
        "Time one durable commit took, fsync included.";
    StoreBytes: "forebay_store_written_bytes_total", None, Counter, Bytes, [], NONE,
        "Bytes of records and rows handed to the store.";
    StoreErrors: "forebay_store_errors_total", None, Counter, Count, ["kind"], NONE,
        "Commits the store refused or failed.";
    StoreEpoch: "forebay_store_epoch", None, Gauge, Count, [], NONE,
        "Fencing token of this process, which owns a store on a server. It grows whenever a process takes the store.";
    StoreStandbys: "forebay_store_standbys", None, Gauge, Count, [], NONE,
        "Other living processes that share the store on a server, and could take it over.";
    ProcessAttempts: "forebay_process_attempts", None, Gauge, Count, ["process"], NONE,
        "Attempts that each process of a store on a server runs; process is owner, or the name of a process that runs handlers for it.";
    MetricValuesRefused: "forebay_metric_values_refused_total", None, Counter, Count, [], NONE,
        "Values no distribution takes (NaN, infinite, below 0): a mistake in the code that measured them.";

    ProxyAvailability: "forebay_dbproxy_availability_ratio",
        Some(rds("AvailabilityPercentage", "Percent", 100.0)), Gauge, Ratio, ["proxy"], NONE,
        "Share of health checks of the database that succeeded.";
    ProxyClients: "forebay_dbproxy_client_connections",
        Some(rds("ClientConnections", "Count", 1.0)), Gauge, Count, ["proxy"], NONE,
        "Client connections that are open.";
    ProxyClientsClosed: "forebay_dbproxy_client_connections_closed_total",
        Some(rds("ClientConnectionsClosed", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Client connections that were closed.";
    ProxyClientsPlain: "forebay_dbproxy_client_connections_no_tls_total",
        Some(rds("ClientConnectionsNoTLS", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Client connections without TLS: all of those in the same process.";
    ProxyClientsReceived: "forebay_dbproxy_client_connections_received_total",
        Some(rds("ClientConnectionsReceived", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Client connections asked for.";
    ProxyClientsRefused: "forebay_dbproxy_client_connections_failed_auth_total",
        Some(rds("ClientConnectionsSetupFailedAuth", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Client connections refused because the secret did not let them in.";
    ProxyClientsSucceeded: "forebay_dbproxy_client_connections_succeeded_total",
        Some(rds("ClientConnectionsSetupSucceeded", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Client connections that were set up.";
    ProxyClientsTls: "forebay_dbproxy_client_connections_tls_total",
        Some(rds("ClientConnectionsTLS", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Client connections with TLS.";
    ProxyConnectionRequests: "forebay_dbproxy_database_connection_requests_total",
        Some(rds("DatabaseConnectionRequests", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Database connections asked for.";
    ProxyConnectionRequestsTls: "forebay_dbproxy_database_connection_requests_tls_total",
        Some(rds("DatabaseConnectionRequestsWithTLS", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Database connections asked for with TLS.";
    ProxyConnections: "forebay_dbproxy_database_connections",
        Some(rds("DatabaseConnections", "Count", 1.0)), Gauge, Count, ["proxy"], NONE,
        "Database connections that are open.";
    ProxyBorrowDuration: "forebay_dbproxy_borrow_duration_seconds",
        Some(rds("DatabaseConnectionsBorrowLatency", "Microseconds", 1e6)), Distribution, Seconds, ["proxy"], QUERY,
        "Time a client waited for a database connection.";
    ProxyBorrowed: "forebay_dbproxy_database_connections_borrowed",
        Some(rds("DatabaseConnectionsCurrentlyBorrowed", "Count", 1.0)), Gauge, Count, ["proxy"], NONE,
        "Database connections that clients have borrowed.";
    ProxyInTransaction: "forebay_dbproxy_database_connections_in_transaction",
        Some(rds("DatabaseConnectionsCurrentlyInTransaction", "Count", 1.0)), Gauge, Count, ["proxy"], NONE,
        "Database connections held by an open transaction.";
    ProxyPinned: "forebay_dbproxy_database_connections_pinned",
        Some(rds("DatabaseConnectionsCurrentlySessionPinned", "Count", 1.0)), Gauge, Count, ["proxy"], NONE,
        "Database connections that cannot be shared because of what a client left in their session.";
    ProxyConnectionsFailed: "forebay_dbproxy_database_connections_failed_total",
        Some(rds("DatabaseConnectionsSetupFailed", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Database connections that could not be set up.";
    ProxyConnectionsSucceeded: "forebay_dbproxy_database_connections_succeeded_total",
        Some(rds("DatabaseConnectionsSetupSucceeded", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Database connections that were set up.";
    ProxyConnectionsTls: "forebay_dbproxy_database_connections_tls",
        Some(rds("DatabaseConnectionsWithTLS", "Count", 1.0)), Gauge, Count, ["proxy"], NONE,
        "Database connections that are open with TLS.";
    ProxyConnectionsAllowed: "forebay_dbproxy_database_connections_allowed",
        Some(rds("MaxDatabaseConnectionsAllowed", "Count", 1.0)), Gauge, Count, ["proxy"], NONE,
        "Most database connections there may be.";
    ProxyDatabaseDuration: "forebay_dbproxy_database_response_duration_seconds",
        Some(rds("QueryDatabaseResponseLatency", "Microseconds", 1e6)), Distribution, Seconds, ["proxy"], QUERY,
        "Time the database took to answer a statement.";
    ProxyQueries: "forebay_dbproxy_query_requests_total",
        Some(rds("QueryRequests", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Statements asked for.";
    ProxyQueriesPlain: "forebay_dbproxy_query_requests_no_tls_total",
        Some(rds("QueryRequestsNoTLS", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Statements asked for over client connections without TLS.";
    ProxyQueriesTls: "forebay_dbproxy_query_requests_tls_total",
        Some(rds("QueryRequestsTLS", "Count", 1.0)), Counter, Count, ["proxy"], NONE,
        "Statements asked for over client connections with TLS.";
    ProxyQueryDuration: "forebay_dbproxy_query_duration_seconds",
        Some(rds("QueryResponseLatency", "Microseconds", 1e6)), Distribution, Seconds, ["proxy"], QUERY,
        "Time between a statement and its answer, the wait for a connection included.";
    ProxyWaiting: "forebay_dbproxy_clients_waiting", Some(own("ClientsWaiting")), Gauge, Count, ["proxy"], NONE,
        "Clients that wait for a database connection.";
    ProxyPins: "forebay_dbproxy_session_pins_total", Some(own("SessionPins")), Counter, Count, ["proxy", "reason"], NONE,
        "Times a client was pinned to its connection, by the reason.";
    ProxyResets: "forebay_dbproxy_session_resets_total", Some(own("SessionResets")), Counter, Count, ["proxy"], NONE,
        "Sessions set back before another client got the connection.";
    ProxyReplays: "forebay_dbproxy_session_replays_total", Some(own("SessionReplays")), Counter, Count, ["proxy"], NONE,
        "Sessions set up again on another connection.";
    ProxyInterrupted: "forebay_dbproxy_interrupted_connections_total", Some(own("InterruptedConnections")), Counter, Count, ["proxy"], NONE,
        "Connections lost while a client held them.";
    ProxyBorrowTimeouts: "forebay_dbproxy_borrow_timeouts_total", Some(own("BorrowTimeouts")), Counter, Count, ["proxy"], NONE,
        "Clients that waited in vain for a database connection.";
    AwsRequests: "forebay_aws_requests_total", Some(own("AwsRequests")), Counter, Count, ["service", "operation", "outcome"], NONE,
        "Requests to AWS's wire API that were let in, by outcome: a success, an error of the client, or one of the server.";
    AwsDuration: "forebay_aws_request_duration_seconds",
        Some(Aws { namespace: "Forebay", name: "AwsRequestDuration", unit: "Milliseconds", scale: 1000.0 }),
        Distribution, Seconds, ["service", "operation"], CALL, "Time of a request to AWS's wire API, the wait of a long poll included.";
    AwsRefused: "forebay_aws_refused_total", Some(own("AwsRefused")), Counter, Count, ["reason"], NONE,
        "Requests to AWS's wire API that were not let in, by reason: `unsigned`, `malformed` (a signature that says too little, or of another version), `unknown_key`, `session_token`, `wrong_signature`, `wrong_time`, `web_page`, `other_host`, `not_allowed` (by the key), or `not_served` (status 501).";
    UserMetric: "forebay_user_metric", None, Distribution, Count, ["namespace", "name", "dimensions", "unit"], USER,
        "Values that clients of AWS's wire API put as metrics of their own.";
}

impl Metric {
    /// Its row.
    pub fn describe(self) -> &'static Description {
        &CATALOGUE[self as usize]
    }
}

impl Kind {
    /// The word for it in OpenMetrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Distribution => "histogram",
        }
    }
}

impl Unit {
    /// The word for it, as it ends a metric's name; empty for plain numbers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }
}
