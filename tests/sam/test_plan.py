"""What templates may say beside types and properties: sections, policies, names, outputs. AWS's texts where it has some."""

import itertools

import pytest

from forebay._sam import expansion, form, parameters, plan, template
from forebay._sam.errors import TemplateRefused
from forebay._sam.plan import World
from forebay._stacks import functions
from forebay._stacks.table import KINDS

QUEUE = "Q: {Type: AWS::SQS::Queue}"
FUNCTION = f"""
Resources:
  F:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: f
      Handler: app.handler
      Runtime: python3.11
      Code: {{S3Bucket: {functions.ARTIFACTS}, S3Key: {"a" * 32}}}
"""


def planned(text, given=(), **more):
    """Plan a template of a stack that is new."""
    numbers = itertools.count(1)
    place = {"app": "a", "region": "us-east-1", "account": "000000000000", "aws": "http://127.0.0.1:4566"}
    world = World(**place, suffix=lambda: f"X{next(numbers):07}", version=lambda _: next(numbers), **more)
    body = template.read(text.encode()).body
    expansion.check_resources(body)
    read = parameters.read(body.get("Parameters"), dict(given))
    return plan.evaluate("shop", "arn:shop", body, parameters=read, before={}, world=world, types=KINDS)


def refused(text, **more):
    with pytest.raises(TemplateRefused) as why:
        planned(text, **more)
    return why.value.reasons


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f"Resources: {{{QUEUE}}}\nOutput: {{A: {{Value: a}}}}\nGlobals: {{}}\n",
            "Invalid template property or properties [Globals, Output]",
        ),
        (
            "Resources: {Q: {Properties: {}}}",
            "Template format error: [/Resources/Q] Every Resources object must contain a Type member.",
        ),
        (
            f"Description: {{a: b}}\nResources: {{{QUEUE}}}",
            "Template format error: Every Description member must be a string.",
        ),
        (
            f"Description: {'é' * 513}\nResources: {{{QUEUE}}}",
            "Template format error: 'Description' length is greater than 1024.",
        ),
        (f"Parameters: [A]\nResources: {{{QUEUE}}}", "Template format error: Parameters is a mapping"),
        (
            f"Parameters: {{A: {{Type: Strin, Default: a}}}}\nResources: {{{QUEUE}}}",
            "Template format error: Unrecognized parameter type: Strin (A)",
        ),
        (
            "Resources: {Q: {Type: AWS::SQS::Queue, DependsOn: Q}}",
            "Circular dependency between resources: [Q]",
        ),
        (
            "Resources: {Q: {Type: AWS::SQS::Queue, DependsOn: !If [A, B, C]}}",
            "Q: Template format error: DependsOn must be a string or list of strings.",
        ),
        (
            "Resources: {P: {Type: AWS::SSM::Parameter, Properties: {Type: String}}}",
            "P: Value: a text is needed",
        ),
        (
            "Resources: {P: {Type: AWS::SSM::Parameter, Properties: {Type: StringList, Value: [a, b]}}}",
            "P: Value: a text is needed",
        ),
        (
            "Resources: {S: {Type: AWS::SecretsManager::Secret, Properties: {SecretString: {a: b}}}}",
            "S: SecretString: a text is needed",
        ),
        (
            "Resources: {Q: {Type: AWS::SQS::Queue, Condition: Big}}",
            "Template format error: Unresolved condition dependency Big in the Resources block of the template",
        ),
        (
            "Resources: {Q: {Type: AWS::SQS::Queue, Condition: [Big]}}",
            "Template format error: Every Condition member must be a string.",
        ),
        (
            f"Conditions: {{C: !Equals [!Ref Q, a]}}\nResources: {{{QUEUE}, R: {{Type: AWS::SQS::Queue, Condition: C}}}}",
            "Template format error: Unresolved dependencies [Q]. Cannot reference resources in the Conditions block of the template",
        ),
        (
            f"Resources: {{{QUEUE}}}\nOutputs: {{A: {{Value: !Ref Nobody}}}}",
            "Outputs.A: Template format error: Unresolved resource dependencies [Nobody] in the Outputs block of the template",
        ),
        (
            f"Resources: {{{QUEUE}}}\nOutputs: {{A: {{Value: a, Condition: Big}}}}",
            "Outputs.A: Template format error: Unresolved condition dependency Big in the Outputs block of the template",
        ),
        (
            f"Resources: {{{QUEUE}}}\nOutputs: {{A: {{Value: a, Description: [b]}}}}",
            "Outputs.A: Template format error: Every Description member must be a string.",
        ),
        (
            f"Resources: {{{QUEUE}}}\nOutputs: {{A: {{Value: !Ref AWS::NoValue}}}}",
            "Outputs.A: Template format error: The Value field of every Outputs member must evaluate to a String.",
        ),
        (
            f"Resources: {{{QUEUE}}}\nOutputs: {{A: {{Value: a, Export: {{Name: !Ref AWS::NoValue}}}}}}",
            (
                "Outputs.A: Template format error: The Name field of every Export member must be specified and must evaluate to a "
                "String."
            ),
        ),
        (
            f"Resources: {{{QUEUE}}}\nOutputs: {{A: {{Value: a, Export: {{Name: n}}}}, B: {{Value: b, Export: {{Name: n}}}}}}",
            "Outputs.B: Export with name n is exported twice by this stack",
        ),
        (
            "Resources: {A: {Type: AWS::SQS::Queue, Properties: {QueueName: q}}, B: {Type: AWS::SQS::Queue, Properties: {QueueName: q}}}",
            "B: q already exists in stack shop: A is it",
        ),
        (
            (
                "Resources: {R: {Type: AWS::Events::Rule, Properties: {ScheduleExpression: rate(1 day), Targets: [{Id: a, Arn: "
                "'arn:aws:sqs:us-east-1:0:q', EcsParameters: {}}]}}}"
            ),
            "R: Target: EcsParameters is not served",
        ),
        (
            (
                "Resources: {S: {Type: AWS::Scheduler::Schedule, Properties: {ScheduleExpression: rate(1 day), Target: {Arn: "
                "'arn:aws:sqs:us-east-1:0:q', RetryPolicy: {MaximumRetryAttempts: 186}}}}}"
            ),
            "S: maximum_retry_attempts=186: allowed are whole numbers from 0 to 185",
        ),
        (
            "Resources: {Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub 'q-${STAGE:-test}'}}}",
            (
                "Q: Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and "
                "colons"
            ),
        ),
    ],
)
def test_a_template_that_cannot_be_is_refused_in_awss_words(text, reason):
    assert refused(text) == (reason,)


