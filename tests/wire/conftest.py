"""The wire API's tests share an app that runs."""

import sys
from pathlib import Path

import pytest

from forebay import App

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def make_app():
    """Make an app of the account and the region of these tests."""
    from wire_app import ACCOUNT, REGION

    return lambda store=":memory:": App("wire", store=store, region=REGION, account=ACCOUNT)


@pytest.fixture
def wire(make_app):
    """Serve an app with nothing in it."""
    from wire_app import served

    with served(make_app()) as running:
        yield running


@pytest.fixture
def sqs(wire):
    return wire.client("sqs")


@pytest.fixture
def queue(sqs):
    """Make a queue; give its URL."""
    return sqs.create_queue(QueueName="orders")["QueueUrl"]
