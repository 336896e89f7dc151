"""`isolation="process"`: what a handler is given, what comes back, and how its processes come and go."""

import asyncio
import os
import re
import signal
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

import forebay
from forebay import AppClosed, FunctionError, InvalidParameterValue


async def failure(function, payload=None):
    with pytest.raises(FunctionError) as caught:
        await function.invoke(payload)
    return caught.value.payload


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def is_gone(pid):
    async with asyncio.timeout(100):
        while is_alive(pid):  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.01)
    return True


async def test_a_handler_runs_in_a_process_of_its_own_and_stays_warm(processes):
    async with processes.app:
        first, second = await processes.echo.invoke({"a": [1]}), await processes.echo.invoke("text")
    assert (first["event"], second["event"]) == ({"a": [1]}, "text")
    assert first["pid"] == second["pid"] != os.getpid()
    assert first["request"] != second["request"]
    assert (first["arn"], first["memory"]) == (processes.echo.arn, "128")
    assert 2000 < first["remaining"] <= 3000


async def test_numbers_keep_their_digits_on_the_way_into_a_process_and_back(processes):
    numbers = [2**64 + 1, -(2**63) - 1, 10**400 + 7, 0.1]
    async with processes.app:
        given = await processes.echo.invoke({"numbers": numbers})
        nan = await failure(processes.nan)
    assert given["event"]["numbers"] == numbers
    assert nan["errorMessage"].startswith("Unable to marshal response: NaN at $[1]: JSON has neither NaN nor Infinity")


