"""Reads the items of distributed Maps from files, and writes their results to files.

A page of items is read at a time, and where the next one begins is kept with the execution: a crash loses and repeats no item.
"""

from __future__ import annotations

import hashlib
import json
import sys
import uuid
import zlib
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import orjson

from forebay import _core
from forebay._model import limits
from forebay.errors import InvalidParameterValue, ResourceNotFound
from forebay.integrations.port import Sizes, TaskError, Walks
from forebay.integrations.threads import FILE_THREADS, FILES, Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from forebay.integrations.port import Objects

    Results = Callable[[int, int | None], Awaitable[dict[str, Any]]]

READS: Final = ("s3:getObject", "s3:listObjectsV2")
WRITES: Final = ("s3:putObject",)
_PAGE_ITEMS: Final = 1_000
_PAGE_BYTES: Final = 1 << 20
"""What a page has at most together, unless one item is larger."""
_FILES_BYTES: Final = 256 << 20
"""What the items of files that are kept between two pages have together, unless one file has more."""
_LARGE_BYTES: Final = 256 << 10
"""From here on a file's items may take much: 15 MiB of small ones take more than a GiB while they are read."""
_LARGE_READS: Final = 4
"""Large files that are read at once: one that does not come keeps no other one waiting."""
_WALKS: Final = 16
"""Buckets that are walked through: of each the names of the folders are kept in which the walk is."""
_WRITTEN_BYTES: Final = 5 << 30
"""What a file of results has at most. AWS begins another one at 5 GB."""
_PAGE_RESULTS: Final = 100


T = TypeVar("T")


