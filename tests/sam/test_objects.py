"""The little S3: what is not served changes nothing, and what is said of an object is kept, or refused."""

import base64
import hashlib
import json
import re
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from deploying import Killed

from forebay import _durable
from forebay._stacks import buckets as little_s3
from forebay._stacks.buckets import Buckets
from forebay._stacks.wire_error import WireError

pytestmark = pytest.mark.timeout(300)

PAGE = Path(__file__).parents[2] / "docs/aws-operations.md"
BODY = b"important"
MD5 = f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'


def not_served():
    section = PAGE.read_text().split("## S3 (`s3`)")[1].split("\n## ")[0]
    named = re.search(r"^Not served: (.*)$", section, re.MULTILINE)
    return re.findall(r"`(\w+)`", named[1])


def minimal(shape, name=""):
    """Give the least value of a shape."""
    if shape.type_name == "structure":
        names = shape.required_members
        if getattr(shape, "is_tagged_union", False):
            names = list(shape.members)[:1]
        return {one: minimal(shape.members[one], one) for one in names}
    if shape.type_name == "list":
        return [minimal(shape.member, name)]
    if shape.type_name == "string":
        return {"Bucket": "loss", "Key": "k", "CopySource": "loss/k"}.get(name) or (
            shape.enum or ["x" * max(1, shape.metadata.get("min", 1))]
        )[0]
    plain = {"integer": 1, "long": 1, "boolean": True, "blob": b"x", "timestamp": 0, "map": {}}
    return plain[shape.type_name]


def refused(call, **fields):
    with pytest.raises(ClientError) as told:
        call(**fields)
    return told.value.response["ResponseMetadata"]["HTTPStatusCode"], told.value.response["Error"]["Code"]


def logged_operations(path, ids):
    """Give the operations of these requests, when the log has them all."""
    for _ in range(200):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found = {one["request_id"]: one["operation"] for one in lines if one["request_id"] in ids}
        if len(found) == len(ids):
            break
        time.sleep(0.05)
    return found


def test_an_operation_that_is_not_served_touches_nothing(client, tmp_path):
    """What S3 tells apart by the query string was taken for PutObject, DeleteObject or DeleteBucket: new tags were the object's new
    content, to delete a bucket's policy deleted the bucket, and a copy emptied its target."""
    s3 = client("s3")
    s3.create_bucket(Bucket="loss")
    s3.put_object(Bucket="loss", Key="k", Body=BODY)
    s3.create_bucket(Bucket="empty")
    names, asked = not_served(), {}
    assert len(names) > 90
    for name in names:
        if name in {"CreateSession", "WriteGetObjectResponse", "ListDirectoryBuckets"}:
            continue  # boto3 asks elsewhere for them
        for bucket in ("loss", "empty"):
            members = minimal(s3.meta.service_model.operation_model(name).input_shape)
            with pytest.raises(ClientError) as told:
                s3._make_api_call(name, members | ({"Bucket": bucket} if "Bucket" in members else {}))
            answer = told.value.response
            assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (501, "NotImplemented"), (
                name
            )
            asked[answer["ResponseMetadata"]["RequestId"]] = name
            assert s3.get_object(Bucket="loss", Key="k")["Body"].read() == BODY, name
            s3.head_bucket(Bucket="empty")
    logged = logged_operations(tmp_path / "access.log", set(asked))
    # Two operations have an older name beside theirs.
    older = {"GetBucketLifecycle", "GetBucketNotification", "PutBucketLifecycle", "PutBucketNotification"}
    assert logged == {id_: f"{name}Configuration" if name in older else name for id_, name in asked.items()}
    held = s3.create_multipart_upload(Bucket="loss", Key="k")["UploadId"]
    part = {"Bucket": "loss", "Key": "k", "UploadId": held, "PartNumber": 1}
    assert refused(s3.upload_part_copy, CopySource="loss/k", **part) == (501, "NotImplemented")


def test_a_word_of_the_query_string_that_nobody_knows_is_no_object(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="loss")
    s3.put_object(Bucket="loss", Key="k", Body=BODY)

    def ask(word):
        def change(request, **_):
            request.url += f"?{word}"

        s3.meta.events.register("before-sign.s3", change)
        try:
            return [
                refused(s3.put_object, Bucket="loss", Key="k", Body=b"x")[0],
                refused(s3.delete_object, Bucket="loss", Key="k")[0],
            ]
        finally:
            s3.meta.events.unregister("before-sign.s3", change)

    for word in ("newest", "partNumber=1", "policy"):
        assert ask(word) == [501, 501], word
    assert ask("uploadId") == [501, 404]
    assert s3.get_object(Bucket="loss", Key="k")["Body"].read() == BODY


