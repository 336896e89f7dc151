"""What a deploy does: the template, its parameters and what is there go in, and a list of steps comes out. It changes nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from forebay._sam import form, intrinsics, secret
from forebay._sam.errors import TemplateRefused
from forebay._sam.intrinsics import Scope
from forebay._sam.stored import Stored
from forebay._sam.unserved import UNSERVED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from forebay._sam.parameters import Parameters

MALFORMED: Final = (AttributeError, KeyError, TypeError, IndexError)
"""What reading a text as a mapping, or the other way round, ends in."""
_WITHOUT_EFFECT: Final = {
    "CreationPolicy": "nothing waits for signals: a resource is complete when it is there",
    "UpdatePolicy": "a change is made at once",
}
"""Attributes of resources that have no effect, and why. Metadata has none on AWS either."""
_ATTRIBUTES: Final = frozenset(
    {
        *("Type", "Properties", "Condition", "DependsOn", "DeletionPolicy", "UpdateReplacePolicy"),
        *("Metadata", "Connectors", "IgnoreGlobals", *_WITHOUT_EFFECT),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Where a stack is deployed.

    Attributes:
        app: name of the app whose store it is.
        region: region of its ARNs.
        account: account of its ARNs.
        aws: where AWS's API is: URLs of queues begin so.
        suffix: gives the end of a new resource's name; another one each time.
        version: gives the next number of a function that publishes a version.
        taken: the stacks of other stacks' resources, by their identities.
        exports: outputs of other stacks, by their export names.
        exporters: the stacks that these are of.
        hidden_exports: those of them that are secret.
        parameters: values of other stacks' parameters (AWS::SSM::Parameter), by name.
        hidden_parameters: names of those that are secret.
        secrets: values of other stacks' secrets (AWS::SecretsManager::Secret), by name and by ARN.

    """

    app: str
    region: str
    account: str
    aws: str
    suffix: Callable[[], str]
    version: Callable[[str], int]
    taken: Mapping[tuple[str, str], str] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)
    exporters: Mapping[str, str] = field(default_factory=dict)
    hidden_exports: frozenset[str] = frozenset()
    parameters: Mapping[str, str] = field(default_factory=dict)
    hidden_parameters: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource as it is deployed. Secrets in it are marks."""

    logical: str
    type: str
    physical: str
    properties: dict[str, Any]
    attributes: dict[str, Any]
    """What `Fn::GetAtt` gives; `Ref` under that name."""
    keep_deleted: bool = False
    keep_replaced: bool = False
    keep_failed: bool = False
    """Whether it stays where the deploy that has made it is rolled back."""
    secrets: str = ""
    """A digest of the secrets that it uses: a change of them is a change of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change: `before` is None of what is added, `after` of what is removed."""

    logical: str
    before: Resource | None
    after: Resource | None

    @property
    def action(self) -> str:
        """AWS's word for it."""
        return "Add" if self.before is None else "Remove" if self.after is None else "Modify"

    @property
    def type(self) -> str:
        """The type of its resource."""
        one = self.after if self.after is not None else self.before
        return one.type if one is not None else ""

    @property
    def replaces(self) -> bool:
        """Whether the resource gets another physical id."""
        if self.before is None or self.after is None:
            return False
        return (self.before.type, self.before.physical) != (self.after.type, self.after.physical)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output of a stack."""

    key: str
    value: str
    description: str | None = None
    export: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A deploy that can be carried out.

    Attributes:
        steps: in order; what is removed comes last.
        resources: as they are afterwards, each behind those that it refers to.
        outputs: as they are afterwards.
        notes: what has no effect here, for people.
        secrets: values of the marks that were made of secrets which the template refers to.

    """

    steps: tuple[Step, ...]
    resources: dict[str, Resource]
    outputs: tuple[Output, ...]
    notes: tuple[str, ...]
    secrets: dict[str, str] = field(default_factory=dict)


