"""Templates: how long the commands take that build and deploy a hello-world, beside the process that expands its template."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from forebay._sam import expand, template
from forebay_bench.harness import Figure, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forebay_bench.harness import Stage

NAME = "hello"
NOTHING_TO_DO = 1
"""Exit status of a deploy that finds no change."""
ROUNDS = 5


async def _seconds(*words: str, cwd: Path, status: int = 0, given: bytes | None = None) -> float:
    """Run Python with these words; give how long the process took."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    told = await process.communicate(given)
    took = time.perf_counter() - began
    if process.returncode != status:
        raise RuntimeError(b"".join(told).decode())
    return took


async def _command(*words: str, cwd: Path, status: int = 0) -> float:
    return await _seconds("-m", "forebay.cli", *words, cwd=cwd, status=status)


async def commands(stage: Stage) -> Mapping[str, float]:
    """Build a hello-world and deploy it, then deploy it again without a change; each time into a store of its own."""
    project = stage.directory / NAME
    await _command("init", "--name", NAME, "--app-template", "hello-world", "--no-interactive", cwd=stage.directory)
    asked = {"template": template.read_file(project / "template.yaml").body, "parameters": {}, "region": "us-east-1"}
    given = json.dumps(asked).encode()
    took: dict[str, list[float]] = {"build": [], "expand": [], "deploy": [], "again": []}
    with stage.meter:
        for number in range(stage.share(ROUNDS)):
            deploy = ["deploy", "--stack-name", NAME, "--capabilities", "CAPABILITY_IAM", "--store", f"store{number}"]
            took["build"].append(await _command("build", cwd=project))
            took["deploy"].append(await _command(*deploy, cwd=project))
            took["again"].append(await _command(*deploy, cwd=project, status=NOTHING_TO_DO))
            took["expand"].append(await _seconds(str(expand.__file__), cwd=project, given=given))
    expanding = statistics.median(took["expand"])
    return {
        "build": statistics.median(took["build"]),
        "expand": expanding,
        "deploy": statistics.median(took["deploy"]) - expanding,
        "again": statistics.median(took["again"]) - expanding,
    }


SCENARIOS = (
    Scenario(
        "stacks.commands",
        commands,
        (
            Figure("expand", "the process that expands the template of hello-world", "s"),
            Figure("build", "forebay build of hello-world, which needs nothing", "s"),
            Figure("deploy", "forebay deploy of hello-world, beside the process that expands it", "s"),
            Figure("again", "forebay deploy without a change, beside that process", "s"),
        ),
        warm_up=0.2,
        seconds=15,
        packages=("aws-sam-translator", "tomlkit"),
    ),
)
