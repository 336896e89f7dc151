"""Logs what an operator has to know: timeouts, what was given up and where it went, dead letters, a full disk, damage.

The engine says what happened (rust/engine/src/observe/operator_events.rs), this writes the lines: at most one a second for each
kind and function. No line has a payload, a key or a message group.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson

from forebay._model.plural import counted, plain
from forebay._runtime.environments import of_execution
from forebay._runtime.log_throttle import LogThrottle, more

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

log = logging.getLogger("forebay.runtime")

TIMEOUTS_ADVISED: Final = 3
"""From this timeout of a function on, the line says which option to change."""
_NOT_LOGGED: Final = frozenset(("api destination", "connection", "execution ended"))
"""They have secrets, or are for a tracer alone."""
ERROR_CHARS_MAX: Final = 200
"""Of the name of an error that an execution has failed with."""
REASONS_MAX: Final = 16
"""Reasons of one API with a line a second of their own; further ones share one."""
KEPT_MAX: Final = 10_000
"""Kinds of lines, each of a function or a queue, whose last second is known."""


class OperatorEvents:
    """Writes the engine's events to the log."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now_ns: Callable[[], int]) -> None:
        self.metrics_page: str | None = None
        """Where the app shows its metrics."""
        self.destinations: dict[str, str] = {}
        """How those destinations are shown that have a name for the engine alone."""
        self.decorators: dict[str, str] = {}
        """What declares those functions that `@app.function` does not."""
        self.listeners: dict[str, Callable[[dict[str, Any]], None]] = {}
        """Who is told of kinds that are for no log."""
        self._loop = loop
        self._now_ns = now_ns
        self._throttles: dict[tuple[str, str, str], LogThrottle] = {}
        self._reasons: dict[str, set[str]] = {}
        """Of each API, those with a line of their own."""
        self._timeouts: Counter[str] = Counter()
        """Of each function, since the app started."""

    def write(self, events: bytes) -> None:
        """Write events: a JSON array, as the engine gives it."""
        for event in orjson.loads(events):
            if event["what"] in _NOT_LOGGED:
                if (listener := self.listeners.get(event["what"])) is not None:
                    listener(event)
                continue
            at = self._line_of(event)
            throttle = self._throttles.get(at)
            if throttle is None:
                if len(self._throttles) >= KEPT_MAX:  # queues may come and go
                    self.close()
                    self._throttles.clear()
                    self._reasons.clear()
                    self._timeouts.clear()
                throttle = self._throttles[at] = LogThrottle(self._write, self._loop)
            if event["what"] == "timed out":
                self._timeouts[event["of"]] += event["count"]
                event["timeouts"] = self._timeouts[event["of"]]
            sums = event.get("sums", {})
            for name, number in (throttle.last or {}).get("sums", {}).items():
                sums[name] += number
            throttle.add(event, self._now_ns(), event["count"])

    def _line_of(self, event: dict[str, Any]) -> tuple[str, str, str]:
        """Tell which events share a line a second: one reason of an API hides no other, unless there are too many of them."""
        what, of = event["what"], event["of"]
        if what != "api":
            return what, of, ""
        reason, known = event["text"], self._reasons.setdefault(of, set())
        if reason not in known and len(known) >= REASONS_MAX:
            now_ns = self._now_ns()
            for other in list(known):
                throttle = self._throttles.get((what, of, other))
                if throttle is None or (not throttle.pending and now_ns >= throttle.quiet_until_ns):
                    self._throttles.pop((what, of, other), None)
                    known.discard(other)
            if len(known) >= REASONS_MAX:
                return what, of, ""
        known.add(reason)
        return what, of, reason

    def close(self) -> None:
        """Write what waits for the end of its second."""
        for throttle in self._throttles.values():
            throttle.flush()

    def _write(self, event: dict[str, Any], others: int) -> None:
        event["destinations"] = [self._shown(name) for name in event.get("destinations", ())]
        event["metrics_page"] = self.metrics_page
        event["decorator"] = self.decorators.get(str(event["of"]).partition(":")[0], "function")
        text = _TEXTS[event["what"]](event)
        extra = {"aws_request_id": event.get("request"), "function_name": _function(event)}
        # What has sums tells of all of them.
        is_well = event.get("expected", False) or (event["what"] == "metrics" and event["error"] is None)
        level = logging.INFO if is_well else logging.WARNING
        log.log(level, "%s%s", text, "" if "sums" in event else more(others), extra=extra)

    def _shown(self, name: str) -> str:
        return self.destinations.get(name) or name.replace(":", " ", 1)


