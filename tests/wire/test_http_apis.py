"""HTTP and WebSocket APIs that are made by boto3: routes, integrations, authorisers, stages, deployments, documents."""

import asyncio
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from wire_app import ACCOUNT, REGION, served

sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))

from ports import free_port
from sockets import TEXT, connect
from tokens import key_set, signed

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:echo"


def program(make_app, **options):
    app = make_app(**options)

    @app.function()
    async def echo(event, context):
        if "routeKey" not in event and event["requestContext"].get("eventType") == "MESSAGE":
            return {"said": json.loads(event["body"])["text"]}
        known = event["requestContext"]
        told = {"route": known["routeKey"], "stage": known["stage"], "variables": event.get("stageVariables")}
        return told | {"caller": known.get("authorizer")}

    @app.function()
    async def guard(event, context):
        return {"isAuthorized": event["identitySource"] == ["open"], "context": {"user": "ali"}}

    @app.function()
    async def allowed(event, context):
        effect = "Allow" if event["headers"].get("authorization") == "open" else "Deny"
        statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
        return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}

    app.http_api("declared").route("GET", "/")(echo)
    return app


class Wire:
    """A served app, its port for APIs, and a client that makes them."""

    def __init__(self, running, port):
        self.running, self.port = running, port
        self.apis = running.client("apigatewayv2")

    def get(self, api, path, **headers):
        """Ask an API; give status and answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_apis/{api}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=100) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def listed(self, api):
        """Give the stages of each entry that an API has in the list of what is served."""
        token = self.running.ask("api.token")["token"]
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_routes?token={token}")
        with urllib.request.urlopen(request, timeout=100) as answer:  # noqa: S310
            return [one["stages"] for one in json.loads(answer.read()) if one["id"] == api]

    def made(self, key="GET /pets/{id}", **more):
        """Make an API with one route; give the ids."""
        api = self.apis.create_api(Name="pets", ProtocolType="HTTP")["ApiId"]
        integration = self.integration(api)
        route = self.apis.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration}", **more)
        return api, integration, route["RouteId"]

    def integration(self, api, **more):
        """Make an integration with the function; give its id."""
        wanted = {"IntegrationType": "AWS_PROXY", "IntegrationUri": ARN, "PayloadFormatVersion": "2.0"} | more
        return self.apis.create_integration(ApiId=api, **wanted)["IntegrationId"]

    def guard(self, api):
        """Make an authoriser that lets in whoever says `open`; give its id."""
        return self.apis.create_authorizer(
            ApiId=api,
            Name="guard",
            AuthorizerType="REQUEST",
            IdentitySource=["$request.header.Authorization"],
            AuthorizerUri=ARN.replace("echo", "guard"),
            AuthorizerPayloadFormatVersion="2.0",
            EnableSimpleResponses=True,
        )["AuthorizerId"]


@pytest.fixture
def wire(make_app):
    port = free_port()
    with served(program(make_app), http_port=port) as running:
        yield Wire(running, port)


def test_an_api_is_made_served_and_deleted(wire):
    apis = wire.apis
    made = apis.create_api(Name="pets", ProtocolType="HTTP", Description="all", Tags={"team": "a"})
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["RouteSelectionExpression"], made["Tags"]) == ("${request.method} ${request.path}", {"team": "a"})
    assert made["CreatedDate"].year >= 2025
    api = made["ApiId"]
    assert wire.get(api, "/pets/1")[0] == 404
    integration = wire.integration(api)
    target = f"integrations/{integration}"
    route = apis.create_route(ApiId=api, RouteKey="GET /pets/{id}", Target=target)
    assert (route["AuthorizationType"], route["Target"]) == ("NONE", target)
    stage = apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True, StageVariables={"colour": "red"})
    assert stage["LastDeploymentStatusMessage"] == (
        f"Successfully deployed stage with deployment ID '{stage['DeploymentId']}'"
    )
    told = {"route": "GET /pets/{id}", "stage": "$default", "variables": {"colour": "red"}, "caller": None}
    assert wire.get(api, "/pets/1") == (200, told)
    # A stage that deploys by itself follows each change.
    apis.update_route(ApiId=api, RouteId=route["RouteId"], RouteKey="GET /cats/{id}")
    assert wire.get(api, "/pets/1")[0] == 404
    assert wire.get(api, "/cats/1")[0] == 200
    names = {one["Name"]: one["ApiId"] for one in apis.get_apis()["Items"]}
    assert set(names) == {"declared", "pets"} and names["pets"] == api
    assert apis.get_api(ApiId=api)["Description"] == "all"
    assert [one["RouteKey"] for one in apis.get_routes(ApiId=api)["Items"]] == ["GET /cats/{id}"]
    assert apis.get_integration(ApiId=api, IntegrationId=integration)["TimeoutInMillis"] == 30_000
    changed = apis.update_api(ApiId=api, Name="animals", CorsConfiguration={"AllowOrigins": ["https://a.example.com"]})
    assert (changed["Name"], changed["CorsConfiguration"]["AllowOrigins"]) == ("animals", ["https://a.example.com"])
    apis.delete_cors_configuration(ApiId=api)
    assert "CorsConfiguration" not in apis.get_api(ApiId=api)
    apis.delete_api(ApiId=api)
    assert wire.get(api, "/cats/1")[0] == 404
    with pytest.raises(apis.exceptions.NotFoundException, match=f"Invalid API identifier specified {ACCOUNT}:{api}"):
        apis.get_api(ApiId=api)


def test_a_target_makes_an_api_at_once(wire):
    api = wire.apis.create_api(Name="quick", ProtocolType="HTTP", Target=ARN, RouteKey="ANY /here")["ApiId"]
    assert wire.get(api, "/here")[1]["route"] == "ANY /here"
    assert wire.apis.get_stages(ApiId=api)["Items"][0]["AutoDeploy"] is True


def test_a_stage_serves_its_deployment_until_it_is_given_another(wire):
    apis = wire.apis
    with pytest.raises(apis.exceptions.BadRequestException, match="At least one route is required before deploying"):
        apis.create_deployment(ApiId=apis.create_api(Name="empty", ProtocolType="HTTP")["ApiId"])
    api, integration, _ = wire.made("GET /one")
    apis.create_stage(ApiId=api, StageName="prod")
    assert wire.get(api, "/prod/one")[0] == 404
    first = apis.create_deployment(ApiId=api, StageName="prod", Description="first")
    assert (first["DeploymentStatus"], first["AutoDeployed"]) == ("DEPLOYED", False)
    apis.create_stage(ApiId=api, StageName="dev", AutoDeploy=True)
    apis.create_route(ApiId=api, RouteKey="GET /two", Target=f"integrations/{integration}")
    assert [wire.get(api, path)[0] for path in ("/prod/one", "/prod/two", "/dev/two")] == [200, 404, 200]
    assert wire.listed(api) == [["dev"], ["prod"]], "each has routes of its own"
    second = apis.create_deployment(ApiId=api)["DeploymentId"]
    assert wire.get(api, "/prod/two")[0] == 404
    apis.update_stage(ApiId=api, StageName="prod", DeploymentId=second)
    assert wire.get(api, "/prod/two")[1]["stage"] == "prod"
    assert wire.listed(api) == [["dev", "prod"]], "it stood there once for each stage"
    with pytest.raises(apis.exceptions.BadRequestException, match="Active stages pointing to this deployment"):
        apis.delete_deployment(ApiId=api, DeploymentId=second)
    apis.delete_deployment(ApiId=api, DeploymentId=first["DeploymentId"])
    # What no longer deploys by itself goes on with what it served.
    apis.update_stage(ApiId=api, StageName="dev", AutoDeploy=False)
    apis.create_route(ApiId=api, RouteKey="GET /three", Target=f"integrations/{integration}")
    assert [wire.get(api, path)[0] for path in ("/dev/two", "/dev/three")] == [200, 404]
    assert {one["DeploymentId"] for one in apis.get_deployments(ApiId=api)["Items"]} >= {second}
    assert apis.update_deployment(ApiId=api, DeploymentId=second, Description="new")["Description"] == "new"
    apis.delete_stage(ApiId=api, StageName="dev")
    assert wire.get(api, "/dev/two")[0] == 404


def test_routes_have_authorisers_and_limits(wire):
    apis = wire.apis
    api, integration, route = wire.made("GET /guarded")
    guard = wire.guard(api)
    apis.update_route(ApiId=api, RouteId=route, AuthorizationType="CUSTOM", AuthorizerId=guard)
    apis.create_route(ApiId=api, RouteKey="GET /slow", Target=f"integrations/{integration}")
    settings = {"GET /slow": {"ThrottlingRateLimit": 0.0, "ThrottlingBurstLimit": 0}}
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True, RouteSettings=settings)
    assert wire.get(api, "/guarded", authorization="open")[1]["caller"] == {"lambda": {"user": "ali"}}
    assert [wire.get(api, "/guarded", authorization="x")[0], wire.get(api, "/guarded")[0]] == [403, 401]
    # A program's API is not changed by that, so it may be asked for, too.
    apis.reset_authorizers_cache(ApiId=api, StageName="$default")
    [declared] = [one["ApiId"] for one in apis.get_apis()["Items"] if one["Name"] == "declared"]
    apis.reset_authorizers_cache(ApiId=declared, StageName="$default")
    for place in ({"ApiId": api, "StageName": "none"}, {"ApiId": "none", "StageName": "$default"}):
        with pytest.raises(apis.exceptions.NotFoundException, match=r"Invalid (Stage|API) identifier"):
            apis.reset_authorizers_cache(**place)
    assert wire.get(api, "/slow")[0] == 429
    apis.delete_route_settings(ApiId=api, StageName="$default", RouteKey="GET /slow")
    assert wire.get(api, "/slow")[0] == 200
    with pytest.raises(apis.exceptions.ConflictException, match="the route GET /guarded uses it"):
        apis.delete_authorizer(ApiId=api, AuthorizerId=guard)
    apis.update_route(ApiId=api, RouteId=route, AuthorizationType="NONE")
    apis.delete_authorizer(ApiId=api, AuthorizerId=guard)
    assert wire.get(api, "/guarded")[0] == 200


class Keys(BaseHTTPRequestHandler):
    """Answers as an issuer of tokens does."""

    def do_GET(self):
        where = f"http://127.0.0.1:{self.server.server_port}"
        told = {"jwks_uri": f"{where}/keys"} if "openid" in self.path else key_set("one")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *_):
        pass


def test_a_token_is_held_against_each_stages_own_audience(wire):
    """What one stage had let in was let in by all: a token that was verified was remembered without its stage."""
    apis = wire.apis
    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        issuer = f"http://127.0.0.1:{server.server_port}"
        api, _, route = wire.made("GET /guarded")
        sources = ["$request.header.Authorization"]

        def audience(name):
            return {"JwtConfiguration": {"Issuer": issuer, "Audience": [name]}}

        made = apis.create_authorizer(
            ApiId=api, Name="jwt", AuthorizerType="JWT", IdentitySource=sources, **audience("old")
        )
        apis.update_route(ApiId=api, RouteId=route, AuthorizationType="JWT", AuthorizerId=made["AuthorizerId"])
        for stage, wanted in (("dev", "old"), ("prod", "new")):
            apis.update_authorizer(ApiId=api, AuthorizerId=made["AuthorizerId"], **audience(wanted))
            deployment = apis.create_deployment(ApiId=api)["DeploymentId"]
            apis.create_stage(ApiId=api, StageName=stage, DeploymentId=deployment)
        token = signed({"iss": issuer, "aud": "old", "exp": int(time.time()) + 600})
        asked = [wire.get(api, f"/{stage}/guarded", authorization=f"Bearer {token}")[0] for stage in ("dev", "prod")]
        server.shutdown()
    assert asked == [200, 401]


def test_a_document_makes_an_api_and_takes_the_place_of_another(wire):
    def document(path):
        integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": ARN, "payloadFormatVersion": "2.0"}
        paths = {path: {"get": {"x-amazon-apigateway-integration": integration}}}
        return json.dumps({"openapi": "3.0.1", "info": {"title": "told", "version": "1"}, "paths": paths})

    api = wire.apis.import_api(Body=document("/one"))["ApiId"]
    assert wire.apis.get_api(ApiId=api)["Name"] == "told"
    wire.apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    assert wire.get(api, "/one")[0] == 200
    wire.apis.reimport_api(ApiId=api, Body=document("/two"))
    assert [wire.get(api, path)[0] for path in ("/one", "/two")] == [404, 200]
    exported = wire.apis.export_api(ApiId=api, Specification="OAS30", OutputType="JSON")
    assert list(json.loads(exported["body"].read())["paths"]) == ["/two"]
    with pytest.raises(wire.apis.exceptions.BadRequestException, match=r"OpenAPI 3\.0"):
        wire.apis.import_api(Body=json.dumps({"swagger": "2.0"}))


def test_a_websocket_api_is_made_too(wire):
    apis = wire.apis
    made = apis.create_api(Name="chat", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")
    assert made["ApiEndpoint"].startswith("wss://")
    api = made["ApiId"]
    integration = wire.integration(api, PayloadFormatVersion="1.0")
    apis.create_route(
        ApiId=api,
        RouteKey="say",
        Target=f"integrations/{integration}",
        RouteResponseSelectionExpression="$default",
    )
    apis.create_stage(ApiId=api, StageName="live", AutoDeploy=True)

    async def talk():
        opened = await connect(wire.port, f"/_apis/{api}/live")
        await opened.send(json.dumps({"action": "say", "text": "hello"}))
        said = await opened.receive()
        opened.cut()
        return said

    assert asyncio.run(talk()) == (TEXT, b'{"said":"hello"}')


def test_a_route_without_a_target_lets_nobody_round_its_authoriser(wire):
    """It was not there: its requests went to the open `$default`, and everybody could connect."""
    apis = wire.apis
    api, integration, route = wire.made("GET /guarded")
    apis.delete_route(ApiId=api, RouteId=route)
    apis.create_route(ApiId=api, RouteKey="GET /guarded", AuthorizationType="CUSTOM", AuthorizerId=wire.guard(api))
    apis.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{integration}")
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    assert wire.get(api, "/guarded")[0] == 401
    assert wire.get(api, "/guarded", Authorization="other")[0] == 403
    assert wire.get(api, "/guarded", Authorization="open") == (500, {"message": "Internal Server Error"})
    assert wire.get(api, "/other")[0] == 200


def test_connect_without_a_target_asks_its_authoriser(wire):
    apis = wire.apis
    selection = "$request.body.action"
    api = apis.create_api(Name="chat", ProtocolType="WEBSOCKET", RouteSelectionExpression=selection)["ApiId"]
    guard = apis.create_authorizer(
        ApiId=api,
        Name="guard",
        AuthorizerType="REQUEST",
        IdentitySource=["route.request.header.Authorization"],
        AuthorizerUri=ARN.replace("echo", "allowed"),
    )["AuthorizerId"]
    with pytest.raises(apis.exceptions.BadRequestException, match="AWS_IAM is not there for WebSocket APIs"):
        apis.create_route(ApiId=api, RouteKey="$connect", AuthorizationType="AWS_IAM")
    apis.create_route(ApiId=api, RouteKey="$connect", AuthorizationType="CUSTOM", AuthorizerId=guard)
    apis.create_route(ApiId=api, RouteKey="say", RouteResponseSelectionExpression="$default")
    apis.create_stage(ApiId=api, StageName="live", AutoDeploy=True)

    async def status(**headers):
        opened = await connect(wire.port, f"/_apis/{api}/live", **headers)
        if opened.status == 101:
            await opened.send({"action": "say"})
            assert (await opened.json())["message"] == "Internal server error"
        opened.cut()
        return opened.status

    async def all_of_them():
        return [await status(), await status(authorization="other"), await status(authorization="open")]

    assert asyncio.run(all_of_them()) == [401, 403, 101]


def test_a_url_that_streams_is_refused(wire):
    functions = wire.running.client("lambda")
    with pytest.raises(functions.exceptions.InvalidParameterValueException, match="responses are not streamed here"):
        functions.create_function_url_config(FunctionName="echo", AuthType="NONE", InvokeMode="RESPONSE_STREAM")


def test_what_could_not_be_honoured_is_refused_and_changes_nothing(wire):
    apis = wire.apis
    api, integration, _ = wire.made()
    before = apis.get_routes(ApiId=api)["Items"], apis.get_integrations(ApiId=api)["Items"]
    place = {"ApiId": api}
    proxy = {"IntegrationType": "HTTP_PROXY", "IntegrationUri": "http://127.0.0.1:9/", "IntegrationMethod": "ANY"}
    for call, members, error, text in [
        (
            apis.create_api,
            {"Name": "a", "ProtocolType": "HTTP", "DisableExecuteApiEndpoint": True},
            400,
            "not supported",
        ),
        (apis.create_api, {"Name": "a", "ProtocolType": "WEBSOCKET"}, 400, "RouteSelectionExpression is required"),
        (apis.create_route, {"RouteKey": "GET /pets/{id}"}, 409, "Route with key GET /pets/{id} already exists"),
        (apis.create_route, {"RouteKey": "GET /{a+}/b"}, 400, "last"),
        (
            apis.create_route,
            {"RouteKey": "GET /a", "Target": "integrations/none"},
            404,
            "Invalid Integration identifier",
        ),
        (apis.create_route, {"RouteKey": "GET /a", "ApiKeyRequired": True}, 400, "ApiKeyRequired is not supported"),
        (apis.create_route, {"RouteKey": "GET /a", "AuthorizationType": "JWT"}, 404, "Invalid Authorizer identifier"),
        (
            apis.create_integration,
            proxy | {"RequestParameters": {"overwrite:path": "/a"}},
            400,
            "RequestParameters is not",
        ),
        (apis.create_integration, proxy | {"ConnectionType": "VPC_LINK"}, 400, "ConnectionType is not supported"),
        (apis.create_integration, {"IntegrationType": "MOCK"}, 400, "allowed are AWS_PROXY and HTTP_PROXY"),
        (
            apis.create_integration,
            {"IntegrationType": "AWS_PROXY", "IntegrationUri": ARN},
            400,
            "PayloadFormatVersion is a required parameter for integration",
        ),
        (apis.update_integration, {"IntegrationId": integration, "TimeoutInMillis": 30_000_000}, 400, ""),
        (apis.delete_integration, {"IntegrationId": integration}, 409, "the route GET /pets/{id} uses it"),
        (apis.create_stage, {"StageName": "a b"}, 400, "stage"),
        (apis.create_stage, {"StageName": "a", "DeploymentId": "none"}, 404, "Invalid Deployment identifier"),
        (apis.create_stage, {"StageName": "a", "AccessLogSettings": {"Format": "x"}}, 400, "AccessLogSettings is not"),
        (
            apis.create_stage,
            {"StageName": "a", "RouteSettings": {"GET /b": {"ThrottlingRateLimit": 1.0}}},
            404,
            "Unable to find Route by key GET /b within the provided RouteSettings",
        ),
        (apis.update_route, {"RouteId": "none"}, 404, "Invalid Route identifier"),
    ]:
        named = {} if call == apis.create_api else place
        with pytest.raises(apis.exceptions.ClientError) as refused:
            call(**named, **members)
        answer = refused.value.response
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == error, (members, answer)
        assert text in answer["Error"]["Message"], (members, answer)
    assert (apis.get_routes(ApiId=api)["Items"], apis.get_integrations(ApiId=api)["Items"]) == before
    assert apis.get_stages(ApiId=api)["Items"] == []


def test_an_api_is_there_after_a_restart(make_app, tmp_path):
    with served(program(make_app, store=tmp_path), http_port=free_port()) as running:
        api, _, _ = Wire(running, 0).made()
        running.client("apigatewayv2").create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    port = free_port()
    with served(program(make_app, store=tmp_path), http_port=port) as running:
        assert Wire(running, port).get(api, "/pets/1")[0] == 200
