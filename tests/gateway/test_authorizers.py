"""Authorisers of HTTP APIs: who is let in, and what its handler is told of it."""

import asyncio
import json
import time

import pytest
from tokens import key_set, signed


class Issuer:
    """Answers for the keys of an issuer of tokens."""

    def __init__(self):
        self.keys = ["one"]
        self.fetches = 0
        self.fails = False

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/pool"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def answer(self, reader, writer):
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        if path.endswith("/openid-configuration"):
            told = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        else:
            self.fetches += 1
            told = key_set(*self.keys)
        body = json.dumps(told).encode()
        status = b"503 no" if self.fails else b"200 OK"
        writer.write(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        writer.close()

    def claims(self, **more):
        claims = {"iss": self.url, "aud": "shop", "sub": "u", "exp": time.time() + 60, "scope": "read write", **more}
        return {name: value for name, value in claims.items() if value is not None}


@pytest.fixture
async def issuer():
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture
def api(app):
    return app.http_api("shop")


def told_of(api, method, path, **options):
    async def told(event, context):
        return event["requestContext"].get("authorizer")

    told.__name__ = f"{method}_{path.replace('/', '_').strip('{}+')}".replace("{", "").replace("}", "").replace("+", "")
    return api.route(method, path, **options)(told)


async def test_a_token_lets_its_bearer_in(api, issuer, serve):
    pool = api.jwt_authorizer("pool", issuer=issuer.url, audiences=["shop"])
    told_of(api, "GET", "/a", authorizer=pool, scopes=["write"])
    client = await serve()
    for bits in (256, 384, 512):
        token = signed(issuer.claims(groups=["a", "b"], n=1), bits=bits)
        for text in (token, f"Bearer {token}"):
            answer = await client.ask("GET", "/a", {"authorization": text})
            assert answer.status == 200, answer.body
        jwt = answer.json()["jwt"]
        assert (jwt["claims"]["sub"], jwt["claims"]["groups"], jwt["claims"]["n"]) == ("u", "[a b]", "1")
        assert jwt["scopes"] == ["write"]
    assert issuer.fetches == 1


def mutations(issuer):
    good = issuer.claims()
    token = signed(good)
    head, body, signature = token.split(".")
    yield "nothing", "", None
    yield "no token", "Bearer x", "the token is not a valid JWT"
    yield "unsigned", f"{head}.{body}.", "the token does not have a valid signature"
    yield "another signature", f"{head}.{body}.{signature[:-8]}AAAAAAAA", "the token does not have a valid signature"
    yield "another body", f"{head}.{signed(issuer.claims(sub='root')).split('.')[1]}.{signature}", "valid signature"
    yield "alg none", signed(good, alg="none"), "algorithm"
    yield "alg HS256", signed(good, alg="HS256"), "algorithm"
    yield "another alg than it is signed with", signed(good, alg="RS512"), "valid signature"
    yield "an unknown key", signed(good, key="two"), "valid signature"
    yield "another issuer", signed({**good, "iss": "https://evil.example.com"}), "issuer"
    yield "another audience", signed({**good, "aud": "other"}), "audience"
    yield "aud decides where client_id is there, too", signed({**good, "aud": "x", "client_id": "shop"}), "audience"
    yield "expired", signed({**good, "exp": time.time() - 1}), "expired"
    yield "never ends", signed(issuer.claims(exp=None)), "expire"
    yield "not yet", signed({**good, "nbf": time.time() + 60}), "not valid yet"
    yield "made tomorrow", signed({**good, "iat": time.time() + 60}), "not valid yet"


async def test_every_mutation_of_a_token_is_refused(api, issuer, serve):
    pool = api.jwt_authorizer("pool", issuer=issuer.url, audiences=["shop"])
    runs = []

    @api.route("GET", "/a", authorizer=pool)
    async def handler(event, context):
        runs.append(event)

    client = await serve()
    for name, token, part in mutations(issuer):
        headers = {"authorization": token} if token else {}
        answer = await client.ask("GET", "/a", headers)
        assert (answer.status, answer.body) == (401, b'{"message":"Unauthorized"}'), name
        challenge = answer["www-authenticate"]
        assert challenge == "Bearer" if part is None else part in challenge, (name, challenge)
    assert runs == []


async def test_a_scope_that_is_missing_is_forbidden(api, issuer, serve):
    pool = api.jwt_authorizer("pool", issuer=issuer.url, audiences=["shop"])
    told_of(api, "GET", "/a", authorizer=pool, scopes=["admin"])
    client = await serve()
    answer = await client.ask("GET", "/a", {"authorization": signed(issuer.claims())})
    assert (answer.status, "insufficient_scope" in answer["www-authenticate"]) == (403, True)


async def test_an_issuer_that_is_down_lets_nobody_in(api, issuer, serve, caplog):
    pool = api.jwt_authorizer("pool", issuer=issuer.url, audiences=["shop"])
    told_of(api, "GET", "/a", authorizer=pool)
    issuer.fails = True
    client = await serve()
    assert (await client.ask("GET", "/a", {"authorization": signed(issuer.claims())})).status == 401
    async with asyncio.timeout(100):
        while "are not there" not in caplog.text:  # noqa: ASYNC110  another thread says it
            await asyncio.sleep(0.02)
    assert f"API shop: the keys of {issuer.url} are not there" in caplog.text


async def test_a_function_says_who_is_let_in_and_is_asked_once(app, api, serve):
    asked = []

    @app.function()
    async def guard(event, context):
        asked.append(event)
        return {"isAuthorized": event["identitySource"] == ["open sesame"], "context": {"user": "ali"}}

    name = api.lambda_authorizer("guard", guard)
    told_of(api, "GET", "/a", authorizer=name)
    client = await serve()
    for _ in range(3):
        answer = await client.ask("GET", "/a", {"authorization": "open sesame"})
        assert answer.json() == {"lambda": {"user": "ali"}}
    assert len(asked) == 1
    assert asked[0]["routeArn"].endswith(f":{api.id}/$default/GET/a") and asked[0]["type"] == "REQUEST"
    assert (await client.ask("GET", "/a", {"authorization": "barley"})).status == 403
    assert (await client.ask("GET", "/a")).status == 401
    assert len(asked) == 2


async def test_what_a_function_has_said_is_forgotten_when_it_is_flushed(app, api, serve):
    """`forebay api flush --authorizers` was for REST APIs alone: a caller kept its place for up to an hour."""
    is_let_in = True

    @app.function()
    async def guard(event, context):
        return {"isAuthorized": is_let_in}

    told_of(api, "GET", "/a", authorizer=api.lambda_authorizer("guard", guard))
    client = await serve()

    async def status():
        return (await client.ask("GET", "/a", {"authorization": "ali"})).status

    async def reset(**place):
        return await api._caller.ask("http_api.call", operation="ResetAuthorizersCache", params=place)

    assert await status() == 200
    is_let_in = False
    assert await status() == 200
    for place in ({"ApiId": api.id, "StageName": "none"}, {"ApiId": "none", "StageName": "$default"}):
        assert (await reset(**place))["status"] == 404
    assert await status() == 200
    assert (await reset(ApiId=api.id, StageName="$default"))["status"] == 200
    assert [await status(), await status()] == [403, 403]


async def test_an_authoriser_behind_an_alias_is_asked_anew_when_the_alias_moves(serve, app):
    """What the old version had said held for its whole time: whom the new one refuses was let in."""

    rest = app.rest_api("legacy", stage="dev")

    def said(effect):
        statement = {"Effect": effect, "Resource": "*", "Action": "*"}
        return {"principalId": "ada", "policyDocument": {"Statement": [statement]}}

    async def stricter(event, context):
        return said("Deny")

    @app.function()
    async def guard(event, context):
        return said("Allow")

    old, new = guard.publish_version(), guard.publish_version(stricter)
    live = app.alias("live", guard, old)
    client = await serve()
    authorizer = await rest.call(
        "CreateAuthorizer",
        name="guard",
        type="TOKEN",
        authorizerUri=rest.uri("guard:live"),
        identitySource="method.request.header.Authorization",
    )

    async def pets(event, context):
        return {"statusCode": 200}

    rest.method("GET", "/pets", authorization_type="CUSTOM", authorizer_id=authorizer["id"])(pets)
    await rest.deploy("dev")

    async def status():
        return (await client.ask("GET", "/_apis/legacy/dev/pets", {"authorization": "token"})).status

    assert [await status(), await status()] == [200, 200]
    await live.update(version=new)
    assert await status() == 403
    await live.update(version=old)
    assert await status() == 200, "what this version has said holds still"


async def test_many_callers_at_once_ask_the_function_once(app, api, serve):
    asked = []

    @app.function()
    async def guard(event, context):
        asked.append(event)
        await asyncio.sleep(0.1)
        return {"isAuthorized": True}

    told_of(api, "GET", "/a", authorizer=api.lambda_authorizer("guard", guard))
    client = await serve()
    got = await asyncio.gather(*(client.ask("GET", "/a", {"authorization": "x"}) for _ in range(10)))
    assert {answer.status for answer in got} == {200} and len(asked) == 1


async def test_a_policy_that_is_kept_is_held_against_each_route(app, api, serve):
    @app.function()
    async def guard(event, context):
        allow = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
        return {"principalId": "u", "policyDocument": {"Statement": [allow]}, "context": {"n": 1}}

    name = api.lambda_authorizer("guard", guard, payload_format="1.0", simple_responses=False)
    for path in ("/a", "/b"):
        told_of(api, "GET", path, authorizer=name)
    client = await serve()
    assert (await client.ask("GET", "/a", {"authorization": "x"})).json() == {"lambda": {"n": 1}}
    assert (await client.ask("GET", "/b", {"authorization": "x"})).status == 403


async def test_no_path_goes_round_what_a_policy_denies(app, api, serve):
    @app.function()
    async def guard(event, context):
        arn = event["methodArn"].split("/")[0]
        statements = [("Allow", f"{arn}/*"), ("Deny", f"{arn}/*/GET/admin")]
        told = [{"Action": "execute-api:Invoke", "Effect": effect, "Resource": of} for effect, of in statements]
        return {"principalId": "u", "policyDocument": {"Statement": told}}

    name = api.lambda_authorizer("guard", guard, payload_format="1.0", simple_responses=False)
    api.stage("$default")
    api.stage("dev")
    told_of(api, "GET", "/admin", authorizer=name)
    told_of(api, "GET", "/open-air", authorizer=name)
    client = await serve()
    for stage in ("", "/dev"):
        for path, status in [("/admin", 403), ("/%61dmin", 403), ("/adm%69n", 403), ("/open%2dair", 200)]:
            answer = await client.ask("GET", f"{stage}{path}", {"authorization": "x"})
            assert answer.status == status, (stage, path)


@pytest.mark.parametrize(
    "answer", [None, True, {}, {"isAuthorized": "true"}, {"isAuthorized": True, "context": 1}, "raise"]
)
async def test_a_function_that_answers_nonsense_lets_nobody_in(app, api, serve, answer):
    runs = []

    @app.function()
    async def guard(event, context):
        if answer == "raise":
            raise ValueError("no")
        return answer

    @api.route("GET", "/a", authorizer=api.lambda_authorizer("guard", guard, ttl=300))
    async def handler(event, context):
        runs.append(event)

    client = await serve()
    for _ in range(2):
        assert (await client.ask("GET", "/a", {"authorization": "x"})).status == 500
    assert runs == []


async def test_routes_are_open_to_whom_they_are_declared_for_and_to_nobody_else(app, api, issuer, serve):
    """Routes x roles: each cell is the status that the role gets."""

    @app.function()
    async def guard(event, context):
        return {"isAuthorized": event["identitySource"] == ["staff"]}

    pool = api.jwt_authorizer("pool", issuer=issuer.url, audiences=["shop"])
    staff = api.lambda_authorizer("staff", guard, identity_sources=["$request.header.x-staff"])
    told_of(api, "GET", "/open")
    told_of(api, "GET", "/orders/{id}", authorizer=pool)
    told_of(api, "POST", "/orders/{id}", authorizer=pool, scopes=["admin"])
    told_of(api, "ANY", "/staff/{proxy+}", authorizer=staff)
    client = await serve()
    roles = {
        "nobody": {},
        "user": {"authorization": signed(issuer.claims())},
        "admin": {"authorization": signed(issuer.claims(scope="admin"))},
        "staff": {"x-staff": "staff"},
        "thief": {"authorization": signed(issuer.claims(exp=1)), "x-staff": "steal"},
    }
    table = {
        ("GET", "/open"): [200, 200, 200, 200, 200],
        ("GET", "/orders/1"): [401, 200, 200, 401, 401],
        ("POST", "/orders/1"): [401, 403, 200, 401, 401],
        ("GET", "/staff/a"): [401, 401, 401, 200, 403],
        ("DELETE", "/staff/a/b"): [401, 401, 401, 200, 403],
        ("GET", "/%73taff/a"): [401, 401, 401, 200, 403],
        ("DELETE", "/orders/1"): [404, 404, 404, 404, 404],
    }
    got = {
        (method, path): [(await client.ask(method, path, headers)).status for headers in roles.values()]
        for method, path in table
    }
    assert got == table


async def test_an_authorizer_of_payload_one_is_given_what_callers_are_known_by(app, api, serve):
    """Both were null: authorisers that read the token denied, or failed."""
    seen = []

    @app.function()
    async def guard(event, context):
        seen.append((event["type"], event["identitySource"], event["authorizationToken"]))
        statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
        return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}

    sources = ["$request.header.x-user", "$request.querystring.shop"]
    options = {"payload_format": "1.0", "simple_responses": False}
    told_of(api, "GET", "/a", authorizer=api.lambda_authorizer("g", guard, identity_sources=sources, **options))
    told_of(api, "GET", "/b", authorizer=api.lambda_authorizer("n", guard, identity_sources=(), ttl=0, **options))
    client = await serve()
    assert (await client.ask("GET", "/a?shop=123", {"x-user": "user1"})).status == 200
    assert (await client.ask("GET", "/b")).status == 200
    assert seen == [("REQUEST", "user1,123", "user1,123"), ("REQUEST", None, None)]
