"""All commands in one tree; every error of ours becomes one line for people."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from forebay._core import __version__, debug_build, failpoints
from forebay.cli.connect import format_error
from forebay.cli.show import output_option, show
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


HELP_COLUMNS = 100
_OF_TWO: Final = {"invoke": "run", "replay": "archive", "rule": "bus"}
MODULES: Final = _OF_TWO | {
    name: name
    for name in (
        *("api", "archive", "aws", "backup", "build", "bus", "cluster", "completion", "deploy", "dlq", "doctor"),
        *("function", "init", "lag", "mapping", "metrics", "migrate", "queue", "run", "schedule", "schema", "stack"),
        *("stream", "top", "topic", "why", "workflow"),
    )
}
"""The module that each command stands in, under the command's own name."""


class Loaded(MutableMapping[str, click.Command]):
    """Commands by their names. Each is imported when it is asked for: most words call one of them."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._known: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._known:
            self._known[name] = getattr(import_module(f"forebay.cli.{self._modules[name]}"), name)
        return self._known[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name}: a command is not taken away")

    def __iter__(self) -> Iterator[str]:
        return iter({**self._modules, **self._known})

    def __len__(self) -> int:
        return len({**self._modules, **self._known})


@contextmanager
def _hint_where_options_stand() -> Iterator[None]:
    try:
        yield
    except click.NoSuchOption as error:
        if error.possibilities or error.ctx is None or not isinstance(error.ctx.command, click.Group):
            raise
        hint = "Options stand after the whole command: forebay stream list --store DIRECTORY"
        raise click.UsageError(f"{error.message} {hint}", error.ctx) from None


class Commands(click.Group):
    """A group whose errors are for people."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command."""
        with _hint_where_options_stand():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it refuses is told without a traceback."""
        try:
            with _hint_where_options_stand():
                return super().invoke(ctx)
        except ForebayError as error:
            raise click.ClickException(format_error(error)) from None


def build() -> str:
    """Tell the version, and what the extension was built with that a release is not."""
    features = [name for name, has in {"assertions": debug_build, "failpoints": failpoints}.items() if has]
    return f"{__version__} ({'test build: ' + ', '.join(features) if features else 'release build'})"


@click.group(
    cls=Commands,
    commands=Loaded(MODULES),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_COLUMNS},
)
@click.version_option(build(), message="%(version)s")
def main() -> None:
    """Run AWS Lambda's event sources in your own process.

    Commands that look at a store work while its app runs, from any directory.
    """


@main.command()
@output_option
def version(output: str) -> None:
    """Show the version, and whether the extension is a release build."""
    show({"version": __version__, "assertions": debug_build, "failpoints": failpoints}, output, text=build())
