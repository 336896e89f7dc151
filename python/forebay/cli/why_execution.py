"""What `forebay why` says of an execution of a workflow: how it came where it stands, and what it waits for."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from forebay._model.plural import counted, plain
from forebay.cli.arn import execution_of
from forebay.cli.show import moment
from forebay.errors import InvalidParameterValue, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forebay.cli.connect import StoreConnection

_PAGE: Final = 1000
_SHOWN: Final = 40
"""Most lines; what came before is left out."""
_CAUSE: Final = 120
"""Most characters of a text."""
_CHILDREN: Final = 5
"""Most children of a distributed Map's run."""
_DURABLE: Final = "forebay:durable"
"""What the task of a durable function calls."""
_CALLBACK: Final = ".waitForTaskToken"
_CHILD_STATES: Final = ("succeeded", "failed", "timed_out", "aborted", "running", "pending")
_KINDS: Final = {"STEP": "step", "WAIT": "wait", "CALLBACK": "callback", "CHAINED_INVOKE": "call"}
_ENDED: Final = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "timed out",
    "CANCELLED": "was cancelled",
    "STARTED": "had not ended",
    "PENDING": "waited for its retry",
    "READY": "waited for its retry",
    "STOPPED": "was stopped",
}
_UNDER_WAY: Final = {"STARTED", "PENDING", "READY"}
_TOLD: Final = (
    "Failed",
    "TimedOut",
    "EventsLeftOut",
    "ExecutionRedriven",
    "ExecutionAborted",
    "MapRunStarted",
    "MapRunSucceeded",
)
_ENDS: Final = ("Succeeded", "Failed", "TimedOut", "Aborted")


def find_executions(connection: StoreConnection, id_: str) -> list[dict[str, Any]]:
    """Describe the executions that an ARN or a name means: each workflow may have one of a name."""
    found = execution_of(id_)
    if found is not None:
        return [connection.ask("execution.describe", workflow=found[0], name=found[1])]
    told = []
    for workflow in connection.ask("workflow.list"):
        try:
            told.append(connection.ask("execution.describe", workflow=workflow["name"], name=id_))
        except ResourceNotFound:
            continue
    return told


