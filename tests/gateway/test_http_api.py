"""HTTP APIs: what a client is answered, and what a handler is given."""

import asyncio
import base64
import json

import pytest
from plain_client import parsed

from forebay import App, Cors, FunctionUrl, InvalidParameterValue, ResourceConflict


@pytest.fixture
def api(app):
    return app.http_api("shop")


def echo(api, *route, name="told", **options):
    async def told(event, context):
        return event

    told.__name__ = name
    return api.route(*route, **options)(told)


async def test_an_answer_has_one_id(api, serve):
    """One that the handler had set stood before it, and `forebay why` did not know that."""

    @api.route("GET", "/x")
    async def told(event, context):
        return {"statusCode": 200, "headers": {"Apigw-RequestId": "mine"}, "body": event["requestContext"]["requestId"]}

    answer = await (await serve()).ask("GET", "/x")
    assert [value for name, value in answer.headers if name == "apigw-requestid"] == [answer.body.decode()]


async def test_a_handler_is_given_the_event_of_payload_format_two(api, serve):
    echo(api, "POST", "/orders/{id}")
    client = await serve()
    headers = {"Content-Type": "application/json", "X-One": "1", "Cookie": "a=1; b=2", "User-Agent": "agent"}
    answer = await client.ask("POST", "/orders/a%20b?q=1&q=%2F&e", headers, b'{"n":1}')
    event = answer.json()
    assert (answer.status, answer["content-type"]) == (200, "application/json")
    assert answer["apigw-requestid"] == event["requestContext"]["requestId"]
    context = event.pop("requestContext")
    time = (context.pop("time"), context.pop("timeEpoch"), context.pop("requestId"))
    assert all(time)
    assert context == {
        "accountId": "000000000000",
        "apiId": api.id,
        "domainName": "localhost",
        "domainPrefix": "localhost",
        "http": {
            "method": "POST",
            "path": "/orders/a%20b",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "agent",
        },
        "routeKey": "POST /orders/{id}",
        "stage": "$default",
    }
    assert event.pop("headers").items() >= {"x-one": "1", "x-forwarded-for": "127.0.0.1", "host": "localhost"}.items()
    assert event == {
        "version": "2.0",
        "routeKey": "POST /orders/{id}",
        "rawPath": "/orders/a%20b",
        "rawQueryString": "q=1&q=%2F&e",
        "cookies": ["a=1", "b=2"],
        "queryStringParameters": {"q": "1,/", "e": ""},
        "pathParameters": {"id": "a b"},
        "body": '{"n":1}',
        "isBase64Encoded": False,
    }


async def test_a_handler_may_ask_for_payload_format_one(api, serve):
    @api.route("GET", "/one", payload_format="1.0")
    async def one(event, context):
        return {"statusCode": 201, "multiValueHeaders": {"x-a": ["1", "2"]}, "body": json.dumps(event)}

    client = await serve()
    answer = await client.ask("GET", "/one?a=1&a=2")
    event = answer.json()
    assert (answer.status, answer["x-a"]) == (201, "1, 2")
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert (event["version"], event["resource"], event["body"]) == ("1.0", "/one", None)


@pytest.mark.parametrize("format_", ["1.0", "2.0"])
async def test_powertools_models_read_the_event(api, serve, format_):
    models = pytest.importorskip("aws_lambda_powertools.utilities.parser.models")
    model = models.APIGatewayProxyEventV2Model if format_ == "2.0" else models.APIGatewayProxyEventModel
    seen = []

    @api.route("ANY", "/{proxy+}", payload_format=format_)
    async def read(event, context):
        seen.append(model.model_validate(event))
        return {"statusCode": 204}

    client = await serve()
    assert (await client.ask("GET", "/a/b?x=1", {"user-agent": "agent"})).status == 204
    assert len(seen) == 1


