"""`aws-sdk:*`: every operation of every service that boto3 knows."""

from __future__ import annotations

import base64
import functools
import re
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from forebay.errors import InvalidParameterValue
from forebay.integrations.port import NotAnswered, ServiceCall, TaskError
from forebay.integrations.threads import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MISSING = 'boto3 is not installed: pip install "forebay[aws]"'
NAMES = {
    "applicationdiscoveryservice": "discovery",
    "cloudwatchlogs": "logs",
    "cognitoidentityprovider": "cognito-idp",
    "configservice": "config",
    "costandusagereportservice": "cur",
    "costexplorer": "ce",
    "databasemigrationservice": "dms",
    "directoryservice": "ds",
    "directoryservicedata": "ds-data",
    "elasticloadbalancing": "elb",
    "elasticloadbalancingv2": "elbv2",
    "elasticsearchservice": "es",
    "eventbridge": "events",
    "iotdataplane": "iot-data",
    "iotjobsdataplane": "iot-jobs-data",
    "lexmodelbuildingservice": "lex-models",
    "lexmodelsv2": "lexv2-models",
    "lexruntimeservice": "lex-runtime",
    "lexruntimev2": "lexv2-runtime",
    "marketplaceentitlementservice": "marketplace-entitlement",
    "marketplacemetering": "meteringmarketplace",
    "migrationhub": "mgh",
    "pinpointsmsvoice": "sms-voice",
    "serverlessapplicationrepository": "serverlessrepo",
    "sfn": "stepfunctions",
    "simpledb": "sdb",
}
"""Services that boto3 names otherwise than the SDK for Java: the others are found by their names."""
_THROTTLED: Final = frozenset(
    (
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "ExpiredTokenException",
    )
)
"""Codes of refusals that pass: what botocore tries again, and credentials that are about to be renewed."""
_SERVER_ERROR: Final = 500
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def boto3_client() -> Callable[[str], Any]:
    """Give what makes clients of boto3, as its environment variables say.

    Raises:
        InvalidParameterValue: boto3 is not installed.

    """
    try:
        import boto3  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidParameterValue(MISSING) from error
    made: Callable[[str], Any] = boto3.session.Session().client
    return made


class AwsSdk:
    """Calls AWS's services through boto3, in a thread each.

    Args:
        client: makes the client of a service; None: `boto3.client`, which reads AWS's environment variables and files.

    Raises:
        InvalidParameterValue: boto3 is not installed.

    """

    def __init__(self, client: Callable[[str], Any] | None = None) -> None:
        self._checks = client is None
        self._client = functools.lru_cache(maxsize=64)(client or boto3_client())

    @property
    def resources(self) -> Sequence[str]:
        """Name what can be called."""
        return ("aws-sdk:*",)

    def unknown(self, sdk: str, action: str) -> str | None:
        """Say what boto3 does not know of a call; None: it knows the call, or makes no clients here."""
        if not self._checks:
            return None
        try:
            operations = _loader().load_service_model(_service(sdk), "service-2")["operations"]
        except TaskError as error:
            return error.cause
        return None if _operation(action) in operations else _no_operation(sdk, action)

    async def call(self, call: ServiceCall) -> Any:
        """Make a call.

        Raises:
            TaskError: the service has refused it, or there is no such operation.

        """
        return await THREADS.run(self._call, call)

    def _call(self, call: ServiceCall) -> Any:
        sdk = call.service.partition(":")[2]
        client = self._client(_service(sdk))
        operation = _operation(call.action)
        methods = {name: method for method, name in client.meta.method_to_api_mapping.items()}
        if operation not in methods:
            raise TaskError("States.Runtime", _no_operation(sdk, call.action))
        model = client.meta.service_model
        asked = model.operation_model(operation)
        given = _to_wire(call.parameters, asked.input_shape)
        # A call that is made again after a crash has the same token, so that the service does it once.
        token = str(uuid.uuid5(uuid.NAMESPACE_URL, call.id))
        given = {**dict.fromkeys(asked.idempotent_members, token), **given}
        return answer_of(client, model.service_id, methods[operation], given)


