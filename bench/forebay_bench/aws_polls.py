"""What long polls that wait cost: memory and processor time of ten thousand, and how soon a send wakes one.

`python -m forebay_bench.aws_polls` is the client, a process of its own: it holds the polls. What to do stands as JSON on its
standard input; it prints a line when all polls are sent, and the times of waking when it is told to go on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import uvloop

from forebay_bench import machine
from forebay_bench.aws import served
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

POLLS = 10_000
WAIT_SECONDS = 20
OPENED_TOGETHER = 200
IDLE_SECONDS = 3.0
WAKES = 200
MIB = 1 << 20


async def polls(stage: Stage) -> Mapping[str, float]:
    """Hold long polls of an empty queue, then wake polls of another one by one."""
    count = stage.share(POLLS)
    async with served(stage) as wire:
        wire.app.queue("idle"), wire.app.queue("woken")
        bodies = {
            name: {"QueueUrl": wire.queue_url(name), "WaitTimeSeconds": WAIT_SECONDS} for name in ("idle", "woken")
        }
        message = {"QueueUrl": wire.queue_url("woken"), "MessageBody": "a book"}
        work = {
            "port": wire.port,
            "count": count,
            "wakes": stage.share(WAKES),
            "idle": wire.signed("sqs", "AmazonSQS.ReceiveMessage", bodies["idle"]).hex(),
            "woken": wire.signed("sqs", "AmazonSQS.ReceiveMessage", bodies["woken"]).hex(),
            "send": wire.signed("sqs", "AmazonSQS.SendMessage", message).hex(),
        }
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "forebay_bench.aws_polls", stdin=pipe, stdout=pipe
        )
        if client.stdin is None or client.stdout is None:
            raise RuntimeError("the client has no pipes")
        client.stdin.write(json.dumps(work).encode() + b"\n")
        await client.stdout.readline()
        with stage.meter:
            began = time.process_time()
            await asyncio.sleep(IDLE_SECONDS)
            used = time.process_time() - began
        memory = machine.memory_bytes()
        told, _ = await client.communicate(b"\n")
        if client.returncode:
            raise RuntimeError("the client failed")
    wakes = sorted(json.loads(told))
    return {
        "memory": memory / MIB,
        "idle": used / IDLE_SECONDS * 1000,
        "wake": machine.percentile(wakes, 50) * 1000,
        "wake_p99": machine.percentile(wakes, 99) * 1000,
    }


class Poll(asyncio.Protocol):
    """A connection with one request under way."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what sends."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> asyncio.Future[float]:
        """Send a request; give when its answer comes."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer

    def data_received(self, data: bytes) -> None:
        """Note when an answer came. One of so few bytes comes whole."""
        if data[9:12] != b"200":
            self.answer.set_exception(RuntimeError(data[:2000].decode(errors="replace")))
        elif not self.answer.done():
            self.answer.set_result(time.perf_counter())


async def client(work: dict[str, Any]) -> list[float]:
    """Hold the polls, then wake others; give the seconds from each send to the answer of the receive that waited."""
    loop = asyncio.get_running_loop()

    async def opened() -> Poll:
        _, poll = await loop.create_connection(Poll, "127.0.0.1", work["port"])
        return poll

    idle, made = bytes.fromhex(work["idle"]), list[Poll]()
    while len(made) < work["count"]:
        together = min(work["count"] - len(made), OPENED_TOGETHER)
        made += await asyncio.gather(*[opened() for _ in range(together)])
    # All of them ask when all are open: the first waits as long as it can for the last, however slow the machine is.
    held = [poll.ask(idle) for poll in made]
    await asyncio.sleep(1)
    early = [one for one in held if one.done()]
    for one in early:
        one.result()  # one that was refused says why
    if early:
        raise RuntimeError(f"{len(early)} polls of an empty queue were answered")
    print("held", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    receiver, sender = await opened(), await opened()
    woken, send = bytes.fromhex(work["woken"]), bytes.fromhex(work["send"])
    took = []
    for _ in range(work["wakes"]):
        answer = receiver.ask(woken)
        await asyncio.sleep(0.005)
        began = time.perf_counter()
        sent = sender.ask(send)
        took.append(await answer - began)
        await sent
    return took


SCENARIOS = (
    Scenario(
        "aws.polls",
        polls,
        (
            Figure("memory", "memory of an app with 10,000 long polls that wait", "MiB"),
            Figure("idle", "10,000 long polls that wait: processor time in a second", "ms"),
            Figure(
                "wake", "from a SendMessage to the answer of a receive that waits, 10,000 others waiting: half", "ms"
            ),
            Figure(
                "wake_p99", "from a SendMessage to the answer of a receive that waits, 10,000 others waiting: p99", "ms"
            ),
        ),
        note="the messages are durable before they are handed out; the client runs on the same machine",
        seconds=8,
    ),
)


if __name__ == "__main__":
    print(json.dumps(uvloop.run(client(json.loads(sys.stdin.readline())))))
