"""`forebay queue`, as a user types it: on a store that no app runs on."""

import asyncio
import json

import pytest
from cli_commands import asked, forebay, refused

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


def test_messages_are_sent_received_and_removed(place):
    sent = asked(place, "queue", "send", "orders.fifo", '{"id": 1}', "--group-id", "ada", "--attribute", "kind=new")
    [message] = asked(place, "queue", "receive", "orders.fifo", "--delete")
    assert (message["messageId"], message["body"]) == (sent["message_id"], '{"id": 1}')
    assert message["messageAttributes"]["kind"]["stringValue"] == "new"
    asked(place, "queue", "send", "orders.fifo", "--group-id", "ada", stdin="by standard input")
    described = asked(place, "queue", "describe", "orders.fifo")
    assert (described["visible"], described["dead_letter_queue"], described["fifo"]) == (1, "dead.fifo", True)
    assert [queue["name"] for queue in asked(place, "queue", "list")] == ["dead.fifo", "orders.fifo"]
    assert asked(place, "queue", "purge", "orders.fifo", "--yes") == {"queue": "orders.fifo", "removed": 1}
    assert asked(place, "queue", "receive", "orders.fifo") == []


def test_a_queue_is_deleted_and_one_that_others_need_is_not(place):
    asked(place, "queue", "send", "orders.fifo", "a", "--group-id", "ada")
    assert "is the dead-letter queue of" in refused(place, "queue", "delete", "dead.fifo", "--yes")
    assert asked(place, "queue", "delete", "orders.fifo", "--yes") == {"deleted": "orders.fifo", "removed": 1}
    assert [queue["name"] for queue in asked(place, "queue", "list")] == ["dead.fifo"]
    assert asked(place, "queue", "delete", "dead.fifo", "--yes") == {"deleted": "dead.fifo", "removed": 0}


def send_dead(place, body, deduplication_id, *, group="ada"):
    options = ("--group-id", group, "--deduplication-id", deduplication_id)
    return asked(place, "queue", "send", "dead.fifo", body, *options)["message_id"]


def test_dead_letters_are_listed_looked_at_and_sent_back(place):
    for number in range(3):
        send_dead(place, f"message {number}", str(number))
    text = forebay(place, "dlq", "list").stdout
    assert text.startswith("dead-letter queues:\n") and text.endswith("given up by functions:\n(none)\n")
    [queue] = asked(place, "dlq", "list")["queues"]
    assert (queue["name"], queue["visible"], queue["dead_letter_sources"]) == ("dead.fifo", 3, ["orders.fifo"])
    for _ in range(2):
        shown = asked(place, "dlq", "show", "--queue", "dead.fifo", "--limit", "2")
        assert [message["body"] for message in shown] == ["message 0", "message 1"]
        assert shown[0]["attributes"]["ApproximateReceiveCount"] == "0", "looking is not receiving"
    way = ("--queue", "dead.fifo", "--to", "orders.fifo")
    assert len(asked(place, "dlq", "redrive", *way, "--dry-run")) == 3
    done = asked(place, "dlq", "redrive", *way, "--rate", "20")
    assert (done["status"], done["moved"], done["to"]) == ("COMPLETED", 3, "orders.fifo")
    send_dead(place, "came from no queue", "3")
    text = forebay(place, "dlq", "redrive", "--queue", "dead.fifo").stdout
    assert text == "completed: 0 messages of dead.fifo moved, 1 stayed\n"
    assert asked(place, "queue", "describe", "orders.fifo")["visible"] == 3
    assert "is not being redriven" in refused(place, "dlq", "cancel", "dead.fifo")


def test_a_redrive_that_nobody_waits_for_goes_on_and_can_be_cancelled(place):
    for number in range(5):
        send_dead(place, "m", str(number))
    way = ("--queue", "dead.fifo", "--to", "orders.fifo", "--rate", "0.01", "--no-wait")
    assert asked(place, "dlq", "redrive", *way) == {"queue": "dead.fifo", "moving": 5}
    cancelled = asked(place, "dlq", "cancel", "dead.fifo")
    assert cancelled["moved"] + cancelled["left"] == 5
    assert cancelled["left"] >= 3


