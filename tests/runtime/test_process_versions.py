"""Versions in processes: each has processes of its own, which import the app and know their version by its number."""

import asyncio

import pytest

from forebay import FunctionError, InvalidParameterValue


@pytest.fixture
def versions(import_app):
    return import_app("process_versions")


async def test_each_version_has_processes_and_variables_of_its_own(versions):
    price = versions.price
    async with versions.app:
        latest, old, by_alias = (
            await price.invoke(),
            await price.invoke(qualifier=versions.old),
            await versions.live.invoke(),
        )
    assert [(given["handler"], given["version"]) for given in (latest, old, by_alias)] == [
        ("latest", "$LATEST"),
        ("old", "1"),
        ("old", "1"),
    ]
    assert [given["arn"] for given in (latest, old, by_alias)] == [price.arn, f"{price.arn}:1", versions.live.arn]
    assert latest["pid"] != old["pid"] == by_alias["pid"]
    assert (latest["memory"], old["memory"]) == ("128", "64")
    assert "/[$LATEST]" in latest["log_stream"]
    assert "/[1]" in old["log_stream"]
    for given in (latest, old):
        assert given["variables"]["AWS_LAMBDA_FUNCTION_NAME"] == "price"
        assert given["variables"]["AWS_LAMBDA_FUNCTION_VERSION"] == given["version"]
        assert given["variables"]["AWS_LAMBDA_LOG_STREAM_NAME"] == given["log_stream"]
    assert old["variables"]["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"


async def test_an_aliass_share_is_as_many_processes_ready_ahead_of_need(versions):
    async def ready():
        described = await versions.app._caller.ask("function.describe", name="price")
        return [version["provisioned_ready"] for version in described["versions"]]

    async with versions.app:
        await versions.price.update(qualifier=versions.old, provisioned_concurrency=0)
        await versions.live.update(weights={versions.slow: 0.5}, provisioned_concurrency=2)
        async with asyncio.timeout(100):
            while await ready() != [1, 1]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert 'forebay_environments{function="price:2",state="idle"} 1' in versions.app.metrics.page()


async def test_a_version_is_killed_at_its_own_timeout(versions):
    async with versions.app:
        with pytest.raises(FunctionError) as caught:
            await versions.price.invoke(qualifier=versions.slow)
    assert caught.value.payload["errorType"] == "Sandbox.Timedout"
    assert caught.value.executed_version == versions.slow


async def test_a_version_that_no_process_publishes_is_told_so(versions):
    late = versions.price.publish_version(versions.old_price, timeout=3)  # where its module is imported there is none
    async with versions.app:
        with pytest.raises(FunctionError) as caught:
            await versions.price.invoke(qualifier=late)
    assert caught.value.payload["errorType"] == "Runtime.HandlerNotFound"
    assert f"Version {late} of function 'price' is not published where its module is imported" in str(caught.value)


async def test_a_version_that_no_process_can_have_is_refused_when_it_is_published(versions):
    """It was published, and every invocation of it failed."""
    price = versions.price

    def made_here(event, context):
        raise AssertionError

    with pytest.raises(
        InvalidParameterValue, match=r"made_here is made inside a function\. Move it to the top of a module"
    ):
        price.publish_version(made_here)
    async with versions.app:
        with pytest.raises(InvalidParameterValue, match="publish them there, before the app starts"):
            price.publish_version(versions.old_price, timeout=3)
        assert price.publish_version(versions.slow_price, timeout=0.5) == versions.slow, "it is already published"
    assert list(price.versions) == [versions.old, versions.slow]