def _timed_out(event: dict[str, Any]) -> str:
    if event["destinations"]:
        return f"destination {event['destinations'][0]}: a delivery timed out after {plain(event['seconds'])} s"
    of = _batch(event) if "stream" in event else ""
    if "queue" in event:
        of = f" at {counted(event['records'], 'message')} of queue {event['queue']}"
    text = f"function {event['of']}: attempt {event['attempt']}{of} timed out after {plain(event['seconds'])} s"
    if "execution" in event:
        text += of_execution(event["execution"], event["state"])
    if event["timeouts"] < TIMEOUTS_ADVISED:
        return text
    return (
        f"{text}; that makes {event['timeouts']:,} timeouts since the app started: if it needs longer, give it "
        f"@app.{event['decorator']}(timeout=…), in seconds"
    )


def _gave_up(event: dict[str, Any]) -> str:
    attempts = counted(event["attempts"], "attempt")
    if "stream" in event:
        what, id_ = _batch(event).removeprefix(" at "), event["first"]
    else:
        what, id_ = "an event", event["request"]
    where = _where(event["destinations"], event["id"])
    return (
        f"function {event['of']}: gave up {what} after {attempts} ({event['condition']}), {where}: "
        f"`forebay why {id_}` tells its life"
    )


def _no_bus(event: dict[str, Any]) -> str:
    dropped = counted(event["sums"]["events"], "event")
    return (
        f"bus {event['of']}: AWS's API was given {dropped} for it, and dropped them as AWS does: there is no such bus. Declare "
        "it with app.bus(…) or CreateEventBus"
    )


def _expired(event: dict[str, Any]) -> str:
    if "queue" in event:
        dropped = counted(event["sums"]["messages"], "message")
        return f"queue {event['of']}: its retention dropped {dropped} that nobody had handled"
    where = _where(event["destinations"], event["id"])
    what = _batch(event).removeprefix(" at ")
    return f"function {event['of']}: the stream's retention dropped {what} before it was handled, {where}"


def _unread(event: dict[str, Any]) -> str:
    dropped = counted(event["sums"]["records"], "record")
    return (
        f"stream {event['of']}: its retention dropped {dropped}, and nothing that runs reads this stream: bind a function to it "
        "with `app.on_stream`"
    )


def _lost(event: dict[str, Any]) -> str:
    runs, records = event["sums"]["runs"], counted(event["sums"]["records"], "record")
    where = _where(event["destinations"], event["id"])
    range_ = f"{event['stream']} ({event['shard_id']}, {_range(event)})"
    what = f"{records} of {range_}" if runs == 1 else f"{records} in {runs:,} runs, the last of them of {range_}"
    end = where if runs == 1 else f"the last {where}; `forebay stream list` says where all are"
    return f"function {event['of']}: stepped over {what}: lost to damage, the store was salvaged without them; {end}"


def _damaged(event: dict[str, Any]) -> str:
    return str(event["text"])


def _store(event: dict[str, Any]) -> str:
    return str(event["text"])


def _discovery(event: dict[str, Any]) -> str:
    return str(event["text"])


def _process(event: dict[str, Any]) -> str:
    return str(event["text"])


def _dead_letter(event: dict[str, Any]) -> str:
    return (
        f"queue {event['of']}: a message was received {counted(event['received'], 'time')}, and is now in the dead-letter "
        f"queue {event['to']}: `forebay why {event['message']}` tells its life"
    )


def _undelivered(event: dict[str, Any]) -> str:
    [destination], tries = event["destinations"], counted(event["tries"], "try", "tries")
    what = f"function {event['of']}: its destination {destination} was not told of a failure"
    if _is_routed(event):
        giver = f"rule {event['of']}: its target" if "/" in event["of"] else "a schedule: its target"
        what = f"{giver} {destination} did not take an event"
    return f"{what}, after {tries}: listed as {event['id']}, see `forebay dlq show {event['id']}`"


def _is_routed(event: dict[str, Any]) -> bool:
    """Tell whether it is of a rule, `BUS/RULE`, or of the schedules, and not of a function."""
    return bool(event.get("routed"))


