"""Files of distributed Maps: which of them a run reads, and what it costs the app."""

import asyncio
import gzip
import json
import threading
import time

import pytest

from forebay import ExecutionFailed
from forebay._model import limits
from forebay.integrations import ObjectStore
from forebay.integrations import maps as maps_module
from forebay.integrations import objects as objects_module
from forebay.integrations.maps import MapFiles
from forebay.integrations.port import TaskError
from forebay.integrations.threads import FILES, THREADS

LISTING = {
    "resource": "arn:aws:states:::s3:listObjectsV2",
    "arguments": {"Bucket": "in"},
    "format": {"input_type": None},
    "items_max": None,
}
FORM = {"input_type": "Json", "headers": None, "delimiter": "Comma", "pointer": None}


def reading(key):
    return {
        "resource": "arn:aws:states:::s3:getObject",
        "arguments": {"Bucket": "in", "Key": key},
        "format": FORM,
        "items_max": None,
    }


async def pages(files, request):
    """Give the items of all pages."""
    items, place = [], None
    while True:
        page = await files.read(request, place)
        items += page["items"]
        place = page["next"]
        if place is None:
            return items


async def until(clock, execution):
    result = asyncio.ensure_future(execution.result())
    for _ in range(500):
        await clock.advance(1)
        if result.done():
            break
        await asyncio.sleep(0.01)
    return await result


async def test_a_run_reads_the_file_as_it_is_now(app, clock, tmp_path):
    """The items of a file were kept by its name for as long as the app ran: a nightly Map over it had the first night's rows."""
    store = ObjectStore(tmp_path)
    app.integrate(store)
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "One",
        "States": {"One": {"Type": "Pass", "End": True}},
    }
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": "in", "Key": "a.json"},
    }
    state = {"Type": "Map", "ItemProcessor": processor, "ItemReader": reader, "End": True}
    flow = app.workflow("nightly", {"StartAt": "Map", "States": {"Map": state}})
    async with app:
        for night in (["monday-1", "monday-2"], ["tuesday-1", "tuesday-2", "tuesday-3"]):
            await store.put("in", "a.json", json.dumps(night).encode())
            assert await until(clock, await flow.start()) == night


async def test_a_file_that_changes_between_two_pages_is_not_mixed_with_what_it_was(tmp_path):
    """After a restart nothing of the first pages is kept: items of another file would take the places of those that are left."""
    store = ObjectStore(tmp_path)
    await store.put("in", "a.json", json.dumps(list(range(1500))).encode())
    first = await MapFiles(store).read(reading("a.json"), None)
    again = await MapFiles(store).read(reading("a.json"), first["next"])
    assert (len(first["items"]), len(again["items"]), again["next"]) == (1000, 500, None)
    await store.put("in", "a.json", json.dumps(list(range(9, 1509))).encode())
    with pytest.raises(
        TaskError, match=r"States\.ItemReaderFailed: a\.json was changed after its first items were read"
    ):
        await MapFiles(store).read(reading("a.json"), first["next"])


async def test_a_bucket_is_walked_through_once_for_all_pages_of_a_run(tmp_path, monkeypatch):
    """Each page looked at the whole bucket and sorted it: 10,000 files took 15 s, ten times as many a hundred times as long."""
    monkeypatch.setattr(maps_module, "_PAGE_ITEMS", 10)
    scans = []
    scandir = objects_module.os.scandir
    monkeypatch.setattr(objects_module.os, "scandir", lambda path: scans.append(path) or scandir(path))
    store = ObjectStore(tmp_path)
    names = ["a", "a.b", "a/b", "a/c/d", "a0", *(f"f/{n:03}" for n in range(200))]
    for name in names:
        if name != "a":  # a file and a folder cannot have one name
            await store.put("in", name, b"x")
    files = MapFiles(store)
    assert [item["Key"] for item in await pages(files, LISTING)] == sorted(names[1:])
    assert len(scans) == 4  # each folder once
    # A page that is asked for again, as after a crash, is the same.
    first = await files.read(LISTING, None)
    second = await files.read(LISTING, first["next"])
    assert await files.read(LISTING, first["next"]) == second
    assert await MapFiles(store).read(LISTING, first["next"]) == second


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "b", "b/x/", "z"])
async def test_files_are_listed_as_s3_does(tmp_path, prefix):
    """Keys are in the order of their text: a folder's stand where its name with a slash does."""
    store = ObjectStore(tmp_path)
    names = ["a-", "a/b", "a/b-c", "a/c/1", "a0", "b.txt", "b/x/1", "b/x/2", "b/y"]
    for name in names:
        await store.put("in", name, b"x")
    (tmp_path / "in" / ".forebay-half").write_bytes(b"")
    (tmp_path / "in" / "gone").symlink_to(tmp_path / "nothing")
    for after in ["", *names, "a/", "a/bb", "b/x", "zz"]:
        wanted = [name for name in sorted(names) if name.startswith(prefix) and name > after]
        assert [one["Key"] for one in await store.list("in", prefix, after, 100)] == wanted
        assert [one["Key"] for one in await store.list("in", prefix, after, 2)] == wanted[:2]
    with pytest.raises(FileNotFoundError):
        await store.list("out", prefix, "", 1)


