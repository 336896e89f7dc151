"""What the access log and the answer to a handshake tell of WebSocket connections."""

import asyncio

import pytest
from ports import free_port
from sockets import connect
from waiting import until

FORMAT = "$context.eventType $context.routeKey $context.status $context.connectionId $context.requestId $context.error.message"


@pytest.fixture
async def log(app, tmp_path):
    """Serve an API that lets nobody in without a name."""
    ws, path, port = app.websocket_api("chat"), tmp_path / "log", free_port()

    @ws.on_connect
    async def opened(event, context):
        return {"statusCode": 200 if "name" in (event["queryStringParameters"] or {}) else 403}

    @ws.on("fail")
    async def fail(event, context):
        raise ValueError("no")

    @ws.on_disconnect
    async def closed(event, context):
        pass

    await app.start(http_port=port, http_access_log=str(path), http_access_log_format=FORMAT)
    yield port, lambda: [line.split(" ", 5) for line in path.read_text().splitlines()]
    await app.stop()


async def test_each_handshake_message_and_end_has_a_line(log):
    """An attack on an authoriser was in no log."""
    port, lines = log
    socket = await connect(port, "/?name=a")
    await socket.send({"action": "fail"})
    told = await socket.json()
    await socket.send({"action": "nowhere"})
    await socket.json()
    await socket.close()
    await until(lambda: len(lines()) == 4)
    assert [line[:3] for line in lines()] == [
        ["CONNECT", "$connect", "101"],
        ["MESSAGE", "fail", "500"],
        ["MESSAGE", "-", "403"],
        ["DISCONNECT", "$disconnect", "200"],
    ]
    assert {line[3] for line in lines()} == {told["connectionId"]}
    assert lines()[1][4] == told["requestId"]
    assert [line[5] for line in lines()][::2] == ["-", "no route takes this message"]


async def test_a_refused_handshake_has_an_id_and_a_line(app, log):
    port, lines = log
    told = []
    for path, headers in [("/", {}), ("/?name=a", {"sec_websocket_version": "12"})]:
        socket = await connect(port, path, **headers)
        fields = dict(line.split(": ", 1) for line in socket.head.lower().split("\r\n")[1:] if line)
        told.append((socket.status, fields["x-amzn-requestid"]))
        socket.cut()
    await until(lambda: len(lines()) == 2)
    assert [(int(line[2]), line[4].lower()) for line in lines()] == told
    assert [status for status, _ in told] == [403, 426]
    assert lines()[1][5] == "it is not a handshake of RFC 6455"


async def test_the_line_of_a_message_has_the_length_of_what_its_client_was_sent(app, tmp_path):
    """It was 0 for each message."""
    ws, path, port = app.websocket_api("chat"), tmp_path / "log", free_port()

    @ws.on("ask", responds=True)
    async def ask(event, context):
        return {"told": "all"}

    @ws.on("tell")
    async def tell(event, context):
        return {"told": "nobody"}

    await app.start(
        http_port=port,
        http_access_log=str(path),
        http_access_log_format="$context.eventType $context.routeKey $context.responseLength",
    )
    socket = await connect(port)
    await socket.send({"action": "ask"})
    _, told = await socket.receive()
    await socket.send({"action": "tell"})
    await socket.send({"action": "nowhere"})
    _, refused = await socket.receive()
    await socket.close()
    await app.stop()
    lines = [line.split() for line in path.read_text().splitlines() if line.startswith("MESSAGE")]
    assert sorted(lines) == [
        ["MESSAGE", "-", str(len(refused))],
        ["MESSAGE", "ask", str(len(told))],
        ["MESSAGE", "tell", "0"],
    ]


async def test_an_end_of_which_nobody_is_told_has_no_line(app, tmp_path):
    """A stop wrote `DISCONNECT … 500` for each client whose message was under way: no handler had run."""
    ws, path, port = app.websocket_api("chat"), tmp_path / "log", free_port()
    began, told = asyncio.Event(), []

    @ws.on("slow", responds=True)
    async def slow(event, context):
        began.set()
        await asyncio.sleep(0.3)
        return "slow"

    @ws.on_disconnect
    async def closed(event, context):
        told.append(event["requestContext"]["connectionId"])

    await app.start(
        http_port=port, http_access_log=str(path), http_access_log_format="$context.eventType $context.status"
    )
    busy, idle = await connect(port), await connect(port)

    async def leaves():
        code = await idle.closed()
        idle.writer.close()
        return code

    leaving = asyncio.create_task(leaves())
    await busy.send({"action": "slow"})
    await began.wait()
    await app.stop()
    assert (await busy.receive())[1] == b"slow" and await leaving == 1001
    busy.cut()
    lines = path.read_text().splitlines()
    assert lines.count("DISCONNECT 200") == len(told) == 1 and "DISCONNECT 500" not in lines, lines
