//! What an account and its functions are limited to, as it is declared and kept.

use std::ops::RangeInclusive;

use crate::base::error::EngineError;
use forebay_core::concurrency::{Account, AccountLimits, Limits, Scaling, Scope};
use forebay_core::invocation::protocol;
use forebay_core::queue;
use forebay_core::token_bucket::{self, Rate};
use forebay_core::workflow::machine;
use serde::{Deserialize, Serialize};

/// Most bytes of an answer that lists things, about; what does not fit comes with the next call.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 << 20;

/// First and longest wait of what did not reach its function or its destination, doubled each time, ms.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
pub(crate) const BACKOFF_MS: (u64, u64) = (1_000, 300_000);

macro_rules! limits {
    ($($(#[$doc:meta])+ $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[$doc])+ pub const $name: $type = $value;)*
        /// Every limit by its name. Python reads them here.
        pub const LIMITS: &[(&str, u64)] = &[$((stringify!($name), $name as u64)),*];
    };
}

limits! {
    /// Most attempts that may run at once; the attempts file has as many slots. Ours: on AWS a quota can be raised to tens of thousands.
    CONCURRENCY_MAX: u32 = 60_000;
    /// Most permits that come into use at once. Ours: what the arithmetic holds.
    SCALING_BURST_MAX: u64 = token_bucket::BURST_MAX;
    /// Most permits that come into use in a minute. Ours: what the arithmetic holds.
    SCALING_PER_MINUTE_MAX: u64 = token_bucket::TOKENS_MAX;
    /// Greatest payload of a request whose answer is waited for.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
    REQUEST_BYTES_MAX: usize = 6 * 1024 * 1024;
    /// Greatest response: the same page.
    RESPONSE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 100;

    /// Most bytes of an event. <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
    EVENT_BYTES_MAX: usize = 1_048_576;
    /// Most retries of an event. <https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html>
    EVENT_RETRY_ATTEMPTS_MAX: u32 = 2;
    /// Least age up to which an event may be tried: the same page.
    EVENT_AGE_MS_MIN: u64 = 60_000;
    /// Greatest age up to which an event may be tried: the same page.
    EVENT_AGE_MS_MAX: u64 = 21_600_000;
    /// How long an event waits for its first retry.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
    EVENT_FIRST_RETRY_DELAY_MS: u64 = 60_000;
    /// How long an event waits for its second retry: the same page.
    EVENT_SECOND_RETRY_DELAY_MS: u64 = 120_000;
    /// Longest delay of an event. Ours.
    EVENT_DELAY_MS_MAX: u64 = protocol::DELAY_MS_MAX;
    /// Most characters of the deduplication id of an event: those of a message have as many.
    EVENT_ID_CHARACTERS_MAX: usize = 128;
    /// Shortest time for which such an id is remembered. Ours.
    EVENT_ID_WINDOW_MS_MIN: u64 = 1_000;
    /// Longest time for which such an id is remembered. Ours.
    EVENT_ID_WINDOW_MS_MAX: u64 = 86_400_000;
    /// How long such an id is remembered when nothing else is asked for: as long as that of a message.
    EVENT_ID_WINDOW_MS: u64 = queue::dedup::WINDOW_MS;
    /// How long the result of an event is kept. Ours.
    EVENT_RESULT_MS: u64 = 86_400_000;
    /// Longest wait for the result of an event. Ours.
    EVENT_RESULT_WAIT_MS_MAX: u64 = 86_400_000;

    /// Most records of a batch. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
    BATCH_SIZE_MAX: u32 = 10_000;
    /// Longest time for which a batch waits for more: the same page, as are those down to the tumbling window.
    BATCHING_WINDOW_MS_MAX: u64 = 300_000;
    /// Most batches of one shard at once.
    PARALLELIZATION_FACTOR_MAX: u8 = 10;
    /// Most retries of a batch.
    RETRY_ATTEMPTS_MAX: u32 = 10_000;
    /// Least age up to which a record may be tried.
    RECORD_AGE_MS_MIN: u64 = 60_000;
    /// Greatest age up to which a record may be tried.
    RECORD_AGE_MS_MAX: u64 = 604_800_000;
    /// Longest tumbling window.
    TUMBLING_WINDOW_MS_MAX: u64 = 900_000;
    /// Most shards that a stream may have open at once.
    SHARDS_MAX: u32 = 10_000;

    /// Most characters of a topic's name. <https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html>
    TOPIC_NAME_CHARACTERS_MAX: usize = 256;

    /// Most characters of a bus's name. <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateEventBus.html>
    BUS_NAME_CHARACTERS_MAX: usize = 256;
    /// Most characters of the name of a rule or a schedule.
    /// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html>
    RULE_NAME_CHARACTERS_MAX: usize = 64;
    /// Most targets of a rule. <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html>
    RULE_TARGETS_MAX: usize = 5;
    /// Most characters of an event's detail type.
    /// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html>
    BUS_DETAIL_TYPE_CHARACTERS_MAX: usize = 128;
    /// Most bytes of an event on a bus, as AWS counts them: the same page.
    BUS_EVENT_BYTES_MAX: usize = 1_048_576;
    /// Most characters of an archive's name.
    /// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateArchive.html>
    ARCHIVE_NAME_CHARACTERS_MAX: usize = 48;
    /// Most retries of an event that the target of a rule has no room for.
    /// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RetryPolicy.html>
    RULE_RETRIES_MAX: usize = 185;
    /// Longest that it is tried, in ms: the same page.
    RULE_EVENT_AGE_MS_MAX: usize = 86_400_000;
    /// Shortest that it is tried, in ms: the same page.
    RULE_EVENT_AGE_MS_MIN: usize = 60_000;
    /// Most characters of a registry's name.
    /// <https://docs.aws.amazon.com/eventbridge/latest/schema-reference/v1-registries-name-registryname.html>
    REGISTRY_NAME_CHARACTERS_MAX: usize = 64;
    /// Most registries of a store. Ours: they are all in memory.
    REGISTRIES_MAX: usize = 1_000;
    /// Most schemas of a store, discovered ones beside. Ours: their names are all in memory.
    SCHEMAS_MAX: usize = 100_000;
    /// Most archives of a store. Ours: they are all in memory.
    ARCHIVES_MAX: usize = 1_000;
    /// Most replays that run at once. <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html>
    REPLAYS_RUNNING_MAX: usize = 10;
    /// Most replays that a store remembers. Ours: they are all in memory.
    REPLAYS_MAX: usize = 1_000;
    /// Most characters of the name of a workflow or an execution.
    /// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>
    WORKFLOW_NAME_CHARACTERS_MAX: usize = 80;
    /// Most bytes of an execution's input: the same page.
    EXECUTION_INPUT_BYTES_MAX: usize = machine::DATA_MAX;
    /// Most bytes of a file that a Map state reads as a whole. Ours.
    MAP_FILE_BYTES_MAX: usize = machine::reader::FILE_MAX;
    /// Most characters of the error that a task or an execution has failed with.
    /// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html>
    TASK_ERROR_CHARACTERS_MAX: usize = machine::ERROR_CHARS_MAX;
    /// Most characters of that error's cause: the same page.
    TASK_CAUSE_CHARACTERS_MAX: usize = machine::CAUSE_CHARS_MAX;
    /// Most characters of the description of a bus. <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateEventBus.html>
    BUS_DESCRIPTION_CHARACTERS_MAX: usize = 512;
    /// Most rules of a store. Ours: they are all in memory.
    RULES_MAX: usize = 100_000;
    /// Most schedules of a store. Ours: they are all in memory.
    SCHEDULES_MAX: usize = 1_000_000;

    /// Most characters of a queue's name.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>
    QUEUE_NAME_CHARACTERS_MAX: usize = 80;
    /// Longest visibility timeout: the same page, as are those down to the receive count.
    VISIBILITY_MS_MAX: u64 = queue::VISIBILITY_MS_MAX;
    /// Longest delay of a message.
    DELAY_MS_MAX: u64 = queue::DELAY_MS_MAX;
    /// Shortest retention of messages.
    QUEUE_RETENTION_MS_MIN: u64 = 60_000;
    /// Longest retention of messages.
    QUEUE_RETENTION_MS_MAX: u64 = 1_209_600_000;
    /// Most receives before a message is a dead letter.
    RECEIVE_COUNT_MAX: u32 = 1_000;
    /// Longest wait of a receive.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
    RECEIVE_WAIT_MS_MAX: u64 = 20_000;
    /// Most messages sent or received together.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
    MESSAGES_OF_A_CALL_MAX: usize = 10;

    /// Most messages of a batch. <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html>
    QUEUE_BATCH_SIZE_MAX: u32 = 10_000;
    /// The same of a FIFO queue.
    FIFO_BATCH_SIZE_MAX: u32 = 10;
    /// Least bound of the batches that run at once. Ours: AWS begins at two.
    MAPPING_CONCURRENCY_MIN: u32 = 1;
    /// AWS's.
    MAPPING_CONCURRENCY_MIN_ON_AWS: u32 = 2;
    /// Greatest bound of the batches that run at once.
    MAPPING_CONCURRENCY_MAX: u32 = 1_000;
}

/// What a second may be given, by name: least and most. Python reads them here.
pub const RATES: &[(&str, RangeInclusive<f64>)] = &[
    // Ours: what the arithmetic holds.
    ("RATE", token_bucket::RATE_MIN..=token_bucket::RATE_MAX),
    ("REDRIVE_RATE", REDRIVE_RATES),
];
/// How many a second may be run again. Ours: from one in a quarter of an hour on.
pub const REDRIVE_RATES: RangeInclusive<f64> = 0.001..=1e6;

/// How fast concurrency may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScalingSettings {
    /// For all functions together, not for each.
    per_account: bool,
    /// Permits at once.
    burst: u64,
    /// And then so many a minute.
    per_minute: u64,
}

/// What holds for an account.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct AccountSettings {
    /// Most attempts that run at once.
    pub concurrency: u32,
    /// So many of them cannot be set aside.
    pub unreserved_minimum: u32,
    /// How fast they come into use.
    pub scaling: ScalingSettings,
    /// Synchronous invocations a second.
    pub requests_per_second: Option<f64>,
    /// How often executions of workflows begin and go on.
    pub workflows: WorkflowLimits,
}

