"""REST APIs of templates: `Api` events as `sam init` writes them, and APIs written out in resources."""

import asyncio
import itertools
import json
import urllib.error
import urllib.request

import pytest
from deploying import Killed, asked, deploy, deployer, forebay, get, serving
from ports import free_port

from forebay._sam.errors import TemplateRefused

pytestmark = pytest.mark.timeout(300)  # commands are programs, and each deploy starts several

# As `sam init` writes it for Python: the hello-world application, whose API is implicit.
HELLO = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Description: sam-app
Globals:
  Function:
    Timeout: 3
Resources:
  HelloWorldFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: hello_world/
      Handler: app.lambda_handler
      Runtime: python3.11
      Architectures:
        - x86_64
      Events:
        HelloWorld:
          Type: Api
          Properties:
            Path: /hello
            Method: get
Outputs:
  HelloWorldApi:
    Description: "API Gateway endpoint URL for Prod stage for Hello World function"
    Value: !Sub "https://${ServerlessRestApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/Prod/hello/"
  OldForm:
    Value: !Sub "https://${ServerlessRestApi}.execute-api.${AWS::Region}.amazonaws.com/Prod/hello/"
  HelloWorldFunction:
    Value: !GetAtt HelloWorldFunction.Arn
  HelloWorldFunctionIamRole:
    Value: !GetAtt HelloWorldFunctionRole.Arn
"""
CODE = """
import json

def lambda_handler(event, context):
    return {"statusCode": 200, "body": json.dumps({"message": "hello world", "stage": event["requestContext"]["stage"]})}
