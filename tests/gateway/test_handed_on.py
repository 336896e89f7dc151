"""What is handed on to another server: what the gateway says of a client, and no path that is guarded elsewhere."""

import asyncio
import json

import pytest
from plain_client import parsed
from ports import free_port
from waiting import until


class Behind:
    """A server that tells what it was asked."""

    def __init__(self):
        self.heads = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def answer(self, reader, writer):
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        writer.close()

    def headers(self):
        """Give the headers of the newest request, and its target."""
        first, *lines = self.heads[-1].split("\r\n")
        return first.split()[1], {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.fixture
async def behind():
    async with Behind() as server:
        yield server


async def get(client, path, *lines):
    head = [f"GET {path} HTTP/1.1", "host: localhost", *lines, "", ""]
    return parsed(await client.raw("\r\n".join(head).encode()))


async def test_a_client_takes_nothing_out_that_the_gateway_says(app, serve, behind):
    """`Connection: x-forwarded-for` hid from the server behind who had asked."""

    @app.function()
    async def guard(event, context):
        return {"isAuthorized": True}

    api = app.http_api("shop")
    tenant = api.lambda_authorizer("tenant", guard, identity_sources=["$request.header.x-tenant"])
    api.proxy("GET /open/{proxy+}", f"{behind.url}/{{proxy}}")
    api.proxy("GET /guarded", f"{behind.url}/guarded", authorizer=tenant)
    client = await serve()
    named = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "authorization", "cookie", "content-type"]
    sent = [f"{name}: 1" for name in ("authorization", "cookie", "content-type", "x-tenant", "x-hop")]
    connection = f"connection: close, X-Tenant, x-hop, {', '.join(named)}"
    assert (await get(client, "/open/a", connection, *sent)).status == 200
    target, headers = behind.headers()
    assert target == "/a"
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
    assert headers["x-forwarded-port"] == str(client.port)
    assert [headers.get(name) for name in (*named[3:], "x-hop", "x-tenant")] == ["1", "1", "1", None, None]
    assert (await get(client, "/guarded", connection, *sent)).status == 200
    assert behind.headers()[1]["x-tenant"] == "1", "the server is told of whom the authoriser was asked"


CLIMBS = [
    "../admin",
    "%2e%2e/admin",
    "..%2fadmin",
    ".%2E/admin",
    "a/../../admin",
    "..%5cadmin",
    "..;/admin",
    "./a",
    ".",
    "%ff/%2e%2e/%2e%2e/admin",
    "..%2fadmin/%ff",
]


async def test_a_path_that_climbs_goes_to_no_server(app, serve, behind):
    """A server reads `/base/../admin` as `/admin`, which no route had let through."""
    api = app.http_api("shop")
    api.stage("$default")
    api.proxy("ANY /x/{proxy+}", f"{behind.url}/base/{{proxy}}")
    api.proxy("$default", f"{behind.url}/all")
    rest = app.rest_api("legacy")
    client = await serve()
    root = (await rest.call("GetRestApi"))["rootResourceId"]
    public = (await rest.call("CreateResource", parentId=root, pathPart="x"))["id"]
    made = {"resourceId": (await rest.call("CreateResource", parentId=public, pathPart="{proxy+}"))["id"]}
    proxy = "method.request.path.proxy"
    await rest.call("PutMethod", httpMethod="GET", authorizationType="NONE", requestParameters={proxy: True}, **made)
    uri, parameters = f"{behind.url}/base/{{proxy}}", {"integration.request.path.proxy": proxy}
    await rest.call(
        "PutIntegration",
        httpMethod="GET",
        type="HTTP_PROXY",
        integrationHttpMethod="GET",
        uri=uri,
        requestParameters=parameters,
        **made,
    )
    await rest.call("CreateDeployment", stageName="dev")
    for base in ("/_apis/shop/x/", "/_apis/shop/other/", "/_apis/legacy/dev/x/"):
        for path in CLIMBS:
            answer = await client.ask("GET", base + path)
            assert answer.status == 400, (base, path)
    assert behind.heads == []
    for base in ("/_apis/shop/x/", "/_apis/legacy/dev/x/"):
        assert (await client.ask("GET", base + "a..b/...%2Fc")).status == 200
        assert behind.headers()[0] == "/base/a..b/...%2Fc"


