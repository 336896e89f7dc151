"""What the access log and the answer to a handshake tell of WebSocket connections."""

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
