"""URLs that are presigned for S3: what they say in place of headers is done, or refused."""

import hashlib
import hmac
import json
import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from deploying import serving
from ports import free_port

pytestmark = pytest.mark.timeout(300)

KEY, SECRET, REGION = "FBKSIGNER", "a-secret", "us-east-1"
BODY = b"important"


@pytest.fixture
def s3(tmp_path):
    """Give a client of an app with a key, and two objects in a bucket."""
    store, port = tmp_path / "data", free_port()
    store.mkdir()
    keys = store / "aws-keys.json"
    keys.write_text(json.dumps({"keys": [{"id": KEY, "secret": SECRET}]}))
    keys.chmod(0o600)
    with serving(store, free_port(), "--aws-port", str(port), cwd=tmp_path):
        made = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        made.create_bucket(Bucket="box")
        made.put_object(Bucket="box", Key="k", Body=BODY)
        made.put_object(Bucket="box", Key="source", Body=b"source")
        yield made
        made.close()


class OverHash(S3SigV4QueryAuth):
    """Signs the hash that the URL names, as JavaScript's SDK does."""

    def payload(self, request):
        return parse_qs(urlsplit(request.url).query)["X-Amz-Content-Sha256"][0]


def url_of(s3, method, words, *, headers=(), body_hash=None, expires=600):
    """Make a URL for the object as JavaScript's SDK does: what it would say in headers stands in the query string."""
    request = AWSRequest(method, f"{s3.meta.endpoint_url}/box/k?{words}", headers=dict(headers))
    if body_hash is not None:
        request.url += f"&X-Amz-Content-Sha256={body_hash}"
    signer = S3SigV4QueryAuth if body_hash is None else OverHash
    signer(Credentials(KEY, SECRET), "s3", REGION, expires=expires).add_auth(request)
    return request.url


def url_as_it_is(s3, method, words):
    """The same with words that botocore would make UTF-8."""
    day, moment = time.strftime("%Y%m%d", now := time.gmtime()), time.strftime("%Y%m%dT%H%M%SZ", now)
    scope = f"{day}/{REGION}/s3/aws4_request"
    of_signature = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={quote(f'{KEY}/{scope}', '')}&X-Amz-Date={moment}"
    )
    pairs = f"{words}&{of_signature}&X-Amz-Expires=600&X-Amz-SignedHeaders=host".split("&")
    query = "&".join(sorted(pair if "=" in pair else f"{pair}=" for pair in pairs))
    host = s3.meta.endpoint_url.removeprefix("http://")
    canonical = f"{method}\n/box/k\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in (day, REGION, "s3", "aws4_request", text):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"http://{host}/box/k?{query}&X-Amz-Signature={key.hex()}"


def send(url, method="GET", data=None, headers=()):
    """Send a request without an SDK; give status, body and headers."""
    request = urllib.request.Request(url, data, {"Content-Type": "text/x-thing", **dict(headers)}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def refused(url, method="GET", data=None, headers=()):
    """Send what S3 refuses in XML; give the status and what stands in the error."""
    status, body, sent = send(url, method, data, headers)
    assert sent["content-type"] == "application/xml", body
    return status, dict(re.findall(r"<([\w-]+)>([^<]*)</\1>", body.decode()))


def test_a_url_that_is_over_is_refused_as_s3_does_it(s3):
    """It was called a wrong signature: programs that make a new URL then did not."""
    status, told = refused(url_of(s3, "GET", "x-id=GetObject", expires=0))
    assert (status, told["Code"], told["Message"]) == (403, "AccessDenied", "Request has expired")
    assert told["X-Amz-Expires"] == "0"
    assert told["Expires"] <= told["ServerTime"]
    datetime.fromisoformat(told["Expires"])


def test_a_url_that_no_signature_can_have_is_refused_in_xml(s3):
    """It was answered with JSON, which no client of S3 reads."""
    week = "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"
    for expires, text in (
        (604_801, week),
        (-1, "X-Amz-Expires must be non-negative"),
        ("soon", "X-Amz-Expires should be a number"),
    ):
        status, told = refused(url_of(s3, "PUT", "x-id=PutObject", expires=expires), "PUT", b"new")
        assert (status, told["Code"], told["Message"]) == (400, "AuthorizationQueryParametersError", text)
    assert send(url_of(s3, "GET", "x-id=GetObject", expires=604_800))[:2] == (200, BODY)
    # As boto3 makes one that is not told which version to sign by.
    status, told = refused(f"{s3.meta.endpoint_url}/box/k?AWSAccessKeyId={KEY}&Signature=x%3D&Expires=2000000000")
    assert (status, told["Code"]) == (400, "InvalidRequest")
    assert told["Message"] == "Signature Version 2 is not supported: sign with Signature Version 4"


def test_a_header_that_a_url_does_not_sign_is_refused_as_s3_does_it(s3):
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "box", "Key": "k"})
    status, told = refused(url, "PUT", b"new", {"x-amz-meta-b": "1", "x-amz-meta-a": "1"})
    text = "There were headers present in the request which were not signed"
    assert (status, told["Code"], told["Message"]) == (403, "AccessDenied", text)
    assert set(told["HeadersNotSigned"].split(", ")) == {"x-amz-meta-a", "x-amz-meta-b"}
    assert s3.get_object(Bucket="box", Key="k")["Body"].read() == BODY


