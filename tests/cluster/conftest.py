"""A real PostgreSQL server for apps that share a store, and processes that run such an app."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "dbproxy"))
sys.path.insert(0, str(Path(__file__).parent))

from db_servers import Postgres, new_postgres
from members import DURABLE, Members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def template(need: Callable[[str], None]) -> Postgres:
    """Initialise one directory, which every server of this run is a copy of."""
    need("postgresql")
    made = new_postgres()
    made.stop()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def server(template: Postgres) -> Iterator[Postgres]:
    """One server for the tests that leave it alone."""
    yield from started(template)


@pytest.fixture
def own_server(template: Postgres) -> Iterator[Postgres]:
    """A server of the test's own, to be killed and stopped."""
    yield from started(template)


def started(template: Postgres) -> Iterator[Postgres]:
    """Run a copy of the template."""
    clone = template.clone()
    clone.start(*DURABLE)
    yield clone
    clone.remove()


@pytest.fixture(name="url")
def store_url(server: Postgres, request: pytest.FixtureRequest) -> str:
    """Give the URL of a store of the test's own."""
    return f"{server.url}?sslmode=disable&schema={request.node.name[:60]}"


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    """Run processes of one app, and end them."""
    running = Members(tmp_path)
    yield running
    running.end()
