"""Intrinsic functions, conditions and parameters, each by a row of a table."""

import pytest

from forebay._sam import parameters, secret
from forebay._sam.errors import TemplateRefused
from forebay._sam.intrinsics import NO_VALUE, Scope, references
from forebay._sam.parameters import Parameters

MAPPINGS = {"ByRegion": {"us-east-1": {"Size": 5, "Zones": ["a", "b"]}}}
CONDITIONS = {
    "IsProduction": {"Fn::Equals": [{"Ref": "Stage"}, "production"]},
    "IsOther": {"Fn::Not": [{"Condition": "IsProduction"}]},
    "Both": {"Fn::And": [{"Condition": "IsProduction"}, {"Condition": "IsOther"}]},
    "Either": {"Fn::Or": [{"Condition": "IsProduction"}, {"Condition": "IsOther"}]},
    "Knows": {"Fn::Equals": [{"Ref": "Password"}, "tops3cret"]},
    "OnItsOwn": {"Fn::And": [{"Condition": "IsProduction"}]},
    "ByThree": {"Fn::Equals": ["a", "b", "c"]},
    "NotTwo": {"Fn::Not": [{"Condition": "IsProduction"}, {"Condition": "IsProduction"}]},
    "Word": "yes",
    "OfQueue": {"Fn::Equals": [{"Ref": "Nobody"}, "a"]},
    "Round": {"Condition": "About"},
    "About": {"Condition": "Round"},
}
QUEUE = {"Ref": "http://q.example.com", "Arn": "arn:q"}
SCOPE = {
    "values": {
        "Stage": "production",
        "List": ["a", "b"],
        "AWS::Region": "us-east-1",
        "Password": secret.mark("Password"),
        "Quoted": secret.mark("Quoted"),
    },
    "mappings": MAPPINGS,
    "conditions": CONDITIONS,
    "secrets": {"Password": "tops3cret", "Quoted": 'say "please"'},
    "exports": {"shared": "exported"},
    "resource": lambda name: QUEUE["Ref"] if name == "Queue" else None,
    "attribute": lambda name, key: QUEUE.get(key) if name == "Queue" else None,
}


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ({"Ref": "Stage"}, "production"),
        ({"Ref": "Queue"}, "http://q.example.com"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:q"),
        ({"Fn::GetAtt": "Queue.Arn"}, "arn:q"),
        ({"Fn::Sub": "${Stage}-${Queue.Arn}-${!Kept}"}, "production-arn:q-${Kept}"),
        ({"Fn::Sub": ["${A}-${Stage}", {"A": {"Ref": "AWS::Region"}}]}, "us-east-1-production"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Stage"}]]}, "a-production"),
        ({"Fn::Join": [",", {"Ref": "List"}]}, "a,b"),
        ({"Fn::Select": [1, {"Ref": "List"}]}, "b"),
        ({"Fn::Select": ["0", {"Fn::Split": ["-", "x-y"]}]}, "x"),
        ({"Fn::If": ["IsProduction", "yes", "no"]}, "yes"),
        ({"Fn::If": ["Both", "yes", {"Ref": "AWS::NoValue"}]}, NO_VALUE),
        ({"a": 1, "b": {"Ref": "AWS::NoValue"}}, {"a": 1}),
        ([1, {"Ref": "AWS::NoValue"}], [1]),
        ({"Fn::FindInMap": ["ByRegion", {"Ref": "AWS::Region"}, "Size"]}, 5),
        ({"Fn::FindInMap": ["ByRegion", "mars", "Size", {"DefaultValue": 1}]}, 1),
        ({"Fn::ImportValue": "shared"}, "exported"),
        ({"Fn::Base64": "hello"}, "aGVsbG8="),
        ({"Fn::ToJsonString": {"a": [{"Ref": "Stage"}]}}, '{"a":["production"]}'),
        ({"Fn::Length": [1, 2]}, 2),
        ({"Fn::Sub": "mysql://${Password}@db"}, f"mysql://{secret.mark('Password')}@db"),
    ],
)
def test_a_value_is_resolved(value, resolved):
    assert Scope(**SCOPE).resolve(value) == resolved


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"Ref": "Nobody"}, "Unresolved resource dependencies [Nobody]"),
        ({"Fn::GetAtt": ["Queue", "Size"]}, "Requested attribute Size does not exist in resource Queue"),
        ({"Fn::GetAtt": "Queue"}, "every Fn::GetAtt object requires two"),
        ({"Fn::Select": [2, {"Ref": "List"}]}, "cannot select nonexistent value at index 2"),
        ({"Fn::Join": ["-"]}, "every Fn::Join object requires two"),
        ({"Fn::FindInMap": ["ByRegion", "mars", "Size"]}, "Unable to get mapping for ByRegion::mars::Size"),
        ({"Fn::ImportValue": "nothing"}, "No export named nothing found."),
        ({"Fn::GetAZs": ""}, "Fn::GetAZs is not served"),
        ({"Fn::Cidr": ["10.0.0.0/16", 1, 8]}, "Fn::Cidr is not served"),
        ({"Fn::Transform": {"Name": "AWS::Include"}}, "Fn::Transform is not served"),
        ({"Fn::If": ["Nothing", 1, 2]}, "Template error: unresolved condition dependency Nothing in Fn::If"),
        ({"Fn::If": ["Round", 1, 2]}, "Template format error: Circular dependency between conditions"),
        ({"Fn::If": ["OnItsOwn", 1, 2]}, "every Fn::And object requires a list of at least 2 and at most 10 boolean"),
        ({"Fn::If": ["ByThree", 1, 2]}, "every Fn::Equals object requires a list of 2 string parameters."),
        ({"Fn::If": ["NotTwo", 1, 2]}, "every Fn::Not object requires a list with exactly 1 boolean parameter."),
        ({"Fn::If": ["Word", 1, 2]}, "Conditions can only be boolean operations on parameters and other conditions"),
        (
            {"Fn::If": ["OfQueue", 1, 2]},
            "Unresolved dependencies [Nobody]. Cannot reference resources in the Conditions",
        ),
        ({"Fn::Sub": "${A-B}"}, "variable names in Fn::Sub syntax must contain only alphanumeric characters"),
        ({"Fn::Sub": "${}"}, "variable names in Fn::Sub syntax must contain only alphanumeric characters"),
        ({"Fn::Base64": {"Ref": "Password"}}, "Fn::Base64 of a NoEcho parameter"),
        ({"Fn::Split": ["s", {"Ref": "Password"}]}, "Fn::Split of a NoEcho parameter"),
        ({"Fn::ToJsonString": {"p": {"Ref": "Quoted"}}}, "Fn::ToJsonString of a NoEcho parameter with quotes"),
    ],
)
def test_what_cannot_be_resolved_says_why(value, text):
    with pytest.raises(TemplateRefused) as refused:
        Scope(**SCOPE).resolve(value)
    assert text in str(refused.value)


