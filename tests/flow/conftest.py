"""Whole paths on the virtual clock: nothing here sleeps."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forebay import App
from forebay.testing import VirtualClock

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def clock(forebay_clock):
    return forebay_clock


@pytest.fixture
def app(forebay_app, no_task_is_left):
    return forebay_app


@pytest.fixture
def make(clock, no_task_is_left):
    """Make an app of which nothing is set aside unless a test says so."""
    return lambda **options: App("t", store=":memory:", clock=clock, **{"unreserved_minimum": 0, **options})


@pytest.fixture
def price(app):
    """Declare a function with two versions of other handlers than its own."""
    from published import told

    function = app.function("price")(told("latest"))
    assert function.publish_version(told("first")) == "1"
    assert function.publish_version(told("second")) == "2"
    return function


@dataclass
class Seen:
    """What a handler was given: when, and which data."""

    clock: VirtualClock
    calls: list = field(default_factory=list)

    def take(self, batch):
        self.calls.append((self.clock.monotonic(), [record.json() for record in batch]))

    @property
    def data(self):
        return [data for _, data in self.calls]

    @property
    def times(self):
        return [when for when, _ in self.calls]


@pytest.fixture
def seen(clock):
    return Seen(clock)


@pytest.fixture
def stream(app: App):
    return app.stream("numbers", shards=1)


@pytest.fixture
def durable_app(clock, tmp_path, no_task_is_left):
    """Make apps, one after the other, on one store that outlives them."""
    return lambda: App("test", store=tmp_path / "store", clock=clock)


@dataclass
class Given:
    """What a handler was given, and when."""

    clock: object
    calls: list = field(default_factory=list)

    def take(self, event):
        self.calls.append([record["body"] for record in event["Records"]])

    @property
    def all(self):
        return [body for call in self.calls for body in call]


@pytest.fixture
def given(clock):
    return Given(clock)


async def _fill(queue, *bodies, group="g"):
    fifo = queue.name.endswith(".fifo")
    for at in range(0, len(bodies), 10):
        part = [str(body) for body in bodies[at : at + 10]]
        options = [{"group_id": group, "deduplication_id": f"{group}{body}"} if fifo else {} for body in part]
        await queue.send_many([{"body": body, **option} for body, option in zip(part, options, strict=True)])


@pytest.fixture
def fill():
    """Give what sends bodies to a queue, ten at a time."""
    return _fill
