"""HTTP APIs as OpenAPI documents: what one declares is served, and what is served is written as one."""

import asyncio
import json

import pytest
import yaml
from click.testing import CliRunner

from forebay import App, Cors, InvalidParameterValue, ResourceConflict, ResourceNotFound
from forebay.cli import main

FUNCTION = (
    "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function"
)


def integration(function, **more):
    return {
        "x-amazon-apigateway-integration": {
            "type": "aws_proxy",
            "httpMethod": "POST",
            "uri": f"{FUNCTION}:{function}/invocations",
            "payloadFormatVersion": "2.0",
            **more,
        }
    }


def document():
    guard = {
        "type": "request",
        "identitySource": "$request.header.x-who",
        "authorizerUri": f"{FUNCTION}:guard/invocations",
        "authorizerPayloadFormatVersion": "2.0",
        "authorizerResultTtlInSeconds": 0,
        "enableSimpleResponses": True,
    }
    users = {"type": "jwt", "jwtConfiguration": {"issuer": "https://login.example.com", "audience": ["shop"]}}
    key = {"type": "apiKey", "name": "x-who", "in": "header"}
    return {
        "openapi": "3.0.1",
        "info": {"title": "shop", "version": "1"},
        "paths": {
            "/orders/{id}": {
                "get": integration("order"),
                "delete": {**integration("order", payloadFormatVersion="1.0"), "security": [{"staff": []}]},
                "put": {**integration("order"), "security": [{"users": ["orders:write"]}]},
            },
            "/$default": {"x-amazon-apigateway-any-method": integration("order", timeoutInMillis=1_000)},
        },
        "components": {
            "securitySchemes": {
                "staff": {**key, "x-amazon-apigateway-authorizer": guard},
                "users": {"type": "oauth2", "flows": {}, "x-amazon-apigateway-authorizer": users},
            }
        },
        "x-amazon-apigateway-cors": {"allowOrigins": ["https://shop.example.com"], "allowMethods": ["GET"]},
    }


def functions(app):
    @app.function()
    async def order(event, context):
        return {"key": event["routeKey"] if event["version"] == "2.0" else event["resource"]}

    @app.function()
    async def guard(event, context):
        return {"isAuthorized": event["identitySource"] == ["ali"]}

    return order, guard


@pytest.mark.parametrize("written", [dict, json.dumps, yaml.safe_dump], ids=["dict", "json", "yaml"])
async def test_what_a_document_declares_is_served(app, serve, written):
    functions(app)
    app.http_api("shop").import_openapi(written(document()))
    client = await serve()
    answer = await client.ask("GET", "/orders/7", {"origin": "https://shop.example.com"})
    assert (answer.json(), answer["access-control-allow-origin"]) == (
        {"key": "GET /orders/{id}"},
        "https://shop.example.com",
    )
    assert (await client.ask("POST", "/else")).json() == {"key": "$default"}
    assert (await client.ask("DELETE", "/orders/7")).status == 401
    assert (await client.ask("DELETE", "/orders/7", {"x-who": "eve"})).status == 403
    # Format 1.0 has no answer without a statusCode.
    assert (await client.ask("DELETE", "/orders/7", {"x-who": "ali"})).status == 500
    assert (await client.ask("PUT", "/orders/7", {"authorization": "Bearer nonsense"})).status == 401


