"""How long a command waits for the process that owns a store: as long as that one lives, and not much longer."""

from __future__ import annotations

import os
import socket
import struct
import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from forebay.cli.store_place import ServerStore, StorePlace
from forebay.errors import OwnerLost

if TYPE_CHECKING:
    from collections.abc import Callable

CHECK_SECONDS: Final = 5.0
"""After so long without an answer the owner is asked whether it lives."""
SILENT_SECONDS: Final = 30.0
"""A command gives up on an owner that has been silent for so long."""

Answered = TypeVar("Answered")


class OwnerNotAnswering(OwnerLost):
    """The owner of the store does not answer: it is stopped, or hangs."""


def wait_for_owner(ask: Callable[[], Answered], alive: Callable[[], object], store: StorePlace) -> Answered:
    """Ask, and wait for the answer for as long as the owner of the store says at least that it lives.

    An answer may take its time: a function runs, or millions of rows are looked through. If this process owns the store
    itself, it is at work on it, and nobody else is waited for.

    Raises:
        OwnerNotAnswering: nothing was heard of the owner for 30 s.

    """
    answer = _begun(ask)
    wait([answer], CHECK_SECONDS)
    while not answer.done():
        if _is_ours(store):
            wait([answer], CHECK_SECONDS)
            continue
        sign: Future[object] = _begun(alive)
        either: list[Future[Any]] = [answer, sign]
        wait(either, 1.0, FIRST_COMPLETED)
        if not (answer.done() or sign.done() or _is_ours(store)):
            click.echo(f"waiting for {_owner(store)}: it does not answer", err=True)
            wait(either, SILENT_SECONDS - CHECK_SECONDS - 1.0, FIRST_COMPLETED)
        if not (answer.done() or sign.done() or _is_ours(store)):
            raise OwnerNotAnswering(
                f"{_owner(store)} has not answered for {SILENT_SECONDS:.0f} s: it is stopped (`kill -CONT` lets it go on) or "
                "hangs; what was asked may still be done. Once that process has ended, the store opens without it"
            )
        wait([answer], CHECK_SECONDS)
    return answer.result()


def _begun(call: Callable[[], Answered]) -> Future[Answered]:
    """Call it in a thread that keeps nobody from ending."""
    answer: Future[Answered] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  it is raised where the answer is waited for
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return answer


def _is_ours(store: StorePlace) -> bool:
    """Whether this process owns the store: the lock names it, and nobody listens, as one of the same number elsewhere would."""
    if isinstance(store, ServerStore):
        return False
    try:
        return int((store / "lock").read_text()) == os.getpid() and _pid(store) is None
    except (OSError, ValueError):  # there is none, or its owner has no room to sign it
        return False


def _owner(store: StorePlace) -> str:
    pid = _pid(store)
    return f"the process{'' if pid is None else f' {pid}'} that owns {store.absolute()}"


def _pid(store: StorePlace) -> int | None:
    """Ask the kernel who listens on the owner's socket: that needs no answer of the owner."""
    if isinstance(store, ServerStore):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1.0)
            line.connect(os.fspath(store / "forebay.sock"))
            given = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except (OSError, AttributeError):  # it listens elsewhere, or this system does not tell
        return None
    return int(struct.unpack("3i", given)[0])
