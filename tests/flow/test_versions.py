"""Versions: what is published stays, an invocation by its number runs it, and says so."""

import asyncio

import pytest
from published import described, sleeper, told

from forebay import Batch, FunctionError, InvalidParameterValue, ResourceConflict, ResourceNotFound, TooManyRequests

# --- publishing


def test_versions_are_numbered_from_one_and_only_what_changed_is_published(app):
    function, other = app.function("f")(told("a")), told("b")
    assert [function.publish_version() for _ in range(2)] == ["1", "1"]
    assert function.publish_version(function) == "1"
    assert function.publish_version(other) == "2"
    assert [function.publish_version(other, timeout=9) for _ in range(2)] == ["3", "3"]
    assert function.publish_version() == "4", "it is compared with the last version alone, as on AWS"
    assert function.publish_version(other, number=20) == "20"
    assert function.publish_version(other, number=20) == "20"
    assert list(function.versions) == ["1", "2", "3", "4", "20"]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"number": 1, "timeout": 5}, InvalidParameterValue, "number=1: allowed are whole numbers from 2 to"),
        ({"timeout": 0}, InvalidParameterValue, "timeout=0: allowed are"),
        ({"memory": 64}, InvalidParameterValue, "memory=64: it is a process's"),
        ({"handler": 5}, InvalidParameterValue, "handler=5: a plain function"),
        ({"provisioned_concurrency": -1}, InvalidParameterValue, "provisioned_concurrency=-1: allowed are"),
        (
            {"provisioned_concurrency": 901, "timeout": 5},
            InvalidParameterValue,
            "Specified ConcurrentExecutions for function decreases",
        ),
        ({"provisioned_concurrency": 1}, ResourceConflict, "version 1 of function 'f' is already published"),
    ],
)
def test_what_cannot_be_published_is_refused_where_it_is_written(app, options, error, text):
    function = app.function("f")(told("a"))
    function.publish_version()
    with pytest.raises(error) as refused:
        function.publish_version(**options)
    assert text in str(refused.value)
    assert list(function.versions) == ["1"]


def test_what_was_published_is_renamed_by_no_later_decorator(app):
    app.stream("s")
    function = app.on_stream("s")(told("a"))
    function.publish_version()
    with pytest.raises(ResourceConflict, match="already declared, with other settings"):
        app.function("other", timeout=9)(function)


def test_a_command_has_versions_of_its_settings_and_no_other_handler(app):
    function = app.command_function("c", command=["true"])
    assert function.publish_version(memory=64) == "1"
    with pytest.raises(InvalidParameterValue, match="a command has no handler"):
        function.publish_version(told("a"))


async def test_a_version_is_published_while_the_app_runs(app, price):
    async with app:
        assert price.publish_version(told("third")) == "3"
        assert await price.invoke(qualifier="3") == ["third", "3", f"{price.arn}:3"]
        live = app.alias("live", price, "3")
        assert await live.invoke() == ["third", "3", f"{price.arn}:live"]


# --- invocations


@pytest.mark.parametrize(
    ("qualifier", "answer"),
    [
        (None, ["latest", "$LATEST", ""]),
        ("$LATEST", ["latest", "$LATEST", ":$LATEST"]),
        ("1", ["first", "1", ":1"]),
        ("2", ["second", "2", ":2"]),
        ("live", ["first", "1", ":live"]),
        ("next", ["latest", "$LATEST", ":next"]),
    ],
)
async def test_the_context_tells_the_version_and_what_was_asked_for(app, price, qualifier, answer):
    app.alias("live", price, "1")
    app.alias("next", price, "$LATEST")
    name, version, arn = answer
    async with app:
        assert await price.invoke(qualifier=qualifier) == [name, version, price.arn + arn]


async def test_the_answer_tells_the_version_that_ran_and_so_does_a_failure(app, price):
    live = app.alias("live", price, "1")
    async with app:
        assert (await live.invoke_with_version())[1] == "1"
        assert (await price.invoke_with_version())[1] == "$LATEST"
        assert (await price.invoke_with_version(qualifier=None))[1] == "$LATEST"
        assert (await price.invoke_with_version(qualifier="2"))[1] == "2"
        with pytest.raises(FunctionError, match="first") as failed:
            await live.invoke("fail")
        assert failed.value.executed_version == "1"
        with pytest.raises(FunctionError, match="latest") as failed:
            await price.invoke("fail")
        assert failed.value.executed_version == "$LATEST"


