"""`forebay workflow`: look at workflows; start, follow, stop and redrive their executions; check and draw definitions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from forebay._model import names
from forebay._model.plural import counted
from forebay._model.workflow import failure_of, put_in
from forebay.cli.arn import named, named_execution
from forebay.cli.connect import FILE, connect, store_option
from forebay.cli.show import moment, output_option, show, table, unpacked
from forebay.cli.store_place import ServerStore, StorePlace
from forebay.cli.workflow_graph import GRAPHS
from forebay.cli.workflow_names import definition as definition_of
from forebay.cli.workflow_names import description, split, started_by
from forebay.errors import InvalidParameterValue
from forebay.integrations.offered import callable_services, unknown_sdk_calls

_PAGE = 1000
_ACCOUNT = "000000000000"
_STATUSES = ["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]


def _pair(text: str) -> tuple[str, str]:
    """Read `NAME=VALUE`."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise click.BadParameter(f"{text!r}: give it as NAME=VALUE")
    return name, value


@click.group()
def workflow() -> None:
    """Look at workflows; start, follow, stop and redrive their executions; check and draw definitions."""


@workflow.command("list")
@click.argument("name", required=False, callback=named("workflow", versions=True))
@click.option("--status", type=click.Choice(_STATUSES), help="Only executions that stand there.")
@click.option("--limit", type=click.IntRange(1, _PAGE), default=100, show_default=True, help="Most executions.")
@store_option
@output_option
def list_(*, name: str | None, status: str | None, limit: int, store: StorePlace, output: str) -> None:
    """List the workflows of a store, or the executions of workflow NAME, the latest first.

    NAME:VERSION or NAME:ALIAS lists those that were started by it; NAME/LABEL:ID, a run of a distributed Map, its children.
    """
    with connect(store) as connection:
        if name is None:
            rows = connection.ask("workflow.list")
        else:
            rows, after = [], None
            wanted = started_by(connection, name)
            while len(rows) < limit:
                page = connection.ask("execution.list", **wanted, status=status, limit=limit - len(rows), after=after)
                rows += page["executions"]
                after = page["next"]
                if after is None:
                    break
    show(unpacked(rows), output, text=table(rows, _WORKFLOWS if name is None else _EXECUTIONS))


@workflow.command()
@click.argument("name", callback=named("workflow", versions=True))
@click.argument("input", default="{}")
@click.option("--name", "execution", metavar="TEXT", help="The execution's name; without it, a new UUID.")
@store_option
@output_option
def start(*, name: str, input: str, execution: str | None, store: StorePlace, output: str) -> None:  # noqa: A002
    """Start an execution of workflow NAME with INPUT, a JSON text ("-": standard input).

    NAME:VERSION or NAME:ALIAS starts that version, or the one that the alias leads to.
    """
    text = sys.stdin.read() if input == "-" else input
    with connect(store) as connection:
        started = connection.ask("execution.start", workflow=name, name=execution, input=text)
    show(unpacked(started), output, text=f"started {started['arn']}")


@workflow.command()
@click.argument("name", callback=named("workflow", versions=True))
@click.argument("execution", required=False, callback=named_execution)
@store_option
@output_option
def describe(*, name: str, execution: str | None, store: StorePlace, output: str) -> None:
    """Show workflow NAME, or NAME:VERSION or NAME:ALIAS, with its definition; or one EXECUTION of it."""
    with connect(store) as connection:
        if execution is None:
            told, text = description(connection, name)
        else:
            told = connection.ask("execution.describe", workflow=split(name)[0], name=execution)
            lines = [f"arn: {told['arn']}", f"status: {told['status']}", f"started: {moment(told['started_ms'])}"]
            if told["stopped_ms"] is not None:
                lines.append(f"stopped: {moment(told['stopped_ms'])}")
            if told["redrive_count"]:
                lines.append(f"redriven: {counted(told['redrive_count'], 'time')}")
            keys = ("version", "alias", "input", "output", "error", "cause")
            lines += [f"{key}: {told[key]}" for key in keys if told.get(key)]
            text = "\n".join(lines)
    show(unpacked(told), output, text=text)