def test_sections_have_limits_also_when_a_template_is_expanded():
    queues = "\n".join(f"  Q{at}: {{Type: AWS::SQS::Queue}}" for at in range(501))
    reason = "Template format error: Number of resources, 501, is greater than maximum allowed, 500"
    assert refused(f"Resources:\n{queues}") == (reason,)
    body = {"Resources": {"Q": {}}, "Outputs": dict.fromkeys(map(str, range(201)))}
    assert form.wrong_sections(body) == [
        "Template format error: Number of outputs, 201, is greater than maximum allowed, 200"
    ]


@pytest.mark.parametrize(
    ("attribute", "why"),
    [
        ("DeletionPolicy: Keep", "Template format error: Unrecognized DeletionPolicy Keep for resource Q"),
        (
            "DeletionPolicy: !If [A, Retain, Delete]",
            "Template format error: Every DeletionPolicy member must be a string.",
        ),
        (
            "UpdateReplacePolicy: retain",
            "Template format error: Unrecognized UpdateReplacePolicy retain for resource Q",
        ),
        (
            "UpdateReplacePolicy: RetainExceptOnCreate",
            "Template format error: Unrecognized UpdateReplacePolicy RetainExceptOnCreate for resource Q",
        ),
        (
            "DeletionPolicy: Snapshot",
            "Template error: resource type AWS::SQS::Queue does not support deletion policy Snapshot",
        ),
    ],
)
def test_a_policy_that_is_misspelt_is_not_taken_for_delete(attribute, why):
    assert refused(f"Resources:\n  Q: {{Type: AWS::SQS::Queue, {attribute}}}") == (f"Q: {why}",)


def test_an_export_that_another_stack_has_is_refused_with_its_name():
    text = f"Resources: {{{QUEUE}}}\nOutputs: {{A: {{Value: a, Export: {{Name: orders}}}}}}"
    exports = {"exports": {"orders": "x"}, "exporters": {"orders": "other"}}
    assert refused(text, **exports) == ("Outputs.A: Export with name orders is already exported by stack other",)


SAME_NAMES = """
Resources:
  Near: {Type: AWS::Events::EventBus, Properties: {Name: near}}
  Far: {Type: AWS::Events::EventBus, Properties: {Name: far}}
  A: {Type: AWS::Events::Rule, Properties: {Name: all, EventBusName: !Ref Near, EventPattern: {source: [a]}}}
  B: {Type: AWS::Events::Rule, Properties: {Name: all, EventBusName: !Ref Far, EventPattern: {source: [a]}}}
  Shop: {Type: AWS::ApiGateway::RestApi, Properties: {Name: shop}}
  Desk: {Type: AWS::ApiGateway::RestApi, Properties: {Name: desk}}
  C: {Type: AWS::ApiGateway::Model, Properties: {Name: User, RestApiId: !Ref Shop, Schema: {}}}
  D: {Type: AWS::ApiGateway::Model, Properties: {Name: User, RestApiId: !Ref Desk, Schema: {}}}
"""


