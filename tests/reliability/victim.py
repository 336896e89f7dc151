"""An app under load that is going to be killed, and the nursery that starts it quickly, again and again.

Run as a program it is the nursery: for each line of JSON on its input it forks a child that lives as the line says, and tells its
process id; a child costs milliseconds, since everything is imported. What happened stands in the ledger, a file of its own.
"""

import asyncio
import faulthandler
import gc
import json
import os
import random
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from forebay import App, Backoff, Batch, ForebayError, Function, JSONLines, Queue
from forebay._model.http_address import HttpAddress
from forebay._model.metrics import MetricsAddress
from forebay._model.wire import WireAddress
from forebay.cli.run import serve
from forebay.testing import Ledger

STREAM = "events"
FIFO, QUEUE = "ordered.fifo", "plain"
TOPIC, BUS = "news", "orders"
# Subscribed queues, and whether only odd numbers go there.
TOLD = {"told-all": False, "told-odd": True}
# Queues that are targets of rules of the bus, in the same way.
ROUTED = {"routed-all": False, "routed-odd": True}
# Keys of what one publication or one event on the bus becomes begin so.
COPIES = ("told-", "event-told", "routed-", "event-routed")
SHARDS = 2
KEYS = 20
CLIENT = 100  # the number of the putter that is a process of its own
TIMEOUT_SECONDS = 3
# What a life notes besides what every ledger knows.
NOTED = ("started", "stopped", "refused")
# Handlers that fail do so with each item whose number its divides, and now and then with any batch. A bad record keeps those
# behind it waiting.
BAD_RECORD, BAD = 500, 20
FAILING = 0.02
SOON = Backoff(base=0.02, cap=0.05)
# As long as a life lasts: attempts of the same item are those of several lives.
LATER = Backoff(base=0.3, cap=0.4)


Work = Callable[..., Awaitable[None]]


class Failing(Exception):
    """What a handler raises that fails."""


def failures_file(how: dict) -> Path:
    """Tell where what was given up is told of."""
    return Path(how["store"]).with_name("failures.jsonl")


def make(how: dict, ledger: Ledger) -> tuple[App, Function]:
    app = App("victim", store=how["store"], serve=how.get("serve", True))
    app.stream(STREAM, shards=how.get("shards", SHARDS))
    work, fails, file = worker(how, ledger), how.get("failing", False), JSONLines(failures_file(how))
    backoff = LATER if fails else SOON

    @app.on_stream(
        STREAM,
        batch_size=how.get("batch", 10),
        parallelization_factor=how.get("lanes", 4),
        enabled=how.get("enabled", True),
        maximum_retry_attempts=2 if fails else -1,
        bisect_batch_on_function_error=fails,
        retry_backoff=backoff,
        on_failure=file if fails else None,
        include_payload=fails,
    )
    @app.function(timeout=how.get("timeout", TIMEOUT_SECONDS), name="work")
    async def on_records(batch: Batch, context) -> None:
        await work([(record.partition_key, record.json()["number"]) for record in batch])

    patience = {"maximum_retry_attempts": 1, "retry_delays": (0.5, 0.5), "on_failure": file} if fails else {}

    @app.function(**patience)
    async def on_event(event, context) -> None:
        await work([fact_of_event(event)])

    if how.get("queues"):
        make_queues(app, how, work)
        app.topic(TOPIC).subscribe(on_event)
        app.bus(BUS).rule("event-routed", {"source": ["victim"]}, on_event)
    return app, on_event


def worker(how: dict, ledger: Ledger) -> Work:
    """Give what all handlers do. Where it fails, a batch that is given to it is told which of it have failed."""
    chance, fails = random.Random(how["life"]), how.get("failing", False)

    async def work(facts: list[tuple[str, int]], batch: Batch | None = None) -> None:
        with ledger.handling(facts) as failed:
            if any(list(fact) == how.get("poison") for fact in facts):
                os.kill(os.getpid(), signal.SIGSEGV)
            await asyncio.sleep(chance.random() * how.get("takes", 0.004))
            bad = {fact for fact in facts if fails and is_bad(*fact, how)}
            if (bad and batch is None) or (fails and chance.random() < FAILING):
                raise Failing
            failed.update(bad)
            for fact, item in zip(facts, batch or (), strict=bool(batch)):
                if fact in bad:
                    batch.fail(item)

    return work


def is_bad(key: str, number: int, how: dict) -> bool:
    """Tell whether a handler that fails does so with this item each time."""
    return number % (how.get("bad_record", BAD_RECORD) if key.startswith("k") else BAD) == 0


