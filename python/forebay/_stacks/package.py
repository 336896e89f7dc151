"""Puts what a template names beside it into the store: code by its key, definitions into the template."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import template as sam_template
from forebay._sam.errors import TemplateRefused
from forebay._stacks.functions import ARTIFACTS
from forebay._stacks.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from forebay._stacks.artifacts import Artifacts

SERVERLESS_FUNCTION: Final = "AWS::Serverless::Function"
CODE: Final = {
    SERVERLESS_FUNCTION: "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Lambda::Function": "Code",
    "AWS::Lambda::LayerVersion": "Content",
}
"""Properties that name code, by type."""
DEFINITIONS: Final = {
    "AWS::Serverless::StateMachine": ("DefinitionUri", "Definition"),
    "AWS::Serverless::Api": ("DefinitionUri", "DefinitionBody"),
    "AWS::Serverless::HttpApi": ("DefinitionUri", "DefinitionBody"),
    "AWS::StepFunctions::StateMachine": ("DefinitionS3Location", "Definition"),
    "AWS::ApiGatewayV2::Api": ("BodyS3Location", "Body"),
    "AWS::ApiGateway::RestApi": ("BodyS3Location", "Body"),
}
"""Properties that name a definition, and those that hold one."""


def package(body: Mapping[str, Any], folder: Path, artifacts: Artifacts) -> dict[str, Any]:
    """Give a template that needs nothing beside it.

    Args:
        body: the template.
        folder: what its paths are relative to.
        artifacts: where code goes.

    Raises:
        TemplateRefused: a file or a directory is missing, or cannot be taken; all of them.

    """
    packaged: dict[str, Any] = copy.deepcopy(dict(body))
    shared = code_of_globals(packaged)
    reasons: list[str] = []
    resources = packaged.get("Resources")
    for name, resource in resources.items() if isinstance(resources, dict) else ():
        if not isinstance(resource, dict):
            continue
        properties = resource.setdefault("Properties", {})
        if not isinstance(properties, dict):
            continue
        try:
            _take_code(resource.get("Type"), properties, folder, artifacts, shared)
            _take_definition(resource.get("Type"), properties, folder)
        except TemplateRefused as error:
            reasons += [f"{name}: {reason}" for reason in error.reasons]
    if reasons:
        raise TemplateRefused(reasons)
    return packaged


def take_objects(body: dict[str, Any], object_of: Callable[[str, str], Path], artifacts: Artifacts) -> dict[str, Any]:
    """Give an expanded template with what it names in buckets: code in the store, definitions in the template.

    Args:
        body: the template.
        object_of: gives the file of an object, by its bucket and its key.
        artifacts: where code goes.

    Raises:
        TemplateRefused: code that cannot be taken; all of it.

    """
    reasons: list[str] = []
    resources = body.get("Resources")
    for name, resource in resources.items() if isinstance(resources, dict) else ():
        properties = resource.get("Properties") if isinstance(resource, dict) else None
        if not isinstance(properties, dict):
            continue
        key = CODE.get(str(resource.get("Type")))
        held = DEFINITIONS.get(str(resource.get("Type")))
        try:
            if key is not None and _is_object(properties.get(key), "S3"):
                code = properties[key]
                if code["S3Bucket"] != ARTIFACTS:
                    added = artifacts.add(object_of(code["S3Bucket"], code["S3Key"]))
                    properties[key] = {"S3Bucket": ARTIFACTS, "S3Key": added}
            if held is not None and _is_object(properties.get(held[0]), ""):
                place = properties.pop(held[0])
                properties[held[1]] = sam_template.read_file(object_of(place["Bucket"], place["Key"])).body
        except TemplateRefused as error:
            reasons += [f"{name}: {reason}" for reason in error.reasons]
        except WireError as error:
            reasons.append(f"{name}: what it names in a bucket is not in this store: {error.message}")
    if reasons:
        raise TemplateRefused(reasons)
    return body


def _is_object(value: Any, prefix: str) -> bool:
    """Whether a property names an object of a bucket by texts."""
    return isinstance(value, dict) and all(isinstance(value.get(f"{prefix}{key}"), str) for key in ("Bucket", "Key"))


def code_of_globals(body: dict[str, Any]) -> str | None:
    """Take the code that all functions share out of a template's Globals."""
    function = globals_of_functions(body)
    shared = function.get("CodeUri")
    if is_local(shared):
        del function["CodeUri"]
        return str(shared)
    return None


def globals_of_functions(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a template's Globals say of functions; what is malformed there is refused when the template is expanded."""
    everywhere = body.get("Globals")
    function = everywhere.get("Function") if isinstance(everywhere, dict) else None
    return function if isinstance(function, dict) else {}


def is_local(value: Any) -> bool:
    """Whether a property names something beside the template."""
    return isinstance(value, str) and not value.startswith(("s3://", "https://", "http://"))


def has_no_code(properties: Mapping[str, Any]) -> bool:
    """Whether a function says nothing of its code: then it stands beside the template."""
    return not properties.keys() & {"CodeUri", "InlineCode", "ImageUri"} and properties.get("PackageType") != "Image"


def _take_code(type_: Any, properties: dict[str, Any], folder: Path, artifacts: Artifacts, shared: str | None) -> None:
    key = CODE.get(str(type_))
    if key is None:
        return
    if type_ == SERVERLESS_FUNCTION and has_no_code(properties):
        properties["CodeUri"] = shared or "."
    if is_local(properties.get(key)):
        added = artifacts.add(folder / properties[key])
        is_sam = str(type_).startswith("AWS::Serverless::")
        properties[key] = f"s3://{ARTIFACTS}/{added}" if is_sam else {"S3Bucket": ARTIFACTS, "S3Key": added}


def _take_definition(type_: Any, properties: dict[str, Any], folder: Path) -> None:
    keys = DEFINITIONS.get(str(type_))
    if keys is not None and is_local(properties.get(keys[0])):
        properties[keys[1]] = sam_template.read_file(folder / properties.pop(keys[0])).body
