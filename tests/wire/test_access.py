"""Who is let in at which operation: every one of them with every kind of request that ought to be turned away."""

import base64
import hashlib
import http.client
import json
import logging
import re
import socket
import time
import zlib
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from operations import operations
from wire_app import REGION, served

from forebay._model.wire import SERVICES

OPERATIONS = operations()
KEYS = {
    "every": {"id": "FBKEVERY", "secret": "every-secret"},
    "reader": {"id": "FBKREADER", "secret": "reader-secret", "read_only": True},
    "kinesis": {"id": "FBKKINESIS", "secret": "kinesis-secret", "services": ["kinesis"]},
    "apis": {"id": "FBKAPIS", "secret": "apis-secret", "services": ["apigateway"]},
    "apis and queues": {"id": "FBKBOTH", "secret": "both-secret", "services": ["apigateway", "sqs"]},
    "apis and functions": {"id": "FBKRUNS", "secret": "runs-secret", "services": ["apigateway", "lambda"]},
}
READING = (
    "Get",
    "BatchGet",
    "Head",
    "List",
    "Describe",
    "TestEventPattern",
    "Validate",
    "Filter",
    "Search",
    "Export",
)


@pytest.fixture
def app(tmp_path):
    """Make an app that has access keys."""
    from forebay import App

    keys = tmp_path / "aws-keys.json"
    keys.write_text(json.dumps({"keys": list(KEYS.values())}))
    keys.chmod(0o600)
    return App("guarded", store=str(tmp_path), region=REGION, account="123456789012")


@pytest.fixture
def guarded(app):
    """Serve an app that has access keys."""
    with served(app) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=100)
        try:
            yield running, connection
        finally:
            connection.close()


def ask(guarded, operation, *, key=None, secret=None, at=None, headers=()):
    """Send an operation; give the status and the code of its error."""
    running, connection = guarded
    if headers:  # what is refused at once is not read, and its connection is closed
        connection.close()
    request = AWSRequest(
        operation.method, running.url + operation.path, headers=dict(operation.headers), data=operation.body
    )
    if key is not None:
        moment = (at or datetime.now(UTC)).replace(tzinfo=None)
        with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
            SigV4Auth(Credentials(key, secret), operation.service, REGION).add_auth(request)
    sent = {**dict(request.headers), **dict(headers)}
    connection.putrequest(operation.method, operation.path, skip_host="Host" in sent, skip_accept_encoding=True)
    for name, value in {**sent, "Content-Length": str(len(operation.body))}.items():
        connection.putheader(name, value)
    connection.endheaders(operation.body)
    answer = connection.getresponse()
    if operation.name == "SubscribeToShard" and answer.status == 200:
        pytest.fail("a subscription began")
    body = answer.read()
    told = answer.headers.get("x-amzn-errortype")
    if told is None and body.startswith(b"{"):
        told = json.loads(body).get("__type")
    if told is None:
        found = re.search(rb"<Code>(.*?)</Code>", body)
        told = found[1].decode() if found else ""
    return answer.status, told.rpartition("#")[2]


def refused(operation, name, code, status=403):
    """Say how an operation is refused: by the name in JSON, by the code in XML, and with 400 in JSON but for SQS."""
    if operation.method == "HEAD":  # its answer has no body to say more in
        return status, ""
    if operation.protocol in {"query", "rest-xml"}:
        return status, code
    if operation.protocol == "json" and operation.service != "sqs":
        return 400, name
    return status, name


def test_a_key_can_be_kept_to_each_service_that_is_served():
    assert sorted({one.service for one in OPERATIONS}) == SERVICES


def test_without_a_signature_nobody_is_let_in(guarded):
    for one in OPERATIONS:
        wanted = refused(one, "MissingAuthenticationTokenException", "MissingAuthenticationToken")
        if one.service == "s3":  # nothing says that a path is S3's, where no signature names the service
            wanted = (403, "MissingAuthenticationTokenException")
        assert ask(guarded, one) == wanted, str(one)


