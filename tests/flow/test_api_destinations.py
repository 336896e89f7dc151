"""Events of rules as requests to HTTP endpoints: a real server answers, and sees what AWS's API destinations would send."""

import asyncio
import base64
import json
import shutil
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ports import free_port

import forebay
from forebay.errors import InvalidParameterValue, ResourceConflict
from forebay.integrations import ClientCredentials
from forebay.testing import VirtualClock

PATTERN = {"source": ["shop"]}
SECRET = "s3cr3t-value"  # noqa: S105 - no real one
CREDENTIALS = ClientCredentials("https://example.com/token", "id", "word")
GOLDEN = Path(__file__).parents[1] / "golden"


class Endpoint:
    """A server that keeps what it is sent; `answers` says how it answers, one after the other."""

    def __init__(self):
        self.requests = []
        self.answers = []
        self.answered = threading.Condition()

    @property
    def bodies(self):
        return [json.loads(body) for _, _, _, body in self.requests]

    async def wait_for(self, count, seconds=100):
        until = time.monotonic() + seconds
        while len(self.requests) < count:
            assert time.monotonic() < until, self.requests
            await asyncio.sleep(0.01)
        return self.requests


@contextmanager
def served():
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with endpoint.answered:
                status, headers, wait = endpoint.answers.pop(0) if endpoint.answers else (200, {}, 0)
                endpoint.requests.append((self.command, self.path, dict(self.headers), body.decode()))
            time.sleep(wait)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            answer = json.dumps({"access_token": f"token-{len(endpoint.requests)}"}).encode()
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PUT = answer  # noqa: N815 - the server's names

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def endpoint():
    with served() as one:
        yield one


def shop(store, url, rule=None, **options):
    app = forebay.App("shop", store=store)
    destination = app.api_destination("crm", url, **options)
    app.bus("orders").rule("to-crm", PATTERN, destination, **(rule or {}))
    return app


async def put(app, **detail):
    return await app.bus("orders").put(detail, source="shop", detail_type="OrderPlaced")


async def test_an_event_is_a_request_with_what_the_destination_and_the_rule_add(store, endpoint):
    app = shop(
        store,
        f"{endpoint.url}/v1/*/orders/*?fixed=1",
        rule={
            "path_parameter_values": ["eu west", "$.detail.id"],
            "header_parameters": {"X-Kind": "$.detail-type", "x-tenant": "rule"},
            "query_string_parameters": {"n": "$.detail.n"},
        },
        http_method="PUT",
        basic=("user", lambda: SECRET),
        header_parameters={"X-Tenant": "connection"},
        query_string_parameters={"q": "a b"},
        body_parameters={"origin": "forebay"},
    )
    async with app:
        id_ = await put(app, id="a/b", n=7)
        await endpoint.wait_for(1)
    [(method, path, headers, body)] = endpoint.requests
    assert (method, path) == ("PUT", "/v1/eu%20west/orders/a%2Fb?fixed=1&n=7&q=a+b")
    assert (headers["X-Kind"], headers["X-Tenant"]) == ("OrderPlaced", "connection")
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == f"user:{SECRET}"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    event = json.loads(body)
    assert (event["id"], event["detail"], event["origin"]) == (id_, {"id": "a/b", "n": 7}, "forebay")


async def test_one_connection_carries_many_events_and_each_comes_once(store, endpoint):
    app = shop(store, endpoint.url, invocation_rate_limit=None)
    async with app:
        for number in range(50):
            await put(app, n=number)
        await endpoint.wait_for(50)
    assert sorted(body["detail"]["n"] for body in endpoint.bodies) == list(range(50))


async def test_what_the_endpoint_refuses_for_now_is_sent_again_when_it_asked_for(store, endpoint):
    endpoint.answers = [(429, {"Retry-After": "2"}, 0), (503, {}, 0)]
    app = shop(store, endpoint.url)
    async with app:
        await put(app, n=1)
        await endpoint.wait_for(1)
        began = time.monotonic()
        await endpoint.wait_for(2)
        assert time.monotonic() - began > 1.5
        await endpoint.wait_for(3)
    assert [body["detail"] for body in endpoint.bodies] == [{"n": 1}] * 3


async def test_what_the_endpoint_will_never_take_is_dead_lettered_without_secrets(store, stored, endpoint, caplog):
    endpoint.answers = [(404, {}, 0)]
    app = forebay.App("shop", store=store)
    dead = app.queue("dead")
    crm = app.api_destination("crm", f"{endpoint.url}/{SECRET}", api_key=("x-api-key", SECRET))
    app.bus("orders").rule("to-crm", PATTERN, crm, dead_letter_queue=dead)
    assert SECRET not in repr(crm) + repr(crm.settings)
    async with app:
        await put(app, n=1)
        [letter] = await dead.receive(wait=10)
        told = json.dumps(letter.attributes, default=str)
    assert "crm (127.0.0.1) answered 404 Not Found" in told
    assert "NO_RESOURCE" in told
    assert json.loads(letter.body)["detail"] == {"n": 1}
    assert SECRET not in told + caplog.text
    assert SECRET.encode() not in stored()
    assert endpoint.requests[0][2]["X-Api-Key"] == SECRET