def test_what_is_said_of_an_object_is_kept(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="kept")
    told = {
        "CacheControl": "no-store",
        "ContentDisposition": "inline",
        "ContentEncoding": "br",
        "ContentLanguage": "de",
        "ContentType": "text/x-thing",
        "Metadata": {"team": "shop"},
    }
    s3.put_object(Bucket="kept", Key="k", Body=BODY, **told)
    upload = s3.create_multipart_upload(Bucket="kept", Key="parts", **told)["UploadId"]
    place = {"Bucket": "kept", "Key": "parts", "UploadId": upload}
    etag = s3.upload_part(**place, PartNumber=1, Body=BODY)["ETag"]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    for key in ("k", "parts"):
        for answer in (s3.head_object(Bucket="kept", Key=key), s3.get_object(Bucket="kept", Key=key)):
            assert {name: answer[name] for name in told} == told
    other = s3.get_object(Bucket="kept", Key="k", ResponseContentType="text/plain")
    assert (other["ContentType"], other["Body"].read()) == ("text/plain", BODY)
    s3.put_object(Bucket="kept", Key="k", Body=BODY)
    assert s3.head_object(Bucket="kept", Key="k")["Metadata"] == {}
    long = {"long": "x" * 2048}
    assert refused(s3.put_object, Bucket="kept", Key="k", Metadata=long) == (400, "MetadataTooLarge")


def test_what_has_no_effect_is_refused(client):
    """Each of these answered 200, and did nothing: an object that should be encrypted or locked was neither."""
    s3 = client("s3")
    s3.create_bucket(Bucket="opts")
    for option in (
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"},
        {"ACL": "public-read"},
        {"GrantRead": "id=x"},
        {"Tagging": "a=b"},
        {"StorageClass": "GLACIER"},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": 2_000_000_000},
        {"WebsiteRedirectLocation": "/x"},
    ):
        assert refused(s3.put_object, Bucket="opts", Key="k", **option) == (501, "NotImplemented"), option
        assert refused(s3.create_multipart_upload, Bucket="opts", Key="k", **option)[0] == 501, option
    assert refused(s3.put_object, Bucket="opts", Key="k", ExpectedBucketOwner="999999999999")[0] == 403
    assert s3.list_objects_v2(Bucket="opts")["KeyCount"] == 0
    # What `sam` and the AWS CLI send.
    s3.put_object(Bucket="opts", Key="k", ServerSideEncryption="AES256", ACL="bucket-owner-full-control")
    assert refused(s3.get_object, Bucket="opts", Key="k", PartNumber=1)[0] == 501
    # It was told to ask for the whole object, which it had done.
    for condition in ({"IfNoneMatch": '"x"'}, {"IfModifiedSince": 0}, {"IfUnmodifiedSince": 0}):
        with pytest.raises(ClientError, match="a read takes no condition but If-Match; leave it out"):
            s3.get_object(Bucket="opts", Key="k", **condition)


def in_base64(data):
    return base64.b64encode(data).decode()


