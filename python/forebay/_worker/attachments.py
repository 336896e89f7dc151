"""What a stack attaches to a function, in the function's process: database proxies, which `forebay.dbproxy.attached` gives."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from forebay._model import names
from forebay._worker.stack_socket import ask
from forebay.errors import DBProxyError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class StackSecret:
    """A secret of a stack, asked of the app for each new connection: a changed one holds from the next one on."""

    def __init__(self, store: str, arn: str) -> None:
        """Ask the app that runs on a store."""
        self._store = store
        self._arn = arn

    async def get(self) -> Any:
        """Ask for user name and password.

        Raises:
            DBProxyError: the app does not answer, or it has no such secret.

        """
        given = {"service": "secretsmanager", "action": "GetSecretValue", "input": {"SecretId": self._arn}}
        try:
            answer = await asyncio.to_thread(ask, self._store, {"operation": "wire", **given})
        except (OSError, ValueError) as error:
            raise DBProxyError(f"secret {self._arn}: the app did not answer: {error}") from None
        if "error" in answer:
            raise DBProxyError(f"secret {self._arn}: {'; '.join(answer['reasons'])}")
        try:
            return json.loads(answer["answer"]["SecretString"])
        except ValueError:
            raise DBProxyError(f"secret {self._arn} is not JSON") from None


def here(store: str) -> tuple[list[AbstractAsyncContextManager[Any]], list[list[str]]]:
    """Make what is attached to this process's function; give it, and where those that the app shares are to ask."""
    text = os.environ.get(names.ATTACHMENTS)
    if text is None:
        return [], []
    from forebay.dbproxy.attached import attach_here, proxy_of  # noqa: PLC0415  few functions have any

    made: list[AbstractAsyncContextManager[Any]] = []
    shared = []
    for described in json.loads(text):
        proxy = proxy_of(described, lambda arn: StackSecret(store, arn))
        attach_here(described["names"], proxy)
        made.append(proxy)
        if described["address"] is not None:
            shared.append([repr(proxy), described["address"]])
    return made, shared
