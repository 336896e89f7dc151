"""Workers of activities in processes of their own, while the app is killed and started again."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from forebay import App

APP = """
import asyncio, sys
import forebay

app = forebay.App("house", store=sys.argv[1], serve={serve})
paint = app.activity("paint")
task = {{"Type": "Task", "Resource": paint.arn, "End": True}}
house = app.workflow("house", {{"StartAt": "Paint", "States": {{"Paint": task}}}})
wait = {{"Type": "Wait", "Seconds": 2, "Next": "Call"}}
calls = {{"Type": "Task", "Resource": "${{call}}", "End": True}}
later = app.workflow("later", {{"StartAt": "Rest", "States": {{"Rest": wait, "Call": calls}}}})


@app.function()
async def call(event, context):
    return "called"


async def main():
    async with app:
        if sys.argv[2] == "first":
            await later.start(name="one")
            print(await (await house.start("first")).result(), flush=True)
            await asyncio.sleep(600)
        print(await later.execution("one").result(), flush=True)
        print(await (await house.start("second")).result(), flush=True)


asyncio.run(main())
"""
WORKER = """
import asyncio, contextlib, logging, sys
import forebay

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
app = forebay.App("house", store=sys.argv[1], serve=False)
paint = app.activity("paint")


async def main():
    async with app:
        async for task in paint.tasks(worker="ann"):
            # The app may be killed when it has the task's end, and before its answer is here.
            with contextlib.suppress(forebay.OwnerLost):
                await task.success(f"{task.input} painted")


asyncio.run(main())
"""


@pytest.fixture
def begin(tmp_path):
    """Start a program with these arguments, and end it with the test."""
    begun = []

    def start(text, *arguments):
        program = subprocess.Popen(
            [sys.executable, "-c", text, tmp_path / "data", *arguments], stdout=subprocess.PIPE, text=True
        )
        begun.append(program)
        return program

    yield start
    for program in begun:
        program.kill()
        program.communicate()


def line_with(program, text):
    while text not in (line := program.stdout.readline()):
        assert line, f"the program ended without {text!r}"
    return line


@pytest.mark.parametrize("serve", ['"elect"', "True"])
def test_a_worker_that_polls_gives_the_store_back_to_the_app(begin, tmp_path, serve):
    """When the app was killed, a worker became the owner for as long as it polled: the app ran nothing, or did not start."""
    first = begin(APP.format(serve=serve), "first")
    while not (tmp_path / "data" / "forebay.db").exists():
        time.sleep(0.01)
    workers = [begin(WORKER), begin(WORKER)]
    for worker in workers:
        line_with(worker, "is a client of")
    assert first.stdout.readline() == "first painted\n"
    os.kill(first.pid, signal.SIGKILL)
    for worker in workers:
        line_with(worker, "connected to the store again")
    second = begin(APP.format(serve=serve), "second")
    started = time.monotonic()
    assert second.communicate(timeout=60)[0] == "called\nsecond painted\n"
    assert second.returncode == 0
    # The wait of 2 s is part of it.
    assert time.monotonic() - started < 20
    assert [worker.poll() for worker in workers] == [None, None]


async def test_a_poll_outlives_an_app_that_stops(tmp_path):
    """`get_task` raised OwnerLost, and so did `tasks`, which says that it is without end."""

    def made(**options):
        app = App("house", store=tmp_path, **options)
        paint = app.activity("paint")
        task = {"Type": "Task", "Resource": paint.arn, "End": True}
        return app, paint, app.workflow("house", {"StartAt": "Paint", "States": {"Paint": task}})

    app, _, _ = made()
    await app.start()
    worker, paint, _ = made(serve=False)
    async with worker:
        polls = asyncio.create_task(paint.get_task("ann"))
        await asyncio.sleep(0.1)
        await app.stop()
        await asyncio.sleep(0.3)
        assert not polls.done()
        app, _, house = made()
        async with app:
            execution = await house.start("white")
            async with asyncio.timeout(30):
                task = await polls
                await task.success("painted")
                assert await execution.result() == "painted"