/// How often executions of workflows may begin, and Standard ones enter states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct WorkflowLimits {
    /// Starts of Standard executions; none: no limit.
    pub standard_starts: Option<BucketSettings>,
    /// Starts of Express executions.
    pub express_starts: Option<BucketSettings>,
    /// States that Standard executions enter.
    pub transitions: Option<BucketSettings>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BucketSettings {
    /// Most tokens that it holds.
    pub burst: u64,
    /// Tokens that flow in.
    pub per_second: f64,
}

impl WorkflowLimits {
    fn check(&self) -> Result<(), EngineError> {
        let named = [
            ("standard_starts", self.standard_starts),
            ("express_starts", self.express_starts),
            ("transitions", self.transitions),
        ];
        for (name, bucket) in named {
            let Some(BucketSettings { burst, per_second }) = bucket else { continue };
            rate(&format!("workflows.{name}.per_second"), Some(per_second))?;
            if !(1..=token_bucket::BURST_MAX).contains(&burst) {
                return Err(EngineError::Invalid(format!(
                    "workflows.{name}.burst={burst}: allowed are 1 to {}",
                    token_bucket::BURST_MAX
                )));
            }
        }
        Ok(())
    }
}

impl Default for AccountSettings {
    /// As AWS has it: <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>.
    fn default() -> Self {
        let scaling = ScalingSettings { per_account: false, burst: 1_000, per_minute: 6_000 };
        Self {
            concurrency: 1_000,
            unreserved_minimum: 100,
            scaling,
            requests_per_second: None,
            workflows: WorkflowLimits::default(),
        }
    }
}

