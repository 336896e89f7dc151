"""What is traced, where it hangs together, and what it costs who does not trace."""

import asyncio
import io
import itertools
import json
import logging
import subprocess
import sys
import time

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode, TraceState

from forebay import App, Backoff, Batch, ExecutionFailed, FunctionError, logs


async def until(condition):
    ends = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.005)


def trace_of(span):
    return span.get_span_context().trace_id


def is_child(span, of):
    return span.parent is not None and span.parent.span_id == of.get_span_context().span_id


async def test_a_record_put_in_a_span_is_handled_in_its_trace(app, spans):
    stream = app.stream("orders", shards=1)
    inner = []

    @app.on_stream("orders", batch_size=10)
    async def ship(event, context):
        with spans.tracer.start_as_current_span("pack"):
            inner.append(context.aws_request_id)

    async with app:
        with spans.tracer.start_as_current_span("request"):
            await stream.put({"id": 1}, "key")
        await until(lambda: spans.named("process orders"))
    request, put, process, pack = (spans.one(name) for name in ("request", "put orders", "process orders", "pack"))
    assert is_child(put, request) and is_child(process, put) and is_child(pack, process)
    assert (put.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert dict(put.attributes) == {
        "messaging.system": "forebay",
        "messaging.operation.name": "put",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
    }
    assert dict(process.attributes) == {
        "messaging.system": "forebay",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.destination.partition.id": "shardId-000000000000",
        "messaging.consumer.group.name": "ship",
        "messaging.batch.message_count": 1,
        "faas.name": "ship",
        "faas.trigger": "pubsub",
        "faas.invocation_id": inner[0],
    }
    assert process.status.status_code is StatusCode.UNSET


async def test_the_tasks_of_an_execution_are_in_the_trace_of_its_start(app, spans):
    inbox = app.queue("inbox")

    @app.function()
    async def charge(event, context):
        return event

    @app.on_queue("inbox")
    async def told(event, context):
        pass

    send = {"QueueUrl": inbox.arn, "MessageBody": {"order": 1}}
    states = {
        "Charge": {"Type": "Task", "Resource": "${charge}", "Next": "Tell"},
        "Tell": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": send, "End": True},
    }
    flow = app.workflow("order", {"StartAt": "Charge", "States": states})
    quick = app.workflow(
        "quick",
        {"StartAt": "Charge", "States": {"Charge": {**states["Charge"], "Next": "End"}, "End": {"Type": "Succeed"}}},
        "EXPRESS",
    )
    async with app:
        with spans.tracer.start_as_current_span("request"):
            execution = await flow.start({"id": 1})
        await execution.result()
        with spans.tracer.start_as_current_span("other"):
            await quick.start_sync_execution()
        await until(lambda: spans.named("process inbox") and len(spans.named("charge")) == 2)
    start, process = spans.one("start order"), spans.one("process inbox")
    charged, quickly = spans.named("charge")
    assert is_child(start, spans.one("request")) and start.kind is SpanKind.PRODUCER
    assert is_child(charged, start) and trace_of(process) == trace_of(start)
    assert trace_of(quickly) == trace_of(spans.one("other"))


async def test_each_state_of_an_execution_has_a_span_below_that_of_the_execution(app, spans):
    tries = []

    @app.function()
    async def charge(event, context):
        tries.append(event)
        if len(tries) == 1:
            raise ValueError("busy")
        return event

    retry = [{"ErrorEquals": ["ValueError"], "IntervalSeconds": 1}]
    call = {"Type": "Task", "Resource": "${charge}", "Retry": retry, "End": True}
    keep, copy = ({"StartAt": name, "States": {name: {"Type": "Pass", "End": True}}} for name in ("Keep", "Copy"))
    states = {
        "Both": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "Charge", "States": {"Charge": call}}, keep],
            "Next": "Each",
        },
        "Each": {"Type": "Map", "ItemProcessor": copy, "MaxConcurrency": 1, "Next": "Refuse"},
        "Refuse": {"Type": "Fail", "Error": "Refused"},
    }
    flow = app.workflow("order", {"StartAt": "Both", "States": states})
    async with app:
        with spans.tracer.start_as_current_span("request"):
            execution = await flow.start({"id": 1})
        with pytest.raises(ExecutionFailed):
            await execution.result()
        untraced = await flow.start({"id": 2})
        with pytest.raises(ExecutionFailed):
            await untraced.result()
    root, both, each, charged, refuse = (
        spans.one(name) for name in ("execute order", "state Both", "state Each", "state Charge", "state Refuse")
    )
    assert is_child(root, spans.one("start order")) and root.kind is SpanKind.CONSUMER
    assert all(is_child(span, root) for span in (both, each, refuse)) and is_child(charged, both)
    assert is_child(spans.one("state Keep"), both)
    copies = spans.named("state Copy")
    assert len(copies) == 2 and all(is_child(span, each) for span in copies)
    assert (
        root.start_time <= both.start_time <= charged.start_time < charged.end_time <= both.end_time <= each.start_time
    )
    assert charged.end_time - charged.start_time >= 1e9, "the wait before the retry is a part of the state"
    assert [event.attributes["exception.type"] for event in charged.events] == ["ValueError"]
    assert charged.status.status_code is StatusCode.UNSET
    assert dict(charged.attributes) == {
        "forebay.workflow.name": "order",
        "forebay.execution.arn": execution.arn,
        "forebay.state.type": "Task",
    }
    assert {span.attributes["error.type"] for span in (root, refuse)} == {"Refused"}


