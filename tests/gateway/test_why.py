"""`why` of a request to an API: what it asked, which function ran for it, or why none did."""

import asyncio

import pytest
from click.testing import CliRunner
from plain_client import parsed
from sockets import connect

from forebay import App, Cors
from forebay.cli import main


async def life(app, id_):
    """Give what is known of a request: without times, and without what stands in each fact of its first one."""
    told = await app._caller.ask("why", id=id_)
    assert (told["kept"], told["running"]) == ([], False)
    return [{name: value for name, value in fact.items() if name != "at_ms"} for fact in told["facts"]]


def steps(facts):
    """Give what happened between the question and the answer."""
    asked, *between, answered = facts
    assert (asked["what"], answered["what"]) == ("asked of an API", "answered")
    return [(fact["what"], fact.get("function"), fact.get("why")) for fact in between]


async def test_a_request_is_told_by_its_id_and_by_that_of_the_attempt(app, serve):
    seen = []
    api = app.http_api("shop")

    @api.route("GET", "/orders/{id}")
    async def order(event, context):
        seen.append(context.aws_request_id)
        return {"id": event["pathParameters"]["id"]}

    client = await serve()
    id_ = (await client.ask("GET", "/orders/7?a=1"))["apigw-requestid"]
    facts = await life(app, id_)
    assert facts == await life(app, seen[0])
    asked, handled, answered = facts
    assert asked == {
        "what": "asked of an API",
        "method": "GET",
        "path": "/orders/7",
        "api": "shop",
        "stage": "$default",
        "route": "GET /orders/{id}",
        "request": id_,
    }
    assert handled == {"what": "handled", "function": "order", "request": seen[0]}
    assert 0 < answered["integration_ms"] <= answered["took_ms"]
    assert answered["status"] == 200


async def test_it_is_told_why_a_request_to_an_http_api_failed_or_ran_nothing(app, serve):
    api = app.http_api("shop")

    @app.function()
    async def guard(event, context):
        if event["identitySource"] == ["raises"]:
            raise RuntimeError("no mood")
        return {"isAuthorized": False}

    staff = api.lambda_authorizer("staff", guard, ttl=0)
    users = api.jwt_authorizer("users", issuer="http://127.0.0.1:9/pool", audiences=["shop"])

    @api.route("GET", "/raises")
    async def broken(event, context):
        raise ValueError("no paper")

    @api.route("GET", "/nonsense")
    async def nonsense(event, context):
        return {"statusCode": 200, "body": {"a": 1}}

    @api.route("GET", "/staff", authorizer=staff)
    async def for_staff(event, context):
        raise AssertionError

    @api.route("GET", "/users", authorizer=users)
    async def for_users(event, context):
        raise AssertionError

    @api.route("GET", "/signed", authorizer=api.iam_authorizer())
    async def for_signers(event, context):
        raise AssertionError

    @api.route("GET", "/rare", throttle=(0.001, 0))
    async def rare(event, context):
        raise AssertionError

    @app.function(reserved_concurrency=0)
    async def full(event, context):
        raise AssertionError

    api.route("GET", "/full")(full)
    api.proxy("ANY /old", "http://127.0.0.1:9/old")
    client = await serve()

    async def told(path, headers=()):
        answer = await client.ask("GET", path, headers)
        return answer.status, steps(await life(app, answer["apigw-requestid"]))

    assert await told("/nothing") == (404, [("turned away", None, "no route has this method and this path")])
    assert await told("/raises") == (500, [("failed", "broken", "ValueError: no paper")])
    status, [handled, failed] = await told("/nonsense")
    assert (status, handled, failed[:2]) == (500, ("handled", "nonsense", None), ("failed", None))
    assert "the body is not text" in failed[2]
    assert await told("/rare") == (429, [("turned away", None, "the throttle of the route or of the stage")])
    status, [(what, function, why)] = await told("/full")
    assert (status, what, function) == (503, "not reached", "full") and "ReservedFunctionConcurrent" in why
    status, [(what, _, why)] = await told("/old")
    assert (status, what) == (503, "not reached") and "127.0.0.1:9" in why
    assert await told("/signed") == (403, [("turned away", None, "it is not signed")])
    assert await told("/users") == (401, [("turned away", None, "there is no token")])
    status, [(what, _, why)] = await told("/users", {"authorization": "a.b.c"})
    assert (status, what) == (401, "turned away") and "token" in why
    nobody = ("turned away", None, "the request does not have the header authorization")
    assert await told("/staff") == (401, [nobody])
    lines = (
        b"GET /staff HTTP/1.1\r\nhost: localhost\r\nauthorization: a\r\nauthorization: b\r\nconnection: close\r\n\r\n"
    )
    answer = parsed(await client.raw(lines))
    twice = ("turned away", None, "the header authorization stands in the request more than once")
    assert (answer.status, steps(await life(app, answer["apigw-requestid"]))) == (401, [twice])
    denied = [("asked", "guard", None), ("turned away", None, "the function of authorizer staff says no")]
    assert await told("/staff", {"authorization": "a"}) == (403, denied)
    status, [failed, away] = await told("/staff", {"authorization": "raises"})
    assert (status, failed) == (500, ("failed", "guard", "RuntimeError: no mood"))
    assert away[0] == "turned away" and "no mood" in away[2]


