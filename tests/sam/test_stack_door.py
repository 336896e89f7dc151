"""What stacks answer, through the wire API's own port: boto3 makes, reads and deletes."""

import base64
import gzip
import io
import json
import zipfile
import zlib
from unittest import mock

import pytest
from botocore.exceptions import ClientError
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
    secrets = client("secretsmanager")
    assert json.loads(secrets.get_secret_value(SecretId="word")["SecretString"]) == {"a": "b"}
    (listed,) = secrets.list_secrets()["SecretList"]
    assert (listed["Name"], "SecretString" in listed) == ("word", False)
    batch = secrets.batch_get_secret_value(SecretIdList=["none", listed["ARN"]])
    assert [(one["Name"], one["SecretString"]) for one in batch["SecretValues"]] == [("word", '{"a": "b"}')]
    assert [(one["SecretId"], one["ErrorCode"]) for one in batch["Errors"]] == [("none", "ResourceNotFoundException")]
    with pytest.raises(ClientError, match="Filters: secrets are not searched here"):
        secrets.list_secrets(Filters=[{"Key": "name", "Values": ["w"]}])
    with pytest.raises(ClientError, match="secrets are listed by name"):
        secrets.list_secrets(SortOrder="desc")
    with pytest.raises(ClientError, match="name 1 to 20 secrets"):
        secrets.batch_get_secret_value()
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
    foreign = stack["StackId"].replace("000000000000", "999999999999")
    for name in ("none", foreign):
        with pytest.raises(ClientError, match=f"Stack with id {name} does not exist"):
            cloudformation.describe_stacks(StackName=name)
    with pytest.raises(ClientError, match="ParameterNotFound"):
        client("ssm").get_parameter(Name="arn:aws:ssm:us-east-1:999999999999:parameter/size")
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
        s3.list_objects(Bucket=bucket)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert [path.name for path in (tmp_path / "data" / "stacks").glob(".body-*")] == []


def chunked(s3, key, body):
    """Put an object as the JavaScript SDK sends a stream."""

    def as_stream(request, **_):
        request.data = body
        request.headers["X-Amz-Content-SHA256"] = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        request.headers["Content-Encoding"] = "aws-chunked"
        request.headers["X-Amz-Decoded-Content-Length"] = "9"
        del request.headers["x-amz-checksum-crc32"]  # boto3's, of all that it believes to be the body

    with mock.patch("botocore.auth.S3SigV4Auth.payload", return_value="STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        s3.meta.events.register("before-sign.s3.PutObject", as_stream)
        try:
            s3.put_object(Bucket="of-mine", Key=key, Body=body)
        finally:
            s3.meta.events.unregister("before-sign.s3.PutObject", as_stream)


def test_a_bucket_that_a_client_makes(client):
    s3 = client("s3")
    s3.create_bucket(Bucket="of-mine")
    with pytest.raises(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket="of-mine")
    with pytest.raises(ClientError, match="location constraint"):
        s3.create_bucket(Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(ClientError, match="ACL is not served"):
        s3.create_bucket(Bucket="open", ACL="public-read")
    assert s3.get_bucket_location(Bucket="of-mine")["LocationConstraint"] is None  # as of us-east-1
    keys = ["a/1", "a/2", "b c/é", "d", "e"]
    for key in keys:
        s3.put_object(Bucket="of-mine", Key=key, Body=b"four")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="of-mine", PaginationConfig={"PageSize": 2})
    listed = [one for page in pages for one in page["Contents"]]
    assert [(one["Key"], one["Size"]) for one in listed] == [(key, 4) for key in keys]
    told = s3.list_objects_v2(Bucket="of-mine", Delimiter="/")
    assert [one["Prefix"] for one in told["CommonPrefixes"]] == ["a/", "b c/"]
    assert ([one["Key"] for one in told["Contents"]], told["KeyCount"]) == (["d", "e"], 4)
    chunks = b"6\r\nhello \r\n3\r\nyou\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n"
    sum_ = base64.b64encode(zlib.crc32(b"hello you").to_bytes(4, "big"))
    chunked(s3, "d", chunks % sum_)
    there = s3.get_object(Bucket="of-mine", Key="d", ChecksumMode="ENABLED")
    assert (there["Body"].read(), there["ChecksumCRC32"]) == (b"hello you", sum_.decode())
    with pytest.raises(ClientError, match="the checksum is not that of the body"):
        chunked(s3, "d", chunks % b"AAAAAA==")
    s3.put_object(Bucket="of-mine", Key="e", Body=gzip.compress(b"x"), ContentEncoding="gzip")
    assert gzip.decompress(s3.get_object(Bucket="of-mine", Key="e")["Body"].read()) == b"x"
    with pytest.raises(ClientError, match="The continuation token provided is incorrect"):
        s3.list_objects_v2(Bucket="of-mine", ContinuationToken="a")
    below = s3.list_objects_v2(Bucket="of-mine", Prefix="a/", StartAfter="a/1")
    assert [one["Key"] for one in below["Contents"]] == ["a/2"]
    with pytest.raises(ClientError) as refused:
        s3.delete_bucket(Bucket="of-mine")
    assert refused.value.response["Error"]["Code"] == "BucketNotEmpty"
    gone = s3.delete_objects(Bucket="of-mine", Delete={"Objects": [{"Key": key} for key in keys]})
    assert [one["Key"] for one in gone["Deleted"]] == keys
    assert s3.list_objects_v2(Bucket="of-mine")["KeyCount"] == 0
    s3.delete_bucket(Bucket="of-mine")
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket="of-mine")


def test_code_of_a_schema(client):
    schemas = client("schemas")
    schemas.create_registry(RegistryName="shop")
    which = {"RegistryName": "shop", "SchemaName": "orders@Placed"}
    properties = {"id": {"type": "string"}}
    document = {"openapi": "3.0.0", "info": {"title": "T", "version": "1"}, "paths": {}}
    content = {**document, "components": {"schemas": {"Placed": {"type": "object", "properties": properties}}}}
    schemas.create_schema(**which, Type="OpenApi3", Content=json.dumps(content))
    assert schemas.put_code_binding(**which, Language="Python36")["Status"] == "CREATE_COMPLETE"
    schemas.get_waiter("code_binding_exists").wait(**which, Language="Python36")
    for language, ending in (("Python36", ".py"), ("Java8", ".java"), ("TypeScript3", ".ts")):
        source = schemas.get_code_binding_source(**which, Language=language)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            written = {name: archive.read(name).decode() for name in archive.namelist()}
        assert any(name.endswith(ending) and "class Placed" in text for name, text in written.items()), written.keys()
    with pytest.raises(schemas.exceptions.BadRequestException, match="no code bindings in Go1; there are: Java8"):
        schemas.put_code_binding(**which, Language="Go1")
    with pytest.raises(schemas.exceptions.NotFoundException):
        schemas.describe_code_binding(RegistryName="shop", SchemaName="none", Language="Python36")
