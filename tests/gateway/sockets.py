"""A WebSocket client of a few lines, which also sends what no client should."""

import asyncio
import base64
import json
import os
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Socket:
    """One connection."""

    def __init__(self, reader, writer, head):
        self.reader, self.writer, self.head = reader, writer, head
        self.status = int(head.split()[1])

    async def frame(self, kind, data=b"", *, last=True):
        data = data.encode() if isinstance(data, str) else data
        mask = os.urandom(4)
        size = len(data)
        length = bytes([128 | size]) if size < 126 else struct.pack("!BH", 254, size)
        if size > 65_535:
            length = struct.pack("!BQ", 255, size)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self.writer.write(bytes([(128 if last else 0) | kind]) + length + mask + masked)
        await self.writer.drain()

    async def send(self, message):
        await self.frame(TEXT, message if isinstance(message, str) else json.dumps(message))

    async def receive(self, within=100):
        """Give the next frame: its kind and its data; None when the connection is gone."""
        try:
            first, size = await asyncio.wait_for(self.reader.readexactly(2), within)
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 15, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def json(self):
        kind, data = await self.receive()
        assert kind == TEXT, (kind, data)
        return json.loads(data)

    async def closed(self):
        """Give the code with which the other side closes."""
        while True:
            got = await self.receive()
            if got is None:
                return None
            if got[0] == CLOSE:
                return struct.unpack("!H", got[1][:2])[0] if got[1] else 1005

    async def close(self, code=1000):
        await self.frame(CLOSE, struct.pack("!H", code))
        self.writer.close()

    def cut(self):
        self.writer.transport.abort()


async def connect(port, path="/", **headers):
    """Open a connection, or have it refused: `status` tells."""
    fields = {
        "host": "localhost",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
    }
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    return Socket(reader, writer, head.decode())
