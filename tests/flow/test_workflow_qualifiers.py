"""Versions and aliases of workflows, by each way in which executions are started."""

import asyncio

import pytest

from forebay import InvalidParameterValue


def telling(app, text, kind):
    state = {"Type": "Pass", "Result": text, "End": True}
    return app.workflow("flow", {"StartAt": "Tell", "States": {"Tell": state}}, type=kind)


async def test_each_start_takes_a_version_or_an_alias(durable_app, clock):
    """Only `start` took one."""
    for text in ("first", "second"):
        app = durable_app()
        flow = telling(app, text, "EXPRESS")
        async with app:
            if text == "first":
                assert await flow.publish_version() == 1
                await flow.set_alias("live", 1)
                continue

            async def run(qualifier, flow=flow):
                answer = asyncio.ensure_future(flow.start_sync_execution(qualifier=qualifier))
                await clock.advance(1)
                return await answer

            assert [await run(qualifier) for qualifier in (None, "1", "live")] == ["second", "first", "first"]
            started = [await flow.start_many([1, 2], qualifier=qualifier) for qualifier in (None, "1", "live")]
            await clock.advance(1)
            results = [[await one.result() for one in executions] for executions in started]
            assert results == [["second"] * 2, ["first"] * 2, ["first"] * 2]
            with pytest.raises(InvalidParameterValue, match="qualifier=5"):
                await flow.start_many([1], qualifier=5)
