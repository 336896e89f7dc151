"""Functions, their versions, aliases, layers and URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forebay._model import limits, names
from forebay._model.asynchronous import AsynchronousSettings
from forebay._sam.intrinsics import plain
from forebay._stacks.kind import (
    Kind,
    Properties,
    Request,
    described,
    flag,
    function_of,
    number,
    recipient,
    words,
)
from forebay._stacks.messaging import NOT_ENCRYPTED, TAGS
from forebay._wire import asynchronous as wire_asynchronous
from forebay._wire import gateway as wire_gateway
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forebay._sam.plan import Resource, World
    from forebay._stacks.proxies import Attachment

ARTIFACTS: Final = "forebay-artifacts"
"""The bucket that stands for the store's own directory of code."""
_PYTHON: Final = re.compile(r"python3\.\d+")
_PROVIDED: Final = re.compile(r"provided(\.al2|\.al2023)?")
_KEY: Final = re.compile(r"(?:inline-)?[0-9a-f]{32}")
"""Keys of code, as `Artifacts` makes them: each is the name of a directory."""
TIMEOUT_SECONDS: Final = 3
_HANDLED_BY_REST: Final = "roles and policies are kept and not evaluated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Where code stands: a directory of the store, by its key; or a text that becomes `index.py`."""

    key: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """A function, or a version of one, as it is to run. Secrets in it are marks."""

    name: str
    version: str
    handler: str | None
    runtime: str
    code: Code
    layers: tuple[str, ...]
    variables: dict[str, str]
    timeout: int
    memory: int
    reserved: int | None
    provisioned: int
    asynchronous: dict[str, Any] = field(hash=False)
    attachments: tuple[Attachment, ...] = ()
    conceals: tuple[str, ...] = ()
    """Values of secrets that it gets, where they are revealed."""

    @property
    def qualified(self) -> str:
        """The name that the engine knows it by."""
        return self.name if self.version == names.LATEST else f"{self.name}:{self.version}"


def deployed(
    resource: Resource,
    version: str,
    properties: Properties,
    *,
    invoke: Properties,
    layers: Mapping[str, str],
    provisioned: int,
    attachments: tuple[Attachment, ...] = (),
) -> Deployed:
    """Read a function.

    Args:
        resource: the function, or the version.
        version: its number, or `$LATEST`.
        properties: of the function, as they were when the version was published.
        invoke: how it is invoked asynchronously (AWS::Lambda::EventInvokeConfig).
        layers: keys of the code of layers, by their ARNs.
        provisioned: places that are ready at once.
        attachments: what it needs from outside.

    """
    is_latest = version == names.LATEST
    return Deployed(
        name=resource.physical.split(":")[0],
        version=version,
        handler=properties.get("Handler"),
        runtime=str(properties.get("Runtime")),
        code=code(properties.get("Code") or {}),
        layers=tuple(layers[arn] for arn in properties.get("Layers", []) if arn in layers),
        variables=variables(properties),
        timeout=number(properties, "Timeout", TIMEOUT_SECONDS),
        memory=number(properties, "MemorySize", limits.MEMORY_MEBIBYTES_DEFAULT),
        reserved=number(properties, "ReservedConcurrentExecutions") if is_latest else None,
        provisioned=provisioned,
        asynchronous=asynchronous(properties, invoke),
        attachments=attachments,
    )


def variables(properties: Properties) -> dict[str, str]:
    """Read a function's environment."""
    given = (properties.get("Environment") or {}).get("Variables") or {}
    return {str(name): plain(value) for name, value in given.items()}


def code(given: Properties) -> Code:
    """Read where code stands.

    Raises:
        InvalidParameterValue: it is nowhere in the store.

    """
    if "ZipFile" in given:
        return Code(text=str(given["ZipFile"]))
    if given.get("S3Bucket") != ARTIFACTS or not _KEY.fullmatch(str(given.get("S3Key"))):
        raise InvalidParameterValue(
            f"Code: {given.get('S3Bucket')}/{given.get('S3Key')} is not code of this store: give a directory or a zip file "
            "beside the template, and deploy with `forebay deploy`"
        )
    return Code(key=str(given["S3Key"]))


