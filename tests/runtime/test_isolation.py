"""Where a handler runs if nobody says so, and what it shares there with other invocations."""

import asyncio
import functools
import os
import re
import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import forebay
from forebay import App, InvalidParameterValue
from forebay._app import process_logging
from forebay._runtime.thread_loop import ThreadLoop

CHOICES = (
    "Move it to the top of a module, make it async def, or let it run in threads of this process, whose attempts share all of "
    "its state: @app.function(isolation='thread') below the decorators of its sources"
)


@pytest.fixture
def moved(import_app):
    return import_app("process_isolation")


@pytest.fixture
def app():
    return App("isolation", store=":memory:")


async def test_an_invocation_of_a_lambda_that_was_moved_over_has_its_module_to_itself(moved):
    """Threads shared the module: with Powertools' batch processor, messages that had failed were deleted, others ran twice."""
    async with moved.app:
        answers = await asyncio.gather(*(moved.moved.invoke() for _ in range(40)))
        mixed_up = await asyncio.gather(*(moved.in_threads.invoke() for _ in range(40)))
    assert all(answer["mine"] for answer in answers)
    assert os.getpid() not in {answer["pid"] for answer in answers}
    assert not all(answer["mine"] for answer in mixed_up), "what is chosen with threads is what the docs say"
    assert {answer["pid"] for answer in mixed_up} == {os.getpid()}


async def test_variables_that_are_the_same_for_all_functions_are_set_wherever_a_handler_runs(moved, monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "TZ"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # the user's own
    before = dict(os.environ)
    async with moved.app:
        process, task = await moved.variables.invoke(), await moved.variables_of_a_task.invoke()
    for given in (process, task):
        assert (given["AWS_REGION"], given["AWS_DEFAULT_REGION"]) == ("eu-central-1", "us-east-1")
        assert given["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_python3.")
        assert given["LAMBDA_TASK_ROOT"] == str(Path.cwd())
    assert (process["AWS_LAMBDA_FUNCTION_NAME"], process["TZ"]) == ("variables", ":UTC")
    assert not {"AWS_LAMBDA_FUNCTION_NAME", "_HANDLER", "TZ"} & task.keys()
    assert dict(os.environ) == before, "a stopped app leaves none of them"


async def test_the_name_of_no_region_of_aws_hides_none_that_boto3_is_configured_with(app, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)

    @app.function()
    async def variables(event, context):
        return dict(os.environ)

    async with app:
        given = await variables.invoke()
    assert given["AWS_REGION"] == "local"
    assert "AWS_DEFAULT_REGION" not in given


class Bridge:
    """As Mangum: an object at the top of a module."""

    def __call__(self, event, context):
        return asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, "bridged"))


def with_an_argument(argument, event, context): ...


@pytest.mark.parametrize("source", ["function", "on_stream", "on_queue"])
def test_a_handler_that_no_process_can_import_is_refused_with_what_can_be_done(app, source):
    def inside(event, context):
        return event

    declare = {"function": app.function, "on_stream": app.on_stream, "on_queue": app.on_queue}[source]
    for handler in (inside, lambda event, context: event, functools.partial(with_an_argument, 1), Bridge()):
        with pytest.raises(InvalidParameterValue) as refused:
            declare("orders")(handler)
        assert str(refused.value).endswith(CHOICES)
    assert app.mappings == (), "what is refused is not declared"


async def test_an_object_that_is_called_runs_in_a_process_if_its_function_has_a_name_in_a_module(moved):
    """A `Mangum` at the top of a module was refused, although a process can import it as it can a function."""
    assert moved.bridged.settings.isolation == "process"
    async with moved.app:
        told = await moved.bridged.invoke(1)
        assert told["pid"] != os.getpid()
        assert told["handler"] == "process_isolation.bridged"
        assert (await moved.partial.invoke(1))["argument"] == 7


async def test_an_object_that_is_called_and_bound_to_no_name_is_refused_at_the_start(moved):
    moved.nameless()
    with pytest.raises(
        InvalidParameterValue, match=r"no module has a name .* `name = app.function\(…\)\(…\)`"
    ) as refused:
        await moved.app.start()
    assert str(refused.value).endswith(CHOICES)