def test_a_key_that_nobody_made_is_refused(guarded):
    for one in OPERATIONS:
        code = "InvalidAccessKeyId" if one.service == "s3" else "InvalidClientTokenId"
        wanted = refused(one, "UnrecognizedClientException", code)
        assert ask(guarded, one, key="FBKNOBODY", secret="any") == wanted, str(one)


def test_a_wrong_signature_and_an_old_one_are_refused(guarded):
    key = KEYS["every"]
    for one in OPERATIONS:
        wanted = refused(one, "InvalidSignatureException", "SignatureDoesNotMatch")
        assert ask(guarded, one, key=key["id"], secret="wrong") == wanted, str(one)
        early = datetime.now(UTC) - timedelta(minutes=16)
        assert ask(guarded, one, key=key["id"], secret=key["secret"], at=early) == wanted, str(one)


def test_a_key_that_only_reads_changes_nothing(guarded):
    key = KEYS["reader"]
    for one in OPERATIONS:
        status, code = ask(guarded, one, key=key["id"], secret=key["secret"])
        if one.name.startswith(READING) and one.name != "GetActivityTask":
            assert not code.startswith("AccessDenied"), str(one)
        else:
            assert (status, code) == refused(one, "AccessDeniedException", "AccessDenied"), str(one)


def test_a_key_of_one_service_is_let_in_there_alone(guarded):
    key = KEYS["kinesis"]
    for one in OPERATIONS:
        answer = ask(guarded, one, key=key["id"], secret=key["secret"])
        if one.service == "kinesis":
            assert not answer[1].startswith("AccessDenied"), str(one)
        else:
            assert answer == refused(one, "AccessDeniedException", "AccessDenied"), str(one)


def test_a_web_page_and_another_host_are_refused_with_a_good_key_as_well(guarded):
    key = KEYS["every"]
    for one in OPERATIONS:
        for headers in (
            {"Origin": "http://evil.example.com"},
            {"Host": "evil.example.com"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-origin"},
            {"Referer": "https://evil.example.com/"},
        ):
            status, code = ask(guarded, one, key=key["id"], secret=key["secret"], headers=headers.items())
            code_of_it = refused(one, "AccessDeniedException", "AccessDenied")[1]
            assert (status, code) == (403, code_of_it), f"{one} {headers}"


def client(guarded, service, name, **options):
    return guarded[0].client(service, key=KEYS[name]["id"], secret=KEYS[name]["secret"], **options)


def test_a_key_of_kinesis_has_no_log_groups(guarded):
    """A log group is a stream of the store: its lines were read, written and deleted by a key that was for Kinesis only."""
    logs, kinesis = client(guarded, "logs", "every"), client(guarded, "kinesis", "kinesis")
    for group in ("audit", "/aws/audit"):
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
    arn, shard = f"arn:aws:kinesis:{REGION}:123456789012:stream/log:audit", "shardId-000000000000"
    missing = kinesis.exceptions.ResourceNotFoundException
    with pytest.raises(missing, match="log:audit under account 123456789012 not found"):
        kinesis.get_shard_iterator(StreamARN=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    for refused in (
        lambda: kinesis.put_record(StreamARN=arn, Data=b"x", PartitionKey="s"),
        lambda: kinesis.describe_stream(StreamARN=arn),
        lambda: kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c"),
        lambda: kinesis.tag_resource(ResourceARN=arn, Tags={"a": "b"}),
        lambda: kinesis.delete_stream(StreamARN=arn),
    ):
        with pytest.raises(missing):
            refused()
    # An iterator can be made by whoever knows its form.
    [group] = logs.describe_log_groups(logGroupNamePrefix="/aws")["logGroups"]
    moment = int(datetime.now(UTC).timestamp() * 1000)
    forged = {"stream": "log:/aws/audit", "stream_ms": group["creationTime"], "shard": shard, "at": 0}
    text = json.dumps({**forged, "issued_ms": moment}, separators=(",", ":")).encode()
    with pytest.raises(missing):
        kinesis.get_records(ShardIterator=base64.b64encode(zlib.crc32(text).to_bytes(4, "big") + text).decode())
    # Nor does anything else take a group for a stream.
    mappings, rules = client(guarded, "lambda", "every"), client(guarded, "events", "every")
    with pytest.raises(ClientError, match="Unrecognized event source"):
        mappings.create_event_source_mapping(EventSourceArn=arn, FunctionName="f", StartingPosition="LATEST")
    rules.put_rule(Name="r", EventPattern='{"source": ["s"]}')
    with pytest.raises(rules.exceptions.ResourceNotFoundException):
        rules.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn}])
    machines = client(guarded, "stepfunctions", "every", inject_host_prefix=False)
    task = {"Type": "Task", "Resource": "arn:aws:states:::kinesis:putRecord", "End": True}
    task["Parameters"] = {"StreamName": "log:audit", "Data": "x", "PartitionKey": "s"}
    told = machines.test_state(definition=json.dumps(task), roleArn="arn:aws:iam::123456789012:role/r")
    assert (told["status"], told["error"]) == ("FAILED", "Kinesis.ResourceNotFoundException")
    assert len(logs.describe_log_groups()["logGroups"]) == 2


