"""Every limit, once, with its source. Nothing here is computed elsewhere again."""

from __future__ import annotations

from typing import Final

# Quotas of Lambda: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
REQUEST_BYTES_MAX: Final = 6 * 1024 * 1024
RESPONSE_BYTES_MAX: Final = 6 * 1024 * 1024 + 100
CONCURRENCY_DEFAULT: Final = 1000
# Ours: an account's quota can be raised on AWS as well, to tens of thousands.
CONCURRENCY_MAX: Final = 60_000
UNRESERVED_MINIMUM: Final = 100
# Ours: what the arithmetic holds.
SCALING_BURST_MAX: Final = 10**12
SCALING_PER_MINUTE_MAX: Final = 10**18
RATE_MIN: Final = 1e-9
RATE_MAX: Final = 1e9

# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
QUALIFIER_CHARACTERS_MAX: Final = 128
VERSION_MAX: Final = 2**32 - 1
FUNCTION_NAME_CHARACTERS_MAX: Final = 64
TIMEOUT_SECONDS_DEFAULT: Final = 3.0
TIMEOUT_SECONDS_MAX: Final = 1800
MEMORY_MEBIBYTES_DEFAULT: Final = 128

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
BATCH_SIZE_MAX: Final = 10_000
BATCHING_WINDOW_SECONDS_MAX: Final = 300
PARALLELIZATION_FACTOR_MAX: Final = 10
RETRY_ATTEMPTS_MAX: Final = 10_000
RECORD_AGE_SECONDS_MIN: Final = 60
RECORD_AGE_SECONDS_MAX: Final = 604_800
TUMBLING_WINDOW_SECONDS_MAX: Final = 900

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html
STREAM_NAME_CHARACTERS_MAX: Final = 128
# A stream in on-demand mode begins with four: https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
SHARDS_DEFAULT: Final = 4
SHARDS_MAX: Final = 10_000
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

# https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html
EVENT_RETRY_ATTEMPTS_MAX: Final = 2
EVENT_AGE_SECONDS_MIN: Final = 60
EVENT_AGE_SECONDS_MAX: Final = 21_600
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
EVENT_BYTES_MAX: Final = 1024 * 1024
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
EVENT_RETRY_DELAYS_SECONDS: Final = (60.0, 120.0)

# Ours: how much of a handler's error text goes into Lambda's error object.
ERROR_MESSAGE_CHARACTERS_MAX: Final = 65_536
STACK_FRAMES_MAX: Final = 100

# Ours: how many failures one call lists.
FAILURES_LISTED_MAX: Final = 10_000

# https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
TOPIC_NAME_CHARACTERS_MAX: Final = 256

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
QUEUE_NAME_CHARACTERS_MAX: Final = 80
VISIBILITY_SECONDS_DEFAULT: Final = 30
VISIBILITY_SECONDS_MAX: Final = 43_200
DELAY_SECONDS_MAX: Final = 900
QUEUE_RETENTION_SECONDS_DEFAULT: Final = 345_600
QUEUE_RETENTION_SECONDS_MIN: Final = 60
QUEUE_RETENTION_SECONDS_MAX: Final = 1_209_600
RECEIVE_COUNT_DEFAULT: Final = 10
RECEIVE_COUNT_MAX: Final = 1000
RECEIVE_WAIT_SECONDS_MAX: Final = 20
# Ours: what is run again a second, from one in a quarter of an hour on.
REDRIVE_RATES: Final = (0.001, 1_000_000)
MESSAGES_OF_A_CALL_MAX: Final = 10

# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html
QUEUE_BATCH_SIZE_DEFAULT: Final = 10
QUEUE_BATCH_SIZE_MAX: Final = 10_000
FIFO_BATCH_SIZE_MAX: Final = 10
MAPPING_CONCURRENCY_MAX: Final = 1000
# Ours: AWS begins at two.
MAPPING_CONCURRENCY_MIN: Final = 1
MAPPING_CONCURRENCY_MIN_ON_AWS: Final = 2
