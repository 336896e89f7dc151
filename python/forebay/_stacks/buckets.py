"""The little S3 that `sam deploy` needs for code: a bucket is a directory of the store, an object a file in it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from forebay import _durable
from forebay._durable import sync
from forebay._stacks import object_list, object_settings
from forebay._stacks.kind import Kind, Properties, Request, words
from forebay._stacks.wire_error import WireError
from forebay.errors import InvalidParameterValue, ResourceConflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from io import BufferedReader

    from forebay._sam.plan import Resource, World
    from forebay._stacks.service import Place

FOLDER: Final = "buckets"
UPLOADS: Final = ".uploads"
ABOUT: Final = "about"
"""The file of what is said about the object of an upload."""
KEY: Final = "key"
"""The file of the key of an upload."""
UPLOADS_MAX: Final = 100
PARTS_MAX: Final = 10_000
OBJECT_BYTES_MAX: Final = 256 * 1024 * 1024
PART_BYTES_MIN: Final = 5 * 1024 * 1024
"""Of a part that is not the last.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""
KEY_BYTES_MAX: Final = 1024
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""
BUCKETS_MAX: Final = 100
_NO_CONSTRAINT: Final = "us-east-1"
"""The region whose buckets have none."""
_NAME_MAX: Final = 63
_UPLOAD: Final = re.compile(r"[0-9a-f]{32}")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""

Members = dict[str, Any]
_CHANGING: Final = threading.Lock()
"""Held while an object and its key come or go, so that neither stands alone. Who reads does not wait for it."""