def test_bytes_that_are_not_those_of_their_checksum_are_refused(client):
    """A wrong checksum was stored: what arrived damaged was acknowledged."""
    s3 = client("s3")
    s3.create_bucket(Bucket="sums")
    right = {
        "ContentMD5": in_base64(hashlib.md5(BODY, usedforsecurity=False).digest()),
        "ChecksumCRC32": in_base64(zlib.crc32(BODY).to_bytes(4, "big")),
        "ChecksumSHA1": in_base64(hashlib.sha1(BODY, usedforsecurity=False).digest()),
        "ChecksumSHA256": in_base64(hashlib.sha256(BODY).digest()),
    }
    for name, value in right.items():
        s3.put_object(Bucket="sums", Key="k", Body=BODY, **{name: value})
        other = {"Bucket": "sums", "Key": "other", "Body": b"other", name: value}
        assert refused(s3.put_object, **other) == (400, "BadDigest"), name
    for name, value in (("ContentMD5", "InvalidDigest"), ("ChecksumCRC32", "InvalidRequest")):
        assert refused(s3.put_object, Bucket="sums", Key="other", Body=BODY, **{name: "AAAA"}) == (400, value)
    for name, length in (("ChecksumCRC32C", 4), ("ChecksumCRC64NVME", 8)):
        wrong = in_base64(bytes(length))
        assert refused(s3.put_object, Bucket="sums", Key="other", Body=BODY, **{name: wrong}) == (400, "BadDigest"), (
            name
        )
    upload = s3.create_multipart_upload(Bucket="sums", Key="parts")["UploadId"]
    place = {"Bucket": "sums", "Key": "parts", "UploadId": upload}
    etag = s3.upload_part(**place, PartNumber=1, Body=BODY)["ETag"]
    part = {"PartNumber": 1, "ETag": etag, "ChecksumSHA256": right["ChecksumSHA256"]}
    wrong = {**part, "ChecksumSHA256": in_base64(bytes(32))}
    end = s3.complete_multipart_upload
    assert refused(end, **place, MultipartUpload={"Parts": [wrong]}) == (400, "BadDigest")
    assert refused(end, **place, MultipartUpload={"Parts": [part]}, ChecksumCRC32="AAAAAA==") == (400, "BadDigest")
    assert refused(end, **place, MultipartUpload={"Parts": [part]}, MpuObjectSize=1) == (400, "InvalidRequest")
    of_parts = in_base64(hashlib.sha256(hashlib.sha256(BODY).digest()).digest())
    end(**place, MultipartUpload={"Parts": [part]}, ChecksumSHA256=f"{of_parts}-1")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="sums")["Contents"]] == ["k", "parts"]


def test_the_checksums_of_a_client_are_given_back(client):
    """A program that kept `response["ChecksumSHA256"]` failed, and nobody could compare what it downloaded."""
    s3 = client("s3")
    s3.create_bucket(Bucket="given")
    for kind, value in (
        ("SHA256", in_base64(hashlib.sha256(BODY).digest())),
        ("SHA1", in_base64(hashlib.sha1(BODY, usedforsecurity=False).digest())),
        ("CRC32", in_base64(zlib.crc32(BODY).to_bytes(4, "big"))),
    ):
        told = s3.put_object(Bucket="given", Key="k", Body=BODY, ChecksumAlgorithm=kind)
        assert (told[f"Checksum{kind}"], told["ChecksumType"]) == (value, "FULL_OBJECT"), kind
        for ask in (s3.head_object, s3.get_object):
            assert ask(Bucket="given", Key="k", ChecksumMode="ENABLED")[f"Checksum{kind}"] == value, kind
        # What boto3 reads of a part of the object it would compare with the checksum of the whole.
        part = s3.get_object(Bucket="given", Key="k", Range="bytes=1-2", ChecksumMode="ENABLED")
        assert (part["Body"].read(), f"Checksum{kind}" in part) == (BODY[1:3], False)
    s3.put_object(Bucket="given", Key="k", Body=BODY, ContentMD5=in_base64(bytes.fromhex(MD5.strip('"'))))
    assert not [name for name in s3.head_object(Bucket="given", Key="k") if name.startswith("Checksum")]


def begin(s3, key, **wish):
    """Begin an object in parts; give where its parts go, and what was answered."""
    begun = s3.create_multipart_upload(Bucket="parts", Key=key, **wish)
    return {"Bucket": "parts", "Key": key, "UploadId": begun["UploadId"]}, begun


