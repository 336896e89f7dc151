"""`memory=` and the kernel, which keeps it only in a control group that is delegated, or one that FOREBAY_CGROUP names."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import forebay
from forebay._core import examine_store
from forebay.errors import FunctionError


@pytest.fixture
def groups(tmp_path):
    """Give the directory of the groups of environments."""
    asyncio.run(_begun_and_ended(tmp_path / "store"))
    limits = json.loads(examine_store(tmp_path / "store"))["memory_limits"]
    if limits["kept_by"] != "control groups":
        print('\nfigures {"skipped_for_want_of_a_control_group": 1}')  # noqa: T201  what `make deep` writes down
        pytest.skip(limits["why"])
    return Path(limits["why"].rpartition(" ")[2])


async def _begun_and_ended(store):
    async with forebay.App("empty", store=store):
        pass


def ours(groups):
    return list(groups.glob(f"forebay-{os.getpid()}-*"))


def test_the_kernel_ends_what_holds_too_much_and_nothing_of_its_group_is_left(groups, import_app):
    memory = import_app("process_memory")

    async def told(function, expected):
        with pytest.raises(FunctionError) as caught:
            await function.invoke()
        assert caught.value.payload["errorType"] == "Runtime.ExitError"
        assert caught.value.payload["errorMessage"].endswith("Runtime exited with error: signal: killed")
        assert memory.attempts() == expected

    async def lived():
        async with memory.app:
            assert await memory.small.invoke() == "small"
            [group] = ours(groups)
            assert str(os.getpid()) not in (group / "cgroup.procs").read_text().split()
            await told(memory.takes, ["takes"])
            await told(memory.lets_a_child_take, ["takes", "child"])
            left = await memory.leaves.invoke()
            assert await memory.small.invoke() == "small"
        return left

    left = asyncio.run(lived())
    print('\nfigures {"ended_by_the_kernel": 2}')  # noqa: T201
    assert ours(groups) == []
    assert not Path(f"/proc/{left}").exists(), "what had left its process group died with its environment"


LIMITED = """
import asyncio, process_memory as memory
async def lived():
    async with memory.app:
        print("started")
asyncio.run(lived())
"""
DESCRIBED = """
import asyncio, forebay
async def lived():
    async with forebay.App("empty", store=":memory:") as app:
        limits = app._caller.ask_now("account.describe")["memory_limits"]
        print(limits["kept_by"], limits["why"], sep="; ")
asyncio.run(lived())
"""


def made_up(tmp_path, files):
    """Make a directory that shows itself as a control group."""
    groups = tmp_path / "groups"
    groups.mkdir()
    for name, text in files.items():
        (groups / name).write_text(text)
    return groups


def ran(program, groups):
    variables = os.environ | {"FOREBAY_CGROUP": str(groups), "PYTHONPATH": str(Path(__file__).parent)}
    words = [sys.executable, "-c", program]
    return subprocess.run(words, env=variables, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "FOREBAY_CGROUP={}: it is not a control group that has memory"),
        # It looks like one.
        (
            {"cgroup.controllers": "memory\n"},
            "FOREBAY_CGROUP={}: its cgroup.subtree_control cannot be read: No such file or directory (os error 2)",
        ),
    ],
)
def test_a_directory_that_is_named_and_cannot_keep_memory_is_refused_and_not_passed_over(files, why, tmp_path):
    """Memory was looked at every 0.1 s, and nothing said that the directory was of no use; some said that it was used."""
    groups, why = made_up(tmp_path, files), why.format(tmp_path / "groups")
    limited = ran(LIMITED, groups)
    assert limited.stdout == ""
    refused = f'InvalidParameterValue: memory=128 of function "small": {why}'
    assert limited.stderr.splitlines()[-1].endswith(refused)
    assert ran(DESCRIBED, groups).stdout == f"sampling, every 0.1 s; {why}\n"


def test_who_only_asks_what_keeps_memory_makes_nothing_ready(tmp_path):
    """Each app that was asked for its limits wrote into the control group, whether or not a function of it has `memory=`."""
    groups = made_up(tmp_path, {"cgroup.controllers": "memory\n", "cgroup.subtree_control": "", "cgroup.procs": ""})
    left_by_another = groups / "forebay-0-0"
    left_by_another.mkdir()
    assert ran(DESCRIBED, groups).stdout == f"control groups; they may be made in {groups}\n"
    assert (groups / "cgroup.subtree_control").read_text() == ""
    assert left_by_another.exists()
