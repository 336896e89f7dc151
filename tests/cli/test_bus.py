"""`forebay bus`, `rule`, `archive`, `replay` and `schedule`, as a user types them: on a store that no app runs on."""

import asyncio
from contextlib import nullcontext

import pytest
from cli_commands import asked, forebay, refused
from click.testing import CliRunner

from forebay import App
from forebay.cli import archive as archive_commands
from forebay.errors import OwnerLost


@pytest.fixture
def place(tmp_path):
    async def make():
        app = App("shop", store=tmp_path / "data")
        inbox = app.queue("inbox")
        app.bus("orders").rule("all", {"source": ["shop"]}, inbox, input_path="$.detail")
        app.bus("orders").archive("kept", retention=86_400)
        app.schedule("rate(5 minutes)", name="tick", target=inbox, input={"tick": 1})
        app.schedule("at(2020-01-31T09:00:00)", name="past", target=inbox)
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
    assert asked(place, "rule", "list") == [rule], "those of all buses"
    assert asked(place, "rule", "list", "--bus", "default") == []
    assert forebay(place, "rule", "list").stdout.split()[:7] == [
        "BUS",
        "RULE",
        "STATE",
        "TARGETS",
        "PATTERN",
        "orders",
        "all",
    ]
    assert asked(place, "rule", "delete", "all", "--bus", "orders", "--yes") == {"bus": "orders", "rule": "all"}
    assert 'has archive "kept"' in refused(place, "bus", "delete", "orders")
    asked(place, "archive", "delete", "kept", "--yes")
    asked(place, "bus", "delete", "orders")
    assert [bus["name"] for bus in asked(place, "bus", "list")] == ["default"]


def test_what_is_refused_is_one_line(place):
    text = refused(place, "bus", "put", "typo", "{}", "--source", "shop", "--detail-type", "t")
    assert text.startswith("Error: Event bus typo does not exist; looked in ")
    text = refused(place, "bus", "put", "orders", "[]", "--source", "shop", "--detail-type", "t")
    assert text == (
        "Error: MalformedDetail: Detail is malformed; DETAIL is the text of a JSON object, such as '{\"id\": 1}'\n"
    )
    text = refused(place, "bus", "put", "orders", "{}", "--source", "aws.s3", "--detail-type", "t")
    assert "a source that begins with 'aws.' is AWS's own" in text
    text = refused(place, "bus", "test", "@typo.json", "{}")
    assert text == "Error: @typo.json: No such file or directory\n"


@pytest.mark.parametrize("name", ["all", "orders/all"])
def test_a_rule_that_another_bus_has_is_told_with_that_bus(place, name):
    text = refused(place, "rule", "describe", name)
    assert f"Rule {name} does not exist on EventBus default; there is a rule all of bus orders" in text
    assert "give `all --bus orders`" in text
    assert "there is a rule" not in refused(place, "rule", "describe", "typo")


def test_an_event_that_a_target_did_not_take_is_listed_and_given_again(place):
    """The list was of failures of functions alone, and ended with a traceback."""

    async def make():
        app = App("shop", store=place / "data")
        app.bus("orders").rule("lost", {"source": ["lost"]}, App("other", store=":memory:").queue("elsewhere"))
        async with app:
            pass

    asyncio.run(make())
    asked(place, "bus", "put", "orders", '{"n": 1}', "--source", "lost", "--detail-type", "t")
    head, row = forebay(place, "dlq", "list", "--function", "orders/lost").stdout.splitlines()
    shown = dict(zip(head.split()[:2] + head.split()[4:6], row.split()[:2] + row.split()[5:7], strict=True))
    id_ = shown.pop("ID")
    assert shown == {"FUNCTION": "orders/lost", "CONDITION": "NO_RESOURCE", "ATTEMPTS": "1"}
    assert asked(place, "dlq", "list")["failures"][0]["id"] == id_
    assert forebay(place, "dlq", "redrive", id_).stdout.startswith("accepted: 1")