async def test_what_a_handler_returns_is_the_answer(api, serve):
    answers = {
        "inferred": {"hello": "world"},
        "text": "hello",
        "null": None,
        "status": {"statusCode": 404, "body": "no"},
        "cookies": {"statusCode": 200, "cookies": ["a=1", "b=2"], "headers": {"X-A": "b"}},
        "binary": {"statusCode": 200, "isBase64Encoded": True, "body": base64.b64encode(b"\xff\x00").decode()},
        "wrong-status": {"statusCode": "x"},
        "wrong-header": {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: b"}},
        "large": "x" * (6 * 1024 * 1024),
    }

    @api.route("GET", "/{name}")
    async def answer(event, context):
        return answers[event["pathParameters"]["name"]]

    client = await serve()
    got = {name: await client.ask("GET", f"/{name}") for name in (*answers, "raises")}
    told = {name: (answer.status, answer["content-type"], answer.body) for name, answer in got.items()}
    failed = (500, "application/json", b'{"message":"Internal Server Error"}')
    text = "text/plain; charset=utf-8"
    assert told == {
        "inferred": (200, "application/json", b'{"hello":"world"}'),
        "text": (200, "application/json", b"hello"),
        "null": (200, "application/json", b"null"),
        "status": (404, text, b"no"),
        "cookies": (200, text, b""),
        "binary": (200, text, b"\xff\x00"),
        "wrong-status": failed,
        "wrong-header": failed,
        "large": failed,
        "raises": failed,
    }
    assert [value for name, value in got["cookies"].headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert got["wrong-header"]["set-cookie"] is None


async def test_an_answer_that_cannot_be_used_is_told_to_the_operator(api, serve, caplog):
    @api.route("GET", "/")
    async def wrong(event, context):
        return {"statusCode": 200, "body": {"a": 1}}

    client = await serve()
    assert (await client.ask("GET", "/")).status == 500
    for _ in range(100):
        if "the body is not text" in caplog.text:
            break
        await asyncio.sleep(0.02)
    assert 'API shop: route "GET /": function wrong: the body is not text: dump it as JSON first' in caplog.text


async def test_what_has_no_route_is_not_found(api, serve):
    echo(api, "GET", "/a")
    client = await serve()
    for method, path in [("GET", "/b"), ("POST", "/a"), ("GET", "/a/")]:
        answer = await client.ask(method, path)
        assert (answer.status, answer.body) == (404, b'{"message":"Not Found"}'), (method, path)


async def test_a_method_that_api_gateway_does_not_have_reaches_nobody(api, serve):
    """ANY and $default took each token, past policies that list the seven methods."""
    echo(api, "ANY", "/a")
    echo(api, "$default", name="rest")
    client = await serve()
    for method in ("FOO", "TRACE", "PROPFIND", "get"):
        for path in ("/a", "/b"):
            assert (await client.ask(method, path)).status == 404, method
    assert (await client.ask("PATCH", "/a")).status == 200


async def test_a_head_runs_the_handler_and_has_no_body(api, serve):
    echo(api, "ANY", "/a")
    answer = await (await serve()).ask("HEAD", "/a")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer["content-length"]) > 0


async def test_several_apis_are_told_apart_by_path_and_by_host(app, serve):
    for name, host in [("one", "one.example.com"), ("two", "two.example.com")]:
        echo(app.http_api(name, hosts=[host]), "GET", "/a", name=name)
    client = await serve()
    one = app.http_api("one", hosts=["one.example.com"])
    for host, path, expected in [
        ("localhost", "/_apis/one/a", one.id),
        ("localhost", f"/_apis/{one.id}/a", one.id),
        ("one.example.com", "/a", one.id),
        (f"{one.id}.execute-api.us-east-1.amazonaws.com", "/a", one.id),
        (f"{one.id}.execute-api.us-east-1.localhost", "/a", one.id),
    ]:
        event = (await client.ask("GET", path, host=host)).json()
        assert (event["requestContext"]["apiId"], event["rawPath"]) == (expected, "/a"), (host, path)
    assert (await client.ask("GET", "/a")).status == 404
    assert (await client.ask("GET", "/_apis/three/a")).status == 404


async def test_a_page_of_the_web_that_points_its_name_here_reads_nothing(api, serve):
    echo(api, "GET", "/a")
    client = await serve()
    assert (await client.ask("GET", "/a", host="rebound.example.com")).status == 421
    # The id of an API can be worked out from the names of the app and of the API.
    for host in (
        "execute-api.evil.example.com",
        "lambda-url.evil.example.com",
        "execute-api.x.amazonaws.com.evil.example",
    ):
        assert (await client.ask("GET", "/a", host=f"{api.id}.{host}")).status == 421
    assert (await client.ask("GET", "/_routes", host="rebound.example.com")).status == 421


async def test_a_stage_is_the_first_segment_and_has_variables(api, serve):
    api.stage("$default")
    api.stage("dev", variables={"table": "orders-dev"})
    echo(api, "GET", "/a")
    client = await serve()
    event = (await client.ask("GET", "/dev/a")).json()
    assert event["stageVariables"] == {"table": "orders-dev"}
    assert (event["requestContext"]["stage"], event["rawPath"]) == ("dev", "/dev/a")
    assert "stageVariables" not in (await client.ask("GET", "/a")).json()


async def test_cors_is_the_gateways_where_it_is_declared(app, serve):
    cors = Cors(allow_origins=("https://shop.example.com",), allow_methods=("GET",), allow_headers=("x-a",), max_age=60)
    api = app.http_api("shop", cors=cors)
    calls = []

    @api.route("ANY", "/a")
    async def handler(event, context):
        calls.append(event)
        return {"statusCode": 200, "headers": {"access-control-allow-origin": "*"}, "body": "x"}

    client = await serve()
    asks = {"origin": "https://shop.example.com", "access-control-request-method": "GET"}
    preflight = await client.ask("OPTIONS", "/a", asks)
    assert (preflight.status, calls) == (204, [])
    assert preflight["access-control-allow-methods"] == "GET"
    assert preflight["access-control-max-age"] == "60"
    ours = await client.ask("GET", "/a", {"origin": "https://shop.example.com"})
    assert ours["access-control-allow-origin"] == "https://shop.example.com"
    for headers in ({"origin": "https://evil.example.com"}, {}):
        answer = await client.ask("GET", "/a", headers)
        assert answer["access-control-allow-origin"] is None
        assert answer["vary"] == "origin", "a cache on the way gave it to pages of other origins, too"


@pytest.mark.parametrize("status", [200, 204])
async def test_an_answer_to_options_that_is_no_preflight_has_the_gateways_cors(app, serve, status):
    """One with 204 was taken for the gateway's own, and went out with what the handler allows."""
    api = app.http_api("shop", cors=Cors(allow_origins=("https://shop.example.com",)))

    @api.route("OPTIONS", "/a")
    async def handler(event, context):
        return {"statusCode": status, "headers": {"access-control-allow-origin": "https://evil.example.com"}}

    answer = await (await serve()).ask("OPTIONS", "/a", {"origin": "https://evil.example.com"})
    assert (answer.status, answer["access-control-allow-origin"]) == (status, None)


async def test_a_function_has_a_url_of_its_own(app, serve):
    @app.function(url=True)
    async def hello(event, context):
        if event["rawPath"] == "/raise":
            raise ValueError("no")
        return {"path": event["rawPath"], "key": event["routeKey"], "is": event["requestContext"]["authentication"]}

    client = await serve()
    answer = await client.ask("GET", "//a%2Fb")
    assert answer.json() == {"path": "/a%2Fb", "key": "$default", "is": None}
    failed = await client.ask("GET", "/raise")
    assert (failed.status, failed.body) == (502, b"Internal Server Error")
    assert answer["x-amzn-requestid"]


async def test_an_integration_that_takes_too_long_is_told_so(api, serve):
    ended = asyncio.Event()

    @api.route("GET", "/", timeout=0.1)
    async def slow(event, context):
        await asyncio.sleep(0.5)
        ended.set()

    client = await serve()
    answer = await client.ask("GET", "/")
    assert (answer.status, answer.body) == (503, b'{"message":"Service Unavailable"}')
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_throttle_turns_away_what_is_beyond_it(api, serve):
    echo(api, "GET", "/a", throttle=(0.001, 2))
    client = await serve()
    got = [(await client.ask("GET", "/a")).status for _ in range(4)]
    assert got == [200, 200, 429, 429]


async def test_a_function_without_a_place_is_busy(app, api, serve):
    handler = app.function(reserved_concurrency=0)(echo(api, "GET", "/a"))
    answer = await (await serve()).ask("GET", "/a")
    assert (answer.status, answer["retry-after"]) == (503, "1")
    assert handler.name == "told"


async def test_a_body_has_a_limit(api, serve):
    echo(api, "POST", "/a")
    client = await serve()
    answer = await client.ask("POST", "/a", body=b"x" * (6 * 1024 * 1024 + 1))
    assert (answer.status, answer.body) == (413, b'{"message":"Request Entity Too Large"}')
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"POST /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    assert b" 413 " in (await client.raw(head + chunk * 97 + b"0\r\n\r\n")).splitlines()[0]


async def test_who_asks_before_a_body_is_sent_is_told_at_once_that_it_is_too_large(api, serve, app):
    """It was told to go on, sent seven megabytes, and was refused then."""
    echo(api, "POST", "/a")
    rest = app.rest_api("pets", stage="prod")

    @rest.method("POST", "/a")
    async def pet(event, context):
        return {"statusCode": 200, "body": event["body"]}

    client = await serve()

    def head(path, size):
        lines = [f"POST {path} HTTP/1.1", "host: localhost", "expect: 100-continue", f"content-length: {size}"]
        return "\r\n".join([*lines, "", ""]).encode()

    for path in ("/_apis/shop/a", "/_apis/pets/prod/a"):
        answer = parsed(await client.raw(head(path, 7_000_000)))
        assert (answer.status, answer["connection"]) == (413, "close"), path
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(head("/_apis/shop/a", 2))
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hi")
    assert b"HTTP/1.1 200 OK\r\n" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    writer.close()


async def test_another_server_is_behind_a_proxy_route(api, serve):
    seen = []

    async def backend(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.decode() + (await reader.read(5)).decode())
        writer.write(b"HTTP/1.1 202 Accepted\r\nconnection: close\r\nx-b: 1\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(backend, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    api.proxy("POST /files/{path+}", f"http://127.0.0.1:{port}/base/{{path}}")
    api.proxy("GET /down", "http://127.0.0.1:1/")
    api.proxy("GET /{one}/of/{two}", f"http://127.0.0.1:{port}/{{one}}/${{stageVariables.depot}}/{{two}}")
    api.stage("$default", variables={"depot": "north", "secret": "s3cret"})
    async with server:
        client = await serve()
        headers = {"connection": "close, x-hop", "x-hop": "1", "x-a": "2", "te": "trailers"}
        answer = await client.ask("POST", "/files/a/b%20c?d=1", headers, b"hello")
        down = await client.ask("GET", "/down")
        await client.ask("GET", "/{two}${stageVariables.secret}/of/7", body=b"hello")
    assert (answer.status, answer["x-b"], answer.body) == (202, "1", b"ok")
    first, *lines = seen[0].split("\r\n")
    assert first == "POST /base/a/b%20c?d=1 HTTP/1.1"
    names = {line.partition(":")[0].lower() for line in lines}
    assert {"x-a", "x-forwarded-for"} <= names and names.isdisjoint({"x-hop", "te"})
    assert lines[-1] == "hello" and f"host: 127.0.0.1:{port}" in lines
    assert (down.status, down.body) == (503, b'{"message":"Service Unavailable"}')
    sent = seen[1].split(" ")[1]
    assert sent == "/{two}${stageVariables.secret}/north/7", "what a client sends names no variable"


async def test_what_is_served_is_shown_on_this_machine(app, api, serve):
    echo(api, "GET", "/a")
    client = await serve()
    [told] = (await client.own(app, "GET", "/_routes")).json()
    assert (told["name"], told["id"], told["stages"]) == ("shop", api.id, ["$default"])
    assert [(route["key"], route["target"]) for route in told["routes"]] == [("GET /a", "function told")]
    page = await client.own(app, "GET", "/_routes", {"accept": "text/html"})
    assert page["content-type"] == "text/html; charset=utf-8" and b"GET /a" in page.body
    for name in ("x-forwarded-for", "forwarded", "x-real-ip"):
        assert (await client.own(app, "GET", "/_routes", {name: "192.0.2.1"})).status == 404, "a proxy brings others"
    # nginx says nothing of that by default: whoever came through it saw the page, and could run methods.
    stranger = await client.ask("GET", "/_routes", host="127.0.0.1")
    assert stranger.status == 403 and b"GET /a" not in stranger.body
    assert (await client.ask("GET", f"/_routes?token={await app.api_token()}")).json() == [told]
    assert (await client.ask("GET", "/_routes?token=x")).status == 403


async def test_a_limit_and_a_verdict_hold_on_when_something_else_changes(app, api, serve):
    """Each change of any API or URL filled all throttles and forgot all verdicts, so that a loop switched them off."""
    asked = []

    @app.function()
    async def judge(event, context):
        asked.append(event)
        return {"isAuthorized": True}

    @app.function()
    async def other(event, context):
        return None

    gate = api.lambda_authorizer("judge", judge)
    api.route("GET", "/limited", throttle=(0.001, 2))(other)
    api.route("GET", "/guarded", authorizer=gate)(other)
    client = await serve()
    for change in ("Create", "Update", "Delete", "Create"):
        named = {"FunctionName": "other", **({} if change == "Delete" else {"AuthType": "NONE"})}
        told = await app._caller.ask("rest.call", operation=f"{change}FunctionUrlConfig", params=named)
        assert "error" not in told
        await client.ask("GET", "/_apis/shop/limited")
        assert (await client.ask("GET", "/_apis/shop/guarded", {"authorization": "x"})).status == 200
    assert (await client.ask("GET", "/_apis/shop/limited")).status == 429
    assert len(asked) == 1


async def test_a_route_that_is_added_while_the_app_runs_is_served(api, serve):
    echo(api, "GET", "/a")
    client = await serve()

    @api.route("GET", "/later")
    async def later(event, context):
        return "later"

    assert (await api.describe())["routes"][-1]["key"] == "GET /later"
    assert (await client.ask("GET", "/later")).body == b"later"


async def test_requests_are_counted_with_awss_names(app, api, serve):
    echo(api, "GET", "/a")
    client = await serve()
    for path in ("/a", "/a", "/b"):
        await client.ask("GET", path)
    labels = {"api": "shop", "stage": "$default"}
    count = app.metrics.statistic("Count", "Sum", period=60, route="GET /a", **labels)
    errors = app.metrics.statistic("4xx", "Sum", period=60, route="", **labels)
    assert (count, errors) == (2, 1)


async def test_several_requests_go_over_one_connection_in_order(api, serve):
    echo(api, "GET", "/{n}")
    client = await serve()
    asks = b"".join(b"GET /%d HTTP/1.1\r\nhost: localhost\r\n\r\n" % n for n in range(3))
    last = b"GET /3 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    got = await client.raw(asks + last)
    assert [got.index(b'"n":"%d"' % n) for n in range(4)] == sorted(got.index(b'"n":"%d"' % n) for n in range(4))


async def test_declaring_what_cannot_be_is_refused_where_it_stands(app, api):
    for options, part in [
        (("GET", "orders"), "does not begin with /"),
        (("FETCH", "/a"), "is not a method"),
        (("GET", "/{a+}/b"), "must be the last segment"),
    ]:
        with pytest.raises(InvalidParameterValue, match=part):
            echo(api, *options)
    for options, part in [
        ({"timeout": 31}, "timeout=31"),
        ({"authorizer": "nobody"}, "there is no authorizer"),
        ({"payload_format": "3.0"}, "payload_format"),
        ({"scopes": "read"}, "scopes"),
        ({"throttle": 5}, "throttle"),
    ]:
        with pytest.raises(InvalidParameterValue, match=part):
            echo(api, "GET", "/a", **options)
    echo(api, "GET", "/b/{x}", name="b")
    with pytest.raises(ResourceConflict):
        echo(api, "GET", "/b/{x}")
    with pytest.raises(InvalidParameterValue, match="declared twice"):
        echo(api, "GET", "/b/{y}")
    echo(api, "GET", "/c")  # what was refused has left no function behind
    with pytest.raises(ResourceConflict):
        app.http_api("shop", hosts=["x.example.com"])
    with pytest.raises(InvalidParameterValue, match="without a path"):
        app.http_api("other", cors=Cors(allow_origins=("https://a.example.com/x",)))
    with pytest.raises(InvalidParameterValue, match="url="):
        app.function(url="yes")
    assert FunctionUrl(cors=Cors(allow_origins=("*",))).cors is not None


async def test_another_address_needs_a_word(app, api):
    with pytest.raises(InvalidParameterValue, match="is not a loopback address"):
        await app.start(http_host="0.0.0.0", http_port=1)  # noqa: S104  it is refused
    with pytest.raises(InvalidParameterValue, match="http_tls"):
        await app.start(http_port=1, http_tls=True)


async def test_a_port_that_is_held_is_named(app, api, serve):
    client = await serve()
    with pytest.raises(InvalidParameterValue, match=r"http_port: cannot listen on 127\.0\.0\.1"):
        await App("other", store=":memory:").start(http_port=client.port)


async def test_requests_under_way_are_answered_when_the_app_stops(app, api, serve):
    began = asyncio.Event()

    @api.route("GET", "/")
    async def slow(event, context):
        began.set()
        await asyncio.sleep(2.3)  # longer than a listener waits that is cut off
        return "whole"

    client = await serve()
    asked = asyncio.ensure_future(client.ask("GET", "/"))
    await began.wait()
    await app.stop()
    answer = await asked
    assert (answer.status, answer.body) == (200, b"whole")
    with pytest.raises(OSError, match="Connect call failed"):
        await client.ask("GET", "/")
