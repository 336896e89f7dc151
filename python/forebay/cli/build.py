"""`forebay build`: the code of functions with their requirements, ready to be deployed."""

from __future__ import annotations

from pathlib import Path

import click

from forebay._sam import template as sam_template
from forebay._sam.errors import TemplateRefused
from forebay._stacks import build as stack_build


@click.command()
@click.option(
    "-t",
    "--template-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("template.yaml"),
    show_default=True,
    help="The template.",
)
def build(*, template_file: Path) -> None:
    """Build the functions of a template into .aws-sam/build. There is no Docker, and no network but pip's."""
    if not template_file.exists():
        raise click.UsageError(f"there is no {template_file} here: name a template with --template-file")
    template = sam_template.read_file(template_file)
    try:
        built = stack_build.build(template.body, template_file.parent, click.echo)
    except TemplateRefused:
        click.secho("\nBuild Failed", fg="red")
        raise
    click.secho("\nBuild Succeeded", fg="green")
    click.secho(f"\nBuilt Artifacts  : {built.parent}\nBuilt Template   : {built}\n", fg="yellow")
    click.secho("Commands you can use next\n=========================", fg="yellow")
    click.secho("[*] Deploy: forebay deploy --guided\n[*] Serve: forebay run", fg="yellow")
