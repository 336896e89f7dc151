"""How processes ask for permits: over a socket that every system has, and with no end to wait for that does not read."""

from __future__ import annotations

import asyncio
import socket
import stat
import struct
from pathlib import Path

import pytest

from forebay.dbproxy.permit_client import PermitClient, connected
from forebay.dbproxy.permit_server import PermitServer
from forebay.dbproxy.permits import Ask, Tell

MESSAGE = struct.Struct("<BHI")


class Pool:
    """One that never has anything idle."""

    leaving = 0

    def must_wait(self):
        pass

    def refused(self):
        pass

    def close_idle(self):
        return False


@pytest.fixture
async def server():
    server = PermitServer([1])
    yield server
    await server.close()


def modes(path):
    return stat.S_IFMT(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)


async def taken(permits):
    """Wait for a permit for a moment; it is not given."""
    waiting = asyncio.create_task(permits.take(waits=True))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(0)


@pytest.mark.parametrize("temporary", ["as it is", "long"])
async def test_it_needs_nothing_that_only_linux_has_and_leaves_nothing_behind(monkeypatch, tmp_path, temporary):
    """`app.start()` with an attached proxy failed on macOS."""
    for name in ("SOCK_NONBLOCK", "SOCK_CLOEXEC", "SOCK_SEQPACKET", "SO_PEERCRED"):
        monkeypatch.delattr(socket, name, raising=False)
    if temporary == "long":
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("d" * 100)))
    server = PermitServer([1])
    path = Path(server.address)
    assert modes(path) == (stat.S_IFSOCK, 0o700)
    assert len(server.address) < 104
    client = PermitClient(connected(server.address), passes_sockets=True)
    assert await client.of(Pool()).take(waits=True) is not None
    client.close()
    await server.close()
    assert path.parent not in path.parent.parent.iterdir()


async def test_a_message_and_its_socket_may_come_in_pieces(server):
    raw = connected(server.address)
    ours, theirs = socket.socketpair()
    for message, passed in [((Ask.TAKE, 0, 7), None), ((Ask.OPENED, 0, 7), theirs)]:
        for place, byte in enumerate(MESSAGE.pack(*message)):
            socket.send_fds(raw, [bytes([byte])], [passed.fileno()] if passed is not None and place == 0 else [])
            await asyncio.sleep(0.001)
    theirs.close()
    [process] = server._processes
    assert MESSAGE.unpack(raw.recv(MESSAGE.size)) == (Tell.GRANTED, 0, 7)
    assert process.connections[0, 7].fileno() >= 0
    raw.close()
    ours.close()


async def test_what_waits_for_a_process_that_does_not_run_its_loop_is_bounded(server):
    """Each process that wanted a permit and gave up left two messages to it behind."""
    blocked = connected(server.address)
    blocked.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    blocked.sendall(MESSAGE.pack(Ask.TAKE, 0, 1))
    while not server._processes or not next(iter(server._processes)).connections:
        await asyncio.sleep(0.001)
    [process] = server._processes
    client = PermitClient(connected(server.address), passes_sockets=False)
    permits = client.of(Pool())
    for _ in range(5_000):
        await taken(permits)
    assert len(process.channel._unsent) <= 1
    blocked.setblocking(False)
    loop, told = asyncio.get_running_loop(), b""
    while process.channel._unsent or not told:
        told += await loop.sock_recv(blocked, 1 << 16)
        await asyncio.sleep(0.001)
    told = [kind for kind, _, _ in MESSAGE.iter_unpack(told)]
    assert told[0] == Tell.GRANTED
    assert told.count(Tell.GIVE) > 10, "the socket took some, until it was full"
    client.close()
    blocked.close()


async def test_what_waits_for_an_owner_that_does_not_run_its_loop_is_bounded():
    ours, owner = socket.socketpair()
    client = PermitClient(ours, passes_sockets=False)
    permits = client.of(Pool())
    for _ in range(5_000):
        await taken(permits)
    assert len(client._channel._unsent) <= 1
    client.close()
    owner.close()
