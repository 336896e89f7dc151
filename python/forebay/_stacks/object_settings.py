"""What a client of the little S3 says of an object beside its bytes: kept, compared with the bytes, or refused."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, Final

from forebay._stacks.wire_error import WireError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

Members = dict[str, Any]
METADATA_BYTES_MAX: Final = 2048
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_DIGITS_MAX: Final = 32
"""What has more digits is beyond the end of any object, as 2^63-1 is, which Java's SDK sends for "to the end"."""
KEPT: Final = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "Metadata",
)
SUMS: Final = "Checksums"
"""The name by which the checksums of an object are kept, which only who asks for them is told."""
_WISHES: Final = ("ChecksumAlgorithm", "ChecksumType")
_NO_SUMS: Final = {*_WISHES, "ChecksumMode"}
_WHOLE: Final = "ask for the whole object"
ONE_CONDITION: Final = "a read takes no condition but If-Match; leave it out"
_OWNER: Final = "the store's owner alone reads a bucket"
_PLAIN: Final = "the store is not encrypted"
_LOCK: Final = "objects are not locked"
_REFUSED: Final = {
    "BucketKeyEnabled": _PLAIN,
    "BucketNamespace": "a bucket has a name alone",
    "FetchOwner": "a list names no owner",
    "GrantFullControl": _OWNER,
    "GrantRead": _OWNER,
    "GrantReadACP": _OWNER,
    "GrantWrite": _OWNER,
    "GrantWriteACP": _OWNER,
    "IfMatchInitiatedTime": "name the upload alone",
    "IfMatchLastModifiedTime": "name the ETag",
    "IfMatchSize": "name the ETag",
    "IfModifiedSince": ONE_CONDITION,
    "IfUnmodifiedSince": ONE_CONDITION,
    "MFA": "an object has one version",
    "ObjectLockEnabledForBucket": _LOCK,
    "ObjectLockEventHold": _LOCK,
    "ObjectLockEventHoldDurationDays": _LOCK,
    "ObjectLockEventHoldDurationYears": _LOCK,
    "ObjectLockLegalHoldStatus": _LOCK,
    "ObjectLockMode": _LOCK,
    "ObjectLockRetainUntilDate": _LOCK,
    "OptionalObjectAttributes": "a list has no further attributes",
    "SSECustomerAlgorithm": _PLAIN,
    "SSECustomerKey": _PLAIN,
    "SSEKMSEncryptionContext": _PLAIN,
    "SSEKMSKeyId": _PLAIN,
    "Tagging": "objects have no tags",
    "VersionId": "an object has one version",
    "WebsiteRedirectLocation": "no website is served",
    "WriteOffsetBytes": "an object is written whole",
}
"""Members that would change what is done, and what to say of them."""
_ALONE: Final = {
    # A bucket's owner has full control of it whatever is said, and AES256 is what every object on AWS has.
    "ACL": ({"private", "bucket-owner-full-control"}, _OWNER),
    "ObjectOwnership": ({"BucketOwnerEnforced"}, _OWNER),
    "ServerSideEncryption": ({"AES256"}, _PLAIN),
    "StorageClass": ({"STANDARD"}, "there is STANDARD alone"),
}
"""Members of which only some values change nothing."""
_COMPUTED: Final = ("CRC32", "MD5", "SHA1", "SHA256", "SHA512")
"""The kinds of checksums that are computed of parts."""


def refuse(action: str, given: Members, account: str) -> None:
    """Refuse what would be done otherwise on AWS.

    Raises:
        WireError: there is such a member.

    """
    for name, value in given.items():
        allowed, why = _ALONE.get(name, ((), _REFUSED.get(name)))
        # A size of 0 is a wish, though it equals False.
        is_said = value is not None and value is not False
        if why is not None and is_said and value not in allowed:
            raise WireError("NotImplemented", f"{name} is not served: {why}", 501)
    if action in {"GetObject", "HeadObject"} and given.get("PartNumber") is not None:
        raise WireError("NotImplemented", f"PartNumber is not served: {_WHOLE}", 501)
    if given.get("ExpectedBucketOwner") not in {None, account}:
        raise WireError("AccessDenied", f"the bucket's owner is {account}", 403)


def kept(given: Members) -> Members:
    """Give what is kept of an object.

    Raises:
        WireError: it is too long.

    """
    told = {name: given[name] for name in KEPT if given.get(name) is not None}
    metadata = told.get("Metadata") or {}
    if sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items()) > METADATA_BYTES_MAX:
        raise WireError("MetadataTooLarge", f"an object's metadata have {METADATA_BYTES_MAX} bytes at most")
    # How the body was sent says nothing of the object.
    encodings = [one.strip() for one in told.pop("ContentEncoding", "").split(",")]
    encodings = [one for one in encodings if one not in {"", "aws-chunked"}]
    sums = sums_of(given)
    return {
        **told,
        **({"ContentEncoding": ",".join(encodings)} if encodings else {}),
        **({SUMS: sums} if sums else {}),
    }


def version(etag: str, told: Members, *, md5: str | None = None, file: list[int] | None = None) -> Members:
    """Give what is kept of an object: what is told of it, its ETag, its file, and its MD5 where its ETag is another."""
    return {"ETag": etag, "File": file, **({} if md5 in {None, etag} else {"MD5": md5}), **told}