class Buckets:
    """The buckets of a store."""

    def __init__(self, store: Path) -> None:
        self._folder = store / FOLDER
        self._since = time.time()
        self._is_swept = False

    def carry_out(self, request: Request) -> dict[str, Any]:
        """Make or remove a bucket: `bucket.declare`, `bucket.delete`.

        Raises:
            ResourceConflict: it has objects.

        """
        folder = self._folder / request.fields["name"]
        if request.verb == "bucket.declare":
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sync_folders()
            return {}
        with _CHANGING:
            if folder.is_dir() and any(object_list.OBJECT.fullmatch(path.name) for path in folder.iterdir()):
                raise ResourceConflict(
                    "The bucket you tried to delete is not empty: delete its objects, or the directory "
                    f"{folder.absolute()}"
                )
            shutil.rmtree(folder, ignore_errors=True)
        if self._folder.is_dir():
            sync(self._folder)
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

    def _sync_folders(self) -> None:
        """Have the names of buckets survive a power cut, and the directory that has them."""
        sync(self._folder)
        sync(self._folder.parent)

    def _sweep(self) -> None:
        """Remove, once, what an app that was killed has left of objects. What is younger may be another process's."""
        if self._is_swept:
            return
        with _CHANGING:
            for pattern in () if self._is_swept else ("*/.new-*", f"*/{UPLOADS}/*/.new-*"):
                for path in self._folder.glob(pattern):
                    with contextlib.suppress(FileNotFoundError):
                        if path.stat().st_mtime < self._since:
                            path.unlink()
            self._is_swept = True

    # --- S3's operations

    def answer(self, action: str, given: Members, place: Place, origin: str = "") -> Members:
        """Carry out an operation of S3, in the region and the account of the app; `origin` is how the client names the door.

        Raises:
            WireError: it is refused.

        """
        bucket, key = given["Bucket"], given.get("Key", "")
        object_settings.refuse(action, given, place.account)
        self._sweep()
        if action.endswith(("Bucket", "BucketLocation")):
            return self._of_bucket(action, bucket, given, place.region)
        if action == "ListObjectsV2":
            return object_list.page(self._bucket(bucket), given)
        if action in {"DeleteObject", "DeleteObjects"}:
            folder = self._bucket(bucket)
            return _delete_all(folder, given["Delete"]) if key == "" else _delete(folder, key, given.get("IfMatch"))
        if action in {"HeadObject", "GetObject"}:
            return self._get(action, bucket, key, given)
        if action == "PutObject":
            _check_key(key)
            target = self._bucket(bucket) / _file_name(key)
            etag = self._put(target, given.get("Body"), object_settings.kept(given), (key, given))
            return {"ETag": etag, **object_settings.sums_of(given)}
        folder = self._bucket(bucket)
        try:
            return self._multipart(action, folder, key, given, origin)
        except FileNotFoundError:  # another client ends the upload meanwhile
            if (folder / UPLOADS / str(given.get("UploadId"))).is_dir():
                raise
            raise _no_upload() from None

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
                if any(object_list.OBJECT.fullmatch(path.name) for path in folder.iterdir()):
                    raise WireError("BucketNotEmpty", "The bucket you tried to delete is not empty", 409)
                shutil.rmtree(folder)
            sync(self._folder)
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
        self._sync_folders()

    def _get(self, action: str, bucket: str, key: str, given: Members) -> Members:
        if given.get("IfNoneMatch") is not None:
            raise WireError("NotImplemented", f"IfNoneMatch is not served: {object_settings.ONE_CONDITION}", 501)
        path = self.object(bucket, key)
        there = _there(path)
        if there is None:
            raise _no_key()
        _check_condition(there, {"IfMatch": given.get("IfMatch")})
        status = there.status
        told = {"ETag": there.etag, "LastModified": int(status.st_mtime * 1000), "AcceptRanges": "bytes"}
        about = dict(there.about)
        sums = about.pop(object_settings.SUMS, {})
        told |= {"ContentType": "binary/octet-stream"} | about | object_settings.overridden(given)
        size = status.st_size
        # Who resumes a download of another object than this one is given the whole.
        resumed = {None, there.etag, formatdate(int(status.st_mtime), usegmt=True)}
        found = object_settings.range_of(given.get("Range"), size) if given.get("IfRange") in resumed else None
        start, length = found or (0, size)
        told["ContentLength"] = length
        if found is not None:
            told["ContentRange"] = f"bytes {start}-{start + length - 1}/{size}"
        elif given.get("ChecksumMode") == "ENABLED":
            told |= sums
        if action == "HeadObject":
            return told
        part = {"inode": status.st_ino, "modified_ns": status.st_mtime_ns, "from": start, "length": length}
        return {**told, "Body": str(path.absolute()), "File": part}

    def _put(
        self,
        target: Path,
        body: str | None,
        about: Members,
        of: tuple[str, Members] | None = None,
        *,
        etag: str | None = None,
    ) -> str:
        """Keep what was sent with what is said about it, `of` an object: with its key, on the request's conditions.

        Without an `etag` it has that of its bytes. It is durable when this returns.
        """
        temporary = target.with_name(f".new-{secrets.token_hex(8)}")
        try:
            if body is None:
                temporary.write_bytes(b"")
            else:
                Path(body).rename(temporary)
            sync(temporary)
            md5 = _etag(temporary)
            etag = md5 if etag is None else etag
            file = object_settings.identity(temporary.stat())
            version = object_settings.version(etag, about, md5=md5, file=file)
            before = _there(target) if of is not None and _has_condition(of[1]) else None
            with _CHANGING:
                if not temporary.exists():  # its directory was deleted, which must not come back
                    raise _gone(target)
                if of is not None:
                    key, conditions = of
                    # Of two clients that both want to make it, one does.
                    if _has_condition(conditions):
                        _check_condition(_there(target, before), conditions)
                    _durable.write(target.with_suffix(".key"), key.encode())
                self._replace(temporary, target, version)
            sync(target.parent)
        except FileNotFoundError:
            if target.parent.is_dir():
                raise
            raise _gone(target) from None
        finally:  # a full disk leaves nothing behind that only makes it fuller
            temporary.unlink(missing_ok=True)
        return etag

    @staticmethod
    def _replace(temporary: Path, target: Path, version: Members) -> None:
        """Have an object take its place: a process that is killed meanwhile leaves the settings of whichever is there then."""
        kept = target.with_suffix(".about")
        others = object_settings.versions(kept)
        _durable.write(kept, object_settings.packed(version, *others))
        temporary.rename(target)
        if others:
            sync(target.parent)
            _durable.write(kept, object_settings.packed(version))

    def _multipart(self, action: str, bucket: Path, key: str, given: Members, origin: str) -> Members:
        uploads = bucket / UPLOADS
        if action == "CreateMultipartUpload":
            _check_key(key)
            uploads.mkdir(mode=0o700, exist_ok=True)
            if len(list(uploads.iterdir())) >= UPLOADS_MAX:
                raise WireError("SlowDown", f"{UPLOADS_MAX} uploads are under way: end or abort some", 503)
            upload = secrets.token_hex(16)
            wish = object_settings.sums_wished(given)
            about = object_settings.version("", object_settings.kept(given) | wish)
            with _CHANGING:  # a bucket that is deleted meanwhile must not come back
                (uploads / upload).mkdir(mode=0o700)
                _durable.write(uploads / upload / KEY, key.encode())
                _durable.write(uploads / upload / ABOUT, object_settings.packed(about))
                sync(uploads)
                sync(bucket)
            return {"Bucket": bucket.name, "Key": key, "UploadId": upload, **wish}
        if action == "CompleteMultipartUpload":
            return self._complete(bucket, key, given, origin)
        folder = _upload(bucket, key, given)
        if action == "UploadPart":
            number = int(given["PartNumber"])
            if not 1 <= number <= PARTS_MAX:
                raise WireError(
                    "InvalidArgument", f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive"
                )
            sums = object_settings.sums_of(given)
            etag = self._put(folder / str(number), given.get("Body"), {object_settings.SUMS: sums})
            return {"ETag": etag, **sums}
        with _CHANGING:  # a part that is being kept must not make it again
            shutil.rmtree(folder, ignore_errors=True)
        sync(uploads)
        return {}

    def _complete(self, bucket: Path, key: str, given: Members, origin: str) -> Members:
        folder, target = _upload(bucket, key, given), bucket / _file_name(key)
        if _has_condition(given):
            _check_condition(_there(target), given)
        parts = _parts(folder, (given.get("MultipartUpload") or {}).get("Parts", []))
        _check_sizes([part.status.st_size for _, part in parts], given)
        files = [path for path, _ in parts]
        object_settings.check_sums(given, files)
        told = object_settings.of_bytes(object_settings.versions(folder / ABOUT), "")[1]
        sums = object_settings.sums_of_upload(told, given, files)
        about = object_settings.kept(told) | {object_settings.SUMS: sums}
        whole, etag = _joined(files, target), _etag_of_parts([part.etag for _, part in parts])
        self._put(target, str(whole), about, (key, given), etag=etag)
        with _CHANGING:
            shutil.rmtree(folder, ignore_errors=True)
        place = f"{origin}/{bucket.name}/{quote(key)}"
        return {"Bucket": bucket.name, "Key": key, "ETag": etag, "Location": place, **sums}


