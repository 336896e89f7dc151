"""`forebay topic`, as a user types it: on a store that no app runs on."""

import asyncio
import json
import subprocess
import sys

import pytest

from forebay import App


@pytest.fixture
def place(tmp_path):
    async def make():
        app = App("shop", store=tmp_path / "data")
        topic = app.topic("alerts")
        topic.subscribe(app.queue("inbox"), raw_message_delivery=True)
        topic.subscribe(app.queue("urgent"), filter_policy={"level": ["high"]})
        async with app:
            pass

    asyncio.run(make())
    return tmp_path


def forebay(place, *arguments, stdin=None, status=0):
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli", *arguments, "--output", "json"]
    done = subprocess.run(command, cwd=place, capture_output=True, check=False, text=True, input=stdin, timeout=30)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout) if status == 0 else done.stderr


def test_a_topic_is_looked_at_published_to_and_deleted(place):
    [listed] = forebay(place, "topic", "list")
    assert [subscription["queue"] for subscription in listed["subscriptions"]] == ["inbox", "urgent"]
    sent = forebay(place, "topic", "publish", "alerts", "down", "--subject", "S", "--attribute", "level=high")
    forebay(place, "topic", "publish", "alerts", stdin="by standard input")
    [first, second] = forebay(place, "queue", "receive", "inbox")
    assert (first["body"], second["body"]) == ("down", "by standard input")
    [urgent] = forebay(place, "queue", "receive", "urgent")
    assert json.loads(urgent["body"])["MessageId"] == sent["message_id"]
    left = forebay(place, "topic", "unsubscribe", "alerts", "--queue", "inbox")
    assert forebay(place, "topic", "describe", "alerts") == left
    assert len(left["subscriptions"]) == 1
    assert forebay(place, "topic", "delete", "alerts", "--yes") == {"topic": "alerts", "subscriptions": 1}
    assert forebay(place, "topic", "list") == []


def test_what_is_refused_is_one_line(place):
    text = forebay(place, "topic", "publish", "nowhere", "x", status=1)
    assert text == 'Error: there is no topic "nowhere": declared are alerts\n'
    assert "give --queue or --function" in forebay(place, "topic", "unsubscribe", "alerts", status=2)


def test_people_get_tables(place):
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli", "topic", "describe", "alerts"]
    done = subprocess.run(command, cwd=place, capture_output=True, check=True, text=True, timeout=30)
    assert 'queue urgent  no   MessageAttributes  {"level":["high"]}' in done.stdout
