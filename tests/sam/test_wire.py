"""CloudFormation, buckets, parameters and secrets as the wire API asks for them, without a door before them."""

import asyncio
import hashlib
import io
import json
import zipfile
from pathlib import Path
from unittest import mock

import pytest
from deploying import asked, deployer

from forebay._stacks import buckets as stack_buckets
from forebay._stacks import cloudformation
from forebay._stacks.wire import Wire

BUCKET_STACK = """
Transform: AWS::Serverless-2016-10-31
Resources:
  SamCliSourceBucket: {Type: AWS::S3::Bucket, Properties: {VersioningConfiguration: {Status: Enabled}}}
  SamCliSourceBucketBucketPolicy:
    Type: AWS::S3::BucketPolicy
    Properties: {Bucket: !Ref SamCliSourceBucket, PolicyDocument: {Statement: []}}
Outputs: {SourceBucket: {Value: !Ref SamCliSourceBucket}}
"""
MANAGED = "aws-sam-cli-managed-default"
QUEUE = "Resources: {Jobs: {Type: AWS::SQS::Queue}}\nOutputs: {Jobs: {Value: !GetAtt Jobs.QueueName}}\n"


class Client:
    """Asks as the door does."""

    def __init__(self, store, service, target):
        self._begun = []
        self._store = store
        self._service = service
        self._target = target
        self._wire = Wire(lambda: service, store, self._begun.append)

    def __call__(self, action, service="cloudformation", **given):
        async def ask():
            answer = await self._wire.answer(service, action, given)
            while self._begun:
                await self._service.run(self._begun.pop(), self._target)
            return json.loads(json.dumps(answer))

        return asyncio.run(ask())

    def told(self, action, service="cloudformation", **given):
        answer = self(action, service, **given)
        assert "error" not in answer, answer
        return answer["answer"]

    def deploy(self, stack, text):
        self._service.begin(asked(text, self._store, stack=stack))
        assert asyncio.run(self._service.run(stack, self._target)).endswith("_COMPLETE")

    def put(self, bucket, key, data):
        body = self._store / f".body-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        body.write_bytes(data)
        return self.told("PutObject", "s3", Bucket=bucket, Key=key, Body=str(body))


@pytest.fixture
def client(tmp_path):
    with deployer(tmp_path) as (service, target, _):
        made = Client(tmp_path, service, target)
        yield made
        vars(made).clear()  # pytest keeps it, and with it the store would stay open


def made(client, name, text, kind="CREATE", **more):
    answer = client.told(
        "CreateChangeSet", StackName=name, ChangeSetName="c", ChangeSetType=kind, TemplateBody=text, **more
    )
    client.told("ExecuteChangeSet", ChangeSetName=answer["Id"], StackName=name)
    return answer["StackId"]


