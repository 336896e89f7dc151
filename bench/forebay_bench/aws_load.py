"""A client of HTTP that sends each of many requests over open connections, one at a time on each.

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

import uvloop

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Work:
    """What is to be sent."""

    requests: list[bytes]
    count: int


class Connection(asyncio.Protocol):
    """One connection, with one request under way at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.go_on()

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
        self.received.clear()
        self.go_on()

    def go_on(self) -> None:
        """Send the next request, if there is one."""
        request = self.load.next()
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

    def ended(self) -> None:
        """One connection has nothing to do any more."""
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)

    def failed(self, answer: bytes) -> None:
        """End with an answer that is not a success."""
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
    work = Work(requests, given["count"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        print(loop.run(run(given["port"], given["connections"], work)))


if __name__ == "__main__":
    main()
