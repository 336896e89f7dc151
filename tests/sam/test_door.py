"""What stacks answer, through the wire API's own port: boto3 makes, reads and deletes."""

import contextlib
import json

import boto3
import pytest
from botocore.exceptions import ClientError
from deploying import serving
from ports import free_port
from test_wire import BUCKET_STACK, MANAGED

pytestmark = pytest.mark.timeout(300)  # a SAM template is expanded by a process of its own

TEMPLATE = """
Resources:
  Jobs: {Type: AWS::SQS::Queue}
  Size: {Type: AWS::SSM::Parameter, Properties: {Name: /size, Type: String, Value: "5"}}
  Word: {Type: AWS::SecretsManager::Secret, Properties: {Name: word, SecretString: '{"a": "b"}'}}
  Http: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: h, ProtocolType: HTTP}}
  Stage: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Http, StageName: live}}
  Rest: {Type: AWS::ApiGateway::RestApi, Properties: {Name: r}}
  Ping:
    Type: AWS::ApiGateway::Method
    Properties: {RestApiId: !Ref Rest, ResourceId: !GetAtt Rest.RootResourceId, HttpMethod: GET, Integration: {Type: MOCK}}
  Prod: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref Rest, StageName: prod}}
Outputs: {Http: {Value: !Ref Http}, Rest: {Value: !Ref Rest}, Jobs: {Value: !Ref Jobs}}
"""


@pytest.fixture
def client(tmp_path):
    """Give what makes clients of an app that serves nothing but stacks."""
    store, port = tmp_path / "data", free_port()
    store.mkdir()
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    with serving(store, free_port(), "--aws-port", str(port), cwd=tmp_path), contextlib.ExitStack() as made:

        def make(service):
            one = boto3.client(service, **options, **keys)
            made.callback(one.close)
            return one

        yield make


def created(cloudformation, name, text, **more):
    cloudformation.create_stack(StackName=name, TemplateBody=text, **more)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return stack, {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", ())}


def test_a_stack_and_what_its_functions_read(client):
    cloudformation = client("cloudformation")
    stack, outputs = created(cloudformation, "shop", TEMPLATE, Tags=[{"Key": "team", "Value": "a"}])
    assert (stack["StackStatus"], stack["Tags"]) == ("CREATE_COMPLETE", [{"Key": "team", "Value": "a"}])
    assert stack["CreationTime"].year >= 2020
    events = cloudformation.describe_stack_events(StackName="shop")["StackEvents"]
    assert events[0]["Timestamp"] >= events[-1]["Timestamp"]
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName="shop")
    resources = [one["LogicalResourceId"] for page in pages for one in page["StackResourceSummaries"]]
    assert sorted(resources) == ["Http", "Jobs", "Ping", "Prod", "Rest", "Size", "Stage", "Word"]
    client("sqs").send_message(QueueUrl=outputs["Jobs"], MessageBody="x")
    assert client("ssm").get_parameter(Name="/size")["Parameter"]["Value"] == "5"
    assert json.loads(client("secretsmanager").get_secret_value(SecretId="word")["SecretString"]) == {"a": "b"}
    apis = client("apigateway")
    assert [one["stageName"] for one in apis.get_stages(restApiId=outputs["Rest"])["item"]] == ["prod"]
    # It is known by the id that the stack shows, in every call.
    assert apis.get_rest_api(restApiId=outputs["Rest"])["id"] == outputs["Rest"]
    assert [one["path"] for one in apis.get_resources(restApiId=outputs["Rest"])["items"]] == ["/"]
    with pytest.raises(ClientError, match="Secrets Manager can't find the specified secret") as refused:
        client("secretsmanager").get_secret_value(SecretId="none")
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert [one["StageName"] for one in client("apigatewayv2").get_stages(ApiId=outputs["Http"])["Items"]] == ["live"]
    with pytest.raises(ClientError) as refused:
        client("cloudcontrol").get_resource(TypeName="AWS::Lambda::Url", Identifier="none")
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    with pytest.raises(ClientError, match="Stack with id none does not exist"):
        cloudformation.describe_stacks(StackName="none")
    with pytest.raises(ClientError, match="word already exists in stack shop"):
        cloudformation.create_stack(StackName="bad", TemplateBody=TEMPLATE.replace("Name: /size", "Name: /other"))
    cloudformation.delete_stack(StackName="shop")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="shop", WaiterConfig={"Delay": 1})


def test_objects_in_the_bucket_of_sam(client, tmp_path):
    _, outputs = created(client("cloudformation"), MANAGED, BUCKET_STACK)
    s3, bucket, large = client("s3"), outputs["SourceBucket"], tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 40_000)  # 10 MB: boto3 sends it in parts
    s3.upload_file(str(large), bucket, "shop/large")
    s3.put_object(Bucket=bucket, Key="shop/small thing", Body=b"hello")
    assert s3.head_object(Bucket=bucket, Key="shop/large")["ContentLength"] == large.stat().st_size
    assert s3.get_object(Bucket=bucket, Key="shop/small thing")["Body"].read() == b"hello"
    assert s3.get_object(Bucket=bucket, Key="shop/large")["Body"].read() == large.read_bytes()
    s3.delete_object(Bucket=bucket, Key="shop/large")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="shop/large")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="none", Key="x")
    with pytest.raises(ClientError) as refused:
        s3.list_objects_v2(Bucket=bucket)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert [path.name for path in (tmp_path / "data" / "stacks").glob(".body-*")] == []
