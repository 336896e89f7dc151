"""Distributed Maps that the release before has left: children run, have failed, or are to be redriven, and items are read."""

import shutil
from pathlib import Path

from forebay import App
from forebay.integrations import Objects
from forebay.testing import VirtualClock

GOLDEN = Path(__file__).parents[1] / "golden"


class Files(Objects):
    """Has three files."""

    async def list(self, bucket, prefix, after, limit):
        return [{"Etag": "e", "Key": key, "LastModified": 1, "Size": 1} for key in "xyz" if key > after]


def each(**fields):
    processor = {
        "StartAt": "Call",
        "States": {"Call": {"Type": "Task", "Resource": "${charge}", "End": True}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
    }
    state = {"Type": "Map", "ItemProcessor": processor, "End": True, **fields}
    return {"StartAt": "Each", "States": {"Each": state}}


async def test_maps_of_the_release_before_go_on(tmp_path):
    """The golden file is what app "shop" left when it was killed, before runs and their calls had numbers.

    One had failed with two of its children. One had a batch that had failed, two that ran, and an item. One read.
    """
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / "app-v4-maps.db", data / "forebay.db")
    clock = VirtualClock(start=1_796_400_000)
    app = App("shop", store=data, clock=clock)
    app.integrate(Files())
    given = []

    @app.function(timeout=900)
    async def charge(event, context):
        given.append(event)
        return event

    reader = {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": "b", "Prefix": "p"}}
    batcher = {"MaxItemsPerBatch": 2}
    failing = app.workflow("failing", each(ToleratedFailureCount=1, MaxConcurrency=1))
    batches = app.workflow("batches", each(ToleratedFailureCount=2, MaxConcurrency=2, ItemBatcher=batcher))
    reading = app.workflow("reading", each(ItemReader=reader))
    async with app:
        await clock.settle()
        result = await batches.execution("one").result()
        assert result == [{"Items": [20, 21]}, {"Items": [22, 23]}, {"Items": [24]}]
        assert [item["Key"] for item in await reading.execution("one").result()] == ["x", "y", "z"]
        given.clear()
        await failing.execution("one").redrive()
        await clock.settle()
        assert await failing.execution("one").result() == [[0], 1, 2, 3]
        assert given == [1, 2, 3]
