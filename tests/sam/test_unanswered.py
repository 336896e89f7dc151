"""What a command says when the app that deploys does not answer: what has begun goes on, and a question began nothing."""

import json
import socket

import pytest

from forebay.cli.stack_connection import Stacks, _Channel
from forebay.errors import AppClosed

LATE = "the app did not answer within 60 s"
AWAY = "the app went away before it answered"
EVENTS = "`forebay stack events shop` tells of it"


@pytest.fixture
def ends():
    here, there = socket.socketpair()
    here.settimeout(0.1)
    with here, there, here.makefile("rwb") as channel:
        yield Stacks(_Channel(channel).ask), there


@pytest.mark.parametrize(
    ("operation", "fields", "begins"),
    [
        ("describe", {"stack": "shop"}, False),
        ("list", {}, False),
        ("preview", {"deploy": {"stack": "shop"}}, False),
        ("events", {"id": "arn:aws:cloudformation:r:0:stack/shop/1"}, False),
        ("deploy", {"deploy": {"stack": "shop"}}, True),
        ("delete", {"stack": "shop"}, True),
    ],
)
@pytest.mark.parametrize("is_late", [True, False])
def test_only_what_begins_something_is_said_to_go_on(ends, operation, fields, begins, is_late):
    stacks, app = ends
    if not is_late:
        app.shutdown(socket.SHUT_WR)
    with pytest.raises(AppClosed) as refused:
        stacks.ask(operation, **fields)
    where = "in the app" if is_late else "when the app runs again"
    goes_on = f": an operation that has begun goes on {where}; {EVENTS}" if begins else ""
    assert str(refused.value) == f"{LATE if is_late else AWAY}{goes_on}"


def test_a_deploy_that_is_followed_goes_on(ends):
    stacks, app = ends
    app.sendall(json.dumps({"answer": {"id": "stack/shop/1"}}).encode() + b"\n")
    stacks.ask("deploy", deploy={"stack": "shop"})
    app.shutdown(socket.SHUT_WR)
    with pytest.raises(AppClosed, match=r"goes on when the app runs again; `forebay stack events shop` tells of it"):
        stacks.ask("events", id="stack/shop/1", after=0)
