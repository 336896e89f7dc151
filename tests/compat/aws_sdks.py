"""A day's work of AWS's services by AWS's SDKs for JavaScript and Go and by its command line, unmodified."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "wire"))
from wire_app import ACCOUNT, REGION, served  # noqa: E402

from forebay import App  # noqa: E402


@pytest.fixture
def environment():
    """Serve an app with a function, and give what the SDKs read."""
    app = App("sdks", store=":memory:", region=REGION, account=ACCOUNT)

    @app.function()
    async def echo(event, context):
        return {"got": event}

    with served(app) as running:
        yield {
            **os.environ,
            "AWS_ENDPOINT_URL": running.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "forebay",
            "AWS_SECRET_ACCESS_KEY": "forebay",
        }


def run(command, environment, folder, within=120):
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=within, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_javascript(environment, tmp_path, record_testsuite_property):
    if shutil.which("npm") is None:
        pytest.skip("there is no Node on this machine")
    for name in ("package.json", "day.mjs"):
        shutil.copy(HERE / "aws_js" / name, tmp_path)
    run(["npm", "install", "--silent", "--no-audit", "--no-fund"], dict(os.environ), tmp_path, 400)
    package = tmp_path / "node_modules/@aws-sdk/client-sqs/package.json"
    record_testsuite_property("JavaScript SDK", json.loads(package.read_text())["version"])
    told = run(["node", "day.mjs"], environment, tmp_path)
    assert told.split() == ["queues", "topics", "streams", "functions", "metrics"]


@pytest.mark.timeout(900)
def test_go(environment, tmp_path, record_testsuite_property):
    if shutil.which("go") is None:
        pytest.skip("there is no Go on this machine")
    for name in ("go.mod", "main.go"):
        shutil.copy(HERE / "aws_go" / name, tmp_path)
    plain = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    run(["go", "mod", "tidy"], plain, tmp_path, 400)
    run(["go", "build", "-o", "day", "."], plain, tmp_path, 400)
    sdk = "github.com/aws/aws-sdk-go-v2"
    record_testsuite_property("Go SDK", run(["go", "list", "-m", "-f", "{{.Version}}", sdk], plain, tmp_path).strip())
    assert run([str(tmp_path / "day")], environment, tmp_path).strip() == "done"


@pytest.mark.timeout(600)
def test_the_command_line(environment, tmp_path, record_testsuite_property):
    venv.create(tmp_path / "cli", with_pip=True)
    python = tmp_path / "cli" / "bin" / "python"
    run([str(python), "-m", "pip", "install", "--quiet", "awscli"], dict(os.environ), tmp_path, 400)

    def aws(*words):
        told = run([str(python), str(tmp_path / "cli/bin/aws"), *words], environment, tmp_path)
        return json.loads(told) if told.strip() else {}

    version = run([str(python), str(tmp_path / "cli/bin/aws"), "--version"], environment, tmp_path)
    record_testsuite_property("AWS CLI", version.split()[0].removeprefix("aws-cli/"))
    url = aws("sqs", "create-queue", "--queue-name", "cli")["QueueUrl"]
    aws("sqs", "send-message", "--queue-url", url, "--message-body", "hello")
    (message,) = aws("sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "2")["Messages"]
    assert message["Body"] == "hello"
    aws("kinesis", "create-stream", "--stream-name", "cli", "--shard-count", "1")
    assert aws("kinesis", "list-streams")["StreamNames"] == ["cli"]
    out = tmp_path / "out.json"
    aws("lambda", "invoke", "--function-name", "echo", "--payload", "7", str(out))
    assert json.loads(out.read_text()) == {"got": 7}
    topic = aws("sns", "create-topic", "--name", "cli")["TopicArn"]
    aws("sns", "publish", "--topic-arn", topic, "--message", "told")
    assert aws("sts", "get-caller-identity")["Account"] == ACCOUNT
    aws("cloudwatch", "put-metric-data", "--namespace", "Cli", "--metric-name", "m", "--value", "1")
    assert [one["MetricName"] for one in aws("cloudwatch", "list-metrics", "--namespace", "Cli")["Metrics"]] == ["m"]