def _disk(event: dict[str, Any]) -> str:
    if event["error"] is None:
        return "the store takes what is put and sent again"
    return f"what is put and sent is refused, what was accepted goes on: {event['error']}"


def _metrics(event: dict[str, Any]) -> str:
    if event["error"] is None:
        return f"metrics are on {event['metrics_page']} now"
    return f"metrics_port: {event['error']}: this app owns the store, and serves metrics there once the port is free"


def _interrupted(event: dict[str, Any]) -> str:
    attempts = event["attempts"]
    were, held = ("attempt was", "it held") if attempts == 1 else ("attempts were", "they held")
    return (
        f"{attempts:,} {were} in flight when a process died here: what {held} runs again unless it was handled since, each "
        "alone, and no other batch, event or task begins until that has ended; what runs alone at three more deaths is given "
        "up (RuntimeInterrupted)"
    )


def _where(destinations: list[str], id_: str) -> str:
    if not destinations:
        return f"listed as {id_} in `forebay dlq list`"
    return f"goes to {' and '.join(destinations)}"


_OF_A_FUNCTION: Final = frozenset({"timed out", "gave up", "undelivered", "environment ended", "environment"})


def _function(event: dict[str, Any]) -> str | None:
    """Give the name of the function that it is of, as its context has it; None where it is of something else.

    What delivers has a name such as `api_destination:crm`, and a version one such as `price:1`.
    """
    if event["what"] not in _OF_A_FUNCTION and "stream" not in event:
        return None
    name, _, version = str(event["of"]).partition(":")
    return None if _is_routed(event) or (version and not version.isdecimal()) else name


def _batch(event: dict[str, Any]) -> str:
    lane = f", lane {event['lane']}" if "lane" in event else ""
    return f" at a batch of {event['records']:,} of {event['stream']} ({event['shard_id']}{lane}, {_range(event)})"


def _range(event: dict[str, Any]) -> str:
    return str(event["first"] if event["first"] == event["last"] else f"{event['first']} to {event['last']}")


def _environment(event: dict[str, Any]) -> str:
    return f"function {event['of']}: {event['text']}"


def _api(event: dict[str, Any]) -> str:
    return f"API {event['of']}: {event['text']}" if event["of"] else str(event["text"])


def _not_emitted(event: dict[str, Any]) -> str:
    return f"emit_events: something that happened was not put on the bus 'default': {event['text']}"


def _job_not_stopped(event: dict[str, Any]) -> str:
    job = event["job"]
    return f"{job['service']}:{job['action']}: its task was given up, and the job {job['job']} may run on: {event['error']}"


def _events_left_out(event: dict[str, Any]) -> str:
    return f"workflow {event['of']}: the history of {event['arn']} has not all of its events: {event['text']}"


def _history_long(event: dict[str, Any]) -> str:
    return (
        f"workflow {event['of']}: the history of {event['arn']} has {event['events']:,} events, and at {event['most']:,} "
        "the execution fails: give its work to executions of their own, as a distributed Map does"
    )


def _execution_failed(event: dict[str, Any]) -> str:
    ended = "timed out" if event["status"] == "TIMED_OUT" else "failed"
    # Names of states, and an error of a Fail state, may be any text.
    where = f" in state {_on_one_line(event['state'])}" if event["state"] else ""
    error = f" ({_on_one_line(event['error'])[:ERROR_CHARS_MAX]})" if event["error"] else ""
    return f"workflow {event['of']}: execution {event['name']} {ended}{where}{error}: `forebay why {event['arn']}` tells its life"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "timed out": _timed_out,
    "gave up": _gave_up,
    "expired": _expired,
    "unread": _unread,
    "lost": _lost,
    "damaged": _damaged,
    "store": _store,
    "dead letter": _dead_letter,
    "undelivered": _undelivered,
    "disk": _disk,
    "interrupted": _interrupted,
    "environment ended": _environment,
    "environment": _environment,
    "discovery": _discovery,
    "metrics": _metrics,
    "api": _api,
    "process": _process,
    "not emitted": _not_emitted,
    "no bus": _no_bus,
    "job not stopped": _job_not_stopped,
    "events left out": _events_left_out,
    "history long": _history_long,
    "execution failed": _execution_failed,
}
