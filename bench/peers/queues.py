"""Task queues: a backlog is sent, then one worker command is started; the rate is that from the 5th percentile to the last.

Each handler notes the time of its call, nothing else. Workers run as their documentation tells, tuned for small tasks; the
notes say how. A peer whose broker syncs only now and then is marked so, and measured synced, too, where that can be switched on.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forebay_bench import questions, servers
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
ARQ = Path(sys.prefix).with_name(".venv-arq") / "bin"
"""arq's own environment: it wants an older Redis client than the others."""
DRAIN_SECONDS = 120
LEAST = 500
"""Fewer messages might all come in one batch, which gives no rate."""
STAMP = struct.Struct("=q")


def drained(stage: Stage, count: int, worker: Sequence[str], environment: Mapping[str, str]) -> Mapping[str, float]:
    """Start a worker in front of a backlog; give the rate at which its handler is called."""
    stamps = Path(environment["BENCH_STAMPS"])
    stamps.touch()
    with (stage.directory / "worker.log").open("wb") as log, stage.meter:
        process = subprocess.Popen(worker, env=os.environ | environment, cwd=HERE, stdout=log, stderr=log)
        try:
            _until(stamps, count * STAMP.size, process, stage.directory / "worker.log")
        finally:
            servers.stop(process, 20)
    times = sorted(time for (time,) in STAMP.iter_unpack(stamps.read_bytes()))
    first = len(times) // 20
    return {"rate": (len(times) - first - 1) / ((times[-1] - times[first]) / 1e9)}


def _until(stamps: Path, size: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + DRAIN_SECONDS
    while stamps.stat().st_size < size:
        if process.poll() is not None or time.monotonic() > until:
            handled, wanted = stamps.stat().st_size // STAMP.size, size // STAMP.size
            message = f"the worker handled {handled} of {wanted}: {log.read_text()[-800:]}"
            raise RuntimeError(message)
        time.sleep(0.05)


async def _run(
    stage: Stage, name: str, server: str, worker: Sequence[str], most: int, *, synced: bool = False
) -> Mapping[str, float]:
    count = max(LEAST, stage.share(most))
    place = stage.directory / "server"
    place.mkdir()
    python = _python_beside(worker[0])
    start = {
        "redis": partial(servers.redis, place, synced=synced),
        "nats": partial(servers.nats, place, synced=synced),
        "postgresql": partial(servers.postgresql, place),
        "none": partial(_no_server, place),
    }[server]
    with start() as url:
        environment = {
            "BENCH_URL": url,
            "BENCH_STAMPS": str(stage.directory / "stamps"),
            "BENCH_SYNCED": "1" if synced else "",
            "PYTHONPATH": str(HERE),
            "PYTHONWARNINGS": "ignore",
        }
        send = [python, "-c", f"from workers.{name} import send; send({count})"]
        sent = await asyncio.create_subprocess_exec(*send, env=os.environ | environment, cwd=HERE)
        if await sent.wait():
            message = f"{name}: the backlog could not be sent"
            raise RuntimeError(message)
        return await asyncio.to_thread(drained, stage, count, worker, environment)


def _python_beside(program: str) -> str:
    """Give the interpreter of the environment that a worker's program stands in."""
    if not Path(program).exists():
        message = f"{program} is not installed: `make bench-peers` installs it"
        raise servers.MissingError(message)
    return str(Path(program).with_name("python"))


@contextmanager
def _no_server(place: Path) -> Iterator[str]:
    yield str(place / "queue.db")


def _peer(  # noqa: PLR0917  a table's row
    who: str, module: str, server: str, worker: Sequence[str], note: str, most: int, question: str = questions.SINGLE
) -> list[Scenario]:
    """Make a peer's scenarios: as it is used, and with its broker synced where that can be switched on."""
    ways = {
        "redis": [("memory", False), ("power-loss", True)],
        "nats": [("process-crash", False), ("power-loss", True)],
    }
    default = [("power-loss" if server == "postgresql" or module.endswith("huey") else "memory", False)]
    made = []
    for durability, synced in ways.get(server, default):
        name = f"{who}, synced" if synced else who
        figure = Figure("rate", f"{name}: a backlog drained", "messages/s", question=question)
        scenario = f"peers.queue.{who}{'-synced' if synced else ''}".replace(" ", "-")
        work = partial(_run, name=module, server=server, worker=worker, most=most, synced=synced)
        library = module.removeprefix("with_").partition("_")[0]
        packages = () if library == "arq" else (library,)
        made.append(
            Scenario(
                scenario,
                work,
                (figure,),
                durability,
                warm_up=0,  # each run starts everything anew, and its first messages are left out of the rate
                seconds=12,
                who=name,
                note=note,
                starts=() if server == "none" else (server,),
                packages=packages,
            )
        )
    return made


PYTHON = sys.executable
SCENARIOS = (
    *_peer(
        "celery",
        "with_celery",
        "redis",
        [
            str(BIN / "celery"),
            "-A",
            "workers.with_celery",
            "worker",
            "-c",
            "2",
            "-l",
            "ERROR",
            "--without-gossip",
            "--without-mingle",
        ],
        "prefork, 2 processes; acknowledges before it runs a task",
        5_000,
    ),
    *_peer(
        "dramatiq",
        "with_dramatiq",
        "redis",
        [str(BIN / "dramatiq"), "workers.with_dramatiq", "-p", "2", "-t", "8"],
        "2 processes of 8 threads; at least once",
        10_000,
    ),
    *_peer(
        "taskiq",
        "with_taskiq",
        "redis",
        [str(BIN / "taskiq"), "worker", "workers.with_taskiq:broker", "--workers", "1", "--log-level", "ERROR"],
        "Redis stream broker, 1 worker; at least once",
        10_000,
    ),
    *_peer(
        "arq",
        "with_arq",
        "redis",
        [str(ARQ / "arq"), "workers.with_arq.WorkerSettings"],
        "100 jobs at once, looks every millisecond; at least once",
        5_000,
    ),
    *_peer(
        "saq",
        "with_saq",
        "redis",
        [str(BIN / "saq"), "workers.with_saq.settings", "--quiet"],
        "concurrency 100; at least once, by a sweep",
        5_000,
    ),
    *_peer(
        "FastStream on Redis Streams",
        "with_faststream_redis",
        "redis",
        [str(BIN / "faststream"), "run", "workers.with_faststream_redis:app", "--log-level", "error"],
        "consumer group, lists of 100; at least once",
        100_000,
        questions.BATCH,
    ),
    *_peer(
        "FastStream on NATS JetStream",
        "with_faststream_nats",
        "nats",
        [str(BIN / "faststream"), "run", "workers.with_faststream_nats:app", "--log-level", "error"],
        "push consumer; at least once",
        20_000,
    ),
    *_peer(
        "pgqueuer",
        "with_pgqueuer",
        "postgresql",
        [PYTHON, "-m", "workers.with_pgqueuer"],
        "batches of 100; at least once",
        20_000,
    ),
    *_peer(
        "huey on SQLite",
        "with_huey",
        "none",
        [str(BIN / "huey_consumer"), "workers.with_huey.huey", "-w", "2", "-k", "thread", "-d", "0.01", "-q"],
        "fsync on, 2 threads; a task is deleted before it runs",
        5_000,
    ),
)
