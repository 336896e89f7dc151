"""`forebay schema`: infer schemas, hold events against them, compare them, write code for them, keep versions of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from forebay import _core
from forebay._schema import STYLES
from forebay._schema import bind as bind_schema
from forebay.cli.connect import connect, store_option
from forebay.cli.show import moment, output_option, show, table
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forebay.cli.store_place import StorePlace

FORMATS: Final = ("OpenApi3", "JSONSchemaDraft4")
LANGUAGES: Final = sorted({language for language, _ in STYLES})
DISCOVERED: Final = "discovered-schemas"

of_option = click.option(
    "--registry",
    metavar="NAME",
    help="Schemas are names in this registry of the store, or NAME:VERSION; default: they are files.",
)
registry_option = click.option(
    "--registry", default=DISCOVERED, show_default=True, metavar="NAME", help="The registry of the schema."
)
version_option = click.option("--version", type=int, metavar="N", help="Which version; default: the latest.")


@click.group()
def schema() -> None:
    """Infer schemas from events, compare them, check events against them, write code for them, keep them in registries.

    FILE and SCHEMA are a path, or - for standard input; with --registry, SCHEMA is a name.
    """


@schema.command()
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@click.option("--format", "schema_format", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
def infer(*, file: Any, schema_format: str) -> None:
    """Print the schema of events as EventBridge discovers it. FILE has one event, a JSON object, on each line."""
    samples = [line for line in file.read().splitlines() if line.strip()]
    click.echo(json.dumps(json.loads(_core.infer_schema(samples, schema_format)), indent=2, ensure_ascii=False))


@schema.command()
@click.argument("schema_name", metavar="SCHEMA")
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@of_option
@store_option
@output_option
def validate(*, schema_name: str, file: Any, registry: str | None, store: StorePlace, output: str) -> None:
    """Hold the events of FILE, one on each line, against SCHEMA, and tell where they do not fit.

    Exit status 1: one does not fit.
    """
    content, schema_format, _ = _read(schema_name, registry, store)
    unchecked = _core.check_schema(content, schema_format)
    for place in unchecked:
        click.echo(f"Warning: {place} is not checked", err=True)
    events = 0
    misfits = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        events += 1
        found = _core.misfit(line, content, schema_format)
        if found is not None:
            misfits.append({"line": number, "place": found[0], "reason": found[1]})
    lines = [f"line {one['line']}: {one['place']}: {one['reason']}" for one in misfits]
    lines.append(f"{events - len(misfits)} of {events} events fit")
    show({"events": events, "misfits": misfits, "unchecked": unchecked}, output, text="\n".join(lines))
    if misfits:
        raise SystemExit(1)


@schema.command()
@click.argument("old")
@click.argument("new")
@of_option
@store_option
@output_option
def diff(*, old: str, new: str, registry: str | None, store: StorePlace, output: str) -> None:
    """Tell what changed from schema OLD to schema NEW.

    Exit status 1: code that was written for OLD may fail on an event of NEW.
    """
    before, after = _read(old, registry, store), _read(new, registry, store)
    changes = _core.compare_schemas(*before[:2], *after[:2])
    rows = [{"change": change, "breaks_readers": breaks} for change, breaks in changes]
    show(rows, output, text="\n".join(change for change, _ in changes) or "no change")
    if any(breaks for _, breaks in changes):
        raise SystemExit(1)


@schema.command()
@click.argument("schema_name", metavar="SCHEMA")
@of_option
@store_option
@click.option("--language", type=click.Choice(LANGUAGES), default="python", show_default=True)
@click.option(
    "--style", metavar="STYLE", help=f"Of: {', '.join(' '.join(pair) for pair in STYLES)}; default: the first."
)
@click.option(
    "--name", metavar="NAME", help="The schema's name, such as shop.orders@OrderPlaced; default: from the schema."
)
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), help="Write the files here; default: print them."
)
@output_option
def bind(
    *,
    schema_name: str,
    registry: str | None,
    store: StorePlace,
    language: str,
    style: str | None,
    name: str | None,
    to: Path | None,
    output: str,
) -> None:
    """Write code for a schema: classes that hold its events."""
    content, schema_format, version = _read(schema_name, registry, store)
    style = style or next(of for known, of in STYLES if known == language)
    if name is None:
        name = _name(content) if registry is None else schema_name.partition(":")[0]
    files = bind_schema(content, schema_format, name=name, version=version, language=language, style=style)
    if to is None:
        show(files, output, text="\n".join(files.values()).rstrip("\n"))
        return
    for path, text in files.items():
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        (to / path).write_text(text, encoding="utf-8")
    show({"files": sorted(files)}, output, text="\n".join(f"wrote {to / path}" for path in sorted(files)))


@schema.command("list")
@registry_option
@click.option("--prefix", default="", metavar="TEXT", help="Only names that begin so.")
@store_option
@output_option
def list_(*, registry: str, prefix: str, store: StorePlace, output: str) -> None:
    """List the schemas of a registry."""
    rows = list(_found(store, registry, prefix=prefix))
    show(rows, output, text=table(rows, _SCHEMAS))


@schema.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--registry", metavar="NAME", help="Only in this registry; default: in all.")
@store_option
@output_option
def search(*, words: tuple[str, ...], registry: str | None, store: StorePlace, output: str) -> None:
    """Find schemas that have all WORDS in their name, their description or their latest content."""
    rows = list(_found(store, registry, keywords=" ".join(words)))
    show(rows, output, text=table(rows, [("REGISTRY", lambda row: row["registry"]), *_SCHEMAS]))


@schema.command()
@click.argument("name")
@registry_option
@version_option
@store_option
@output_option
def describe(*, name: str, registry: str, version: int | None, store: StorePlace, output: str) -> None:
    """Show a schema's versions, and the content of one."""
    with connect(store) as connection:
        described = connection.ask("schema.describe", registry=registry, name=name, version=version)
    text = f"{table([described], _SCHEMAS)}\n\narn: {described['arn']}\n\n{_pretty(described['content'])}"
    show(described, output, text=text)