impl AccountSettings {
    /// AWS's settings with so many permits.
    pub fn of(concurrency: u32) -> Self {
        Self { concurrency, ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<AccountLimits, EngineError> {
        let refused = |text: String| Err(EngineError::Invalid(text));
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            return refused(format!("concurrency={}: allowed are 1 to {CONCURRENCY_MAX}", self.concurrency));
        }
        let ScalingSettings { per_account, burst, per_minute } = self.scaling;
        let scope = if per_account { Scope::Account } else { Scope::Function };
        let Some(scaling) = Scaling::new(scope, burst, per_minute) else {
            return refused(format!("scaling: burst={burst}, per_minute={per_minute}: both must be at least 1"));
        };
        let account = Account { concurrency: self.concurrency, unreserved_minimum: self.unreserved_minimum };
        self.workflows.check()?;
        let requests = rate("requests_per_second", self.requests_per_second)?;
        Ok(AccountLimits { account, scaling, requests })
    }
}

/// What holds for a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FunctionLimits {
    /// Floor and ceiling of what runs at once; 0 switches it off.
    #[serde(default)]
    pub reserved_concurrency: Option<u32>,
    /// Permits that are its own and need no growth; with processes, so many are ready ahead of need.
    #[serde(default)]
    pub provisioned_concurrency: u32,
    /// Starts a second.
    #[serde(default)]
    pub rate_limit: Option<f64>,
}

impl FunctionLimits {
    /// Refuse for one version what holds for all of them.
    pub(crate) fn check_of_version(&self) -> Result<(), EngineError> {
        let given =
            [("reserved_concurrency", self.reserved_concurrency.is_some()), ("rate_limit", self.rate_limit.is_some())];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                Err(EngineError::Invalid(format!("{name}: it is the function's, over all its versions")))
            }
            None => Ok(()),
        }
    }

    /// What the pool is told of it.
    pub(crate) fn held(&self) -> Result<Limits, EngineError> {
        Ok(Limits { reserved: self.reserved_concurrency, rate: rate("rate_limit", self.rate_limit)? })
    }
}

fn rate(name: &str, per_second: Option<f64>) -> Result<Option<Rate>, EngineError> {
    let Some(per_second) = per_second else { return Ok(None) };
    let refused = || EngineError::Invalid(format!("{name}={per_second}: allowed are 1e-9 to 1e9 a second"));
    Rate::per_second(per_second).map(Some).ok_or_else(refused)
}
