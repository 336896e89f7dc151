"""Who is let in at the wire API, what is told to others, and how a request that no SDK sends is answered."""

import asyncio
import http.client
import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from unittest import mock

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from ports import free_port
from wire_app import REGION, served

from forebay.errors import InvalidParameterValue

JSON = "application/x-amz-json-1.0"
LIST = {"Content-Type": JSON, "X-Amz-Target": "AmazonSQS.ListQueues"}


def ask(port, headers, body=b"{}", *, method="POST", path="/"):
    """Send one request as it is; give the status, the headers and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def signed(wire, headers, body=b"{}", *, service="sqs", key="k", secret="s", path="/"):
    """Give headers with a signature."""
    request = AWSRequest("POST", wire.url + path, headers=headers, data=body)
    SigV4Auth(Credentials(key, secret), service, REGION).add_auth(request)
    return dict(request.headers)


def kind(answer):
    return json.loads(answer[2])["__type"].rsplit("#")[-1]


def test_a_request_without_a_signature_is_refused(wire):
    status, headers, _ = answer = ask(wire.port, LIST)
    assert (status, kind(answer)) == (403, "MissingAuthenticationTokenException")
    assert headers["x-amzn-query-error"] == "MissingAuthenticationToken;Sender"
    assert len(headers["x-amzn-RequestId"]) == 36 and headers["Date"]
    # A web page can post a form without asking first, and cannot sign it.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, body = ask(wire.port, form, b"Action=PurgeQueue&Version=2012-11-05&QueueUrl=x")
    assert status == 403 and b"<Code>MissingAuthenticationToken</Code>" in body


def test_web_pages_and_names_of_other_machines_are_refused(wire):
    headers = signed(wire, LIST)
    assert ask(wire.port, headers)[0] == 200
    assert ask(wire.port, {**headers, "Origin": "http://evil.example.com"})[0] == 403
    assert ask(wire.port, {**headers, "Host": "evil.example.com"})[0] == 403
    assert ask(wire.port, {"Origin": "http://evil.example.com"}, b"", method="OPTIONS")[0] == 403
    assert "access-control-allow-origin" not in ask(wire.port, headers)[1]


def test_with_keys_each_request_is_verified(make_app, tmp_path):
    def command(*arguments):
        line = [sys.executable, "-m", "forebay.cli", "aws", "keys", *arguments, "--store", str(tmp_path)]
        return subprocess.run(line, capture_output=True, text=True, check=True, timeout=200).stdout

    def create(*options):
        return json.loads(command("create", *options, "--output", "json"))

    every, reader, streams = create(), create("--read-only"), create("--service", "kinesis")
    assert (tmp_path / "aws-keys.json").stat().st_mode & 0o777 == 0o600
    assert every["secret"] not in command("list")
    with served(make_app(str(tmp_path / "store"))) as open_to_all:
        assert (
            open_to_all.client("sqs", key="any", secret="any").list_queues()["ResponseMetadata"]["HTTPStatusCode"]
            == 200
        )
    with served(make_app(str(tmp_path))) as wire:

        def sqs(key, secret=None, **options):
            return wire.client("sqs", key=key["id"], secret=secret or key["secret"], **options)

        def refused(call, **arguments):
            with pytest.raises(ClientError) as raised:
                call(**arguments)
            return raised.value.response["Error"]["Code"]

        url = sqs(every).create_queue(QueueName="q")["QueueUrl"]
        assert refused(sqs(every, "wrong").list_queues) == "SignatureDoesNotMatch"
        assert refused(wire.client("sqs").list_queues) == "InvalidClientTokenId"
        assert sqs(reader).list_queues()["QueueUrls"] == [url]
        assert refused(sqs(reader).send_message, QueueUrl=url, MessageBody="m") == "AccessDenied"
        assert refused(sqs(streams).list_queues) == "AccessDenied"
        # CloudWatch has the statuses of its older protocol for who asks for them, as boto3 does.
        with pytest.raises(ClientError) as raised:
            wire.client("cloudwatch", key=streams["id"], secret=streams["secret"]).list_metrics()
        told = raised.value.response
        assert (told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]) == ("AccessDenied", 403)
        headers = {"Content-Type": JSON, "X-Amz-Target": "GraniteServiceVersion20100801.ListMetrics"}
        headers = signed(wire, headers, service="monitoring", key=streams["id"], secret=streams["secret"])
        assert ask(wire.port, headers)[0] == 400
        kinesis = wire.client("kinesis", key=streams["id"], secret=streams["secret"])
        assert kinesis.list_streams()["StreamNames"] == []
        # A body that was changed on the way is not what was signed.
        keys = {"key": every["id"], "secret": every["secret"]}
        headers = signed(wire, LIST, **keys)
        assert ask(wire.port, headers)[0] == 200
        assert kind(ask(wire.port, headers, b'{"QueueNamePrefix": "a"}')) == "InvalidSignatureException"
        expired = {**headers, "X-Amz-Date": "20200101T000000Z"}
        assert kind(ask(wire.port, expired)) in {"InvalidSignatureException", "IncompleteSignatureException"}
        request = AWSRequest("GET", f"{wire.url}/?Action=ListQueues&Version=2012-11-05")
        SigV4QueryAuth(Credentials(*keys.values()), "sqs", REGION, expires=60).add_auth(request)
        path = request.url.removeprefix(wire.url)
        status, _, body = ask(wire.port, {}, b"", method="GET", path=path)
        assert status == 200 and b"<QueueUrl>" in body
        assert ask(wire.port, {}, b"", method="GET", path=path + "0")[0] == 403
        sts = wire.client("sts", **keys, signature_version="v4")
        path = sts.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET").removeprefix(wire.url)
        status, _, body = ask(wire.port, {}, b"", method="GET", path=path)
        assert (status, every["id"].encode() in body) == (200, True)
        old = mock.patch("botocore.auth.get_current_datetime", return_value=datetime(2026, 1, 1))  # noqa: DTZ001  as botocore has it
        with old:
            path = sts.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET").removeprefix(
                wire.url
            )
        assert ask(wire.port, {}, b"", method="GET", path=path)[0] == 403


def test_another_machines_address_needs_a_key(make_app, tmp_path, monkeypatch):
    """The command for a key was told without the store: done as printed it made one for another app."""
    monkeypatch.chdir(tmp_path)
    for store, named in (
        ("./data", ""),
        ("./other", f" --store {tmp_path}/other"),
        ("a b", f" --store '{tmp_path}/a b'"),
    ):
        with pytest.raises(InvalidParameterValue, match=re.escape(f"(`forebay aws keys create{named}`)")):
            asyncio.run(make_app(store).start(aws_host="0.0.0.0", aws_port=4566))


def test_the_query_protocol_is_spoken_on_the_queues_path_too(wire):
    queue = wire.client("sqs").create_queue(QueueName="old")["QueueUrl"]
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}

    def post(body, path="/"):
        return ask(wire.port, signed(wire, form, body, path=path), body, path=path)

    path = queue.removeprefix(wire.url)
    attribute = (
        b"&MessageAttribute.1.Name=a&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v"
    )
    status, headers, body = post(b"Action=SendMessage&Version=2012-11-05&MessageBody=a+b%26c" + attribute, path)
    assert (status, headers["Content-Type"]) == (200, "text/xml")
    assert b"<SendMessageResult><MD5OfMessageBody>" in body and b"<ResponseMetadata><RequestId>" in body
    _, _, body = post(b"Action=ReceiveMessage&Version=2012-11-05&MessageAttributeName.1=All", path)
    assert b"<Body>a b&amp;c</Body>" in body and b"<MessageAttribute><Name>a</Name><Value>" in body
    url = queue.encode().replace(b"old", b"none")
    status, _, body = post(b"Action=PurgeQueue&Version=2012-11-05&QueueUrl=" + url)
    assert status == 400 and b"<Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in body
    assert b"<Code>InvalidAction</Code>" in post(b"Action=Nothing&Version=2012-11-05")[2]


def test_what_no_sdk_sends_is_refused_and_harms_nothing(wire):
    def post(headers, body):
        return ask(wire.port, signed(wire, headers, body), body)

    assert kind(post(LIST, b"{")) == "SerializationException"
    assert kind(post(LIST, b"[" * 100_000)) == "SerializationException"
    assert kind(post(LIST, b'{"MaxResults": "ten"}')) == "SerializationException"
    assert kind(post({**LIST, "X-Amz-Target": "AmazonSQS.Nothing"}, b"{}")) == "UnknownOperationException"
    assert kind(post({"Content-Type": JSON}, b"{}")) == "UnknownOperationException"
    assert kind(post({**LIST, "Content-Encoding": "gzip"}, b"no gzip")) == "SerializationException"
    headers = {**signed(wire, LIST), "Content-Length": str(1 << 40)}
    connection = http.client.HTTPConnection("127.0.0.1", wire.port, timeout=100)
    try:
        connection.request("POST", "/", headers=headers)
        assert connection.getresponse().status == 413
    finally:
        connection.close()
    assert post(LIST, b"{}")[0] == 200


@pytest.mark.parametrize(
    ("service", "ask_it"),
    [
        ("iam", lambda iam: iam.list_users()),
        ("dynamodb", lambda tables: tables.list_tables()),
        ("efs", lambda files: files.describe_file_systems()),
        ("route53", lambda names: names.list_hosted_zones()),
        ("cloudfront", lambda edges: edges.list_distributions()),
        ("ec2", lambda machines: machines.describe_regions()),
    ],
)
def test_a_service_that_is_not_served_is_told_in_words_that_its_client_reads(wire, service, ask_it):
    with pytest.raises(ClientError) as refused:
        ask_it(wire.client(service))
    told = refused.value.response["Error"]
    assert told["Code"] == "UnknownOperationException"
    name = "elasticfilesystem" if service == "efs" else service
    assert told["Message"].startswith(f'forebay does not serve "{name}": it serves apigateway, cloudcontrolapi, ')
    assert len(refused.value.response["ResponseMetadata"]["RequestId"]) == 36


def test_what_says_of_nothing_what_it_is_hears_what_aws_says_to_it(wire):
    for method in ("GET", "PUT", "DELETE"):
        status, headers, body = ask(wire.port, {}, b"", method=method)
        assert (status, headers["Content-Type"]) == (403, "application/xml")
        told = b"<Message>Unable to determine service/operation name to be authorized</Message>"
        assert body.startswith(b"<AccessDeniedException>") and told in body


def test_s3_and_kinesis_have_ids_of_their_own(wire):
    with pytest.raises(ClientError) as refused:
        wire.client("s3").list_buckets()
    told = refused.value.response
    assert told["Error"]["Code"] == "NotImplemented"
    assert len(told["ResponseMetadata"]["RequestId"]) == 36 and len(told["ResponseMetadata"]["HostId"]) == 24
    headers = wire.client("kinesis").list_streams()["ResponseMetadata"]["HTTPHeaders"]
    assert len(headers["x-amzn-requestid"]) == 36 and len(headers["x-amz-id-2"]) == 24


def test_who_only_announces_a_body_takes_no_room(wire):
    """Bodies have 256 MiB together."""
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n{" % (16 << 20)
    announced = [socket.create_connection(("127.0.0.1", wire.port), timeout=100) for _ in range(17)]
    try:
        for one in announced:
            one.sendall(head)
        assert wire.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
    finally:
        for one in announced:
            one.close()


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_that_is_too_long_is_answered_whatever_more_of_it_comes(wire, framing):
    size = 17 << 20
    with socket.create_connection(("127.0.0.1", wire.port), timeout=100) as client:
        framed = f"Content-Length: {size}" if framing == "length" else "Transfer-Encoding: chunked"
        client.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\n{framed}\r\n\r\n".encode())
        body = b"x" * size
        client.sendall(body if framing == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (size, body))
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ") and b'"RequestEntityTooLarge"' in answer


def test_who_asks_before_a_body_is_sent_is_told_at_once_that_it_is_too_long(wire):
    with socket.create_connection(("127.0.0.1", wire.port), timeout=100) as client:
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {17 << 20}\r\n\r\n"
        client.sendall(head.encode())
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"\r\nconnection: close\r\n" in answer


def test_a_client_that_says_nothing_keeps_nobody_waiting(wire):
    """Whether it speaks HTTP/2 is not known yet, and it may hang up."""
    silent = [socket.create_connection(("127.0.0.1", wire.port), timeout=100) for _ in range(3)]
    silent[1].sendall(b"P")
    silent[2].sendall(b"PRI * HTTP/2.0\r\n")
    assert ask(wire.port, signed(wire, LIST))[0] == 200
    # The bytes of a head may come one by one, as far as those of HTTP/2 go as well.
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(wire, LIST).items())
    for piece in ("O", f"ST / HTTP/1.1\r\nHost: 127.0.0.1:{wire.port}\r\n", f"{head}Content-Length: 2\r\n\r\n{{", "}"):
        silent[1].sendall(piece.encode())
        time.sleep(0.05)
    answer = http.client.HTTPResponse(silent[1])
    answer.begin()
    assert answer.status == 200 and json.loads(answer.read()) == {}
    for connection in silent:
        connection.close()


def test_java_s_cbor_is_spoken_for_kinesis(wire):
    # {"StreamName": "s", "ShardCount": 1} in maps and texts of no told length, as Java writes them.
    body = bytes.fromhex("bf") + b"\x7f\x6aStreamName\xff\x61s" + b"\x6aShardCount\x01" + bytes.fromhex("ff")
    headers = {"Content-Type": "application/x-amz-cbor-1.1", "X-Amz-Target": "Kinesis_20131202.CreateStream"}
    status, answered, _ = ask(wire.port, signed(wire, headers, body, service="kinesis"), body)
    assert (status, answered["Content-Type"]) == (200, "application/x-amz-cbor-1.1")
    status, _, told = ask(wire.port, signed(wire, headers, body, service="kinesis"), body)
    assert status == 400 and b"ResourceInUseException" in told
    assert wire.client("kinesis").list_streams()["StreamNames"] == ["s"]


def test_each_request_is_a_line_of_the_access_log_without_its_secrets(make_app, tmp_path):
    path = tmp_path / "access.jsonl"
    with served(make_app(), aws_access_log=path) as wire:
        sqs = wire.client("sqs")
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        sent = sqs.send_message(QueueUrl=url, MessageBody="a body that nobody logs")
        with pytest.raises(ClientError):
            sqs.get_queue_url(QueueName="none")
        ask(wire.port, LIST)
        headers = {**LIST, "X-Amz-Target": "AmazonSQS.ReceiveMessage"}
        body = b'{"QueueUrl": "%s", "WaitTimeSeconds": 20}' % url.replace("/q", "/empty").encode()
        sqs.create_queue(QueueName="empty")
        connection = http.client.HTTPConnection("127.0.0.1", wire.port, timeout=100)
        connection.request("POST", "/", body, signed(wire, headers, body))
        time.sleep(0.3)
        connection.close()
        ends = time.monotonic() + 100
        while path.read_text().count("\n") < 6 and time.monotonic() < ends:
            time.sleep(0.02)
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    told = [(line["operation"], line["status"], line.get("error"), line["key_id"]) for line in lines]
    assert told == [
        ("CreateQueue", 200, None, "forebay"),
        ("SendMessage", 200, None, "forebay"),
        ("GetQueueUrl", 400, "AWS.SimpleQueueService.NonExistentQueue", "forebay"),
        ("ListQueues", 403, "MissingAuthenticationToken", ""),
        ("CreateQueue", 200, None, "forebay"),
        ("ReceiveMessage", 499, None, "k"),
    ]
    assert lines[1]["request_id"] == sent["ResponseMetadata"]["RequestId"]
    assert lines[1]["service"] == "sqs" and lines[1]["took_ms"] > 0 and lines[1]["invocation_id"]
    assert "a body" not in text and "Signature" not in text


def test_the_access_log_and_why_tell_of_a_refused_request_what_its_client_reads(make_app, tmp_path):
    """The log had another code than the client, no key where it was not allowed, and no operation that is not served."""
    path = tmp_path / "access.jsonl"
    key = {"id": "FBKREADER", "secret": "reader-secret", "read_only": True, "services": ["sqs", "sts"]}
    (tmp_path / "aws-keys.json").write_text(json.dumps({"keys": [key]}))
    calls = [
        ("sqs", "get_queue_url", {"QueueName": "none"}),
        ("sqs", "create_queue", {"QueueName": "q"}),
        ("sns", "list_topics", {}),
        ("sts", "get_session_token", {}),
        ("sts", "assume_role", {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "name"}),
    ]
    with served(make_app(str(tmp_path)), aws_access_log=path) as wire:
        told, known = [], []
        for service, name, arguments in calls:
            client = wire.client(service, key=key["id"], secret=key["secret"])
            with pytest.raises(ClientError) as refused:
                getattr(client, name)(**arguments)
            error, request = refused.value.response["Error"], refused.value.response["ResponseMetadata"]["RequestId"]
            told.append((error["Code"], error["Message"]))
            [fact] = wire.ask("why", id=request)["facts"]
            known.append((fact["error"], fact["text"]))
        page = wire.app.metrics.page()
    assert known == told
    # What a key may not do was counted as a mistake of its client's, and what is not served was in no metric.
    counted = re.findall(r'^forebay_aws_refused_total\{.*reason="(\w+)".*\} ([0-9.]+)', page, re.MULTILINE)
    assert {reason: float(count) for reason, count in counted} == {"not_allowed": 3, "not_served": 1}
    assert set(re.findall(r'^forebay_aws_requests_total\{.*operation="(\w+)"', page, re.MULTILINE)) == {"GetQueueUrl"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["error"] for line in lines] == [code for code, _ in told]
    assert {line["key_id"] for line in lines} == {key["id"]}
    assert [(line["service"], line["operation"]) for line in lines] == [
        ("sqs", "GetQueueUrl"),
        ("sqs", "CreateQueue"),
        ("sns", "ListTopics"),
        ("sts", "GetSessionToken"),
        ("sts", "AssumeRole"),
    ]
    not_authorized = "the key FBKREADER is not authorized to perform: "
    assert [text.removeprefix(not_authorized) for _, text in told[1:]] == [
        "sqs:CreateQueue, because it is read-only",
        "sns:ListTopics, because it is for sqs, sts only",
        "forebay does not serve sts: GetSessionToken",
        "sts:AssumeRole, because it is read-only",
    ]


def test_an_access_log_that_cannot_be_written_is_refused(make_app, tmp_path):
    path = tmp_path / "none" / "log"
    with pytest.raises(InvalidParameterValue, match=f"aws_access_log: the access log {path} cannot be opened: No such"):
        asyncio.run(make_app().start(aws_port=free_port(), aws_access_log=path))
    with pytest.raises(InvalidParameterValue, match="aws_access_log"):
        asyncio.run(make_app().start(aws_access_log=""))
    with pytest.raises(InvalidParameterValue, match="aws_access_log='log': only with aws_port"):
        asyncio.run(make_app().start(aws_access_log="log"))


def wakes_during(seconds):
    """Count how often a thread of this process gave its processor up and got it back."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    time.sleep(seconds)
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before


