"""What `forebay deploy` does: the dialogue, the preview, the deploy, and what it tells of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from forebay._sam import expansion, samconfig, secret
from forebay._sam import parameters as sam_parameters
from forebay._sam.errors import NoChanges, StackNotFound, TemplateRefused
from forebay._stacks import package
from forebay._stacks.artifacts import Artifacts
from forebay._stacks.service import Asked
from forebay.cli import sam_tables
from forebay.cli.deploy import COMMAND, Options
from forebay.cli.stack_connection import REGION, Stacks, connect_stacks

if TYPE_CHECKING:
    from forebay._sam.expansion import Translator
    from forebay._sam.template import Template

CAPABILITY: Final = "CAPABILITY_IAM"


def carry_out(
    template: Template,
    path: Path,
    *,
    options: Options,
    store: Path,
    translator: Translator | None,
    config: tuple[Path, str] | None,
) -> None:
    """Deploy a template; `config` is the file and its table where answers are saved, if everything is asked for."""
    with connect_stacks(store, options.get("region"), makes=True) as stacks:
        parameters = _overrides(options)
        if config is not None:
            _ask(template, options, parameters, config)
        _deploy(stacks, template, path, options=options, parameters=parameters, store=store, translator=translator)


def _overrides(options: Options) -> dict[str, str]:
    given = options.get("parameter_overrides", ())
    texts = [given] if isinstance(given, str) else given
    found: dict[str, str] = {}
    for text in texts:
        found |= samconfig.overrides(text)
    return found


# --- the dialogue


def _ask(template: Template, options: Options, parameters: dict[str, str], config: tuple[Path, str]) -> None:
    file, environment = config
    found = file.exists()
    click.secho("\nConfiguring SAM deploy\n======================", fg="yellow")
    click.echo(f"\n\tLooking for config file [{file.name}] :  {'Found' if found else 'Not found'}")
    if found:
        click.echo("\tReading default arguments  :  Success")
    click.echo("\n\tSetting default arguments for 'sam deploy'\n\t=========================================")
    options["stack_name"] = click.prompt(_said("Stack Name"), default=options.get("stack_name", "sam-app"))
    options["region"] = click.prompt(_said("AWS Region"), default=options.get("region", REGION))
    declared = _mapping(template.body.get("Parameters"))
    for name, one in declared.items():
        before = parameters.get(name, _mapping(one).get("Default", ""))
        if sam_parameters.is_secret(one):
            parameters[name] = click.prompt(
                _said(f"Parameter {name}"), hide_input=True, default=before, show_default=False
            )
        else:
            parameters[name] = click.prompt(_said(f"Parameter {name}"), default=str(before))
    click.secho("\t#Shows you resources changes to be deployed and require a 'Y' to initiate deploy")
    options["confirm_changeset"] = click.confirm(
        _said("Confirm changes before deploy"), default=bool(options.get("confirm_changeset", False))
    )
    click.secho("\t#SAM needs permission to be able to create roles to connect to the resources in your template")
    if click.confirm(_said("Allow SAM CLI IAM role creation"), default=True):
        options["capabilities"] = CAPABILITY
    else:
        options["capabilities"] = click.prompt(_said("Capabilities"), default=CAPABILITY)
    click.secho("\t#Preserves the state of previously provisioned resources when an operation fails")
    options["disable_rollback"] = click.confirm(
        _said("Disable rollback"), default=bool(options.get("disable_rollback", False))
    )
    _ask_of_open_apis(template)
    if click.confirm(_said("Save arguments to configuration file"), default=True):
        name = click.prompt(_said("SAM configuration file"), default=str(file))
        environment = click.prompt(_said("SAM configuration environment"), default=environment)
        _save(
            Path(name),
            environment,
            options,
            {key: value for key, value in parameters.items() if key in declared},
            declared,
        )


def _mapping(value: Any) -> dict[str, Any]:
    """Give a mapping of the template; what is none is refused later, with its place."""
    return value if isinstance(value, dict) else {}


def _said(text: str) -> str:
    return click.style(f"\t{text}", bold=True)


def _ask_of_open_apis(template: Template) -> None:
    """Ask whether it is meant that everybody can call a function."""
    for name, resource in _mapping(template.body.get("Resources")).items():
        events = _mapping(_mapping(_mapping(resource).get("Properties")).get("Events"))
        for event in map(_mapping, events.values()):
            if event.get("Type") in ("Api", "HttpApi") and "Auth" not in _mapping(event.get("Properties")):
                if not click.confirm(_said(f"{name} has no authentication. Is this okay?"), default=False):
                    raise click.ClickException("Security Constraints Not Satisfied!")
                break


def _save(path: Path, environment: str, options: Options, parameters: dict[str, str], declared: dict[str, Any]) -> None:
    open_ = {key: value for key, value in parameters.items() if not sam_parameters.is_secret(declared[key])}
    kept = {
        "stack_name": options["stack_name"],
        "region": options["region"],
        "confirm_changeset": options["confirm_changeset"],
        "capabilities": options["capabilities"],
        "disable_rollback": options["disable_rollback"],
        "parameter_overrides": samconfig.overrides_text(open_) if open_ else None,
    }
    samconfig.write(path, COMMAND, kept, environment)
    click.echo("\n\tSaved arguments to config file")
    click.echo("\tRunning 'forebay deploy' for future deployments will use the parameters saved above.")
    click.echo(f"\tThe above parameters can be changed by modifying {path.name}")


# --- the deploy


def asked_of(
    stacks: Stacks,
    template: Template,
    path: Path,
    *,
    options: Options,
    parameters: dict[str, str],
    store: Path,
    translator: Translator | None,
) -> Asked:
    """Put the template's files into the store, expand it, and give what is asked for."""
    packaged = package.package(template.body, path.parent, Artifacts(store))
    name = str(options["stack_name"])
    before = stacks.ask("parameters", stack=name) or {}
    body = expansion.expand(packaged, expansion.parameters_for(packaged, parameters, before), translator)
    capabilities = options.get("capabilities", ())
    return Asked(
        stack=name,
        template=path.read_text(),
        body=body,
        parameters=parameters,
        capabilities=tuple(capabilities.split()) if isinstance(capabilities, str) else tuple(capabilities),
        skip_unsupported=bool(options.get("skip_unsupported", False)),
        disable_rollback=bool(options.get("disable_rollback", False)),
    )