def test_a_stack_lives_by_change_sets(client):
    absent = client("DescribeStacks", StackName="shop")
    assert absent == {"error": "ValidationError", "reasons": ["Stack with id shop does not exist"], "status": 400}
    answer = client.told(
        "CreateChangeSet", StackName="shop", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=QUEUE
    )
    told = client.told("DescribeChangeSet", ChangeSetName="first", StackName="shop")
    assert (told["Status"], told["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    change = {"Action": "Add", "LogicalResourceId": "Jobs", "ResourceType": "AWS::SQS::Queue"}
    assert told["Changes"] == [{"Type": "Resource", "ResourceChange": change}]
    assert client.told("DescribeStacks", StackName="shop")["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    assert (
        client.told("DescribeStackEvents", StackName="shop")["StackEvents"][0]["ResourceStatus"] == "REVIEW_IN_PROGRESS"
    )
    client.told("ExecuteChangeSet", ChangeSetName=answer["Id"])
    stack = client.told("DescribeStacks", StackName=answer["StackId"])["Stacks"][0]
    assert (stack["StackStatus"], stack["StackId"]) == ("CREATE_COMPLETE", answer["StackId"])
    assert stack["Outputs"][0]["OutputValue"].startswith("shop-Jobs-")
    events = client.told("DescribeStackEvents", StackName="shop")["StackEvents"]
    assert [one["ResourceStatus"] for one in events] == [
        *("CREATE_COMPLETE", "CREATE_COMPLETE", "CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS"),
    ]
    again = client.told("CreateChangeSet", StackName="shop", ChangeSetName="again", TemplateBody=QUEUE)
    told = client.told("DescribeChangeSet", ChangeSetName=again["Id"])
    assert (told["Status"], "didn't contain changes" in told["StatusReason"]) == ("FAILED", True)
    refused = client("ExecuteChangeSet", ChangeSetName=again["Id"])
    assert refused["error"] == "InvalidChangeSetStatus"
    summary = client.told("ListStackResources", StackName="shop")["StackResourceSummaries"]
    assert [(one["LogicalResourceId"], one["ResourceStatus"]) for one in summary] == [("Jobs", "CREATE_COMPLETE")]
    assert client.told("GetTemplate", StackName="shop", TemplateStage="Original")["TemplateBody"] == QUEUE
    client.told("DeleteStack", StackName="shop")
    assert client("DescribeStacks", StackName="shop")["error"] == "ValidationError"
    assert client.told("DescribeStacks", StackName=answer["StackId"])["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
    assert client("ExecuteChangeSet", ChangeSetName="first", StackName="shop")["error"] == "ChangeSetNotFound"


def test_stacks_that_are_gone_are_listed(client):
    """They were not, though they were described by their ids."""
    gone = []
    for _ in range(2):
        gone.append(made(client, "shop", QUEUE))
        client.told("DeleteStack", StackName="shop")
    there = made(client, "shop", QUEUE)
    listed = client.told("ListStacks")["StackSummaries"]
    assert [one["StackId"] for one in listed[:1]] == [there]
    assert {one["StackId"] for one in listed[1:]} == set(gone)
    assert listed[1]["DeletionTime"] >= listed[2]["DeletionTime"]
    filtered = client.told("ListStacks", StackStatusFilter=["DELETE_COMPLETE", "CREATE_FAILED"])["StackSummaries"]
    assert filtered == listed[1:]
    assert {one["StackName"] for one in filtered} == {"shop"}
    assert all(one["CreationTime"] <= one["DeletionTime"] for one in filtered)
    with mock.patch.object(cloudformation, "PAGE", 2):
        first = client.told("ListStacks")
        rest = client.told("ListStacks", NextToken=first["NextToken"])
    assert (first["StackSummaries"] + rest["StackSummaries"], rest["NextToken"]) == (listed, None)
    with mock.patch.object(cloudformation, "DELETED_LISTED_MS", -1):
        assert client.told("ListStacks")["StackSummaries"] == listed[:1]


def test_a_template_that_is_refused_is_a_failed_change_set_with_every_reason(client):
    text = "Resources: {A: {Type: AWS::DynamoDB::Table}, B: {Type: AWS::SQS::Queue, Properties: {Nothing: 1}}}"
    answer = client.told("CreateChangeSet", StackName="x", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=text)
    told = client.told("DescribeChangeSet", ChangeSetName=answer["Id"])
    assert told["Status"] == "FAILED"
    assert "AWS::DynamoDB::Table is not served" in told["StatusReason"]
    assert "B.Nothing" in told["StatusReason"]
    assert client.told("DescribeStacks")["Stacks"] == []
    assert client("CreateStack", StackName="x", TemplateBody="a: [")["error"] == "ValidationError"
    role = "Resources: {R: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {}}}}"
    refused = client("CreateChangeSet", StackName="x", ChangeSetName="d", ChangeSetType="CREATE", TemplateBody=role)
    assert (refused["error"], refused["reasons"]) == (
        "InsufficientCapabilitiesException",
        ["Requires capabilities : [CAPABILITY_IAM]"],
    )


def test_what_is_not_honoured_is_refused_and_what_says_nothing_is_not(client):
    wishes = {
        "EnableTerminationProtection": True,
        "TimeoutInMinutes": 5,
        "StackPolicyBody": "{}",
        "OnFailure": "DELETE",
    }
    for name, value in wishes.items():
        assert (
            client("CreateStack", StackName="a", TemplateBody=QUEUE, **{name: value})["error"] == "ValidationError"
        ), name
    assert client.told("DescribeStacks")["Stacks"] == []
    nothing = {
        "EnableTerminationProtection": False,
        "NotificationARNs": [],
        "RollbackConfiguration": {},
        "OnFailure": "ROLLBACK",
    }
    client.told("CreateStack", StackName="a", TemplateBody=QUEUE, **nothing)
    assert client("DeleteStack", StackName="a", RetainResources=["Jobs"])["error"] == "ValidationError"


def test_stacks_without_change_sets_and_lists_of_them(client):
    stack_id = client.told("CreateStack", StackName="one", TemplateBody=QUEUE, Tags=[{"Key": "team", "Value": "a"}])[
        "StackId"
    ]
    assert client("CreateStack", StackName="one", TemplateBody=QUEUE)["error"] == "AlreadyExistsException"
    assert client("UpdateStack", StackName="one", UsePreviousTemplate=True)["reasons"] == [
        "No updates are to be performed."
    ]
    exporting = QUEUE.replace("QueueName}", "QueueName, Export: {Name: jobs}}")
    client.told("UpdateStack", StackName=stack_id, TemplateBody=exporting)
    stack = client.told("DescribeStacks", StackName="one")["Stacks"][0]
    assert (stack["StackStatus"], stack["Tags"]) == ("UPDATE_COMPLETE", [{"Key": "team", "Value": "a"}])
    assert [one["Name"] for one in client.told("ListExports")["Exports"]] == ["jobs"]
    assert len(client.told("ListStacks", StackStatusFilter=["UPDATE_COMPLETE"])["StackSummaries"]) == 1
    assert client.told("ListStacks", StackStatusFilter=["CREATE_COMPLETE"])["StackSummaries"] == []
    detail = client.told("DescribeStackResource", StackName="one", LogicalResourceId="Jobs")["StackResourceDetail"]
    assert detail["ResourceType"] == "AWS::SQS::Queue"
    assert client("DescribeStackResource", StackName="one", LogicalResourceId="No")["error"] == "ValidationError"


def test_parameters_that_are_secret_are_in_no_answer(client):
    text = """
Parameters: {Word: {Type: String, NoEcho: true}, Open: {Type: String, Default: x, Description: d}}
Resources: {P: {Type: AWS::SSM::Parameter, Properties: {Name: /a/b, Type: String, Value: !Ref Word}}}
Outputs: {Out: {Value: !Ref Word}}
"""
    parameters = [{"ParameterKey": "Word", "ParameterValue": "hidden-word"}]
    answer = client.told(
        "CreateChangeSet",
        StackName="s",
        ChangeSetName="c",
        ChangeSetType="CREATE",
        TemplateBody=text,
        Parameters=parameters,
    )
    told = [client.told("DescribeChangeSet", ChangeSetName=answer["Id"])]
    client.told("ExecuteChangeSet", ChangeSetName=answer["Id"])
    reads = ("DescribeStacks", "DescribeStackEvents", "ListStackResources", "GetTemplate", "GetTemplateSummary")
    told += [client.told(action, StackName="s") for action in reads]
    assert "hidden-word" not in json.dumps(told)
    declared = client.told("GetTemplateSummary", StackName="s")["Parameters"]
    assert [(one["ParameterKey"], one["NoEcho"]) for one in declared] == [("Word", True), ("Open", False)]
    # What has it as its value gives it to those who read values.
    assert client.told("GetParameter", "ssm", Name="/a/b")["Parameter"]["Value"] == "hidden-word"
    kept = [{"ParameterKey": "Word", "UsePreviousValue": True}, {"ParameterKey": "Open", "ParameterValue": "y"}]
    again = client.told("CreateChangeSet", StackName="s", ChangeSetName="c", UsePreviousTemplate=True, Parameters=kept)
    assert client.told("DescribeChangeSet", ChangeSetName=again["Id"])["Status"] == "FAILED"  # nothing uses Open


def test_the_bucket_of_sam_and_code_in_it(client, tmp_path):
    made(client, MANAGED, BUCKET_STACK, Tags=[{"Key": "ManagedStackSource", "Value": "AwsSamCli"}])
    stack = client.told("DescribeStacks", StackName=MANAGED)["Stacks"][0]
    assert stack["Tags"] == [{"Key": "ManagedStackSource", "Value": "AwsSamCli"}]
    bucket = stack["Outputs"][0]["OutputValue"]
    client.told("HeadBucket", "s3", Bucket=bucket)
    missing = client("HeadObject", "s3", Bucket=bucket, Key="code")
    assert (missing["error"], missing["status"]) == ("NoSuchKey", 404)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return 'hi'\n")
    client.put(bucket, "shop/code", zipped.getvalue())
    head = client.told("HeadObject", "s3", Bucket=bucket, Key="shop/code")
    digest = hashlib.md5(zipped.getvalue(), usedforsecurity=False).hexdigest()
    assert (head["ContentLength"], head["ETag"]) == (len(zipped.getvalue()), f'"{digest}"')
    text = f"""
Transform: AWS::Serverless-2016-10-31
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties: {{CodeUri: "s3://{bucket}/shop/code", Handler: app.handler, Runtime: python3.11, Role: "arn:aws:iam::0:role/x"}}
"""
    client.put(bucket, "shop/t.template", text.encode())
    url = f"https://s3.us-east-1.amazonaws.com/{bucket}/shop/t.template"
    client.told("CreateStack", StackName="shop", TemplateURL=url)
    assert client.told("DescribeStacks", StackName="shop")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
    for elsewhere in (
        "http://example.com/a/b",
        "file:///etc/passwd",
        f"http://127.0.0.1/../{bucket}",
        "http://files.example.com/../../x",
    ):
        refused = client("CreateStack", StackName="other", TemplateURL=elsewhere)
        assert refused["error"] in {"ValidationError", "NoSuchKey"}, elsewhere
    refused = client("CreateStack", StackName="other", TemplateBody=QUEUE + "#" * 51_200)
    assert (
        "'templateBody' failed to satisfy constraint: Member must have length less than or equal"
        in refused["reasons"][0]
    )
    client.put(bucket, "long", (QUEUE + "#" * 51_200).encode())
    client.told("ValidateTemplate", TemplateURL=f"http://127.0.0.1:4566/{bucket}/long")
    client.told("DeleteObject", "s3", Bucket=bucket, Key="long")
    client.put(bucket, "binary", b"\xff\xfe")
    refused = client("CreateStack", StackName="other", TemplateURL=f"http://127.0.0.1:4566/{bucket}/binary")
    assert refused["reasons"] == ["Template format error: it is not UTF-8"]
    refused = client("CreateStack", StackName="other", TemplateBody=text.replace(bucket, "somebody-elses"))
    assert refused["reasons"][0].startswith("F: what it names in a bucket is not in this store")
    other = client("CreateStack", StackName="other", TemplateBody=BUCKET_STACK)
    assert "AWS::S3::Bucket is not served" in other["reasons"][0]
    client.told("DeleteObject", "s3", Bucket=bucket, Key="shop/code")
    assert client("GetObject", "s3", Bucket=bucket, Key="shop/code")["error"] == "NoSuchKey"
    client.told("DeleteStack", StackName=MANAGED)
    stack = client.told("DescribeStacks", StackName=MANAGED)["Stacks"][0]
    assert stack["StackStatus"] == "DELETE_FAILED"
    assert "[SamCliSourceBucket] The bucket you tried to delete is not empty" in stack["StackStatusReason"]
    for key in ("shop/t.template", "binary"):
        assert client.told("HeadObject", "s3", Bucket=bucket, Key=key)["ContentLength"] > 0
        client.told("DeleteObject", "s3", Bucket=bucket, Key=key)
    client.told("CreateMultipartUpload", "s3", Bucket=bucket, Key="never ended")
    client.told("DeleteStack", StackName=MANAGED)
    assert client("HeadBucket", "s3", Bucket=bucket)["error"] == "NoSuchBucket"
    assert list((tmp_path / stack_buckets.FOLDER).iterdir()) == []


def test_large_objects_come_in_parts_and_no_name_leads_outside(client, tmp_path):
    made(client, MANAGED, BUCKET_STACK)
    bucket = client.told("DescribeStacks", StackName=MANAGED)["Stacks"][0]["Outputs"][0]["OutputValue"]
    upload = client.told("CreateMultipartUpload", "s3", Bucket=bucket, Key="big")["UploadId"]
    place = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    large = b"hello" * (1 << 20)  # 5 MiB, less than which only the last part may have
    for number, data in ((2, b"world"), (1, large)):
        body = tmp_path / f".body-{number}"
        body.write_bytes(data)
        client.told("UploadPart", "s3", **place, PartNumber=number, Body=str(body))
    backwards = {"Parts": [{"PartNumber": 2}, {"PartNumber": 1}]}
    refused = client("CompleteMultipartUpload", "s3", **place, MultipartUpload=backwards)
    assert refused["error"] == "InvalidPartOrder"
    other = {"Parts": [{"PartNumber": 1, "ETag": '"0123"'}]}
    assert client("CompleteMultipartUpload", "s3", **place, MultipartUpload=other)["error"] == "InvalidPart"
    assert client("CompleteMultipartUpload", "s3", **place, MultipartUpload={})["error"] == "InvalidPart"
    tag = f'"{hashlib.md5(large, usedforsecurity=False).hexdigest()}"'
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}, {"PartNumber": 2}]}
    client.told("CompleteMultipartUpload", "s3", **place, MultipartUpload=parts)
    path = client.told("GetObject", "s3", Bucket=bucket, Key="big")["Body"]
    assert Path(path).read_bytes() == large + b"world"
    assert client("UploadPart", "s3", **place, PartNumber=1)["error"] == "NoSuchUpload"
    for name in ("..", ".", "", "../..", "a/b", f"{bucket}/.uploads", "x" * 300, "a\0b"):
        assert client("HeadBucket", "s3", Bucket=name)["error"] == "NoSuchBucket", name
    for name in ("..", ".", "", "../x", "/etc"):
        refused = client("AbortMultipartUpload", "s3", Bucket=bucket, Key="big", UploadId=name)
        assert refused["error"] == "NoSuchUpload", name
    client.put(bucket, "../../../escaped", b"x")
    assert not list(tmp_path.parent.glob("escaped"))
    assert client.told("HeadObject", "s3", Bucket=bucket, Key="../../../escaped")["ContentLength"] == 1


