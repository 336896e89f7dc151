"""The little S3 that `sam deploy` needs for code: a bucket is a directory of the store, an object a file in it."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from forebay._durable import sync
from forebay._stacks.kind import Kind, Properties, Request, words
from forebay._stacks.wire_error import WireError
from forebay.errors import InvalidParameterValue, ResourceConflict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay._sam.plan import Resource, World

FOLDER: Final = "buckets"
UPLOADS: Final = ".uploads"
UPLOADS_MAX: Final = 100
PARTS_MAX: Final = 10_000
OBJECT_BYTES_MAX: Final = 256 * 1024 * 1024
_NAME_MAX: Final = 63
_UPLOAD: Final = re.compile(r"[0-9a-f]{32}")
_OBJECT: Final = re.compile(r"[0-9a-f]{64}")
"""Names of the files of objects, as `_file_name` makes them."""
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""

Members = dict[str, Any]
_REFUSED: Final = {
    "IfModifiedSince": "ask for the whole object",
    "IfUnmodifiedSince": "ask for the whole object",
    "Range": "ask for the whole object",
    "SSECustomerKey": "the store is not encrypted",
    "VersionId": "an object has one version",
}
"""Members that would change what is done, and what to do without them."""


class Buckets:
    """The buckets of a store."""

    def __init__(self, store: Path) -> None:
        self._folder = store / FOLDER

    def carry_out(self, request: Request) -> dict[str, Any]:
        """Make or remove a bucket: `bucket.declare`, `bucket.delete`.

        Raises:
            ResourceConflict: it has objects.

        """
        folder = self._folder / request.fields["name"]
        if request.verb == "bucket.declare":
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return {}
        if folder.is_dir() and any(_OBJECT.fullmatch(path.name) for path in folder.iterdir()):
            raise ResourceConflict(
                f"The bucket you tried to delete is not empty: delete its objects, or the directory {folder.absolute()}"
            )
        shutil.rmtree(folder, ignore_errors=True)
        return {}

    def object(self, bucket: str, key: str) -> Path:
        """Give the file of an object.

        Raises:
            WireError: there is no such bucket or no such object.

        """
        path = self._bucket(bucket) / _file_name(key)
        if not path.is_file():
            raise WireError("NoSuchKey", "The specified key does not exist.", 404)
        return path

    def of_url(self, url: str) -> Path:
        """Give the object that a URL names, of this store: no address is ever fetched.

        Raises:
            WireError: it names none.

        """
        parts = urlsplit(url)
        host = (parts.hostname or "").split(".s3", 1)[0]
        path = unquote(parts.path).lstrip("/")
        if ".s3" in (parts.hostname or "") and self._has(host):
            return self.object(host, path)
        bucket, _, key = path.partition("/")
        if not self._has(bucket):
            raise WireError("ValidationError", "TemplateURL must be the address of an object in a bucket of this store")
        return self.object(bucket, key)

    def _has(self, bucket: str) -> bool:
        return _NAME.fullmatch(bucket) is not None and (self._folder / bucket).is_dir()

    def _bucket(self, bucket: str) -> Path:
        if not self._has(bucket):
            raise WireError("NoSuchBucket", "The specified bucket does not exist", 404)
        return self._folder / bucket

    # --- S3's operations

    def answer(self, action: str, given: Members) -> Members:
        """Carry out an operation of S3.

        Raises:
            WireError: it is refused.

        """
        bucket, key = given["Bucket"], given.get("Key", "")
        wished = [name for name in _REFUSED if given.get(name) is not None]
        if wished:
            raise WireError("NotImplemented", f"{wished[0]} is not served: {_REFUSED[wished[0]]}", 501)
        if action == "HeadBucket":
            self._bucket(bucket)
            return {}
        if action == "DeleteObject":
            (self._bucket(bucket) / _file_name(key)).unlink(missing_ok=True)
            return {}
        if action in {"HeadObject", "GetObject"}:
            return self._get(action, bucket, key, given)
        if action == "PutObject":
            target = self._bucket(bucket) / _file_name(key)
            _check_condition(target, given)
            return {"ETag": self._put(target, given.get("Body"))}
        return self._multipart(action, self._bucket(bucket), key, given)

    def _get(self, action: str, bucket: str, key: str, given: Members) -> Members:
        path = self.object(bucket, key)
        if any(given.get(name) is not None for name in ("IfMatch", "IfNoneMatch")):
            raise WireError("NotImplemented", "conditions of reads are not served: ask for the whole object", 501)
        status = path.stat()
        told = {"ContentLength": status.st_size, "ETag": _etag(path), "LastModified": int(status.st_mtime * 1000)}
        return told if action == "HeadObject" else {**told, "Body": str(path.absolute())}

    def _put(self, target: Path, body: str | None) -> str:
        """Keep what was sent; it is durable when this returns."""
        temporary = target.with_name(f".new-{secrets.token_hex(8)}")
        if body is None:
            temporary.write_bytes(b"")
        else:
            Path(body).rename(temporary)
        sync(temporary)
        temporary.rename(target)
        sync(target.parent)
        return _etag(target)

    def _multipart(self, action: str, bucket: Path, key: str, given: Members) -> Members:
        uploads = bucket / UPLOADS
        if action == "CreateMultipartUpload":
            uploads.mkdir(mode=0o700, exist_ok=True)
            if len(list(uploads.iterdir())) >= UPLOADS_MAX:
                raise WireError("SlowDown", f"{UPLOADS_MAX} uploads are under way: end or abort some", 503)
            upload = secrets.token_hex(16)
            (uploads / upload).mkdir(mode=0o700)
            return {"Bucket": bucket.name, "Key": key, "UploadId": upload}
        upload = str(given.get("UploadId", ""))
        folder = uploads / upload
        if not _UPLOAD.fullmatch(upload) or not folder.is_dir():
            raise WireError("NoSuchUpload", "The specified upload does not exist.", 404)
        if action == "UploadPart":
            number = int(given["PartNumber"])
            if not 1 <= number <= PARTS_MAX:
                raise WireError(
                    "InvalidArgument", f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive"
                )
            return {"ETag": self._put(folder / str(number), given.get("Body"))}
        if action == "CompleteMultipartUpload":
            _check_condition(bucket / _file_name(key), given)
            parts = _parts(folder, (given.get("MultipartUpload") or {}).get("Parts", []))
            etag = self._join(parts, bucket / _file_name(key))
            shutil.rmtree(folder, ignore_errors=True)
            return {"Bucket": bucket.name, "Key": key, "ETag": etag}
        shutil.rmtree(folder, ignore_errors=True)
        return {}

    def _join(self, parts: list[Path], target: Path) -> str:
        if not parts:
            raise WireError("InvalidPart", "One or more of the specified parts could not be found.")
        if sum(part.stat().st_size for part in parts) > OBJECT_BYTES_MAX:
            raise WireError("EntityTooLarge", f"an object may have {OBJECT_BYTES_MAX:,} bytes")
        whole = target.with_name(f".new-{secrets.token_hex(8)}")
        with whole.open("wb") as writer:
            for part in parts:
                with part.open("rb") as reader:
                    shutil.copyfileobj(reader, writer)
        return self._put(target, str(whole))


def _check_condition(target: Path, given: Members) -> None:
    """Refuse to write where the client's condition does not hold."""
    there = _etag(target) if target.is_file() else None
    if given.get("IfNoneMatch") is not None and given["IfNoneMatch"] != "*":
        raise WireError("NotImplemented", "If-None-Match is '*' where an object is written", 501)
    wanted = given.get("IfMatch")
    if wanted is not None and there is None:
        raise WireError("NoSuchKey", "The specified key does not exist.", 404)
    is_other = wanted is not None and there is not None and wanted.strip('"') != there.strip('"')
    if is_other or (given.get("IfNoneMatch") and there is not None):
        raise WireError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)


