"""What a stack may hold and what does nothing here: roles, policies, permissions, log groups; and parameters and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from forebay._stacks.kind import Kind, Properties, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from forebay._sam.plan import Resource, World

NO_EFFECT: Final = "no effect here"


class Anything(frozenset[str]):
    """Every property: what has no effect may have any."""

    __slots__ = ()

    def __contains__(self, _key: object) -> bool:
        return True


ANYTHING: Final = Anything()


def _arn(text: str) -> Callable[[str, Properties, World, Mapping[str, Resource]], dict[str, Any]]:
    """Give `Ref` as the name, and an ARN made of a text."""

    def given(name: str, _properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
        arn = text.format(region=world.region, account=world.account, name=name)
        return {"Ref": name, "Arn": arn, "Id": name}

    return given


def _inert(
    type_: str, name: str | None = None, arn: str = "arn:aws:forebay:{region}:{account}:{name}", longest: int = 64
) -> Kind:
    return Kind(
        type=type_,
        becomes=NO_EFFECT,
        honoured=ANYTHING,
        fixed=words(name or ""),
        name=name,
        longest=longest,
        given=_arn(arn),
    )


def _parameter_check(properties: Properties) -> Iterable[tuple[str, str]]:
    if properties.get("Type") not in {"String", "StringList"}:
        yield "Type", "String and StringList are served"


PARAMETER: Final = Kind(
    type="AWS::SSM::Parameter",
    becomes="a parameter, which templates read",
    honoured=words("Name Type Value"),
    inert={
        "Tags": "",
        "Description": "",
        "Tier": "",
        "AllowedPattern": "",
        "DataType": "",
        "Policies": "parameters do not expire",
    },
    fixed=words("Name"),
    name="Name",
    longest=1011,
    check=_parameter_check,
    given=lambda name, properties, _world, _others: {
        "Ref": name,
        "Type": properties.get("Type"),
        "Value": properties.get("Value"),
    },
)
KINDS: Final = (
    PARAMETER,
    _inert("AWS::IAM::Role", "RoleName", "arn:aws:iam::{account}:role/{name}"),
    _inert("AWS::IAM::Policy"),
    _inert("AWS::IAM::ManagedPolicy", None, "arn:aws:iam::{account}:policy/{name}", 128),
    _inert("AWS::Lambda::Permission"),
    _inert("AWS::SQS::QueuePolicy"),
    _inert("AWS::SNS::TopicPolicy"),
    _inert("AWS::Events::EventBusPolicy"),
    _inert("AWS::Logs::LogGroup", "LogGroupName", "arn:aws:logs:{region}:{account}:log-group:{name}:*", 512),
    _inert("AWS::Logs::ResourcePolicy"),
    _inert("AWS::CloudWatch::Alarm", "AlarmName", "arn:aws:cloudwatch:{region}:{account}:alarm:{name}", 255),
    _inert("AWS::CloudWatch::Dashboard", "DashboardName", longest=255),
)
CAPABILITY_TYPES: Final = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::Policy": None,
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
}
"""Types that CloudFormation wants an acknowledgement for, and the property that makes it CAPABILITY_NAMED_IAM."""