async def test_the_log_tells_which_version_failed_and_names_the_function(app, price, caplog):
    async with app:
        with pytest.raises(FunctionError):
            await price.invoke("fail", qualifier="1")
    [line] = [record for record in caplog.records if "an attempt failed" in record.getMessage()]
    assert line.getMessage().startswith("function price:1: an attempt failed: ValueError: first")
    assert line.function_name == "price"


async def test_the_object_of_a_version_runs_that_version_and_says_so(app, clock, price):
    version = price.versions["1"]
    assert (version.arn, repr(version)) == (f"{price.arn}:1", "<forebay function 'price:1'>")
    async with app:
        ran = ["first", "1", version.arn]
        assert await version.invoke() == ran
        assert await version.invoke_with_version() == (ran, "1")
        assert await version.invoke(qualifier="2") == ["second", "2", f"{price.arn}:2"]
        await version.invoke_async("fail")
        await clock.advance(1_000)
        [failure] = await price.failed()
        assert failure["record"]["requestContext"]["functionArn"] == version.arn
        with pytest.raises(InvalidParameterValue, match="there is no such setting"):
            await version.update(reserved_concurrency=1)
        with pytest.raises(ResourceNotFound, match=r"price:9$"):
            await version.update(qualifier="9", provisioned_concurrency=1)


def test_a_version_is_no_handler_no_endpoint_and_no_destination(app, price):
    app.stream("s")
    version = price.versions["1"]
    with pytest.raises(InvalidParameterValue, match="it is a version"):
        app.on_stream("s")(version)
    with pytest.raises(InvalidParameterValue, match="not a version or an alias"):
        app.topic("t").subscribe(version)
    for option in ("on_success", "on_failure"):
        with pytest.raises(InvalidParameterValue, match="a version is not a destination"):
            app.function("other", **{option: version})(told("other"))
    with pytest.raises(InvalidParameterValue, match="a version is not a destination"):
        app.on_stream("s", on_failure=version)(told("other"))


async def test_a_version_has_its_own_timeout_and_kind_of_handler(app, clock):
    @app.function("f", timeout=10)
    async def f(event, context):
        await clock.sleep(5)

    def blocking(event, context):
        return context.function_version

    async def batches(batch: Batch, context):
        pass

    short, thread, batch = f.publish_version(timeout=2), f.publish_version(blocking), f.publish_version(batches)
    async with app:
        call = asyncio.create_task(f.invoke(qualifier=short))
        await clock.advance(3)
        with pytest.raises(FunctionError, match=r"timed out after 2\.00 seconds") as late:
            await call
        assert late.value.executed_version == short
        assert await f.invoke(qualifier=thread) == thread
        with pytest.raises(FunctionError, match="only a mapping"):
            await f.invoke(qualifier=batch)


@pytest.mark.parametrize("qualifier", ["3", "10", "nobody"])
async def test_what_is_not_there_is_not_found_in_awss_words(app, price, qualifier):
    async with app:
        for call in (price.invoke, price.invoke_async, price.invoke_with_version):
            with pytest.raises(ResourceNotFound) as missing:
                await call(qualifier=qualifier)
            assert str(missing.value) == f"Function not found: {price.arn}:{qualifier}"


@pytest.mark.parametrize("qualifier", ["", "a:b", "a b", "x" * 129, 1])
async def test_what_can_be_no_qualifier_is_refused(app, price, qualifier):
    async with app:
        with pytest.raises(InvalidParameterValue, match="qualifier="):
            await price.invoke(qualifier=qualifier)


async def test_the_twins_for_threads_take_a_qualifier_too(app, clock, price):
    live = app.alias("live", price, "1")

    @app.function(timeout=60, isolation="thread")
    def asks(event, context):
        price.invoke_async_sync(qualifier="2")
        live.invoke_async_sync()
        live.update_sync(version="2")
        return [
            price.invoke_sync(qualifier="1")[0],
            price.invoke_with_version_sync()[1],
            live.invoke_sync()[0],
            live.invoke_with_version_sync()[1],
        ]

    async with app:
        assert await asks.invoke() == ["first", "$LATEST", "second", "2"]