async def test_a_stage_that_an_api_has_not_is_told(app, serve):
    """The answer had no id, and the request was in no log: the first mistake that one makes with stages."""
    staged = app.http_api("staged")
    staged.stage("dev")
    staged.proxy("GET /v", "http://127.0.0.1:9/")
    answer = await (await serve()).ask("GET", "/v")
    assert answer.status == 404
    assert steps(await life(app, answer["apigw-requestid"])) == [("turned away", None, "the API has no such stage")]


async def test_what_was_reached_is_told_by_its_kind(app, clients):
    """All of it was told as a `why`: who looked for what was turned away found the preflight of each browser."""
    api, rest = app.http_api("shop", cors=Cors(allow_origins=("https://a.example.com",))), app.rest_api("pets")
    api.proxy("$default", "http://127.0.0.1:9")
    client = await clients(app)

    async def facts(method, path, headers=()):
        answer = await client.ask(method, path, headers)
        _, *between, _ = await life(app, answer["x-amzn-requestid"] or answer["apigw-requestid"])
        return answer.status, between

    preflight = {"origin": "https://a.example.com", "access-control-request-method": "GET"}
    known = [{"what": "answered by the gateway", "as": "a preflight of CORS"}]
    assert await facts("OPTIONS", "/_apis/shop/", preflight) == (204, known)
    root = (await rest.call("GetRestApi"))["rootResourceId"]
    port = f"http://127.0.0.1:{client.port}/_apis/shop/nowhere?secret=1"
    uri = "arn:aws:apigateway:local:sqs:path/000000000000/nowhere"
    for verb, integration in {
        "GET": {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 200}'}},
        "PUT": {"type": "HTTP_PROXY", "integrationHttpMethod": "OPTIONS", "uri": port},
        "POST": {"type": "AWS", "integrationHttpMethod": "POST", "uri": uri},
    }.items():
        method = {"resourceId": root, "httpMethod": verb}
        await rest.call("PutMethod", **method, authorizationType="NONE")
        await rest.call("PutIntegration", **method, **integration)
        await rest.call("PutMethodResponse", **method, statusCode="200")
        await rest.call("PutIntegrationResponse", **method, statusCode="200")
    await rest.deploy("prod")
    mock = {"what": "answered by the method itself", "integration": "mock"}
    assert await facts("GET", "/_apis/pets/prod/") == (200, [mock])
    status, [handed] = await facts("PUT", "/_apis/pets/prod/")
    assert handed == {"what": "handed on", "to": port.partition("?")[0], "status": status}
    status, [asked] = await facts("POST", "/_apis/pets/prod/")
    assert (status, asked) == (200, {"what": "asked a service", "service": "sqs", "status": 400})


async def test_a_function_that_is_not_waited_for_is_told_to_run(app, serve):
    goes_on = asyncio.Event()
    api = app.http_api("shop")

    @api.route("GET", "/slow", timeout=0.05)
    async def slow(event, context):
        await goes_on.wait()

    client = await serve()
    answer = await client.ask("GET", "/slow")
    told = await app._caller.ask("why", id=answer["apigw-requestid"])
    _, step, answered = told["facts"]
    assert (step["what"], step["function"], step["why"]) == ("not waited for", "slow", "it took longer than 0.05 s")
    assert (told["running"], answered["status"]) == (True, 503)
    goes_on.set()
    for _ in range(500):
        if not (await app._caller.ask("why", id=answer["apigw-requestid"]))["running"]:
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the attempt has ended, and is told to run")


