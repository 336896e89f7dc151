"""`forebay bus`, `forebay rule` and `forebay schedule`, as a user types them: on a store that no app runs on."""

import asyncio

import pytest
from cli_commands import asked, forebay, refused

from forebay import App


@pytest.fixture
def place(tmp_path):
    async def make():
        app = App("shop", store=tmp_path / "data")
        inbox = app.queue("inbox")
        app.bus("orders").rule("all", {"source": ["shop"]}, inbox, input_path="$.detail")
        app.schedule("rate(5 minutes)", name="tick", target=inbox, input={"tick": 1})
        async with app:
            pass

    asyncio.run(make())
    return tmp_path


def test_events_are_put_and_rules_looked_at_and_deleted(place):
    assert [bus["name"] for bus in asked(place, "bus", "list")] == ["default", "orders"]
    put = ("bus", "put", "orders", '{"n": 1}', "--source", "shop", "--detail-type", "t")
    asked(place, *put)
    asked(place, "rule", "disable", "all", "--bus", "orders")
    asked(place, *put)
    asked(place, "rule", "enable", "all", "--bus", "orders")
    assert [message["body"] for message in asked(place, "queue", "receive", "inbox")] == ['{"n": 1}']
    [rule] = asked(place, "rule", "list", "--bus", "orders")
    assert rule["targets"][0]["queue"] == "inbox"
    assert asked(place, "rule", "delete", "all", "--bus", "orders", "--yes") == {"bus": "orders", "rule": "all"}
    asked(place, "bus", "delete", "orders")
    assert [bus["name"] for bus in asked(place, "bus", "list")] == ["default"]


def test_what_is_refused_is_one_line(place):
    text = refused(place, "bus", "put", "typo", "{}", "--source", "shop", "--detail-type", "t")
    assert text.startswith("Error: Event bus typo does not exist.")
    text = refused(place, "bus", "put", "orders", "[]", "--source", "shop", "--detail-type", "t")
    assert text == "Error: MalformedDetail: Detail is malformed.\n"


def test_a_pattern_is_tested(place):
    tested = forebay(place, "bus", "test", '{"source": ["shop"]}', '{"source": "shop"}')
    assert tested.stdout == "matches\n"
    tested = forebay(place, "bus", "test", '{"source": ["shop"]}', stdin='{"source": "bank"}', status=1)
    assert tested.stdout.startswith("does not match\n  source: ")


def test_a_schedule_is_looked_at_fired_and_deleted(place):
    [listed] = asked(place, "schedule", "list")
    assert (listed["name"], listed["queue"], listed["missed"]) == ("tick", "inbox", 0)
    asked(place, "schedule", "run-now", "tick")
    assert [message["body"] for message in asked(place, "queue", "receive", "inbox")] == ['{"tick":1}']
    assert "expression: rate(5 minutes) (UTC)" in forebay(place, "schedule", "describe", "tick").stdout
    asked(place, "schedule", "delete", "tick")
    assert asked(place, "schedule", "list") == []
