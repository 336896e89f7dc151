"""Ports for the servers of tests that take a port by number."""

import itertools
import os
import socket

# Below what Linux gives to connections that go out (32,768 and up): such a port can be taken by any connection of another
# test between the moment it is found free and the moment a server listens on it.
FIRST, END = 20_000, 32_000
# Each process of a run (pytest -n) has ports of its own.
PROCESSES = 16
PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
# Runs that were started together have process numbers that follow each other: they begin 61 turns apart.
_turns = itertools.count(os.getpid() * 61)


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody listens on, another one each time."""
    for turn in itertools.islice(_turns, (END - FIRST) // PROCESSES):
        port = FIRST + (turn * PROCESSES + PROCESS) % (END - FIRST)
        with socket.socket() as listener:
            listener.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # as servers do: closed connections keep nobody away
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port of 127.0.0.1 is free from {FIRST} to {END - 1}")
