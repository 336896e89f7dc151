"""WebSocket APIs: connections, messages, and the way back to the clients."""

import asyncio
import contextlib
import struct

import pytest
from sockets import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, connect
from waiting import until

from forebay import App, InvalidParameterValue, ResourceConflict, ResourceNotFound


@pytest.fixture
def ws(app):
    return app.websocket_api("chat")


@pytest.fixture
async def client(serve):
    """Serve the app, and open connections that are closed at the end."""
    opened = []

    async def open_one(path="/", **headers):
        if not opened:
            opened.append(await serve())
        socket = await connect(opened[0].port, path, **headers)
        opened.append(socket)
        return socket

    yield open_one
    for socket in opened[1:]:
        socket.cut()


async def test_a_connection_has_its_events(ws, client):
    events = []

    @ws.on_connect
    async def opened(event, context):
        events.append(event)
        return {"statusCode": 200}

    @ws.on("send")
    async def send(event, context):
        events.append(event)

    @ws.on_disconnect
    async def closed(event, context):
        events.append(event)

    socket = await client("/?room=1", user_agent="agent", x_a="1")
    assert socket.status == 101
    await socket.send({"action": "send", "text": "hi"})
    await until(lambda: len(events) == 2)
    await socket.close(1000)
    await until(lambda: len(events) == 3)
    connect_, message, gone = events
    assert [event["requestContext"]["eventType"] for event in events] == ["CONNECT", "MESSAGE", "DISCONNECT"]
    assert [event["requestContext"]["routeKey"] for event in events] == ["$connect", "send", "$disconnect"]
    assert len({event["requestContext"]["connectionId"] for event in events}) == 1
    assert connect_["queryStringParameters"] == {"room": "1"} and connect_["headers"]["x-a"] == "1"
    assert message["body"] == '{"action": "send", "text": "hi"}' and "headers" not in message
    assert gone["requestContext"]["disconnectStatusCode"] == 1000


async def test_powertools_models_read_the_events(ws, client):
    models = pytest.importorskip("aws_lambda_powertools.utilities.parser.models")
    seen = []

    @ws.on_connect
    async def opened(event, context):
        seen.append(models.APIGatewayWebSocketConnectEventModel.model_validate(event))
        return {"statusCode": 200}

    @ws.on_default
    async def message(event, context):
        seen.append(models.APIGatewayWebSocketMessageEventModel.model_validate(event))

    @ws.on_disconnect
    async def closed(event, context):
        seen.append(models.APIGatewayWebSocketDisconnectEventModel.model_validate(event))

    socket = await client(user_agent="agent")
    await socket.send("hello")
    await until(lambda: len(seen) == 2)
    await socket.close()
    await until(lambda: len(seen) == 3)


async def test_a_message_goes_to_its_route_and_may_be_answered(ws, client):
    @ws.on("add", responds=True)
    async def add(event, context):
        return {"statusCode": 200, "body": "added"}

    @ws.on("quiet")
    async def quiet(event, context):
        return "nobody hears this"

    @ws.on_default(responds=True)
    async def other(event, context):
        return f"other {event['body']}"

    socket = await client()
    for message, expected in [
        ({"action": "add"}, b"added"),
        ("no JSON", b"other no JSON"),
        ({"action": "$connect"}, None),
    ]:
        await socket.send(message)
        kind, data = await socket.receive()
        assert kind == TEXT and (expected is None or data == expected)
    await socket.send({"action": "quiet"})
    with pytest.raises(TimeoutError):
        await socket.receive(within=0.2)


async def test_what_reaches_no_handler_is_told_and_the_connection_stays(ws, client):
    @ws.on("raise")
    async def wrong(event, context):
        raise ValueError("no")

    socket = await client()
    for message, expected in [
        ({"action": "x"}, "Forbidden"),
        ("x", "Forbidden"),
        ({"action": "raise"}, "Internal server error"),
    ]:
        await socket.send(message)
        told = await socket.json()
        assert told["message"] == expected
        assert told.keys() == {"message", "connectionId", "requestId"}


async def test_an_api_reaches_its_own_clients_alone(app, ws, client):
    """Another API of the app could send to them, look at them and close them."""
    ids = []

    @ws.on_connect
    async def opened(event, context):
        ids.append(event["requestContext"]["connectionId"])
        return {"statusCode": 200}

    other = app.websocket_api("other")
    one = await client("/_apis/chat/")
    await until(lambda: ids)
    for ask in (other.post(ids[0], "x"), other.connection(ids[0]), other.disconnect(ids[0])):
        with pytest.raises(ResourceNotFound, match="has gone"):
            await ask
    assert await other.post_many("x", ids) == 0
    await ws.post(ids[0], "mine")
    assert await one.receive() == (TEXT, b"mine")