"""


def outputs(stack, cwd):
    told = json.loads(forebay("stack", "outputs", stack, "--output", "json", cwd=cwd).stdout)
    return {one["key"]: one["value"] for one in told}


def ask(url, method="GET", body=None, **headers):
    request = urllib.request.Request(
        url, data=body, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def test_the_hello_world_of_sam_init_is_deployed_in_three_steps_and_answers(tmp_path):
    (tmp_path / "template.yaml").write_text(HELLO)
    (tmp_path / "hello_world").mkdir()
    (tmp_path / "hello_world" / "app.py").write_text(CODE)
    (tmp_path / "hello_world" / "requirements.txt").write_text("")
    port = free_port()
    forebay("build", cwd=tmp_path)
    guided = forebay("deploy", "--guided", cwd=tmp_path, given="sam-app\n\nn\n\n\ny\n\n\n\n")
    assert "+ Add                    ServerlessRestApi        AWS::ApiGateway::RestAp" in guided.stdout
    assert "Served at           http://127.0.0.1:3000/_apis/sam-app-ServerlessRestApi-" in guided.stdout
    with serving(tmp_path / "data", port, cwd=tmp_path):
        url = outputs("sam-app", tmp_path)["HelloWorldApi"]
        assert url.endswith("/Prod/hello/")
        assert f"127.0.0.1:{port}" not in outputs("sam-app", tmp_path)["OldForm"]
        assert get(url) == (200, '{"message": "hello world", "stage": "Prod"}')
        assert get(url.replace("/hello/", "/goodbye"))[0] == 403
        code = tmp_path / "hello_world" / "app.py"
        code.write_text(CODE.replace("hello world", "hi"))
        text = (tmp_path / "template.yaml").read_text()
        more = "        Goodbye: {Type: Api, Properties: {Path: /goodbye, Method: get}}\nOutputs:"
        (tmp_path / "template.yaml").write_text(text.replace("Outputs:", more))
        forebay("build", cwd=tmp_path)
        forebay("deploy", cwd=tmp_path)
        assert outputs("sam-app", tmp_path)["HelloWorldApi"] == url
        assert get(url) == (200, '{"message": "hi", "stage": "Prod"}')
        assert get(url.replace("/hello/", "/goodbye"))[0] == 200
        forebay("stack", "delete", "sam-app", "--yes", cwd=tmp_path)
        assert get(url)[0] == 404
        assert json.loads(forebay("api", "keys", "--output", "json", cwd=tmp_path).stdout) == []


WRITTEN_OUT = """
Parameters:
  Secret: {Type: String, NoEcho: true}
  Greeting: {Type: String, Default: hello}
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: pets, BinaryMediaTypes: [image/png]}}
  Pets: {Type: AWS::ApiGateway::Resource, Properties: {RestApiId: !Ref Api, ParentId: !GetAtt Api.RootResourceId, PathPart: pets}}
  Pet: {Type: AWS::ApiGateway::Resource, Properties: {RestApiId: !Ref Api, ParentId: !Ref Pets, PathPart: "{id}"}}
  Check: {Type: AWS::ApiGateway::RequestValidator, Properties: {RestApiId: !Ref Api, Name: all, ValidateRequestBody: true}}
  New:
    Type: AWS::ApiGateway::Model
    Properties:
      RestApiId: !Ref Api
      Name: NewPet
      ContentType: application/json
      Schema: {type: object, required: [name], properties: {name: {type: string}}}
  Refused:
    Type: AWS::ApiGateway::GatewayResponse
    Properties: {RestApiId: !Ref Api, ResponseType: BAD_REQUEST_BODY, StatusCode: 422, ResponseTemplates: {application/json: '{"no": 1}'}}
  Get:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !Ref Pet
      HttpMethod: GET
      AuthorizationType: NONE
      ApiKeyRequired: true
      RequestParameters: {method.request.path.id: true}
      Integration:
        Type: MOCK
        RequestTemplates: {application/json: '{"statusCode": 200}'}
        IntegrationResponses:
          - StatusCode: 200
            ResponseTemplates: {application/json: '$stageVariables.greeting $input.params("id")'}
      MethodResponses: [{StatusCode: 200, ResponseModels: {application/json: Empty}}]
  Post:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !Ref Pets
      HttpMethod: POST
      AuthorizationType: NONE
      RequestValidatorId: !Ref Check
      RequestModels: {application/json: !Ref New}
      Integration: {Type: MOCK, RequestTemplates: {application/json: '{"statusCode": 201}'}, IntegrationResponses: [{StatusCode: "201"}]}
      MethodResponses: [{StatusCode: "201"}]
  Deployed: {Type: AWS::ApiGateway::Deployment, DependsOn: [Get, Post], Properties: {RestApiId: !Ref Api}}
  Live:
    Type: AWS::ApiGateway::Stage
    Properties:
      RestApiId: !Ref Api
      DeploymentId: !Ref Deployed
      StageName: live
      Variables: {greeting: !Ref Greeting}
      MethodSettings: [{ResourcePath: /*, HttpMethod: "*", ThrottlingRateLimit: 100, ThrottlingBurstLimit: 50}]
  Key: {Type: AWS::ApiGateway::ApiKey, Properties: {Name: partner, Enabled: true, Value: !Ref Secret}}
  Plan:
    Type: AWS::ApiGateway::UsagePlan
    Properties:
      UsagePlanName: bronze
      ApiStages: [{ApiId: !Ref Api, Stage: !Ref Live}]
      Quota: {Limit: 1000, Period: DAY}
      Throttle: {RateLimit: 100, BurstLimit: 50}
  PlanKey: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Key, KeyType: API_KEY, UsagePlanId: !Ref Plan}}
  Account: {Type: AWS::ApiGateway::Account, Properties: {CloudWatchRoleArn: "arn:aws:iam::000000000000:role/x"}}
Outputs:
  Url: {Value: !Sub "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/${Live}/pets"}
"""


def test_an_api_written_out_in_resources_with_keys_plans_and_models(tmp_path):
    (tmp_path / "template.yaml").write_text(WRITTEN_OUT)
    secret = "kept-to-ourselves-0123456789"
    port = free_port()
    parameters = ["--parameter-overrides", f"Secret={secret}"]
    told = forebay("deploy", "--stack-name", "pets", *parameters, cwd=tmp_path).stdout
    with serving(tmp_path / "data", port, cwd=tmp_path) as log:
        url = outputs("pets", tmp_path)["Url"]
        assert ask(f"{url}/7")[0] == 403
        assert ask(f"{url}/7", x_api_key=secret)[:2] == (200, "hello 7")
        headers = {"Content_Type": "application/json"}
        assert ask(url, "POST", b'{"name": "rex"}', **headers)[0] == 201
        assert ask(url, "POST", b"{}", **headers)[:2] == (422, '{"no": 1}')
        changed = [*parameters, "--parameter-overrides", "Greeting=bye"]
        told += forebay("deploy", "--stack-name", "pets", *changed, cwd=tmp_path).stdout
        assert ask(f"{url}/7", x_api_key=secret)[:2] == (200, "bye 7")
        keys = json.loads(forebay("api", "keys", "--output", "json", cwd=tmp_path).stdout)
        assert [one["name"] for one in keys] == ["partner"]
        # A stage that a plan still names goes all the same, and so does a method.
        text = (tmp_path / "template.yaml").read_text()
        (tmp_path / "template.yaml").write_text(text.replace("StageName: live", "StageName: later"))
        told += forebay("deploy", "--stack-name", "pets", *changed, cwd=tmp_path).stdout
        assert ask(f"{url}/7", x_api_key=secret)[0] == 403
        assert ask(f"{url.replace('/live/', '/later/')}/7", x_api_key=secret)[:2] == (200, "bye 7")
        told += forebay("stack", "delete", "pets", "--yes", cwd=tmp_path).stdout
        assert json.loads(forebay("api", "keys", "--output", "json", cwd=tmp_path).stdout) == []
        assert ask(f"{url}/7", x_api_key=secret)[0] == 404
        assert secret not in told + log.read_text()


def test_what_is_not_served_is_refused_before_any_step(tmp_path):
    text = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: prod
      Auth: {DefaultAuthorizer: AWS_IAM}
  F:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: "def handler(event, context): pass"
      Handler: index.handler
      Runtime: python3.11
      Events: {Get: {Type: Api, Properties: {Path: /, Method: get, RestApiId: !Ref Api}}}
  Other: {Type: AWS::ApiGateway::RestApi, Properties: {Name: other}}
  Send:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Other
      ResourceId: !GetAtt Other.RootResourceId
      HttpMethod: GET
      AuthorizationType: COGNITO_USER_POOLS
      Integration: {Type: AWS, Uri: "arn:aws:apigateway:us-east-1:dynamodb:action/PutItem", ConnectionType: VPC_LINK}
  Name: {Type: AWS::ApiGateway::DomainName, Properties: {DomainName: api.example.com}}
"""
    with deployer(tmp_path) as (service, _, _):
        with pytest.raises(TemplateRefused) as refused:
            service.begin(asked(text, tmp_path))
        reasons = "\n".join(refused.value.reasons)
        for part in (
            "AuthorizationType: COGNITO_USER_POOLS",
            "names neither a function nor one of apigateway, events",
            "VPC links",
            "Name: AWS::ApiGateway::DomainName",
        ):
            assert part in reasons
        assert service.store.stacks() == []


def test_a_sam_api_with_iam_authorization_wants_a_signature(tmp_path):
    text = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Api: {Type: AWS::Serverless::Api, Properties: {StageName: prod, Auth: {DefaultAuthorizer: AWS_IAM}}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: "def handler(event, context): return {'statusCode': 200, 'body': 'in'}"
      Handler: index.handler
      Runtime: python3.11
      Events: {Get: {Type: Api, Properties: {Path: /, Method: get, RestApiId: !Ref Api}}}
Outputs:
  Url: {Value: !Sub "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/prod/"}
"""
    port = free_port()
    deploy(text, tmp_path / "data")
    with serving(tmp_path / "data", port, cwd=tmp_path):
        url = outputs("shop", tmp_path)["Url"]
        assert ask(url)[0] == 403
        assert json.loads(ask(url)[1]) == {"message": "Missing Authentication Token"}


def test_a_method_puts_a_message_into_a_queue_of_its_stack(tmp_path):
    text = """
Resources:
  Orders: {Type: AWS::SQS::Queue}
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: orders}}
  Send:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !GetAtt Api.RootResourceId
      HttpMethod: POST
      AuthorizationType: NONE
      Integration:
        Type: AWS
        IntegrationHttpMethod: POST
        Uri: !Sub "arn:aws:apigateway:${AWS::Region}:sqs:path/${AWS::AccountId}/${Orders.QueueName}"
        RequestParameters: {integration.request.header.Content-Type: "'application/x-www-form-urlencoded'"}
        RequestTemplates: {application/json: "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"}
        IntegrationResponses: [{StatusCode: "200"}]
      MethodResponses: [{StatusCode: "200"}]
  Deployed: {Type: AWS::ApiGateway::Deployment, DependsOn: Send, Properties: {RestApiId: !Ref Api, StageName: live}}
Outputs:
  Url: {Value: !Sub "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/live/"}
  Queue: {Value: !GetAtt Orders.QueueName}
"""
    port = free_port()
    deploy(text, tmp_path / "data")
    with serving(tmp_path / "data", port, cwd=tmp_path):
        told = outputs("shop", tmp_path)
        status, body, _ = ask(told["Url"], "POST", b'{"id": 7}', Content_Type="application/json")
        assert (status, "MessageId" in body) == (200, True), body
        received = forebay("queue", "receive", told["Queue"], "--output", "json", cwd=tmp_path).stdout
        assert '{\\"id\\": 7}' in received


def test_a_part_of_an_api_of_another_stack_is_refused(tmp_path):
    """It was taken, and nothing came of it."""
    text = """
Resources:
  Stage: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: abc, StageName: x}}
  Model: {Type: AWS::ApiGateway::Model, Properties: {RestApiId: abc, Name: M}}
"""
    with deployer(tmp_path) as (service, _, _):
        with pytest.raises(TemplateRefused) as refused:
            service.begin(asked(text, tmp_path))
    told = "\n".join(refused.value.reasons)
    assert "Stage: ApiId: 'abc' names no API of this stack" in told
    assert "Model: RestApiId: 'abc' names no REST API of this stack" in told


BROKEN = """
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: broken}}
  Part: {Type: AWS::ApiGateway::Resource, Properties: {RestApiId: !Ref Api, ParentId: !GetAtt Api.RootResourceId, PathPart: a b}}
"""


def test_what_the_engine_refuses_rolls_back_and_leaves_no_api(tmp_path):
    assert deploy(BROKEN, tmp_path) == "ROLLBACK_COMPLETE"
    with deployer(tmp_path) as (service, _, connection):
        told = connection.ask("rest.call", operation="GetRestApis", params={})
        assert told["body"]["items"] == []
        assert "path part only allow" in service.store.stack("shop").reason


def everything(connection):
    """Give all that the engine keeps of REST APIs, without the ids and times of its own."""

    def call(operation, **params):
        told = connection.ask("rest.call", operation=operation, params=params)
        assert "error" not in told, told
        return told["body"]

    apis = {one["name"].rsplit("-", 1)[0]: one["id"] for one in call("GetRestApis")["items"]}
    found = {}
    for name, api in apis.items():
        stages = call("GetStages", restApiId=api)["item"]
        exported = {
            stage["stageName"]: json.loads(
                call(
                    "GetExport",
                    restApiId=api,
                    stageName=stage["stageName"],
                    exportType="oas30",
                    accepts="application/json",
                    parameters={"extensions": "apigateway"},
                )["body"]
            )
            for stage in stages
        }
        for document in exported.values():
            del document["info"], document["servers"]
        variables = {stage["stageName"]: stage.get("variables", {}) for stage in stages}
        deployments = len(call("GetDeployments", restApiId=api)["items"])
        found[name] = (json.dumps(exported, sort_keys=True).replace(api, "API"), variables, deployments)
    keys = {one["id"]: one["name"] for one in call("GetApiKeys")["items"]}
    plans = {
        one["name"]: (
            [stage["stage"] for stage in one.get("apiStages", ())],
            [keys[key["id"]] for key in call("GetUsagePlanKeys", usagePlanId=one["id"])["items"]],
        )
        for one in call("GetUsagePlans")["items"]
    }
    return found, sorted(keys.values()), plans


def changed_to(text, *, is_broken):
    """Give the API with another stage, another key and one method less; and with what the engine refuses at the end."""
    text = text.replace("StageName: live", "StageName: later")
    text = text.replace("Name: partner, Enabled: true, Value: !Ref Secret", "Name: other, Enabled: true")
    text = text.replace("  Refused:", "  Refused:\n    Condition: Never").replace(
        "Resources:", "Conditions: {Never: !Equals [a, b]}\nResources:"
    )
    if is_broken:
        last = (
            "  Last: {Type: AWS::ApiGateway::Resource, DependsOn: [PlanKey], "
            'Properties: {RestApiId: !Ref Api, ParentId: !Ref Pets, PathPart: "a b"}}\nOutputs:'
        )
        text = text.replace("Outputs:", last)
    return text


@pytest.mark.parametrize("is_broken", [False, True], ids=["that would succeed", "that would fail"])
def test_an_update_of_an_api_killed_at_each_step_ends_in_the_old_or_in_the_new_one(tmp_path, is_broken):
    parameters = {"Secret": "kept-to-ourselves-0123456789"}
    after, whole = changed_to(WRITTEN_OUT, is_broken=is_broken), tmp_path / "whole"
    deploy(WRITTEN_OUT, whole, parameters=parameters)
    points = []
    with deployer(whole, points.append) as (service, target, connection):
        before = everything(connection)
        service.begin(asked(after, whole, parameters=parameters))
        status = asyncio.run(service.run("shop", target))
        wanted = everything(connection)
    assert status == ("UPDATE_ROLLBACK_COMPLETE" if is_broken else "UPDATE_COMPLETE"), status
    assert (wanted == before) is is_broken
    for point in range(0, len(points), 4):
        store = tmp_path / f"store{point}"
        deploy(WRITTEN_OUT, store, parameters=parameters)
        left = itertools.count()

        def passed(_name, left=left, point=point):
            if next(left) == point:
                raise Killed

        with deployer(store, passed) as (service, target, _), pytest.raises(Killed):
            service.begin(asked(after, store, parameters=parameters))
            asyncio.run(service.run("shop", target))
        with deployer(store) as (service, target, connection):
            asyncio.run(service.resume(target))
            assert service.store.stack("shop").status == status, f"killed at point {point}"
            assert everything(connection) == wanted, f"killed at point {point}"