def asynchronous(properties: Properties, invoke: Properties) -> dict[str, Any]:
    """Give how a function is invoked asynchronously, as the engine takes it."""
    told: dict[str, str] = {}
    dead_letter = (properties.get("DeadLetterConfig") or {}).get("TargetArn")
    if dead_letter is not None:
        told["dead_letter_queue"] = _destination("DeadLetterConfig", dead_letter)
    for key, option in (("OnSuccess", "on_success"), ("OnFailure", "on_failure")):
        target = ((invoke.get("DestinationConfig") or {}).get(key) or {}).get("Destination")
        if target is not None:
            told[option] = _destination(key, target)
    given = {}
    if "MaximumRetryAttempts" in invoke:
        given["maximum_retry_attempts"] = number(invoke, "MaximumRetryAttempts")
    if "MaximumEventAgeInSeconds" in invoke:
        given["maximum_event_age"] = number(invoke, "MaximumEventAgeInSeconds")
    return wire_asynchronous.settings(AsynchronousSettings(**given), told)


def _destination(where: str, arn: Any) -> str:
    kind, name = recipient(arn)
    if kind not in {"queue", "topic", "function"}:
        raise InvalidParameterValue(f"{where}: a destination is a queue, a topic or a function")
    return f"{kind}:{name}"


def _function_check(properties: Properties) -> Iterable[tuple[str, str]]:
    runtime = properties.get("Runtime")
    if properties.get("PackageType", "Zip") != "Zip":
        yield "PackageType", "images are not run: give the code as a directory"
    elif isinstance(runtime, str) and not _PYTHON.fullmatch(runtime) and not _PROVIDED.fullmatch(runtime):
        yield "Runtime", f"{runtime} is not run here: python3.x and provided (a program named bootstrap) are"
    elif runtime is None:
        yield "Runtime", "it is needed"
    if isinstance(runtime, str) and _PYTHON.fullmatch(runtime) and "Handler" not in properties:
        yield "Handler", "it is needed"


def _function_given(name: str, properties: Properties, world: World, others: Mapping[str, Resource]) -> dict[str, Any]:
    names.function_name(name)
    low, high = limits.MEMORY_MEBIBYTES_MIN, limits.MEMORY_MEBIBYTES_MAX
    if not low <= number(properties, "MemorySize", limits.MEMORY_MEBIBYTES_DEFAULT) <= high:
        raise InvalidParameterValue(f"MemorySize: allowed are {low} to {high} MiB")
    if not 1 <= number(properties, "Timeout", TIMEOUT_SECONDS) <= limits.TIMEOUT_SECONDS_MAX:
        raise InvalidParameterValue(f"Timeout: allowed are 1 to {limits.TIMEOUT_SECONDS_MAX:g} seconds")
    code(properties.get("Code") or {})
    asynchronous(properties, {})
    _check_runtime(properties)
    _check_variables(properties)
    _check_layers(properties, others)
    return {"Ref": name, "Arn": names.function_arn(world.region, world.account, name)}


def _check_runtime(properties: Properties) -> None:
    """Look again: a runtime may be a parameter."""
    for key, why in _function_check(properties):
        raise InvalidParameterValue(f"{key}: {why}")


def _check_variables(properties: Properties) -> None:
    for key, value in ((properties.get("Environment") or {}).get("Variables") or {}).items():
        if value is None or isinstance(value, dict | list):
            raise InvalidParameterValue(f"Environment.Variables.{key}: a variable is a text")


def _check_layers(properties: Properties, others: Mapping[str, Resource]) -> None:
    """Refuse layers that are not here: without one a function's code would not be whole."""
    here = {one.attributes["Ref"] for one in others.values() if one.type == LAYER.type}
    for arn in properties.get("Layers") or ():
        if arn not in here:
            raise InvalidParameterValue(
                f"Layers: {str(arn)[:200]!r} is not a layer of this stack: declare it as AWS::Serverless::LayerVersion, or have "
                "its packages in requirements.txt"
            )


