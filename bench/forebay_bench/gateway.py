"""What the gateway costs: a request to a handler beside granian and uvicorn in the same run, routes, tokens, keys, sockets."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import forebay
from forebay_bench import machine, servers
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.http_load import CONNECTIONS, Side, each_once, in_turns
from forebay_bench.issuer import Issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ROUTES = (1, 100, 10_000)
ROUTES_OF_AN_API = 290
"""An API has 300 at most: more of them are in several APIs on one port."""
TOKENS = 500
SOCKETS = 10_000
SLOW_CLIENTS = 500
MESSAGE = "x" * 1_024
LARGE = "x" * 1_048_576


async def hello(event: Any, context: forebay.Context) -> Any:
    """Answer 17 bytes of JSON."""
    return {"hello": "world"}


@asynccontextmanager
async def served(app: forebay.App) -> AsyncIterator[str]:
    """Serve an app's APIs; give the URL that stands before their names."""
    port = servers.free_port()
    await app.start(http_port=port)
    try:
        yield f"http://127.0.0.1:{port}/_apis"
    finally:
        await app.stop()


def made() -> forebay.App:
    """Make an app whose clients wait for nothing but the processor."""
    return forebay.App("bench", store=":memory:", concurrency=1_000)


def own(url: str, *headers: str) -> Side:
    """Make a side of what this process serves."""
    return Side(url, time.process_time, headers)


class Peers:
    """Servers of others, each with one worker and a loop of its own, until the end of the block."""

    def __init__(self, stage: Stage) -> None:
        self._directory = stage.directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def granian(self, program: str) -> Side:
        """Start granian with an app of its own interface."""
        return self._started("granian", "--interface", "rsgi", "--workers", "1", "--log-level", "error", program)

    def uvicorn(self, program: str) -> Side:
        """Start uvicorn."""
        return self._started("uvicorn", "--log-level", "error", "--no-access-log", program)

    def _started(self, *words: str) -> Side:
        port = servers.free_port()
        command = [sys.executable, "-m", words[0], "--host", "127.0.0.1", "--port", str(port), *words[1:]]
        process = self._stack.enter_context(servers.running(command, port, self._directory))
        return Side(f"http://127.0.0.1:{port}/hello", lambda: machine.living_seconds(process.pid))


async def first_answer(stage: Stage) -> Mapping[str, float]:
    """Answer JSON through a route and its event, beside the bare answers of granian and uvicorn."""
    app = made()
    app.http_api("shop").route("GET", "/hello")(hello)
    with Peers(stage) as peers:
        sides = {
            "granian": peers.granian("forebay_bench.http_peers:rsgi"),
            "uvicorn": peers.uvicorn("forebay_bench.http_peers:asgi"),
        }
        async with served(app) as url:
            told = await in_turns(stage, {"forebay": own(f"{url}/shop/hello"), **sides})
    ours, granian, uvicorn = told["forebay"], told["granian"], told["uvicorn"]
    return {
        "rate": ours.rate,
        "us": ours.us,
        "p99_to_fair": ours.p99_ms / (CONNECTIONS / ours.rate * 1e3),
        "granian_p99_to_fair": granian.p99_ms / (CONNECTIONS / granian.rate * 1e3),
        "uvicorn_p99_to_fair": uvicorn.p99_ms / (CONNECTIONS / uvicorn.rate * 1e3),
        "share": ours.rate / granian.rate,
        "granian_rate": granian.rate,
        "granian_us": granian.us,
        "uvicorn_rate": uvicorn.rate,
        "uvicorn_us": uvicorn.us,
    }


async def routes(stage: Stage) -> Mapping[str, float]:
    """Ask the last of 1, 100 and 10,000 routes for the same, in turns."""
    sides = {}
    async with AsyncExitStack() as running:
        for count in ROUTES:
            app, left, name = made(), stage.share(count), "shop"
            function = app.function(name="hello")(hello)
            for number in range(left):
                name = f"shop{number // ROUTES_OF_AN_API}"
                app.http_api(name).route("GET", f"/orders/{{order}}/r{number}/{{line}}")(function)
            url = await running.enter_async_context(served(app))
            sides[str(count)] = own(f"{url}/{name}/orders/7/r{left - 1}/3")
        told = await in_turns(stage, sides)
    one = told["1"].us
    ratios = {f"ratio_{count}": told[str(count)].us / one for count in ROUTES[1:]}
    return {**{f"us_{count}": told[str(count)].us for count in ROUTES}, **ratios}


async def tokens(stage: Stage) -> Mapping[str, float]:
    """Ask with a token that is known, without one, and with tokens that come for the first time and for the second."""
    issuer, app = Issuer(stage.directory), made()
    async with issuer.serving():
        api = app.http_api("shop")
        users = api.jwt_authorizer("users", issuer=issuer.url, audiences=["shop"])
        function = app.function(name="hello")(hello)
        api.route("GET", "/open")(function)
        api.route("GET", "/guarded", authorizer=users, scopes=["orders:read"])(function)
        token = issuer.token(0)
        async with served(app) as url:
            plain, guarded = f"{url}/shop/open", f"{url}/shop/guarded"
            with_header = own(plain, f"authorization: Bearer {token}")
            sides = {
                "plain": own(plain),
                "header": with_header,
                "known": own(guarded, f"authorization: Bearer {token}"),
            }
            told = await in_turns(stage, sides)
            new = [issuer.token(number) for number in range(1, 1 + stage.share(TOKENS))]
            first, again = [await each_once(guarded, new) for _ in range(2)]
    return {
        "us": told["known"].us,
        "plain": told["plain"].us,
        "added": told["known"].us - told["header"].us,
        "added_first": first - again,
    }


