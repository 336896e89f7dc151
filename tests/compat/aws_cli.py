"""The AWS command line: a day's work of ten services, the server's answers told as the CLI tells them.

`FOREBAY_AWS_CLI` names the `aws` to use. Without it, the newest one of PyPI comes into an environment of its own in `target`.
"""

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "target" / "aws-cli"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"

pytestmark = pytest.mark.timeout(600)


class Cli:
    """The CLI in a folder."""

    def __init__(self, clients, program, folder):
        self._clients = clients
        # Version 1 sends `aws sqs` to AWS whatever the variables say, unless the command line names the endpoint.
        self._words = (program, "--output", "json", "--endpoint-url", clients.wire.url)
        self._folder = folder

    def __call__(self, *words):
        """Give what it printed, read as JSON where it is JSON."""
        printed = self._clients.run(*self._words, *words, cwd=self._folder)
        return json.loads(printed) if printed.startswith(("{", "[")) else printed

    def refused(self, *words):
        """Give what it said of an error; version 1 ends with 255 then and version 2 with 254."""
        return self._clients.run(*self._words, *words, cwd=self._folder, codes={254, 255})


@pytest.fixture
def aws(clients, tmp_path, record_testsuite_property):
    """Have the CLI, installed the first time."""
    program = os.environ.get("FOREBAY_AWS_CLI", str(FOLDER / "bin" / "aws"))
    if not Path(program).exists():
        venv.create(FOLDER, with_pip=True)
        subprocess.run([FOLDER / "bin" / "pip", "install", "-q", "awscli"], check=True)
    record_testsuite_property("aws-cli", clients.run(program, "--version", cwd=tmp_path).split()[0].split("/")[1])

    return Cli(clients, program, tmp_path)


