"""OpenTelemetry: a span for whatever is put, sent, asked for and handled, if the process has a tracer provider.

A context travels as W3C's `traceparent`, and below it `tracestate`, with what is put, sent or asked for. Without
OpenTelemetry, or before a provider is set, nothing of it is imported, called or stored. docs/tracing.md says what a user sees.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from forebay._core import Batch, __version__
from forebay._model.names import LATEST
from forebay._runtime import answer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence
    from types import ModuleType

    from opentelemetry.trace import Span

    from forebay._runtime.context import FunctionFacts
    from forebay._runtime.state_spans import StateVisit

API: Final = "opentelemetry.trace"
# A longer one is left out, as https://www.w3.org/TR/trace-context/#tracestate-limits allows.
STATE_MAX: Final = 512
SYSTEM: Final = "forebay"
NS_OF_MS: Final = 1_000_000


def found() -> Tracing | None:
    """Give this process's tracing, if it has a tracer provider: only who has imported the API can have set one."""
    trace = sys.modules.get(API)
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return Tracing(trace)


def current_ids() -> tuple[str, str] | None:
    """Give the ids of the trace and the span that are going on here."""
    trace = sys.modules.get(API)
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else None


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, trace: ModuleType) -> None:
        self._trace = trace
        self._context = importlib.import_module("opentelemetry.context")
        w3c = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        self._w3c = w3c.TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer(SYSTEM, __version__)

    # --- what is put, sent and asked for

    def sending(self, operation: str, destination: str, count: int | None = None) -> SendSpan | None:
        """Begin the span of a put or a send; `count`: of how many together. None where nothing is being traced."""
        attributes = _sent(operation, destination)
        if count is not None:
            attributes["messaging.batch.message_count"] = count
        return self._begin(operation, destination, self._trace.SpanKind.PRODUCER, attributes)

    def invoking(self, operation: str, function: str) -> SendSpan | None:
        """Begin the span of an invocation, as its caller sees it."""
        kind = self._trace.SpanKind.CLIENT if operation == "invoke" else self._trace.SpanKind.PRODUCER
        attributes = {"faas.invoked_name": function, "faas.invoked_provider": SYSTEM}
        return self._begin(operation, function, kind, attributes)

    def _begin(self, operation: str, target: str, kind: Any, attributes: dict[str, Any]) -> SendSpan | None:
        trace = self._trace
        if not trace.get_current_span().get_span_context().is_valid:
            return None
        span = self._tracer.start_span(f"{operation} {target}", kind=kind, attributes=attributes)
        carrier: dict[str, str] = {}
        self._w3c.inject(carrier, trace.set_span_in_context(span))
        if not carrier:  # the SDK is switched off, and its spans are none
            return None
        state = carrier.get("tracestate", "")
        lines = [carrier["traceparent"], *([state] if 0 < len(state) <= STATE_MAX else [])]
        return SendSpan(trace, span, "\n".join(lines))

    # --- what is handled

    def handling(
        self, facts: FunctionFacts, kind: int, event: Any, request_id: str, traces: Sequence[str] | None
    ) -> HandlerSpan:
        """Begin the span of an attempt, and make it current in the task or thread, whose context is its own.

        It is the child of what its event or batch was put with, if that is one; else it has links.
        """
        trace = self._trace
        origins = [self._read(text) for text in traces or ()]
        parent = origins[0] if len(origins) == 1 else self._context.Context()
        links = [trace.Link(trace.get_current_span(origin).get_span_context()) for origin in origins[1:] and origins]
        name, role, attributes = self._described(facts, kind, event, request_id)
        span = self._tracer.start_span(name, context=parent, kind=role, links=links, attributes=attributes)
        self._context.attach(trace.set_span_in_context(span, parent))
        return HandlerSpan(trace, span)

    def executed(self, context: str, execution: dict[str, Any], visits: Iterable[StateVisit]) -> None:
        """Make the spans of an execution that has ended, and of its states: those that others are a part of first."""
        trace, stopped_ms = self._trace, execution["stopped_ms"]
        attributes = {"forebay.workflow.name": execution["workflow"], "forebay.execution.arn": execution["arn"]}
        error = None if execution["status"] == "SUCCEEDED" else execution["error"] or execution["status"]
        root = self._tracer.start_span(
            f"execute {execution['workflow']}",
            self._read(context),
            trace.SpanKind.CONSUMER,
            attributes,
            start_time=(execution["redriven_ms"] or execution["started_ms"]) * NS_OF_MS,
        )
        spans: dict[StateVisit, Span] = {}
        for visit in visits:
            around = root if visit.inside is None else spans.get(visit.inside, root)
            span = spans[visit] = self._tracer.start_span(
                f"state {visit.name}",
                trace.set_span_in_context(around),
                attributes=attributes | {"forebay.state.type": visit.kind},
                start_time=visit.began_ms * NS_OF_MS,
            )
            for at_ms, name in visit.errors:
                span.add_event("exception", {"exception.type": name}, at_ms * NS_OF_MS)
            if error is not None and visit.ended_ms is None:
                _set_error(trace, span, error)
        if error is not None:
            _set_error(trace, root, error)
        for visit, span in spans.items():
            span.end((visit.ended_ms or stopped_ms) * NS_OF_MS)
        root.end(stopped_ms * NS_OF_MS)

    def _read(self, text: str) -> Any:
        parent, _, state = text.partition("\n")
        carrier = {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}
        return self._w3c.extract(carrier, self._context.Context())

    def _described(
        self, facts: FunctionFacts, kind: int, event: Any, request_id: str
    ) -> tuple[str, Any, dict[str, Any]]:
        roles, function = self._trace.SpanKind, facts.function_name
        if kind == answer.DELIVERY:
            return f"deliver {function}", roles.PRODUCER, _sent("deliver", function)
        about: dict[str, Any] = {"faas.name": function, "faas.invocation_id": request_id}
        if facts.function_version != LATEST:
            about["faas.version"] = facts.function_version
        if kind in answer.INVOCATIONS:
            role = roles.SERVER if kind == answer.INVOCATION else roles.CONSUMER
            return function, role, {**about, "faas.trigger": "other"}
        source, shard, count = _batch(event)
        attributes: dict[str, Any] = {
            **about,
            "faas.trigger": "pubsub",
            "messaging.system": SYSTEM,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": source,
            "messaging.consumer.group.name": function,
            "messaging.batch.message_count": count,
        }
        if shard is not None:
            attributes["messaging.destination.partition.id"] = shard
        return f"process {source}", roles.CONSUMER, attributes