def test_a_form_that_is_posted_is_refused_in_xml(s3):
    """It was told that it lacks a token, in JSON."""
    form = s3.generate_presigned_post("box", "k")
    fields = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (*form["fields"].items(), ("file", "new"))
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    status, told = refused(form["url"], "POST", f"{fields}--x--\r\n".encode(), kind)
    assert (status, told["Code"]) == (501, "NotImplemented")
    assert "generate_presigned_url" in told["Message"]


def test_what_a_url_says_of_an_object_is_kept(s3):
    """It was passed over, with status 200: S3 keeps it."""
    words = "x-amz-meta-owner=a%20b&x-amz-acl=private&x-amz-storage-class=STANDARD&x-id=PutObject"
    # JavaScript's SDK takes this of the body that it does not have, and S3 does not compare it.
    sums = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32"
    assert send(url_of(s3, "PUT", f"{words}&{sums}"), "PUT", b"new")[0] == 200
    there = s3.get_object(Bucket="box", Key="k")
    assert (there["Body"].read(), there["Metadata"], there["ContentType"]) == (b"new", {"owner": "a b"}, "text/x-thing")


@pytest.mark.parametrize(
    "words",
    [
        "x-amz-acl=public-read",
        "X-Amz-Object-Lock-Mode=GOVERNANCE",
        "x-amz-tagging=a%3Db",
        "x-amz-storage-class=GLACIER",
        "x-amz-server-side-encryption=aws%3Akms",
        "x-amz-copy-source=box%2Fsource&x-id=CopyObject",
        "x-amz-copy-source=box%2Fsource",
        "x-id=CopyObject",
        "x-id=GetObject",
        "x-other=1",
        # It was dropped with 200.
        "x-amz-meta-owner=Z%C3%BCrich&x-amz-meta-x=1",
        "x-amz-acl=p%C3%BCblic",
    ],
)
def test_what_a_url_asks_that_is_not_done_is_refused(s3, words):
    """A presigned CopyObject emptied its target, and what should be locked or encrypted was neither."""
    for data in (None, b"new"):
        status, told, _ = send(url_of(s3, "PUT", words), "PUT", data)
        assert (status, b"<Code>NotImplemented</Code>" in told) == (501, True), told
    assert s3.get_object(Bucket="box", Key="k")["Body"].read() == BODY


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_form_is_no_order_of_who_was_given_a_url(s3, method):
    """A URL of one object carried out any operation on any bucket: what a form says is not signed."""
    s3.create_bucket(Bucket="empty")
    url = s3.generate_presigned_url(f"{method.lower()}_object", Params={"Bucket": "box", "Key": "source"})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for order in (
        "Action=DeleteObject&Bucket=box&Key=k",
        "Action=DeleteBucket&Bucket=empty",
        "Action=PutObject&Bucket=box&Key=k&Body=eA%3D%3D",
        "Action=CreateBucket&Bucket=new",
    ):
        # No read has a body.
        assert send(url, method, order.encode(), kind)[0] == (400 if method == "GET" else 200)
        assert s3.get_object(Bucket="box", Key="k")["Body"].read() == BODY
        s3.head_bucket(Bucket="empty")
        with pytest.raises(ClientError):
            s3.head_bucket(Bucket="new")
        if method == "PUT":
            # `curl` says so of every file.
            assert s3.get_object(Bucket="box", Key="source")["Body"].read() == order.encode()


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("PUT", "x-amz-copy-source=box%2Fcaf%E9"),
        ("PUT", "x-amz-meta-town=Z%FCrich"),
        ("PUT", "partNumber=1&uploadId=00&x=%FF"),
        ("DELETE", "uploadId=00&x=%FF"),
        ("DELETE", "tagging&x=%FF"),
    ],
)
def test_a_query_string_that_cannot_be_read_is_not_passed_over(s3, method, words):
    """All of it was dropped: a copy emptied its target, and who aborted an upload deleted the object."""
    status, told, _ = send(url_as_it_is(s3, method, words), method, b"new" if method == "PUT" else None)
    assert (status, b"<Code>InvalidURI</Code>" in told) == (400, True), told
    assert send(url_as_it_is(s3, "GET", "x-id=GetObject"))[:2] == (200, BODY), "it is signed right"
    assert s3.get_object(Bucket="box", Key="k")["Body"].read() == BODY


def test_a_slash_at_the_end_is_part_of_a_key_and_of_no_bucket(s3):
    """What makes a "folder" emptied the object of that name, and a path that ends behind the bucket was refused."""
    s3.put_object(Bucket="box", Key="k/")
    assert s3.get_object(Bucket="box", Key="k")["Body"].read() == BODY
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="box")["Contents"]] == ["k", "k/", "source"]
    s3.delete_object(Bucket="box", Key="k/")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="box")["Contents"]] == ["k", "source"]
    for method, status in (("PUT", 200), ("HEAD", 200), ("DELETE", 204), ("HEAD", 404)):
        request = AWSRequest(method, f"{s3.meta.endpoint_url}/folders/")
        S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", REGION).add_auth(request)
        assert send(request.url, method)[0] == status, method


