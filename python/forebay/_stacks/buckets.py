"""The little S3 that `sam deploy` needs for code: a bucket is a directory of the store, an object a file in it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import threading
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from forebay import _durable
from forebay._durable import sync
from forebay._stacks import object_settings
from forebay._stacks.kind import Kind, Properties, Request, words
from forebay._stacks.wire_error import WireError
from forebay.errors import InvalidParameterValue, ResourceConflict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedReader

    from forebay._sam.plan import Resource, World
    from forebay._stacks.service import Place

FOLDER: Final = "buckets"
UPLOADS: Final = ".uploads"
ABOUT: Final = "about"
"""The file of what is said about the object of an upload."""
UPLOADS_MAX: Final = 100
PARTS_MAX: Final = 10_000
OBJECT_BYTES_MAX: Final = 256 * 1024 * 1024
BUCKETS_MAX: Final = 100
LISTED_MAX: Final = 1000
"""Objects of a page, and of one deletion."""
_NO_CONSTRAINT: Final = "us-east-1"
"""The region whose buckets have none."""
_NAME_MAX: Final = 63
_UPLOAD: Final = re.compile(r"[0-9a-f]{32}")
_OBJECT: Final = re.compile(r"[0-9a-f]{64}")
"""Names of the files of objects, as `_file_name` makes them. Beside each stand its key (`NAME.key`) and its settings."""
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""

Members = dict[str, Any]
_CHANGING: Final = threading.Lock()
"""Held while an object and its key come or go, so that neither stands alone. Who reads does not wait for it."""


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
            raise _no_key()
        return path

    def of_url(self, url: str) -> Path:
        """Give the object that a URL names, of this store: no address is ever fetched.

        Raises:
            WireError: it names none.

        """
        parts = urlsplit(url)
        host = (parts.hostname or "").split(".s3", 1)[0]
        path = unquote(parts.path).lstrip("/")
        if ".s3" in (parts.hostname or "") and self.has(host):
            return self.object(host, path)
        bucket, _, key = path.partition("/")
        if not self.has(bucket):
            raise WireError("ValidationError", "TemplateURL must be the address of an object in a bucket of this store")
        return self.object(bucket, key)

    def has(self, bucket: str) -> bool:
        """Tell whether there is a bucket."""
        return _NAME.fullmatch(bucket) is not None and (self._folder / bucket).is_dir()

    def _bucket(self, bucket: str) -> Path:
        if not self.has(bucket):
            raise _no_bucket()
        return self._folder / bucket

    # --- S3's operations

    def answer(self, action: str, given: Members, place: Place) -> Members:
        """Carry out an operation of S3, in the region and the account of the app.

        Raises:
            WireError: it is refused.

        """
        bucket, key = given["Bucket"], given.get("Key", "")
        object_settings.refuse(action, given, place.account)
        if action.endswith(("Bucket", "BucketLocation")):
            return self._of_bucket(action, bucket, given, place.region)
        if action == "ListObjectsV2":
            return _listed(self._bucket(bucket), given)
        if action in {"DeleteObject", "DeleteObjects"}:
            folder = self._bucket(bucket)
            return _delete_all(folder, given["Delete"]) if key == "" else _delete(folder, key, given.get("IfMatch"))
        if action in {"HeadObject", "GetObject"}:
            return self._get(action, bucket, key, given)
        if action == "PutObject":
            target = self._bucket(bucket) / _file_name(key)
            return {"ETag": self._put(target, given.get("Body"), (key, given, object_settings.kept(given)))}
        return self._multipart(action, self._bucket(bucket), key, given)

    def _of_bucket(self, action: str, name: str, given: Members, region: str) -> Members:
        if action == "CreateBucket":
            asked = given.get("CreateBucketConfiguration") or {}
            others = [wish for wish, value in asked.items() if wish != "LocationConstraint" and value is not None]
            if others:
                raise WireError("NotImplemented", f"{others[0]} is not served: a bucket has a name alone", 501)
            self._create(name, asked.get("LocationConstraint"), region)
            return {"Location": f"/{name}"}
        folder = self._bucket(name)
        if action == "GetBucketLocation":
            return {"LocationConstraint": "" if region == _NO_CONSTRAINT else region}
        if action == "DeleteBucket":
            with _CHANGING:  # an object that is put meanwhile would go with it
                if any(_OBJECT.fullmatch(path.name) for path in folder.iterdir()):
                    raise WireError("BucketNotEmpty", "The bucket you tried to delete is not empty", 409)
                shutil.rmtree(folder)
        return {}

    def _create(self, name: str, constraint: str | None, region: str) -> None:
        if not _NAME.fullmatch(name):
            raise WireError("InvalidBucketName", "The specified bucket is not valid.")
        if constraint not in {None, region}:
            text = f"The {constraint} location constraint is incompatible: this app is {region}."
            raise WireError("IllegalLocationConstraintException", text)
        if not self.has(name) and self._folder.is_dir() and len(list(self._folder.iterdir())) >= BUCKETS_MAX:
            raise WireError("TooManyBuckets", f"a store may have {BUCKETS_MAX} buckets: delete some")
        try:
            (self._folder / name).mkdir(mode=0o700, parents=True)
        except FileExistsError:
            text = "Your previous request to create the named bucket succeeded and you already own it."
            raise WireError("BucketAlreadyOwnedByYou", text, 409) from None
        sync(self._folder)

    def _get(self, action: str, bucket: str, key: str, given: Members) -> Members:
        if given.get("IfNoneMatch") is not None:
            raise WireError("NotImplemented", "IfNoneMatch is not served: ask for the whole object", 501)
        path = self.object(bucket, key)
        there = _there(path)
        if there is None:
            raise _no_key()
        _check_condition(there, {"IfMatch": given.get("IfMatch")})
        status = there.status
        told = {"ETag": there.etag, "LastModified": int(status.st_mtime * 1000), "AcceptRanges": "bytes"}
        told |= {"ContentType": "binary/octet-stream"} | there.about | object_settings.overridden(given)
        size = status.st_size
        # Who resumes a download of another object than this one is given the whole.
        resumed = {None, there.etag, formatdate(int(status.st_mtime), usegmt=True)}
        found = object_settings.range_of(given.get("Range"), size) if given.get("IfRange") in resumed else None
        start, length = found or (0, size)
        told["ContentLength"] = length
        if found is not None:
            told["ContentRange"] = f"bytes {start}-{start + length - 1}/{size}"
        if action == "HeadObject":
            return told
        part = {"inode": status.st_ino, "modified_ns": status.st_mtime_ns, "from": start, "length": length}
        return {**told, "Body": str(path.absolute()), "File": part}

    def _put(self, target: Path, body: str | None, of: tuple[str, Members, Members] | None = None) -> str:
        """Keep what was sent, `of` an object: with its key, on the request's conditions, with what is said about it.

        It is durable when this returns.
        """
        temporary = target.with_name(f".new-{secrets.token_hex(8)}")
        try:
            if body is None:
                temporary.write_bytes(b"")
            else:
                Path(body).rename(temporary)
            sync(temporary)
            etag = _etag(temporary)
            before = _there(target) if of is not None and _has_condition(of[1]) else None
            with _CHANGING:
                if of is not None:
                    key, conditions, about = of
                    # Of two clients that both want to make it, one does.
                    if _has_condition(conditions):
                        _check_condition(_there(target, before), conditions)
                    _durable.write(target.with_suffix(".key"), key.encode())
                    self._replace(temporary, target, etag, about)
                else:
                    temporary.rename(target)
            sync(target.parent)
        except WireError:
            temporary.unlink(missing_ok=True)
            raise
        except FileNotFoundError:
            if target.parent.is_dir():
                raise
            raise _no_bucket() from None
        return etag

    @staticmethod
    def _replace(temporary: Path, target: Path, etag: str, about: Members) -> None:
        """Have an object take its place: a process that is killed meanwhile leaves the settings of whichever is there then."""
        kept, file = target.with_suffix(".about"), object_settings.identity(temporary.stat())
        others = object_settings.versions(kept)
        _durable.write(kept, object_settings.packed(etag, about, others, file=file))
        temporary.rename(target)
        if others:
            sync(target.parent)
            _durable.write(kept, object_settings.packed(etag, about, file=file))

    def _multipart(self, action: str, bucket: Path, key: str, given: Members) -> Members:
        uploads = bucket / UPLOADS
        if action == "CreateMultipartUpload":
            uploads.mkdir(mode=0o700, exist_ok=True)
            if len(list(uploads.iterdir())) >= UPLOADS_MAX:
                raise WireError("SlowDown", f"{UPLOADS_MAX} uploads are under way: end or abort some", 503)
            upload = secrets.token_hex(16)
            about = object_settings.packed("", object_settings.kept(given))
            (uploads / upload).mkdir(mode=0o700)
            _durable.write(uploads / upload / ABOUT, about)
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
            target = bucket / _file_name(key)
            if _has_condition(given):
                _check_condition(_there(target), given)
            parts = _parts(folder, (given.get("MultipartUpload") or {}).get("Parts", []))
            if given.get("MpuObjectSize") not in {None, sum(part.stat().st_size for part in parts)}:
                raise WireError("InvalidRequest", "The parts have another size than x-amz-mp-object-size.")
            object_settings.check_sums(given, parts)
            told = object_settings.of_version(object_settings.versions(folder / ABOUT), "")
            etag = self._join(parts, target, (key, given, told))
            shutil.rmtree(folder, ignore_errors=True)
            return {"Bucket": bucket.name, "Key": key, "ETag": etag}
        shutil.rmtree(folder, ignore_errors=True)
        return {}

    def _join(self, parts: list[Path], target: Path, of: tuple[str, Members, Members]) -> str:
        if not parts:
            raise WireError("InvalidPart", "One or more of the specified parts could not be found.")
        if sum(part.stat().st_size for part in parts) > OBJECT_BYTES_MAX:
            raise WireError("EntityTooLarge", f"an object may have {OBJECT_BYTES_MAX:,} bytes")
        whole = target.with_name(f".new-{secrets.token_hex(8)}")
        with whole.open("wb") as writer:
            for part in parts:
                with part.open("rb") as reader:
                    shutil.copyfileobj(reader, writer)
        return self._put(target, str(whole), of)


def _no_key() -> WireError:
    return WireError("NoSuchKey", "The specified key does not exist.", 404)


def _no_bucket() -> WireError:
    return WireError("NoSuchBucket", "The specified bucket does not exist", 404)


def _delete(bucket: Path, key: str, wanted: str | None) -> Members:
    """Delete an object, if it is the one that the client knows."""
    target = bucket / _file_name(key)
    before = None if wanted is None else _there(target)
    with _CHANGING:
        if wanted is not None:
            _check_condition(_there(target, before), {"IfMatch": wanted})
        for path in (target, target.with_suffix(".key"), target.with_suffix(".about")):
            path.unlink(missing_ok=True)
    return {}


def _delete_all(bucket: Path, asked: Members) -> Members:
    objects = asked["Objects"]
    if not 1 <= len(objects) <= LISTED_MAX:
        raise WireError("MalformedXML", f"a request deletes 1 to {LISTED_MAX} objects")
    wished = [
        wish for wish in ("VersionId", "LastModifiedTime", "Size") for one in objects if one.get(wish) is not None
    ]
    if wished:
        raise WireError("NotImplemented", f"{wished[0]} is not served: name the ETag, or the key alone", 501)
    deleted, errors = [], []
    for one in objects:
        try:
            _delete(bucket, one["Key"], one.get("ETag"))
            deleted.append({"Key": one["Key"]})
        except WireError as error:
            errors.append({"Key": one["Key"], "Code": error.code, "Message": error.message})
    return {"Deleted": None if asked.get("Quiet") else deleted, "Errors": errors or None}


def _objects(bucket: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Give the objects of a bucket by their keys. Those of a release that kept no keys are not among them."""
    for path in bucket.iterdir():
        if _OBJECT.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another client deletes it
                yield path.with_suffix(".key").read_text(encoding="utf-8"), path.stat()


