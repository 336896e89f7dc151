"""All types of resources that can be deployed, and the page's table of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forebay._stacks import apis, buckets, events, functions, inert, messaging, proxies, rest_apis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay._sam.plan import Resource
    from forebay._stacks.kind import Kind

KINDS: Final[Mapping[str, Kind]] = {
    kind.type: kind
    for kind in (
        *functions.KINDS,
        *messaging.KINDS,
        *events.KINDS,
        *apis.KINDS,
        *rest_apis.KINDS,
        *proxies.KINDS,
        *inert.KINDS,
    )
}
BUCKET_STACK: Final = "aws-sam-cli-managed-default"
"""The stack that AWS's `sam` makes for the bucket of its code. Buckets are served there alone."""
ALL: Final[Mapping[str, Kind]] = {**KINDS, **{kind.type: kind for kind in buckets.KINDS}}
IAM: Final = "CAPABILITY_IAM"
NAMED_IAM: Final = "CAPABILITY_NAMED_IAM"


def kinds_of(stack: str) -> Mapping[str, Kind]:
    """Give the types of resources that a stack may have."""
    return ALL if stack == BUCKET_STACK else KINDS


def table() -> str:
    """Write the types in Markdown: what they become, what is honoured, what has no effect, what is refused."""
    lines = ["| Type | Becomes | Honoured | No effect | Refused |", "| --- | --- | --- | --- | --- |"]
    for name in sorted(KINDS):
        kind = KINDS[name]
        columns = (sorted(kind.honoured), sorted(kind.inert), sorted(kind.refused))
        listed = [", ".join(f"`{one}`" for one in column) for column in columns]
        if kind.honoured is inert.ANYTHING:
            listed = ["", "all", ""]
        lines.append(f"| `{name}` | {kind.becomes} | {' | '.join(listed)} |")
    return "\n".join(lines)


def capabilities_needed(resources: Mapping[str, Resource]) -> str | None:
    """Give the capability that must be acknowledged, if any: AWS asks for it where a stack makes roles."""
    needed = None
    for one in resources.values():
        if one.type in inert.CAPABILITY_TYPES:
            name = inert.CAPABILITY_TYPES[one.type]
            needed = NAMED_IAM if name is not None and name in one.properties else needed or IAM
    return needed
