"""`forebay backup`: a copy of a store, made while its app runs."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import click
import orjson

from forebay._core import backup_store, examine_store
from forebay._model.plural import counted
from forebay._stacks.artifacts import FOLDER as CODE
from forebay._stacks.buckets import FOLDER as BUCKETS
from forebay._stacks.store import FILE as STACKS
from forebay._stacks.store import StackStore
from forebay.cli.connect import directory_option
from forebay.cli.show import output_option, show

_DAMAGED = 1
_SECONDS_BETWEEN_LINES = 2.0
_MIB = 1024 * 1024


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@directory_option
@click.option("--check/--no-check", default=True, show_default=True, help="Read the whole copy, as the doctor does.")
@output_option
@click.pass_context
def backup(ctx: click.Context, *, directory: Path, store: Path, check: bool, output: str) -> None:
    """Copy a store into DIRECTORY, which must be new or empty. The app may run meanwhile.

    The copy holds everything that was acknowledged before the command began, and is a store of its own: `forebay run
    --store DIRECTORY MODULE:APP` goes on with it. The exit status is 1 if the copy is damaged, because the store is.
    """
    store, directory = store.absolute(), directory.absolute()
    _check_room(store, directory)
    copied: dict[str, Any] = orjson.loads(backup_store(store, directory, _Progress()))
    _copy_stacks(store, directory)
    text = f"{directory} has {counted(copied['commits'], 'commit')} of {store} in {counted(copied['bytes'], 'byte')}"
    if not check:
        show({**copied, "whole": None, "damage": []}, output, text=f"{text}; it was not checked")
        return
    report = orjson.loads(examine_store(directory))
    found = "and is whole" if report["whole"] else "and is damaged, as the store is:"
    advice = [] if report["whole"] else [*report["damage"], f"Next: forebay doctor --store {store}"]
    whole = {"whole": report["whole"], "damage": report["damage"]}
    show({**copied, **whole}, output, text="\n".join([f"{text}, {found}", *advice]))
    if not report["whole"]:
        ctx.exit(_DAMAGED)


def _copy_stacks(store: Path, directory: Path) -> None:
    """Copy what was deployed, and its code."""
    if not (store / STACKS).exists():
        return
    kept = StackStore(store)
    try:
        kept.copy(directory)
    finally:
        kept.close()
    for folder in (CODE, BUCKETS):
        if (store / folder).is_dir():
            under_way = shutil.ignore_patterns(".*")  # what is being written, and has no name yet
            shutil.copytree(store / folder, directory / folder, dirs_exist_ok=True, ignore=under_way)


def _check_room(store: Path, directory: Path) -> None:
    """Refuse a copy that cannot fit: one that fills the disk of the store would stop its puts."""
    needed = sum(file.stat().st_size for name in ("forebay.db", "forebay.db-wal") if (file := store / name).exists())
    there = next(parent for parent in (directory, *directory.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise click.ClickException(
            f"the copy needs up to {needed // _MIB + 1:,} MiB, and {there} has {free // _MIB:,} MiB free. "
            "Next: free some room there, or name a directory on another disk"
        )


class _Progress:
    """Tells on standard error how far a copy is that takes more than a moment."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _SECONDS_BETWEEN_LINES

    def __call__(self, copied: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_LINES
            click.echo(f"{copied // _MIB:,} of {total // _MIB:,} MiB copied ({copied / max(total, 1):.0%})", err=True)
