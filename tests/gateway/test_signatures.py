"""Requests that are signed with access keys, and tokens of user pools: who is let in, by which method."""

import json
import time

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from test_authorizers import Issuer
from tokens import signed

from forebay import App, FunctionUrl

KEYS = [
    {"id": "AKIAWRITER", "secret": "w", "read_only": False, "services": []},
    {"id": "AKIAREADER", "secret": "r", "read_only": True, "services": []},
    {"id": "AKIAQUEUES", "secret": "q", "read_only": False, "services": ["sqs"]},
]
SECRETS = {key["id"]: key["secret"] for key in KEYS} | {"AKIANOBODY": "n"}


def ask_signed(
    client, method, path, *, key="AKIAWRITER", secret=None, service="execute-api", body=b"", headers=(), query=False
):
    """Sign a request; give what sends it."""
    url = f"http://localhost:{client.port}{path}"
    request = AWSRequest(method, url, data=body, headers={"host": f"localhost:{client.port}", **dict(headers)})
    credentials = Credentials(key, secret or SECRETS[key])
    auth = SigV4QueryAuth if query else SigV4Auth
    auth(credentials, service, "us-east-1").add_auth(request)
    whole = request.url.removeprefix(f"http://localhost:{client.port}") if query else path
    fields = {name: value for name, value in request.headers.items() if name.lower() != "host"}
    return client.ask(method, whole, fields, body, host=f"localhost:{client.port}")


@pytest.fixture
def store(tmp_path):
    (tmp_path / "aws-keys.json").write_text(json.dumps({"keys": KEYS}))
    return tmp_path


async def told(event, context):
    return {"statusCode": 200, "body": json.dumps(event["requestContext"])}


@pytest.fixture
async def rest(store, clients):
    app = App("shop", store=str(store))
    api = app.rest_api("pets", stage="prod")
    api.method("ANY", "/pets", authorization_type="AWS_IAM")(told)
    return await clients(app)


PETS = "/_apis/pets/prod/pets"


async def test_a_method_with_aws_iam_lets_in_who_signs_with_a_key(rest):
    for query in (False, True):
        answer = await ask_signed(rest, "GET", f"{PETS}?a=1%2F&b=", query=query)
        assert answer.status == 200, answer.body
        identity = answer.json()["identity"]
        assert (identity["accessKey"], identity["user"]) == ("AKIAWRITER", "AKIAWRITER")
        assert identity["userArn"].endswith(":user/AKIAWRITER")
    assert (await ask_signed(rest, "POST", PETS, body=b'{"a": 1}')).status == 200


async def test_a_signature_is_of_the_path_that_is_asked_for(rest):
    """What is signed has no dot segments, and a route is found by the path as it is: one route's presigned URL opened another."""
    sent = f"{PETS}/../pets"
    assert (await ask_signed(rest, "GET", sent)).status == 403
    assert (await ask_signed(rest, "GET", f"{PETS}/./", query=True)).status == 403
    assert (await ask_signed(rest, "GET", PETS.replace("/prod/", "/prod//"), query=True)).status == 403


@pytest.mark.parametrize(
    ("method", "key", "status"),
    [
        (method, key, status)
        for key, reads, writes in [
            ("AKIAWRITER", 200, 200),
            ("AKIAREADER", 200, 403),
            ("AKIAQUEUES", 403, 403),
            ("AKIANOBODY", 403, 403),
        ]
        for method, status in [("GET", reads), ("HEAD", reads), ("POST", writes), ("PUT", writes), ("DELETE", writes)]
    ],
)
async def test_each_key_may_do_what_it_may(rest, method, key, status):
    assert (await ask_signed(rest, method, PETS, key=key)).status == status


async def test_whoever_does_not_sign_as_it_should_be_is_not_let_in(rest):
    unsigned = await rest.ask("GET", PETS)
    assert (unsigned.status, unsigned.json()) == (403, {"message": "Missing Authentication Token"})
    wrong = await ask_signed(rest, "GET", PETS, secret="another")  # noqa: S106
    assert (wrong.status, wrong["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    other = await ask_signed(rest, "GET", PETS, service="sqs")
    assert other.json() == {"message": "Credential should be scoped to correct service: 'execute-api'."}
    token = await ask_signed(rest, "GET", PETS, headers={"x-amz-security-token": "t"})
    assert token.json() == {"message": "The security token included in the request is invalid."}
    host = f"localhost:{rest.port}"
    request = AWSRequest("POST", f"http://{host}{PETS}", data=b"paid: 1", headers={"host": host})
    SigV4Auth(Credentials("AKIAWRITER", "w"), "execute-api", "us-east-1").add_auth(request)
    fields = {name: value for name, value in request.headers.items() if name.lower() != "host"}
    assert (await rest.ask("POST", PETS, fields, b"paid: 1", host=host)).status == 200
    assert (await rest.ask("POST", PETS, fields, b"paid: 9", host=host)).status == 403, "the body is signed"
    assert (await rest.ask("PUT", PETS, fields, b"paid: 1", host=host)).status == 403, "the method is signed"
    assert (await rest.ask("POST", f"{PETS}?a=1", fields, b"paid: 1", host=host)).status == 403, "the query is signed"


async def test_a_body_that_is_not_signed_is_nobodys(rest):
    for said in ("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        answer = await ask_signed(rest, "POST", PETS, headers={"x-amz-content-sha256": said}, body=b"anything")
        assert (answer.status, answer["x-amzn-errortype"]) == (403, "InvalidSignatureException"), said


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "AKIANOBODY"},
        {"service": "sqs"},
        {"secret": "another", "headers": {"x-amz-content-sha256": "0" * 64}},
        {"query": True, "headers": {"x-amz-security-token": "t"}},
    ],
)
async def test_a_body_that_nobody_can_have_signed_is_not_read(rest, wrong):
    """Whoever knew the form of a signature filled the room of all bodies."""
    headers = {"content-length": "1000000", **wrong.pop("headers", {})}
    assert (await ask_signed(rest, "POST", PETS, headers=headers, **wrong)).status == 403


