"""WebSocket APIs whose connections, or whose API, have gone."""

import asyncio

from plain_client import parsed
from sockets import connect
from waiting import until


async def test_a_connection_ends_with_its_api(app, serve):
    """It was served on, for two hours, by an API that nobody could reach any more."""
    ws, seen = app.websocket_api("chat"), []

    @ws.on_default
    async def message(event, context):
        seen.append(event["body"])

    client = await serve()
    socket = await connect(client.port)
    await socket.send("one")
    await until(lambda: seen == ["one"])
    await app._caller.ask("api.delete", name="chat")
    assert await socket.closed() == 1001
    socket.cut()


async def test_a_message_takes_the_route_as_it_is_now(app, serve):
    """An open connection kept the routes and the limits that it had been opened with."""
    ws, seen = app.websocket_api("chat"), []

    @app.function()
    async def old(event, context):
        seen.append(("old", event["body"]))

    @app.function()
    async def new(event, context):
        seen.append(("new", event["body"]))

    ws.on("say")(old)
    socket = await connect((await serve()).port)
    await socket.send({"action": "say", "n": 1})
    await until(lambda: len(seen) == 1)
    ws.on("shout")(new)
    await until_served(app, "shout")
    await socket.send({"action": "shout", "n": 2})
    await until(lambda: len(seen) == 2)
    assert [name for name, _ in seen] == ["old", "new"]
    socket.cut()


async def until_served(app, key):
    """Wait until an API has a route: it is declared anew beside whoever declares the route."""
    for _ in range(500):
        routes = (await app._caller.ask("api.describe", name="chat"))["routes"]
        if any(route["key"] == key for route in routes):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it is not served")


async def test_an_upgrade_needs_http_1_1(app, serve):
    """One of HTTP/1.0 ran `$connect` and was answered as if it were a WebSocket."""
    ws, seen = app.websocket_api("chat"), []

    @ws.on_connect
    async def come(event, context):
        seen.append("connect")
        return {"statusCode": 200}

    client = await serve()
    lines = ["GET / HTTP/1.0", "host: localhost", "upgrade: websocket", "connection: Upgrade"]
    lines += ["sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    answer = parsed(await client.raw("\r\n".join(lines).encode()))
    assert (answer.status, answer["upgrade"], seen) == (426, "websocket", [])


async def test_messages_that_wait_are_handled_although_their_client_has_left(app, serve):
    ws, seen, goes_on = app.websocket_api("chat", ordered=True), [], asyncio.Event()

    @ws.on_default
    async def message(event, context):
        await goes_on.wait()
        seen.append(event["body"])

    @ws.on_disconnect
    async def gone(event, context):
        seen.append("gone")

    socket = await connect((await serve()).port)
    for number in range(3):
        await socket.send(str(number))
    await asyncio.sleep(0.3)
    socket.cut()
    await asyncio.sleep(0.3)
    goes_on.set()
    await until(lambda: len(seen) == 4)
    assert seen == ["0", "1", "2", "gone"]


async def test_a_connection_whose_api_is_deleted_in_its_handshake_is_closed(app, serve):
    """It was opened, nobody ever closed it, and what it sent was lost without a word."""
    ws, begun, goes_on = app.websocket_api("chat"), asyncio.Event(), asyncio.Event()

    @ws.on_connect
    async def opened(event, context):
        begun.set()
        await goes_on.wait()
        return {"statusCode": 200}

    client = await serve()
    opening = asyncio.ensure_future(connect(client.port))
    await asyncio.wait_for(begun.wait(), 30)
    await app._caller.ask("api.delete", name="chat")
    goes_on.set()
    socket = await opening
    assert (socket.status, await socket.closed()) == (101, 1001)
    socket.cut()
