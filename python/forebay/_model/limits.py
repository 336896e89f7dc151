"""Every limit, once. What the engine checks as well is read from it; its source stands in `rust/engine/src/base/limits.rs`."""

from __future__ import annotations

from typing import Final

from forebay import _core

# Quotas of Lambda: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
REQUEST_BYTES_MAX: Final = _core.limits["REQUEST_BYTES_MAX"]
RESPONSE_BYTES_MAX: Final = _core.limits["RESPONSE_BYTES_MAX"]
CONCURRENCY_DEFAULT: Final = 1000
CONCURRENCY_MAX: Final = _core.limits["CONCURRENCY_MAX"]
UNRESERVED_MINIMUM: Final = 100
SCALING_BURST_MAX: Final = _core.limits["SCALING_BURST_MAX"]
SCALING_PER_MINUTE_MAX: Final = _core.limits["SCALING_PER_MINUTE_MAX"]
RATE_MIN, RATE_MAX = _core.rates["RATE"]

# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
QUALIFIER_CHARACTERS_MAX: Final = 128
VERSION_MAX: Final = 2**32 - 1
FUNCTION_NAME_CHARACTERS_MAX: Final = 64
TIMEOUT_SECONDS_DEFAULT: Final = 3.0
TIMEOUT_SECONDS_MAX: Final = 1800
DURABLE_SECONDS_MAX: Final = 31_622_400
MEMORY_MEBIBYTES_DEFAULT: Final = 128

# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateApiDestination.html
API_DESTINATION_RATE_DEFAULT: Final = 300
API_DESTINATION_TIMEOUT_SECONDS_DEFAULT: Final = 5.0

# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
INIT_SECONDS: Final = 10.0
PROVISIONED_INIT_SECONDS: Final = 130.0
CLOSING_SECONDS: Final = 2.0
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html. Ours: less holds no Python process.
MEMORY_MEBIBYTES_MIN: Final = 32
MEMORY_MEBIBYTES_MAX: Final = 1024 * 1024
# Ours: processes of one function, and how long one without work is kept, which AWS does not document.
ENVIRONMENTS_MAX: Final = 1000
ENVIRONMENT_IDLE_SECONDS: Final = 300.0

# https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
BATCH_SIZE_DEFAULT: Final = 100
BATCH_SIZE_MAX: Final = _core.limits["BATCH_SIZE_MAX"]
BATCHING_WINDOW_SECONDS_MAX: Final = _core.limits["BATCHING_WINDOW_MS_MAX"] // 1000
PARALLELIZATION_FACTOR_MAX: Final = _core.limits["PARALLELIZATION_FACTOR_MAX"]
RETRY_ATTEMPTS_MAX: Final = _core.limits["RETRY_ATTEMPTS_MAX"]
RECORD_AGE_SECONDS_MIN: Final = _core.limits["RECORD_AGE_MS_MIN"] // 1000
RECORD_AGE_SECONDS_MAX: Final = _core.limits["RECORD_AGE_MS_MAX"] // 1000
TUMBLING_WINDOW_SECONDS_MAX: Final = _core.limits["TUMBLING_WINDOW_MS_MAX"] // 1000

BUS_NAME_CHARACTERS_MAX: Final = _core.limits["BUS_NAME_CHARACTERS_MAX"]
WORKFLOW_NAME_CHARACTERS_MAX: Final = _core.limits["WORKFLOW_NAME_CHARACTERS_MAX"]
EXECUTION_NAME_CHARACTERS_MAX: Final = WORKFLOW_NAME_CHARACTERS_MAX
EXECUTION_INPUT_BYTES_MAX: Final = _core.limits["EXECUTION_INPUT_BYTES_MAX"]
MAP_FILE_BYTES_MAX: Final = _core.limits["MAP_FILE_BYTES_MAX"]
TASK_ERROR_CHARACTERS_MAX: Final = _core.limits["TASK_ERROR_CHARACTERS_MAX"]
TASK_CAUSE_CHARACTERS_MAX: Final = _core.limits["TASK_CAUSE_CHARACTERS_MAX"]
RULE_NAME_CHARACTERS_MAX: Final = _core.limits["RULE_NAME_CHARACTERS_MAX"]
ARCHIVE_NAME_CHARACTERS_MAX: Final = _core.limits["ARCHIVE_NAME_CHARACTERS_MAX"]
RULE_RETRIES_MAX: Final = _core.limits["RULE_RETRIES_MAX"]
RULE_EVENT_AGE_SECONDS_MAX: Final = _core.limits["RULE_EVENT_AGE_MS_MAX"] // 1000
RULE_EVENT_AGE_SECONDS_MIN: Final = _core.limits["RULE_EVENT_AGE_MS_MIN"] // 1000
REGISTRY_NAME_CHARACTERS_MAX: Final = _core.limits["REGISTRY_NAME_CHARACTERS_MAX"]

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html
STREAM_NAME_CHARACTERS_MAX: Final = 128
# A stream in on-demand mode begins with four: https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
SHARDS_DEFAULT: Final = 4
SHARDS_MAX: Final = _core.limits["SHARDS_MAX"]
# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_IncreaseStreamRetentionPeriod.html
RETENTION_SECONDS_DEFAULT: Final = 86_400
RETENTION_SECONDS_MAX: Final = 365 * 86_400
# Ours: AWS begins at 24 hours, which a laptop's disk may not hold.
RETENTION_SECONDS_MIN: Final = 60
RETENTION_BYTES_MIN: Final = 1024 * 1024

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html
RECORD_BYTES_MAX: Final = 1024 * 1024
PARTITION_KEY_MAX: Final = 256

