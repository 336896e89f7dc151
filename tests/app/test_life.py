"""Starting, stopping, crashing and sharing a store: real engines, real files, real processes."""

import asyncio
import signal
import subprocess
import sys
import threading
import time

import pytest

from forebay import (
    App,
    AppClosed,
    Batch,
    ForebayError,
    InvalidParameterValue,
    JSONLines,
    ResourceNotFound,
    StoreLocked,
)


async def until(condition, within=100):
    """Wait for what another thread or process does."""
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.005)


def make(path, seen=None, **options):
    app = App("life", store=path / "data", **options)
    app.stream("numbers", shards=1)
    if seen is not None:

        @app.on_stream("numbers", batch_size=10)
        async def handler(batch: Batch, context):
            seen.extend(record.json() for record in batch)

    return app


async def test_what_was_put_survives_a_restart_and_runs_once(tmp_path, no_task_is_left):
    seen = []
    async with make(tmp_path) as app:
        await app.stream("numbers").put_many([(str(number), "k") for number in range(25)])
    for _ in range(2):
        async with make(tmp_path, seen) as app:
            await until(lambda: len(seen) >= 25)
    assert seen == list(range(25))


async def test_an_app_starts_again_after_it_was_stopped(tmp_path, no_task_is_left):
    seen = []
    app = make(tmp_path, seen)
    for number in range(3):
        async with app:
            await app.stream("numbers").put(number, "k")
            await until(lambda expected=number + 1: len(seen) == expected)
    assert seen == [0, 1, 2]


async def test_an_app_starts_once(tmp_path):
    async with make(tmp_path) as app:
        with pytest.raises(ForebayError, match="running already"):
            await app.start()
    await app.stop()
    with pytest.raises(AppClosed):
        await app.stream("numbers").put(1, "k")


async def test_stop_waits_for_handlers_and_a_second_stop_hurries_it(tmp_path):
    began, ends = asyncio.Event(), []
    app = make(tmp_path)

    @app.on_stream("numbers")
    @app.function(timeout=60)
    async def handler(event, context):
        began.set()
        try:
            await asyncio.sleep(30)
        finally:
            ends.append(time.monotonic())

    await app.start()
    await app.stream("numbers").put(1, "k")
    await began.wait()
    asked = time.monotonic()
    first = asyncio.create_task(app.stop(grace=30))
    await asyncio.sleep(0.05)
    assert not first.done()
    await app.stop(grace=0)
    await first
    assert len(ends) == 1 and ends[0] - asked < 10


async def test_an_interrupted_batch_runs_again_after_the_next_start(tmp_path):
    began, seen, app = asyncio.Event(), [], make(tmp_path)

    @app.on_stream("numbers", maximum_retry_attempts=0)
    @app.function(timeout=60, name="handler")
    async def hangs(event, context):
        began.set()
        await asyncio.sleep(30)

    await app.start()
    await app.stream("numbers").put(1, "k")
    await began.wait()
    await app.stop(grace=0)
    async with make(tmp_path, seen):
        await until(lambda: seen == [1])


async def test_attached_resources_open_first_and_close_last(tmp_path):
    events = []

    class Resource:
        def __init__(self, name):
            self.name = name

        async def __aenter__(self):
            events.append(f"open {self.name}")

        async def __aexit__(self, *error):
            events.append(f"close {self.name}")

    app = make(tmp_path)

    @app.on_stream("numbers")
    async def handler(event, context):
        events.append("event")

    first = Resource("a")
    app.attach(first)
    app.attach(Resource("b"))
    app.attach(first)
    with pytest.raises(InvalidParameterValue, match="async with"):
        app.attach(object())
    async with app:
        await app.stream("numbers").put(1, "k")
        await until(lambda: "event" in events)
        with pytest.raises(ForebayError, match="before the app starts"):
            app.attach(Resource("c"))
    assert events == ["open a", "open b", "event", "close b", "close a"]


