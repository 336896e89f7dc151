"""What `forebay why` says of an execution of a workflow: how it came where it stands, and what it waits for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from forebay._model.plural import counted
from forebay.cli.arn import execution_of
from forebay.cli.show import moment
from forebay.errors import ResourceNotFound

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
_CALLBACK: Final = ".waitForTaskToken"
_UNDER_WAY: Final = {"STARTED", "PENDING", "READY"}
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
    elif told["stopped_ms"] is not None:
        lines.append(f"  ended {moment(told['stopped_ms'])}")
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
    """Say what happened, a line for each state and each end of a call."""
    by_id = {event["id"]: event for event in events}
    for event in events:
        kind, details, at = event["type"], _details(event), moment(event["timestamp"] * 1000)
        if kind.endswith("StateEntered"):
            yield f"{at} state {details['name']}"
        elif kind == "EvaluationFailed" or kind.endswith(("Failed", "TimedOut")):
            says = [kind, *(_cut(details[key]) for key in ("error", "cause") if details.get(key))]
            yield f"{at} {': '.join([*says, *_late(event, by_id)])}"
        elif kind == "EventsLeftOut":
            yield f"{at} {counted(details['count'], 'event')} left out: {details['cause']}"
        elif kind in {"ExecutionRedriven", "ExecutionAborted", "MapRunStarted", "MapRunSucceeded"}:
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
    while scheduled is not None and not scheduled["type"].endswith("Scheduled"):
        scheduled = by_id.get(scheduled["previousEventId"])
    if scheduled is None:
        return
    given, took = _details(scheduled), event["timestamp"] - scheduled["timestamp"]
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


def _waits(connection: StoreConnection, told: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[str]:
    """Say what the execution waits for, with what only its durable function and its clock know."""
    waits = list(_open(events, told.get("due_ms")))
    yield from waits
    if any("forebay:durable" in line for line in waits):
        given = {"workflow": told["workflow"], "name": told["name"]}
        for one in connection.ask("durable.describe", **given)["operations"]:
            if one["Status"] in _UNDER_WAY and one["Type"] != "EXECUTION":
                name = f" {one['Name']}" if one.get("Name") else ""
                yield f"{one['Type'].lower().replace('_', ' ')}{name} is {one['Status'].lower()}"


def _open(events: list[dict[str, Any]], due_ms: int | None) -> Iterator[str]:
    """Say what the execution waits for: states that were entered and not left, with their calls that have not ended."""
    by_id = {event["id"]: event for event in events}
    entered = {event["id"]: _details(event)["name"] for event in events if event["type"].endswith("StateEntered")}
    state_of: dict[int, int] = {}
    calls: dict[int, dict[str, Any]] = {}
    workers: dict[int, str] = {}
    failures: Counter[int] = Counter()
    for event in events:
        kind, id_ = event["type"], event["id"]
        state_of[id_] = id_ if id_ in entered else state_of.get(event["previousEventId"], 0)
        state = state_of[id_]
        if kind.endswith("StateExited") or kind.startswith("Execution"):
            entered.pop(state, None)
            calls.pop(state, None)
        elif kind.endswith(("Scheduled", "Submitted")):
            calls[state] = event
            workers.pop(state, None)
        elif kind == "ActivityStarted":
            workers[state] = _details(event).get("workerName") or "without a name"
        elif kind.endswith(_ENDS):
            calls.pop(state, None)
            failures[state] += kind.endswith(("Failed", "TimedOut"))
    for id_, name in entered.items():
        since, call = moment(by_id[id_]["timestamp"] * 1000), calls.get(id_)
        # Of several states nobody knows which one goes on then.
        until = "" if due_ms is None or len(entered) > 1 else f", until {moment(due_ms)}"
        if call is None and failures[id_]:
            yield f"state {name} waits for its retry {failures[id_]}{until}"
        elif call is None:
            waits = " waits" if by_id[id_]["type"] == "WaitStateEntered" else ""
            yield f"state {name}{waits}{until if waits else ''}, since {since}"
        else:
            waits = _for_what(call, workers.get(id_))
            yield f"state {name} waits {waits}, since {moment(call['timestamp'] * 1000)}"


def _for_what(call: dict[str, Any], worker: str | None) -> str:
    """Say what the end of a call is waited for from."""
    what = _what(_details(call))
    if what.endswith(_CALLBACK):
        return f"until its token is told an end ({what})"
    if call["type"].startswith("Activity"):
        taken = "no worker has taken it" if worker is None else f"worker {worker} has taken it"
        return f"for an answer of activity {what}: {taken}"
    return f"for its end of {what}" if call["type"].endswith("Submitted") else f"for an answer of {what}"