def _after(given: Members) -> str:
    """Give the name behind which a page begins."""
    token = given.get("ContinuationToken")
    try:
        return given.get("StartAfter") or "" if token is None else base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise WireError("InvalidArgument", "The continuation token provided is incorrect") from None


def _listed(bucket: Path, given: Members) -> Members:
    """Give a page of objects, and the beginnings that keys have in common up to a delimiter, in the order of their bytes."""
    prefix, delimiter = given.get("Prefix") or "", given.get("Delimiter") or ""
    most = min(int(given.get("MaxKeys", LISTED_MAX)), LISTED_MAX)
    after = _after(given).encode()
    found: dict[str, os.stat_result | None] = {}
    for key, status in _objects(bucket):
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        name = key if end < 0 else key[: end + len(delimiter)]
        if key.startswith(prefix) and name.encode() > after:
            found[name] = status if end < 0 else None
    names = sorted(found, key=str.encode)
    page = names[:most] if most > 0 else []
    is_truncated = len(names) > len(page) > 0

    def write(text: str) -> str:
        return quote(text) if given.get("EncodingType") == "url" else text

    def entry(name: str, known: os.stat_result) -> Members:
        modified = int(known.st_mtime * 1000)
        return {"Key": write(name), "Size": known.st_size, "LastModified": modified, "StorageClass": "STANDARD"}

    return {
        "Name": bucket.name,
        "Prefix": write(prefix),
        "Delimiter": write(delimiter) if delimiter else None,
        "MaxKeys": most,
        "KeyCount": len(page),
        "IsTruncated": is_truncated,
        "NextContinuationToken": base64.urlsafe_b64encode(page[-1].encode()).decode() if is_truncated else None,
        "ContinuationToken": given.get("ContinuationToken"),
        "StartAfter": write(given["StartAfter"]) if given.get("StartAfter") else None,
        "EncodingType": given.get("EncodingType"),
        "Contents": [entry(name, known) for name in page if (known := found[name]) is not None],
        "CommonPrefixes": [{"Prefix": write(name)} for name in page if found[name] is None],
    }