def test_an_object_is_written_only_where_its_condition_holds(client):
    """The second client's `If-None-Match: *` was passed over, and the first one's object was gone."""
    made(client, MANAGED, BUCKET_STACK)
    bucket = client.told("DescribeStacks", StackName=MANAGED)["Stacks"][0]["Outputs"][0]["OutputValue"]
    place = {"Bucket": bucket, "Key": "lock"}
    assert client("PutObject", "s3", **place, IfMatch='"0123"')["status"] == 404
    first = client.told("PutObject", "s3", **place, IfNoneMatch="*")["ETag"]
    second = client("PutObject", "s3", **place, IfNoneMatch="*")
    assert (second["error"], second["status"]) == ("PreconditionFailed", 412)
    assert client("PutObject", "s3", **place, IfMatch='"0123"')["error"] == "PreconditionFailed"
    client.told("PutObject", "s3", **place, IfMatch=first)
    for wish in ({"VersionId": "1"}, {"IfNoneMatch": first}, {"IfModifiedSince": 1}):
        assert client("GetObject", "s3", **place, **wish)["error"] == "NotImplemented", wish


def test_a_change_set_that_another_deploy_has_overtaken_is_not_carried_out(client):
    """What it showed was not what it would have done."""
    made(client, "shop", QUEUE)
    text = QUEUE.replace("Queue}", "Queue, Properties: {VisibilityTimeout: 5}}")
    overtaken = client.told("CreateChangeSet", StackName="shop", ChangeSetName="c", TemplateBody=text)
    client.deploy("shop", "Resources: {Other: {Type: AWS::SQS::Queue}}")  # `forebay deploy`, by the socket
    refused = client("ExecuteChangeSet", ChangeSetName=overtaken["Id"])
    assert refused["error"] == "InvalidChangeSetStatus"
    assert "cannot be executed in its current status of [OBSOLETE]" in refused["reasons"][0]
    names = [
        one["LogicalResourceId"]
        for one in client.told("ListStackResources", StackName="shop")["StackResourceSummaries"]
    ]
    assert names == ["Other"]


