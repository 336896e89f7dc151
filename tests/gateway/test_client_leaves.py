"""Clients that leave before they are answered: their requests go on, and are counted and logged as all others are.

hyper drops what a client asked when it leaves. No line of the access log, no metric and no `why` told of it, and its place among
the requests under way was free while its handler ran on.
"""

import asyncio
import json

import pytest
from plain_client import Client
from ports import free_port
from waiting import until

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def leave(port, data):
    """Send a request, for a client that goes before it is answered."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return writer


@pytest.fixture
async def port(app, tmp_path):
    port = free_port()
    await app.start(http_port=port, http_access_log=str(tmp_path / "log"), http_access_log_format="json")
    yield port
    await app.stop()


@pytest.fixture
def handled(app):
    """Declare a handler in each kind of API; it tells when it has begun and ended."""
    begun, goes_on, ended = asyncio.Event(), asyncio.Event(), []

    @app.function()
    async def slow(event, context):
        begun.set()
        await goes_on.wait()
        ended.append(event["requestContext"]["requestId"])
        return {"statusCode": 201}

    app.http_api("shop").route("GET", "/slow")(slow)
    app.rest_api("legacy", stage="dev").method("GET", "/slow")(slow)
    return begun, goes_on, ended


KINDS = {"http": ("shop/slow", "shop", "$default"), "rest": ("legacy/dev/slow", "legacy", "dev")}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_is_counted_and_logged_when_its_handler_has_ended(app, handled, port, kind, tmp_path):
    path, api, stage = KINDS[kind]
    begun, goes_on, ended = handled
    writer = await leave(port, f"GET /_apis/{path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    await asyncio.wait_for(begun.wait(), 30)
    writer.transport.abort()
    await asyncio.sleep(0.2)

    def count():
        return app.metrics.statistic("Count", "Sum", period=60, api=api, stage=stage, route="GET /slow") or 0

    assert count() == 0, "it is under way"
    goes_on.set()
    await until(lambda: count() == 1)
    facts = (await app._caller.ask("why", id=ended[0]))["facts"]
    assert facts[-1]["status"] == 201
    assert [fact["why"] for fact in facts if fact["what"] == "not delivered"] == [
        "the client left before it was answered"
    ]
    await until((tmp_path / "log").read_text)
    [line] = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (line["status"], line["error.message"]) == ("201", "the client left before it was answered")


async def test_a_client_that_stays_is_not_said_to_have_left(app, handled, port, tmp_path):
    handled[1].set()
    assert (await Client(port).ask("GET", "/_apis/shop/slow")).status == 201
    await until((tmp_path / "log").read_text)
    assert json.loads((tmp_path / "log").read_text())["error.message"] == ""


async def test_the_request_of_a_client_that_has_left_is_awaited_when_the_app_stops(app, handled, tmp_path):
    begun, goes_on, ended = handled
    port, log = free_port(), tmp_path / "log"
    await app.start(http_port=port, http_access_log=str(log), http_access_log_format="common")
    try:
        writer = await leave(port, b"GET /_apis/shop/slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asyncio.wait_for(begun.wait(), 30)
        writer.transport.abort()
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.3, goes_on.set)
    finally:
        await app.stop()
    assert len(ended) == 1
    assert '"GET /slow HTTP/1.1" 201 ' in log.read_text()


async def test_a_connection_whose_client_leaves_in_the_handshake_is_ended(app, serve):
    """`$connect` had run, and `$disconnect` never did."""
    ws = app.websocket_api("chat")
    begun, goes_on, seen = asyncio.Event(), asyncio.Event(), []

    @ws.on_connect
    async def opened(event, context):
        begun.set()
        await goes_on.wait()
        seen.append(event["requestContext"]["connectionId"])
        return {"statusCode": 200}

    @ws.on_disconnect
    async def closed(event, context):
        seen.append(event["requestContext"]["connectionId"])

    client = await serve()
    writer = await leave(client.port, HANDSHAKE)
    await asyncio.wait_for(begun.wait(), 30)
    writer.transport.abort()
    await asyncio.sleep(0.1)
    goes_on.set()
    await until(lambda: len(seen) == 2)
    assert seen[0] == seen[1]