async def test_a_value_of_the_path_leads_to_no_other_path(store, endpoint):
    """An event with the id ".." was sent to the endpoint above, with the secret of this one."""
    app = forebay.App("shop", store=store)
    dead = app.queue("dead")
    crm = app.api_destination("crm", f"{endpoint.url}/v1/orders/*/lines")
    path = {"path_parameter_values": ["$.detail.n"]}
    app.bus("orders").rule("to-crm", PATTERN, crm, dead_letter_queue=dead, **path)
    async with app:
        for n in ("..", ".", "a/../b", "..."):
            await put(app, n=n)
        await endpoint.wait_for(2)
        letters = [letter async for letter in received(dead, 2)]
    assert sorted(request[1] for request in endpoint.requests) == [
        "/v1/orders/.../lines",
        "/v1/orders/a%2F..%2Fb/lines",
    ]
    assert all("would lead to another path" in json.dumps(letter.attributes, default=str) for letter in letters)


async def received(queue, count):
    """So many messages of a queue."""
    while count:
        for message in await queue.receive(maximum=count, wait=10):
            count -= 1
            yield message


async def test_a_schedule_calls_an_endpoint(store, endpoint):
    app = forebay.App("shop", store=store)
    app.schedule("rate(1 day)", name="s", target=app.api_destination("crm", endpoint.url), input={"a": 1})
    async with app:
        await app._caller.ask("schedule.run", name="s")
        await endpoint.wait_for(1)
    assert endpoint.bodies == [{"a": 1}]


async def test_an_event_is_sent_as_a_cloud_event(store, endpoint):
    app = shop(store, endpoint.url, cloud_events="binary")
    structured = app.api_destination("other", f"{endpoint.url}/s", cloud_events="structured")
    app.bus("orders").rule("s", PATTERN, structured)
    async with app:
        id_ = await put(app, n=1)
        await endpoint.wait_for(2)
    binary, whole = sorted(endpoint.requests, key=lambda request: request[1])
    assert (binary[2]["Ce-Id"], binary[2]["Ce-Type"], json.loads(binary[3])) == (id_, "OrderPlaced", {"n": 1})
    assert whole[2]["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert json.loads(whole[3])["data"] == {"n": 1}


async def test_an_answer_that_comes_too_late_is_no_answer(store, endpoint):
    endpoint.answers = [(200, {}, 1.0)]
    app = shop(store, endpoint.url, timeout=0.3)
    async with app:
        await put(app, n=1)
        await endpoint.wait_for(2)
    assert len(endpoint.bodies) == 2


async def test_an_endpoint_that_was_down_gets_what_waited_also_after_a_restart(store, unused_port):
    app = shop(store, f"http://127.0.0.1:{unused_port}")
    async with app:
        await put(app, n=1)
        await asyncio.sleep(0.3)
    with served() as endpoint:
        app = shop(store, endpoint.url)
        async with app:
            await endpoint.wait_for(1)
    assert endpoint.bodies[0]["detail"] == {"n": 1}


async def test_the_rate_is_that_of_the_destination(store, endpoint):
    app = shop(store, endpoint.url, invocation_rate_limit=20)
    async with app:
        began = time.monotonic()
        for number in range(30):
            await put(app, n=number)
        await endpoint.wait_for(30)
        assert time.monotonic() - began > 1.2
    assert sorted(body["detail"]["n"] for body in endpoint.bodies) == list(range(30))


@pytest.fixture
def unused_port():
    return free_port()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"invocation_endpoint": "ftp://example.com"}, "allowed is a URL"),
        ({"invocation_endpoint": "https://user:word@example.com"}, "a user, a fragment"),
        ({"invocation_endpoint": "https://example.com/a b"}, "allowed is a URL"),
        ({"invocation_endpoint": "http://example.com", "basic": ("u", "p")}, "must be https"),
        ({"basic": ("u", "p"), "api_key": ("k", "v")}, "one way of authorization"),
        ({"basic": ("u", "p"), "oauth": CREDENTIALS}, "one way of authorization"),
        ({"oauth": ("u", "p")}, "allowed is forebay.integrations.ClientCredentials"),
        ({"oauth": ClientCredentials("http://example.com/token", "id", "word")}, "its endpoint is an https URL"),
        ({"oauth": ClientCredentials("https://example.com", "id", "word", method="DELETE")}, "allowed are"),
        ({"invocation_endpoint": "http://example.com", "oauth": CREDENTIALS}, "must be https"),
        ({"api_key": ("host", "v")}, "forebay says this header itself"),
        ({"header_parameters": {"X-A": "a\nb"}}, "printable ASCII"),
        ({"http_method": "TRACE"}, "allowed are"),
        ({"invocation_rate_limit": 0}, "whole numbers from 1"),
        ({"body_parameters": {"a": float("nan")}}, "cannot be written as JSON"),
        ({"timeout": 31}, "seconds"),
    ],
)
def test_a_destination_that_cannot_be_is_refused_without_its_secret(tmp_path, options, text):
    app = forebay.App("shop", store=tmp_path / "store")
    given = {"invocation_endpoint": "https://example.com", **options}
    with pytest.raises(InvalidParameterValue, match=text) as error:
        app.api_destination("crm", **given)
    assert "word" not in str(error.value)


