"""The REST API of an app: its Python face, over restarts, and what is served of it."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from forebay import App, InvalidParameterValue, ResourceConflict, ResourceNotFound
from forebay.cli import main

DOCUMENT = {
    "openapi": "3.0.1",
    "info": {"title": "Pets", "version": "1"},
    "paths": {
        "/pets/{id}": {
            "get": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": {"200": {"description": "ok"}},
                "x-amazon-apigateway-integration": {
                    "type": "mock",
                    "requestTemplates": {"application/json": '{"statusCode": 200}'},
                    "responses": {
                        "default": {
                            "statusCode": "200",
                            "responseTemplates": {"application/json": '{"pet": "$input.params(\'id\')"}'},
                        }
                    },
                },
            }
        }
    },
}


async def test_a_document_is_imported_deployed_and_exported(app):
    rest = app.rest_api("legacy")
    async with app:
        assert await rest.import_openapi(DOCUMENT) == []
        await rest.deploy("dev", variables={"colour": "red"})
        exported = json.loads(await rest.export("dev"))
        assert exported["paths"]["/pets/{id}"]["get"]["x-amazon-apigateway-integration"]["type"] == "mock"
        assert (await rest.call("GetStage", stageName="dev"))["variables"] == {"colour": "red"}
        assert (await rest.call("GetRestApi"))["name"] == "legacy"
        plain = await rest.export("dev", kind="swagger", extensions=())
        assert "x-amazon-apigateway" not in plain


async def test_an_api_outlives_its_app(tmp_path):
    first = App("shop", store=tmp_path)
    rest = first.rest_api("legacy")
    async with first:
        await rest.import_openapi(json.dumps(DOCUMENT))
        await rest.deploy("dev")
        made = (await rest.call("GetRestApi"))["id"]
    second = App("shop", store=tmp_path)
    rest = second.rest_api("legacy")
    async with second:
        assert (await rest.call("GetRestApi"))["id"] == made
        await rest.import_openapi(DOCUMENT)
        assert len((await rest.call("GetRestApis"))["items"]) == 1


async def test_refusals_are_errors_with_the_text_of_aws(app):
    rest = app.rest_api("legacy")
    async with app:
        with pytest.raises(ResourceNotFound, match="GetStage: Invalid stage identifier specified"):
            await rest.call("GetStage", stageName="dev")
        with pytest.raises(InvalidParameterValue, match="doesn't contain any methods"):
            await rest.deploy("dev")
        with pytest.raises(ResourceConflict, match="Model name already exists for this REST API"):
            await rest.call("CreateModel", name="Empty", contentType="application/json", schema='{"type": "object"}')
        with pytest.raises(InvalidParameterValue, match="GetSdk is not supported by forebay"):
            await rest.call("GetSdk")
        with pytest.raises(InvalidParameterValue, match="Invalid OpenAPI input"):
            await rest.import_openapi("nonsense")


async def test_methods_of_handlers_are_put_by_each_deployment(app):
    rest = app.rest_api("legacy")

    @rest.method("GET", "/pets/{id}")
    async def pet(event, context):
        return {"statusCode": 200, "body": event["pathParameters"]["id"]}

    with pytest.raises(ResourceConflict, match="GET /pets"):
        rest.method("get", "/pets/{id}")
    with pytest.raises(InvalidParameterValue, match='begins with "/"'):
        rest.method("GET", "pets")
    async with app:
        await rest.deploy("dev")
        await rest.deploy("dev")
        resources = (await rest.call("GetResources"))["items"]
        assert [one["path"] for one in resources] == ["/", "/pets", "/pets/{id}"]
        assert list(resources[2]["resourceMethods"]) == ["GET"]


async def forebay(*words):
    return await asyncio.to_thread(CliRunner().invoke, main, ["api", *map(str, words)])


async def test_the_command_shows_keys_and_exports(tmp_path):
    app = App("shop", store=tmp_path)
    rest = app.rest_api("legacy")
    async with app:
        await rest.import_openapi(DOCUMENT)
        await rest.deploy("dev")
        secret = (await rest.call("CreateApiKey", name="partner", enabled=True))["value"]
        told = await forebay("keys", "--store", tmp_path)
        assert "partner" in told.output
        assert secret not in told.output
    told = await forebay("keys", "--values", "--store", tmp_path)
    assert secret in told.output
    told = await forebay("export", "legacy", "dev", "--yaml", "--store", tmp_path)
    assert told.exit_code == 0
    assert "openapi: 3.0.1" in told.output
    told = await forebay("export", "other", "dev", "--store", tmp_path)
    assert told.exit_code == 1
    assert "in the store are legacy" in told.output
