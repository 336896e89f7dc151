"""Whom an authoriser has let in: its verdict is for nobody else, and for nothing that it has not seen."""

import asyncio
import json

import pytest
from plain_client import parsed
from test_authorizers import Issuer
from tokens import signed


@pytest.fixture
def api(app):
    return app.http_api("shop")


@pytest.fixture
def rest(app):
    return app.rest_api("legacy")


async def ask(client, path, *lines):
    """Ask with header lines, of which one may be there twice."""
    head = [f"GET {path} HTTP/1.1", "host: localhost", "connection: close", *lines, "", ""]
    return parsed(await client.raw("\r\n".join(head).encode()))


def verdict(*, is_let_in, principal="p"):
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow" if is_let_in else "Deny", "Resource": "*"}
    return {"principalId": principal, "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}


async def authorizer(rest, function, **more):
    """Make an authoriser of a REST API; give its id."""
    source = {"identitySource": "method.request.header.Authorization", "type": "TOKEN", "name": function, **more}
    return (await rest.call("CreateAuthorizer", authorizerUri=rest.uri(function), **source))["id"]


@pytest.mark.parametrize("payload_format", ["1.0", "2.0"])
async def test_an_identity_that_stands_twice_lets_nobody_in(app, api, serve, payload_format):
    """The authoriser was asked about the first one, or its verdict was kept for it, and the handler was given the last one."""
    asked = []

    @app.function()
    async def guard(event, context):
        asked.append(event["identitySource"])
        return {"isAuthorized": event["identitySource"] == ["good"]}

    @app.function()
    async def handler(event, context):
        return {"statusCode": 200, "body": json.dumps(event["headers"].get("x-tenant"))}

    by_header = api.lambda_authorizer("header", guard, identity_sources=["$request.header.x-tenant"])
    by_query = api.lambda_authorizer("query", guard, identity_sources=["$request.querystring.tenant"])
    api.route("GET", "/header", authorizer=by_header, payload_format=payload_format)(handler)
    api.route("GET", "/query", authorizer=by_query, payload_format=payload_format)(handler)
    client = await serve()
    for path, lines, status in [
        ("/header", ["x-tenant: good"], 200),
        ("/header", ["x-tenant: good", "X-Tenant: evil"], 401),
        ("/header", ["x-tenant: good", "x-tenant: good"], 401),
        ("/header", ["x-tenant:", "x-tenant: good"], 401),
        ("/header", ["x-tenant: good, evil"], 403),
        ("/query?tenant=good", [], 200),
        ("/query?tenant=good&tenant=evil", [], 401),
        ("/query?tenant=good&%74enant=evil", [], 401),
        ("/query?tenant=good&other=evil", [], 200),
    ]:
        assert (await ask(client, path, *lines)).status == status, (path, lines)
    assert asked == [["good"], ["good, evil"], ["good"]]


async def test_a_verdict_is_kept_for_the_identity_that_was_looked_at(app, api, serve):
    """The first value named the verdict, and an authoriser of format 1.0 was given the last one."""
    revoked = set()

    @app.function()
    async def guard(event, context):
        token = event["headers"]["authorization"]
        return verdict(is_let_in=token in {"mallory", "ann"} - revoked, principal=token)

    gate = api.lambda_authorizer(
        "gate",
        guard,
        payload_format="1.0",
        simple_responses=False,
        identity_sources=["$request.header.authorization"],
    )

    @api.route("GET", "/a", authorizer=gate, payload_format="1.0")
    async def handler(event, context):
        return {"statusCode": 200, "body": event["requestContext"]["authorizer"]["principalId"]}

    client = await serve()
    assert (await ask(client, "/a", "authorization: nobody", "authorization: mallory")).status == 401
    assert (await ask(client, "/a", "authorization: ann", "authorization: nobody")).status == 401
    revoked.add("mallory")
    assert (await ask(client, "/a", "authorization: nobody")).status == 403
    assert (await ask(client, "/a", "authorization: ann")).body == b"ann"


async def test_a_second_token_beside_a_good_one_is_refused(api, serve):
    """The good one was verified, and the handler was given the forged one."""
    async with Issuer() as issuer:
        pool = api.jwt_authorizer("pool", issuer=issuer.url, audiences=["shop"])

        @api.route("GET", "/a", authorizer=pool)
        async def handler(event, context):
            return event["headers"]["authorization"]

        client = await serve()
        good, forged = f"authorization: Bearer {signed(issuer.claims())}", "authorization: Bearer e30.e30."
        assert (await ask(client, "/a", good)).status == 200
        for lines in ((good, forged), (forged, good), (good, good)):
            answer = await ask(client, "/a", *lines)
            assert answer.status == 401
            assert "more than once" in answer["www-authenticate"]


async def test_an_identity_that_stands_twice_lets_nobody_into_a_rest_api(app, rest, serve):
    """Its authoriser was asked about the last one, and most servers behind it take the first."""
    asked = []

    @app.function()
    async def guard(event, context):
        asked.append(event.get("authorizationToken") or event["queryStringParameters"]["t"])
        return verdict(is_let_in=asked[-1] == "good")

    client = await serve()
    for path, kind, source in [
        ("/header", "TOKEN", "method.request.header.Authorization"),
        ("/query", "REQUEST", "method.request.querystring.t"),
    ]:
        made = await authorizer(rest, "guard", name=kind, type=kind, identitySource=source)

        async def handler(event, context):
            return {"statusCode": 200}

        handler.__name__ = path[1:]
        rest.method("GET", path, authorization_type="CUSTOM", authorizer_id=made)(handler)
    await rest.deploy("dev")
    for path, lines, status in [
        ("/header", ["Authorization: good"], 200),
        ("/header", ["Authorization: evil", "authorization: good"], 401),
        ("/header", ["Authorization: good", "Authorization: evil"], 401),
        ("/query?t=good", [], 200),
        ("/query?t=evil&t=good", [], 401),
    ]:
        assert (await ask(client, f"/_apis/legacy/dev{path}", *lines)).status == status, (path, lines)
    assert asked == ["good", "good"]


async def test_the_verdict_of_an_authoriser_that_is_changed_is_not_the_new_ones(app, rest, serve):
    """It let in for its time, an hour at most, whoever could say what the weaker one had asked for."""
    calls = []

    @app.function()
    async def lax(event, context):
        calls.append("lax")
        return verdict(is_let_in=True)

    @app.function()
    async def strict(event, context):
        calls.append("strict")
        return verdict(is_let_in=False)

    client = await serve()
    source = {"type": "REQUEST", "identitySource": "method.request.header.X-User", "authorizerResultTtlInSeconds": 3600}
    made = await authorizer(rest, "lax", **source)

    @rest.method("GET", "/a", authorization_type="CUSTOM", authorizer_id=made)
    async def handler(event, context):
        return {"statusCode": 200}

    await rest.deploy("dev")
    path = "/_apis/legacy/dev/a"
    assert [(await client.ask("GET", path, {"x-user": "ann"})).status for _ in range(2)] == [200, 200]
    patches = [
        {"op": "replace", "path": "/authorizerUri", "value": rest.uri("strict")},
        {"op": "replace", "path": "/identitySource", "value": "method.request.header.Authorization"},
    ]
    await rest.call("UpdateAuthorizer", authorizerId=made, patchOperations=patches)
    await rest.deploy("dev")
    assert (await client.ask("GET", path, {"authorization": "ann"})).status == 403
    assert calls == ["lax", "strict"]


async def cached(rest, stage="dev"):
    patches = [
        {"op": "replace", "path": "/cacheClusterEnabled", "value": "true"},
        {"op": "replace", "path": "/*/*/caching/enabled", "value": "true"},
    ]
    await rest.call("UpdateStage", stageName=stage, patchOperations=patches)


async def test_a_cached_answer_goes_to_nobody_whom_the_authoriser_gives_the_same_name(app, rest, serve):
    """Many authorisers say `user` of everybody; what was answered to ann was given to bob."""

    @app.function()
    async def guard(event, context):
        told = verdict(is_let_in=True, principal="user")
        if event["authorizationToken"] == "nameless":
            del told["principalId"]
        return told

    client = await serve()
    made = await authorizer(rest, "guard")

    @rest.method("GET", "/mine", authorization_type="CUSTOM", authorizer_id=made)
    async def mine(event, context):
        return {"statusCode": 200, "body": event["headers"]["Authorization"]}

    await rest.deploy("dev")
    await cached(rest)

    async def answer(token):
        return await client.ask("GET", "/_apis/legacy/dev/mine", {"authorization": token})

    assert [(await answer(token)).body for token in ("ann", "bob", "ann")] == [b"ann", b"bob", b"ann"]
    hits = app.metrics.statistic("CacheHitCount", "Sum", period=60, api="legacy", stage="dev")
    assert hits == 1.0
    nameless = await answer("nameless")
    assert (nameless.status, nameless["x-amzn-errortype"]) == (500, "AuthorizerConfigurationException")


async def test_a_parameter_that_stands_twice_has_an_answer_of_its_own_in_the_cache(rest, serve):
    """The last value was the key, so that one client chose what all others were answered."""

    @rest.method("GET", "/open")
    async def handler(event, context):
        return {"statusCode": 200, "body": json.dumps(event["multiValueQueryStringParameters"]["q"])}

    client = await serve()
    await rest.deploy("dev")
    resource = next(one for one in (await rest.call("GetResources"))["items"] if one["path"] == "/open")
    of_method = {"resourceId": resource["id"], "httpMethod": "GET"}
    patch = [{"op": "add", "path": "/requestParameters/method.request.querystring.q", "value": "false"}]
    await rest.call("UpdateMethod", patchOperations=patch, **of_method)
    patch = [{"op": "add", "path": "/cacheKeyParameters/method.request.querystring.q"}]
    await rest.call("UpdateIntegration", patchOperations=patch, **of_method)
    await rest.call("CreateDeployment", stageName="dev")
    await cached(rest)
    got = [(await client.ask("GET", f"/_apis/legacy/dev/open?{query}")).json() for query in ("q=evil&q=1", "q=1")]
    assert got == [["evil", "1"], ["1"]]


@pytest.mark.parametrize("is_rest", [False, True])
async def test_whoever_waits_for_an_authoriser_shares_its_failure(app, serve, is_rest):
    """Each of them had it asked anew, one after the other, and kept its place for all that time."""
    goes_on, asked = asyncio.Event(), []

    @app.function(timeout=20)
    async def guard(event, context):
        asked.append(event)
        await goes_on.wait()
        raise RuntimeError("the database is down")

    async def handler(event, context):
        return {"statusCode": 200}

    path = "/_apis/legacy/dev/a"
    if is_rest:
        rest = app.rest_api("legacy")
        client = await serve()
        made = await authorizer(rest, "guard")
        rest.method("GET", "/a", authorization_type="CUSTOM", authorizer_id=made)(handler)
        await rest.deploy("dev")
    else:
        api = app.http_api("legacy")
        api.stage("dev")
        api.route("GET", "/a", authorizer=api.lambda_authorizer("gate", guard))(handler)
        client = await serve()
    requests = [asyncio.ensure_future(client.ask("GET", path, {"authorization": "x"})) for _ in range(5)]
    await asyncio.sleep(0.5)
    goes_on.set()
    assert [answer.status for answer in await asyncio.gather(*requests)] == [500] * 5
    assert len(asked) == 1
    assert (await client.ask("GET", path, {"authorization": "x"})).status == 500
    assert len(asked) == 2, "whoever comes later has it asked anew"