def test_a_rule_gives_a_value_for_each_wildcard(tmp_path):
    app = forebay.App("shop", store=tmp_path / "store")
    crm = app.api_destination("crm", "https://example.com/*")
    with pytest.raises(InvalidParameterValue, match="1 wildcards"):
        app.bus("orders").rule("r", PATTERN, crm)
    with pytest.raises(InvalidParameterValue, match="only an API destination"):
        app.bus("orders").rule("r", PATTERN, app.queue("q"), header_parameters={"a": "b"})
    with pytest.raises(InvalidParameterValue, match="a schedule has no values"):
        app.schedule("rate(1 minute)", name="s", target=crm)
    with pytest.raises(ResourceConflict, match="already declared"):
        app.api_destination("crm", "https://example.com/other")


async def test_a_token_is_fetched_once_and_again_when_it_is_refused(store, stored, endpoint, caplog):
    with served() as tokens:
        oauth = ClientCredentials(f"{tokens.url}/token?tenant=a", "id", SECRET, body={"scope": "write"})
        app = shop(store, endpoint.url, oauth=oauth)
        async with app:
            await put(app, n=1)
            await endpoint.wait_for(1)
            await put(app, n=2)
            await endpoint.wait_for(2)
            endpoint.answers.append((401, {}, 0))
            await put(app, n=3)
            await endpoint.wait_for(4)
        [(_, path, _, form), _] = tokens.requests
        assert path == "/token?tenant=a"
        assert form == f"grant_type=client_credentials&client_id=id&scope=write&client_secret={SECRET}"
    given = [headers["Authorization"] for _, _, headers, _ in endpoint.requests]
    assert given == ["Bearer token-1", "Bearer token-1", "Bearer token-1", "Bearer token-2"]
    assert SECRET.encode() not in stored()
    assert SECRET not in caplog.text + repr(oauth)


async def test_an_event_waits_for_an_endpoint_that_gives_no_token(store, endpoint):
    with served() as tokens:
        tokens.answers.append((503, {}, 0))
        app = shop(store, endpoint.url, oauth=ClientCredentials(f"{tokens.url}/token", "id", SECRET))
        async with app:
            await put(app, n=1)
            await endpoint.wait_for(1)
        assert len(tokens.requests) == 2


async def test_rules_with_http_parameters_and_what_they_left_undelivered_go_on(tmp_path, endpoint):
    """The golden file is what app "shop" left when it was killed, before rules had schedules and notes.

    An event waited for an API destination, with its path and its header; another target's failure was listed.
    """
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / "app-v4-rules.db", data / "forebay.db")
    clock = VirtualClock(start=1_796_100_010)
    app = forebay.App("shop", store=data, clock=clock)
    app.api_destination("crm", f"{endpoint.url}/orders/*", invocation_rate_limit=None)
    async with app:
        rule = await app._caller.ask("rule.describe", bus="orders", name="to-crm")
        [target] = rule["targets"]
        assert (target["maximum_retry_attempts"], target["maximum_event_age_ms"]) == (3, 3_600_000)
        assert (target["dead_letter_queue"], rule["notes"], "schedule_expression" in rule) == ("dead", {}, False)
        [failure] = (await app._caller.ask("failed.list", function="orders/as-text", limit=10))["failures"]
        assert (failure["undelivered_to"], failure["delivery_attempts"]) == ("bus:other", 1)
        await clock.advance(1)
        [(method, path, headers, body)] = await endpoint.wait_for(1)
        assert (method, path, headers["X-From"]) == ("POST", "/orders/1", "shop")
        assert json.loads(body)["detail"] == {"id": 1}