def test_other_tags_are_a_change(client):
    tags = [{"Key": "team", "Value": "a"}]
    client.told("CreateStack", StackName="one", TemplateBody=QUEUE, Tags=tags)
    assert client("UpdateStack", StackName="one", UsePreviousTemplate=True, Tags=tags)["error"] == "ValidationError"
    client.told("UpdateStack", StackName="one", UsePreviousTemplate=True, Tags=[{"Key": "team", "Value": "b"}])
    stack = client.told("DescribeStacks", StackName="one")["Stacks"][0]
    assert (stack["StackStatus"], stack["Tags"]) == ("UPDATE_COMPLETE", [{"Key": "team", "Value": "b"}])


def test_the_urls_of_functions_are_told(client):
    text = """
Resources:
  F:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: f, Handler: index.h, Runtime: python3.11, Role: r, Code: {ZipFile: "def h(event, context): pass"}}
  U: {Type: AWS::Lambda::Url, Properties: {TargetFunctionArn: !GetAtt F.Arn, AuthType: NONE}}
"""
    client.told("CreateStack", StackName="s", TemplateBody=text)
    told = client.told("GetResource", "cloudcontrolapi", TypeName="AWS::Lambda::Url", Identifier="f")
    assert json.loads(told["ResourceDescription"]["Properties"])["FunctionUrl"] == "http://127.0.0.1:3000/_apis/f/"
    missing = client("GetResource", "cloudcontrolapi", TypeName="AWS::Lambda::Url", Identifier="g")
    assert missing["error"] == "ResourceNotFoundException"


def test_pages_of_events_and_change_sets_have_bounds(client):
    for number in range(30):
        text = f"Resources: {{Jobs: {{Type: AWS::SQS::Queue, Properties: {{VisibilityTimeout: {number}}}}}}}"
        client.told("CreateStack" if number == 0 else "UpdateStack", StackName="many", TemplateBody=text)
    page = client.told("DescribeStackEvents", StackName="many")
    seen = list(page["StackEvents"])
    while page["NextToken"]:
        page = client.told("DescribeStackEvents", StackName="many", NextToken=page["NextToken"])
        seen += page["StackEvents"]
    ids = [int(one["EventId"]) for one in seen]
    assert len(ids) == len(set(ids)) > 100
    assert ids == sorted(ids, reverse=True)
    assert client("DescribeStackEvents", StackName="many", NextToken="x")["error"] == "ValidationError"
    for number in range(120):
        name = f"n{number}"
        client.told("CreateChangeSet", StackName=name, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=QUEUE)
    assert client("DescribeChangeSet", ChangeSetName="c", StackName="n0")["error"] == "ChangeSetNotFound"
    client.told("DescribeChangeSet", ChangeSetName="c", StackName="n119")
