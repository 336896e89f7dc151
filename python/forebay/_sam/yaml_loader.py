"""YAML as CloudFormation reads it: its short tags, no timestamps, no key twice. Nothing but plain values comes out of it."""

from __future__ import annotations

from typing import Any, NoReturn

import yaml

from forebay._sam.template import MERGED_KEYS_MAX, SHORT

TAGS = (
    *("Base64", "Cidr", "FindInMap", "GetAtt", "GetAZs", "If", "ImportValue", "Join", "Select", "Split", "Sub"),
    *("Transform", "And", "Equals", "Not", "Or", "ToJsonString", "Length", "ForEach", "Ref", "Condition"),
)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with CloudFormation's tags."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a dict; refuse a key that appears twice, and one that is not text."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = key_node.value
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, "a key is a text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} appears twice", key_node.start_mark
                )
            seen.add(key)
        return {str(key): value for key, value in super().construct_mapping(node, deep=deep).items()}

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put merged keys in; a few lines can ask for very many."""
        super().flatten_mapping(node)
        if len(node.value) > MERGED_KEYS_MAX:
            raise yaml.constructor.ConstructorError(None, None, "too many keys are merged", node.start_mark)


def _plain(loader: Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    raise yaml.constructor.ConstructorError(None, None, "a node of no kind", node.start_mark)


def _tag(name: str) -> Any:
    key = name if name in SHORT else f"Fn::{name}"

    def construct(loader: Loader, node: yaml.Node) -> Any:
        value = _plain(loader, node)
        if name == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {key: value}

    return construct


def _unknown(_loader: Loader, node: yaml.Node) -> NoReturn:
    text = f"{node.tag} is not a tag of CloudFormation"
    raise yaml.constructor.ConstructorError(None, None, text, node.start_mark)


Loader.add_constructor(None, _unknown)
for _name in TAGS:
    Loader.add_constructor(f"!{_name}", _tag(_name))
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}


def lines_of_resources(node: yaml.Node | None) -> dict[str, int]:
    """Tell on which line each resource stands."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    resources = next((value for key, value in node.value if key.value == "Resources"), None)
    if not isinstance(resources, yaml.MappingNode):
        return {}
    return {str(key.value): key.start_mark.line + 1 for key, _ in resources.value}
