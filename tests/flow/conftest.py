"""Whole paths on the virtual clock, where nothing sleeps; what needs none runs on a directory and on a PostgreSQL server."""

import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forebay import App
from forebay.testing import VirtualClock

sys.path.insert(0, str(Path(__file__).parent))
sys.path[1:1] = [str(Path(__file__).parents[1] / folder) for folder in ("dbproxy", "cluster")]

# What a store on a server keeps.
KEPT = "SELECT encode(body, 'hex') FROM chunk UNION ALL SELECT encode(value, 'hex') FROM entry"


@pytest.fixture
def clock(forebay_clock):
    return forebay_clock


@pytest.fixture(scope="session")
def store_server(need):
    """Run a PostgreSQL server that keeps what it is given."""
    from db_servers import new_postgres
    from members import DURABLE

    need("postgresql")
    server = new_postgres()
    server.stop()
    (server.folder / "log").write_bytes(b"")  # it is asked whether the server is ready
    server.start(*DURABLE)
    yield server
    server.remove()


@pytest.fixture(params=["directory", "server"])
def store(request, tmp_path, monkeypatch):
    """Name a new store: a directory, and then one on a server."""
    if request.param == "directory":
        return tmp_path / "store"
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))
    server = request.getfixturevalue("store_server")
    return f"{server.url}?sslmode=disable&schema=flow_{uuid.uuid4().hex}"


@pytest.fixture
def stored(request, store):
    """Give what reads all that a store keeps."""

    def read():
        if isinstance(store, Path):
            return b"".join(path.read_bytes() for path in store.iterdir() if path.is_file())
        text = f"SET search_path TO {store.rpartition('=')[2]}; {KEPT}"
        rows = request.getfixturevalue("store_server").sql(text).split()
        assert rows, "it is read"
        return b"".join(map(bytes.fromhex, rows))

    return read


@pytest.fixture
def app(forebay_app, no_task_is_left):
    return forebay_app


@pytest.fixture
def make(clock, no_task_is_left):
    """Make an app of which nothing is set aside unless a test says so."""
    return lambda **options: App("t", store=":memory:", clock=clock, **{"unreserved_minimum": 0, **options})


@pytest.fixture
def price(app):
    """Declare a function with two versions of other handlers than its own."""
    from published import told

    function = app.function("price")(told("latest"))
    assert function.publish_version(told("first")) == "1"
    assert function.publish_version(told("second")) == "2"
    return function


@dataclass
class Seen:
    """What a handler was given: when, and which data."""

    clock: VirtualClock
    calls: list = field(default_factory=list)

    def take(self, batch):
        self.calls.append((self.clock.monotonic(), [record.json() for record in batch]))

    @property
    def data(self):
        return [data for _, data in self.calls]

    @property
    def times(self):
        return [when for when, _ in self.calls]


@pytest.fixture
def seen(clock):
    return Seen(clock)


@pytest.fixture
def stream(app: App):
    return app.stream("numbers", shards=1)


@pytest.fixture
def durable_app(clock, tmp_path, no_task_is_left):
    """Make apps, one after the other, on one store that outlives them."""
    return lambda: App("test", store=tmp_path / "store", clock=clock)


@dataclass
class Given:
    """What a handler was given, and when."""

    clock: object
    calls: list = field(default_factory=list)

    def take(self, event):
        self.calls.append([record["body"] for record in event["Records"]])

    @property
    def all(self):
        return [body for call in self.calls for body in call]


@pytest.fixture
def given(clock):
    return Given(clock)


async def _fill(queue, *bodies, group="g"):
    fifo = queue.name.endswith(".fifo")
    for at in range(0, len(bodies), 10):
        part = [str(body) for body in bodies[at : at + 10]]
        options = [{"group_id": group, "deduplication_id": f"{group}{body}"} if fifo else {} for body in part]
        await queue.send_many([{"body": body, **option} for body, option in zip(part, options, strict=True)])


@pytest.fixture
def fill():
    """Give what sends bodies to a queue, ten at a time."""
    return _fill