def test_a_method_that_is_tested_reaches_the_services_of_the_key_that_tests_it(guarded):
    """A key for API Gateway alone emptied a queue by a test of a method."""
    sqs = client(guarded, "sqs", "every")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="m")
    apis = client(guarded, "apigateway", "apis")
    api = apis.create_rest_api(name="a")
    method = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "POST"}
    apis.put_method(**method, authorizationType="NONE")
    apis.put_integration(
        **method,
        type="AWS",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{REGION}:sqs:action/PurgeQueue",
        credentials="arn:aws:iam::123456789012:role/r",
    )
    apis.put_method_response(**method, statusCode="200")
    apis.put_integration_response(**method, statusCode="200")
    asked = {"body": json.dumps({"QueueUrl": url}), "headers": {"Content-Type": "application/json"}}
    tried = apis.test_invoke_method(**method, **asked)
    assert "sqs:PurgeQueue, because it is for apigateway only" in tried["body"]

    def count():
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return told["Attributes"]["ApproximateNumberOfMessages"]

    assert count() == "1"
    client(guarded, "apigateway", "apis and queues").test_invoke_method(**method, **asked)
    assert count() == "0"


def test_a_test_runs_functions_by_a_key_that_runs_some(app):
    """A key for API Gateway alone ran any function, by a test of a method or of an authoriser."""
    ran = []

    @app.function()
    async def work(event, context):
        ran.append(event)
        if event.get("type") == "TOKEN":
            return {"principalId": "p", "policyDocument": {"Statement": []}}
        return {"statusCode": 200, "body": "ran"}

    arn = f"arn:aws:lambda:{REGION}:123456789012:function:work"
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}/invocations"
    with served(app) as running:
        apis, both = (client((running, None), "apigateway", name) for name in ("apis", "apis and functions"))
        api = apis.create_rest_api(name="a")
        place = {"restApiId": api["id"]}
        made = apis.create_authorizer(
            **place, name="g", type="TOKEN", identitySource="method.request.header.A", authorizerUri=uri
        )
        guard = {**place, "authorizerId": made["id"], "headers": {"A": "t"}}
        methods = []
        for kind, verb, invocation in (("AWS", "POST", "Event"), ("AWS", "PUT", None), ("AWS_PROXY", "GET", None)):
            method = {**place, "resourceId": api["rootResourceId"], "httpMethod": verb}
            apis.put_method(**method, authorizationType="NONE")
            headers = {"integration.request.header.X-Amz-Invocation-Type": f"'{invocation}'"} if invocation else {}
            apis.put_integration(**method, type=kind, integrationHttpMethod="POST", uri=uri, requestParameters=headers)
            apis.put_method_response(**method, statusCode="200")
            apis.put_integration_response(**method, statusCode="200")
            methods.append(method)
        for method in methods:
            tried = apis.test_invoke_method(**method, body="{}")
            assert tried["status"] == 500
            assert "lambda:InvokeFunction, because it is for apigateway only" in tried["log"]
        told = apis.test_invoke_authorizer(**guard)
        assert told["clientStatus"] == 500
        assert "lambda:InvokeFunction, because it is for apigateway only" in told["log"]
        assert ran == []
        for method in methods:
            assert both.test_invoke_method(**method, body="{}")["status"] == 200
        assert both.test_invoke_authorizer(**guard)["principalId"] == "p"