async def test_lambdas_variables_are_set_and_say_how_the_environment_was_initialized(processes):
    async with processes.app:
        given = await processes.variables.invoke()
    assert given["AWS_LAMBDA_FUNCTION_NAME"] == "variables"
    assert given["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert given["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert given["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/variables"
    assert given["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"


async def test_the_collector_rests_while_forebay_is_imported_and_works_for_the_apps_own_modules(processes):
    async with processes.app:
        collector = await processes.collector.invoke()
    assert (collector["at import"], collector["now"]) == (True, True)
    assert collector["left alone"] > 10_000


async def busy_processes(app, wanted):
    line = 'forebay_environments{function="slow",state="busy"} '
    async with asyncio.timeout(100):
        while f"{line}{wanted}\n" not in app.metrics.page():  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.01)


def open_the_gate():
    Path(os.environ["FOREBAY_TEST_ATTEMPTS"]).touch()


async def begun(function, times):
    """Begin invocations, and wait until every refusal has come."""
    calls = [asyncio.create_task(function.invoke(number)) for number in range(times)]
    await asyncio.sleep(0.1)
    return calls, reasons(calls)


def reasons(calls):
    return [call.exception().reason for call in calls if call.done()]


async def refusals(calls, wanted):
    """Wait until so many calls are refused: a busy machine takes a while."""
    async with asyncio.timeout(100):
        while len(reasons(calls)) < wanted:  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.01)
    return reasons(calls)


async def test_invocations_that_wait_for_a_process_hold_no_place_of_the_account(import_app):
    """One function with two processes and a thousand callers had every other function throttled."""
    waiting = import_app("process_waiting")
    async with waiting.app:
        calls, _ = await begun(waiting.slow, 9)
        assert await refusals(calls, 1) == ["InvocationBacklog"], "two run, and as many wait as the account has places"
        await busy_processes(waiting.app, 2)
        others, _ = await begun(waiting.other, 5)
        assert await refusals(others, 1) == ["ConcurrentInvocationLimitExceeded"]
        assert 'forebay_throttles_total{function="slow",reason="InvocationBacklog"} 1' in waiting.app.metrics.page()
        waiting.gate.set()
        open_the_gate()
        pids = [pid for pid in await asyncio.gather(*calls, return_exceptions=True) if isinstance(pid, int)]
        assert (len(pids), len(set(pids))) == (8, 2)
        await asyncio.gather(*others, return_exceptions=True)


async def test_invocations_that_wait_are_refused_when_their_function_is_switched_off(import_app):
    waiting = import_app("process_waiting")
    async with waiting.app:
        calls, _ = await begun(waiting.slow, 4)
        await waiting.slow.update(reserved_concurrency=0)
        assert await refusals(calls, 2) == ["ReservedFunctionConcurrentInvocationLimitExceeded"] * 2
        # All its processes have work, and it would wait for one for ever.
        late, _ = await begun(waiting.slow, 1)
        assert await refusals(late, 1) == ["ReservedFunctionConcurrentInvocationLimitExceeded"]
        open_the_gate()
        await asyncio.gather(*calls, *late, return_exceptions=True)


async def test_invocations_that_wait_for_a_process_are_refused_as_soon_as_the_app_stops(import_app):
    """They were told at the end of the grace, and nothing said that they had not begun."""
    waiting = import_app("process_waiting")
    await waiting.app.start()
    calls, _ = await begun(waiting.slow, 3)
    await busy_processes(waiting.app, 2)
    calls.append(asyncio.create_task(waiting.starts.invoke()))
    await asyncio.sleep(0)  # it has its place, and its process starts
    stopping = asyncio.create_task(waiting.app.stop(grace=100))
    refused = await asyncio.wait_for(asyncio.gather(*calls[2:], return_exceptions=True), 60)
    for error, name in zip(refused, ("slow", "starts"), strict=True):
        assert isinstance(error, AppClosed)
        assert str(error) == f'function "{name}" did not begin: the app is stopping; it is safe to invoke it again'
    assert not stopping.done()
    open_the_gate()
    assert len(set(await asyncio.gather(*calls[:2]))) == 2, "what had begun was waited for"
    await stopping


async def test_provisioned_concurrency_is_usable_when_all_its_processes_are_ready(processes):
    async def ready():
        functions = await processes.app._caller.ask("functions.list")
        return {function["name"]: function["provisioned_ready"] for function in functions}[processes.variables.name]

    async with processes.app:
        for provisioned in (1, 0, 1):
            await processes.variables.update(provisioned_concurrency=provisioned)
            async with asyncio.timeout(100):
                while await ready() != provisioned:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        listed = await processes.app._caller.ask("environments.list")
        [counts] = [row for row in listed if row["function"] == processes.variables.name]
        assert (counts["idle"], counts["busy"], counts["starting"]) == (1, 0, 0), (
            "what `forebay lag` shows of its processes"
        )
        before = processes.app.metrics.statistic("ProvisionedConcurrencyInvocations", "Sum", period=3600) or 0
        await processes.variables.invoke()
        assert processes.app.metrics.statistic("ProvisionedConcurrencyInvocations", "Sum", period=3600) == before + 1


@pytest.mark.parametrize("name", ["puts", "puts_sync"])
async def test_a_handler_reaches_the_streams_of_the_app(processes, name):
    async with processes.app:
        number = await getattr(processes, name).invoke({"n": 7})
        again = await getattr(processes, name).invoke({"n": 8})
        assert int(again) > int(number) > 0


async def test_errors_have_lambdas_shape(processes):
    async with processes.app:
        error = await failure(processes.raises)
        no_json = await failure(processes.unmarshallable)
        too_large = await failure(processes.big, 7_000_000)
        assert len(await processes.big.invoke(6_000_000)) == 6_000_000
    assert (error["errorMessage"], error["errorType"]) == ("'missing'", "KeyError")
    [frame] = error["stackTrace"]
    assert frame.endswith('in raises\n    raise KeyError("missing")\n')
    assert no_json["errorType"] == "Runtime.MarshalError"
    assert too_large["errorType"] == "Function.ResponseSizeTooLarge"


async def test_what_is_written_is_passed_on_line_by_line_with_the_request(processes, capfd):
    async with processes.app:
        await processes.prints.invoke()
    captured = capfd.readouterr()
    lines = captured.out.split("\n")[:-1]
    assert [line.split(" ", 2)[2] for line in lines] == [
        "to standard output",
        "paid\\rforged - line\\x1b[2K",
        "without an end",
    ]
    [function, request, _] = lines[0].split(" ", 2)
    assert (function, len(request)) == ("prints", 36)
    assert f"prints {request} to standard error" in captured.err.splitlines()


async def test_an_environment_is_replaced_after_so_many_invocations(processes):
    async with processes.app:
        pids = [await processes.recycled.invoke() for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


async def test_work_waits_beyond_the_maximum_and_never_shares_a_process(processes):
    async with processes.app:
        pids = await asyncio.gather(*[processes.slow.invoke(0.2) for _ in range(6)])
    assert len(set(pids)) == 3


async def test_what_an_environment_started_ends_with_it(processes):
    async with processes.app:
        child = await processes.starts_a_child.invoke()
        assert is_alive(child)
    assert await is_gone(child)


async def test_stopping_the_app_interrupts_what_runs_too_long(processes):
    app = processes.app
    await app.start()
    running = asyncio.ensure_future(processes.slow.invoke(8))
    await asyncio.sleep(0.6)
    began = time.monotonic()
    await app.stop(grace=0.1)
    assert time.monotonic() - began < 7, "it takes 8 s"
    with pytest.raises(forebay.ForebayError):
        await running


async def test_an_environment_dies_with_its_runtime(processes, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, os, sys, process_app\n"
        "async def main():\n"
        "    async with process_app.app:\n"
        "        print((await process_app.echo.invoke(1))['pid'], flush=True)\n"
        "        process_app.slow.invoke(9)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parent), PYTHONWARNINGS="ignore")
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment
    )
    pid = int(await parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    parent._transport.close()
    assert await is_gone(pid)


BROKEN = {
    "import of_what_is_not_there": ("Runtime.ImportModuleError", "Unable to import module 'broken': No module named"),
    "def (": ("Runtime.UserCodeSyntaxError", "Syntax error in module 'broken': invalid syntax"),
    "x = 1": ("Runtime.HandlerNotFound", "Handler 'handler' missing on module 'broken'"),
    "raise ValueError('at import')": ("ValueError", "at import"),
    "import os; os._exit(7)": ("Runtime.ExitError", "Runtime exited with error: exit status 7"),
    "import sys; sys.exit()": ("Runtime.ExitError", "Runtime exited without providing a reason"),
    "import asyncio; asyncio.run(app.start())": ("ForebayError", "start it under `if __name__ == "),
}


@pytest.mark.parametrize("text", BROKEN)
async def test_an_environment_that_cannot_start_fails_the_invocation_as_lambda_does(text, tmp_path, monkeypatch):
    kind, message = BROKEN[text]
    whole = (
        "import forebay\n"
        "app = forebay.App('broken', store=':memory:')\n"
        "@app.function(isolation='process')\n"
        "def handler(event, context):\n"
        "    return event\n"
    )
    source = tmp_path / "broken.py"
    source.write_text(whole)
    monkeypatch.syspath_prepend(str(tmp_path))
    import broken

    monkeypatch.delitem(sys.modules, "broken")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "broken", broken)
    source.write_text(whole.split("@app", 1)[0] + text + "\n")
    (tmp_path / "__pycache__").rename(tmp_path / "gone") if (tmp_path / "__pycache__").exists() else None
    async with broken.app:
        error = await failure(broken.handler)
        assert error["errorType"] == kind
        assert message in error["errorMessage"]
        if kind != "Runtime.ExitError":
            assert error["requestId"] == ""
        # Every attempt is told, and none hangs.
        assert (await failure(broken.handler))["errorType"] == kind


def local_app(**options):
    return forebay.App("local", store=":memory:", **options)


def test_a_handler_that_cannot_be_imported_is_refused_when_it_is_declared():
    def inside(event, context):
        return event

    for handler in (inside, lambda event, context: event):
        with pytest.raises(InvalidParameterValue, match="made inside a function"):
            local_app().function("f", isolation="process")(handler)


@pytest.mark.parametrize("options", [{"memory": 64}, {"environments": forebay.Environments(maximum=2)}])
def test_options_of_processes_are_refused_where_there_are_none(options):
    with pytest.raises(InvalidParameterValue, match="give isolation='process' as well"):
        local_app().function("f", isolation="thread", **options)(lambda event, context: event)


@pytest.mark.parametrize(
    "options",
    [{"maximum": 0}, {"idle_timeout": 0}, {"recycle_invocations": 0}, {"recycle_after": 0}, {"maximum": 1001}],
)
def test_settings_of_processes_have_their_ranges(options):
    [name] = options
    with pytest.raises(InvalidParameterValue, match=name):
        forebay.Environments(**options)


def on_the_page(port, metric, function):
    """Read a function's series of a metric off the page, by its other label."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=100) as answer:
        page = answer.read().decode()
    series = re.findall(rf'^{metric}\{{function="{function}",[a-z]+="([a-z-]+)"\}} ([0-9.]+)$', page, re.MULTILINE)
    return {label: float(value) for label, value in series if float(value)}


async def test_the_page_tells_how_many_processes_stand_where_also_after_one_was_killed_and_one_has_retired(processes):
    port = free_port()

    async def shows(function, states):
        for _ in range(500):
            if await asyncio.to_thread(on_the_page, port, "forebay_environments", function) == states:
                return True
            await asyncio.sleep(0.02)
        return False

    await processes.app.start(metrics_port=port)
    try:
        pid = (await processes.echo.invoke(1))["pid"]
        assert await shows("echo", {"idle": 1})
        os.kill(pid, signal.SIGKILL)
        assert await shows("echo", {})
        await processes.echo.invoke(1)
        assert await shows("echo", {"idle": 1})
        running = [asyncio.ensure_future(processes.slow.invoke(1)) for _ in range(2)]
        assert await shows("slow", {"busy": 2})
        await asyncio.gather(*running)
        assert await shows("slow", {"idle": 2})
        for _ in range(3):
            await processes.recycled.invoke(1)
        assert await shows("recycled", {})
        assert await shows("variables", {"idle": 1})
        starts = "forebay_environment_starts_total"
        assert await asyncio.to_thread(on_the_page, port, starts, "echo") == {"on-demand": 2}
        assert await asyncio.to_thread(on_the_page, port, starts, "variables") == {"provisioned": 1}
    finally:
        await processes.app.stop()
