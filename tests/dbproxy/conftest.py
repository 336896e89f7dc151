"""Real servers for the database tests, started once per run, and a view of them from outside of the proxy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from typing import TYPE_CHECKING

from db_servers import Server, View, new_mariadb, new_postgres

from forebay.dbproxy import DBProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, object]:
    """Run these tests on uvloop, as the product does."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def templates(need: Callable[[str], None]) -> Iterator[Callable[[str], Server]]:
    """Initialise one directory per engine, which every server of this run is a copy of."""
    made: dict[str, Server] = {}

    def template(engine: str) -> Server:
        if engine not in made:
            need("postgresql" if engine == "postgresql" else "mariadb-server")
            made[engine] = new_postgres() if engine == "postgresql" else new_mariadb()
            made[engine].stop()
        return made[engine]

    yield template
    for server in made.values():
        server.remove()


def started(server: Server) -> Iterator[Server]:
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres(templates: Callable[[str], Server]) -> Iterator[Server]:
    yield from started(templates("postgresql").clone())


@pytest.fixture(scope="session")
def mariadb(templates: Callable[[str], Server]) -> Iterator[Server]:
    yield from started(templates("mysql").clone())


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each engine in turn."""
    return request.getfixturevalue("postgres" if request.param == "postgresql" else "mariadb")


@pytest.fixture(params=["postgresql", "mysql"])
def own_server(request: pytest.FixtureRequest, templates: Callable[[str], Server]) -> Iterator[Server]:
    """A server of the test's own, to be killed, stopped and restarted."""
    yield from started(templates(request.param).clone())


@pytest.fixture
async def view(server: Server) -> AsyncIterator[View]:
    """The server's own count of the proxy's connections."""
    async with View(server) as found:
        yield found


@pytest.fixture
async def proxies() -> AsyncIterator[Callable[..., DBProxy]]:
    """Make proxies that are closed after the test, with time-outs short enough for it."""
    made: list[DBProxy] = []

    def make(target: object, **settings: object) -> DBProxy:
        settings.setdefault("connection_borrow_timeout", 10)
        settings.setdefault("connect_timeout", 5)
        proxy = DBProxy(target.url if isinstance(target, Server) else target, **settings)  # type: ignore[arg-type]
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        await proxy.close()
