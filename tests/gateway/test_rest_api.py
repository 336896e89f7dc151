"""The REST API of an app: its Python face, over restarts, and what is served of it."""

import asyncio
import gzip
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
        # It was dropped, and the plan let everything through.
        with pytest.raises(InvalidParameterValue, match=r'"throtle", must be one of: name, .*throttle'):
            await rest.call("CreateUsagePlan", name="p", throtle={"rateLimit": 1, "burstLimit": 1})
        with pytest.raises(InvalidParameterValue, match="`forebay api test`, and boto3"):
            await rest.call("TestInvokeMethod", resourceId="x", httpMethod="GET")
        with pytest.raises(InvalidParameterValue, match="Invalid OpenAPI input"):
            await rest.import_openapi("nonsense")


async def test_calls_that_make_an_api_have_no_id_of_this_one(app):
    rest = app.rest_api("legacy")
    async with app:
        await rest.call("CreateRestApi", name="other")
        await rest.call("ImportRestApi", body=json.dumps(DOCUMENT))
        assert sorted(one["name"] for one in (await rest.call("GetRestApis"))["items"]) == ["Pets", "other"]


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
    assert "there is no API 'other': there are legacy" in told.output


@pytest.fixture
def rest(app):
    return app.rest_api("legacy", stage="dev")