async def plans(stage: Stage) -> Mapping[str, float]:
    """Ask a method of a REST API with a key that has a plan, and one that needs none."""
    app = made()
    rest = app.rest_api("pets")
    function = app.function(name="pets")(_proxied)
    rest.method("GET", "/open")(function)
    rest.method("GET", "/keyed", api_key_required=True)(function)
    async with served(app) as url:
        await rest.deploy("prod")
        api = await rest.call("GetRestApi")
        key = await rest.call("CreateApiKey", name="partner", enabled=True)
        plan = await rest.call(
            "CreateUsagePlan",
            name="gold",
            throttle={"rateLimit": 1_000_000, "burstLimit": 1_000_000},
            quota={"limit": 2_000_000_000, "period": "MONTH"},
            apiStages=[{"apiId": api["id"], "stage": "prod"}],
        )
        await rest.call("CreateUsagePlanKey", usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        header = f"x-api-key: {key['value']}"
        sides = {"plain": own(f"{url}/pets/prod/open", header), "keyed": own(f"{url}/pets/prod/keyed", header)}
        told = await in_turns(stage, sides)
    return {
        "us": told["keyed"].us,
        "plain": told["plain"].us,
        "added": told["keyed"].us - told["plain"].us,
    }


async def _proxied(event: Any, context: forebay.Context) -> Any:
    return {"statusCode": 200, "body": '{"hello":"world"}'}


async def frameworks(stage: Stage) -> Mapping[str, float]:
    """Ask a FastAPI app behind `mount`, behind Mangum, and under uvicorn."""
    from mangum import Mangum  # noqa: PLC0415  a package of the scenario

    from forebay_bench.http_peers import site  # noqa: PLC0415

    app = made()
    app.http_api("mounted").mount(site)
    bridge = Mangum(site, lifespan="off")

    @app.function(name="bridged", isolation="thread")
    def bridged(event: Any, context: forebay.Context) -> Any:
        return bridge(event, context)  # type: ignore[arg-type]

    app.http_api("bridged").route("ANY", "/{path+}")(bridged)
    with Peers(stage) as peers:
        uvicorn = peers.uvicorn("forebay_bench.http_peers:site")
        async with served(app) as url:
            sides = {"mount": own(f"{url}/mounted/hello"), "mangum": own(f"{url}/bridged/hello"), "uvicorn": uvicorn}
            told = await in_turns(stage, sides)
    rates = {f"{name}_rate": side.rate for name, side in told.items()}
    times = {f"{name}_us": side.us for name, side in told.items()}
    shares = {f"{name}_share": told[name].rate / told["uvicorn"].rate for name in ("mount", "mangum")}
    return {**rates, **times, **shares}


async def sockets(stage: Stage) -> Mapping[str, float]:
    """Hold idle WebSockets, and send a message to all of them."""
    app, count = made(), stage.share(SOCKETS)
    ws = app.websocket_api("chat")

    @ws.on_connect
    async def come(event: Any, context: forebay.Context) -> Any:
        return {"statusCode": 200}

    async with served(app) as url:
        before = machine.memory_bytes()
        async with clients("sockets", f"{url}/chat/", str(count), str(len(MESSAGE))) as pipe:
            await asyncio.sleep(1)  # what the last one's handshake borrowed has been given back
            memory = machine.memory_bytes() - before
            times = []
            with stage.meter:
                for _ in range(stage.share(5)):
                    pipe.told()
                    began = time.perf_counter()
                    await ws.post_many(MESSAGE)
                    await pipe.heard()
                    times.append(time.perf_counter() - began)
    return {"added_mib": memory / 2**20, "broadcast": statistics.median(times) * 1e3}


class Pipe:
    """A process of clients: it is told to begin a round by a line, and says with a line that it has ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def told(self) -> None:
        """Begin."""
        if self._process.stdin:
            self._process.stdin.write(b"\n")

    async def heard(self) -> None:
        """Wait for its line."""
        line = await self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise RuntimeError("the clients have failed")


@asynccontextmanager
async def clients(*words: str) -> AsyncIterator[Pipe]:
    """Run clients in a process of their own until the end of the block; all are connected when it begins."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "forebay_bench.http_clients", *words]
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        began = Pipe(process)
        await began.heard()
        yield began
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def slow_clients(stage: Stage) -> Mapping[str, float]:
    """Ask while clients send their heads and bodies byte by byte, or read as slowly; in turns with nobody there."""
    app, count = made(), stage.share(SLOW_CLIENTS)
    api = app.http_api("shop")
    api.route("GET", "/hello")(hello)

    @api.route("ANY", "/large")
    async def large(event: Any, context: forebay.Context) -> Any:
        return LARGE

    waits: dict[str, list[float]] = {"alone": [], "beside": []}
    async with served(app) as url:
        side = {"hello": own(f"{url}/shop/hello")}
        for _ in range(stage.share(3)):
            waits["alone"].append((await in_turns(stage, side, rounds=1))["hello"].p99_ms)
            async with clients("slow", f"{url}/shop/large", str(count)):
                waits["beside"].append((await in_turns(stage, side, rounds=1))["hello"].p99_ms)
    alone, beside = (statistics.median(each) for each in waits.values())
    return {"p99": beside, "alone": alone, "ratio": beside / alone}


def timed(what: str) -> str:
    """Say that it is the processor time of one request."""
    return f"{what}: processor time of a request"


OURS = "JSON by an async handler, 64 connections"
THEIRS = "{} answers the same JSON, 64 connections"
FRAMEWORKS = {"mount": "behind mount", "mangum": "behind Mangum in threads", "uvicorn": "under uvicorn"}
NOTE = "wrk with 64 connections and one thread on the same machine; the servers in turns, each with one worker"


def scenario(
    name: str, run: Any, figures: tuple[Figure, ...], packages: tuple[str, ...] = (), note: str = ""
) -> Scenario:
    """Give a scenario that keeps nothing on a disk and warms up by itself."""
    return Scenario(
        name, run, figures, durability="memory", warm_up=0, seconds=30, note=note or NOTE, packages=packages
    )


SCENARIOS = (
    scenario(
        "gateway.hello",
        first_answer,
        (
            Figure("rate", OURS, "requests/s"),
            Figure("us", timed(OURS), "µs"),
            Figure("p99_to_fair", f"{OURS}: p99 to clients / rate", "times"),
            Figure("share", f"{OURS}: rate to that of granian", "times"),
            Figure("granian_rate", THEIRS.format("granian (RSGI)"), "requests/s"),
            Figure("granian_us", timed(THEIRS.format("granian (RSGI)")), "µs"),
            Figure("granian_p99_to_fair", f"{THEIRS.format('granian (RSGI)')}: p99 to clients / rate", "times"),
            Figure("uvicorn_rate", THEIRS.format("uvicorn"), "requests/s"),
            Figure("uvicorn_us", timed(THEIRS.format("uvicorn")), "µs"),
            Figure("uvicorn_p99_to_fair", f"{THEIRS.format('uvicorn')}: p99 to clients / rate", "times"),
        ),
        ("fastapi", "granian", "uvicorn"),
    ),
    scenario(
        "gateway.routes",
        routes,
        (
            *(Figure(f"us_{count}", timed(f"one of {count:,} routes"), "µs") for count in ROUTES),
            *(Figure(f"ratio_{count}", f"one of {count:,} routes to the only one", "times") for count in ROUTES[1:]),
        ),
    ),
    scenario(
        "gateway.jwt",
        tokens,
        (
            Figure("us", timed("with a token that is known"), "µs"),
            Figure("plain", timed("without a token, on an open route"), "µs"),
            Figure("added", "what a known token adds to a request that has the same header", "µs"),
            Figure("added_first", "what a token adds the first time, to the second", "µs"),
        ),
        note=f"{NOTE}; RS256 with 2,048 bits, 7 claims, and a scope that the route wants",
    ),
    scenario(
        "gateway.plan",
        plans,
        (
            Figure("us", timed("a REST method with a key and its plan"), "µs"),
            Figure("plain", timed("a REST method that needs no key"), "µs"),
            Figure("added", "what the key and the plan add", "µs"),
        ),
    ),
    scenario(
        "gateway.fastapi",
        frameworks,
        (
            *(Figure(f"{name}_rate", f"a FastAPI app {words}", "requests/s") for name, words in FRAMEWORKS.items()),
            *(Figure(f"{name}_us", timed(f"a FastAPI app {words}"), "µs") for name, words in FRAMEWORKS.items()),
            Figure("mount_share", "a FastAPI app behind mount: rate to that under uvicorn", "times"),
            Figure("mangum_share", "a FastAPI app behind Mangum: rate to that under uvicorn", "times"),
        ),
        ("fastapi", "mangum", "uvicorn"),
    ),
    scenario(
        "gateway.sockets",
        sockets,
        (
            Figure("added_mib", "memory of 10,000 idle WebSockets", "MiB"),
            Figure("broadcast", "a message of 1 KiB to 10,000 WebSockets, until all have it", "ms"),
        ),
        note="the clients are one other process on the same machine",
    ),
    scenario(
        "gateway.slow",
        slow_clients,
        (
            Figure("p99", "p99 of 64 connections beside 500 slow clients", "ms"),
            Figure("alone", "p99 of 64 connections alone", "ms"),
            Figure("ratio", "p99 beside 500 slow clients to that alone", "times"),
        ),
        note="a third each sends its head, or its body, a byte a second, or reads 1 MiB at 100 bytes a second",
    ),
)
