"""Each type of resources becomes the real thing in an app that runs: one template has them all."""

import json

import pytest
from deploying import forebay, get, serving, until
from ports import free_port

pytestmark = pytest.mark.timeout(300)  # commands are programs, and each deploy starts several

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, CodeUri: src, Timeout: 10}
Resources:
  Dead: {Type: AWS::SQS::Queue}
  Jobs:
    Type: AWS::SQS::Queue
    Properties: {RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}, VisibilityTimeout: 30}
  Done: {Type: AWS::SQS::Queue}
  Alerts: {Type: AWS::SNS::Topic, Properties: {DisplayName: x}}
  ToQueue:
    Type: AWS::SNS::Subscription
    Properties: {TopicArn: !Ref Alerts, Protocol: sqs, Endpoint: !GetAtt Done.Arn, RawMessageDelivery: true, FilterPolicy: {kind: [loud]}}
  Records: {Type: AWS::Kinesis::Stream, Properties: {ShardCount: 1, StreamModeDetails: {StreamMode: ON_DEMAND}}}
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: orders}}
  Kept: {Type: AWS::Events::Archive, Properties: {SourceArn: !GetAtt Bus.Arn, RetentionDays: 3}}
  Discovery: {Type: AWS::EventSchemas::Discoverer, Properties: {SourceArn: !GetAtt Bus.Arn}}
  Registry: {Type: AWS::EventSchemas::Registry, Properties: {RegistryName: shop}}
  Schema:
    Type: AWS::EventSchemas::Schema
    Properties: {RegistryName: !GetAtt Registry.RegistryName, SchemaName: order, Type: JSONSchemaDraft4, Content: '{"type": "object"}'}
  ToDone:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      EventPattern: {source: [shop]}
      Targets: [{Id: a, Arn: !GetAtt Done.Arn, InputPath: $.detail, DeadLetterConfig: {Arn: !GetAtt Dead.Arn}}]
  Nightly:
    Type: AWS::Scheduler::Schedule
    Properties:
      ScheduleExpression: cron(0 3 * * ? *)
      ScheduleExpressionTimezone: Europe/Paris
      FlexibleTimeWindow: {Mode: "OFF"}
      Target: {Arn: !GetAtt Done.Arn, RoleArn: "arn:aws:iam::000000000000:role/x", Input: night}
  Shared: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: layer}}
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.worker
      Layers: [!Ref Shared]
      AutoPublishAlias: live
      ReservedConcurrentExecutions: 2
      Environment: {Variables: {STACK: !Ref AWS::StackName, QUEUE: !GetAtt Jobs.QueueName}}
      EventInvokeConfig:
        MaximumRetryAttempts: 0
        DestinationConfig: {OnSuccess: {Type: SQS, Destination: !GetAtt Done.Arn}}
      FunctionUrlConfig: {AuthType: NONE, Cors: {AllowOrigins: ["*"]}}
      Events:
        Jobs: {Type: SQS, Properties: {Queue: !GetAtt Jobs.Arn, BatchSize: 5, FunctionResponseTypes: [ReportBatchItemFailures]}}
        Records: {Type: Kinesis, Properties: {Stream: !GetAtt Records.Arn, StartingPosition: TRIM_HORIZON, ParallelizationFactor: 2}}
        Alerts: {Type: SNS, Properties: {Topic: !Ref Alerts}}
        Order: {Type: EventBridgeRule, Properties: {EventBusName: !Ref Bus, Pattern: {detail-type: [placed]}}}
        Hourly: {Type: Schedule, Properties: {Schedule: rate(1 hour), Enabled: false}}
        Get: {Type: HttpApi, Properties: {Path: "/hello/{name}", Method: get, ApiId: !Ref Api}}
  Checker: {Type: AWS::Serverless::Function, Properties: {Handler: app.checker}}
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      StageName: prod
      CorsConfiguration: {AllowOrigins: ["https://shop.example.com"]}
      Auth:
        DefaultAuthorizer: Check
        Authorizers:
          Check:
            FunctionArn: !GetAtt Checker.Arn
            AuthorizerPayloadFormatVersion: 2.0
            EnableSimpleResponses: true
            Identity: {QueryStrings: [key]}
  Flow:
    Type: AWS::Serverless::StateMachine
    Properties:
      Definition:
        StartAt: Work
        States: {Work: {Type: Task, Resource: "${Work}", End: true}}
      DefinitionSubstitutions: {Work: !GetAtt Worker.Arn}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: 7}}
  Setting: {Type: AWS::SSM::Parameter, Properties: {Name: /shop/size, Type: String, Value: "5"}}
  Socket: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: s, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}}
  SocketTo:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Socket
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Worker.Arn}/invocations"
  SocketRoute: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Socket, RouteKey: $default, Target: !Sub "integrations/${SocketTo}"}}
  SocketStage: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Socket, StageName: live}}
