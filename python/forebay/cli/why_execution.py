"""What `forebay why` says of an execution of a workflow: how it came where it stands, and what it waits for."""

from __future__ import annotations

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
        lines += [f"  now: {line}" for line in _open(events)] or ["  now: it has just begun"]
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
    for event in events:
        kind, details, at = event["type"], _details(event), moment(event["timestamp"] * 1000)
        if kind.endswith("StateEntered"):
            yield f"{at} state {details['name']}"
        elif kind == "EvaluationFailed" or kind.endswith(("Failed", "TimedOut")):
            says = [kind, *(str(details[key])[:_CAUSE] for key in ("error", "cause") if details.get(key))]
            yield f"{at} {': '.join(says)}"
        elif kind in {"ExecutionRedriven", "ExecutionAborted", "MapRunStarted", "MapRunSucceeded"}:
            yield f"{at} {kind}"


def _open(events: list[dict[str, Any]]) -> Iterator[str]:
    """Say what the execution waits for: states that were entered and not left, with their calls that have not ended."""
    by_id = {event["id"]: event for event in events}
    entered = {event["id"]: _details(event)["name"] for event in events if event["type"].endswith("StateEntered")}
    state_of: dict[int, int] = {}
    calls: dict[int, dict[str, Any]] = {}
    for event in events:
        kind, id_ = event["type"], event["id"]
        state_of[id_] = id_ if id_ in entered else state_of.get(event["previousEventId"], 0)
        state = state_of[id_]
        if kind.endswith("StateExited") or kind.startswith("Execution"):
            entered.pop(state, None)
            calls.pop(state, None)
        elif kind.endswith(("Scheduled", "Submitted")):
            calls[state] = event
        elif kind.endswith(_ENDS):
            calls.pop(state, None)
    for id_, name in entered.items():
        since, call = moment(by_id[id_]["timestamp"] * 1000), calls.get(id_)
        if call is None:
            yield f"state {name}, since {since}"
        else:
            details = _details(call)
            waits = "for its end" if call["type"].endswith("Submitted") else "for an answer"
            yield f"state {name} waits {waits} of {_what(details)}, since {moment(call['timestamp'] * 1000)}"
