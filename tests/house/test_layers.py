"""ARCHITECTURE.md's order of Python's rooms: imports run down only, siblings never import each other.

Every import counts: at the top of a file, inside a function, and under TYPE_CHECKING, since a type is an arrow, too. Nothing is
excused. What is text is not an import: the program that a worker is started with (`_app/process_settings.py`), and the names that
`forebay/__init__.py` loads when they are asked for, which all lie below it.
"""

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "forebay"
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()

# From the ground up, as ARCHITECTURE.md draws it: each floor with its rooms, each room with its folder or files.
FLOORS: list[dict[str, set[str]]] = [
    {"ground": {"errors", "clock", "_core", "_durable", "_sqlite"}},
    {"model": {"_model"}, "schema": {"_schema"}, "sam": {"_sam"}},
    {"wire": {"_wire"}},
    {
        "runtime": {"_runtime"},
        "destinations": {"destinations"},
        "integrations": {"integrations"},
        "dbproxy": {"dbproxy"},
        "metrics": {"metrics"},
    },
    {
        "nouns": {
            "function",
            "alias",
            "stream",
            "queue",
            "topic",
            "archive",
            "api_destination",
            "alerts",
            "bus",
            "cloudevents",
            "workflow",
            "registry",
            "activity",
            "_api",
            "http_api",
            "rest_api",
            "websocket_api",
            "mapping",
            "token_bucket",
            "logs",
        }
    },
    {"composition": {"_app"}, "worker": {"_worker"}},
    {"app": {"app", "__init__"}, "stacks": {"_stacks"}},
    {"cli": {"cli"}, "powertools": {"powertools"}},
    {"testing": {"testing"}},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
ROOM = {name: room for rooms in FLOORS for room, names in rooms.items() for name in names}
# Rooms that know less than their floor allows.
ONLY = {"dbproxy": {"ground"}, "schema": {"ground"}, "sam": {"ground"}}


def room(module: str) -> str | None:
    """Name the room of a dotted module that begins with `forebay`; None where it has none."""
    names = module.split(".")
    return ROOM.get(names[1] if len(names) > 1 else "__init__")


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the module of each import of ours. A name of the package itself is the package's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = ["." * node.level] if node.level else [node.module or ""]
            if found == ["forebay"]:
                found = [f"forebay.{alias.name}" if is_module(alias.name) else "forebay" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found = [first.value for first in node.args[:1] if isinstance(first, ast.Constant)]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name.split(".")[0] in {"forebay", ""})


def is_module(name: str) -> bool:
    return (PACKAGE / name).is_dir() or any((PACKAGE / name).with_suffix(end).exists() for end in (".py", ".pyi"))


def wrong(file: str, text: str) -> list[str]:
    """Tell of each import of a file, named as it stands in the package, that is against the order."""
    importer = room(f"forebay.{file.removesuffix('.py').replace('/', '.')}")
    if importer is None:
        return [f"{file}: it has no room"]
    found = []
    for line, module in imported(ast.parse(text)):
        target = room(module) if not module.startswith(".") else None
        if target is None:
            found.append(f"{file}:{line}: {module} has no room, or the import is relative")
        elif target != importer and (
            FLOOR[target] >= FLOOR[importer] or target not in ONLY.get(importer, FLOOR.keys())
        ):
            found.append(f"{file}:{line}: {importer} imports {target} ({module})")
    return found


def test_imports_run_down_only():
    files = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    assert [complaint for file, text in files.items() for complaint in wrong(file, text)] == []


@pytest.mark.parametrize(
    ("file", "planted"),
    [
        ("errors.py", "import forebay._model.limits"),
        ("_model/queue.py", "from forebay._wire import payload"),
        ("_wire/queue.py", "from forebay._runtime.context import Context"),
        ("_runtime/runner.py", "from forebay.metrics import Metrics"),
        ("metrics/collector.py", "from forebay._runtime.caller import Caller"),
        ("destinations/jsonlines.py", "import forebay.dbproxy as proxies"),
        ("dbproxy/pool.py", "from forebay._model import checks"),
        ("dbproxy/__init__.py", "from forebay._runtime.context import Context"),
        ("queue.py", "from forebay._app.declarations import Declarations"),
        ("function.py", "from forebay.app import App"),
        ("function.py", "from forebay import App"),
        ("logs.py", "import forebay"),
        ("_app/run.py", "from forebay.app import App"),
        ("_app/process_settings.py", "from forebay._worker.process import main"),
        ("_worker/process.py", "from forebay._app.declarations import Declarations"),
        ("app.py", "from forebay.cli.run import serve"),
        ("__init__.py", "from forebay.testing import VirtualClock"),
        ("cli/run.py", "from forebay.testing.clock import VirtualClock"),
        ("cli/run.py", "from forebay.bench import harness"),
        ("cli/run.py", "from . import run"),
        ("stream.py", "import importlib\nimportlib.import_module('forebay.app')"),
        ("sourcing.py", "pass"),
    ],
)
@pytest.mark.parametrize("frame", ["if True:", "def f():", "if TYPE_CHECKING:"])
def test_a_planted_wrong_arrow_is_found(file, planted, frame):
    assert len(wrong(file, f"import json\n{frame}\n{textwrap.indent(planted, '    ')}")) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("clock.py", "from forebay.errors import ForebayError"),
        ("_wire/queue.py", "from forebay._model.queue import QueueSettings"),
        ("dbproxy/pool.py", "from forebay.dbproxy.driver import Wire\nfrom forebay import _core"),
        ("mapping.py", "from forebay.function import Function\nfrom forebay.destinations import Destination"),
        ("_app/run.py", "from forebay._app.handlers import Handlers\nfrom forebay.stream import Stream"),
        ("cli/run.py", "from forebay.app import App\nimport forebay\nimport json"),
        ("testing/plugin.py", "from forebay import App"),
    ],
)
def test_an_arrow_that_runs_down_is_let_through(file, text):
    assert wrong(file, text) == []


