"""Apps that serve HTTP on a free port of this machine."""

import sys
from pathlib import Path

import pytest

from forebay import App

sys.path.insert(0, str(Path(__file__).parent))

from plain_client import Client
from ports import free_port


@pytest.fixture
def app(no_task_is_left):
    return App("shop", store=":memory:")


@pytest.fixture
async def serve(app):
    """Start the app with its APIs on a free port; give the client."""
    started = []

    async def start():
        port = free_port()
        await app.start(http_port=port)
        started.append(port)
        return Client(port)

    yield start
    if started:
        await app.stop()


@pytest.fixture
async def clients(no_task_is_left):
    """Start apps with their APIs on free ports; give the client of each."""
    started = []

    async def start(app, **options):
        port = free_port()
        await app.start(http_port=port, **options)
        started.append(app)
        return Client(port)

    yield start
    for app in started:
        await app.stop()