@workflow.command()
@click.argument("name", callback=named("workflow"))
@click.argument("execution", callback=named_execution)
@store_option
@output_option
def history(*, name: str, execution: str, store: StorePlace, output: str) -> None:
    """List the events of an EXECUTION of workflow NAME."""
    events: list[dict[str, Any]] = []
    with connect(store) as connection:
        of = name.partition("/")[0]  # of a child of a distributed Map, the workflow's alone
        machine = connection.ask("workflow.describe", name=of)
        after = None
        while True:
            page = connection.ask("execution.history", workflow=name, name=execution, limit=_PAGE, after=after)
            events += page["events"]
            after = page["next"]
            if after is None:
                break
    text = table(events, _EVENTS)
    if machine["type"] == "EXPRESS" and machine["log_level"] != "ALL":
        kept = "no events" if machine["log_level"] == "OFF" else "only its errors"
        text = f'{text}\nworkflow {of} has log_level={machine["log_level"]}, which keeps {kept}: "ALL" keeps all'
    show(unpacked(events), output, text=text)


@workflow.command()
@click.argument("name", callback=named("workflow"))
@click.argument("execution", callback=named_execution)
@click.option("--error", metavar="TEXT", help="What the history gives as the error.")
@click.option("--cause", metavar="TEXT", help="The error's cause.")
@store_option
@output_option
def stop(*, name: str, execution: str, error: str | None, cause: str | None, store: StorePlace, output: str) -> None:
    """Stop an EXECUTION of workflow NAME; one that is over stays as it is."""
    try:
        failure = failure_of(error, cause)
    except InvalidParameterValue as refused:
        raise click.UsageError(str(refused)) from None
    with connect(store) as connection:
        told = connection.ask("execution.stop", workflow=name, name=execution, **failure)
    show(unpacked(told), output, text=f"{told['arn']} {told['status']}")


@workflow.command()
@click.argument("name", callback=named("workflow"))
@click.argument("execution", callback=named_execution)
@store_option
@output_option
def redrive(*, name: str, execution: str, store: StorePlace, output: str) -> None:
    """Let an EXECUTION of workflow NAME that failed go on from where it failed."""
    with connect(store) as connection:
        told = connection.ask("execution.redrive", workflow=name, name=execution)
    show(unpacked(told), output, text=f"redriven {told['arn']}: {told['status']}")


@workflow.command()
@click.argument("name", callback=named("workflow"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def delete(*, name: str, yes: bool, store: StorePlace, output: str) -> None:
    """Delete workflow NAME with its executions. Refused while any of them runs."""
    if not yes:
        click.confirm(f"delete workflow {name} with the history of its executions?", abort=True, err=True)
    with connect(store) as connection:
        connection.ask("workflow.delete", name=name)
    show({"deleted": name}, output, text=f"deleted {name}")


@workflow.command()
@click.argument("name", callback=named("workflow", versions=True))
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "svg"]),
    default="mermaid",
    show_default=True,
    help="What it is to be drawn by.",
)
@store_option
def graph(*, name: str, form: str, store: StorePlace) -> None:
    """Draw workflow NAME, or the definition in a file NAME: as text for Mermaid or Graphviz, or as SVG."""
    file = Path(name)
    if not file.is_file() and "/" in name:  # which no workflow's name has
        raise click.ClickException(f"there is no file {name}")
    if file.is_file():
        definition = file.read_text(encoding="utf-8")
    else:
        with connect(store) as connection:
            definition = definition_of(connection, name)
    try:
        drawn = GRAPHS[form](json.loads(definition))
    except ValueError as error:
        raise click.ClickException(f"{name}: it is not JSON: {error}") from error
    click.echo(drawn)


