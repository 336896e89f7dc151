"""Random programs of two clients on one connection: each has the answers that a connection of its own would give."""

from __future__ import annotations

import asyncio
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from db_servers import USER, in_memory
from session_grammar import Step
from session_programs import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from db_servers import Server

ORDINARY = 60
LANES = ("one", "two", "three", "four", "five", "six")  # programs that run side by side, each in a database of its own
DIFFERENCES_MAX = 10
# Programs that once had other answers than bare connections gave, as they were: a grammar that grows makes others of the seeds.
FAILED_ONCE = json.loads((Path(__file__).parents[1] / "cases" / "session_programs.json").read_text())
FASTER = {
    "postgresql": ("-cshared_preload_libraries=plpgsql", "-cjit=off"),
    "mysql": ("--innodb-flush-method=nosync", "--sync-frm=0", "--innodb-flush-log-at-trx-commit=0"),
}


@pytest.fixture(params=["postgresql", "mysql"])
def both(request: pytest.FixtureRequest, templates: Callable[[str], Server]) -> Iterator[tuple[Server, Server]]:
    """A server for the proxy and one for the bare connections, with the same databases in both."""
    servers = (templates(request.param).clone(in_memory()), templates(request.param).clone(in_memory()))
    try:
        for server in servers:
            if server.engine == "postgresql":  # hundreds of thousands of connections need no proof of who they are
                rules = server.folder / "data" / "pg_hba.conf"
                rules.write_text(rules.read_text().replace("scram-sha-256", "trust"))
            server.start(*FASTER[server.engine])
            if server.engine == "postgresql":
                server.sql(f"GRANT pg_monitor TO {USER}", "postgres")
            for lane in LANES:
                for name in (lane, f"{lane}_other"):
                    server.sql(f"CREATE DATABASE {name}{f' OWNER {USER}' if server.engine == 'postgresql' else ''}", "")
        yield servers
    finally:
        for server in servers:
            server.remove()


@pytest.mark.timeout(36_000)
async def test_two_clients_on_one_connection_are_as_if_each_had_its_own(both):
    server, oracle = both
    seed = int(os.environ.get("FOREBAY_SEED", "1"))
    count = int(os.environ.get("FOREBAY_COUNT", str(ORDINARY)))
    seeds = iter(range(seed, seed + count))
    failed_once = iter(FAILED_ONCE[server.engine])
    differences: list[str] = []
    resets = 0.0

    async def play(lane: str) -> None:
        nonlocal resets
        async with Stage(server, oracle, lane) as stage:
            for failed in failed_once:
                steps = [Step(client, sql.replace("{lane}", lane)) for client, sql in failed["steps"]]
                found = await stage.played(failed["about"], steps)
                differences.extend([found] if found else [])
            for number in seeds:
                found = await stage.difference(number)
                differences.extend([found] if found else [])
                if len(differences) >= DIFFERENCES_MAX:
                    break
            resets += stage.proxy.statistics()["SessionResets"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asyncmy shows the server's: a table that is not there
        await asyncio.gather(*(play(lane) for lane in LANES))
    assert not differences, "\n\n".join(differences)
    done = {f"{server.engine}_programs": count, f"{server.engine}_resets": resets}
    print(f"\nfigures {json.dumps(done)}")  # noqa: T201  what `make deep` writes down
