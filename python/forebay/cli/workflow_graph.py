"""A state machine as text that Mermaid or Graphviz draws, or as a picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from forebay.cli.workflow_svg import svg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def _ways(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give where a state leads, and what the arrow says."""
    for number, rule in enumerate(state.get("Choices", ()), 1):
        if "Next" in rule:
            yield rule["Next"], f"rule {number}"
    if "Default" in state:
        yield state["Default"], "default"
    if "Next" in state:
        yield state["Next"], ""
    for catcher in state.get("Catch", ()):
        if "Next" in catcher:
            yield catcher["Next"], ", ".join(catcher.get("ErrorEquals", ()))


def _flows(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    processor = state.get("ItemProcessor") or state.get("Iterator")
    return [*state.get("Branches", ()), *([processor] if processor else [])]


class _Numbers:
    """Short ids: a state's name may hold anything."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        return self._known.setdefault(name, f"s{len(self._known) + 1}")

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._known.items())


_MERMAID: Final = str.maketrans(
    {'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "\n": "<br/>", "\r": ""}
)
"""What Mermaid reads as something else than itself."""


def _mermaid_text(text: str) -> str:
    return f'"{text.translate(_MERMAID)}"'


def _names(part: Mapping[str, Any]) -> set[str]:
    """Give the names of the states, and of those that something leads to."""
    names = {part.get("StartAt", "")}
    for name, state in part.get("States", {}).items():
        names |= {name, *(target for target, _ in _ways(state))}
        names = names.union(*map(_names, _flows(state)))
    return names


def _unlike(text: str, names: set[str]) -> str:
    """Give an id that is no state's name, which may be anything."""
    while text in names:
        text += "_"
    return text


def mermaid(machine: Mapping[str, Any]) -> str:
    """Draw for Mermaid."""
    numbers, lines, drawn = _Numbers(), ["flowchart TD"], set[str]()

    def flow(part: Mapping[str, Any], indent: str) -> None:
        for name, state in part.get("States", {}).items():
            of, inner = numbers.of(name), _flows(state)
            drawn.add(name)
            shape = ("{", "}") if state.get("Type") == "Choice" else ("[", "]")
            if inner:
                lines.append(f"{indent}subgraph {of}[{_mermaid_text(name)}]")
                for one in inner:
                    flow(one, indent + "    ")
                lines.append(f"{indent}end")
            else:
                lines.append(f"{indent}{of}{shape[0]}{_mermaid_text(name)}{shape[1]}")
            for target, label in _ways(state):
                says = f"|{_mermaid_text(label)}|" if label else ""
                lines.append(f"{indent}{of} -->{says} {numbers.of(target)}")

    lines.append("    start((start))")
    flow(machine, "    ")
    lines.append(f"    start --> {numbers.of(machine.get('StartAt', ''))}")
    # A definition that is being written may lead to a state that it does not have yet.
    lines += [f"    {of}[{_mermaid_text(f'{name} is missing')}]" for name, of in numbers if name not in drawn]
    return "\n".join(lines)


def dot(machine: Mapping[str, Any]) -> str:
    """Draw for Graphviz."""
    entry = _unlike("start", _names(machine))

    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False)

    lines = ["digraph {", f"    {entry} [shape=circle, label=start];"]

    def flow(part: Mapping[str, Any], indent: str) -> None:
        for name, state in part.get("States", {}).items():
            shape = "diamond" if state.get("Type") == "Choice" else "box"
            lines.append(f"{indent}{quoted(name)} [shape={shape}];")
            for number, one in enumerate(_flows(state)):
                lines.append(f"{indent}subgraph {quoted(f'cluster_{name}_{number}')} {{")
                flow(one, indent + "    ")
                lines.append(f"{indent}}}")
                lines.append(f"{indent}{quoted(name)} -> {quoted(one.get('StartAt', ''))} [style=dashed];")
            for target, label in _ways(state):
                says = f" [label={quoted(label)}]" if label else ""
                lines.append(f"{indent}{quoted(name)} -> {quoted(target)}{says};")

    flow(machine, "    ")
    lines.append(f"    {entry} -> {quoted(machine.get('StartAt', ''))};")
    return "\n".join([*lines, "}"])


def picture(machine: Mapping[str, Any]) -> str:
    """Draw as SVG."""
    return svg(machine, _ways, _flows)


GRAPHS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {"mermaid": mermaid, "dot": dot, "svg": picture}