class _Object(NamedTuple):
    """An object as it was at one time."""

    status: os.stat_result
    etag: str
    about: Members


def _there(path: Path, before: _Object | None = None) -> _Object | None:
    """Give the object that is there, with what is said of it, without waiting for who overwrites it.

    Its bytes are read only where its ETag is not kept. Those of the object `before` are known: nobody reads them under the lock.
    """
    try:
        while True:  # once more for each writer that was quicker
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if before is not None and object_settings.identity(before.status) == object_settings.identity(status):
                    return before
                versions = object_settings.versions(path.with_suffix(".about"))
                if (known := object_settings.of_file(versions, status)) is not None:
                    return _Object(status, *known)
                # What was read of an object is there until another one has its name.
                if os.path.samestat(status, path.stat()):
                    etag = _etag_of(file)
                    return _Object(status, etag, object_settings.of_version(versions, etag))
    except FileNotFoundError:
        return None


def _has_condition(given: Members) -> bool:
    return given.get("IfMatch") is not None or given.get("IfNoneMatch") is not None


def _check_condition(there: _Object | None, given: Members) -> None:
    """Refuse what the client does not want of the object that is there."""
    if given.get("IfNoneMatch") not in {None, "*"}:
        raise WireError("NotImplemented", "If-None-Match is '*' where an object is written", 501)
    wanted = given.get("IfMatch")
    if wanted is not None and there is None:
        raise _no_key()
    is_other = wanted not in {None, "*"} and there is not None and wanted.strip('"') != there.etag.strip('"')
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
        object_settings.check_sums(one, [part])
    return parts


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _etag(path: Path) -> str:
    with path.open("rb") as file:
        return _etag_of(file)


def _etag_of(file: BufferedReader) -> str:
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