@pytest.mark.parametrize("kind", ["CRC32", "SHA256"])
def test_an_object_in_parts_is_as_s3_has_it(client, kind):
    """Its ETag was the MD5 of the whole, by which clients take it for one that came at once, and it had no checksum."""
    s3 = client("s3")
    s3.create_bucket(Bucket="parts")
    bodies, name = (b"a" * (5 << 20), b"b" * 10), f"Checksum{kind}"
    place, begun = begin(s3, "a b/k", ChecksumAlgorithm=kind)
    assert begun["ChecksumAlgorithm"] == kind
    told = [
        s3.upload_part(**place, PartNumber=n, Body=body, ChecksumAlgorithm=kind) for n, body in enumerate(bodies, 1)
    ]
    parts = [{"PartNumber": n, "ETag": one["ETag"], name: one[name]} for n, one in enumerate(told, 1)]
    wrong = [{**parts[0], name: parts[1][name]}, parts[1]]
    assert refused(s3.complete_multipart_upload, **place, MultipartUpload={"Parts": wrong}) == (400, "BadDigest")
    ended = s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    of_bodies = b"".join(hashlib.md5(body, usedforsecurity=False).digest() for body in bodies)
    assert ended["ETag"] == f'"{hashlib.md5(of_bodies, usedforsecurity=False).hexdigest()}-2"'
    assert ended["Location"] == f"{s3.meta.endpoint_url}/parts/a%20b/k"
    digests = b"".join(base64.b64decode(one[name]) for one in told)
    whole = hashlib.sha256(digests).digest() if kind == "SHA256" else zlib.crc32(digests).to_bytes(4, "big")
    for answer in (ended, s3.head_object(Bucket="parts", Key="a b/k", ChecksumMode="ENABLED")):
        assert answer["ETag"] == ended["ETag"]
        assert (answer[name], answer["ChecksumType"]) == (f"{in_base64(whole)}-2", "COMPOSITE")
    assert s3.get_object(Bucket="parts", Key="a b/k", IfMatch=ended["ETag"])["Body"].read() == b"".join(bodies)


def test_parts_have_the_size_and_the_checksum_of_s3(client, tmp_path):
    """A small part in the middle was taken, which S3 refuses when all parts have been sent."""
    s3 = client("s3")
    s3.create_bucket(Bucket="parts")
    place, _ = begin(s3, "small")
    tags = [s3.upload_part(**place, PartNumber=number, Body=BODY)["ETag"] for number in (1, 2)]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    assert refused(s3.complete_multipart_upload, **place, MultipartUpload={"Parts": parts}) == (400, "EntityTooSmall")
    # What is not computed of files is compared with what came with the part.
    right = in_base64(0xAE8B_1486_0A79_9888.to_bytes(8, "big"))
    place, _ = begin(s3, "nvme", ChecksumAlgorithm="CRC64NVME")
    told = s3.upload_part(**place, PartNumber=1, Body=b"123456789", ChecksumCRC64NVME=right)
    part = {"PartNumber": 1, "ETag": told["ETag"], "ChecksumCRC64NVME": told["ChecksumCRC64NVME"]}
    ended = s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [part]})
    assert ended["ETag"].endswith('-1"')
    assert "ChecksumCRC64NVME" not in ended
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(b"x" * (10 << 20))
    s3.upload_file(str(sent), "parts", "file")
    assert s3.head_object(Bucket="parts", Key="file")["ETag"].endswith('-2"')
    s3.download_file("parts", "file", str(back))
    assert back.read_bytes() == sent.read_bytes()


def test_an_object_of_an_earlier_release_keeps_its_etag(direct):
    """Its settings are in the form of that release, without a place for what is new."""
    body = Path(direct("GetObject")["Body"])
    known = json.loads(body.with_suffix(".about").read_text())
    assert known == [{"ETag": MD5, "File": known[0]["File"], "Metadata": {"of": "it"}}]
    assert direct("HeadObject")["ETag"] == MD5
    # An upload that was begun by that release is ended by this one, and its ETag is in the new form.
    upload = direct("CreateMultipartUpload", Metadata={"of": "parts"})["UploadId"]
    begun = body.parent / ".uploads" / upload
    assert json.loads((begun / "about").read_text()) == [{"ETag": "", "File": None, "Metadata": {"of": "parts"}}]
    (begun / "1").write_bytes(BODY)
    ended = direct("CompleteMultipartUpload", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1}]})
    assert ended["ETag"].endswith('-1"')
    # A copy of the store, as a backup makes one, knows it by its bytes.
    copied = body.with_name("copy")
    copied.write_bytes(body.read_bytes())
    copied.rename(body)
    there = direct("HeadObject")
    assert (there["ETag"], there["Metadata"]) == (ended["ETag"], {"of": "parts"})


def test_a_key_that_is_too_long_is_refused(client):
    """It was taken, and no other S3 takes it. One that an earlier release took can be read and deleted still."""
    s3 = client("s3")
    s3.create_bucket(Bucket="keys")
    s3.put_object(Bucket="keys", Key="é" * 512, Body=BODY)
    for key in ("é" * 512 + "x", "x" * 1025):
        assert refused(s3.put_object, Bucket="keys", Key=key, Body=BODY) == (400, "KeyTooLongError")
        assert refused(s3.create_multipart_upload, Bucket="keys", Key=key) == (400, "KeyTooLongError")
        assert refused(s3.get_object, Bucket="keys", Key=key) == (404, "NoSuchKey")
        s3.delete_object(Bucket="keys", Key=key)


