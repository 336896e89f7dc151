"""Each verb that is awaited has a `_sync` twin: the same code and the same signature, for threads that have no event loop."""

import asyncio
import inspect
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import forebay
from forebay import App, InvalidParameterValue
from forebay.testing import VirtualClock

ROOT = Path(__file__).parents[2]
NOUNS = [
    forebay.Stream,
    forebay.Queue,
    forebay.Topic,
    forebay.Function,
    forebay.Alias,
    forebay.Mapping,
    forebay.Registry,
    App,
]
LIFE = {"start", "stop", "store_failure", "__aenter__", "__aexit__"}  # an app's own, which belong to its event loop


def verbs(noun):
    for name, value in inspect.getmembers(noun, inspect.iscoroutinefunction):
        if not name.startswith("_") and name not in LIFE:
            yield name, value


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
def test_every_verb_has_a_twin_with_its_signature(noun):
    names = [name for name, _ in verbs(noun)]
    assert names
    for name, verb in verbs(noun):
        twin = getattr(noun, f"{name}_sync")
        assert not inspect.iscoroutinefunction(twin)
        assert inspect.signature(twin) == inspect.signature(verb)
        assert twin.__qualname__ == f"{verb.__qualname__}_sync"
        assert twin.__doc__.startswith(f"Do as `{name}`")


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("number: str = stream.put_sync(b'', 'key')", None),
        ("number: int = stream.put_sync(b'', 'key')", "[assignment]"),
        ("stream.put_sync(b'')", "[call-arg]"),
        ("queue.send_sync('', delay='soon')", "[arg-type]"),
    ],
)
def test_a_type_checker_knows_what_a_twin_takes_and_gives(code, verdict, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(f"import forebay\nstream: forebay.Stream\nqueue: forebay.Queue\n{code}\n")
    command = [sys.executable, "-m", "mypy", str(program)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True).stdout
    assert (verdict or "no issues found") in told


async def test_a_twin_lets_its_verb_handle_what_the_engine_refuses(tmp_path):
    app = App("t", store=tmp_path)
    app.stream("orders")

    @app.on_stream("orders", batch_size=1)
    async def handler(event, context):
        pass

    mapping = app.mappings[0]
    async with app:
        await mapping.delete()
        before = mapping.settings
        with pytest.raises(forebay.ResourceNotFound):
            await asyncio.to_thread(mapping.update_sync, batch_size=5)
        assert mapping.settings is before


def test_a_thread_that_ran_the_loop_before_may_use_a_twin_once_another_thread_runs_it(tmp_path):
    app, loop = App("t", store=tmp_path), asyncio.new_event_loop()
    stream = app.stream("orders")
    loop.run_until_complete(app.start())
    loop.run_until_complete(stream.put(b"", "key"))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert stream.put_sync(b"", "key").isdecimal()
    finally:
        asyncio.run_coroutine_threadsafe(app.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_twin_that_is_refused_leaves_nothing_to_await(tmp_path):
    stream = App("t", store=tmp_path).stream("orders")
    with pytest.raises(InvalidParameterValue, match="shards"):
        stream.reshard_sync(0)
    with pytest.raises(forebay.AppClosed):
        stream.reshard_sync(1)


async def test_what_several_calls_answer_comes_together_in_a_thread():
    """A page of failures ends at 8 MiB: `failed` goes on after each answer."""
    clock = VirtualClock()
    app = App("t", store=":memory:", clock=clock)
    app.stream("orders", shards=1)

    @app.on_stream("orders", batch_size=1, maximum_retry_attempts=0, include_payload=True)
    async def handler(event, context):
        raise ValueError

    async with app:
        numbers = await app.stream("orders").put_many([(b"x" * 1_000_000, "key") for _ in range(10)])
        await clock.settle()
        failures = await asyncio.to_thread(handler.failed_sync)
        assert [failure["record"]["KinesisBatchInfo"]["startSequenceNumber"] for failure in failures] == numbers
