"""Machines with a network of their own each: real packets, which are delayed, lost or cut off on their way.

A machine is a network namespace with a tunnel device, and the namespace of this process has one, too. A thread carries packets
between them. All of it goes with this process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest
from members import now

if TYPE_CHECKING:
    from collections.abc import Iterator

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
PACKET_MAX = 65_536
# A network that nobody has: each run of tests takes another part of it.
NETWORK = "10.213"
# Runs in the namespace: makes the device there, and gives its descriptor away. The namespace is there as long as this process.
MACHINE = """
import array, fcntl, os, socket, struct, subprocess, sys
address, peer, pair = sys.argv[1], sys.argv[2], int(sys.argv[3])
device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(device, 0x400454CA, struct.pack("16sH", b"forebay", 0x1001))
for words in (f"addr add {address} peer {peer} dev forebay", "link set forebay mtu 1500 up", "link set lo up",
              "route add default dev forebay"):
    subprocess.run(["ip", *words.split()], check=True)
with socket.socket(fileno=pair) as pair:
    socket.send_fds(pair, [b"+"], [device])
    pair.recv(1)
"""


@dataclass
class Machine:
    """A network namespace, and what becomes of packets between it and all others."""

    process: subprocess.Popen[bytes]
    alive: socket.socket
    """As long as it is open, the namespace is there."""
    device: int
    address: str
    delay: float = 0.0
    """Seconds, one way."""
    jitter: float = 0.0
    """Up to so much more, for each packet by itself: they overtake each other."""
    lost: float = 0.0
    """The share of packets that never arrives."""
    carried: int = 0
    dropped: int = 0

    def heal(self) -> None:
        """Let everything through at once."""
        self.delay = self.jitter = self.lost = 0.0

    def inside(self) -> tuple[str, ...]:
        """Give what a command begins with that is to run there."""
        return ("nsenter", f"--net=/proc/{self.process.pid}/ns/net", "--")


@dataclass
class Network:
    """Machines, and the way of this process's own namespace to them."""

    chance: random.Random = field(default_factory=lambda: random.Random(1))
    machines: dict[str, Machine] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()
    """Two machines between which nothing is carried. Both reach all others."""

    def __post_init__(self) -> None:
        self._part = os.getpid() % 250 + 1
        self._numbers = itertools.count(2)
        self._here = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        name = f"fb{os.getpid()}"
        fcntl.ioctl(self._here, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
        for words in (f"addr add {self.address}/24 dev {name}", f"link set {name} mtu 1500 up"):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        self._ends, self._end = os.pipe()
        self._devices: dict[bytes, int] = {socket.inet_aton(self.address): self._here}
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._end, b"e")
        self._thread.join()
        for machine in self.machines.values():
            machine.alive.close()
            machine.process.wait()
            os.close(machine.device)
        for descriptor in (self._here, self._ends, self._end):
            os.close(descriptor)

    @property
    def address(self) -> str:
        """Where machines find what listens in this process's own namespace."""
        return f"{NETWORK}.{self._part}.1"

    @property
    def subnet(self) -> str:
        """All addresses that there may be."""
        return f"{NETWORK}.{self._part}.0/24"

    @contextlib.contextmanager
    def parted(self, one: str, other: str) -> Iterator[None]:
        """Cut the link between two machines alone."""
        self.apart = frozenset((one, other))
        yield
        self.apart = frozenset()

    def machine(self, name: str) -> Machine:
        """Make one more machine."""
        address = f"{NETWORK}.{self._part}.{next(self._numbers)}"
        ours, theirs = socket.socketpair()
        with theirs:
            words = ["unshare", "--net", sys.executable, "-c", MACHINE, address, self.address, str(theirs.fileno())]
            process = subprocess.Popen(words, pass_fds=[theirs.fileno()])
        _, devices, _, _ = socket.recv_fds(ours, 1, 1)
        made = Machine(process, ours, devices[0], address)
        self.machines[name] = made
        self._devices[socket.inet_aton(address)] = made.device
        os.write(self._end, b"+")
        return made

    def _carry(self) -> None:
        while True:
            wait = max(0.0, self._waiting[0][0] - now()) if self._waiting else None
            ready, _, _ = select.select([self._ends, *self._devices.values()], [], [], wait)
            if self._ends in ready and os.read(self._ends, 1) == b"e":
                return
            for device in ready:
                if device != self._ends:
                    self._read(device)
            while self._waiting and self._waiting[0][0] <= now():
                _, _, device, packet = heapq.heappop(self._waiting)
                # A queue that is full drops, as a real one does.
                with contextlib.suppress(OSError):
                    os.write(device, packet)

    def _read(self, device: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = os.read(device, PACKET_MAX)
                to = self._devices.get(packet[16:20])
                if packet[0] >> 4 == 4 and to is not None:
                    self._send(packet, device, to)

    def _send(self, packet: bytes, *ends: int) -> None:
        due = now()
        if self.apart and self.apart == {name for name, one in list(self.machines.items()) if one.device in ends}:
            return
        for machine in list(self.machines.values()):
            if machine.device in ends:
                if self.chance.random() < machine.lost:
                    machine.dropped += 1
                    return
                machine.carried += 1
                due += machine.delay + self.chance.random() * machine.jitter
        heapq.heappush(self._waiting, (due, next(self._order), ends[-1], packet))


def need_network() -> None:
    """Skip the test where no network can be made up."""
    words = ["unshare", "--net", sys.executable, "-c", "import os; os.open('/dev/net/tun', os.O_RDWR)"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no network can be made up here: unshare --net and /dev/net/tun need root")
