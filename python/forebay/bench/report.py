"""The results as one page that a person can read without us: tables, and charts drawn as SVG by matplotlib."""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING, Any

from forebay.bench.harness import saturated, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MISSING = "A report needs matplotlib: pip install 'forebay[bench]'."
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dde5 }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e6ebf0; text-align: right }
th:first-child, td:first-child { text-align: left }
.note { color: #5b6b7b; font-size: .9rem } svg { max-width: 100%; height: auto }
"""
LEGEND = """
<p>Each figure is the median of several runs, each in a process of its own, after a warm-up; beside it the least and the most.
A share of a limit compares it with the least work that any program must do for the same, measured in the same sitting.</p>
"""
OURS, LIMIT = "#1f77b4", "#c3ccd5"


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the page. Charts stand in it; it refers to nothing outside.

    Raises:
        ModuleNotFoundError: without matplotlib.

    """
    families: dict[str, list[Mapping[str, Any]]] = {}
    for result in results.values():
        families.setdefault(result["scenario"].partition(".")[0], []).append(result)
    sections = _questions(results.values())
    sections += "".join(_section(name, members) for name, members in families.items())
    places = dict.fromkeys(_place(result) for result in results.values())
    notes = "".join(f'<p class="note">{html.escape(place)}</p>' for place in places)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>forebay: measured</title>'
        f"<style>{STYLE}</style><h1>forebay, measured</h1>{LEGEND}{notes}{sections}</html>\n"
    )


def _place(result: Mapping[str, Any]) -> str:
    where, versions = result["machine"], result["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    cores = f"{where['cores']} cores of {where['cpu']}, {where['memory_gib']} GiB, {where['system']}"
    return f"{result['date'][:10]}: {cores}; {named}"


def _questions(results: Iterable[Mapping[str, Any]]) -> str:
    """Draw what more than one program was asked, slowest first, the durable ones marked."""
    asked: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for result in results:
        for figure in result["figures"]:
            if "question" in figure:
                name = f"{result['who']} ({result['durability']})"
                asked.setdefault(figure["question"], []).append((name, figure))
    charts = "".join(_bars(question, bars) for question, bars in asked.items() if len(bars) > 1)
    return f"<h2>Beside its peers</h2>{charts}" if charts else ""


def _bars(question: str, bars: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    rows = sorted(bars, key=lambda bar: bar[1]["median"])
    axes, finish = _figure(height=0.8 + 0.35 * len(rows))
    middle = [figure["median"] for _, figure in rows]
    spread = [
        [figure["median"] - figure["least"] for _, figure in rows],
        [figure["most"] - figure["median"] for _, figure in rows],
    ]
    colours = [OURS if name.startswith("forebay") else LIMIT for name, _ in rows]
    drawn = axes.barh([name for name, _ in rows], middle, xerr=spread, color=colours)
    axes.bar_label(drawn, [f"{shown(value)}/s" for value in middle], padding=6, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_title(f"{question}: {rows[-1][1]['unit']}, logarithmic", loc="left", fontsize=10)
    return str(finish())


def _section(name: str, results: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(_rows(result) for result in results)
    head = "<tr><th>what</th><th>median</th><th>least to most</th><th>of the limit</th><th>durability</th></tr>"
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for figure in (figure for result in results for figure in result["figures"]):
        if "series" in figure:
            curves.setdefault(figure["series"], []).append(figure)
    charts = "".join(_curve(title, points) for title, points in curves.items())
    bars = [figure for result in results for figure in result["figures"] if "limit_median" in figure]
    if bars:
        charts += _shares(bars)
    return f"<h2>{html.escape(name)}</h2><table>{head}{rows}</table>{charts}"


def _rows(result: Mapping[str, Any]) -> str:
    note = " (machine saturated)" if saturated(result) else ""
    cells = []
    for figure in result["figures"]:
        share = f"{figure['share_of_limit']:.0%}" if "share_of_limit" in figure else ""
        cells.append(
            f"<tr><td>{html.escape(figure['title'])}</td><td>{shown(figure['median'])} {html.escape(figure['unit'])}</td>"
            f"<td>{shown(figure['least'])} to {shown(figure['most'])}{note}</td><td>{share}</td>"
            f"<td>{html.escape(result['durability'])}</td></tr>"
        )
    return "".join(cells)


def _curve(title: str, points: Sequence[Mapping[str, Any]]) -> str:
    axes, finish = _figure(height=3.0)
    at = [point["at"] for point in points]
    middle = [point["median"] for point in points]
    below = [point["median"] - point["least"] for point in points]
    above = [point["most"] - point["median"] for point in points]
    axes.errorbar(at, middle, yerr=[below, above], marker="o", capsize=3, color=OURS)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_ylabel(points[0]["unit"])
    axes.set_title(title, loc="left", fontsize=10)
    return str(finish())


def _shares(figures: Iterable[Mapping[str, Any]]) -> str:
    rows = list(figures)[::-1]
    axes, finish = _figure(height=0.6 + 0.4 * len(rows))
    names = [row["title"] for row in rows]
    axes.barh(names, [100] * len(rows), color=LIMIT)
    axes.barh(names, [100 * row["share_of_limit"] for row in rows], color=OURS, height=0.5)
    axes.set_title("percent of the limit that is reached", loc="left", fontsize=10)
    return str(finish())


def _figure(height: float) -> tuple[Any, Any]:
    """Give axes to draw on, and what turns them into SVG."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  an extra
    except ModuleNotFoundError:
        raise ModuleNotFoundError(MISSING) from None
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)

    def finish() -> str:
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        svg = text.getvalue()
        return svg[svg.index("<svg") :]

    return axes, finish
