"""What once went wrong after a failure: each test tells the story of the fault it keeps away."""

import forebay


async def test_a_redriven_batch_that_reports_failures_stays_listed(app, clock, stream):
    """The response of a redriven handler was not read: records it reported as failed were forgotten."""
    again = []

    @app.on_stream(stream.name, maximum_retry_attempts=0, report_batch_item_failures=True)
    async def handler(batch: forebay.Batch, _context):
        again.append(len(batch))
        if len(again) <= 2:
            batch.fail(batch[0])

    async with app:
        await stream.put(b"a", "k")
        await clock.advance(1)
        assert len(await handler.failed(10)) == 1
        await handler.redrive()
        await clock.advance(1)
        assert len(await handler.failed(10)) == 1
        await handler.redrive()
        await clock.advance(1)
        assert await handler.failed(10) == []
        assert again == [1, 1, 1]


async def test_a_redriven_batch_runs_beside_no_other_of_its_keys(app, clock, stream):
    """It ran at once, beside newer records of the same key, and newer ones began while it ran."""
    runs = []

    @app.on_stream(stream.name, batch_size=1, maximum_retry_attempts=0)
    async def handler(batch: forebay.Batch, _context):
        number = batch[0].json()
        runs.append(("begins", number))
        if len(runs) == 1:
            raise ValueError("the first time")
        await clock.sleep(1)
        runs.append(("ends", number))

    async with app:
        await stream.put(1, "k")
        await clock.settle()
        await stream.put(2, "k")
        await clock.settle()
        assert await handler.redrive() == 1
        await stream.put(3, "k")
        await clock.advance(5)
        assert await handler.failed() == []
    one_by_one = [(what, number) for number in (2, 1, 3) for what in ("begins", "ends")]
    assert runs == [("begins", 1), *one_by_one]


async def test_redriven_batches_come_at_the_rate_that_was_asked_for_from_when_one_begins(app, clock, stream):
    """The rate was counted from when a batch began to wait for its lane: the next one followed it at once."""
    begun = []

    @app.on_stream(stream.name, batch_size=1, maximum_retry_attempts=0)
    async def handler(batch: forebay.Batch, _context):
        begun.append((clock.monotonic(), batch[0].json()))
        if len(begun) <= 3:
            raise ValueError("the first time")
        if batch[0].json() == 9:
            await clock.sleep(2)

    async with app:
        for number in range(3):
            await stream.put(number, "k")
            await clock.advance(1)
        await stream.put(9, "k")
        await clock.settle()
        assert await handler.redrive(rate=1) == 3
        await clock.advance(30)
        assert await handler.failed() == []
    start = begun[3][0]
    assert [(when - start, what) for when, what in begun[3:]] == [(0, 9), (2, 0), (3, 1), (4, 2)]


async def test_a_redriven_batch_keeps_no_other_key_waiting(app, clock, stream):
    done = []

    @app.on_stream(stream.name, batch_size=1, maximum_retry_attempts=0, parallelization_factor=10)
    async def handler(batch: forebay.Batch, _context):
        if batch[0].partition_key == "k":
            await clock.sleep(2)
            raise ValueError("slow, and in vain")
        done.append(batch[0].json())

    async with app:
        await stream.put(0, "k")
        await clock.advance(3)
        await handler.redrive()
        await clock.advance(1)
        await stream.put_many([(number, f"other{number}") for number in range(100)])
        await clock.advance(1)
        assert len(done) > 80
        await stream.put(0, "k")
        await clock.advance(20)
        assert sorted(done) == list(range(100))
        assert len(await handler.failed()) == 2


class Deaf:
    """A destination that takes nothing."""

    async def deliver(self, _record):
        raise RuntimeError("not today")


class Kept:
    """A destination that keeps what it gets."""

    def __init__(self):
        self.records = []

    async def deliver(self, record):
        self.records.append(record)


async def test_a_destination_that_is_down_keeps_no_other_one_waiting(app, clock, stream):
    """Failures were looked at in the order of their mappings: a few hundred of the first one hid those of all others."""
    kept = Kept()

    @app.on_stream(stream.name, batch_size=1, maximum_retry_attempts=0, on_failure=Deaf())
    async def first(_event, _context):
        raise ValueError("first")

    @app.on_stream(stream.name, batch_size=1, maximum_retry_attempts=0, on_failure=kept)
    async def second(_event, _context):
        raise ValueError("second")

    async with app:
        await stream.put_many([(b"x", f"k{number}") for number in range(400)])
        await clock.advance(5)
        assert len(kept.records) == 400
        assert len(await first.failed(1000)) == 400


async def test_stopping_does_not_wait_for_deliveries_that_cannot_begin(app, clock, stream):
    """A delivery that was queued and could not be handed out any more made every stop last its whole grace."""

    @app.on_stream(stream.name, maximum_retry_attempts=0, on_failure=Deaf())
    async def handler(_event, _context):
        raise ValueError("always")

    async with app:
        await stream.put(b"a", "k")
        await clock.advance(1)
        before = clock.time()
        await app.stop(grace=30)
        assert clock.time() - before < 1