def packed(*versions: Members) -> bytes:
    """Write what is kept of an object, and of those whose place it takes."""
    return json.dumps(versions).encode()


def identity(status: os.stat_result) -> list[int]:
    """Give what tells a file from all that take its place: its bytes need not be read to know it again."""
    return [status.st_ino, status.st_mtime_ns, status.st_size]


def versions(path: Path) -> list[Members]:
    """Read what is kept of the object that is there and, while one takes its place or after that was cut short, of that one.

    What was written in another form, or is damaged, is nothing: the object can be read and overwritten still.
    """
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return []
    entries = found if isinstance(found, list) else []
    return [one for one in entries if isinstance(one, dict) and isinstance(one.get("ETag"), str)]


def of_file(found: Iterable[Members], status: os.stat_result) -> tuple[str, Members] | None:
    """Give the ETag of a file and what is kept of it; None where it was written by an earlier release, or copied."""
    known = next((one for one in found if one.get("File") == identity(status)), None)
    return None if known is None else (known["ETag"], _settings(known))


def of_bytes(found: Iterable[Members], md5: str) -> tuple[str, Members]:
    """Give the ETag of an object and what is kept of it, by the MD5 of its bytes: nothing, if that was written with others."""
    known = next((one for one in found if one.get("MD5", one["ETag"]) == md5), {})
    return known.get("ETag", md5), _settings(known)


def _settings(kept: Members) -> Members:
    return {name: value for name, value in kept.items() if name not in {"ETag", "File", "MD5"}}


def range_of(asked: str | None, size: int) -> tuple[int, int] | None:
    """Give where a range of an object begins, and its length. What is none, or more than one, is the whole object.

    Raises:
        WireError: the object has nothing there.

    """
    found = _RANGE.fullmatch(asked or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - _position(last)), size
    else:
        start, end = _position(first), size if last == "" else min(_position(last) + 1, size)
        if last != "" and _position(last) < start:
            return None
    if start >= size:
        raise WireError("InvalidRange", "The requested range is not satisfiable", 416)
    return start, end - start


def _position(digits: str) -> int:
    return int(digits.lstrip("0")[:_DIGITS_MAX] or "0")


def overridden(given: Members) -> Members:
    """Give what a reader wants the answer to say in place of what is kept."""
    begin = "Response"
    return {
        name.removeprefix(begin): value for name, value in given.items() if name.startswith(begin) and value is not None
    }


def _told_sums(given: Members) -> Members:
    return {
        name: value
        for name, value in given.items()
        if name.startswith("Checksum") and name not in _NO_SUMS and value is not None
    }


def sums_of(given: Members) -> Members:
    """Give the checksums of the bytes of a request, which its door has compared, as an answer has them."""
    sums = _told_sums(given)
    return {**sums, "ChecksumType": "FULL_OBJECT"} if sums else {}


def sums_wished(given: Members) -> Members:
    """Give which checksums an upload shall have."""
    return {name: given[name] for name in _WISHES if given.get(name) is not None}


def sums_of_upload(wish: Members, given: Members, files: list[Path]) -> Members:
    """Give the checksums of an object that came in parts: those that the client sends, or else the one that it wished for."""
    sums, kind = _told_sums(given), wish.get("ChecksumAlgorithm")
    if not sums and kind in _COMPUTED:
        is_of_parts = wish.get("ChecksumType") != "FULL_OBJECT"
        end = f"-{len(files)}" if is_of_parts else ""
        sums = {f"Checksum{kind}": base64.b64encode(_sum(kind, files, is_of_parts=is_of_parts)).decode() + end}
    is_of_parts = any("-" in value for value in sums.values())
    return {**sums, "ChecksumType": "COMPOSITE" if is_of_parts else "FULL_OBJECT"} if sums else {}


def check_sums(given: Members, parts: Iterable[Path], known: Members | None = None) -> None:
    """Compare the checksums of a whole object, or of one part, with those that are known, or with the bytes of its files.

    Raises:
        WireError: one is another, or cannot be computed here.

    """
    files = list(parts)
    for name, wanted in _told_sums(given).items():
        kind, found = name.removeprefix("Checksum"), (known or {}).get(name)
        if found is None and kind not in _COMPUTED:
            raise WireError("NotImplemented", f"{name} of parts is not compared here: let the client send CRC32", 501)
        if found is None:
            found = base64.b64encode(_sum(kind, files, is_of_parts="-" in wanted)).decode()
        if found != wanted.partition("-")[0]:
            raise WireError("BadDigest", f"The {kind} you specified did not match what we received.")


def _sum(kind: str, files: list[Path], *, is_of_parts: bool) -> bytes:
    if is_of_parts:
        each = b"".join(_sum(kind, [file], is_of_parts=False) for file in files)
        return zlib.crc32(each).to_bytes(4, "big") if kind == "CRC32" else hashlib.new(kind.lower(), each).digest()
    number, digest = 0, None if kind == "CRC32" else hashlib.new(kind.lower(), usedforsecurity=False)
    for file in files:
        data = file.read_bytes()  # 16 MiB at most, as one request brought it
        number = zlib.crc32(data, number)
        if digest is not None:
            digest.update(data)
    return number.to_bytes(4, "big") if digest is None else digest.digest()