def test_an_idle_long_poll_costs_no_thread_and_a_send_wakes_it(wire):
    sqs = wire.client("sqs")
    url = sqs.create_queue(QueueName="idle")["QueueUrl"]
    body = b'{"QueueUrl": "%s", "WaitTimeSeconds": 20}' % url.encode()
    headers = signed(wire, {**LIST, "X-Amz-Target": "AmazonSQS.ReceiveMessage"}, body)
    threads = threading.active_count(), len(list(Path("/proc/self/task").iterdir()))
    connections = [http.client.HTTPConnection("127.0.0.1", wire.port, timeout=100) for _ in range(200)]
    try:
        for connection in connections:
            connection.request("POST", "/", body, headers)
        ends = time.monotonic() + 15  # the first of them has its empty answer after 20 s
        # Until the last of them has been read, and only the thread that sleeps here is woken. A server that looks once a second
        # has one of its own woken twice in each of these windows, however fast the machine is.
        while (woken := wakes_during(2.5)) > 2 and time.monotonic() < ends:
            pass
        assert woken <= 2, "they wait without a look at anything"
        assert (threading.active_count(), len(list(Path("/proc/self/task").iterdir()))) == threads
        sqs.send_message(QueueUrl=url, MessageBody="one")
        answer = connections[0].getresponse()
        assert b'"Body":"one"' in answer.read(), "who has waited longest is served first"
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    ("call", "operation", "code"),
    [
        ("sns.list_topics", "", "AccessDenied"),
        ("sts.get_caller_identity", "", "AccessDenied"),
        ("s3.list_buckets", "ListBuckets", "AccessDenied"),
        ("cloudwatch.list_metrics", "ListMetrics", "AccessDenied"),
        ("sqs.list_queues", "ListQueues", "AccessDenied"),
        ("lambda.list_functions", "ListFunctions", "AccessDeniedException"),
        ("kinesis.list_streams", "ListStreams", "AccessDeniedException"),
    ],
)
def test_a_name_that_is_not_the_ports_is_refused_in_the_words_of_its_service(make_app, tmp_path, call, operation, code):
    """Clients of SNS and STS could not parse JSON, S3's read "403 Forbidden", and the log had neither code nor operation."""
    path, (service, _, name) = tmp_path / "log", call.partition(".")

    def elsewhere(request, **_):
        request.headers["Host"] = "forebay.internal:4570"

    with served(make_app(), aws_access_log=path) as wire:
        client = wire.client(service)
        client.meta.events.register("before-send", elsewhere)
        with pytest.raises(ClientError) as told:
            getattr(client, name)()
    answer = told.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (403, code)
    assert "`--aws-host`" in answer["Error"]["Message"]
    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    signing = {"cloudwatch": "monitoring"}.get(service, service)
    assert (line["service"], line["operation"], line["error"], line["status"]) == (signing, operation, code, 403)