async def test_a_handler_is_given_the_event_of_a_rest_api(app, rest, serve):
    @rest.method("GET", "/pets/{id}")
    async def told(event, context):
        return {"statusCode": 200, "headers": {"x-own": "1"}, "body": json.dumps(event)}

    client = await serve()
    answer = await client.ask("GET", "/_apis/legacy/dev/pets/7?a=1&a=2", {"x-one": "1"})
    event = answer.json()
    assert (answer.status, answer["x-own"], answer["content-type"]) == (200, "1", "application/json")
    assert answer["x-amzn-requestid"] == event["requestContext"]["requestId"]
    assert (event["resource"], event["path"], event["httpMethod"]) == ("/pets/{id}", "/pets/7", "GET")
    assert event["requestContext"]["path"] == "/dev/pets/7"
    assert event["pathParameters"] == {"id": "7"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert (event["body"], event["isBase64Encoded"]) == (None, False)
    [shown] = (await client.own(app, "GET", "/_routes")).json()
    assert (shown["kind"], shown["name"], shown["stages"]) == ("REST API", "legacy", ["dev"])
    assert [route["key"] for route in shown["routes"]] == ["GET /pets/{id}"]
    page = await client.own(app, "GET", "/_routes", {"accept": "text/html"})
    assert b"GET /pets/{id}" in page.body
    await rest.call(
        "CreateStage", stageName="prod", deploymentId=(await rest.call("GetStage", stageName="dev"))["deploymentId"]
    )
    [shown] = (await client.own(app, "GET", "/_routes")).json()
    assert shown["stages"] == ["dev", "prod"], "it stood there once for each stage"
    rest.method("GET", "/cats")(told)
    await rest.deploy("dev")
    shown = (await client.own(app, "GET", "/_routes")).json()
    assert [(one["stages"], len(one["routes"])) for one in shown] == [(["dev"], 2), (["prod"], 1)]


async def test_what_is_not_there_is_refused_as_by_aws(rest, serve):
    @rest.method("GET", "/pets")
    async def pets(event, context):
        return {"statusCode": 200}

    rest.method("ANY", "/dogs")(pets)
    client = await serve()
    for method, path, status, text in [
        ("GET", "/_apis/legacy/dev/cats", 403, "Missing Authentication Token"),
        ("POST", "/_apis/legacy/dev/pets", 403, "Missing Authentication Token"),
        ("ANY", "/_apis/legacy/dev/dogs", 403, "Missing Authentication Token"),
        ("TRACE", "/_apis/legacy/dev/dogs", 403, "Missing Authentication Token"),
        ("GET", "/_apis/legacy/prod/pets", 403, "Forbidden"),
        ("GET", "/_apis/other/dev/pets", 404, "Not Found"),
    ]:
        answer = await client.ask(method, path)
        assert (answer.status, answer.json()["message"]) == (status, text), path
    for host, status in (("legacy.localhost", 200), (f"legacy.localhost:{client.port}", 200), ("other.localhost", 421)):
        assert (await client.ask("GET", "/dev/pets", host=host)).status == status, host


async def test_a_client_needs_its_key_and_keeps_to_its_plan(rest, serve):
    @rest.method("GET", "/pets", api_key_required=True)
    async def pets(event, context):
        return {"statusCode": 200, "body": event["requestContext"]["identity"]["userAgent"] or ""}

    client = await serve()
    api = (await rest.call("GetRestApi"))["id"]
    key = await rest.call("CreateApiKey", name="partner", enabled=True)
    quota = {"limit": 2, "period": "DAY"}
    plan = await rest.call("CreateUsagePlan", name="p", quota=quota, apiStages=[{"apiId": api, "stage": "dev"}])
    asked = ("GET", "/_apis/legacy/dev/pets", {"x-api-key": key["value"]})
    assert (await client.ask(*asked)).status == 403
    await rest.call("CreateUsagePlanKey", usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    assert (await client.ask(*asked[:2])).json() == {"message": "Forbidden"}
    # The gateway read the first, and whoever is behind it the last.
    twice = {**asked[2], "X-API-KEY": "forged"}
    assert (await client.ask(*asked[:2], twice)).status == 403
    assert [(await client.ask(*asked)).status for _ in range(3)] == [200, 200, 429]


async def test_a_lambda_authoriser_lets_in_or_not(app, rest, serve):
    calls = []

    @app.function()
    async def judge(event, context):
        calls.append(event)
        if event["authorizationToken"] == "nobody":
            raise Exception("Unauthorized")  # noqa: TRY002 - the text that AWS knows
        effect = "Deny" if event["authorizationToken"] == "enemy" else "Allow"
        resource = event["methodArn"] if event["authorizationToken"] != "stranger" else "arn:aws:execute-api:none"
        statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}
        return {"principalId": "p", "policyDocument": {"Statement": [statement]}, "context": {"tier": "gold"}}

    client = await serve()
    made = await rest.call(
        "CreateAuthorizer",
        name="judge",
        type="TOKEN",
        authorizerUri=rest.uri("judge"),
        identitySource="method.request.header.Authorization",
    )

    @rest.method("GET", "/pets", authorization_type="CUSTOM", authorizer_id=made["id"])
    async def pets(event, context):
        return {"statusCode": 200, "body": event["requestContext"]["authorizer"]["tier"]}

    await rest.deploy("dev")
    path = "/_apis/legacy/dev/pets"
    answer = await client.ask("GET", path, {"authorization": "friend"})
    assert (answer.status, answer.body) == (200, b"gold")
    assert (await client.ask("GET", path, {"authorization": "friend"})).status == 200
    assert len(calls) == 1, "the verdict is kept"
    answer = await client.ask("GET", path, {"authorization": "enemy"})
    text = "User is not authorized to access this resource"
    assert (answer.status, answer.json()) == (403, {"Message": f"{text} with an explicit deny"})
    assert (await client.ask("GET", path, {"authorization": "stranger"})).json() == {"Message": text}
    assert (await client.ask("GET", path)).status == 401
    answer = await client.ask("GET", path, {"authorization": "nobody"})
    assert (answer.status, answer.json()) == (401, {"message": "Unauthorized"})


async def test_nobody_is_let_in_where_nobody_can_be_verified(rest, serve):
    @rest.method("GET", "/pets", authorization_type="AWS_IAM")
    async def pets(event, context):
        return {"statusCode": 200}

    client = await serve()
    answer = await client.ask("GET", "/_apis/legacy/dev/pets", {"authorization": "AWS4-HMAC-SHA256 Credential=x"})
    assert (answer.status, answer["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    answer = await client.ask("GET", "/_apis/legacy/dev/pets")
    assert (answer.status, answer.json()["message"]) == (403, "Missing Authentication Token")


async def test_an_answer_is_kept_where_the_stage_has_a_cache(app, rest, serve):
    count = 0

    @rest.method("GET", "/pets")
    async def pets(event, context):
        nonlocal count
        count += 1
        return {"statusCode": 200, "body": str(count)}

    client = await serve()
    bodies = [(await client.ask("GET", "/_apis/legacy/dev/pets")).body for _ in range(2)]
    patches = [
        {"op": "replace", "path": "/cacheClusterEnabled", "value": "true"},
        {"op": "replace", "path": "/*/*/caching/enabled", "value": "true"},
    ]
    await rest.call("UpdateStage", stageName="dev", patchOperations=patches)
    answers = [await client.ask("GET", "/_apis/legacy/dev/pets") for _ in range(2)]
    assert [*bodies, *(answer.body for answer in answers)] == [b"1", b"2", b"3", b"3"]
    for name in ("x-amzn-requestid", "x-amz-apigw-id", "x-amzn-trace-id"):
        assert answers[0][name] != answers[1][name], "a kept answer had the ids of the request of which it was kept"
    await rest.call("FlushStageCache", stageName="dev")
    assert [(await client.ask("GET", "/_apis/legacy/dev/pets")).body for _ in range(2)] == [b"4", b"4"]
    with pytest.raises(ResourceNotFound, match="Invalid stage identifier specified"):
        await rest.call("FlushStageCache", stageName="prod")
    # What comes back with a new cache is not what the old one had.
    for value in ("false", "true"):
        patch = [{"op": "replace", "path": "/cacheClusterEnabled", "value": value}]
        await rest.call("UpdateStage", stageName="dev", patchOperations=patch)
    assert (await client.ask("GET", "/_apis/legacy/dev/pets")).body == b"5"

    def sums(name, statistic):
        return app.metrics.statistic(name, statistic, period=60, api="legacy", stage="dev")

    # Two requests before there was a cache, two out of it, and three that it did not have.
    assert (sums("CacheHitCount", "Sum"), sums("CacheMissCount", "Sum")) == (2.0, 3.0)
    assert (sums("Latency", "SampleCount"), sums("IntegrationLatency", "SampleCount")) == (7.0, 5.0)


async def test_a_request_that_lacks_what_the_method_demands_is_not_answered_from_the_cache(rest, serve):
    """It was 400, and 200 once another client had asked well."""

    @rest.method("GET", "/pets")
    async def pets(event, context):
        return {"statusCode": 200}

    client = await serve()
    validator = await rest.call("CreateRequestValidator", name="v", validateRequestParameters=True)
    pets_id = (await rest.call("GetResources"))["items"][1]["id"]
    patches = [
        {"op": "add", "path": "/requestParameters/method.request.header.X-Must", "value": "true"},
        {"op": "replace", "path": "/requestValidatorId", "value": validator["id"]},
    ]
    await rest.call("UpdateMethod", resourceId=pets_id, httpMethod="GET", patchOperations=patches)
    api = await rest.call("GetRestApi")
    await rest.call("CreateDeployment", stageName="cached", cacheClusterEnabled=True, cacheClusterSize="0.5")
    patch = [{"op": "replace", "path": "/*/*/caching/enabled", "value": "true"}]
    await rest.call("UpdateStage", stageName="cached", patchOperations=patch)
    path = f"/_apis/{api['id']}/cached/pets"
    assert [(await client.ask("GET", path, {"X-Must": "1"})).status for _ in range(2)] == [200, 200]
    answer = await client.ask("GET", path)
    assert (answer.status, answer.json()["message"]) == (400, "Missing required request parameters: [X-Must]")


async def test_an_expression_that_is_too_large_is_refused_where_it_is_given(rest, app):
    """It was compiled for each request, before anybody was let in."""
    async with app:
        with pytest.raises(InvalidParameterValue, match="Invalid identity validation expression"):
            await rest.call(
                "CreateAuthorizer",
                name="judge",
                type="TOKEN",
                authorizerUri=rest.uri("judge"),
                identitySource="method.request.header.Authorization",
                identityValidationExpression=r"\w{100}",
            )


async def test_an_answer_that_was_under_way_when_the_cache_was_flushed_is_not_kept(rest, serve):
    begun, goes_on = asyncio.Event(), asyncio.Event()
    price = 1

    @rest.method("GET", "/price")
    async def priced(event, context):
        told = price
        begun.set()
        await goes_on.wait()
        return {"statusCode": 200, "body": str(told)}

    client = await serve()
    patches = [
        {"op": "replace", "path": "/cacheClusterEnabled", "value": "true"},
        {"op": "replace", "path": "/*/*/caching/enabled", "value": "true"},
    ]
    await rest.call("UpdateStage", stageName="dev", patchOperations=patches)
    late = asyncio.create_task(client.ask("GET", "/_apis/legacy/dev/price"))
    await begun.wait()
    price = 2
    await rest.call("FlushStageCache", stageName="dev")
    goes_on.set()
    assert (await late).body == b"1"
    assert (await client.ask("GET", "/_apis/legacy/dev/price")).body == b"2"


async def test_an_authoriser_is_asked_anew_when_its_answers_are_flushed(rest, serve, app):
    is_let_in = True

    @app.function()
    async def guard(event, context):
        statement = {"Effect": "Allow" if is_let_in else "Deny", "Resource": "*", "Action": "*"}
        return {"principalId": "ada", "policyDocument": {"Statement": [statement]}}

    client = await serve()
    authorizer = await rest.call(
        "CreateAuthorizer",
        name="guard",
        type="TOKEN",
        authorizerUri=rest.uri("guard"),
        identitySource="method.request.header.Authorization",
    )

    async def pets(event, context):
        return {"statusCode": 200}

    rest.method("GET", "/pets", authorization_type="CUSTOM", authorizer_id=authorizer["id"])(pets)
    await rest.deploy("dev")

    async def status():
        return (await client.ask("GET", "/_apis/legacy/dev/pets", {"authorization": "token"})).status

    assert await status() == 200
    is_let_in = False
    assert await status() == 200
    await rest.call("FlushStageAuthorizersCache", stageName="dev")
    assert [await status(), await status()] == [403, 403]


async def test_large_answers_are_compressed_where_the_api_says_so(rest, serve):
    @rest.method("GET", "/pets")
    async def pets(event, context):
        return {"statusCode": 200, "body": "x" * 1_000}

    client = await serve()
    patch = [{"op": "replace", "path": "/minimumCompressionSize", "value": "100"}]
    await rest.call("UpdateRestApi", patchOperations=patch)
    answer = await client.ask("GET", "/_apis/legacy/dev/pets", {"accept-encoding": "gzip"})
    assert (answer["content-encoding"], gzip.decompress(answer.body)) == ("gzip", b"x" * 1_000)
    assert answer["vary"] == "Accept-Encoding"
    # `gzip;q=0` was taken for gzip, and no cache on the way was told that the answer depends on what is asked.
    for headers in ({}, {"accept-encoding": "gzip;q=0"}, {"accept-encoding": "br"}):
        answer = await client.ask("GET", "/_apis/legacy/dev/pets", headers)
        assert (answer["content-encoding"], answer["vary"], len(answer.body)) == (None, "Accept-Encoding", 1_000)


async def test_a_method_is_tested_with_its_log(app, rest, serve):
    client = await serve()
    await rest.import_openapi(DOCUMENT)
    resources = (await rest.call("GetResources"))["items"]
    asked = {
        "restApiId": (await rest.call("GetRestApi"))["id"],
        "resourceId": next(one["id"] for one in resources if one["path"] == "/pets/{id}"),
        "httpMethod": "GET",
        "pathWithQueryString": "/pets/7",
    }
    answer = await client.own(app, "POST", "/_test/invoke-method", body=json.dumps(asked).encode())
    told = answer.json()
    assert (told["status"], json.loads(told["body"])) == (200, {"pet": "7"})
    assert "Successfully completed execution" in told["log"]
    answer = await client.own(
        app, "POST", "/_test/invoke-method", body=json.dumps({**asked, "restApiId": "x"}).encode()
    )
    assert answer.status == 404
    foreign = await client.own(
        app, "POST", "/_test/invoke-method", body=json.dumps(asked).encode(), host="legacy.example.com"
    )
    assert foreign.status == 421
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer x"}):
        stranger = await client.ask("POST", "/_test/invoke-method", headers, json.dumps(asked).encode())
        assert stranger.status == 403 and b"forebay api link" in stranger.body
    for headers, status in [
        ({"origin": "https://evil.example.com", "content-type": "text/plain"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"x-forwarded-for": "192.0.2.1"}, 403),
        ({"via": "1.1 proxy"}, 403),
    ]:
        refused = await client.own(app, "POST", "/_test/invoke-method", headers, json.dumps(asked).encode())
        assert refused.status == status and b"Successfully" not in refused.body, headers


async def test_the_methods_of_handlers_are_deployed_when_something_has_changed(tmp_path):
    async def deployments(timeout_ms):
        app = App("shop", store=tmp_path)
        rest = app.rest_api("legacy", stage="dev")

        @rest.method("GET", "/pets", timeout_ms=timeout_ms)
        async def pets(event, context):
            return {"statusCode": 200}

        async with app:
            return len((await rest.call("GetDeployments"))["items"])

    assert [await deployments(of) for of in (1_000, 1_000, 2_000)] == [1, 1, 2]


def legacy(store, *paths):
    """Make an app with methods of these paths; give its REST API and the function behind them, too."""
    app = App("shop", store=store)
    rest = app.rest_api("legacy", stage="dev")

    @app.function()
    async def told(event, context):
        return {"statusCode": 200}

    for path in paths:
        rest.method("GET", path)(told)
    return app, rest, told


async def statuses(client):
    """Tell what is served of three paths of that API."""
    return [(await client.ask("GET", f"/_apis/legacy/dev{path}")).status for path in ("/a", "/b", "/c")]


async def test_a_method_that_is_declared_no_longer_is_served_no_longer(tmp_path, clients):
    """It stayed in the API and in its stage for ever."""

    async def start(*paths):
        app, rest, _ = legacy(tmp_path, *paths)
        return app, rest, await clients(app)

    app, rest, client = await start("/a", "/b")
    root = (await rest.call("GetRestApi"))["rootResourceId"]
    made = (await rest.call("CreateResource", parentId=root, pathPart="c"))["id"]
    await rest.call("PutMethod", resourceId=made, httpMethod="GET", authorizationType="NONE")
    mock = {"requestTemplates": {"application/json": '{"statusCode": 200}'}}
    await rest.call("PutIntegration", resourceId=made, httpMethod="GET", type="MOCK", **mock)
    await rest.call("PutMethodResponse", resourceId=made, httpMethod="GET", statusCode="200")
    await rest.call("PutIntegrationResponse", resourceId=made, httpMethod="GET", statusCode="200")
    await rest.deploy("dev")
    assert await statuses(client) == [200, 200, 200]
    await app.stop()
    app, _, client = await start("/a")
    assert await statuses(client) == [200, 403, 200], "what calls have made stays"
    await app.stop()
    app, rest, client = await start()
    await rest.call("DeleteMethod", resourceId=made, httpMethod="GET")
    await rest.deploy_if_changed()
    assert await statuses(client) == [403, 403, 200], "of what calls have made, the stage serves what was deployed"
    await app.stop()
    app, _, client = await start("/a")
    assert await statuses(client) == [200, 403, 403]
    await app.stop()
    _, _, client = await start()
    assert await statuses(client) == [403, 403, 403], "a stage without a method"


async def test_a_method_that_is_declared_while_the_app_runs_is_served_at_the_next_start(tmp_path, clients, caplog):
    """It left the API and its stage at each start, until the program had declared and deployed it again."""

    async def start(*early, late=()):
        app, rest, told = legacy(tmp_path, *early)
        client = await clients(app)
        for path in late:
            rest.method("GET", path)(told)
        if late:
            await rest.deploy("dev")
        return app, client

    app, client = await start("/a", "/b", late=["/c"])
    assert await statuses(client) == [200, 200, 200]
    await app.stop()
    await app.start(http_port=client.port)
    assert await statuses(client) == [200, 200, 200], "the same app once more"
    await app.stop()
    caplog.set_level("INFO", "forebay.app")
    app, client = await start("/a")
    assert await statuses(client) == [200, 403, 200]
    assert "REST API legacy: GET /b is declared no longer: removed" in caplog.text
    assert "GET /c is declared no longer" not in caplog.text


async def test_a_stage_is_held_against_what_it_serves(tmp_path, clients):
    """A start was killed between `PutMethod` and `CreateDeployment`: the stage served the method open from then on."""

    async def start(authorization_type):
        app = App("shop", store=tmp_path)
        rest = app.rest_api("legacy", stage="dev")

        @rest.method("GET", "/pets", authorization_type=authorization_type)
        async def pets(event, context):
            return {"statusCode": 200}

        return app, rest, await clients(app)

    app, rest, client = await start("NONE")
    assert (await client.ask("GET", "/_apis/legacy/dev/pets")).status == 200
    [_, pets] = (await rest.call("GetResources"))["items"]
    patch = [{"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"}]
    await rest.call("UpdateMethod", resourceId=pets["id"], httpMethod="GET", patchOperations=patch)
    await app.stop()
    _, _, client = await start("AWS_IAM")
    assert (await client.ask("GET", "/_apis/legacy/dev/pets")).status == 403


async def test_an_api_goes_before_the_url_of_a_function_of_its_name(rest, serve, app):
    """The URL had the name, and the API was reached by its id alone."""

    @rest.method("GET", "/pets")
    async def pets(event, context):
        return {"statusCode": 200, "body": "of the API"}

    @app.function("legacy", url=True)
    async def legacy(event, context):
        return "of the URL"

    client = await serve()
    assert (await client.ask("GET", "/_apis/legacy/dev/pets")).body == b"of the API"
    url = next(one for one in await app._caller.ask("api.list") if one["kind"] == "url")
    assert (await client.ask("GET", f"/_apis/{url['id']}/")).body == b"of the URL"
