"""Clients of a WebSocket API, reached by boto3's apigatewaymanagementapi."""

import base64
import os
import socket

import pytest
from ports import free_port
from wire_app import served


class Client:
    """Opens a WebSocket; reads short frames."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            "GET /_apis/chat/production/ HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\nuser-agent: test\r\n\r\n".encode()
        )
        self.read = self.socket.makefile("rb")
        assert b" 101 " in self.read.readline()
        while self.read.readline() != b"\r\n":
            pass

    def receive(self):
        first, size = self.read.read(2)
        return first & 15, self.read.read(size)


@pytest.fixture
def wire(make_app):
    app, port = make_app(), free_port()
    app.opened = []
    chat = app.websocket_api("chat")
    chat.stage("production")
    app.websocket_api("other").stage("test")

    @chat.on_connect
    async def opened(event, context):
        app.opened.append(event["requestContext"]["connectionId"])
        return {"statusCode": 200}

    with served(app, http_port=port) as running:
        client = Client(port)
        yield running, client
        client.read.close()
        client.socket.close()


# A proxy's path of one part was taken for a stage: each client that was there had gone, and handlers forgot it.
@pytest.mark.parametrize("stage", ["", "/production", "/_apis/chat", "/_apis/chat/production", "/aws", "/aws/v1"])
def test_a_client_is_sent_something_described_and_let_go(wire, stage):
    running, client = wire
    [connection] = running.app.opened
    api = running.client("apigatewaymanagementapi", path=stage)
    api.post_to_connection(ConnectionId=connection, Data=b'{"a": 1}')
    assert client.receive() == (1, b'{"a": 1}')
    api.post_to_connection(ConnectionId=connection, Data=b"\xff\x00")
    assert client.receive() == (2, b"\xff\x00")
    told = api.get_connection(ConnectionId=connection)
    assert told["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "test"}
    assert told["ConnectedAt"] <= told["LastActiveAt"]
    for place in ("/test", "/_apis/other", "/_apis/chat/test", "/_apis/other/production"):
        elsewhere = running.client("apigatewaymanagementapi", path=place)
        with pytest.raises(api.exceptions.GoneException):
            elsewhere.post_to_connection(ConnectionId=connection, Data=b"not yours")
        with pytest.raises(api.exceptions.GoneException):
            elsewhere.delete_connection(ConnectionId=connection)
    with pytest.raises(api.exceptions.PayloadTooLargeException):
        api.post_to_connection(ConnectionId=connection, Data=b"x" * 131_073)
    api.delete_connection(ConnectionId=connection)
    assert client.receive()[0] == 8
    with pytest.raises(api.exceptions.GoneException):
        api.post_to_connection(ConnectionId=connection, Data=b"late")
