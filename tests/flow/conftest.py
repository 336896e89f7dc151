"""Whole paths on the virtual clock: nothing here sleeps."""

from dataclasses import dataclass, field

import pytest

from forebay import App
from forebay.testing import VirtualClock


@pytest.fixture
def clock(forebay_clock):
    return forebay_clock


@pytest.fixture
def app(forebay_app, no_task_is_left):
    return forebay_app


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
