"""ARCHITECTURE.md's rooms of the engine: every `use`, and every path, of one room to another runs down the drawn order."""

import re
from pathlib import Path

import pytest

RUST = Path(__file__).parents[2] / "rust"
ENGINE = RUST / "engine" / "src"

# From the ground up. Rooms of one line do not know each other.
FLOORS = [
    {"store"},
    {"base"},
    {"metrics"},
    {"payload"},
    {"observe"},
    {"commit"},
    {"ctx"},
    {"api"},
    {"dispatch"},
    {"failures"},
    {"gateways"},
    {"environments"},
    {"sources"},  # what all sources share
    {"sources/stream", "sources/queue", "sources/invocation"},
    {"topics", "schemas"},
    {"destinations", "buses"},
    {"workflows"},
    {"runtime"},
    {"fuzzing"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
# Only the runtime sees all rooms at once.
WHOLE = "crate::runtime::rooms::Rooms"

PATH = re.compile(r"\bcrate::((?:\w+::)*\w+)(?:::\{([^{}]*)\})?")


def room(segments: list[str]) -> str:
    """Name the room that a path in the engine belongs to."""
    nested = "/".join(segments[:2])
    return nested if nested in FLOOR else segments[0]


def arrows(importer: str, text: str) -> list[tuple[str, str]]:
    """Give the room and the path of everything that a file of the room `importer` names outside its room."""
    product = text.split("\n#[cfg(test)]", maxsplit=1)[0]
    code = "\n".join(line for line in product.splitlines() if not line.lstrip().startswith("//"))
    found = []
    for path, several in PATH.findall(code):
        for name in several.split(",") if several else [""]:
            segments = [*path.split("::"), *(part for part in name.strip().split("::") if part)]
            if segments[0] != "fp" and (target := room(segments)) != importer:
                found.append((target, "::".join(segments)))
    return found


def wrong(importer: str, text: str) -> list[str]:
    """Give the arrows of a file that do not run down."""
    return [path for target, path in arrows(importer, text) if FLOOR[target] >= FLOOR[importer]]


def files() -> list[tuple[str, Path]]:
    """Give every file of the engine with its room; those for tests alone are left out."""
    found = []
    for path in sorted(ENGINE.rglob("*.rs")):
        parts = list(path.relative_to(ENGINE).with_suffix("").parts)
        if path.stem in {"lib", "tests", "test_engine", "page"} or {"tests", "ticks"} & set(parts):
            continue
        found.append((room(parts[:-1] if parts[-1] == "mod" else parts), path))
    return found


def test_every_room_stands_in_the_drawn_order():
    assert {name for name, _ in files()} <= FLOOR.keys()


def test_arrows_run_down_only():
    found = [f"{path.relative_to(RUST)}: {arrow}" for name, path in files() for arrow in wrong(name, path.read_text())]
    assert found == []


def test_only_the_runtime_sees_all_rooms():
    assert [str(path) for name, path in files() if name != "runtime" and WHOLE in path.read_text()] == []


@pytest.mark.parametrize(
    ("importer", "planted"),
    [
        ("dispatch", "use crate::sources::queue::Queues;\n"),
        ("sources/queue", "use crate::sources::stream::Streams;\n"),
        ("sources/stream", "fn f() {\n    crate::topics::row::check();\n}\n"),
        ("commit", "use crate::ctx::Ctx;\n"),
        ("failures", "use crate::{runtime, base};\n".replace("{runtime, base}", "runtime::rooms::Rooms")),
        ("payload", "use crate::dispatch::{attempts::Attempt, Dispatch};\n"),
    ],
)
def test_a_planted_arrow_is_found(importer, planted):
    assert wrong(importer, planted) != []


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("sources/queue", "use crate::dispatch::DispatchRoom;\nuse crate::sources::common::check_rate;\n"),
        ("runtime", "use crate::sources::queue::Queues;\n"),
        ("dispatch", "// as crate::runtime does\n"),
        ("dispatch", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::runtime::test_engine::TestEngine;\n}\n"),
    ],
)
def test_an_arrow_that_runs_down_is_none(importer, text):
    assert wrong(importer, text) == []


def test_the_crates_know_only_those_below_them():
    order = ["core", "metrics", "store", "postgres", "salvage", "engine", "doors", "bindings"]
    below = {
        path.parent.name: set(re.findall(r"^forebay-(\w+)\.workspace", path.read_text(), re.MULTILINE))
        for path in RUST.glob("*/Cargo.toml")
    }
    assert [
        (name, other) for name in order for other in below[name] & set(order) if order.index(other) >= order.index(name)
    ] == []