def make_queues(app: App, how: dict, work: Work) -> None:
    """Declare the queues and their handlers; where these fail, each with a queue for its dead letters."""
    timeout, backoff = how.get("timeout", TIMEOUT_SECONDS), LATER if how.get("failing") else SOON

    def queue(name: str) -> Queue:
        if not how.get("failing"):
            return app.queue(name)
        return app.queue(name, dead_letter_queue=app.queue(f"lost-{name}"), maximum_receive_count=3)

    queue(FIFO)
    queue(QUEUE)

    @app.on_queue(FIFO, retry_delay=backoff)
    @app.function(timeout=timeout)
    async def on_ordered(batch: Batch, context) -> None:
        await work([fact_of(message.body) for message in batch])

    @app.on_queue(QUEUE, retry_delay=backoff, report_batch_item_failures=True)
    @app.function(timeout=timeout)
    async def on_plain(batch: Batch, context) -> None:
        await work([fact_of(message.body) for message in batch], batch)

    for name, is_odd in (TOLD | ROUTED).items():
        odd = {"odd": ["yes"]} if is_odd else {}
        if name in TOLD:
            app.topic(TOPIC).subscribe(queue(name), filter_policy=odd or None, raw_message_delivery=True)
        else:
            pattern = {"source": ["victim"]} | ({"detail": odd} if odd else {})
            app.bus(BUS).rule(name, pattern, queue(name), input_path="$.detail.number")

        @app.on_queue(name, retry_delay=backoff)
        @app.function(name=name, timeout=timeout)
        async def on_told(batch: Batch, context) -> None:
            await work([(f"{context.function_name}.{message.body}", int(message.body)) for message in batch])


def fact_of_event(event: dict) -> tuple[str, int]:
    """Read which event this is: one that was sent, one that was put on the bus, or a copy of a publication."""
    if "detail" in event:
        return f"event-routed.{event['detail']['number']}", event["detail"]["number"]
    if "Records" not in event:
        return event["key"], event["number"]
    number = event["Records"][0]["Sns"]["Message"]
    return f"event-told.{number}", int(number)


def copies_of(number: int, queues: dict[str, bool], function: str) -> list[tuple[str, int]]:
    """Give the facts of a publication or of an event on the bus: one for each queue and function that it goes to."""
    names = [name for name, is_odd in queues.items() if number % 2 or not is_odd]
    return [(f"{name}.{number}", number) for name in (*names, function)]


def halves(facts, *, given_up=frozenset()) -> list[str]:
    """Name what was published or put on the bus of which some copies are there and others are not: it is one commit.

    Whether its caller heard of it does not matter. Everything had the time to be done.
    """
    together: dict[int, set[tuple[str, int]]] = defaultdict(set)
    ended = set(given_up)
    for fact in facts:
        if fact.kind == "asked" and fact.key.startswith(COPIES):
            together[fact.number].add((fact.key, fact.number))
        elif fact.kind == "done":
            ended.add((fact.key, fact.number))
    return [
        f"half: of publication {number} only {copies & ended}"
        for number, copies in together.items()
        if copies & ended and copies - ended
    ]


def fact_of(body: str) -> tuple[str, int]:
    """Read which message this is."""
    message = json.loads(body)
    return message["key"], message["number"]


async def put(app: App, how: dict, ledger: Ledger, putter: int) -> None:
    """Put until the app is gone, and say what was acknowledged."""
    stream, chance, number = app.stream(STREAM), random.Random(how["life"]), ledger.next_number()
    filling = b"." * how.get("filling", 100)
    while True:
        records = []
        for _ in range(chance.randint(1, how.get("most", 30))):
            records.append((f"k{putter}.{chance.randrange(how.get('keys', KEYS))}", number))
            number += 1
        ledger.note("asked", records)
        # Bytes, not objects: without memory the JSON encoder would be the first to die.
        data = [(b'{"number":%d,"filling":"%b"}' % (number, filling), key) for key, number in records]
        try:
            await stream.put_many(data)
        except ForebayError:
            ledger.note("refused", records)
            if not app_runs(app):
                return
            await asyncio.sleep(0.01)
            continue
        ledger.note("acknowledged", records)
        await asyncio.sleep(how.get("pause", 0.002))


