"""Waits until a server has really hung up.

A closed socket on our side does not mean that the server's connection is gone: it may still run its statement. Its place in the
pool is free only when the server's own end is closed, or the server would see more connections than the maximum.
"""

from __future__ import annotations

import asyncio
import socket

UNANSWERED_MILLISECONDS_MAX = 10_000  # a host that does not even acknowledge our close is gone
_CHUNK_BYTES = 65_536
_CHUNKS_MAX = 16  # at a time


def shut_down(sock: socket.socket) -> None:
    """Tell the server that nothing more will come."""
    try:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MILLISECONDS_MAX)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the other end was faster


async def wait_until_closed(sock: socket.socket, limit: float) -> bool:
    """Read and drop what still comes, until the server's end is closed; False when it is not within ``limit`` seconds."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def drain() -> None:
        try:
            for _ in range(_CHUNKS_MAX):
                if not sock.recv(_CHUNK_BYTES):
                    break
            else:
                return  # the rest later: others have their turn
        except BlockingIOError:
            return
        except OSError:
            pass  # reset: gone as well
        if not done.done():
            done.set_result(None)

    drain()
    if done.done():
        return True
    loop.add_reader(sock.fileno(), drain)
    try:
        async with asyncio.timeout(limit):
            await done
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(sock.fileno())
    return True
