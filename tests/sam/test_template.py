"""Reading a template: what it says comes out, and whatever it says, reading takes little time and memory."""

import contextlib
import json
import time

import pytest

from forebay._sam import template
from forebay._sam.errors import TemplateRefused


def test_short_tags_are_their_long_forms():
    text = b"""
Resources:
  Q:
    Type: AWS::SQS::Queue
    Properties:
      A: !Ref X
      B: !GetAtt X.Arn
      C: !Sub "a-${X}"
      D: !Join ["-", [a, !Select [0, !Split [",", !ImportValue y]]]]
      E: !If [IsProduction, 1, !Ref "AWS::NoValue"]
"""
    assert template.read(text).body["Resources"]["Q"]["Properties"] == {
        "A": {"Ref": "X"},
        "B": {"Fn::GetAtt": ["X", "Arn"]},
        "C": {"Fn::Sub": "a-${X}"},
        "D": {"Fn::Join": ["-", ["a", {"Fn::Select": [0, {"Fn::Split": [",", {"Fn::ImportValue": "y"}]}]}]]},
        "E": {"Fn::If": ["IsProduction", 1, {"Ref": "AWS::NoValue"}]},
    }


def test_a_date_stays_a_text_and_lines_of_resources_are_known():
    read = template.read(b"AWSTemplateFormatVersion: 2010-09-09\nResources:\n  A:\n    Type: T\n  B:\n    Type: T\n")
    assert read.body["AWSTemplateFormatVersion"] == "2010-09-09"
    assert read.lines == {"A": 3, "B": 5}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("Resources:\n  A: {Type: T}\n  A: {Type: T}\n", "t:3:3: the key 'A' appears twice"),
        ("Resources: [\n", "t:2:1"),
        ("Resources:\n  A: !Unknown x\n", "t:2:6: !Unknown is not a tag of CloudFormation"),
        (
            "Resources:\n  A: !!python/object/apply:os.system [id]\n",
            "t:2:6: tag:yaml.org,2002:python/object/apply:os.system is not a tag of CloudFormation",
        ),
        ('{"Resources": {"A": 1, "A": 2}}', "t: the key 'A' appears twice"),
        ('{"Resources": ', "t:1:15"),
        ("just a text", "t: Template format error"),
        ("? [a, b]\n: c\n", "a key is a text"),
        ("a: &a [*a]\n", "an alias appears inside what it names"),
        ("a: " + "[" * 300 + "]" * 300, "nested deeper than 100"),
        ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", "nested deeper than 100"),
    ],
)
def test_what_is_no_template_is_refused_with_its_place(text, where):
    with pytest.raises(TemplateRefused) as refused:
        template.read(text.encode(), "t")
    assert where in str(refused.value)


def test_a_template_over_a_megabyte_is_refused():
    with pytest.raises(TemplateRefused, match="at most 1,000,000 are allowed"):
        template.read(b"a: " + b"x" * 1_000_000)


def test_aliases_of_aliases_are_refused_in_no_time():
    bomb = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))])
    started = time.monotonic()
    with pytest.raises(TemplateRefused, match="more than 100,000 values"):
        template.read(bomb.encode())
    assert time.monotonic() - started < 5


def test_merges_of_merges_take_no_time():
    bomb = "\n".join(
        ["a0: &a0 {k0: v}", *(f"a{n}: &a{n} {{k{n}: v, <<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60))]
    )
    started = time.monotonic()
    with contextlib.suppress(TemplateRefused):  # older releases of PyYAML keep each key as often as it is merged
        assert len(template.read(bomb.encode()).body["a59"]) == 60
    assert time.monotonic() - started < 5


def test_json_is_read_as_it_is():
    body = {"Resources": {"A": {"Type": "T"}}}
    assert template.read(json.dumps(body).encode()).body == body
