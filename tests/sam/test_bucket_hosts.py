"""How the little S3 is addressed: a bucket in the host's name is refused, and touches no other bucket."""

import http.client
import json
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from deploying import serving
from ports import free_port

from forebay._model.wire import WireAddress
from forebay._stacks.wire import Wire
from forebay.errors import InvalidParameterValue

OWN = "http://127.0.0.1:4566"


@pytest.mark.parametrize(
    ("origin", "is_answered"),
    [
        (OWN, True),
        ("http://[::1]:4566", True),
        (OWN.replace("127.0.0.1", "app"), True),
        ("http://aws.example.com:4566", True),
        (OWN.replace("127.0.0.1", "AWS.example.com."), True),
        ("http://store.example.com:4566", True),
        ("http://mine.aws.example.com:4566", False),
        ("http://my.data.aws.example.com:4566", False),
        ("http://missing.aws.example.com:4566", False),
        ("http://example.com:4566", False),
        ("http://mine.localhost:4566", False),
        (OWN.replace("127.0.0.1", "mine.app"), False),
        (OWN.replace("127.0.0.1", "mine.127.0.0.1"), False),
        (OWN.replace("127.0.0.1", "[mine"), False),
    ],
)
async def test_a_bucket_in_the_host_is_refused(tmp_path, origin, is_answered):
    """`put_object(Bucket="mine", Key="other/f")` wrote over `f` of the bucket `other`, and `Key="other"` deleted it.

    Later it did so where there was no bucket `mine`, and for `my.data`; and whoever made a bucket `aws` shut S3 for all.
    """
    own = {"aws": "http://store.example.com:4566", "aws_names": ("aws.Example.com",)}
    place = SimpleNamespace(region="us-east-1", account="000000000000", **own)
    wire = Wire(lambda: SimpleNamespace(place=place), tmp_path, lambda _: None)
    for bucket in ("mine", "other", "aws", "store", "my.data"):
        assert "answer" in await wire.answer("s3", "CreateBucket", {"Bucket": bucket}, OWN)
    told = await wire.answer("s3", "DeleteBucket", {"Bucket": "other"}, origin)
    assert ("answer" in told) == is_answered
    if not is_answered:
        assert (told["error"], "forcePathStyle" in told["reasons"][0]) == ("InvalidRequest", True)
        assert "answer" in await wire.answer("s3", "HeadBucket", {"Bucket": "other"}, OWN)


@pytest.mark.timeout(300)
def test_s3_is_answered_under_the_names_that_the_app_is_told(tmp_path):
    """Behind a proxy the client's host is the proxy's, and the app listens at an address."""
    store, port = tmp_path / "data", free_port()
    store.mkdir()
    keys = store / "aws-keys.json"
    keys.write_text(json.dumps({"keys": [{"id": "FBKPROXY", "secret": "s"}]}))
    keys.chmod(0o600)

    def ask(host):
        request = AWSRequest("HEAD", f"http://{host}:{port}/box")
        S3SigV4QueryAuth(Credentials("FBKPROXY", "s"), "s3", "us-east-1").add_auth(request)
        url = urlsplit(request.url)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
        connection.request("HEAD", f"{url.path}?{url.query}", headers={"Host": url.netloc})
        status = connection.getresponse().status
        connection.close()
        return status

    options = ["--aws-host", "0.0.0.0", "--aws-name", "aws.example.com", "--aws-name", "b.example.com"]  # noqa: S104  with a key
    with serving(store, free_port(), "--aws-port", str(port), *options, cwd=tmp_path):
        hosts = ["127.0.0.1", "aws.example.com", "b.example.com", "mine.aws.example.com", "c.example.com"]
        assert [ask(host) for host in hosts] == [404, 404, 404, 400, 400]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"names": ("aws.example.com",)}, "aws_name='aws.example.com': only with aws_port"),
        ({"names": ("http://aws.example.com",), "port": 1}, "aws_name=.*: a name of DNS without a port"),
        ({"names": ("aws.example.com:4566",), "port": 1}, "aws_name=.*: a name of DNS without a port"),
    ],
)
def test_what_is_no_name_of_the_port_is_refused(given, text):
    with pytest.raises(InvalidParameterValue, match=text):
        WireAddress(**given)
