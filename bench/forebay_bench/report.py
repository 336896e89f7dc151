"""The results as one page that a person can read without us: tables, and charts drawn as SVG by matplotlib."""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING, Any, Final

from forebay_bench import scenarios
from forebay_bench.harness import saturated, shown
from forebay_bench.presentation import ShownFigure, busiest, places, pool_table, questions, series, shown_figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MISSING = "A report needs matplotlib: pip install --group bench."
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dde5 } h3 { margin: 1.5rem 0 .5rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e6ebf0; text-align: right; vertical-align: baseline }
td { white-space: nowrap } th:first-child, td:first-child, .limit { text-align: left; white-space: normal }
.limit div { height: .3rem; background: #c3ccd5 } .limit div div { background: #1f77b4 }
.ours td { font-weight: 600 } .note { color: #5b6b7b; font-size: .9rem }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1rem }
svg { max-width: 100%; height: auto } summary { cursor: pointer; margin: 1rem 0 .5rem }
"""
LEGEND = """
<p>Each figure is the median of several runs, each in a process of its own; beside it the least and the most of them; with a * the
machine was saturated. A <em>limit</em> is the least work that any program must do for the same, done by a bare program in the
same session: at 80% nothing could be more than 1.25 times as fast on this machine. <em>Durability</em> is what an acknowledgement
is worth: after <code>power-loss</code> it is on the disk, after <code>process-crash</code> it survives the process,
<code>memory</code> promises nothing.</p>
"""
FAMILIES: Final = {
    "stream": ("Streams", "Records put, and handed to handlers: from a backlog, and one by one as they come."),
    "queue": ("Queues", "Messages of a standard queue: a backlog drained, and the way from a send to its handler."),
    "fifo": ("FIFO queues", "Each group's messages in order, groups side by side."),
    "invoke": ("Asynchronous invocations", "Events accepted, run, and how long each takes to its handler."),
    "events": ("Options of an event", "What a delay and a kept result add to an asynchronous event."),
    "bus": ("Event buses", "Events put on a bus with one matching rule, and an archive replayed."),
    "workflow": ("Workflows", "Executions started, and what each transition costs."),
    "aws": ("AWS's wire API", "Requests that AWS's SDKs send, verified and answered over HTTP."),
    "gateway": (
        "The gateway",
        "HTTP requests to handlers, beside the fastest servers; routes, tokens, keys; WebSockets and slow clients.",
    ),
    "stacks": ("Stacks", "A template built, deployed, and deployed again without a change."),
    "cluster": (
        "Past one machine",
        "Records put and handled over a PostgreSQL server, beside what the bare server does.",
    ),
    "schedule": ("Schedules", "The start of a store with a million of them, and how late they fire."),
    "destinations": ("Destinations", "What it costs to tell a queue or a file what became of an event."),
    "environments": ("Handlers in processes", "Two processes for each function; no disk is involved."),
    "concurrency": ("Concurrency", "A thousand handlers at once, and nine functions beside one that is stuck."),
    "start-up": ("Starting", "From nothing to the first record in its handler."),
    "histogram": ("Percentiles", "Recording values and asking for percentiles, and how exact they are."),
    "token_bucket": ("Token buckets", "Asking for a token, from Python."),
    "metrics": (
        "Metrics and traces",
        "What counting and tracing take from a handler's throughput, and a scrape of everything.",
    ),
    "limits": ("The limits of this machine", "The least that a path must do, by a bare program."),
}
"""Heading and a line for each family of scenarios; growth and the proxy have parts of their own."""
POOLS: Final = (
    "Clients on ten connections of one server on this machine. Served in turn, each waits clients / rate: 1 is fair."
)
OURS, OTHERS = "#1f77b4", "#c3ccd5"
BUSY_CORES = 0.2  # what others may use before it is worth a word


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the page. Charts stand in it; it refers to nothing outside.

    Raises:
        ModuleNotFoundError: without matplotlib.

    """
    figures = shown_figures(results.values())
    families: dict[str, list[ShownFigure]] = {}
    for one in figures:
        if one.scenario in scenarios.SCENARIOS and not one.is_pool and "series" not in one.figure:
            families.setdefault(one.scenario.partition(".")[0], []).append(one)
    parts = [
        ("Beside its peers", _peers(figures)),
        ("As things grow", _growth(figures)),
        ("The database proxy", _pools(figures)),
    ]
    for name, members in families.items():
        title, about = FAMILIES[name]
        parts.insert(-3 if name != "limits" else len(parts), (title, _family(about, members)))
    shown_parts = [(title, text) for title, text in parts if text]
    links = " · ".join(
        f'<a href="#part{number}">{html.escape(title)}</a>' for number, (title, _) in enumerate(shown_parts)
    )
    body = "".join(
        f'<h2 id="part{number}">{html.escape(title)}</h2>{text}' for number, (title, text) in enumerate(shown_parts)
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>forebay: measured</title>'
        f"<style>{STYLE}</style><h1>forebay, measured</h1>{LEGEND}{_origin(figures)}<p>{links}</p>{body}</html>\n"
    )


def _origin(figures: list[ShownFigure]) -> str:
    lines = places(figures)
    if busiest(figures) >= BUSY_CORES:
        lines.append(f"Other programs kept up to {busiest(figures):.1f} cores busy: expect more from an idle machine.")
    return "".join(f'<p class="note">{html.escape(line)}</p>' for line in lines)


def _family(about: str, members: Sequence[ShownFigure]) -> str:
    return f"<p>{html.escape(about)}</p>{_table(members)}"


def _table(members: Iterable[ShownFigure]) -> str:
    head = '<tr><th>what</th><th>median</th><th>least to most</th><th class="limit">of the limit</th><th>durability</th></tr>'
    return f"<table>{head}{''.join(map(_row, members))}</table>"


def _row(one: ShownFigure) -> str:
    full = " *" if saturated(one.result) else ""
    share = f"{one.share:.0%} of {html.escape(_limit(one))}{_bar(one.share)}" if one.share else ""
    title = html.escape(one.title)
    return (
        f"<tr><td>{title}</td><td>{html.escape(one.value)}</td><td>{one.spread}{full}</td>"
        f'<td class="limit">{share}</td><td>{html.escape(one.durability)}</td></tr>'
    )


def _bar(share: float) -> str:
    return f'<div><div style="width: {min(share, 1):.0%}"></div></div>'


def _limit(one: ShownFigure) -> str:
    """Name the limit of a figure: the bare program's own title, or its name where that is not known."""
    scenario, _, name = str(one.figure["limit"]).partition(":")
    known = scenarios.SCENARIOS.get(scenario)
    return next((figure.title for figure in known.figures if figure.name == name), scenario) if known else scenario


def _peers(figures: list[ShownFigure]) -> str:
    """Draw what more than one program was asked, the durable ones marked."""
    asked = questions(figures, pools=False)
    return "".join(
        f"<h3>{html.escape(question.capitalize())}</h3>{_bars(answers)}" for question, answers in asked.items()
    )


def _pools(figures: list[ShownFigure]) -> str:
    text = ""
    for question, answers in questions(figures, pools=True, least=1).items():
        head, rows = pool_table(figures, answers)
        text += f"<h3>{html.escape(question)}</h3><table><tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>"
        for one, row in zip(answers, rows, strict=True):
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
            text += f'<tr class="ours">{cells}</tr>' if one.is_ours else f"<tr>{cells}</tr>"
        text += "</table>"
        text += _bars(answers) if len(answers) > 1 else ""
    return text and f"<p>{POOLS}</p>{text}"


def _bars(answers: Sequence[ShownFigure]) -> str:
    rows = answers[::-1]
    axes, finish = _figure(height=0.8 + 0.35 * len(rows))
    middle = [one.median for one in rows]
    spread = [
        [one.median - one.figure["least"] for one in rows],
        [one.figure["most"] - one.median for one in rows],
    ]
    names = [f"{one.who} ({one.durability})" if one.durability else one.who for one in rows]
    drawn = axes.barh(names, middle, xerr=spread, color=[OURS if one.is_ours else OTHERS for one in rows])
    axes.bar_label(drawn, [f"{shown(value)}/s" for value in middle], padding=6, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_title(f"{rows[-1].unit}, logarithmic", loc="left", fontsize=10)
    return str(finish())


def _growth(figures: list[ShownFigure]) -> str:
    curves = series(figures)
    if not curves:
        return ""
    drawn = "".join(f"<div>{_curve(title, points)}</div>" for title, points in curves.items())
    every = _table(one for points in curves.values() for one in points)
    about = "A flat line is the promise: what is there costs nothing but what is asked of it."
    return f'<p>{about}</p><div class="curves">{drawn}</div><details><summary>The numbers</summary>{every}</details>'


def _curve(title: str, points: Sequence[ShownFigure]) -> str:
    axes, finish = _figure(height=2.6, width=4.8)
    at = [point.figure["at"] for point in points]
    middle = [point.median for point in points]
    below = [point.median - point.figure["least"] for point in points]
    above = [point.figure["most"] - point.median for point in points]
    axes.errorbar(at, middle, yerr=[below, above], marker="o", capsize=3, color=OURS)
    axes.set_xscale("log")
    axes.set_xticks(at, [f"{step:,.0f}" for step in at])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_title(f"{title}: {points[0].unit}", loc="left", fontsize=10)
    return str(finish())


def _figure(height: float, width: float = 8.5) -> tuple[Any, Any]:
    """Give axes to draw on, and what turns them into SVG."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  an extra
    except ModuleNotFoundError:
        raise ModuleNotFoundError(MISSING) from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)

    def finish() -> str:
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        svg = text.getvalue()
        return svg[svg.index("<svg") :]

    return axes, finish