async def test_a_handler_posts_to_clients(app, ws, client):
    ids = []

    @ws.on_connect
    async def opened(event, context):
        ids.append(event["requestContext"]["connectionId"])
        return {"statusCode": 200}

    one, two = await client(), await client()
    await until(lambda: len(ids) == 2)
    await ws.post(ids[0], {"n": 1})
    assert await one.json() == {"n": 1}
    await ws.post(ids[1], b"\x00")
    assert await two.receive() == (BINARY, b"\x00")
    assert await ws.post_many("all") == 2
    assert [await one.receive(), await two.receive()] == [(TEXT, b"all")] * 2
    assert await ws.post_many("some", [ids[0], "nobody="]) == 1
    connection = await ws.connection(ids[0])
    assert (connection.source_ip, connection.connection_id) == ("127.0.0.1", ids[0])
    assert connection.last_active >= connection.connected
    await ws.disconnect(ids[0])
    assert await one.receive() == (TEXT, b"some")
    assert await one.closed() == 1000
    with pytest.raises(ResourceNotFound, match="has gone"):
        await ws.post(ids[0], "x")
    with pytest.raises(InvalidParameterValue, match="131,072"):
        await ws.post(ids[1], "x" * 131_073)


async def test_a_client_is_turned_away_before_it_is_connected(app, ws, client):
    @app.function()
    async def guard(event, context):
        return {"isAuthorized": event["identitySource"] == ["open sesame"], "context": {"user": "ali"}}

    name = ws.lambda_authorizer("guard", guard, identity_sources=["route.request.querystring.token"])

    @ws.on_connect(authorizer=name)
    async def opened(event, context):
        full = event["queryStringParameters"].get("full")
        return {"statusCode": 409, "body": "full"} if full else {"statusCode": 200}

    @ws.on_default(responds=True)
    async def who(event, context):
        return event["requestContext"]["authorizer"]["user"]

    assert (await client("/")).status == 401
    assert (await client("/?token=x")).status == 403
    assert (await client("/?token=open+sesame&full=1")).status == 409
    socket = await client("/?token=open+sesame")
    assert socket.status == 101
    await socket.send("x")
    assert await socket.receive() == (TEXT, b"ali")


@pytest.mark.parametrize("answer", ["raise", "x" * 20, None, {"status": 403}, {"statusCode": "no"}])
async def test_a_connect_that_fails_connects_nobody(ws, client, answer):
    """A handler that forgot its statusCode let everybody in."""

    @ws.on_connect
    async def opened(event, context):
        if answer == "raise":
            raise ValueError("no")
        return answer

    assert (await client()).status == 500


@pytest.mark.parametrize("status", [302, 401, 403, 503])
async def test_a_connect_connects_only_with_a_status_below_300(ws, client, status):
    @ws.on_connect
    async def opened(event, context):
        return {"statusCode": status}

    assert (await client()).status == status


async def test_a_client_that_is_cut_off_ends_with_1006(ws, client):
    """It was told as 1002, which accuses the client of a wrong frame."""
    seen = []

    @ws.on_disconnect
    async def gone(event, context):
        seen.append((event["requestContext"]["disconnectStatusCode"], event["requestContext"]["disconnectReason"]))

    (await client()).cut()
    await until(lambda: seen)
    other = await client()
    other.writer.close()
    await until(lambda: len(seen) == 2)
    assert seen == [(1006, "")] * 2


async def test_a_subprotocol_is_the_handlers_choice(ws, client):
    @ws.on_connect
    async def opened(event, context):
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "two"}}

    assert "sec-websocket-protocol: two" in (await client(sec_websocket_protocol="one, two")).head


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"upgrade": None}, 426),
        ({"connection": "close"}, 426),
        ({"sec_websocket_version": "8"}, 426),
        ({"sec_websocket_key": "short"}, 400),
        ({"sec_websocket_key": None}, 400),
    ],
)
async def test_what_is_no_handshake_is_refused(ws, client, headers, status):
    assert (await client(**headers)).status == status


async def test_frames_that_break_the_rules_close_the_connection(ws, client):
    @ws.on_default
    async def ignore(event, context):
        return None

    async def two_parts(socket):
        await socket.frame(TEXT, "a" * 30_000, last=False)
        for at in range(5):
            await socket.frame(CONTINUATION, "a" * 30_000, last=at == 4)

    for breaks, code in [
        (lambda socket: socket.frame(BINARY, b"x"), 1003),
        (lambda socket: socket.frame(TEXT, "x" * 32_769), 1009),
        (two_parts, 1009),
        (lambda socket: socket.frame(TEXT, b"\xff"), 1007),
        (lambda socket: socket.frame(3, b"x"), 1002),
    ]:
        socket = await client()
        with contextlib.suppress(ConnectionError):
            await breaks(socket)
        assert await socket.closed() == code
    socket = await client()
    await socket.frame(PING, b"x")
    assert await socket.receive() == (PONG, b"x")


