"""Fixtures for pytest, there as soon as forebay is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forebay.testing.clock import VirtualClock

if TYPE_CHECKING:
    from forebay.app import App


@pytest.fixture
def forebay_clock() -> VirtualClock:
    """Give a clock that stands still until the test moves it."""
    return VirtualClock()


@pytest.fixture
def forebay_app(forebay_clock: VirtualClock) -> App:
    """Give an app on `forebay_clock` that keeps everything in memory; the test declares what it needs and starts it."""
    from forebay.app import App  # noqa: PLC0415  the engine is loaded for the tests that use it only

    return App("test", store=":memory:", clock=forebay_clock)
