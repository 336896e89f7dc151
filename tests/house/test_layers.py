"""ARCHITECTURE.md's floors: imports run down only, siblings never import each other, the core touches nothing outside."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "forebay"

# From the ground up. `app` stands for the package itself and for every module beside app.py that is not named here.
FLOORS = [
    {"_core", "clock", "errors"},
    {"_model"},
    {"_wire"},
    {"_runtime", "destinations", "dbproxy", "metrics"},
    {"app", "_app", "_worker"},
    {"cli"},
    {"testing"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
# The same floor, and yet no siblings: plain modules that any of the others may use.
SHARED = FLOORS[0]


def room(module: str) -> str:
    """Name the room of a dotted module name that begins with `forebay`."""
    names = module.split(".")
    return names[1] if len(names) > 1 and names[1] in FLOOR and names[1] not in {"_app", "_worker"} else "app"


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of every import of ours in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "forebay")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "forebay":
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        else:
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}:{node.lineno}: imports are absolute"


def allowed(importer: str, imported: str) -> bool:
    return importer == imported or FLOOR[imported] < FLOOR[importer] or imported in SHARED


@pytest.mark.parametrize(
    ("importer", "imported", "verdict"),
    [
        ("_wire", "_model", True),
        ("_model", "_wire", False),
        ("_runtime", "metrics", False),
        ("cli", "app", True),
        ("app", "testing", False),
        ("errors", "errors", True),
        ("clock", "errors", True),
        ("errors", "_model", False),
    ],
)
def test_the_rule_itself(importer, imported, verdict):
    assert allowed(importer, imported) is verdict


def test_imports_run_down_only():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        importer = room(module)
        wrong += [
            f"{path.relative_to(ROOT)}:{line}: {importer} imports {name}"
            for line, name in imports(path)
            if not allowed(importer, room(name))
        ]
    assert wrong == []


def test_every_folder_of_the_package_is_on_a_floor():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms <= FLOOR.keys()


def test_the_core_has_no_io_no_thread_and_no_clock():
    outside = re.compile(r"std::(fs|net|io|thread|process|env)\b|Instant|SystemTime")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "rust" / "core" / "src").rglob("*.rs"))
        if path.stem != "tests"  # a test may read its table of cases
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if outside.search(line) and not line.lstrip().startswith("//")
    ]
    assert wrong == []
