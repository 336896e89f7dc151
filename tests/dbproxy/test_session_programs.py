"""Random programs of two clients on one connection: each has the answers that a connection of its own would give."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from db_servers import USER
from session_programs import SETUP, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from db_servers import Server

NOTHING_LASTS = {"mysql": ("--innodb-flush-method=nosync", "--sync-frm=0", "--innodb-flush-log-at-trx-commit=0")}
ORDINARY = 60
DIFFERENCES_MAX = 20
FAILED_ONCE: dict[str, list[int]] = {"postgresql": [], "mysql": []}


@pytest.fixture(params=["postgresql", "mysql"])
def both(request: pytest.FixtureRequest, templates: Callable[[str], Server]) -> Iterator[tuple[Server, Server]]:
    """A server for the proxy and one for the bare connections, with the same in both."""
    servers = (templates(request.param).clone(), templates(request.param).clone())
    try:
        for server in servers:
            server.start(*NOTHING_LASTS.get(server.engine, ()))
            if server.engine == "postgresql":
                server.sql(f"GRANT pg_monitor TO {USER}", "postgres")
        yield servers
    finally:
        for server in servers:
            server.remove()


async def test_two_clients_on_one_connection_are_as_if_each_had_its_own(both, proxies):
    server, oracle = both
    for one in both:
        async with proxies(one).connect() as client:
            for statement in SETUP[one.engine]:
                await client.execute(statement)
    seed = int(os.environ.get("FOREBAY_SEED", "1"))
    count = int(os.environ.get("FOREBAY_COUNT", str(ORDINARY)))
    proxy = proxies(server, maximum_connections=1)
    differences: list[str] = []
    async with Stage(proxy, server, oracle) as stage:
        for number in [*FAILED_ONCE[server.engine], *range(seed, seed + count)]:
            found = await stage.difference(number)
            if found:
                differences.append(found)
            if len(differences) >= DIFFERENCES_MAX:
                break
    assert not differences, "\n\n".join(differences)
    resets = proxy.statistics()["SessionResets"]
    done = {f"{server.engine}_programs": count, f"{server.engine}_resets": resets}
    print(f"\nfigures {json.dumps(done)}")  # noqa: T201  what `make deep` writes down
