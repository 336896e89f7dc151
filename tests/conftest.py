"""Shared by every test."""

import asyncio
import collections
import contextlib
import functools
import gc
import importlib
import inspect
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

# A test is never judged by its speed; a seed that failed is printed with the way to repeat it. A commit that passed passes
# again: new examples are looked for by the deep runs, which say where chance begins.
settings.register_profile("quick", deadline=None, print_blob=True, derandomize="FOREBAY_SEED" not in os.environ)
settings.register_profile("deep", settings.get_profile("quick"), derandomize=False, max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# What is opened once and kept: by matplotlib its fonts, by the first loop of libuv a pipe for signals, by whatever starts the
# database servers of a whole run their input.
KEPT_OPEN = ("site-packages", "/dev/null")
uvloop.new_event_loop().close()
# Those servers are started by the first test that asks for one, and stopped at the end.
KEPT_RUNNING = ("postgres", "mariadbd")
# The executor of the loop that a test runs on goes with that loop, when its last fixture has.
KEPT_THREADS = ("asyncio_", "uvloop_")
# Under this name a report has what ended late.
LATE = "ended late"
SERVERS = Path(__file__).parents[1] / "scripts" / "servers.sh"
# How long what was told to end may take, in seconds. Beside other tests it takes long at times. A run names what took longer
# than it does alone.
PATIENCE = 20.0
ALONE = 2.0
TASKS_PATIENCE = 10.0
TASKS_ALONE = 0.5


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request):
    """Fail a test that leaves a thread, a process or a descriptor: a service would leak it at every restart."""
    before = left_behind()
    yield
    began, late = time.monotonic(), set()
    while True:
        left = left_behind() - before
        if left:  # what nobody holds any more may hold it; to look at every test costs a quarter of the whole run
            gc.collect()
            left = left_behind() - before
        took = time.monotonic() - began
        late |= left if took > ALONE else set()
        if not left or took > PATIENCE:
            break
        time.sleep(0.02)
    tell_late(request, late, took)
    assert left == set()


def tell_late(request, late, took):
    """Have the end of the run name what has ended late; this reaches it from the processes of xdist, too."""
    if late:
        names = ", ".join(sorted(map(str, late)))
        request.node.user_properties.append((LATE, f"{took:.1f} s: {names}"))


def left_behind():
    """Give what is there and would have to end; threads of Rust and processes are told by /proc alone, so on Linux alone."""
    return set(threads()) | set(processes()) | set(descriptors())


def threads():
    """Yield threads: those of Python, and those of Rust, which Python knows nothing of, by the name that ours have."""
    pythons = {thread.native_id: thread.name for thread in threading.enumerate()}
    yield from (f"thread {number}: {name}" for number, name in pythons.items() if not name.startswith(KEPT_THREADS))
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # it has just ended
            name = (task / "comm").read_text().strip()
            if name.startswith("forebay") and int(task.name) not in pythons:
                yield f"thread {task.name}: {name}"


def processes():
    """Yield what this process started, with all that this started in turn."""
    yield from (f"process {number}: {name}" for number, name in descendants())


def descendants(parent="self"):
    """Yield number and name of what a process started, and of what this did, whether it runs or nobody has waited for it."""
    tasks = []
    with contextlib.suppress(OSError):  # whatever is looked at here may just have ended, and hides nothing but itself
        tasks += Path(f"/proc/{parent}/task").iterdir()
    for task in tasks:
        children = ""
        with contextlib.suppress(OSError):
            children = (task / "children").read_text()
        for child in children.split():
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{child}/comm").read_text().strip()
                if name not in KEPT_RUNNING:
                    yield child, name
                    yield from descendants(child)


@pytest.fixture(name="descendants")
def give_descendants():
    return descendants


def descriptors():
    """Yield open descriptors, but for those that are kept."""
    for path in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists the folder
            target = str(path.readlink())
            if not any(kept in target for kept in KEPT_OPEN):
                yield f"descriptor {path.name}: {target}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Give one process more than there are cores: of the time of a run a third is waiting, for servers and for time limits."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable + 1


def pytest_collection_modifyitems(items):
    """Take one file of each folder in turn, and hold every test on an event loop to `no_task_is_left`.

    xdist hands out whole files, and by itself those of few tests last. Those take longest: whoever got the last one worked alone.
    Neighbours in a folder wait for the same things, so that what waits is mixed with what computes.
    """
    files = collections.defaultdict(dict)
    for item in items:
        files[item.path.parent].setdefault(item.path, len(files[item.path.parent]))
    items.sort(key=lambda item: (files[item.path.parent][item.path], item.path.parent))
    for item in items:
        if inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.fixturenames.insert(0, no_task_is_left.__name__)


def pytest_collection_finish():
    """Let the collector pass over what was imported: to look through it takes 0.1 s each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
async def no_task_is_left(request):
    """Fail a test that leaves a task running."""
    yield
    ours = {asyncio.current_task()}
    began, late = time.monotonic(), set()
    while True:
        left = asyncio.all_tasks() - ours
        took = time.monotonic() - began
        late |= {task.get_name() for task in left} if took > TASKS_ALONE else set()
        if not left or took > TASKS_PATIENCE:
            break
        await asyncio.sleep(0.01)  # one that was cancelled needs a moment
    tell_late(request, late, took)
    assert left == set()


@pytest.fixture
def import_app(monkeypatch, tmp_path, request):
    """Import a module of handlers that stands beside the test anew, with a store of its own. Processes import it, too."""
    imported = []

    def import_anew(name):
        imported.append(name)
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    monkeypatch.setenv("FOREBAY_TEST_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FOREBAY_TEST_ATTEMPTS", str(tmp_path / "attempts"))
    monkeypatch.syspath_prepend(str(request.path.parent))
    yield import_anew
    for name in imported:
        sys.modules.pop(name, None)


@functools.cache
def missing_servers():
    return set(subprocess.run([SERVERS, "--missing"], capture_output=True, check=True, text=True).stdout.split())


@pytest.fixture(scope="session", name="need")
def give_need():
    """Give what a test or a fixture names the Debian package of its server to, before it starts that server."""
    return need


def need(package):
    """Skip a test whose server is not installed; under CI fail it, since there every test is run."""
    if package in missing_servers():
        reason = f"{package} is not installed: sudo apt-get install -y {package}"
        if os.environ.get("CI", "false") not in {"", "false"}:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter):
    """Name what ended late; and in one block what was not run, and why: a server or a privilege that this machine lacks."""
    # A report of a test's end has no category unless it is an error, and that shows what was left.
    late = [
        (one.nodeid, text)
        for one in terminalreporter.getreports("")
        for name, text in one.user_properties
        if name == LATE
    ]
    if late:
        terminalreporter.section("ended late, after the test")
    for test, text in late:
        terminalreporter.line(f"{test}: {text}")
    files = collections.defaultdict(collections.Counter)
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        files[reason][report.nodeid.partition("::")[0]] += 1
    told = Path(os.environ.get("FOREBAY_NOT_RUN", os.devnull))  # by tests of Rust, which `make test` runs before
    for line in told.read_text().splitlines() if told.exists() else []:
        reason, file = line.split("\t")
        files[reason][file] += 1
    if files:
        terminalreporter.section("not run on this machine")
    for reason, counts in sorted(files.items()):
        terminalreporter.line(reason)
        for file, count in sorted(counts.items()):
            terminalreporter.line(f"    {count} of {file}")
