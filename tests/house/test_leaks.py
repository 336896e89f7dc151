"""The fixtures that every test is held to tell a leak of each kind when it is planted."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

# Each keeps what it leaves, or the collector of the fixture would tidy it up.
PLANTED = """
import asyncio
import os
import subprocess
import threading

from forebay import App

KEPT = []


async def test_an_app_that_is_not_stopped(tmp_path):
    KEPT.append(App("t", store=tmp_path))
    await KEPT[-1].start()


async def test_a_client_that_is_not_stopped(tmp_path):
    async with App("t", store=tmp_path):
        KEPT.append(App("t", store=tmp_path, serve=False))
        await KEPT[-1].start()


def test_a_thread():
    KEPT.append(threading.Thread(target=threading.Event().wait, name="somebodys", daemon=True))
    KEPT[-1].start()


def test_a_process():
    KEPT.append(subprocess.Popen(["sleep", "60"]))


def test_a_process_that_nobody_waits_for():
    KEPT.append(subprocess.Popen(["true"]))


def test_a_process_of_a_process():
    KEPT.append(subprocess.Popen(["sh", "-c", "sleep 60 & exec cat"], stdin=subprocess.PIPE))


def test_a_descriptor():
    KEPT.append(os.open("/dev/zero", os.O_RDONLY))


async def test_a_task():
    KEPT.append(asyncio.create_task(asyncio.Event().wait()))


def test_that_leaves_nothing():
    KEPT.clear()
"""

# What is told of each, beside what belongs to it.
TOLD = {
    "test_an_app_that_is_not_stopped": [
        r"thread \d+: forebay-engine'",
        r"thread \d+: forebay-reader'",
        r"thread \d+: forebay-socket'",
    ],
    "test_a_client_that_is_not_stopped": ["Task pending", r"thread \d+: forebay-outgoin'"],
    "test_a_thread": [r"thread \d+: somebodys'"],
    "test_a_process": [r"process \d+: sleep'"],
    "test_a_process_that_nobody_waits_for": [r"process \d+: true'"],
    "test_a_process_of_a_process": [r"process \d+: cat'", r"process \d+: sleep'"],
    "test_a_descriptor": [r"descriptor \d+: /dev/zero'"],
    "test_a_task": ["Task pending"],
}
TOLD_EVERYWHERE = {"test_a_thread", "test_a_descriptor", "test_a_task"}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Run the planted tests with our fixtures, which need not be patient with them; give what is told of each."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "conftest.py").write_text(CONFTEST.read_text() + "\nPATIENCE = 1.0\n")
    (folder / "test_planted.py").write_text(PLANTED)
    command = [sys.executable, "-m", "pytest", "-vv", "--tb=short", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    process = subprocess.Popen(
        [*command, "--rootdir", str(folder), str(folder)],
        env={**os.environ, "COLUMNS": "2000"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said = process.communicate(timeout=200)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what was planted outlives it
    _, *parts = re.split(r"^_+ ERROR at teardown of (\w+) _+$", said, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("planted", TOLD)
def test_a_planted_leak_is_told(told, planted):
    if planted not in TOLD_EVERYWHERE and not Path("/proc/self/task").is_dir():
        pytest.skip("no /proc: threads of Rust and processes are not seen")
    assert planted in told
    assert [text for text in TOLD[planted] if not re.search(text, told[planted])] == [], told[planted]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc: processes are not seen")
def test_a_process_that_ends_while_it_is_looked_at_hides_no_other(descendants, monkeypatch):
    """One that ended between its parent's list and its name hid those after it, of which the next test was accused then."""
    read, started = Path.read_text, [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    gone, *others = (str(process.pid) for process in started)

    def ended(path):
        if path == Path(f"/proc/{gone}/comm"):
            raise ProcessLookupError
        return read(path)

    monkeypatch.setattr(Path, "read_text", ended)
    try:
        assert [number for number, _ in descendants() if number in {gone, *others}] == others
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_nothing_is_told_of_what_leaves_nothing(told):
    assert told.keys() == TOLD.keys()
