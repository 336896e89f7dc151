"""A running app whose wire API real clients use. It has a thread of its own, so that a test can call a client that blocks."""

import asyncio
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import boto3
from botocore.config import Config
from ports import free_port

from forebay import App

REGION = "eu-central-1"
ACCOUNT = "123456789012"
# One for all: a session reads the models of a service once, which takes longer than most tests. It makes one client at a time.
SESSION = boto3.session.Session()
MAKING = threading.Lock()


@dataclass
class Served:
    """An app that runs, and clients of it."""

    app: App
    port: int
    loop: asyncio.AbstractEventLoop
    open: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self):
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, verb, **fields):
        """Ask the engine, as commands do."""
        return asyncio.run_coroutine_threadsafe(self.app._caller.ask(verb, **fields), self.loop).result(100)

    def client(self, service, *, key="forebay", secret="forebay", region=REGION, path="", **options):
        """Make a client of a service; the fixture closes it."""
        config = Config(retries={"total_max_attempts": 1}, read_timeout=100, **options)
        with MAKING:
            made = SESSION.client(
                service,
                endpoint_url=self.url + path,
                region_name=region,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                config=config,
            )
        self.open.callback(made.close)
        return made


@contextmanager
def served(app, **options):
    """Run an app in a thread until the block ends."""
    port, begun, state = free_port(), threading.Event(), {}

    async def life():
        try:
            await app.start(aws_port=port, **options)
            state["stop"] = asyncio.Event()
            state["loop"] = asyncio.get_running_loop()
        except BaseException as error:
            state["error"] = error
            raise
        finally:
            begun.set()
        await state["stop"].wait()
        await app.stop(grace=5)

    thread = threading.Thread(target=lambda: asyncio.run(life()))
    thread.start()
    try:
        assert begun.wait(100)
        if "error" in state:
            raise state["error"]
        running = Served(app, port, state["loop"])
        with running.open:
            yield running
    finally:
        if "loop" in state:
            state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(100)