async def send(app: App, how: dict, ledger: Ledger, on_event: Function) -> None:
    """Send to both queues, invoke, publish, put on the bus and schedule until the app is gone; say what was acknowledged."""
    chance, number = random.Random(-how["life"]), ledger.next_number()
    while True:
        kind = chance.choice(("ordered", "plain", "event", "publication", "routed", "event-due"))
        count = chance.randint(1, 10) if kind in {"ordered", "plain"} else 1
        key = f"{kind}.{chance.randrange(KEYS)}"
        # Where there is no order, each is a key of its own.
        facts = [(key if kind == "ordered" else f"{kind}.{each}", each) for each in range(number, number + count)]
        if kind == "publication":
            facts = copies_of(number, TOLD, "event-told")
        elif kind == "routed":
            facts = copies_of(number, ROUTED, "event-routed")
        number += count
        ledger.note("asked", facts)
        bodies = [{"key": key, "number": each} for key, each in facts]
        try:
            if kind == "event":
                await on_event.invoke_async(bodies[0])
            elif kind == "publication":
                told = facts[0][1]
                await app.topic(TOPIC).publish(str(told), attributes={"odd": "yes" if told % 2 else "no"})
            elif kind == "routed":
                told = facts[0][1]
                detail = {"number": told, "odd": "yes" if told % 2 else "no"}
                await app.bus(BUS).put(detail, source="victim", detail_type="Number")
            elif kind == "event-due":
                await schedule(app, bodies[0])
            elif kind == "plain":
                await app.queue(QUEUE).send_many([{"body": body} for body in bodies])
            else:
                ids = [{"group_id": key, "deduplication_id": f"{key}.{body['number']}"} for body in bodies]
                messages = [{"body": body} | of_group for body, of_group in zip(bodies, ids, strict=True)]
                await app.queue(FIFO).send_many(messages)
        except ForebayError:
            ledger.note("refused", facts)
            if not app_runs(app):
                return
            await asyncio.sleep(0.01)
            continue
        ledger.note("acknowledged", facts)
        await asyncio.sleep(how.get("pause", 0.002))


async def schedule(app: App, body: dict) -> None:
    """Let an event be due in a second or two: in this life, or in one of the next."""
    due = datetime.fromtimestamp(int(time.time()) + 2, UTC).strftime("at(%Y-%m-%dT%H:%M:%S)")
    name, event = f"due-{body['number']}", json.dumps(body)
    told = await app._caller.ask("schedule.put", name=name, expression=due, function="on_event", input=event)
    if told["next_due_ms"] is None:  # frozen until then
        raise ForebayError("the time was in the past when it was declared")


def app_runs(app: App) -> bool:
    return app._running is not None


async def live_as_client(how: dict) -> int:
    """Put through the socket of whoever owns the store, until killed."""
    ledger = Ledger(how["ledger"], life=how["life"], own=NOTED)
    app = App("victim", store=how["store"], serve=False)
    app.stream(STREAM, shards=SHARDS)
    async with app:
        await put(app, how, ledger, CLIENT)
    return 0


async def live(how: dict) -> int:
    """Run the app under load until a signal; the exit status is that of `forebay run`."""
    ledger = Ledger(how["ledger"], life=how["life"], own=NOTED)
    app, on_event = make(how, ledger)
    serving = asyncio.create_task(
        serve(app, how.get("grace", 10), metrics=MetricsAddress(), http=HttpAddress(), aws=WireAddress())
    )
    while not app_runs(app) and not serving.done():
        await asyncio.sleep(0.001)
    ledger.note("started", [("", 0)])
    putting = [asyncio.create_task(put(app, how, ledger, putter)) for putter in range(how.get("putters", 1))]
    if how.get("queues"):
        putting += [asyncio.create_task(send(app, how, ledger, on_event))]
    if "memory" in how:
        asyncio.get_running_loop().call_later(how["starved_after"], limit_memory, how["memory"])
    status = await serving
    ledger.note("stopped", [("", 0)])
    if putting:
        await asyncio.wait(putting, timeout=5)
    return status


def limit_memory(mebibytes: int) -> None:
    """Leave this process so much more address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def nursery(live: Callable[[dict], Awaitable[int]]) -> None:
    """Fork a child that lives as each line of the input says, and tell its process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.freeze()
    for line in sys.stdin:
        how = json.loads(line)
        if "wait" in how:
            _, status = os.waitpid(how["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child == 0:
            errors = os.open(how["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(errors, 2)
            faulthandler.enable()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                status = runner.run(live(how))
            os._exit(status)
        print(child, flush=True)


if __name__ == "__main__":
    nursery(lambda how: live_as_client(how) if how.get("client") else live(how))