async def test_it_is_told_how_a_request_to_a_rest_api_went(app, serve):
    rest = app.rest_api("pets", stage="prod")

    @rest.method("GET", "/pets")
    async def pets(event, context):
        return {"statusCode": 200, "body": "[]"}

    @rest.method("GET", "/broken")
    async def broken(event, context):
        raise ValueError("no paper")

    @rest.method("GET", "/keyed", api_key_required=True)
    async def keyed(event, context):
        return {"statusCode": 200}

    @rest.method("GET", "/signed", authorization_type="AWS_IAM")
    async def signed(event, context):
        raise AssertionError

    client = await serve()
    api = (await rest.call("GetRestApi"))["id"]
    key = await rest.call("CreateApiKey", name="partner", enabled=True)
    plan = await rest.call(
        "CreateUsagePlan",
        name="bronze",
        quota={"limit": 1, "period": "MONTH"},
        apiStages=[{"apiId": api, "stage": "prod"}],
    )
    await rest.call("CreateUsagePlanKey", usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    patches = [
        {"op": "replace", "path": "/cacheClusterEnabled", "value": "true"},
        {"op": "replace", "path": "/~1pets/GET/caching/enabled", "value": "true"},
    ]
    await rest.call("UpdateStage", stageName="prod", patchOperations=patches)

    async def told(path, headers=()):
        answer = await client.ask("GET", f"/_apis/pets/{path}", headers)
        facts = await life(app, answer["x-amzn-requestid"])
        assert facts == await life(app, answer["x-amz-apigw-id"])
        assert (facts[0]["path"], facts[-1]["status"]) == (f"/{path}", answer.status)
        return answer.status, steps(facts)

    assert await told("prod/pets") == (200, [("handled", "pets", None)])
    assert await told("prod/pets") == (200, [("answered from the cache", None, None)])
    status, [failed, answered] = await told("prod/broken")
    assert (status, failed) == (502, ("failed", "broken", "ValueError: no paper"))
    assert answered[0] == "failed" and answered[2].startswith("DEFAULT_5XX: Internal server error")
    assert await told("prod/keyed") == (403, [("turned away", None, "INVALID_API_KEY: Forbidden")])
    assert await told("prod/keyed", {"x-api-key": key["value"]}) == (200, [("handled", "keyed", None)])
    over = f"usage plan bronze, key {key['id']}: QUOTA_EXCEEDED"
    assert await told("prod/keyed", {"x-api-key": key["value"]}) == (429, [("turned away", None, over)])
    missing = "MISSING_AUTHENTICATION_TOKEN: Missing Authentication Token"
    assert await told("prod/signed") == (403, [("turned away", None, missing)])
    nothing = "no method of the stage has this verb and this path"
    assert await told("prod/cats") == (403, [("turned away", None, nothing)])
    assert await told("dev/pets") == (403, [("turned away", None, "the API has no such stage")])


async def test_what_came_over_a_websocket_is_told_by_the_ids_that_its_handler_and_its_client_see(app, serve):
    ids = []
    ws = app.websocket_api("chat")

    @ws.on("send")
    async def send(event, context):
        ids.extend(event["requestContext"][name] for name in ("requestId", "messageId", "connectionId"))
        raise ValueError("no room")

    client = await serve()
    socket = await connect(client.port)
    await socket.send({"action": "send"})
    refused = await socket.json()
    request, message, connection = ids
    facts = await life(app, request)
    assert (refused["requestId"], facts) == (request, await life(app, message))
    assert facts[0] == {
        "what": "asked of an API",
        "method": "MESSAGE",
        "connection": connection,
        "api": "chat",
        "stage": facts[0]["stage"],
        "route": "send",
        "request": request,
    }
    assert steps(facts) == [("failed", "send", "ValueError: no room")]
    await socket.send({"action": "sing"})
    facts = await life(app, (await socket.json())["requestId"])
    assert steps(facts) == [("turned away", None, "no route takes this message")]
    await socket.close()


async def test_the_command_tells_it_to_people(tmp_path, clients):
    app = App("shop", store=tmp_path / "data")
    api = app.http_api("shop")

    @api.route("GET", "/orders/{id}")
    async def order(event, context):
        raise ValueError("no\npaper")

    client = await clients(app)
    id_ = (await client.ask("GET", "/orders/9"))["apigw-requestid"]

    async def why(id_):
        words = ["why", id_, "--store", str(tmp_path / "data")]
        return await asyncio.to_thread(CliRunner().invoke, main, words)

    asked, failed, answered = (await why(id_)).output.splitlines()
    assert asked.split(" ", 2)[2] == (
        f"asked of an API method=GET path=/orders/9 api=shop stage=$default route=GET /orders/{{id}} request={id_}"
    )
    assert failed.split(" ", 2)[2].startswith("failed function=order request=")
    assert failed.endswith(" why=ValueError: no paper")
    assert " answered status=500 took_ms=" in answered
    unknown = await why("JKJaXmPLvHcESHA=")
    assert unknown.exit_code == 1 and "nothing is known of JKJaXmPLvHcESHA=" in unknown.output
    assert "of requests to APIs the newest are remembered" in unknown.output
