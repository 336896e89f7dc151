"""Registries of schemas, discovery, and buses that enforce schemas, through the public API."""

import json

import pytest

from forebay import App, InvalidParameterValue, ResourceConflict, ResourceNotFound
from forebay.bus import Event
from forebay.testing import VirtualClock


def schema(kind):
    """Make a schema of an event whose detail has an id of a kind."""
    detail = {"type": "object", "required": ["id"], "properties": {"id": {"type": kind}}}
    return {"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "properties": {"detail": detail}}


async def test_a_registry_keeps_versions_and_outlives_the_app(store):
    app = App("shop", store=store)
    registry = app.registry("shop", "of the shop")
    async with app:
        assert (await registry.put("shop@Placed", schema("integer"))).version == 1
        assert (await registry.put("shop@Placed", json.dumps(schema("string")))).versions == (1, 2)
    app = App("shop", store=store)
    registry = app.registry("shop")
    async with app:
        latest = await registry.get("shop@Placed")
        assert (latest.version, latest.schema_type) == (2, "JSONSchemaDraft4")
        assert json.loads(latest.content) == schema("string")
        assert (await registry.export("shop@Placed", 1)).content == json.dumps(schema("integer"), separators=(",", ":"))
        assert await registry.names("shop@", keywords="STRING") == ["shop@Placed"]
        assert await registry.names(keywords="nothing") == []
        with pytest.raises(InvalidParameterValue, match=r"\$\.type"):
            await registry.put("other", {"type": "text"})
        with pytest.raises(ResourceNotFound, match="does not have version 9"):
            await registry.get("shop@Placed", 9)
        await registry.delete("shop@Placed")
        assert await registry.names() == []
        own = await app.registry("aws.events").names()
        assert {"aws.scheduler@ScheduledEvent", "lambda@LambdaFunctionInvocationResultFailure"} <= set(own)
        assert len(own) == 8


async def test_discovery_makes_a_schema_that_a_bus_then_enforces(tmp_path):
    clock = VirtualClock()
    app = App("shop", store=tmp_path, clock=clock)
    orders = app.bus("orders", discovery=True)
    strict = app.bus("strict", enforce=True)
    discovered = app.registry("discovered-schemas")
    async with app:
        await orders.put({"id": 1, "note": "x"}, source="shop", detail_type="Order Placed")
        await orders.put({"id": 2}, source="shop", detail_type="Order Placed")
        await clock.advance(2)
        content = json.loads((await discovered.get("shop@OrderPlaced")).content)
        assert content["components"]["schemas"]["OrderPlaced"]["required"] == ["id"]
        good, bad = await strict.put_many(
            [Event({"id": 3}, "shop", "Order Placed"), Event({"id": "three"}, "shop", "Order Placed")]
        )
        assert isinstance(good, str)
        assert isinstance(bad, InvalidParameterValue)
        assert "does not fit schema shop@OrderPlaced version 1" in str(bad)
        assert "$.detail.id" in str(bad)


async def test_what_is_not_said_of_a_bus_stays_as_it_is_in_the_store(store):
    app = App("shop", store=store)
    app.registry("mine")
    app.bus("orders", discovery=True, enforce=app.registry("mine"))
    async with app:
        pass
    app = App("shop", store=store)
    app.bus("orders")
    async with app:
        described = app._caller.ask_now("bus.describe", name="orders")
    assert (described["discovery"], described["enforce"]) == (True, "mine")


def test_what_cannot_be_is_refused_where_it_is_declared():
    app = App("shop")
    for wrong in (1, "a/b", 2.5):
        with pytest.raises(InvalidParameterValue, match="enforce"):
            app.bus("orders", enforce=wrong)
    with pytest.raises(InvalidParameterValue, match="a registry's name"):
        app.registry("a/b")
    app.bus("orders", discovery=True)
    assert app.bus("orders").settings.discovery
    with pytest.raises(ResourceConflict, match="bus 'orders' is already declared"):
        app.bus("orders", discovery=False)
    app.registry("shop", "one")
    with pytest.raises(ResourceConflict, match="registry 'shop' is already declared"):
        app.registry("shop", "two")
