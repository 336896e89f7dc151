"""Who is let in while there are no access keys: not a web page, and another user of the machine not everywhere."""

import http.client
import json
import os
import shutil
import subprocess
import urllib.parse

import pytest
from wire_app import ACCOUNT, REGION

FORM = "AWS4-HMAC-SHA256"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
BROWSER = {"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}


def presigned(service, **fields):
    """Give a path that no secret was needed for."""
    signature = {
        "X-Amz-Algorithm": FORM,
        "X-Amz-Credential": f"x/20200101/a/{service}/aws4_request",
        "X-Amz-Date": "20200101T000000Z",
        "X-Amz-Expires": "1",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": "00",
    }
    return "/?" + urllib.parse.urlencode({**fields, **signature})


def get(wire, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", wire.port, timeout=100)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "headers",
    [{}, BROWSER, {"Sec-Fetch-Site": "same-site"}, {"Referer": "https://evil.example.com/"}],
    ids=["an old browser", "a browser", "another port", "a referer"],
)
def test_a_web_page_has_nothing_done_by_the_address_of_an_image(wire, headers):
    """It emptied queues, and deployed code: a URL with any signature was taken, and an image is fetched without an origin."""
    sqs = wire.client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="m")
    path = presigned("sqs", Action="PurgeQueue", Version="2012-11-05", QueueUrl=url)
    status, body = get(wire, path, headers)
    assert (status, b"AccessDenied" in body) == (403, True)
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == "1"


def test_a_presigned_url_is_for_who_has_keys(wire):
    sts = wire.client("sts", signature_version="v4")
    url = sts.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    status, body = get(wire, url.removeprefix(wire.url), {})
    assert status == 403
    assert b"<Code>AccessDenied</Code>" in body and b"forebay aws keys create" in body


def asked(wire, service, target, fields, user=None):
    """Ask with curl, as another user where one is named: the error, if there is one."""
    signature = f"{FORM} Credential=x/20200101/a/{service}/aws4_request, SignedHeaders=host, Signature=00"
    headers = {
        "Authorization": signature,
        "X-Amz-Date": "20200101T000000Z",
        "X-Amz-Target": target,
        "Content-Type": "application/x-amz-json-1.1",
    }
    options = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["curl", "-s", wire.url, *options, "-d", json.dumps(fields)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=100, user=user, cwd="/")
    return json.loads(done.stdout or b"{}").get("__type", "").rpartition("#")[2]


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("curl"), reason="only root can become another user; with curl"
)
def test_another_user_of_the_machine_sends_no_secret_to_a_place_of_his(wire):
    """He was told no secret, made an API destination of the same connection to a port of his, and was sent it there."""
    events = wire.client("events")
    parameters = {"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": "s3cr3t"}}
    made = events.create_connection(Name="crm", AuthorizationType="API_KEY", AuthParameters=parameters)
    place = {"InvocationEndpoint": "http://127.0.0.1:9/", "HttpMethod": "POST"}
    destination = {"Name": "mine", "ConnectionArn": made["ConnectionArn"], **place}
    own = events.create_api_destination(**{**destination, "Name": "own"})["ApiDestinationArn"]
    events.put_rule(Name="r", EventPattern='{"source": ["s"]}')
    target = {"Rule": "r", "Targets": [{"Id": "1", "Arn": own, "RoleArn": ROLE}]}
    task = {"Type": "Task", "Resource": "arn:aws:states:::http:invoke", "End": True}
    task["Parameters"] = {"ApiEndpoint": "http://127.0.0.1:9/", "Method": "GET", "Authentication": {}}
    machine = {"definition": json.dumps({"StartAt": "a", "States": {"a": task}}), "roleArn": ROLE}
    for service, target_of, fields in (
        ("events", "AWSEvents.CreateApiDestination", destination),
        ("events", "AWSEvents.UpdateApiDestination", {**destination, "Name": "own"}),
        ("events", "AWSEvents.PutTargets", target),
        ("states", "AWSStepFunctions.CreateStateMachine", {"name": "m", **machine}),
        ("states", "AWSStepFunctions.TestState", {"definition": json.dumps(task), "roleArn": ROLE}),
    ):
        assert asked(wire, service, target_of, fields, user="nobody") == "AccessDeniedException", target_of
        assert asked(wire, service, target_of, fields) != "AccessDeniedException", target_of
    # What stays in the app is open to him.
    assert asked(wire, "events", "AWSEvents.ListRules", {}, user="nobody") == ""
    queue = {"Id": "1", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}
    wire.client("sqs").create_queue(QueueName="q")
    assert asked(wire, "events", "AWSEvents.PutTargets", {"Rule": "r", "Targets": [queue]}, user="nobody") == ""


def test_a_method_of_an_api_sends_no_secret_either(wire):
    """It has no key, and whoever may make one could have asked by it."""
    apis = wire.client("apigateway")
    api = apis.create_rest_api(name="a")
    method = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "POST"}
    apis.put_method(**method, authorizationType="NONE")
    uri = f"arn:aws:apigateway:{REGION}:events:action/CreateApiDestination"
    apis.put_integration(**method, type="AWS", integrationHttpMethod="POST", uri=uri, credentials=ROLE)
    apis.put_method_response(**method, statusCode="200")
    apis.put_integration_response(**method, statusCode="200")
    connection = f"arn:aws:events:{REGION}:{ACCOUNT}:connection/crm/1"
    place = {"InvocationEndpoint": "http://127.0.0.1:9/", "HttpMethod": "POST"}
    body = json.dumps({"Name": "mine", "ConnectionArn": connection, **place})
    tried = apis.test_invoke_method(**method, body=body, headers={"Content-Type": "application/json"})
    assert "a method of an API has no access key" in tried["body"]