def test_one_dead_letter_is_edited_and_run_again(place):
    send_dead(place, "good", "0", group="bob")
    bad = send_dead(place, "bad", "1")
    (place / "mended.txt").write_text("mended\n")
    way = ("dlq", "redrive", bad, "--queue", "dead.fifo", "--to", "orders.fifo", "--edit", "mended.txt")
    [would] = asked(place, *way, "--dry-run")
    assert (would["messageId"], would["body"]) == (bad, "mended")
    assert asked(place, "queue", "describe", "dead.fifo")["visible"] == 2
    assert asked(place, *way) == {"redriven": 1}
    [message] = asked(place, "queue", "receive", "orders.fifo")
    assert (message["messageId"], message["body"]) == (bad, "mended")
    assert "there is no message" in refused(place, *way)
    (place / "binary").write_bytes(b"\xff")
    assert "text in UTF-8" in refused(place, *way[:-1], "binary")
    both = forebay(place, "dlq", "redrive", "--queue", "dead.fifo", "--edit", "mended.txt", status=2).stderr
    assert "name the one event or message" in both


def test_dead_letters_that_moved_before_one_that_cannot_are_told(place):
    """The third ID was refused, and nobody was told that the first two had moved."""
    moved = [send_dead(place, f"message {number}", str(number)) for number in range(2)]
    absent = "00000000-0000-4000-8000-000000000000"
    way = ("dlq", "redrive", *moved, absent, "--queue", "dead.fifo", "--to", "orders.fifo")
    assert "redriven before" not in refused(place, *way, "--dry-run")
    said = refused(place, *way)
    assert f"redriven before this: {', '.join(moved)}\n" in said and "there is no message" in said
    assert asked(place, "queue", "describe", "orders.fifo")["visible"] == 2
    assert "--no-wait: it is for all of a --queue" in forebay(place, *way, "--no-wait", status=2).stderr


def test_a_dry_run_says_that_it_does_not_list_everything(place):
    async def fill():
        app = App("shop", store=place / "data")
        queue = app.queue("many")
        async with app:
            for _ in range(101):
                await queue.send_many(["m"] * 10)

    asyncio.run(fill())
    done = forebay(place, "dlq", "redrive", "--queue", "many", "--dry-run", "--output", "json")
    assert len(json.loads(done.stdout)) == 1_000
    assert done.stderr == "These are the first 1,000 of 1,010 messages.\n"


def test_the_life_of_a_message_is_told_in_lines(place):
    sent = asked(place, "queue", "send", "orders.fifo", "a", "--group-id", "ada")["message_id"]
    life = asked(place, "why", sent)
    came, now = lines(life)
    assert came.endswith("sent queue=orders.fifo group=ada")
    assert now == "now: visible in orders.fifo, group ada, received 0 times"
    number = life["kept"][0]["attributes"]["SequenceNumber"]
    assert lines(asked(place, "why", number)) == [came, now]
    assert "nothing is known" in refused(place, "why", "17999999999999999999")


def test_what_is_refused_is_one_line(place):
    text = refused(place, "queue", "send", "orders.fifo", "no group")
    assert text == "Error: The request must contain the parameter MessageGroupId.\n"
    assert "The specified queue does not exist" in refused(place, "queue", "describe", "nowhere")


def test_what_is_not_found_is_told_with_the_store_that_was_looked_in(place):
    """Who stood in the wrong folder read that there is no queue of a name that he had just declared, and not where."""
    unknown = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
    for command in (["queue", "describe", "bills"], ["stream", "describe", "orders"], ["why", unknown]):
        assert refused(place, *command).endswith(f"; looked in {place / 'data'}\n"), command
    put = forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin="{}\n", status=1).stderr
    assert put.endswith(f"; looked in {place / 'data'}\n")
    assert "no record was put" in put
    (place / "empty").mkdir()
    assert refused(place, "queue", "list", "--store", "empty").endswith(f"; looked in {place / 'empty'}\n")
    assert refused(place, "doctor", "--store", "empty") == f"Error: there is no store in {place / 'empty'}\n"
