"""Durable functions that wait while their app starts again."""

import pytest

from forebay import App
from forebay.testing import VirtualClock

pytest.importorskip("aws_durable_execution_sdk_python")

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import Duration


async def test_a_restart_runs_no_function_that_only_waits(tmp_path):
    """A restart ran all of them again, though nothing was due."""
    clock, runs = VirtualClock(), []

    def made():
        app = App("t", store=tmp_path / "store", clock=clock)

        @app.durable_function()
        @durable_execution
        def order(event: dict, context: DurableContext) -> int:
            runs.append(event)
            context.wait(Duration.from_days(30))
            return 7

        return app, order

    app, order = made()
    async with app:
        for number in range(20):
            await order.start(number, name=str(number))
        await clock.settle()
    assert len(runs) == 20
    app, order = made()
    async with app:
        await clock.advance(86_400)
        assert len(runs) == 20
        await clock.advance(30 * 86_400)
        assert [await order.execution(str(number)).result() for number in range(20)] == 20 * [7]
    assert len(runs) == 40
