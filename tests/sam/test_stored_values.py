"""Parameters and secrets that a template keeps and refers to: `{{resolve:ssm:…}}`, `{{resolve:secretsmanager:…}}`."""

import asyncio
import json

import pytest
from deploying import PLACE, asked, deploy, deployer

from forebay._sam.errors import TemplateRefused
from forebay._stacks.wire import Wire

KEEPS = """
Parameters: {Word: {Type: String, NoEcho: true, Default: "given-word"}}
Resources:
  Size: {Type: AWS::SSM::Parameter, Properties: {Name: /shop/size, Type: String, Value: "5"}}
  Made:
    Type: AWS::SecretsManager::Secret
    Properties:
      Name: made
      GenerateSecretString: {SecretStringTemplate: '{"username": "admin"}', GenerateStringKey: password, PasswordLength: 20}
  Given: {Type: AWS::SecretsManager::Secret, Properties: {Name: given, SecretString: !Sub '{"word": "${Word}", "open": "o"}'}}
  F:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: reader
      Handler: index.handler
      Runtime: python3.11
      Role: "arn:aws:iam::000000000000:role/x"
      Timeout: "{{resolve:ssm:/shop/size}}"
      Code: {ZipFile: "def handler(event, context):\\n    import os\\n    return dict(os.environ)\\n"}
      Environment:
        Variables:
          SIZE: "{{resolve:ssm:/shop/size:1}}"
          PASSWORD: !Sub "{{resolve:secretsmanager:${Made}:SecretString:password}}"
          WORD: "{{resolve:secretsmanager:given:SecretString:word}}"
          URL: !Sub "tcp://{{resolve:secretsmanager:${Made}:SecretString:username}}@{{resolve:ssm:/shop/size}}"
    DependsOn: [Size, Given]
Outputs:
  Shown: {Value: !Sub "{{resolve:secretsmanager:${Made}:SecretString:password}}"}
  Size: {Value: "{{resolve:ssm:/shop/size}}"}
"""


def variables(service):
    from forebay._stacks.operation import revealed

    one = service.declarations("shop")["function reader"].what
    return revealed(one, service.store.stack("shop").parameters.secrets).variables


def test_a_function_gets_parameters_and_secrets_and_nothing_else_shows_them(tmp_path):
    assert deploy(KEEPS, tmp_path, parameters={"Word": "given-word"}) == "CREATE_COMPLETE"
    with deployer(tmp_path) as (service, target, _):
        found = variables(service)
        assert (found["SIZE"], found["WORD"], found["URL"]) == ("5", "given-word", "tcp://admin@5")
        assert len(found["PASSWORD"]) == 20
        assert service.declarations("shop")["function reader"].what.timeout == 5
        wire = Wire(lambda: service, tmp_path, lambda _: None)

        def ask(service_name, action, **given):
            return asyncio.run(wire.answer(service_name, action, given))["answer"]

        value = json.loads(ask("secretsmanager", "GetSecretValue", SecretId="made")["SecretString"])
        assert value == {"username": "admin", "password": found["PASSWORD"]}
        arn = ask("secretsmanager", "DescribeSecret", SecretId="made")["ARN"]
        assert arn.startswith(f"arn:aws:secretsmanager:{PLACE.region}:{PLACE.account}:secret:made-")
        assert ask("secretsmanager", "GetSecretValue", SecretId=arn)["Name"] == "made"
        assert [one["Name"] for one in ask("ssm", "GetParametersByPath", Path="/shop")["Parameters"]] == ["/shop/size"]
        assert ask("ssm", "GetParameters", Names=["/shop/size", "no"])["InvalidParameters"] == ["no"]
        # The next deploy keeps what was generated, and a changed secret changes what uses it.
        service.begin(
            asked(KEEPS.replace("PasswordLength: 20", "PasswordLength: 30"), tmp_path, parameters={"Word": "other"})
        )
        assert asyncio.run(service.run("shop", target)) == "UPDATE_COMPLETE"
        changed = variables(service)
        assert (changed["PASSWORD"], changed["WORD"]) == (found["PASSWORD"], "other")
        outputs = {one.key: one.value for one in service.store.stack("shop").outputs}
        assert outputs["Size"] == "5"
        kept = service.store.all_resources() + json.dumps([one.value for one in service.store.stack("shop").outputs])
        assert found["PASSWORD"] not in kept
        assert "given-word" not in kept
        # Another stack reads the same.
        text = KEEPS[KEEPS.index("  F:") :].replace("reader", "other").replace("    DependsOn: [Size, Given]\n", "")
        text = "Resources:\n" + text.replace("${Made}", "made")
        service.begin(asked(text, tmp_path, stack="reads"))
        assert asyncio.run(service.run("reads", target)) == "CREATE_COMPLETE"
        assert found["PASSWORD"] not in service.store.all_resources()


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("ssm:/nothing", r"Parameters: \[ssm:/nothing\] cannot be found"),
        ("ssm:/shop/size:7", "a parameter has one version"),
        ("ssm-secure:/shop/size", "is not served"),
        ("secretsmanager:nothing", "can't find the specified secret"),
        ("secretsmanager:given:SecretString:missing", "not JSON with a key 'missing'"),
        ("secretsmanager:given:SecretString:word:AWSPREVIOUS", "AWSCURRENT"),
    ],
)
def test_a_reference_to_nothing_is_refused_before_any_step(tmp_path, reference, why):
    text = KEEPS.replace('SIZE: "{{resolve:ssm:/shop/size:1}}"', f'SIZE: "{{{{resolve:{reference}}}}}"')
    with deployer(tmp_path) as (service, _, _):
        with pytest.raises(TemplateRefused, match=why):
            service.begin(asked(text, tmp_path))
        assert service.store.stacks() == []