async def test_messages_of_a_connection_run_at_once_or_in_order(app, serve):
    both = {name: app.websocket_api(name, ordered=name == "ordered") for name in ("loose", "ordered")}
    seen = {name: [] for name in both}
    for name, api in both.items():

        def declare(api, name):
            @app.function(name)
            async def handler(event, context):
                number = int(event["body"])
                await asyncio.sleep(0.2 if number == 0 else 0)
                seen[name].append(number)

            api.on_default(handler)

        declare(api, name)
    server = await serve()
    for name in both:
        socket = await connect(server.port, f"/_apis/{name}/")
        for number in range(3):
            await socket.send(str(number))
        await until(lambda name=name: len(seen[name]) == 3)
        socket.cut()
    assert seen == {"loose": [1, 2, 0], "ordered": [0, 1, 2]}


async def test_clients_are_told_when_the_app_stops(app, ws, client):
    socket = await client()
    stopping = asyncio.ensure_future(app.stop())
    assert await socket.closed() == 1001
    await stopping


@pytest.mark.parametrize("grace", [10, 0.3])
async def test_the_answer_of_a_message_under_way_comes_before_the_end(app, ws, client, grace):
    """The client was closed with 1001 at once, and the answer went nowhere."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    @ws.on("slow", responds=True)
    async def slow(event, context):
        begun.set()
        await goes_on.wait()
        return "answer"

    socket, other = await client(), await client()
    await socket.send({"action": "slow"})
    await asyncio.wait_for(begun.wait(), 30)
    stopping = asyncio.ensure_future(app.stop(grace=grace))
    assert await other.closed() == 1001
    if grace > 1:
        goes_on.set()
        assert await socket.receive() == (TEXT, b"answer")
    assert await socket.closed() == 1001
    await stopping


async def test_what_a_handler_posts_comes_before_the_end(app, ws, client):
    """A handler that answers by `post`, as on AWS, found that its connection was gone, or its message was lost."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    @ws.on("slow")
    async def slow(event, context):
        begun.set()
        await goes_on.wait()
        for number in range(300):
            await ws.post(event["requestContext"]["connectionId"], str(number))

    socket = await client()
    await socket.send({"action": "slow"})
    await asyncio.wait_for(begun.wait(), 30)
    stopping = asyncio.ensure_future(app.stop())
    goes_on.set()
    assert [await socket.receive() for _ in range(300)] == [(TEXT, str(number).encode()) for number in range(300)]
    assert await socket.closed() == 1001
    await stopping


async def test_declaring_what_cannot_be_is_refused(app, ws):
    async def handler(event, context):
        return None

    ws.on("a")(app.function("a")(handler))
    with pytest.raises(ResourceConflict):
        ws.on("a")
    with pytest.raises(InvalidParameterValue, match=r"\$connect"):
        ws.on("$other")(app.function("b")(handler))
    with pytest.raises(InvalidParameterValue, match="selection"):
        app.websocket_api("other", selection="$request.header.x")
    with pytest.raises(ResourceConflict):
        app.websocket_api("chat", selection="$request.body.kind")
    with pytest.raises(InvalidParameterValue, match="responds=1: allowed are True and False"):
        ws.on("c", responds=1)
    for declare in (app.http_api, app.rest_api):
        with pytest.raises(ResourceConflict, match=r"WebSocket API 'chat'.* already has this name"):
            declare("chat")


async def test_pings_and_a_close_are_read_while_a_message_waits_for_its_turn(app, serve):
    """With ordered=True nothing was read while a message ran: clients that ping each 20 s took the connection for dead."""
    ws = app.websocket_api("chat", ordered=True)
    goes_on, seen = asyncio.Event(), []

    @ws.on_default
    async def message(event, context):
        await goes_on.wait()
        seen.append(event["body"])

    @ws.on_disconnect
    async def closed(event, context):
        seen.append(event["requestContext"]["disconnectStatusCode"])

    socket = await connect((await serve()).port)
    for number in range(3):
        await socket.send(str(number))
    await socket.frame(PING, b"x")
    assert await socket.receive(within=20) == (PONG, b"x")
    await socket.frame(CLOSE, struct.pack("!H", 1000))
    assert await socket.closed() == 1000
    assert seen == []
    goes_on.set()
    await until(lambda: len(seen) == 4)
    assert seen == ["0", "1", "2", 1000], "the end comes behind the messages"
    socket.cut()