def tell_execution(connection: StoreConnection, told: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Give everything that is known of an execution, and the lines that say it."""
    events: list[dict[str, Any]] = []
    after = None
    while True:
        given = {"workflow": told["workflow"], "name": told["name"], "limit": _PAGE, "after": after}
        page = connection.ask("execution.history", **given)
        events += page["events"]
        after = page["next"]
        if after is None:
            break
    story = list(_story(events))
    story += [line for arn in _runs(events) for line in _failed_children(connection, arn)]
    lines = [f"execution {told['name']} of workflow {told['workflow']}: {told['status']}"]
    lines += [f"  started {moment(told['started_ms'])}"]
    if told["redrive_count"]:
        lines.append(
            f"  redriven {counted(told['redrive_count'], 'time')}, the last time {moment(told['redriven_ms'])}"
        )
    if len(story) > _SHOWN:
        lines.append(
            f"  … {len(story) - _SHOWN} events before: forebay workflow history {told['workflow']} {told['name']}"
        )
    lines += [f"  {line}" for line in story[-_SHOWN:]]
    if told["status"] == "RUNNING":
        waits = list(_waits(connection, told, events))
        lines += [f"  now: {line}" for line in waits] or ["  now: it has just begun"]
        if connection.runs_nothing:
            lines.append("  no app runs: nothing goes on until one does, and what is due meanwhile is late")
    elif told["stopped_ms"] is not None:
        lines.append(f"  ended {moment(told['stopped_ms'])}")
        if told.get("operation"):
            lines.append(f"  its handler's last operation: {_last(told['operation'])}")
    if told.get("error"):
        lines.append(f"  error {told['error']}: {told.get('cause') or 'no cause'}")
    return {**told, "events": events}, lines


def _details(event: dict[str, Any]) -> dict[str, Any]:
    return next((value for key, value in event.items() if key.endswith("EventDetails")), {})


def _what(details: dict[str, Any]) -> str:
    if "resourceType" in details:
        return f"{details['resourceType']}:{details.get('resource', '')}"
    return str(details.get("resource", "")).rpartition(":")[2]


def _story(events: list[dict[str, Any]]) -> Iterator[str]:
    """Say what happened, a line for each state and each end of a call, and one for states of a name that follow each other."""
    by_id = {event["id"]: event for event in events}
    told = [event for event in events if event["type"].endswith((*_TOLD, "StateEntered"))]
    for name, group in groupby(told, key=_entered):
        same = list(group)
        if name is None:
            yield from _happened(same, by_id)
        else:
            times = "" if len(same) == 1 else f" ({len(same)} times)"
            yield f"{moment(same[0]['timestamp'] * 1000)} state {name}{times}"


def _entered(event: dict[str, Any]) -> str | None:
    return _details(event)["name"] if event["type"].endswith("StateEntered") else None


def _happened(events: list[dict[str, Any]], by_id: dict[int, dict[str, Any]]) -> Iterator[str]:
    for event in events:
        kind, details, at = event["type"], _details(event), moment(event["timestamp"] * 1000)
        if kind == "EvaluationFailed" or kind.endswith(("Failed", "TimedOut")):
            late = kind == "ExecutionTimedOut" and not details.get("error")
            says = [
                kind,
                *(["it took longer than the TimeoutSeconds of its workflow"] if late else []),
                *(_cut(details[key]) for key in ("error", "cause") if details.get(key)),
            ]
            yield f"{at} {': '.join([*says, *_late(event, by_id)])}"
        elif kind == "EventsLeftOut":
            yield f"{at} {counted(details['count'], 'event')} left out: {details['cause']}"
        else:
            yield f"{at} {kind}"


def _cut(text: object) -> str:
    """Shorten a text, and show that it goes on."""
    whole = str(text)
    return whole if len(whole) <= _CAUSE else f"{whole[: _CAUSE - 1]}…"


def _late(event: dict[str, Any], by_id: dict[int, dict[str, Any]]) -> Iterator[str]:
    """Say after which of its two times a task ended that was late."""
    if not event["type"].endswith("TimedOut") or _details(event).get("cause"):
        return
    scheduled: dict[str, Any] | None = event
    since = None
    while scheduled is not None and not scheduled["type"].endswith("Scheduled"):
        if scheduled["type"] == "ActivityStarted":
            since = scheduled["timestamp"]
        scheduled = by_id.get(scheduled["previousEventId"])
    if scheduled is None:
        return
    given, took = _details(scheduled), event["timestamp"] - (since or scheduled["timestamp"])
    longest, beat = given.get("timeoutInSeconds"), given.get("heartbeatInSeconds")
    if longest is not None and took >= int(longest):
        yield f"it took longer than its {longest} s"
    elif beat is not None:
        yield f"no heartbeat came for {beat} s"


def _runs(events: list[dict[str, Any]]) -> Iterator[str]:
    """Name the runs of distributed Maps."""
    for event in events:
        if event["type"] == "MapRunStarted":
            yield _details(event)["mapRunArn"]


def _failed_children(connection: StoreConnection, run: str) -> list[str]:
    """Say which children of a run failed, and why."""
    name = run.partition(":mapRun:")[2]
    given = {"workflow": name, "status": "FAILED", "limit": _CHILDREN, "after": None}
    try:
        failed = connection.ask("execution.list", **given)["executions"]
    except ResourceNotFound:  # its children are gone, or are of an earlier release
        return []
    return [
        f"{moment(one['stopped_ms'])} child {one['arn']} failed: {one['error']}: {_cut(one['cause'] or 'no cause')}"
        for one in failed
    ]


def _operations(connection: StoreConnection, told: dict[str, Any]) -> Iterator[str]:
    """Say what a durable function waits for, and what it does."""
    given = {"workflow": told["workflow"], "name": told["name"]}
    for one in connection.ask("durable.describe", **given)["operations"]:
        if one["Status"] in _UNDER_WAY and one["Type"] not in {"EXECUTION", "CONTEXT"}:
            due_ms = _due_ms(one)
            until = "" if due_ms is None else f", until {moment(due_ms)}"
            yield f"{_operation(one)}{until}"


def _operation(one: dict[str, Any]) -> str:
    name, kind = one.get("Name") or "without a name", one["Type"]
    if kind == "STEP":
        return f"step {name} runs" if one["Status"] == "STARTED" else f"step {name} waits for its retry"
    if kind == "WAIT":
        return f"waits ({one['Name']})" if one.get("Name") else "waits"
    return f"waits for callback {name}" if kind == "CALLBACK" else f"waits for the call {name}"


def _last(one: dict[str, Any]) -> str:
    """Say how far the operation came that a durable function began or ended last."""
    return f"{_KINDS.get(one['type'], one['type'])} {one['name'] or 'without a name'} {_ENDED.get(one['status'], one['status'])}"


def _due_ms(operation: dict[str, Any]) -> float | None:
    """Say until when an operation of a durable function waits."""
    wait, step = operation.get("WaitDetails", {}), operation.get("StepDetails", {})
    due_ms: float | None = wait.get("ScheduledEndTimestamp", step.get("NextAttemptTimestamp"))
    return due_ms


class _Standing:
    """Where an execution stands: states that were entered and not left, by the numbers of their entries, and what is open."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.entered = {event["id"]: event for event in events if event["type"].endswith("StateEntered")}
        self.calls: dict[int, dict[str, Any]] = {}
        self.workers: dict[int, str] = {}
        self.runs: dict[int, str] = {}
        self.failures: Counter[int] = Counter()
        state_of: dict[int, int] = {}
        states = set(self.entered)
        for event in events:
            id_ = event["id"]
            state_of[id_] = id_ if id_ in states else state_of.get(event["previousEventId"], 0)
            self._take(state_of[id_], event)

    def _take(self, state: int, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind.endswith("StateExited") or kind.startswith("Execution"):
            self.entered.pop(state, None)
            self.calls.pop(state, None)
        elif kind.endswith(("Scheduled", "Submitted")):
            self.calls[state] = event
            self.workers.pop(state, None)
        elif kind == "ActivityStarted":
            self.workers[state] = _details(event).get("workerName") or "without a name"
        elif kind == "MapRunStarted":
            self.runs[state] = _details(event)["mapRunArn"]
        elif kind.endswith(_ENDS):
            self.calls.pop(state, None)
            if kind.startswith("MapRun"):
                self.runs.pop(state, None)
            self.failures[state] += kind.endswith(("Failed", "TimedOut"))


def _waits(connection: StoreConnection, told: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[str]:
    """Say what the execution waits for, a line for each state that it is in."""
    known = {one["event"]: one for one in told.get("waits", ())}
    standing = _Standing(events)
    for id_, entry in standing.entered.items():
        name, since, call = _details(entry)["name"], moment(entry["timestamp"] * 1000), standing.calls.get(id_)
        wait = known.get(id_, {})
        until = "" if wait.get("due_ms") is None else f", until {moment(wait['due_ms'])}"
        if id_ in standing.runs:
            yield f"state {name} runs {_progress(connection, standing.runs[id_])}, since {since}"
        elif call is None and standing.failures[id_]:
            yield f"state {name} waits for its retry {standing.failures[id_]}{until}"
        elif call is None:
            waits = f" waits{until}" if entry["type"] == "WaitStateEntered" else ""
            yield f"state {name}{waits}, since {since}"
        elif _what(_details(call)) == _DURABLE:
            yield from _handler(connection, told, call, wait)
        elif wait.get("held_by"):
            held = _held(connection, _details(call), wait)
            yield f"state {name} {held}{until}, since {moment(call['timestamp'] * 1000)}"
        else:
            waits = _for_what(call, standing.workers.get(id_))
            missing = _missing(connection, _details(call))
            yield f"state {name} waits {waits}{until}, since {moment(call['timestamp'] * 1000)}{missing}"


def _handler(
    connection: StoreConnection, told: dict[str, Any], call: dict[str, Any], wait: dict[str, Any]
) -> Iterator[str]:
    """Say where the handler of a durable function stands."""
    since = moment(call["timestamp"] * 1000)
    operations = list(_operations(connection, told))
    yield from operations
    if wait.get("held_by"):
        yield f"its handler {_held(connection, _details(call), wait)}, since {since}"
    elif not operations:
        yield f"its handler is under way, since {since}{_missing(connection, _details(call))}"


def _held(connection: StoreConnection, call: dict[str, Any], wait: dict[str, Any]) -> str:
    """Say why the function of a task does not run, or does not end."""
    if wait["held_by"] == "late":
        timeout = _timeout(connection, call)
        return f"is past its timeout{timeout}; its thread goes on, and it is not run again before that has ended"
    if wait["held_by"] == "place":
        return "waits for a free place to run"
    now = f", now {wait['alone']}" if wait["alone"] else ""
    return f"waits for its turn: what ran when the process died runs alone, one after the other{now}"


def _progress(connection: StoreConnection, run: str) -> str:
    """Name a run of a distributed Map as the commands take it, and say how far it is."""
    name = run.partition(":mapRun:")[2]
    try:
        told = connection.ask("map_run.describe", arn=run)
    except ResourceNotFound:  # it has ended just now
        return name
    counts = [f"{told[kind]:,} {kind.replace('_', ' ')}" for kind in _CHILD_STATES if told[kind]]
    return f"{name} (children: {', '.join(counts) or 'none has begun'})"


def _function(call: dict[str, Any]) -> str:
    """Give the function of a call as its task names it."""
    if "resourceType" not in call:
        return str(call.get("resource", ""))
    given = json.loads(call.get("parameters") or "{}")
    return str(given.get("FunctionName", "")) if isinstance(given, dict) else ""


def _timeout(connection: StoreConnection, call: dict[str, Any]) -> str:
    """Say how long the function of a call may run, where it is one of the app's."""
    try:
        told = connection.ask("function.describe", name=_function(call).rpartition(":function:")[2])
    except (InvalidParameterValue, ResourceNotFound):  # an integration's, or it is declared no more
        return ""
    # An alias has none of its own.
    return f" of {plain(told['timeout_ms'] / 1000)} s" if "timeout_ms" in told else ""


def _missing(connection: StoreConnection, call: dict[str, Any]) -> str:
    """Say that the app which runs has no such function: the call waits until one declares it."""
    text = _function(call)
    name = text.rpartition(":function:")[2].partition(":")[0]
    if connection.runs_nothing or not name or ":activity:" in text:
        return ""
    try:
        connection.ask("function.describe", name=name)
    except ResourceNotFound:
        return f"; the app does not declare function {name}, and the task waits until it does"
    return ""


def _for_what(call: dict[str, Any], worker: str | None) -> str:
    """Say what the end of a call is waited for from."""
    what = _what(_details(call))
    if what.endswith(_CALLBACK):
        return f"for its token ({what})"
    if call["type"].startswith("Activity"):
        taken = "no worker has taken it" if worker is None else f"worker {worker} has taken it"
        return f"for an answer of activity {what}: {taken}"
    if not call["type"].endswith("Submitted"):
        return f"for an answer of {what}"
    return f"for the end of {_child(_details(call).get('output')) or what}"


def _child(output: str | None) -> str | None:
    """Name the execution that a task has begun and waits for."""
    try:
        told = json.loads(output or "null")
    except ValueError:  # it was cut
        return None
    found = told.get("ExecutionArn") if isinstance(told, dict) else None
    return None if found is None else str(found)
