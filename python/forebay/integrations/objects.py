"""Files in a directory, by bucket and key."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from forebay._durable import write
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    import os


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
        return await asyncio.to_thread(self._path(bucket, key).read_bytes)

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """Write a file: after a crash it is there as a whole, or as it was.

        Raises:
            InvalidParameterValue: a name that leaves the directory.

        """
        await asyncio.to_thread(write, self._path(bucket, key), data)

    async def list(self, bucket: str, prefix: str, after: str, limit: int) -> list[dict[str, Any]]:
        """List files in the order of their keys.

        Raises:
            FileNotFoundError: there is no such bucket.
            InvalidParameterValue: a name that leaves the directory.

        """
        return await asyncio.to_thread(_list, self._path(bucket), prefix, after, limit)

    def _path(self, bucket: str, key: str | None = None) -> Path:
        for name, parts in (("bucket", (bucket,)), ("key", PurePosixPath(key or "-").parts)):
            if not all(parts) or any(part in {"..", "/", "."} or "\0" in part for part in parts) or "/" in bucket:
                given = bucket if name == "bucket" else key
                raise InvalidParameterValue(
                    f"{name}={given!r}: a name stays in its directory: no '..', no '/' at its beginning"
                )
        return self.directory / bucket / key if key is not None else self.directory / bucket


def _list(folder: Path, prefix: str, after: str, limit: int) -> list[dict[str, Any]]:
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    files = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    wanted = sorted(
        (key, path) for key, path in files if key.startswith(prefix) and key > after and ".forebay-" not in key
    )
    found = []
    for key, path in wanted[:limit]:
        about = path.stat()
        tag = hashlib.md5(f"{about.st_mtime_ns}-{about.st_size}".encode(), usedforsecurity=False).hexdigest()
        found.append({"Etag": f'"{tag}"', "Key": key, "LastModified": int(about.st_mtime), "Size": about.st_size})
    return found
