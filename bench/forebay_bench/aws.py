"""What AWS's wire API costs: verified requests of 64 connections, made without an SDK, which would be the bottleneck."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import statistics
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import forebay
from forebay_bench import aws_wrk, machine, questions
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

CONNECTIONS = 64
REGION = "eu-central-1"
ACCOUNT = "123456789012"
KEY = {"id": "FBKBENCH", "secret": "a-secret-of-the-bench"}
BODY = "x" * 200
TOGETHER = 10
RECORDS = 500
DEPTHS = (100_000, 1_000_000)


@dataclass
class Wire:
    """A port that speaks AWS's API, and how requests of it are made."""

    port: int
    processor: Callable[[], float] = time.process_time
    """Gives the processor time of the server, seconds."""

    def queue_url(self, name: str) -> str:
        """Give a queue's URL."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}/{name}"

    def signed(
        self, service: str, target: str, body: dict[str, Any] | bytes, path: str = "/", *, whole: bool = True
    ) -> bytes:
        """Give a request as it goes over the wire; without `whole`, its head, whose body is not signed."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target} if target else {}
        if not whole:
            headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
        request = AWSRequest("POST", f"http://127.0.0.1:{self.port}{path}", headers=headers, data=data)
        SigV4Auth(Credentials(KEY["id"], KEY["secret"]), service, REGION).add_auth(request)
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        length = str(len(data)) if whole else "LENGTH"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{lines}Content-Length: {length}\r\n\r\n"
        return head.encode() + (data if whole else b"")

    def one(self) -> bytes:
        """Give a request that sends a message."""
        return self.signed("sqs", "AmazonSQS.SendMessage", {"QueueUrl": self.queue_url("q"), "MessageBody": BODY})

    def batch(self) -> bytes:
        """Give a request that sends ten."""
        entries = [{"Id": str(number), "MessageBody": BODY} for number in range(TOGETHER)]
        return self.signed("sqs", "AmazonSQS.SendMessageBatch", {"QueueUrl": self.queue_url("q"), "Entries": entries})

    async def ask(self, request: bytes) -> Any:
        """Send one request; give what is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            return json.loads(await answer(reader))
        finally:
            writer.close()

    async def drain(self, count: int) -> tuple[float, float]:
        """Receive so many messages ten a call, and delete them; give the seconds and the server's processor time."""
        # The target is signed, too: a head for each.
        parts = {
            name: self.signed("sqs", f"AmazonSQS.{operation}", {}, whole=False)
            for name, operation in (("receive", "ReceiveMessage"), ("delete", "DeleteMessageBatch"))
        }
        return await self.measured(count, aws_wrk.DRAIN, {**parts, "url": self.queue_url("q").encode()})

    async def load(self, count: int, request: bytes) -> tuple[float, float]:
        """Send so many requests; give the seconds and the server's processor time."""
        return await self.measured(count, aws_wrk.SEND, {"request": request})

    async def measured(self, count: int, script: str, parts: dict[str, bytes]) -> tuple[float, float]:
        """Run a script of wrk; give the seconds and the server's processor time."""
        began = self.processor()
        seconds = await aws_wrk.load(self.port, CONNECTIONS, count, script, parts)
        return seconds, self.processor() - began


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read an answer; give its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return await reader.readexactly(int(length[1]) if length else 0)


@dataclass
class Served(Wire):
    """An app that runs."""

    app: forebay.App = field(kw_only=True)