async def test_the_app_goes_on_while_a_large_file_is_read(tmp_path, monkeypatch):
    """The items were read on the event loop: with 49 MiB no handler and no API ran for 3.5 s."""
    store = ObjectStore(tmp_path)
    await store.put("in", "a.json", b"[1]")
    ran = []
    loop = asyncio.get_running_loop()

    def read_items(_form, _data, _most):
        # The loop must run while this waits for it.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0, ran.append(1)), loop).result(5)
        return [b"1"]

    monkeypatch.setattr(maps_module._core, "read_items", read_items)
    assert len((await MapFiles(store).read(reading("a.json"), None))["items"]) == 1
    assert ran == [1]


async def test_a_file_that_is_not_there_fails_the_map(app, clock, tmp_path):
    """A bucket's list is read with its first page, in a thread: its error is the Map's as before."""
    app.integrate(ObjectStore(tmp_path))
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "One",
        "States": {"One": {"Type": "Pass", "End": True}},
    }
    reader = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": "none"}}
    state = {"Type": "Map", "ItemProcessor": processor, "ItemReader": reader, "End": True}
    flow = app.workflow("each", {"StartAt": "Map", "States": {"Map": state}})
    async with app:
        with pytest.raises(ExecutionFailed, match=r"States\.ItemReaderFailed.*does not exist: none"):
            await until(clock, await flow.start())


async def test_what_runs_keep_is_bounded(tmp_path, monkeypatch):
    """A run whose walk was let go walks on from where it is."""
    monkeypatch.setattr(maps_module, "_PAGE_ITEMS", 2)
    store = ObjectStore(tmp_path)
    for n in range(5):
        await store.put("in", f"{n}", b"x")
    files = MapFiles(store)
    begun = [await files.read(LISTING, None) for _ in range(20)]
    assert len(files._walks._known) == 16
    for first in begun:
        items, place = first["items"], first["next"]
        while place is not None:
            page = await files.read(LISTING, place)
            items, place = items + page["items"], page["next"]
        assert [item["Key"] for item in items] == ["0", "1", "2", "3", "4"]


