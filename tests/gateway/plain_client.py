"""A client of an API that sends what it is told, byte by byte."""

import asyncio
import json
from dataclasses import dataclass


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name):
        values = [value for known, value in self.headers if known == name]
        return ", ".join(values) if values else None

    def json(self):
        return json.loads(self.body)


class Client:
    """Sends requests to a port, each over a connection of its own."""

    def __init__(self, port):
        self.port = port

    async def raw(self, data, *, end=False):
        """Send bytes, and give everything that comes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            if end:
                writer.write_eof()
            return await asyncio.wait_for(reader.read(), 30)
        finally:
            writer.close()

    async def ask(self, method, path, headers=(), body=b"", host="localhost"):
        """Send a request; give its answer."""
        fields = {"host": host, "connection": "close", **dict(headers)}
        if body:
            fields["content-length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        return parsed(await self.raw("\r\n".join(lines).encode() + body), method)

    async def own(self, app, method, path, headers=(), body=b"", **more):
        """Ask for a page of this machine, with the app's token."""
        known = {"authorization": f"Bearer {await app.api_token()}", **dict(headers)}
        return await self.ask(method, path, known, body, **more)


def parsed(data, method="GET"):
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(": ")[::2] for line in lines]
    headers = [(name.lower(), value) for name, value in pairs]
    if ("transfer-encoding", "chunked") in headers and method != "HEAD":
        body = dechunked(body)
    return Answer(int(first.split()[1]), headers, body)


def dechunked(data):
    whole = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        if int(size, 16) == 0:
            return whole
        whole, data = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