def test_a_key_that_is_too_long_is_refused(guarded):
    """Ids of keys are kept with the newest requests, and there was no end to their length."""
    one = next(one for one in OPERATIONS if one.name == "GetCallerIdentity")
    assert ask(guarded, one, key="k" * 129, secret="s") == (400, "IncompleteSignature")
    assert ask(guarded, one, key="k" * 128, secret="s") == (403, "InvalidClientTokenId")


def test_bodies_of_who_is_not_known_keep_nobody_out(guarded):
    """Sixteen unsigned bodies that never ended took the room of all, and everybody else was refused after 10 s."""
    running, size = guarded[0], 16 << 20
    named = b"X-Amz-Target: AmazonSQS.ListQueues\r\nContent-Type: application/x-amz-json-1.0\r\n"
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n" % (named, size)
    slow = [socket.create_connection(("127.0.0.1", running.port), timeout=100) for _ in range(16)]
    try:
        for one in slow:
            one.sendall(head + b"x" * (size - 5))
        sqs = client(guarded, "sqs", "every")
        url = sqs.create_queue(QueueName="room")["QueueUrl"]
        assert sqs.send_message(QueueUrl=url, MessageBody="x" * (1 << 20))["MessageId"]
        slow[0].sendall(b"x" * 5)
        answer = slow[0].recv(4096)
        assert answer.startswith(b"HTTP/1.1 403 ") and b"MissingAuthenticationToken" in answer
    finally:
        for one in slow:
            one.close()


def put_large(guarded, *, key, secret, is_told=True, tampered=b""):
    """Put a record of 200 KiB over a connection of its own; give the status and the error's code."""
    body = json.dumps({"StreamName": "large", "PartitionKey": "k", "Data": "eHh4" * 50_000}).encode()
    headers = {"X-Amz-Target": "Kinesis_20131202.PutRecord", "Content-Type": "application/x-amz-json-1.1"}
    if is_told:
        headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    request = AWSRequest("POST", guarded[0].url + "/", headers=headers, data=body)
    SigV4Auth(Credentials(key, secret), "kinesis", REGION).add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", guarded[0].port, timeout=100)
    try:
        connection.request("POST", "/", body[: len(body) - len(tampered)] + tampered, dict(request.headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()).get("__type", "").rpartition("#")[2]
    finally:
        connection.close()


@pytest.mark.parametrize("told", [b"", b"X-Amz-Content-SHA256: UNSIGNED-PAYLOAD\r\n"], ids=["nothing", "unsigned"])
def test_the_id_of_a_key_keeps_no_large_body_out(guarded, told):
    """It stands in every presigned URL. Twelve bodies with it and a made-up signature took all room of large ones."""
    running, size, every = guarded[0], 16 << 20, KEYS["every"]
    kinesis = client(guarded, "kinesis", "every")
    kinesis.create_stream(StreamName="large", ShardCount=1)
    moment = datetime.now(UTC)
    signed = b"host;x-amz-content-sha256;x-amz-date" if told else b"host;x-amz-date"
    scope = f"{every['id']}/{moment:%Y%m%d}/{REGION}/kinesis/aws4_request".encode()
    head = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n%b"
        b"X-Amz-Date: %b\r\nContent-Length: %d\r\n"
        b"Authorization: AWS4-HMAC-SHA256 Credential=%b, SignedHeaders=%b;x-amz-target, Signature=%b\r\n\r\n"
    ) % (told, f"{moment:%Y%m%dT%H%M%SZ}".encode(), size, scope, signed, b"0" * 64)
    slow = [socket.create_connection(("127.0.0.1", running.port), timeout=100) for _ in range(16)]
    try:
        for one in slow:
            one.sendall(head + b"x" * (100 << 10))
        time.sleep(0.5)
        began = time.monotonic()
        assert put_large(guarded, key=every["id"], secret=every["secret"]) == (200, "")
        # On a connection that somebody has signed on the body's hash need not stand in the head.
        kinesis.put_record(StreamName="large", PartitionKey="k", Data=b"x" * (1 << 20))
        assert time.monotonic() - began < 9
    finally:
        for one in slow:
            one.close()


