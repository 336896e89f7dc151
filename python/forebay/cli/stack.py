"""`forebay stack`: the stacks of a store, their events and outputs, and what a deploy would change."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from forebay._sam import expansion
from forebay._sam import template as sam_template
from forebay._sam.errors import NoChanges
from forebay._stacks.service import template_json
from forebay.cli import sam_tables
from forebay.cli.connect import directory_option
from forebay.cli.deploy import template_path
from forebay.cli.deploying import asked_of
from forebay.cli.show import moment, output_option, show, table
from forebay.cli.stack_connection import connect_stacks


@click.group()
def stack() -> None:
    """Look at what was deployed: `forebay deploy`."""


@stack.command("list")
@directory_option
@output_option
def list_(*, store: Path, output: str) -> None:
    """List the stacks."""
    with connect_stacks(store) as stacks:
        rows = stacks.ask("list")
    columns = [
        ("name", lambda row: row["name"]),
        ("status", lambda row: row["status"]),
        ("updated", lambda row: moment(row["updated_ms"])),
        ("reason", lambda row: row["reason"]),
    ]
    show(rows, output, text=table(rows, columns))


@stack.command()
@click.argument("name")
@directory_option
@output_option
def resources(*, name: str, store: Path, output: str) -> None:
    """List the resources of a stack."""
    with connect_stacks(store) as stacks:
        rows = stacks.ask("describe", stack=name)["resources"]
    columns = [(key, lambda row, key=key: row[key]) for key in ("logical", "type", "physical", "status")]
    show(rows, output, text=table(rows, columns))


@stack.command()
@click.argument("name")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many, the newest."
)
@directory_option
@output_option
def events(*, name: str, limit: int, store: Path, output: str) -> None:
    """List what has happened to a stack, newest first."""
    with connect_stacks(store) as stacks:
        found = stacks.ask("describe", stack=name)
        rows = stacks.ask("events", id=found["id"], limit=10_000)[-limit:][::-1]
    columns = [
        ("time", lambda row: moment(row["ms"])),
        ("status", lambda row: row["status"]),
        ("type", lambda row: row["type"]),
        ("logical", lambda row: row["logical"]),
        ("reason", lambda row: row["reason"]),
    ]
    show(rows, output, text=table(rows, columns))


@stack.command()
@click.argument("name")
@directory_option
@output_option
def outputs(*, name: str, store: Path, output: str) -> None:
    """Show the outputs of a stack."""
    with connect_stacks(store) as stacks:
        rows = stacks.ask("describe", stack=name)["outputs"]
    columns = [(key, lambda row, key=key: row[key]) for key in ("key", "value", "description")]
    show(rows, output, text=table(rows, columns))


@stack.command()
@click.argument("name")
@click.option(
    "-t",
    "--template-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The template; without it, what was built.",
)
@directory_option
@output_option
def diff(*, name: str, template_file: Path | None, store: Path, output: str) -> None:
    """Show what a deploy of the template would change. Nothing is deployed."""
    path = template_path(template_file)
    template = sam_template.read_file(path)
    with expansion.translator(template.body) as translator, connect_stacks(store) as stacks:
        before = stacks.ask("template", stack=name)
        asked = asked_of(
            stacks,
            template,
            path,
            options={"stack_name": name},
            parameters={},
            store=store,
            translator=translator,
        )
        try:
            preview: dict[str, Any] = stacks.ask("preview", deploy=asdict(asked))
        except NoChanges:
            preview = {"kind": "UPDATE", "changes": [], "notes": [], "left_out": []}
    if output == "json":
        show(preview, output, text="")
        return
    old, new = template_json(before).splitlines(), template_json(asked.template).splitlines()
    for line in difflib.unified_diff(old, new, f"{name} (deployed)", str(path), lineterm=""):
        colour = {"+": "green", "-": "red"}.get(line[:1])
        click.secho(line, fg=colour)
    sam_tables.changes(preview["changes"])


@stack.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@directory_option
def delete(*, name: str, yes: bool, store: Path) -> None:
    """Delete a stack with everything in it."""
    with connect_stacks(store) as stacks:
        found = stacks.ask("describe", stack=name)
        if not yes:
            click.confirm(f"Are you sure you want to delete the stack {name} with all of its data?", abort=True)
        last = stacks.last_event(found["id"])
        stacks.ask("delete", stack=name)
        table_ = sam_tables.events_table()
        status = stacks.follow(found["id"], last, lambda event: sam_tables.event_row(table_, event))
        table_.end()
        if status != "DELETE_COMPLETE":
            raise click.ClickException(f"{name}: {status}: {stacks.ask('describe', stack=name)['reason']}")
    click.secho("Deleted successfully", fg="green")
