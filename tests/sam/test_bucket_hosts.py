"""How the little S3 is addressed: a bucket in the host's name is refused, and touches no other bucket."""

from types import SimpleNamespace

import pytest

from forebay._stacks.wire import Wire

OWN = "http://127.0.0.1:4566"


@pytest.mark.parametrize(
    ("origin", "is_answered"),
    [
        (OWN, True),
        ("http://[::1]:4566", True),
        (OWN.replace("127.0.0.1", "app"), True),
        ("http://aws.example.com:4566", True),
        ("http://mine.aws.example.com:4566", False),
        ("http://mine.localhost:4566", False),
    ],
)
async def test_a_bucket_in_the_host_is_refused(tmp_path, origin, is_answered):
    """`put_object(Bucket="mine", Key="other/f")` wrote over `f` of the bucket `other`, and `Key="other"` deleted it."""
    place = SimpleNamespace(region="us-east-1", account="000000000000")
    wire = Wire(lambda: SimpleNamespace(place=place), tmp_path, lambda _: None)
    for bucket in ("mine", "other"):
        assert "answer" in await wire.answer("s3", "CreateBucket", {"Bucket": bucket}, OWN)
    told = await wire.answer("s3", "DeleteBucket", {"Bucket": "other"}, origin)
    assert ("answer" in told) == is_answered
    if not is_answered:
        assert (told["error"], "forcePathStyle" in told["reasons"][0]) == ("InvalidRequest", True)
        assert "answer" in await wire.answer("s3", "HeadBucket", {"Bucket": "other"}, OWN)
