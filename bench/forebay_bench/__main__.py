"""The commands of the bench, as `make bench ARGS=…` runs them: measure this machine, compare two sessions, write the report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from forebay.cli.show import output_option, show, table
from forebay_bench import compare as comparing
from forebay_bench import harness, profiling, report, scenarios
from forebay_bench.servers import MissingError, Rack
from forebay_bench.session import run_session


class _RunByDefault(click.Group):
    """A group in which a word that is not a command is a scenario."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command `run` in front of what names no other."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_RunByDefault)
def bench() -> None:
    """Measure forebay and the limits of this machine.

    A word that is not a command is a scenario: its name, the beginning of several names, or a part of them, as in
    `make bench ARGS=memory`.
    """


results_option = click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory to append results to, one JSON line each.",
)


@bench.command("list")
@output_option
def list_(output: str) -> None:
    """Name the scenarios and what they measure."""
    rows = [
        {
            "scenario": scenario.name,
            "seconds": scenario.seconds,
            "measures": [figure.title for figure in scenario.figures],
        }
        for scenario in scenarios.SCENARIOS.values()
    ]
    text = "\n".join(
        f"{scenario.name:<24} {', '.join(figure.title for figure in scenario.figures)}"
        for scenario in scenarios.SCENARIOS.values()
    )
    show(rows, output, text=text)


@bench.command()
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@click.option("--runs", type=click.IntRange(1, 100), default=harness.RUNS, show_default=True, help="Runs of each.")
@click.option(
    "--scale", type=click.FloatRange(0.001, 100), default=1.0, show_default=True, help="Share of the work to do."
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, file_okay=False),
    help="Instead: run each once under py-spy, and write flame graphs into this directory.",
)
@results_option
@output_option
def run(
    *, names: tuple[str, ...], runs: int, scale: float, profile: Path | None, results: Path | None, output: str
) -> None:
    """Run scenarios, each run in a process of its own, and print medians and spreads."""
    harness.refuse_debug_build()
    try:
        picked = scenarios.chosen(names)
    except LookupError as error:
        raise click.ClickException(str(error)) from None
    if profile is not None:
        _profile(picked, names, scale, profile)
        return
    minutes = scenarios.budget(picked, runs, scale) / 60
    click.echo(f"{len(picked)} scenarios, {runs} runs each: about {minutes:.0f} minutes.", err=True)
    measured = []
    for result in run_session(
        picked, runs=runs, scale=scale, skipped=lambda why: click.echo(why, err=output != "text")
    ):
        measured.append(result)
        if output == "text":
            click.echo(harness.table(result))
        if results is not None:
            harness.keep(result, results)
    if output == "json":
        show(measured, output, text="")


def _profile(picked: list[harness.Scenario], names: tuple[str, ...], scale: float, directory: Path) -> None:
    with Rack() as rack:
        for scenario in picked:
            if names and not any(scenarios.is_meant(scenario.name, word) for word in names):
                continue  # a limit that only the figures are compared with
            try:
                rack.start(scenario.servers)
                click.echo(profiling.flame_graph(scenario, scale, directory))
            except MissingError as error:
                click.echo(f"{scenario.name}  skipped: {error}")
            except (FileNotFoundError, RuntimeError) as error:
                raise click.ClickException(str(error)) from None


results_path = click.Path(path_type=Path, exists=True)


@bench.command()
@click.argument("before", type=results_path)
@click.argument("after", type=results_path)
@output_option
def compare(before: Path, after: Path, output: str) -> None:
    """Compare two sessions, figure by figure: results files, or directories of them.

    A figure is called better or worse only where all its values of one session lie beyond all of the other.
    """
    old, new = _newest(before), _newest(after)
    pairs: list[dict[str, Any]] = [asdict(pair) for pair in comparing.pairs(old, new)]
    columns = [
        ("SCENARIO", lambda pair: pair["scenario"]),
        ("WHAT", lambda pair: pair["title"]),
        ("BEFORE", lambda pair: harness.shown(pair["before"])),
        ("AFTER", lambda pair: harness.shown(pair["after"])),
        ("UNIT", lambda pair: pair["unit"]),
        ("RATIO", lambda pair: f"{pair['ratio']:.2f}"),
        ("VERDICT", lambda pair: pair["verdict"]),
    ]
    lonely = comparing.missing(old, new)
    note = f"\nOnly in one of them: {', '.join(lonely)}" if lonely else ""
    show(pairs, output, text=table(pairs, columns) + note)


@bench.command("report")
@click.argument("results", type=results_path)
@click.argument("page", type=click.Path(path_type=Path, dir_okay=False))
def report_(results: Path, page: Path) -> None:
    """Write an HTML page with charts from results (needs matplotlib)."""
    try:
        text = report.page(_newest(results))
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from None
    page.write_text(text, encoding="utf-8")
    click.echo(page)


def _newest(source: Path) -> dict[str, dict[str, Any]]:
    try:
        return comparing.newest(source)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    bench(prog_name="bench")
