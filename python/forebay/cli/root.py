"""All commands in one tree; every error of ours becomes one line for people."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from forebay._core import __version__, debug_build, failpoints
from forebay.cli import (
    api,
    archive,
    aws,
    backup,
    bus,
    cluster,
    completion,
    deploy,
    dlq,
    doctor,
    function,
    init,
    lag,
    mapping,
    metrics,
    migrate,
    queue,
    run,
    schedule,
    schema,
    stack,
    stream,
    top,
    topic,
    why,
    workflow,
)
from forebay.cli import (
    build as build_,
)
from forebay.cli.connect import format_error
from forebay.cli.show import output_option, show
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Iterator


HELP_COLUMNS = 100


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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_COLUMNS})
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


main.add_command(run.run)
main.add_command(run.invoke)
main.add_command(stream.stream)
main.add_command(function.function)
main.add_command(mapping.mapping)
main.add_command(queue.queue)
main.add_command(topic.topic)
main.add_command(bus.bus)
main.add_command(bus.rule)
main.add_command(archive.archive)
main.add_command(archive.replay)
main.add_command(workflow.workflow)
main.add_command(api.api)
main.add_command(schedule.schedule)
main.add_command(schema.schema)
main.add_command(lag.lag)
main.add_command(dlq.dlq)
main.add_command(why.why)
main.add_command(metrics.metrics)
main.add_command(top.top)
main.add_command(doctor.doctor)
main.add_command(backup.backup)
main.add_command(cluster.cluster)
main.add_command(migrate.migrate)
main.add_command(aws.aws)
main.add_command(init.init)
main.add_command(build_.build)
main.add_command(deploy.deploy)
main.add_command(stack.stack)
main.add_command(completion.completion)
