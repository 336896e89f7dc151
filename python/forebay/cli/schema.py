"""`forebay schema`: infer a schema from events, hold events against it, compare two, write code for one; all on files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click

from forebay import _core
from forebay._schema import STYLES
from forebay._schema import bind as bind_schema
from forebay.cli.show import output_option, show
from forebay.errors import InvalidParameterValue

FORMATS: Final = ("OpenApi3", "JSONSchemaDraft4")
LANGUAGES: Final = sorted({language for language, _ in STYLES})


@click.group()
def schema() -> None:
    """Infer schemas from events, compare them, check events against them, write code for them.

    FILE is a path, or - for standard input.
    """


@schema.command()
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@click.option("--format", "schema_format", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
def infer(*, file: Any, schema_format: str) -> None:
    """Print the schema of events as EventBridge discovers it. FILE has one event, a JSON object, on each line."""
    samples = [line for line in file.read().splitlines() if line.strip()]
    click.echo(json.dumps(json.loads(_core.infer_schema(samples, schema_format)), indent=2, ensure_ascii=False))


@schema.command()
@click.argument("schema_file", metavar="SCHEMA", type=click.File(encoding="utf-8"))
@click.argument("file", type=click.File(encoding="utf-8"), default="-")
@output_option
def validate(*, schema_file: Any, file: Any, output: str) -> None:
    """Hold the events of FILE, one on each line, against SCHEMA, and tell where they do not fit.

    Exit status 1: one does not fit.
    """
    content, schema_format = _read(schema_file)
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
@click.argument("old", type=click.File(encoding="utf-8"))
@click.argument("new", type=click.File(encoding="utf-8"))
@output_option
def diff(*, old: Any, new: Any, output: str) -> None:
    """Tell what changed from schema OLD to schema NEW.

    Exit status 1: code that was written for OLD may fail on an event of NEW.
    """
    changes = _core.compare_schemas(*_read(old), *_read(new))
    rows = [{"change": change, "breaks_readers": breaks} for change, breaks in changes]
    show(rows, output, text="\n".join(change for change, _ in changes) or "no change")
    if any(breaks for _, breaks in changes):
        raise SystemExit(1)


@schema.command()
@click.argument("file", type=click.File(encoding="utf-8"))
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
def bind(*, file: Any, language: str, style: str | None, name: str | None, to: Path | None, output: str) -> None:
    """Write code for a schema: classes that hold its events."""
    content, schema_format = _read(file)
    style = style or next(of for known, of in STYLES if known == language)
    files = bind_schema(
        content, schema_format, name=name or _name(content), version="1", language=language, style=style
    )
    if to is None:
        show(files, output, text="\n".join(files.values()).rstrip("\n"))
        return
    for path, text in files.items():
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        (to / path).write_text(text, encoding="utf-8")
    show({"files": sorted(files)}, output, text="\n".join(f"wrote {to / path}" for path in sorted(files)))


def _read(file: Any) -> tuple[str, str]:
    """Read a schema and tell its format."""
    content = file.read()
    try:
        document = json.loads(content)
    except ValueError as error:
        raise InvalidParameterValue(f"{file.name}: a schema is JSON text; {error}") from None
    is_open_api = isinstance(document, dict) and "openapi" in document
    return content, FORMATS[0] if is_open_api else FORMATS[1]


def _name(content: str) -> str:
    """Name a schema by what it says of itself."""
    document = json.loads(content)
    event = document.get("components", {}).get("schemas", {}).get("AWSEvent", document)
    title = document.get("info", {}).get("title") or document.get("title") or "Event"
    source = event.get("x-amazon-events-source")
    return f"{source}@{title}" if source else str(title)