def test_an_object_that_is_too_large_is_refused_in_the_words_of_s3(make_app, tmp_path):
    path = tmp_path / "log"
    with served(make_app(), aws_access_log=path) as wire:
        with pytest.raises(ClientError) as told:
            wire.client("s3").put_object(Bucket="b", Key="k", Body=bytes(17 << 20))
        assert told.value.response["Error"]["Code"] == "EntityTooLarge"
        assert ask(wire.port, {**LIST, "Origin": "http://evil.example.com"})[0] == 403
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["service"], one["operation"], one["error"]) for one in lines] == [
        ("s3", "PutObject", "EntityTooLarge"),
        ("", "", "AccessDeniedException"),
    ]


def test_an_invocation_that_failed_is_told_by_the_log_and_by_why(make_app, tmp_path):
    """Status 200 was all that they had."""
    path, app = tmp_path / "log", make_app()

    @app.function()
    async def boom(event, context):
        raise ValueError("no")

    with served(app, aws_access_log=path) as wire:
        answer = wire.client("lambda").invoke(FunctionName="boom")
        assert answer["FunctionError"] == "Unhandled"
        facts = wire.ask("why", id=answer["ResponseMetadata"]["RequestId"])["facts"]
        assert [fact["function_error"] for fact in facts if "function_error" in fact] == ["Unhandled"]
    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    assert (line["status"], line["function_error"]) == (200, "Unhandled")