def answer_of(client: Any, service_id: str, method: str, given: dict[str, Any]) -> Any:
    """Call a method of a client, and give its answer as Step Functions has it: keys with a capital letter, no metadata.

    Raises:
        TaskError: the service has refused it: `Service.ExceptionName`.
        NotAnswered: it has not answered, or does not do so now.

    """
    from botocore.exceptions import (  # noqa: PLC0415 - an extra
        BotoCoreError,
        ClientError,
        ConnectionError,  # noqa: A004 - botocore's own
        CredentialRetrievalError,
        HTTPClientError,
        MetadataRetrievalError,
        TokenRetrievalError,
        UnauthorizedSSOTokenError,
    )

    service = "".join(word.capitalize() for word in _WORDS.findall(service_id))
    # Whoever gives credentials has not given them now: a role, a session of SSO, a process, the machine.
    renewals = (CredentialRetrievalError, MetadataRetrievalError, TokenRetrievalError, UnauthorizedSSOTokenError)
    try:
        answer = getattr(client, method)(**given)
    except ClientError as error:
        told, about = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
        code = str(told.get("Code", "Unknown")).rpartition(".")[2]
        name = code if code.endswith("Exception") else f"{code}Exception"
        status, request = about.get("HTTPStatusCode", 0), about.get("RequestId", "")
        cause = f"{told.get('Message', '')} (Service: {service}, Status Code: {status}, Request ID: {request})"
        passes = code in _THROTTLED or status >= _SERVER_ERROR
        raise (NotAnswered if passes else TaskError)(f"{service}.{name}", cause) from error
    except (ConnectionError, HTTPClientError, *renewals) as error:
        raise NotAnswered(f"{service}.SdkClientException", str(error)) from error
    except BotoCoreError as error:
        # Wrong parameters, or nobody's credentials: the same question has the same answer.
        raise TaskError(f"{service}.SdkClientException", str(error)) from error
    answer.pop("ResponseMetadata", None)
    return from_wire(answer)


def is_throttled(error: TaskError) -> bool:
    """Tell whether the service may answer the same question later."""
    return isinstance(error, NotAnswered) or error.error.rpartition(".")[2] in _THROTTLED


def from_wire(value: Any) -> Any:
    """Write a value of boto3's as JSON."""
    if isinstance(value, dict):
        return {name[:1].upper() + name[1:]: from_wire(one) for name, one in value.items()}
    if isinstance(value, list):
        return [from_wire(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if hasattr(value, "read"):
        return value.read().decode("utf-8", "replace")
    return value


def _to_wire(value: Any, shape: Any) -> Any:
    """Give members the names that boto3 has: SDKs for Java begin them with a capital letter."""
    kind = getattr(shape, "type_name", None)
    if kind == "structure" and isinstance(value, dict):
        names = {name.lower(): name for name in shape.members}
        known = {names.get(name.lower(), name): one for name, one in value.items()}
        return {name: _to_wire(one, shape.members.get(name)) for name, one in known.items()}
    if kind == "list" and isinstance(value, list):
        return [_to_wire(one, shape.member) for one in value]
    if kind == "map" and isinstance(value, dict):
        return {name: _to_wire(one, shape.value) for name, one in value.items()}
    if kind == "blob" and not isinstance(value, str | bytes):
        import json  # noqa: PLC0415 - seldom

        return json.dumps(value).encode()
    return value


def _operation(action: str) -> str:
    return action[:1].upper() + action[1:]


def _no_operation(sdk: str, action: str) -> str:
    return f"aws-sdk:{sdk} has no operation {action!r}"


@functools.cache
def _loader() -> Any:
    """Give what keeps the models of services that are called."""
    return _new_loader()


def _new_loader() -> Any:
    from botocore.loaders import Loader  # noqa: PLC0415 - an extra

    return Loader()


@functools.cache
def _service(sdk: str) -> str:
    """Find boto3's name of a service by that of the SDK for Java: `sfn` is `stepfunctions`."""
    loader = _loader()
    names = loader.list_available_services("service-2")
    # Most have one name. Reading all models takes seconds, so that it is done for what is seldom called alone.
    known = [sdk, NAMES.get(sdk, sdk), *(name for name in names if name.replace("-", "") == sdk.lower())]
    for name in [one for one in known if one in names] + names:
        # All models together are more than a gigabyte: those that are only looked through are not kept.
        keeper = loader if name in known else _new_loader()
        about = keeper.load_service_model(name, "service-2")["metadata"]
        if re.sub(r"[^a-z0-9]", "", about.get("serviceId", "").lower()) == sdk.lower():
            return str(name)
    raise TaskError("States.Runtime", f"boto3 knows no service of the SDK for Java by the name {sdk!r}")
