"""Which objects a bucket of the little S3 has."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from forebay._stacks.wire_error import WireError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

Members = dict[str, Any]
LISTED_MAX: Final = 1000
"""Objects of a page, and of one deletion."""
OBJECT: Final = re.compile(r"[0-9a-f]{64}")
"""Names of the files of objects. Beside each stand its key (`NAME.key`) and its settings."""


def _objects(bucket: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Give the objects of a bucket by their keys. Those of a release that kept no keys are not among them."""
    for path in bucket.iterdir():
        if OBJECT.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another client deletes it
                yield path.with_suffix(".key").read_text(encoding="utf-8"), path.stat()


def _after(given: Members) -> str:
    """Give the name behind which a page begins."""
    token = given.get("ContinuationToken")
    try:
        return given.get("StartAfter") or "" if token is None else base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise WireError("InvalidArgument", "The continuation token provided is incorrect") from None


def page(bucket: Path, given: Members) -> Members:
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
    shown = names[:most] if most > 0 else []
    is_truncated = len(names) > len(shown) > 0

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
        "KeyCount": len(shown),
        "IsTruncated": is_truncated,
        "NextContinuationToken": base64.urlsafe_b64encode(shown[-1].encode()).decode() if is_truncated else None,
        "ContinuationToken": given.get("ContinuationToken"),
        "StartAfter": write(given["StartAfter"]) if given.get("StartAfter") else None,
        "EncodingType": given.get("EncodingType"),
        "Contents": [entry(name, known) for name in shown if (known := found[name]) is not None],
        "CommonPrefixes": [{"Prefix": write(name)} for name in shown if found[name] is None],
    }
