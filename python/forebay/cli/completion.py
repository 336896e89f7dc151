"""`forebay completion`: the script that lets a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_FOREBAY_COMPLETE"
"""The environment variable in which click is asked for completions of the command `forebay`."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes the commands and options of forebay in SHELL.

    \b
    bash, in ~/.bashrc:                     eval "$(forebay completion bash)"
    zsh, in ~/.zshrc after compinit:        eval "$(forebay completion zsh)"
    fish, in ~/.config/fish/config.fish:    forebay completion fish | source
    """  # noqa: D301  click reads the backspace: it keeps these lines as they are
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"this version of click has no completion for {shell}")
    click.echo(found(ctx.find_root().command, {}, "forebay", VARIABLE).source())