def signed(service, target, key):
    """Give the bytes of a request without a body that a key has signed."""
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1", "Host": "localhost"}
    request = AWSRequest("POST", "http://localhost/", headers=headers, data=b"{}")
    SigV4Auth(Credentials(key["id"], key["secret"]), service, REGION).add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join(["POST / HTTP/1.1", *lines, "Content-Length: 2", "", "{}"]).encode()


@pytest.fixture
def slow(guarded):
    """Give what sends the beginnings of bodies whose ends do not come, until they count as slow."""
    opened = []

    def begin(count, head, length, before=()):
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", guarded[0].port), timeout=100)
            opened.append(one)
            for number, request in enumerate(before):
                one.sendall(request)
                assert one.recv(65_536).startswith(b"HTTP/1.1 200" if number == 0 else b"HTTP/1.1 400")
            one.sendall(head + b"x" * length)
        time.sleep(3.5)

    yield begin
    for one in opened:
        one.close()


def made_up(key_id, size):
    """Give the head of a request with a made-up signature, which does not say what its body is."""
    moment = datetime.now(UTC)
    return (
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n"
        f"X-Amz-Date: {moment:%Y%m%dT%H%M%SZ}\r\nContent-Length: {size}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={key_id}/{moment:%Y%m%d}/{REGION}/kinesis/aws4_request, "
        f"SignedHeaders=host;x-amz-date;x-amz-target, Signature={'0' * 64}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("proof", ["its own", "another's", "refused since", "a URL's"])
def test_what_is_proven_on_a_connection_keeps_nobody_out(guarded, slow, proof):
    """A proxy sends what several clients ask over one connection. Behind a right request a made-up signature was believed,
    and took the room of large bodies. So did the body of a presigned URL for reading, which is handed to strangers."""
    every, size = KEYS["every"], 16 << 20
    kinesis = client(guarded, "kinesis", "every")
    kinesis.create_stream(StreamName="large", ShardCount=1)
    target = "Kinesis_20131202.ListStreams"
    before, head = (
        [signed("kinesis", target, KEYS["kinesis"] if proof == "another's" else every)],
        made_up(every["id"], size),
    )
    if proof == "refused since":
        before.append(signed("kinesis", target, {**every, "secret": "made-up"}))
    if proof == "a URL's":
        request = AWSRequest("GET", "http://localhost/box/k")
        S3SigV4QueryAuth(Credentials(every["id"], every["secret"]), "s3", REGION).add_auth(request)
        path = request.url.removeprefix("http://localhost")
        before, head = [], f"GET {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()
    slow(16, head, 100 << 10, before)
    began = time.monotonic()
    assert put_large(guarded, key=every["id"], secret=every["secret"]) == (200, "")
    # Nor do they keep out whose head does not say what the body is, if that comes quickly.
    kinesis.put_record(StreamName="large", PartitionKey="k", Data=b"x" * (1 << 20))
    assert time.monotonic() - began < 9


def test_the_id_of_a_key_keeps_no_small_body_out_of_any_length(guarded, slow):
    """Those of more than 8 KiB waited for room among bodies that were signed wrong and did not end."""
    url = client(guarded, "sqs", "every").create_queue(QueueName="small")["QueueUrl"]
    slow(300, made_up(KEYS["every"]["id"], 70_000), 65_535)
    for length in (1000, 8000, 12_000, 20_000, 40_000, 60_000):
        sqs = client(guarded, "sqs", "every")
        assert sqs.send_message(QueueUrl=url, MessageBody="x" * length)["MessageId"], length


def test_a_refused_signature_is_counted_and_its_address_is_in_the_log(app, tmp_path):
    """Somebody who tried keys was seen nowhere: no metric counted him, and the log had no address."""
    every, path = KEYS["every"], tmp_path / "access.log"
    with served(app, aws_access_log=path) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=100)
        place, one = (running, connection), next(one for one in OPERATIONS if one.name == "ListQueues")
        ask(place, one, key=every["id"], secret=every["secret"])
        ask(place, one)
        ask(place, one, key="FBKNOBODY", secret="s")
        ask(place, one, key=every["id"], secret="wrong")
        ask(place, one, key=every["id"], secret=every["secret"], at=datetime.now(UTC) - timedelta(hours=1))
        ask(place, one, key="k" * 129, secret="s")
        ask(place, one, key=every["id"], secret=every["secret"], headers={"Origin": "http://example.com"})
        connection.close()
        page = running.app.metrics.page()
    counted = dict(re.findall(r'^forebay_aws_refused_total\{.*reason="(\w+)".*\} ([0-9.]+)', page, re.MULTILINE))
    reasons = ("malformed", "unknown_key", "unsigned", "web_page", "wrong_signature", "wrong_time")
    assert {reason: float(count) for reason, count in counted.items()} == dict.fromkeys(reasons, 1.0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("client") for line in lines] == [None] + ["127.0.0.1"] * 6


