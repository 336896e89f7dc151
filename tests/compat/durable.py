"""AWS's own examples of durable functions, unmodified, from the repository of its testing package.

They are read from `target/compat/aws-durable-execution-sdk-python-testing`, which is cloned if it is not there.
"""

import asyncio
import importlib.metadata
import importlib.util
import subprocess
from pathlib import Path

import pytest

from forebay import App

URL = "https://github.com/aws/aws-durable-execution-sdk-python-testing"
CLONE = Path(__file__).parents[2] / "target" / "compat" / URL.rpartition("/")[2]
SECONDS = 120
# What AWS's tests of the examples expect of them.
EXPECTED = {
    "hello_world": "Hello World!",
    "wait/wait": "Wait completed",
    "wait/wait_with_name": "Wait with name completed",
    "wait/multiple_wait": {"completedWaits": 2, "finalStep": "done"},
    "block_example/block_example": {"nestedStep": "nested step result", "nestedBlock": "nested block result"},
    "map/map_operations": [1, 4, 9, 16, 25],
    "parallel/parallel_with_wait": "Completed waits",
    "wait_for_condition/wait_for_condition": 3,
}


@pytest.fixture(scope="module")
def examples():
    """Give the folder of the examples."""
    if not CLONE.exists():
        done = subprocess.run(
            ["git", "clone", "--depth", "1", URL, str(CLONE)], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            pytest.skip(f"the examples cannot be fetched: {done.stderr.strip()}")
    return CLONE / "examples" / "src"


def handler_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


@pytest.mark.parametrize("name", EXPECTED)
async def test_an_example_runs_as_it_is(examples, name, forebay_clock, record_testsuite_property):
    version = importlib.metadata.version("aws-durable-execution-sdk-python")
    record_testsuite_property("aws-durable-execution-sdk-python", version)
    app = App("examples", store=":memory:", clock=forebay_clock)
    flow = app.durable_function()(handler_of(examples / f"{name}.py"))
    async with app:
        result = asyncio.ensure_future((await flow.start({})).result())
        await forebay_clock.advance(SECONDS)
        assert await result == EXPECTED[name]
