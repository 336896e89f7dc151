"""`forebay topic`, as a user types it: on a store that no app runs on."""

import asyncio
import json

import pytest
from cli_commands import asked, forebay, refused

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


def test_a_topic_is_looked_at_published_to_and_deleted(place):
    [listed] = asked(place, "topic", "list")
    assert [subscription["queue"] for subscription in listed["subscriptions"]] == ["inbox", "urgent"]
    sent = asked(place, "topic", "publish", "alerts", "down", "--subject", "S", "--attribute", "level=high")
    asked(place, "topic", "publish", "alerts", stdin="by standard input")
    [first, second] = asked(place, "queue", "receive", "inbox")
    assert (first["body"], second["body"]) == ("down", "by standard input")
    [urgent] = asked(place, "queue", "receive", "urgent")
    assert json.loads(urgent["body"])["MessageId"] == sent["message_id"]
    left = asked(place, "topic", "unsubscribe", "alerts", "--queue", "inbox")
    assert asked(place, "topic", "describe", "alerts") == left
    assert len(left["subscriptions"]) == 1
    assert asked(place, "topic", "delete", "alerts", "--yes") == {"topic": "alerts", "subscriptions": 1}
    assert asked(place, "topic", "list") == []


def test_what_is_refused_is_one_line(place):
    text = refused(place, "topic", "publish", "nowhere", "x")
    assert text == f'Error: there is no topic "nowhere": declared are alerts; looked in {place / "data"}\n'
    assert "give --queue or --function" in forebay(place, "topic", "unsubscribe", "alerts", status=2).stderr


def test_people_get_tables(place):
    text = forebay(place, "topic", "describe", "alerts").stdout
    assert 'queue urgent  no   MessageAttributes  {"level":["high"]}' in text
