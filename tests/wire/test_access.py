"""Who is let in at which operation: every one of them with every kind of request that ought to be turned away."""

import http.client
import json
import re
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from operations import operations
from wire_app import REGION, served

from forebay._model.wire import SERVICES

OPERATIONS = operations()
KEYS = {
    "every": {"id": "FBKEVERY", "secret": "every-secret"},
    "reader": {"id": "FBKREADER", "secret": "reader-secret", "read_only": True},
    "kinesis": {"id": "FBKKINESIS", "secret": "kinesis-secret", "services": ["kinesis"]},
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
    "SubscribeTo",
)


@pytest.fixture
def guarded(tmp_path):
    """Serve an app that has access keys."""
    from forebay import App

    keys = tmp_path / "aws-keys.json"
    keys.write_text(json.dumps({"keys": list(KEYS.values())}))
    keys.chmod(0o600)
    with served(App("guarded", store=str(tmp_path), region=REGION, account="123456789012")) as running:
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
        wanted = refused(one, "UnrecognizedClientException", "InvalidClientTokenId")
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
        for headers in ({"Origin": "http://evil.example.com"}, {"Host": "evil.example.com"}):
            status, code = ask(guarded, one, key=key["id"], secret=key["secret"], headers=headers.items())
            assert (status, code) == (403, "AccessDeniedException"), f"{one} {headers}"