def _deploy(
    stacks: Stacks,
    template: Template,
    path: Path,
    *,
    options: Options,
    parameters: dict[str, str],
    store: Path,
    translator: Translator | None,
) -> None:
    name = str(options["stack_name"])
    _show_values(template, options, parameters, store)
    click.secho("\nInitiating deployment\n=====================", fg="yellow")
    try:
        whole = asked_of(
            stacks, template, path, options=options, parameters=parameters, store=store, translator=translator
        )
        asked = asdict(whole)
        click.echo("\nWaiting for changeset to be created..")
        preview = stacks.ask("preview", deploy=asked)
    except NoChanges as error:
        click.echo(f"\n{error}")
        if options.get("no_fail_on_empty_changeset") or options.get("fail_on_empty_changeset") is False:
            return
        raise SystemExit(1) from None
    except TemplateRefused as error:
        raise _failed(template, path, error) from None
    _tell_notes(preview)
    sam_tables.changes(preview["changes"])
    click.echo("Changeset created successfully.\n")
    if options.get("confirm_changeset"):
        click.secho("\nPreviewing CloudFormation changeset before deployment", fg="yellow")
        click.secho("======================================================", fg="yellow")
        if not click.confirm("Deploy this changeset?", default=False):
            return
    verb = "create" if preview["kind"] == "CREATE" else "update"
    try:
        last = _last_event(stacks, name)
        stack_id = stacks.ask("deploy", deploy=asked)["id"]
    except TemplateRefused as error:
        raise _failed(template, path, error) from None
    click.echo(f"\n{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} - Waiting for stack create/update to complete")
    status = _follow(stacks, stack_id, last)
    told = stacks.ask("describe", stack=name)
    if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        raise click.ClickException(f"Failed to {verb} the stack: {name}, {status}: {told['reason']}")
    sam_tables.outputs(told["outputs"], name)
    click.secho(f"\nSuccessfully {verb}d stack - {name} in {told['id'].split(':')[3]}", fg="green")
    if not stacks.is_live:
        click.echo(f"No app runs on {store}: `forebay run --store {store}` serves it.")


def _last_event(stacks: Stacks, name: str) -> int:
    """Give the newest event that a stack has: one that could not be created has some, too."""
    try:
        return stacks.last_event(stacks.ask("describe", stack=name)["id"])
    except StackNotFound:
        return 0


def _follow(stacks: Stacks, stack_id: str, after: int) -> str:
    table = sam_tables.events_table()
    try:
        return stacks.follow(stack_id, after, lambda event: sam_tables.event_row(table, event))
    finally:
        table.end()


def _failed(template: Template, path: Path, error: TemplateRefused) -> click.ClickException:
    """Write every reason, with the line of its resource."""
    lines = [f"Failed to create changeset for the stack: {error.code}"]
    for reason in error.reasons:
        found = next((name for name in template.lines if reason.startswith((f"{name}:", f"{name}."))), None)
        found = found or next((name for name in template.lines if f"[{name}]" in reason), None)
        lines.append(f"{path}:{template.lines[found]}: {reason}" if found is not None else reason)
    if error.code == "InsufficientCapabilitiesException":
        wanted = error.reasons[0].rpartition("[")[2].rstrip("]").replace(",", "")
        lines.append(f"Deploy with --capabilities {wanted}, or with --guided")
    return click.ClickException("\n".join(str(secret.shown(line)) for line in lines))


def _show_values(template: Template, options: Options, parameters: dict[str, str], store: Path) -> None:
    declared = _mapping(template.body.get("Parameters"))
    shown = {
        key: "*****" if sam_parameters.is_secret(declared.get(key)) else value for key, value in parameters.items()
    }
    capabilities = options.get("capabilities", ())
    rows = {
        "Stack name": options["stack_name"],
        "Region": options.get("region"),
        "Confirm changeset": bool(options.get("confirm_changeset", False)),
        "Disable rollback": bool(options.get("disable_rollback", False)),
        "Deployment store": str(store),
        "Capabilities": json.dumps(capabilities.split() if isinstance(capabilities, str) else list(capabilities)),
        "Parameter overrides": json.dumps(shown),
    }
    click.secho("\n\tDeploying with following values\n\t===============================", fg="yellow")
    for name, value in rows.items():
        if value is None:
            continue
        click.echo(f"\t{name:<28} : {value}")


def _tell_notes(preview: dict[str, Any]) -> None:
    for one in preview["left_out"]:
        click.secho(f"Left out: {one}", fg="yellow", err=True)
    for one in preview["notes"]:
        click.secho(f"No effect: {one}", fg="yellow", err=True)