SHARES = """
Parameters: {Word: {Type: String, NoEcho: true}}
Resources: {P: {Type: AWS::SSM::Parameter, Properties: {Name: /shared/word, Type: String, Value: !Ref Word}}}
Outputs: {Word: {Value: !Sub "the ${Word}", Export: {Name: shared-word}}}
"""
TAKES = """
Parameters:
  Word: {Type: String, NoEcho: true, Default: another-word}
  Size: {Type: "AWS::SSM::Parameter::Value<String>", Default: /shared/word}
Resources:
  F:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: reader
      Handler: index.handler
      Runtime: python3.11
      Role: x
      Code: {ZipFile: "def handler(event, context):\\n    pass\\n"}
      Environment:
        Variables:
          IMPORTED: !ImportValue shared-word
          RESOLVED: "{{resolve:ssm:/shared/word}}"
          PARAMETER: !Ref Size
          OWN: !Ref Word
Outputs: {Again: {Value: !ImportValue shared-word}}
"""


def test_what_another_stack_keeps_secret_is_secret_here_too_and_is_its_value(tmp_path):
    """A function got the mark of the secret, or a secret of its own stack that had the same name; the other two stood in clear."""
    assert deploy(SHARES, tmp_path, stack="shares", parameters={"Word": "open-sesame"}) == "CREATE_COMPLETE"
    assert deploy(TAKES, tmp_path, parameters={}) == "CREATE_COMPLETE"
    with deployer(tmp_path) as (service, target, _):
        found = variables(service)
        assert {name: found[name] for name in ("IMPORTED", "RESOLVED", "PARAMETER", "OWN")} == {
            "IMPORTED": "the open-sesame",
            "RESOLVED": "open-sesame",
            "PARAMETER": "open-sesame",
            "OWN": "another-word",
        }
        kept = service.store.all_resources() + json.dumps([one.value for one in service.store.stack("shop").outputs])
        assert "open-sesame" not in kept + json.dumps(service.store.stack("shop").parameters.given)
        assert "import:shared-word" not in service.store.secrets("shares")
        # A changed one is a change here.
        service.begin(asked(SHARES, tmp_path, stack="shares", parameters={"Word": "open-barley"}))
        assert asyncio.run(service.run("shares", target)) == "UPDATE_COMPLETE"
        service.begin(asked(TAKES, tmp_path, parameters={}))
        assert asyncio.run(service.run("shop", target)) == "UPDATE_COMPLETE"
        assert variables(service)["IMPORTED"] == "the open-barley"