def _check_key(key: str) -> None:
    """Refuse a key for a new object: those that there are may be longer, and are read and deleted."""
    if len(key.encode()) > KEY_BYTES_MAX:
        raise WireError("KeyTooLongError", "Your key is too long")


def _upload(bucket: Path, key: str, given: Members) -> Path:
    name = str(given.get("UploadId", ""))
    folder = bucket / UPLOADS / name
    if not _UPLOAD.fullmatch(name) or not folder.is_dir() or not _is_of(folder, key):
        raise _no_upload()
    return folder


def _check_sizes(sizes: list[int], given: Members) -> None:
    if not sizes:
        raise WireError("InvalidPart", "One or more of the specified parts could not be found.")
    if min(sizes[:-1], default=PART_BYTES_MIN) < PART_BYTES_MIN:
        raise WireError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    if sum(sizes) > OBJECT_BYTES_MAX:
        raise WireError("EntityTooLarge", f"an object may have {OBJECT_BYTES_MAX:,} bytes")
    if given.get("MpuObjectSize") not in {None, sum(sizes)}:
        raise WireError("InvalidRequest", "The parts have another size than x-amz-mp-object-size.")


def _joined(parts: list[Path], target: Path) -> Path:
    whole = target.with_name(f".new-{secrets.token_hex(8)}")
    try:
        with whole.open("wb") as writer:
            for part in parts:
                with part.open("rb") as reader:
                    shutil.copyfileobj(reader, writer)
    except BaseException:
        whole.unlink(missing_ok=True)
        raise
    return whole


def _no_key() -> WireError:
    return WireError("NoSuchKey", "The specified key does not exist.", 404)


def _no_bucket() -> WireError:
    return WireError("NoSuchBucket", "The specified bucket does not exist", 404)


