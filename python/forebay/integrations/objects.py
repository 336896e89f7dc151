"""Files in a directory, by bucket and key."""

from __future__ import annotations

import hashlib
import os
import stat
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from forebay._durable import write
from forebay.errors import InvalidParameterValue
from forebay.integrations.threads import FILE_THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator


class ObjectStore:
    """A directory whose folders are buckets: for the readers and the writers of distributed Maps.

    Args:
        directory: where the buckets are. It is made when something is written.

    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def __repr__(self) -> str:
        return f"ObjectStore({str(self.directory)!r})"

    async def get(self, bucket: str, key: str) -> bytes:
        """Give a file's bytes.

        Raises:
            FileNotFoundError: there is none.
            InvalidParameterValue: a name that leaves the directory.

        """
        return await FILE_THREADS.run(self._path(bucket, key).read_bytes)

    async def size(self, bucket: str, key: str) -> int:
        """Give a file's size in bytes.

        Raises:
            FileNotFoundError: there is none.
            InvalidParameterValue: a name that leaves the directory.

        """
        return (await FILE_THREADS.run(self._path(bucket, key).stat)).st_size

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """Write a file: after a crash it is there as a whole, or as it was.

        Raises:
            InvalidParameterValue: a name that leaves the directory.

        """
        await FILE_THREADS.run(write, self._path(bucket, key), data)

    async def list(self, bucket: str, prefix: str, after: str, limit: int) -> list[dict[str, Any]]:
        """List files in the order of their keys.

        Raises:
            FileNotFoundError: there is no such bucket.
            InvalidParameterValue: a name that leaves the directory.

        """
        found = self.walk(bucket, prefix, after)
        return await FILE_THREADS.run(lambda: list(islice(found, limit)))

    def walk(self, bucket: str, prefix: str, after: str) -> Iterator[dict[str, Any]]:
        """Go through files in the order of their keys, of which it holds the names of a folder at a time.

        Raises:
            FileNotFoundError: there is no such bucket: it is raised with the first file.
            InvalidParameterValue: a name that leaves the directory.

        """
        return _walk(self._path(bucket), prefix, after)

    def _path(self, bucket: str, key: str | None = None) -> Path:
        for name, parts in (("bucket", (bucket,)), ("key", PurePosixPath(key or "-").parts)):
            if not all(parts) or any(part in {"..", "/", "."} or "\0" in part for part in parts) or "/" in bucket:
                given = bucket if name == "bucket" else key
                raise InvalidParameterValue(
                    f"{name}={given!r}: a name stays in its directory: no '..', no '/' at its beginning"
                )
        return self.directory / bucket / key if key is not None else self.directory / bucket


def _walk(folder: Path, prefix: str, after: str) -> Iterator[dict[str, Any]]:
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    for key in _keys(folder, "", prefix, after):
        try:
            about = (folder / key).stat()
        except FileNotFoundError:
            continue  # it was removed meanwhile
        if stat.S_ISREG(about.st_mode):
            tag = hashlib.md5(f"{about.st_mtime_ns}-{about.st_size}".encode(), usedforsecurity=False).hexdigest()
            yield {"Etag": f'"{tag}"', "Key": key, "LastModified": int(about.st_mtime), "Size": about.st_size}


def _keys(folder: Path, base: str, prefix: str, after: str) -> Iterator[str]:
    """Give keys in order. Those of a folder stand where its name with a slash does."""
    keys = []
    try:
        with os.scandir(folder / base) as entries:
            for entry in entries:
                key = base + entry.name
                if entry.is_dir(follow_symlinks=False):
                    key += "/"
                    is_wanted = prefix.startswith(key) or key.startswith(prefix)
                    is_behind = key > after or after.startswith(key)
                else:
                    is_wanted, is_behind = key.startswith(prefix) and ".forebay-" not in key, key > after
                if is_wanted and is_behind:
                    keys.append(key)
    except (FileNotFoundError, NotADirectoryError):
        return  # it was removed meanwhile
    for key in sorted(keys):
        if key.endswith("/"):
            yield from _keys(folder, key, prefix, after)
        else:
            yield key
