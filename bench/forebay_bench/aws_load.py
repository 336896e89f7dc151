"""A client of AWS's wire API that costs little: requests are signed once and sent again and again over open connections.

Runs in a process of its own: `python -m forebay_bench.aws_load`, with what to do as JSON on its standard input. It prints the
seconds.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvloop

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Work:
    """What is to be sent: the same request so many times, or a queue received and deleted until it is empty."""

    requests: list[bytes]
    count: int
    heads: dict[str, str]
    """For a drain: the signed head of each operation, with a place for the length; the bodies are not signed."""
    url: str
    """For a drain: the queue's."""


class Connection(asyncio.Protocol):
    """One connection, with one request under way at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.received = bytearray()
        self.handles: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.go_on(b"")

    def data_received(self, data: bytes) -> None:
        """Take an answer; when it is whole, send the next request."""
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        if head < 0:
            return
        found = LENGTH.search(self.received, 0, head)
        length = int(found[1]) if found else 0
        if len(self.received) < head + 4 + length:
            return
        if self.received[9:12] != b"200":
            self.load.failed(bytes(self.received[:2000]))
            return
        body = bytes(self.received[head + 4 :])
        self.received.clear()
        self.go_on(body)

    def go_on(self, body: bytes) -> None:
        """Send the next request, if there is one."""
        request = self.load.drained(self, body) if self.load.work.heads else self.load.next()
        if request is None:
            self.transport.close()
            self.load.ended()
        else:
            self.transport.write(request)


class Load:
    """All connections."""

    def __init__(self, work: Work, connections: int) -> None:
        self.work = work
        self.left = work.count
        self.open = connections
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next(self) -> bytes | None:
        """Give a request, until there were so many."""
        if self.left == 0:
            return None
        self.left -= 1
        return self.work.requests[self.left % len(self.work.requests)]

    def drained(self, connection: Connection, body: bytes) -> bytes | None:
        """Receive ten messages, or delete those that were received."""
        if body and not connection.handles:
            messages: list[dict[str, Any]] = json.loads(body).get("Messages", [])
            if not messages:
                return None
            self.left -= len(messages)
            connection.handles = [message["ReceiptHandle"] for message in messages]
            entries = [{"Id": str(number), "ReceiptHandle": one} for number, one in enumerate(connection.handles)]
            return self.filled("DeleteMessageBatch", {"QueueUrl": self.work.url, "Entries": entries})
        connection.handles = []
        asked = {"QueueUrl": self.work.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
        return self.filled("ReceiveMessage", asked)

    def filled(self, operation: str, body: dict[str, Any]) -> bytes:
        """Give a request of which only the body is not signed."""
        text = json.dumps(body).encode()
        return self.work.heads[operation].replace("LENGTH", str(len(text))).encode() + text

    def ended(self) -> None:
        """One connection has nothing to do any more."""
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)

    def failed(self, answer: bytes) -> None:
        """End with an answer that is no success."""
        if not self.done.done():
            self.done.set_exception(RuntimeError(answer.decode(errors="replace")))


async def run(port: int, connections: int, work: Work) -> float:
    """Do the work; give the seconds it took."""
    load, loop = Load(work, connections), asyncio.get_running_loop()
    begun = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(load), "127.0.0.1", port)
    await load.done
    return time.perf_counter() - begun


def main() -> None:
    """Read what to do, do it, and print the seconds."""
    given = json.load(sys.stdin)
    requests = [bytes.fromhex(one) for one in given["requests"]]
    work = Work(requests, given["count"], given.get("heads", {}), given.get("url", ""))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        print(loop.run(run(given["port"], given["connections"], work)))


if __name__ == "__main__":
    main()
