"""`forebay aws`: access keys for AWS's SDKs, and what to export that they find this port."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from forebay._durable import write
from forebay._model import names
from forebay._model.wire import PORT, SERVICES, WireAddress
from forebay.cli import connect
from forebay.cli.connect import directory_option, store_option
from forebay.cli.show import output_option, show
from forebay.cli.store_place import ServerStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from forebay.cli.store_place import StorePlace

FILE: Final = "aws-keys.json"
"""In the store's directory; the engine reads it once a second."""
ID_LETTERS: Final = 16
SECRET_BYTES: Final = 30

Key = dict[str, Any]


@click.group()
def aws() -> None:
    """Let AWS's SDKs and command line use this app: `forebay run --aws-port 4566`."""


@aws.group()
def keys() -> None:
    """Make, list and revoke access keys. Before the first one any signature is taken, and only on this machine."""


@keys.command()
@click.option("--read-only", is_flag=True, help="Allow only operations that change nothing. They read secrets, too.")
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="NAME",
    type=click.Choice(SERVICES),
    help=f"Allow this service; without it, all. May be repeated. One of {', '.join(SERVICES)}.",
)
@directory_option
@output_option
def create(*, read_only: bool, services: tuple[str, ...], store: Path, output: str) -> None:
    """Make an access key. Its secret is shown once, here."""
    letters = string.ascii_uppercase + "234567"
    key: Key = {
        "id": "AKIA" + "".join(secrets.choice(letters) for _ in range(ID_LETTERS)),
        "secret": secrets.token_urlsafe(SECRET_BYTES),
        "read_only": read_only,
        "services": sorted(set(services)),
    }
    if not (store / connect.FILE).exists():
        click.echo(
            f"there is no store in {store.absolute()} yet: the key opens an app that has its store there "
            "(commands take --store)",
            err=True,
        )
    _write(store, [*_read(store), key])
    text = f"AWS_ACCESS_KEY_ID={key['id']}\nAWS_SECRET_ACCESS_KEY={key['secret']}"
    show({**key, "services": key["services"] or None}, output, text=text)


@keys.command("list")
@directory_option
@output_option
def list_keys(*, store: Path, output: str) -> None:
    """List the access keys, without their secrets."""
    known = [{name: value for name, value in key.items() if name != "secret"} for key in _read(store)]
    lines = [
        f"{key['id']}  {'read only' if key['read_only'] else 'read and write'}  {', '.join(key['services']) or 'all services'}"
        for key in known
    ]
    nothing = (
        "there is no file of keys: any signature is taken, on this machine only, unless the app has had keys since its start; "
        "then nobody is let in until there is one (`forebay aws keys create`)"
    )
    if (store / FILE).exists():
        nothing = "there are no keys any more: nobody is let in until there is one (`forebay aws keys create`)"
    show(known, output, text="\n".join(lines) or nothing)


@keys.command()
@click.argument("key_id", metavar="ID")
@directory_option
@output_option
def revoke(*, key_id: str, store: Path, output: str) -> None:
    """Revoke the access key ID: within a second it is let in no more.

    Without the last key nobody is let in until another one is made. To have any signature taken again, delete the file of the
    keys and start the app again.
    """
    known = _read(store)
    left = [key for key in known if key["id"] != key_id]
    if len(left) == len(known):
        raise click.ClickException(f"there is no key {key_id!r}; `forebay aws keys list` shows those that there are")
    _write(store, left)
    last = "" if left else ", the last key: nobody is let in until there is another one (`forebay aws keys create`)"
    show({"revoked": key_id}, output, text=f"revoked {key_id}{last}")


@aws.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the app listens.")
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=PORT, show_default=True, help="As in `forebay run --aws-port`."
)
@click.option("--region", default=names.REGION_DEFAULT, show_default=True, help="The region of the app.")
@store_option
def env(*, host: str, port: int, region: str, store: StorePlace) -> None:
    """Print what to export that SDKs and the AWS CLI use this app: `eval "$(forebay aws env)"`."""
    lines = [f"export AWS_ENDPOINT_URL={WireAddress(host=host, port=port).url}", f"export AWS_REGION={region}"]
    lines.append(f"export AWS_DEFAULT_REGION={region}")
    # `StartSyncExecution` and `TestState` would go to the host sync-127.0.0.1 otherwise.
    lines.append("export AWS_DISABLE_HOST_PREFIX_INJECTION=true")
    # A login to AWS leaves them behind. The app refuses a token with a right key, and boto3 fails by itself after that time.
    lines.append("unset AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_CREDENTIAL_EXPIRATION")
    if isinstance(store, ServerStore) or not (store / FILE).exists():
        lines.append("# any signature is taken, unless the app has had keys since it started: then nobody is let in")
        lines += ["export AWS_ACCESS_KEY_ID=forebay", "export AWS_SECRET_ACCESS_KEY=forebay"]
        # JavaScript's SDK takes the profile before these two. Where there are keys, a profile may have one of them.
        lines.append("unset AWS_PROFILE AWS_DEFAULT_PROFILE")
    elif _read(store):
        lines.append("# AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: as `forebay aws keys create` has shown them")
    else:
        lines.append("# every key was revoked, so nobody is let in: `forebay aws keys create` makes one")
    click.echo("\n".join(lines))


def damage(store: Path) -> str | None:
    """Say what is wrong with the file of the keys; None when nothing is."""
    try:
        _read(store)
    except click.ClickException as error:
        return error.message
    return None


def _read(store: Path) -> list[Key]:
    path = store / FILE
    try:
        return list(orjson.loads(path.read_bytes())["keys"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        text = f"{path} is damaged: nobody is let in. Next: put a copy of it back; or move it away and make keys anew"
        raise click.ClickException(text) from None


def _write(store: Path, known: Sequence[Key]) -> None:
    write(store / FILE, orjson.dumps({"keys": list(known)}, option=orjson.OPT_INDENT_2))
