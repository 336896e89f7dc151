"""What a function of a stack is said to be: what its template gives, and no secret."""

import asyncio
import contextlib

from deploying import asked, deployer

from forebay._stacks import configurations

TEMPLATE = """
Parameters:
  Password: {Type: String, NoEcho: true, Default: hush}
Resources:
  Dead: {Type: AWS::SQS::Queue, Properties: {QueueName: dead}}
  Lib: {Type: AWS::Lambda::LayerVersion, Properties: {LayerName: lib, Content: src}}
  F:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: f
      Description: packs
      Handler: app.handler
      Runtime: python3.11
      Role: arn:aws:iam::000000000000:role/x
      Code: src
      MemorySize: "256"
      Timeout: 7
      Architectures: [arm64]
      Layers: [!Ref Lib]
      DeadLetterConfig: {TargetArn: !GetAtt Dead.Arn}
      Tags: [{Key: team, Value: a}]
      Environment: {Variables: {STAGE: live, WORD: !Ref Password, URL: !Sub "db://me:${Password}@h"}}
  V: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref F, Description: first}}
  G:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: g, Handler: app.handler, Runtime: python3.12, Role: "arn:aws:iam::0:role/x", Code: src, Tags: {a: b}}
"""


@contextlib.contextmanager
def deployed(tmp_path):
    """Give a store with functions, and a deploy of a changed template. A fixture would be kept, and with it the store would stay open."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("def handler(event, context):\n    return 1\n")
    with deployer(tmp_path / "data") as (service, target, _):

        def deploy(text, *, to_the_end=True):
            service.begin(asked(text, tmp_path / "data", tmp_path))
            if to_the_end:
                assert asyncio.run(service.run("shop", target)).endswith("_COMPLETE")

        deploy(TEMPLATE)
        yield service, deploy


def test_a_function_is_what_its_template_says_and_its_secrets_are_concealed(tmp_path):
    with deployed(tmp_path) as (service, _):
        told, mine, none = (configurations.told(service, name) for name in (None, "f", "none"))
    assert sorted(told) == ["f", "f:1", "g"]
    one = told["f"]["configuration"]
    assert one.pop("LastModified").endswith("+0000")
    assert one == {
        "Runtime": "python3.11",
        "Handler": "app.handler",
        "Description": "packs",
        "Role": "arn:aws:iam::000000000000:role/x",
        "Timeout": 7,
        "MemorySize": 256,
        "PackageType": "Zip",
        "Architectures": ["arm64"],
        "Layers": [{"Arn": "arn:aws:lambda:us-east-1:000000000000:layer:lib:1"}],
        "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"},
        "Environment": {"Variables": {"STAGE": "live", "WORD": "****", "URL": "db://me:****@h"}},
    }
    assert told["f"]["tags"] == {"team": "a"}
    assert "hush" not in str(told)
    plain = told["g"]["configuration"]
    assert (plain["MemorySize"], plain["Timeout"], told["g"]["tags"]) == (128, 3, {})
    assert not plain.keys() & {"Environment", "Layers", "Description", "DeadLetterConfig"}
    assert (sorted(mine), none) == (["f", "f:1"], {})


def test_a_version_stays_as_it_was_published_and_what_is_on_its_way_is_told_where_nothing_is(tmp_path):
    changed = TEMPLATE.replace("Timeout: 7", "Timeout: 9").replace("FunctionName: g", "FunctionName: h")
    with deployed(tmp_path) as (service, deploy):
        deploy(changed, to_the_end=False)
        told = configurations.told(service)
    assert sorted(told) == ["f", "f:1", "g", "h"]
    assert told["f"]["configuration"]["Timeout"] == 7  # it serves until the new one is ready
    assert told["f:1"]["configuration"]["Description"] == "first"
    assert told["h"]["configuration"]["Runtime"] == "python3.12"
