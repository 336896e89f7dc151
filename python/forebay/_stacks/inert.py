"""What a stack may hold and what does nothing here: roles, policies, permissions, log groups; and parameters and secrets."""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import secret
from forebay._sam.intrinsics import plain
from forebay._sam.stored import SECRET as SECRET_TYPE
from forebay._sam.stored import VALUE
from forebay._stacks.kind import Kind, Properties, flag, number, words
from forebay.errors import InvalidParameterValue

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


def _text(properties: Properties, key: str) -> str:
    value = properties.get(key)
    if value is None or isinstance(value, dict | list):
        raise InvalidParameterValue(f"{key}: a text is needed")
    return plain(value)


def _parameter_given(
    name: str, properties: Properties, _world: World, _others: Mapping[str, Resource]
) -> dict[str, Any]:
    return {"Ref": name, "Type": properties.get("Type"), "Value": _text(properties, "Value")}


def _parameter_check(properties: Properties) -> Iterable[tuple[str, str]]:
    if properties.get("Type") not in ("String", "StringList"):
        yield "Type", "String and StringList are served"


PARAMETER: Final = Kind(
    type="AWS::SSM::Parameter",
    becomes="a parameter, which templates and functions read",
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
    given=_parameter_given,
)


def _secret_name(stack: str, logical: str, properties: Properties, world: World) -> str:
    return str(properties.get("Name") or f"{stack}-{logical}-{world.suffix()}")


def _secret_check(properties: Properties) -> Iterable[tuple[str, str]]:
    if "SecretString" in properties and "GenerateSecretString" in properties:
        yield "SecretString", "a value is given, or it is generated"
    for key in properties.get("GenerateSecretString") or {}:
        if key not in _GENERATED:
            yield f"GenerateSecretString.{key}", "it is not served"


def _secret_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    end = hashlib.sha256(name.encode()).hexdigest()[:6]
    arn = f"arn:aws:secretsmanager:{world.region}:{world.account}:secret:{name}-{end}"
    asked = properties.get("GenerateSecretString")
    if asked is None:
        value = _text(properties, "SecretString") if "SecretString" in properties else ""
    else:
        value = secret.mark(generated_name(name))
        if "GenerateStringKey" in asked:
            whole = {**json.loads(str(asked.get("SecretStringTemplate", "{}"))), asked["GenerateStringKey"]: value}
            value = json.dumps(whole, ensure_ascii=False)
    return {"Ref": arn, "Id": arn, VALUE: value}


def generated_name(physical: str) -> str:
    """Give the name under which a generated secret is kept."""
    return f"generated:{physical}"


def generated(asked: Properties) -> str:
    """Make a secret as `GenerateSecretString` asks for it.

    Raises:
        InvalidParameterValue: it has another length than a secret may have.

    """
    length = int(number(asked, "PasswordLength", _LENGTH))
    if not 1 <= length <= _LENGTH_MAX:
        raise InvalidParameterValue(f"GenerateSecretString.PasswordLength: allowed are 1 to {_LENGTH_MAX}")
    kinds = {
        "ExcludeLowercase": string.ascii_lowercase,
        "ExcludeUppercase": string.ascii_uppercase,
        "ExcludeNumbers": string.digits,
        "ExcludePunctuation": _PUNCTUATION,
    }
    letters = "".join(each for key, each in kinds.items() if not flag(asked.get(key, False)))
    letters += " " if flag(asked.get("IncludeSpace", False)) else ""
    letters = "".join(each for each in letters if each not in str(asked.get("ExcludeCharacters", "")))
    if not letters:
        raise InvalidParameterValue("GenerateSecretString: every character is excluded")
    return "".join(secrets.choice(letters) for _ in range(length))


_LENGTH: Final = 32
_LENGTH_MAX: Final = 4096
"""Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetRandomPassword.html"""
_PUNCTUATION: Final = "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"
"""Without quotes and backslashes: a secret may stand inside of JSON."""
_GENERATED: Final = words(
    "ExcludeCharacters ExcludeLowercase ExcludeNumbers ExcludePunctuation ExcludeUppercase GenerateStringKey IncludeSpace "
    "PasswordLength RequireEachIncludedType SecretStringTemplate"
)
SECRET: Final = Kind(
    type=SECRET_TYPE,
    becomes="a secret, which templates and functions read",
    honoured=words("GenerateSecretString Name SecretString"),
    inert={
        "Description": "",
        "Tags": "",
        "KmsKeyId": "the store is not encrypted",
        "ReplicaRegions": "an app is one region",
    },
    fixed=words("Name"),
    naming=_secret_name,
    check=_secret_check,
    given=_secret_given,
)
KINDS: Final = (
    PARAMETER,
    SECRET,
    _inert("AWS::SecretsManager::ResourcePolicy"),
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