def test_rules_of_two_buses_and_models_of_two_apis_may_have_one_name():
    assert len(planned(SAME_NAMES).resources) == 8
    rule = ("AWS::Events::Rule", "near/all")
    assert refused(SAME_NAMES, taken={rule: "other"}) == ("A: all already exists in stack other",)


def test_truth_values_are_written_as_aws_writes_them():
    """A function was told `True`, and code that compares with `true`, as on AWS, took the other way."""
    text = FUNCTION + "      Environment: {Variables: {DEBUG: true, LIMIT: 5}}\nOutputs: {A: {Value: yes}}\n"
    found = planned(text)
    assert functions.variables(found.resources["F"].properties) == {"DEBUG": "true", "LIMIT": "5"}
    assert [one.value for one in found.outputs] == ["true"]
    kept = "Resources: {P: {Type: AWS::SSM::Parameter, Properties: {Name: on, Type: String, Value: true}}}"
    assert planned(kept).resources["P"].attributes["Value"] == "true"


@pytest.mark.parametrize("value", ["", "{a: b}", "[a]"])
def test_a_variable_that_is_no_text_is_refused(value):
    assert refused(FUNCTION + f"      Environment: {{Variables: {{A: {value}}}}}\n") == (
        "F: Environment.Variables.A: a variable is a text",
    )


def test_a_layer_that_is_not_here_is_refused():
    """The function was deployed without it."""
    arn = "arn:aws:lambda:us-east-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python311-x86_64:7"
    assert refused(FUNCTION + f"      Layers: ['{arn}']\n") == (
        (
            f"F: Layers: '{arn}' is not a layer of this stack: declare it as AWS::Serverless::LayerVersion, or have its packages in "
            "requirements.txt"
        ),
    )


CHOSEN = """
Parameters: {Files: {Type: String, Default: 'no'}, Auth: {Type: String, Default: NONE}}
Conditions: {HasFiles: !Equals [!Ref Files, 'yes']}
"""


def test_properties_are_checked_as_their_conditions_and_parameters_have_them():
    """What AWS leaves out was refused, and so was a parameter whose value is served."""
    text = CHOSEN + FUNCTION.removeprefix("\n")
    text += "      FileSystemConfigs: !If [HasFiles, [{Arn: a}], !Ref AWS::NoValue]\n"
    text += "  U: {Type: AWS::Lambda::Url, Properties: {TargetFunctionArn: !Ref F, AuthType: !Ref Auth}}\n"
    assert list(planned(text).resources) == ["F", "U"]
    assert refused(text, given={"Files": "yes", "Auth": "AWS_IAM"}) == (
        "F.FileSystemConfigs: file systems are not mounted: a function reaches the machine's own",
        "U.AuthType: only NONE is served: put an HTTP API with an authorizer before the function",
    )


LISTS = {
    "Zones": {"Type": "CommaDelimitedList", "AllowedValues": ["a", "b"], "Default": "a, b"},
    "Names": {"Type": "List<String>", "AllowedPattern": "[a-z]+", "Default": "x,yz"},
}


def test_limits_of_a_list_hold_for_each_member():
    """The default of such a list was refused, since the whole of it is none of the values."""
    assert parameters.read(LISTS, {}).values == {"Zones": ["a", "b"], "Names": ["x", "yz"]}
    with pytest.raises(TemplateRefused) as why:
        parameters.read(LISTS, {"Zones": "a,c", "Names": "x,Y"})
    assert why.value.reasons == (
        "Parameter 'Zones' must be one of AllowedValues",
        "Parameter 'Names' must match pattern [a-z]+",
    )


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "String",
            "Number",
            "CommaDelimitedList",
            "List<Number>",
            "AWS::EC2::KeyPair::KeyName",
            "List<AWS::EC2::Subnet::Id>",
        ),
        *(
            "AWS::SSM::Parameter::Name",
            "AWS::SSM::Parameter::Value<String>",
            "AWS::SSM::Parameter::Value<List<String>>",
        ),
        *("AWS::SSM::Parameter::Value<CommaDelimitedList>", "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"),
    ],
)
def test_types_of_parameters_are_those_of_aws(kind):
    assert list(parameters.read({"A": {"Type": kind, "Default": "1"}}, {}, stored={"1": "1"}).values) == ["A"]
