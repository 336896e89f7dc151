"""What is left of a version that the program publishes no more: events that wait, and failures that are listed."""

import pytest
from published import told

from forebay import ResourceNotFound


def program(app, number, **options):
    """Declare a function of which one version is published, by its number, and what takes its records."""
    records = []

    @app.function("records")
    async def target(record, context):
        records.append(record["requestContext"])

    destination = {"on_failure": target} if options else {}
    function = app.function("f", maximum_retry_attempts=len(options), **options, **destination)(told("latest"))
    function.publish_version(told(f"v{number}"), number=number)
    return function, records


async def test_events_of_a_version_that_is_published_no_more_end_as_the_function_says(durable_app, clock):
    # Nobody told its destination once, and it waited for the six hours that hold where nothing is declared.
    options = {"maximum_event_age": 60, "retry_delays": [30]}
    app = durable_app()
    function, _ = program(app, 1, **options)
    async with app:
        await function.invoke_async("fail", qualifier="1")
        await clock.advance(1)
    app = durable_app()
    function, records = program(app, 2, **options)
    async with app:
        with pytest.raises(ResourceNotFound):
            await function.invoke_async("fail", qualifier="1")
        await clock.advance(100)
        assert await function.failed() == []
    [told_of] = records
    assert (told_of["condition"], told_of["functionArn"]) == ("EventAgeExceeded", f"{function.arn}:1")


async def test_what_a_version_failed_at_is_run_again_only_while_it_is_published(durable_app, clock):
    app = durable_app()
    function, _ = program(app, 1)
    async with app:
        await function.invoke_async("fail", qualifier="1")
        await clock.advance(1)
        [failure] = await function.failed()
    app = durable_app()
    function, _ = program(app, 2)
    async with app:
        for again in ({}, {"ids": [failure["id"]]}, {"ids": [failure["id"]], "payload": "1"}):
            with pytest.raises(ResourceNotFound) as refused:
                await app._caller.ask("failed.redrive", function="f", **again)
            assert str(refused.value) == f"Function not found: {function.arn}:1"
        assert await function.failed() == [failure]
        await function.invoke_async("fail", qualifier="2")
        await clock.advance(1)
        assert await function.redrive() == 1, "that of the other version stays listed"
        await clock.advance(1)
        assert len(await function.failed()) == 2
    app = durable_app()
    function, _ = program(app, 1)
    async with app:
        assert await function.redrive([failure["id"]]) == 1