async def test_a_start_that_fails_closes_what_it_opened(tmp_path):
    events, app = [], make(tmp_path)

    class Resource:
        async def __aenter__(self):
            events.append("open")

        async def __aexit__(self, *error):
            events.append("close")

    @app.on_stream("nowhere")
    async def handler(event, context): ...

    app.attach(Resource())
    with pytest.raises(ResourceNotFound):
        await app.start()
    assert events == ["open", "close"]
    async with make(tmp_path):  # the directory is free again
        pass


async def test_a_sync_twin_works_in_a_handlers_thread_and_is_refused_on_the_loop(tmp_path):
    app, done = make(tmp_path), threading.Event()
    app.stream("copies", shards=1)

    @app.on_stream("numbers")
    @app.function(isolation="thread")
    def copy(event, context):
        for record in event["Records"]:
            app.stream("copies").put_sync(record["eventID"], "k")

    @app.on_stream("copies")
    def count(batch: Batch, context):
        done.set()

    async with app:
        stream = app.stream("numbers")
        await stream.put(1, "k")
        await until(done.is_set)
        with pytest.raises(ForebayError, match="await put instead"):
            stream.put_sync(1, "k")
        with pytest.raises(ForebayError, match="await invoke instead"):
            copy.invoke_sync({})
        assert len(await asyncio.to_thread(stream.put_many_sync, [(1, "k"), (2, "k")])) == 2
        assert (await asyncio.to_thread(app.mappings[0].describe_sync))["stream"] == "numbers"


async def test_the_app_belongs_to_one_loop(tmp_path):
    async with make(tmp_path) as app:
        stream = app.stream("numbers")

        def elsewhere():
            return asyncio.run(stream.put(1, "k"))

        with pytest.raises(ForebayError, match="another event loop"):
            await asyncio.to_thread(elsewhere)


async def test_a_second_app_is_a_client_and_takes_over(tmp_path, no_task_is_left):
    first_seen, second_seen = [], []
    first, second = make(tmp_path, first_seen), make(tmp_path, second_seen)
    await first.start()
    await second.start()
    try:
        await second.stream("numbers").put(1, "k")
        await until(lambda: first_seen == [1])
        await first.stop()
        await second.stream("numbers").put(2, "k")
        await until(lambda: second_seen == [2])
        assert first_seen == [1]
        assert await second.mappings[0].function.failed() == []
    finally:
        await second.stop()
        await first.stop()


async def test_who_takes_over_goes_by_what_is_declared_whoever_changed_it_last(tmp_path, no_task_is_left):
    """What the process that took over had changed itself stayed as it was; what others had changed did not."""

    def program():
        app = App("life", store=tmp_path / "data", concurrency=300)

        @app.function(reserved_concurrency=5)
        async def price(event, context):
            return context.function_version

        app.queue("orders"), app.on_queue("orders", batch_size=3)(price)
        price.publish_version()
        return app, price, app.alias("live", price, "$LATEST")

    (owner, _, _), (standby, price, live) = program(), program()
    await owner.start()
    async with standby:
        await live.update(version="1")
        await price.update(reserved_concurrency=7)
        await standby.update(concurrency=200)
        await standby.mappings[0].update(batch_size=2)
        assert (await live.invoke_with_version())[1] == "1"
        await owner.stop()
        assert (await live.invoke_with_version())[1] == "$LATEST"
        [told] = await standby._caller.ask("functions.list")
        assert told["reserved_concurrency"] == price.settings.reserved_concurrency == 5
        assert (await standby.mappings[0].describe())["batch_size"] == 3
        account = await standby._caller.ask("account.describe")
        assert account["concurrency"] == standby.settings.concurrency == 300
        assert standby._running.runner.engine.role == "owner"


async def test_an_app_that_must_own_fails_where_another_owns(tmp_path):
    async with make(tmp_path):
        with pytest.raises(StoreLocked):
            await make(tmp_path, serve=True).start()


