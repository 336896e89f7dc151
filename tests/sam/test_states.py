"""States of functions while a stack deploys them, as SDKs see them; what they invoke meanwhile."""

import json
import os
import shutil
import subprocess
import sys
import threading

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from deploying import ENVIRONMENT, serving, until
from ports import free_port

pytestmark = pytest.mark.timeout(300)  # commands are programs, and each deploy starts several

TEMPLATE = """
Parameters:
  Password: {Type: String, NoEcho: true, Default: hush}
Resources:
  F:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: slow
      Handler: app.handler
      Runtime: python3.11
      Role: "arn:aws:iam::000000000000:role/x"
      Code: src
      Tags: [{Key: team, Value: a}]
      Environment: {Variables: {STAGE: live, PASSWORD: !Ref Password}}
  V: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref F}}
  Live: {Type: AWS::Lambda::Alias, Properties: {FunctionName: !Ref F, FunctionVersion: !GetAtt V.Version, Name: live}}
"""
# Its code waits for a file, so that a test sees what is said until then.
CODE = """
import logging, pathlib, time
while not pathlib.Path({gate!r}).exists():
    time.sleep(0.02)

def handler(event, context):
    logging.getLogger("shop").warning("answers %s", {answer!r})
    return {answer!r}
"""


@pytest.fixture
def slow(tmp_path):
    """Give a folder whose function waits, a deploy of it, and a client of the app that serves it."""
    (tmp_path / "src").mkdir()
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    store, port = tmp_path / "data", free_port()
    store.mkdir()

    def deploying(answer, *more):
        gate = tmp_path / f"gate-{answer}"
        code = CODE.format(gate=str(gate), answer=answer) if answer != "broken" else "import nothing_of_that_name\n"
        (tmp_path / "src" / "app.py").write_text(code)
        command = [sys.executable, "-m", "forebay.cli", "deploy", "--stack-name", "slow", *more]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said = []
        reader = threading.Thread(target=lambda: said.append(process.communicate()[0]))
        reader.start()

        def ended():
            gate.touch()
            reader.join(100)
            return process.returncode, said[0].decode()

        return ended

    with serving(store, free_port(), "--aws-port", str(port), cwd=tmp_path):
        client = boto3.client(
            "lambda",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",  # noqa: S106  any will do
            config=Config(retries={"total_max_attempts": 1}),
        )
        yield deploying, client
        client.close()


def told(client):
    try:
        return client.get_function_configuration(FunctionName="slow")
    except client.exceptions.ResourceNotFoundException:
        return {}


def invoked(client):
    return json.load(client.invoke(FunctionName="slow")["Payload"])


def test_a_function_is_pending_then_active_and_its_old_code_serves_during_an_update(slow):
    deploying, client = slow
    ended = deploying("one")
    until(lambda: told(client).get("State") == "Pending")
    assert (told(client)["StateReasonCode"], told(client)["Runtime"]) == ("Creating", "python3.11")
    with pytest.raises(ClientError, match="currently in the following state: Pending") as refused:
        client.invoke(FunctionName="slow")
    assert refused.value.response["Error"]["Code"] == "ResourceConflictException"
    assert ended()[0] == 0
    assert (told(client)["State"], told(client)["LastUpdateStatus"]) == ("Active", "Successful")
    assert invoked(client) == "one"
    ended = deploying("two")
    until(lambda: told(client)["LastUpdateStatus"] == "InProgress")
    assert (told(client)["State"], invoked(client)) == ("Active", "one")
    assert ended()[0] == 0
    client.get_waiter("function_updated_v2").wait(FunctionName="slow")
    assert invoked(client) == "two"
    code, said = deploying("broken", "--disable-rollback")()
    assert (code, "nothing_of_that_name" in said) == (1, True)
    state = told(client)
    assert (state["State"], state["LastUpdateStatus"], invoked(client)) == ("Active", "Failed", "two")
    assert "nothing_of_that_name" in state["LastUpdateStatusReason"]
    code, _ = deploying("broken")()
    assert (code, told(client)["LastUpdateStatus"], invoked(client)) == (1, "Successful", "two")  # rolled back


