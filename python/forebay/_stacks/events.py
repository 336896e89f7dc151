"""Event buses, their rules and archives, schedules, registries of schemas, and state machines."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from forebay._model import names
from forebay._model.archive import ArchiveSettings
from forebay._model.bus import BusSettings, Recipient, RuleSettings, RuleTarget, ScheduleSettings, moment_ms
from forebay._model.registry import RegistrySettings
from forebay._model.workflow import WorkflowSettings
from forebay._sam.intrinsics import plain
from forebay._stacks.kind import (
    Kind,
    Properties,
    Request,
    arn_name,
    deleted,
    described,
    flag,
    number,
    recipient,
    words,
)
from forebay._stacks.messaging import NOT_ENCRYPTED, POLICY, ROLE, TAGS
from forebay._wire import bus as wire_bus
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forebay._sam.plan import Resource, World

_SUBSTITUTION: Final = re.compile(r"\$\{([A-Za-z0-9_-]+)\}")
_OF_SCHEDULE: Final = words("Arn DeadLetterConfig Input KinesisParameters RetryPolicy RoleArn SqsParameters")
_OF_RULE: Final = _OF_SCHEDULE | words("Id InputPath InputTransformer")
"""What targets may have."""


def _bus_name(value: Any) -> str:
    text = str(value or "default")
    return recipient(text)[1] if text.startswith("arn:") else text


def _bus_given(name: str, _properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    BusSettings(name=name)
    return {"Ref": name, "Name": name, "Arn": names.bus_arn(world.region, world.account, name)}


BUS: Final = Kind(
    type="AWS::Events::EventBus",
    becomes="an event bus",
    honoured=words("Name"),
    inert={
        **TAGS,
        "Description": "",
        "Policy": POLICY,
        "KmsKeyIdentifier": NOT_ENCRYPTED,
        "LogConfig": "buses log where the app logs",
    },
    refused={"EventSourceName": "there are no partners", "DeadLetterConfig": "give a target its dead-letter queue"},
    fixed=words("Name"),
    name="Name",
    longest=256,
    describe=described("bus"),
    given=_bus_given,
    put=lambda resource, _before, _world: [Request("bus.declare", {"name": resource.physical})],
    gone=deleted("bus"),
)


def _check_target(given: Properties, allowed: frozenset[str]) -> None:
    unknown = sorted(set(given) - allowed)
    if unknown:
        raise InvalidParameterValue(f"Target: {', '.join(unknown)} is not served")


def _retry(given: Properties) -> dict[str, Any]:
    """Read for how long, and how often, a target is given an event again."""
    policy, found = given.get("RetryPolicy") or {}, {}
    if "MaximumRetryAttempts" in policy:
        found["maximum_retry_attempts"] = number(policy, "MaximumRetryAttempts")
    if "MaximumEventAgeInSeconds" in policy:
        found["maximum_event_age"] = number(policy, "MaximumEventAgeInSeconds")
    return found


def _put_schedule(one: ScheduleSettings, target: Properties) -> Request:
    fields, retry = wire_bus.schedule(one), _retry(target)
    if "maximum_retry_attempts" in retry:
        fields["maximum_retry_attempts"] = retry["maximum_retry_attempts"]
    if "maximum_event_age" in retry:
        fields["maximum_event_age_ms"] = retry["maximum_event_age"] * 1000
    return Request("schedule.put", fields)


def _rule_target(given: Properties) -> RuleTarget:
    kind, name = recipient(given.get("Arn"))
    group = (given.get("SqsParameters") or {}).get("MessageGroupId")
    more: dict[str, Any] = {}
    transformer = given.get("InputTransformer")
    if transformer is not None:
        paths = tuple((str(key), str(path)) for key, path in (transformer.get("InputPathsMap") or {}).items())
        more["input_transformer"] = (paths, str(transformer.get("InputTemplate")))
    dead_letter = (given.get("DeadLetterConfig") or {}).get("Arn")
    return RuleTarget(
        **_retry(given),
        id=str(given.get("Id")),
        to=Recipient(kind=kind, name=name, group_id=group),
        partition_key_path=(given.get("KinesisParameters") or {}).get("PartitionKeyPath"),
        input=given.get("Input"),
        input_path=given.get("InputPath"),
        dead_letter_queue=None if dead_letter is None else arn_name(dead_letter, "sqs", "DeadLetterConfig.Arn"),
        **more,
    )


def _rule(name: str, properties: Properties) -> RuleSettings:
    pattern = properties.get("EventPattern")
    rule = RuleSettings(
        bus=_bus_name(properties.get("EventBusName")),
        name=name,
        pattern=pattern if isinstance(pattern, str) else json.dumps(pattern),
        targets=tuple(_rule_target(one) for one in properties.get("Targets") or []),
        description=str(properties.get("Description", "")),
        enabled=properties.get("State", "ENABLED") != "DISABLED",
    )
    wire_bus.check_rule(rule)
    return rule


def _schedules_of_rule(name: str, properties: Properties) -> list[ScheduleSettings]:
    """Read a rule with a schedule: a schedule for each of its targets."""
    targets = properties.get("Targets") or []
    schedules = []
    for at, given in enumerate(targets):
        target = _rule_target(given)
        if target.input_path is not None or target.input_transformer is not None:
            raise InvalidParameterValue("Targets: a rule with a schedule gives its event, or Input")
        schedules.append(
            ScheduleSettings(
                name=name if len(targets) == 1 else f"{name[:60]}-{at}",
                expression=str(properties["ScheduleExpression"]),
                to=target.to,
                input=target.input,
                dead_letter_queue=target.dead_letter_queue,
                enabled=properties.get("State", "ENABLED") != "DISABLED",
            )
        )
    return schedules


def _rule_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    for target in properties.get("Targets") or []:
        _check_target(target, _OF_RULE)
    if "ScheduleExpression" in properties:
        _schedules_of_rule(name, properties)
    else:
        _rule(name, properties)
    bus = _bus_name(properties.get("EventBusName"))
    path = name if bus == "default" else f"{bus}/{name}"
    return {"Ref": name, "Arn": f"arn:aws:events:{world.region}:{world.account}:rule/{path}"}


def _rule_put(resource: Resource, before: Resource | None, _world: World) -> list[Request]:
    if "ScheduleExpression" in resource.properties:
        schedules = _schedules_of_rule(resource.physical, resource.properties)
        targets = resource.properties.get("Targets") or []
        wanted = [_put_schedule(one, target) for one, target in zip(schedules, targets, strict=True)]
    else:
        wanted = [Request("rule.put", wire_bus.rule(_rule(resource.physical, resource.properties)))]
    kept = {(one.verb.split(".")[0], one.fields["name"]) for one in wanted}
    old = _rule_gone(before) if before is not None else []
    return [*wanted, *(one for one in old if (one.verb.split(".")[0], one.fields["name"]) not in kept)]


def _rule_gone(resource: Resource) -> list[Request]:
    if "ScheduleExpression" in resource.properties:
        schedules = _schedules_of_rule(resource.physical, resource.properties)
        return [Request("schedule.delete", {"name": one.name}) for one in schedules]
    bus = _bus_name(resource.properties.get("EventBusName"))
    return [Request("rule.delete", {"bus": bus, "name": resource.physical})]


def _rule_described(resource: Resource) -> Request:
    if "ScheduleExpression" in resource.properties:
        return Request("schedule.describe", {"name": resource.physical})
    return Request(
        "rule.describe", {"bus": _bus_name(resource.properties.get("EventBusName")), "name": resource.physical}
    )


def _rule_check(properties: Properties) -> Iterable[tuple[str, str]]:
    if ("EventPattern" in properties) == ("ScheduleExpression" in properties):
        yield "EventPattern", "a rule has a pattern or a schedule, and not both"


RULE: Final = Kind(
    type="AWS::Events::Rule",
    becomes="a rule of a bus; with a schedule, a schedule for each target",
    honoured=words("Name EventBusName EventPattern ScheduleExpression State Targets Description"),
    inert={**TAGS, "RoleArn": ROLE},
    fixed=words("Name EventBusName"),
    within=lambda properties: _bus_name(properties.get("EventBusName")),
    name="Name",
    describe=_rule_described,
    check=_rule_check,
    given=_rule_given,
    put=_rule_put,
    gone=_rule_gone,
)


def _archive(name: str, properties: Properties) -> ArchiveSettings:
    pattern = properties.get("EventPattern")
    days = number(properties, "RetentionDays", 0)
    return ArchiveSettings(
        name=name,
        bus=_bus_name(properties.get("SourceArn")),
        pattern=pattern if pattern is None or isinstance(pattern, str) else json.dumps(pattern),
        retention=days * 86_400 if days else None,
        description=str(properties.get("Description", "")),
    )


def _archive_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    _archive(name, properties)
    return {"Ref": name, "Arn": f"arn:aws:events:{world.region}:{world.account}:archive/{name}"}


ARCHIVE: Final = Kind(
    type="AWS::Events::Archive",
    becomes="an archive of a bus",
    honoured=words("ArchiveName SourceArn EventPattern RetentionDays Description"),
    inert={"KmsKeyIdentifier": NOT_ENCRYPTED},
    fixed=words("ArchiveName SourceArn"),
    name="ArchiveName",
    longest=48,
    describe=described("archive"),
    given=_archive_given,
    put=lambda one, _before, _world: [Request("archive.put", wire_bus.archive(_archive(one.physical, one.properties)))],
    gone=deleted("archive"),
)


def _moment(option: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        return moment_ms(option, datetime.fromisoformat(str(value)))
    except ValueError as error:
        raise InvalidParameterValue(f"{option}: {value!r}: {error}") from None


def _schedule(name: str, properties: Properties) -> ScheduleSettings:
    target = properties.get("Target") or {}
    kind, to = recipient(target.get("Arn"))
    window = properties.get("FlexibleTimeWindow") or {}
    flexible = number(window, "MaximumWindowInMinutes", 0) if window.get("Mode") == "FLEXIBLE" else 0
    dead_letter = (target.get("DeadLetterConfig") or {}).get("Arn")
    group = (target.get("SqsParameters") or {}).get("MessageGroupId")
    return ScheduleSettings(
        name=name,
        expression=str(properties.get("ScheduleExpression")),
        to=Recipient(kind=kind, name=to, group_id=group),
        timezone=str(properties.get("ScheduleExpressionTimezone", "UTC")),
        flexible_minutes=flexible,
        start_ms=_moment("StartDate", properties.get("StartDate")),
        end_ms=_moment("EndDate", properties.get("EndDate")),
        input=target.get("Input"),
        dead_letter_queue=None if dead_letter is None else arn_name(dead_letter, "sqs", "DeadLetterConfig.Arn"),
        enabled=properties.get("State", "ENABLED") != "DISABLED",
    )


def _schedule_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    target = properties.get("Target") or {}
    _check_target(target, _OF_SCHEDULE)
    RuleTarget(id=name, to=_schedule(name, properties).to, **_retry(target))  # the limits are the same
    return {"Ref": name, "Arn": f"arn:aws:scheduler:{world.region}:{world.account}:schedule/default/{name}"}


def _schedule_check(properties: Properties) -> Iterable[tuple[str, str]]:
    if properties.get("GroupName", "default") != "default":
        yield "GroupName", "schedules are of the group default"


SCHEDULE: Final = Kind(
    type="AWS::Scheduler::Schedule",
    becomes="a schedule",
    honoured=words(
        "Name ScheduleExpression ScheduleExpressionTimezone FlexibleTimeWindow StartDate EndDate State Target GroupName"
    ),
    inert={"Description": "", "KmsKeyArn": NOT_ENCRYPTED},
    fixed=words("Name"),
    name="Name",
    describe=described("schedule"),
    check=_schedule_check,
    given=_schedule_given,
    put=lambda one, _before, _world: [
        _put_schedule(_schedule(one.physical, one.properties), one.properties.get("Target") or {})
    ],
    gone=deleted("schedule"),
)


def _registry_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    RegistrySettings(name=name, description=properties.get("Description"))
    arn = names.registry_arn(world.region, world.account, name)
    return {"Ref": arn, "RegistryArn": arn, "RegistryName": name}


REGISTRY: Final = Kind(
    type="AWS::EventSchemas::Registry",
    becomes="a registry of schemas",
    honoured=words("RegistryName Description"),
    inert=TAGS,
    fixed=words("RegistryName"),
    name="RegistryName",
    describe=described("registry"),
    given=_registry_given,
    put=lambda one, _before, _world: [
        Request("registry.put", {"name": one.physical, "description": one.properties.get("Description")})
    ],
    gone=deleted("registry"),
)


def _in_registry(resource: Resource) -> tuple[str, str]:
    return _registry_of(resource.properties), resource.physical


def _registry_of(properties: Properties) -> str:
    return str(properties.get("RegistryName")).rsplit("/", 1)[-1]


def _schema_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    registry = _registry_of(properties)
    arn = f"arn:aws:schemas:{world.region}:{world.account}:schema/{registry}/{name}"
    return {"Ref": arn, "SchemaArn": arn, "SchemaName": name, "SchemaVersion": "1"}


def _schema_put(resource: Resource, _before: Resource | None, _world: World) -> list[Request]:
    registry, name = _in_registry(resource)
    given = resource.properties
    fields = {
        "registry": registry,
        "name": name,
        "schema_type": given.get("Type"),
        "content": given.get("Content"),
        "description": given.get("Description"),
    }
    return [Request("schema.put", fields)]


def _schema_gone(resource: Resource) -> list[Request]:
    registry, name = _in_registry(resource)
    return [Request("schema.delete", {"registry": registry, "name": name})]


SCHEMA: Final = Kind(
    type="AWS::EventSchemas::Schema",
    becomes="a schema of a registry",
    honoured=words("RegistryName SchemaName Type Content Description"),
    inert=TAGS,
    fixed=words("RegistryName SchemaName Type"),
    within=_registry_of,
    name="SchemaName",
    longest=385,
    describe=lambda one: Request("schema.describe", dict(zip(("registry", "name"), _in_registry(one), strict=True))),
    given=_schema_given,
    put=_schema_put,
    gone=_schema_gone,
)


def _discoverer_name(_stack: str, _logical: str, properties: Properties, _world: World) -> str:
    return _bus_name(properties.get("SourceArn"))


def _discover(resource: Resource, *, on: bool) -> list[Request]:
    return [Request("bus.declare", {"name": resource.physical, "discovery": on})]


DISCOVERER: Final = Kind(
    type="AWS::EventSchemas::Discoverer",
    becomes="discovery of the schemas of a bus",
    honoured=words("SourceArn"),
    inert={**TAGS, "Description": "", "CrossAccount": "an app is one account"},
    fixed=words("SourceArn"),
    naming=_discoverer_name,
    put=lambda resource, _before, _world: _discover(resource, on=True),
    gone=lambda resource: _discover(resource, on=False),
)


def _workflow(name: str, properties: Properties) -> WorkflowSettings:
    text = properties.get("DefinitionString")
    if text is None:
        text = json.dumps(properties.get("Definition"))
    substitutions = properties.get("DefinitionSubstitutions") or {}

    def put_in(found: re.Match[str]) -> str:
        value = substitutions.get(found[1])
        return found[0] if value is None else json.dumps(plain(value), ensure_ascii=False)[1:-1]

    logging = properties.get("LoggingConfiguration") or {}
    kind = properties.get("StateMachineType", "STANDARD")
    is_express = kind == "EXPRESS"
    return WorkflowSettings(
        name=name,
        definition=_SUBSTITUTION.sub(put_in, str(text)),
        type=kind,
        log_level=logging.get("Level", "OFF") if is_express else "OFF",
        include_execution_data=is_express and flag(logging.get("IncludeExecutionData", False)),
    )


def _workflow_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    _workflow(name, properties)
    arn = names.workflow_arn(world.region, world.account, name)
    return {"Ref": arn, "Arn": arn, "Name": name}


WORKFLOW: Final = Kind(
    type="AWS::StepFunctions::StateMachine",
    becomes="a workflow",
    honoured=words(
        "StateMachineName StateMachineType DefinitionString Definition DefinitionSubstitutions LoggingConfiguration"
    ),
    inert={**TAGS, "RoleArn": "", "TracingConfiguration": "", "EncryptionConfiguration": NOT_ENCRYPTED},
    refused={"DefinitionS3Location": "give the definition in the template, or DefinitionUri as a file beside it"},
    fixed=words("StateMachineName StateMachineType"),
    name="StateMachineName",
    longest=80,
    describe=described("workflow"),
    given=_workflow_given,
    put=lambda one, _before, _world: [Request("workflow.declare", asdict(_workflow(one.physical, one.properties)))],
    gone=deleted("workflow"),
)


def _activity_given(
    name: str, _properties: Properties, world: World, _others: Mapping[str, Resource]
) -> dict[str, Any]:
    arn = names.activity_arn(world.region, world.account, name)
    return {"Ref": arn, "Arn": arn, "Name": name}


ACTIVITY: Final = Kind(
    type="AWS::StepFunctions::Activity",
    becomes="an activity",
    honoured=words("Name"),
    inert={**TAGS, "EncryptionConfiguration": NOT_ENCRYPTED},
    fixed=words("Name"),
    name="Name",
    longest=80,
    describe=described("activity"),
    given=_activity_given,
    put=lambda one, _before, _world: [Request("activity.declare", {"name": one.physical})],
    gone=deleted("activity"),
)
KINDS: Final = (BUS, RULE, ARCHIVE, SCHEDULE, REGISTRY, SCHEMA, DISCOVERER, WORKFLOW, ACTIVITY)