async def test_a_client_only_app_lets_the_directory_go_when_it_is_done(tmp_path, no_task_is_left):
    seen = []
    async with make(tmp_path):
        pass
    async with make(tmp_path, serve=False) as client:
        await client.stream("numbers").put(1, "k")
        await until(lambda: not client._running.runner.waits and client._running.runner.engine is None)
        async with make(tmp_path, seen):
            await until(lambda: seen == [1])
            await client.stream("numbers").put(2, "k")
            await until(lambda: seen == [1, 2])
        await until(lambda: client._running.runner.engine is None)
        await client.stream("numbers").put(3, "k")
        assert seen == [1, 2]


async def test_depth_in_a_thread_opens_a_store_that_nobody_owns(tmp_path):
    """It was refused (OwnerLost), though every other call opened the store."""
    async with App("t", store=tmp_path) as owner:
        await owner.queue("orders").send("one")
    async with App("t", store=tmp_path, serve=False) as client:
        queue = client.queue("orders")
        await until(lambda: not client._running.runner.waits and client._running.runner.engine is None)
        assert (await asyncio.to_thread(queue.depth)).visible == 1


async def test_a_client_only_app_wants_a_store_that_is_there(tmp_path):
    with pytest.raises(ResourceNotFound, match="there is no store"):
        await make(tmp_path, serve=False).start()


async def test_an_owner_that_stops_in_order_costs_its_clients_nothing(tmp_path):
    seen = []
    first, second = make(tmp_path), make(tmp_path, seen)
    await first.start()
    await second.start()
    accepted = []

    async def putting():
        for number in range(300):
            await second.stream("numbers").put(number, "k")
            accepted.append(number)

    try:
        task = asyncio.create_task(putting())
        await until(lambda: len(accepted) > 50)
        await first.stop()
        await task
        await until(lambda: len(seen) >= 300)
        assert seen == list(range(300))
    finally:
        await second.stop()
        await first.stop()


FORKS = """
import asyncio, os, sys
import forebay

async def main(path):
    app = forebay.App("forks", store=path)
    stream = app.stream("numbers")
    async with app:
        await stream.put(1, "k")
        child = os.fork()
        if child == 0:
            try:
                await stream.put(2, "k")
            except forebay.AppClosed as refusal:
                os._exit(7 if "forked" in str(refusal) else 2)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        await stream.put(3, "k")
        print(os.waitstatus_to_exitcode(status))

asyncio.run(main(sys.argv[1]))
"""

# An engine whose threads stayed with the parent must not be waited for when the child lets it go.
FORKS_AND_DROPS = """
import gc, json, os, sys
from forebay._core import Engine

settings = {"app": "forks", "store": sys.argv[1], "region": "local", "account": "0" * 12, "durability": "power-loss"}
engine = Engine(json.dumps(settings).encode())
engine.start()
child = os.fork()
if child == 0:
    engine.forked()
    del engine
    gc.collect()
    os._exit(7)
_, status = os.waitpid(child, 0)
engine.close()
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("program", [FORKS, FORKS_AND_DROPS])
def test_a_forked_child_is_refused_and_harms_nothing(tmp_path, program):
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "data")]
    ran = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    assert (ran.stdout.strip(), ran.returncode) == ("7", 0), ran.stderr


async def test_a_crash_loses_nothing_that_was_acknowledged(tmp_path):
    program = """
import asyncio, sys
import forebay

async def main(path):
    app = forebay.App("life", store=path)
    stream = app.stream("numbers", shards=1)
    await app.start()
    for number in range(1_000_000):
        await stream.put(number, "k")
        print(number, flush=True)