def test_objects_that_are_read_slowly_are_not_in_memory(s3, tmp_path, monkeypatch):
    """Each reader held all of its object, twice: whoever was given one URL could have the app killed."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (64 << 20))
    s3.upload_file(str(large), "box", "large")
    monkeypatch.chdir(tmp_path / "data")
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect("stacks.sock")
        pid, _, _ = struct.unpack("3i", asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))

    def resident():
        told = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", told)[1]) << 10

    before = resident()
    bodies = [s3.get_object(Bucket="box", Key="large")["Body"] for _ in range(8)]
    first = [body.read(1 << 20) for body in bodies]
    assert resident() - before < 64 << 20
    for body, begun in zip(bodies, first, strict=True):
        rest = body.read()
        assert len(begun) + len(rest) == 64 << 20 and set(rest) == {ord("x")}


def test_a_url_with_a_session_token_is_refused_as_a_header_with_one_is(s3):
    """It was taken: a program all of whose requests failed made URLs that worked. Later the key was said to be unknown, which it is not."""
    request = AWSRequest("GET", f"{s3.meta.endpoint_url}/box/k")
    S3SigV4QueryAuth(Credentials(KEY, SECRET, "a-token"), "s3", REGION).add_auth(request)
    status, told, _ = send(request.url)
    assert (status, b"<Code>InvalidToken</Code>" in told, b"unset AWS_SESSION_TOKEN" in told) == (400, True, True), told


def test_many_objects_that_are_put_at_once_wait_for_each_other(s3):
    """More than 34 of them were refused with SlowDown."""
    count = 120
    urls = [s3.generate_presigned_url("put_object", Params={"Bucket": "box", "Key": f"n{at}"}) for at in range(count)]
    together = threading.Barrier(count)

    def put(url):
        together.wait()
        return send(url, "PUT", b"x" * 1000)[0]

    with ThreadPoolExecutor(count) as threads:
        for _ in range(3):
            assert Counter(threads.map(put, urls)) == {200: count}


def test_who_resumes_the_download_of_another_object_is_given_the_whole(s3):
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "box", "Key": "k"})
    etag = s3.head_object(Bucket="box", Key="k")["ETag"]
    for of, wanted in ((etag, (206, BODY[4:])), ('"00"', (200, BODY))):
        assert send(url, headers={"Range": "bytes=4-", "If-Range": of})[:2] == wanted


def test_a_header_that_says_otherwise_than_the_url_is_refused(s3):
    header = {"x-amz-meta-owner": "b"}
    for word, status in (("a", 501), ("b", 200)):
        url = url_of(s3, "PUT", f"x-amz-meta-owner={word}", headers=header)
        assert send(url, "PUT", b"new", header)[0] == status
    assert s3.head_object(Bucket="box", Key="k")["Metadata"] == {"owner": "b"}


def test_a_url_for_one_body_takes_no_other(s3):
    url = url_of(s3, "PUT", "x-id=PutObject", body_hash=hashlib.sha256(b"new").hexdigest())
    assert send(url, "PUT", b"other")[0] == 403
    assert s3.get_object(Bucket="box", Key="k")["Body"].read() == BODY
    assert send(url, "PUT", b"new")[0] == 200
    assert send(url_of(s3, "PUT", "x-id=PutObject", body_hash="UNSIGNED-PAYLOAD"), "PUT", b"any")[0] == 200
    streamed = url_of(s3, "PUT", "x-id=PutObject", body_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert send(streamed, "PUT", b"3\r\nnew\r\n0\r\n\r\n")[0] == 400
    assert s3.get_object(Bucket="box", Key="k")["Body"].read() == b"any"


def test_urls_of_boto3_hold_with_the_headers_that_they_name(s3):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": "box", "Key": "k", "Metadata": {"owner": "a"}})
    assert send(put, "PUT", b"new")[0] == 403
    assert send(put, "PUT", b"new", {"x-amz-meta-owner": "b"})[0] == 403
    assert send(put, "PUT", b"new", {"x-amz-meta-owner": "a"})[0] == 200
    shown = {"Bucket": "box", "Key": "k", "ResponseContentType": "text/plain"}
    status, body, headers = send(s3.generate_presigned_url("get_object", Params=shown))
    assert (status, body, headers["x-amz-meta-owner"], headers["content-type"]) == (200, b"new", "a", "text/plain")
    status, body, headers = send(s3.generate_presigned_url("get_object", Params=shown), headers={"Range": "bytes=1-"})
    assert (status, body, headers["content-range"]) == (206, b"ew", "bytes 1-2/3")
    copy = {"Bucket": "box", "Key": "k", "CopySource": "box/source"}
    refused = s3.generate_presigned_url("copy_object", Params=copy)
    assert send(refused, "PUT", None, {"x-amz-copy-source": "box/source"})[0] == 501
    assert send(refused, "PUT", None)[0] == 403
    assert s3.get_object(Bucket="box", Key="k")["Body"].read() == b"new"