@schema.command()
@click.argument("name")
@registry_option
@version_option
@click.option("--format", "schema_format", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
@store_option
def export(*, name: str, registry: str, version: int | None, schema_format: str, store: StorePlace) -> None:
    """Print a schema as OpenAPI 3 or JSON Schema Draft 4."""
    fields = {"registry": registry, "name": name, "version": version, "schema_type": schema_format}
    with connect(store) as connection:
        click.echo(_pretty(connection.ask("schema.export", **fields)["content"]))


@schema.command()
@click.argument("name")
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@click.option("--registry", required=True, metavar="NAME", help="The registry; it is made if there is none.")
@click.option("--description", metavar="TEXT", help="For people.")
@store_option
@output_option
def put(*, name: str, file: Any, registry: str, description: str | None, store: StorePlace, output: str) -> None:
    """Create schema NAME from FILE, or add a version to it."""
    content, schema_format = _checked(file.read(), file.name)
    fields = {"registry": registry, "name": name, "schema_type": schema_format, "content": content}
    with connect(store) as connection:
        connection.ask("registry.put", name=registry)
        answer = connection.ask("schema.put", **fields, description=description)
    show(answer, output, text=f"schema {name} of registry {registry} has version {answer['version']}")


@schema.command()
@click.argument("name")
@registry_option
@click.option("--version", type=int, metavar="N", help="Only this version; default: the schema with all of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def delete(*, name: str, registry: str, version: int | None, yes: bool, store: StorePlace, output: str) -> None:
    """Delete a schema, or one version; a schema that was discovered is learned anew."""
    what = f"schema {name} of registry {registry}" if version is None else f"version {version} of schema {name}"
    with connect(store) as connection:
        connection.ask("schema.describe", registry=registry, name=name, version=version)
        if not yes:
            click.confirm(f"Delete {what}?", abort=True, err=True)
        if version is None:
            connection.ask("schema.delete", registry=registry, name=name)
        else:
            connection.ask("schema.delete_version", registry=registry, name=name, version=version)
    show({"registry": registry, "schema": name, "version": version}, output, text=f"deleted {what}")


@schema.command()
@click.argument("bus")
@click.option("--on/--off", default=None, help="Let it learn, or stop; default: only tell.")
@store_option
@output_option
def discovery(*, bus: str, on: bool | None, store: StorePlace, output: str) -> None:
    """Let the registry "discovered-schemas" learn from the events of a bus, or tell whether it does.

    A program that declares the bus with discovery= sets it again when it starts.
    """
    with connect(store) as connection:
        if on is None:
            described = connection.ask("bus.describe", name=bus)
        else:
            connection.ask("bus.describe", name=bus)
            described = connection.ask("bus.declare", name=bus, discovery=on)
    show(described, output, text=f"discovery of bus {bus} is {'on' if described['discovery'] else 'off'}")


@schema.group()
def registry() -> None:
    """Look at the registries of a store; create and delete them."""


@registry.command("list")
@store_option
@output_option
def list_registries(*, store: StorePlace, output: str) -> None:
    """List the registries of a store."""
    with connect(store) as connection:
        rows = connection.ask("registry.list")
    show(rows, output, text=table(rows, _REGISTRIES))


@registry.command()
@click.argument("name")
@click.option("--description", metavar="TEXT", help="For people.")
@store_option
@output_option
def create(*, name: str, description: str | None, store: StorePlace, output: str) -> None:
    """Create a registry, or change the description of one."""
    with connect(store) as connection:
        answer = connection.ask("registry.put", name=name, description=description)
    show(answer, output, text=f"registry {name} has {answer['schemas']} schemas")


@registry.command("delete")
@click.argument("name")
@store_option
@output_option
def delete_registry(*, name: str, store: StorePlace, output: str) -> None:
    """Delete a registry that has no schemas."""
    with connect(store) as connection:
        connection.ask("registry.delete", name=name)
    show({"registry": name}, output, text=f"deleted registry {name}")


def _found(store: StorePlace, registry: str | None, **fields: str) -> Iterator[dict[str, Any]]:
    """Give the schemas of a registry, or of all, page by page."""
    with connect(store) as connection:
        names = [one["name"] for one in connection.ask("registry.list")] if registry is None else [registry]
        for name in names:
            after = None
            while True:
                page = connection.ask("schema.list", registry=name, after=after, **fields)
                yield from page["schemas"]
                after = page["next"]
                if after is None:
                    break


def _read(name: str, registry: str | None, store: StorePlace) -> tuple[str, str, str]:
    """Read a schema of a file or of a registry: its content, its format and its version."""
    if registry is not None:
        of, _, number = name.partition(":")
        if number and not number.isdecimal():
            raise InvalidParameterValue(f"{name}: after the colon comes the number of a version")
        version = int(number) if number else None
        with connect(store) as connection:
            answer = connection.ask("schema.describe", registry=registry, name=of, version=version)
        return answer["content"], answer["schema_type"], str(answer["version"])
    if name == "-":
        return *_checked(sys.stdin.read(), name), "1"
    try:
        return *_checked(Path(name).read_text(encoding="utf-8"), name), "1"
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidParameterValue(f"{name}: {reason}; --registry reads a schema of a store") from None


def _checked(content: str, of: str) -> tuple[str, str]:
    """Tell the format of a schema."""
    try:
        document = json.loads(content)
    except ValueError as error:
        raise InvalidParameterValue(f"{of}: a schema is JSON text; {error}") from None
    is_open_api = isinstance(document, dict) and "openapi" in document
    return content, FORMATS[0] if is_open_api else FORMATS[1]


def _pretty(content: str) -> str:
    return json.dumps(json.loads(content), indent=2, ensure_ascii=False)


def _name(content: str) -> str:
    """Name a schema by what it says of itself."""
    document = json.loads(content)
    event = document.get("components", {}).get("schemas", {}).get("AWSEvent", document)
    title = document.get("info", {}).get("title") or document.get("title") or "Event"
    source = event.get("x-amazon-events-source")
    return f"{source}@{title}" if source else str(title)


_SCHEMAS = [
    ("SCHEMA", lambda row: row["name"]),
    ("TYPE", lambda row: row["schema_type"]),
    ("VERSIONS", lambda row: row["versions"]),
    ("UPDATED", lambda row: moment(row["updated_ms"])),
]
_REGISTRIES = [
    ("REGISTRY", lambda row: row["name"]),
    ("SCHEMAS", lambda row: row["schemas"]),
    ("DESCRIPTION", lambda row: row["description"] or "-"),
]
