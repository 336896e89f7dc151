"""Random programs of two clients on one connection: each has the answers that a connection of its own would give."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from db_servers import USER
from session_programs import SETUP, difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from db_servers import Server

ORDINARY = 60
FAILED_ONCE: dict[str, list[int]] = {"postgresql": [], "mysql": []}


@pytest.fixture(params=["postgresql", "mysql"])
def both(request: pytest.FixtureRequest, templates: Callable[[str], Server]) -> Iterator[tuple[Server, Server]]:
    """A server for the proxy and one for the bare connections, with the same in both."""
    servers = (templates(request.param).clone(), templates(request.param).clone())
    try:
        for server in servers:
            server.start()
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
    for number in [*FAILED_ONCE[server.engine], *range(seed, seed + count)]:
        found = await difference(number, proxy, oracle)
        assert not found, found
    resets = proxy.statistics()["SessionResets"]
    done = {f"{server.engine}_programs": count, f"{server.engine}_resets": resets}
    print(f"\nfigures {json.dumps(done)}")  # noqa: T201  what `make deep` writes down