asyncio.run(main(sys.argv[1]))
"""
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "data")]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    acknowledged = [await process.stdout.readline() for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    acknowledged += (await process.stdout.read()).splitlines()
    await process.wait()
    last, seen = int(acknowledged[-1]), []
    async with make(tmp_path, seen):
        await until(lambda: len(seen) > last)
    assert seen[: last + 1] == list(range(last + 1))
    assert len(seen) <= last + 2


async def test_a_destination_file_is_written_before_its_record_is_forgotten(tmp_path):
    path, app = tmp_path / "failed.jsonl", make(tmp_path)

    @app.on_stream("numbers", maximum_retry_attempts=0, on_failure=JSONLines(path))
    async def handler(event, context):
        raise ValueError("no")

    async with app:
        await app.stream("numbers").put(1, "k")
        await until(lambda: path.exists() and path.read_bytes().endswith(b"\n"))
        ends = time.monotonic() + 100
        while await handler.failed():
            assert time.monotonic() < ends
            await asyncio.sleep(0.01)
    assert len(path.read_text().splitlines()) == 1


async def test_a_cancelled_put_leaves_the_app_well(tmp_path):
    async with make(tmp_path) as app:
        stream = app.stream("numbers")
        for _ in range(20):
            task = asyncio.create_task(stream.put(1, "k"))
            await asyncio.sleep(0)
            task.cancel()
        assert await stream.put(1, "k")


async def test_a_timeout_of_a_thread_fails_the_attempt_and_holds_its_lane_until_it_ends(tmp_path):
    app, released, calls = make(tmp_path), threading.Event(), []

    @app.on_stream("numbers", batch_size=1, maximum_retry_attempts=0)
    @app.function(timeout=0.05)
    def handler(batch: Batch, context):
        calls.append(batch[0].json())
        if batch[0].json() == 0:
            released.wait(100)

    async with app:
        await app.stream("numbers").put_many([("0", "k"), ("1", "k")])
        functions = "functions.list"

        async def past_deadline():
            [function] = await app._caller.ask(functions)
            return function["past_deadline"]

        ends = time.monotonic() + 100
        while not await past_deadline():
            assert time.monotonic() < ends
            await asyncio.sleep(0.01)
        assert calls == [0]
        released.set()
        await until(lambda: calls == [0, 1])
        assert await past_deadline() == 0
        while len(await handler.failed()) != 1:
            assert time.monotonic() < ends
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("grace", [0, 30])
async def test_a_handler_that_stops_its_app_is_told_why_it_cannot(tmp_path, grace):
    """It waited for itself: the attempt hung until its timeout, and the app until the end of its grace."""
    app, told, outside = make(tmp_path), [], asyncio.Event()

    async def stop():
        with pytest.raises(
            ForebayError, match=r"function 'ends' of app 'life' is running this.* set an asyncio\.Event"
        ) as refused:
            await app.stop(grace)
        told.append(refused.value)

    @app.function(timeout=20)
    async def ends(event, context):
        await stop()
        await asyncio.create_task(stop())
        outside.set()

    @app.function(timeout=20, isolation="thread")
    def in_thread(event, context):
        try:
            asyncio.run_coroutine_threadsafe(app.stop(grace), loop).result()
        except ForebayError as error:
            return str(error)

    loop = asyncio.get_running_loop()
    await app.start()
    await ends.invoke(None)
    assert "function 'in_thread'" in await in_thread.invoke(None)
    await outside.wait()
    assert len(told) == 2
    await app.stop()  # as the refusal says
    with pytest.raises(AppClosed):
        await ends.invoke(None)


async def test_what_a_handler_left_behind_may_stop_the_app(tmp_path):
    app, left = make(tmp_path), []

    @app.function()
    async def ends(event, context):
        left.append(asyncio.create_task(later()))

    async def later():
        await asyncio.sleep(0.1)
        await app.stop()

    await app.start()
    await ends.invoke(None)
    await left[0]
    with pytest.raises(AppClosed):
        await ends.invoke(None)


async def test_a_handler_may_stop_another_app(tmp_path):
    app, other = make(tmp_path), App("other", store=":memory:")

    @app.function(timeout=20)
    async def ends(event, context):
        await other.stop()

    async with app:
        await other.start()
        await ends.invoke(None)
        with pytest.raises(AppClosed):
            await other.store_failure()
