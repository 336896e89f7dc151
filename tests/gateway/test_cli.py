"""`forebay api`, as a user types it while the app runs."""

import asyncio
import json
import os
import signal

from click.testing import CliRunner
from ports import free_port

from forebay import App
from forebay._model.http_address import HttpAddress
from forebay._model.metrics import MetricsAddress
from forebay._model.wire import WireAddress
from forebay.cli import main
from forebay.cli.run import serve


async def forebay(*words):
    result = await asyncio.to_thread(CliRunner().invoke, main, ["api", *map(str, words)])
    return result.exit_code, result.output


async def until_it_runs(caplog):
    for _ in range(1_000):
        if "app 'shop' runs on" in caplog.text:
            break
        await asyncio.sleep(0.02)


async def test_apis_and_routes_are_listed_while_the_app_runs(tmp_path, no_task_is_left):
    app = App("shop", store=tmp_path / "data")
    api = app.http_api("shop")

    @api.route("GET", "/orders/{id}")
    async def order(event, context):
        return None

    api.proxy("ANY /old/{path+}", "http://127.0.0.1:9000/{path}")
    async with app:
        store = ("--store", tmp_path / "data")
        assert api.id in (await forebay("list", *store))[1]
        status, output = await forebay("routes", "shop", *store)
        assert status == 0 and "GET /orders/{id}" in output and "http://127.0.0.1:9000/{path}" in output
        [listed] = json.loads((await forebay("list", *store, "--output", "json"))[1])
        assert (listed["kind"], listed["stages"], len(listed["routes"])) == ("http", ["$default"], 2)
        status, output = await forebay("routes", "other", *store)
        assert status == 1 and "there is no API 'other'" in output.replace('"', "'")
    status, output = await forebay("list", *store)
    assert status == 1 and "no app runs" in output


async def test_rest_apis_are_listed_beside_them(tmp_path, no_task_is_left):
    """There was none, it said, and that no API had the name."""
    app = App("shop", store=tmp_path / "data")
    app.http_api("shop")
    rest = app.rest_api("pets", stage="prod")

    @rest.method("GET", "/pets/{id}", authorization_type="AWS_IAM")
    async def pet(event, context):
        return None

    async with app:
        root = (await rest.call("GetRestApi"))["rootResourceId"]
        await rest.call("PutMethod", resourceId=root, httpMethod="ANY", authorizationType="NONE")
        await rest.call("PutIntegration", resourceId=root, httpMethod="ANY", type="MOCK")
        store = ("--store", tmp_path / "data")
        listed = json.loads((await forebay("list", *store, "--output", "json"))[1])
        told = [(one["name"], one["kind"], one["stages"]) for one in listed]
        assert told == [("shop", "http", ["$default"]), ("pets", "rest", ["prod"])]
        bare = (await rest.call("CreateRestApi", name="pets"))["id"]
        paths = [line.split()[3] for line in (await forebay("list", *store))[1].splitlines()[1:]]
        pets = listed[1]["id"]
        assert paths[0] == "/_apis/shop/" and f"/_apis/{pets}/" in paths[1:] and "/_apis/pets/" not in paths
        for words, part in [
            ((pets,), f"{pets!r} is a REST API: say which stage, too: prod"),
            ((pets, "dev"), f"REST API {pets!r} has no stage 'dev': there is prod"),
            ((bare, "dev"), "has no stage 'dev': there is none, until `RestApi.deploy` or CreateDeployment"),
            ((bare, "none"), "has no stage 'none'"),
            ((bare,), "say which stage, too: none, until `RestApi.deploy`"),
            (("cats",), "there is no API 'cats': there are shop, pets, pets"),
            (("shop", "dev"), "'shop' is not a REST API: leave the stage out"),
        ]:
            status, output = await forebay("export", *words, *store)
            assert status == 1 and part in output, output
        for words, part in [
            ((pets, "prod"), f"forgot the answers of stage prod of {pets}"),
            ((pets, "prod", "--authorizers"), f"forgot what authorisers have said for stage prod of {pets}"),
            ((pets, "dev"), f"REST API {pets!r} has no stage 'dev': there is prod"),
            (
                ("shop", "dev"),
                "'shop' is not a REST API: only the stages of REST APIs keep answers: --authorizers forgets",
            ),
            (("shop", "dev", "--authorizers"), "ResetAuthorizersCache: Invalid Stage identifier specified dev"),
        ]:
            status, output = await forebay("flush", *words, *store)
            assert (status == 0) == output.startswith("forgot") and part in output, output
        await rest.call("DeleteRestApi", restApiId=bare)
        for name in ("pets", pets):
            status, output = await forebay("routes", name, *store)
            lines = [line.split() for line in output.splitlines()[-2:]]
            assert status == 0 and lines[0][:3] == ["ANY", "/", "mock"], output
            assert lines[1][:5] == ["GET", "/pets/{id}", "function", "pet", "AWS_IAM"], output