class ResourceType(Protocol):
    """How resources of a type are named and referred to. What becomes of them is told elsewhere."""

    @property
    def fixed(self) -> frozenset[str]:
        """Properties that cannot be changed: another value is another resource."""

    @property
    def is_snapshot(self) -> bool:
        """Whether its attributes stay as they were when it was made."""

    def refusals(self, properties: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield each property that is not honoured, and why."""

    def notes(self, properties: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield each property that is taken and has no effect, and why."""

    def identity(self, physical: str, properties: Mapping[str, Any]) -> tuple[str, str]:
        """Give what no two resources have in common: the type, and the name with that of what it is a part of."""

    def own_name(self, properties: Mapping[str, Any]) -> str | None:
        """Give the name that the template gives it, if any."""

    def new_name(self, stack: str, logical: str, properties: Mapping[str, Any], world: World) -> str:
        """Give a name that no other resource has."""

    def attributes(
        self, physical: str, properties: Mapping[str, Any], world: World, others: Mapping[str, Resource]
    ) -> dict[str, Any]:
        """Give what the template can ask of it; `others` are the resources before it."""


def evaluate(
    stack: str,
    stack_id: str,
    body: Mapping[str, Any],
    *,
    parameters: Parameters,
    before: Mapping[str, Resource],
    world: World,
    types: Mapping[str, ResourceType],
) -> Plan:
    """Work out what a deploy does.

    Args:
        stack: its name.
        stack_id: its ARN.
        body: the template, expanded.
        parameters: what was read of them.
        before: the resources that are there, in the order in which they were made.
        world: where it is deployed.
        types: the types of resources that can be deployed.

    Raises:
        TemplateRefused: it cannot be deployed; every reason.

    """
    planner = _Planner(stack, stack_id, body, parameters=parameters, before=before, world=world, types=types)
    return planner.plan()


class _Planner:
    def __init__(
        self,
        stack: str,
        stack_id: str,
        body: Mapping[str, Any],
        *,
        parameters: Parameters,
        before: Mapping[str, Resource],
        world: World,
        types: Mapping[str, ResourceType],
    ) -> None:
        self._stack = stack
        self._body = body
        self._named: dict[tuple[str, str], str] = {}
        """Logical ids by what no two resources have in common."""
        self._parameters = parameters
        self._before = before
        self._world = world
        self._types = types
        self._done: dict[str, Resource] = {}
        self._notes: list[str] = []
        self._reasons: list[str] = []
        self._secrets: dict[str, str] = {}
        """Values of marks that are made here."""
        exports = dict(world.exports)
        for name in world.hidden_exports:
            self._secrets[f"import:{name}"] = world.exports[name]
            exports[name] = secret.mark(f"import:{name}")
        self._scope = Scope(
            values={**_pseudo(stack, stack_id, world.region, world.account), **parameters.values},
            mappings=_section(body, "Mappings"),
            conditions=_section(body, "Conditions"),
            secrets=parameters.secrets,
            exports=exports,
            resource=lambda name: self._done[name].attributes["Ref"] if name in self._done else None,
            attribute=lambda name, key: self._done[name].attributes.get(key) if name in self._done else None,
            stored=Stored(self._done, world, parameters.secrets, self._secrets).get,
        )

    def plan(self) -> Plan:
        wanted = self._wanted()
        references = self._references(wanted)
        for name in _in_order(wanted, references):
            # What refers to something that was refused is not told of: it may be right.
            if all(each in self._done for each in references[name]):
                self._take(name, wanted[name])
        self._refuse()
        outputs = self._outputs()
        self._refuse()
        steps = [
            Step(logical=name, before=self._before.get(name), after=one)
            for name, one in self._done.items()
            if self._before.get(name) != one
        ]
        gone = [one for name, one in reversed(list(self._before.items())) if name not in self._done]
        steps += [Step(logical=one.logical, before=one, after=None) for one in gone]
        return Plan(
            steps=tuple(steps),
            resources=self._done,
            outputs=outputs,
            notes=tuple(self._notes),
            secrets=self._used_secrets(outputs),
        )

    def _used_secrets(self, outputs: Iterable[Output]) -> dict[str, str]:
        """Give the values of those marks that stand in something."""
        if not self._secrets:
            return {}
        held = [[one.properties, one.attributes] for one in self._done.values()]
        return _used(self._secrets, [held, [one.value for one in outputs]])

    def _wanted(self) -> dict[str, dict[str, Any]]:
        """Give the resources whose conditions hold, and refuse what is not honoured: all of it at once."""
        resources = _section(self._body, "Resources")
        self._reasons += [*form.wrong_sections(self._body), *form.wrong_resources(resources)]
        self._refuse()
        wanted = {name: one for name, one in resources.items() if self._holds(one)}
        for name, one in wanted.items():
            kind = self._types.get(one["Type"])
            if kind is None:
                why = UNSERVED.get(one["Type"], "leave it out, or deploy with --skip-unsupported")
                if one["Type"].startswith("AWS::Serverless::"):
                    why = "the template has no `Transform: AWS::Serverless-2016-10-31`"
                self._reasons.append(f"{name}: {one['Type']} is not served: {why}")
                continue
            unknown = sorted(set(one) - _ATTRIBUTES)
            self._reasons += [f"{name}: Invalid template resource property '{key}'" for key in unknown]
            self._reasons += form.wrong_policies(name, one)
            properties = one.get("Properties") or {}
            if not isinstance(properties, dict):
                self._reasons.append(f"{name}: Properties is a mapping")
                continue
            known = self._known(properties)
            refused = self._try(lambda kind=kind, known=known: list(kind.refusals(known)), name)  # type: ignore[misc]
            self._reasons += [f"{name}.{key}: {why}" for key, why in refused or ()]
            self._notes += [f"{name}.{key}: {why}" for key, why in kind.notes(known)]
            self._notes += [f"{name}.{key}: {why}" for key, why in _WITHOUT_EFFECT.items() if key in one]
        self._refuse()
        return wanted

    def _holds(self, one: Mapping[str, Any]) -> bool:
        return bool(self._try(partial(self._scope.is_meant, one)))

    def _known(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Give properties as they are known before any resource is: what refers to one stays as it is."""
        known = {}
        for key, value in properties.items():
            try:
                found = self._scope.resolve(value)
            except (TemplateRefused, ValueError, *MALFORMED):  # told when its resource is planned
                found = value
            if found is not intrinsics.NO_VALUE:
                known[key] = found
        return known

    def _references(self, wanted: Mapping[str, dict[str, Any]]) -> dict[str, list[str]]:
        found = {name: self._try(partial(self._asked, one, wanted), name) for name, one in wanted.items()}
        self._refuse()
        return found

    def _asked(self, one: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
        depends = one.get("DependsOn", [])
        if not all(isinstance(each, str) for each in (depends if isinstance(depends, list) else [depends])):
            raise TemplateRefused(["Template format error: DependsOn must be a string or list of strings."])
        named = list(intrinsics.references(one.get("Properties") or {}, self._scope))
        asked = [*(depends if isinstance(depends, list) else [depends]), *named]
        known = {*wanted, *self._scope.values, "AWS::NoValue"}
        unknown = sorted({str(each) for each in asked if each not in known})
        if unknown:
            text = (
                f"Template format error: Unresolved resource dependencies [{', '.join(unknown)}] in the Resources block"
            )
            self._reasons.append(f"{text} of the template")
        return [each for each in asked if each in wanted]

    def _take(self, name: str, one: Mapping[str, Any]) -> None:
        kind = self._types[one["Type"]]
        properties = self._try(lambda: self._scope.resolve(one.get("Properties") or {}), name)
        if properties is None:
            return
        before = self._before.get(name)
        before = before if before is not None and before.type == one["Type"] else None
        physical = self._try(lambda: self._name(name, kind, properties, before), name)
        if physical is None:
            return
        identity = self._try(lambda: kind.identity(physical, properties), name)
        if identity is None:
            return
        holder = self._world.taken.get(identity)
        if holder is not None:
            self._reasons.append(f"{name}: {physical} already exists in stack {holder}")
            return
        other = self._named.setdefault(identity, name)
        if other != name:
            self._reasons.append(f"{name}: {physical} already exists in stack {self._stack}: {other} is it")
            return
        attributes: dict[str, Any] | None
        if kind.is_snapshot and before is not None and before.physical == physical:
            attributes = before.attributes
        else:
            attributes = self._try(lambda: kind.attributes(physical, properties, self._world, self._done), name)
        if attributes is None:
            return
        deletion = one.get("DeletionPolicy", form.DELETE)
        self._done[name] = Resource(
            logical=name,
            type=one["Type"],
            physical=physical,
            properties=properties,
            attributes=attributes,
            keep_deleted=deletion != form.DELETE,
            keep_replaced=one.get("UpdateReplacePolicy") == form.RETAIN,
            keep_failed=deletion == form.RETAIN,
            secrets=self._digest(properties),
        )

    def _name(self, name: str, kind: ResourceType, properties: dict[str, Any], before: Resource | None) -> str:
        own = kind.own_name(properties)
        if before is not None and not _differs(before.properties, properties, kind.fixed):
            return before.physical
        if own is None:
            return kind.new_name(self._stack, name, properties, self._world)
        if before is not None and before.physical == own:
            text = "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
            raise TemplateRefused([f"{text}Rename {own} and update the stack again."])
        return own

    def _digest(self, properties: Any) -> str:
        used = _used({**self._parameters.secrets, **self._secrets}, properties)
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest() if used else ""

    def _outputs(self) -> tuple[Output, ...]:
        outputs: list[Output] = []
        self._scope.block = "Outputs"
        for key, one in _section(self._body, "Outputs").items():
            output = self._try(partial(self._output, key, one), f"Outputs.{key}")
            if output is None:
                continue
            if output.export is not None and output.export in {each.export for each in outputs}:
                self._reasons.append(f"Outputs.{key}: Export with name {output.export} is exported twice by this stack")
            outputs.append(output)
        return tuple(outputs)

    def _output(self, key: str, one: Mapping[str, Any]) -> Output | None:
        if not self._scope.is_meant(one):
            return None
        value = self._scope.resolve(one.get("Value"))
        if value is None or isinstance(value, dict) or value is intrinsics.NO_VALUE:
            text = "The Value field of every Outputs member must evaluate to a String."
            raise TemplateRefused([f"Template format error: {text}"])
        if not isinstance(one.get("Description", ""), str):
            raise TemplateRefused(["Template format error: Every Description member must be a string."])
        export = self._scope.resolve(one["Export"]["Name"]) if "Export" in one else None
        if export is intrinsics.NO_VALUE or isinstance(export, dict | list):
            text = "The Name field of every Export member must be specified and must evaluate to a String."
            raise TemplateRefused([f"Template format error: {text}"])
        export = None if export is None else intrinsics.as_text(export)
        if export is not None and export in self._world.exports:
            holder = self._world.exporters[export]
            raise TemplateRefused([f"Export with name {export} is already exported by stack {holder}"])
        text = intrinsics.as_text(value)
        return Output(key=key, value=text, description=one.get("Description"), export=export)

    def _try(self, what: Callable[[], Any], where: str = "") -> Any:
        """Do something that may be refused; the reason is kept beside the others."""
        try:
            return what()
        except (TemplateRefused, ValueError) as error:
            reasons = error.reasons if isinstance(error, TemplateRefused) else (str(error),)
            self._reasons += [f"{where}: {reason}" if where else reason for reason in reasons]
        except MALFORMED as error:
            self._reasons.append(f"{where}: a property has another form than it should: {error!r}")
        return None

    def _refuse(self) -> None:
        if self._reasons:
            raise TemplateRefused(dict.fromkeys(self._reasons))


def without(body: Mapping[str, Any], types: Mapping[str, ResourceType]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Leave out the resources whose types cannot be deployed; tell which. What refers to them is refused later."""
    resources = _section(body, "Resources")
    left_out = tuple(f"{name} ({one['Type']})" for name, one in resources.items() if one["Type"] not in types)
    kept = {name: one for name, one in resources.items() if one["Type"] in types}
    return {**body, "Resources": kept}, left_out


def _used(secrets: Mapping[str, str], value: Any) -> dict[str, str]:
    """Give those secrets whose marks stand in a value."""
    text = json.dumps(value, ensure_ascii=False)
    return {
        name: one for name, one in secrets.items() if json.dumps(secret.mark(name), ensure_ascii=False)[1:-1] in text
    }


def imports(
    body: Mapping[str, Any], parameters: Parameters, *, stack: str, stack_id: str, region: str, account: str
) -> set[str] | None:
    """Give the names of what a template imports; None where only a deploy can tell."""
    values = {**_pseudo(stack, stack_id, region, account), **parameters.given}
    try:
        mappings, conditions = _section(body, "Mappings"), _section(body, "Conditions")
        scope = Scope(values=values, mappings=mappings, conditions=conditions, secrets=parameters.secrets)
        parts = [*_section(body, "Resources").values(), *_section(body, "Outputs").values()]
        taken = [one for one in parts if "Condition" not in one or scope.condition(one["Condition"])]
        named = [scope.resolve(one) for one in intrinsics.imported([taken, body.get("Globals")], scope)]
        return {str(secret.revealed(one, parameters.secrets)) for one in named}
    except (TemplateRefused, *MALFORMED):
        return None


def _differs(before: Mapping[str, Any], now: Mapping[str, Any], fixed: Iterable[str]) -> bool:
    return any(before.get(key) != now.get(key) for key in fixed)


def _section(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = body.get(name) or {}
    if not isinstance(section, dict):
        raise TemplateRefused([f"Template format error: {name} is a mapping"])
    return section


def _pseudo(stack: str, stack_id: str, region: str, account: str) -> dict[str, Any]:
    return {
        "AWS::Region": region,
        "AWS::AccountId": account,
        "AWS::StackName": stack,
        "AWS::StackId": stack_id,
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "localhost",
        "AWS::NotificationARNs": [],
    }


def _in_order(wanted: Mapping[str, Any], references: Mapping[str, list[str]]) -> list[str]:
    """Give the resources so that each comes behind those that it refers to."""
    order: dict[str, None] = {}
    for first in wanted:
        path: list[tuple[str, list[str]]] = [(first, list(references[first]))] if first not in order else []
        while path:
            name, left = path[-1]
            nexts = [each for each in left if each not in order]
            if not nexts:
                order[name] = None
                path.pop()
                continue
            on_path = [each for each, _ in path]
            if nexts[0] in on_path:
                cycle = on_path[on_path.index(nexts[0]) :]
                raise TemplateRefused([f"Circular dependency between resources: [{', '.join(sorted(cycle))}]"])
            path.append((nexts[0], list(references[nexts[0]])))
    return list(order)
