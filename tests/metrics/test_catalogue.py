"""Catalogue, page and code say the same."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "rust" / "metrics" / "src" / "catalogue.rs"
ROW = re.compile(r'^    ([A-Z]\w+): "(forebay_\w+)"', re.MULTILINE)

# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.monitoring.html
AWS = {
    "AWS/Lambda": """
        Invocations Errors DeadLetterErrors DestinationDeliveryFailures Throttles OversizedRecordCount
        ProvisionedConcurrencyInvocations ProvisionedConcurrencySpilloverInvocations RecursiveInvocationsDropped
        Duration PostRuntimeExtensionsDuration IteratorAge OffsetLag ConcurrentExecutions ProvisionedConcurrentExecutions
        ProvisionedConcurrencyUtilization UnreservedConcurrentExecutions ClaimedAccountConcurrency AsyncEventsReceived
        AsyncEventAge AsyncEventsDropped PolledEventCount FilteredOutEventCount InvokedEventCount FailedInvokeEventCount
        DroppedEventCount OnFailureDestinationDeliveredEventCount DeletedEventCount ProvisionedPollers
    """,
    "AWS/SQS": """
        ApproximateAgeOfOldestMessage ApproximateNumberOfGroupsWithInflightMessages ApproximateNumberOfMessagesDelayed
        ApproximateNumberOfMessagesNotVisible ApproximateNumberOfMessagesVisible NumberOfDeduplicatedSentMessages
        NumberOfEmptyReceives NumberOfMessagesDeleted NumberOfMessagesReceived NumberOfMessagesSent SentMessageSize
    """,
    "AWS/Kinesis": """
        IncomingBytes IncomingRecords GetRecords.Bytes GetRecords.IteratorAgeMilliseconds GetRecords.Latency
        GetRecords.Records GetRecords.Success PutRecord.Bytes PutRecord.Latency PutRecord.Success PutRecords.Bytes
        PutRecords.FailedRecords PutRecords.Latency PutRecords.Success PutRecords.SuccessfulRecords
        PutRecords.ThrottledRecords PutRecords.TotalRecords ReadProvisionedThroughputExceeded
        WriteProvisionedThroughputExceeded SubscribeToShard.RateExceeded SubscribeToShard.Success
        SubscribeToShardEvent.Bytes SubscribeToShardEvent.MillisBehindLatest SubscribeToShardEvent.Records
        SubscribeToShardEvent.Success
    """,
    "AWS/Events": """
        DeadLetterInvocations Events FailedInvocations IngestionToInvocationStartLatency Invocations
        InvocationsFailedToBeSentToDlq InvocationsSentToDlq MatchedEvents PutEventsEntriesCount ThrottledRules TriggeredRules
    """,
    "AWS/States": """
        ExecutionTime ExecutionThrottled ExecutionsAborted ExecutionsFailed ExecutionsStarted ExecutionsSucceeded
        ExecutionsTimedOut
    """,
    "AWS/RDS": """
        AvailabilityPercentage ClientConnections ClientConnectionsClosed ClientConnectionsNoTLS ClientConnectionsReceived
        ClientConnectionsSetupFailedAuth ClientConnectionsSetupSucceeded ClientConnectionsTLS DatabaseConnectionRequests
        DatabaseConnectionRequestsWithTLS DatabaseConnections DatabaseConnectionsBorrowLatency
        DatabaseConnectionsCurrentlyBorrowed DatabaseConnectionsCurrentlyInTransaction
        DatabaseConnectionsCurrentlySessionPinned DatabaseConnectionsSetupFailed DatabaseConnectionsSetupSucceeded
        DatabaseConnectionsWithTLS MaxDatabaseConnectionsAllowed QueryDatabaseResponseLatency QueryRequests
        QueryRequestsNoTLS QueryRequestsTLS QueryResponseLatency
    """,
}
# A start's time is in Lambda's REPORT line and its logs, and never was a metric.
NAMES_OF_LOGS = {"InitDuration"}
# Every label there is, and why its values are few.
LABELS = {
    "version": "one at a time",
    "function": "declared",
    "stream": "declared",
    "shard": "at most 10,000 in a stream",
    "mapping": "declared",
    "queue": "declared",
    "topic": "declared",
    "bus": "declared",
    "rule": "declared; schedules, of which there may be a million, have no label",
    "workflow": "declared",
    "proxy": "declared",
    "process": "those that share a store; forgotten when they are gone",
    "api": "declared",
    "stage": "declared",
    "route": "declared",
    "outcome": "out of a list",
    "reason": "out of a list",
    "condition": "out of a list",
    "kind": "out of a list",
    "state": "out of a list",
    "initialization": "out of a list",
    "service": "out of a list",
    "operation": "out of a list",
    "namespace": "put by clients: series beyond the most of a metric are refused",
    "name": "put by clients: series beyond the most of a metric are refused",
    "dimensions": "put by clients: series beyond the most of a metric are refused",
    "unit": "put by clients: series beyond the most of a metric are refused",
}


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("metrics_page", ROOT / "scripts" / "metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def catalogue(page):
    return page.catalogue()


def test_the_page_is_what_the_catalogue_says():
    checked = subprocess.run(
        [sys.executable, "-W", "ignore", "scripts/metrics.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_extension_has_the_catalogue_of_the_sources(catalogue):
    assert [name for _, name in ROW.findall(CATALOGUE.read_text())] == [metric["name"] for metric in catalogue]


def test_every_metric_is_counted_somewhere(catalogue):
    code = [path for path in (ROOT / "rust").rglob("*.rs") if path != CATALOGUE and "tests" not in path.parts]
    rust = "\n".join(path.read_text() for path in code if path.stem != "tests")
    python = "\n".join(path.read_text() for path in (ROOT / "python" / "forebay" / "dbproxy").glob("*.py"))
    known = {metric["name"]: metric["aws_name"] for metric in catalogue}
    uncounted = {
        metric
        for metric, name in ROW.findall(CATALOGUE.read_text())
        if not re.search(rf"Metric::{metric}\b", rust) and f'"{known[name]}"' not in python
    }
    assert uncounted == set()


def test_no_label_can_have_a_value_for_each_event(catalogue):
    assert {label for metric in catalogue for label in metric["labels"]} <= LABELS.keys()


def test_names_in_cloudwatch_are_unique_since_they_are_asked_for_alone(catalogue):
    names = [metric["aws_name"] for metric in catalogue if metric["aws_name"]]
    assert [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize("namespace", AWS)
def test_every_name_that_aws_has_is_measured_or_said_not_to_be(catalogue, page, namespace):
    measured = {metric["aws_name"] for metric in catalogue if metric["aws_namespace"] == namespace}
    missing = page.NOT_MEASURED.get(namespace, {})
    assert not measured & missing.keys()
    assert measured | missing.keys() >= set(AWS[namespace].split())
    assert missing.keys() <= set(AWS[namespace].split())
    assert measured - set(AWS[namespace].split()) <= NAMES_OF_LOGS