def _parts(folder: Path, named: list[Members]) -> list[Path]:
    """Give the files of an upload's parts, in order, as the client knows them."""
    numbers = [int(part.get("PartNumber", 0)) for part in named]
    if numbers != sorted(set(numbers)):
        text = "The list of parts was not in ascending order. The parts list must be specified in order by part number."
        raise WireError("InvalidPartOrder", text)
    parts = [folder / str(number) for number in numbers]
    for part, one in zip(parts, named, strict=True):
        tag = one.get("ETag")
        if not part.is_file() or (tag is not None and tag.strip('"') != _etag(part).strip('"')):
            raise WireError("InvalidPart", "One or more of the specified parts could not be found.")
    return parts


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _etag(path: Path) -> str:
    with path.open("rb") as file:
        return f'"{hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()}"'


# --- the types that the stack of `sam` for its bucket has


def _bucket_name(stack: str, logical: str, properties: Properties, world: World) -> str:
    if "BucketName" in properties:
        return str(properties["BucketName"])  # checked by `_bucket_given`
    end = f"-{world.suffix().lower()}"
    return f"{stack}-{logical}".lower()[: _NAME_MAX - len(end)].rstrip("-") + end


def _bucket_given(name: str, _properties: Properties, _world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    if not _NAME.fullmatch(name):
        text = f"BucketName: {name[:100]!r}: a bucket's name has 3 to {_NAME_MAX} small letters, digits, '.' and '-'"
        raise InvalidParameterValue(text)
    return {"Ref": name, "Arn": f"arn:aws:s3:::{name}"}


BUCKET: Final = Kind(
    type="AWS::S3::Bucket",
    becomes="a directory of the store",
    honoured=words("BucketName"),
    inert={"Tags": "", "VersioningConfiguration": "", "BucketEncryption": "", "PublicAccessBlockConfiguration": ""},
    fixed=words("BucketName"),
    naming=_bucket_name,
    given=_bucket_given,
    put=lambda resource, _before, _world: [Request("bucket.declare", {"name": resource.physical})],
    gone=lambda resource: [Request("bucket.delete", {"name": resource.physical})],
)
POLICY: Final = Kind(
    type="AWS::S3::BucketPolicy",
    becomes="no effect here",
    honoured=words("Bucket PolicyDocument"),
    fixed=words("Bucket"),
    naming=lambda _stack, _logical, properties, _world: f"{properties.get('Bucket')}-policy",
)
KINDS: Final = (BUCKET, POLICY)