# --- asynchronous invocations


@pytest.mark.parametrize(
    ("qualifier", "version"), [("1", "1"), ("live", "1"), (None, "$LATEST"), ("$LATEST", "$LATEST")]
)
async def test_a_record_names_what_was_asked_for_and_the_version_that_ran(app, clock, qualifier, version):
    records = []

    @app.function("records")
    async def target(record, context):
        records.append(record)

    async def handler(event, context):
        if event == "fail":
            raise ValueError("no")

    function = app.function("f", maximum_retry_attempts=0, on_success=target, on_failure=target)(handler)
    function.publish_version()
    app.alias("live", function, "1")
    async with app:
        for event in ("work", "fail"):
            await function.invoke_async(event, qualifier=qualifier)
            await clock.advance(1)
    assert [record["requestContext"]["functionArn"] for record in records] == [
        f"{function.arn}:{qualifier or version}"
    ] * 2
    assert [record["responseContext"]["executedVersion"] for record in records] == [version] * 2


async def test_failures_of_versions_are_listed_with_their_functions_and_run_again_as_they_were(app, clock):
    ran, broken = [], True

    async def handler(event, context):
        ran.append((context.function_version, context.invoked_function_arn))
        if broken:
            raise ValueError("no")

    function = app.function("f", maximum_retry_attempts=0)(handler)
    function.publish_version()
    live = app.alias("live", function, "1")
    async with app:
        await live.invoke_async()
        await function.invoke_async()
        await clock.advance(1)
        failures = await function.failed()
        assert [failure["function"] for failure in failures] == ["f", "f"]
        arns = {failure["record"]["requestContext"]["functionArn"] for failure in failures}
        assert arns == {live.arn, f"{function.arn}:$LATEST"}
        broken = False
        assert await function.redrive() == 2
        await clock.advance(1)
        assert await function.failed() == []
    assert sorted(ran) == sorted(2 * [("1", live.arn), ("$LATEST", function.arn)])


async def test_an_event_runs_its_version_after_a_restart_whatever_its_alias_says_then(durable_app, clock):
    def program(alias_to, *, published):
        app, ran = durable_app(), []

        def handler_of(name):
            async def handler(event, context):
                ran.append((name, context.function_version, context.invoked_function_arn))
                if event == "later" and len(ran) == 1 and alias_to == "1":
                    raise ValueError("again, after the restart")

            return handler

        function = app.function("f", retry_delays=[60])(handler_of("latest"))
        for version in published:
            function.publish_version(handler_of(f"v{version}"), number=version)
        return app, app.alias("live", function, alias_to), ran

    app, live, ran = program("1", published=[1, 2])
    async with app:
        await live.invoke_async("later")
        await clock.advance(1)
    assert ran == [("v1", "1", live.arn)]
    app, live, ran = program("2", published=[1, 2])
    async with app:
        await live.invoke_async("now")
        await clock.advance(100)
    assert sorted(ran) == [("v1", "1", live.arn), ("v2", "2", live.arn)]


# --- concurrency


async def begin(clock, times, invoke, *arguments, **options):
    """Begin so many invocations at once; give those that were refused, and what ends the others."""
    calls = [asyncio.create_task(invoke(*arguments, **options)) for _ in range(times)]
    await clock.settle()
    refused = [call for call in calls if call.done() and isinstance(call.exception(), TooManyRequests)]
    return len(refused), calls


async def end(clock, calls):
    await clock.advance(5)
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_reservation_and_a_rate_are_the_functions_over_all_its_versions(make, clock):
    app = make()
    function = sleeper(app, clock, reserved_concurrency=3)
    function.publish_version()
    async with app:
        refused, calls = await begin(clock, 2, function.invoke)
        more, others = await begin(clock, 2, function.invoke, qualifier="1")
        assert (refused, more) == (0, 1)
        assert app.metrics.statistic("Throttles", "Sum", function="f") == 1
        await end(clock, calls + others)
        await function.update(reserved_concurrency=0)
        request = await function.invoke_async(qualifier="1")
        await clock.advance(1)
        [failure] = await function.failed()
        assert failure["record"]["requestContext"] == {
            "requestId": request,
            "functionArn": f"{function.arn}:1",
            "condition": "ZeroReservedConcurrency",
            "approximateInvokeCount": 0,
        }
        with pytest.raises(InvalidParameterValue, match="reserved_concurrency: there is no such setting"):
            await function.update(qualifier="1", reserved_concurrency=1)