Outputs:
  Jobs: {Value: !GetAtt Jobs.QueueName}
  Done: {Value: !GetAtt Done.QueueName}
  Records: {Value: !Ref Records}
  Worker: {Value: !Ref Worker}
  Flow: {Value: !GetAtt Flow.Name}
  Api: {Value: !Sub "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/prod/hello/ann"}
  Url: {Value: !GetAtt WorkerUrl.FunctionUrl}
"""
CODE = """
import os

def worker(event, context):
    import shared
    if "Records" in event:
        print("records", event["Records"][0].get("eventSource") or event["Records"][0].get("EventSource"), flush=True)
        return {"batchItemFailures": []}
    if event.get("version") == "2.0":
        return {"statusCode": 200, "body": shared.greet(event.get("pathParameters", {}).get("name", "nobody"))}
    print("event", event.get("detail-type"), os.environ["STACK"], flush=True)
    return {"seen": event.get("detail-type")}

def checker(event, context):
    return {"isAuthorized": event["queryStringParameters"]["key"] == "open"}
"""


def test_every_type_becomes_the_real_thing(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text(CODE)
    (tmp_path / "layer" / "python").mkdir(parents=True)
    (tmp_path / "layer" / "python" / "shared.py").write_text("def greet(name):\n    return 'hello ' + name\n")
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    store = tmp_path / "data"
    store.mkdir()
    port = free_port()

    def ask(*arguments):
        return json.loads(forebay(*arguments, "--output", "json", cwd=tmp_path).stdout)

    with serving(store, port, cwd=tmp_path) as log:
        forebay("deploy", "--stack-name", "shop", "--capabilities", "CAPABILITY_IAM", cwd=tmp_path)
        named = {one["key"]: one["value"] for one in ask("stack", "outputs", "shop")}
        assert get(f"{named['Api']}?key=open") == (200, "hello ann")
        assert get(f"{named['Api']}?key=shut")[0] == 403
        assert get(named["Url"]) == (200, "hello nobody")
        forebay("queue", "send", named["Jobs"], "{}", cwd=tmp_path)
        until(lambda: "records aws:sqs" in log.read_text())
        forebay("stream", "put", named["Records"], "--partition-key", "k", cwd=tmp_path, given="{}\n")
        until(lambda: "records aws:kinesis" in log.read_text())
        assert ask("stream", "describe", named["Records"])["notes"] == {"kinesis:mode": "ON_DEMAND"}
        topic = ask("topic", "list")[0]["name"]
        forebay("topic", "publish", topic, "hello", cwd=tmp_path)
        until(lambda: "records aws:sns" in log.read_text())
        forebay("bus", "put", "orders", '{"id": 7}', "--source", "shop", "--detail-type", "placed", cwd=tmp_path)
        until(lambda: "event placed shop" in log.read_text())
        # What the rule sent, and the successes of both asynchronous invocations.
        until(lambda: ask("queue", "describe", named["Done"])["visible"] == 3)
        workflow = ask("workflow", "start", named["Flow"], "{}")
        assert workflow
        assert {one["name"] for one in ask("schedule", "list")} > set()
        assert [one["name"] for one in ask("function", "list")] == sorted(
            one["name"] for one in ask("function", "list")
        )
        assert ask("function", "describe", named["Worker"])["reserved_concurrency"] == 2
        forebay("stack", "delete", "shop", "--yes", cwd=tmp_path)
        for kind in ("queue", "stream", "topic", "workflow", "schedule", "function", "mapping", "archive"):
            assert ask(kind, "list") == [], kind
        assert [one["name"] for one in ask("bus", "list")] == ["default"]
