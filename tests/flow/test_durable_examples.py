"""AWS's own examples of durable functions, unmodified, where there is a clone of the repository that has them.

    git clone https://github.com/aws/aws-durable-execution-sdk-python-testing
    FOREBAY_DURABLE_EXAMPLES=aws-durable-execution-sdk-python-testing/examples/src make test

The example that AWS ships with its SDK is always run: `test_durable_functions.py`.
"""

import asyncio
import importlib.util
import os
from pathlib import Path

import pytest

EXAMPLES = os.environ.get("FOREBAY_DURABLE_EXAMPLES")
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


def handler_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


@pytest.mark.skipif(EXAMPLES is None, reason="FOREBAY_DURABLE_EXAMPLES names no clone of AWS's examples")
@pytest.mark.parametrize("name", EXPECTED)
async def test_an_example_runs_as_it_is(app, clock, name):
    flow = app.durable_function()(handler_of(Path(EXAMPLES) / f"{name}.py"))
    async with app:
        result = asyncio.ensure_future((await flow.start({})).result())
        await clock.advance(SECONDS)
        assert await result == EXPECTED[name]
