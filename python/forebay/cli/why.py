"""`forebay why`: the life of one request, message or record, from the store and from what the owner remembers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from forebay._model.plural import counted
from forebay._wire import payload
from forebay.cli.connect import StoreConnection, connect, store_option
from forebay.cli.show import moment, output_option, show, unpacked
from forebay.cli.why_execution import find_executions, tell_execution
from forebay.errors import InvalidParameterValue, ResourceNotFound

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace

GONE: Final = "its records are past the stream's retention, and cannot be run again"
LISTED: Final = re.compile(r"\d+-\d+-\d+(:unread|:dead-letter)?")
"""The id of a failure in `forebay dlq list`."""
_API_REQUEST: Final = re.compile(r"[A-Za-z0-9_-]{15}=")
"""The id that an HTTP or a WebSocket API gives a request."""
_PLACE: Final = re.compile(r'File "(.+)", line (\d+)')


@click.command()
@click.argument("id_", metavar="ID")
@store_option
@output_option
def why(id_: str, store: StorePlace, output: str) -> None:
    """Tell the life of one request, message, record or execution: when it came, attempts, errors, destinations.

    Of a publication: which subscriptions were told, and which filtered it out. Of an event on a bus: what became of it at
    each target of the rules that it matched. Of a request to an API: which function ran for it, or why none did. ID is what
    `invoke_async`, `send`, `publish` or a bus's `put` gave, a sequence number, which a stream's `put` gave, the id in an
    API's answer (`apigw-requestid`, `x-amzn-requestid`), that in an answer of AWS's wire API, or an id of `forebay dlq list`:
    of that event, or the first record of that batch. Of an execution of a workflow (its ARN or its name): the states that it
    has entered, what failed, and what it waits for. Where several streams or queues have a number, or several workflows an
    execution of a name, all are told. What has not
    ended, or was given up, is found in the store; what happened lately is remembered by the running app.
    """
    with connect(store) as connection:
        is_other = LISTED.fullmatch(id_) or _API_REQUEST.fullmatch(id_) or id_.isdecimal()
        executions = [] if is_other else find_executions(connection, id_)
        if executions:
            known, told = zip(*(tell_execution(connection, one) for one in executions), strict=True)
            text = "\n".join(line for lines_ in told for line in lines_)
            show(unpacked(known[0] if len(known) == 1 else list(known)), output, text=text)
            return
        subject = listed_subject(connection, id_) if LISTED.fullmatch(id_) else id_
        try:
            life = ask_all(connection, subject)
        except InvalidParameterValue as error:
            error.add_note(f"no workflow here has an execution of that name either{_of_express(connection)}")
            raise
        if not (life["facts"] or life["kept"] or life["running"]):
            raise ResourceNotFound(_unknown(subject, owned=connection.owned))
        texts = [*lines(life), _ONLY_STORE] if connection.owned else lines(life)
    show(unpacked(life), output, text="\n".join(texts))


def _of_express(connection: StoreConnection) -> str:
    """Say where executions are that are not in the store, if there can be any."""
    if not any(workflow["type"] == "EXPRESS" for workflow in connection.ask("workflow.list")):
        return ""
    return "; Express executions that run, and the last 1,000 that ended, are in the memory of the running app only"


def listed_subject(connection: StoreConnection, failure: str) -> str:
    """Give the request id or the first sequence number of what is listed as given up."""
    record: dict[str, Any] = connection.ask("failed.get", id=failure)["record"]
    first = record.get("KinesisBatchInfo", record["requestContext"])
    return str(first.get("startSequenceNumber") or first["requestId"])


_ONLY_STORE: Final = (
    "no app runs: only the store was asked, which does not keep what was handled, nor what a destination was told"
)


def _unknown(id_: str, *, owned: bool) -> str:
    text = f"nothing is known of {id_}: it was handled or given up some time ago, or was never accepted here"
    text = f"{text}; {_ONLY_STORE}" if owned else text
    if id_.isdecimal():
        return text
    of_apis = "of requests to APIs the newest are remembered, as long as the app runs, and failed ones longest"
    if _API_REQUEST.fullmatch(id_):
        return f"{text}; {of_apis}"
    if re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", id_):
        text = f"{text}. A request to AWS's API whose signature was refused is in `--aws-access-log` alone"
    return (
        f"{text}. The ids of single attempts at batches, which handlers, the log and failure records have, are not kept: "
        "give the message id, the sequence number, or the id in `forebay dlq list`. Synchronous invocations that no API asked "
        f"for are not kept either: the log has those that failed; {of_apis}"
    )


def ask_all(connection: StoreConnection, id_: str) -> dict[str, Any]:
    """Ask until the whole store has been looked through, a portion at a time so that the app goes on meanwhile."""
    life: dict[str, Any] = connection.ask("why", id=id_)
    cursor = life.pop("cursor")
    while cursor is not None:
        more = connection.ask("why", id=id_, cursor=cursor)
        life["kept"] += more["kept"]
        life["facts"] += more["facts"]
        life["running"] |= more["running"]
        cursor = more["cursor"]
    return life


def lines(life: dict[str, Any]) -> list[str]:
    """Write a life for people."""
    texts = [fact_line(fact) for fact in life["facts"]]
    listed = {row["function"] for row in life["kept"] if row["where"] == "failed"}
    if life["running"]:
        texts.append("now: an attempt runs")
    for row in life["kept"]:
        if row["where"] == "queue":
            texts.append(_event_line(row))
        elif row["where"] == "result":
            texts.append(_result_line(row))
        elif row["where"] == "message":
            texts.append(_message_line(row))
        elif row["where"] == "record":
            texts.append(_record_line(row, listed, life["remembered_since_ms"]))
        elif row["destination"] is not None:
            texts.append(
                f"now: waits for its destination {row['destination']}, tried {counted(row['delivery_attempts'], 'time')}"
            )
        else:
            condition = row["record"]["requestContext"]["condition"]
            again = f"`forebay dlq redrive {row['id']}` runs it again" if row["redrivable"] else GONE
            texts.append(f"now: listed as {row['id']} ({condition}); {again}")
        if row.get("last_error"):
            texts.append(f"last error: {error_text(row['last_error'])}")
    return texts


def _event_line(row: dict[str, Any]) -> str:
    text = (
        f"now: waits for {row['function']}, due {moment(row['due_ms'])}, {counted(row['failures'], 'attempt')} failed"
    )
    id_ = row.get("deduplication_id")
    return text if id_ is None else f"{text}, deduplication id {id_}"


def _result_line(row: dict[str, Any]) -> str:
    """Tell what is kept of an event that has ended."""
    text = f"result: {row['condition']} of {row['function']} at {moment(row['ended_ms'])}"
    attempts = f"{text}, {counted(row['attempts'], 'attempt')}, kept until {moment(row['expires_ms'])}"
    if row["response"] is None and row["response_bytes"]:
        return f"{attempts}: its {row['response_bytes']:,} bytes were too many to be kept"
    if row["condition"] == "Success":
        return f"{attempts}: {payload.dumps(row['response']).decode()}"
    return attempts if row["response"] is None else f"{attempts}: {error_text(row['response'])}"


def _record_line(row: dict[str, Any], listed: set[str], since_ms: float) -> str:
    """Tell how a record stands with a mapping. Of one that a lane has passed, success is claimed only where it is known."""
    where = f"({row['stream']}, {row['shard_id']})"
    if row["state"] == "lost":
        return f"now: lost {where}: it was damaged, and a salvage kept its place; no function is given it"
    function, state = row["function"], row["state"]
    if state == "passed" and function in listed:
        state = "given up"
    lane = "" if row["lane"] is None else f"in lane {row['lane']} "
    text = f"now: {state} {lane}of {function} {where}" if lane else f"now: {state} by {function} {where}"
    if state != "passed":
        return text
    target = row["on_failure"]
    name = "the mapping's on_failure" if str(target).startswith("on_failure:") else str(target).replace(":", " ", 1)
    see = "`forebay dlq list` does not have it" if target is None else f"what was given up was told to {name}"
    kept = "" if row["is_in_stream"] else "; retention has dropped it since"
    return (
        f"{text}: handled, left out or given up{kept}; what happened before {moment(since_ms)} is not kept, and {see}"
    )


def error_text(error: object) -> str:
    """Write an error in one line: Lambda's error object with its type, message and place, or whatever else was told."""
    if isinstance(error, str) and error.startswith("{"):
        try:
            error = payload.loads(error)
        except ValueError:  # cut where it was long
            return " ".join(str(error).split())
    if not isinstance(error, dict) or "errorType" not in error:
        return " ".join((error if isinstance(error, str) else payload.dumps(error).decode()).split())
    text = " ".join(f"{error['errorType']}: {error.get('errorMessage')}".split())
    place = _PLACE.search((error.get("stackTrace") or [""])[-1])
    return f"{text} ({place[1]}:{place[2]})" if place else text


def _message_line(message: dict[str, Any]) -> str:
    attributes = message["attributes"]
    group = f", group {attributes['MessageGroupId']}" if "MessageGroupId" in attributes else ""
    until = f" until {moment(message['visible_at_ms'])}" if "visible_at_ms" in message else ""
    received = attributes["ApproximateReceiveCount"]
    return f"now: {message['state']}{until} in {message['queue']}{group}, received {counted(int(received), 'time')}"


def fact_line(fact: dict[str, Any]) -> str:
    """Write one thing that happened."""
    details = {name: value for name, value in fact.items() if name not in {"at_ms", "what"}}
    if "due_ms" in details:
        details["due"] = moment(details.pop("due_ms"))
    if "next_attempt_ms" in details:
        details["next attempt"] = moment(details.pop("next_attempt_ms"))
    if "error" in details:
        details["error"] = error_text(details["error"])
    if "why" in details:
        details["why"] = " ".join(details["why"].split())
    return " ".join([moment(fact["at_ms"]), fact["what"], *(f"{name}={value}" for name, value in details.items())])
