"""`forebay deploy`: a SAM or CloudFormation template becomes a running app, by AWS's own dialogue.

The translator of SAM templates is started first. What the deploy itself needs is loaded beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from forebay._sam import expansion, samconfig
from forebay._sam import template as sam_template
from forebay.cli.connect import directory_option

COMMAND: Final = "deploy"
BUILT: Final = Path(".aws-sam") / "build" / "template.yaml"
"""What `forebay build` and `sam build` write."""

SEVERAL: Final = frozenset({"--capabilities", "--parameter-overrides"})
"""Options that may be followed by several values, as those of `sam deploy`."""

Options = dict[str, Any]


class Deploy(click.Command):
    """Takes several values behind one option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; an option is repeated before each further value of it."""
        words: list[str] = []
        option = None
        for word in args:
            if word.startswith("-"):
                option = word if word in SEVERAL else None
            elif option is not None and words[-1] != option:
                words.append(option)
            words.append(word)
        return super().parse_args(ctx, words)


def template_path(given: Path | None) -> Path:
    """Give the template: the one that was built, if there is one, else the one that stands here."""
    if given is not None:
        return given
    here = [path for path in map(Path, ("template.yaml", "template.yml", "template.json")) if path.exists()]
    if BUILT.exists():
        if here and here[0].stat().st_mtime > BUILT.stat().st_mtime:
            click.secho(f"{here[0]} is newer than what was built: `forebay build` takes it over", fg="yellow", err=True)
        return BUILT
    if here:
        return here[0]
    raise click.UsageError("there is no template.yaml here: name a template with --template-file")


@click.command(cls=Deploy)
@click.option("-g", "--guided", is_flag=True, help="Ask for everything, and save the answers.")
@click.option(
    "-t",
    "--template-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The template; without it, what was built.",
)
@click.option("--stack-name", help="The stack's name.")
@click.option("--region", help="Region of ARNs, where no app runs yet.")
@click.option("--parameter-overrides", multiple=True, metavar="KEY=VALUE", help="Parameters, one or more.")
@click.option("--capabilities", multiple=True, help="CAPABILITY_IAM or CAPABILITY_NAMED_IAM, one or more.")
@click.option(
    "--confirm-changeset/--no-confirm-changeset", default=None, help="Ask before the changes are carried out."
)
@click.option(
    "--disable-rollback/--no-disable-rollback", default=None, help="Leave everything as it is where a step fails."
)
@click.option("--no-fail-on-empty-changeset", is_flag=True, help="Nothing to do is not a failure.")
@click.option("--skip-unsupported", is_flag=True, help="Leave out resources whose types are not served.")
@click.option(
    "--config-file", type=click.Path(path_type=Path, dir_okay=False), default=Path(samconfig.NAME), show_default=True
)
@click.option("--config-env", default=samconfig.ENVIRONMENT, show_default=True, help="Table of the file.")
@directory_option
def deploy(
    *, config_file: Path, config_env: str, store: Path, guided: bool, template_file: Path | None, **given: Any
) -> None:
    """Deploy a template into the app that runs on the store, or into the store: `forebay run` then serves it."""
    if not guided and config_file != Path(samconfig.NAME) and not config_file.exists():
        raise click.UsageError(f"--config-file {config_file}: there is no such file: deploy with --guided to make it")
    options = samconfig.read(config_file, COMMAND, config_env)
    unset = {"no_fail_on_empty_changeset", "skip_unsupported"}
    options |= {
        name: value for name, value in given.items() if value not in (None, ()) and (value or name not in unset)
    }
    path = template_path(template_file if template_file is not None else _configured(options))
    template = sam_template.read_file(path)
    if not guided and not options.get("stack_name"):
        raise click.UsageError("Missing option '--stack-name': name the stack, or deploy with --guided")
    with expansion.translator(template.body) as translator:
        from forebay.cli.deploying import carry_out  # noqa: PLC0415  it is loaded beside the translator

        config = (config_file, config_env) if guided else None
        carry_out(template, path, options=options, store=store, translator=translator, config=config)


def _configured(options: Options) -> Path | None:
    named = options.get("template_file") or options.get("template")
    return None if named is None else Path(named)
