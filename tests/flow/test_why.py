"""`why` claims no more than is known: what a record's life was, before and after a restart."""

import pytest

import forebay
from forebay.testing import VirtualClock


class Kept:
    """A destination that takes everything."""

    async def deliver(self, record):
        pass


def shop(store, clock, *, on_failure=None, fails=True):
    """An app that handles the first record and fails at others while it `fails`."""
    app = forebay.App("shop", store=store, clock=clock)
    stream = app.stream("orders", shards=1, retention=3600)

    @app.on_stream("orders", batch_size=1, maximum_retry_attempts=0, on_failure=on_failure)
    async def ship(event, context):
        if fails and event["Records"][0]["kinesis"]["partitionKey"] == "bad":
            raise ValueError("no paper")

    return app, stream, ship


async def life(app, number):
    """What is told of a record, and how it stands."""
    page = await app._caller.ask("why", id=number)
    facts, kept = [fact["what"] for fact in page["facts"]], page["kept"]
    while page["cursor"] is not None:
        page = await app._caller.ask("why", id=number, cursor=page["cursor"])
        kept += page["kept"]
    return facts, [row["state"] for row in kept if row["where"] == "record"], kept


@pytest.mark.parametrize("on_failure", [None, Kept()])
async def test_what_was_given_up_before_a_restart_is_not_called_done(tmp_path, on_failure):
    """A record that a destination had been told of was `done` once the app had been restarted, as one that was handled."""
    clock = VirtualClock()
    app, stream, _ = shop(tmp_path / "data", clock, on_failure=on_failure)
    async with app:
        good, bad = [await stream.put(1, partition_key=key) for key in ("good", "bad")]
        await clock.advance(5)
        assert (await life(app, good))[:2] == (["put", "handled"], ["handled"])
        facts, states, _ = await life(app, bad)
        assert facts[:3] == ["put", "failed", "given up"]
        assert states == ["given up"]
    app, stream, _ = shop(tmp_path / "data", clock, on_failure=on_failure)
    async with app:
        for number, listed in ((good, []), (bad, ["failed"] if on_failure is None else [])):
            facts, states, kept = await life(app, number)
            assert (facts, states) == (["put"], ["passed"])
            assert [row["where"] for row in kept[1:]] == listed
        since = (await app._caller.ask("why", id=good))["remembered_since_ms"]
        assert since == round(clock.time() * 1000)


async def test_a_redrive_that_succeeded_is_remembered_as_handled(tmp_path):
    """It was still told as given up, and nothing said that it had been run again."""
    clock = VirtualClock()
    app, stream, _ = shop(tmp_path / "data", clock)
    async with app:
        bad = await stream.put(1, partition_key="bad")
        await clock.advance(5)
    app, _, ship = shop(tmp_path / "data", clock)
    async with app:
        await ship.redrive()
        await clock.advance(5)
        assert (await life(app, bad))[:2] == (["put", "redriven", "failed"], ["given up"])
    app, _, ship = shop(tmp_path / "data", clock, fails=False)
    async with app:
        await ship.redrive()
        await clock.advance(5)
        assert (await life(app, bad))[:2] == (["put", "redriven", "handled"], ["handled"])


async def test_what_retention_has_dropped_is_passed_and_cannot_be_run_again(tmp_path):
    """A list advised to run again what could only be refused."""
    clock = VirtualClock()
    app, stream, ship = shop(tmp_path / "data", clock)
    async with app:
        good = await stream.put(1, partition_key="good")
        await clock.advance(5)
        await app._caller.ask("mapping.pause", stream="orders", function="ship")
        unread = await stream.put(1, partition_key="good")
        await clock.advance(7200)
        facts, states, kept = await life(app, good)
        assert (facts, states, kept[0]["is_in_stream"]) == (["handled"], ["handled"], False)
        facts, states, kept = await life(app, unread)
        assert (facts, states) == (["given up"], ["given up"])
        assert not kept[-1]["redrivable"]
        assert not (await ship.failed())[0]["redrivable"]