class Gated:
    """An object store that gives no file before it may."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.begun = []

    async def get(self, bucket, key):
        self.begun.append(key)
        await self.gate.wait()
        if key == "3":
            raise FileNotFoundError(key)
        return b"[1]"


async def test_so_many_files_are_read_at_once_and_the_others_in_their_order():
    """Each Map that began read its file at once, whole, and had a thread: many of them left none for other services."""
    store = Gated()
    files = MapFiles(store)
    keys = [str(number) for number in range(50)]
    reads = [asyncio.ensure_future(files.read(reading(key), None)) for key in keys]
    await asyncio.sleep(0.05)
    assert store.begun == keys[:FILES]
    reads[0].cancel()
    reads[20].cancel()
    await asyncio.sleep(0.05)
    assert store.begun == keys[: FILES + 1], "one that is given up makes room for another"
    store.gate.set()
    ended = await asyncio.gather(*reads, return_exceptions=True)
    assert store.begun == [key for key in keys if key != "20"]
    assert [type(one) for one in ended if not isinstance(one, dict)] == [
        asyncio.CancelledError,
        TaskError,
        asyncio.CancelledError,
    ]


def test_files_are_read_after_the_app_has_started_again():
    """Who waits for a turn waits in the loop of the app that runs."""
    store = Gated()
    files = MapFiles(store)

    async def read_all():
        store.gate = asyncio.Event()
        reads = [asyncio.ensure_future(files.read(reading("1"), None)) for _ in range(2 * FILES)]
        await asyncio.sleep(0.01)
        store.gate.set()
        return await asyncio.wait_for(asyncio.gather(*reads), 10)

    for _ in range(2):
        assert len(asyncio.run(read_all())) == 2 * FILES


async def test_object_stores_take_no_thread_of_other_calls(tmp_path, monkeypatch):
    """Results are written, files listed and read in threads that are theirs."""

    async def refuse(*_):
        raise AssertionError("a thread of the others")

    monkeypatch.setattr(THREADS, "run", refuse)
    store = ObjectStore(tmp_path)
    await store.put("in", "a.json", b"[1, 2]")
    files = MapFiles(store)
    assert len(await pages(files, reading("a.json"))) == 2
    assert len(await pages(files, LISTING)) == 1


async def test_large_files_are_parsed_one_after_the_other(tmp_path, monkeypatch):
    """Six Maps that began together over a file of 15 MiB took 7 GiB. Small files wait for none of them."""
    parse, lock, running, most, order = maps_module._items_of, threading.Lock(), 0, 0, []

    def parsed(key, *given):
        nonlocal running, most
        if key == "small.json":
            order.append(key)
            return parse(key, *given)
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.1)
        with lock:
            running -= 1
        order.append(key)
        return parse(key, *given)

    monkeypatch.setattr(maps_module, "_items_of", parsed)
    store = ObjectStore(tmp_path)
    await store.put("in", "large.json", b"[%s1]" % (b"1," * 200_000))
    await store.put("in", "packed.json.gz", gzip.compress(b"[1]"))
    await store.put("in", "small.json", b"[1]")
    files = MapFiles(store)
    keys = ["large.json"] * 3 + ["packed.json.gz"] * 3 + ["small.json"]
    read = await asyncio.gather(*(files.read(reading(key), None) for key in keys))
    assert [len(page["items"]) for page in read] == [1000] * 3 + [1] * 4
    assert most == 1
    assert order.index("small.json") < 5


class Unsized:
    """An object store that tells no sizes."""

    def __init__(self, files):
        self.files = files

    async def get(self, bucket, key):
        return self.files[key]


@pytest.mark.parametrize("has_sizes", [True, False])
async def test_small_files_wait_for_no_number_of_large_ones(tmp_path, monkeypatch, has_sizes):
    """Sixteen large files held all turns, and 30 of them waited in memory as a whole while one was parsed."""
    parse, order, held = maps_module._items_of, [], []
    contents = {f"{n}.json": b"[%s1]" % (b"1," * 200_000) for n in range(30)} | {"small.json": b"[1]"}
    store = ObjectStore(tmp_path) if has_sizes else Unsized(contents)
    for key, data in contents.items() if has_sizes else ():
        await store.put("in", key, data)
    read = store.get

    async def get(bucket, key):
        data = await read(bucket, key)
        held.append(key)
        return data

    def parsed(key, *given):
        order.append(key)
        if key != "small.json":
            time.sleep(0.02)
            held.remove(key)
        return parse(key, *given)

    monkeypatch.setattr(store, "get", get)
    monkeypatch.setattr(maps_module, "_items_of", parsed)
    files = MapFiles(store)
    pages = await asyncio.gather(*(files.read(reading(key), None) for key in contents))
    assert [len(page["items"]) for page in pages] == [1000] * 30 + [1]
    assert order.index("small.json") <= 2
    assert len(order) == 31
    assert len(held) == (1 if has_sizes else 31), "those that were let go, and the small one"


async def test_a_large_file_that_does_not_come_keeps_no_other_one_waiting(tmp_path, monkeypatch):
    """It held the one turn of large files, so that none of the app was read any more."""
    store, comes = ObjectStore(tmp_path), asyncio.Event()
    for key in ("stalled.json", "large.json"):
        await store.put("in", key, b"[%s1]" % (b"1," * 200_000))
    read = store.get

    async def get(bucket, key):
        if key == "stalled.json":
            await comes.wait()
        return await read(bucket, key)

    monkeypatch.setattr(store, "get", get)
    files = MapFiles(store)
    stalled = asyncio.create_task(files.read(reading("stalled.json"), None))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert len((await files.read(reading("large.json"), None))["items"]) == 1_000
        comes.set()
        assert len((await stalled)["items"]) == 1_000


async def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    """It was in memory as a whole before it was refused."""
    store, got = ObjectStore(tmp_path), []
    for key, more in (("a.json", 1), ("b.json", 0), ("c.json.gz", 1)):
        await store.put("in", key, b"")
        with (tmp_path / "in" / key).open("r+b") as file:
            file.truncate(limits.MAP_FILE_BYTES_MAX + more)

    async def get(bucket, key):
        got.append(key)
        return b"[1]"

    monkeypatch.setattr(store, "get", get)
    files = MapFiles(store)
    with pytest.raises(TaskError, match="The file has 67108865 bytes; at most 67108864 are read"):
        await files.read(reading("a.json"), None)
    assert len((await files.read(reading("b.json"), None))["items"]) == 1
    with pytest.raises(TaskError, match=r"c\.json\.gz"):
        await files.read(reading("c.json.gz"), None)
    assert got == ["b.json", "c.json.gz"]