def _no_upload() -> WireError:
    return WireError("NoSuchUpload", "The specified upload does not exist.", 404)


def _gone(target: Path) -> WireError:
    """Give what is said where the directory of an object, or of a part, has been deleted."""
    return _no_upload() if target.parent.parent.name == UPLOADS else _no_bucket()


def _is_of(upload: Path, key: str) -> bool:
    """Tell whether an upload is of a key. One that an earlier release has begun does not say it."""
    kept = upload / KEY
    return not kept.exists() or kept.read_bytes() == key.encode()


def _delete(bucket: Path, key: str, wanted: str | None) -> Members:
    """Delete an object, if it is the one that the client knows."""
    for error in _deleted(bucket, [(key, wanted)]):
        if error is not None:
            raise error
    return {}


def _deleted(bucket: Path, asked: Iterable[tuple[str, str | None]]) -> list[WireError | None]:
    """Delete objects, each if it is the one that the client knows; say of each why it is not. It is durable when this returns."""
    known = [(bucket / _file_name(key), wanted) for key, wanted in asked]
    before = [None if wanted is None else _there(target) for target, wanted in known]
    errors: list[WireError | None] = []
    with _CHANGING:
        if not bucket.is_dir():
            raise _no_bucket()
        for (target, wanted), seen in zip(known, before, strict=True):
            try:
                if wanted is not None:
                    _check_condition(_there(target, seen), {"IfMatch": wanted})
                target.unlink(missing_ok=True)
                errors.append(None)
            except WireError as refused:
                errors.append(refused)
        sync(bucket)
        # Without its key an object could be read, and would be in no list: it goes first.
        gone = [target for (target, _), error in zip(known, errors, strict=True) if error is None]
        for path in gone:
            path.with_suffix(".key").unlink(missing_ok=True)
            path.with_suffix(".about").unlink(missing_ok=True)
    return errors


def _delete_all(bucket: Path, asked: Members) -> Members:
    objects = asked["Objects"]
    if not 1 <= len(objects) <= object_list.LISTED_MAX:
        raise WireError("MalformedXML", f"a request deletes 1 to {object_list.LISTED_MAX} objects")
    wished = [
        wish for wish in ("VersionId", "LastModifiedTime", "Size") for one in objects if one.get(wish) is not None
    ]
    if wished:
        raise WireError("NotImplemented", f"{wished[0]} is not served: name the ETag, or the key alone", 501)
    ends = zip(objects, _deleted(bucket, ((one["Key"], one.get("ETag")) for one in objects)), strict=True)
    deleted, errors = [], []
    for one, error in ends:
        if error is None:
            deleted.append({"Key": one["Key"]})
        else:
            errors.append({"Key": one["Key"], "Code": error.code, "Message": error.message})
    return {"Deleted": None if asked.get("Quiet") else deleted, "Errors": errors or None}


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
                    return _Object(status, *object_settings.of_bytes(versions, _etag_of(file)))
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


def _parts(folder: Path, named: list[Members]) -> list[tuple[Path, _Object]]:
    """Give an upload's parts, in order, as the client knows them."""
    numbers = [int(part.get("PartNumber", 0)) for part in named]
    if numbers != sorted(set(numbers)):
        text = "The list of parts was not in ascending order. The parts list must be specified in order by part number."
        raise WireError("InvalidPartOrder", text)
    parts = []
    for number, one in zip(numbers, named, strict=True):
        path, tag = folder / str(number), one.get("ETag")
        there = _there(path)
        if there is None or (tag is not None and tag.strip('"') != there.etag.strip('"')):
            raise WireError("InvalidPart", "One or more of the specified parts could not be found.")
        object_settings.check_sums(one, [path], there.about.get(object_settings.SUMS, {}))
        parts.append((path, there))
    return parts


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _etag(path: Path) -> str:
    with path.open("rb") as file:
        return _etag_of(file)


def _etag_of_parts(etags: list[str]) -> str:
    """Give the ETag of what came in parts, as S3 has it: clients look for its end."""
    each = b"".join(bytes.fromhex(one.strip('"')) for one in etags)
    return f'"{hashlib.md5(each, usedforsecurity=False).hexdigest()}-{len(etags)}"'


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