async def test_what_is_served_is_written_and_read_again(app, tmp_path):
    order, guard = functions(app)
    api = app.http_api("shop", cors=Cors(allow_origins=("*",), max_age=60))
    staff = api.lambda_authorizer("staff", guard, ttl=30)
    users = api.jwt_authorizer("users", issuer="https://login.example.com", audiences=["a", "b"])
    api.route("GET", "/orders/{id}", authorizer=users, scopes=["read"], timeout=2)(order)
    api.route("ANY", "/files/{path+}", authorizer=staff)(order)
    api.route("POST", "/signed", authorizer=api.iam_authorizer())(order)
    api.proxy("$default", "http://127.0.0.1:9000")
    async with app:
        first = await api.export()
        assert yaml.safe_load(await api.export(accepts="application/yaml")) == json.loads(first)
        described = await api.describe()
    read = json.loads(first)
    get = read["paths"]["/orders/{id}"]["get"]
    assert get["security"] == [{"users": ["read"]}]
    assert get["parameters"] == [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    assert read["x-amazon-apigateway-cors"]["maxAge"] == 60
    file = tmp_path / "shop.json"
    file.write_text(first)
    again = App("shop", store=":memory:")
    functions(again)
    copy = again.http_api("shop")
    copy.import_openapi(file)
    async with again:
        assert json.loads(await copy.export()) == read
        told = await copy.describe()
    by_key = {one["key"]: one for one in described["routes"]}
    assert {one["key"]: one for one in told["routes"]} == by_key


async def test_a_document_that_cannot_be_declares_nothing(app):
    functions(app)
    api = app.http_api("shop")
    wrong = document()
    wrong["paths"]["/$default"]["x-amazon-apigateway-any-method"] = {}
    wrong["paths"]["/orders/{id}"]["get"]["security"] = [{"nobody": []}]
    with pytest.raises(InvalidParameterValue, match="nobody") as refused:
        api.import_openapi(wrong)
    assert "$default: it has no x-amazon-apigateway-integration" in str(refused.value)
    late = document()
    late["paths"]["/$default"]["x-amazon-apigateway-any-method"] = integration("order", timeoutInMillis=40_000)
    with pytest.raises(InvalidParameterValue, match="50 to 30000"):
        api.import_openapi(late)
    several = document()
    several["paths"]["b"] = {"get": integration("order")}
    several["paths"]["/c"] = {"get": {"x-amazon-apigateway-integration": {"type": "http_proxy", "uri": "ftp://x"}}}
    several["paths"]["/d"] = {"get": integration("order", type="mock")}
    several["paths"]["/e"] = {"get": {**integration("order"), "x-amazon-apigateway-request-validator": "all"}}
    several["x-amazon-apigateway-cors"]["allowOrigins"] = ["shop.example.com/"]
    with pytest.raises(InvalidParameterValue) as refused:
        api.import_openapi(several)
    for part in ("GET b", "ftp", "mock", "GET /e: x-amazon-apigateway-request-validator", "shop.example.com/"):
        assert part in str(refused.value), "each error is told, and not the first alone"
    assert api.definition()["routes"] == [] == api.definition()["authorizers"]
    api.import_openapi(document())
    with pytest.raises(ResourceConflict, match="already declared"):
        api.import_openapi(document())
    with pytest.raises(ResourceConflict, match="CORS"):
        app.http_api("other", cors=Cors(allow_origins=("*",))).import_openapi(document())


async def test_a_function_that_is_not_there_is_named_at_the_start(app):
    app.http_api("shop").import_openapi(document())
    with pytest.raises(
        ResourceNotFound, match=r'API "shop", route "(GET|DELETE|PUT|ANY|.default).*there is no function "order"'
    ):
        await app.start()


async def test_the_command_writes_an_http_api(tmp_path):
    app = App("shop", store=tmp_path)
    functions(app)
    app.http_api("shop").import_openapi(document())

    def run(*words):
        return CliRunner().invoke(main, ["api", "export", *words, "--store", str(tmp_path)])

    async with app:
        told = await asyncio.to_thread(run, "shop")
        assert told.exit_code == 0, told.output
        assert set(json.loads(told.output)["paths"]) == {"/orders/{id}", "/$default"}
        told = await asyncio.to_thread(run, "shop", "--yaml")
        assert yaml.safe_load(told.output)["info"]["title"] == "shop"
        refused = await asyncio.to_thread(run, "shop", "--plain")
        assert (refused.exit_code, "REST APIs" in refused.output) == (1, True)
        refused = await asyncio.to_thread(run, "none")
        assert (refused.exit_code, "there is no API 'none'" in refused.output.replace('"', "'")) == (1, True)