def test_a_large_body_has_the_hash_that_was_signed(guarded):
    """The head is verified before the body comes, and the body after that."""
    every = KEYS["every"]
    client(guarded, "kinesis", "every").create_stream(StreamName="large", ShardCount=1)
    right = {"key": every["id"], "secret": every["secret"]}
    for is_told in (True, False):
        assert put_large(guarded, **right, is_told=is_told) == (200, "")
        changed = put_large(guarded, **right, is_told=is_told, tampered=b"Z" * 8 + b'"}')
        wrong = put_large(guarded, key=every["id"], secret="wrong", is_told=is_told)
        assert changed == wrong == (400, "InvalidSignatureException")
        assert put_large(guarded, key="FBKNOBODY", secret="s", is_told=is_told) == (400, "UnrecognizedClientException")


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_long_form_names_its_operation_at_either_end(guarded, order):
    """Some SDKs write the action behind all else."""
    topic = client(guarded, "sns", "every").create_topic(Name="t")["TopicArn"]
    named = f"Action=Publish&Version=2010-03-31&TopicArn={topic}"
    message = "Message=" + "m" * 200_000
    body = "&".join([named, message] if order == "first" else [message, named]).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    request = AWSRequest("POST", guarded[0].url + "/", headers=headers, data=body)
    key = KEYS["every"]
    SigV4Auth(Credentials(key["id"], key["secret"]), "sns", REGION).add_auth(request)
    _, connection = guarded
    connection.request("POST", "/", body, dict(request.headers))
    answer = connection.getresponse()
    assert (answer.status, b"<MessageId>" in answer.read()) == (200, True)


def test_who_has_had_keys_is_closed_without_them(guarded, tmp_path, caplog):
    """Whoever moved the file of the keys away had the door open to everybody."""
    sqs, other = client(guarded, "sqs", "every"), guarded[0].client("sqs")
    assert sqs.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    keys = tmp_path / "aws-keys.json"
    text = keys.read_text()
    with caplog.at_level(logging.WARNING, "forebay"):
        for left, why in (
            (None, "is gone"),
            ('{"keys": []}', "has no access keys any more"),
            ('{"x', "is damaged; put"),
        ):
            keys.unlink() if left is None else keys.write_text(left)
            time.sleep(1.2)
            for one in (sqs, other, sqs, other):
                with pytest.raises(ClientError) as refused:
                    one.list_queues()
                assert refused.value.response["Error"]["Code"] == "InvalidClientTokenId"
            time.sleep(0.2)
            assert caplog.text.count(f"AWS's API refuses everybody: aws-keys.json {why}") == 1
            caplog.clear()
            keys.write_text(text)
            time.sleep(1.2)
            assert sqs.list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_damaged_file_of_keys_is_told_at_the_start(make_app, tmp_path, caplog):
    """Nothing was said until the first client was refused."""
    (tmp_path / "aws-keys.json").write_text('{"x')
    with caplog.at_level(logging.WARNING, "forebay"), served(make_app(str(tmp_path))):
        time.sleep(0.2)
    assert caplog.text.count("AWS's API refuses everybody: aws-keys.json is damaged; put a copy of it back") == 1