async def test_apis_that_calls_have_made_are_listed(tmp_path, no_task_is_left):
    """`/_routes` had them, and the command did not."""
    app = App("shop", store=tmp_path / "data")
    api = app.http_api("shop")

    @app.function()
    async def order(event, context):
        return None

    api.route("GET", "/orders")(order)
    async with app:
        arn = "arn:aws:lambda:local:000000000000:function:order"
        made = await api._caller.ask(
            "http_api.call",
            operation="CreateApi",
            params={"Name": "made", "ProtocolType": "HTTP", "Target": arn, "RouteKey": "GET /made"},
        )
        assert made["status"] == 200, made
        store = ("--store", tmp_path / "data")
        status, output = await forebay("routes", "made", *store)
        assert status == 0 and "GET /made" in output, output
        assert [one["name"] for one in json.loads((await forebay("list", *store, "--output", "json"))[1])] == [
            "shop",
            "made",
        ]
        assert "/made" in (await forebay("export", "made", *store))[1]


async def test_a_route_is_tried(tmp_path, clients):
    app = App("shop", store=tmp_path / "data")
    api, rest = app.http_api("shop"), app.rest_api("pets", stage="prod")

    @api.route("POST", "/orders/{id}")
    async def order(event, context):
        return {"statusCode": 201, "body": f"{event['pathParameters']['id']} {event['body']} {event['headers']['x-a']}"}

    @rest.method("GET", "/pets/{id}", api_key_required=True)
    async def pet(event, context):
        return {"statusCode": 200, "body": event["pathParameters"]["id"]}

    client = await clients(app)
    where = ("--store", tmp_path / "data", "--url", f"http://127.0.0.1:{client.port}")
    status, output = await forebay("test", "shop", "POST /orders/7", "--data", "two", "-H", "x-a: b", *where)
    assert status == 0 and output.startswith("201\n") and output.endswith("7 two b\n")
    status, output = await forebay("test", "pets", "GET /pets/7?a=1", *where)
    assert status == 0 and output.startswith("200\n") and "Method completed with status: 200" in output
    [told] = [json.loads((await forebay("test", "pets", "GET /pets/8", *where, "--output", "json"))[1])]
    assert (told["status"], told["body"]) == (200, "8")
    for words, part in [
        (("pets", "GET /cats"), "no resource has the path '/cats'"),
        (("cats", "GET /"), "there is no API 'cats': there are shop, pets"),
        (("pets", "POST /pets/7"), "/pets/{id} has no method POST: there is GET"),
        (("pets", "GET /pets/7", "--stage", "prod"), "--stage is for HTTP APIs"),
        (("shop", "orders"), "a request is a method and a path"),
        (("shop", "GET /", "--url", "http://127.0.0.1:9"), "start the app with --http-port"),
    ]:
        status, output = await forebay("test", *words, *(where[:2] if "--url" in words else where))
        assert status != 0 and part in output, output
    status, output = await forebay("link", *where)
    page = await client.ask("GET", output.strip().removeprefix(where[3]))
    assert (status, page.status, len(page.json())) == (0, 200, 2)
    status, output = await forebay("link", "--token", *where)
    assert (status, output.strip()) == (0, await app.api_token())


async def test_a_process_that_never_owns_the_store_says_nothing_of_http(tmp_path, caplog, no_task_is_left):
    """It said that HTTP would be there once it owned the store."""
    caplog.set_level("INFO")
    first = App("shop", store=tmp_path / "data")
    second = App("shop", store=tmp_path / "data", serve=False)
    http, aws = HttpAddress(port=free_port()), WireAddress(port=free_port())
    async with first:
        running = asyncio.create_task(serve(second, 1, metrics=MetricsAddress(), http=http, aws=aws))
        await until_it_runs(caplog)
        assert "will be on" not in caplog.text and "HTTP" not in caplog.text
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0


async def test_a_second_process_says_that_it_does_not_serve_yet(tmp_path, caplog, no_task_is_left):
    """It said "HTTP is on", as the first one had done, and served nothing."""
    caplog.set_level("INFO")
    first, second = App("shop", store=tmp_path / "data"), App("shop", store=tmp_path / "data")
    for app in (first, second):
        app.http_api("shop")
    http, aws = HttpAddress(port=free_port()), WireAddress(port=free_port())
    async with first:
        running = asyncio.create_task(serve(second, 1, metrics=MetricsAddress(), http=http, aws=aws))
        await until_it_runs(caplog)
        assert f"HTTP will be on http://127.0.0.1:{http.port} once this process owns the store" in caplog.text
        assert "wire API will be on" in caplog.text and "HTTP is on" not in caplog.text
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0
