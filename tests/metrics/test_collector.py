"""An app's metrics in a prometheus-client registry."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, generate_latest

from forebay import App
from forebay.metrics import Collector


async def test_a_registry_of_the_users_own_shows_the_apps_metrics_beside_its_own(no_task_is_left):
    registry = CollectorRegistry(auto_describe=True)
    Counter("own_things", "Something of the user's own.", registry=registry).inc(3)
    app = App("shown", store=":memory:")
    registry.register(Collector(app))
    before = generate_latest(registry).decode()
    assert "own_things_total 3.0" in before
    assert "forebay_" not in before

    @app.function()
    async def handler(event, context):
        return event

    async with app:
        await handler.invoke(None)
        page = (await asyncio.to_thread(generate_latest, registry)).decode()
        assert (
            registry.get_sample_value("forebay_invocations_total", {"function": "handler", "outcome": "success"}) == 1
        )
        own = {
            line for line in app.metrics.page().splitlines() if line.startswith("forebay_invocation_duration_seconds")
        }
    assert "own_things_total 3.0" in page
    assert 'forebay_invocation_duration_seconds_bucket{function="handler",le="+Inf"} 1.0' in page
    assert "# TYPE forebay_invocation_duration_seconds histogram" in page
    assert len(own) == 17
    assert "own_things_total 3.0" in generate_latest(registry).decode()