def test_the_order_is_the_one_that_is_drawn():
    """In ARCHITECTURE.md each `L` is a floor; its folders and files stand at the beginning of its lines."""
    drawing = re.search(r"^```\npython/forebay/(.*?)^rust/", ARCHITECTURE, re.DOTALL | re.MULTILINE)[1]
    drawn: list[set[str]] = []
    for line in drawing.splitlines():
        floor, names = re.match(r" +(L\d  )?((?:\w+(?:/|\.pyi?)(?: |$))+)", line).groups()
        if floor:
            drawn.insert(0, set())
        drawn[0] |= {re.sub(r"/|\.pyi?", "", name) for name in names.split()}
    assert drawn == [set().union(*rooms.values()) for rooms in FLOORS]


def loaded(program: str) -> set[str]:
    told = f"{program}\nimport sys\nprint(*(name for name in sys.modules if name.startswith('forebay.')))"
    command = [sys.executable, "-W", "ignore", "-c", told]
    return set(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split())


def test_a_worker_loads_nothing_that_only_a_running_app_needs():
    modules = loaded("from forebay._worker import process")
    needless = ("cli", "testing", "dbproxy", "destinations", "metrics.exporter", "metrics.collector")
    needless += ("_app.run", "_app.handlers", "_app.reconnect", "_app.process_settings")
    needless += ("app", "bus", "queue", "stream", "workflow", "http_api", "_stacks", "_sam")
    needless += ("_runtime.runner", "_runtime.tasks", "_runtime.threads", "_runtime.operator_events")
    assert [name for name in sorted(modules) if name.startswith(tuple(f"forebay.{room}" for room in needless))] == []


def test_the_package_loads_its_names_when_they_are_asked_for():
    assert loaded("import forebay") <= {"forebay._core", "forebay.errors"}
    told = "from forebay import *\nassert App.__name__ == 'App'\nimport forebay\nassert set(forebay.__all__) <= set(dir(forebay))"
    assert "forebay.app" in loaded(told)


def test_an_app_loads_nothing_of_a_worker():
    modules = loaded(
        "import asyncio, forebay\nasync def life():\n    async with forebay.App('t', store=':memory:'): pass\nasyncio.run(life())"
    )
    assert "forebay._app.run" in modules
    assert [name for name in modules if name.startswith("forebay._worker")] == []


def test_the_core_has_no_io_no_thread_and_no_clock():
    outside = re.compile(r"std::(fs|net|io|thread|process|env)\b|Instant|SystemTime")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "rust" / "core" / "src").rglob("*.rs"))
        if not {*path.relative_to(ROOT).with_suffix("").parts}
        & {"tests", "suite", "recorded"}  # a test may read its table of cases
        and path != ROOT / "rust/core/src/workflow/jsonata/watched.rs"  # I5 says why
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if outside.search(line) and not line.lstrip().startswith("//")
    ]
    assert wrong == []