@workflow.command()
@click.argument("definition", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--type",
    "kind",
    type=click.Choice(["STANDARD", "EXPRESS"]),
    default="STANDARD",
    show_default=True,
    help="What it is to be.",
)
@click.option(
    "--substitute",
    "given",
    type=_pair,
    multiple=True,
    metavar="NAME=VALUE",
    help="What stands for ${NAME}; else it is the function of that name. May be repeated.",
)
@store_option
@output_option
def validate(
    *, definition: Path, kind: str, given: tuple[tuple[str, str], ...], store: StorePlace, output: str
) -> None:
    """Say everything that is wrong with the file DEFINITION, each problem with its place.

    What it names and the store does not have is told, too, as NOT_FOUND: a task would fail. So is an operation of AWS's that
    boto3 does not know, while an app runs, which may have other clients. Functions are looked for while the app runs. Without
    a store, or before the app's first start, only the definition itself is looked at. Exit status 1: something is wrong,
    other than NOT_FOUND.
    """
    text = sys.stdin.read() if str(definition) == "-" else definition.read_text(encoding="utf-8")
    try:
        text = put_in(text, dict(given), names.function_arn(names.REGION_DEFAULT, _ACCOUNT, ""))
    except InvalidParameterValue as error:
        raise click.BadParameter(str(error), param_hint="--substitute") from None
    has_store = isinstance(store, ServerStore) or (store / FILE).exists()
    with connect(store if has_store else Path(":memory:")) as connection:
        runs_nothing = connection.runs_nothing
        if runs_nothing:
            # The app that would say what it calls does not run: what it may call is not wrong.
            connection.ask("integration.declare", **callable_services(text))
        found = connection.ask("workflow.validate", definition=text, type=kind)
    problems, missing = found["problems"], found.get("missing", []) if has_store else []
    if runs_nothing:
        problems += unknown_sdk_calls(text)
    else:  # the app that runs may make its own clients, of a newer boto3 or of a fake
        missing += [{**one, "code": "NOT_FOUND"} for one in unknown_sdk_calls(text)]
    for one in problems:
        if one["code"] == "INVALID_JSON_DESCRIPTION":
            file = "standard input" if str(definition) == "-" else definition
            one["message"] = f"{file}: it is not JSON, and YAML is not read: {one['message']}"
    if runs_nothing:  # which functions there are is known to an app that runs, and to nobody else
        functions = [one for one in missing if one["message"].startswith("function ")]
        missing = [one for one in missing if one not in functions]
        if functions:
            click.echo("no app runs: the functions that the definition names were not looked for", err=True)
    lines = [f"{one['location'] or '/'}: {one['code']}: {one['message']}" for one in [*problems, *missing]]
    if not has_store:
        click.echo(f"there is no store in {store.absolute()}: what the definition names was not looked for", err=True)
    show(unpacked({"problems": problems, "missing": missing}), output, text="\n".join(lines) or "nothing is wrong")
    if problems:
        raise SystemExit(1)


def _state(event: dict[str, Any]) -> str:
    found = (value.get("name") for key, value in event.items() if key.endswith("EventDetails"))
    return next((name for name in found if name), "-")


_WORKFLOWS = [
    ("WORKFLOW", lambda row: row["name"]),
    ("TYPE", lambda row: row["type"]),
    ("REVISION", lambda row: row["revision"]),
    ("RUNNING", lambda row: row["running"]),
]
_EXECUTIONS = [
    ("EXECUTION", lambda row: row["name"]),
    ("STATUS", lambda row: row["status"]),
    ("STARTED", lambda row: moment(row["started_ms"])),
    ("STOPPED", lambda row: "-" if row["stopped_ms"] is None else moment(row["stopped_ms"])),
    ("ERROR", lambda row: row["error"] or "-"),
]
_EVENTS = [
    ("ID", lambda row: row["id"]),
    ("TIME", lambda row: moment(row["timestamp"] * 1000)),
    ("EVENT", lambda row: row["type"]),
    ("STATE", _state),
]