def test_conditions_hold_by_their_values_and_by_those_of_secrets():
    scope = Scope(**SCOPE)
    names = ["IsProduction", "IsOther", "Both", "Either", "Knows"]
    assert [scope.condition(name) for name in names] == [True, False, False, True, True]


def test_references_are_those_of_the_branches_that_are_taken():
    value = [
        {"Fn::If": ["IsProduction", {"Ref": "A"}, {"Ref": "B"}]},
        {"Fn::Sub": "${C.Arn}-${!D}"},
        {"Fn::GetAtt": "E.Arn"},
    ]
    assert sorted(references(value, Scope(**SCOPE))) == ["A", "C", "E"]


DECLARED = {
    "Stage": {"Type": "String", "AllowedValues": ["test", "production"], "Default": "test"},
    "Size": {"Type": "Number", "MinValue": 1, "MaxValue": 10, "Default": 5},
    "Names": {"Type": "CommaDelimitedList", "Default": "a, b"},
    "Word": {"Type": "String", "AllowedPattern": "[a-z]+", "MinLength": 2, "MaxLength": 4, "Default": "abc"},
    "Password": {"Type": "String", "NoEcho": True, "MinLength": 8, "Default": "12345678"},
    "Stored": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/shop/url"},
}


def test_parameters_have_their_defaults_and_types():
    read = parameters.read(DECLARED, {"Size": "7"}, stored={"/shop/url": "http://shop.example.com"})
    assert read.values == {
        "Stage": "test",
        "Size": "7",
        "Names": ["a", "b"],
        "Word": "abc",
        "Password": secret.mark("Password"),
        "Stored": "http://shop.example.com",
    }
    assert read.secrets == {"Password": "12345678"}
    assert "12345678" not in str(read.given)


def test_values_of_the_last_deploy_stay():
    first = parameters.read(DECLARED, {"Stage": "production", "Password": "abcdefgh"}, stored={"/shop/url": "x"})
    second = parameters.read(
        DECLARED, {}, Parameters(given=first.given, secrets=first.secrets), stored={"/shop/url": "x"}
    )
    assert (second.values["Stage"], second.secrets) == ("production", {"Password": "abcdefgh"})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"Stage": "moon"}, "Parameter 'Stage' must be one of AllowedValues"),
        ({"Size": "11"}, "Parameter 'Size' must be a number not greater than 10"),
        ({"Size": "0"}, "Parameter 'Size' must be a number not less than 1"),
        ({"Size": "many"}, "Parameter 'Size' must be a number"),
        ({"Word": "ABC"}, "Parameter 'Word' must match pattern [a-z]+"),
        ({"Word": "a"}, "Parameter 'Word' must contain at least 2 characters"),
        ({"Word": "abcde"}, "Parameter 'Word' must contain at most 4 characters"),
        ({"Nobody": "x"}, "Parameters: [Nobody] do not exist in the template"),
        ({"Stored": "/nothing"}, "no parameter of the store has that name"),
    ],
)
def test_a_parameter_out_of_its_range_is_refused_in_awss_words(given, text):
    with pytest.raises(TemplateRefused) as refused:
        parameters.read(DECLARED, given, stored={"/shop/url": "x"})
    assert text in str(refused.value)


def test_a_refused_secret_stands_in_no_error():
    with pytest.raises(TemplateRefused) as refused:
        parameters.read(DECLARED, {"Password": "s3cret"}, stored={"/shop/url": "x"})
    assert "Password" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_parameter_without_a_value_is_named():
    with pytest.raises(TemplateRefused, match=r"Parameters: \[A\] must have values"):
        parameters.read({"A": {"Type": "String"}}, {})
