"""What must be declared to an engine each time it starts, made of several resources each: functions, mappings, APIs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from forebay._model.names import LATEST
from forebay._sam.errors import TemplateRefused
from forebay._sam.plan import MALFORMED
from forebay._stacks import apis, functions, messaging, proxies, rest_apis
from forebay._stacks.functions import Deployed
from forebay._stacks.kind import Procedure, Request, function_of
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from forebay._sam.plan import Resource

WHOLE: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """Something that is declared while an app runs, or that lasts in the store and is made of several resources.

    Attributes:
        trigger: the last resource that it is made of, by its logical id.
        what: a function, which this side registers, a request, or what lasts.
        undo: the request that takes it back; what lasts says itself how it goes.
        secrets: a digest of the secrets that it uses.
        keep_deleted: whether it stays when its stack goes.
        keep_failed: whether it stays when the deploy that has made it is rolled back.

    """

    trigger: str
    what: Deployed | Request | Procedure
    undo: Request | None = None
    secrets: str = ""
    keep_deleted: bool = False
    keep_failed: bool = False


def assemble(resources: Mapping[str, Resource]) -> dict[str, Declaration]:
    """Give the declarations of a stack by their names, in the order in which they are made.

    Raises:
        InvalidParameterValue: something cannot be declared so.

    """
    order = {name: at for at, name in enumerate(resources)}
    found = dict(_functions(resources, order))
    # What is declared for a function comes behind all that the function is made of.
    last = {one.what.name: one.trigger for one in found.values() if isinstance(one.what, Deployed)}
    for name, one in (*_of_functions(resources), *_apis(resources, order), *_rest_apis(resources, order)):
        behind = [last[function] for function in _functions_of(one.what) if function in last]
        found[name] = replace(one, trigger=_last([one.trigger, *behind], order))
    return found


def _functions_of(what: Deployed | Request | Procedure) -> set[str]:
    """Give the functions that must be there before a declaration."""
    if not isinstance(what, Request):
        return set()
    named = [what.fields.get("function")]
    definition = what.fields.get("definition", WHOLE)
    named += [route["target"].get("function") for route in definition.get("routes", ())]
    named += [one["by"]["lambda"]["function"] for one in definition.get("authorizers", ()) if "lambda" in one["by"]]
    return {name.split(":")[0] for name in named if name is not None}


def check_assembly(resources: Mapping[str, Resource]) -> None:
    """Refuse resources that make something which cannot be declared.

    Raises:
        TemplateRefused: says what.

    """
    try:
        assemble(resources)
    except InvalidParameterValue as error:
        raise TemplateRefused([str(error)]) from None
    except MALFORMED as error:
        raise TemplateRefused([f"a property has another form than it should: {error!r}"]) from None


def _functions(resources: Mapping[str, Resource], order: Mapping[str, int]) -> Iterator[tuple[str, Declaration]]:
    layers = {str(one.attributes["Ref"]): str(one.attributes["$code"]) for one in _of(resources, functions.LAYER.type)}
    configs = list(_of(resources, functions.INVOKE_CONFIG.type))
    for kind in (functions.FUNCTION.type, functions.VERSION.type):
        for one in _of(resources, kind):
            name, _, number = one.physical.partition(":")
            mine = [each for each in configs if function_of(each.properties.get("FunctionName")) == name]
            invoke = mine[-1].properties if mine else WHOLE
            is_version = kind == functions.VERSION.type
            properties = one.attributes["$published"] if is_version else one.properties
            provisioned = functions.provisioned(one.properties) if is_version else 0
            attached = proxies.of_function(functions.variables(properties), resources)
            what = functions.deployed(
                one,
                number or LATEST,
                properties,
                invoke=invoke,
                layers=layers,
                provisioned=provisioned,
                attachments=tuple(attachment for attachment, _ in attached),
            )
            if attached and not what.runtime.startswith("python"):
                raise InvalidParameterValue(
                    f"{one.logical}: a variable names a database proxy, which is an object of Python, and {what.runtime} "
                    "cannot use it"
                )
            made_of = [*mine, *(part for _, parts in attached for part in parts)]
            trigger = _last([one.logical, *(each.logical for each in made_of)], order)
            undo = Request("function.delete", {"name": one.physical})
            yield f"function {one.physical}", Declaration(trigger=trigger, what=what, undo=undo, secrets=one.secrets)


def _of_functions(resources: Mapping[str, Resource]) -> Iterator[tuple[str, Declaration]]:
    """Give what is declared behind the functions: aliases, mappings, subscriptions of functions, URLs."""
    for one in _of(resources, functions.ALIAS.type):
        undo = Request("function.delete", {"name": one.physical})
        yield (
            f"alias {one.physical}",
            Declaration(trigger=one.logical, what=functions.alias(one), undo=undo, secrets=one.secrets),
        )
    for one in _of(resources, messaging.MAPPING.type):
        what = Request("mapping.declare", messaging.mapping(one.properties))
        yield (
            f"mapping {one.physical}",
            Declaration(trigger=one.logical, what=what, undo=messaging.mapping_gone(one), secrets=one.secrets),
        )
    for kind in (messaging.TOPIC.type, messaging.SUBSCRIPTION.type):
        for one in _of(resources, kind):
            for each in messaging.subscriptions(one):
                name = f"subscription {each.topic} {each.kind} {each.endpoint}"
                what = messaging.subscribe(each)
                yield (
                    name,
                    Declaration(trigger=one.logical, what=what, undo=messaging.unsubscribe(each), secrets=one.secrets),
                )
    for one in _of(resources, functions.URL.type):
        undo = Request("api.delete", {"name": one.physical.split(":")[0]})
        yield (
            f"url {one.physical}",
            Declaration(trigger=one.logical, what=functions.url(one), undo=undo, secrets=one.secrets),
        )


def _apis(resources: Mapping[str, Resource], order: Mapping[str, int]) -> Iterator[tuple[str, Declaration]]:
    parts = [one for one in resources.values() if one.type in {kind.type for kind in apis.PARTS}]
    for one in _of(resources, apis.API.type):
        whole = apis.definition(one, parts)
        mine = [part for part in parts if part.properties.get("ApiId") == one.attributes["Ref"]]
        undo = Request("api.delete", {"name": str(one.attributes["Ref"])})
        trigger = _last([one.logical, *(part.logical for part in mine)], order)
        secrets = "".join(each.secrets for each in (one, *mine))
        yield f"api {one.physical}", Declaration(trigger=trigger, what=apis.declare(whole), undo=undo, secrets=secrets)


def _rest_apis(resources: Mapping[str, Resource], order: Mapping[str, int]) -> Iterator[tuple[str, Declaration]]:
    """Give the REST APIs, then the keys, then the plans, which name both. They go in the opposite order."""
    parts = [one for one in resources.values() if one.type in {kind.type for kind in rest_apis.PARTS}]
    for one in _of(resources, rest_apis.API.type):
        mine = [part for part in parts if part.properties.get("RestApiId") == one.physical]
        yield _lasting("REST API", rest_apis.definition(one, mine), [one, *mine], order)
    for one in _of(resources, rest_apis.KEY.type):
        yield _lasting("API key", rest_apis.key(one), [one], order)
    keys = list(_of(resources, rest_apis.PLAN_KEY.type))
    for one in _of(resources, rest_apis.PLAN.type):
        mine = [each for each in keys if each.properties.get("UsagePlanId") == one.physical]
        yield _lasting("usage plan", rest_apis.plan(one, mine), [one, *mine], order)


def _lasting(noun: str, what: Procedure, made_of: list[Resource], order: Mapping[str, int]) -> tuple[str, Declaration]:
    first, trigger = made_of[0], _last((one.logical for one in made_of), order)
    secrets = "".join(one.secrets for one in made_of)
    return f"{noun} {first.physical}", Declaration(
        trigger=trigger, what=what, secrets=secrets, keep_deleted=first.keep_deleted, keep_failed=first.keep_failed
    )


def _of(resources: Mapping[str, Resource], type_: str) -> Iterator[Resource]:
    return (one for one in resources.values() if one.type == type_)


def _last(names: Iterable[str], order: Mapping[str, int]) -> str:
    return max(names, key=lambda name: order[name])