def test_a_damaged_list_of_objects_deletes_none(client):
    """It was carried out: what was compared of it is the signature alone, which need not have the body."""
    s3 = client("s3")
    s3.create_bucket(Bucket="lists")
    s3.put_object(Bucket="lists", Key="k", Body=BODY)

    def ask(changed):
        def change(request, **_):
            for name in [one for one in request.headers if one.lower().startswith("x-amz-checksum-")]:
                del request.headers[name]
            for name, value in changed.items():
                request.headers[name] = value

        s3.meta.events.register("before-sign.s3", change)
        try:
            return refused(s3.delete_objects, Bucket="lists", Delete={"Objects": [{"Key": "k"}]})
        finally:
            s3.meta.events.unregister("before-sign.s3", change)

    assert ask({"Content-MD5": in_base64(bytes(16))}) == (400, "BadDigest")
    assert ask({"x-amz-checksum-crc32": "AAAAAA=="}) == (400, "BadDigest")
    assert ask({}) == (400, "InvalidRequest")
    assert s3.get_object(Bucket="lists", Key="k")["Body"].read() == BODY
    assert s3.delete_objects(Bucket="lists", Delete={"Objects": [{"Key": "k"}]})["Deleted"] == [{"Key": "k"}]


def test_answers_have_the_elements_of_s3(client):
    """They were named after the models' shapes, which boto3 does not look at and other SDKs do."""
    s3, told = client("s3"), []
    s3.meta.events.register("before-parse.s3.ListObjectsV2", lambda response_dict, **_: told.append(response_dict))
    s3.create_bucket(Bucket="named")
    s3.put_object(Bucket="named", Key="k", Body=b"x")
    assert s3.head_object(Bucket="named", Key="k")["ContentType"] == "binary/octet-stream"
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="named")["Contents"]] == ["k"]
    assert told[0]["body"].startswith(b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">')


def test_parts_of_an_object_are_read_by_ranges(client, tmp_path):
    """`aws s3 cp` and `download_file` ask for larger objects in ranges, and failed with 501."""
    s3 = client("s3")
    s3.create_bucket(Bucket="ranges")
    etag = s3.put_object(Bucket="ranges", Key="k", Body=b"0123456789")["ETag"]
    s3.put_object(Bucket="ranges", Key="empty", Body=b"")
    for asked, wanted, where in (
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=0-99", b"0123456789", "bytes 0-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-99", b"0123456789", "bytes 0-9/10"),
        # Java's SDK asks so for all from a place on: the whole object was answered, and taken for its end.
        (f"bytes=4-{2**63 - 1}", b"456789", "bytes 4-9/10"),
        (f"bytes=4-{2**63 - 2}", b"456789", "bytes 4-9/10"),
        (f"bytes=-{10**40}", b"0123456789", "bytes 0-9/10"),
        (f"bytes={'0' * 5000}4-5", b"45", "bytes 4-5/10"),
    ):
        part = s3.get_object(Bucket="ranges", Key="k", Range=asked, IfMatch=etag)
        assert (part["Body"].read(), part["ContentRange"], part["ETag"]) == (wanted, where, etag), asked
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert part["ContentLength"] == len(wanted)
        assert s3.head_object(Bucket="ranges", Key="k", Range=asked)["ContentRange"] == where
    for whole in ("bytes=4-2", "bytes=0-1,3-4", "lines=1-2"):
        answer = s3.get_object(Bucket="ranges", Key="k", Range=whole)
        assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()) == (200, b"0123456789"), whole
    for key, none in (("k", "bytes=10-"), ("k", "bytes=-0"), ("empty", "bytes=0-"), ("k", f"bytes={2**63 - 2}-")):
        assert refused(s3.get_object, Bucket="ranges", Key=key, Range=none) == (416, "InvalidRange"), none
    assert refused(s3.get_object, Bucket="ranges", Key="k", IfMatch='"00"') == (412, "PreconditionFailed")
    large = bytes(range(256)) * 20_000
    s3.put_object(Bucket="ranges", Key="large", Body=large)
    in_parts = TransferConfig(multipart_threshold=1 << 20, multipart_chunksize=1 << 20)
    s3.download_file("ranges", "large", str(tmp_path / "large"), Config=in_parts)
    assert (tmp_path / "large").read_bytes() == large