async def test_what_a_version_has_provisioned_no_other_takes(make, clock):
    app = make(concurrency=10)
    function = sleeper(app, clock, reserved_concurrency=4)
    function.publish_version(provisioned_concurrency=3)
    async with app:
        refused, calls = await begin(clock, 4, function.invoke)
        assert refused == 3
        refused, others = await begin(clock, 4, function.invoke, qualifier="1")
        assert refused == 1
        await end(clock, calls + others)
        page = app.metrics.page()
        assert 'forebay_provisioned_concurrency_invocations_total{function="f:1"} 3' in page
        await function.update(qualifier="1", provisioned_concurrency=0)
        refused, calls = await begin(clock, 4, function.invoke)
        assert refused == 0
        await end(clock, calls)
        with pytest.raises(InvalidParameterValue, match="should not be greater than the reservedConcurrentExecution"):
            await function.update(qualifier="1", provisioned_concurrency=5)
        with pytest.raises(ResourceNotFound, match=r":function:f:2$"):
            await function.update(qualifier="2", provisioned_concurrency=1)


async def test_what_versions_have_provisioned_counts_among_what_is_promised(make, clock):
    app = make(concurrency=10)
    function = sleeper(app, clock, reserved_concurrency=5)
    function.publish_version(timeout=1, provisioned_concurrency=3)
    function.publish_version(timeout=2)
    with pytest.raises(InvalidParameterValue, match="should not be greater than the reservedConcurrentExecution"):
        function.publish_version(timeout=3, provisioned_concurrency=3)
    with pytest.raises(InvalidParameterValue, match="should not be greater than the reservedConcurrentExecution"):
        app.alias("live", function, "2", provisioned_concurrency=3)
    app.alias("live", function, "2", provisioned_concurrency=2)
    async with app:
        with pytest.raises(
            InvalidParameterValue, match=r"should not be lower than function's total provisioned .* \[5\]"
        ):
            await function.update(reserved_concurrency=4)


# --- what there is to see


async def test_the_functions_metrics_are_over_all_versions_and_each_version_has_its_own_count(app, clock, price):
    live = app.alias("live", price, "1")
    async with app:
        await price.invoke()
        for _ in range(2):
            await live.invoke()
        with pytest.raises(FunctionError):
            await price.invoke("fail", qualifier="2")
        await live.invoke_async()
        await clock.advance(1)
        page = app.metrics.page()
        assert app.metrics.statistic("Invocations", "Sum", function="price", period=60) == 5
        assert app.metrics.statistic("Errors", "Sum", function="price", period=60) == 1
        assert app.metrics.statistic("AsyncEventsReceived", "Sum", function="price", period=60) == 1
    counted = 'forebay_version_invocations_total{function="price",version="%s",outcome="%s"} %d'
    for version, outcome, count in [("1", "success", 3), ("2", "error", 1), ("2", "success", 0)]:
        assert counted % (version, outcome, count) in page
    assert 'version="$LATEST"' not in page


async def test_a_function_is_described_with_its_versions_and_aliases(app, price):
    app.alias("live", price, "1", weights={"2": 0.1})
    for number in (9, 10):
        price.publish_version(timeout=number, number=number)
    async with app:
        shown = described(app, "price")
        assert [version["name"] for version in shown["versions"]] == ["price:1", "price:2", "price:9", "price:10"]
        assert shown["aliases"] == [
            {
                "function": "price",
                "name": "live",
                "arn": f"{price.arn}:live",
                "version": "1",
                "weights": {"2": 0.1},
                "provisioned_concurrency": 0,
            }
        ]
        assert described(app, "price:$LATEST") == shown
        assert described(app, "price:9")["timeout_ms"] == 9000
        assert described(app, "price:live") == shown["aliases"][0]
        for name, text in [
            ("price:3", f"Function not found: {price.arn}:3"),
            ("price:nobody", f"Cannot find alias arn: {price.arn}:nobody"),
        ]:
            with pytest.raises(ResourceNotFound) as missing:
                described(app, name)
            assert str(missing.value) == text
        listed = app._caller.ask_now("functions.list")
        assert [function["name"] for function in listed] == ["price"]