async def test_a_redriven_execution_has_spans_of_what_it_did_since(app, spans):
    works = []

    @app.function()
    async def charge(event, context):
        if not works:
            raise ValueError("down")

    call = {"Type": "Task", "Resource": "${charge}"}
    states = {
        "First": {"Type": "Pass", "Next": "Charge"},
        "Charge": call | {"Next": "Last"},
        "Last": {"Type": "Succeed"},
    }
    flow = app.workflow("order", {"StartAt": "First", "States": states})
    async with app:
        with spans.tracer.start_as_current_span("request"):
            execution = await flow.start()
        with pytest.raises(ExecutionFailed):
            await execution.result()
        await until(lambda: spans.named("execute order"))
        works.append(True)
        await execution.redrive()
        await execution.result()
    assert [span.name for span in spans.all() if span.name.startswith("state ")].count("state First") == 1
    failed, went_on = spans.named("state Charge")
    assert (failed.status.status_code, went_on.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert len(spans.named("execute order")) == 2 and len(spans.named("state Last")) == 1


async def test_the_span_of_a_published_version_tells_it_and_names_the_function(app, spans):
    @app.function()
    async def ship(event, context):
        pass

    live = app.alias("live", ship, ship.publish_version())
    async with app:
        with spans.tracer.start_as_current_span("request"):
            await live.invoke()
        await until(lambda: spans.named("ship"))
    asked, ran = spans.one("invoke ship"), spans.one("ship")
    assert is_child(ran, asked)
    assert asked.attributes["faas.invoked_name"] == ran.attributes["faas.name"] == "ship"
    assert ran.attributes["faas.version"] == "1"


async def test_a_batch_of_several_traces_has_a_trace_of_its_own_with_a_link_to_each(app, spans):
    stream = app.stream("orders", shards=1)
    carriers = []

    @app.on_stream("orders", batch_size=10, enabled=False)
    async def ship(batch: Batch, context):
        carriers.extend(record.trace_context for record in batch)

    async with app:
        for name in ("first", "second"):
            with spans.tracer.start_as_current_span(name):
                await stream.put_many([(b"x", "a"), (b"y", "b")])
        await stream.put(b"untraced", "c")
        [mapping] = app.mappings
        await mapping.resume()
        await until(lambda: spans.named("process orders"))
    process = spans.one("process orders")
    puts = spans.named("put orders")
    assert [put.attributes["messaging.batch.message_count"] for put in puts] == [2, 2]
    assert process.parent is None and process.attributes["messaging.batch.message_count"] == 5
    assert [link.context.span_id for link in process.links] == [put.get_span_context().span_id for put in puts]
    first, second = (f"00-{trace_of(put):032x}-{put.get_span_context().span_id:016x}" for put in puts)
    assert [carrier and carrier["traceparent"][:-3] for carrier in carriers] == [first, first, second, second, None]
    assert all(int(carrier["traceparent"][-2:], 16) & 1 for carrier in carriers[:4]), "sampled"


async def test_messages_carry_their_trace_to_handlers_and_to_who_receives_by_hand(app, spans):
    jobs, by_hand = app.queue("jobs"), app.queue("by-hand")

    @app.on_queue("jobs")
    @app.function(isolation="thread")
    def work(event, context):
        pass

    async with app:
        with spans.tracer.start_as_current_span("request"):
            await jobs.send("job")
            await asyncio.to_thread(by_hand.send_many_sync, ["one", "two"])
        await by_hand.send("untraced")
        received = await by_hand.receive(10)
        await until(lambda: spans.named("process jobs"))
    assert is_child(spans.one("send jobs"), spans.one("request"))
    process = spans.one("process jobs")
    assert is_child(process, spans.one("send jobs"))
    assert process.attributes["messaging.consumer.group.name"] == "work"
    assert "messaging.destination.partition.id" not in process.attributes
    sent = spans.one("send by-hand")
    assert sent.attributes["messaging.batch.message_count"] == 2
    carried = {message.body: message.trace_context for message in received}
    assert carried["one"]["traceparent"].split("-")[2] == f"{sent.get_span_context().span_id:016x}"
    assert carried["one"] == carried["two"] and carried["untraced"] is None


async def test_an_invocation_is_the_child_of_its_caller_and_errors_are_on_both_sides(app, spans):
    @app.function()
    async def outer(event, context):
        return await inner.invoke(event)

    @app.function(isolation="thread")
    def inner(event, context):
        if event == "bad":
            raise ValueError("a bad one")
        return f"{trace.get_current_span().get_span_context().trace_id:032x}"

    async with app:
        with spans.tracer.start_as_current_span("request"):
            answered = await outer.invoke("good")
        good = spans.all()
        with pytest.raises(FunctionError):
            await inner.invoke("bad")
        assert spans.all()[len(good) :][0].parent is None, "nobody traced: the handler's span begins a trace"
        with spans.tracer.start_as_current_span("another"), pytest.raises(FunctionError):
            await inner.invoke("bad")
    assert {f"{trace_of(span):032x}" for span in good} == {answered}
    by_name = {span.name: span for span in good}
    chain = ["request", "invoke outer", "outer", "invoke inner", "inner"]
    assert all(is_child(by_name[child], by_name[parent]) for parent, child in itertools.pairwise(chain))
    assert [by_name[name].kind for name in chain[1:]] == [SpanKind.CLIENT, SpanKind.SERVER] * 2
    assert by_name["inner"].attributes["faas.trigger"] == "other"
    assert by_name["invoke inner"].attributes["faas.invoked_name"] == "inner"
    handled, asked = spans.named("inner")[-1], spans.named("invoke inner")[-1]
    assert (handled.status.status_code, handled.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert [event.name for event in handled.events] == ["exception"]
    assert (asked.status.status_code, asked.attributes["error.type"]) == (StatusCode.ERROR, "FunctionError")


async def test_an_asynchronous_invocation_carries_its_trace_through_retries_and_destinations(app, spans):
    told = app.queue("told")
    attempts = []

    @app.function()
    async def done(event, context):
        pass

    @app.function(maximum_retry_attempts=1, retry_delays=(0, 0), on_success=done, on_failure=told)
    async def bill(event, context):
        attempts.append(event)
        if event == "bad" or len(attempts) == 1:
            raise ValueError("not now")

    async with app:
        with spans.tracer.start_as_current_span("request"):
            await bill.invoke_async("good")
        await until(lambda: spans.named("done"))
        with spans.tracer.start_as_current_span("another"):
            await asyncio.to_thread(bill.invoke_async_sync, "bad")
        [message] = await told.receive(1, 10)
    first, second = spans.named("invoke_async bill")
    assert first.kind is SpanKind.PRODUCER and is_child(first, spans.one("request"))
    bills = spans.named("bill")
    assert [is_child(span, first) for span in bills] == [True, True, False, False]
    assert [span.status.status_code is StatusCode.ERROR for span in bills] == [True, False, True, True]
    assert {span.kind for span in bills} == {SpanKind.CONSUMER}
    assert is_child(spans.one("done"), first)
    assert message.trace_context["traceparent"].split("-")[1] == f"{trace_of(second):032x}"


async def test_a_publication_carries_its_trace_to_every_subscription(app, spans):
    news, inbox = app.topic("news"), app.queue("inbox")

    @app.function()
    async def read(event, context):
        pass

    news.subscribe(inbox)
    news.subscribe(read)
    async with app:
        with spans.tracer.start_as_current_span("request"):
            await news.publish("something happened")
        await until(lambda: spans.named("read"))
        [message] = await inbox.receive(1, 10)
    publish = spans.one("publish news")
    assert is_child(publish, spans.one("request")) and is_child(spans.one("read"), publish)
    assert message.trace_context["traceparent"].split("-")[2] == f"{publish.get_span_context().span_id:016x}"


async def test_a_batch_that_was_given_up_is_told_of_in_its_trace(app, spans):
    stream = app.stream("orders", shards=1)
    told = []

    class Elsewhere:
        async def deliver(self, record):
            told.append(trace.get_current_span().get_span_context().trace_id)

    options = {"maximum_retry_attempts": 0, "retry_backoff": Backoff(base=0.01, cap=0.01)}

    @app.on_stream("orders", on_failure=Elsewhere(), **options)
    async def ship(event, context):
        raise ValueError("never")

    async with app:
        with spans.tracer.start_as_current_span("request"):
            await stream.put(b"x", "a")
        await until(lambda: spans.named("deliver on_failure:orders/ship"))
    deliver = spans.one("deliver on_failure:orders/ship")
    assert is_child(deliver, spans.one("put orders"))
    assert told == [trace_of(spans.one("request"))]


async def test_a_context_survives_restarts_and_the_way_through_a_client_with_its_state(tmp_path, spans):
    store = tmp_path / "data"
    state = TraceState([("vendor", "value"), ("other", "x")])
    remote = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=state)
    before = App("traced", store=store)
    before.stream("orders", shards=1)
    client = App("traced", store=store, serve=False)
    stream, waiting = client.stream("orders", shards=1), client.queue("waiting")
    async with before, client:
        with trace.use_span(trace.NonRecordingSpan(remote)):
            await stream.put(b"x", "a")
            await asyncio.to_thread(stream.put_many_sync, [(b"y", "a")])
            await waiting.send("z")
    after = App("traced", store=store)
    after.stream("orders", shards=1)
    queue = after.queue("waiting")
    seen = []

    @after.on_stream("orders")
    async def ship(batch: Batch, context):
        seen.extend(record.trace_context for record in batch)

    async with after:
        [message] = await queue.receive()
        await until(lambda: len(seen) == 2)
    for carrier in [*seen, message.trace_context]:
        assert carrier["traceparent"].startswith(f"00-{0xABC:032x}-")
        assert carrier["tracestate"] == "vendor=value,other=x"


async def test_an_attempt_past_its_deadline_ends_its_span_with_that_error(app, spans):
    @app.function(timeout=0.05)
    async def slow(event, context):
        await asyncio.sleep(60)

    async with app:
        with pytest.raises(FunctionError):
            await slow.invoke()
        await until(lambda: spans.named("slow"))
    assert spans.one("slow").attributes["error.type"] == "timeout"
    assert spans.one("slow").status.status_code is StatusCode.ERROR


async def test_a_handler_in_a_process_goes_on_with_the_trace(spans, processes):
    async with processes.app:
        with spans.tracer.start_as_current_span("request"):
            told = await processes.ids.invoke()
        sent = spans.one("invoke ids")
        assert told["trace_id"] == f"{trace_of(sent):032x}"
        assert told["parent"] == f"{sent.get_span_context().span_id:016x}"
        with spans.tracer.start_as_current_span("request"):
            await processes.orders.put(b"x", "a")
        [message] = await processes.told.receive(1, 20)
        put = f"{spans.one('put orders').get_span_context().span_id:016x}"
        assert message.json() == {"record": put, "parent": put}
        assert message.trace_context["traceparent"].split("-")[1] == f"{trace_of(spans.one('put orders')):032x}"


async def test_the_span_that_starts_the_app_is_nobodys_parent(app, spans):
    stream = app.stream("orders", shards=1)

    @app.on_stream("orders")
    async def ship(event, context):
        pass

    with spans.tracer.start_as_current_span("start-up"):
        await app.start()
    try:
        await stream.put(b"x", "a")
        await until(lambda: spans.named("process orders"))
    finally:
        await app.stop()
    assert spans.one("process orders").parent is None
    assert not spans.named("put orders"), "what is put outside of a trace begins none"


async def test_log_lines_name_the_trace_and_the_span_they_were_written_in(app, spans):
    written = io.StringIO()
    handler = logs.install(form="json", stream=written)
    try:

        @app.function()
        async def ship(event, context):
            logging.getLogger("shop").info("inside")

        async with app:
            await ship.invoke()
            logging.getLogger("shop").info("outside")
    finally:
        logging.getLogger().removeHandler(handler)
    lines = {line["message"]: line for line in map(json.loads, written.getvalue().splitlines())}
    context = spans.one("ship").get_span_context()
    inside = lines["inside"]
    assert (inside["trace_id"], inside["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert "trace_id" not in lines["outside"]


async def test_without_a_provider_nothing_is_traced_and_nothing_is_kept(app):
    stream = app.stream("orders", shards=1)
    seen = []

    @app.on_stream("orders")
    async def ship(batch: Batch, context):
        seen.extend(record.trace_context for record in batch)

    async with app:
        remote = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1))
        with trace.use_span(trace.NonRecordingSpan(remote)):
            await stream.put(b"x", "a")
        await until(lambda: seen)
    assert seen == [None]


def test_nothing_of_opentelemetry_is_imported_by_an_app_that_does_not_use_it():
    code = """
import asyncio, sys, forebay
app = forebay.App("a", store=":memory:")
@app.function()
async def f(event, context): return event
async def main():
    async with app: assert await f.invoke(1) == 1
asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    assert done.stdout.strip() == "[]"