def test_an_object_and_what_is_said_of_it_are_of_one_request(client):
    """While an object was overwritten its bytes were answered without its settings, or new bytes with those of the old ones."""
    s3 = client("s3")
    s3.create_bucket(Bucket="pairs")

    def put(number):
        s3.put_object(Bucket="pairs", Key="k", Body=str(number).encode() * 50_000, Metadata={"n": str(number)})

    put(0)
    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(put, number) for number in range(1, 100)]
        reads = 0
        while not all(one.done() for one in writing) or reads < 20:
            answer = s3.get_object(Bucket="pairs", Key="k")
            body, number = answer["Body"].read(), answer["Metadata"]["n"].encode()
            assert body == number * 50_000
            assert answer["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()
            reads += 1
    assert [one.result() for one in writing] == [None] * 99


@pytest.mark.parametrize("files", [0, 1, 2, 3], ids=["key", "both settings", "object", "settings"])
def test_a_crash_leaves_an_object_its_settings(tmp_path, monkeypatch, files):
    """They were replaced before the bytes were: the old object lost its encoding and its metadata for good."""
    buckets, place = Buckets(tmp_path), SimpleNamespace(region="us-east-1", account="000000000000")
    named = {"Bucket": "crash", "Key": "k"}
    buckets.answer("CreateBucket", {"Bucket": "crash"}, place)
    sent = {}
    for name in ("old", "new"):
        sent[name] = tmp_path / name
        sent[name].write_text(name)
    buckets.answer("PutObject", {**named, "Body": str(sent["old"]), "Metadata": {"of": "old"}}, place)
    left = files

    def count(do):
        def counted(*given, **more):
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return do(*given, **more)

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(_durable, "write", count(_durable.write))
        rename = Path.rename
        take = lambda path, to: (count(rename) if len(Path(to).name) == 64 else rename)(path, to)  # noqa: E731
        patch.setattr(Path, "rename", take)
        with pytest.raises(Killed):
            buckets.answer("PutObject", {**named, "Body": str(sent["new"]), "Metadata": {"of": "new"}}, place)
    for _ in range(2):
        answer = Buckets(tmp_path).answer("GetObject", named, place)
        body = Path(answer["Body"]).read_text()
        assert (body, answer["Metadata"]) == ("new" if files == 3 else "old", {"of": body})
        again = tmp_path / "again"
        again.write_text(body)
        buckets.answer("PutObject", {**named, "Body": str(again), "Metadata": {"of": body}}, place)


@pytest.fixture
def direct(tmp_path):
    """Give what asks the little S3 without a door, on one object."""
    buckets, place = Buckets(tmp_path), SimpleNamespace(region="us-east-1", account="000000000000")
    named = {"Bucket": "direct", "Key": "k"}

    def ask(action, body=None, **given):
        if body is not None:
            sent = tmp_path / "sent"
            sent.write_bytes(body)
            given["Body"] = str(sent)
        return buckets.answer(action, {**named, **given}, place)

    ask("CreateBucket")
    ask("PutObject", BODY, Metadata={"of": "it"})
    return ask


def test_who_reads_an_object_waits_for_no_writer_and_no_condition(direct, monkeypatch):
    """Each read waited until all writes of all buckets were on the disk, and while the target of a condition was hashed."""
    with ThreadPoolExecutor(2) as threads:
        with little_s3._CHANGING:
            assert threads.submit(direct, "GetObject").result(10)["Metadata"] == {"of": "it"}
            hashing = little_s3._etag_of
            monkeypatch.setattr(little_s3, "_etag_of", lambda file: pytest.fail(f"{file.name} is hashed"))
            assert threads.submit(direct, "HeadObject", Range="bytes=0-0").result(10)["ContentLength"] == 1
        with pytest.raises(WireError, match="pre-conditions"):
            direct("DeleteObject", IfMatch='"00"')
        monkeypatch.setattr(little_s3, "_etag_of", hashing)
        # Nothing is kept of an object that was copied there: its bytes are hashed, but never under the lock.
        path = Path(direct("GetObject")["Body"])
        path.write_bytes(b"copied")

        def hash_freely(file):
            assert not little_s3._CHANGING.locked()
            return hashing(file)

        monkeypatch.setattr(little_s3, "_etag_of", hash_freely)
        copied = direct("GetObject")
        etag = f'"{hashlib.md5(b"copied", usedforsecurity=False).hexdigest()}"'
        assert (copied["ETag"], "Metadata" in copied) == (etag, False)
        direct("DeleteObject", IfMatch=copied["ETag"])


def test_settings_in_another_form_are_none(direct):
    """An object whose settings were damaged, or in the form of an earlier build, could be neither read nor overwritten."""
    kept = Path(direct("GetObject")["Body"]).with_suffix(".about")
    for form in (b'{"ETag": "x", "Metadata": {}}', b"[1, {}]", b"7", b"", b"\xff", b'[{"ETag": 1}]'):
        kept.write_bytes(form)
        assert "Metadata" not in direct("GetObject"), form
        direct("PutObject", BODY, Metadata={"of": "it"})
        assert direct("GetObject")["Metadata"] == {"of": "it"}, form


def test_a_range_of_an_object_that_has_changed_is_the_whole_one(direct):
    """A download that was resumed was spliced of two objects."""
    there = direct("HeadObject")
    date = formatdate(there["LastModified"] // 1000, usegmt=True)
    for same in (there["ETag"], date):
        assert direct("GetObject", Range="bytes=4-", IfRange=same)["ContentRange"] == "bytes 4-8/9"
    for other in ('"00"', f"W/{there['ETag']}", formatdate(0, usegmt=True), ""):
        answer = direct("GetObject", Range="bytes=4-", IfRange=other)
        assert (answer["ContentLength"], "ContentRange" in answer) == (9, False)
    assert "ContentRange" not in direct("GetObject", Range="bytes=99-", IfRange='"00"')


def test_of_two_clients_that_want_to_make_an_object_one_does(client):
    """The condition was looked at before the bytes were in place: both were told that they had made it, and one of them had not."""
    s3 = client("s3")
    s3.create_bucket(Bucket="made")

    def make(number):
        try:
            s3.put_object(Bucket="made", Key=f"k{number // 8}", Body=bytes([number]) * 100_000, IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "made"

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(make, range(160)))
    assert Counter(told) == {"made": 20, "PreconditionFailed": 140}


def test_a_size_of_nothing_is_a_condition_too(client):
    """0 passed for nothing that was said, and the object went, whatever its size."""
    s3 = client("s3")
    s3.create_bucket(Bucket="sizes")
    s3.put_object(Bucket="sizes", Key="k", Body=BODY)
    assert refused(s3.delete_object, Bucket="sizes", Key="k", IfMatchSize=0) == (501, "NotImplemented")
    assert s3.get_object(Bucket="sizes", Key="k")["Body"].read() == BODY


def test_an_object_is_deleted_only_where_its_condition_holds(client):
    """`IfMatch` was passed over: a newer object went."""
    s3 = client("s3")
    s3.create_bucket(Bucket="cond")
    etag = s3.put_object(Bucket="cond", Key="k", Body=BODY)["ETag"]
    assert refused(s3.delete_object, Bucket="cond", Key="k", IfMatch='"00"') == (412, "PreconditionFailed")
    both = {"Objects": [{"Key": "k", "ETag": '"00"'}, {"Key": "none"}]}
    told = s3.delete_objects(Bucket="cond", Delete=both)
    assert [one["Key"] for one in told["Deleted"]] == ["none"]
    assert [(one["Key"], one["Code"]) for one in told["Errors"]] == [("k", "PreconditionFailed")]
    assert s3.get_object(Bucket="cond", Key="k")["Body"].read() == BODY
    s3.delete_object(Bucket="cond", Key="k", IfMatch=etag)
    assert s3.list_objects_v2(Bucket="cond")["KeyCount"] == 0


def test_a_bucket_is_made_in_the_region_of_the_app(client):
    """An app whose region is none of AWS's refused its own, with a list of 38 others."""
    s3 = client("s3")
    s3.create_bucket(Bucket="here", CreateBucketConfiguration={"LocationConstraint": "us-east-1"})
    wanted = (400, "IllegalLocationConstraintException")
    place = {"LocationConstraint": "moon"}
    assert refused(s3.create_bucket, Bucket="there", CreateBucketConfiguration=place) == wanted