class _Kept(Generic[T]):
    """What runs of Maps go on with at their next page. Beyond a size in all the oldest is let go: its run begins it anew."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[tuple[Any, ...], tuple[T, int]] = OrderedDict()
        self._size = 0

    def take(self, *name: Any) -> T | None:
        one, size = self._known.pop(name, (None, 0))
        self._size -= size
        return one

    def put(self, one: T, *name: Any, size: int = 1) -> None:
        self.take(*name)
        self._known[name] = one, size
        self._size += size
        while self._size > self._most and len(self._known) > 1:
            self._size -= self._known.popitem(last=False)[1][1]


class MapFiles:
    """Reads and writes the files of distributed Maps in an object store.

    The place of a page has a name for the run's reading. What is kept belongs to it: another run looks at the files anew.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._turns = Turns(FILES)
        self._large_reads = Turns(_LARGE_READS)
        self._large = Turns(1)
        self._files: _Kept[tuple[list[bytes], str, int]] = _Kept(_FILES_BYTES)
        self._walks: _Kept[Iterator[dict[str, Any]]] = _Kept(_WALKS)

    # --- items

    async def read(self, request: dict[str, Any], at: Any) -> dict[str, Any]:
        """Give a page of items, and where the next one begins.

        Raises:
            TaskError: the file cannot be read.

        """
        given = request["arguments"] or {}
        action = request["resource"].partition(":::")[2]
        bucket = _text(given, "Bucket")
        try:
            if action == "s3:listObjectsV2":
                return await self._list(bucket, given, request["items_max"], at)
            if request["format"]["input_type"] == "Manifest":
                return await self._read_manifest(bucket, given, request, at)
            place = at or {"reading": _reading(), "item": 0}
            return await self._page(bucket, _text(given, "Key"), request["format"], request["items_max"], place)
        except FileNotFoundError as error:
            cause = f"The specified key does not exist: {bucket}/{given.get('Key', given.get('Prefix', ''))}"
            raise TaskError("States.ItemReaderFailed", cause) from error
        except (OSError, InvalidParameterValue) as error:
            raise TaskError("States.ItemReaderFailed", str(error)) from error

    async def _list(self, bucket: str, given: dict[str, Any], most: int | None, at: Any) -> dict[str, Any]:
        place = at or {"reading": _reading(), "after": given.get("StartAfter", ""), "seen": 0}
        seen = place["seen"]
        limit = _PAGE_ITEMS if most is None else min(_PAGE_ITEMS, most - seen)
        found = await self._files_after(bucket, given.get("Prefix", ""), place, limit)
        is_all = len(found) < limit or (most is not None and seen + len(found) >= most)
        items = [
            {
                "Etag": one["Etag"],
                "Key": one["Key"],
                "LastModified": one["LastModified"],
                "Size": one["Size"],
                "StorageClass": "STANDARD",
            }
            for one in found
        ]
        place = {**place, "seen": seen + len(found), "after": found[-1]["Key"] if found else place["after"]}
        return {"items": items, "next": None if is_all else place}

    async def _files_after(self, bucket: str, prefix: str, place: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        """List a page of files: to look at the whole bucket for each would take the square of its size."""
        if not isinstance(self._objects, Walks):
            return await self._objects.list(bucket, prefix, place["after"], limit)
        # A page that is asked for again is not where the walk is, which has gone on.
        reading, after = place.get("reading"), place["after"]
        walk = self._walks.take(reading, after) or self._objects.walk(bucket, prefix, after)
        found = await FILE_THREADS.run(lambda: list(islice(walk, limit)))
        if len(found) == limit:
            self._walks.put(walk, reading, found[-1]["Key"])
        return found

    async def _page(
        self, bucket: str, key: str, form: dict[str, Any], most: int | None, at: dict[str, Any]
    ) -> dict[str, Any]:
        name = (at.get("reading"), key)
        items, digest, weight = self._files.take(*name) or await self._items(bucket, key, form, most)
        # Its first items may have been read in an earlier process. Places of earlier releases do not say of what.
        if at.get("digest", digest) != digest:
            raise TaskError("States.ItemReaderFailed", f"{key} was changed after its first items were read")
        first = at["item"]
        size, last = 0, first
        while (
            last < len(items)
            and last - first < _PAGE_ITEMS
            and (size + len(items[last]) <= _PAGE_BYTES or last == first)
        ):
            size += len(items[last])
            last += 1
        page = [orjson.Fragment(item) for item in items[first:last]]
        if last >= len(items):
            return {"items": page, "next": None}
        self._files.put((items, digest, weight), *name, size=weight)
        return {"items": page, "next": {**at, "item": last, "digest": digest}}

    async def _items(
        self, bucket: str, key: str, form: dict[str, Any], most: int | None
    ) -> tuple[list[bytes], str, int]:
        """Read a file's items, tell files apart by what is in them, and say what they take."""
        if not await self._is_large(bucket, key):
            # One turn for both: whole files would wait in memory for what is made of them.
            async with self._turns.turn():
                data = await self._objects.get(bucket, key)
                if len(data) < _LARGE_BYTES:
                    return await FILE_THREADS.run(_items_of, key, data, form, most)
            # A store that tells no sizes: it is read again in its turn, for many of them would wait in memory as a whole.
            del data
        # Apart from the small ones, which wait for none of them.
        async with self._large_reads.turn():
            data = await self._objects.get(bucket, key)
            async with self._large.turn():
                # It takes seconds: nothing else of the app would run meanwhile.
                return await FILE_THREADS.run(_items_of, key, data, form, most)

    async def _is_large(self, bucket: str, key: str) -> bool:
        """Tell what is known before the file is read; one that is too large is not read."""
        size = await self._objects.size(bucket, key) if isinstance(self._objects, Sizes) else 0
        is_packed = key.endswith(".gz")
        # What cannot be packed is a little larger for it.
        if size > limits.MAP_FILE_BYTES_MAX + (_LARGE_BYTES if is_packed else 0):
            raise TaskError(
                "States.ItemReaderFailed", f"The file has {size} bytes; at most {limits.MAP_FILE_BYTES_MAX} are read"
            )
        return is_packed or size >= _LARGE_BYTES

    async def _read_manifest(
        self, bucket: str, given: dict[str, Any], request: dict[str, Any], at: Any
    ) -> dict[str, Any]:
        """Read the files that an S3 inventory's manifest lists: rows of CSV, of which each is an item."""
        async with self._turns.turn():
            listed = json.loads(await self._objects.get(bucket, _text(given, "Key")))
        if "fileSchema" not in listed or "files" not in listed:
            raise TaskError("States.ItemReaderFailed", "The manifest has no fileSchema or no files")
        columns = [name.strip() for name in listed["fileSchema"].split(",")]
        form = {"input_type": "Csv", "headers": columns, "delimiter": "Comma", "pointer": None}
        place = at or {"reading": _reading(), "file": 0, "item": 0, "seen": 0}
        files = [file["key"] for file in listed["files"]]
        if place["file"] >= len(files):
            return {"items": [], "next": None}
        source = listed.get("destinationBucket", bucket).rpartition(":")[2]
        page = await self._page(source, files[place["file"]], form, None, place)
        seen, most = place["seen"] + len(page["items"]), request["items_max"]
        if most is not None and seen >= most:
            return {"items": page["items"][: most - place["seen"]], "next": None}
        place = page["next"] or {"reading": place.get("reading"), "file": place["file"] + 1, "item": 0}
        is_all = place["file"] >= len(files)
        return {"items": page["items"], "next": None if is_all else {**place, "seen": seen}}

    # --- results

    async def write(self, request: dict[str, Any], run: dict[str, Any], results: Results) -> dict[str, Any]:
        """Write what the children of a Map's run have left, and give where it is.

        Raises:
            TaskError: nothing can be written there.

        """
        given, form = request["arguments"] or {}, request["format"]
        bucket, prefix = _text(given, "Bucket"), str(given.get("Prefix", "")).strip("/")
        run_id = (run["arn"] or f":{uuid.uuid4()}").rpartition(":")[2]
        folder = f"{prefix}/{run_id}" if prefix else run_id
        files: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        try:
            if run["number"] is not None:
                await self._write_results(bucket, folder, form, files, _children(run["number"], results, run["arn"]))
            manifest = {"DestinationBucket": bucket, "MapRunArn": run["arn"], "ResultFiles": files}
            await self._objects.put(bucket, f"{folder}/manifest.json", json.dumps(manifest).encode())
        except (OSError, InvalidParameterValue, ResourceNotFound) as error:
            raise TaskError("States.ResultWriterFailed", str(error)) from error
        return {"MapRunArn": run["arn"], "ResultWriterDetails": {"Bucket": bucket, "Key": f"{folder}/manifest.json"}}

    async def _write_results(
        self,
        bucket: str,
        folder: str,
        form: dict[str, Any],
        files: dict[str, list[dict[str, Any]]],
        children: AsyncIterator[dict[str, Any]],
    ) -> None:
        lines, ending = form["is_lines"], "jsonl" if form["is_lines"] else "json"
        parts: dict[str, list[bytes]] = {"SUCCEEDED": [], "FAILED": []}
        sizes = dict.fromkeys(parts, 0)

        async def flush(kind: str) -> None:
            if parts[kind]:
                data = b"\n".join(parts[kind]) if lines else b"[" + b",".join(parts[kind]) + b"]"
                key = f"{folder}/{kind}_{len(files[kind])}.{ending}"
                await self._objects.put(bucket, key, data)
                files[kind].append({"Key": key, "Size": len(data)})
                parts[kind].clear()
                sizes[kind] = 0

        async for child in children:
            kind = "SUCCEEDED" if child["Status"] == "SUCCEEDED" else "FAILED"
            for part in _shaped(child, form["transformation"], kind):
                parts[kind].append(part)
                sizes[kind] += len(part)
            if sizes[kind] > _WRITTEN_BYTES // 80:
                await flush(kind)
        for kind in parts:
            await flush(kind)


def _shaped(child: dict[str, Any], transformation: str, kind: str) -> list[bytes]:
    if transformation == "None" or kind == "FAILED":
        return [orjson.dumps(child)]
    if transformation == "Flatten":
        output = orjson.loads(child["Output"])
        return [orjson.dumps(one) for one in output] if isinstance(output, list) else [child["Output"].encode()]
    return [child["Output"].encode()]


async def _children(number: int, results: Results, arn: str) -> AsyncIterator[dict[str, Any]]:
    after = None
    while True:
        page = await results(number, after)
        for one in page["children"]:
            told = {
                "ExecutionArn": f"{arn.replace(':mapRun:', ':execution:', 1)}:{one['name']}",
                "Input": one["input"],
                "InputDetails": {"Included": True},
                "Name": one["name"],
                "RedriveCount": one["redrive_count"],
                "StartDate": one["started_ms"] / 1000,
                "Status": one["status"],
                "StopDate": one["stopped_ms"] / 1000,
            }
            if one["status"] == "SUCCEEDED":
                told |= {"Output": one["output"], "OutputDetails": {"Included": True}}
            else:
                told |= {"Error": one["error"], "Cause": one["cause"]}
            yield told
        after = page["next"]
        if after is None:
            return


def _reading() -> str:
    """Name the reading of a run."""
    return uuid.uuid4().hex


def _items_of(key: str, data: bytes, form: dict[str, Any], most: int | None) -> tuple[list[bytes], str, int]:
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    if key.endswith(".gz"):
        data = _unpacked(key, data)
    try:
        items = _core.read_items(json.dumps(form), data, most)
    except InvalidParameterValue as error:
        raise TaskError("States.ItemReaderFailed", str(error)) from error
    return items, digest, sum(map(sys.getsizeof, items))


def _unpacked(key: str, data: bytes) -> bytes:
    unpacked = zlib.decompressobj(wbits=31)
    try:
        found = unpacked.decompress(data, limits.MAP_FILE_BYTES_MAX)
    except zlib.error as error:
        raise TaskError("States.ItemReaderFailed", f"{key}: {error}") from error
    if not unpacked.eof:
        raise TaskError(
            "States.ItemReaderFailed", f"{key} is cut off, or holds more than {limits.MAP_FILE_BYTES_MAX} bytes"
        )
    return found


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise TaskError("States.Runtime", f"{name} is missing")
    return value