def test_a_pattern_is_tested_without_a_store(tmp_path):
    place = tmp_path
    tested = forebay(place, "bus", "test", '{"source": ["shop"]}', '{"source": "shop"}')
    assert tested.stdout == "matches\n"
    tested = forebay(place, "bus", "test", '{"source": ["shop"]}', stdin='{"source": "bank"}', status=1)
    assert tested.stdout.startswith("does not match\n  source: ")
    text = refused(place, "bus", "test", '{"source": "shop"}', "{}")
    assert text.startswith('Error: Event pattern is not valid. Reason: "source" must be an object or an array')
    assert "it is not JSON" in refused(place, "bus", "test", '{"source": ["shop"]}', "{")


def test_a_schedule_is_looked_at_fired_and_deleted(place):
    _, listed = asked(place, "schedule", "list")
    assert (listed["name"], listed["queue"], listed["missed"]) == ("tick", "inbox", 0)
    asked(place, "schedule", "run-now", "tick")
    assert [message["body"] for message in asked(place, "queue", "receive", "inbox")] == ['{"tick":1}']
    assert "expression: rate(5 minutes) (UTC)" in forebay(place, "schedule", "describe", "tick").stdout
    assert forebay(place, "schedule", "describe", "past").stdout.endswith("due: never\n")
    asked(place, "schedule", "delete", "tick")
    assert [row["name"] for row in asked(place, "schedule", "list")] == ["past"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyboardInterrupt(), "The replay goes on: `forebay replay describe again` shows how far it is."),
        (OwnerLost("the owner stopped"), "replay again was accepted, and goes on when an app runs"),
    ],
)
def test_a_replay_that_is_no_longer_waited_for_goes_on_and_the_command_says_so(monkeypatch, error, text):
    class Running:
        owned = False

        def ask(self, what, **_):
            if what == "replay.describe":
                raise error
            return {"bus": "orders", "events": 3, "name": "again", "state": "STARTING"}

    monkeypatch.setattr(archive_commands, "connect", lambda _: nullcontext(Running()))
    ended = CliRunner().invoke(archive_commands.replay, ["start", "kept", "--start", "0", "--name", "again"])
    assert ended.exit_code == 1
    assert text in "\n".join([ended.output, *getattr(ended.exception, "__notes__", [])])


def test_an_archive_is_looked_at_replayed_and_deleted(place):
    for n in range(3):
        asked(place, "bus", "put", "orders", f'{{"n": {n}}}', "--source", "shop", "--detail-type", "t")
    [archive] = asked(place, "archive", "list")
    assert (archive["name"], archive["bus"], archive["events"]) == ("kept", "orders", 3)
    assert "pattern: every event" in forebay(place, "archive", "describe", "kept").stdout
    assert forebay(place, "archive", "list").stdout.splitlines()[1].endswith(" 1 day")
    started = forebay(
        place, "replay", "start", "kept", "--start", "2020-01-01T00:00:00Z", "--rule", "all", "--name", "again"
    )
    assert "again STARTING: 0 events" in started.stdout
    assert "the replay begins when one does" in started.stderr
    text = refused(place, "archive", "delete", "kept", "--yes")
    assert 'is replayed by "again"' in text
    asked(place, "replay", "start", "kept", "--start", "0", "--end", "1", "--name", "cancelled")
    assert "cancelled CANCELLING" in forebay(place, "replay", "cancel", "cancelled").stdout

    async def run():
        async with App("shop", store=place / "data"):
            # The command follows the replay in an app that runs.
            arguments = ("replay", "start", "kept", "--start", "0", "--end", "4000000000", "--name", "third")
            third = await asyncio.to_thread(asked, place, *arguments)
            assert (third["state"], third["events"]) == ("COMPLETED", 3)

    asyncio.run(run())
    replays = {row["name"]: (row["state"], row["events"]) for row in asked(place, "replay", "list")}
    assert replays == {"again": ("COMPLETED", 3), "cancelled": ("CANCELLED", 0), "third": ("COMPLETED", 3)}
    assert "rules: all" in forebay(place, "replay", "describe", "again").stdout
    assert "not in a valid state" in refused(place, "replay", "cancel", "again")
    assert "time zone" in refused(place, "replay", "start", "kept", "--start", "yesterday")
    asked(place, "archive", "delete", "kept", "--yes")
    assert asked(place, "archive", "list") == []