FUNCTION: Final = Kind(
    type="AWS::Lambda::Function",
    becomes="a function in processes",
    honoured=words(
        "FunctionName Handler Runtime Code Timeout MemorySize Environment Layers DeadLetterConfig ReservedConcurrentExecutions "
        "PackageType"
    ),
    inert={
        **TAGS,
        "Description": "",
        "Role": "",
        "Architectures": "",
        "TracingConfig": "traces go where the app sends them",
        "KmsKeyArn": NOT_ENCRYPTED,
        "VpcConfig": "a function reaches what this machine reaches",
        "EphemeralStorage": "a function has the machine's temporary directory",
        "SnapStart": "there are no snapshots: provision concurrency",
        "LoggingConfig": "functions log where the app logs",
        "RuntimeManagementConfig": "the interpreter is this machine's",
        "RecursiveLoop": "the app's own limit holds",
    },
    refused={
        "ImageConfig": "images are not run",
        "FileSystemConfigs": "file systems are not mounted: a function reaches the machine's own",
        "CodeSigningConfigArn": "signatures of code are not verified",
        "DurableConfig": "durable functions are not served: use a state machine",
        "TenancyConfig": "tenants are not kept apart",
        "CapacityProviderConfig": "there are no capacity providers",
        "FunctionScalingConfig": "there are no capacity providers",
    },
    fixed=words("FunctionName PackageType"),
    name="FunctionName",
    describe=described("function"),
    check=_function_check,
    given=_function_given,
)


def _version_name(_stack: str, _logical: str, properties: Properties, world: World) -> str:
    function = function_of(properties.get("FunctionName"))
    return f"{function}:{world.version(function)}"


def _version_given(
    physical: str, properties: Properties, world: World, others: Mapping[str, Resource]
) -> dict[str, Any]:
    function, _, version = physical.partition(":")
    of = next((one for one in others.values() if one.type == FUNCTION.type and one.physical == function), None)
    if of is None:
        raise InvalidParameterValue(f"FunctionName: {properties.get('FunctionName')!r} is not a function of this stack")
    arn = f"{names.function_arn(world.region, world.account, function)}:{version}"
    return {"Ref": arn, "FunctionArn": arn, "Version": version, "$published": dict(of.properties)}


VERSION: Final = Kind(
    type="AWS::Lambda::Version",
    becomes="a published version",
    honoured=words("FunctionName ProvisionedConcurrencyConfig"),
    inert={"Description": "", "CodeSha256": "", "RuntimePolicy": "the interpreter is this machine's"},
    fixed=words("FunctionName Description CodeSha256"),
    naming=_version_name,
    is_snapshot=True,
    given=_version_given,
)


def _alias_name(_stack: str, _logical: str, properties: Properties, _world: World) -> str:
    return f"{function_of(properties.get('FunctionName'))}:{properties.get('Name')}"


def _alias_given(
    physical: str, _properties: Properties, world: World, _others: Mapping[str, Resource]
) -> dict[str, Any]:
    function, _, name = physical.partition(":")
    arn = f"{names.function_arn(world.region, world.account, function)}:{name}"
    return {"Ref": arn, "AliasArn": arn}


