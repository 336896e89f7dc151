"""`forebay queue`, as a user types it: on a store that no app runs on."""

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
        app.queue("orders.fifo", content_based_deduplication=True, dead_letter_queue=app.queue("dead.fifo"))
        async with app:
            pass

    asyncio.run(make())
    return tmp_path


def forebay(place, *arguments, stdin=None, status=0):
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli", "queue", *arguments, "--output", "json"]
    done = subprocess.run(command, cwd=place, capture_output=True, check=False, text=True, input=stdin, timeout=30)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout) if status == 0 else done.stderr


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


def test_what_is_refused_is_one_line(place):
    text = forebay(place, "send", "orders.fifo", "no group", status=1)
    assert text == "Error: The request must contain the parameter MessageGroupId.\n"
    assert "there is no queue" in forebay(place, "describe", "nowhere", status=1)