@asynccontextmanager
async def served(stage: Stage, app: forebay.App | None = None) -> AsyncIterator[Served]:
    """Serve an app that has a key, so that every request is verified."""
    store = stage.directory / "store"
    store.mkdir(parents=True, exist_ok=True)
    (store / "aws-keys.json").write_text(json.dumps({"keys": [KEY]}))
    app = app or forebay.App("bench", store=store, region=REGION, account=ACCOUNT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    await app.start(aws_port=port)
    try:
        yield Served(port, app=app)
    finally:
        await app.stop()


def figures(count: int, each: int, seconds: float, processor: float) -> dict[str, float]:
    """Give the rate of what a request holds, and the processor time of one request."""
    return {"rate": count * each / seconds, "us": processor / count * 1e6}


def drained(calls: int, seconds: float, processor: float) -> dict[str, float]:
    """Give the rate of messages that were received and deleted, and the processor time of one request."""
    return {"rate": calls * TOGETHER / seconds, "us": processor / (2 * calls) * 1e6}


async def send(stage: Stage) -> Mapping[str, float]:
    """Send messages one by one, each acknowledged after its commit."""
    count = stage.share(40_000)
    async with served(stage) as wire:
        wire.app.queue("q")
        with stage.meter:
            took = await wire.load(count, wire.one())
    return figures(count, 1, *took)


async def verified(stage: Stage) -> Mapping[str, float]:
    """Ask what costs the app next to nothing: what is left is the wire, with each signature verified."""
    count = stage.share(100_000)
    async with served(stage) as wire:
        wire.app.queue("q")
        with stage.meter:
            took = await wire.load(count, wire.signed("sqs", "AmazonSQS.GetQueueUrl", {"QueueName": "q"}))
    return figures(count, 1, *took)


async def send_alone(stage: Stage) -> Mapping[str, float]:
    """Send messages one after the other, 5 ms apart, in turns by the wire and in the app's own process."""
    count = stage.share(400)
    by_wire, commits = [], []
    async with served(stage) as wire:
        queue, request = wire.app.queue("q"), wire.one()
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        try:
            with stage.meter:
                for _ in range(count):
                    began = time.perf_counter()
                    await queue.send(BODY)
                    commits.append(time.perf_counter() - began)
                    await asyncio.sleep(0.005)
                    began = time.perf_counter()
                    writer.write(request)
                    await answer(reader)
                    by_wire.append(time.perf_counter() - began)
                    await asyncio.sleep(0.005)
        finally:
            writer.close()
    return {"p99": machine.percentile(by_wire, 99) * 1000, "commit_p99": machine.percentile(commits, 99) * 1000}


async def send_batch(stage: Stage) -> Mapping[str, float]:
    """Send messages ten a call."""
    count = stage.share(15_000)
    async with served(stage) as wire:
        wire.app.queue("q")
        with stage.meter:
            took = await wire.load(count, wire.batch())
    return figures(count, TOGETHER, *took)


async def receive(stage: Stage) -> Mapping[str, float]:
    """Receive a backlog ten messages a call, and delete them."""
    calls = stage.share(10_000)
    async with served(stage) as wire:
        queue = wire.app.queue("q")
        for _ in range(calls):
            await queue.send_many([BODY] * TOGETHER)
        with stage.meter:
            took = await wire.drain(calls * TOGETHER)
    return drained(calls, *took)


async def depth(stage: Stage) -> Mapping[str, float]:
    """Send messages ten a call, and receive and delete as many, in turns with many and with ten times as many waiting."""
    calls, waiting = stage.share(20_000), 0
    seen: dict[str, list[float]] = {}
    async with served(stage) as wire:
        wire.app.queue("q")
        # In turns: one second of this differs from the next by more than the depths do.
        for depth in DEPTHS * 3:
            more = stage.share(depth) - waiting
            await (wire.load(more // TOGETHER, wire.batch()) if more > 0 else wire.drain(-more))
            waiting += more
            for _ in range(3):
                with stage.meter:
                    sent = figures(calls, TOGETHER, *await wire.load(calls, wire.batch()))
                    received = drained(calls, *await wire.drain(calls * TOGETHER))
                for what, told in (("send", sent), ("receive", received)):
                    for name, value in told.items():
                        seen.setdefault(f"{what}_{name}_{depth}", []).append(value)
    return {name: statistics.median(values) for name, values in seen.items()}


async def put_records(stage: Stage) -> Mapping[str, float]:
    """Put records of 200 bytes, 500 a call."""
    count = stage.share(1_000)
    async with served(stage) as wire:
        await wire.app.stream("s", shards=4).put(b"first", "k")
        data = base64.b64encode(BODY.encode()).decode()
        records = [{"Data": data, "PartitionKey": f"k{number}"} for number in range(RECORDS)]
        request = wire.signed("kinesis", "Kinesis_20131202.PutRecords", {"StreamName": "s", "Records": records})
        with stage.meter:
            took = await wire.load(count, request)
    return figures(count, RECORDS, *took)


async def get_records(stage: Stage) -> Mapping[str, float]:
    """Get the same records of 200 bytes again and again, 500 a call."""
    count = stage.share(2_000)
    async with served(stage) as wire:
        await wire.app.stream("s", shards=1).put_many([(BODY.encode(), "k")] * RECORDS)
        place = {"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        given = await wire.ask(wire.signed("kinesis", "Kinesis_20131202.GetShardIterator", place))
        asked = {"ShardIterator": given["ShardIterator"], "Limit": RECORDS}
        request = wire.signed("kinesis", "Kinesis_20131202.GetRecords", asked)
        if (got := len((await wire.ask(request))["Records"])) != RECORDS:
            raise RuntimeError(f"a call gets {got} records, not {RECORDS}")
        with stage.meter:
            took = await wire.load(count, request)
    return figures(count, RECORDS, *took)


async def invoke(stage: Stage) -> Mapping[str, float]:
    """Invoke an async handler."""
    count = stage.share(30_000)
    store = stage.directory / "store"
    app = forebay.App("bench", store=store, region=REGION, account=ACCOUNT)

    @app.function()
    async def echo(event: Any, context: forebay.Context) -> Any:
        return event

    async with served(stage, app) as wire:
        request = wire.signed("lambda", "", b'{"a": 1}', path="/2015-03-31/functions/echo/invocations")
        with stage.meter:
            took = await wire.load(count, request)
    return figures(count, 1, *took)


NOTE = "AWS's wire API with an access key: every request is verified; the client runs on the same machine"


def scenario(
    name: str, run: Callable[[Stage], Coroutine[Any, Any, Mapping[str, float]]], title: str, unit: str
) -> Scenario:
    """Give a scenario with both figures."""
    titled = f"{title}, 64 connections"
    rate = Figure("rate", titled, unit, question=titled if titled in questions.AWS.values() else None)
    processor = Figure("us", f"{titled}: processor time of a request in the app's process", "µs")
    return Scenario(name, run, (rate, processor), note=NOTE, seconds=6)


SCENARIOS = (
    scenario("aws.wire", verified, "GetQueueUrl, which is next to no work", "requests/s"),
    Scenario(
        "aws.send_alone",
        send_alone,
        (
            Figure("p99", "a SendMessage of 200 B alone, 100 a second: p99", "ms"),
            Figure("commit_p99", "a send in the app's own process, in turns with it: p99", "ms"),
        ),
        note=NOTE,
        seconds=6,
    ),
    scenario("aws.send", send, "SendMessage of 200 B", "messages/s"),
    scenario("aws.send_batch", send_batch, "SendMessageBatch of 10", "messages/s"),
    scenario("aws.receive", receive, "ReceiveMessage of 10 and DeleteMessageBatch", "messages/s"),
    Scenario(
        "aws.depth",
        depth,
        tuple(
            Figure(f"{key}_{name}_{depth}", f"{title} with {depth:,} waiting, 64 connections{of}", unit)
            for depth in DEPTHS
            for key, title in (
                ("send", "SendMessageBatch of 10"),
                ("receive", "ReceiveMessage of 10 and DeleteMessageBatch"),
            )
            for name, of, unit in (
                ("rate", "", "messages/s"),
                ("us", ": processor time of a request in the app's process", "µs"),
            )
        ),
        note=NOTE,
        seconds=90,
    ),
    scenario("aws.put_records", put_records, "PutRecords of 500 of 200 B", "records/s"),
    scenario("aws.get_records", get_records, "GetRecords of 500 of 200 B", "records/s"),
    scenario("aws.invoke", invoke, "Invoke of an async handler", "invocations/s"),
)
