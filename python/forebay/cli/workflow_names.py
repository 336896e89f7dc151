"""Workflows as commands name them: `NAME`, and `NAME:VERSION` or `NAME:ALIAS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forebay.cli.show import moment

if TYPE_CHECKING:
    from forebay.cli.connect import StoreConnection


def split(asked: str) -> tuple[str, str | None]:
    """Give the workflow's name, and the version or the alias behind it. A run of a distributed Map has neither."""
    if "/" in asked:
        return asked, None
    name, sign, qualifier = asked.partition(":")
    return name, qualifier if sign else None


def started_by(connection: StoreConnection, asked: str) -> dict[str, Any]:
    """Give what lists the executions of a workflow, or those that were started by its version or its alias.

    Raises:
        ClickException: the workflow has no such version and no such alias.

    """
    name, qualifier = split(asked)
    if qualifier is None:
        return {"workflow": name}
    if qualifier.isdecimal():
        told = connection.ask("workflow.versions", name=name)
        if all(str(one["version"]) != qualifier for one in told["versions"]):
            raise _unknown(name, qualifier, told)
        return {"workflow": name, "version": int(qualifier)}
    _alias(connection, name, qualifier)
    return {"workflow": name, "alias": qualifier}


def description(connection: StoreConnection, asked: str) -> tuple[dict[str, Any], str]:
    """Describe a workflow, a version or an alias of it: as the engine tells it, and as text."""
    name, qualifier = split(asked)
    if qualifier is None or qualifier.isdecimal():
        return _machine(connection, name, qualifier)
    alias = _alias(connection, name, qualifier)
    versions = [_machine(connection, name, str(route["version"]))[0] for route in alias["routes"]]
    lines = [f"arn: {alias['arn']}", f"leads to: {_routes(alias)}", f"changed: {moment(alias['updated_ms'])}"]
    for route, version in zip(alias["routes"], versions, strict=True):
        lines += ["", f"version {route['version']}:", version["definition"]]
    return {**alias, "workflow": name, "versions": versions}, "\n".join(lines)


def definition(connection: StoreConnection, asked: str) -> str:
    """Give the definition of a workflow, of a version, or of the version that an alias leads to.

    Raises:
        ClickException: the alias leads to two versions.

    """
    name, qualifier = split(asked)
    if qualifier is not None and not qualifier.isdecimal():
        alias = _alias(connection, name, qualifier)
        if len(alias["routes"]) > 1:
            named = " or ".join(f"{name}:{route['version']}" for route in alias["routes"])
            raise click.ClickException(f"alias {asked} leads to {_routes(alias)}: name one of them, {named}")
        qualifier = str(alias["routes"][0]["version"])
    return str(_machine(connection, name, qualifier)[0]["definition"])


def _machine(connection: StoreConnection, name: str, version: str | None) -> tuple[dict[str, Any], str]:
    if version is not None:
        told = connection.ask("workflow.describe", name=f"{name}:{version}")
        told = {**told, "arn": f"{told['arn']}:{version}", "version": int(version)}
        return told, "\n".join([*_lines(told), "", told["definition"]])
    told = connection.ask("workflow.describe", name=name)
    kept = connection.ask("workflow.versions", name=name)
    lines = [*_lines(told), f"running: {told['running']}"]
    if kept["versions"]:
        lines.append("versions: " + ", ".join(str(one["version"]) for one in kept["versions"]))
    lines += [f"alias {one['name']}: {_routes(one)}" for one in kept["aliases"]]
    return {**told, **kept}, "\n".join([*lines, "", told["definition"]])


def _lines(told: dict[str, Any]) -> list[str]:
    return [f"arn: {told['arn']}", f"type: {told['type']}", f"revision: {told['revision']}"]


def _alias(connection: StoreConnection, name: str, alias: str) -> dict[str, Any]:
    told = connection.ask("workflow.versions", name=name)
    found: dict[str, Any] | None = next((one for one in told["aliases"] if one["name"] == alias), None)
    if found is None:
        raise _unknown(name, alias, told)
    return found


def _unknown(name: str, qualifier: str, told: dict[str, Any]) -> click.ClickException:
    known = [*(str(one["version"]) for one in told["versions"]), *(one["name"] for one in told["aliases"])]
    there = f"there are {', '.join(known)}" if known else "it has neither: App.workflow(…).publish_version makes one"
    return click.ClickException(f"workflow {name} has no version and no alias {qualifier!r}: {there}")


def _routes(alias: dict[str, Any]) -> str:
    return ", ".join(f"version {route['version']} ({route['weight']}%)" for route in alias["routes"])
