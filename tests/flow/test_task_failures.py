"""What the log says of functions that fail for workflows: it leads from the function to the execution."""

import asyncio
import re
import subprocess
import sys

import pytest

from forebay import ExecutionFailed


def machine(**more):
    return {"StartAt": "Charge", "States": {"Charge": {"Type": "Task", "Resource": "${charge}", "End": True, **more}}}


def lines(caplog, what):
    return [record.getMessage() for record in caplog.records if what in record.getMessage()]


@pytest.mark.parametrize("blocks", [False, True])
async def test_the_line_of_a_function_that_failed_names_its_execution(app, clock, caplog, blocks):
    """It named the function alone, and `forebay why` had nothing to be asked for."""

    async def waits(event, context):
        raise ValueError("no money")

    def blocking(event, context):
        raise ValueError("no money")

    isolation = "thread" if blocks else None
    function = app.function(name="charge", maximum_retry_attempts=0, isolation=isolation)
    charge = function(blocking if blocks else waits)
    flow = app.workflow("order", machine())
    async with app:
        execution = await flow.start({}, name="one")
        result = asyncio.ensure_future(execution.result())
        await clock.settle()
        with pytest.raises(ExecutionFailed):
            await result
        await charge.invoke_async({})
        await clock.advance(1)
    first, second = lines(caplog, "an attempt failed: ValueError: no money")
    assert first.endswith(f" for state Charge: `forebay why {execution.arn}` tells the execution's life")
    assert "forebay why" not in second, "an event has no execution"


async def test_the_line_of_a_function_that_timed_out_names_its_execution(app, clock, caplog):
    @app.function(timeout=2)
    async def charge(event, context):
        await clock.sleep(60)

    flow = app.workflow("order", machine())
    async with app:
        execution = await flow.start({}, name="one")
        result = asyncio.ensure_future(execution.result())
        await clock.advance(3)
        with pytest.raises(ExecutionFailed):
            await result
    [line] = lines(caplog, "timed out after 2 s")
    assert line.endswith(f" for state Charge: `forebay why {execution.arn}` tells the execution's life")


async def test_the_line_of_a_durable_function_names_no_state(app, clock, caplog):
    """Its state was written by nobody."""
    sdk = pytest.importorskip("aws_durable_execution_sdk_python")
    inside = sdk.durable_execution(lambda event, context: 1)

    @app.durable_function()
    def charge(event, context):
        if not lines(caplog, "an attempt failed"):
            raise ConnectionError("secrets")
        return inside(event, context)

    async with app:
        execution = await charge.start({}, name="one")
        result = asyncio.ensure_future(execution.result())
        await clock.advance(10)
        assert await result == 1
    [line] = lines(caplog, "an attempt failed: ConnectionError")
    assert line.endswith(f": `forebay why {execution.arn}` tells the execution's life")
    assert " for state " not in line


PROCESS = """
import asyncio
import sys

import forebay

app = forebay.App("shop", store="./store")


@app.function()
def charge(event, context):
    raise ValueError("no money")


flow = app.workflow("order", {"StartAt": "Charge", "States": {"Charge": {"Type": "Task", "Resource": "${charge}", "End": True}}})


async def main():
    async with app:
        execution = await flow.start({}, name="one")
        try:
            await execution.result()
        except forebay.ExecutionFailed:
            print(execution.arn, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    asyncio.run(main())
"""


def test_the_line_of_a_function_in_a_process_leads_to_its_execution(tmp_path):
    """The process does not know the execution. Its lines have the id of the request, of which `forebay why` knows it."""
    (tmp_path / "shop.py").write_text(PROCESS)
    ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([sys.executable, "shop.py"], cwd=tmp_path, stderr=log, **ends) as app,
    ):
        arn = app.stdout.readline().strip()
        told = re.search(r"\[(\S+)\]: function charge: an attempt failed: ", (tmp_path / "log").read_text())
        asked = told[1] if told else "nothing"
        why = [sys.executable, "-m", "forebay.cli", "why", asked, "--store", tmp_path / "store"]
        text = subprocess.run(why, check=False, capture_output=True, text=True).stdout
        app.communicate("\n", timeout=60)
    assert arn in text, (tmp_path / "log").read_text()
