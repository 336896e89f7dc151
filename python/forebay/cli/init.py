"""`forebay init`: a project to begin with, from a starter of ours or from a directory or zip file in sam's form."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import click

from forebay._sam import starters
from forebay._stacks import location

RUNTIME: Final = "python3.11"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@click.command()
@click.option("-n", "--name", help="The project's name, and its folder.")
@click.option("--app-template", type=click.Choice(starters.NAMES), help="The starter.")
@click.option(
    "-l",
    "--location",
    type=click.Path(path_type=Path),
    help="A directory or zip file in sam's form (cookiecutter) instead of a starter. Hooks are never run.",
)
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where the folder goes.",
)
@click.option("--no-interactive", is_flag=True, help="Ask nothing.")
def init(
    *, name: str | None, app_template: str | None, location: Path | None, output_dir: Path, no_interactive: bool
) -> None:
    """Make a project: a template, a function, and its tests."""
    if no_interactive and (name is None or (app_template is None) == (location is None)):
        raise click.UsageError("with --no-interactive give --name, and --app-template or --location")
    if location is not None and not location.exists():
        text = f"--location {location}: there is no such directory or file here, and nothing is fetched: clone it first"
        raise click.UsageError(text)
    if location is None and app_template is None:
        click.echo("Which template would you like to use?")
        for at, one in enumerate(starters.NAMES, 1):
            click.echo(f"\t{at} - {starters.TITLES[one]}")
        app_template = starters.NAMES[
            click.prompt("Template", type=click.IntRange(1, len(starters.NAMES)), default=1) - 1
        ]
    if name is None:
        name = click.prompt("\nProject name", default="sam-app")
    if not _NAME.fullmatch(name):
        text = f"{name!r} is not a project's name: allowed are letters, digits, '.', '_' and '-', a letter or a digit first"
        raise click.UsageError(f"{text} (--output-dir says where its folder goes)")
    folder = output_dir / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.ClickException(f"{folder} already exists: name another project")
    if location is not None:
        folder = _from(location, name, output_dir)
    else:
        starters.write(str(app_template), folder, name)
    what = str(location) if location is not None else app_template
    click.secho(
        f"\n    -----------------------\n    Generating application:\n    -----------------------\n    Name: {name}\n"
        f"    Runtime: {RUNTIME}\n    Application Template: {what}\n    Output Directory: {output_dir}\n\n"
        f"    Next steps can be found in the README file at {folder}/README.md\n",
        fg="yellow",
    )
    click.echo("Commands you can use next\n=========================")
    click.echo(f"[*] cd {shlex.quote(str(folder))}\n[*] forebay build\n[*] forebay deploy --guided")


def _from(source: Path, name: str, output_dir: Path) -> Path:
    return location.write(source, name, output_dir)
