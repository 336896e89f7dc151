"""Aliases: where they may point, which version an invocation runs, and what is provisioned for them."""

import json
from collections import Counter
from pathlib import Path

import pytest
from published import provisioned, sleeper, told

from forebay import App, Environments, FunctionError, InvalidParameterValue, ResourceConflict, ResourceNotFound
from forebay.errors import AppClosed

CASES = json.loads((Path(__file__).parents[1] / "cases" / "aliases.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_table_of_aliases_holds_where_they_are_declared(app, case):
    function = app.function("f")(told("f"))
    for name in "abcde":
        function.publish_version(told(name))
    options = {"weights": case.get("weights"), "provisioned_concurrency": case.get("provisioned", 0)}

    def declare():
        return app.alias(case.get("alias", "live"), function, case["version"], **options)

    if "error" in case:
        with pytest.raises(InvalidParameterValue) as refused:
            declare()
        assert str(refused.value) == case["error"]
    else:
        assert declare() is declare()


def test_an_alias_is_of_a_function_and_versions_that_there_are(app, price):
    with pytest.raises(ResourceNotFound) as missing:
        app.alias("live", price, "10")
    assert str(missing.value) == f"Function not found: {price.arn}:10"
    with pytest.raises(ResourceNotFound):
        app.alias("live", price, "1", weights={"3": 0.5})
    with pytest.raises(InvalidParameterValue, match="a function of this app"):
        App("other").alias("live", price, "1")
    for wrong in (["2"], {"2": "0.5"}, {2: 0.5}, {"2": True}):
        with pytest.raises(InvalidParameterValue, match="weights="):
            app.alias("live", price, "1", weights=wrong)
    live = app.alias("live", price, "1", weights={"2": 0.5})
    with pytest.raises(ResourceConflict) as known:
        app.alias("live", price, "2")
    assert str(known.value) == f"Alias already exists: {live.arn}"


async def test_an_alias_is_changed_whole_or_not_at_all(app, price):
    live = app.alias("live", price, "1", weights={"2": 0.5})
    async with app:
        for wrong, error in [
            ({"version": "9"}, ResourceNotFound),
            ({"version": "2"}, InvalidParameterValue),
            ({"weights": {"2": 2}}, InvalidParameterValue),
            ({"name": "x"}, InvalidParameterValue),
            ({"version": "$LATEST", "weights": {}, "provisioned_concurrency": 1}, InvalidParameterValue),
        ]:
            with pytest.raises(error):
                await live.update(**wrong)
            assert (live.settings.version, live.settings.weights) == ("1", {"2": 0.5})
        await live.update(weights={"2": 1.0})
        assert (await live.invoke_with_version())[1] == "2"
    with pytest.raises(AppClosed):
        await live.update(weights={})


async def test_what_was_changed_while_the_app_ran_is_forgotten_at_the_next_start(app, price):
    live = app.alias("live", price, "1", provisioned_concurrency=2)
    async with app:
        await live.update(version="2")
        await price.update(qualifier="1", provisioned_concurrency=3)
        assert provisioned(app, "price") == {"1": 3, "2": 2}
    async with app:
        assert provisioned(app, "price") == {"1": 2, "2": 0}
        assert (await live.invoke_with_version())[1] == "1" == live.settings.version


def test_an_alias_provisions_no_more_processes_than_a_version_may_have(app):
    function = app.command_function("c", command=["true"], environments=Environments(maximum=2))
    function.publish_version()
    function.publish_version(timeout=9)
    with pytest.raises(
        InvalidParameterValue, match="alias 'live' on version 1: provisioned_concurrency=3: allowed are"
    ):
        app.alias("live", function, "1", provisioned_concurrency=3)
    assert app.alias("live", function, "1", weights={"2": 0.5}, provisioned_concurrency=3)


def test_an_alias_takes_no_mapping_and_no_subscription(app, price):
    live = app.alias("live", price, "1")
    app.stream("s")
    with pytest.raises(InvalidParameterValue, match="a handler is a function"):
        app.on_stream("s")(live)
    with pytest.raises(InvalidParameterValue, match="not a version or an alias"):
        app.topic("t").subscribe(live)


async def test_the_engine_maps_no_version_and_no_alias_either(app, price):
    app.stream("s"), app.queue("q")
    app.alias("live", price, "1")
    app.on_stream("s")(app.on_queue("q")(price))
    async with app:
        for source in ({"stream": "s"}, {"queue": "q"}):
            mapping = await app._caller.ask("mapping.describe", **source, function="price")
            for qualifier in ("1", "live"):
                with pytest.raises(InvalidParameterValue, match="a mapping is a function's, not a version's"):
                    await app._caller.ask("mapping.declare", **{**mapping, "function": f"price:{qualifier}"})


async def test_what_a_function_is_limited_to_is_changed_by_its_qualifier_too_and_by_no_alias(app, price):
    app.alias("live", price, "1")
    async with app:
        limited = await app._caller.ask("function.update", name="price:$LATEST", reserved_concurrency=3)
        assert limited["reserved_concurrency"] == 3
        with pytest.raises(InvalidParameterValue, match="it is an alias, changed by `forebay function alias`"):
            await app._caller.ask("function.update", name="price:live", provisioned_concurrency=3)
        with pytest.raises(ResourceNotFound, match=r"price:9$"):
            await app._caller.ask("function.update", name="price:9", provisioned_concurrency=3)


async def test_a_change_is_judged_by_what_the_alias_is_by_now(app, price):
    live = app.alias("live", price, "1", weights={"2": 0.5})
    async with app:
        await app._caller.ask("alias.update", function="price", name="live", weights={})  # as a command does it
        await live.update(version="2")
        assert (live.settings.version, live.settings.weights) == ("2", {})


async def test_an_alias_that_the_running_app_refuses_is_not_declared_and_tells_why(app, price, clock):
    async with app:
        await price.update(qualifier="1", provisioned_concurrency=2)
        big = app.alias("big", price, "1", provisioned_concurrency=1)
        await clock.settle()
        for call in (big.invoke, big.invoke_async, big.update):
            with pytest.raises(ResourceNotFound, match=f"{big.arn}: the alias was refused: .* already Provisioned"):
                await call()
        await price.update(qualifier="1", provisioned_concurrency=0)
        assert app.alias("big", price, "1", provisioned_concurrency=1) is not big
        assert (await price.invoke(qualifier="big"))[0] == "first"


async def test_invocations_by_an_alias_are_shared_by_weight(app, price):
    live = app.alias("live", price, "1", weights={"2": 0.25})
    async with app:
        ran = Counter([(await live.invoke_with_version())[1] for _ in range(2000)])
        assert sum(ran.values()) == ran["1"] + ran["2"]
        # Five standard deviations; the clock's chance is seeded, so this is the same each time.
        assert abs(ran["2"] - 500) < 5 * (2000 * 0.25 * 0.75) ** 0.5
        await live.update(weights={})
        assert {(await live.invoke_with_version())[1] for _ in range(50)} == {"1"}
        await live.update(version="2", weights={"1": 0.0})
        assert {(await live.invoke_with_version())[1] for _ in range(50)} == {"2"}


async def test_every_attempt_of_an_event_runs_the_version_that_was_drawn(app, clock):
    ran = {}

    def failing(version):
        async def handler(event, context):
            ran.setdefault(context.aws_request_id, []).append((version, context.invoked_function_arn))
            raise ValueError(version)

        return handler

    function = app.function("f", retry_delays=[1])(failing("latest"))
    for version in ("1", "2"):
        function.publish_version(failing(version))
    live = app.alias("live", function, "1", weights={"2": 0.5})
    async with app:
        requests = [await live.invoke_async(number) for number in range(40)]
        await clock.advance(1)
        await live.update(version="2", weights={})  # too late for what was accepted
        await clock.advance(10)
    assert {request: len(set(ran[request])) for request in requests} == dict.fromkeys(requests, 1)
    assert {len(attempts) for attempts in ran.values()} == {3}
    assert {attempts[0] for attempts in ran.values()} == {("1", live.arn), ("2", live.arn)}


async def test_an_alias_is_a_destination_and_draws_for_each_record(app, clock, price):
    told_to = []

    @app.function("records")
    async def target(record, context):
        raise AssertionError("the alias points elsewhere")

    async def first(record, context):
        told_to.append((context.function_version, context.invoked_function_arn, record["requestPayload"]))

    target.publish_version(first)
    live = app.alias("live", target, "1")
    with pytest.raises(InvalidParameterValue, match="as a destination for itself"):
        app.function("records", on_success=live)(target)

    @app.function("work", on_success=live)
    async def work(event, context):
        return event

    async with app:
        await work.invoke_async(7)
        await clock.advance(1)
    assert told_to == [("1", live.arn, 7)]


async def test_an_alias_shares_its_provisioned_concurrency_out_and_takes_it_along(make, clock):
    app = make(concurrency=100)
    function = sleeper(app, clock)
    for timeout in (1, 2, 3):
        function.publish_version(timeout=timeout)
    live = app.alias("live", function, "1", weights={"2": 0.3}, provisioned_concurrency=10)
    async with app:
        assert provisioned(app) == {"1": 7, "2": 3, "3": 0}
        await live.update(weights={})
        assert provisioned(app) == {"1": 10, "2": 0, "3": 0}
        await live.update(version="3", weights={"1": 0.5})
        assert provisioned(app) == {"1": 5, "2": 0, "3": 5}
        with pytest.raises(InvalidParameterValue, match="greater than account's unreserved concurrency"):
            await live.update(provisioned_concurrency=101)
        assert provisioned(app) == {"1": 5, "2": 0, "3": 5}
        await live.update(provisioned_concurrency=0)
        assert provisioned(app) == {"1": 0, "2": 0, "3": 0}
        await function.update(qualifier="2", provisioned_concurrency=4)
        await live.update(version="2", weights={})
        assert provisioned(app) == {"1": 0, "2": 4, "3": 0}, "an alias that provisions nothing takes nothing away"
        await live.update(version="1")
        assert provisioned(app)["2"] == 4


async def test_an_alias_that_gives_up_what_it_provisioned_takes_nothing_from_where_it_points_then(make, clock):
    app = make(concurrency=100)
    function = sleeper(app, clock)
    function.publish_version(timeout=1)
    function.publish_version(timeout=2, provisioned_concurrency=3)
    live = app.alias("live", function, "1", provisioned_concurrency=5)
    async with app:
        assert provisioned(app) == {"1": 5, "2": 3}
        await live.update(version="2", provisioned_concurrency=0)
        assert provisioned(app) == {"1": 0, "2": 3}, "the second version has three of its own"


async def test_nothing_is_provisioned_twice(make, clock):
    app = make(concurrency=100)
    function = sleeper(app, clock)
    function.publish_version(timeout=1, provisioned_concurrency=2)
    function.publish_version(timeout=2)
    twice = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    with pytest.raises(ResourceConflict) as refused:
        app.alias("live", function, "2", weights={"1": 0.5}, provisioned_concurrency=5)
    assert str(refused.value) == twice
    live, other = app.alias("live", function, "2", provisioned_concurrency=5), app.alias("other", function, "2")
    with pytest.raises(ResourceConflict, match=twice):
        app.alias("third", function, "2", provisioned_concurrency=5)
    async with app:
        for alias, changes in [(live, {"version": "1"}), (other, {"provisioned_concurrency": 1})]:
            with pytest.raises(ResourceConflict, match=twice):
                await alias.update(**changes)
        with pytest.raises(ResourceConflict, match=r"^Version is pointed by a Provisioned Concurrency alias$"):
            await function.update(qualifier="2", provisioned_concurrency=1)
        await function.update(qualifier="2", provisioned_concurrency=0)
        assert provisioned(app) == {"1": 2, "2": 5}


async def test_a_client_of_the_owner_invokes_by_an_alias_moves_it_and_hears_which_version_failed(store):
    def program(**options):
        app = App("t", store=store, **options)
        price = app.function("price")(told("latest"))
        price.publish_version(told("first"))
        price.publish_version(told("second"))
        return app, app.alias("live", price, "1")

    (owner, _), (client, live) = program(), program(serve=False)
    async with owner, client:
        assert await live.invoke_with_version() == (["first", "1", live.arn], "1")
        await live.update(version="2")
        assert await live.invoke() == ["second", "2", live.arn]
        with pytest.raises(FunctionError) as failed:
            await live.invoke("fail")
        assert failed.value.executed_version == "2"
        with pytest.raises(ResourceNotFound, match="Function not found"):
            await live.function.invoke(qualifier="3")