@pytest.mark.parametrize("name", ["stops", "stops_in_a_task"])
async def test_a_handler_in_a_process_that_stops_its_app_is_told_why_it_cannot(moved, name):
    """It did nothing, without a word."""
    async with moved.app:
        told = await getattr(moved, name).invoke()
        assert f"function '{name}' of app 'moved' is running this in a process of its own" in told


async def test_the_time_in_a_processs_lines_of_text_is_the_apps(moved, monkeypatch, capfd, tmp_path):
    """TZ=:UTC, as on Lambda, made its lines hours older or younger than those of the app beside them."""
    monkeypatch.delenv("TZ", raising=False)
    zone = tmp_path / "localtime"
    zone.write_bytes(b"TZif" + bytes(16) + struct.pack(">6liBB", 0, 0, 0, 0, 1, 4, 20_700, 0, 0) + b"KTM\0")  # RFC 9636
    monkeypatch.setattr(process_logging, "LOCALTIME", zone)
    async with moved.app:
        told = await moved.warns.invoke()
    [line] = [line for line in capfd.readouterr().err.splitlines() if "what is the time" in line]
    shown = re.search(r" (\d\d:\d\d):\d\d\.\d{3} WARNING", line)[1]
    there = datetime.fromtimestamp(told["time"], timezone(timedelta(hours=5, minutes=45)))
    assert shown in {there.strftime("%H:%M"), (there + timedelta(minutes=1)).strftime("%H:%M")}
    assert told["hour"] == datetime.fromtimestamp(told["time"], UTC).hour, "the handler's own time stays as on Lambda"


def test_a_handler_that_was_typed_in_is_refused_with_what_can_be_done():
    program = (
        "import forebay\n"
        "app = forebay.App('typed', store=':memory:')\n"
        "def handler(event, context): ...\n"
        "try:\n    app.function()(handler)\n"
        "except forebay.InvalidParameterValue as error:\n    print(error)\n"
    )
    assert run(program).strip().endswith(f"there is no file to import it from. {CHOICES}")


def test_a_batch_handler_runs_in_threads_and_may_be_a_closure(app):
    @app.on_stream("orders")
    def ship(batch: forebay.Batch, context): ...

    assert ship.settings.isolation == "thread"


def in_threads(app, handler):
    return app.function("f", isolation="thread")(handler)


async def test_a_bridge_finds_a_current_loop_in_a_handlers_thread(app):
    """Mangum failed: There is no current event loop in thread 'forebay-handler-1'."""
    function = in_threads(app, Bridge())
    async with app:
        assert [await function.invoke() for _ in range(3)] == ["bridged"] * 3


async def test_a_threads_loop_is_whole_again_for_the_next_attempt():
    """`asyncio.run` leaves none behind, and a handler may close the one it was given."""
    app, loops = App("loops", store=":memory:", concurrency=1), []

    def handler(event, context):
        loop = asyncio.get_event_loop()
        loops.append(loop)
        if event == "run":
            return asyncio.run(asyncio.sleep(0, "ran"))
        if event == "close":
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        return loop.run_until_complete(asyncio.sleep(0, "answered")) if event is None else event

    function = in_threads(app, handler)
    async with app:
        answers = [await function.invoke(event) for event in (None, "run", None, "close", None)]
    assert answers == ["answered", "ran", "answered", "close", "answered"]
    assert loops[0] is loops[1] is loops[2] is loops[3] is not loops[4]
    async with asyncio.timeout(100):
        while not loops[4].is_closed():  # the thread ends by itself when the app has stopped  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_each_thread_has_a_loop_of_its_own(app):
    def handler(event, context):
        asyncio.get_event_loop().run_until_complete(asyncio.sleep(0.05))
        return id(asyncio.get_event_loop())

    function = in_threads(app, handler)
    async with app:
        assert len(set(await asyncio.gather(*(function.invoke() for _ in range(5))))) == 5


def test_a_loop_that_nobody_uses_holds_no_descriptor():
    """A thousand threads would hold three thousand, and most processes may have 1,024."""
    before = descriptors()
    loops = [ThreadLoop() for _ in range(10)]
    for loop in loops[1:]:
        assert loop.is_usable
        loop.close()
    assert descriptors() == before
    handled = []
    loops[0].set_exception_handler(lambda loop, context: handled.append(context["message"]))
    loops[0].call_exception_handler({"message": "set before the loop was made"})
    assert handled == ["set before the loop was made"]
    loops[0].close()
    assert descriptors() == before


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=200
    ).stdout
