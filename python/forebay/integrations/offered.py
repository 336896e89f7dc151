"""What packages offer to call for tasks of workflows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from forebay.errors import InvalidParameterValue
from forebay.integrations.maps import READS, WRITES
from forebay.integrations.serve import declaration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.metadata import EntryPoint

    from forebay.integrations.port import Integration

PLUGINS: Final = "forebay.workflow.integrations"
"""The entry point group in which packages offer integrations."""
IN_STORE: Final = {"lambda", "sqs", "sns", "kinesis", "events", "states"}
"""Services whose calls the engine makes itself."""
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


def callable_services(text: str) -> dict[str, Any]:
    """Say what an app may call for a definition: what packages offer that can be used here, and any object store."""
    made: list[Integration] = []
    for _, make in offered(text, lambda _service: False):
        try:
            made.append(make())
        except InvalidParameterValue:
            continue  # an extra is not installed: the check of the definition names it
    return declaration(made, [*READS, *WRITES, *(name for one in made for name in one.resources)])