async def test_a_presigned_url_with_a_session_token_lets_nobody_in(rest):
    """The token was looked for in the header alone."""
    url = f"http://localhost:{rest.port}{PETS}"
    request = AWSRequest("GET", url, headers={"host": f"localhost:{rest.port}"})
    SigV4QueryAuth(Credentials("AKIAWRITER", "w", "token"), "execute-api", "us-east-1").add_auth(request)
    answer = await rest.ask("GET", request.url.partition(str(rest.port))[2], host=f"localhost:{rest.port}")
    assert answer.json() == {"message": "The security token included in the request is invalid."}


async def test_without_keys_nobody_is_let_in(tmp_path, clients):
    app = App("shop", store=str(tmp_path))
    app.rest_api("pets", stage="prod").method("ANY", "/pets", authorization_type="AWS_IAM")(told)
    client = await clients(app)
    assert (await ask_signed(client, "GET", PETS)).status == 403


async def test_http_apis_and_urls_let_in_who_signs(store, clients):
    app = App("shop", store=str(store))
    api = app.http_api("shop")
    api.route("GET", "/mine", authorizer=api.iam_authorizer())(told)

    @app.function(url=FunctionUrl(auth="AWS_IAM"))
    async def locked(event, context):
        return event["requestContext"]

    client = await clients(app)
    mine = await ask_signed(client, "GET", "/_apis/shop/mine")
    assert mine.json()["authorizer"]["iam"]["accessKey"] == "AKIAWRITER"
    assert (await client.ask("GET", "/_apis/shop/mine")).json() == {"message": "Forbidden"}
    answer = await ask_signed(client, "GET", "/_apis/locked/", service="lambda")
    assert answer.json()["authorizer"]["iam"]["accessKey"] == "AKIAWRITER"
    refused = await client.ask("GET", "/_apis/locked/")
    assert (refused.status, refused["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert (await ask_signed(client, "GET", "/_apis/locked/", service="execute-api")).status == 403


POOL = "eu-west-1_Shop"
ARN = f"arn:aws:cognito-idp:eu-west-1:111122223333:userpool/{POOL}"


async def test_a_token_of_a_user_pool_lets_in(clients):
    async with Issuer() as issuer:
        app = App("shop", store=":memory:")
        rest = app.rest_api("pets", user_pools={POOL: issuer.url})
        client = await clients(app)
        source = "method.request.header.Authorization"
        made = await rest.call(
            "CreateAuthorizer",
            name="users",
            type="COGNITO_USER_POOLS",
            providerARNs=[ARN],
            identitySource=source,
            identityValidationExpression="shop-.*",
        )
        options = {"authorization_type": "COGNITO_USER_POOLS", "authorizer_id": made["id"]}
        handler = rest.method("GET", "/me", **options)(told)
        rest.method("GET", "/orders", authorization_scopes=["orders/read"], **options)(handler)
        await rest.deploy("prod")

        async def ask(path, **claims):
            token = signed(issuer.claims(**{"aud": "shop-web", "token_use": "id", **claims}))
            return await client.ask("GET", f"/_apis/pets/prod{path}", {"authorization": f"Bearer {token}"})

        me = await ask("/me", email="a@example.com")
        assert me.json()["authorizer"]["claims"]["email"] == "a@example.com"
        access = {"token_use": "access", "aud": None, "client_id": "shop-web"}
        assert (await ask("/orders", scope="orders/read other", **access)).status == 200
        for path, claims in [
            ("/me", access),
            ("/me", {"aud": "another"}),
            ("/me", {"iss": "https://other.example.com/pool"}),
            ("/me", {"token_use": None}),
            ("/me", {"nbf": time.time() + 60}),
            ("/orders", {}),
            ("/orders", {**access, "scope": "orders/write"}),
        ]:
            refused = await ask(path, **claims)
            assert (refused.status, refused.json()) == (401, {"message": "Unauthorized"}), (path, claims)
        over = await ask("/me", exp=time.time() - 1)
        assert over.json() == {"message": "The incoming token has expired"}
        assert (await client.ask("GET", "/_apis/pets/prod/me")).status == 401
        forged = signed(issuer.claims(aud="shop-web", token_use="id"))[:-8] + "AAAAAAAA"  # noqa: S106
        assert (await client.ask("GET", "/_apis/pets/prod/me", {"authorization": forged})).status == 401
