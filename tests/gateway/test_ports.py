"""An API with a port of its own: it is alone there, at the root."""

import json
import socket

import pytest
from plain_client import Client
from ports import free_port
from sockets import TEXT, connect

from forebay import App, InvalidParameterValue, ResourceConflict


async def here(event, context):
    return {
        "path": event["rawPath"],
        "port": event["headers"]["x-forwarded-port"],
        "api": event["requestContext"]["apiId"],
    }


@pytest.fixture
async def started(app):
    """Start the app, and stop it at the end."""
    begun = []

    async def start(**options):
        await app.start(**options)
        begun.append(app)

    yield start
    for one in begun:
        await one.stop()


async def test_it_is_alone_at_the_root_and_with_the_others_at_theirs(app, started):
    own, all_ = free_port(), free_port()
    shop, other = app.http_api("shop", port=own), app.http_api("other")
    function = app.function(name="here")(here)
    for api in (shop, other):
        api.route("GET", "/orders/{id}")(function)
    await started(http_port=all_)
    alone, together = Client(own), Client(all_)
    answer = {"path": "/orders/1", "port": str(own), "api": shop.id}
    assert (await alone.ask("GET", "/orders/1")).json() == answer
    assert (await alone.ask("GET", "/orders/1", host=f"127.0.0.1:{own}")).json() == answer
    # Neither its prefix, nor another API, nor a page leads anywhere else there.
    for path in (f"/_apis/{shop.id}/orders/1", "/_apis/other/orders/1", "/_routes", "/_test/invoke-method"):
        assert (await alone.ask("GET", path)).json() == {"message": "Not Found"}
    assert (await alone.ask("GET", "/orders/1", host="other.localhost")).json() == answer
    assert (await alone.ask("GET", "/orders/1", host="evil.example.com")).status == 421
    assert (await together.ask("GET", "/_apis/shop/orders/1")).json() == {**answer, "port": str(all_)}
    assert (await together.ask("GET", "/_apis/other/orders/1")).json()["api"] == other.id


async def test_it_needs_no_port_for_all(app, started):
    own = free_port()
    api = app.http_api("shop", port=own)
    api.stage("dev")
    api.route("GET", "/orders")(here)
    await started()
    assert (await Client(own).ask("GET", "/dev/orders")).json()["path"] == "/dev/orders"
    assert (await Client(own).ask("GET", "/orders")).status == 404


async def test_a_websocket_api_has_one_too(app, started):
    own = free_port()
    ws = app.websocket_api("chat", port=own)

    @ws.on_default(responds=True)
    async def echo(event, context):
        return event["body"]

    await started()
    opened = await connect(own, "/")
    await opened.send("hello")
    assert await opened.receive() == (TEXT, b"hello")
    await app.stop()
    assert await opened.closed() == 1001
    opened.cut()


async def test_a_rest_api_has_one_too(app, started):
    own, all_ = free_port(), free_port()
    function = app.function(name="told")(told)
    rest = app.rest_api("legacy", stage="prod", port=own)
    rest.method("GET", "/pets/{id}")(function)
    app.rest_api("other", stage="prod").method("GET", "/pets/{id}")(function)
    await started(http_port=all_)
    answer = await Client(own).ask("GET", "/prod/pets/7", {"X-Mixed": "1"})
    assert answer.json() == {"path": "/pets/7", "port": str(own), "mixed": True}
    assert (await Client(all_).ask("GET", "/_apis/legacy/prod/pets/7")).json()["port"] == str(all_)
    # It is alone there: no other API and no page of this machine is behind that port.
    for path in ("/_apis/other/prod/pets/7", "/_routes", "/_test/invoke-method", "/dev/pets/7"):
        assert (await Client(own).ask("GET", path)).json() == {"message": "Forbidden"}
    closed = [{"op": "replace", "path": "/disableExecuteApiEndpoint", "value": "true"}]
    await rest.call("UpdateRestApi", patchOperations=closed)
    for path, host in (("/_apis/legacy/prod/pets/7", "localhost"), ("/prod/pets/7", "legacy.localhost")):
        answer = await Client(all_).ask("GET", path, host=host)
        assert (answer.status, answer.json()) == (403, {"message": "Forbidden"})
    assert (await Client(own).ask("GET", "/prod/pets/7")).status == 200
    assert app.rest_api("legacy") is rest
    with pytest.raises(ResourceConflict, match="another port"):
        app.rest_api("legacy", port=free_port())


async def told(event, context):
    headers = event["headers"]
    found = {"path": event["path"], "port": headers["X-Forwarded-Port"], "mixed": "X-Mixed" in headers}
    return {"statusCode": 200, "body": json.dumps(found)}


async def test_a_port_that_is_held_is_refused_at_the_start(app):
    with socket.create_server(("127.0.0.1", 0)) as held:
        app.http_api("shop", port=held.getsockname()[1])
        with pytest.raises(InvalidParameterValue, match=r'the port of API "shop": .*; choose another port'):
            await app.start()


async def test_what_cannot_be_is_refused_where_it_is_declared(app, started):
    for port in (0, 65_536, "8000", True):
        with pytest.raises(InvalidParameterValue, match="port"):
            App("t", store=":memory:").http_api("shop", port=port)
    own = free_port()
    api = app.http_api("shop", port=own)
    api.route("GET", "/")(here)
    await started()
    assert app.http_api("shop", port=own) is api
    for declare in (app.http_api, app.websocket_api, app.rest_api):
        with pytest.raises(InvalidParameterValue, match="before the app starts"):
            declare("late", port=free_port())


async def test_the_log_tells_where_each_is(app, started, caplog):
    own, all_ = free_port(), free_port()
    app.http_api("shop")
    app.websocket_api("chat")
    app.websocket_api("till", port=own)
    with caplog.at_level("INFO", "forebay.app"):
        await started(http_port=all_)
    told = [record.getMessage().partition(" is served at ")[2] for record in caplog.records]
    for place in (
        f"http://127.0.0.1:{all_}/_apis/shop/",
        f"ws://127.0.0.1:{all_}/_apis/chat/",
        f"ws://127.0.0.1:{own}/",
    ):
        assert place in told, told


async def test_the_log_tells_of_what_calls_have_made(tmp_path, caplog, no_task_is_left):
    """They were served, and the log of a start named those that the program declares alone."""

    def shop():
        app = App("shop", store=tmp_path)
        rest = app.rest_api("pets", stage="prod")
        rest.method("GET", "/pets")(app.function(name="here")(here))
        return app, rest

    app, rest = shop()
    async with app:
        await rest.deploy("dev")
        arn = "arn:aws:lambda:local:000000000000:function:here"
        params = {"Name": "made", "ProtocolType": "HTTP", "Target": arn, "RouteKey": "GET /made"}
        made = (await rest._caller.ask("http_api.call", operation="CreateApi", params=params))["body"]["ApiId"]
        api = (await rest.call("GetRestApi"))["id"]
    app, port = shop()[0], free_port()
    with caplog.at_level("INFO", "forebay.app"):
        await app.start(http_port=port)
    await app.stop()
    told = [text for text in (record.getMessage() for record in caplog.records) if "served at" in text]
    base = f"http://127.0.0.1:{port}/_apis"
    assert told == [
        f"API pets/prod is served at {base}/pets/prod/",
        f"API made is served at {base}/{made}/",
        f"API pets/dev is served at {base}/{api}/dev/",
    ]
