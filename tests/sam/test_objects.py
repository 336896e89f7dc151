"""The little S3: what is not served changes nothing, whatever it is told apart by."""

import json
import re
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.timeout(300)

PAGE = Path(__file__).parents[2] / "docs/aws-operations.md"
BODY = b"important"


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