async def test_a_path_that_is_written_otherwise_does_not_go_round_a_guard(app, serve, behind):
    """`//admin/x` was taken by the open route, and servers read it as `/admin/x`."""

    @app.function()
    async def guard(event, context):
        return {"isAuthorized": False}

    api = app.http_api("shop")
    api.proxy("ANY /{proxy+}", f"{behind.url}/{{proxy}}")
    api.proxy("ANY /admin/{proxy+}", f"{behind.url}/admin/{{proxy}}", authorizer=api.lambda_authorizer("g", guard))
    client = await serve()
    for path in (
        "//admin/x",
        "/admin%2Fx",
        "/admin%2fx%2Fy",
        "/%61dmin%2F%ff",
        "/admin;a=1/x",
        "/%5cadmin/x",
        "/admin;%2fy/x",
        "//admin/a%2fb",
        "/admin;a=1/x%2fy",
    ):
        assert (await client.ask("GET", path, {"authorization": "x"})).status == 400, path
    assert (await client.ask("GET", "/admin//x", {"authorization": "x"})).status == 403
    for path in ("//x/admin/x", "/%2fx/admin/x", "//x%2fy/admin/x"):
        assert (await client.ask("GET", path)).status == 400, path
    assert behind.heads == []
    assert (await client.ask("GET", "/files//a%2Fb")).status == 200


async def test_a_policy_is_held_against_the_path_that_a_climbing_one_means(app, serve):
    """`/public/../secret` was let in by a policy that allows `/public/*`, and reached a handler that resolves it."""

    @app.function()
    async def guard(event, context):
        prefix = event["methodArn"].partition("/GET/")[0]
        statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{prefix}/GET/public/*"}
        return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}

    api, rest = app.http_api("shop"), app.rest_api("legacy")
    gate = api.lambda_authorizer("g", guard, payload_format="1.0", simple_responses=False)

    @api.route("ANY", "/{proxy+}", authorizer=gate)
    async def handler(event, context):
        return event["rawPath"]

    client = await serve()

    @rest.method("ANY", "/{proxy+}")
    async def held(event, context):
        return {"statusCode": 200}

    policy = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "execute-api:Invoke",
        "Resource": "execute-api:/dev/GET/public/*",
    }
    patch = [{"op": "replace", "path": "/policy", "value": json.dumps({"Statement": [policy]})}]
    await rest.call("UpdateRestApi", patchOperations=patch)
    await rest.deploy("dev")
    for base, refused in (("/_apis/shop", 403), ("/_apis/legacy/dev", 403)):
        climbing = ("/public/../secret", "/public/%2e%2e/secret", "/public/..%2Fsecret", "/public/..%5csecret")
        for path in (*climbing, "/public/%ff/%2e%2e/%2e%2e/secret", "/secret"):
            assert (await client.ask("GET", base + path, {"authorization": "x"})).status == refused, (base, path)
        found = await client.ask("GET", f"{base}/public/a/../b", {"authorization": "x"})
        assert found.status != 403, base


async def test_what_a_client_gives_for_a_path_is_one_segment_of_it(app, serve, behind):
    """`?id=a%3fadmin=1` asked the server for `/items/a?admin=1`, and an id with a space was a failure of the server."""
    client, rest = await serve(), app.rest_api("legacy")
    root = (await rest.call("GetRestApi"))["rootResourceId"]
    made = {"resourceId": root, "httpMethod": "GET"}
    await rest.call(
        "PutMethod", **made, authorizationType="NONE", requestParameters={"method.request.querystring.id": False}
    )
    await rest.call(
        "PutIntegration",
        **made,
        type="HTTP_PROXY",
        integrationHttpMethod="GET",
        uri=f"{behind.url}/items/{{id}}",
        requestParameters={"integration.request.path.id": "method.request.querystring.id"},
    )
    await rest.call("CreateDeployment", stageName="dev")
    for given, sent in [("a%3fadmin=1", "a%3Fadmin%3D1"), ("a%23b", "a%23b"), ("a%2fb", "a%2Fb"), ("a%20b", "a%20b")]:
        assert (await client.ask("GET", f"/_apis/legacy/dev/?id={given}")).status == 200, given
        assert behind.headers()[0].partition("?")[0] == f"/items/{sent}"


async def test_the_log_names_the_server_that_is_down_and_nothing_of_its_clients(app, serve, caplog):
    """A token in the query string stood in the log, and each other one made another line."""
    client, rest = await serve(), app.rest_api("legacy")
    root = (await rest.call("GetRestApi"))["rootResourceId"]
    made = {"resourceId": root, "httpMethod": "GET"}
    await rest.call("PutMethod", **made, authorizationType="NONE")
    uri = f"http://127.0.0.1:{free_port()}/items"
    await rest.call("PutIntegration", **made, type="HTTP_PROXY", integrationHttpMethod="GET", uri=uri)
    await rest.call("CreateDeployment", stageName="dev")
    for number in range(3):
        assert (await client.ask("GET", f"/_apis/legacy/dev/?token=SECRET{number}")).status == 504
    await until(lambda: "client error" in caplog.text)
    assert "SECRET" not in caplog.text and uri.removesuffix("/items") in caplog.text
    assert len([record for record in caplog.records if "client error" in record.getMessage()]) == 1