LARGEST = b"".join(struct.pack("!BBHI", first, 254, 32_768, 0) + b"x" * 32_768 for first in (1, 0, 0, 128))
"""A message of 128 KiB, in frames."""


async def test_messages_that_wait_for_their_turn_leave_room_for_others(app, serve):
    """64 messages of each connection waited in the room of all bodies: eight clients took it from every API."""
    ws = app.websocket_api("chat", ordered=True)
    goes_on, begun = asyncio.Event(), []

    @ws.on_default
    async def message(event, context):
        begun.append(len(event["body"]))
        await goes_on.wait()

    @app.http_api("shop").route("POST", "/a")
    async def posted(event, context):
        return "taken"

    client = await serve()
    opened = [await connect(client.port, "/_apis/chat/") for _ in range(8)]
    try:
        for socket in opened:
            socket.writer.write(LARGEST * 64)
        await until(lambda: len(begun) == 8)
        await asyncio.sleep(0.5)
        for _ in range(100):
            assert (await client.ask("POST", "/_apis/shop/a", body=b"x" * 200_000)).status == 200
        goes_on.set()
        await until(lambda: len(begun) == 8 * 64)
        assert set(begun) == {131_072}
    finally:
        goes_on.set()
        for socket in opened:
            socket.cut()


async def test_messages_that_wait_when_the_app_stops_are_counted(app, serve):
    """They had been read, and nothing told of them."""
    ws = app.websocket_api("chat", ordered=True)
    goes_on, begun, counts = asyncio.Event(), [], []

    def count():
        counts.append(app.metrics.statistic("MessageCount", "Sum", period=60, api="chat", stage="$default"))
        return counts[-1] == 4

    @ws.on_default
    async def message(event, context):
        begun.append(event["body"])
        await goes_on.wait()
        if event["body"] == "last":
            await until(count)

    port = (await serve()).port
    socket, other, idle = await connect(port), await connect(port), await connect(port)
    for number in range(3):
        await socket.send(str(number))
    await socket.frame(PING, b"x")
    assert await socket.receive() == (PONG, b"x"), "they have been read"
    await other.send("last")
    await until(lambda: len(begun) == 2)
    stopping = asyncio.ensure_future(app.stop())
    assert await idle.closed() == 1001
    goes_on.set()
    assert await socket.closed() == 1001
    await stopping
    assert sorted(begun) == ["0", "last"], "no handler begins while the app stops"
    assert counts[-1] == 4
    socket.cut()
    other.cut()
    idle.cut()


async def test_a_message_without_room_is_told_so(app, serve):
    """Messages took no place among the requests under way, and no room among their bodies."""
    ws = app.websocket_api("chat")
    goes_on, begun = asyncio.Event(), []

    @ws.on_default(responds=True)
    async def message(event, context):
        begun.append(event)
        await goes_on.wait()
        return {"statusCode": 200, "body": event["body"][:5]}

    @app.http_api("shop").route("POST", "/a")
    async def posted(event, context):
        return "taken"

    client = await serve()
    opened = [await connect(client.port, "/_apis/chat/") for _ in range(9)]
    try:
        for socket in opened[:8]:  # 64 messages of 128 KiB each: all the room that there is
            for _ in range(64):
                socket.writer.write(LARGEST)
                await socket.writer.drain()
        await until(lambda: len(begun) == 512)  # before that a request could take the last one's room
        answer = await client.ask("POST", "/_apis/shop/a", body=b"x" * 2_000)
        assert (answer.status, answer["retry-after"]) == (503, "1")
        await opened[8].send("hello")
        told = await opened[8].json()
        assert told["message"] == "Too Many Requests" and told.keys() == {"message", "connectionId", "requestId"}
        goes_on.set()
        assert await opened[0].receive() == (TEXT, b"xxxxx")
        await opened[8].send("hello")
        assert await opened[8].receive() == (TEXT, b"hello")
    finally:
        goes_on.set()
        for socket in opened:
            socket.cut()


async def test_an_app_of_another_name_reaches_the_clients_of_its_store(tmp_path, clients):
    """It made other ids than the owner: `post_many` reached nobody, and `post` said that the connection had gone."""
    app = App("shop", store=str(tmp_path))
    ids = []

    @app.websocket_api("chat").on_connect
    async def opened(event, context):
        ids.append(event["requestContext"]["connectionId"])
        return {"statusCode": 200}

    socket = await connect((await clients(app)).port, "/_apis/chat/")
    web = App("web", store=str(tmp_path), store_app="shop", serve=False)
    ws = web.websocket_api("chat")
    async with web:
        assert await ws.post_many("all") == 1
        await ws.post(ids[0], "one")
    assert [await socket.receive() for _ in range(2)] == [(TEXT, b"all"), (TEXT, b"one")]
    socket.cut()
