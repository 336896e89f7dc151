"""`forebay queue`, as a user types it: on a store that no app runs on."""

import asyncio
import json
import subprocess
import sys

import pytest

from forebay import App
from forebay.cli.why import lines


@pytest.fixture
def place(tmp_path):
    async def make():
        app = App("shop", store=tmp_path / "data")
        app.queue("orders.fifo", content_based_deduplication=True, dead_letter_queue=app.queue("dead.fifo"))
        async with app:
            pass

    asyncio.run(make())
    return tmp_path


def forebay(place, *arguments, stdin=None, status=0, of="queue", shows_text=False):
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "forebay.cli",
        of,
        *arguments,
        "--output",
        "text" if shows_text else "json",
    ]
    done = subprocess.run(command, cwd=place, capture_output=True, check=False, text=True, input=stdin, timeout=30)
    assert done.returncode == status, done.stdout + done.stderr
    if status != 0:
        return done.stderr
    return done.stdout if shows_text else json.loads(done.stdout)


def test_messages_are_sent_received_and_removed(place):
    sent = forebay(place, "send", "orders.fifo", '{"id": 1}', "--group-id", "ada", "--attribute", "kind=new")
    [message] = forebay(place, "receive", "orders.fifo", "--delete")
    assert (message["messageId"], message["body"]) == (sent["message_id"], '{"id": 1}')
    assert message["messageAttributes"]["kind"]["stringValue"] == "new"
    forebay(place, "send", "orders.fifo", "--group-id", "ada", stdin="by standard input")
    described = forebay(place, "describe", "orders.fifo")
    assert (described["visible"], described["dead_letter_queue"], described["fifo"]) == (1, "dead.fifo", True)
    assert [queue["name"] for queue in forebay(place, "list")] == ["dead.fifo", "orders.fifo"]
    assert forebay(place, "purge", "orders.fifo", "--yes") == {"queue": "orders.fifo", "removed": 1}
    assert forebay(place, "receive", "orders.fifo") == []


def test_a_queue_is_deleted_and_one_that_others_need_is_not(place):
    forebay(place, "send", "orders.fifo", "a", "--group-id", "ada")
    assert "is the dead-letter queue of" in forebay(place, "delete", "dead.fifo", "--yes", status=1)
    assert forebay(place, "delete", "orders.fifo", "--yes") == {"deleted": "orders.fifo", "removed": 1}
    assert [queue["name"] for queue in forebay(place, "list")] == ["dead.fifo"]
    assert forebay(place, "delete", "dead.fifo", "--yes") == {"deleted": "dead.fifo", "removed": 0}


def test_dead_letters_are_listed_looked_at_and_sent_back(place):
    for number in range(3):
        forebay(place, "send", "dead.fifo", f"message {number}", "--group-id", "ada", "--deduplication-id", str(number))
    text = forebay(place, "list", of="dlq", shows_text=True)
    assert text.startswith("dead-letter queues:\n") and text.endswith("given up by functions:\n(none)\n")
    [queue] = forebay(place, "list", of="dlq")["queues"]
    assert (queue["name"], queue["visible"], queue["dead_letter_sources"]) == ("dead.fifo", 3, ["orders.fifo"])
    for _ in range(2):
        shown = forebay(place, "show", "--queue", "dead.fifo", "--limit", "2", of="dlq")
        assert [message["body"] for message in shown] == ["message 0", "message 1"]
        assert shown[0]["attributes"]["ApproximateReceiveCount"] == "0", "looking is not receiving"
    way = ("--queue", "dead.fifo", "--to", "orders.fifo")
    assert len(forebay(place, "redrive", *way, "--dry-run", of="dlq")) == 3
    done = forebay(place, "redrive", *way, "--rate", "20", of="dlq")
    assert (done["status"], done["moved"], done["to"]) == ("COMPLETED", 3, "orders.fifo")
    assert forebay(place, "describe", "orders.fifo")["visible"] == 3
    assert "is not being redriven" in forebay(place, "cancel", "dead.fifo", status=1, of="dlq")


def test_a_redrive_that_nobody_waits_for_goes_on_and_can_be_cancelled(place):
    for number in range(5):
        forebay(place, "send", "dead.fifo", "m", "--group-id", "ada", "--deduplication-id", str(number))
    way = ("--queue", "dead.fifo", "--to", "orders.fifo", "--rate", "0.01", "--no-wait")
    assert forebay(place, "redrive", *way, of="dlq") == {"queue": "dead.fifo", "moving": 5}
    cancelled = forebay(place, "cancel", "dead.fifo", of="dlq")
    assert cancelled["moved"] + cancelled["left"] == 5
    assert cancelled["left"] >= 3


def test_the_life_of_a_message_is_told_in_lines(place):
    sent = forebay(place, "send", "orders.fifo", "a", "--group-id", "ada")["message_id"]
    life = forebay(place, sent, of="why")
    came, now = lines(life)
    assert came.endswith("sent queue=orders.fifo group=ada")
    assert now == "now: visible in orders.fifo, group ada, received 0 times"
    number = life["kept"][0]["attributes"]["SequenceNumber"]
    assert lines(forebay(place, number, of="why")) == [came, now]
    assert "nothing is known" in forebay(place, "17999999999999999999", status=1, of="why")


def test_what_is_refused_is_one_line(place):
    text = forebay(place, "send", "orders.fifo", "no group", status=1)
    assert text == "Error: The request must contain the parameter MessageGroupId.\n"
    assert "there is no queue" in forebay(place, "describe", "nowhere", status=1)
