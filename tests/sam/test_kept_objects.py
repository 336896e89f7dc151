"""Objects of the little S3 that are put, deleted and put together while others do so, and while the machine fails."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from forebay import _durable
from forebay._stacks import buckets as little_s3
from forebay._stacks.buckets import Buckets
from forebay._stacks.wire_error import WireError

PLACE = SimpleNamespace(region="us-east-1", account="000000000000")


@pytest.fixture
def ask(tmp_path):
    """Give what asks the little S3 of a bucket, without a door."""
    buckets = Buckets(tmp_path)

    def asked(action, body=None, **given):
        if body is not None:
            sent = tmp_path / "sent"
            sent.write_bytes(body)
            given["Body"] = str(sent)
        return buckets.answer(action, {"Bucket": "box", **given}, PLACE)

    asked("CreateBucket")
    return asked


def refused(ask, action, *given, **more):
    with pytest.raises(WireError) as told:
        ask(action, *given, **more)
    return told.value.status, told.value.code


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def logged(monkeypatch):
    """Log what is deleted and what is waited for, in order."""
    log, sync, unlink, rmtree = [], little_s3.sync, Path.unlink, shutil.rmtree

    def note(kind, path, do, *given, **more):
        if not path.name.startswith(".new-"):
            log.append((kind, path.name))
        return do(path, *given, **more)

    monkeypatch.setattr(little_s3, "sync", lambda path: note("sync", path, sync))
    monkeypatch.setattr(Path, "unlink", lambda path, **more: note("unlink", path, unlink, **more))
    monkeypatch.setattr(shutil, "rmtree", lambda path, **more: note("rmtree", path, rmtree, **more))
    return log


def test_what_is_deleted_is_durable_when_it_is_answered(ask, tmp_path, monkeypatch):
    """After a power cut an object was there again whose deletion was answered, or one without its key, which no list had."""
    for key in ("k", "a", "b"):
        ask("PutObject", b"bytes", Key=key)
    upload = ask("CreateMultipartUpload", Key="k")["UploadId"]
    names = {key: Path(ask("GetObject", Key=key)["Body"]).name for key in ("k", "a", "b")}
    log = logged(monkeypatch)

    def gone(*keys):
        kept = [("unlink", names[key] + end) for key in keys for end in (".key", ".about")]
        return [*(("unlink", names[key]) for key in keys), ("sync", "box"), *kept]

    ask("DeleteObject", Key="k")
    assert log == gone("k")
    log.clear()
    objects = [{"Key": "a"}, {"Key": "b"}]
    told = ask("DeleteObjects", Delete={"Objects": objects})
    assert (told["Deleted"], log) == (objects, gone("a", "b"))
    log.clear()
    ask("AbortMultipartUpload", Key="k", UploadId=upload)
    assert log == [("rmtree", upload), ("sync", ".uploads")]
    log.clear()
    ask("DeleteBucket")
    assert log == [("rmtree", "box"), ("sync", "buckets")]
    log.clear()
    ask("CreateBucket")
    assert log == [("sync", "buckets"), ("sync", tmp_path.name)]


def test_an_upload_is_durable_when_it_is_answered(ask, monkeypatch):
    """After a power cut it was gone, with all parts that were answered."""
    log = logged(monkeypatch)
    ask("CreateMultipartUpload", Key="k")
    assert log[-2:] == [("sync", ".uploads"), ("sync", "box")]


def test_an_object_makes_no_bucket_that_was_deleted_meanwhile(ask, tmp_path, monkeypatch):
    """The bucket was there again, with a key without an object, and the client was told 503."""
    bucket, etag = tmp_path / "buckets/box", little_s3._etag

    def deleted(path):
        shutil.rmtree(bucket)
        monkeypatch.setattr(little_s3, "_etag", etag)
        return '"00"'

    monkeypatch.setattr(little_s3, "_etag", deleted)
    assert refused(ask, "PutObject", b"bytes", Key="k") == (404, "NoSuchBucket")
    assert not bucket.exists()
    ask("CreateBucket")
    assert refused(ask, "DeleteObject", Bucket="boxes", Key="k") == (404, "NoSuchBucket")


def test_a_full_disk_leaves_nothing_of_an_object_that_is_not_kept(ask, tmp_path, monkeypatch):
    """Each try left another file of up to 256 MiB, which nothing showed or removed."""
    upload = ask("CreateMultipartUpload", Key="k")["UploadId"]
    part = ask("UploadPart", b"bytes", Key="k", UploadId=upload, PartNumber=1)
    before = files(tmp_path / "buckets")

    def full(*_):
        raise OSError(28, "No space left on device")

    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    for module, name in ((_durable, "write"), (shutil, "copyfileobj")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(OSError, match="No space"):
                ask("CompleteMultipartUpload", Key="k", UploadId=upload, MultipartUpload=parts)
        with monkeypatch.context() as patch:
            patch.setattr(_durable, "write", full)
            with pytest.raises(OSError, match="No space"):
                ask("PutObject", b"bytes", Key="k")
        assert files(tmp_path / "buckets") == before
    ask("CompleteMultipartUpload", Key="k", UploadId=upload, MultipartUpload=parts)
    assert Path(ask("GetObject", Key="k")["Body"]).read_bytes() == b"bytes"


def test_what_a_killed_app_has_left_of_objects_goes_at_the_next_start(ask, tmp_path):
    """It stayed until its bucket was deleted."""
    upload = ask("CreateMultipartUpload", Key="k")["UploadId"]
    ask("PutObject", b"bytes", Key="k")
    bucket = tmp_path / "buckets/box"
    kept = files(bucket)
    left = [bucket / ".new-1", bucket / ".uploads" / upload / ".new-2"]
    for path in left:
        path.write_bytes(b"left")
        os.utime(path, (1, 1))
    (bucket / ".new-3").write_bytes(b"written by another process")
    os.utime(bucket / ".new-3", (2**33, 2**33))
    ask("HeadBucket")
    assert all(path.exists() for path in left), "only once"
    Buckets(tmp_path).answer("HeadBucket", {"Bucket": "box"}, PLACE)
    assert files(bucket) == sorted([*kept, ".new-3"])


def test_an_upload_is_of_its_key(ask):
    """It could be ended as another object, with the settings that were said of this one."""
    upload = ask("CreateMultipartUpload", Key="a", Metadata={"of": "a"})["UploadId"]
    etag = ask("UploadPart", b"bytes", Key="a", UploadId=upload, PartNumber=1)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    for action, more in (
        ("UploadPart", {"PartNumber": 2}),
        ("CompleteMultipartUpload", {"MultipartUpload": parts}),
        ("AbortMultipartUpload", {}),
    ):
        assert refused(ask, action, Key="b", UploadId=upload, **more) == (404, "NoSuchUpload"), action
    ask("CompleteMultipartUpload", Key="a", UploadId=upload, MultipartUpload=parts)
    assert ask("HeadObject", Key="a")["Metadata"] == {"of": "a"}


@pytest.mark.parametrize("action", ["UploadPart", "CompleteMultipartUpload"])
def test_who_is_late_for_an_upload_is_told_of_the_upload(ask, tmp_path, monkeypatch, action):
    """A part was told that there is no bucket, and the end of an upload was answered with 503."""
    upload = ask("CreateMultipartUpload", Key="k")["UploadId"]
    etag = ask("UploadPart", b"bytes", Key="k", UploadId=upload, PartNumber=1)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    is_of = little_s3._is_of

    def aborted(folder, key):
        assert is_of(folder, key)
        shutil.rmtree(tmp_path / "buckets/box/.uploads" / upload)
        return True

    monkeypatch.setattr(little_s3, "_is_of", aborted)
    given = {"PartNumber": 2} if action == "UploadPart" else {"MultipartUpload": parts}
    body = b"bytes" if action == "UploadPart" else None
    code = refused(ask, action, body, Key="k", UploadId=upload, **given)
    assert code in {(404, "NoSuchUpload"), (400, "InvalidPart")}
    assert (code[1] == "NoSuchUpload") or action == "CompleteMultipartUpload"


def test_the_parts_of_an_upload_that_another_client_ends_are_gone(ask, tmp_path, monkeypatch):
    """It was answered with 503: the upload was looked for, and its parts were not there."""
    upload = ask("CreateMultipartUpload", Key="k")["UploadId"]
    etag = ask("UploadPart", b"bytes", Key="k", UploadId=upload, PartNumber=1)["ETag"]
    copy = shutil.copyfileobj

    def ended(*given):
        copy(*given)
        shutil.rmtree(tmp_path / "buckets/box/.uploads" / upload)
        raise FileNotFoundError

    monkeypatch.setattr(shutil, "copyfileobj", ended)
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    told = refused(ask, "CompleteMultipartUpload", Key="k", UploadId=upload, MultipartUpload=parts)
    assert told == (404, "NoSuchUpload")


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ("ListObjectsV2", {"FetchOwner": True}),
        ("ListObjectsV2", {"OptionalObjectAttributes": ["RestoreStatus"]}),
        ("CreateBucket", {"Bucket": "other", "BucketNamespace": "account-regional"}),
    ],
)
def test_what_a_list_and_a_bucket_do_not_have_is_refused(ask, action, given):
    assert refused(ask, action, **given) == (501, "NotImplemented")
    assert ask("ListObjectsV2", FetchOwner=False)["KeyCount"] == 0