def alias(resource: Resource) -> Request:
    """Give the request that declares an alias."""
    properties = resource.properties
    function, _, name = resource.physical.partition(":")
    shares = (properties.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or []
    return Request(
        "alias.declare",
        {
            "function": function,
            "name": name,
            "version": str(properties.get("FunctionVersion")),
            "weights": {str(one["FunctionVersion"]): float(one["FunctionWeight"]) for one in shares},
            "provisioned_concurrency": provisioned(properties),
        },
    )


def provisioned(properties: Properties) -> int:
    """Give how many places are ready at once."""
    asked = properties.get("ProvisionedConcurrencyConfig") or {}
    return int(number(asked, "ProvisionedConcurrentExecutions", 0))


ALIAS: Final = Kind(
    type="AWS::Lambda::Alias",
    becomes="an alias",
    honoured=words("FunctionName FunctionVersion Name RoutingConfig ProvisionedConcurrencyConfig"),
    inert={"Description": ""},
    fixed=words("FunctionName Name"),
    naming=_alias_name,
    given=_alias_given,
)


def _layer_name(stack: str, logical: str, properties: Properties, world: World) -> str:
    name = str(properties.get("LayerName") or f"{stack}-{logical}")
    return f"{name}:{world.version(f'layer:{name}')}"


def _layer_given(
    physical: str, properties: Properties, world: World, _others: Mapping[str, Resource]
) -> dict[str, Any]:
    key = code(properties.get("Content") or {}).key
    arn = f"arn:aws:lambda:{world.region}:{world.account}:layer:{physical}"
    return {"Ref": arn, "LayerVersionArn": arn, "$code": key}


LAYER: Final = Kind(
    type="AWS::Lambda::LayerVersion",
    becomes="a directory on PYTHONPATH, PATH and LD_LIBRARY_PATH",
    honoured=words("Content LayerName"),
    inert={"CompatibleRuntimes": "", "CompatibleArchitectures": "", "Description": "", "LicenseInfo": ""},
    fixed=words("Content LayerName CompatibleRuntimes CompatibleArchitectures Description LicenseInfo"),
    naming=_layer_name,
    given=_layer_given,
)


def _config_name(_stack: str, _logical: str, properties: Properties, _world: World) -> str:
    return f"{function_of(properties.get('FunctionName'))}:{properties.get('Qualifier')}"


def _config_given(
    physical: str, properties: Properties, _world: World, _others: Mapping[str, Resource]
) -> dict[str, Any]:
    asynchronous({}, properties)
    return {"Ref": physical}


INVOKE_CONFIG: Final = Kind(
    type="AWS::Lambda::EventInvokeConfig",
    becomes="how a function is invoked asynchronously",
    honoured=words("FunctionName Qualifier MaximumRetryAttempts MaximumEventAgeInSeconds DestinationConfig"),
    fixed=words("FunctionName Qualifier"),
    naming=_config_name,
    given=_config_given,
)


def _url_name(_stack: str, _logical: str, properties: Properties, _world: World) -> str:
    return f"{function_of(properties.get('TargetFunctionArn'))}:url"


def _url_given(physical: str, _properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    function = physical.split(":", maxsplit=1)[0]
    arn = names.function_arn(world.region, world.account, function)
    return {"Ref": arn, "FunctionArn": arn, "FunctionUrl": f"https://{function}.lambda-url.{world.region}.localhost/"}


def _url_check(properties: Properties) -> Iterable[tuple[str, str]]:
    if properties.get("AuthType", "NONE") != "NONE":
        yield "AuthType", "only NONE is served: put an HTTP API with an authorizer before the function"
    if properties.get("InvokeMode", "BUFFERED") != "BUFFERED":
        yield "InvokeMode", "only BUFFERED is served"


def url(resource: Resource) -> Request:
    """Give the request that declares a function's URL."""
    function, cors = resource.physical.split(":")[0], resource.properties.get("Cors")
    definition = wire_gateway.function_url(function, None)
    definition["cors"] = None if cors is None else cors_of(cors)
    return Request("api.declare", {"definition": definition})


def cors_of(given: Properties) -> dict[str, Any]:
    """Read what pages of other origins may do; AWS writes it with small and with large letters."""
    said = {key[0].upper() + key[1:]: value for key, value in given.items()}

    def texts(key: str) -> list[str]:
        value = said.get(key) or []
        return value.split(",") if isinstance(value, str) else [str(one) for one in value]

    age = said.get("MaxAge")
    return {
        "allow_origins": texts("AllowOrigins"),
        "allow_methods": texts("AllowMethods") or ["*"],
        "allow_headers": texts("AllowHeaders"),
        "expose_headers": texts("ExposeHeaders"),
        "allow_credentials": flag(said.get("AllowCredentials", False)),
        "max_age": None if age is None else int(age),
    }


URL: Final = Kind(
    type="AWS::Lambda::Url",
    becomes="a URL of the function",
    honoured=words("TargetFunctionArn AuthType Cors InvokeMode"),
    inert={"Qualifier": "the URL runs the function's own code"},
    fixed=words("TargetFunctionArn"),
    naming=_url_name,
    check=_url_check,
    given=_url_given,
)
KINDS: Final = (FUNCTION, VERSION, ALIAS, LAYER, INVOKE_CONFIG, URL)
