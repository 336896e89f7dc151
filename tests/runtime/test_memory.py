"""`memory=` where the kernel keeps it: needs a control group that is delegated, or an empty one that FOREBAY_CGROUP names."""

import asyncio
import json
import os
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
    assert ours(groups) == []
    assert not Path(f"/proc/{left}").exists(), "what had left its process group died with its environment"