# Ours; PutRecords takes 500: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
PUT_MANY_RECORDS_MAX: Final = 10_000

# Ours: the back-off between retries of a stream's batch, which AWS does not document.
BACKOFF_SECONDS_MAX: Final = 86_400

EVENT_RETRY_ATTEMPTS_MAX: Final = _core.limits["EVENT_RETRY_ATTEMPTS_MAX"]
EVENT_AGE_SECONDS_MIN: Final = _core.limits["EVENT_AGE_MS_MIN"] // 1000
EVENT_AGE_SECONDS_MAX: Final = _core.limits["EVENT_AGE_MS_MAX"] // 1000
EVENT_BYTES_MAX: Final = _core.limits["EVENT_BYTES_MAX"]
EVENT_RETRY_DELAYS_SECONDS: Final = (
    _core.limits["EVENT_FIRST_RETRY_DELAY_MS"] / 1000,
    _core.limits["EVENT_SECOND_RETRY_DELAY_MS"] / 1000,
)
EVENT_DELAY_SECONDS_MAX: Final = _core.limits["EVENT_DELAY_MS_MAX"] // 1000
EVENT_ID_CHARACTERS_MAX: Final = _core.limits["EVENT_ID_CHARACTERS_MAX"]
EVENT_ID_WINDOW_SECONDS_MIN: Final = _core.limits["EVENT_ID_WINDOW_MS_MIN"] // 1000
EVENT_ID_WINDOW_SECONDS_MAX: Final = _core.limits["EVENT_ID_WINDOW_MS_MAX"] // 1000
EVENT_RESULT_WAIT_SECONDS_MAX: Final = _core.limits["EVENT_RESULT_WAIT_MS_MAX"] // 1000

# Ours: how much of a handler's error text goes into Lambda's error object.
ERROR_MESSAGE_CHARACTERS_MAX: Final = 65_536
STACK_FRAMES_MAX: Final = 100

# Ours: how many failures one call lists.
FAILURES_LISTED_MAX: Final = 10_000

TOPIC_NAME_CHARACTERS_MAX: Final = _core.limits["TOPIC_NAME_CHARACTERS_MAX"]

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
QUEUE_NAME_CHARACTERS_MAX: Final = _core.limits["QUEUE_NAME_CHARACTERS_MAX"]
VISIBILITY_SECONDS_DEFAULT: Final = 30
VISIBILITY_SECONDS_MAX: Final = _core.limits["VISIBILITY_MS_MAX"] // 1000
DELAY_SECONDS_MAX: Final = _core.limits["DELAY_MS_MAX"] // 1000
QUEUE_RETENTION_SECONDS_DEFAULT: Final = 345_600
QUEUE_RETENTION_SECONDS_MIN: Final = _core.limits["QUEUE_RETENTION_MS_MIN"] // 1000
QUEUE_RETENTION_SECONDS_MAX: Final = _core.limits["QUEUE_RETENTION_MS_MAX"] // 1000
RECEIVE_COUNT_DEFAULT: Final = 10
RECEIVE_COUNT_MAX: Final = _core.limits["RECEIVE_COUNT_MAX"]
RECEIVE_WAIT_SECONDS_MAX: Final = _core.limits["RECEIVE_WAIT_MS_MAX"] // 1000
# A whole number, which is shown without a point.
REDRIVE_RATES: Final = (_core.rates["REDRIVE_RATE"][0], int(_core.rates["REDRIVE_RATE"][1]))
MESSAGES_OF_A_CALL_MAX: Final = _core.limits["MESSAGES_OF_A_CALL_MAX"]

# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html
QUEUE_BATCH_SIZE_DEFAULT: Final = 10
QUEUE_BATCH_SIZE_MAX: Final = _core.limits["QUEUE_BATCH_SIZE_MAX"]
FIFO_BATCH_SIZE_MAX: Final = _core.limits["FIFO_BATCH_SIZE_MAX"]
MAPPING_CONCURRENCY_MAX: Final = _core.limits["MAPPING_CONCURRENCY_MAX"]
MAPPING_CONCURRENCY_MIN: Final = _core.limits["MAPPING_CONCURRENCY_MIN"]
MAPPING_CONCURRENCY_MIN_ON_AWS: Final = _core.limits["MAPPING_CONCURRENCY_MIN_ON_AWS"]
