"""What can be asked of stacks: what a deploy would do, deploy, delete, list. Each is an operation."""

from __future__ import annotations

import json
import re
import secrets
import string
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from forebay._sam import parameters as sam_parameters
from forebay._sam import plan as sam_plan
from forebay._sam import secret
from forebay._sam import template as sam_template
from forebay._sam.errors import NoChanges, TemplateRefused
from forebay._sam.parameters import Parameters
from forebay._sam.plan import Plan, World
from forebay._sam.stored import VALUE
from forebay._stacks.assembly import assemble, check_assembly
from forebay._stacks.inert import PARAMETER, SECRET, generated, generated_name
from forebay._stacks.operation import CLEANUP, FORWARD, Runs, Target, check_requests
from forebay._stacks.store import Operation, Stack, StackStore, State, now_ms
from forebay._stacks.table import ALL, capabilities_needed, kinds_of
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forebay._sam.plan import Output, Resource
    from forebay._stacks.assembly import Declaration

SUFFIX_LETTERS: Final = 8
NAME_LETTERS_MAX: Final = 128
_LETTERS: Final = string.ascii_uppercase + string.digits
_HOST: Final = r"(?:https|(wss))://([A-Za-z0-9_-]+)\.(?:execute-api|lambda-url)\.[a-z0-9-]+"
_API: Final = re.compile(_HOST + r"\.localhost")
_AT_AWS: Final = re.compile(_HOST + r"\.amazonaws\.com(?:\.cn)?")
_NOTHING: Final = State(template="", description=None, given={}, secrets={}, resources={}, outputs=())
Kind = Literal["CREATE", "UPDATE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The app that stacks are deployed into."""

    app: str
    region: str
    account: str
    http: str
    aws: str
    aws_names: tuple[str, ...] = ()
    """Names under which clients reach AWS's wire API, beside that of its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A deploy, as it is asked for.

    Attributes:
        stack: its name.
        template: the template's own text.
        body: the template, expanded.
        parameters: values by name.
        capabilities: what is acknowledged.
        skip_unsupported: leave out resources whose types are not served.
        disable_rollback: leave everything as it is where a step fails.
        stack_id: the id of a stack that is new, where it has already been told.
        tags: of the stack; None: those that it has.

    """

    stack: str
    template: str
    body: dict[str, Any]
    parameters: dict[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    skip_unsupported: bool = False
    disable_rollback: bool = False
    stack_id: str | None = None
    tags: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a deploy would do.

    Attributes:
        kind: whether the stack is new.
        plan: the steps.
        left_out: resources that are not deployed.

    """

    kind: Kind
    plan: Plan
    left_out: tuple[str, ...]


class Service:
    """The stacks of a store, and the app that they are deployed into."""

    def __init__(self, store: StackStore, place: Place, *, passed: Callable[[str], None] = lambda _: None) -> None:
        """Serve the stacks of a store; `passed` is told each point at which an operation may be killed."""
        self.store = store
        self.place = place
        self._passed = passed

    def preview(self, asked: Asked) -> Preview:
        """Tell what a deploy would do.

        Raises:
            TemplateRefused: it cannot be deployed; every reason.
            NoChanges: it would do nothing.

        """
        return self._work_out(asked)[0]

    def begin(self, asked: Asked) -> Stack:
        """Begin a deploy; `run` carries it out.

        Raises:
            TemplateRefused: it cannot be deployed; every reason, and nothing has changed.
            NoChanges: it would do nothing.
            InvalidParameterValue: another operation on the stack has not ended.

        """
        preview, stack, parameters = self._work_out(asked)
        needed = capabilities_needed(preview.plan.resources)
        has = set(asked.capabilities)
        if needed is not None and needed not in has and "CAPABILITY_NAMED_IAM" not in has:
            raise TemplateRefused([f"Requires capabilities : [{needed}]"], "InsufficientCapabilitiesException")
        after = State(
            template=asked.template,
            description=asked.body.get("Description"),
            given=parameters.given,
            secrets=parameters.secrets,
            resources=preview.plan.resources,
            outputs=preview.plan.outputs,
        )
        before = self._state(stack) if preview.kind == "UPDATE" else _NOTHING
        operation = Operation(
            stack=stack.name,
            kind=preview.kind,
            phase=FORWARD,
            position=0,
            begun=0,
            keeps=asked.disable_rollback,
            reason=None,
            before=before,
            after=after,
        )
        self.store.begin(stack, operation, f"{preview.kind}_IN_PROGRESS")
        self._passed("begun")
        return stack

    def begin_deletion(self, name: str) -> Stack:
        """Begin to delete a stack; `run` carries it out.

        Raises:
            StackNotFound: there is none.
            InvalidParameterValue: another operation on it has not ended, or another stack uses what it exports.

        """
        stack = self.store.stack(name)
        self._keep_imported(stack, ())
        operation = Operation(
            stack=stack.name,
            kind="DELETE",
            phase=CLEANUP,
            position=0,
            begun=0,
            keeps=False,
            reason=None,
            before=self._state(stack),
            after=_NOTHING,
        )
        self.store.begin(stack, operation, "DELETE_IN_PROGRESS")
        self._passed("begun")
        return stack

    async def run(self, name: str, target: Target, *, resumed: bool = False) -> str:
        """Carry out the operation that has begun on a stack; give the status that it ends in."""
        stack = self.store.stack(name)
        operation = next(one for one in self.store.operations() if one.stack == stack.name)
        runs = Runs(
            self.store, target, stack=stack, operation=operation, world=self._world(stack.name), passed=self._passed
        )
        return await runs.run(resumed=resumed)

    async def resume(self, target: Target) -> list[tuple[str, str]]:
        """Carry on every operation that was interrupted; give the stacks and their status."""
        return [(one.stack, await self.run(one.stack, target, resumed=True)) for one in self.store.operations()]

    def declarations(self, name: str) -> dict[str, Declaration]:
        """Give what of a stack is to be declared to an engine that starts. A secret is its mark."""
        return assemble(self.store.resources(name))

    def secret_value(self, asked: str) -> str:
        """Give a secret's value, by its name or its ARN.

        Raises:
            InvalidParameterValue: no stack has it.

        """
        for stack in self.store.stacks():
            for one in self.store.resources(stack.name).values():
                if one.type == SECRET.type and asked in {one.physical, one.attributes["Ref"]}:
                    return str(secret.revealed(one.attributes[VALUE], self.store.secrets(stack.name)))
        raise InvalidParameterValue(f"no stack of this store has the secret {asked[:200]!r}")

    # --- inside

    def _work_out(self, asked: Asked) -> tuple[Preview, Stack, Parameters]:
        name = asked.stack
        if (
            not name[:1].isalpha()
            or len(name) > NAME_LETTERS_MAX
            or not name.replace("-", "").isalnum()
            or not name.isascii()
        ):
            text = (
                f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must "
                "satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
            )
            raise TemplateRefused([text])
        known = self.store.find(name)
        is_new = known is None or not self.store.statuses(name)
        stack = known if known is not None else self._new_stack(name, asked.stack_id)
        if known is not None and (known.region, known.account) != (self.place.region, self.place.account):
            text = (
                f"stack {name} was deployed for {known.account} in {known.region}, the app is {self.place.account} in"
            )
            raise TemplateRefused([f"{text} {self.place.region}: delete it first"])
        body, left_out = asked.body, ()
        if asked.skip_unsupported:
            body, left_out = sam_plan.without(asked.body, kinds_of(name))  # type: ignore[assignment]
        before = None if is_new else stack.parameters
        world = self._world(name)
        kept = self._kept()
        parameters = sam_parameters.read(
            body.get("Parameters"), asked.parameters, before, stored=kept.parameters, hidden=kept.hidden_parameters
        )
        resources = {} if is_new else self.store.resources(name)
        plan = sam_plan.evaluate(
            name, stack.id, body, parameters=parameters, before=resources, world=world, types=kinds_of(name)
        )
        made = _generated(plan.resources, stack.parameters.secrets)
        parameters = replace(parameters, secrets={**parameters.secrets, **plan.secrets, **made})
        kind: Kind = "CREATE" if is_new else "UPDATE"
        tags = stack.tags if asked.tags is None else asked.tags
        if (
            kind == "UPDATE"
            and not plan.steps
            and plan.outputs == stack.outputs
            and tags == stack.tags
            and not stack.status.endswith("FAILED")
        ):
            raise NoChanges(f"No changes to deploy. Stack {name} is up to date")
        check_requests(plan.steps, world)
        check_assembly(plan.resources)
        if not is_new:
            self._keep_imported(stack, plan.outputs)
        stack = replace(stack, template=asked.template, tags=tags)
        return Preview(kind=kind, plan=plan, left_out=left_out), stack, parameters

    def _keep_imported(self, stack: Stack, outputs: tuple[Output, ...]) -> None:
        """Refuse to take away or to change what other stacks import.

        Raises:
            TemplateRefused: by AWS's text, what is in use, and by which stack.

        """
        after = {one.export: one.value for one in outputs if one.export is not None}
        changed = {one.export for one in stack.outputs if one.export and after.get(one.export) != one.value}
        for other in self.store.stacks() if changed else ():
            used = _imported(other, changed) if other.name != stack.name else set()
            if used:
                raise TemplateRefused(
                    f"Export {name} cannot be {'updated' if name in after else 'deleted'} as it is in use by {other.name}"
                    for name in sorted(used)
                )

    def _new_stack(self, name: str, id_: str | None) -> Stack:
        place = self.place
        return Stack(
            name=name,
            id=id_ or f"arn:aws:cloudformation:{place.region}:{place.account}:stack/{name}/{uuid.uuid4()}",
            status="REVIEW_IN_PROGRESS",
            reason=None,
            description=None,
            created_ms=now_ms(),
            updated_ms=now_ms(),
            region=place.region,
            account=place.account,
            template="",
            parameters=Parameters(),
            outputs=(),
        )

    def _state(self, stack: Stack) -> State:
        return State(
            template=stack.template,
            description=stack.description,
            given=stack.parameters.given,
            secrets=stack.parameters.secrets,
            resources=self.store.resources(stack.name),
            outputs=stack.outputs,
        )

    def _kept(self) -> _Kept:
        kept = _Kept()
        for stack in self.store.stacks():
            kept.take(self.store.resources(stack.name), self.store.secrets(stack.name))
        return kept

    def _world(self, stack: str) -> World:
        taken: dict[tuple[str, str], str] = {}
        exports: dict[str, str] = {}
        exporters: dict[str, str] = {}
        hidden_exports: set[str] = set()
        kept = _Kept()
        for other in self.store.stacks():
            if other.name != stack:
                resources, known = self.store.resources(other.name), self.store.secrets(other.name)
                taken |= {
                    ALL[one.type].identity(one.physical, one.properties): other.name for one in resources.values()
                }
                kept.take(resources, known)
                shared = {one.export: one.value for one in other.outputs if one.export is not None}
                hidden_exports |= {name for name, value in shared.items() if secret.has_mark(value)}
                exporters |= dict.fromkeys(shared, other.name)
                exports |= {name: str(secret.revealed(value, known)) for name, value in shared.items()}
        given: dict[str, int] = {}

        def version(name: str) -> int:
            given[name] = given.get(name, self.store.last_number(name)) + 1
            return given[name]

        return World(
            app=self.place.app,
            region=self.place.region,
            account=self.place.account,
            aws=self.place.aws,
            suffix=lambda: "".join(secrets.choice(_LETTERS) for _ in range(SUFFIX_LETTERS)),
            version=version,
            taken=taken,
            exports=exports,
            exporters=exporters,
            hidden_exports=frozenset(hidden_exports),
            parameters=kept.parameters,
            hidden_parameters=frozenset(kept.hidden_parameters),
            secrets=kept.secrets,
        )


def _imported(stack: Stack, names: set[str]) -> set[str]:
    """Give those of some exports that a stack imports."""
    if "ImportValue" not in stack.template:
        return set()
    try:
        body = sam_template.read(stack.template.encode()).body
    except TemplateRefused:  # an earlier release took it
        body = {}
    place = {"stack": stack.name, "stack_id": stack.id, "region": stack.region, "account": stack.account}
    found = sam_plan.imports(body, stack.parameters, **place) if body else None
    return names & found if found is not None else {name for name in names if name in stack.template}


@dataclass(slots=True)
class _Kept:
    """What stacks keep for others to read: parameters by name, secrets by name and by ARN."""

    parameters: dict[str, str] = field(default_factory=dict)
    hidden_parameters: set[str] = field(default_factory=set)
    secrets: dict[str, str] = field(default_factory=dict)

    def take(self, resources: Mapping[str, Resource], known: Mapping[str, str]) -> None:
        """Add what a stack keeps."""
        for one in resources.values():
            if one.type == PARAMETER.type:
                value = one.attributes["Value"]
                self.parameters[one.physical] = str(secret.revealed(value, known))
                if secret.has_mark(str(value)):
                    self.hidden_parameters.add(one.physical)
            elif one.type == SECRET.type:
                value = str(secret.revealed(one.attributes[VALUE], known))
                self.secrets[one.physical] = self.secrets[one.attributes["Ref"]] = value


def _generated(resources: Mapping[str, Resource], known: Mapping[str, str]) -> dict[str, str]:
    """Give the secrets that are generated: each is made once."""
    found = {}
    for one in resources.values():
        asked = one.properties.get("GenerateSecretString") if one.type == SECRET.type else None
        if asked is not None:
            name = generated_name(one.physical)
            found[name] = known.get(name) or generated(asked)
    return found


def described(service: Service, name: str) -> dict[str, Any]:
    """Describe a stack as it may be shown: no secret is in it."""
    stack = service.store.stack(name)
    references = {str(one.attributes.get("Ref")) for one in service.store.resources(stack.name).values()}
    return {
        "name": stack.name,
        "id": stack.id,
        "status": stack.status,
        "reason": stack.reason,
        "description": stack.description,
        "created_ms": stack.created_ms,
        "updated_ms": stack.updated_ms,
        "parameters": secret.shown(stack.parameters.given),
        "outputs": [
            {
                "key": one.key,
                "value": address(service.place, str(secret.shown(one.value))),
                "description": one.description,
                "export": one.export,
                "served_at": _served_at(service.place, str(secret.shown(one.value)), references),
            }
            for one in stack.outputs
        ],
    }


def _served_at(place: Place, text: str, references: set[str]) -> str | None:
    """Give where an API of the stack is, of an address whose host is written out as AWS's."""
    found = _AT_AWS.search(text)
    return _local(place, found) + text[found.end() :] if found is not None and found[2] in references else None


def physical_id(resource: Resource) -> str:
    """Give a resource's id as AWS shows it: what `Ref` gives."""
    return str(secret.shown(resource.attributes.get("Ref", resource.physical)))


def resources(service: Service, name: str) -> list[dict[str, Any]]:
    """Describe the resources of a stack."""
    stack = service.store.stack(name)
    statuses = service.store.statuses(stack.name)
    found: Mapping[str, Resource] = service.store.resources(stack.name)
    return [
        {"logical": one.logical, "physical": one.physical, "type": one.type, "status": statuses[one.logical][0]}
        for one in found.values()
    ]


def address(place: Place, text: str) -> str:
    """Put the address that APIs are served at where a text has AWS's form of it."""
    return _API.sub(lambda found: _local(place, found), text)


def _local(place: Place, found: re.Match[str]) -> str:
    return f"{(found[1] and place.http.replace('http', 'ws', 1)) or place.http}/_apis/{found[2]}"


def template_json(text: str) -> str:
    """Give a template's text for a diff: JSON on one line is written on many."""
    try:
        return json.dumps(json.loads(text), indent=2)
    except ValueError:
        return text
