"""What packages offer to call for tasks of workflows."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from forebay.errors import InvalidParameterValue
from forebay.integrations.aws_sdk import AwsSdk
from forebay.integrations.maps import READS, WRITES
from forebay.integrations.serve import declaration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from importlib.metadata import EntryPoint

    from forebay.integrations.port import Integration

PLUGINS: Final = "forebay.workflow.integrations"
"""The entry point group in which packages offer integrations."""
IN_STORE: Final = {"lambda", "sqs", "sns", "kinesis", "events", "states"}
"""Services whose calls the engine makes itself."""
_SDK_CALL: Final = re.compile(
    r"arn:aws[a-z-]*:states:::aws-sdk:(?P<service>[A-Za-z0-9]+):(?P<action>[A-Za-z0-9]+)(\.waitForTaskToken)?"
)
_SERVICES: Final = re.compile(r"arn:aws[a-z-]*:states:::([A-Za-z0-9-]+):")


def offered(text: str, has: Callable[[str], bool]) -> Iterator[tuple[str, Callable[[], Integration]]]:
    """Give each service that a definition names, with what makes its integration, unless `has` says that one calls it.

    Raises:
        InvalidParameterValue: a package offers to call one, and cannot be imported.

    """
    for service in sorted(set(_SERVICES.findall(text)) - IN_STORE):
        if not has(service):
            from importlib.metadata import entry_points  # noqa: PLC0415  it takes a while, and few need it

            for found in entry_points(group=PLUGINS, name=service):
                yield service, _loaded(found)


def _loaded(found: EntryPoint) -> Callable[[], Integration]:
    try:
        make: Callable[[], Integration] = found.load()
    except ImportError as error:
        package = found.value if found.dist is None else found.dist.name
        text = f"package {package} offers to call {found.name}, and cannot be imported: {error}"
        raise InvalidParameterValue(text) from error
    return make


def check_sdk(text: str, integrations: Iterable[Integration]) -> None:
    """Refuse a definition with a call of AWS's SDK that boto3 does not know, where it makes the calls.

    Raises:
        InvalidParameterValue: the first such call, with its place.

    """
    calls = list(_sdk_calls(text))
    for one in integrations if calls else ():
        for problem in _unknown(one, calls) if isinstance(one, AwsSdk) else ():
            raise InvalidParameterValue(f"{problem['location']}: {problem['message']}")


def unknown_sdk_calls(text: str, known: Sequence[str] = ()) -> list[dict[str, str]]:
    """Give the problems of a definition's calls of AWS's SDK, as far as boto3 is there, but for those in `known`.

    A name in it may end in `*`, which stands for the rest.
    """
    calls = [one for one in _sdk_calls(text) if not _is_known(f"aws-sdk:{one[1]}:{one[2]}", known)]
    try:
        return _unknown(AwsSdk(), calls) if calls else []
    except InvalidParameterValue:
        return []  # it is not installed: the check of the definition says so


def _is_known(call: str, known: Iterable[str]) -> bool:
    """Tell whether a call, without its pattern, is one of those that integrations name."""
    beginnings = tuple(one.removesuffix("*") for one in known if one.endswith("*"))
    return call.startswith(beginnings) or call in {one.partition(".")[0] for one in known}


def _unknown(sdk: AwsSdk, calls: Iterable[tuple[str, str, str]]) -> list[dict[str, str]]:
    found = [(place, sdk.unknown(service, action)) for place, service, action in calls]
    return [
        {"code": "NOT_SUPPORTED", "message": wrong, "location": f"{place}/Resource"}
        for place, wrong in found
        if wrong is not None
    ]


def _sdk_calls(text: str) -> Iterator[tuple[str, str, str]]:
    """Give the calls of AWS's SDK in a definition: the place of the state, the service and the action."""
    try:
        flow = json.loads(text)
    except ValueError:
        return  # the check of the definition says so
    for place, state in _states(flow, ""):
        found = _SDK_CALL.fullmatch(str(state.get("Resource")))
        if found is not None:
            yield place, found["service"], found["action"]


def _states(flow: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the states of a machine, of its branches and of its processors, each with its place."""
    states = flow.get("States") if isinstance(flow, dict) else None
    for name, state in states.items() if isinstance(states, dict) else ():
        if isinstance(state, dict):
            at = f"{place}/States/{name}"
            yield at, state
            branches = state.get("Branches")
            for number, branch in enumerate(branches if isinstance(branches, list) else ()):
                yield from _states(branch, f"{at}/Branches[{number}]")
            for processor in ("ItemProcessor", "Iterator"):
                yield from _states(state.get(processor), f"{at}/{processor}")


def callable_services(text: str) -> dict[str, Any]:
    """Say what an app may call for a definition: what packages offer that can be used here, and any object store."""
    made: list[Integration] = []
    for _, make in offered(text, lambda _service: False):
        try:
            made.append(make())
        except InvalidParameterValue:
            continue  # an extra is not installed: the check of the definition names it
    return declaration(made, [*READS, *WRITES, *(name for one in made for name in one.resources)])
