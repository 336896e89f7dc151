"""Clients of the gateway in a process of their own, so that what they cost is not measured with it.

`python -m forebay_bench.http_clients sockets URL COUNT BYTES` holds WebSockets. Each line on its standard input is a round; when
every socket has been sent so many bytes of text, it prints a line. `… slow URL COUNT` sends and reads as slowly as a client can.
Either prints a line when all are connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import selectors
import socket
import sys
from urllib.parse import SplitResult, urlsplit

TOGETHER = 100
"""Handshakes that are waited for at once: more would wait at the listener."""
PAUSE_SECONDS = 1.0
READ_BYTES = 100
SHAKE = (
    "GET {0.path} HTTP/1.1\r\nhost: {0.netloc}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
HEADS = (
    "GET {0.path} HTTP/1.1\r\nhost: {0.netloc}\r\nx-slow: ",
    "POST {0.path} HTTP/1.1\r\nhost: {0.netloc}\r\ncontent-length: 100000\r\n\r\n",
    "GET {0.path} HTTP/1.1\r\nhost: {0.netloc}\r\n\r\n",
)
"""One that never ends, one whose body never ends, and one that is whole: its answer is read slowly."""


def hold_sockets(place: SplitResult, count: int, size: int) -> None:
    """Hold WebSockets, and count what each round brings."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held, waiting = selectors.DefaultSelector(), []
    for number in range(1, count + 1):
        opened = socket.create_connection((place.hostname or "", place.port or 0))
        opened.sendall(SHAKE.format(place).encode())
        held.register(opened, selectors.EVENT_READ)
        waiting.append(opened)
        if len(waiting) == TOGETHER or number == count:
            for one in waiting:
                answer = one.recv(1_024)
                if not answer.startswith(b"HTTP/1.1 101"):
                    raise RuntimeError(answer.decode())
            waiting.clear()
    print(flush=True)
    for _ in sys.stdin:
        left = count * (size + 4)  # a frame of 126 to 65,535 bytes has a head of four
        while left:
            for key, _ in held.select():
                data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                if not data:
                    raise RuntimeError("a socket was closed")
                left -= len(data)
        print(flush=True)


async def dawdle(place: SplitResult, number: int) -> None:
    """Be slow: in a head, a body, or in reading; once more when the server has had enough."""
    while True:
        with contextlib.suppress(OSError):
            opened = socket.socket()
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            opened.setblocking(False)
            await asyncio.get_running_loop().sock_connect(opened, (place.hostname, place.port))
            reader, writer = await asyncio.open_connection(sock=opened, limit=READ_BYTES)
            writer.write(HEADS[number % 3].format(place).encode())
            while not reader.at_eof():
                await asyncio.sleep(PAUSE_SECONDS)
                if number % 3 == 2:  # noqa: PLR2004  it reads
                    await reader.read(READ_BYTES)
                else:
                    writer.write(b"x")
                    await writer.drain()
            writer.close()
        await asyncio.sleep(PAUSE_SECONDS)


async def be_slow(place: SplitResult, count: int) -> None:
    """Have so many slow clients until this process is ended."""
    dawdling = [asyncio.create_task(dawdle(place, number)) for number in range(count)]
    await asyncio.sleep(PAUSE_SECONDS)
    print(flush=True)
    await asyncio.gather(*dawdling)


def main() -> None:
    """Do what the command line says."""
    kind, url, *numbers = sys.argv[1:]
    if kind == "sockets":
        hold_sockets(urlsplit(url), *map(int, numbers))
    else:
        asyncio.run(be_slow(urlsplit(url), *map(int, numbers)))


if __name__ == "__main__":
    main()