def _sent(operation: str, destination: str) -> dict[str, Any]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": "send",
        "messaging.destination.name": destination,
    }


def _batch(event: Batch | dict[str, Any]) -> tuple[str, str | None, int]:
    """Tell of a batch its stream or queue, its shard, and how many there are in it."""
    if isinstance(event, Batch):
        return event.stream or event.queue or "", event.shard_id, len(event)
    records = event["Records"]
    first = records[0] if records else event  # the last invoke of a window may have none
    arn = first["eventSourceARN"]
    shard = first.get("eventID", event.get("shardId", "")).partition(":")[0]
    return arn.rpartition("/")[2].rpartition(":")[2], shard or None, len(records)


class SendSpan:
    """The span of something on its way to the store."""

    def __init__(self, trace: ModuleType, span: Span, context: str) -> None:
        self._trace = trace
        self._span = span
        self.context = context
        """What travels with it."""

    def answered(self, future: asyncio.Future[Any]) -> None:
        """End it as a question was answered."""
        if future.cancelled():
            self._span.end()
        else:
            self.ended(future.exception())

    def ended(self, error: BaseException | None) -> None:
        """End it, well or with an error."""
        if error is not None:
            _fail(self._trace, self._span, error)
        self._span.end()


class HandlerSpan:
    """The span of an attempt."""

    def __init__(self, trace: ModuleType, span: Span) -> None:
        self._trace = trace
        self._span = span

    def raised(self, error: BaseException) -> None:
        """Note what left the handler."""
        _fail(self._trace, self._span, error)

    def ended(self, status: int) -> None:
        """End it, by the status of the attempt."""
        if status in FAILURES:
            _set_error(self._trace, self._span, FAILURES[status])
        self._span.end()


FAILURES: Final = {answer.STOPPED: "timeout", answer.INTERRUPTED: "interrupted"}
"""How an attempt ended that did not end by itself."""


def _set_error(trace: ModuleType, span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(trace.StatusCode.ERROR, error)


def _fail(trace: ModuleType, span: Span, error: BaseException) -> None:
    span.record_exception(error)
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(trace.StatusCode.ERROR, str(error))
