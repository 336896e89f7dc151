"""What a store on a PostgreSQL server costs, beside what the server itself does in the same run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import uuid
from typing import TYPE_CHECKING
from unittest import mock

import forebay
from forebay_bench import machine, servers
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.stream import CALLERS, RECORD, Drain, batches, put_records, waits_of_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHUNK = 100
"""Records of a chunk of the bare rate, and of a batch."""
CLIENTS = 16
"""Of the bare server: more of them do not make it faster here."""
BARE_SECONDS = 5
_BARE = "INSERT INTO bare.chunk (bytes) VALUES (convert_to(repeat('x', {bytes}), 'UTF8'));\n"
_MAKE = (
    "CREATE SCHEMA IF NOT EXISTS bare; CREATE TABLE IF NOT EXISTS bare.chunk (id bigserial PRIMARY KEY, bytes bytea); "
    "ALTER TABLE bare.chunk ALTER COLUMN bytes SET STORAGE EXTERNAL"
)


@contextlib.contextmanager
def store(stage: Stage) -> Iterator[str]:
    """Give the URL of a store of this run's own, which is removed at the end."""
    server, schema = servers.address("postgresql"), f"bench_{uuid.uuid4().hex}"
    with mock.patch.dict(os.environ, FOREBAY_RUN_DIR=str(stage.directory / "run")):
        try:
            yield f"{server}?sslmode=disable&schema={schema}"
        finally:
            _psql(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def _psql(text: str) -> None:
    found = servers.program("psql", servers.PROGRAMS["postgresql"][1])
    command = [found, servers.address("postgresql"), "-v", "ON_ERROR_STOP=1", "-qc", text]
    subprocess.run(command, check=True, capture_output=True)


def bare(stage: Stage, clients: int) -> float:
    """Append rows as large as chunks, each in a transaction of its own, by PostgreSQL's own client; give the records/s."""
    _psql(_MAKE)
    script = stage.directory / "bare.sql"
    script.write_text(_BARE.format(bytes=CHUNK * len(RECORD)))
    found = servers.program("pgbench", servers.PROGRAMS["postgresql"][1])
    seconds = max(1, round(BARE_SECONDS * min(1.0, stage.scale)))
    command = [found, "-n", "-M", "prepared", "-f", str(script), "-c", str(clients), "-T", str(seconds)]
    said = subprocess.run([*command, servers.address("postgresql")], check=True, capture_output=True, text=True).stdout
    _psql("TRUNCATE bare.chunk")
    rate = re.search(r"tps = ([\d.]+)", said)
    if rate is None:
        message = f"pgbench says no rate: {said}"
        raise RuntimeError(message)
    return float(rate[1]) * CHUNK


async def puts(stage: Stage) -> Mapping[str, float]:
    """Put chunks of 100 records by 64 callers at once; beside it rows of the same size by 16 clients of the bare server."""
    records = stage.share(200_000)
    with store(stage) as url:
        app = forebay.App("bench", store=url)
        stream = app.stream("put", shards=4)
        async with app:
            with stage.meter:
                putting = [put_records(stream, records // CALLERS, 10_000, batch=CHUNK) for _ in range(CALLERS)]
                await asyncio.gather(*putting)
    rate = records / stage.meter.seconds
    limit = await asyncio.to_thread(bare, stage, CLIENTS)
    return {"rate": rate, "bare": limit, "share": rate / limit}


async def backlog(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog through an async handler of keyed batches of 100; beside it the bare server's rate of appends."""
    records = stage.share(500_000)
    drain = Drain(records)
    with store(stage) as url:
        app = forebay.App("bench", store=url)
        stream = app.stream("backlog", shards=4)
        app.on_stream("backlog", enabled=False)(batches(drain))
        async with app:
            await put_records(stream, records, 10_000)
            with stage.meter:
                await app.mappings[0].resume()
                await drain.done.wait()
    rate = records / stage.meter.seconds
    limit = await asyncio.to_thread(bare, stage, CLIENTS)
    return {"rate": rate, "bare": limit, "share": rate / limit}


async def latency(stage: Stage) -> Mapping[str, float]:
    """Put 200 records/s one by one from another process; time each to the start of its handler. Beside it: one bare append."""
    with store(stage) as url:
        waits = await waits_of_client(stage, url)
    one = await asyncio.to_thread(bare, stage, 1)
    return {
        "p50": machine.percentile(waits, 50),
        "p99": machine.percentile(waits, 99),
        "bare": 1e3 * CHUNK / one,
    }


_BESIDE = (
    Figure("bare", "rows of 20 kB by 16 clients of the bare server in the same run, as records", "records/s"),
    Figure("share", "of the bare server's rate", "times"),
)

SCENARIOS = (
    Scenario(
        "cluster.put",
        puts,
        (Figure("rate", "put_many of 100 by 64 callers, store on PostgreSQL", "records/s"), *_BESIDE),
        servers=("postgresql",),
        seconds=12,
    ),
    Scenario(
        "cluster.backlog",
        backlog,
        (
            Figure("rate", "backlog into an async Batch handler, 100 a batch, store on PostgreSQL", "records/s"),
            *_BESIDE,
        ),
        servers=("postgresql",),
        seconds=20,
    ),
    Scenario(
        "cluster.latency",
        latency,
        (
            Figure("p50", "put in another process to handler at 200 records/s, store on PostgreSQL, p50", "ms"),
            Figure("p99", "put in another process to handler at 200 records/s, store on PostgreSQL, p99", "ms"),
            Figure("bare", "an append of the bare server in the same run, mean", "ms"),
        ),
        servers=("postgresql",),
        seconds=14,
    ),
)
