"""Resource policies of REST APIs: what they look at, and what is refused when they are set."""

import json

import pytest

from forebay import ForebayError


def policy(*conditions):
    every = {"Effect": "Allow", "Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}
    denials = [{**every, "Effect": "Deny", "Condition": condition} for condition in conditions]
    return json.dumps({"Version": "2012-10-17", "Statement": [every, *denials]})


@pytest.fixture
def rest(app):
    rest = app.rest_api("pets")

    @rest.method("GET", "/x")
    async def x(event, context):
        return {"statusCode": 200, "body": "in"}

    return rest


async def put(rest, document):
    await rest.call("UpdateRestApi", patchOperations=[{"op": "replace", "path": "/policy", "value": document}])
    await rest.deploy("prod")


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/33"}}, '"127.0.0.0/33" cannot be read'),
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "127.0.0.l/8"]}}, '"127.0.0.l/8" cannot be read'),
        ({"StringNotEquals": {"aws:SourceVpce": "v"}}, "condition StringNotEquals on aws:SourceVpce is not known here"),
        ({"Foo": {"aws:SourceIp": "10.0.0.0/8"}}, "condition Foo is not known here"),
    ],
)
async def test_a_policy_that_cannot_be_held_is_refused(serve, rest, condition, why):
    """A Deny of a block that cannot be read denied nobody; of a key that is not known, everybody."""
    client = await serve()
    await rest.deploy("prod")
    before = await rest.call("GetRestApi")
    with pytest.raises(ForebayError, match="Invalid policy document") as refused:
        await put(rest, policy(condition))
    assert why in str(refused.value)
    document = {
        "openapi": "3.0.1",
        "info": {"title": "pets", "version": "1"},
        "paths": {},
        "x-amazon-apigateway-policy": json.loads(policy(condition)),
    }
    with pytest.raises(ForebayError, match="Invalid policy document"):
        await rest.import_openapi(document)
    assert (await rest.call("GetRestApi")).get("policy") == before.get("policy")
    assert (await client.ask("GET", "/_apis/pets/prod/x")).status == 200


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, 403),
        ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, 200),
        ({"StringLike": {"aws:UserAgent": "wicked/*"}}, 403),
        ({"StringLike": {"aws:UserAgent": "good/*"}}, 200),
        ({"StringNotLike": {"aws:Referer": "https://a.example.com/*"}}, 403),
        ({"Bool": {"aws:SecureTransport": "false"}}, 403),
        ({"Bool": {"aws:SecureTransport": "true"}}, 200),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, 403),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, 200),
        ({"NumericGreaterThan": {"aws:EpochTime": "1577836800"}}, 403),
    ],
)
async def test_a_policy_looks_at_the_request(serve, rest, condition, status):
    """All but those on the address denied everybody."""
    client = await serve()
    await put(rest, policy(condition))
    answer = await client.ask("GET", "/_apis/pets/prod/x", {"user-agent": "wicked/1.0"})
    assert answer.status == status
