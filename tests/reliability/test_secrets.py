"""What nobody may see: payloads and keys in logs, metrics and errors; a store's files but its owner; a door from outside."""

import asyncio
import contextlib
import importlib
import io
import ipaddress
import logging
import os
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from ports import free_port

from forebay import App, ForebayError, FunctionError, logs
from forebay.cli.why import lines

CANARY = "canary-4f9c1b"


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """Import an app with work of every kind, anew."""
    monkeypatch.setenv("FOREBAY_TEST_STORE", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    yield importlib.import_module("watched_app")
    del sys.modules["watched_app"]


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def spans(monkeypatch):
    """Trace; a process has one provider for its whole life, and other tests have none."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


async def until(condition):
    async with asyncio.timeout(100):
        while not (answer := await condition()):
            await asyncio.sleep(0.005)
    return answer


def page(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=100) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


async def refusals(app):
    """Give what is said to those who ask wrongly, at the owner or at its client."""
    events, orders, news, said = app.stream("events"), app.queue("orders"), app.topic("news"), []
    for refused in (
        events.put(CANARY * 200_000, "k"),
        events.put(CANARY, CANARY * 100),
        events.put({"password": {CANARY}}, "k"),
        orders.send(CANARY * 200_000),
        orders.send("x", attributes={"token": CANARY * 200_000}),
        orders.send({"password": {CANARY}}),
        orders.send("x", attributes={"token": [CANARY]}),
        orders.send("x", attributes={(CANARY,): "x"}),
        orders.send("x", group_id=[CANARY]),
        orders.send("x", deduplication_id=[CANARY]),
        orders.receive(attempt_id=[CANARY]),
        orders.send_many([{"password": CANARY}]),
        news.publish({"password": {CANARY}}),
        news.publish("x", subject={"password": CANARY}),
        news.publish("x", attributes={(CANARY,): ["x"]}),
        news.publish("x", attributes={"token": [{CANARY}]}),
        events.put_many([(CANARY,)]),
        events.put("x", CANARY.encode()),
    ):
        with pytest.raises(ForebayError) as refusal:
            await refused
        said.append(str(refusal.value))
    return said


async def failures_of(watched):
    """Give every piece of work each of its kinds, see all of it fail, and give what callers and lists say of it."""
    secret, said = {"password": CANARY}, []
    put = await watched.events.put(secret, f"key-{CANARY}")
    asked = await watched.bills.invoke_async(secret)
    sent = [await queue.send(secret) for queue in (watched.orders, watched.parcels)]
    sent += [await watched.parcels.send(secret)]
    for function, how in [(watched.in_a_process, how) for how in ("raises", "exits", "answers")] + [
        (watched.bills, "")
    ]:
        with pytest.raises(FunctionError) as failure:
            await function.invoke({**secret, "how": how})
        said.append(str(failure.value))
    ask = watched.app._caller.ask

    async def all_failed():
        failures = (await ask("failed.list", limit=9))["failures"]
        return failures if len(failures) == 2 and watched.dead.depth().visible == 4 else None

    for failure in await until(all_failed):
        failure["record"].pop("requestPayload", None)  # what it is kept for
        said.append(repr(failure))
    for each in (put, asked, *sent):
        life = await ask("why", id=each)
        for fact in life["facts"]:
            fact.pop("partition_key", None)  # it is what the life is told by
        said += lines(life)
        for kept in life["kept"]:
            kept.pop("body", None)  # of a dead letter: it is there for whoever reads the queue
            kept.get("record", {}).pop("requestPayload", None)
        said.append(repr(life))
    return said


def around(text):
    """Give the place in a text that shows the secret."""
    at = text.index(CANARY)
    return text[max(0, at - 200) : at + 100]


async def test_nothing_that_was_sent_is_in_logs_metrics_failures_spans_or_errors(watched, spans, caplog, capfd, port):
    """One walk over everything that forebay says of itself, with a secret in every payload and key."""
    caplog.set_level(logging.DEBUG)
    written, said, app = io.StringIO(), {}, watched.app
    handler = logs.install(form="json", stream=written, level="DEBUG")
    client = App("watched", store=os.environ["FOREBAY_TEST_STORE"], serve=False)
    asks = client.function(name="bills")(watched.bills.handler)
    try:
        await app.start(metrics_port=port)
        async with client:
            said["failures"] = await failures_of(watched)
            said["refusals"] = await refusals(app) + await refusals(client)
            with pytest.raises(FunctionError) as failure:
                await asks.invoke({"password": CANARY})
            said["client"] = [str(failure.value), repr([client, asks])]
        for path in ("metrics", "healthz", "readyz", CANARY):
            said[f"/{path}"] = [await asyncio.to_thread(page, port, path)]
        for verb in ("lag", "functions.list", "queue.list", "mapping.list", "health"):
            said[verb] = [repr(await app._caller.ask(verb))]
        said["repr"] = [repr([app, watched.events, watched.orders, watched.in_a_process])]
    finally:
        await app.stop()
        logging.getLogger().removeHandler(handler)
    said["spans"] = [span.to_json() for span in spans.get_finished_spans()]
    said["processes"] = list(capfd.readouterr())
    said["log"] = [record.getMessage() for record in caplog.records]
    said["lines"] = [written.getvalue()]
    assert {source for source, texts in said.items() if not any(texts)} <= {f"/{CANARY}"}, "it was not asked"
    shows = {source: [around(text) for text in texts if CANARY in text] for source, texts in said.items()}
    assert {source: texts for source, texts in shows.items() if texts} == {}


async def test_no_body_group_or_attribute_of_a_message_is_in_logs_metrics_or_errors(tmp_path, caplog, capfd):
    """Queues, topics, asynchronous events and their destinations, each on its worst day.

    Who asks for a message, a dead letter or a record gets what was sent: that is what they are kept for. Nobody else does.
    (What is refused for itself, a group id or a receipt, is named in the refusal, as AWS does.)
    """
    caplog.set_level(logging.DEBUG)
    app, said = App("secrets", store=tmp_path / "data"), []
    dead = app.queue("dead.fifo")
    queue = app.queue("orders.fifo", dead_letter_queue=dead, maximum_receive_count=1, visibility_timeout=1)
    plain, topic = app.queue("plain"), app.topic("told")
    topic.subscribe(plain, filter_policy={"kind": [{"exists": True}]})

    class Deaf:
        async def deliver(self, record):
            raise ConnectionError("nobody listens")

    @app.on_queue("orders.fifo")
    async def fails(event, context):
        raise ValueError("the handler's own words")

    @app.function(on_failure=Deaf(), dead_letter_queue=plain, maximum_retry_attempts=0)
    async def asked(event, context):
        raise ValueError("no")

    async with app:
        message = {"group_id": f"g-{CANARY}", "deduplication_id": f"d-{CANARY}", "attributes": {"token": CANARY}}
        await queue.send({"password": CANARY}, **message)
        await topic.publish(CANARY, attributes={"kind": CANARY})
        await asked.invoke_async({"password": CANARY})
        for refused in (
            queue.send(CANARY * 200_000, group_id="g", deduplication_id="1"),
            plain.send("x", attributes={"token": CANARY * 200_000}),
            topic.publish(CANARY * 200_000),
            asked.invoke_async(CANARY * 200_000),
        ):
            with pytest.raises(ForebayError) as refusal:
                await refused
            said.append(str(refusal.value))
        ends = time.monotonic() + 100
        while dead.depth().visible == 0 or plain.depth().visible < 2:
            assert time.monotonic() < ends, (dead.depth(), plain.depth())
            await asyncio.sleep(0.005)
        said += [repr(await app._caller.ask(verb)) for verb in ("queue.list", "topic.list", "lag", "functions.list")]
        said += [(await app._caller.ask("metrics.text"))["text"], repr([app, queue, topic, asked])]
        [letter] = await dead.receive()
        assert letter.json() == {"password": CANARY}
        said.append(repr(letter))
    said += [record.getMessage() for record in caplog.records] + list(capfd.readouterr())
    assert [text for text in said if CANARY in text] == [], "each of these shows it"


async def test_every_file_and_folder_of_a_store_is_its_owners_alone(tmp_path):
    app = App("secrets", store=tmp_path / "data")
    app.stream("events", shards=1)
    async with app:
        await app.stream("events").put(b"x", "k")
        found = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "data").iterdir()}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert {"forebay.db", "forebay.sock", "lock", "attempts"} <= found.keys()
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def opened(process):
    """Yield what a process has open; of one that has ended, and that nobody has waited for, only root may ask that."""
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):  # it has just closed this one
                yield str(path.readlink())


@pytest.fixture
def listening(descendants):
    """Give what tells the addresses and ports of TCP on which this process listens, or one of those that it started."""
    return lambda: listeners({found for process in ("self", *dict(descendants())) for found in opened(process)})


def listeners(ours):
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in ours:
                address, port = local.split(":")
                words = (bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
                found.add((str(ipaddress.ip_address(b"".join(words))), int(port, 16)))
    return found


only_linux = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens")
LISTENS = """
import socket, sys

door = socket.create_server(("127.0.0.1", 0))
print(door.getsockname()[1], flush=True)
sys.stdin.read()
"""


@only_linux
def test_a_process_that_listens_is_seen_from_the_one_that_started_it(listening):
    before, pipe = listening(), subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LISTENS], stdin=pipe, stdout=pipe, text=True) as process:
        assert {("127.0.0.1", int(process.stdout.readline()))} == listening() - before
    assert listening() == before


@only_linux
def test_a_process_that_has_ended_and_that_nobody_has_waited_for_listens_nowhere():
    """Its list of what is open is root's alone: whoever else ran these tests had a PermissionError."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert list(opened(process.pid)) == []


@only_linux
async def test_whatever_listens_does_so_on_loopback(watched, port, listening, descendants):
    before, others = listening(), dict(descendants())
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.create_server(("", 0), family=family) as open_to_all:
        assert listening() - before == {open_to_all.getsockname()[:2]}
    await watched.app.start(metrics_port=port)
    try:
        async with App("watched", store=os.environ["FOREBAY_TEST_STORE"], serve=False):
            for function in (watched.in_a_process, watched.by_command):  # each has an environment from then on
                with pytest.raises(FunctionError):
                    await function.invoke({"password": "", "how": "raises"})
            started = {number: name for number, name in descendants() if number not in others}
            assert len(started) == 2, f"a process for each of the two, and there are {started}"
            doors = listening() - before
    finally:
        await watched.app.stop()
    assert ("127.0.0.1", port) in doors
    assert len(doors) == 2, "and the Runtime API"
    assert {address for address, _ in doors if not ipaddress.ip_address(address).is_loopback} == set()
    assert listening() == before
