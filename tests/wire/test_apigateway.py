"""A day's work with API Gateway by boto3: an API is made, tried, deployed, exported and given keys."""

import json
import re
import uuid

import pytest
from ports import free_port
from wire_app import ACCOUNT, REGION, served

DOCUMENT = {
    "openapi": "3.0.1",
    "info": {"title": "pets", "version": "1"},
    "paths": {
        "/pets/{id}": {
            "get": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": {"200": {"description": "a pet"}},
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


async def echo_again(event, context):
    return event["body"]


@pytest.fixture
def wire(make_app):
    """Serve an app with a function."""
    app = make_app()

    @app.function()
    async def echo(event, context):
        ids = f"{event['headers'].get('X-Amzn-Trace-Id')} {event['requestContext']['requestId']}"
        headers = {"X-Path": event["path"], "X-Ids": ids}
        return {"statusCode": 200, "headers": headers, "body": event["body"] or "nothing"}

    app.http_api("shop").route("GET", "/orders/{id}")(echo)
    app.function(name="open", url=True)(echo_again)

    @app.function()
    async def guard(event, context):
        statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
        return {"principalId": event["authorizationToken"], "policyDocument": {"Statement": [statement]}}

    with served(app, http_port=free_port()) as running:
        yield running


@pytest.fixture
def apis(wire):
    return wire.client("apigateway")


def test_an_api_is_made_tried_and_deployed(apis):
    api = apis.create_rest_api(name="pets", description="all pets")
    assert api["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert api["createdDate"].year >= 2025
    place = {"restApiId": api["id"]}
    pet = apis.create_resource(**place, parentId=api["rootResourceId"], pathPart="pets")
    method = {**place, "resourceId": pet["id"], "httpMethod": "POST"}
    apis.put_method(**method, authorizationType="NONE", requestParameters={"method.request.querystring.a": False})
    apis.put_integration(
        **method,
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:echo/invocations",
    )
    tried = apis.test_invoke_method(**method, pathWithQueryString="/pets?a=1", body="hello", headers={"X-A": "1"})
    assert (tried["status"], tried["body"]) == (200, "hello")
    assert tried["headers"]["X-Path"] == "/pets"
    assert "Method completed with status: 200" in tried["log"]
    # The trace had no id, which a tracing library cannot read, and the request's was no UUID.
    trace, request = tried["headers"]["X-Ids"].split(" ")
    assert re.fullmatch("Root=1-[0-9a-f]{8}-[0-9a-f]{24}", trace) and trace == tried["headers"]["X-Amzn-Trace-Id"]
    assert str(uuid.UUID(request)) in tried["log"]
    deployed = apis.create_deployment(**place, stageName="prod", variables={"colour": "red"})
    stage = apis.get_stage(**place, stageName="prod")
    assert (stage["deploymentId"], stage["variables"]) == (deployed["id"], {"colour": "red"})
    patch = [{"op": "replace", "path": "/variables/colour", "value": "blue"}]
    changed = apis.update_stage(**place, stageName="prod", patchOperations=patch)
    assert changed["variables"] == {"colour": "blue"}
    listed = apis.get_resources(**place, embed=["methods"])["items"]
    assert {one["path"]: list(one.get("resourceMethods", {})) for one in listed} == {"/": [], "/pets": ["POST"]}
    pages = apis.get_paginator("get_rest_apis").paginate(PaginationConfig={"PageSize": 1})
    assert [one["name"] for page in pages for one in page["items"]] == ["pets"]
    apis.delete_rest_api(**place)
    with pytest.raises(apis.exceptions.NotFoundException, match="Invalid API identifier"):
        apis.get_rest_api(**place)


def test_a_document_goes_in_and_comes_out(apis):
    api = apis.import_rest_api(
        body=json.dumps(DOCUMENT).encode(), failOnWarnings=True, parameters={"basepath": "ignore"}
    )
    assert api["name"] == "pets"
    resources = apis.get_resources(restApiId=api["id"])["items"]
    pet = next(one["id"] for one in resources if one["path"] == "/pets/{id}")
    tried = apis.test_invoke_method(
        restApiId=api["id"], resourceId=pet, httpMethod="GET", pathWithQueryString="/pets/7"
    )
    assert json.loads(tried["body"]) == {"pet": "7"}
    apis.create_deployment(restApiId=api["id"], stageName="prod")
    export = apis.get_export(
        restApiId=api["id"], stageName="prod", exportType="oas30", parameters={"extensions": "integrations"}
    )
    assert export["contentType"] == "application/octet-stream"
    written = json.loads(export["body"].read())
    assert written["paths"]["/pets/{id}"]["get"]["x-amazon-apigateway-integration"]["type"] == "mock"
    put = apis.put_rest_api(restApiId=api["id"], mode="merge", body=json.dumps(DOCUMENT).encode())
    assert put["id"] == api["id"]


def test_what_a_stage_keeps_is_flushed(apis):
    api = apis.import_rest_api(body=json.dumps(DOCUMENT).encode())
    apis.create_deployment(restApiId=api["id"], stageName="prod", cacheClusterEnabled=True, cacheClusterSize="0.5")
    stage = {"restApiId": api["id"], "stageName": "prod"}
    for flush in (apis.flush_stage_cache, apis.flush_stage_authorizers_cache):
        assert flush(**stage)["ResponseMetadata"]["HTTPStatusCode"] == 202
        with pytest.raises(apis.exceptions.NotFoundException, match="Invalid stage identifier specified"):
            flush(**{**stage, "stageName": "dev"})


def test_keys_and_plans(apis):
    key = apis.create_api_key(name="partner", enabled=True, value="k" * 24)
    throttle, quota = {"rateLimit": 0.5, "burstLimit": 20}, {"limit": 9, "period": "DAY"}
    plan = apis.create_usage_plan(name="bronze", throttle=throttle, quota=quota)
    assert (plan["throttle"], plan["quota"]["limit"]) == (throttle, 9)
    apis.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    assert apis.get_api_key(apiKey=key["id"], includeValue=True)["value"] == "k" * 24
    assert [one["id"] for one in apis.get_usage_plan_keys(usagePlanId=plan["id"])["items"]] == [key["id"]]
    usage = apis.get_usage(usagePlanId=plan["id"], startDate="2026-11-27", endDate="2026-11-28", keyId=key["id"])
    assert (usage["startDate"], usage["endDate"]) == ("2026-11-27", "2026-11-28")
    assert usage["items"] == {key["id"]: [[0, quota["limit"]]] * 2}
    with pytest.raises(apis.exceptions.ClientError, match="YYYY-MM-DD"):
        apis.get_usage(usagePlanId=plan["id"], startDate="27.11.2026", endDate="2026-11-28")
    patch = [{"op": "replace", "path": "/remaining", "value": "40"}]
    granted = apis.update_usage(usagePlanId=plan["id"], keyId=key["id"], patchOperations=patch)
    assert (granted["startDate"], granted["items"]) == (granted["endDate"], {key["id"]: [[0, 40]]})
    other = [{"op": "replace", "path": "/used", "value": "1"}]
    with pytest.raises(apis.exceptions.BadRequestException, match="Invalid patch path"):
        apis.update_usage(usagePlanId=plan["id"], keyId=key["id"], patchOperations=other)
    with pytest.raises(apis.exceptions.NotFoundException):
        apis.update_usage(usagePlanId=plan["id"], keyId="none", patchOperations=patch)
    arn = f"arn:aws:apigateway:{REGION}::/usageplans/{plan['id']}"
    apis.tag_resource(resourceArn=arn, tags={"team": "pets"})
    assert apis.get_tags(resourceArn=arn)["tags"] == {"team": "pets"}
    imported = apis.import_api_keys(
        body=b"name,key,description,enabled\nother,oooooooooooooooooooooooo,,true\n", format="csv"
    )
    assert len(imported["ids"]) == 1


def test_client_certificates(apis):
    made = apis.generate_client_certificate(description="for the bank", tags={"team": "pets"})
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["pemEncodedCertificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert (made["expirationDate"] - made["createdDate"]).days == 365
    named = {"clientCertificateId": made["clientCertificateId"]}
    patch = [{"op": "replace", "path": "/description", "value": "for the post"}]
    assert apis.update_client_certificate(**named, patchOperations=patch)["description"] == "for the post"
    assert [one["tags"] for one in apis.get_client_certificates()["items"]] == [{"team": "pets"}]
    apis.delete_client_certificate(**named)
    with pytest.raises(apis.exceptions.NotFoundException, match="Invalid Client Certificate identifier"):
        apis.get_client_certificate(**named)


def test_the_url_of_a_function(wire):
    functions = wire.client("lambda")
    made = functions.create_function_url_config(FunctionName="echo", AuthType="NONE", Cors={"AllowOrigins": ["*"]})
    assert made["FunctionUrl"].startswith("https://")
    assert functions.get_function_url_config(FunctionName="echo")["Cors"] == {"AllowOrigins": ["*"]}
    changed = functions.update_function_url_config(FunctionName="echo", AuthType="AWS_IAM")
    assert changed["AuthType"] == "AWS_IAM"
    assert len(functions.list_function_url_configs(FunctionName="echo")["FunctionUrlConfigs"]) == 1
    with pytest.raises(functions.exceptions.ResourceConflictException):
        functions.create_function_url_config(FunctionName="echo", AuthType="NONE")
    functions.delete_function_url_config(FunctionName="echo")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function_url_config(FunctionName="echo")


def test_the_url_that_a_program_declares_is_its_own(wire):
    """It was made "anew" with a signature, and told so, and it stayed open."""
    functions = wire.client("lambda")
    for change in (functions.create_function_url_config, functions.update_function_url_config):
        with pytest.raises(functions.exceptions.ResourceConflictException):
            change(FunctionName="open", AuthType="AWS_IAM")
    with pytest.raises(functions.exceptions.ResourceConflictException, match="declared in the program"):
        functions.delete_function_url_config(FunctionName="open")
    told = functions.get_function_url_config(FunctionName="open")
    [listed] = functions.list_function_url_configs(FunctionName="open")["FunctionUrlConfigs"]
    url = next(one for one in wire.ask("api.list") if one["kind"] == "url")
    assert told["AuthType"] == listed["AuthType"] == "NONE"
    assert told["FunctionUrl"] == listed["FunctionUrl"] == f"https://{url['id']}.lambda-url.{REGION}.on.aws/"


def test_what_is_not_served_says_so(apis):
    with pytest.raises(apis.exceptions.ClientError, match="NotImplemented"):
        apis.get_sdk(restApiId="a", stageName="b", sdkType="java")
    with pytest.raises(apis.exceptions.NotFoundException):
        apis.test_invoke_method(restApiId="none", resourceId="a", httpMethod="GET")
    with pytest.raises(apis.exceptions.BadRequestException):
        apis.create_rest_api(name="")


def test_an_authoriser_is_tried(apis, wire):
    api = apis.create_rest_api(name="guarded")
    made = apis.create_authorizer(
        restApiId=api["id"],
        name="guard",
        type="TOKEN",
        identitySource="method.request.header.Authorization",
        identityValidationExpression="t-.*",
        authorizerUri=f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:guard/invocations",
    )
    place = {"restApiId": api["id"], "authorizerId": made["id"]}
    told = apis.test_invoke_authorizer(**place, headers={"Authorization": "t-ali"})
    assert (told["clientStatus"], told["principalId"]) == (0, "t-ali")
    assert json.loads(told["policy"])["Statement"][0]["Effect"] == "Allow"
    assert apis.test_invoke_authorizer(**place, headers={"Authorization": "x"})["clientStatus"] == 401
    assert apis.test_invoke_authorizer(**place)["clientStatus"] == 401
    with pytest.raises(apis.exceptions.NotFoundException, match="Invalid Authorizer identifier"):
        apis.test_invoke_authorizer(restApiId=api["id"], authorizerId="none")


def test_http_apis_are_told_by_the_second_version(wire):
    apis = wire.client("apigatewayv2")
    [api] = [one for one in apis.get_apis()["Items"] if one["Name"] == "shop"]
    assert (api["ProtocolType"], api["ApiEndpoint"].split(".")[1]) == ("HTTP", "execute-api")
    assert apis.get_api(ApiId=api["ApiId"])["Name"] == "shop"
    [route] = apis.get_routes(ApiId=api["ApiId"])["Items"]
    assert (route["RouteKey"], route["AuthorizationType"]) == ("GET /orders/{id}", "NONE")
    integration = apis.get_integration(ApiId=api["ApiId"], IntegrationId=route["Target"].partition("/")[2])
    assert (integration["IntegrationType"], integration["PayloadFormatVersion"]) == ("AWS_PROXY", "2.0")
    assert [stage["StageName"] for stage in apis.get_stages(ApiId=api["ApiId"])["Items"]] == ["$default"]
    assert apis.get_authorizers(ApiId=api["ApiId"])["Items"] == []
    exported = apis.export_api(ApiId=api["ApiId"], Specification="OAS30", OutputType="JSON")
    assert list(json.loads(exported["body"].read())["paths"]) == ["/orders/{id}"]
    with pytest.raises(apis.exceptions.NotFoundException, match="Invalid API identifier"):
        apis.get_api(ApiId="none")
    assert apis.get_deployments(ApiId=api["ApiId"])["Items"] == []
    with pytest.raises(apis.exceptions.BadRequestException, match="declared by the app's program: change it there"):
        apis.create_route(ApiId=api["ApiId"], RouteKey="GET /new")
    with pytest.raises(apis.exceptions.ClientError, match="NotImplemented"):
        apis.create_domain_name(DomainName="shop.example.com")
