"""Apps whose metrics are looked at."""

import pytest


@pytest.fixture
def clock(forebay_clock):
    return forebay_clock


@pytest.fixture
def app(forebay_app, no_task_is_left):
    return forebay_app