def test_queues_and_topics(aws):
    assert aws("sts", "get-caller-identity")["Account"] == ACCOUNT
    url = aws("sqs", "create-queue", "--queue-name", "cli")["QueueUrl"]
    assert "QueueAlreadyExists" in aws.refused(
        "sqs", "create-queue", "--queue-name", "cli", "--attributes", "DelaySeconds=1"
    )
    aws("sqs", "send-message", "--queue-url", url, "--message-body", "a book")
    entries = json.dumps([{"Id": "a", "MessageBody": "b", "DelaySeconds": 901}, {"Id": "b", "MessageBody": "small"}])
    batch = aws("sqs", "send-message-batch", "--queue-url", url, "--entries", entries)
    assert [one["Id"] for one in batch["Successful"]] == ["b"]
    assert batch["Failed"][0]["Code"] == "InvalidParameterValue"
    got = aws(
        "sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "5", "--max-number-of-messages", "10"
    )
    assert {one["Body"] for one in got["Messages"]} <= {"a book", "small"}
    for one in got["Messages"]:
        aws("sqs", "delete-message", "--queue-url", url, "--receipt-handle", one["ReceiptHandle"])
    aws("sqs", "set-queue-attributes", "--queue-url", url, "--attributes", "VisibilityTimeout=17")
    told = aws("sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
    assert told["VisibilityTimeout"] == "17"
    for at in range(3):
        aws("sqs", "create-queue", "--queue-name", f"many-{at}")
    assert len(aws("sqs", "list-queues", "--queue-name-prefix", "many-", "--page-size", "1")["QueueUrls"]) == 3
    topic = aws("sns", "create-topic", "--name", "cli")["TopicArn"]
    endpoint = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:cli"
    raw = ("--attributes", "RawMessageDelivery=true")
    subscription = aws(
        "sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint", endpoint, *raw
    )
    aws("sns", "publish", "--topic-arn", topic, "--message", "news")
    got = aws("sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "10")
    assert got["Messages"][0]["Body"] in {"news", "a book", "small"}
    aws("sns", "unsubscribe", "--subscription-arn", subscription["SubscriptionArn"])
    aws("sns", "delete-topic", "--topic-arn", topic)
    aws("sqs", "delete-queue", "--queue-url", url)
    assert "NonExistentQueue" in aws.refused("sqs", "get-queue-url", "--queue-name", "cli")


def test_streams(aws):
    aws("kinesis", "create-stream", "--stream-name", "cli", "--shard-count", "1")
    aws("kinesis", "wait", "stream-exists", "--stream-name", "cli")
    put = aws("kinesis", "put-record", "--stream-name", "cli", "--partition-key", "k", "--data", "d")
    begun = aws(
        "kinesis",
        "get-shard-iterator",
        "--stream-name",
        "cli",
        "--shard-id",
        put["ShardId"],
        "--shard-iterator-type",
        "TRIM_HORIZON",
    )
    got = aws("kinesis", "get-records", "--shard-iterator", begun["ShardIterator"])
    assert [one["SequenceNumber"] for one in got["Records"]] == [put["SequenceNumber"]]
    aws("kinesis", "increase-stream-retention-period", "--stream-name", "cli", "--retention-period-hours", "48")
    assert (
        aws("kinesis", "describe-stream-summary", "--stream-name", "cli")["StreamDescriptionSummary"][
            "RetentionPeriodHours"
        ]
        == 48
    )
    aws("kinesis", "delete-stream", "--stream-name", "cli")
    assert "ResourceNotFoundException" in aws.refused("kinesis", "describe-stream", "--stream-name", "cli")


def test_functions_and_their_settings(aws, tmp_path):
    raw = ("--cli-binary-format", "raw-in-base64-out") if "aws-cli/2" in aws("--version") else ()
    out = tmp_path / "answer.json"
    told = aws("lambda", "invoke", "--function-name", "echo", "--payload", '{"a": 1}', *raw, str(out))
    assert (told["StatusCode"], json.loads(out.read_text())) == (200, {"a": 1})
    told = aws("lambda", "invoke", "--function-name", "fail", "--payload", "{}", *raw, str(out))
    assert (told["FunctionError"], json.loads(out.read_text())["errorMessage"]) == ("Unhandled", "no")
    assert {one["FunctionName"] for one in aws("lambda", "list-functions")["Functions"]} == {"echo", "fail"}
    aws("lambda", "wait", "function-active-v2", "--function-name", "echo")
    aws("sqs", "create-queue", "--queue-name", "mapped")
    source = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:mapped"
    made = aws(
        "lambda",
        "create-event-source-mapping",
        "--function-name",
        "echo",
        "--event-source-arn",
        source,
        "--batch-size",
        "3",
    )
    changed = aws("lambda", "update-event-source-mapping", "--uuid", made["UUID"], "--batch-size", "4")
    assert changed["BatchSize"] == 4
    aws("lambda", "delete-event-source-mapping", "--uuid", made["UUID"])
    assert "ResourceNotFoundException" in aws.refused("lambda", "get-function", "--function-name", "none")


def test_rules_schedules_and_machines(aws):
    aws("events", "put-rule", "--name", "cli", "--event-pattern", '{"source": ["shop"]}')
    aws("sqs", "create-queue", "--queue-name", "rule")
    aws("events", "put-targets", "--rule", "cli", "--targets", f"Id=q,Arn=arn:aws:sqs:eu-central-1:{ACCOUNT}:rule")
    entry = json.dumps([{"Source": "shop", "DetailType": "sold", "Detail": "{}"}])
    assert aws("events", "put-events", "--entries", entry)["FailedEntryCount"] == 0
    url = aws("sqs", "get-queue-url", "--queue-name", "rule")["QueueUrl"]
    got = aws("sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "10")
    assert json.loads(got["Messages"][0]["Body"])["detail-type"] == "sold"
    aws("events", "remove-targets", "--rule", "cli", "--ids", "q")
    aws("events", "delete-rule", "--name", "cli")
    target = json.dumps({"Arn": f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:echo", "RoleArn": ROLE})
    one = ("--name", "cli", "--flexible-time-window", "Mode=OFF", "--target", target)
    aws("scheduler", "create-schedule", *one, "--schedule-expression", "rate(1 hour)")
    aws("scheduler", "update-schedule", *one, "--schedule-expression", "rate(2 hours)")
    assert aws("scheduler", "get-schedule", "--name", "cli")["ScheduleExpression"] == "rate(2 hours)"
    aws("scheduler", "delete-schedule", "--name", "cli")
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    machine = aws(
        "stepfunctions", "create-state-machine", "--name", "cli", "--definition", definition, "--role-arn", ROLE
    )
    arn = machine["stateMachineArn"]
    begun = aws("stepfunctions", "start-execution", "--state-machine-arn", arn, "--input", '{"n": 1}')
    told = aws("stepfunctions", "describe-execution", "--execution-arn", begun["executionArn"])
    assert told["status"] in {"RUNNING", "SUCCEEDED"}
    aws("stepfunctions", "delete-state-machine", "--state-machine-arn", arn)


def test_metrics_and_logs(aws):
    aws(
        "cloudwatch",
        "put-metric-data",
        "--namespace",
        "Shop",
        "--metric-name",
        "Sold",
        "--value",
        "3",
        "--unit",
        "Count",
    )
    assert aws("cloudwatch", "list-metrics", "--namespace", "Shop")["Metrics"][0]["MetricName"] == "Sold"
    aws("logs", "create-log-group", "--log-group-name", "/cli")
    aws("logs", "put-retention-policy", "--log-group-name", "/cli", "--retention-in-days", "3")
    assert aws("logs", "describe-log-groups")["logGroups"][0]["retentionInDays"] == 3
    aws("logs", "delete-log-group", "--log-group-name", "/cli")
    assert "ResourceNotFoundException" in aws.refused("logs", "filter-log-events", "--log-group-name", "/cli")