def test_what_a_deployed_function_is_and_logs_is_told(slow):
    deploying, client = slow
    assert deploying("one")()[0] == 0
    one = client.get_function(FunctionName="slow")
    shown = {"STAGE": "live", "PASSWORD": "****"}
    known = {"Runtime": "python3.11", "Handler": "app.handler", "MemorySize": 128, "Timeout": 3, "PackageType": "Zip"}
    assert one["Tags"] == client.list_tags(Resource=one["Configuration"]["FunctionArn"])["Tags"] == {"team": "a"}
    (listed,) = client.list_functions()["Functions"]
    _, version = client.list_versions_by_function(FunctionName="slow")["Versions"]
    live = client.get_function_configuration(FunctionName="slow", Qualifier="live")
    assert (version["Version"], live["Version"], live["FunctionArn"].rpartition(":")[2]) == ("1", "1", "live")
    for told_of in (one["Configuration"], listed, version, live):
        assert known.items() <= told_of.items()
        assert told_of["Environment"]["Variables"] == shown
    assert invoked(client) == "one"
    options = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    logs = boto3.client("logs", endpoint_url=client.meta.endpoint_url, **options)

    def kept():
        groups = [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]]
        return groups and logs.filter_log_events(logGroupName=groups[0])["events"]

    until(kept)
    (line,) = kept()
    assert line["message"].startswith("[WARNING]")
    assert line["message"].endswith("answers one")
    logs.close()


def test_a_function_that_could_not_be_made_is_gone_with_its_stack(slow):
    deploying, client = slow
    assert deploying("broken")()[0] == 1
    assert told(client) == {}


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("curl"), reason="only root can become another user; with curl"
)
def test_another_user_of_the_machine_deploys_nothing_by_the_open_port(slow):
    """Whoever reached the port could have had code run as the app's user."""
    deploying, client = slow
    assert deploying("one")()[0] == 0
    url = f"{client.meta.endpoint_url}/?Action=DescribeStacks&Version=2010-05-15"
    sign = ["--aws-sigv4", "aws:amz:us-east-1:cloudformation", "--user", "x:x"]
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url, *sign]
    own = subprocess.run(command, capture_output=True, text=True, check=True)
    other = subprocess.run(command, capture_output=True, text=True, check=True, user="nobody", cwd="/")
    assert (own.stdout, other.stdout) == ("200", "403")
    # Nor is that user told a secret, whoever keeps it.
    sign[1] = "aws:amz:us-east-1:secretsmanager"
    ask = ["-H", "X-Amz-Target: secretsmanager.GetSecretValue", "-H", "Content-Type: application/x-amz-json-1.1"]
    command = ["curl", "-s", client.meta.endpoint_url, *sign, *ask, "-d", '{"SecretId": "none"}']
    own = subprocess.run(command, capture_output=True, text=True, check=True)
    other = subprocess.run(command, capture_output=True, text=True, check=True, user="nobody", cwd="/")
    assert "ResourceNotFoundException" in own.stdout
    assert "AccessDenied" in other.stdout
    # Nor what a function's variables are; the rest may be known.
    sign[1] = "aws:amz:us-east-1:lambda"
    command = ["curl", "-s", f"{client.meta.endpoint_url}/2015-03-31/functions/slow/configuration", *sign]
    own = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    done = subprocess.run(command, capture_output=True, check=True, user="nobody", cwd="/")
    other = json.loads(done.stdout)
    assert (own["Environment"]["Variables"]["STAGE"], other["Runtime"]) == ("live", "python3.11")
    assert "Variables" not in other["Environment"]
    assert other["Environment"]["Error"]["ErrorCode"] == "AccessDeniedException"
    assert "forebay aws keys create" in other["Environment"]["Error"]["Message"]
